"""``POST /ingest/{source}``: Post lines from whoever has the source's secret, answered once they are in the store.

``X-Tocsin-Signature: t=1810468800,v1=HEX``: HMAC-SHA256 with the secret over ``t``, a point and the body. ``t`` (Unix
seconds) may be five minutes off, and a signature is good once, also after a restart. Whoever does not have the secret
gets the same 401, whatever is wrong with the signature or with the source's name. Whoever has it is told: 401 with our
clock where the two clocks are too far apart, 409 where just this was taken before, so that its answer was lost.

202: every line is in the store (``accepted``, and ``repeated``: those that wait already, posts by their ids, deletions
by their time as well). One line that is no Post line, or names another provider, and none is taken: 400 with the
numbers of the lines. An id that comes again later is known to the store like one that any source yields twice. Lines
are read in the order in which they were stored: a deletion that is sent before its post was answered may miss it.

Whether a body is signed is known only when it has been read, so that anybody can have bodies read. What these hold is
bounded: where it is too much, the one that has been coming the longest is given up, so that whoever sends a body
without a pause gets it in however many others stand there half sent.
"""

import hashlib
import hmac
import json
import math
import re
import time
from asyncio import Timeout, timeout
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

import structlog
from aiohttp import http_exceptions, web

from bot.domain import errors, post, times
from bot.ingest import lines
from bot.ingest.push import PushSource
from bot.store import pushed
from bot.store.database import Database, Tables

MOST_BYTES = 1024 * 1024
GOOD_FOR = timedelta(minutes=5)
READ_WITHIN_S = 30.0
HELD_MOST_BYTES = 64 * 1024 * 1024  # of all requests that are being read or stored
TIMES_EVERY_S = 600.0
TIMES_MOST = 144  # of these: a day
WAITING_MOST = 100_000  # lines of one source; then it is asked to come back later
WAITING_MOST_BYTES = 64 * 1024 * 1024
COME_BACK_S = 30
FAULTS_SHOWN = 20

_HEADER = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One source that may be pushed to. ``per_second``: lines, over time; one request may be ahead of it."""

    source: PushSource
    secret: str = field(repr=False)
    per_second: float


class Pushing:
    """The route. ``now`` is the wall clock, which may be set; ``monotonic`` tells how much time has really passed."""

    def __init__(
        self,
        database: Database,
        doors: Iterable[Door],
        *,
        now: Callable[[], datetime],
        monotonic: Callable[[], float] = time.monotonic,
        read_within_s: float = READ_WITHIN_S,
    ) -> None:
        self._database = database
        self._doors = {door.source.name: door for door in doors}
        self._allowances = {name: _Allowance(door.per_second) for name, door in self._doors.items()}
        self._now = now
        self._monotonic = monotonic
        self._past = _Past(now(), monotonic())
        self._bodies = _Bodies(read_within_s, self._crowded)

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Empty where no source may be pushed to."""
        return [web.post("/ingest/{source}", self._push)] if self._doors else []

    async def _push(self, request: web.Request) -> web.Response:
        if "Content-Encoding" in request.headers:
            return _refused(415, "send the lines as they are, without Content-Encoding")
        header = _HEADER.fullmatch(request.headers.get("X-Tocsin-Signature", ""))
        now, name = self._now(), request.match_info["source"]
        door = self._doors.get(name)
        if header is None:
            return _unsigned(door)
        async with self._bodies.read(request, likely=abs(_ahead(header, now)) <= GOOD_FOR) as body:
            if isinstance(body, web.Response):
                return body
            now = self._now()
            signature = _signature(door, header, body, now)
            if door is None or signature is None:
                return _unsigned(door)
            if abs(signature.ahead) > GOOD_FOR:
                return _untimely(door.source, signature.ahead, now)
            wait_s = self._allowances[name].wait_s(now)
            if wait_s > 0:
                return _refused(429, f"more than {door.per_second:g} lines a second", retry_after_s=math.ceil(wait_s))
            taken, faults, bad = _read(body, door.source.provider, now)
            if bad:
                return web.json_response({"errors": faults, "bad": bad}, status=400)
            if not taken:
                return _refused(400, "there is no line in the body")
            return await self._store(door, signature, taken, now)

    async def _store(
        self, door: Door, signature: "_Signature", taken: Sequence[tuple[str, bytes]], now: datetime
    ) -> web.Response:
        name, allowance = door.source.name, self._allowances[door.source.name]
        allowance.spend(len(taken), now)  # before anything else may run
        try:
            added = await self._database.write(
                _keep, name, signature.given, taken, now, self._past.forgotten_before(now, self._monotonic())
            )
        except errors.StoreError as error:
            allowance.give_back(len(taken))
            log.error("push_not_stored", source=name, problem=str(error))
            return _refused(503, "cannot be stored now", retry_after_s=COME_BACK_S)
        if isinstance(added, _Refusal):
            if added is _Refusal.USED:
                allowance.give_back(len(taken))
                log.warning("push_refused", source=name, problem=added.value)
                return _refused(409, "this was taken before; to send it again, sign it with the present time")
            return _refused(503, "too much waits to be read", retry_after_s=COME_BACK_S)
        door.source.wake()
        return web.json_response({"accepted": added, "repeated": len(taken) - added}, status=202)

    def _crowded(self) -> None:
        log.warning("push_refused", source="unknown", problem="too much is being sent at the same time")
        for door in self._doors.values():
            door.source.health.last_error = (
                "too much is being sent at the same time, maybe by somebody without the secret"
            )
            door.source.health.remedy = (
                "let only those who push reach this port, or have a proxy bound what each may send"
            )


