"""ReplaySource: order, resumption, bad lines, pace, pipes."""

import asyncio
import contextlib
import gzip
import io
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from bot.domain import errors, post
from bot.ingest import replay
from bot.ingest.source import State

START = datetime(2031, 5, 14, 12, tzinfo=UTC)


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
    source = replay.ReplaySource("r", [write(tmp_path / "a.jsonl", line(1), line(2), deletion(3, "p1"))])
    arrivals = await read(source)
    assert seconds(arrivals) == [1, 2, 3]
    assert [arrival.cursor for arrival in arrivals] == ["1", "2", "3"]
    assert isinstance(arrivals[-1].item, post.Deletion)
    assert source.health.state is State.ENDED
    assert (source.good, source.bad) == (3, 0)


@pytest.mark.parametrize("after", range(6))
async def test_resumes_after_its_cursor(after: int, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", line(1), b"bad\n", line(2), b"\n", line(3), line(4), line(5))
    whole = await read(replay.ReplaySource("r", [path]))
    rest = await read(replay.ReplaySource("r", [path]), str(after))
    assert [arrival.item.key for arrival in rest] == [arrival.item.key for arrival in whole[after:]]  # type: ignore[union-attr]
    assert [arrival.cursor for arrival in rest] == [arrival.cursor for arrival in whole[after:]]


async def test_gzip_is_known_by_its_bytes(tmp_path: Path) -> None:
    packed = write(tmp_path / "a.jsonl.gz", line(1), line(2))
    packed.rename(tmp_path / "a.data")
    assert seconds(await read(replay.ReplaySource("r", [tmp_path / "a.data"]))) == [1, 2]


async def test_several_files_are_merged_by_time(tmp_path: Path) -> None:
    paths = [
        write(tmp_path / "a.jsonl", line(1), line(4), line(5)),
        write(tmp_path / "b.jsonl.gz", line(2), deletion(4.5, "p1"), line(6)),
        write(tmp_path / "c.jsonl", *[line(3 + number / 10_000) for number in range(3_000)]),
    ]
    source = replay.ReplaySource("r", paths)
    arrivals = await read(source)
    assert seconds(arrivals) == sorted(seconds(arrivals))
    assert len(arrivals) == 3_006
    assert source.good == 3_006
    rest = await read(replay.ReplaySource("r", paths), "2500")
    assert [arrival.cursor for arrival in rest] == [arrival.cursor for arrival in arrivals[2500:]]


async def test_bad_lines_are_told_by_file_and_number_and_skipped(tmp_path: Path) -> None:
    told: list[replay.BadLine] = []
    path = write(tmp_path / "a.jsonl", b"secret\n", line(1), b"\n", b"{}\r\n", line(2), b'{"source":')
    source = replay.ReplaySource("r", [path], on_bad=told.append)
    assert seconds(await read(source)) == [1, 2]
    assert [(bad.file, bad.number) for bad in told] == [(str(path), 1), (str(path), 4), (str(path), 6)]
    assert (source.good, source.bad, source.health.dropped) == (2, 3, 3)
    assert "secret" not in repr(told)


async def test_bad_lines_are_logged_without_their_content(tmp_path: Path) -> None:
    source = replay.ReplaySource("r", [write(tmp_path / "a.jsonl", b"secret\n")])
    with structlog.testing.capture_logs() as logs:
        assert await read(source) == []
    assert [(entry["event"], entry["line"]) for entry in logs] == [("line_skipped", 1)]
    assert "secret" not in str(logs)


async def test_bad_lines_of_merged_files_are_all_told(tmp_path: Path) -> None:
    told: list[replay.BadLine] = []
    paths = [write(tmp_path / "a.jsonl", line(1), b"x\n"), write(tmp_path / "b.jsonl", b"y\n")]
    assert len(await read(replay.ReplaySource("r", paths, on_bad=told.append))) == 1
    assert sorted((Path(bad.file).name, bad.number) for bad in told) == [("a.jsonl", 2), ("b.jsonl", 1)]


async def test_a_line_without_end_is_one_bad_line(tmp_path: Path) -> None:
    told: list[replay.BadLine] = []
    path = write(tmp_path / "a.jsonl", line(1), b"x" * 9_000_000 + b"\n", line(2), b"y" * 5_000_000)
    assert seconds(await read(replay.ReplaySource("r", [path], on_bad=told.append))) == [1, 2]
    assert [bad.number for bad in told] == [2, 4]


async def test_byte_order_mark_and_missing_last_line_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", b"\xef\xbb\xbf", line(1), line(2).rstrip())
    source = replay.ReplaySource("r", [path])
    assert seconds(await read(source)) == [1, 2]
    assert source.bad == 0


async def test_a_damaged_gzip_gives_what_can_be_read(tmp_path: Path) -> None:
    told: list[replay.BadLine] = []
    whole = gzip.compress(b"".join(line(number, text=os.urandom(50).hex()) for number in range(20_000)))
    (tmp_path / "a.gz").write_bytes(whole[: len(whole) // 2])
    source = replay.ReplaySource("r", [tmp_path / "a.gz"], on_bad=told.append)
    arrivals = await read(source)
    assert 1_000 < len(arrivals) < 20_000
    assert "the rest cannot be read" in told[-1].reason
    assert source.health.state is State.ENDED


async def test_late_lines_pass_where_they_stand_with_one_warning(tmp_path: Path) -> None:
    source = replay.ReplaySource("r", [write(tmp_path / "a.jsonl", line(1), line(5), line(2), line(3), line(6))])
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
    source = replay.ReplaySource("r", [path], pace=pace, monotonic=time.monotonic, sleep=time.sleep)
    await read(source)
    assert time.slept == pytest.approx(expected)


async def test_pace_makes_up_for_time_lost_elsewhere(tmp_path: Path) -> None:
    time = Time()
    path = write(tmp_path / "a.jsonl", line(0), line(2), line(10))
    source = replay.ReplaySource("r", [path], pace=1, monotonic=time.monotonic, sleep=time.sleep)
    async with contextlib.aclosing(source.posts(None)) as posts:
        async for _ in posts:
            time.now += 3  # the consumer is slow
    assert time.slept == pytest.approx([4])


async def test_a_resumed_replay_is_paced_from_where_it_goes_on(tmp_path: Path) -> None:
    time = Time()
    path = write(tmp_path / "a.jsonl", line(0), line(1000), line(1001))
    source = replay.ReplaySource("r", [path], pace=1, monotonic=time.monotonic, sleep=time.sleep)
    await read(source, "1")
    assert time.slept == pytest.approx([1])


async def test_standard_input() -> None:
    told: list[replay.BadLine] = []
    stdin = io.BytesIO(line(1) + b"bad\n" + line(2))
    source = replay.ReplaySource("r", ["-"], stdin=stdin, on_bad=told.append)
    assert seconds(await read(source, after="1")) == [1, 2], "a pipe is never skipped into"
    assert [(bad.file, bad.number) for bad in told] == [("standard input", 2)]


async def test_a_pipe_gives_each_line_as_it_comes() -> None:
    receiving, sending = os.pipe()
    with os.fdopen(receiving, "rb") as stdin, os.fdopen(sending, "wb", buffering=0) as pipe:
        source = replay.ReplaySource("r", ["-"], stdin=stdin)
        async with asyncio.timeout(10), contextlib.aclosing(source.posts(None)) as posts:
            for number in range(3):
                pipe.write(line(number))
                assert (await anext(posts)).cursor == str(number + 1)
            pipe.close()
            assert [arrival async for arrival in posts] == []


async def test_an_abandoned_replay_lets_go_of_its_thread(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *[line(number, text="x" * 500) for number in range(5_000)])
    async with contextlib.aclosing(replay.ReplaySource("r", [path]).posts(None)) as posts:
        await anext(posts)
    async with asyncio.timeout(5):
        while any(thread.name == "replay:r" for thread in threading.enumerate()):
            await asyncio.sleep(0.001)


def test_what_cannot_be_read_is_said_before_it_starts(tmp_path: Path) -> None:
    (tmp_path / "broken.gz").write_bytes(b"\x1f\x8bthis is none")
    for path in (tmp_path / "none.jsonl", tmp_path, tmp_path / "broken.gz"):
        with pytest.raises(errors.UsageError, match=str(path)):
            replay.ReplaySource("r", [path])
    for settings in ({"paths": []}, {"paths": ["-", "-"]}, {"paths": ["-"], "pace": 0}, {"paths": ["-"], "pace": -1.0}):
        with pytest.raises(errors.UsageError, match="source r"):
            replay.ReplaySource("r", **settings)  # type: ignore[arg-type]


async def test_a_cursor_that_is_no_count_is_a_usage_error(tmp_path: Path) -> None:
    source = replay.ReplaySource("r", [write(tmp_path / "a.jsonl", line(1))])
    with pytest.raises(errors.UsageError, match="cursor"):
        await read(source, "host:1:2")


async def test_an_empty_file_is_an_end(tmp_path: Path) -> None:
    source = replay.ReplaySource("r", [write(tmp_path / "a.jsonl")])
    assert await read(source) == []
    assert source.health.answered
