"""Presets: what a sector usually wants, as a start for a subscription."""

from dataclasses import dataclass

from bot.domain import errors
from bot.domain.alert import Certainty, Level


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """``categories``: empty means all. ``budget``: most new events a day in the channel."""

    name: str
    describe: str
    categories: frozenset[str] = frozenset()
    level: Level = Level.ALERT
    certainty: Certainty = Certainty.POSSIBLE
    budget: int


_DANGER_TO_LIFE = frozenset({
    "terror_attack", "shooting", "explosion", "fire", "wildfire", "earthquake", "volcano", "landslide", "flood",
    "storm", "meteor", "transport_accident", "structural_collapse", "hazmat_pollution", "public_health",
})  # fmt: skip
_MOVES_MARKETS = frozenset({
    "terror_attack", "armed_conflict", "unrest", "explosion", "earthquake", "volcano", "storm", "transport_accident",
    "hazmat_pollution", "public_health", "cyber", "markets", "politics",
})  # fmt: skip
_DANGER_TO_PEOPLE_AND_SITES = (_DANGER_TO_LIFE - {"meteor", "landslide"}) | {"armed_conflict", "unrest", "cyber"}

# A budget is what one reader can still read: a message in a quarter of an hour of a working day for a desk that watches
# everything, half of that where a message means that somebody has to act.
PRESETS: dict[str, Preset] = {
    each.name: each
    for each in (
        Preset(name="news", describe="every category, as soon as it is an alert", budget=40),
        Preset(
            name="finance",
            describe="what moves markets, corroborated",
            categories=_MOVES_MARKETS,
            certainty=Certainty.LIKELY,
            budget=20,
        ),
        Preset(
            name="emergency",
            describe="danger to life, as soon as it is an alert",
            categories=_DANGER_TO_LIFE,
            budget=40,
        ),
        Preset(
            name="corporate_security",
            describe="danger to people, sites and travel, corroborated",
            categories=_DANGER_TO_PEOPLE_AND_SITES,
            certainty=Certainty.LIKELY,
            budget=20,
        ),
    )
}


def named(name: str) -> Preset:
    """Raise UsageError naming what exists."""
    if name not in PRESETS:
        raise errors.UsageError(f"preset {name!r} does not exist; use one of: {', '.join(PRESETS)}")
    return PRESETS[name]
