"""GDACS' RSS feed: bytes in, bulletins out. Pure.

An item is an event (``guid``: its type and number) in its latest episode; the feed begins with a byte-order mark.
"""

import hashlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from bot.ingest import documents, markup
from bot.ingest.bulletins import Bulletin
from bot.ingest.documents import Node
from bot.ingest.polling import UnreadableError

AUTHOR = "gdacs"
# A drought is no happening that is noticed while it happens.
_CATEGORIES = {
    "EQ": "earthquake", "TS": "earthquake", "TC": "storm", "FL": "flood", "VO": "volcano", "WF": "wildfire"
}  # fmt: skip
_KNOWN_TYPES = frozenset((*_CATEGORIES, "DR"))


def decode(body: bytes, charset: str | None) -> tuple[list[Bulletin], int]:
    """What can be told of, and how many items could not be read. Raises UnreadableError."""
    root = documents.parse(body, charset)
    channel = root.first("channel")
    if root.name != "rss" or channel is None:
        raise UnreadableError("sent something that is no RSS feed")
    found: list[Bulletin] = []
    dropped = 0
    for item in channel.all("item"):
        try:
            bulletin = _bulletin(item)
        except (ValueError, OverflowError):
            dropped += 1
            continue
        found += [] if bulletin is None else [bulletin]
    return found, dropped


def _bulletin(item: Node) -> Bulletin | None:
    """None for a kind of event that is nothing for us. Raises ValueError where it lacks what it needs."""
    kind, level, guid = item.text("gdacs:eventtype"), item.text("gdacs:alertlevel").capitalize(), item.text("guid")
    if kind not in _KNOWN_TYPES or not guid or len(guid) > 100 or level not in ("Green", "Orange", "Red"):
        raise ValueError
    if kind not in _CATEGORIES:
        return None
    title, summary = markup.text(item.text("title")), markup.text(item.text("description"))
    lat, lon = _point(item)
    digest = hashlib.blake2b(f"{level}\0{title}\0{summary}".encode(), digest_size=6).hexdigest()
    episode = item.text("gdacs:episodeid")[:40]
    link = item.text("link")
    return Bulletin(
        key=guid,
        version=f"{episode} {digest}",
        stamp=f"{episode}.{digest}",
        notable=level in ("Orange", "Red"),
        category=_CATEGORIES[kind],
        text="\n".join(dict.fromkeys((title if title.startswith(level) else f"{level} alert: {title}", summary))),
        sent_at=_time(item.text("gdacs:datemodified") or item.text("pubDate")),
        author=AUTHOR,
        url=link if link.startswith(("https://", "http://")) else None,
        lat=lat,
        lon=lon,
    )


def _point(item: Node) -> tuple[float | None, float | None]:
    place = item.first("geo:Point") or item
    words = item.text("georss:point").split() or [place.text("geo:lat"), place.text("geo:long")]
    try:
        lat, lon = float(words[0]), float(words[1])
    except (ValueError, IndexError):
        return None, None
    return (lat, lon) if -90 <= lat <= 90 and -180 <= lon <= 180 else (None, None)


def _time(text: str) -> datetime:
    """RFC 822. Raises ValueError."""
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, IndexError) as error:
        raise ValueError from error
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment.year < 1970:
        raise ValueError
    return moment
