"""Messages as Slack shows them: Block Kit blocks, the coloured attachment, and a plain text for what shows neither.

Pure functions. ``Rendered.text`` is what a notification and a screen reader say, so it names the level in a word, the
category, the headline and the place.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, assert_never

from bot.domain import alert as alerts
from bot.domain.delivery import Acknowledgement, Act, Message, Quote, Sending
from bot.platforms.base import MUTES, Action
from bot.platforms.slack import blocks, escaping, wording
from bot.platforms.slack.blocks import Block

WITHDRAWN = "This alert was withdrawn."
NO_EVIDENCE = "Source posts are not part of this organisation's access."
MUTE_SEPARATOR = "|"
_NO_TEXT = "(no text)"
# Every ``action_id`` is this and the Action's value.
_ACTION_PREFIX = "tocsin."

# Slack's limits are 50 blocks and about 13,200 characters in all; these leave room for what stands around the texts.
_TEXT = 1_000
_HEADLINE = 600
_DIGEST_HEADLINE = 160
_DIGEST_TOLD = 5
_CHANGE = 1_500
_QUOTE = 900
_NAME = 120
_CHUNK = 2_900
_PLAIN = 10_500
_LINKS = 20
_LINK = 60  # what a link costs beside its address
_ADDRESS = re.compile(r"(?m)^(https?://\S+)$")
_ACCOUNT = re.compile(r"slack:[^/]+/([UW][A-Z0-9]{1,20})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """The arguments of chat.postMessage and chat.update that say something. ``text`` is the fallback. ``broadcast``:
    this reply is to be seen in the channel, too, not in its thread alone."""

    text: str
    blocks: list[Block]
    attachments: list[dict[str, Any]] = field(default_factory=list)
    broadcast: bool = False


def render(sending: Sending) -> Rendered:
    """Raise ValueError where the act and the message do not belong together: that is a bug."""
    message, delivery = sending.message, sending.delivery
    match sending.act:
        case Act.POST | Act.EDIT:
            return _event(_alert(sending), sending)
        case Act.REPLY:
            return _reply(_alert(sending), message, delivery)
        case Act.RETRACT:
            return plain(WITHDRAWN, block_id=delivery)
        case Act.DIGEST if message.items:
            return _digest(message, delivery)
        case Act.NOTICE | Act.DIGEST:
            return plain(message.text, block_id=delivery)
        case _:
            assert_never(sending.act)


def plain(text: str, *, block_id: str | None = None) -> Rendered:
    """Text with line breaks and nothing else: notices, digests without alerts. Cut after 10,500 characters."""
    return _plain(text, lambda chunk: [blocks.text(chunk)], room=_PLAIN, block_id=block_id)


def reply(text: str) -> Rendered:
    """As ``plain``, for what a person asked: a line that is nothing but a web address can be clicked.
    Cut after 9,300 characters."""
    left = _LINKS

    def linked(chunk: str) -> list[Block]:
        nonlocal left
        parts = _ADDRESS.split(chunk, maxsplit=left) if left else [chunk]
        left -= len(parts) // 2
        urls = [blocks.web_address(part) if at % 2 else None for at, part in enumerate(parts)]
        return [
            blocks.text(part) if url is None else blocks.link(url)
            for part, url in zip(parts, urls, strict=True)
            if part
        ]

    return _plain(text, linked, room=_PLAIN - _LINKS * _LINK)


def _plain(text: str, shown: Callable[[str], list[Block]], *, room: int, block_id: str | None = None) -> Rendered:
    text = escaping.clean(text) or "(empty)"
    chunks = escaping.pages(text, limit=_CHUNK, room=room)
    block = blocks.rich(*(blocks.section(*shown(chunk)) for chunk in chunks), block_id=block_id)
    return Rendered(text=escaping.fallback(text, _TEXT), blocks=[block])


def action_id(action: Action) -> str:
    return _ACTION_PREFIX + action.value


def action(action_id: str) -> Action:
    """The inverse of ``action_id``; raises ValueError for what it did not make."""
    if not action_id.startswith(_ACTION_PREFIX):
        raise ValueError("an action that is not one of ours")
    return Action(action_id.removeprefix(_ACTION_PREFIX))


def _event(alert: alerts.Alert, sending: Sending) -> Rendered:
    message = sending.message
    retracted = alert.kind is alerts.Kind.RETRACTION
    title = wording.title(alert)
    headline = blocks.text(_shown(alert.headline, _HEADLINE), escaped=True, bold=True, strike=retracted)
    top = [blocks.header(title, block_id=sending.delivery), blocks.rich(blocks.section(headline))]
    change = message.change or alert.change
    if wording.marks(alert) and change:
        top.append(blocks.rich(blocks.section(blocks.text(_shown_lines(change, _CHANGE), escaped=True))))
    under = [_facts(alert)]
    if not message.evidence:
        under.append(blocks.rich(blocks.section(blocks.text(NO_EVIDENCE))))
    elif message.quotes:
        under.append(_quote(message.quotes[0]))
    if message.acknowledged is not None:
        under.append(_acknowledged(message.acknowledged, mention=sending.act is Act.EDIT))
    under.append(_buttons(alert, message, sending.root))
    return Rendered(
        text=escaping.fallback(_spoken(alert), _TEXT),
        blocks=top,
        attachments=[
            {
                "color": wording.GREY if retracted else wording.COLOUR[alert.level],
                "fallback": escaping.fallback(title, blocks.HEADER),
                "blocks": under,
            }
        ],
    )


def _reply(alert: alerts.Alert, message: Message, delivery: str) -> Rendered:
    loud = f"⬆️ Escalated to {wording.level(alert)}" if message.escalated else wording.level(alert)
    title = " · ".join([*wording.marks(alert), loud, f"revision {alert.revision}"])
    change = escaping.clean(message.change or alert.change) or "The alert was updated."
    lines = [blocks.section(blocks.text(escaping.line(title, blocks.HEADER), escaped=True, bold=True))]
    # Seen outside its thread, or in the thread of a digest, it must say what it is about.
    named = message.escalated or message.digested
    if named:
        lines.append(blocks.section(*_named(alert, _HEADLINE)))
    lines.append(blocks.section(blocks.text(_shown_lines(change, _CHANGE), escaped=True)))
    figures = f"{wording.CERTAINTY[alert.certainty].capitalize()}; {wording.heard(alert)}."
    lines.append(blocks.section(blocks.text(figures)))
    about = f"{title} · {escaping.one_line(_named_spoken(alert), _HEADLINE)}"
    return Rendered(
        text=escaping.fallback(f"{about} — {change}", _TEXT),
        blocks=[blocks.rich(*lines, block_id=delivery)],
        broadcast=message.escalated,
    )


def _digest(message: Message, delivery: str) -> Rendered:
    first = blocks.text(_shown(message.text, _HEADLINE), escaped=True, bold=True)
    lines: list[Block] = []
    room = _PLAIN
    for alert in message.items:
        line = _digest_line(alert)
        room -= _size(line)
        if room < 0:
            break
        lines.append(line)
    parts = [blocks.section(first), blocks.bullets(lines)]
    left = len(message.items) - len(lines)
    if left:
        parts.append(blocks.section(blocks.text(f"… and {left} more")))
    return Rendered(
        text=_digest_spoken(message),
        blocks=[blocks.rich(*parts, block_id=delivery)],
    )


def _digest_spoken(message: Message) -> str:
    told = [message.text, *map(_spoken, message.items[:_DIGEST_TOLD])]
    more = len(message.items) - _DIGEST_TOLD
    parts = [escaping.one_line(text, _TEXT // (_DIGEST_TOLD + 2)) for text in told]
    rest = f"and {more} more" if more > 0 else ""
    return escaping.fallback(" • ".join(filter(None, [*parts, rest])), _TEXT)


def _digest_line(alert: alerts.Alert) -> Block:
    title = escaping.line(wording.title(alert), blocks.HEADER) + " · "
    headline = _shown(alert.headline, _DIGEST_HEADLINE)
    place = escaping.line(wording.beside_headline(alert), _NAME)
    tail = f" · {place}" if place else ""
    return blocks.section(
        blocks.text(title, escaped=True, bold=True),
        blocks.text(f"{headline}{tail} · {wording.voices(alert)} · ", escaped=True),
        blocks.date(alert.first_post_at, "{date_short} {time}"),
    )


def _named(alert: alerts.Alert, limit: int) -> list[Block]:
    """The event in one line: category, headline, place."""
    headline = f"{escaping.line(wording.category(alert), _NAME)} · {_shown(alert.headline, limit)}"
    place = escaping.line(wording.beside_headline(alert), _NAME)
    after = [blocks.text(f" · {place}", escaped=True)] if place else []
    return [blocks.text(headline, escaped=True, bold=True), *after]


def _named_spoken(alert: alerts.Alert) -> str:
    place = escaping.one_line(wording.beside_headline(alert), _NAME)
    headline = escaping.one_line(alert.headline, _HEADLINE) or _NO_TEXT
    return f"{wording.category(alert)}: {headline}" + (f" ({place})" if place else "")


def _spoken(alert: alerts.Alert) -> str:
    return " · ".join([*wording.marks(alert), wording.level(alert), _named_spoken(alert)])


def _facts(alert: alerts.Alert) -> Block:
    if alert.place is None:
        place = [blocks.text("unknown")]
    else:
        named = (escaping.one_line(alert.place.name, _NAME) or "unnamed") + wording.around(alert.place)
        place = [
            blocks.text(escaping.line(named, 2 * _NAME) + " · ", escaped=True),
            blocks.link(wording.map_link(alert.place), "map"),
        ]
    heard = wording.heard(alert) + (f" ({', '.join(alert.sources)})" if alert.sources else "")
    first = [
        blocks.date(alert.first_post_at, "{ago}"),
        blocks.text(" · "),
        blocks.date(alert.first_post_at, "{date_short} {time}"),
        blocks.text(f" · revision {alert.revision}"),
    ]
    return blocks.rich(
        blocks.section(blocks.text("Place: ", bold=True), *place),
        blocks.section(blocks.text("Certainty: ", bold=True), blocks.text(wording.CERTAINTY[alert.certainty])),
        blocks.section(
            blocks.text("Heard from: ", bold=True), blocks.text(escaping.line(heard, 2 * _NAME), escaped=True)
        ),
        blocks.section(blocks.text("First post: ", bold=True), *first),
    )


def _quote(quote: Quote) -> Block:
    account = "" if quote.author is None or quote.author.startswith("did:") else escaping.line(quote.author, _NAME)
    by = " · ".join(filter(None, [escaping.line(quote.provider, _NAME), account]))
    under = [
        blocks.text(f"Earliest post: {by} · ", escaped=True),
        blocks.date(quote.created_at, "{date_short} {time}"),
    ]
    url = blocks.web_address(quote.url)
    if url is not None:
        under += [blocks.text(" · "), blocks.link(url, "open the post")]
    said = blocks.text(_shown_lines(quote.text, _QUOTE), escaped=True)
    return blocks.rich(blocks.quote(said), blocks.section(*under))


def _acknowledged(acknowledged: Acknowledgement, *, mention: bool) -> Block:
    account = _ACCOUNT.fullmatch(acknowledged.by)
    # In a new message a mention would call the person; in an edit it does not.
    plainly = blocks.text(_shown(acknowledged.by, _NAME), escaped=True)
    by = blocks.user(account[1]) if account and mention else plainly
    return blocks.rich(
        blocks.section(
            blocks.text("✅ Acknowledged by ", bold=True),
            by,
            blocks.text(" · "),
            blocks.date(acknowledged.at, "{date_short} {time}"),
        )
    )


def _buttons(alert: alerts.Alert, message: Message, root: str) -> Block:
    live = alert.kind is not alerts.Kind.RETRACTION
    found: list[Block] = []
    if live and message.acknowledged is None:
        says = "Acknowledge this event for the channel"
        found.append(_button(Action.ACKNOWLEDGE, "Acknowledge", says, root, primary=True))
    if live:
        choices = [blocks.option(f"{root}{MUTE_SEPARATOR}{value}", words) for value, words in MUTES.items()]
        found.append(blocks.select("Mute…", choices, action_id=action_id(Action.MUTE)))
        found.append(_button(Action.IRRELEVANT, "Not relevant", "Say that this event is not relevant here", root))
    if message.evidence:
        found.append(_button(Action.SOURCES, "Show sources", "Show the source posts of this event to me alone", root))
    found.append(_button(Action.WHY, "Why did I get this?", "Explain to me why this channel got this", root))
    return blocks.actions(*found)


def _button(action: Action, words: str, says: str, root: str, *, primary: bool = False) -> Block:
    return blocks.button(words, action_id=action_id(action), value=root, says=says, primary=primary)


def _shown(text: str, limit: int) -> str:
    """One line that can be seen, escaped."""
    return escaping.line(text, limit) or _NO_TEXT


def _shown_lines(text: str, limit: int) -> str:
    return escaping.cut(text, limit) or _NO_TEXT


def _size(block: Block) -> int:
    return len(json.dumps(block, ensure_ascii=False).encode("utf-16-le")) // 2


def _alert(sending: Sending) -> alerts.Alert:
    if sending.message.alert is None:
        raise ValueError(f"delivery {sending.delivery}: a {sending.act.value} needs an alert")
    return sending.message.alert
