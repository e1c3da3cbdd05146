"""How loud an Event is, and how certain: from its voices, those of them that can be held to account, and its toll."""

from collections.abc import Mapping
from typing import Any

from bot.detection.clusters import Cluster
from bot.detection.weights import Weights
from bot.domain.alert import Certainty, Level

# What a happening of each category means to people who watch for it, before anything is known of it: 0..1.
_WORTH = {
    "terror_attack": 0.6, "shooting": 0.5, "armed_conflict": 0.5, "unrest": 0.35, "explosion": 0.5, "fire": 0.3,
    "wildfire": 0.4, "earthquake": 0.5, "volcano": 0.45, "landslide": 0.4, "flood": 0.4, "storm": 0.35, "meteor": 0.45,
    "transport_accident": 0.35, "structural_collapse": 0.45, "hazmat_pollution": 0.4, "public_health": 0.35,
    "cyber": 0.35, "markets": 0.3, "politics": 0.3,
}  # fmt: skip


def reached(cluster: Cluster, toll: Mapping[str, int], growth: int, weights: Weights) -> Level:
    """The level that the voices of a raised cluster carry. ``toll``: the counts; ``growth``: voices of five minutes."""
    loud = loudness(cluster, toll, growth, weights)
    vouched = bool(cluster.officials) or len(cluster.verified) >= weights.observed_verified
    if loud >= weights.flash_loudness or (vouched and toll.get("dead", 0) >= weights.flash_deaths):
        return Level.FLASH
    if loud >= weights.urgent_loudness or (vouched and toll.get("dead", 0) > 0):
        return Level.URGENT
    return Level.ALERT


def vouched_for(cluster: Cluster, weights: Weights) -> bool | None:
    """Whether those who can be held to account decide about raising it: one official source, or very sure voices of
    which one is verified, are enough; after an official denial it takes as many as would be loud. None: they do not."""
    if cluster.disputed:
        return len(cluster.voices) >= weights.disputed_voices and cluster.mean_p >= weights.sure_mean
    sure = len(cluster.voices) >= weights.alert_voices and cluster.mean_p >= weights.sure_mean
    return True if cluster.officials or (cluster.verified and sure) else None


def loudness(cluster: Cluster, toll: Mapping[str, int], growth: int, weights: Weights) -> float:
    """The voices' probabilities, those that can be held to account weighing more, times what many new voices, severe
    words and many deaths add."""
    officials, verified = len(cluster.officials), len(cluster.verified)
    factor = weights.growing_factor if growth >= weights.growing_voices else 1.0
    if toll.get("dead", 0) >= weights.deadly:
        factor *= weights.deadly_factor
    elif toll or 2 * cluster.severe >= len(cluster.voices) > 0:
        factor *= weights.severe_words_factor
    return factor * (cluster.p_sum + weights.verified_loudness * verified + weights.official_loudness * officials)


def certainty(cluster: Cluster, weights: Weights) -> Certainty:
    """CAP 1.2: observed (determined to have occurred), likely (more than half), possible."""
    if cluster.disputed:
        return Certainty.POSSIBLE
    voices, verified = len(cluster.voices), len(cluster.verified)
    if any(member.official is not None and member.official.certainty == "observed" for member in cluster.officials):
        return Certainty.OBSERVED
    if verified >= weights.observed_verified or (verified and voices >= weights.observed_voices):
        return Certainty.OBSERVED
    if cluster.officials or verified or cluster.p_sum >= weights.likely_belief:
        return Certainty.LIKELY
    if cluster.first_hand >= weights.likely_first_hand:
        return Certainty.LIKELY
    return Certainty.POSSIBLE


def newsworthiness(cluster: Cluster, category: str, toll: Mapping[str, int]) -> float:
    """0..1, how much it would matter if it were true; certainty is no part of it."""
    worth = _WORTH.get(category, 0.3)
    worth += 0.25 * _saturating(len(cluster.voices), 20)
    worth += 0.25 * _saturating(toll.get("dead", 0), 10) + 0.1 * _saturating(toll.get("injured", 0), 50)
    if cluster.voices:
        worth += 0.1 * cluster.severe / len(cluster.voices)
    return round(min(1.0, worth), 3)


def figures(cluster: Cluster, toll: Mapping[str, int], growth: int, weights: Weights) -> dict[str, Any]:
    """What explains the level, JSON-ready."""
    return {
        "voices": len(cluster.voices),
        "posts": len(cluster.members),
        "mean_p": round(cluster.mean_p, 3),
        "loudness": round(loudness(cluster, toll, growth, weights), 2),
        "bars": {"urgent": weights.urgent_loudness, "flash": weights.flash_loudness},
        "verified": len(cluster.verified),
        "official": len(cluster.officials),
        "first_hand": cluster.first_hand,
        "media": cluster.media,
        "growth": growth,
        "denials": cluster.denials,
        "doubts": cluster.doubts,
        "toll": dict(toll),
    }


def _saturating(count: int, half: int) -> float:
    return count / (count + half)
