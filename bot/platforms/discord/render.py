"""Message → what Discord is asked to show: content, embed, components, and where the delivery id stands. Pure.

The content alone says what matters (level, category, place, headline): it is what a phone's lock screen, a screen
reader and people who hide embeds get. The embed adds to it and repeats nothing. Everything that comes from posts goes
through ``escaping``. The level is always a symbol and a word, never colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, assert_never

from bot.domain import alert as alerts
from bot.domain import delivery
from bot.platforms.discord import components, escaping

# https://discord.com/developers/docs/resources/message#embed-object-embed-limits
CONTENT_LIMIT = 2000
TITLE_LIMIT = 256
DESCRIPTION_LIMIT = 4096
FIELD_NAME_LIMIT = 256
FIELD_VALUE_LIMIT = 1024
EMBED_LIMIT = 6000

_HEADLINE_LIMIT = 600
_CHANGE_LIMIT = 1000
_QUOTE_TEXT_LIMIT = 500
_ITEM_HEADLINE_LIMIT = 160
_FOOTER = "tocsin · "
_SMALL_PRINT = "-# "
_NO_EVIDENCE = "🔒 Source posts are not part of this organisation's access."

_LEVELS = {
    alerts.Level.FLASH: ("🚨", "FLASH", 0xC1121F),
    alerts.Level.URGENT: ("⚠️", "URGENT", 0xE36414),
    alerts.Level.ALERT: ("🔔", "ALERT", 0x1D70A2),
}
_GREY = 0x6C757D
_CERTAINTIES = {
    alerts.Certainty.POSSIBLE: "possible: not confirmed",
    alerts.Certainty.LIKELY: "likely",
    alerts.Certainty.OBSERVED: "observed",
}
_CHANGES = {
    alerts.Kind.NEW: "🆕 **New.**",
    alerts.Kind.UPDATE: "🔄 **Updated.**",
    alerts.Kind.CORRECTION: "✏️ **Corrected.**",
    alerts.Kind.RETRACTION: "❌ **Retracted.**",
}
_CATEGORIES = {
    "terror_attack": "💣",
    "shooting": "🔫",
    "armed_conflict": "⚔️",
    "unrest": "📢",
    "explosion": "💥",
    "fire": "🔥",
    "wildfire": "🌲",
    "earthquake": "🌐",
    "volcano": "🌋",
    "landslide": "⛰️",
    "flood": "🌊",
    "storm": "🌀",
    "meteor": "☄️",
    "transport_accident": "🚧",
    "structural_collapse": "🏚️",
    "hazmat_pollution": "☣️",
    "public_health": "🏥",
    "cyber": "💻",
    "markets": "📉",
    "politics": "🏛️",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendering:
    """``embed`` and ``components`` are dicts of Discord's form; no embed: plain text."""

    content: str
    embed: dict[str, Any] | None = None
    components: tuple[dict[str, Any], ...] = ()


def render(sending: delivery.Sending) -> Rendering:
    """What ``sending`` shows. For RETRACT: the blanked text, for where the message cannot be deleted."""
    match sending.act:
        case delivery.Act.POST | delivery.Act.EDIT:
            return _alert(sending.message, sending.delivery, sending.root)
        case delivery.Act.REPLY:
            return _reply(sending.message, sending.delivery)
        case delivery.Act.RETRACT:
            return _blank(sending.delivery)
        case delivery.Act.NOTICE:
            return _text(sending.message.text, sending.delivery)
        case delivery.Act.DIGEST:
            return _digest(sending.message, sending.delivery)
        case _:
            assert_never(sending.act)


def thread_name(message: delivery.Message) -> str:
    """Names no words of any post: a thread outlives the deletion of the message that it hangs on."""
    if message.alert is None or message.digested:
        return "What changed"
    return f"{escaping.plain(_category_words(message.alert), 60)}: what changed"


def carries(delivery_id: str, *, content: str, footers: list[str]) -> bool:
    """Does a message from the history, with this content and these embed footers, belong to ``delivery_id``?"""
    return _FOOTER + delivery_id in footers or content.endswith("\n" + _SMALL_PRINT + delivery_id)


def embed_length(embed: dict[str, Any]) -> int:
    """What counts towards the limit of 6,000 over all embeds of a message."""
    texts = [embed.get("title", ""), embed.get("description", "")]
    texts += [embed.get(part, {}).get(key, "") for part, key in (("author", "name"), ("footer", "text"))]
    texts += [field[key] for field in embed.get("fields", ()) for key in ("name", "value")]
    return sum(escaping.length(text) for text in texts)


