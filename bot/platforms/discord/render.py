"""Message → what Discord is asked to show: content, embeds, and where the delivery id stands in them. Pure.

Everything that comes from posts goes through ``escaping``. The level is always a symbol and a word, never colour alone.
"""

from dataclasses import dataclass
from typing import Any, assert_never

from bot.domain import alert as alerts
from bot.domain import delivery
from bot.platforms.discord import escaping

# https://discord.com/developers/docs/resources/message#embed-object-embed-limits
CONTENT_LIMIT = 2000
TITLE_LIMIT = 256
DESCRIPTION_LIMIT = 4096
FIELD_NAME_LIMIT = 256
FIELD_VALUE_LIMIT = 1024
EMBED_LIMIT = 6000

QUOTES_SHOWN = 5
_QUOTE_TEXT_LIMIT = 500
_URL_LIMIT = 300
_CONTENT_LINE_LIMIT = 600
_FOOTER = "tocsin · "
_SMALL_PRINT = "-# "

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
    """``embed`` is a dict of Discord's form, or None for plain text."""

    content: str
    embed: dict[str, Any] | None = None


def render(sending: delivery.Sending) -> Rendering:
    """What ``sending`` shows. For RETRACT: the blanked text, for where the message cannot be deleted."""
    match sending.act:
        case delivery.Act.POST | delivery.Act.EDIT:
            return _alert(sending.message, sending.delivery)
        case delivery.Act.REPLY:
            return _reply(sending.message, sending.delivery)
        case delivery.Act.RETRACT:
            return _blank(sending.delivery)
        case delivery.Act.NOTICE | delivery.Act.DIGEST:
            return _text(sending.message.text, sending.delivery)
        case _:
            assert_never(sending.act)


def thread_name(message: delivery.Message) -> str:
    """Names no words of any post: a thread outlives the deletion of the message that it hangs on."""
    return "What changed" if message.alert is None else f"{_category(message.alert)}: what changed"


def carries(delivery_id: str, *, content: str, footers: list[str]) -> bool:
    """Does a message from the history, with this content and these embed footers, belong to ``delivery_id``?"""
    return _FOOTER + delivery_id in footers or content.endswith("\n" + _SMALL_PRINT + delivery_id)


def embed_length(embed: dict[str, Any]) -> int:
    """What counts towards the limit of 6,000 over all embeds of a message."""
    texts = [embed.get("title", ""), embed.get("description", "")]
    texts += [embed.get(part, {}).get(key, "") for part, key in (("author", "name"), ("footer", "text"))]
    texts += [field[key] for field in embed.get("fields", ()) for key in ("name", "value")]
    return sum(escaping.length(text) for text in texts)


def _alert(message: delivery.Message, delivery_id: str) -> Rendering:
    alert = message.alert
    if alert is None:
        return _text(message.text, delivery_id)
    marks = _marks(alert)
    embed: dict[str, Any] = {
        "author": {"name": _at_a_glance(alert)},
        "title": _headline(alert, TITLE_LIMIT),
        "color": _colour(alert),
        "footer": {"text": _FOOTER + delivery_id},
        "fields": _facts(alert),
    }
    if marks:
        embed["description"] = "\n".join(marks)
    _add_quotes(embed, message.quotes)
    place = f" · {_place_name(alert.place)}" if alert.place else ""
    line = f"{_at_a_glance(alert)}{place}: "
    return Rendering(content=line + _headline(alert, _CONTENT_LINE_LIMIT), embed=embed)


def _reply(message: delivery.Message, delivery_id: str) -> Rendering:
    alert = message.alert
    given = (message.change, alert.change if alert else "", message.text)
    change = next((text for text in given if escaping.one_line(text)), "Updated.")
    if alert is None:
        return _text(change, delivery_id)
    embed: dict[str, Any] = {
        "author": {"name": f"{_at_a_glance(alert)} · revision {alert.revision}"},
        "description": escaping.escape(change, 1500),
        "color": _colour(alert),
        "footer": {"text": _FOOTER + delivery_id},
        "fields": _facts(alert),
    }
    _add_quotes(embed, message.quotes)
    return Rendering(
        content=f"{_at_a_glance(alert)}: {escaping.escape(escaping.one_line(change), _CONTENT_LINE_LIMIT)}",
        embed=embed,
    )


def _blank(delivery_id: str) -> Rendering:
    return Rendering(
        content="This message was withdrawn.",
        embed={
            "description": "Its content may no longer be shown here.",
            "color": _GREY,
            "footer": {"text": _FOOTER + delivery_id},
        },
    )


