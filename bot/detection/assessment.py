"""What one Event amounts to at one moment: a Cluster in, an Assessment out."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from bot.detection import casualties, levels, places
from bot.detection.clusters import Cluster
from bot.detection.members import Member
from bot.detection.weights import Weights
from bot.domain.alert import Alert, Certainty, Level, Place

_GROWTH = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """``town`` is the main place name as written, also where ``place`` is None."""

    level: Level
    certainty: Certainty
    category: str
    categories: dict[str, float]
    place: Place | None
    town: str | None
    toll: dict[str, int]
    newsworthiness: float
    voices: int
    verified: int
    official: int
    media: int
    figures: dict[str, Any]

    @property
    def where(self) -> str | None:
        return self.place.name if self.place is not None else self.town


def assess(
    cluster: Cluster, now: datetime, gazetteer: places.Gazetteer, weights: Weights, *, afresh: bool = False
) -> Assessment:
    """``afresh``: evidence went away, so nothing of the last revision is held on to."""
    last = None if afresh else cluster.raised
    counts, growth = toll(cluster), cluster.heard_since(now - _GROWTH)
    category = _category(cluster, last, weights)
    place = _place(cluster, last, gazetteer)
    named = places.main_town(cluster.towns)
    return Assessment(
        level=levels.reached(cluster, counts, growth, weights),
        certainty=levels.certainty(cluster, weights),
        category=category,
        categories=_categories(cluster, category),
        place=place,
        town=places.label(cluster.shown[named]) if named is not None and _well_named(cluster, named) else None,
        toll=counts,
        newsworthiness=levels.newsworthiness(cluster, category, counts),
        voices=len(cluster.voices),
        verified=len(cluster.verified),
        official=len(cluster.officials),
        media=cluster.media,
        figures=levels.figures(cluster, counts, growth, weights),
    )


def toll(cluster: Cluster) -> dict[str, int]:
    """Counts that may stand in a headline: the highest of the trusted accounts' latest statements; without any, what
    at least two voices state (the second highest)."""
    found: dict[str, int] = {}
    for kind in casualties.KINDS:
        trusted = [count for (_, stated), count in cluster.stated.items() if stated == kind]
        if trusted:
            found[kind] = max(trusted)
            continue
        stated = cluster.highest.get(kind, [])
        if len(stated) >= 2:
            found[kind] = stated[1]
    return found


def quotes(cluster: Cluster, weights: Weights) -> tuple[str, ...]:
    """Keys of the posts to quote: the earliest voice, the most informative one, the latest of a trusted account; after
    a denial that instead."""
    voices = cluster.voices
    if not voices:
        return tuple(member.key for member in list(cluster.members.values())[:1])
    chosen = [min(voices, key=lambda voice: voice.created_at)]
    chosen += list(cluster.denied_by.values())[-1:]
    rest = [voice for voice in voices if voice not in chosen]
    if rest:
        chosen.append(max(rest, key=_informative))
    trusted = [voice for voice in voices if voice.trusted and voice not in chosen]
    chosen += trusted[-1:]
    return tuple(member.key for member in chosen[: weights.quotes])


def _informative(voice: Member) -> tuple[float, bool, int]:
    return (round(voice.p, 1), voice.first_hand, min(voice.length, 280))


def _category(cluster: Cluster, last: Alert | None, weights: Weights) -> str:
    """The leading one; a raised event changes its own only for one that leads clearly."""
    if cluster.officials:
        return cluster.officials[-1].category
    leader = cluster.category
    if last is None or leader == last.category:
        return leader
    held = cluster.sums.get(last.category, 0.0)
    return leader if cluster.sums.get(leader, 0.0) > weights.category_margin * held else last.category


def _categories(cluster: Cluster, category: str) -> dict[str, float]:
    """Mean p over the voices: the main category and up to three others that matter."""
    count = max(1, len(cluster.voices))
    means = {name: round(total / count, 3) for name, total in cluster.sums.items()}
    others = sorted((name for name in means if name != category and means[name] >= 0.2), key=lambda n: (-means[n], n))
    return {name: means.get(name, 0.0) for name in [category, *others[:3]]}


def _place(cluster: Cluster, last: Alert | None, gazetteer: places.Gazetteer) -> Place | None:
    """Of the running votes; a raised event changes its place only for a surer one."""
    towns = dict(cluster.towns.most_common(40))
    place = gazetteer.resolve(towns, cluster.areas, cluster.shown, cluster.points[:9])
    held = last.place if last is not None else None
    if held is None or (place is not None and (place.name == held.name or place.confidence > held.confidence)):
        return place
    return held


def _well_named(cluster: Cluster, town: str) -> bool:
    """Two voices and a third of all name it: enough to put an unresolved name into a headline."""
    support = places.support(cluster.towns, town)
    return support >= min(2, len(cluster.voices)) and 3 * support >= len(cluster.voices)
