"""Bluesky's post records: what an author's JSON says, where it makes sense. Pure.

Records are written by their authors and checked by nobody: only ``text`` has to be right for a record to be a post.
``Record`` is what well-formed ones are decoded to in the same pass as their frame; the few others are mended.

An author who wants to be shown to signed-in readers only labels the profile, or the post, ``!no-unauthenticated``. A
post that is so labelled is not for us; the profile's label is not in this stream.
"""

import functools
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from bot.domain import post, times
from bot.ingest import lines

PROVIDER = "bluesky"
ABSENT = msgspec.Raw()  # what a Raw field holds that is not there; it cannot be in a union with None
MOST_LANGS, LONGEST_LANG = 10, 35
MOST_IMAGES = 10

_SIGNED_IN_ONLY = b'"!no-unauthenticated"'

_Shape = TypeVar("_Shape")


class _Parent(msgspec.Struct, gc=False):
    uri: str


class Reply(msgspec.Struct, gc=False):
    parent: _Parent


class _Link(msgspec.Struct, gc=False):
    link: str = msgspec.field(name="$link")


class _Blob(msgspec.Struct, gc=False):
    ref: _Link


class _Image(msgspec.Struct, gc=False):
    image: _Blob


class Embed(msgspec.Struct, gc=False):
    images: list[_Image] = []
    video: _Blob | None = None
    media: "Embed | None" = None  # recordWithMedia: a quote with pictures


class Record(msgspec.Struct, gc=False):
    """``labels`` is only searched, since whoever labels in an odd way is still to be heeded."""

    text: str
    created_at: datetime | None = msgspec.field(name="createdAt", default=None)
    langs: list[str] | None = None
    reply: Reply | None = None
    embed: Embed | None = None
    labels: msgspec.Raw = ABSENT

    @property
    def signed_in_only(self) -> bool:
        return self.labels is not ABSENT and _SIGNED_IN_ONLY in bytes(self.labels)


class _Loose(msgspec.Struct):
    text: str
    created_at: Any = msgspec.field(name="createdAt", default=None)
    langs: Any = None
    reply: Any = None
    embed: Any = None
    labels: msgspec.Raw = ABSENT


_loose = msgspec.json.Decoder(_Loose)


def mend(raw: msgspec.Raw) -> Record:
    """What makes sense in a record that is not well-formed. Raises MsgspecError, UnicodeDecodeError, RecursionError."""
    loose = _loose.decode(raw)
    langs = loose.langs if isinstance(loose.langs, list) else []
    return Record(
        text=loose.text,
        created_at=_claimed(loose.created_at),
        langs=[lang for lang in langs[:MOST_LANGS] if isinstance(lang, str)],
        reply=_shaped(loose.reply, Reply),
        embed=_shaped(loose.embed, Embed),
        labels=loose.labels,
    )


def to_post(
    record: Record, *, did: str, uri: str, rkey: str, at: datetime, received_at: datetime, provider: str = PROVIDER
) -> post.Post:
    """``at``: the event's own time; ``uri`` becomes the post's id."""
    return post.Post(
        provider=provider,
        id=uri,
        text=lines.clean(record.text),
        created_at=_created_at(record.created_at, at),
        received_at=received_at,
        author=did,
        langs=_languages(tuple(record.langs[:MOST_LANGS])) if record.langs else (),
        url=f"https://bsky.app/profile/{did}/post/{rkey}",
        reply_to=None if record.reply is None else record.reply.parent.uri,
        media=() if record.embed is None else _media(did, record.embed),
    )


def _claimed(text: Any) -> datetime | None:
    try:
        return times.from_text(text) if isinstance(text, str) else None
    except (ValueError, OverflowError):
        return None


def _shaped(value: Any, shape: type[_Shape]) -> _Shape | None:
    try:
        return msgspec.convert(value, shape)
    except (msgspec.ValidationError, RecursionError):
        return None


def _created_at(claim: datetime | None, seen_at: datetime) -> datetime:
    """The author's claim, but never later than the event itself (as Bluesky's own ``sortAt``) nor before 1970."""
    if claim is None:
        return seen_at
    if claim.tzinfo is not UTC:
        try:
            claim = claim.replace(tzinfo=UTC) if claim.tzinfo is None else claim.astimezone(UTC)
        except OverflowError:
            return seen_at
    if claim >= seen_at or claim.year < 1970:
        return seen_at
    finer = claim.microsecond % 1000
    return claim.replace(microsecond=claim.microsecond - finer) if finer else claim


@functools.lru_cache(maxsize=1024)
def _languages(langs: tuple[str, ...]) -> tuple[str, ...]:
    return lines.languages(lang for lang in langs if len(lang) <= LONGEST_LANG)


def _media(did: str, embed: Embed) -> tuple[str, ...]:
    """Where Bluesky serves the pictures and the video. A quoted post is neither medium nor repost: it is left out."""
    shown = embed.media or embed
    if not shown.images and shown.video is None:
        return ()
    media = [
        f"https://cdn.bsky.app/img/feed_fullsize/plain/{did}/{image.image.ref.link}"
        for image in shown.images[:MOST_IMAGES]
    ]
    if shown.video is not None:
        media.append(f"https://video.bsky.app/watch/{did}/{shown.video.ref.link}/playlist.m3u8")
    return tuple(media)
