"""Post lines of five days: in files that are read every few hours, and through a pipe that is read all the time.

Files: four of them, plain and gzip, merged, one of which joins the others later. They grow, are rotated, cut off,
mended and missing. Whoever writes one may pause in the middle of a line. Missing at a start: the service says so and is
started again. Standard input: with the reader dies the pipe, and the sender sends again from the start, or from some
line before the first that was not recorded.

There is no connection that could be half open, no request to refuse, no name to look up and no encryption.
"""

import asyncio
import gzip
import json
import os
import random
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import BinaryIO

from bot.domain import errors
from bot.ingest import lines, replay
from bot.ingest.replay_files import BadLine
from tests.fakes import polled
from tests.fakes.polled import VirtualTime
from tests.soaks.holding import Emitted, Report, Soak, Trouble, account

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAYS = 5
QUIET = 4.8 * DAY  # until when things happen; the rest is for the source to read it all
TROUBLES = dict.fromkeys(
    ("files", "stdin"),
    frozenset(
        {
            Trouble.GONE_A_MINUTE,
            Trouble.GONE_TWO_DAYS,
            Trouble.SLOW,
            Trouble.CUT,
            Trouble.GARBAGE,
            Trouble.OUR_CLOCK,
            Trouble.THEIR_CLOCK,
            Trouble.KILLED,
        }
    ),
)

Settled = Callable[[], Awaitable[None]]

_GARBAGE = (
    b"no JSON\n",
    b"\xff\xfe\x00\n",
    b'{"source": "recorded", "id": "g1", "text": 5, "created_at": "2031-05-14T12:00:00Z"}\n',
    b'{"source": "recorded", "id": "g2", "text": "no time"}\n',
    b"[" * 50_000 + b"\n",
    b"x" * (lines.MAX_LINE + 1) + b"\n",
    b"{}\n",
)


@dataclass(slots=True)
class Written:
    number: int
    at: datetime
    gone_at: datetime | None = None

    @property
    def id(self) -> str:
        return f"p{self.number}"

    @property
    def text(self) -> str:
        return f"smoke over the harbour, {self.number}"


@dataclass(frozen=True, slots=True)
class Line:
    """``id``: of the post that it is, or that it takes back; empty for garbage."""

    data: bytes
    id: str = ""
    deletion: bool = False


@dataclass
class Author:
    """Writes posts and takes some of them back, at their times, and keeps account; ``put`` gets each line."""

    time: VirtualTime
    rng: random.Random
    put: Callable[[Line], None]
    written: list[Written] = field(default_factory=list)
    happened: set[Trouble] = field(default_factory=set)
    _clock: timedelta = timedelta(0)  # how wrong it is

    def plan(self) -> None:
        passed = MINUTE
        while passed < QUIET:
            self.time.at(passed, lambda: self.put(self.write()))
            passed += timedelta(minutes=self.rng.uniform(3, 20))
        for hour, garbage in zip((5, 17, 26, 44, 71, 88, 101), _GARBAGE, strict=True):
            self.time.at(hour * HOUR, lambda garbage=garbage: self.put(Line(garbage)))  # type: ignore[misc]
        for hour, shift in ((13, -3 * HOUR), (16, timedelta(0)), (90, 4 * HOUR), (94, timedelta(0))):
            self.time.at(hour * HOUR, lambda shift=shift: self._set(shift))  # type: ignore[misc]
        for hour, shift in ((8, -9 * HOUR), (23, timedelta(0)), (75, 30 * HOUR), (99, timedelta(0))):
            self.time.at(hour * HOUR, lambda shift=shift: self._set_ours(shift))  # type: ignore[misc]

    def write(self) -> Line:
        made = Written(number=len(self.written), at=polled.START + self.time.passed)
        self.written.append(made)
        later = self.time.passed + self.rng.uniform(9, 30) * HOUR
        if self.rng.random() < 0.3 and later < QUIET:
            self.time.at(later, lambda: self._take_back(made))
        return self._line(made.id, text=made.text, created_at=self._stamp())

    def emitted(self) -> list[Emitted]:
        return [Emitted(id=each.id, at=each.at, text=each.text, gone_at=each.gone_at) for each in self.written]

    def _take_back(self, made: Written) -> None:
        made.gone_at = polled.START + self.time.passed
        self.put(self._line(made.id, deleted_at=self._stamp()))

    def _line(self, id: str, **said: str) -> Line:
        data = json.dumps({"source": "recorded", "id": id} | said).encode() + b"\n"
        return Line(data, id, "deleted_at" in said)

    def _stamp(self) -> str:
        return (polled.START + self.time.passed + self._clock).isoformat()

    def _set(self, shift: timedelta) -> None:
        self.happened.add(Trouble.THEIR_CLOCK)
        self._clock = shift

    def _set_ours(self, shift: timedelta) -> None:
        self.happened.add(Trouble.OUR_CLOCK)
        self.time.shift = shift


