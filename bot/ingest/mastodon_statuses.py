"""Mastodon's statuses, as its streams and timelines send them: bytes in, posts out. Pure.

Shapes: https://docs.joinmastodon.org/entities/Status/. ``id`` is one instance's own number of a status, ``uri`` the
same at every instance. Of an edited status only the words of its newest version are sent.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bot.domain import post
from bot.ingest import lines, mastodon_html

MAX_STATUS = 1024 * 1024  # bytes
MOST_MEDIA = 16

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_PLAUSIBLE_MS = range(1_470_000_000_000, 4_102_444_800_000)  # Mastodon's first year … 2099
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_FIRST = re.compile(rb'\s*\[\s*\{\s*"id"\s*:\s*"([A-Za-z0-9_-]{1,64})"')
_SNOWFLAKE = re.compile(r"[0-9]{17,20}", re.ASCII)
_ADDRESS = re.compile(r"https?://[^\s\x00-\x20\x7f]{1,2000}")


class BadStatusError(ValueError):
    """Why something is no status, in words without anything of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """``version``: when it was edited, in Unix milliseconds; 0 where it was not. ``reply_to``: a local id.

    ``post`` is None where it may not be shown to everybody, or where its author asked not to be found.
    """

    local_id: str
    uri: str
    version: int
    reply_to: str | None
    post: post.Post | None


class _Account(msgspec.Struct):
    url: str
    noindex: bool | None = None
    discoverable: bool | None = None


class _Attachment(msgspec.Struct):
    url: str | None = None
    remote_url: str | None = None


class _Status(msgspec.Struct):
    id: str
    uri: str
    created_at: datetime
    account: _Account
    content: str | None = None
    visibility: str = ""
    spoiler_text: str | None = None
    edited_at: datetime | None = None
    language: str | None = None
    url: str | None = None
    in_reply_to_id: str | None = None
    sensitive: bool | None = None
    media_attachments: list[_Attachment] | None = None
    reblog: "_Status | None" = None


class _Numbered(msgspec.Struct):
    id: str


class _Problem(msgspec.Struct):
    error: str


class _Urls(msgspec.Struct):
    streaming: str = ""


class _Configuration(msgspec.Struct):
    urls: _Urls = msgspec.field(default_factory=_Urls)


class _Instance(msgspec.Struct):
    configuration: _Configuration = msgspec.field(default_factory=_Configuration)


_status = msgspec.json.Decoder(_Status)
_page = msgspec.json.Decoder(list[msgspec.Raw])
_numbered = msgspec.json.Decoder(_Numbered)
_instance = msgspec.json.Decoder(_Instance)
_problem = msgspec.json.Decoder(_Problem)


def decode(data: bytes, received_at: datetime, *, provider: str, undiscoverable: bool = False) -> Status:
    """Raises BadStatusError. ``undiscoverable``: also take accounts that have asked not to be found."""
    raw: _Status = _decode(_status, data)
    if not _ID.fullmatch(raw.id) or not _ADDRESS.fullmatch(raw.uri):
        raise BadStatusError("an identifier of the wrong form")
    if (at := id_time(raw.id)) is not None and at > received_at + timedelta(days=1):
        raise BadStatusError("its number lies in the future")
    version = 0 if raw.edited_at is None else (_utc(raw.edited_at) - _EPOCH) // _MILLISECOND
    if version and version not in _PLAUSIBLE_MS:
        raise BadStatusError("its time of edit is out of range")
    shown = raw.visibility == "public" and all(
        undiscoverable or _discoverable(each.account) for each in (raw, raw.reblog) if each is not None
    )
    uri = post.unversioned(raw.uri)
    return Status(
        local_id=raw.id,
        uri=uri,
        version=version,
        reply_to=raw.in_reply_to_id,
        post=_post(raw, versioned(uri, version), provider, received_at) if shown else None,
    )


def page(data: bytes) -> list[tuple[str, bytes]]:
    """A timeline's page → (local id, bytes of the status), the oldest first; '' for an id that is none.

    Raises BadStatusError for no page.
    """
    found = []
    for raw in _decode(_page, data, most=40 * MAX_STATUS):
        try:
            local = str(_decode(_numbered, bytes(raw)).id)
        except BadStatusError:
            local = ""
        found.append((local if _ID.fullmatch(local) else "", bytes(raw)))
    return sorted(found, key=lambda each: order(each[0]))