class _Past:
    """What the wall clock said since the process began. Signatures that were over before may be forgotten, unless they
    would be good again once a clock is put right that was set forward, before the process began or since."""

    def __init__(self, now: datetime, at_s: float) -> None:
        self._began, self._began_s = now, at_s
        self._times = deque([(at_s, now)], maxlen=TIMES_MOST + 2)  # each the earliest of TIMES_EVERY_S

    def forgotten_before(self, now: datetime, at_s: float) -> datetime | None:
        """Whatever expired by then. What the clock said at the start tells, or what it has said for a day."""
        since_s, earliest = self._times[-1]
        if at_s - since_s >= TIMES_EVERY_S:
            self._times.append((at_s, now))
        else:
            self._times[-1] = since_s, min(earliest, now)
        passed = timedelta(seconds=at_s - self._began_s)
        if passed < 2 * GOOD_FOR:
            return None
        unset = min(now, self._began + passed)
        while len(self._times) > 1 and at_s - self._times[1][0] >= (TIMES_MOST + 1) * TIMES_EVERY_S:
            self._times.popleft()
        if at_s - self._times[0][0] < (TIMES_MOST + 1) * TIMES_EVERY_S:
            return unset
        return max(unset, min(said for _, said in self._times))


@dataclass(slots=True, eq=False, kw_only=True)
class _Reading:
    """``likely``: it may be signed. ``limit`` ends it; ``given_up``: it was ended, others needed the room."""

    likely: bool
    limit: Timeout
    body: bytearray = field(default_factory=bytearray)
    given_up: bool = False


class _Bodies:
    """What is read of requests. ``crowded`` is called when that becomes too much, once until it is not much again."""

    def __init__(self, within_s: float, crowded: Callable[[], None]) -> None:
        self._within_s = within_s
        self._crowded = crowded
        self._told = False
        self._held = 0
        self._reading: dict[_Reading, None] = {}  # in the order in which they began

    @asynccontextmanager
    async def read(self, request: web.Request, *, likely: bool) -> AsyncIterator[bytes | web.Response]:
        """A body, or the answer where it cannot be read; no more of it is read then."""
        reading = _Reading(likely=likely, limit=timeout(self._within_s))
        try:
            refused = await self._read(request, reading)
            yield refused or bytes(reading.body)
        finally:
            self._held -= len(reading.body)
            self._told = self._told and self._held > HELD_MOST_BYTES / 2

    async def _read(self, request: web.Request, reading: _Reading) -> web.Response | None:
        if (request.content_length or 0) > MOST_BYTES:
            return _too_long()
        self._reading[reading] = None
        try:
            async with reading.limit:
                async for chunk in request.content.iter_any():
                    if reading.given_up:
                        break
                    reading.body += chunk
                    self._held += len(chunk)
                    if len(reading.body) > MOST_BYTES:
                        return _too_long()
                    self._make_room()
        except TimeoutError:
            if not reading.given_up:
                return _refused(408, f"the body did not come within {self._within_s:g} s")
        except (ConnectionError, web.RequestPayloadError, http_exceptions.BadHttpMessage):
            return _refused(400, "the body was cut off")
        finally:
            del self._reading[reading]
        if reading.given_up:
            return _refused(503, "too much is being sent at the same time", retry_after_s=COME_BACK_S)
        return None

    def _make_room(self) -> None:
        """Give up what is the least likely to be signed, then what has been coming the longest."""
        while self._held > HELD_MOST_BYTES:
            if not self._told:
                self._told = True
                self._crowded()
            worst = min((each for each in self._reading if each.body), key=lambda each: each.likely)
            self._held -= len(worst.body)
            worst.body.clear()
            worst.given_up = True
            if not worst.limit.expired():
                worst.limit.reschedule(0)


