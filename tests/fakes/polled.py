"""FakeSite: documents over HTTP on 127.0.0.1, with validators and scripted faults. Only sleeping moves VirtualTime."""

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import web

START = datetime(2031, 5, 14, 12, 0, tzinfo=UTC)


class OverError(BaseException):
    """The time that the test is about has passed."""


class VirtualTime:
    """``clock``, ``monotonic`` and ``sleep`` of a source. ``at`` has something done when that much time has passed;
    ``shift`` sets the wall clock, which ``monotonic`` does not notice. ``sleep`` raises OverError after ``until``."""

    def __init__(self, *, until: timedelta = timedelta(days=365)) -> None:
        self.passed = timedelta(0)
        self.until = until
        self.shift = timedelta(0)
        self.waits: list[float] = []
        self._due: list[tuple[timedelta, Callable[[], Awaitable[None] | None]]] = []

    def clock(self) -> datetime:
        return START + self.passed + self.shift

    def monotonic(self) -> float:
        return 1000.0 + self.passed.total_seconds()

    def at(self, passed: timedelta, act: Callable[[], Awaitable[None] | None]) -> None:
        self._due.append((passed, act))
        self._due.sort(key=lambda due: due[0])

    def unfired(self) -> int:
        return len(self._due)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.passed += timedelta(seconds=seconds)
        while self._due and self._due[0][0] <= self.passed:
            done = self._due.pop(0)[1]()
            if done is not None:
                await done
        if self.passed >= self.until:
            raise OverError
        await asyncio.sleep(0)

    def environment(self, **others: Any) -> dict[str, Any]:
        """What a source is given."""
        return {
            "clock": self.clock,
            "monotonic": self.monotonic,
            "sleep": self.sleep,
            "rng": random.Random(7),
        } | others


# Faults: each is used up by one request, in the order in which they were scripted.


@dataclass(frozen=True)
class Refuse:
    """A status instead of the document."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Cut:
    """Half of the document, then the end of the connection."""


@dataclass(frozen=True)
class Stall:
    """The head of an answer, and nothing more: a connection that is half open."""


@dataclass(frozen=True)
class Drip:
    """One byte now and then, for ever."""


@dataclass(frozen=True)
class Pieces:
    """The whole document, in pieces that come late."""


@dataclass(frozen=True)
class Garbage:
    """Something else instead of the document. ``encoding``: how it claims to be packed."""

    body: bytes = b"\x00\xff<not a document"
    encoding: str = ""


Fault = Refuse | Cut | Stall | Drip | Pieces | Garbage


class FakeSite:
    """``async with FakeSite() as site``; ``site.put("/feed.xml", body)`` or a function that gives the body of now."""

    def __init__(self) -> None:
        self.fired: list[Fault] = []
        self.requests: list[web.Request] = []
        self.statuses: list[int] = []
        self.validators = True
        self.modified: str | None = None
        self.port = 0
        self._documents: dict[str, tuple[Callable[[], bytes | None], str]] = {}
        self._moves: dict[str, tuple[int, str]] = {}
        self._scripted: list[tuple[str, Fault]] = []
        self._closing = asyncio.Event()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        await self._runner.cleanup()

    async def start(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await self._site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Nobody answers at this port any more, until ``start``."""
        await self._site.stop()
        server = self._runner.server
        for connection in list(server.connections) if server is not None else []:
            connection.force_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def put(self, path: str, body: bytes | str | Callable[[], bytes | None], kind: str = "application/xml") -> None:
        """None: 404."""
        if callable(body):
            self._documents[path] = (body, kind)
        else:
            fixed = body.encode() if isinstance(body, str) else body
            self._documents[path] = (lambda: fixed, kind)

    def move(self, path: str, target: str, status: int = 301) -> None:
        self._moves[path] = (status, target)

    def stay(self, path: str) -> None:
        """Take ``move`` back."""
        self._moves.pop(path, None)

    def script(self, *faults: Fault, under: str = "/") -> None:
        """For the next requests, or only for those whose path begins with ``under``."""
        self._scripted.extend((under, fault) for fault in faults)

    @property
    def faults(self) -> list[Fault]:
        """Which are still to come."""
        return [fault for _, fault in self._scripted]

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        response = await self._answer(request)
        self.statuses.append(response.status)
        return response

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        fault = self._next_fault(request.path)
        if isinstance(fault, Refuse):
            return web.Response(status=fault.status, headers=fault.headers)
        if request.path in self._moves:
            status, target = self._moves[request.path]
            return web.Response(status=status, headers={"Location": target})
        make, kind = self._documents.get(request.path, (lambda: None, ""))
        body = fault.body if isinstance(fault, Garbage) else make()
        if body is None:
            return web.Response(status=404)
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        headers = {"Content-Type": kind} | ({"ETag": etag} if self.validators and fault is None else {})
        if self.modified is not None:
            headers["Last-Modified"] = self.modified
        same_time = self.modified is not None and request.headers.get("If-Modified-Since") == self.modified
        if fault is None and (request.headers.get("If-None-Match") == etag or same_time):
            return web.Response(status=304, headers=headers)
        if isinstance(fault, Garbage) and fault.encoding:
            headers["Content-Encoding"] = fault.encoding
        if fault is None or isinstance(fault, Garbage):
            return web.Response(body=body, headers=headers)
        return await self._break(request, fault, body)

    def _next_fault(self, path: str) -> Fault | None:
        number = next((number for number, (under, _) in enumerate(self._scripted) if path.startswith(under)), None)
        if number is None:
            return None
        _, fault = self._scripted.pop(number)
        self.fired.append(fault)
        return fault

    async def _break(self, request: web.Request, fault: Fault, body: bytes) -> web.StreamResponse:
        if isinstance(fault, Pieces):
            response = web.StreamResponse(headers={"Content-Length": str(len(body))})
            await response.prepare(request)
            for start in range(0, len(body), len(body) // 8 + 1):
                await response.write(body[start : start + len(body) // 8 + 1])
                await asyncio.sleep(0.01)
            return response
        response = web.StreamResponse(headers={"Content-Length": str(len(body) + 1)})
        await response.prepare(request)
        if isinstance(fault, Cut):
            await response.write(body[: len(body) // 2])
            assert request.transport is not None
            request.transport.abort()
            return response
        while isinstance(fault, Drip) and not self._closing.is_set() and request.transport is not None:
            try:
                await response.write(b" ")
                await asyncio.wait_for(self._closing.wait(), 0.02)
            except TimeoutError:
                continue
            except ConnectionError:
                return response
        while isinstance(fault, Stall) and not self._closing.is_set() and request.transport is not None:
            await asyncio.sleep(0.01)
        return response
