"""Alerts: numbered revisions of what we say about an Event, and the Place they name."""

import hashlib
import math
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from bot.domain import times


class Kind(StrEnum):
    NEW = "new"
    UPDATE = "update"
    CORRECTION = "correction"
    RETRACTION = "retraction"


class Level(StrEnum):
    """How loud. Ordered by ``rank``."""

    ALERT = "alert"
    URGENT = "urgent"
    FLASH = "flash"

    @property
    def rank(self) -> int:
        return ("alert", "urgent", "flash").index(self.value)


class Certainty(StrEnum):
    """CAP 1.2 ``certainty``, the part of it that a report can have."""

    POSSIBLE = "possible"
    LIKELY = "likely"
    OBSERVED = "observed"

    @property
    def rank(self) -> int:
        return ("possible", "likely", "observed").index(self.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Degrees (WGS 84), kilometres; ``country`` is ISO 3166-1 alpha-2; confidence 0..1."""

    name: str
    country: str | None
    lat: float
    lon: float
    radius_km: float
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One revision of one Event as one View sees it: the contract's Alert line plus what rendering and routing need.

    ``evidence`` holds post keys (``provider|id``), oldest first; ``quotes`` are the keys of the posts to quote: the
    earliest, then the most informative. Texts stay in the posts table so that a deletion at the source reaches every
    alert. ``change`` says in words what is different from the revision before (empty for revision 1).
    """

    event: str
    revision: int
    kind: Kind
    level: Level
    certainty: Certainty
    newsworthiness: float
    disputed: bool
    category: str
    categories: dict[str, float]
    headline: str
    place: Place | None
    first_post_at: datetime
    raised_at: datetime
    posts: int
    authors: int
    sources: tuple[str, ...]
    evidence: tuple[str, ...]
    quotes: tuple[str, ...] = ()
    langs: tuple[str, ...] = ()
    change: str = ""
    figures: dict[str, Any] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return alert_id(self.event, self.revision)


def event_id(first_evidence_key: str) -> str:
    """16 hex digits from content alone: the first permitted evidence."""
    return hashlib.sha256(first_evidence_key.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def alert_id(event: str, revision: int) -> str:
    return f"{event}-{revision}"


def to_line(alert: Alert, *, with_evidence: bool = True) -> dict[str, Any]:
    """The contract's Alert line as a JSON-ready dict; ``evidence`` is empty without the capability."""
    place = alert.place
    return {
        "alert": alert.id,
        "event": alert.event,
        "revision": alert.revision,
        "kind": alert.kind.value,
        "level": alert.level.value,
        "certainty": alert.certainty.value,
        "newsworthiness": round(alert.newsworthiness, 3),
        "disputed": alert.disputed,
        "category": alert.category,
        "categories": {name: round(p, 3) for name, p in alert.categories.items()},
        "headline": alert.headline,
        "place": None
        if place is None
        else {
            "name": place.name,
            "country": place.country,
            "lat": place.lat,
            "lon": place.lon,
            "radius_km": place.radius_km,
            "confidence": round(place.confidence, 2),
        },
        "first_post_at": times.to_text(alert.first_post_at),
        "raised_at": times.to_text(alert.raised_at),
        "posts": alert.posts,
        "authors": alert.authors,
        "sources": list(alert.sources),
        "evidence": [key.split("|", 1)[1] for key in alert.evidence] if with_evidence else [],
    }


def to_body(alert: Alert) -> dict[str, Any]:
    """Everything, for the store; the inverse of ``from_body``."""
    body = to_line(alert)
    body["evidence"] = list(alert.evidence)
    body["quotes"] = list(alert.quotes)
    body["langs"] = list(alert.langs)
    body["change"] = alert.change
    body["figures"] = alert.figures
    return body


def from_body(body: dict[str, Any]) -> Alert:
    place = body["place"]
    return Alert(
        event=body["event"],
        revision=body["revision"],
        kind=Kind(body["kind"]),
        level=Level(body["level"]),
        certainty=Certainty(body["certainty"]),
        newsworthiness=body["newsworthiness"],
        disputed=body["disputed"],
        category=body["category"],
        categories=body["categories"],
        headline=body["headline"],
        place=None if place is None else Place(**place),
        first_post_at=times.from_text(body["first_post_at"]),
        raised_at=times.from_text(body["raised_at"]),
        posts=body["posts"],
        authors=body["authors"],
        sources=tuple(body["sources"]),
        evidence=tuple(body["evidence"]),
        quotes=tuple(body["quotes"]),
        langs=tuple(body["langs"]),
        change=body["change"],
        figures=body["figures"],
    )


def distance_km(lat1: float, lon1: float, lat2: float, lon2: float) -> float:
    """Great-circle distance by the haversine formula, mean earth radius 6371 km."""
    phi1, phi2 = math.radians(lat1), math.radians(lat2)
    a = (
        math.sin((phi2 - phi1) / 2) ** 2
        + math.cos(phi1) * math.cos(phi2) * math.sin(math.radians(lon2 - lon1) / 2) ** 2
    )
    return 2 * 6371.0 * math.asin(min(1.0, math.sqrt(a)))