class _Allowance:
    """``per_second`` lines; a request is let in while there is any left, however many lines it has."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = max(per_second, 1.0)
        self._at: datetime | None = None

    def wait_s(self, now: datetime) -> float:
        """How long until the next request is let in; 0: now."""
        passed = 0.0 if self._at is None else max((now - self._at).total_seconds(), 0.0)
        self._left = min(max(self._per_second, 1.0), self._left + passed * self._per_second)
        self._at = now
        return max(0.0, (1.0 - self._left) / self._per_second)

    def spend(self, lines: int, now: datetime) -> None:
        self._at = now if self._at is None else self._at
        self._left -= lines

    def give_back(self, lines: int) -> None:
        """They were not taken after all."""
        self._left += lines


class _Refusal(Enum):
    USED = "the signature was used before"
    FULL = "too much waits"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signature:
    """One that is right. ``ahead``: by how much its time is later than our clock."""

    given: str
    ahead: timedelta


def _keep(
    db: Tables,
    source: str,
    signature: str,
    taken: Sequence[tuple[str, bytes]],
    now: datetime,
    forgotten_before: datetime | None,
) -> int | _Refusal:
    """How many lines are new."""
    size = sum(len(line) for _, line in taken)
    if pushed.waiting(db, source) + len(taken) > WAITING_MOST or pushed.weight(db, source) + size > WAITING_MOST_BYTES:
        return _Refusal.FULL
    if forgotten_before is not None:
        pushed.forget_signatures(db, forgotten_before)
    if not pushed.use_signature(db, f"{source}:{signature}", expires_at=now + 2 * GOOD_FOR):
        return _Refusal.USED
    return pushed.add(db, source, taken, now)


def _signature(door: Door | None, header: re.Match[str], body: bytes, now: datetime) -> _Signature | None:
    """None where it is wrong, whenever it was made. For a source that does not exist it takes as long."""
    at, given = header[1], header[2]
    secret = "" if door is None else door.secret
    right = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(right, given) or door is None:
        return None
    return _Signature(given=given, ahead=_ahead(header, now))


def _ahead(header: re.Match[str], now: datetime) -> timedelta:
    return timedelta(seconds=int(header[1]) - now.timestamp())


def _unsigned(door: Door | None) -> web.Response:
    log.warning("push_refused", source="unknown" if door is None else door.source.name)
    return _refused(401, "not signed as it has to be")


def _untimely(source: PushSource, ahead: timedelta, now: datetime) -> web.Response:
    """Its sender has the secret: which clock is wrong is for people to see, on both sides."""
    apart = f"{abs(ahead).total_seconds():.0f} s {'ahead of' if ahead > timedelta(0) else 'behind'}"
    source.health.last_error = f"the clock of a sender is {apart} this machine's: nothing that it sends is taken"
    source.health.remedy = "set the clock that is wrong; the sender can repeat what was refused then"
    log.warning("push_refused", source=source.name, ahead_s=round(ahead.total_seconds()))
    problem = f"signed {apart} our clock, and {GOOD_FOR.total_seconds():.0f} s are allowed; one of the clocks is wrong"
    return web.json_response({"error": problem, "now": int(now.timestamp())}, status=401)


def _read(body: bytes, provider: str, now: datetime) -> tuple[list[tuple[str, bytes]], list[dict[str, object]], int]:
    """The lines, each with the name of its item; what is wrong with the first of those that are none, and how many."""
    taken: list[tuple[str, bytes]] = []
    faults: list[dict[str, object]] = []
    bad = 0
    for number, raw in enumerate(body.split(b"\n"), start=1):
        line = raw.strip()
        if not line:
            continue
        try:
            item = lines.decode(line, now)
            problem = None if item.provider == provider else f"source is not {provider}, whose this feed is"
        except lines.BadLineError as error:
            problem = str(error)
        else:
            if problem is None:
                taken.append((_item(item), line))
        if problem is not None:
            bad += 1
            if bad <= FAULTS_SHOWN:
                faults.append({"line": number, "problem": problem})
    return taken, faults, bad


def _item(item: post.Post | post.Deletion) -> str:
    match item:
        case post.Post():
            return f"post {item.id}"
        case post.Deletion(id=None):
            return f"account {item.author} {times.to_text(item.deleted_at)}"
        case _:
            return f"gone {item.id} {times.to_text(item.deleted_at)}"


def _too_long() -> web.Response:
    return _refused(413, f"a request may have {MOST_BYTES} bytes; send several")


def _refused(status: int, problem: str, *, retry_after_s: int | None = None) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.Response(
        text=json.dumps({"error": problem}), status=status, headers=headers, content_type="application/json"
    )
