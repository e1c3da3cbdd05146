"""What Slack messages and forms are made of: Block Kit's elements, within Slack's limits.

Everything that may come from a post stands in ``plain_text`` or ``rich_text``, which Slack does not parse, and is
escaped all the same; there is no ``mrkdwn`` anywhere.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from bot.platforms.slack import escaping

Block = dict[str, Any]

# https://docs.slack.dev/reference/block-kit
HEADER = 150
_BUTTON = 75
_OPTION = 75
_OPTION_VALUE = 150
_URL = 500


def header(words: str, *, block_id: str) -> Block:
    return {"type": "header", "block_id": block_id, "text": plain_text(words, HEADER, emoji=False)}


def plain_text(words: str, limit: int, *, emoji: bool = True) -> Block:
    return {"type": "plain_text", "text": escaping.line(words, limit) or "…", "emoji": emoji}


def rich(*elements: Block, block_id: str | None = None) -> Block:
    named = {} if block_id is None else {"block_id": block_id}
    return {"type": "rich_text", **named, "elements": list(elements)}


def section(*elements: Block) -> Block:
    return {"type": "rich_text_section", "elements": list(elements)}


def quote(*elements: Block) -> Block:
    return {"type": "rich_text_quote", "elements": list(elements)}


def bullets(lines: Sequence[Block]) -> Block:
    return {"type": "rich_text_list", "style": "bullet", "elements": list(lines)}


def text(words: str, *, escaped: bool = False, bold: bool = False, strike: bool = False) -> Block:
    # An empty text element is refused as invalid_blocks.
    element: Block = {"type": "text", "text": (words if escaped else escaping.escape(words)) or "…"}
    style = {name: True for name, wanted in (("bold", bold), ("strike", strike)) if wanted}
    return element | {"style": style} if style else element


def link(url: str, words: str | None = None) -> Block:
    """Without ``words`` the address itself is shown."""
    return {"type": "link", "url": url} | ({} if words is None else {"text": words})


def user(account: str) -> Block:
    """A mention: only where it calls nobody, that is in an edit."""
    return {"type": "user", "user_id": account}


def date(when: datetime, form: str) -> Block:
    """In the reader's own zone; ``form`` is of Slack's words: ``{ago}``, ``{date_short} {time}``."""
    fallback = when.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return {"type": "date", "timestamp": int(when.timestamp()), "format": form, "fallback": fallback}


def actions(*elements: Block) -> Block:
    return {"type": "actions", "elements": list(elements)}


def button(words: str, *, action_id: str, value: str, says: str, primary: bool = False) -> Block:
    """``says``: what a screen reader reads instead of ``words``."""
    return {
        "type": "button",
        "text": plain_text(words, _BUTTON),
        "action_id": action_id,
        "value": value,
        "accessibility_label": escaping.line(says, _BUTTON),
        **({"style": "primary"} if primary else {}),
    }


def select(placeholder: str, options: Sequence[Block], *, action_id: str, many: bool = False) -> Block:
    return {
        "type": "multi_static_select" if many else "static_select",
        "action_id": action_id,
        "placeholder": plain_text(placeholder, HEADER),
        "options": list(options),
    }


def option(value: str, words: str) -> Block:
    """Raise ValueError for a value that Slack would refuse: it is never a person's text."""
    if not 0 < len(value) <= _OPTION_VALUE:
        raise ValueError(f"an option's value has 1 to {_OPTION_VALUE} characters, this one has {len(value)}")
    return {"text": plain_text(words, _OPTION), "value": value}


def web_address(url: str | None) -> str | None:
    """``url`` if it is an ordinary web address that Slack will take as a link, else None."""
    if url is None or not url.isascii() or any(char in url for char in "<>|\"'`\\{} \t\r\n"):
        return None
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.username is None
    except ValueError:
        return None
    return url if good and url.isprintable() and len(url) <= _URL else None