def _alert(message: delivery.Message, delivery_id: str, root: str) -> Rendering:
    alert = message.alert
    if alert is None:
        return _text(message.text, delivery_id)
    parts = _marks(alert)
    if not message.evidence:
        parts.append(_NO_EVIDENCE)
    elif message.quotes:
        parts.append(_quote(message.quotes[0]))
    embed = _embed("\n".join(parts), _colour(alert), delivery_id)
    embed["fields"] = _facts(alert)
    if message.acknowledged is not None:
        embed["fields"].append(_acknowledged(message.acknowledged))
    return Rendering(content=_what(alert), embed=embed, components=components.rows(message, root))


def _reply(message: delivery.Message, delivery_id: str) -> Rendering:
    """In a thread the change is enough; what stands in the channel or under a digest names its event as well."""
    alert = message.alert
    given = (message.change, alert.change if alert else "", message.text)
    change = next((text for text in given if escaping.one_line(text)), "")
    if alert is None:
        return _text(change or "Updated.", delivery_id)
    explained = f"{_CHANGES[alert.kind]} {escaping.escape(change, _CHANGE_LIMIT)}".strip()
    if message.escalated or message.digested:
        raised = "⬆️ **ESCALATED** · " if message.escalated else ""
        embed = _embed(explained, _colour(alert), delivery_id)
        content = raised + _what(alert)
    else:
        embed = _embed("", _colour(alert), delivery_id)
        content = explained
    embed["fields"] = _facts(alert)
    return Rendering(content=content, embed=embed)


def _digest(message: delivery.Message, delivery_id: str) -> Rendering:
    if not message.items:
        return _text(message.text, delivery_id)
    first = escaping.escape(escaping.one_line(message.text), _HEADLINE_LIMIT) or "Digest"
    colour = _colour(message.items[0])
    return Rendering(content=first, embed=_embed(_as_many_as_fit(message.items), colour, delivery_id))


def _as_many_as_fit(items: Sequence[alerts.Alert]) -> str:
    lines: list[str] = []
    used = 0
    for number, alert in enumerate(items):
        line = _item(alert)
        left = len(items) - number
        rest = f"\n… and {left} more" if left > 1 else ""
        if used + escaping.length(line) + 1 + escaping.length(rest) > DESCRIPTION_LIMIT:
            return "\n".join([*lines, f"… and {left} more"])
        lines.append(line)
        used += escaping.length(line) + 1
    return "\n".join(lines)


def _item(alert: alerts.Alert) -> str:
    place = f" · {_place_name(alert.place, 60)}" if alert.place else ""
    headline = _struck(alert, _headline(alert, _ITEM_HEADLINE_LIMIT))
    return f"{_at_a_glance(alert)}{place}: {headline} · {_time(alert.first_post_at, 'R')}"


def _blank(delivery_id: str) -> Rendering:
    embed = _embed("Its content may no longer be shown here.", _GREY, delivery_id)
    return Rendering(content="This message was withdrawn.", embed=embed)


def _text(text: str, delivery_id: str) -> Rendering:
    """Plain content with the id as small print; what is too long for that becomes an embed's description."""
    small_print = f"\n{_SMALL_PRINT}{delivery_id}"
    shown = text if escaping.clean(text).strip() else "(no text)"
    escaped = escaping.escape(shown, DESCRIPTION_LIMIT)
    if escaping.length(escaped) + escaping.length(small_print) <= CONTENT_LIMIT:
        return Rendering(content=escaped + small_print)
    embed = _embed(escaped, _GREY, delivery_id)
    return Rendering(content=escaping.escape(escaping.one_line(shown), 200), embed=embed)


def _embed(description: str, colour: int, delivery_id: str) -> dict[str, Any]:
    embed: dict[str, Any] = {"color": colour, "footer": {"text": _FOOTER + delivery_id}}
    return embed | {"description": description} if description else embed


def _what(alert: alerts.Alert) -> str:
    place = f" · {_place_name(alert.place, 200)}" if alert.place else ""
    return f"{_at_a_glance(alert)}{place}\n**{_struck(alert, _headline(alert, _HEADLINE_LIMIT))}**"


