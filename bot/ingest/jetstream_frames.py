"""Jetstream's frames, protocol 1 and 2: bytes in, what they say out. Pure, typed, safe against anything.

The shapes are those of ``network.bsky.jetstream.subscribeEvents`` (v2) and of ``/subscribe`` (v1), see
github.com/bluesky-social/jetstream. What does not concern us only moves the cursor: identities, other collections,
and accounts that are back. ``#sync`` says that a repository has changed without commits: it comes with every new
account and names no post, so all that it tells is whose posts to ask about again; v1 has no word for it.

An edit is a Deletion of the old words and a Post of the new ones under ``URI#v:REV``, since a stored post never
changes; whoever keeps posts takes the Deletion of ``URI`` for one of every version of it before that too.
"""

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeVar, cast

import msgspec

from bot.domain import post
from bot.ingest import jetstream_records as records
from bot.ingest.jetstream_records import PROVIDER, Record

COLLECTION = "app.bsky.feed.post"
MAX_FRAME = 1024 * 1024  # bytes; a record has at most 1 MiB, a post some 20 kB

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PLAUSIBLE_US = range(1_500_000_000_000_000, 4_102_444_800_000_000)  # 2017 … 2099
_DID = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]{1,2000}", re.ASCII)
_RKEY = re.compile(r"[A-Za-z0-9._:~-]{1,512}", re.ASCII)
_REV = re.compile(r"[a-z0-9]{1,40}", re.ASCII)
# Not there for now, and not withdrawn by anybody: com.atproto.sync.subscribeRepos#account knows these two as well.
_AWAY_STATUSES = frozenset({"desynchronized", "throttled"})


