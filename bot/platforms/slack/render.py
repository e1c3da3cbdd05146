"""Messages as Slack shows them: Block Kit blocks, the coloured attachment, and a plain text for what shows neither.

Pure functions. Everything that may come from a post stands in ``plain_text`` or ``rich_text``, which Slack does not
parse, and is escaped all the same; ``mrkdwn`` holds our own words only. Lengths are counted as Slack's JSON would be
in UTF-16, the strictest reading of its limits.
"""

import math
import re
import unicodedata
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, assert_never
from urllib.parse import urlsplit

from bot.domain import alert as alerts
from bot.domain.delivery import Act, Message, Quote, Sending

WITHDRAWN = "This alert was withdrawn."

# Slack's limits are 3,000 a section text, 150 a header, 50 blocks, and about 13,200 characters in all.
_HEADER = 150
_TEXT = 1_000
_HEADLINE = 600
_CHANGE = 1_500
_QUOTE = 900
_QUOTES = 3
_NAME = 120
_URL = 500
_CHUNK = 2_900
_PLAIN = 10_500

_SYMBOL = {alerts.Level.FLASH: "🚨", alerts.Level.URGENT: "⚠️", alerts.Level.ALERT: "🔔"}
_COLOUR = {alerts.Level.FLASH: "#c1121f", alerts.Level.URGENT: "#e85d04", alerts.Level.ALERT: "#1d6fb8"}
_GREY = "#7a7a7a"
_CATEGORY = {
    "terror_attack": "🎯",
    "shooting": "🔫",
    "armed_conflict": "⚔️",
    "unrest": "📣",
    "explosion": "💥",
    "fire": "🔥",
    "wildfire": "🌲",
    "earthquake": "📈",
    "volcano": "🌋",
    "landslide": "⛰️",
    "flood": "🌊",
    "storm": "🌀",
    "meteor": "☄️",
    "transport_accident": "🚆",
    "structural_collapse": "🏚️",
    "hazmat_pollution": "☣️",
    "public_health": "🏥",
    "cyber": "💻",
    "markets": "💹",
    "politics": "🏛️",
}
_CERTAINTY = {
    alerts.Certainty.POSSIBLE: "possible, not confirmed",
    alerts.Certainty.LIKELY: "likely",
    alerts.Certainty.OBSERVED: "observed",
}
# Explicit marks of direction: they can turn the rest of a line around.
_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
_LOOKALIKE = str.maketrans({"*": "∗", "_": "ˍ", "~": "∼", "`": "ˋ"})

Block = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The arguments of chat.postMessage and chat.update that say something. ``text`` is the fallback."""

    text: str
    blocks: list[Block]
    attachments: list[dict[str, Any]] = field(default_factory=list)


def render(sending: Sending) -> Rendered:
    """Raise ValueError where the act and the message do not belong together: that is a bug."""
    message, delivery = sending.message, sending.delivery
    match sending.act:
        case Act.POST | Act.EDIT:
            return _event(_alert(sending), message, delivery)
        case Act.REPLY:
            return _reply(_alert(sending), message, delivery)
        case Act.RETRACT:
            return plain(WITHDRAWN, block_id=delivery)
        case Act.NOTICE | Act.DIGEST:
            return plain(message.text, block_id=delivery)
        case _:
            assert_never(sending.act)


def plain(text: str, *, block_id: str | None = None) -> Rendered:
    """Text with line breaks and nothing else: notices, digests, replies to commands. Cut after 10,500 characters."""
    text = clean(text).strip() or "(empty)"
    chunks: list[str] = []
    rest, room = text, _PLAIN
    while rest and room > 0:
        chunk, rest = _split_at_line(rest, min(_CHUNK, room))
        if not chunk:
            break
        room -= sum(map(_cost, chunk))
        chunks.append(chunk)
    if rest:
        chunks[-1] = chunks[-1].rstrip() + " …"
    block = _rich([_section(_text(chunk)) for chunk in chunks])
    return Rendered(text=_fallback(text, _TEXT), blocks=[_named(block, block_id)])


def clean(text: str) -> str:
    """Without control characters, marks of direction, lone surrogates; line breaks stay, three in a row become two."""
    lines = "\n".join(text.splitlines())
    kept = "".join(_visible(char) for char in lines)
    while "\n\n\n" in kept:
        kept = kept.replace("\n\n\n", "\n\n")
    return kept


def escape(text: str) -> str:
    """The three characters that Slack asks to be escaped, and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def cut(text: str, limit: int) -> str:
    """Cleaned, cut to ``limit`` as it will be counted, then escaped: never inside an entity or a joined emoji."""
    kept, rest = _split(clean(text).strip(), limit)
    if rest:
        kept, _ = _split(kept, limit - 1)
        kept = kept.rstrip() + "…"
    return escape(kept)


