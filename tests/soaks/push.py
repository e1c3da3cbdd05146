"""A control room that pushes to the real door over HTTP for five days: what it says, what it says better, what it takes
back. It keeps what was not answered with 202 and sends it again, signed anew.

Lives end while it sends, so what happens in which order is not the same each time. But each mishap is tried until it
has happened, and none depends on how much real time passes.

We are the server here. A name that does not resolve and a certificate that is not trusted are the sender's business:
it does not reach us, and to us that is silence.
"""

import asyncio
import contextlib
import functools
import hashlib
import hmac
import json
import logging
import random
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from aiohttp import web

from bot.domain import errors, times
from bot.ingest.push import PushSource
from bot.ingest.source import Source
from bot.store.database import Database, Tables
from bot.web import server
from bot.web.guard import Guard
from bot.web.pushing import Door, Pushing
from tests.fakes import polled
from tests.fakes.polled import VirtualTime
from tests.soaks.holding import Emitted, Report, Soak, Trouble, account

NAME = "push"
TROUBLES = frozenset(Trouble) - {Trouble.NO_NAME, Trouble.UNTRUSTED}
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
END = 5.5 * DAY
SECRET = "an invented secret of the control room"
LINES = 40  # of one request
CLOSING = "closing"  # the last thing that the control room says
UNREACHED, KILLED = -1, -2
PATIENCE_S = 5.0  # nothing takes so long, and what does is tried again
READ_WITHIN_S = 60.0
IMPATIENT_S = 0.05
_SILENT = logging.Logger("the door", logging.CRITICAL + 1)  # a killed life's requests fail in every way


class Service(Soak):
    """Lives with a door at one port, which can be killed at any moment and stay away."""

    def __init__(self, path: Path, time: VirtualTime, rng: random.Random) -> None:
        super().__init__(
            path,
            self._sources,
            clock=time.clock,
            monotonic=time.monotonic,
            sleep=self._wait,
            rng=rng,
            deaths=0.03,
            last=lambda arrival: getattr(arrival.item, "id", None) == CLOSING,
        )
        self.port = 0
        self.database: Database
        self.pushing: Pushing
        self.dies_after_write = False
        self.steady = asyncio.Event()  # open, or away for some time: nothing happens before time passes
        self._file = path
        self._time = time
        self._away = timedelta(0)
        self._killing = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self._site: web.TCPSite
        self._opening: asyncio.Task[None]

    def kill(self, away: timedelta = timedelta(0)) -> None:
        self._away = away
        self._killing.set()
        self.steady.clear()

    @contextlib.contextmanager
    def impatient(self) -> Iterator[None]:
        """It waits for no body."""
        bodies = self.pushing._bodies
        bodies._within_s = IMPATIENT_S
        try:
            yield
        finally:
            bodies._within_s = READ_WITHIN_S

    def lock(self) -> sqlite3.Connection:
        """Another program that writes."""
        other = sqlite3.connect(self._file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        return other

    async def write(self, fn: Callable[..., Any], *args: Any) -> Any:
        """The store as the door sees it: it may be the last thing that this life does."""
        written = await self.database.write(fn, *args)
        if self.dies_after_write:
            self.dies_after_write = False
            self.kill()
            await asyncio.Event().wait()
        return written

    async def _life(self) -> bool:
        self.steady.clear()
        self._killing.clear()
        living = asyncio.create_task(super()._life(), name="living")
        killing = asyncio.create_task(self._killing.wait(), name="killing")
        await asyncio.wait({living, killing}, return_when=asyncio.FIRST_COMPLETED)
        self.steady.clear()
        killing.cancel()
        self.killed += not living.done()
        await self._shut()
        living.cancel()
        try:
            over = await living
        except (asyncio.CancelledError, errors.StoreError):
            over = False
        if self._away:
            away, self._away = self._away, timedelta(0)
            await self._wait(away.total_seconds())
        return over

    def _sources(self, database: Database) -> list[Source]:
        self.database = database
        source = PushSource("control-room", provider="control-room")
        source.use(database)
        self._opening = asyncio.create_task(self._open(source), name="opening")
        return [source]

    async def _open(self, source: PushSource) -> None:
        await self.database.write(lambda db: db.execute("PRAGMA busy_timeout = 20"))
        self.pushing = Pushing(
            self,  # type: ignore[arg-type]
            [Door(source=source, secret=SECRET, per_second=0.5)],
            now=self._time.clock,
            monotonic=self._time.monotonic,
            read_within_s=READ_WITHIN_S,
        )
        guard = Guard(token=None, now=self._time.clock)
        app = server.application(lambda: {"ok": True}, guard, routes=self.pushing.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.01, logger=_SILENT)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]
        self.steady.set()

    async def _shut(self) -> None:
        with contextlib.suppress(errors.StoreError, asyncio.CancelledError):
            await self._opening
        runner, self._runner = self._runner, None
        if runner is not None:
            await self._site.stop()
            for _ in range(5):  # who was let in a moment ago is sent away with the others
                await asyncio.sleep(0)
            await runner.cleanup()

    async def _wait(self, seconds: float) -> None:
        """Only the control room moves the time."""
        passed = asyncio.Event()
        self._time.at(self._time.passed + timedelta(seconds=seconds), passed.set)
        self._time.at(self._time.passed + timedelta(seconds=seconds), self.steady.clear)
        self.steady.set()
        await passed.wait()


