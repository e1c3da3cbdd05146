"""GDACS' RSS feed: bytes in, bulletins out. Pure.

An item is an event (``guid``: its type and number) in its latest episode; the feed begins with a byte-order mark.
``gdacs:datemodified`` tells an older copy of the feed from a newer one.
"""

import hashlib

from bot.ingest import documents, feed_elements, markup
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
    lat, lon = feed_elements.point(item)
    modified = feed_elements.moment(item.text("gdacs:datemodified"))
    sent_at = modified or feed_elements.moment(item.text("pubDate"))
    if sent_at is None:
        raise ValueError
    digest = hashlib.blake2b(f"{level}\0{title}\0{summary}".encode(), digest_size=6).hexdigest()
    episode = item.text("gdacs:episodeid")[:40]
    link = item.text("link")
    return Bulletin(
        key=guid,
        version=f"{episode} {digest}",
        stamp=f"{episode if modified is None else f'{modified.timestamp():.0f}'}.{digest}",
        serial=0 if modified is None else int(modified.timestamp()),
        notable=level in ("Orange", "Red"),
        category=_CATEGORIES[kind],
        text="\n".join(dict.fromkeys((title if title.startswith(level) else f"{level} alert: {title}", summary))),
        sent_at=sent_at,
        author=AUTHOR,
        url=link if link.startswith(("https://", "http://")) else None,
        lat=lat,
        lon=lon,
    )
