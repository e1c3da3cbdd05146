"""Unpacking Jetstream's zstd frames: Bluesky's own dictionaries, and whatever else a server may send."""

import contextlib

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.ingest import jetstream_compression, jetstream_frames
from bot.ingest.jetstream_compression import Dictionary, DictionaryError
from tests import shared
from tests.fakes import sources

OURS = Dictionary(sources.dictionary())


@pytest.mark.parametrize("name", ["legacy_subscribe.zdict", "subscribe_events_20260811.zdict"])
@pytest.mark.parametrize("recorded", ["expected_v1.jsonl", "golden_v1.jsonl"])
def test_recorded_frames_come_through_bluesky_s_own_dictionaries(name: str, recorded: str) -> None:
    path = shared.require("samples", "bluesky-jetstream", name)
    dictionary = jetstream_compression.read(path)
    frames = shared.require("samples", "bluesky-jetstream", recorded).read_bytes().splitlines()
    packed = [sources.pack(frame, path.read_bytes(), sized=bool(number % 2)) for number, frame in enumerate(frames)]
    assert [dictionary.unpack(each) for each in packed] == frames
    assert sum(map(len, packed)) < 0.6 * sum(map(len, frames)), "they are the dictionaries of such frames"


@pytest.mark.parametrize(
    "data", [b"", b"words", b"\x37\xa4\x30\xec", sources.dictionary()[:60], sources.dictionary() + b"0" * 2**20]
)
def test_what_is_no_dictionary_is_refused(data: bytes) -> None:
    with pytest.raises(DictionaryError, match="zstd dictionary"):
        Dictionary(data)


@pytest.mark.parametrize("sized", [False, True])
@pytest.mark.parametrize("size", [jetstream_frames.MAX_FRAME, jetstream_frames.MAX_FRAME + 1, 2**28])
def test_no_more_is_unpacked_than_a_frame_may_hold(size: int, sized: bool) -> None:
    packed = sources.pack(b"0" * size, sources.dictionary(), sized=sized)
    if size <= jetstream_frames.MAX_FRAME:
        assert len(OURS.unpack(packed)) == size
        return
    with pytest.raises(jetstream_frames.BadFrameError):
        OURS.unpack(packed)


def test_frames_without_a_dictionary_are_unpacked_too() -> None:
    assert OURS.unpack(zstandard.ZstdCompressor().compress(b"{}")) == b"{}"


def test_what_ours_does_not_unpack_is_the_dictionary_s_fault_what_needs_none_is_the_frame_s() -> None:
    with pytest.raises(DictionaryError, match="does not unpack"):
        OURS.unpack(sources.pack(b'{"a": 1}' * 9, sources.dictionary())[:-3])
    with pytest.raises(jetstream_frames.BadFrameError):
        OURS.unpack(zstandard.ZstdCompressor().compress(b'{"a": 1}' * 9)[:-3])
    with pytest.raises(DictionaryError, match="packs with the dictionary"):
        OURS.unpack(sources.pack(b"{}", sources.dictionary("other")))


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 60))
def test_any_bytes_are_unpacked_or_bad(noise: bytes, kept: int) -> None:
    whole = sources.pack(b'{"did": "did:plc:invented"}', sources.dictionary())
    for data in (noise, whole[:kept] + noise):
        with contextlib.suppress(jetstream_frames.BadFrameError, DictionaryError):
            assert len(OURS.unpack(data)) <= jetstream_frames.MAX_FRAME