def _at_a_glance(alert: alerts.Alert) -> str:
    symbol, word, _ = _LEVELS[alert.level]
    said = f"{symbol} **{word}**"
    if alert.kind is alerts.Kind.RETRACTION:
        said = f"❌ **RETRACTED** · was {word.lower()}"
    elif alert.kind is alerts.Kind.CORRECTION:
        said += " · **CORRECTED**"
    disputed = " · **DISPUTED**" if alert.disputed else ""
    return f"{said}{disputed} · {_CATEGORIES.get(alert.category, '❔')} {_category(alert)}"


def _struck(alert: alerts.Alert, headline: str) -> str:
    return f"~~{headline}~~" if alert.kind is alerts.Kind.RETRACTION else headline


def _headline(alert: alerts.Alert, limit: int) -> str:
    return escaping.escape(escaping.one_line(alert.headline), limit) or _category(alert)


def _category(alert: alerts.Alert) -> str:
    return escaping.escape(escaping.one_line(_category_words(alert)), 60)


def _category_words(alert: alerts.Alert) -> str:
    return alert.category.replace("_", " ").capitalize()


def _colour(alert: alerts.Alert) -> int:
    return _GREY if alert.kind is alerts.Kind.RETRACTION else _LEVELS[alert.level][2]


def _marks(alert: alerts.Alert) -> list[str]:
    marks = []
    if alert.kind is not alerts.Kind.NEW:
        change = escaping.escape(escaping.one_line(alert.change), _CHANGE_LIMIT)
        marks.append(f"{_CHANGES[alert.kind]} {change}".strip())
    if alert.disputed:
        marks.append("❓ **Disputed.** Some of the evidence contradicts this.")
    return marks


def _facts(alert: alerts.Alert) -> list[dict[str, Any]]:
    """Three fields: what stands beside each other in one line of an embed."""
    providers = escaping.escape(", ".join(alert.sources), 200)
    voices = f"{alert.authors} independent {'voice' if alert.authors == 1 else 'voices'}"
    posts = f"{alert.posts} {'post' if alert.posts == 1 else 'posts'}"
    reports = f"{voices}, {posts}" + (f" · {providers}" if providers else "")
    since = f"{_time(alert.first_post_at, 'R')}\n{_time(alert.first_post_at, 'f')}"
    return [
        _field("Place", _place(alert.place)),
        _field("Certainty", f"{_CERTAINTIES[alert.certainty]}\n{reports}"),
        _field("First post", since),
    ]


def _acknowledged(acknowledgement: delivery.Acknowledgement) -> dict[str, Any]:
    platform, _, account = acknowledgement.by.partition(":")
    known = platform == "discord" and account.isascii() and account.isdigit()
    by = f"<@{account}>" if known else escaping.escape(escaping.one_line(acknowledgement.by), 200)
    field = _field("✅ Acknowledged", f"by {by} · {_time(acknowledgement.at, 'R')}")
    return field | {"inline": False}


def _place(place: alerts.Place | None) -> str:
    if place is None:
        return "unknown"
    zoom = max(3, min(13, 13 - int(max(place.radius_km, 1.0)).bit_length() + 2))
    at = f"{place.lat:.4f}/{place.lon:.4f}"
    link = f"https://www.openstreetmap.org/?mlat={place.lat:.4f}&mlon={place.lon:.4f}#map={zoom}/{at}"
    return f"[{_place_name(place, 200)}]({link})\nwithin {place.radius_km:.3g} km"


def _place_name(place: alerts.Place, limit: int) -> str:
    country = f", {place.country}" if place.country else ""
    return escaping.escape(escaping.one_line(place.name + country) or "somewhere", limit)


def _quote(quote: delivery.Quote) -> str:
    text = escaping.escape(escaping.one_line(quote.text), _QUOTE_TEXT_LIMIT) or "(no text)"
    # A DID tells a reader nothing, and the link leads to its account.
    author = None if quote.author and quote.author.startswith("did:") else quote.author
    source = [escaping.escape(escaping.one_line(part), 60) for part in (quote.provider, author) if part]
    if quote.url and escaping.linkable(quote.url):
        source.append(f"[the post]({quote.url})")
    return f"> {text}\n— {' · '.join([*source, _time(quote.created_at, 'R')])}"


def _time(at: datetime, style: str) -> str:
    """Discord shows it in the reader's zone and language. ``R``: how long ago, ``f``: date and time."""
    return f"<t:{int(at.timestamp())}:{style}>"


def _field(name: str, value: str) -> dict[str, Any]:
    return {"name": name, "value": value, "inline": True}
