"""FakeEventStreams: a server on 127.0.0.1 that speaks Wikimedia's EventStreams, also over TLS, in a time of its own.

Each connection lasts ``LASTS`` of that time, as at Wikimedia, and gets what happens meanwhile; ``since`` and
``Last-Event-ID`` go back as far as ``kept``.
"""

import asyncio
import bisect
import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.fakes import streaming
from tests.fakes.streaming import START

HOST = "stream.example"
LASTS = timedelta(minutes=15)
TOPIC = "eqiad.mediawiki.recentchange"


@dataclass(frozen=True, kw_only=True)
class Event:
    at: datetime
    data: bytes


def change(*, at: datetime = START, number: int = 1, **fields: Any) -> Event:
    """A change of the shape of ``mediawiki/recentchange``; ``domain`` and ``dt`` stand in ``meta``."""
    stamp = fields.pop("dt", at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    raw = {
        "$schema": "/mediawiki/recentchange/1.0.0",
        "meta": {
            "uri": "https://en.wikipedia.org/wiki/Port_Calder",
            "id": f"00000000-0000-4000-8000-{number:012d}",
            "domain": fields.pop("domain", "en.wikipedia.org"),
            "stream": "mediawiki.recentchange",
            "dt": stamp,
        },
        "id": number,
        "type": "edit",
        "namespace": 0,
        "title": "Port Calder",
        "comment": "an invented change",
        "timestamp": int(at.timestamp()),
        "user": "Ann",
        "bot": False,
        "wiki": "enwiki",
        "server_name": "en.wikipedia.org",
    }
    return Event(at=at, data=json.dumps(raw | fields).encode())


# Faults: each is used up by one connection, in the order in which they were scripted and not before its time.


@dataclass(frozen=True)
class Refuse:
    """An HTTP answer instead of the stream, after ``away`` of the server's time."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    away: timedelta = timedelta(0)


@dataclass(frozen=True)
class Cut:
    """Half of the last event, then the end of the connection without any goodbye."""


@dataclass(frozen=True)
class Split:
    """Every event in two pieces."""


@dataclass(frozen=True)
class Garbage:
    """Events that are none, before each of the others, or ``after`` the last one."""

    data: bytes = b"data: {not json\n\n"
    after: bytes = b""


@dataclass(frozen=True)
class Stall:
    """Nothing, not even an end: half open."""


@dataclass(frozen=True)
class Heartbeats:
    """Nothing but heartbeats, for ever."""


@dataclass(frozen=True)
class Page:
    """A page for people instead of the stream: of a proxy, of a hotel."""


Fault = Refuse | Cut | Split | Garbage | Stall | Heartbeats | Page


class FakeEventStreams:
    """``emit`` in order of time; ``now`` is the server's time, which passes while it is connected to. ``names`` has the
    faults of what is between us: Nameless and, with ``tls``, Untrusted."""

    def __init__(self, *, kept: timedelta = timedelta(days=7), tls: bool = False) -> None:
        self.time = streaming.Time()
        self.kept = kept
        self.events: list[Event] = []
        self.requests: list[web.Request] = []
        self.fired: list[Fault] = []
        self.names = streaming.Script(self.time)
        self.time.on_advance = self.names.settle
        self.url = ""
        self._certificates = streaming.Certificates(self.names, HOST) if tls else None
        self._faults: list[tuple[datetime, Fault]] = []
        self._stop = asyncio.Event()
        self._runner: web.AppRunner | None = None

    @property
    def now(self) -> datetime:
        return self.time.now

    @now.setter
    def now(self, at: datetime) -> None:
        self.time.advance_to(at)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v2/stream/recentchange", self._stream)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        shown = None if self._certificates is None else self._certificates.shown
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=shown).start()
        where = "http://127.0.0.1" if shown is None else f"https://{HOST}"
        self.url = f"{where}:{self._runner.addresses[0][1]}/v2/stream/recentchange"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def connector(self) -> Callable[[], aiohttp.BaseConnector]:
        """What to connect with where ``names`` are to be asked."""
        return streaming.connector(self.names, None if self._certificates is None else self._certificates.trust)

    def script(self, *faults: Fault, at: datetime = START) -> None:
        self._faults += [(at, fault) for fault in faults]

    def unfired(self) -> list[object]:
        return [*self._faults, *self.names.left]

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def _first(self, request: web.Request) -> int:
        """The number of the first event to send."""
        last = request.headers.get("Last-Event-ID")
        oldest = bisect.bisect_left(self.events, self.now - self.kept, key=lambda event: event.at)
        if last is not None:
            return max(int(json.loads(last)[0]["offset"]) + 1, oldest)
        since = datetime.fromisoformat(request.query["since"]) if "since" in request.query else self.now
        since = min(since, self.now)  # what is still to come begins now
        return max(bisect.bisect_left(self.events, since, key=lambda event: event.at), oldest)

    def _due(self) -> Fault | None:
        if not self._faults or self._faults[0][0] > self.now:
            return None
        _, fault = self._faults.pop(0)
        self.fired.append(fault)
        return fault

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        fault = self._due()
        if isinstance(fault, Refuse):
            self.now += fault.away
            return web.Response(status=fault.status, headers=fault.headers)
        if isinstance(fault, Page):
            return web.Response(text="<p>data: please sign in</p>", content_type="text/html")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(b":ok\n\n")
        if isinstance(fault, Stall):
            await self._stop.wait()
            return response
        with contextlib.suppress(ConnectionError):
            while isinstance(fault, Heartbeats) and not self._stop.is_set() and request.transport is not None:
                await response.write(b":heartbeat\n\n")
                await asyncio.sleep(0.01)
        if isinstance(fault, Heartbeats):
            return response
        first = self._first(request)
        self.now += LASTS
        last = bisect.bisect_right(self.events, self.now, key=lambda event: event.at)
        for number in range(first, last):
            await self._send(response, number, fault)
        if isinstance(fault, Garbage):
            await response.write(fault.after)
        if isinstance(fault, Cut):
            await response.write(b"id: [{}]\ndata: {" + self.events[-1].data[:40])
            assert request.transport is not None
            request.transport.abort()
        return response

    async def _send(self, response: web.StreamResponse, number: int, fault: Fault | None) -> None:
        where = json.dumps([{"topic": TOPIC, "partition": 0, "offset": number}]).encode()
        frame = b"event: message\nid: " + where + b"\ndata: " + self.events[number].data + b"\n\n"
        match fault:
            case Split():
                await response.write(frame[: len(frame) // 2])
                await asyncio.sleep(0)
                await response.write(frame[len(frame) // 2 :])
            case Garbage():
                await response.write(fault.data + frame)
            case _:
                await response.write(frame)
