"""The source type ``replay``: Post lines from files (plain or gzip) and from standard input.

Several files are merged by ``created_at`` (deletions: ``deleted_at``) while they stream, so each should be sorted.
A file that is not sorted is not sorted here: that needs the whole file in memory, and standard input never ends. Its
late lines are passed on where they stand, are processed at the current stream time like every late post, and are
warned of once.

Resuming. The cursor is JSON, file → its mark (see ``replay_files``), so that each goes on by itself: it may have grown,
have been mended or have joined the others since. What a file brings late is merged with what is left of the others;
deletions of single posts that those told before are told again, since they may take back what comes only now. What
comes through a pipe comes again as far back as its sender likes, and the store knows what it has. A cursor that is a
number counts the good lines of all files, as earlier versions did.

A daemon thread reads, unpacks and decodes, some hundred lines at a time and at most two chunks ahead, so the event loop
is never blocked by a file and a blocked standard input never holds up the end of the process.
"""

import asyncio
import contextlib
import heapq
import json
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO, Literal

import msgspec
import structlog

from bot.domain import errors, post
from bot.ingest import replay_files
from bot.ingest.replay_files import STDIN, BadLine, Chunk, Entry, Mark
from bot.ingest.source import SourceHealth, State

CHUNK = 1024  # lines handed over at once
AHEAD = 2  # chunks decoded before they are asked for

_Item = post.Post | post.Deletion
_EARLIEST = datetime.min.replace(tzinfo=UTC)

log = structlog.get_logger()


def log_bad_line(bad: BadLine) -> None:
    log.warning("line_skipped", file=bad.file, line=bad.number, reason=bad.reason)


class ReplaySource:
    """Post lines, each once, in order; ``provider`` is only the configuration's word, each line names its own.

    ``pace`` "max" or how many times faster than real time, measured from the first post. ``good`` and ``bad`` count the
    lines of this reading, without those before its cursor; ``on_bad`` is called in the event loop.
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
                replay_files.check_readable(path)

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        """Raises UsageError for a cursor that is none of this source's."""
        marks, skip = self._start(after)
        pieces = {path: _piece(path, mark) for path, mark in marks.items()}
        self.good = self.bad = self.health.dropped = 0
        late = False
        latest: datetime | None = None
        first: tuple[datetime, float] | None = None
        async with contextlib.aclosing(self._chunks(marks)) as chunks:
            async for entries, bad_lines in chunks:
                self.health.state = State.LIVE
                self._count(bad_lines, report=self.good + len(entries) >= skip)
                for entry in entries:
                    item = entry.item
                    at = time_of(item)
                    if not entry.again:
                        self.good += 1
                        if entry.mark is not None:
                            pieces[entry.path] = _piece(entry.path, entry.mark)
                        if self.good <= skip:
                            continue
                        if latest is None or at >= latest:
                            latest = at
                        elif not late:
                            late = True
                            log.warning("lines_out_of_order", source=self.name, file=entry.path, remedy=_SORT)
                        if self._pace is not None:
                            first = first or (at, self._monotonic())
                            due_s = (at - first[0]).total_seconds() / self._pace - (self._monotonic() - first[1])
                            if due_s > 0:
                                await self._sleep(due_s)
                            if isinstance(item, post.Post):
                                item = replace(item, received_at=self._clock())
                    cursor = f"{{{', '.join(pieces.values())}}}"
                    yield post.Arrival(source=self.name, cursor=cursor, item=item, at=at)
        if self.good < skip:
            log.warning("replay_shorter_than_cursor", source=self.name, lines=self.good, cursor=skip)
        self.health.state = State.ENDED

    def _count(self, bad_lines: list[BadLine], *, report: bool) -> None:
        """``report`` is False where a resumed source passes lines that it reported the first time."""
        self.bad += len(bad_lines)
        self.health.dropped = self.bad
        for bad in bad_lines:
            if bad.rest:
                self.health.last_error = f"{bad.file}, from line {bad.number} on: {bad.reason}"
                self.health.remedy = "copy the file again or check who may read it; Tocsin reads it on when restarted"
            if report or bad.rest:
                self._on_bad(bad)

    def _start(self, after: str | None) -> tuple[dict[str, Mark], int]:
        """The files' marks, and how many good lines of all are to be passed instead. Raises UsageError."""
        found = {} if after is None else parse(after)
        if isinstance(found, int):
            return {}, 0 if any(map(replay_files.is_pipe, self._paths)) else found
        return {path: found[path] for path in self._paths if path in found}, 0

    async def _chunks(self, marks: Mapping[str, Mark]) -> AsyncGenerator[Chunk, None]:
        """What the reading thread hands over, in order, until the files end."""
        loop = asyncio.get_running_loop()
        handed: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue()
        room = threading.Semaphore(AHEAD)
        stopped = threading.Event()

        def hand(chunk: Chunk | Exception | None) -> bool:
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
                for chunk in self._read(marks):
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

    def _read(self, marks: Mapping[str, Mark]) -> Iterator[Chunk]:
        """In the thread: the merged lines. What is there is handed over before any file or pipe is waited for."""
        entries: list[Entry] = []
        bad_lines: list[BadLine] = []

        def timed(path: str) -> Iterator[tuple[datetime, Entry | None]]:
            """The entries, and None before more of them is read."""
            at = _EARLIEST
            again = len(self._paths) > 1
            for block, bad in replay_files.read(
                path, marks.get(path), stdin=self._stdin, clock=self._clock, again=again
            ):
                bad_lines.extend(bad)
                for entry in block:
                    at = time_of(entry.item)
                    yield at, entry
                yield at, None

        for _, entry in heapq.merge(*map(timed, self._paths), key=itemgetter(0)):
            if entry is not None:
                entries.append(entry)
            if (entry is None and (entries or bad_lines)) or len(entries) >= CHUNK:
                yield entries, bad_lines[:]
                entries = []
                bad_lines.clear()


def parse(cursor: str) -> dict[str, Mark] | int:
    """File → mark; of earlier versions, a number of good lines. Raises UsageError for a cursor of another source."""
    try:
        if cursor.isascii() and cursor.isdigit():
            return int(cursor)
        return msgspec.convert(json.loads(cursor), dict[str, Mark])
    except (ValueError, RecursionError):
        raise errors.UsageError(f"the cursor {cursor!r} is none of a replay's; was the source renamed?") from None


def time_of(item: _Item) -> datetime:
    return item.created_at if isinstance(item, post.Post) else item.deleted_at


_SORT = "sort it by created_at"


def _piece(path: str, mark: Mark) -> str:
    return f"{json.dumps(path)}: [{mark.lines}, {mark.crc}]"
