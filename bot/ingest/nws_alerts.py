"""The alerts of the US National Weather Service as GeoJSON: bytes in, bulletins out. Pure.

The shape is CAP 1.2 in JSON, see https://www.weather.gov/documentation/services-web-api. Every message has an id of its
own and names those that it replaces in ``references``, and in the parameter ``expiredReferences`` where their time was
over. Only actual messages to the public count, never tests, exercises and drafts.

What a message does to its hazard stands in its VTEC (NWS Instruction 10-1703), also where the message has no type that
says so: a message that follows nothing unexpired is an Alert, even if it says that a warning has expired.
"""

import re
from datetime import datetime
from typing import Any

import msgspec

from bot.domain import post
from bot.ingest import bulletins, geojson, geometry, hazards
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
_VTEC = re.compile(r"/([OTEX])\.([A-Z]{3})\.[A-Z]{4}\.[A-Z]{2}\.[A-Z]\.\d{4}\.")
_OVER = {"EXP"}
_LIFTED = {"CAN", "UPG"}


class _Reference(msgspec.Struct):
    identifier: str


class _Properties(msgspec.Struct):
    id: str
    sent: str
    status: str
    message_type: str = msgspec.field(name="messageType")
    event: str
    scope: str | None = None
    severity: str | None = None
    certainty: str | None = None
    urgency: str | None = None
    area: str | None = msgspec.field(name="areaDesc", default=None)
    expires: str | None = None
    ends: str | None = None
    headline: str | None = None
    sender: str | None = msgspec.field(name="senderName", default=None)
    address: str | None = msgspec.field(name="@id", default=None)
    geocode: Any = None
    references: list[_Reference] | None = None
    parameters: Any = None


class _Feature(msgspec.Struct):
    properties: _Properties
    geometry: Any = None


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
    vtec = [found for each in _listed(alert.parameters, "VTEC") if (found := _VTEC.match(each))]
    does = {found[2] for found in vtec}
    ended = bool(does) and does <= _LIFTED | _OVER
    cancelled = alert.message_type == "Cancel" or (ended and bool(does & _LIFTED))
    category = hazards.category(alert.event)
    if alert.status != "Actual" or alert.message_type not in ("Alert", "Update", "Cancel"):
        return None
    if alert.scope not in (None, "", "Public") or (vtec and all(found[1] == "T" for found in vtec)):
        return None
    if (does and does <= _OVER) or (category is None and not cancelled):
        return None
    if not alert.id or len(alert.id) > 200 or "\0" in alert.id:
        raise ValueError
    lat, lon = geometry.centre(geometry.outline(_member(feature.geometry, "coordinates")))
    return Bulletin(
        key=post.unversioned(alert.id),
        others=_references(alert),
        notable=alert.severity in ("Severe", "Extreme") or alert.urgency == "Immediate",
        cancelled=cancelled,
        category=category or "storm",
        certainty={"Observed": "observed", "Likely": "likely"}.get(alert.certainty or "", "possible"),
        text=_text(alert, cancelled=cancelled),
        sent_at=bulletins.moment(alert.sent),
        expires_at=_expires(alert),
        author=alert.sender or "nws",
        url=alert.address if alert.address and alert.address.startswith("https://") else None,
        lat=lat,
        lon=lon,
    )


def _references(alert: _Properties) -> tuple[str, ...]:
    expired = (
        reference.split(",") for each in _listed(alert.parameters, "expiredReferences") for reference in each.split()
    )
    found = [each.identifier for each in alert.references or []]
    found += [parts[1] for parts in expired if len(parts) >= 3]
    names = (each for each in found if each and len(each) <= 200 and each != alert.id)
    return tuple(dict.fromkeys(map(post.unversioned, names)))[:_MOST_REFERENCES]


def _text(alert: _Properties, *, cancelled: bool) -> str:
    """The headline names the event, the times and the office; the states make the names of zones findable."""
    codes = [code[:2] for code in _listed(alert.geocode, "UGC")]
    states = list(dict.fromkeys(_STATES[code] for code in codes if code in _STATES))
    area = (alert.area or "")[:2_000]
    where = f"{area} ({', '.join([*states, 'United States'])})" if states else area
    head = alert.headline or f"{alert.event} issued by {alert.sender or 'NWS'}"
    return f"{'Cancelled: ' if cancelled else ''}{head[:500]}\n{where}"


def _expires(alert: _Properties) -> datetime | None:
    """The event's own end where it is given; else the end of the message's validity."""
    end = alert.ends or alert.expires
    return bulletins.moment(end) if end else None


def _listed(found: object, name: str) -> list[str]:
    """The strings under that name."""
    value = _member(found, name)
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _member(found: object, name: str) -> object:
    return found.get(name) if isinstance(found, dict) else None
