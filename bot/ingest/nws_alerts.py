"""The alerts of the US National Weather Service as GeoJSON: bytes in, bulletins out. Pure.

The shape is CAP 1.2 in JSON, see https://www.weather.gov/documentation/services-web-api. Every message has an id of its
own and names those that it replaces in ``references``. Only actual messages count, never tests, exercises and drafts.
"""

from datetime import UTC, datetime
from typing import Any

import msgspec

from bot.domain import times
from bot.ingest import geojson, geometry, hazards
from bot.ingest.bulletins import Bulletin

_STATES = {
    "AL": "Alabama", "AK": "Alaska", "AZ": "Arizona", "AR": "Arkansas", "CA": "California", "CO": "Colorado",
    "CT": "Connecticut", "DE": "Delaware", "DC": "District of Columbia", "FL": "Florida", "GA": "Georgia",
    "HI": "Hawaii", "ID": "Idaho", "IL": "Illinois", "IN": "Indiana", "IA": "Iowa", "KS": "Kansas", "KY": "Kentucky",
    "LA": "Louisiana", "ME": "Maine", "MD": "Maryland", "MA": "Massachusetts", "MI": "Michigan", "MN": "Minnesota",
    "MS": "Mississippi", "MO": "Missouri", "MT": "Montana", "NE": "Nebraska", "NV": "Nevada", "NH": "New Hampshire",
    "NJ": "New Jersey", "NM": "New Mexico", "NY": "New York", "NC": "North Carolina", "ND": "North Dakota",
    "OH": "Ohio", "OK": "Oklahoma", "OR": "Oregon", "PA": "Pennsylvania", "RI": "Rhode Island",
    "SC": "South Carolina", "SD": "South Dakota", "TN": "Tennessee", "TX": "Texas", "UT": "Utah", "VT": "Vermont",
    "VA": "Virginia", "WA": "Washington", "WV": "West Virginia", "WI": "Wisconsin", "WY": "Wyoming",
    "PR": "Puerto Rico", "GU": "Guam", "VI": "US Virgin Islands", "AS": "American Samoa",
}  # fmt: skip
_MOST_REFERENCES = 200


class _Geometry(msgspec.Struct):
    coordinates: Any = None


class _Geocode(msgspec.Struct):
    UGC: list[str] = []


class _Reference(msgspec.Struct):
    identifier: str


class _Properties(msgspec.Struct):
    id: str
    sent: str
    status: str
    message_type: str = msgspec.field(name="messageType")
    event: str
    severity: str = "Unknown"
    certainty: str = "Unknown"
    urgency: str = "Unknown"
    area: str = msgspec.field(name="areaDesc", default="")
    expires: str | None = None
    ends: str | None = None
    headline: str | None = None
    sender: str | None = msgspec.field(name="senderName", default=None)
    address: str | None = msgspec.field(name="@id", default=None)
    geocode: _Geocode | None = None
    references: list[_Reference] | None = None


class _Feature(msgspec.Struct):
    properties: _Properties
    geometry: _Geometry | None = None


_feature = msgspec.json.Decoder(_Feature)


def decode(body: bytes) -> tuple[list[Bulletin], int]:
    """What can be told of, and how many entries could not be read. Raises UnreadableError."""
    found: list[Bulletin] = []
    dropped = 0
    for each in geojson.features(body):
        try:
            bulletin = _bulletin(_feature.decode(each))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError, OverflowError):
            dropped += 1
            continue
        found += [] if bulletin is None else [bulletin]
    return found, dropped


def _bulletin(feature: _Feature) -> Bulletin | None:
    """None for what is no message about anything real. Raises ValueError where its time makes no sense."""
    alert = feature.properties
    cancelled = alert.message_type == "Cancel"
    category = hazards.category(alert.event)
    if alert.status != "Actual" or alert.message_type not in ("Alert", "Update", "Cancel"):
        return None
    if category is None and not cancelled:
        return None
    if not alert.id or len(alert.id) > 200 or "\0" in alert.id:
        raise ValueError
    lat, lon = geometry.centre(geometry.outline(feature.geometry.coordinates if feature.geometry else None))
    return Bulletin(
        key=alert.id,
        others=tuple(each.identifier for each in (alert.references or [])[:_MOST_REFERENCES]),
        notable=alert.severity in ("Severe", "Extreme") or alert.urgency == "Immediate",
        cancelled=cancelled,
        category=category or "storm",
        certainty={"Observed": "observed", "Likely": "likely"}.get(alert.certainty, "possible"),
        text=_text(alert, cancelled=cancelled),
        sent_at=_time(alert.sent),
        expires_at=_expires(alert),
        author=alert.sender or "nws",
        url=alert.address if alert.address and alert.address.startswith("https://") else None,
        lat=lat,
        lon=lon,
    )


def _text(alert: _Properties, *, cancelled: bool) -> str:
    """The headline names the event, the times and the office; the states make the names of zones findable."""
    codes = alert.geocode.UGC if alert.geocode else []
    states = list(dict.fromkeys(_STATES[code[:2]] for code in codes if code[:2] in _STATES))
    where = f"{alert.area[:2_000]} ({', '.join([*states, 'United States'])})" if states else alert.area[:2_000]
    head = alert.headline or f"{alert.event} issued by {alert.sender or 'NWS'}"
    return f"{'Cancelled: ' if cancelled else ''}{head[:500]}\n{where}"


def _expires(alert: _Properties) -> datetime | None:
    """The event's own end where it is given; else the end of the message's validity."""
    moments = [_time(each) for each in (alert.ends, alert.expires) if each]
    return max(moments, default=None)


def _time(text: str) -> datetime:
    moment = times.from_text(text).astimezone(UTC)
    if moment.year < 1970:
        raise ValueError
    return moment
