"""Every constant of detection in one place."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Constants of the first version, chosen by hand: nothing is learned yet.

    They were set on our own fictional scenario (``bot/rehearsal``), and thresholds of p, `join`, `alone_cosine` and
    `chance` over the streams of ``python -m bot.scorecard``, which therefore flatter them. A learned set will replace
    the defaults, not the fields. Cosines and probabilities are 0..1; ``affinity`` is a cosine plus bonuses and minus
    penalties.
    """

    # candidates
    # Of ordinary posts of the rehearsal's grammar the model gives 0.5 and more to 1.1 % in English, 1.8 % in Spanish,
    # 0.8 % in French, 5.9 % in Italian, 10 % in Portuguese and 11 % in German.
    threshold: float = 0.6
    measured_langs: frozenset[str] = frozenset({"en", "es", "fr"})
    other_threshold: float = 0.8
    oldest_post: timedelta = timedelta(hours=12)

    # clustering
    window: timedelta = timedelta(hours=2)
    raised_window: timedelta = timedelta(hours=6)
    max_clusters: int = 4_000
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
    rare_clusters: int = 4
    rare_share: float = 0.02
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
    denial_join: float = 0.5

    # levels: a voice is an independent author; `evidence` is the sum of their p, halved every `half_life`
    half_life: timedelta = timedelta(minutes=60)
    alert_voices: int = 3
    alert_mean: float = 0.65
    alert_evidence: float = 1.95
    sure_voices: int = 2
    sure_mean: float = 0.8
    vague_voices: int = 5
    vague_mean: float = 0.7
    disputed_voices: int = 8
    urgent_loudness: float = 8.0
    flash_loudness: float = 20.0
    verified_loudness: float = 2.0
    official_loudness: float = 5.0
    severe_words_factor: float = 1.25
    deadly_factor: float = 1.5
    deadly: int = 5
    # ordinary talk: a cluster that it makes with more than ``chance`` is no burst
    rate_window: timedelta = timedelta(hours=12)
    alike: float = 0.2
    chance: float = 0.01
    flash_deaths: int = 3
    likely_voices: int = 6
    observed_verified: int = 2
    observed_voices: int = 5
    retract_below: int = 2

    # updates
    update_every: timedelta = timedelta(seconds=60)
    category_margin: float = 1.2
    quotes: int = 3
    verdicts: int = 50_000
