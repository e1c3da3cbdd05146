"""Subscriptions: what one channel wants, and whether an alert is it."""

import re
from dataclasses import dataclass, field, replace
from typing import Any

from bot.domain import alert as alerts

RADIUS_KM = 50.0  # around a town, unless said otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFilter:
    """A whole country (``lat`` is None) or a circle around a point; degrees and kilometres."""

    name: str
    country: str | None
    lat: float | None = None
    lon: float | None = None
    radius_km: float = 50.0

    def matches(self, place: alerts.Place, radius_km: float | None = None) -> bool:
        """``radius_km``: instead of the circle's own."""
        if self.lat is None or self.lon is None:
            return self.country is not None and place.country == self.country
        distance = alerts.distance_km(self.lat, self.lon, place.lat, place.lon)
        return distance <= (self.radius_km if radius_km is None else radius_km) + place.radius_km


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Empty ``categories``, ``keywords``, ``excluded``, ``langs`` and ``providers`` mean no restriction.

    Without ``places`` it matches only when it says ``anywhere``: unscoped means nothing, not everything. ``radii``:
    category → kilometres around each place that is a circle, instead of the circle's own. Keywords and exclusions are
    whole words or phrases of the headline, whatever the case; one that ends in ``*`` is the beginning of a word.
    """

    subscription: str
    channel: str
    anywhere: bool = False
    places: tuple[PlaceFilter, ...] = ()
    categories: frozenset[str] = frozenset()
    level: alerts.Level = alerts.Level.ALERT
    radii: dict[str, float] = field(default_factory=dict)
    certainty: alerts.Certainty = alerts.Certainty.POSSIBLE
    keywords: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    langs: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    min_authors: int = 1

    def mismatch(self, alert: alerts.Alert) -> str | None:
        """None if ``alert`` is wanted, else what stands against it, for ``explain``."""
        if self.categories and alert.category not in self.categories:
            return f"category {alert.category} is not subscribed"
        if alert.level.rank < self.level.rank:
            return f"level {alert.level.value} is below {self.level.value}"
        if alert.certainty.rank < self.certainty.rank:
            return f"certainty {alert.certainty.value} is below {self.certainty.value}"
        if alert.authors < self.min_authors:
            return f"{alert.authors} independent voices, {self.min_authors} asked for"
        if not self.anywhere and not self._lies_within(alert):
            return "the place is not subscribed" if alert.place else "the place is unknown and not subscribed anywhere"
        if self.langs and not self.langs & set(alert.langs):
            return "no evidence in a subscribed language"
        if self.providers and not self.providers & set(alert.sources):
            return "no evidence from a subscribed provider"
        if self.keywords and not any(stands_in(word, alert.headline) for word in self.keywords):
            return "no subscribed keyword in the headline"
        unwanted = next((word for word in self.excluded if stands_in(word, alert.headline)), None)
        return None if unwanted is None else f"the headline has the excluded word {unwanted}"

    def matches(self, alert: alerts.Alert) -> bool:
        return self.mismatch(alert) is None

    def describe(self) -> str:
        """One line for a person: ``anywhere · all categories · level alert and above``."""
        where = "anywhere" if self.anywhere else ", ".join(map(_described, self.places)) or "nowhere"
        parts = [
            where,
            ", ".join(sorted(self.categories)) or "all categories",
            f"level {self.level.value} and above",
        ]
        if self.radii:
            parts.append("radius " + ", ".join(f"{name} {km:g} km" for name, km in sorted(self.radii.items())))
        if self.certainty is not alerts.Certainty.POSSIBLE:
            parts.append(f"{self.certainty.value} or surer")
        if self.keywords:
            parts.append("keywords " + ", ".join(self.keywords))
        if self.excluded:
            parts.append("not " + ", ".join(self.excluded))
        if self.langs:
            parts.append("languages " + ", ".join(sorted(self.langs)))
        if self.providers:
            parts.append("providers " + ", ".join(sorted(self.providers)))
        if self.min_authors > 1:
            parts.append(f"at least {self.min_authors} independent voices")
        return " · ".join(parts)

    def _lies_within(self, alert: alerts.Alert) -> bool:
        radius_km = self.radii.get(alert.category)
        return alert.place is not None and any(wanted.matches(alert.place, radius_km) for wanted in self.places)


def with_radius(places: tuple[PlaceFilter, ...], radius_km: float | None) -> tuple[PlaceFilter, ...]:
    """The same places, each circle this wide; None: a town's ``RADIUS_KM``, a region's its own."""
    return tuple(
        place if place.lat is None else replace(place, radius_km=radius_km or max(RADIUS_KM, place.radius_km))
        for place in places
    )


def stands_in(word: str, headline: str) -> bool:
    """Is ``word`` a whole word or phrase of the headline, or with ``*`` behind it the beginning of one?"""
    bare = word.casefold().rstrip("*").strip()
    end = "" if word.endswith("*") else r"(?!\w)"
    return bool(bare) and re.search(rf"(?<!\w){re.escape(bare)}{end}", headline.casefold()) is not None


def _described(place: PlaceFilter) -> str:
    return place.name if place.lat is None else f"{place.name} ± {place.radius_km:g} km"


def to_spec(subscription: Subscription) -> dict[str, Any]:
    """JSON-ready settings, without the ids; the inverse of ``from_spec``."""
    return {
        "anywhere": subscription.anywhere,
        "places": [
            {"name": p.name, "country": p.country, "lat": p.lat, "lon": p.lon, "radius_km": p.radius_km}
            for p in subscription.places
        ],
        "categories": sorted(subscription.categories),
        "level": subscription.level.value,
        "radii": subscription.radii,
        "certainty": subscription.certainty.value,
        "keywords": list(subscription.keywords),
        "excluded": list(subscription.excluded),
        "langs": sorted(subscription.langs),
        "providers": sorted(subscription.providers),
        "min_authors": subscription.min_authors,
    }


def from_spec(subscription: str, channel: str, spec: dict[str, Any]) -> Subscription:
    """A spec of a version that knew fewer settings means their defaults."""
    return Subscription(
        subscription=subscription,
        channel=channel,
        anywhere=spec["anywhere"],
        places=tuple(PlaceFilter(**place) for place in spec["places"]),
        categories=frozenset(spec["categories"]),
        level=alerts.Level(spec["level"]),
        radii=dict(spec.get("radii") or {}),
        certainty=alerts.Certainty(spec.get("certainty") or alerts.Certainty.POSSIBLE),
        keywords=tuple(spec["keywords"]),
        excluded=tuple(spec.get("excluded") or ()),
        langs=frozenset(spec["langs"]),
        providers=frozenset(spec["providers"]),
        min_authors=spec["min_authors"],
    )
