"""Jetstream's frames, protocol 1 and 2: bytes in, what they say out. Pure, typed, safe against anything.

The shapes are those of ``network.bsky.jetstream.subscribeEvents`` (v2) and of ``/subscribe`` (v1), see
github.com/bluesky-social/jetstream. Records are written by their authors and checked by nobody: only ``text`` has to be
right for a post to be one, everything else in it is taken where it makes sense.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bot.domain import post, times
from bot.ingest import lines

PROVIDER = "bluesky"
COLLECTION = "app.bsky.feed.post"
MAX_FRAME = 1024 * 1024  # bytes; a record has at most 1 MiB, a post some 20 kB

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLAUSIBLE_US = range(1_500_000_000_000_000, 4_102_444_800_000_000)  # 2017 … 2099
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]{1,2000}", re.ASCII)
_RKEY = re.compile(r"[A-Za-z0-9._:~-]{1,512}", re.ASCII)
# Not there for now, and not withdrawn by anybody: com.atproto.sync.subscribeRepos#account knows these two as well.
_AWAY_STATUSES = frozenset({"desynchronized", "throttled"})
_ABSENT = msgspec.Raw()  # what a Raw field holds that is not there; it cannot be in a union with None


class BadFrameError(ValueError):
    """Why a frame cannot be read, in words without anything of the frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One event. ``items`` is empty for what does not concern us; an update is a Deletion and a Post.

    ``key`` is the same for the same event at every host, as far as the protocol allows; None needs no deduplication.
    """

    time_us: int
    seq: int | None
    items: tuple[post.Post | post.Deletion, ...] = ()
    key: str | None = None

    @property
    def at(self) -> datetime:
        return from_us(self.time_us)


@dataclass(frozen=True, slots=True)
class Notice:
    """What a v2 server says about the stream: ``OutdatedCursor``, ``FutureCursor``, …; it moves no cursor."""

    name: str


@dataclass(frozen=True, slots=True)
class ErrorNotice:
    """The last frame before a v2 server closes: ``ConsumerTooSlow``, ``InternalError``, …"""

    name: str


class _Commit(msgspec.Struct):
    operation: str
    collection: str
    rkey: str
    rev: str = ""
    record: msgspec.Raw = _ABSENT


class _Account(msgspec.Struct):
    active: bool
    status: str | None = None
    seq: int | None = None


class _FrameV1(msgspec.Struct):
    did: str
    time_us: int
    kind: str
    commit: _Commit | None = None
    account: _Account | None = None


class _PayloadV2(msgspec.Struct):
    type: str = msgspec.field(name="$type")
    did: str = ""
    seq: int = 0
    time: datetime | None = None
    witnessed_at: datetime | None = msgspec.field(name="witnessedAt", default=None)
    operation: str = ""
    collection: str = ""
    rkey: str = ""
    rev: str = ""
    record: msgspec.Raw = _ABSENT
    account: _Account | None = None
    name: str = ""


class _FrameV2(msgspec.Struct):
    type: str = msgspec.field(name="$type")
    payload: _PayloadV2 | None = None
    error: str = ""


class _Record(msgspec.Struct):
    text: str
    created_at: Any = msgspec.field(name="createdAt", default=None)
    langs: Any = None
    reply: msgspec.Raw = _ABSENT
    embed: msgspec.Raw = _ABSENT


class _Parent(msgspec.Struct):
    uri: str


class _Reply(msgspec.Struct):
    parent: _Parent


class _Link(msgspec.Struct):
    link: str = msgspec.field(name="$link")


class _Blob(msgspec.Struct):
    ref: _Link


class _Image(msgspec.Struct):
    image: _Blob


class _Embed(msgspec.Struct):
    images: list[_Image] = []
    video: _Blob | None = None
    media: "_Embed | None" = None  # recordWithMedia: a quote with pictures


_v1 = msgspec.json.Decoder(_FrameV1)
_v2 = msgspec.json.Decoder(_FrameV2)
_record = msgspec.json.Decoder(_Record)
_reply = msgspec.json.Decoder(_Reply)
_embed = msgspec.json.Decoder(_Embed)


def decode_v1(data: bytes, received_at: datetime) -> Frame:
    """Raises BadFrameError."""
    raw = _decode(_v1, data)
    time_us = _plausible(raw.time_us)
    match raw.kind:
        case "commit" if raw.commit is not None:
            return _commit(raw.did, raw.commit, time_us, None, received_at)
        case "account" if raw.account is not None:
            return _account(raw.did, raw.account, time_us, None)
        case _:
            return Frame(time_us, None)


def decode_v2(data: bytes, received_at: datetime) -> Frame | Notice | ErrorNotice:
    """Raises BadFrameError. ``time_us`` is when the host witnessed the event, which its time cursors go by."""
    raw = _decode(_v2, data)
    if raw.type == "error":
        return ErrorNotice(_word(raw.error))
    payload = raw.payload
    if raw.type != "message" or payload is None:
        raise BadFrameError("neither a message nor an error")
    kind = payload.type.rpartition("#")[2]
    if kind == "info":
        return Notice(_word(payload.name))
    when = payload.witnessed_at or payload.time
    if when is None or when.tzinfo is None or payload.seq <= 0:
        raise BadFrameError("no seq or no time")
    time_us = _plausible((when - _EPOCH) // _MICROSECOND)
    match kind:
        case "commit":
            commit = _Commit(payload.operation, payload.collection, payload.rkey, payload.rev, payload.record)
            return _commit(payload.did, commit, time_us, payload.seq, received_at)
        case "account" if payload.account is not None:
            return _account(payload.did, payload.account, time_us, payload.seq)
        case _:
            return Frame(time_us, payload.seq)


def from_us(time_us: int) -> datetime:
    """Unix microseconds → aware UTC, in milliseconds like every time here."""
    return _EPOCH + timedelta(milliseconds=time_us // 1000)


def _decode(decoder: msgspec.json.Decoder[Any], data: bytes) -> Any:
    if len(data) > MAX_FRAME:
        raise BadFrameError("too big")
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise BadFrameError("not of the expected shape") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadFrameError("not valid JSON") from None


def _plausible(time_us: int) -> int:
    if time_us not in _PLAUSIBLE_US:
        raise BadFrameError("its time is out of range")
    return time_us


def _word(name: str) -> str:
    return name if name.isascii() and name.isalnum() and len(name) <= 60 else "unnamed"


def _commit(did: str, commit: _Commit, time_us: int, seq: int | None, received_at: datetime) -> Frame:
    if commit.collection != COLLECTION:
        return Frame(time_us, seq)
    if not _DID.fullmatch(did) or not _RKEY.fullmatch(commit.rkey):
        raise BadFrameError("an identifier of the wrong form")
    uri = f"at://{did}/{COLLECTION}/{commit.rkey}"
    key = f"{did}/{commit.rkey}/{commit.rev}/{commit.operation}"
    deletion = post.Deletion(provider=PROVIDER, id=uri, deleted_at=from_us(time_us))
    match commit.operation:
        case "create":
            return Frame(time_us, seq, (_post(did, commit, uri, time_us, received_at),), key)
        case "update":
            # The author withdrew the old words. They go as if deleted, whatever becomes of the new ones.
            try:
                return Frame(time_us, seq, (deletion, _post(did, commit, uri, time_us, received_at)), key)
            except BadFrameError:
                return Frame(time_us, seq, (deletion,), key)
        case "delete":
            return Frame(time_us, seq, (deletion,), key)
        case _:
            raise BadFrameError("an unknown operation")


def _account(did: str, account: _Account, time_us: int, seq: int | None) -> Frame:
    if account.active or account.status in _AWAY_STATUSES:
        return Frame(time_us, seq)
    if not _DID.fullmatch(did):
        raise BadFrameError("an identifier of the wrong form")
    key = None if account.seq is None else f"{did}/account/{account.seq}"
    return Frame(time_us, seq, (post.Deletion(provider=PROVIDER, author=did, deleted_at=from_us(time_us)),), key)


def _post(did: str, commit: _Commit, uri: str, time_us: int, received_at: datetime) -> post.Post:
    if not bytes(commit.record):
        raise BadFrameError("a post without a record")
    try:
        record = _record.decode(commit.record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadFrameError("a record that is no post") from None
    return post.Post(
        provider=PROVIDER,
        id=uri,
        text=lines.clean(record.text),
        created_at=_created_at(record.created_at, from_us(time_us)),
        received_at=received_at,
        author=did,
        langs=_langs(record.langs),
        url=f"https://bsky.app/profile/{did}/post/{commit.rkey}",
        reply_to=_reply_to(record.reply),
        media=_media(did, record.embed),
    )


def _created_at(claim: Any, seen_at: datetime) -> datetime:
    """The author's claim, but never later than the event itself (as Bluesky's own ``sortAt``) nor before 1970."""
    if not isinstance(claim, str):
        return seen_at
    try:
        claimed = times.from_text(claim)
    except (ValueError, OverflowError):
        return seen_at
    return min(claimed, seen_at) if claimed.year >= 1970 else seen_at


def _langs(langs: Any) -> tuple[str, ...]:
    if not isinstance(langs, list):
        return ()
    return lines.languages(lang for lang in langs[:10] if isinstance(lang, str) and len(lang) <= 35)


def _reply_to(raw: msgspec.Raw) -> str | None:
    if not bytes(raw):
        return None
    try:
        return _reply.decode(raw).parent.uri
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _media(did: str, raw: msgspec.Raw) -> tuple[str, ...]:
    """Where Bluesky serves the pictures and the video. A quoted post is neither medium nor repost: it is left out."""
    if not bytes(raw):
        return ()
    try:
        embed = _embed.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
    shown = embed.media or embed
    media = [
        f"https://cdn.bsky.app/img/feed_fullsize/plain/{did}/{image.image.ref.link}" for image in shown.images[:10]
    ]
    if shown.video is not None:
        media.append(f"https://video.bsky.app/watch/{did}/{shown.video.ref.link}/playlist.m3u8")
    return tuple(media)