@dataclass
class File:
    """``whole``: as it should be; what lies there may be something else until it is mended."""

    path: Path
    whole: bytes = b""
    held: bytes = b""  # what its writer has not put there yet, in the middle of a line
    damaged: bool = False

    def put(self, data: bytes) -> None:
        if self.held:
            self.held += data
            return
        self.whole += gzip.compress(data, mtime=0) if self.path.suffix == ".gz" else data
        if not self.damaged:
            self.path.write_bytes(self.whole)

    def put_half(self, data: bytes) -> None:
        self.put(data[: len(data) // 2])
        self.held = data[len(data) // 2 :]

    def go_on(self) -> None:
        held, self.held = self.held, b""
        self.put(held)

    def damage(self, lying: bytes | None) -> None:
        """None: it is not there."""
        self.damaged = True
        if lying is None:
            self.path.unlink()
        else:
            self.path.write_bytes(lying)

    def mend(self) -> None:
        self.damaged = False
        self.path.write_bytes(self.whole)


class Archive:
    """Four files, and what befalls them."""

    def __init__(self, folder: Path, time: VirtualTime, rng: random.Random) -> None:
        self.author = Author(time, rng, lambda line: rng.choice(self._files).put(line.data))
        self.told: list[BadLine] = []
        self._time = time
        self._files = [File(folder / name) for name in ("a.jsonl", "b.jsonl.gz", "c.jsonl", "d.jsonl.gz")]
        self._listed = 3
        self._readings = 0
        self._away: tuple[File, timedelta] | None = None
        self._to_vanish: File | None = None
        self._vanished: File | None = None
        self._to_rotate: list[File] = []
        for each in self._files:
            each.mend()

    def plan(self) -> None:
        self.author.plan()
        a, b, c, d = self._files
        for hour, act in (
            (8, lambda: self._pause(c)),
            (14, lambda: self._spoil(a, a.whole[:-40])),
            (14, lambda: self._spoil(b, b.whole[: len(b.whole) // 2])),
            (26, lambda: self._take_away(b, 2 * DAY)),
            (84, lambda: self._spoil(b, b.whole[:-9])),
            (84, lambda: self._spoil(c, _garbled(c.whole))),
            (84, lambda: setattr(self, "_listed", 4)),
            (84, lambda: setattr(self, "_to_vanish", d)),
            (90, lambda: self._to_rotate.extend((a, b))),
            (104, lambda: self._take_away(a, MINUTE)),
        ):
            self._time.at(hour * HOUR, act)

    def source(self) -> replay.ReplaySource:
        """Raises UsageError where a file is missing."""
        if self._vanished is not None:
            self._vanished.mend()
            self._vanished = None
        paths = [each.path for each in self._files[: self._listed]]
        source = replay.ReplaySource("files", paths, on_bad=self.told.append, clock=self._time.clock)
        if self._to_vanish is not None:
            self._vanished, self._to_vanish = self._to_vanish, None
            self._vanished.damage(None)
        return source

    def refused(self) -> None:
        assert self._away is not None, "it refused to start without a reason"
        file, long = self._away
        trouble = Trouble.GONE_A_MINUTE if long < HOUR else Trouble.GONE_TWO_DAYS
        if trouble not in self.author.happened:
            self.author.happened.add(trouble)
            self._time.at(self._time.passed + long, file.mend)

    def read(self) -> None:
        """It was read to the end: now files may begin anew."""
        self._readings += 1
        if self._to_rotate and not any(each.damaged for each in self._files):
            for each in self._to_rotate:
                each.whole = b""
                each.mend()
            self._to_rotate = []

    def used(self, killed: int) -> set[Trouble]:
        assert not self._to_rotate, "a file that was not rotated"
        reasons = [bad.reason for bad in self.told if bad.rest]
        assert any(each.startswith("it cannot be read") for each in reasons), "no file that vanished after the start"
        found = {
            Trouble.CUT: any(each.startswith("the rest cannot be read") for each in reasons),
            Trouble.GARBAGE: any("longer than" in bad.reason for bad in self.told),
            Trouble.KILLED: killed > 0,
        }
        return self.author.happened | {trouble for trouble, happened in found.items() if happened}

    def _pause(self, file: File) -> None:
        file.put_half(self.author.write().data)

        def go_on() -> None:
            self.author.happened.add(Trouble.SLOW)
            file.go_on()

        self._later(go_on)

    def _spoil(self, file: File, lying: bytes) -> None:
        file.damage(lying)
        self._later(file.mend)

    def _take_away(self, file: File, long: timedelta) -> None:
        """Until somebody has noticed at a start, and then for so long."""
        self._away = file, long
        file.damage(None)

    def _later(self, act: Callable[[], None]) -> None:
        """When it has been read as it is now."""
        seen = self._readings

        def look() -> None:
            if self._readings > seen:
                act()
            else:
                self._time.at(self._time.passed + HOUR, look)

        look()


class Spool:
    """What the author has written so far, and whoever sends it through one pipe after the other."""

    def __init__(self, store: Path, time: VirtualTime, rng: random.Random, settled: Settled) -> None:
        self.author = Author(time, rng, lambda line: self._lines.append(line))
        self.told: list[BadLine] = []
        self.away = timedelta(0)  # how long its sender stays away when it has left
        self._lines: list[Line] = []
        self._store, self._time, self._rng, self._settled = store, time, rng, settled
        self._next: Trouble | None = None  # what befalls the next line
        self._sending: asyncio.Task[None] | None = None
        self._pipes: list[BinaryIO] = []

    def plan(self) -> None:
        self.author.plan()
        for hour, trouble in (
            (10, Trouble.SLOW),
            (20, Trouble.CUT),
            (32, Trouble.GONE_A_MINUTE),
            (45, Trouble.GONE_TWO_DAYS),
            (100, Trouble.CUT),
            (103, Trouble.SLOW),
        ):
            self._time.at(hour * HOUR, lambda trouble=trouble: setattr(self, "_next", trouble))  # type: ignore[misc]

    def source(self) -> replay.ReplaySource:
        receiving, sending = os.pipe()
        os.set_blocking(sending, False)
        self._pipes.append(os.fdopen(receiving, "rb"))
        source = replay.ReplaySource(
            "stdin",
            ["-"],
            stdin=self._pipes[-1],
            on_bad=self.told.append,
            clock=self._time.clock,
        )
        self.away = timedelta(0)
        self._sending = asyncio.create_task(self._send(sending, source), name="sending")
        return source

    async def stop(self) -> None:
        """The pipe is gone."""
        if self._sending is not None:
            self._sending.cancel()
            await asyncio.gather(self._sending, return_exceptions=True)

    async def sleep(self, seconds: float) -> None:
        """Between two lives."""
        await self.stop()
        await self._time.sleep(max(seconds, self.away.total_seconds()))

    async def close(self) -> None:
        await self.stop()
        for each in self._pipes:
            each.close()

    def used(self, killed: int) -> set[Trouble]:
        garbage = any("longer than" in bad.reason for bad in self.told)
        return (
            self.author.happened | ({Trouble.GARBAGE} if garbage else set()) | ({Trouble.KILLED} if killed else set())
        )

    async def _send(self, pipe: int, source: replay.ReplaySource) -> None:
        number = begun = self._begin()

        async def rest() -> None:
            while source.good + source.bad < number - begun:
                await asyncio.sleep(0)
            await self._settled()
            await self._time.sleep(self._rng.uniform(1, 40) * 60)

        try:
            while self._time.passed < DAYS * DAY:
                if number == len(self._lines):
                    await rest()
                    continue
                trouble, self._next = self._next, None
                data = self._lines[number].data
                if trouble is not None:
                    self.author.happened.add(trouble)
                if trouble is Trouble.SLOW:
                    await _write(pipe, data[:20])
                    await rest()
                    data = data[20:]
                elif trouble is not None:
                    self.away = {Trouble.GONE_A_MINUTE: MINUTE, Trouble.GONE_TWO_DAYS: 2 * DAY}.get(trouble, MINUTE)
                    await _write(pipe, data[:20] if trouble is Trouble.CUT else b"")
                    return
                await _write(pipe, data)
                number += 1
        finally:
            os.close(pipe)

    def _begin(self) -> int:
        """From the start, or not later than the first line that was not recorded."""
        with sqlite3.connect(f"file:{self._store}?mode=ro", uri=True) as db:
            held = {known: gone is not None for known, gone in db.execute("SELECT id, deleted_at FROM posts")}
        db.close()
        recorded = (not line.id or (line.id in held and (held[line.id] or not line.deletion)) for line in self._lines)
        first = next((number for number, done in enumerate(recorded) if not done), len(self._lines))
        return self._rng.choice((0, first, max(first - self._rng.randint(0, 60), 0)))


async def files(folder: Path, seed: int) -> Report:
    time, rng = VirtualTime(), random.Random(seed)
    lived: Soak
    archive = Archive(folder, time, rng)
    archive.plan()
    lived = Soak(
        folder / "files.db",
        lambda _: [archive.source()],
        clock=time.clock,
        monotonic=time.monotonic,
        sleep=time.sleep,
        rng=rng,
        deaths=0.015,
    )
    while time.passed < DAYS * DAY:
        try:
            await lived.run()
            archive.read()
        except errors.UsageError:
            archive.refused()
        await time.sleep(rng.uniform(4, 8) * 3_600)
    await lived.run()
    return await _report("files", archive.author, archive.used(lived.killed), lived)


async def stdin(folder: Path, seed: int) -> Report:
    time, rng = VirtualTime(), random.Random(seed)
    lived: Soak
    spool = Spool(folder / "stdin.db", time, rng, lambda: lived.settled())
    spool.plan()
    lived = Soak(
        folder / "stdin.db",
        lambda _: [spool.source()],
        clock=time.clock,
        monotonic=time.monotonic,
        sleep=spool.sleep,
        rng=rng,
        deaths=0.01,
    )
    try:
        while time.passed < DAYS * DAY:
            await lived.run()
            await spool.sleep(60)
        await lived.run()
    finally:
        await spool.close()
    return await _report("stdin", spool.author, spool.used(lived.killed), lived)


async def _report(name: str, author: Author, used: set[Trouble], lived: Soak) -> Report:
    assert author.time.unfired() == 0, "a scripted trouble that never came"
    return account(
        name,
        author.emitted(),
        await lived.held(),
        lives=lived.lives,
        repeated=lived.repeated,
        broke=lived.broke,
        used=used,
        since=polled.START,
    )


SOAKS = {"files": files, "stdin": stdin}


def _garbled(whole: bytes) -> bytes:
    """The line before the last is none."""
    written = whole.split(b"\n")
    written[-3] = written[-3][5:]
    return b"\n".join(written)


async def _write(pipe: int, data: bytes) -> None:
    loop = asyncio.get_running_loop()
    while data:
        try:
            data = data[os.write(pipe, data) :]
        except BlockingIOError:
            room = asyncio.Event()
            loop.add_writer(pipe, room.set)
            try:
                await room.wait()
            finally:
                loop.remove_writer(pipe)
