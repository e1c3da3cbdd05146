"""The USGS summary and detail feeds in GeoJSON: bytes in, bulletins out. Pure.

The shape is that of https://earthquake.usgs.gov/earthquakes/feed/v1.0/geojson.php. One quake has several ids, one from
each network that saw it, and which of them is the preferred one changes; ``ids`` lists them all.
"""

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from bot.ingest import geojson
from bot.ingest.bulletins import Bulletin

AUTHOR = "usgs"
_ID = re.compile(r"[A-Za-z0-9_.-]{1,60}", re.ASCII)
_DISTANCE = re.compile(r"^(\d+(?:\.\d+)?) ?km ")


class _Properties(msgspec.Struct):
    time: int
    updated: int
    mag: float | None = None
    place: str | None = None
    url: str | None = None
    status: str = ""
    tsunami: int | None = None
    alert: str | None = None
    ids: str | None = None
    type: str = "earthquake"


class _Geometry(msgspec.Struct):
    coordinates: list[float | None] = []


class _Feature(msgspec.Struct):
    id: str
    properties: _Properties
    geometry: _Geometry | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quake:
    """``ids``: the preferred one first. ``at``: when it was last updated."""

    ids: tuple[str, ...]
    at: datetime
    bulletin: Bulletin


_feature = msgspec.json.Decoder(_Feature)


def decode(body: bytes, magnitude: float) -> tuple[list[Quake], int]:
    """The quakes, and how many entries could not be read. Raises UnreadableError."""
    quakes: list[Quake] = []
    dropped = 0
    for feature in geojson.features(body):
        found = decode_one(feature, magnitude)
        dropped += found is None
        quakes += [] if found is None else [found]
    return quakes, dropped


def decode_one(body: bytes, magnitude: float) -> Quake | None:
    """One feature, as in the list or by itself; None where it cannot be read."""
    try:
        feature = _feature.decode(body)
        at, updated = _time(feature.properties.time), _time(feature.properties.updated)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError, ValueError, OSError):
        return None
    what = feature.properties
    ids = tuple(dict.fromkeys(each for each in (feature.id, *(what.ids or "").split(",")) if _ID.fullmatch(each)))
    if not ids or ids[0] != feature.id or not math.isfinite(what.mag or 0.0):
        return None
    lat, lon = _point(feature.geometry)
    cancelled = what.status == "deleted" or what.type != "earthquake"
    text = _text(what, lat, lon, cancelled=cancelled)
    bulletin = Bulletin(
        key=feature.id,
        others=ids[1:],
        version=_version(what, at, lat, lon, cancelled=cancelled),
        stamp=f"{what.updated}",
        serial=what.updated,
        notable=what.mag is not None and what.mag >= magnitude and not cancelled,
        cancelled=cancelled,
        category="earthquake",
        text=text,
        sent_at=at,
        author=AUTHOR,
        url=what.url if what.url and what.url.startswith("https://") else None,
        lat=lat,
        lon=lon,
    )
    return Quake(ids=ids, at=updated, bulletin=bulletin)


def deleted(key: str, at: datetime, *, last: int) -> Bulletin:
    """Of a quake that is no longer there at all. ``last``: the serial of what was known of it; an older copy of the
    list that still has it says nothing."""
    serial = max(int(at.timestamp() * 1000), last + 1)
    return Bulletin(
        key=key,
        version="deleted",
        stamp=f"{serial}",
        serial=serial,
        notable=False,
        cancelled=True,
        category="earthquake",
        text="USGS has deleted its report of this earthquake.",
        sent_at=at,
        author=AUTHOR,
    )


def began(version: str) -> datetime:
    """When the quake was, to the minute, by the version of its bulletin; 1970 where it does not say."""
    minutes = version.partition(" ")[0]
    return datetime.fromtimestamp(60 * int(minutes) if minutes.isdecimal() and len(minutes) < 10 else 0, UTC)


def _time(milliseconds: int) -> datetime:
    found = datetime.fromtimestamp(milliseconds // 1000, UTC)
    if found.year < 1970:
        raise ValueError
    return found


def _point(geometry: _Geometry | None) -> tuple[float | None, float | None]:
    lon, lat = (*(geometry.coordinates if geometry else []), None, None)[:2]
    if lat is None or lon is None or not (-90 <= lat <= 90 and -180 <= lon <= 180):
        return None, None
    return round(lat, 4), round(lon, 4)


def _version(what: _Properties, at: datetime, lat: float | None, lon: float | None, *, cancelled: bool) -> str:
    """What a reader would see of it, its minute first; ``updated`` alone changes with every person who felt it."""
    if cancelled:
        return "deleted"
    where = f"{lat:.1f},{lon:.1f}" if lat is not None and lon is not None else "-"
    return f"{at.timestamp() // 60:.0f} {_magnitude(what.mag)} {where} {what.tsunami or 0} {what.alert or '-'}"[:60]


def _magnitude(mag: float | None) -> str:
    return "?" if mag is None else f"{mag:.1f}"


def _text(what: _Properties, lat: float | None, lon: float | None, *, cancelled: bool) -> str:
    place = _DISTANCE.sub(r"\1 km ", what.place or "")
    where = f", {place}" if place else ""
    if not where and lat is not None and lon is not None:
        where = f" at {abs(lat):.1f}°{'N' if lat >= 0 else 'S'} {abs(lon):.1f}°{'E' if lon >= 0 else 'W'}"
    if cancelled:
        return f"Withdrawn by USGS: M {_magnitude(what.mag)} earthquake{where}"
    text = f"M {_magnitude(what.mag)} earthquake{where}"
    if what.tsunami:
        text += ". In a region where a tsunami is possible: see tsunami.gov"
    if what.alert in ("yellow", "orange", "red"):
        text += f". Expected impact (PAGER): {what.alert}"
    return text