def _text(text: str, delivery_id: str) -> Rendering:
    """Plain content with the id as small print; what is too long for that becomes an embed's description."""
    small_print = f"\n{_SMALL_PRINT}{delivery_id}"
    shown = text if escaping.clean(text).strip() else "(no text)"
    escaped = escaping.escape(shown, DESCRIPTION_LIMIT)
    if escaping.length(escaped) + escaping.length(small_print) <= CONTENT_LIMIT:
        return Rendering(content=escaped + small_print)
    return Rendering(
        content=escaping.escape(escaping.one_line(shown), 200),
        embed={"description": escaped, "color": _GREY, "footer": {"text": _FOOTER + delivery_id}},
    )


def _at_a_glance(alert: alerts.Alert) -> str:
    symbol, word, _ = _LEVELS[alert.level]
    if alert.kind is alerts.Kind.RETRACTION:
        symbol, word = "❌", f"RETRACTED · was {word.lower()}"
    elif alert.kind is alerts.Kind.CORRECTION:
        word = f"{word} · CORRECTED"
    disputed = " · DISPUTED" if alert.disputed else ""
    return f"{symbol} {word}{disputed} · {_CATEGORIES.get(alert.category, '❔')} {_category(alert)}"


def _headline(alert: alerts.Alert, limit: int) -> str:
    return escaping.escape(escaping.one_line(alert.headline), limit) or _category(alert)


def _category(alert: alerts.Alert) -> str:
    return escaping.plain(alert.category.replace("_", " ").capitalize(), 60)


def _colour(alert: alerts.Alert) -> int:
    return _GREY if alert.kind is alerts.Kind.RETRACTION else _LEVELS[alert.level][2]


def _marks(alert: alerts.Alert) -> list[str]:
    change = escaping.escape(escaping.one_line(alert.change), 1000)
    marks = []
    match alert.kind:
        case alerts.Kind.RETRACTION:
            marks.append(f"❌ **Retracted.** {change}".strip())
        case alerts.Kind.CORRECTION:
            marks.append(f"✏️ **Corrected.** {change}".strip())
        case alerts.Kind.UPDATE:
            marks.append(f"🔄 **Updated.** {change}".strip())
        case alerts.Kind.NEW:
            pass
        case _:
            assert_never(alert.kind)
    if alert.disputed:
        marks.append("❓ **Disputed.** Some of the evidence contradicts this.")
    return marks


def _facts(alert: alerts.Alert) -> list[dict[str, Any]]:
    providers = escaping.escape(", ".join(alert.sources), 200)
    voices = f"{alert.authors} independent {'voice' if alert.authors == 1 else 'voices'}"
    posts = f"{alert.posts} {'post' if alert.posts == 1 else 'posts'}"
    return [
        _field("Place", _place(alert.place), inline=True),
        _field("Certainty", _CERTAINTIES[alert.certainty], inline=True),
        _field("Reports", f"{voices}, {posts}" + (f" · {providers}" if providers else ""), inline=True),
        _field("First post", f"<t:{int(alert.first_post_at.timestamp())}:R>", inline=True),
    ]


def _place(place: alerts.Place | None) -> str:
    if place is None:
        return "unknown"
    zoom = max(3, min(13, 13 - int(max(place.radius_km, 1.0)).bit_length() + 2))
    at = f"{place.lat:.4f}/{place.lon:.4f}"
    link = f"https://www.openstreetmap.org/?mlat={place.lat:.4f}&mlon={place.lon:.4f}#map={zoom}/{at}"
    return f"[{_place_name(place)}]({link}) · within {place.radius_km:.3g} km"


def _place_name(place: alerts.Place) -> str:
    country = f", {place.country}" if place.country else ""
    return escaping.escape(escaping.one_line(place.name + country) or "somewhere", 200)


def _add_quotes(embed: dict[str, Any], quotes: tuple[delivery.Quote, ...]) -> None:
    """As many of the first quotes as fit into the embed as a whole."""
    for number, quote in enumerate(quotes[:QUOTES_SHOWN], start=1):
        text = escaping.escape(escaping.one_line(quote.text), _QUOTE_TEXT_LIMIT) or "(no text)"
        field = _field(f"💬 Report {number}", f"> {text}\n{_source(quote)}", inline=False)
        if embed_length(embed) + escaping.length(field["name"]) + escaping.length(field["value"]) > EMBED_LIMIT:
            return
        embed["fields"].append(field)


def _source(quote: delivery.Quote) -> str:
    parts = [escaping.escape(escaping.one_line(part), 60) for part in (quote.provider, quote.author) if part]
    if quote.url and _safe(quote.url):
        parts.append(f"[the post]({quote.url})")
    return " · ".join([*parts, f"<t:{int(quote.created_at.timestamp())}:R>"])


def _safe(url: str) -> bool:
    """May it stand inside a masked link? Anything unusual is left out rather than repaired."""
    return (
        url.startswith(("https://", "http://"))
        and len(url) <= _URL_LIMIT
        and url.isascii()
        and not any(character in url for character in "()<>[]\\\"'`|* ")
        and url.isprintable()
    )


def _field(name: str, value: str, *, inline: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "inline": inline}
