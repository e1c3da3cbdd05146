"""What the usual elements of RSS and Atom say: times and places, with the usual mistakes. Pure."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bot.domain import times
from bot.ingest.documents import Node

_OFFSETS = re.compile(r"([+-]\d\d)(\d\d)$")


def moment(text: str) -> datetime | None:
    """RFC 822 or RFC 3339; without a zone it is UTC. None where it is none."""
    if not text or len(text) > 60:
        return None
    try:
        found = times.from_text(_OFFSETS.sub(r"\1:\2", text)) if text[:4].isdigit() else parsedate_to_datetime(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found.replace(microsecond=found.microsecond // 1000 * 1000) if found.year >= 1970 else None


def point(node: Node) -> tuple[float | None, float | None]:
    """Latitude and longitude, as GeoRSS or W3C Geo; None and None where there are none."""
    place = node.first("geo:Point") or node
    words = node.text("georss:point").replace(",", " ").split() or [place.text("geo:lat"), place.text("geo:long")]
    try:
        lat, lon = float(words[0]), float(words[1])
    except (ValueError, IndexError):
        return None, None
    return (lat, lon) if -90 <= lat <= 90 and -180 <= lon <= 180 else (None, None)
