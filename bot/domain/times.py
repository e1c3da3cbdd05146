"""Times are aware UTC datetimes; on the wire and in the store they are RFC 3339 with milliseconds and ``Z``.

The fixed width makes the text form sort like the time, which the store relies on.
"""

import re
from datetime import UTC, datetime, timedelta

_SPANS = {"m": "minutes", "h": "hours", "d": "days"}


def to_text(when: datetime) -> str:
    """``2026-11-23T20:00:00.123Z``. Raises ValueError for a naive datetime."""
    if when.tzinfo is None:
        raise ValueError("a naive datetime has no place here")
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_text(text: str) -> datetime:
    """Parse RFC 3339 (also a bare date) into aware UTC, truncated to milliseconds. Raises ValueError."""
    when = datetime.fromisoformat(text)
    when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    return when.replace(microsecond=when.microsecond // 1000 * 1000)


def parse_span(text: str) -> timedelta:
    """``90m``, ``36h``, ``14d``. Raises ValueError."""
    found = re.fullmatch(r"(\d{1,6})([mhd])", text.strip())
    if found is None:
        raise ValueError(f"{text!r} is not a span of time")
    return timedelta(**{_SPANS[found[2]]: int(found[1])})