@dataclass(frozen=True)
class Mishap:
    """How a request is sent instead of properly, and what has to come of it, else it is tried again. ``trouble``: None
    for what can only happen here."""

    trouble: Trouble | None
    send: Callable[[bytes], Awaitable[int | None]]
    answer: int | None


@dataclass(kw_only=True)
class Said:
    at: timedelta
    text: str
    author: str
    gone_at: timedelta | None = None


@dataclass
class ControlRoom:
    """Speaks at its own times, and sends when it can; ``said`` is its own account."""

    time: VirtualTime
    service: Service
    rng: random.Random
    said: dict[str, Said] = field(default_factory=dict)
    outbox: deque[bytes] = field(default_factory=deque)
    happened: set[Trouble] = field(default_factory=set)
    mishaps: deque[Mishap] = field(default_factory=deque)
    clock_off: timedelta = timedelta(0)
    retry_after_s: float | None = None

    def plan(self) -> None:
        passed, number = MINUTE, 0
        while passed < END:
            self.time.at(passed, functools.partial(self._happen, number))
            passed, number = passed + timedelta(minutes=self.rng.uniform(5, 25)), number + 1
        for order, mishap in enumerate(2 * self._mishaps()):
            self.time.at((1.3 * order + 0.5) * HOUR, functools.partial(self.mishaps.append, mishap))
        for hour, trouble, away in ((50, Trouble.GONE_A_MINUTE, MINUTE), (52, Trouble.GONE_TWO_DAYS, 2 * DAY)):
            left = Mishap(trouble, functools.partial(self._killed_while_sending, away=away), KILLED)
            self.time.at(hour * HOUR, functools.partial(self.mishaps.append, left))
        for hour, shift in ((112, -7 * MINUTE), (114, 3 * MINUTE), (116, 5 * HOUR), (117, timedelta(0))):
            self.time.at(hour * HOUR, functools.partial(setattr, self.time, "shift", shift))
            self.time.at((hour + 0.5) * HOUR, self.service.kill)
        for hour, shift in ((120, -3 * HOUR), (122, timedelta(0)), (124, 9 * HOUR), (126, timedelta(0))):
            self.time.at(hour * HOUR, functools.partial(setattr, self, "clock_off", shift))

    async def work(self) -> None:
        """Until everything that it has said is answered."""
        while self.time.unfired() or self.outbox or self.mishaps:
            await self._pass(900)
            if self.mishaps and not self.outbox:
                self._say(f"aside-{len(self.said)}", "nothing to report")
            if self.outbox:
                lines = [self.outbox[number] for number in range(min(LINES, len(self.outbox)))]
                await self._send(b"\n".join(lines))
                for _ in lines:
                    self.outbox.popleft()
        await self._send(_post(CLOSING, Said(at=self.time.passed, text="closing", author="desk-0")))

    def emitted(self) -> list[Emitted]:
        start = polled.START
        return [
            Emitted(
                id=key.replace("#v:", "%23v:"),
                at=start + each.at,
                text=each.text,
                gone_at=None if each.gone_at is None else start + each.gone_at,
            )
            for key, each in self.said.items()
        ]

    def _happen(self, number: int) -> None:
        there = [key for key, each in self.said.items() if each.gone_at is None]
        match number % 8:
            case 3 if there:
                self._take_back(self.rng.choice(there))
            case 5 if there:
                old = self.rng.choice(there)
                self._take_back(old)
                self._say(f"{old}.2", f"better said: {number}")
            case 6:
                self._say(f"call-{number - 1}#v:2", f"no version of call {number - 1}")
            case 7 if number % 40 == 39:
                self._take_back_all(self.rng.choice([each.author for each in self.said.values()]))
            case _:
                text = f"smoke over the quay, call {number}"
                self._say(f"call-{number}", text * 1000 if number % 50 == 1 else text)

    def _say(self, key: str, text: str) -> None:
        self.said[key] = Said(at=self.time.passed, text=text, author=f"desk-{self.rng.randrange(30)}")
        self.outbox.append(_post(key, self.said[key]))

    def _take_back(self, key: str) -> None:
        self.said[key].gone_at = self.time.passed
        self.outbox.append(_gone(self.time.passed, id=key))

    def _take_back_all(self, author: str) -> None:
        for each in self.said.values():
            if each.author == author and each.gone_at is None:
                each.gone_at = self.time.passed
        self.outbox.append(_gone(self.time.passed, author=author))

    async def _send(self, body: bytes) -> None:
        wait_s = 30.0
        while await self._try(body) != 202:
            wait_s = min(2 * wait_s, 1800.0)
            await self._pass(wait_s if self.retry_after_s is None else self.retry_after_s)

    async def _pass(self, seconds: float) -> None:
        await self.service.steady.wait()
        await self.time.sleep(seconds)

    async def _try(self, body: bytes) -> int | None:
        self.retry_after_s = None
        if not self.mishaps:
            return await self._push(body)
        mishap = self.mishaps.popleft()
        answer = await mishap.send(body)
        if answer != mishap.answer:
            self.mishaps.append(mishap)
        elif mishap.trouble is not None:
            self.happened.add(mishap.trouble)
        return answer

    async def _push(self, body: bytes) -> int | None:
        return await self._exchange(self._signed(body) + body)

    def _signed(self, body: bytes, *, secret: str = SECRET) -> bytes:
        at = int((polled.START + self.time.passed + self.clock_off).timestamp())
        signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
        return (
            "POST /ingest/control-room HTTP/1.1\r\nHost: tocsin\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\nX-Tocsin-Signature: t={at},v1={signature}\r\n\r\n"
        ).encode()

    async def _exchange(
        self, *pieces: bytes, stay: bool = True, between: Callable[[], None] | None = None
    ) -> int | None:
        """Send these pieces, with something done before the last one. ``stay`` for the answer, or leave."""
        await self.service.steady.wait()
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.service.port)
        except OSError:
            return UNREACHED
        try:
            for number, piece in enumerate(pieces, start=1):
                if between is not None and number == len(pieces):
                    between()
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.001)
            async with asyncio.timeout(PATIENCE_S):
                return await self._heard(reader) if stay else None
        except (OSError, TimeoutError, asyncio.IncompleteReadError):
            return None
        finally:
            writer.transport.abort()

    async def _heard(self, reader: asyncio.StreamReader) -> int:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        status = int(head[0].split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        if "retry-after" in headers:
            self.retry_after_s = float(headers["retry-after"])
        if status == 429:
            self.happened.add(Trouble.TOO_MANY_REQUESTS)
        if status == 401 and "now" in (told := json.loads(body)):
            ours = told["now"] != int((polled.START + self.time.passed).timestamp())
            self.happened.add(Trouble.OUR_CLOCK if ours else Trouble.THEIR_CLOCK)
        return status

    def _mishaps(self) -> list[Mishap]:
        return [
            Mishap(Trouble.SLOW, self._slowly, 202),
            Mishap(Trouble.HALF_OPEN, self._without_an_end, 408),
            Mishap(Trouble.CUT, self._cut, None),
            Mishap(Trouble.CUT, self._without_listening, None),
            Mishap(Trouble.GARBAGE, lambda body: self._push(body[: len(body) // 2] + b"\n{"), 400),
            Mishap(Trouble.GARBAGE, lambda body: self._exchange(self._signed(body, secret="a guess") + body), 401),
            Mishap(Trouble.GARBAGE, lambda body: self._exchange(b"\x16\x03\x01\x00" + body), 400),
            Mishap(Trouble.GARBAGE, self._twice_the_same, 409),
            Mishap(Trouble.KILLED, self._killed_while_sending, KILLED),
            Mishap(Trouble.KILLED, self._killed_before_the_answer, KILLED),
            Mishap(Trouble.TOO_MANY_REQUESTS, self._too_fast, 429),
            Mishap(None, self._while_locked, 503),
            Mishap(None, self._while_full, 503),
        ]

    async def _slowly(self, body: bytes) -> int | None:
        step = len(body) // 8 + 1
        return await self._exchange(self._signed(body), *[body[n : n + step] for n in range(0, len(body), step)])

    async def _without_an_end(self, body: bytes) -> int | None:
        with self.service.impatient():
            return await self._exchange(self._signed(body) + body[: len(body) // 2])

    async def _cut(self, body: bytes) -> int | None:
        return await self._exchange(self._signed(body) + body[: len(body) // 2], stay=False)

    async def _without_listening(self, body: bytes) -> int | None:
        return await self._exchange(self._signed(body) + body, stay=False)

    async def _twice_the_same(self, body: bytes) -> int | None:
        request = self._signed(body) + body
        first = await self._exchange(request)
        await self._pass(200)  # so that it is not too fast
        return await self._exchange(request) if first == 202 else first

    async def _too_fast(self, body: bytes) -> int | None:
        first = await self._push(body)
        return await self._push(body + b"\n") if first == 202 else first

    async def _killed_while_sending(self, body: bytes, away: timedelta = timedelta(0)) -> int | None:
        killed = False

        def kill() -> None:
            nonlocal killed
            killed = True
            self.service.kill(away)

        await self._exchange(self._signed(body), body[: len(body) // 2], between=kill)
        return KILLED if killed else UNREACHED

    async def _killed_before_the_answer(self, body: bytes) -> int | None:
        self.service.dies_after_write = True
        answer = await self._push(body)
        died = not self.service.dies_after_write
        self.service.dies_after_write = False
        return KILLED if died else answer

    async def _while_locked(self, body: bytes) -> int | None:
        with contextlib.ExitStack() as locked:
            return await self._exchange(
                self._signed(body),
                body,
                between=lambda: locked.enter_context(contextlib.closing(self.service.lock())),
            )

    async def _while_full(self, body: bytes) -> int | None:
        """Of a long text, so that it needs room."""
        long = Said(at=self.time.passed, text="a long report " * 6000, author="desk-0")
        much = b"\n".join([body, *(_post(f"long-{number}", long) for number in range(9))])

        def fill(db: Tables) -> None:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count = {pages}")

        try:
            await self.service.database.write(fill)
            return await self._push(much)
        except (errors.StoreError, RuntimeError, sqlite3.ProgrammingError):
            return UNREACHED
        finally:
            with contextlib.suppress(errors.StoreError, RuntimeError, sqlite3.ProgrammingError):
                await self.service.database.write(lambda db: db.execute("PRAGMA max_page_count = 1000000"))


def _post(key: str, said: Said) -> bytes:
    created = times.to_text(polled.START + said.at)
    return json.dumps(
        {"source": "control-room", "id": key, "text": said.text, "author": said.author, "created_at": created}
    ).encode()


def _gone(at: timedelta, **which: str) -> bytes:
    return json.dumps({"source": "control-room", **which, "deleted_at": times.to_text(polled.START + at)}).encode()


async def soak(folder: Path, seed: int) -> Report:
    time = VirtualTime()
    service = Service(folder / "push.db", time, random.Random(seed))
    room = ControlRoom(time, service, random.Random(seed))
    room.plan()
    living = asyncio.create_task(service.run(), name="service")
    working = asyncio.create_task(room.work(), name="control room")
    try:
        await working
        while not living.done():  # it may still be away, and come back only as time passes
            await time.sleep(1)
        await living
    finally:
        for task in (living, working):
            task.cancel()
        await asyncio.gather(living, working, return_exceptions=True)
    closing = Emitted(id=CLOSING, at=polled.START + time.passed, text="closing")
    return account(
        NAME,
        [*room.emitted(), closing],
        await service.held(),
        lives=service.lives,
        broke=service.broke,
        used=room.happened | ({Trouble.KILLED} if service.killed else set()),
        since=polled.START,
    )
