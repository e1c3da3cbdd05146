"""Decoding Jetstream's frames: hostile records, both protocols, and the recorded sample."""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import post
from bot.ingest import jetstream_frames
from tests import factories, shared
from tests.fakes import sources

NOW = factories.NOW


def decode(**record: Any) -> post.Post:
    """One post through both protocols, which must agree."""
    event = sources.FakeJetstream().add_post(record.pop("text", "Smoke"), **record)
    frame = jetstream_frames.decode_v1(event.v1(), NOW)
    same = jetstream_frames.decode_v2(event.v2(), NOW)
    assert isinstance(same, jetstream_frames.Frame)
    assert (same.items, same.key, same.time_us, same.at) == (frame.items, frame.key, frame.time_us, frame.at)
    (item,) = frame.items
    assert isinstance(item, post.Post)
    return item


def test_a_record_is_taken_for_what_makes_sense_in_it() -> None:
    item = decode(langs="en", reply=5, embed=["x"], createdAt=None, tags={"a": 1})
    assert (item.text, item.langs, item.reply_to, item.media) == ("Smoke", (), None, ())
    item = decode(langs=[None, "en-US", 5, "x" * 90], reply={"parent": {}}, embed={"$type": "x", "images": "none"})
    assert (item.langs, item.reply_to, item.media) == (("en",), None, ())


@pytest.mark.parametrize(
    ("claim", "expected"),
    [
        ("2031-05-14T11:00:00Z", datetime(2031, 5, 14, 11, tzinfo=UTC)),
        ("2031-05-14T11:00:00+01:00", datetime(2031, 5, 14, 10, tzinfo=UTC)),
        ("2031-05-14T11:00:00.123456789Z", datetime(2031, 5, 14, 11, 0, 0, 123_000, UTC)),
        ("2099-01-01T00:00:00Z", sources.START + timedelta(milliseconds=10)),
        ("0001-01-01T00:00:00Z", sources.START + timedelta(milliseconds=10)),
        ("0001-01-01T00:00:00+14:00", sources.START + timedelta(milliseconds=10)),
        ("just now", sources.START + timedelta(milliseconds=10)),
        (5, sources.START + timedelta(milliseconds=10)),
    ],
)
def test_the_authors_time_is_a_claim(claim: Any, expected: datetime) -> None:
    assert decode(createdAt=claim).created_at == expected


def test_a_quote_with_a_video_shows_the_video_and_is_no_repost() -> None:
    video = {"$type": "app.bsky.embed.video", "video": {"ref": {"$link": "bafyvideo"}}}
    quote = {"record": {"uri": "at://did:plc:aaa/app.bsky.feed.post/1", "cid": "b"}}
    item = decode(embed={"$type": "app.bsky.embed.recordWithMedia", "record": quote, "media": video})
    assert item.media == (f"https://video.bsky.app/watch/{sources.did(1)}/bafyvideo/playlist.m3u8",)
    assert item.repost_of is None


def test_text_is_cleaned_as_in_post_lines() -> None:
    assert decode(text="a\0b").text == "a\ufffdb"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("did", "did:plc:<script>"),
        ("did", 5),
        ("time_us", "soon"),
        ("time_us", -1),
        ("time_us", 10**18),
        ("commit.rkey", "../../evil"),
        ("commit.rkey", ""),
        ("commit.operation", "explode"),
        ("commit.record", None),
        ("commit.record", {"text": None}),
        ("commit.record", {"langs": ["en"]}),
        ("commit", "x"),
    ],
)
def test_what_cannot_be_a_post_is_a_bad_frame(path: str, value: Any) -> None:
    frame = json.loads(sources.FakeJetstream().add_post("secret").v1())
    *parents, last = path.split(".")
    target = frame
    for parent in parents:
        target = target[parent]
    target[last] = value
    with pytest.raises(jetstream_frames.BadFrameError) as caught:
        jetstream_frames.decode_v1(json.dumps(frame).encode(), NOW)
    assert "secret" not in str(caught.value)


def test_an_update_to_something_unreadable_still_takes_the_old_words_away() -> None:
    event = sources.FakeJetstream().add_update("x", rkey="3kaaa")
    event.body["record"] = {"text": 5}
    (item,) = jetstream_frames.decode_v1(event.v1(), NOW).items
    assert isinstance(item, post.Deletion)


def test_notices_and_errors_of_protocol_2() -> None:
    info = {
        "$type": "message",
        "payload": {"$type": "network.bsky.jetstream.subscribeEvents#info", "name": "OutdatedCursor"},
    }
    assert jetstream_frames.decode_v2(json.dumps(info).encode(), NOW) == jetstream_frames.Notice("OutdatedCursor")
    error = {"$type": "error", "error": "<b>evil</b>", "message": "x"}
    assert jetstream_frames.decode_v2(json.dumps(error).encode(), NOW) == jetstream_frames.ErrorNotice("unnamed")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@settings(deadline=None)
@given(
    st.binary(max_size=100)
    | st.fixed_dictionaries(
        {
            "did": _json,
            "time_us": st.just(1_936_000_000_000_000) | _json,
            "kind": st.sampled_from(["commit", "account"]),
        },
        optional={"commit": _json, "account": _json, "$type": st.just("message"), "payload": _json},
    ).map(lambda value: json.dumps(value).encode())
    | st.fixed_dictionaries(
        {"text": st.just("x"), "langs": _json, "reply": _json, "embed": _json, "createdAt": _json}
    ).map(lambda record: sources.FakeJetstream().add_post(**record).v1())
)
def test_any_frame_is_read_or_bad(data: bytes) -> None:
    for decode in (jetstream_frames.decode_v1, jetstream_frames.decode_v2):
        with contextlib.suppress(jetstream_frames.BadFrameError):
            decode(data, NOW)


@pytest.mark.parametrize("name", ["expected_v1.jsonl", "golden_v1.jsonl"])
def test_the_recorded_window_decodes_without_a_drop(name: str) -> None:
    frames = shared.require("samples", "bluesky-jetstream", name).read_bytes().splitlines()
    read = [jetstream_frames.decode_v1(frame, NOW) for frame in frames]
    items = [item for frame in read for item in frame.items]
    creates = sum(b'"operation":"create","collection":"app.bsky.feed.post"' in frame for frame in frames)
    deletes = sum(b'"operation":"delete","collection":"app.bsky.feed.post"' in frame for frame in frames)
    assert sum(isinstance(item, post.Post) for item in items) == creates > 0
    assert sum(isinstance(item, post.Deletion) for item in items) == deletes
