"""Decoding Jetstream's frames: hostile records, both protocols, and the recorded sample."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import post
from bot.ingest import jetstream_frames, jetstream_records
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
        ("2031-05-14T11:00:00", datetime(2031, 5, 14, 11, tzinfo=UTC)),
        ("2031-05-14", datetime(2031, 5, 14, tzinfo=UTC)),
        ("9999-12-31T23:59:59-14:00", sources.START + timedelta(milliseconds=10)),
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


def test_what_a_frame_says_belongs_to_the_provider_of_its_source() -> None:
    log = sources.FakeJetstream()
    log.add_post("one", rkey="3kaaa")
    log.add_update("two", rkey="3kaaa")
    log.add_delete(rkey="3kaaa")
    log.add_account(status="deleted")
    for event in log.events:
        for decode, data in ((jetstream_frames.decode_v1, event.v1()), (jetstream_frames.decode_v2, event.v2())):
            frame = decode(data, NOW, "elsewhere")
            assert isinstance(frame, jetstream_frames.Frame)
            assert {item.provider for item in frame.items} == {"elsewhere"}


def test_an_update_to_something_unreadable_still_takes_the_old_words_away() -> None:
    event = sources.FakeJetstream().add_update("x", rkey="3kaaa")
    event.body["record"] = {"text": 5}
    (item,) = jetstream_frames.decode_v1(event.v1(), NOW).items
    assert isinstance(item, post.Deletion)


def test_an_edit_is_another_post_for_each_revision() -> None:
    log = sources.FakeJetstream()
    first, second = (log.add_update(words, rkey="3kaaa") for words in ("one", "two"))
    made = []
    for event in (first, second):
        deletion, edited = jetstream_frames.decode_v1(event.v1(), NOW).items
        assert isinstance(deletion, post.Deletion)
        assert isinstance(edited, post.Post)
        assert (deletion.id, edited.url) == (event.uri, f"https://bsky.app/profile/{event.did}/post/3kaaa")
        assert deletion.replaced_by == edited.id
        made.append(edited.id)
    assert made == [f"{first.uri}#v:{first.body['rev']}", f"{second.uri}#v:{second.body['rev']}"]


@pytest.mark.parametrize("rev", ["", "a#b", "A" * 13, "a" * 41, "<x>"])
def test_an_edit_without_a_usable_revision_only_takes_the_old_words_away(rev: str) -> None:
    event = sources.FakeJetstream().add_update("two", rkey="3kaaa")
    event.body["rev"] = rev
    (item,) = jetstream_frames.decode_v1(event.v1(), NOW).items
    assert isinstance(item, post.Deletion)


@pytest.mark.parametrize(
    ("labels", "skipped"),
    [
        ({"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "!no-unauthenticated"}]}, True),
        ({"values": [{"val": "porn"}, {"val": "!no-unauthenticated"}, 5]}, True),
        (["!no-unauthenticated"], True),
        ({"values": [{"val": "no-unauthenticated"}]}, False),
        ({"values": 5}, False),
        (None, False),
    ],
)
@pytest.mark.parametrize("langs", [["en"], 5], ids=["well-formed", "mended"])
def test_an_author_who_wants_signed_in_readers_only_is_heeded(labels: Any, skipped: bool, langs: Any) -> None:
    event = sources.FakeJetstream().add_post("Smoke", labels=labels, langs=langs)
    for frame in (jetstream_frames.decode_v1(event.v1(), NOW), jetstream_frames.decode_v2(event.v2(), NOW)):
        assert isinstance(frame, jetstream_frames.Frame)
        assert (frame.skipped, len(frame.items)) == (skipped, 0 if skipped else 1)


def test_a_sync_moves_the_cursor_and_says_whose_repository_has_changed() -> None:
    event = sources.FakeJetstream().add_sync()
    frame = jetstream_frames.decode_v2(event.v2(), NOW)
    assert isinstance(frame, jetstream_frames.Frame)
    assert (frame.seq, frame.items, frame.key, frame.synced) == (event.seq, (), None, event.did)
    event.did = "did:plc:<script>"
    with pytest.raises(jetstream_frames.BadFrameError):
        jetstream_frames.decode_v2(event.v2(), NOW)


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


_words = st.text(max_size=12)
_well_formed = st.fixed_dictionaries(
    {"text": _words},
    optional={
        "createdAt": st.datetimes(min_value=datetime(1, 1, 1)).map(  # noqa: DTZ001
            lambda when: when.replace(microsecond=when.microsecond // 1000 * 1000).isoformat() + "Z"
        ),
        "langs": st.lists(st.sampled_from(["en", "en-GB", "pt-BR", "", "x" * 50]), max_size=12),
        "reply": st.fixed_dictionaries({"parent": st.fixed_dictionaries({"uri": _words})}),
        "embed": st.fixed_dictionaries(
            {}, optional={"images": st.just([{"image": {"ref": {"$link": "bafy"}}}] * 12), "record": _json}
        ),
        "tags": _json,
    },
)


@settings(deadline=None)
@given(_well_formed)
def test_the_fast_way_and_the_mended_way_agree(record: dict[str, Any]) -> None:
    data = json.dumps(record).encode()
    made = [
        jetstream_records.to_post(each, did="did:plc:a", uri="at://a", rkey="b", at=sources.START, received_at=NOW)
        for each in (
            msgspec.json.decode(data, type=jetstream_records.Record),
            jetstream_records.mend(msgspec.Raw(data)),
        )
    ]
    assert made[0] == made[1]


HOSTILE = {
    "cut off": sources.FakeJetstream().add_post("Smoke").v1()[:-9],
    "ten megabytes": b'{"did":"' + b"a" * 10_000_000 + b'"}',
    "deep": b'{"did":' + b"[" * 100_000,
    "deep in a record": sources.FakeJetstream().add_post("x").v1().replace(b'"x"', b'"x","embed":' + b"[" * 50_000),
    "lone surrogate": sources.FakeJetstream().add_post("x").v1().replace(b'"x"', b'"\\ud800"'),
    "no UTF-8": sources.FakeJetstream().add_post("x").v1().replace(b'"x"', b'"\xff"'),
    "empty": b"",
    "a number": b"5",
    "not a number": b'{"did":"did:plc:a","time_us":NaN,"kind":"commit"}',
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_frames_are_bad_frames(data: bytes) -> None:
    for decode in (jetstream_frames.decode_v1, jetstream_frames.decode_v2):
        with pytest.raises(jetstream_frames.BadFrameError):
            decode(data, NOW)


@settings(deadline=None)
@given(st.data())
def test_a_frame_cut_anywhere_is_bad(data: st.DataObject) -> None:
    event = sources.FakeJetstream().add_post("Smoke over the invented town")
    for frame, decode in ((event.v1(), jetstream_frames.decode_v1), (event.v2(), jetstream_frames.decode_v2)):
        with pytest.raises(jetstream_frames.BadFrameError):
            decode(frame[: data.draw(st.integers(0, len(frame) - 1))], NOW)


@pytest.mark.parametrize("name", ["expected_v1.jsonl", "golden_v1.jsonl"])
def test_the_recorded_window_decodes_without_a_drop(name: str) -> None:
    frames = shared.require("samples", "bluesky-jetstream", name).read_bytes().splitlines()
    read = [jetstream_frames.decode_v1(frame, NOW) for frame in frames]
    items = [item for frame in read for item in frame.items]
    edits = sum(b'"operation":"update","collection":"app.bsky.feed.post"' in frame for frame in frames)
    creates = sum(b'"operation":"create","collection":"app.bsky.feed.post"' in frame for frame in frames)
    deletes = sum(b'"operation":"delete","collection":"app.bsky.feed.post"' in frame for frame in frames)
    skipped = sum(frame.skipped for frame in read)
    assert sum(isinstance(item, post.Post) for item in items) == creates + edits - skipped > 0
    assert sum(isinstance(item, post.Deletion) for item in items) == deletes + edits