def line(text: str, limit: int) -> str:
    """As ``cut``, on one line."""
    return cut(" ".join(clean(text).split()), limit)


def _event(alert: alerts.Alert, message: Message, delivery: str) -> Rendered:
    retracted = alert.kind is alerts.Kind.RETRACTION
    marks = _marks(alert)
    header = " · ".join([*marks, _level(alert), _category(alert)])
    blocks: list[Block] = [
        {
            "type": "header",
            "block_id": delivery,
            "text": {"type": "plain_text", "text": line(header, _HEADER), "emoji": False},
        },
        _rich([_section(_text(line(alert.headline, _HEADLINE), escaped=True, bold=True, strike=retracted))]),
    ]
    change = message.change or alert.change
    if marks and change:
        blocks.append(_rich([_section(_text(cut(change, _CHANGE), escaped=True))]))
    inside = [_facts(alert), _times(alert), *(_quote(quote) for quote in message.quotes[:_QUOTES])]
    where = f" ({alert.place.name})" if alert.place and alert.place.name not in alert.headline else ""
    text = _fallback(f"{header}: {alert.headline}{where}", _TEXT)
    colour = _GREY if retracted else _COLOUR[alert.level]
    return Rendered(
        text=text,
        blocks=blocks,
        attachments=[{"color": colour, "fallback": _fallback(header, _HEADER), "blocks": inside}],
    )


def _reply(alert: alerts.Alert, message: Message, delivery: str) -> Rendered:
    title = " · ".join([f"Revision {alert.revision}", *_marks(alert), _level(alert)])
    change = message.change or alert.change or "The alert was updated."
    figures = f"{_CERTAINTY[alert.certainty].capitalize()}; {_voices(alert)}."
    block = _rich(
        [
            _section(_text(line(title, _HEADER), escaped=True, bold=True)),
            _section(_text(cut(change, _CHANGE) + "\n", escaped=True), _text(figures)),
        ]
    )
    return Rendered(text=_fallback(f"{title}: {change}", _TEXT), blocks=[_named(block, delivery)])


def _marks(alert: alerts.Alert) -> list[str]:
    marks = []
    if alert.kind is alerts.Kind.CORRECTION:
        marks.append("✏️ CORRECTED")
    if alert.kind is alerts.Kind.RETRACTION:
        marks.append("⛔ RETRACTED")
    if alert.disputed:
        marks.append("❓ DISPUTED")
    return marks


def _level(alert: alerts.Alert) -> str:
    return f"{_SYMBOL[alert.level]} {alert.level.value.upper()}"


def _category(alert: alerts.Alert) -> str:
    return f"{_CATEGORY.get(alert.category, '❕')} {alert.category.replace('_', ' ').capitalize()}"


def _facts(alert: alerts.Alert) -> Block:
    lines: list[list[dict[str, Any]]] = []
    if alert.place is not None:
        place = alert.place
        country = f" ({place.country})" if place.country else ""
        within = f", within {place.radius_km:.0f} km" if place.radius_km >= 1 else ""
        named = line(place.name, _NAME) + escape(f"{country}{within} · ")
        lines.append(
            [_text("Place: ", bold=True), _text(named, escaped=True), _link(_map(place), "map")],
        )
    else:
        lines.append([_text("Place: ", bold=True), _text("unknown")])
    lines.append([_text("Certainty: ", bold=True), _text(_CERTAINTY[alert.certainty])])
    heard = f"{_voices(alert)} ({', '.join(alert.sources)})" if alert.sources else _voices(alert)
    lines.append([_text("Heard from: ", bold=True), _text(line(heard, 2 * _NAME), escaped=True)])
    return _rich([_section(*line) for line in lines])


def _voices(alert: alerts.Alert) -> str:
    voices = "1 independent voice" if alert.authors == 1 else f"{alert.authors} independent voices"
    return f"{voices} in {'1 post' if alert.posts == 1 else f'{alert.posts} posts'}"


def _times(alert: alerts.Alert) -> Block:
    # Our own words only: this is the one place that Slack parses.
    text = f"First post {_date(alert.first_post_at, '{ago}')} · {_date(alert.first_post_at, '{date_short} {time}')}"
    return {"type": "context", "elements": [{"type": "mrkdwn", "text": f"{text} · revision {alert.revision}"}]}


