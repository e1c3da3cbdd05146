"""Meteoalarm's Atom feeds with CAP elements, and single CAP messages: bytes in, bulletins out. Pure.

A feed has one entry for each language, area and outline of a message; all with the same ``cap:identifier`` are one
bulletin here, which says what the English ones of the highest bar say. Titles are English in every feed ("Orange Wind
Warning issued for Ireland - Cork"), events are in the issuer's words. Entries do not say what they replace: the CAP
message behind them does, in ``references``.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from bot.domain import post
from bot.ingest import bulletins, documents, geometry, hazards, markup
from bot.ingest.bulletins import Bulletin
from bot.ingest.documents import Node
from bot.ingest.polling import UnreadableError

_TITLE = re.compile(r"^(.{3,100}? warning issued for .{2,60}?) - (.{1,300})$", re.IGNORECASE | re.DOTALL)
_TAGGED = re.compile(r"^[a-z]{2}(?:-|$)", re.IGNORECASE)
_MOST_AREAS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``message``: where the whole CAP message is. ``follows``: is it an update or a cancellation?

    ``others`` of the bulletin is empty unless the entries themselves name what they replace.
    """

    bulletin: Bulletin
    message: str | None
    follows: bool


def decode(body: bytes, charset: str | None) -> tuple[list[Found], int]:
    """One for each message, and how many entries could not be read. Raises UnreadableError."""
    root = documents.parse(body, charset)
    if root.name != "feed":
        raise UnreadableError("sent something that is no Atom feed")
    messages: dict[str, list[Node]] = {}
    dropped = 0
    for entry in root.all("entry"):
        identifier = entry.text("cap:identifier") or entry.text("id").partition("?")[0]
        if identifier and len(identifier) <= 300:
            messages.setdefault(identifier, []).append(entry)
        else:
            dropped += 1
    found: list[Found] = []
    for identifier, entries in messages.items():
        try:
            warning = _warning(identifier, entries)
        except (ValueError, OverflowError):
            dropped += 1
            continue
        found += [] if warning is None else [warning]
    return found, dropped


def references(message: bytes) -> tuple[str, ...]:
    """The identifiers that a CAP message names: ``sender,identifier,sent`` each, by blanks. Raises UnreadableError."""
    root = documents.parse(message)
    if root.name not in ("cap:alert", "alert"):
        raise UnreadableError("sent something that is no CAP message")
    return _identifiers(root.text("cap:references", "references"))


def _identifiers(text: str) -> tuple[str, ...]:
    parts = (reference.split(",") for reference in text.split()[:200])
    return tuple(dict.fromkeys(post.unversioned(part[1]) for part in parts if len(part) >= 3 and part[1]))


def _warning(identifier: str, entries: list[Node]) -> Found | None:
    """None for what is no message about anything real. Raises ValueError where a time makes no sense."""
    telling = _telling(entries)
    entry = telling[0]
    kind = entry.text("cap:message_type", "cap:msgType") or "Alert"
    title = markup.text(entry.text("title"))
    event = markup.text(entry.text("cap:event"))
    category = hazards.category(f"{title.partition(' issued for ')[0]} {event}")
    cancelled = kind == "Cancel"
    if any(each.text("cap:status") not in ("Actual", "") for each in entries):
        return None
    if any(each.text("cap:scope") not in ("Public", "") for each in entries):
        return None
    if kind not in ("Alert", "Update", "Cancel") or (category is None and not cancelled):
        return None
    lat, lon = geometry.centre(
        [pair for each in telling[:_MOST_AREAS] for pair in geometry.pairs(each.text("cap:polygon", "cap:circle"))]
    )
    ends = [bulletins.moment(until) for each in telling if (until := each.text("cap:expires"))]
    expires_at = max(ends, default=None)
    bulletin = Bulletin(
        key=post.unversioned(identifier),
        others=_identifiers(entry.text("cap:references")),
        notable=_is_severe(entry),
        cancelled=cancelled,
        category=category or "storm",
        certainty={"Observed": "observed", "Likely": "likely"}.get(entry.text("cap:certainty"), "possible"),
        text=_text(title, event, telling, expires_at, cancelled=cancelled),
        sent_at=bulletins.moment(entry.text("cap:sent", "updated", "published")),
        expires_at=expires_at,
        author=markup.text(entry.text("cap:sender") or _country(title) or "meteoalarm")[:100],
        url=_page(entry),
        lat=lat,
        lon=lon,
    )
    return Found(bulletin=bulletin, message=_message(entry), follows=kind != "Alert")


def _telling(entries: list[Node]) -> list[Node]:
    """Those of one language, English if there is any; of these the severe ones, if there are any."""
    languages = [_language(each) for each in entries]
    language = "en" if "en" in languages else languages[0]
    spoken = [each for each, tag in zip(entries, languages, strict=True) if tag == language]
    return [each for each in spoken if _is_severe(each)] or spoken


def _is_severe(entry: Node) -> bool:
    return entry.text("cap:severity") in ("Severe", "Extreme")


def _text(title: str, event: str, entries: list[Node], expires_at: datetime | None, *, cancelled: bool) -> str:
    """The title once, then every area that the message names, then until when."""
    found = _TITLE.match(title)
    areas = dict.fromkeys(markup.text(each.text("cap:areaDesc"))[:300] for each in entries)
    named = [area for area in areas if area][:_MOST_AREAS]
    head = found[1] if found and named else title or event
    lines = [f"{'Cancelled: ' if cancelled else ''}{head}: {'; '.join(named)}" if named else head]
    if event and event.lower() not in title.lower() and event.isascii():
        lines.append(event)
    if expires_at is not None:
        lines.append(f"Until {expires_at:%Y-%m-%d %H:%M} UTC")
    return "\n".join(lines)


def _language(entry: Node) -> str:
    tagged = [link.attributes.get("hreflang", "") for link in entry.all("link")]
    named = [entry.text("cap:language"), entry.attributes.get("xml:lang", ""), *tagged]
    return next((tag[:2].lower() for tag in named if _TAGGED.match(tag)), "")


def _country(title: str) -> str:
    return title.partition(" issued for ")[2].partition(" - ")[0]


def _page(entry: Node) -> str | None:
    links = (link.attributes.get("href", "") for link in entry.all("link"))
    return next((link for link in links if link.startswith("https://meteoalarm.org")), None)


def _message(entry: Node) -> str | None:
    typed = (link.attributes for link in entry.all("link") if link.attributes.get("type") == "application/cap+xml")
    return next((each["href"] for each in typed if "href" in each), None)
