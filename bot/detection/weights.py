"""Every constant of detection in one place; those that were learned stand in ``weights.json``, with the command that
made them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from importlib import resources
from types import MappingProxyType

LEARNED = "weights.json"


def learned() -> Mapping[str, float]:
    """The coefficients of ``strength.features`` that are shipped."""
    found = json.loads(resources.files("bot.detection").joinpath(LEARNED).read_text(encoding="utf-8"))
    return MappingProxyType(found["strength"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """``strength`` is learned; the others were set by hand, on our own fictional scenario (``bot/rehearsal``), and
    ``threshold``, ``start``, ``join`` and ``alone_cosine`` over the streams of ``python -m bot.scorecard``, which
    flatter these four. Cosines and probabilities are 0..1; ``affinity`` is a cosine plus bonuses and minus penalties.
    """

    strength: Mapping[str, float] = field(default_factory=learned)

    # candidates
    # Of ordinary posts of the rehearsal's grammar the model gives 0.5 and more to 1.1 % in English, 1.8 % in Spanish,
    # 0.8 % in French, 5.9 % in Italian, 10 % in Portuguese and 11 % in German.
    threshold: float = 0.2
    start: float = 0.5
    measured_langs: frozenset[str] = frozenset({"en", "es", "fr"})
    other_threshold: float = 0.8
    oldest_post: timedelta = timedelta(hours=12)

    # clustering
    window: timedelta = timedelta(hours=2)
    raised_window: timedelta = timedelta(hours=6)
    # Of one detector. 100,000 live posts in 16,000 clusters take 680 MiB (``python -m bot.benching detection 100000``),
    # 7 KiB a post, so that these bounds mean about 1 GiB; each View with providers of its own has its own detector.
    max_clusters: int = 30_000
    max_live_posts: int = 150_000
    max_posts: int = 5_000
    neighbours: int = 8
    join: float = 0.7
    alone_cosine: float = 0.75
    least_cosine: float = 0.15
    place_bonus: float = 0.25
    small_place_bonus: float = 0.08
    country_bonus: float = 0.06
    name_bonus: float = 0.12
    names_bonus_most: float = 0.36
    category_bonus: float = 0.06
    category_penalty: float = 0.18
    place_penalty: float = 0.4
    ageing: float = 0.12
    raised_bonus: float = 0.06
    rare_candidates: int = 3
    rare_share: float = 0.01
    fresh: timedelta = timedelta(minutes=30)
    most_familiar: int = 100_000
    near_copy: float = 0.8
    near_copy_words: int = 6
    town_km: float = 80.0
    region_km: float = 700.0
    unknown_cosine: float = 0.4
    absorb_cosine: float = 0.3
    absorb_vague_cosine: float = 0.4
    absorb_unnamed_cosine: float = 0.55
    leading_share: float = 0.2
    wide_cosine: float = 0.45
    absorb_alone_cosine: float = 0.72
    late_merge_margin: float = 0.1
    late_voices: int = 32  # of more voices only one in 1 + n/32 is a reason to look for a twin or a split
    denial_join: float = 0.5

    # levels: a voice is an independent author
    half_life: timedelta = timedelta(minutes=60)
    alert_voices: int = 2
    apart_voices: int = 3
    sure_mean: float = 0.8
    disputed_voices: int = 8
    urgent_loudness: float = 7.2
    flash_loudness: float = 18.0
    verified_loudness: float = 1.0
    official_loudness: float = 4.0
    growing_voices: int = 8
    growing_factor: float = 1.25
    severe_words_factor: float = 1.25
    deadly_factor: float = 1.5
    deadly: int = 5
    # ordinary talk: a burst is relative to it
    rate_window: timedelta = timedelta(hours=12)
    alike: float = 0.2
    flash_deaths: int = 3
    likely_belief: float = 4.5
    likely_first_hand: int = 3
    observed_verified: int = 2
    observed_voices: int = 5
    retract_below: int = 2

    # updates
    update_every: timedelta = timedelta(seconds=60)
    category_margin: float = 1.2
    quotes: int = 3
    verdicts: int = 50_000