def _date(when: datetime, form: str) -> str:
    return f"<!date^{int(when.timestamp())}^{form}|{_utc(when)}>"


def _utc(when: datetime) -> str:
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _quote(quote: Quote) -> Block:
    by = [line(quote.provider, _NAME)]
    if quote.author and not quote.author.startswith("did:"):
        by.append(line(quote.author, _NAME))
    date = {
        "type": "date",
        "timestamp": int(quote.created_at.timestamp()),
        "format": "{date_short} {time}",
        "fallback": _utc(quote.created_at),
    }
    under = [_text(" · ".join(by) + " · ", escaped=True), date]
    url = _web_address(quote.url)
    if url is not None:
        under += [_text(" · "), _link(url, "open the post")]
    said = _text(cut(quote.text, _QUOTE) or "(no text)", escaped=True)
    return _rich([{"type": "rich_text_quote", "elements": [said]}, _section(*under)])


def _web_address(url: str | None) -> str | None:
    """``url`` if it is an ordinary web address that Slack will take as a link, else None."""
    if url is None or not url.isascii() or any(char in url or char.isspace() for char in "<>|\"'`\\{} \t\r\n"):
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return None
    return url if good and url.isprintable() and len(url) <= _URL else None


def _map(place: alerts.Place) -> str:
    zoom = max(3, min(16, round(14 - math.log2(max(place.radius_km, 0.5)))))
    at = f"{place.lat:.4f}", f"{place.lon:.4f}"
    return f"https://www.openstreetmap.org/?mlat={at[0]}&mlon={at[1]}#map={zoom}/{at[0]}/{at[1]}"


def _alert(sending: Sending) -> alerts.Alert:
    if sending.message.alert is None:
        raise ValueError(f"delivery {sending.delivery}: a {sending.act.value} needs an alert")
    return sending.message.alert


def _rich(elements: list[dict[str, Any]]) -> Block:
    return {"type": "rich_text", "elements": elements}


def _section(*elements: dict[str, Any]) -> dict[str, Any]:
    return {"type": "rich_text_section", "elements": list(elements)}


def _text(text: str, *, escaped: bool = False, bold: bool = False, strike: bool = False) -> dict[str, Any]:
    # An empty text element is refused as invalid_blocks.
    element: dict[str, Any] = {"type": "text", "text": (text if escaped else escape(text)) or "…"}
    style = {name: True for name, wanted in (("bold", bold), ("strike", strike)) if wanted}
    return element | {"style": style} if style else element


def _link(url: str, text: str) -> dict[str, Any]:
    return {"type": "link", "url": url, "text": text}


def _named(block: Block, block_id: str | None) -> Block:
    return block if block_id is None else {"type": block["type"], "block_id": block_id} | block


def _fallback(text: str, limit: int) -> str:
    """One line for what shows no blocks. Slack parses it, so what would be markup becomes a look-alike."""
    return line(re.sub(r":(?=\S)", ":\u200b", text.translate(_LOOKALIKE)), limit)


def _visible(char: str) -> str:
    if char == "\n":
        return char
    if char == "\t":
        return " "
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    return "" if category == "Cc" or ord(char) in _BIDI else char


def _cost(char: str) -> int:
    if char in "<>":
        return 4
    if char == "&":
        return 5
    if char in '"\\\n':
        return 2
    return 2 if ord(char) > 0xFFFF else 1


def _split(text: str, limit: int) -> tuple[str, str]:
    """The longest head that counts at most ``limit``, tearing off no accent and no part of an emoji; and the rest."""
    room, end = limit, 0
    while end < len(text) and (cost := _cost(text[end])) <= room:
        room -= cost
        end += 1
    if end == len(text):
        return text, ""
    back = end
    while back > max(0, end - 16) and (_joins(text[back]) or text[back - 1] == "\u200d"):
        back -= 1
    end = back if back > max(0, end - 16) else end
    return text[:end], text[end:]


def _split_at_line(text: str, limit: int) -> tuple[str, str]:
    """As ``_split``, but at a line break if the second half of the head has one; that break is dropped."""
    head, rest = _split(text, limit)
    at = head.rfind("\n") if rest else -1
    return (head, rest) if at <= len(head) // 2 else (head[:at], head[at + 1 :] + rest)


def _joins(char: str) -> bool:
    return unicodedata.category(char) in ("Mn", "Me", "Mc", "Cf") or 0x1F3FB <= ord(char) <= 0x1F3FF
