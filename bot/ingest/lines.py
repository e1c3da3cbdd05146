"""Post lines, the contract's JSON form of a Post or a Deletion: bytes in, domain values out, and back. Pure.

What is tolerated: unknown keys; NUL and lone surrogates in strings (each becomes U+FFFD, since neither SQLite nor UTF-8
can carry them); any RFC 3339 offset; ``null`` for whatever is not required. A text over 100,000 characters is cut
there: no provider allows so much, the model reads some hundred, and dropping a report for its length would be worse.
A BadLineError never holds anything of the post itself.
"""

import json
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from bot.domain import post, times

MAX_TEXT = 100_000
MAX_LINE = 4 * 1024 * 1024
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

_Time = Annotated[datetime, msgspec.Meta(tz=True)]
_Latitude = Annotated[float, msgspec.Meta(ge=-90, le=90)]
_Longitude = Annotated[float, msgspec.Meta(ge=-180, le=180)]


class BadLineError(ValueError):
    """Why a line is no Post line, in a few words that are safe to print."""


class _Official(msgspec.Struct):
    category: str
    certainty: Literal["possible", "likely", "observed"] | None = None
    supersedes: list[str] | None = None
    cancelled: bool | None = None


class _Line(msgspec.Struct):
    source: str
    id: str | None = None
    text: str | None = None
    created_at: _Time | None = None
    deleted_at: _Time | None = None
    author: str | None = None
    langs: list[str] | None = None
    url: str | None = None
    repost_of: str | None = None
    reply_to: str | None = None
    lat: _Latitude | None = None
    lon: _Longitude | None = None
    media: list[str] | None = None
    verified: bool | None = None
    official: _Official | None = None


class _Text(msgspec.Struct):
    text: str
    id: str | None = None


_Shape = TypeVar("_Shape", bound=msgspec.Struct)

_decoder = msgspec.json.Decoder(_Line)
_text_decoder = msgspec.json.Decoder(_Text)


def decode(line: bytes, received_at: datetime | None = None) -> post.Post | post.Deletion:
    """One line without its end → what it says. ``received_at`` defaults to the line's own time. Raises BadLineError.

    A deletion may name an ``author`` instead of an ``id``: everything by that account is gone.
    """
    raw = _parse(line, _decoder, _Line)
    _check_source(raw.source)
    if raw.deleted_at is not None and raw.text is None:
        return _deletion(raw, raw.deleted_at)
    if not raw.id or "\0" in raw.id:
        raise BadLineError("id is missing, empty or holds NUL")
    if raw.text is None:
        raise BadLineError("text is missing")
    if raw.created_at is None:
        raise BadLineError("created_at is missing")
    if (raw.lat is None) != (raw.lon is None):
        raise BadLineError("lat and lon must stand together")
    created_at = _utc(raw.created_at, "created_at")
    return post.Post(
        provider=raw.source,
        id=raw.id,
        text=clean(raw.text),
        created_at=created_at,
        received_at=created_at if received_at is None else received_at,
        author=raw.author,
        langs=languages(raw.langs) if raw.langs else (),
        url=raw.url,
        repost_of=raw.repost_of,
        reply_to=raw.reply_to,
        lat=raw.lat,
        lon=raw.lon,
        media=tuple(raw.media) if raw.media else (),
        verified=bool(raw.verified),
        official=None if raw.official is None else _official(raw.official),
    )


def decode_text(line: bytes) -> tuple[str | None, str]:
    """``(id, text)`` of a Post line of which only ``text`` is needed, as ``classify`` reads it. Raises BadLineError."""
    raw = _parse(line, _text_decoder, _Text)
    return raw.id, clean(raw.text)


def to_line(item: post.Post | post.Deletion) -> dict[str, Any]:
    """The contract's form, JSON-ready; ``decode`` is the inverse (``received_at`` is not part of a line)."""
    if isinstance(item, post.Deletion):
        who = {"id": item.id} if item.id is not None else {"author": item.author}
        return {"source": item.provider, **who, "deleted_at": times.to_text(item.deleted_at)}
    official = item.official
    return {
        "source": item.provider,
        "id": item.id,
        "text": item.text,
        "created_at": times.to_text(item.created_at),
        "author": item.author,
        "langs": list(item.langs),
        "url": item.url,
        "repost_of": item.repost_of,
        "reply_to": item.reply_to,
        "lat": item.lat,
        "lon": item.lon,
        "media": list(item.media),
        "verified": item.verified,
        "official": None
        if official is None
        else {
            "category": official.category,
            "certainty": official.certainty,
            "supersedes": list(official.supersedes),
            "cancelled": official.cancelled,
        },
    }


