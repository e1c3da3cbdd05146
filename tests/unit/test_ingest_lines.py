"""Post lines: what is accepted, what is refused and how, and that writing and reading are inverses."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import post
from bot.ingest import lines
from tests import factories, shared

GOOD: dict[str, Any] = {"source": "bluesky", "id": "p1", "text": "Smoke", "created_at": "2031-05-14T12:00:00.123Z"}


def encode(**fields: Any) -> bytes:
    return json.dumps({key: value for key, value in (GOOD | fields).items() if value is not ...}).encode()


def decode_post(**fields: Any) -> post.Post:
    item = lines.decode(encode(**fields))
    assert isinstance(item, post.Post)
    return item


def test_the_required_fields_are_enough() -> None:
    when = datetime(2031, 5, 14, 12, 0, 0, 123_000, UTC)
    assert lines.decode(encode()) == post.Post(
        provider="bluesky", id="p1", text="Smoke", created_at=when, received_at=when
    )


def test_null_is_absent() -> None:
    optional = ("author", "langs", "url", "repost_of", "reply_to", "lat", "lon", "media", "verified", "official")
    assert lines.decode(encode(**dict.fromkeys(optional))) == lines.decode(encode())


def test_received_at_is_passed_in() -> None:
    assert lines.decode(encode(), factories.NOW).received_at == factories.NOW  # type: ignore[union-attr]


def test_times_become_utc_milliseconds() -> None:
    item = decode_post(created_at="2031-05-14T14:00:00.123999+02:00")
    assert item.created_at == datetime(2031, 5, 14, 12, 0, 0, 123_000, UTC)


def test_an_official_warning() -> None:
    official = {"category": "flood", "certainty": "likely", "supersedes": ["w1"], "cancelled": True}
    assert decode_post(official=official).official == post.Official(
        category="flood", certainty="likely", supersedes=("w1",), cancelled=True
    )
    assert decode_post(official={"category": "flood"}).official == post.Official(category="flood")


def test_deletions() -> None:
    line = b'{"source": "bluesky", "id": "p1", "deleted_at": "2031-05-14T12:00:00Z"}'
    assert lines.decode(line) == post.Deletion(provider="bluesky", id="p1", deleted_at=factories.NOW)
    line = b'{"source": "bluesky", "author": "a", "deleted_at": "2031-05-14T12:00:00Z"}'
    assert lines.decode(line) == post.Deletion(provider="bluesky", author="a", deleted_at=factories.NOW)


def test_empty_text_and_unknown_keys_are_fine() -> None:
    assert decode_post(text="", colour="red").text == ""


def test_nul_and_lone_surrogates_become_replacement_characters() -> None:
    line = encode().replace(b"Smoke", rb"a\ud800b\u0000c\ud83d\ude00")
    item = lines.decode(line)
    assert isinstance(item, post.Post)
    assert item.text == "a\ufffdb\ufffdc\U0001f600"
    item.text.encode()


def test_a_text_without_end_is_cut() -> None:
    assert len(decode_post(text="x" * 200_000).text) == lines.MAX_TEXT


def test_languages_are_primary_subtags() -> None:
    assert decode_post(langs=["pt-BR", "pt", "EN", ""]).langs == ("pt", "en")


@pytest.mark.parametrize(
    "fields",
    [
        {"source": ...},
        {"source": ""},
        {"source": "a|b"},
        {"source": "*"},
        {"source": "a b"},
        {"id": ...},
        {"id": ""},
        {"id": None},
        {"id": 5},
        {"id": "a\0b"},
        {"text": ...},
        {"text": None},
        {"text": ["secret"]},
        {"created_at": ...},
        {"created_at": "yesterday"},
        {"created_at": 1_700_000_000},
        {"created_at": "2031-05-14T12:00:00"},
        {"created_at": "2031-05-14"},
        {"created_at": "2031-02-30T12:00:00Z"},
        {"created_at": "0001-01-01T00:00:00+05:00"},
        {"created_at": "1969-12-31T23:59:59Z"},
        {"lat": 90.1, "lon": 0},
        {"lat": 0, "lon": -180.1},
        {"lat": "1", "lon": "2"},
        {"lat": 1.0},
        {"lon": 1.0},
        {"langs": "en"},
        {"media": [1]},
        {"verified": "yes"},
        {"official": {"certainty": "likely"}},
        {"official": {"category": "flood", "certainty": "secret"}},
        {"official": "flood"},
        {"text": ..., "deleted_at": "soon"},
        {"text": ..., "id": ..., "deleted_at": "2031-05-14T12:00:00Z"},
    ],
)
def test_what_is_not_valid_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(lines.BadLineError) as caught:
        lines.decode(encode(**fields))
    assert 0 < len(str(caught.value)) < 120
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"secret",
        b"{",
        b"[]",
        b"null",
        b'"secret"',
        b"{} {}",
        encode()[:-1],
        encode().replace(b"Smoke", b"secret\xff"),
        encode().replace(b"Smoke", rb"secret\ud800")[:-1],
        b"[" * 100_000,
        encode()[:-1] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"text": "' + b"x" * (lines.MAX_LINE + 1) + b'"}',
    ],
    ids=range(13),
)
def test_what_is_no_json_object_is_refused(line: bytes) -> None:
    with pytest.raises(lines.BadLineError) as caught:
        lines.decode(line)
    assert 0 < len(str(caught.value)) < 120
    assert "secret" not in str(caught.value)


_words = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
_name = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8)
_times = st.datetimes(datetime(1970, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000)
)
_maybe = st.none() | _words
_officials = st.builds(
    post.Official,
    category=_name,
    certainty=st.sampled_from(["possible", "likely", "observed"]),
    supersedes=st.lists(_words, max_size=2).map(tuple),
    cancelled=st.booleans(),
)


@st.composite
def _posts(draw: st.DrawFn) -> post.Post:
    created_at = draw(_times)
    place = draw(st.none() | st.tuples(st.floats(-90, 90), st.floats(-180, 180)))
    return post.Post(
        provider=draw(_name),
        id=draw(_words.filter(bool)),
        text=draw(_words),
        created_at=created_at,
        received_at=created_at,
        author=draw(_maybe),
        langs=draw(st.sampled_from([(), ("en",), ("pt", "es")])),
        url=draw(_maybe),
        repost_of=draw(_maybe),
        reply_to=draw(_maybe),
        lat=place and place[0],
        lon=place and place[1],
        media=draw(st.lists(_words, max_size=2).map(tuple)),
        verified=draw(st.booleans()),
        official=draw(st.none() | _officials),
    )


_deletions = st.builds(post.Deletion, provider=_name, id=_words.filter(bool), deleted_at=_times) | st.builds(
    post.Deletion, provider=_name, author=_words.filter(bool), deleted_at=_times
)


@settings(deadline=None)
@given(_posts() | _deletions)
def test_a_line_read_back_is_the_same_item(item: post.Post | post.Deletion) -> None:
    assert lines.decode(json.dumps(lines.to_line(item)).encode()) == item


def test_classify_needs_text_only() -> None:
    assert lines.decode_text(b'{"text": ""}') == (None, "")
    assert lines.decode_text(b'{"text": "a", "id": "1", "created_at": 5}') == ("1", "a")
    with pytest.raises(lines.BadLineError):
        lines.decode_text(b'{"id": "1"}')


def test_every_recorded_line_is_good() -> None:
    for path in sorted(shared.require("data", "replay").glob("*.jsonl.gz"))[:8]:
        with gzip.open(path) as stream:
            for line in stream:
                lines.decode(line)
