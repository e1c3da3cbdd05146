"""What X's API v2 sends: lines of the filtered stream, answers about posts. Bytes in, what they say out; pure.

Shapes: https://docs.x.com/x-api/posts/filtered-stream and https://docs.x.com/x-api/posts/lookup.
"""

import itertools
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from bot.domain import post
from bot.ingest import lines

MAX_LINE = 1024 * 1024  # bytes
MAX_ANSWER = 8 * 1024 * 1024
MOST_MEDIA = 16

FIELDS = {
    "tweet.fields": "author_id,created_at,edit_history_tweet_ids,geo,lang,note_tweet,referenced_tweets,withheld",
    "expansions": "author_id,attachments.media_keys,referenced_tweets.id",
    "user.fields": "verified_type",
    "media.fields": "url,preview_image_url",
}

_ID = re.compile(r"[0-9]{1,19}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ADDRESS = re.compile(r"https?://[^\s\x00-\x20\x7f]{1,2000}")
_NO_LANGUAGE = frozenset(("und", "art", "zxx", "qam", "qct", "qht", "qme", "qst"))  # X's own: emoji only, a tag only …
_OLD_LANGUAGES = {"in": "id", "iw": "he", "ji": "yi"}
_GONE = ("/resource-not-found", "/not-authorized-for-resource", "/resource-unavailable", "/disallowed-resource")


class BadLineError(ValueError):
    """Why a line is none of X's, in words without anything of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A post that matched. ``older``: the ids of its earlier versions; ``rules``: the ids of the rules that matched;
    ``withheld``: X does not show its words in some country, so that nobody gets them from us."""

    post: post.Post
    older: tuple[str, ...] = ()
    rules: frozenset[str] = frozenset()
    withheld: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Why the stream ends, in X's own words; ``operational``: not because of us."""

    title: str
    operational: bool


class _Reference(msgspec.Struct):
    type: str
    id: str


class _Note(msgspec.Struct):
    text: str | None = None


class _Attachments(msgspec.Struct):
    media_keys: list[str] | None = None


class _Point(msgspec.Struct):
    coordinates: list[float] | None = None


class _Geo(msgspec.Struct):
    coordinates: _Point | None = None


class _Tweet(msgspec.Struct):
    id: str
    text: str = ""
    author_id: str | None = None
    created_at: datetime | None = None
    lang: str | None = None
    edit_history_tweet_ids: list[str] | None = None
    referenced_tweets: list[_Reference] | None = None
    attachments: _Attachments | None = None
    note_tweet: _Note | None = None
    geo: _Geo | None = None
    withheld: Any = None


class _Fate(msgspec.Struct):
    """What of a post says whether its words may stay."""

    id: str
    edit_history_tweet_ids: list[str] | None = None
    referenced_tweets: list[_Reference] | None = None
    withheld: Any = None


class _User(msgspec.Struct):
    id: str
    verified_type: str | None = None


class _Media(msgspec.Struct):
    media_key: str
    url: str | None = None
    preview_image_url: str | None = None


class _Includes(msgspec.Struct):
    users: list[_User] = []
    media: list[_Media] = []
    tweets: list[_Tweet] = []


class _Rule(msgspec.Struct):
    id: str


class _Problem(msgspec.Struct):
    title: str = ""
    type: str = ""
    detail: str = ""
    resource_id: str | None = None
    value: Any = None
    details: list[str] | None = None
    disconnect_type: str = ""


class _Line(msgspec.Struct):
    data: _Tweet | None = None
    includes: _Includes | None = None
    matching_rules: list[_Rule] | None = None
    errors: list[_Problem] | None = None
    title: str = ""
    connection_issue: str = ""


class _Referenced(msgspec.Struct):
    tweets: list[_Fate] = []


class _Lookup(msgspec.Struct):
    data: list[_Fate] = []
    includes: _Referenced = msgspec.field(default_factory=_Referenced)
    errors: list[_Problem] = []


class Rule(msgspec.Struct):
    """A rule as X has it."""

    id: str
    value: str
    tag: str | None = None


class _Meta(msgspec.Struct):
    next_token: str | None = None


class _Rules(msgspec.Struct):
    data: list[Rule] = []
    errors: list[_Problem] = []
    meta: _Meta = msgspec.field(default_factory=_Meta)


_line = msgspec.json.Decoder(_Line)
_lookup = msgspec.json.Decoder(_Lookup)
_rules = msgspec.json.Decoder(_Rules)


def decode(data: bytes, received_at: datetime, *, provider: str) -> Line | Notice:
    """One line of the stream, not empty. Raises BadLineError."""
    raw: _Line = _decode(_line, data, MAX_LINE)
    if raw.data is None:
        return _notice(raw)
    tweet, includes = raw.data, raw.includes or _Includes()
    if not _ID.fullmatch(tweet.id):
        raise BadLineError("an identifier of the wrong form")
    said = _said(tweet, includes)
    return Line(
        post=_post(tweet, said, includes, received_at, provider),
        older=_older(tweet.id, tweet.edit_history_tweet_ids)[-20:],
        rules=frozenset(rule.id for rule in raw.matching_rules or ()),
        withheld=bool(tweet.withheld or said.withheld),
    )


def gone(data: bytes) -> tuple[str, ...]:
    """An answer of ``GET /2/tweets`` → the ids whose words must go: deleted, protected, withheld, or edited since. A
    retweet's words are those of its original, and go with it.

    Only what the answer names counts; an id that it passes over says nothing. Raises BadLineError.
    """
    raw: _Lookup = _decode(_lookup, data, MAX_ANSWER)
    found = [each.resource_id or each.value for each in raw.errors if each.type.endswith(_GONE)]
    for each in (*raw.data, *raw.includes.tweets):
        found += [each.id] if each.withheld else []
        found += (each.edit_history_tweet_ids or ())[:-1]  # in the order in which they were written
    own = frozenset(each for each in found if isinstance(each, str))
    found += [each.id for each in raw.data if _references(each.referenced_tweets).get("retweeted") in own]
    return tuple(dict.fromkeys(each for each in found if isinstance(each, str) and _ID.fullmatch(each)))


def rules(data: bytes) -> tuple[list[Rule], str | None]:
    """An answer of the rules' address: the rules, and the token of its next page. Raises BadLineError."""
    raw: _Rules = _decode(_rules, data, MAX_ANSWER)
    return raw.data, raw.meta.next_token


def refused_rules(data: bytes) -> dict[str, str]:
    """An answer to adding rules: rule → why not. One that X has already is not refused. Raises BadLineError."""
    raw: _Rules = _decode(_rules, data, MAX_ANSWER)
    return {
        str(each.value): _sentence(" ".join(each.details or ()) or each.detail or each.title)
        for each in raw.errors
        if not each.type.endswith("/duplicate-rules")
    }


def id_time(id: str) -> datetime:
    """When X gave the id: 22 low bits count, the others are milliseconds since November 2010."""
    return _EPOCH + timedelta(milliseconds=(int(id) >> 22) + 1_288_834_974_657)


def problem(data: bytes) -> str:
    """What an answer that says no gives for its reason; empty where it gives none."""
    try:
        raw: _Line = _decode(_line, data, MAX_LINE)
    except BadLineError:
        return ""
    return _word(raw.connection_issue) or _word(raw.title)


def _decode(decoder: msgspec.json.Decoder[Any], data: bytes, most: int) -> Any:
    if len(data) > most:
        raise BadLineError("too big")
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        raise BadLineError("not of the expected shape") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadLineError("not valid JSON") from None


def _notice(raw: _Line) -> Notice:
    if not raw.errors and not raw.connection_issue:
        raise BadLineError("neither a post nor an error")
    first = raw.errors[0] if raw.errors else _Problem(title=raw.connection_issue)
    return Notice(
        title=_word(first.disconnect_type) or _word(first.title) or "an error",
        operational=first.type.endswith("/operational-disconnect"),
    )


def _said(tweet: _Tweet, includes: _Includes) -> _Tweet:
    """Whose words they are: a retweet's own are cut short."""
    original = _references(tweet.referenced_tweets).get("retweeted")
    return next((each for each in includes.tweets if each.id == original), tweet)


def _references(found: list[_Reference] | None) -> dict[str, str]:
    return {each.type: each.id for each in found or () if _ID.fullmatch(each.id)}


def _post(tweet: _Tweet, said: _Tweet, includes: _Includes, received_at: datetime, provider: str) -> post.Post:
    references = _references(tweet.referenced_tweets)
    lat, lon = _point(tweet.geo)
    return post.Post(
        provider=provider,
        id=tweet.id,
        text=lines.clean((said.note_tweet and said.note_tweet.text) or said.text),
        created_at=_created_at(tweet.created_at, received_at),
        received_at=received_at,
        author=tweet.author_id,
        langs=_langs(tweet.lang),
        url=f"https://x.com/i/web/status/{tweet.id}",
        repost_of=references.get("retweeted"),
        reply_to=references.get("replied_to"),
        lat=lat,
        lon=lon,
        media=_media(tweet.attachments, includes),
        verified=any(each.id == tweet.author_id and each.verified_type == "government" for each in includes.users),
    )


def _older(id: str, history: list[str] | None) -> tuple[str, ...]:
    """The versions that were written before this one: ``history`` has them in that order."""
    listed = history or []
    before = listed[: listed.index(id)] if id in listed else listed
    return tuple(each for each in before if _ID.fullmatch(each))


def _created_at(claim: datetime | None, received_at: datetime) -> datetime:
    if claim is None or claim.tzinfo is None:
        return received_at
    try:
        claimed = claim.astimezone(UTC)
    except OverflowError:
        return received_at
    claimed = claimed.replace(microsecond=claimed.microsecond // 1000 * 1000)
    return min(claimed, received_at) if claimed >= _EPOCH else received_at


def _langs(lang: str | None) -> tuple[str, ...]:
    if lang is None or len(lang) > 35:
        return ()
    return tuple(_OLD_LANGUAGES.get(each, each) for each in lines.languages((lang,)) if each not in _NO_LANGUAGE)


def _point(geo: _Geo | None) -> tuple[float | None, float | None]:
    """GeoJSON: longitude first."""
    point = geo.coordinates.coordinates if geo is not None and geo.coordinates is not None else None
    if point is None or len(point) != 2 or not (-180 <= point[0] <= 180 and -90 <= point[1] <= 90):
        return None, None
    return point[1], point[0]


def _media(attachments: _Attachments | None, includes: _Includes) -> tuple[str, ...]:
    wanted = frozenset((attachments.media_keys if attachments is not None else None) or ())
    addresses = (each.url or each.preview_image_url for each in includes.media if each.media_key in wanted)
    return tuple(itertools.islice((each for each in addresses if each and _ADDRESS.fullmatch(each)), MOST_MEDIA))


def _word(text: str) -> str:
    """X's own short name of something, safe to print."""
    return text if len(text) <= 60 and re.fullmatch(r"[A-Za-z0-9 _-]+", text, re.ASCII) else ""


def _sentence(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)[:200].strip().rstrip(".")
