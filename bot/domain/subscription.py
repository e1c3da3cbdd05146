"""Subscriptions: what one channel wants, and whether an alert is it."""

from dataclasses import dataclass
from typing import Any

from bot.domain import alert as alerts


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceFilter:
    """A whole country (``lat`` is None) or a circle around a point; degrees and kilometres."""

    name: str
    country: str | None
    lat: float | None = None
    lon: float | None = None
    radius_km: float = 50.0

    def matches(self, place: alerts.Place) -> bool:
        if self.lat is None or self.lon is None:
            return self.country is not None and place.country == self.country
        distance = alerts.distance_km(self.lat, self.lon, place.lat, place.lon)
        return distance <= self.radius_km + place.radius_km


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Empty ``categories``, ``keywords``, ``langs`` and ``providers`` mean no restriction.

    Without ``places`` it matches only when it says ``anywhere``: unscoped means nothing, not everything.
    """

    subscription: str
    channel: str
    anywhere: bool = False
    places: tuple[PlaceFilter, ...] = ()
    categories: frozenset[str] = frozenset()
    level: alerts.Level = alerts.Level.ALERT
    keywords: tuple[str, ...] = ()
    langs: frozenset[str] = frozenset()
    providers: frozenset[str] = frozenset()
    min_authors: int = 1

    def mismatch(self, alert: alerts.Alert) -> str | None:
        """None if ``alert`` is wanted, else what stands against it, for ``explain``."""
        if self.categories and alert.category not in self.categories:
            return f"category {alert.category} is not subscribed"
        if alert.level.rank < self.level.rank:
            return f"level {alert.level.value} is below {self.level.value}"
        if alert.authors < self.min_authors:
            return f"{alert.authors} independent voices, {self.min_authors} asked for"
        if not self.anywhere and not (
            alert.place is not None and any(wanted.matches(alert.place) for wanted in self.places)
        ):
            return "the place is not subscribed" if alert.place else "the place is unknown and not subscribed anywhere"
        if self.langs and not self.langs & set(alert.langs):
            return "no evidence in a subscribed language"
        if self.providers and not self.providers & set(alert.sources):
            return "no evidence from a subscribed provider"
        headline = alert.headline.casefold()
        if self.keywords and not any(word.casefold() in headline for word in self.keywords):
            return "no subscribed keyword in the headline"
        return None

    def matches(self, alert: alerts.Alert) -> bool:
        return self.mismatch(alert) is None

    def describe(self) -> str:
        """One line for a person: ``anywhere · all categories · level alert and above``."""
        where = "anywhere" if self.anywhere else ", ".join(place.name for place in self.places) or "nowhere"
        parts = [
            where,
            ", ".join(sorted(self.categories)) or "all categories",
            f"level {self.level.value} and above",
        ]
        if self.keywords:
            parts.append("keywords " + ", ".join(self.keywords))
        if self.langs:
            parts.append("languages " + ", ".join(sorted(self.langs)))
        if self.providers:
            parts.append("providers " + ", ".join(sorted(self.providers)))
        if self.min_authors > 1:
            parts.append(f"at least {self.min_authors} independent voices")
        return " · ".join(parts)


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
        "keywords": list(subscription.keywords),
        "langs": sorted(subscription.langs),
        "providers": sorted(subscription.providers),
        "min_authors": subscription.min_authors,
    }


def from_spec(subscription: str, channel: str, spec: dict[str, Any]) -> Subscription:
    return Subscription(
        subscription=subscription,
        channel=channel,
        anywhere=spec["anywhere"],
        places=tuple(PlaceFilter(**place) for place in spec["places"]),
        categories=frozenset(spec["categories"]),
        level=alerts.Level(spec["level"]),
        keywords=tuple(spec["keywords"]),
        langs=frozenset(spec["langs"]),
        providers=frozenset(spec["providers"]),
        min_authors=spec["min_authors"],
    )