class BadFrameError(ValueError):
    """Why a frame cannot be read, in words without anything of the frame."""


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event; a struct and not a dataclass because it is made for each. An update is a Deletion and a Post.

    ``items`` is empty for what does not concern us, and where ``skipped``: a post that its author does not want shown
    to everybody. ``key`` is the same for the same event at every host, as far as the protocol allows; None needs no
    deduplication. ``synced``: whose repository has changed in a way that is not told.
    """

    time_us: int
    at: datetime
    seq: int | None
    items: tuple[post.Post | post.Deletion, ...] = ()
    key: str | None = None
    skipped: bool = False
    synced: str | None = None


class Notice(msgspec.Struct, frozen=True):
    """What a v2 server says about the stream: ``OutdatedCursor``, ``FutureCursor``, …; it moves no cursor."""

    name: str


class ErrorNotice(msgspec.Struct, frozen=True):
    """The last frame before a v2 server closes: ``ConsumerTooSlow``, ``InternalError``, …"""

    name: str


class _Account(msgspec.Struct, gc=False):
    active: bool
    status: str | None = None
    seq: int | None = None


_R = TypeVar("_R")
_NONE = cast("Any", None)  # of a Raw record too, which cannot be in a union


class _Commit(msgspec.Struct, Generic[_R], gc=False):
    operation: str
    collection: str
    rkey: str
    rev: str = ""
    record: _R = _NONE


class _FrameV1(msgspec.Struct, Generic[_R], gc=False):
    did: str
    time_us: int
    kind: str
    commit: _Commit[_R] | None = None
    account: _Account | None = None


class _PayloadV2(msgspec.Struct, Generic[_R], gc=False):
    type: str = msgspec.field(name="$type")
    did: str = ""
    seq: int = 0
    time: datetime | None = None
    witnessed_at: datetime | None = msgspec.field(name="witnessedAt", default=None)
    operation: str = ""
    collection: str = ""
    rkey: str = ""
    rev: str = ""
    record: _R = _NONE
    account: _Account | None = None
    name: str = ""


class _FrameV2(msgspec.Struct, Generic[_R], gc=False):
    type: str = msgspec.field(name="$type")
    payload: _PayloadV2[_R] | None = None
    error: str = ""


# Each twice: with the record well-formed, in one pass, and with whatever stands there.
_v1 = msgspec.json.Decoder(_FrameV1[Record | None])
_v2 = msgspec.json.Decoder(_FrameV2[Record | None])
_loose_v1 = msgspec.json.Decoder(_FrameV1[msgspec.Raw])
_loose_v2 = msgspec.json.Decoder(_FrameV2[msgspec.Raw])


def decode_v1(data: bytes, received_at: datetime, provider: str = PROVIDER) -> Frame:
    """Raises BadFrameError."""
    raw = _decode(_v1, _loose_v1, data)
    time_us = raw.time_us
    at = _at(time_us)
    if raw.kind == "commit" and raw.commit is not None:
        return _commit(raw.did, raw.commit, time_us, at, None, received_at, provider)
    if raw.kind == "account" and raw.account is not None:
        return _account(raw.did, raw.account, time_us, at, None, provider)
    return Frame(time_us, at, None)


def decode_v2(data: bytes, received_at: datetime, provider: str = PROVIDER) -> Frame | Notice | ErrorNotice:
    """Raises BadFrameError. ``time_us`` is when the host witnessed the event, which its time cursors go by."""
    raw = _decode(_v2, _loose_v2, data)
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
    time_us = (when - _EPOCH) // _MICROSECOND
    at = _at(time_us)
    if kind == "commit":
        return _commit(payload.did, payload, time_us, at, payload.seq, received_at, provider)
    if kind == "account" and payload.account is not None:
        return _account(payload.did, payload.account, time_us, at, payload.seq, provider)
    if kind == "sync":
        if not _DID.fullmatch(payload.did):
            raise BadFrameError("an identifier of the wrong form")
        return Frame(time_us, at, payload.seq, synced=payload.did)
    return Frame(time_us, at, payload.seq)


def dated(frame: Frame, now: datetime) -> Frame:
    """``frame``, whose own time lies in the future, as if it were of ``now``."""
    items = tuple(
        dataclasses.replace(item, created_at=min(item.created_at, now))
        if isinstance(item, post.Post)
        else dataclasses.replace(item, deleted_at=now)
        for item in frame.items
    )
    time_us = (now - _EPOCH) // _MICROSECOND
    return msgspec.structs.replace(frame, time_us=time_us, at=from_us(time_us), items=items)


def from_us(time_us: int) -> datetime:
    """Unix microseconds → aware UTC, in whole milliseconds. Raises OverflowError, OSError or ValueError."""
    return datetime.fromtimestamp(time_us // 1000 / 1000, UTC)


def _at(time_us: int) -> datetime:
    if time_us not in _PLAUSIBLE_US:
        raise BadFrameError("its time is out of range")
    return from_us(time_us)


def _decode(strict: msgspec.json.Decoder[Any], loose: msgspec.json.Decoder[Any], data: bytes) -> Any:
    if len(data) > MAX_FRAME:
        raise BadFrameError("too big")
    try:
        try:
            return strict.decode(data)
        except msgspec.ValidationError:
            return loose.decode(data)
    except msgspec.ValidationError:
        raise BadFrameError("not of the expected shape") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadFrameError("not valid JSON") from None


def _word(name: str) -> str:
    return name if name.isascii() and name.isalnum() and len(name) <= 60 else "unnamed"


def _commit(
    did: str,
    commit: "_Commit[Any] | _PayloadV2[Any]",
    time_us: int,
    at: datetime,
    seq: int | None,
    received_at: datetime,
    provider: str,
) -> Frame:
    if commit.collection != COLLECTION:
        return Frame(time_us, at, seq)
    rkey, rev, operation = commit.rkey, commit.rev, commit.operation
    if not _DID.fullmatch(did) or not _RKEY.fullmatch(rkey):
        raise BadFrameError("an identifier of the wrong form")
    uri = f"at://{did}/{COLLECTION}/{rkey}"
    key = f"{did}/{rkey}/{rev}/{operation}"
    if operation == "create":
        record = _record(commit.record)
        if record.signed_in_only:
            return Frame(time_us, at, seq, (), key, True)
        made = records.to_post(record, did=did, uri=uri, rkey=rkey, at=at, received_at=received_at, provider=provider)
        return Frame(time_us, at, seq, (made,), key)
    deletion = post.Deletion(provider=provider, id=uri, deleted_at=at)
    if operation == "delete":
        return Frame(time_us, at, seq, (deletion,), key)
    if operation != "update":
        raise BadFrameError("an unknown operation")
    # The author withdrew the old words. They go, whatever becomes of the new ones.
    new = post.versioned(uri, rev) if _REV.fullmatch(rev) else None
    deletion = post.Deletion(provider=provider, id=uri, deleted_at=at, replaced_by=new)
    try:
        record = _record(commit.record)
    except BadFrameError:
        return Frame(time_us, at, seq, (deletion,), key)
    if record.signed_in_only or new is None:
        return Frame(time_us, at, seq, (deletion,), key, record.signed_in_only)
    made = records.to_post(record, did=did, uri=new, rkey=rkey, at=at, received_at=received_at, provider=provider)
    return Frame(time_us, at, seq, (deletion, made), key)


def _account(did: str, account: _Account, time_us: int, at: datetime, seq: int | None, provider: str) -> Frame:
    if account.active or account.status in _AWAY_STATUSES:
        return Frame(time_us, at, seq)
    if not _DID.fullmatch(did):
        raise BadFrameError("an identifier of the wrong form")
    key = None if account.seq is None else f"{did}/account/{account.seq}"
    return Frame(time_us, at, seq, (post.Deletion(provider=provider, author=did, deleted_at=at),), key)


def _record(given: Record | msgspec.Raw | None) -> Record:
    if isinstance(given, Record):
        return given
    if given is None:
        raise BadFrameError("a post without a record")
    try:
        return records.mend(given)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadFrameError("a record that is no post") from None