def foreign(item: post.Post | post.Deletion) -> post.Post | post.Deletion:
    """The same with ids that are taken for no version of another post, whatever their sender calls them."""
    if isinstance(item, post.Deletion):
        return item if item.id is None else replace(item, id=post.unversioned(item.id))
    official = item.official
    return replace(
        item,
        id=post.unversioned(item.id),
        repost_of=None if item.repost_of is None else post.unversioned(item.repost_of),
        reply_to=None if item.reply_to is None else post.unversioned(item.reply_to),
        official=None
        if official is None
        else replace(official, supersedes=tuple(post.unversioned(each) for each in official.supersedes)),
    )


def clean(text: str) -> str:
    """``text`` without what the store cannot hold, and not longer than MAX_TEXT."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT]
    return text.replace("\0", REPLACEMENT) if "\0" in text else text


def languages(tags: Iterable[str]) -> tuple[str, ...]:
    """Primary subtags in lower case, each once: ``en-US, en`` → ``en``. Subscriptions compare these."""
    return tuple(dict.fromkeys(tag.partition("-")[0].lower() for tag in tags if tag))


def _parse(line: bytes, decoder: msgspec.json.Decoder[_Shape], shape: type[_Shape]) -> _Shape:
    if len(line) > MAX_LINE:
        raise BadLineError(f"longer than {MAX_LINE} bytes")
    try:
        return decoder.decode(line)
    except msgspec.ValidationError as error:
        raise BadLineError(_reason(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if "\\ud" in (text := line.decode("utf-8", "ignore")) or "\\uD" in text:
            return _parse_leniently(line, shape)
        raise BadLineError(_reason(error)) from None


def _parse_leniently(line: bytes, shape: type[_Shape]) -> _Shape:
    """The slow way, for lines with lone surrogates, which Python's own json lets through."""
    try:
        return msgspec.convert(_mend(json.loads(line)), shape, strict=True)
    except (ValueError, RecursionError) as error:
        raise BadLineError(_reason(error)) from None


def _mend(value: Any) -> Any:
    """Every string in ``value`` with its lone surrogates replaced."""
    match value:
        case str():
            return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case list():
            return [_mend(item) for item in value]
        case dict():
            return {_mend(key): _mend(item) for key, item in value.items()}
        case _:
            return value


def _reason(error: Exception) -> str:
    match error:
        case msgspec.ValidationError() if str(error).startswith("Invalid enum value"):
            return "a field holds none of its allowed values"
        case msgspec.ValidationError():
            return str(error).replace("`", "").replace("Object missing required field ", "missing: ")
        case UnicodeDecodeError():
            return "not valid UTF-8"
        case RecursionError():
            return "nested too deep"
        case _:
            return "not valid JSON"


def _check_source(source: str) -> None:
    """A provider's name stands in keys, grants and labels: no separator, no wildcard, nothing invisible."""
    if not source or "|" in source or "*" in source or not source.isprintable() or " " in source:
        raise BadLineError("source is empty or holds a character that a provider's name may not have")


def _deletion(raw: _Line, deleted_at: datetime) -> post.Deletion:
    if not raw.id and not raw.author:
        raise BadLineError("a deletion needs an id or an author")
    return post.Deletion(
        provider=raw.source,
        id=raw.id or None,
        author=None if raw.id else raw.author,
        deleted_at=_utc(deleted_at, "deleted_at"),
    )


def _official(raw: _Official) -> post.Official:
    return post.Official(
        category=raw.category,
        certainty=raw.certainty or "observed",
        supersedes=tuple(raw.supersedes or ()),
        cancelled=bool(raw.cancelled),
    )


def _utc(when: datetime, name: str) -> datetime:
    try:
        when = when.astimezone(UTC)
    except OverflowError:
        raise BadLineError(f"{name} is out of range") from None
    if when.year < 1970:
        raise BadLineError(f"{name} is before 1970")
    return when.replace(microsecond=when.microsecond // 1000 * 1000)
