"""FakeJetstream: a server on 127.0.0.1 that speaks both Jetstream protocols, packed or not, with scripted faults."""

import asyncio
import bisect
import functools
import json
import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import zstandard
from aiohttp import WSMsgType, web

from tests.fakes.jetstream_faults import (
    AnswerDictionary,
    Cut,
    Drop,
    EndWith,
    Fault,
    Garbage,
    PackWith,
    Refuse,
    Slow,
    Split,
    Stall,
)

KEPT = timedelta(hours=36)
POST = "app.bsky.feed.post"
V2_TYPE = "network.bsky.jetstream.subscribeEvents"
TIME_CURSORS_FROM = 10**15
SET_BACK_US = 60_000_000  # what a clock must go back to be followed
START = datetime(2031, 5, 14, 12, 0, tzinfo=UTC)


def did(number: int) -> str:
    """A fictional account."""
    letters = "".join("abcdefghij"[int(digit)] for digit in f"{number:04d}")
    return f"did:plc:aaaaaaaaaaaaaaaaaaaa{letters}"


@functools.cache
def dictionary(salt: str = "invented") -> bytes:
    """A zstd dictionary for frames like ours; another ``salt``, another id."""
    log = FakeJetstream()
    posts = [log.add_post(f"{salt} {number} words over the town", author=number) for number in range(400)]
    samples: list[Any] = [frame for each in posts for frame in (each.v1(), each.v2())]
    return zstandard.train_dictionary(4096, samples).as_bytes()


def pack(data: bytes, with_dictionary: bytes, *, sized: bool = True) -> bytes:
    packer = zstandard.ZstdCompressor(
        dict_data=zstandard.ZstdCompressionDict(with_dictionary), write_content_size=sized
    )
    return packer.compress(data)


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


