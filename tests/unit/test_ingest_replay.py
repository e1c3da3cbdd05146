"""ReplaySource: order, resumption, bad lines, pace, pipes."""

import asyncio
import contextlib
import gzip
import io
import json
import os
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from bot.domain import errors, post
from bot.ingest import replay
from bot.ingest.replay_files import BadLine
from bot.ingest.source import State

START = datetime(2031, 5, 14, 12, tzinfo=UTC)


def make(paths: Sequence[str | Path], **settings: Any) -> replay.ReplaySource:
    return replay.ReplaySource("r", paths, clock=lambda: START, **settings)


def line(second: float, text: str = "", **fields: Any) -> bytes:
    at = (START + timedelta(seconds=second)).isoformat()
    return (
        json.dumps({"source": "bluesky", "id": f"p{second}", "text": text, "created_at": at} | fields).encode() + b"\n"
    )


def deletion(second: float, id: str) -> bytes:
    at = (START + timedelta(seconds=second)).isoformat()
    return json.dumps({"source": "bluesky", "id": id, "deleted_at": at}).encode() + b"\n"


def write(path: Path, *parts: bytes) -> Path:
    path.write_bytes(gzip.compress(b"".join(parts)) if path.suffix == ".gz" else b"".join(parts))
    return path


async def read(source: replay.ReplaySource, after: str | None = None) -> list[post.Arrival]:
    async with asyncio.timeout(10), contextlib.aclosing(source.posts(after)) as posts:
        return [arrival async for arrival in posts]


def seconds(arrivals: list[post.Arrival]) -> list[float]:
    return [(arrival.at - START).total_seconds() for arrival in arrivals]


async def test_lines_in_order_with_their_own_time(tmp_path: Path) -> None:
    source = make([write(tmp_path / "a.jsonl", line(1), line(2), deletion(3, "p1"))])
    arrivals = await read(source)
    assert seconds(arrivals) == [1, 2, 3]
    assert isinstance(arrivals[-1].item, post.Deletion)
    assert source.health.state is State.ENDED
    assert (source.good, source.bad) == (3, 0)


@pytest.mark.parametrize("after", range(1, 6))
async def test_resumes_after_its_cursor(after: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(1), b"bad\n", line(2), b"\n", line(3), line(4), line(5))
    whole = await read(make([path]))
    assert await read(make([path]), whole[after - 1].cursor) == whole[after:]


@pytest.mark.parametrize("after", range(6))
async def test_a_cursor_of_an_earlier_version_counts_the_good_lines_of_all_files(after: int, tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.jsonl", line(1), b"bad\n", line(3), b"\n", line(5)),
        write(tmp_path / "b.jsonl.gz", line(2), line(4)),
    ]
    whole = await read(make(paths))
    assert await read(make(paths), str(after)) == whole[after:]


async def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    packed = write(tmp_path / "a.jsonl.gz", line(1), line(2))
    packed.rename(tmp_path / "a.data")
    assert seconds(await read(make([tmp_path / "a.data"]))) == [1, 2]


async def test_several_files_are_merged_by_time(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.jsonl", line(1), line(4), line(5)),
        write(tmp_path / "b.jsonl.gz", line(2), deletion(4.5, "p1"), line(6)),
        write(tmp_path / "c.jsonl", *[line(3 + number / 10_000) for number in range(3_000)]),
    ]
    source = make(paths)
    arrivals = await read(source)
    assert seconds(arrivals) == sorted(seconds(arrivals))
    assert len(arrivals) == 3_006
    assert source.good == 3_006
    assert await read(make(paths), arrivals[2499].cursor) == arrivals[2500:]


async def test_each_file_goes_on_by_itself_when_it_has_grown_or_joined(tmp_path: Path) -> None:
    paths = [write(tmp_path / "a.jsonl", line(1), line(2)), write(tmp_path / "b.jsonl.gz", line(5), line(6))]
    cursor = (await read(make(paths)))[-1].cursor
    write(paths[0], line(1), line(2), line(3), line(7))
    paths[1].write_bytes(paths[1].read_bytes() + gzip.compress(line(8)))
    paths.insert(0, write(tmp_path / "new.jsonl", line(4)))
    rest = await read(make(paths), cursor)
    assert seconds(rest) == [3, 4, 7, 8]
    assert await read(make(paths), rest[-1].cursor) == []


