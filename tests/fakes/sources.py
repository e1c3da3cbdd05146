"""FakeJetstream: a server on 127.0.0.1 that speaks both Jetstream protocols, with scripted faults."""

import asyncio
import bisect
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import WSMsgType, web

KEPT = timedelta(hours=36)
POST = "app.bsky.feed.post"
V2_TYPE = "network.bsky.jetstream.subscribeEvents"
TIME_CURSORS_FROM = 10**15
START = datetime(2031, 5, 14, 12, 0, tzinfo=UTC)


def did(number: int) -> str:
    """A fictional account."""
    letters = "".join("abcdefghij"[int(digit)] for digit in f"{number:04d}")
    return f"did:plc:aaaaaaaaaaaaaaaaaaaa{letters}"


@dataclass(kw_only=True)
class Event:
    seq: int
    time_us: int
    kind: str
    did: str
    body: dict[str, Any]

    @property
    def uri(self) -> str:
        return f"at://{self.did}/{self.body['collection']}/{self.body['rkey']}"

    def v1(self) -> bytes:
        frame = {"did": self.did, "time_us": self.time_us, "kind": self.kind, self.kind: self.body}
        return json.dumps(frame, ensure_ascii=False).encode()

    def v2(self) -> bytes:
        body = self.body if self.kind == "commit" else {self.kind: self.body}
        when = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=self.time_us)
        stamp = when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        payload = {"$type": f"{V2_TYPE}#{self.kind}", "did": self.did, "seq": self.seq, "time": stamp, **body}
        return json.dumps(
            {"$type": "message", "payload": payload | {"witnessedAt": stamp}}, ensure_ascii=False
        ).encode()


# Faults: each is used up by one connection (or one request), in the order in which they were scripted.


@dataclass(frozen=True)
class Drop:
    """Cut the connection after ``after`` frames, with a close frame or (``rude``) without."""

    after: int
    rude: bool = True


@dataclass(frozen=True)
class Garbage:
    """``data`` instead of nothing before frame number ``at``."""

    at: int
    data: bytes = b"\x00\xff{not json"
    binary: bool = False


@dataclass(frozen=True)
class Split:
    """Frame number ``at`` in two WebSocket fragments."""

    at: int


@dataclass(frozen=True)
class Cut:
    """Half of frame number ``at``, then the end of the connection."""

    at: int


@dataclass(frozen=True)
class Stall:
    """After ``after`` frames: nothing more, not even an answer to a ping."""

    after: int


@dataclass(frozen=True)
class Refuse:
    """An HTTP answer instead of a WebSocket."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class EndWith:
    """Protocol 2's error frame after ``after`` frames, then a close."""

    after: int
    error: str = "ConsumerTooSlow"


Fault = Drop | Garbage | Split | Cut | Stall | Refuse | EndWith


