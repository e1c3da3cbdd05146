"""How much speaks for a cluster being a real happening rather than ordinary talk: log-odds, linear in a few features.

The coefficients are learned (``python -m bot.scorecard fit``) and stand in ``weights.json``; what each feature adds is
what ``explain`` shows.
"""

import math
from collections.abc import Mapping

from bot.detection.clusters import Cluster

BIAS = "bias"
_LEAST_LOGIT, _MOST_LOGIT = -1.0, 4.0
_LEAST_CHANCE = 1e-8


def features(cluster: Cluster, *, chance: float, named: int) -> dict[str, float]:
    """Of a cluster with voices. ``chance``: that ordinary talk makes such a burst; ``named``: how many voices give the
    rare name that most of them give."""
    voices = cluster.voices
    count = len(voices)
    beliefs = [_logit(voice.p) for voice in voices]
    span = max(voice.stream_at for voice in voices) - min(voice.stream_at for voice in voices)
    return {
        "belief": sum(beliefs) / count,
        "surest": max(beliefs),
        "burst": -math.log10(max(chance, _LEAST_CHANCE)),
        "close": cluster.closeness,
        "named": named / count,
        "placed": max([*cluster.towns.values(), *cluster.areas.values()], default=0) / count,
        "span": math.log1p(span.total_seconds() / 60),
        "first_hand": sum(voice.first_hand for voice in voices) / count,
    }


def parts(found: Mapping[str, float], coefficients: Mapping[str, float]) -> dict[str, float]:
    """What each feature, and the bias, adds to the log-odds. Raises KeyError for a coefficient of no feature."""
    return {name: weight * (1.0 if name == BIAS else found[name]) for name, weight in coefficients.items()}


def _logit(p: float) -> float:
    p = min(max(p, 1e-6), 1 - 1e-6)
    return min(max(math.log(p / (1 - p)), _LEAST_LOGIT), _MOST_LOGIT)
