"""Decoding what X sends: hostile JSON, references, times, answers about rules and posts, and the samples."""

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.ingest import lines, x, x_posts
from bot.ingest.x_posts import BadLineError, Line, Notice
from tests import factories, shared

NOW = factories.NOW


def decode(*, includes: Any = None, **data: Any) -> Line:
    line = {"data": {"id": "1900000000000000001", "text": "Smoke", "author_id": "1001"} | data}
    found = x_posts.decode(json.dumps(line | ({"includes": includes} if includes else {})).encode(), NOW, provider="x")
    assert isinstance(found, Line)
    return found


@pytest.mark.parametrize(
    ("lang", "expected"),
    [
        ("en", ("en",)),
        ("und", ()),
        ("qme", ()),
        ("in", ("id",)),
        ("iw", ("he",)),
        ("zh-TW", ("zh",)),
        (None, ()),
        ("x" * 99, ()),
    ],
)
def test_languages_are_primary_tags(lang: str | None, expected: tuple[str, ...]) -> None:
    assert decode(lang=lang).post.langs == expected


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("2031-05-14T11:00:00.000Z", datetime(2031, 5, 14, 11, tzinfo=UTC)),
        ("2031-05-14T11:00:00", NOW),
        ("2099-01-01T00:00:00Z", NOW),
        ("1066-10-14T09:00:00Z", NOW),
        ("0001-01-01T00:00:00+14:00", NOW),
        (None, NOW),
    ],
)
def test_the_time_is_a_claim(claim: str | None, expected: datetime) -> None:
    assert decode(created_at=claim).post.created_at == expected


@pytest.mark.parametrize("point", [[181, 0], [0, 91], [1], [], None])
def test_a_place_off_the_map_is_none(point: Any) -> None:
    found = decode(geo={"coordinates": {"coordinates": point}}).post
    assert (found.lat, found.lon) == (None, None)


def test_only_older_ids_of_the_right_form_are_older() -> None:
    history = ["1899999999999999999", "1900000000000000001", "1900000000000000002", "../1", "x"]
    assert decode(edit_history_tweet_ids=history).older == ("1899999999999999999",)


def test_addresses_of_media_are_checked() -> None:
    media = [
        {"media_key": "1", "url": "javascript:alert(1)"},
        {"media_key": "2", "preview_image_url": "https://img.example/2.jpg"},
    ]
    found = decode(attachments={"media_keys": ["1", "2"]}, includes={"media": media})
    assert found.post.media == ("https://img.example/2.jpg",)


def test_of_a_line_full_of_media_only_the_first_are_taken() -> None:
    keys = [str(number) for number in range(12_000)]
    media = [{"media_key": each, "url": f"https://i.example/{each}"} for each in reversed(keys)]
    found = decode(attachments={"media_keys": keys}, includes={"media": media})
    assert found.post.media == tuple(f"https://i.example/{each}" for each in reversed(keys[-16:]))


def test_text_is_cleaned_as_in_post_lines() -> None:
    assert decode(text="a\0b").post.text == "a\ufffdb"
    assert len(decode(text="x" * 300_000).post.text) == lines.MAX_TEXT


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"{}",
        b'{"data": {}}',
        b'{"data": {"id": 5}}',
        b'{"data": {"id": "1", "text": null}}',
        b'{"data": {"id": "1\\u0000"}}',
        b'{"data": {"id": "1", "text": "\\ud800"}}',
        b"[" * 1_000_000,
        b'{"data":' * 100_000,
        b'{"data": {"id": "1", "text": "' + b"x" * 10_000_000 + b'"}}',
    ],
    ids=range(11),
)
def test_what_is_no_line_is_refused(data: bytes) -> None:
    with pytest.raises(BadLineError):
        x_posts.decode(data, NOW, provider="x")


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=20)), st.integers(1, 7))
def test_lines_come_whole_however_they_are_cut(sent: list[bytes], size: int) -> None:
    sent = [line.replace(b"\n", b"").strip() for line in sent]
    wire = b"".join(line + b"\r\n" for line in sent)
    reader = x._Lines()
    found = [line for start in range(0, len(wire), size) for line in reader.feed(wire[start : start + size])]
    assert found == sent


def test_half_a_line_is_not_the_whole() -> None:
    reader = x._Lines()
    assert reader.whole
    for chunk, whole in ((b'{"data"', False), (b":1}\r\n", True), (b"x" * 2_000_000, False), (b"\n", True)):
        list(reader.feed(chunk))
        assert reader.whole is whole


def test_an_original_that_must_go_takes_its_retweets_but_no_answers_to_it() -> None:
    def fate(id: str, kind: str, to: str) -> dict[str, Any]:
        return {"id": id, "edit_history_tweet_ids": [id], "referenced_tweets": [{"type": kind, "id": to}]}

    answer = {
        "data": [fate("11", "retweeted", "1"), fate("12", "replied_to", "1"), fate("13", "retweeted", "2"),
                 fate("14", "retweeted", "3"), fate("15", "retweeted", "4")],
        "includes": {"tweets": [
            {"id": "1", "edit_history_tweet_ids": ["1"], "withheld": {"copyright": True}},
            {"id": "2", "edit_history_tweet_ids": ["2", "9"]},
            {"id": "4", "edit_history_tweet_ids": ["3", "4"]},
        ]},
        "errors": [{"resource_id": "3", "type": "https://api.x.com/2/problems/resource-not-found"}],
    }  # fmt: skip
    found = x_posts.gone(json.dumps(answer).encode())
    assert set(found) & {"11", "12", "13", "14", "15"} == {"11", "13", "14"}


def test_the_synthetic_stream_is_read() -> None:
    sample = shared.require("samples", "x", "stream_synthetic.jsonl").read_bytes()
    found = [x_posts.decode(line.strip(), NOW, provider="x") for line in sample.split(b"\n") if line.strip()]
    first, second, end = found
    assert isinstance(first, Line)
    assert isinstance(second, Line)
    assert (first.post.author, first.older, sorted(first.rules)) == ("1001", (), ["1166916266197536768"])
    assert (second.older, len(second.rules)) == ((first.post.id,), 2)
    assert end == Notice(title="UpstreamOperationalDisconnect", operational=True)


def test_too_many_connections_is_the_reason_of_a_refusal() -> None:
    sample = shared.require("samples", "x", "too_many_connections.json").read_bytes()
    assert x_posts.problem(sample) == "TooManyConnections"
    assert x_posts.decode(sample, NOW, provider="x") == Notice(title="TooManyConnections", operational=False)


def test_a_recorded_lookup_names_nothing_as_gone() -> None:
    text = shared.require("samples", "x", "v2-rest", "test_asyncclient_get_tweets.yaml").read_text(encoding="utf-8")
    found = re.search(r'string: ("\{.*?\}")\n', text, re.DOTALL)
    assert found is not None
    folded = re.sub(r"\\\n\s*(?:\\ )?", "", found[1])
    assert x_posts.gone(json.loads(folded).encode()) == ()
