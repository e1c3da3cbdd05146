"""The source type ``replay``: Post lines from files (plain or gzip) and from standard input.

Several files are merged by ``created_at`` (deletions: ``deleted_at``) while they stream, so each should be sorted.
A file that is not sorted is not sorted here: that needs the whole file in memory, and standard input never ends. Its
late lines are passed on where they stand, are processed at the current stream time like every late post, and are
warned of once.

A daemon thread reads, unpacks and decodes, some hundred lines at a time and at most two chunks ahead, so the event loop
is never blocked by a file and a blocked standard input never holds up the end of the process.
"""

import asyncio
import contextlib
import gzip
import heapq
import sys
import threading
import time
import zlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO, Literal, cast

import structlog

from bot.domain import errors, post
from bot.ingest import lines
from bot.ingest.source import SourceHealth, State

STDIN = "-"
BLOCK = 256 * 1024  # bytes read at once
CHUNK = 1024  # items handed over at once when files are merged
AHEAD = 2  # chunks decoded before they are asked for
GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"

_Item = post.Post | post.Deletion

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """One line that was skipped: which (``number`` from 1) and why; never what it said."""

    file: str
    number: int
    reason: str


def log_bad_line(bad: BadLine) -> None:
    log.warning("line_skipped", file=bad.file, line=bad.number, reason=bad.reason)


