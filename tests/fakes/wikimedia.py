"""FakeEventStreams: a server on 127.0.0.1 that speaks Wikimedia's EventStreams, in a time of its own.

Each connection lasts ``LASTS`` of that time, as at Wikimedia, and gets what happens meanwhile; ``since`` and
``Last-Event-ID`` go back as far as ``kept``.
"""

import asyncio
import bisect
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web

START = datetime(2031, 5, 14, 12, 0, tzinfo=UTC)
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


# Faults: each is used up by one connection, in the order in which they were scripted.


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
    """Events that are none, among the others."""

    data: bytes = b"data: {not json\n\n"


@dataclass(frozen=True)
class Stall:
    """Nothing, not even an end: half open."""


Fault = Refuse | Cut | Split | Garbage | Stall


class FakeEventStreams:
    """``emit`` in order of time; ``now`` is the server's time, which passes while it is connected to."""

    def __init__(self, *, kept: timedelta = timedelta(days=7)) -> None:
        self.now = START
        self.kept = kept
        self.events: list[Event] = []
        self.requests: list[web.Request] = []
        self._faults: list[Fault] = []
        self._stop = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/v2/stream/recentchange", self._stream)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v2/stream/recentchange"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def script(self, *faults: Fault) -> None:
        self._faults += faults

    def unfired(self) -> list[Fault]:
        return self._faults

    def emit(self, event: Event) -> None:
        self.events.append(event)

    def _first(self, request: web.Request) -> int:
        """The number of the first event to send."""
        last = request.headers.get("Last-Event-ID")
        oldest = bisect.bisect_left(self.events, self.now - self.kept, key=lambda event: event.at)
        if last is not None:
            return max(int(json.loads(last)[0]["offset"]) + 1, oldest)
        since = datetime.fromisoformat(request.query["since"]) if "since" in request.query else self.now
        return max(bisect.bisect_left(self.events, since, key=lambda event: event.at), oldest)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        fault = self._faults.pop(0) if self._faults else None
        if isinstance(fault, Refuse):
            self.now += fault.away
            return web.Response(status=fault.status, headers=fault.headers)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await response.write(b":ok\n\n")
        if isinstance(fault, Stall):
            await self._stop.wait()
            return response
        first = self._first(request)
        self.now += LASTS
        last = bisect.bisect_right(self.events, self.now, key=lambda event: event.at)
        for number in range(first, last):
            await self._send(response, number, fault)
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
