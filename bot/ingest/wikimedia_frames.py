"""Wikimedia's recent changes: an event's bytes in, an edit of an article out. Pure.

The shape is ``mediawiki/recentchange`` 1.0.0. Canary events (``meta.domain`` is ``canary``), which Wikimedia sends to
watch its own stream, other namespaces, other wikis, log entries and edits by bots are no edits here.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import msgspec

from bot.domain import post
from bot.ingest import bursts, lines

PROVIDER = "wikimedia"
AUTHOR = "wikimedia:burst"
MAX_FRAME = 256 * 1024
MAX_TITLE = 255  # bytes, as MediaWiki has it

_DOMAIN = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_LANGUAGE = re.compile(r"([a-z]{2,3})(_[a-z_]+)?wiki")
_LANGUAGES = {"simplewiki": "en", "nowiki": "nb", "alswiki": "gsw"}


class BadFrameError(ValueError):
    """Why an event cannot be read, without anything of it."""


class _Meta(msgspec.Struct):
    id: str
    domain: str
    dt: datetime | None = None


class _Change(msgspec.Struct):
    meta: _Meta
    type: str
    namespace: int | None = None
    title: str | None = None
    user: str | None = None
    bot: bool = False
    wiki: str | None = None
    timestamp: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event of the stream. ``edit``: None where it is none that counts; ``domain`` is the wiki's host then ''."""

    at: datetime
    edit: bursts.Edit | None
    domain: str = ""


_decoder = msgspec.json.Decoder(_Change)


def decode(data: bytes, wikis: Collection[str]) -> Change | None:
    """None for a canary event. Raises BadFrameError."""
    if len(data) > MAX_FRAME:
        raise BadFrameError("too long")
    try:
        raw = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrameError(type(error).__name__) from None
    if raw.meta.domain == "canary":
        return None
    at = _time(raw)
    if raw.bot or raw.type not in ("edit", "new") or raw.namespace != 0 or raw.wiki not in wikis:
        return Change(at=at, edit=None)
    title, editor = raw.title, raw.user
    if not title or not editor or "\0" in title or len(title.encode()) > MAX_TITLE or len(raw.meta.id) > MAX_TITLE:
        raise BadFrameError("an edit without a title or an editor")
    page = f"{raw.wiki}:{title.replace('_', ' ')}"
    edit = bursts.Edit(key=raw.meta.id, page=page, editor=editor, at=at)
    return Change(at=at, edit=edit, domain=raw.meta.domain if _DOMAIN.fullmatch(raw.meta.domain) else "")


def to_post(burst: bursts.Burst, domain: str, *, provider: str, received_at: datetime) -> post.Post:
    """The post about a burst; its id is the article's name and the second in which the burst began."""
    wiki, _, title = burst.page.partition(":")
    found = _LANGUAGE.fullmatch(wiki)
    language = _LANGUAGES.get(wiki, found[1] if found else "")
    return post.Post(
        provider=provider,
        id=post.unversioned(f"{burst.page.replace(' ', '_')}:{int(burst.since.timestamp())}"),
        text=lines.clean(f"Many editors are changing the article “{title}”"),
        created_at=burst.at,
        received_at=received_at,
        author=AUTHOR,
        langs=lines.languages([language]),
        url=f"https://{domain}/wiki/{quote(title.replace(' ', '_'), safe=':/()_,')}" if domain else None,
    )


def _time(raw: _Change) -> datetime:
    try:
        when: Any = raw.meta.dt
        if when is None or when.tzinfo is None:
            when = datetime.fromtimestamp(raw.timestamp or 0, UTC)
        when = when.astimezone(UTC)
    except (OverflowError, ValueError, OSError):
        raise BadFrameError("a time that is out of range") from None
    if not 2001 <= when.year <= 9000:
        raise BadFrameError("a time that is out of range")
    found: datetime = when.replace(microsecond=when.microsecond // 1000 * 1000)
    return found