class ReplaySource:
    """Post lines, each once, in order; ``provider`` is only the configuration's word, each line names its own.

    ``pace`` "max" or how many times faster than real time, measured from the first post. The cursor is the number of
    good lines so far and counts over the merged files, which must then be the same ones; standard input cannot be
    resumed and ignores it. ``good`` and ``bad`` count lines read so far; ``on_bad`` is called in the event loop.
    """

    live = False

    def __init__(
        self,
        name: str,
        paths: Sequence[str | Path],
        *,
        provider: str = "replay",
        pace: Literal["max"] | float = "max",
        on_bad: Callable[[BadLine], None] = log_bad_line,
        stdin: BinaryIO | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises UsageError where a file is missing, unreadable or no gzip although it begins like one."""
        if not paths:
            raise errors.UsageError(f"source {name}: no file is named; give a path, or - for standard input")
        if [str(path) for path in paths].count(STDIN) > 1:
            raise errors.UsageError(f"source {name}: standard input (-) can be read only once")
        if pace != "max" and not 0 < pace < float("inf"):
            raise errors.UsageError(f"source {name}: pace {pace!r} is neither max nor a number above 0")
        self.name = name
        self.provider = provider
        self.health = SourceHealth()
        self._paths = [str(path) for path in paths]
        self._pace = None if pace == "max" else float(pace)
        self._on_bad = on_bad
        self._stdin = stdin
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self.good = 0
        self.bad = 0
        for path in self._paths:
            if path != STDIN:
                _check_readable(path)

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        skip = self._lines_to_skip(after)
        self.good = self.bad = self.health.dropped = 0
        consumed = 0
        late = False
        latest: datetime | None = None
        first: tuple[datetime, float] | None = None
        async with contextlib.aclosing(self._chunks()) as chunks:
            async for items, bad_lines in chunks:
                self.health.state = State.LIVE
                self._count(items, bad_lines, report=consumed + len(items) >= skip)
                for item in items:
                    consumed += 1
                    if consumed <= skip:
                        continue
                    at = time_of(item)
                    if latest is None or at >= latest:
                        latest = at
                    elif not late:
                        late = True
                        log.warning("lines_out_of_order", source=self.name, line=consumed, remedy="sort by created_at")
                    if self._pace is not None:
                        first = first or (at, self._monotonic())
                        due_s = (at - first[0]).total_seconds() / self._pace - (self._monotonic() - first[1])
                        if due_s > 0:
                            await self._sleep(due_s)
                        if isinstance(item, post.Post):
                            item = replace(item, received_at=self._clock())
                    yield post.Arrival(source=self.name, cursor=str(consumed), item=item, at=at)
        if consumed < skip:
            log.warning("replay_shorter_than_cursor", source=self.name, lines=consumed, cursor=skip)
        self.health.state = State.ENDED

    def _count(self, items: list["_Item"], bad_lines: list[BadLine], *, report: bool) -> None:
        """``report`` is False where a resumed source passes lines that it reported the first time."""
        self.good += len(items)
        self.bad += len(bad_lines)
        self.health.dropped = self.bad
        for bad in bad_lines if report else ():
            self._on_bad(bad)

    def _lines_to_skip(self, after: str | None) -> int:
        if after is None or STDIN in self._paths:
            return 0
        if not (after.isascii() and after.isdigit()):
            raise errors.UsageError(f"source {self.name}: the cursor {after!r} is no line count; was its type changed?")
        return int(after)

    async def _chunks(self) -> AsyncGenerator["_Chunk", None]:
        """What the reading thread hands over, in order, until the files end."""
        loop = asyncio.get_running_loop()
        handed: asyncio.Queue[_Chunk | Exception | None] = asyncio.Queue()
        room = threading.Semaphore(AHEAD)
        stopped = threading.Event()

        def hand(chunk: "_Chunk | Exception | None") -> bool:
            room.acquire()
            if stopped.is_set():
                return False
            try:
                loop.call_soon_threadsafe(handed.put_nowait, chunk)
            except RuntimeError:  # the loop was closed while this thread waited for input
                return False
            return True

        def read() -> None:
            try:
                for chunk in self._read():
                    if not hand(chunk):
                        return
                hand(None)
            except Exception as error:  # a bug: it belongs to whoever reads the source, not to this thread
                hand(error)

        threading.Thread(target=read, name=f"replay:{self.name}", daemon=True).start()
        try:
            while (chunk := await handed.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
                room.release()
        finally:
            stopped.set()
            room.release()

    def _read(self) -> Iterator["_Chunk"]:
        """In the thread: chunks of decoded lines. One file passes block by block, so a pipe is never kept waiting."""
        if len(self._paths) == 1:
            for items, bad in _decoded(self._paths[0], self._stdin, self._clock):
                yield items, bad
            return
        bad_lines: list[BadLine] = []

        def items_of(path: str) -> Iterator[_Item]:
            for items, bad in _decoded(path, self._stdin, self._clock):
                bad_lines.extend(bad)
                yield from items

        merged = heapq.merge(*(items_of(path) for path in self._paths), key=time_of)
        for head in merged:
            items = list(chain([head], islice(merged, CHUNK - 1)))
            yield items, bad_lines[:]
            bad_lines.clear()
        if bad_lines:
            yield [], bad_lines


_Chunk = tuple[list[_Item], list[BadLine]]


def time_of(item: _Item) -> datetime:
    return item.created_at if isinstance(item, post.Post) else item.deleted_at


def _check_readable(path: str) -> None:
    """Raises UsageError with what to do. A pipe is left alone: what is read from it here would be lost."""
    try:
        if Path(path).is_fifo():
            return
        with _open(path) as stream:
            stream.read(1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise errors.UsageError(f"{path}: not a readable gzip file ({error}); unpack or copy it again") from error
    except FileNotFoundError as error:
        raise errors.UsageError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise errors.UsageError(
            f"{path}: cannot be read ({error.strerror}); check what it is and who may read it"
        ) from error


def _open(path: str) -> BinaryIO:
    stream = Path(path).open("rb")  # noqa: SIM115 (the caller closes it)
    if stream.peek(2)[:2] == GZIP_MAGIC:
        return cast(BinaryIO, _Gunzip(stream))
    return stream


class _Gunzip(gzip.GzipFile):
    """Closes the file below it as well, which GzipFile leaves to whoever opened it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._below = stream
        super().__init__(fileobj=stream, mode="rb")

    def close(self) -> None:
        super().close()
        self._below.close()


def _decoded(path: str, stdin: BinaryIO | None, clock: Callable[[], datetime]) -> Iterator[_Chunk]:
    """The good and the bad lines of each block. Empty lines are nothing; a damaged file ends with a bad line."""
    number = 0
    name = "standard input" if path == STDIN else path
    for block in _lines(path, stdin):
        items: list[_Item] = []
        bad: list[BadLine] = []
        received_at = clock()
        for line in block:
            number += 1
            if isinstance(line, lines.BadLineError):
                bad.append(BadLine(file=name, number=number, reason=str(line)))
            elif line and not line.isspace():
                try:
                    items.append(lines.decode(line, received_at))
                except lines.BadLineError as error:
                    bad.append(BadLine(file=name, number=number, reason=str(error)))
        yield items, bad


def _lines(path: str, stdin: BinaryIO | None) -> Iterator[list[bytes | lines.BadLineError]]:
    """The lines of ``path`` in lists, one list for what one read gave."""
    if path == STDIN:
        yield from _split(stdin or sys.stdin.buffer)
    else:
        with _open(path) as stream:
            yield from _split(stream)


def _split(stream: BinaryIO) -> Iterator[list[bytes | lines.BadLineError]]:
    read = getattr(stream, "read1", stream.read)
    rest = b""
    overlong = False  # inside a line of which MAX_LINE bytes have been thrown away
    at_start = True
    while True:
        try:
            block = read(BLOCK)
        except (OSError, EOFError, zlib.error) as error:
            yield [lines.BadLineError(f"the rest cannot be read: {error}")]
            return
        if at_start:
            block, at_start = block.removeprefix(BOM), False
        if not block:
            break
        parts: list[bytes | lines.BadLineError] = [*(rest + block).split(b"\n")]
        if overlong and len(parts) > 1:
            parts[0], overlong = lines.BadLineError(f"longer than {lines.MAX_LINE} bytes"), False
        rest = cast(bytes, parts.pop())
        if overlong or len(rest) > lines.MAX_LINE:
            rest, overlong = b"", True
        if parts:
            yield parts
    if overlong:
        yield [lines.BadLineError(f"longer than {lines.MAX_LINE} bytes")]
    elif rest:
        yield [rest]