def first_of(head: bytes) -> str:
    """The local id of the first status of a page of which this is the beginning; '' where it does not say."""
    found = _FIRST.match(head)
    return "" if found is None else found.group(1).decode()


def local_id(data: bytes) -> str:
    """What a ``delete`` event names. Raises BadStatusError."""
    found = data.strip().decode("ascii", "replace")
    if not _ID.fullmatch(found):
        raise BadStatusError("an identifier of the wrong form")
    return found


def streaming_url(data: bytes) -> str:
    """Where the instance says that its streams are; empty where it does not say."""
    try:
        return str(_decode(_instance, data).configuration.urls.streaming)
    except BadStatusError:
        return ""


def problem(data: bytes) -> str:
    """The API's own word for why it said no; empty where no API speaks."""
    try:
        return str(_decode(_problem, data).error)
    except BadStatusError:
        return ""


def split(id: str) -> tuple[str, int]:
    """The ``uri`` and the version in the id of a post."""
    uri, _, stamp = id.partition(post.VERSION)
    return uri, int(stamp) if stamp.isascii() and stamp.isdigit() else 0


def versioned(uri: str, version: int) -> str:
    """The id of a post: a version of its own for each edit."""
    return post.versioned(uri, f"{version}") if version else uri


def order(local: str) -> tuple[int, str]:
    """Local ids in the order in which the instance gave them: numbers, or texts of one length that sort."""
    return len(local), local


def id_time(local: str) -> datetime | None:
    """When the instance says that the status was made; None where its ids do not say so.

    https://github.com/mastodon/mastodon, lib/mastodon/snowflake.rb: 48 bits of milliseconds, 16 bits of sequence.
    """
    if not _SNOWFLAKE.fullmatch(local):
        return None
    milliseconds = int(local) >> 16
    return _EPOCH + milliseconds * _MILLISECOND if milliseconds in _PLAUSIBLE_MS else None


def first_id(at: datetime) -> str:
    """The first id of that moment."""
    return str(max((at - _EPOCH) // _MILLISECOND, 0) << 16)


def _decode(decoder: msgspec.json.Decoder[Any], data: bytes, *, most: int = MAX_STATUS) -> Any:
    if len(data) > most:
        raise BadStatusError("too big")
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise BadStatusError("not of the expected shape") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadStatusError("not valid JSON") from None


def _discoverable(account: _Account) -> bool:
    return not account.noindex and account.discoverable is not False


def _post(raw: _Status, id: str, provider: str, received_at: datetime) -> post.Post:
    said = raw.reblog if raw.reblog is not None and not raw.content else raw
    text = mastodon_html.text(said.content or "")
    warning = (said.spoiler_text or "").strip()
    return post.Post(
        provider=provider,
        id=id,
        text=lines.clean(f"{warning}\n\n{text}".strip() if warning else text),
        created_at=_created_at(raw.created_at, received_at),
        received_at=received_at,
        author=_author(raw.account.url),
        langs=lines.languages((said.language,)) if said.language and len(said.language) <= 35 else (),
        url=next((each for each in (raw.url, raw.uri) if each and _ADDRESS.fullmatch(each)), None),
        repost_of=None if raw.reblog is None else post.unversioned(raw.reblog.uri),
        media=() if said.sensitive else _media(said.media_attachments or []),
    )


def _author(url: str) -> str:
    """Opaque, and the same at every instance: the profile's address holds the handle, so it is hashed."""
    return hashlib.blake2b(url.encode("utf-8", "replace"), digest_size=16).hexdigest()


def _created_at(claim: datetime, received_at: datetime) -> datetime:
    """The author's server's claim, but neither before 1970 nor later than now."""
    claimed = _utc(claim)
    return min(claimed, received_at) if claimed >= _EPOCH else received_at


def _utc(when: datetime) -> datetime:
    try:
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except OverflowError:
        raise BadStatusError("a time out of range") from None
    return when.replace(microsecond=when.microsecond // 1000 * 1000)


def _media(attachments: list[_Attachment]) -> tuple[str, ...]:
    addresses = (each.remote_url or each.url for each in attachments[:MOST_MEDIA])
    return tuple(each for each in addresses if each and _ADDRESS.fullmatch(each))
