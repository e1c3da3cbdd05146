"""Jetstream packed with zstd: v1 by a dictionary of ours, v2 by the server's; and everything that is wrong with one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from bot.ingest import jetstream
from bot.ingest.source import State
from tests import streams
from tests.fakes import sources
from tests.fakes.jetstream_faults import AnswerDictionary, Cut, Drop, Fault, Garbage, PackWith, Refuse, Slow, Split

VERSIONS = pytest.mark.parametrize("version", [1, 2])


@pytest.fixture
async def fake() -> AsyncIterator[sources.FakeJetstream]:
    async with sources.FakeJetstream() as server:
        yield server
        assert server.unfired() == []


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    path = tmp_path / "invented.zdict"
    path.write_bytes(sources.dictionary())
    return path


def make_source(fake: sources.FakeJetstream, version: int, dictionary: Path, **more: Any) -> jetstream.JetstreamSource:
    given = dictionary if version == 1 else None
    return streams.make_source(fake.url(version), compress=True, dictionary=given, **more)


@VERSIONS
async def test_packed_frames_say_the_same(version: int, fake: sources.FakeJetstream, dictionary: Path) -> None:
    expected = streams.fill(fake)
    packed = await streams.take(make_source(fake, version, dictionary), 6, streams.before_all(version, fake))
    assert fake.packed >= 6
    plain = await streams.take(streams.make_source(fake.url(version)), 6, streams.before_all(version, fake))
    assert packed == plain
    assert streams.texts(packed) == expected
    asked = [query.get("compress") if version == 1 else query.get("zstdDictionary") for query in fake.requests]
    wanted = "true" if version == 1 else str(zstandard.ZstdCompressionDict(sources.dictionary()).dict_id())
    assert asked == [[wanted], None]


@VERSIONS
@pytest.mark.parametrize("fault", [Drop(3), Cut(2), Split(2), Slow(1)], ids=["drop", "cut", "split", "slow"])
async def test_breaks_of_a_packed_stream_lose_and_repeat_nothing(
    version: int, fault: Fault, fake: sources.FakeJetstream, dictionary: Path
) -> None:
    expected = streams.fill(fake)
    fake.script(fault)
    source = make_source(fake, version, dictionary)
    assert streams.texts(await streams.take(source, 6, streams.before_all(version, fake))) == expected
    assert source.health.dropped == 0


BOMBS = {
    "tells its size": sources.pack(b"0" * 40_000_000, sources.dictionary()),
    "tells no size": sources.pack(b"0" * 40_000_000, sources.dictionary(), sized=False),
    "broken": zstandard.ZstdCompressor().compress(b"invented words")[:-3],
    "no zstd": b"\x00\xffno frame",
    "empty": b"",
}


@VERSIONS
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
async def test_a_bomb_is_dropped_and_the_connection_kept(
    version: int, bomb: bytes, fake: sources.FakeJetstream, dictionary: Path
) -> None:
    assert len(bomb) < 10_000
    expected = streams.fill(fake, 3)
    fake.script(Garbage(1, data=bomb, binary=True))
    source = make_source(fake, version, dictionary)
    assert streams.texts(await streams.take(source, 3, streams.before_all(version, fake))) == expected
    assert (source.health.dropped, len(fake.requests)) == (1, 1)


@VERSIONS
async def test_frames_of_another_dictionary_are_asked_for_again_unpacked(
    version: int, fake: sources.FakeJetstream, dictionary: Path
) -> None:
    expected = streams.fill(fake)
    other = sources.dictionary("other")
    fake.script(PackWith(other))
    waits = streams.Waits()
    source = make_source(fake, version, dictionary, sleep=waits)
    assert streams.texts(await streams.take(source, 6, streams.before_all(version, fake))) == expected
    assert (source.health.dropped, waits.seconds) == (0, [])
    names = [zstandard.ZstdCompressionDict(each).dict_id() for each in (other, sources.dictionary())]
    assert source.health.last_error == (
        f"127.0.0.1:{fake.port} packs with the dictionary {names[0]}, ours is {names[1]}"
    )
    assert source.health.remedy == "nothing is lost, the stream goes on without compression"


@VERSIONS
async def test_a_frame_that_does_not_unpack_is_asked_for_again_unpacked(
    version: int, fake: sources.FakeJetstream, dictionary: Path
) -> None:
    expected = streams.fill(fake)
    fake.script(Garbage(2, data=sources.pack(b"0" * 900, sources.dictionary())[:-3], binary=True))
    source = make_source(fake, version, dictionary)
    assert streams.texts(await streams.take(source, 6, streams.before_all(version, fake))) == expected
    assert (source.health.dropped, len(fake.requests)) == (0, 2)


async def test_a_dictionary_of_the_same_number_with_other_bytes_loses_nothing(
    fake: sources.FakeJetstream, tmp_path: Path
) -> None:
    ours, theirs = bytearray(sources.dictionary("other")), sources.dictionary()
    ours[4:8] = theirs[4:8]
    path = tmp_path / "forged.zdict"
    path.write_bytes(ours)
    expected = streams.fill(fake)
    source = make_source(fake, 1, path)
    assert streams.texts(await streams.take(source, 6, streams.before_all(1, fake))) == expected
    assert source.health.last_error == f"127.0.0.1:{fake.port} sends what our dictionary does not unpack"


@pytest.mark.parametrize(
    "answer",
    [AnswerDictionary(404), AnswerDictionary(200, b"<html>"), AnswerDictionary(200, b"\x37\xa4\x30\xec" * 9)],
    ids=["none", "no dictionary", "broken"],
)
async def test_v2_without_a_usable_dictionary_goes_on_unpacked(
    answer: AnswerDictionary, fake: sources.FakeJetstream, dictionary: Path
) -> None:
    expected = streams.fill(fake)
    fake.script(answer)
    source = make_source(fake, 2, dictionary)
    assert streams.texts(await streams.take(source, 6, streams.before_all(2, fake))) == expected
    assert fake.packed == 0
    assert source.health.last_error is not None
    assert "dictionary" in source.health.last_error
    assert source.health.state is State.LIVE


async def test_v2_that_retires_its_dictionary_at_once_is_read_unpacked(
    fake: sources.FakeJetstream, dictionary: Path
) -> None:
    expected = streams.fill(fake)
    fake.script(Refuse(400, error="UnknownZstdDictionary"))
    source = make_source(fake, 2, dictionary)
    assert streams.texts(await streams.take(source, 6, streams.before_all(2, fake))) == expected
    assert fake.packed == 0


async def test_v2_that_refuses_for_a_dictionary_that_was_not_named_is_not_asked_without_a_pause(
    fake: sources.FakeJetstream, dictionary: Path
) -> None:
    expected = streams.fill(fake)
    fake.script(*[Refuse(400, error="UnknownZstdDictionary")] * 3)
    waits = streams.Waits()
    source = make_source(fake, 2, dictionary, sleep=waits)
    assert streams.texts(await streams.take(source, 6, streams.before_all(2, fake))) == expected
    assert len(waits.seconds) == 1


async def test_v2_with_a_new_dictionary_is_asked_for_it_at_the_next_connection(
    fake: sources.FakeJetstream, dictionary: Path
) -> None:
    expected = streams.fill(fake)
    fake.script(Drop(3))
    waits = streams.Waits()
    waits.before = lambda: setattr(fake, "dictionary", sources.dictionary("other"))
    source = make_source(fake, 2, dictionary, sleep=waits)
    assert streams.texts(await streams.take(source, 6, streams.before_all(2, fake))) == expected
    assert len({query["zstdDictionary"][0] for query in fake.requests}) == 2


@pytest.mark.parametrize(("content", "said"), [(None, "cannot be read"), (b"words", "holds no zstd dictionary")])
async def test_v1_without_a_usable_file_says_so_and_reads_unpacked(
    content: bytes | None, said: str, fake: sources.FakeJetstream, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.zdict"
    if content is not None:
        path.write_bytes(content)
    expected = streams.fill(fake)
    source = make_source(fake, 1, path)
    assert source.health.last_error is not None
    assert said in source.health.last_error
    assert streams.texts(await streams.take(source, 6, streams.before_all(1, fake))) == expected
    assert "compress" not in fake.requests[0]


async def test_v1_is_told_that_it_needs_a_file(fake: sources.FakeJetstream) -> None:
    source = streams.make_source(fake.url(1), compress=True)
    assert source.health.remedy == "set dictionary; nothing is lost, the stream goes on without compression"
    assert streams.make_source(fake.url(2), compress=True).health.remedy is None


async def test_a_server_that_does_not_pack_is_read_all_the_same(fake: sources.FakeJetstream, dictionary: Path) -> None:
    expected = streams.fill(fake)
    fake.script(PackWith(b""))
    source = make_source(fake, 1, dictionary)
    async with asyncio.timeout(10):
        assert streams.texts(await streams.take(source, 6, streams.before_all(1, fake))) == expected
    assert (fake.packed, source.health.dropped, len(fake.requests)) == (0, 0, 1)