class FakeJetstream:
    """``async with FakeJetstream() as fake``; the source under test gets ``fake.url(version)``.

    It holds a log of events. A v1 cursor is a time and clamped to ``kept`` before ``clock()``; a v2 cursor is a seq
    (inclusive; too old: 400 CursorTooOld) or, from 10^15 on, a time. ``forget(n)`` drops the oldest n events.
    Events are ``step`` apart, or happen when ``clock()`` says with ``stamped``; the past is kept by those times. Who
    asks for packed frames gets them, packed with ``dictionary``.
    """

    def __init__(
        self, *, clock: Callable[[], datetime] = lambda: START + timedelta(minutes=1), stamped: bool = False
    ) -> None:
        self.clock = clock
        self.stamped = stamped
        self.dictionary = b""
        self.packed = 0  # frames
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
        self.dictionary = self.dictionary or dictionary()
        await self.come()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go()

    async def come(self) -> None:
        """Listen, at the port where it was before if it was there."""
        self._closing.clear()
        app = web.Application()
        app.router.add_get("/subscribe", self._serve)
        app.router.add_get(f"/xrpc/{V2_TYPE}", self._serve)
        app.router.add_get("/xrpc/network.bsky.jetstream.getZstdDictionary", self._give_dictionary)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def go(self) -> None:
        """Away, without a word; the log stays."""
        self._closing.set()
        self._grown.set()
        self.hang_up()
        await self._runner.cleanup()

    def hang_up(self) -> None:
        for ws in list(self._open):
            _abort(ws)

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

    def add_sync(self, *, author: int = 1) -> Event:
        return self._add("sync", author, {"did": did(author), "seq": 6, "rev": "3maaa", "time": "2031-05-14T12:00:00Z"})

    def expire(self) -> None:
        """Forget what is older than ``KEPT``."""
        floor_us = int((self.clock() - KEPT).timestamp() * 1_000_000)
        kept = (number for number, event in enumerate(self.events) if event.time_us >= floor_us)
        self.forget(next(kept, len(self.events)))

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
        if self.stamped:
            last_us = self.events[-1].time_us if self.events else 0
            time_us = int(self.clock().timestamp() * 1_000_000)
            if last_us - SET_BACK_US < time_us <= last_us:
                time_us = last_us + 1
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
        asked = request.query.get("zstdDictionary")
        if asked is not None and int(asked) != zstandard.ZstdCompressionDict(self.dictionary).dict_id():
            return web.json_response({"error": "UnknownZstdDictionary", "message": "retired"}, status=400)
        try:
            start, notice = self._start(version, request.query.get("cursor"))
        except _TooOldError:
            return web.json_response({"error": "CursorTooOld", "message": "below the floor"}, status=400)
        ws = web.WebSocketResponse(autoping=False, compress=False, protocols=("xrpc.v1.json",) if version == 2 else ())
        await ws.prepare(request)
        self._open.add(ws)
        self.sent_by_connection.append(0)
        packing = self.dictionary if asked is not None or request.query.get("compress") == "true" else b""
        if isinstance(fault, PackWith) and packing:
            self.faults.remove(fault)
            packing = fault.data
        reader = asyncio.create_task(
            self._answer_pings(ws, deaf=isinstance(fault, Stall)), name="fake-jetstream-reader"
        )
        try:
            if notice:
                info = {"$type": f"{V2_TYPE}#info", "name": notice, "message": "scripted"}
                await ws.send_str(json.dumps({"$type": "message", "payload": info}))
            wire = _Wire(request=request, ws=ws, version=version, packing=packing, fault=fault, seq=start)
            if wire.by_time:
                wire.past = self._since(wire, start)
                wire.seq = self._next_seq
            await self._send(wire)
        except (ConnectionError, RuntimeError):
            pass
        finally:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader
            self._open.discard(ws)
        return ws

    def _start(self, version: int, cursor: str | None) -> tuple[int, str]:
        """Number of the first event to send, or the time of the first, and the notice to send before it."""
        tip = self.events[-1].seq + 1 if self.events else self._next_seq
        if cursor is None:
            return tip, ""
        number = int(cursor)
        if number >= TIME_CURSORS_FROM:
            floor_us = int((self.clock() - KEPT).timestamp() * 1_000_000)
            clamped = number < floor_us or (self._floor_seq and self.events and number < self.events[0].time_us)
            return max(number, floor_us), "OutdatedCursor" if version == 2 and clamped else ""
        if version == 1:
            raise AssertionError("a v1 cursor is a time in microseconds")
        if number < self._floor_seq:
            raise _TooOldError
        if number >= self._next_seq:
            return tip, "FutureCursor"
        return number, ""

    def _since(self, wire: "_Wire", time_us: int) -> list[Event]:
        """The past from then on, as it is kept: by time."""
        kept = sorted((event for event in self.events if event.time_us >= time_us), key=lambda event: event.time_us)
        return [event for event in kept if wire.wants(event)]

    async def _give_dictionary(self, _: web.Request) -> web.Response:
        fault = self.faults[0] if self.faults else None
        if isinstance(fault, AnswerDictionary):
            self.faults.remove(fault)
            return web.Response(status=fault.status, body=fault.body)
        return web.Response(body=self.dictionary, content_type="application/octet-stream")

    async def _send(self, wire: "_Wire") -> None:
        number = 0
        while not self._closing.is_set():
            if await self._fault(wire, number):
                return
            event = self._next(wire)
            if event is None:
                self._grown.clear()
                await self._grown.wait()
                continue
            if not (isinstance(wire.fault, Split | Slow) and wire.fault.at == number):
                await wire.send(wire.frame(event))
            number += 1
            self.sent += 1
            self.packed += bool(wire.packing)
            self.sent_by_connection[-1] += 1
            if wire.past:
                wire.past.pop(0)
            else:
                wire.seq = event.seq + 1

    def _next(self, wire: "_Wire") -> Event | None:
        """The first event left of the past that was asked for, or from ``wire.seq`` on."""
        if wire.past:
            return wire.past[0]
        for number in range(bisect.bisect_left(self.events, wire.seq, key=lambda event: event.seq), len(self.events)):
            if wire.wants(self.events[number]):
                return self.events[number]
        return None

    async def _fault(self, wire: "_Wire", number: int) -> bool:
        """Do what is scripted before frame ``number``; is the connection over?"""
        fault = wire.fault
        if fault is None or fault not in self.faults:
            wire.fault = None
            return False
        event = self._next(wire)
        data = b"" if event is None else wire.frame(event)
        match fault:
            case Drop(after=after, rude=rude) if after == number:
                self.faults.remove(fault)
                if rude:
                    _abort(wire.ws)
                else:
                    await wire.ws.close(code=1001)
                return True
            case Garbage(at=at) if at == number:
                self.faults.remove(fault)
                kind = WSMsgType.BINARY if fault.binary else WSMsgType.TEXT
                await wire.ws._writer.send_frame(fault.data, kind)  # type: ignore[union-attr]
            case Split(at=at) if at == number and data:
                self.faults.remove(fault)
                half = len(data) // 2
                await wire.write(_frame(data[:half], opcode=wire.kind.value, final=False))
                await wire.write(_frame(data[half:], opcode=0x0, final=True))
            case Slow(at=at) if at == number and data:
                self.faults.remove(fault)
                for byte in _frame(data, opcode=wire.kind.value, final=True):
                    await wire.write(bytes([byte]))
            case Cut(at=at) if at == number and data:
                self.faults.remove(fault)
                whole = _frame(data, opcode=wire.kind.value, final=True)
                await wire.write(whole[: len(whole) // 2])
                assert wire.request.transport is not None
                wire.request.transport.close()
                return True
            case Stall(after=after) if after == number:
                self.faults.remove(fault)
                await self._closing.wait()
                return True
            case EndWith(after=after, error=error) if after == number:
                self.faults.remove(fault)
                await wire.ws.send_str(json.dumps({"$type": "error", "error": error, "message": "scripted"}))
                await wire.ws.close(code=1008)
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


@dataclass(kw_only=True)
class _Wire:
    """One connection. ``packing``: the dictionary, or nothing for plain text. What is left of the ``past`` comes first,
    then what there is from ``seq`` on.
    """

    request: web.Request
    ws: web.WebSocketResponse
    version: int
    packing: bytes
    fault: Fault | None
    seq: int
    past: list[Event] = field(default_factory=list)

    @property
    def by_time(self) -> bool:
        return int(self.request.query.get("cursor", 0)) >= TIME_CURSORS_FROM

    def wants(self, event: Event) -> bool:
        query = self.request.query
        collections = query.getall("wantedCollections", []) + query.getall("collections", [])
        kinds = query.getall("kinds", [])
        if (kinds and event.kind not in kinds) or (event.kind == "sync" and not kinds):
            return False
        return event.kind != "commit" or not collections or event.body["collection"] in collections

    @property
    def kind(self) -> WSMsgType:
        return WSMsgType.BINARY if self.packing else WSMsgType.TEXT

    def frame(self, event: Event) -> bytes:
        data = event.v1() if self.version == 1 else event.v2()
        return pack(data, self.packing) if self.packing else data

    async def send(self, data: bytes) -> None:
        await self.ws._writer.send_frame(data, self.kind)  # type: ignore[union-attr]

    async def write(self, raw: bytes) -> None:
        """Past aiohttp, which only sends whole frames."""
        assert self.request.transport is not None
        self.request.transport.write(raw)
        await asyncio.sleep(0)


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