class FakeJetstream:
    """``async with FakeJetstream() as fake``; the source under test gets ``fake.url(version)``.

    It holds a log of events. A v1 cursor is a time and clamped to ``kept`` before ``clock()``; a v2 cursor is a seq
    (inclusive; too old: 400 CursorTooOld) or, from 10^15 on, a time. ``forget(n)`` drops the oldest n events.
    """

    def __init__(self, *, clock: Callable[[], datetime] = lambda: START + timedelta(minutes=1)) -> None:
        self.clock = clock
        self.events: list[Event] = []
        self.faults: list[Fault] = []
        self.requests: list[dict[str, list[str]]] = []
        self.sent = 0
        self.sent_by_connection: list[int] = []
        self.step = timedelta(milliseconds=10)  # between two events
        self.port = 0
        self._next_seq = 1
        self._floor_seq = 0
        self._grown = asyncio.Event()
        self._closing = asyncio.Event()
        self._open: set[web.WebSocketResponse] = set()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/subscribe", self._serve)
        app.router.add_get(f"/xrpc/{V2_TYPE}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._grown.set()
        for ws in list(self._open):
            _abort(ws)
        await self._runner.cleanup()

    def url(self, version: int) -> str:
        return f"ws://127.0.0.1:{self.port}" + ("/subscribe" if version == 1 else f"/xrpc/{V2_TYPE}")

    # The log.

    def add_post(self, text: str, *, author: int = 1, rkey: str | None = None, **record: Any) -> Event:
        return self._commit("create", author, rkey, {"$type": POST, "text": text, "langs": ["en"], **record})

    def add_update(self, text: str, *, author: int = 1, rkey: str, **record: Any) -> Event:
        return self._commit("update", author, rkey, {"$type": POST, "text": text, "langs": ["en"], **record})

    def add_delete(self, *, author: int = 1, rkey: str) -> Event:
        return self._commit("delete", author, rkey, None)

    def add_like(self, *, author: int = 1) -> Event:
        record = {"$type": "app.bsky.feed.like", "subject": {"uri": "at://x", "cid": "bafyaaa"}}
        return self._commit("create", author, None, record, collection="app.bsky.feed.like")

    def add_account(self, *, author: int = 1, active: bool = False, status: str | None = "deleted") -> Event:
        body = {
            "active": active,
            "did": did(author),
            "seq": 31_000_000_000 + self._next_seq,
            "time": "2031-05-14T12:00:00Z",
        }
        return self._add("account", author, body | ({"status": status} if status else {}))

    def add_identity(self, *, author: int = 1) -> Event:
        return self._add("identity", author, {"did": did(author), "seq": 5, "time": "2031-05-14T12:00:00Z"})

    def forget(self, count: int) -> None:
        """No longer keep the oldest ``count`` events; their cursors are too old."""
        self._floor_seq = self.events[count].seq if count < len(self.events) else self._next_seq
        del self.events[:count]

    def script(self, *faults: Fault) -> None:
        self.faults.extend(faults)

    def unfired(self) -> list[Fault]:
        return list(self.faults)

    def cursors(self) -> list[int | None]:
        """The cursor of each request so far."""
        return [int(query["cursor"][0]) if "cursor" in query else None for query in self.requests]

    def _commit(
        self, operation: str, author: int, rkey: str | None, record: dict[str, Any] | None, *, collection: str = POST
    ) -> Event:
        body: dict[str, Any] = {
            "rev": f"3maaaaaa{self._next_seq:05d}",
            "operation": operation,
            "collection": collection,
            "rkey": rkey or f"3mbbbb{self._next_seq:07d}",
        }
        if record is not None:
            body |= {"record": {"createdAt": "2031-05-14T11:59:59.500Z"} | record, "cid": "bafyaaaa"}
        return self._add("commit", author, body)

    def _add(self, kind: str, author: int, body: dict[str, Any]) -> Event:
        time_us = int(START.timestamp() * 1_000_000) + self._next_seq * (self.step // timedelta(microseconds=1))
        event = Event(seq=self._next_seq, time_us=time_us, kind=kind, did=did(author), body=body)
        self._next_seq += 1
        self.events.append(event)
        self._grown.set()
        return event

    # The wire.

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        version = 1 if request.path == "/subscribe" else 2
        self.requests.append({key: request.query.getall(key) for key in request.query})
        fault = self.faults[0] if self.faults else None
        if isinstance(fault, Refuse):
            self.faults.pop(0)
            body = {"error": fault.error, "message": "scripted"}
            return web.json_response(body, status=fault.status, headers=fault.headers)
        bad = [name for name in ("wantedCollections",) if version == 2 and name in request.query]
        if bad:
            return web.json_response({"error": "InvalidRequest", "message": "use collections"}, status=400)
        try:
            start, notice = self._start(version, request.query.get("cursor"))
        except _TooOldError:
            return web.json_response({"error": "CursorTooOld", "message": "below the floor"}, status=400)
        ws = web.WebSocketResponse(autoping=False, compress=False, protocols=("xrpc.v1.json",) if version == 2 else ())
        await ws.prepare(request)
        self._open.add(ws)
        self.sent_by_connection.append(0)
        reader = asyncio.create_task(
            self._answer_pings(ws, deaf=isinstance(fault, Stall)), name="fake-jetstream-reader"
        )
        try:
            if notice:
                info = {"$type": f"{V2_TYPE}#info", "name": notice, "message": "scripted"}
                await ws.send_str(json.dumps({"$type": "message", "payload": info}))
            await self._send_from(request, ws, version, start, None if isinstance(fault, Refuse) else fault)
        except (ConnectionError, RuntimeError):
            pass
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
            self._open.discard(ws)
        return ws

    def _start(self, version: int, cursor: str | None) -> tuple[int, str]:
        """Index of the first event to send, and the notice to send before it."""
        tip = self.events[-1].seq + 1 if self.events else self._next_seq
        if cursor is None:
            return tip, ""
        number = int(cursor)
        if number >= TIME_CURSORS_FROM:
            floor_us = int((self.clock() - KEPT).timestamp() * 1_000_000)
            wanted = max(number, floor_us)
            first = next((event.seq for event in self.events if event.time_us >= wanted), tip)
            clamped = number < floor_us or (self._floor_seq and self.events and number < self.events[0].time_us)
            return first, "OutdatedCursor" if version == 2 and clamped else ""
        if version == 1:
            raise AssertionError("a v1 cursor is a time in microseconds")
        if number < self._floor_seq:
            raise _TooOldError
        if number >= self._next_seq:
            return tip, "FutureCursor"
        return number, ""

    async def _send_from(
        self, request: web.Request, ws: web.WebSocketResponse, version: int, seq: int, fault: Fault | None
    ) -> None:
        number = 0
        while not self._closing.is_set():
            if await self._fault(request, ws, fault, number, version, seq):
                return
            event = self._next_wanted(request, seq)
            if event is None:
                self._grown.clear()
                await self._grown.wait()
                continue
            if not (isinstance(fault, Split) and fault.at == number):
                data = event.v1() if version == 1 else event.v2()
                await ws._writer.send_frame(data, WSMsgType.TEXT)  # type: ignore[union-attr]
            number += 1
            self.sent += 1
            self.sent_by_connection[-1] += 1
            seq = event.seq + 1

    def _next_wanted(self, request: web.Request, seq: int) -> Event | None:
        """The first event from ``seq`` on that the request's filters let through."""
        collections = request.query.getall("wantedCollections", []) + request.query.getall("collections", [])
        kinds = request.query.getall("kinds", [])
        for event in self.events[bisect.bisect_left(self.events, seq, key=lambda event: event.seq) :]:
            if kinds and event.kind not in kinds:
                continue
            if event.kind != "commit" or not collections or event.body["collection"] in collections:
                return event
        return None

    async def _fault(
        self, request: web.Request, ws: web.WebSocketResponse, fault: Fault | None, number: int, version: int, seq: int
    ) -> bool:
        """Do what is scripted before frame ``number``; is the connection over?"""
        event = self._next_wanted(request, seq)
        data = b"" if event is None else event.v1() if version == 1 else event.v2()
        match fault:
            case Drop(after=after, rude=rude) if after == number and fault in self.faults:
                self.faults.remove(fault)
                if rude:
                    _abort(ws)
                else:
                    await ws.close(code=1001)
                return True
            case Garbage(at=at) if at == number and fault in self.faults:
                self.faults.remove(fault)
                kind = WSMsgType.BINARY if fault.binary else WSMsgType.TEXT
                await ws._writer.send_frame(fault.data, kind)  # type: ignore[union-attr]
            case Split(at=at) if at == number and data and fault in self.faults:
                self.faults.remove(fault)
                half = len(data) // 2
                assert request.transport is not None
                request.transport.write(_frame(data[:half], opcode=0x1, final=False))
                await asyncio.sleep(0)
                request.transport.write(_frame(data[half:], opcode=0x0, final=True))
            case Cut(at=at) if at == number and data and fault in self.faults:
                self.faults.remove(fault)
                assert request.transport is not None
                whole = _frame(data, opcode=0x1, final=True)
                request.transport.write(whole[: len(whole) // 2])
                request.transport.close()
                return True
            case Stall(after=after) if after == number and fault in self.faults:
                self.faults.remove(fault)
                await self._closing.wait()
                return True
            case EndWith(after=after, error=error) if after == number and fault in self.faults:
                self.faults.remove(fault)
                await ws.send_str(json.dumps({"$type": "error", "error": error, "message": "scripted"}))
                await ws.close(code=1008)
                return True
        return False

    async def _answer_pings(self, ws: web.WebSocketResponse, *, deaf: bool) -> None:
        if deaf:
            return
        while True:
            message = await ws.receive()
            if message.type is WSMsgType.PING:
                await ws.pong(message.data)
            elif message.type is not WSMsgType.PONG:
                return


class _TooOldError(Exception):
    pass


def _abort(ws: web.WebSocketResponse) -> None:
    request = ws._req
    if request is not None and request.transport is not None:
        request.transport.abort()


def _frame(data: bytes, *, opcode: int, final: bool) -> bytes:
    """One unmasked WebSocket frame (RFC 6455, 5.2)."""
    head = bytes([opcode | (0x80 if final else 0)])
    if len(data) < 126:
        return head + bytes([len(data)]) + data
    if len(data) < 65_536:
        return head + b"\x7e" + struct.pack(">H", len(data)) + data
    return head + b"\x7f" + struct.pack(">Q", len(data)) + data