async def test_a_file_whose_cut_end_is_mended_goes_on_there(tmp_path: Path) -> None:
    other = write(tmp_path / "b.jsonl", line(50_000))
    path = tmp_path / "a.gz"
    whole = gzip.compress(b"".join(line(number, text=f"{number:x}" * 9) for number in range(5_000)))
    path.write_bytes(whole[: len(whole) // 2])
    source = make([path, other])
    before = await read(source)
    assert "a.gz" in (source.health.last_error or "")
    assert seconds(before)[-1] == 50_000
    path.write_bytes(whole[: len(whole) // 3])
    assert await read(make([path, other]), before[-1].cursor) == []
    path.write_bytes(whole)
    rest = await read(make([path, other]), before[-1].cursor)
    assert sorted(seconds([*before, *rest])) == [*range(5_000), 50_000]


async def test_a_line_in_the_middle_of_which_its_writer_pauses_is_read_when_it_is_whole(tmp_path: Path) -> None:
    half = line(2)[:30]
    path = write(tmp_path / "a.jsonl", line(1), half)
    source = make([path])
    first = await read(source)
    assert (seconds(first), source.bad) == ([1], 1)
    write(path, line(1), line(2).rstrip())
    second = await read(make([path]), first[-1].cursor)
    assert seconds(second) == [2]
    write(path, line(1), line(2), line(3))
    assert seconds(await read(make([path]), second[-1].cursor)) == [3]


@pytest.mark.parametrize(
    "now",
    [
        (line(1), line(1.5), line(2), line(3)),  # a bad line was mended
        (line(11), line(12), line(13), line(14), line(15)),  # another file under the same name
        (line(11),),
    ],
    ids=["mended", "replaced", "shorter"],
)
async def test_a_file_that_is_not_the_same_is_read_from_its_beginning(now: tuple[bytes, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(1), b"bad\n", line(2), line(3))
    cursor = (await read(make([path])))[-1].cursor
    write(path, *now)
    with structlog.testing.capture_logs() as logs:
        assert await read(make([path]), cursor) == await read(make([path]))
    assert [entry["event"] for entry in logs] == ["file_changed"]


async def test_a_deletion_comes_again_after_what_a_mended_file_brings_late(tmp_path: Path) -> None:
    posts, others = write(tmp_path / "a.jsonl", line(1)), tmp_path / "b.jsonl"
    write(others, deletion(9, "p2"), json.dumps({
        "source": "bluesky", "author": "someone", "deleted_at": (START + timedelta(seconds=10)).isoformat()
    }).encode())  # fmt: skip
    cursor = (await read(make([posts, others])))[-1].cursor
    write(posts, line(1), line(2), line(20))
    source = make([posts, others])
    rest = await read(source, cursor)
    assert seconds(rest) == [2, 9, 20], "an account's deletion would take what it posted since"
    assert source.good == 2
    assert seconds(await read(make([posts, others]), rest[0].cursor)) == [9, 20]


async def test_bad_lines_are_told_by_file_and_number_and_skipped(tmp_path: Path) -> None:
    told: list[BadLine] = []
    path = write(tmp_path / "a.jsonl", b"secret\n", line(1), b"\n", b"{}\r\n", line(2), b'{"source":')
    source = make([path], on_bad=told.append)
    assert seconds(await read(source)) == [1, 2]
    assert [(bad.file, bad.number) for bad in told] == [(str(path), 1), (str(path), 4), (str(path), 6)]
    assert (source.good, source.bad, source.health.dropped) == (2, 3, 3)
    assert "secret" not in repr(told)


async def test_bad_lines_are_logged_without_their_content(tmp_path: Path) -> None:
    source = make([write(tmp_path / "a.jsonl", b"secret\n")])
    with structlog.testing.capture_logs() as logs:
        assert await read(source) == []
    assert [(entry["event"], entry["line"]) for entry in logs] == [("line_skipped", 1)]
    assert "secret" not in str(logs)


async def test_bad_lines_of_merged_files_are_all_told(tmp_path: Path) -> None:
    told: list[BadLine] = []
    paths = [write(tmp_path / "a.jsonl", line(1), b"x\n"), write(tmp_path / "b.jsonl", b"y\n")]
    assert len(await read(make(paths, on_bad=told.append))) == 1
    assert sorted((Path(bad.file).name, bad.number) for bad in told) == [("a.jsonl", 2), ("b.jsonl", 1)]


async def test_a_line_without_end_is_one_bad_line(tmp_path: Path) -> None:
    told: list[BadLine] = []
    path = write(tmp_path / "a.jsonl", line(1), b"x" * 9_000_000 + b"\n", line(2), b"y" * 5_000_000)
    assert seconds(await read(make([path], on_bad=told.append))) == [1, 2]
    assert [bad.number for bad in told] == [2, 4]


async def test_byte_order_mark_and_missing_last_line_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b"\xef\xbb\xbf", line(1), line(2).rstrip())
    source = make([path])
    assert seconds(await read(source)) == [1, 2]
    assert source.bad == 0


async def test_a_damaged_gzip_gives_what_can_be_read(tmp_path: Path) -> None:
    told: list[BadLine] = []
    whole = gzip.compress(b"".join(line(number, text=os.urandom(50).hex()) for number in range(20_000)))
    (tmp_path / "a.gz").write_bytes(whole[: len(whole) // 2])
    source = make([tmp_path / "a.gz"], on_bad=told.append)
    arrivals = await read(source)
    assert 1_000 < len(arrivals) < 20_000
    assert "the rest cannot be read" in told[-1].reason
    assert source.health.state is State.ENDED


async def test_late_lines_pass_where_they_stand_with_one_warning(tmp_path: Path) -> None:
    source = make([write(tmp_path / "a.jsonl", line(1), line(5), line(2), line(3), line(6))])
    with structlog.testing.capture_logs() as logs:
        assert seconds(await read(source)) == [1, 5, 2, 3, 6]
    assert [entry["event"] for entry in logs] == ["lines_out_of_order"]


class Time:
    """A monotonic clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(("pace", "expected"), [(1, [2, 8]), (10.0, [0.2, 0.8]), ("max", [])])
async def test_pace_is_measured_from_the_first_post(pace: Any, expected: list[float], tmp_path: Path) -> None:
    time = Time()
    path = write(tmp_path / "a.jsonl", line(0), line(2), line(10), line(9))
    source = make([path], pace=pace, monotonic=time.monotonic, sleep=time.sleep)
    await read(source)
    assert time.slept == pytest.approx(expected)


async def test_pace_makes_up_for_time_lost_elsewhere(tmp_path: Path) -> None:
    time = Time()
    path = write(tmp_path / "a.jsonl", line(0), line(2), line(10))
    source = make([path], pace=1, monotonic=time.monotonic, sleep=time.sleep)
    async with contextlib.aclosing(source.posts(None)) as posts:
        async for _ in posts:
            time.now += 3  # the consumer is slow
    assert time.slept == pytest.approx([4])


async def test_a_resumed_replay_is_paced_from_where_it_goes_on(tmp_path: Path) -> None:
    time = Time()
    path = write(tmp_path / "a.jsonl", line(0), line(1000), line(1001))
    source = make([path], pace=1, monotonic=time.monotonic, sleep=time.sleep)
    await read(source, "1")
    assert time.slept == pytest.approx([1])


async def test_standard_input() -> None:
    told: list[BadLine] = []
    stdin = io.BytesIO(line(1) + b"bad\n" + line(2))
    source = make(["-"], stdin=stdin, on_bad=told.append)
    assert seconds(await read(source, after="1")) == [1, 2], "a pipe is never skipped into"
    assert [(bad.file, bad.number) for bad in told] == [("standard input", 2)]


async def test_a_pipe_gives_each_line_as_it_comes() -> None:
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb") as stdin, os.fdopen(sending, "wb", buffering=0) as pipe:
        source = make(["-"], stdin=stdin)
        async with asyncio.timeout(10), contextlib.aclosing(source.posts(None)) as posts:
            for number in range(3):
                pipe.write(line(number))
                assert (await anext(posts)).at == START + timedelta(seconds=number)
            pipe.close()
            assert [arrival async for arrival in posts] == []


async def test_a_pipe_beside_a_file_is_not_kept_waiting(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(100))
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb") as stdin, os.fdopen(sending, "wb", buffering=0) as pipe:
        source = make([path, "-"], stdin=stdin)
        async with asyncio.timeout(10), contextlib.aclosing(source.posts(None)) as posts:
            for number in range(3):
                pipe.write(line(number))
                assert (await anext(posts)).at == START + timedelta(seconds=number)
            pipe.close()
            assert [arrival.at async for arrival in posts] == [START + timedelta(seconds=100)]


async def test_a_named_pipe_is_never_skipped_into(tmp_path: Path) -> None:
    fifo = tmp_path / "posts"
    os.mkfifo(fifo)
    for after in (None, "1", json.dumps({str(fifo): [1, 0]})):
        writing = threading.Thread(target=fifo.write_bytes, args=[line(1) + line(2)])
        writing.start()
        assert seconds(await read(make([fifo]), after)) == [1, 2]
        writing.join()


async def test_a_file_that_goes_after_the_start_is_a_sentence_and_no_defect(tmp_path: Path) -> None:
    told: list[BadLine] = []
    paths = [write(tmp_path / "a.jsonl", line(1), line(3)), write(tmp_path / "b.jsonl", line(2))]
    source = make(paths, on_bad=told.append)
    paths[0].rename(tmp_path / "elsewhere")
    arrivals = await read(source)
    assert seconds(arrivals) == [2]
    assert [(bad.file, bad.rest) for bad in told] == [(str(paths[0]), True)]
    assert "cannot be read" in (source.health.last_error or "")
    assert source.health.remedy
    (tmp_path / "elsewhere").rename(paths[0])
    assert seconds(await read(make(paths), arrivals[-1].cursor)) == [1, 3]


async def test_an_abandoned_replay_lets_go_of_its_thread(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *[line(number, text="x" * 500) for number in range(5_000)])
    async with contextlib.aclosing(make([path]).posts(None)) as posts:
        await anext(posts)
    async with asyncio.timeout(5):
        while any(thread.name == "replay:r" for thread in threading.enumerate()):
            await asyncio.sleep(0.001)


def test_what_cannot_be_read_is_said_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8bthis is none")
    for path in (tmp_path / "none.jsonl", tmp_path, tmp_path / "broken.gz"):
        with pytest.raises(errors.UsageError, match=str(path)):
            make([path])
    settings: dict[str, Any]
    for settings in ({"paths": []}, {"paths": ["-", "-"]}, {"paths": ["-"], "pace": 0}, {"paths": ["-"], "pace": -1.0}):
        with pytest.raises(errors.UsageError, match="source r"):
            make(**settings)


@pytest.mark.parametrize(
    "after", ["host:1:2", "", "[]", "null", '{"a": 1}', '{"a": ["1", 2]}', "²", "9" * 5_000, "[" * 100_000]
)
async def test_a_cursor_of_another_source_is_a_usage_error(after: str, tmp_path: Path) -> None:
    source = make([write(tmp_path / "a.jsonl", line(1))])
    with pytest.raises(errors.UsageError, match="cursor"):
        await read(source, after)


async def test_a_name_that_is_no_text_has_a_cursor_like_any(tmp_path: Path) -> None:
    path = write(tmp_path / os.fsdecode(b"a\xff.jsonl"), line(1), line(2))
    first, second = await read(make([path]))
    assert first.cursor.isascii()
    assert await read(make([path]), first.cursor) == [second]


async def test_an_empty_file_is_an_end(tmp_path: Path) -> None:
    source = make([write(tmp_path / "a.jsonl")])
    assert await read(source) == []
    assert source.health.answered
