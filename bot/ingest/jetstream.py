"""Bluesky's Jetstream: one WebSocket that never ends, resumed by cursor, over one host or several. No key is needed.

Protocol 1 is ``/subscribe``, protocol 2 ``/xrpc/network.bsky.jetstream.subscribeEvents``; the URL's path says which.
How it goes on after a break, and what a gap is: ``jetstream_position``.

A connection that is silent is pinged; no answer within one more heartbeat, and it is given up. That clock runs only
while we wait for the server, never while the inbox is full and we make the server wait.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import structlog
from yarl import URL

from bot.domain import errors, post
from bot.ingest import addresses, backoff, jetstream_compression, jetstream_frames, trouble
from bot.ingest.jetstream_compression import Dictionary, DictionaryError
from bot.ingest.jetstream_frames import COLLECTION, BadFrameError, ErrorNotice, Frame, Notice
from bot.ingest.jetstream_position import AskAgainError, Position, Stream
from bot.ingest.jetstream_records import PROVIDER
from bot.ingest.present import Present
from bot.ingest.source import SourceHealth, State

HEARTBEAT_S = 30.0  # the servers ping as often
CONNECT_S = 15.0
CLOSE_S = 2.0
MAX_MESSAGE = 16 * 1024 * 1024  # above MAX_FRAME: a big frame is dropped, only an absurd one costs the connection
TOO_OLD, UNKNOWN_DICTIONARY = "CursorTooOld", "UnknownZstdDictionary"
OURS = frozenset({"wantedCollections", "collections", "kinds", "cursor", "compress", "zstdDictionary"})
REFUSED = "check the source's url: its path is /subscribe or /xrpc/network.bsky.jetstream.subscribeEvents"
UNPACKED = "nothing is lost, the stream goes on without compression"

log = structlog.get_logger()

_Socket = aiohttp.ClientWebSocketResponse[Any]


class JetstreamSource:
    """Posts, deletions and gaps of Bluesky's public stream, for ever; it never gives up.

    ``urls`` is one address or a list to fail over along; ``heartbeat_s`` is for how long it may be silent.
    ``compress`` asks for zstd, for which protocol 1 needs the file ``dictionary``.
    """

    live = True

    def __init__(
        self,
        name: str,
        urls: str | Sequence[str],
        *,
        provider: str = PROVIDER,
        compress: bool = False,
        dictionary: Path | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        rng: random.Random | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises UsageError where ``urls`` holds no ws:// or wss:// address."""
        self.name = name
        self.provider = provider
        self.health = SourceHealth(continuous=True)
        self._urls = [addresses.websocket(name, url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not self._urls:
            raise errors.UsageError(f"source {name}: no url is given; leave the setting out for Bluesky's own servers")
        self._compress = compress
        self._dictionary = self._read(dictionary) if compress else None
        self._heartbeat_s = heartbeat_s
        self._rng = rng or random.Random()
        self._clock = clock
        self._monotonic = monotonic
        self._present = Present(clock, monotonic)
        self._sleep = sleep

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        stream = Stream(self.name, None if after is None else Position.parse(after), several=len(self._urls) > 1)
        waits = backoff.Backoff(self._rng)
        which = 0
        plain = False  # the next connection without compression
        refusals = _Refusals()
        async with aiohttp.ClientSession(middlewares=(refusals,)) as session:
            while True:
                url, connected_at, dictionary = self._urls[which], None, None
                self.health.state = State.CONNECTING
                try:
                    if self._compress and not plain:
                        dictionary = await self._usable(session, url)
                    plain = False
                    async with self._connected(session, url, stream, dictionary) as connection:
                        connected_at = self._monotonic()
                        while True:
                            message = await connection.receive()
                            for arrival in self._take(stream, connection, message):
                                yield arrival
                except AskAgainError:
                    continue
                except DictionaryError as error:
                    self._note_plain(f"{_host(url)} {error}", UNPACKED)
                    plain = True
                    continue
                except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
                    if _refused(error, refusals, TOO_OLD) and stream.ask_less():
                        continue
                    if plain := dictionary is not None and _refused(error, refusals, UNKNOWN_DICTIONARY):
                        self._note_plain(f"{_host(url)} no longer knows the dictionary that it gave", UNPACKED)
                        continue
                    found = trouble.of(error, _host(url), self._clock(), refused=refusals.advice)
                wait_s = waits.after(self._healthy_s(connected_at), found.retry_after_s)
                trouble.waiting(self.name, self.health, found, wait_s, self._clock())
                which = (which + 1) % len(self._urls)
                await self._sleep(wait_s)
                self.health.reconnects += connected_at is not None

    async def _usable(self, session: aiohttp.ClientSession, url: URL) -> Dictionary | None:
        return await jetstream_compression.fetch(session, url, CONNECT_S) if _is_v2(url) else self._dictionary

    @contextlib.asynccontextmanager
    async def _connected(
        self, session: aiohttp.ClientSession, url: URL, stream: Stream, dictionary: Dictionary | None
    ) -> AsyncIterator["_Connection"]:
        cursor = stream.ask(_host(url), self._clock(), by_number=_is_v2(url))
        async with asyncio.timeout(CONNECT_S):
            ws = await session.ws_connect(
                _request(url, cursor, dictionary),
                protocols=("xrpc.v1.json",) if _is_v2(url) else (),
                timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=min(CLOSE_S, self._heartbeat_s)),
                autoping=False,
                autoclose=False,
                max_msg_size=MAX_MESSAGE,
                decode_text=False,
            )
        connection = _Connection(ws, url, dictionary, self._heartbeat_s, self.provider)
        try:
            self.health.state = State.LIVE
            stream.connected(self._clock())
            packed = dictionary is not None
            log.info(
                "source_connected", source=self.name, host=_host(url), resumed=stream.asked_back, compressed=packed
            )
            yield connection
        finally:
            connection.watch.stop()
            await ws.close()

    def _take(self, stream: Stream, connection: "_Connection", message: aiohttp.WSMessage) -> Sequence[post.Arrival]:
        now = self._clock()
        try:
            event = connection.read(message, now)
            if isinstance(event, Frame) and self._present.precedes(event.at, now):
                raise BadFrameError("its time lies in the future")
        except BadFrameError as error:
            trouble.dropped(self.name, self.health, str(error))
            return ()
        if isinstance(event, Frame):
            skipped, arrivals = stream.skipped, stream.take(event, connection.host)
            self.health.skipped += stream.skipped - skipped
            return arrivals
        if isinstance(event, ErrorNotice):
            raise trouble.LostError(f"ended the stream with {event.name}")
        log.info("source_notice", source=self.name, notice=event.name)
        stream.heed(event)
        return ()

    def _read(self, path: Path | None) -> Dictionary | None:
        if path is None:
            if not all(map(_is_v2, self._urls)):
                self._note_plain(
                    "protocol 1 packs with a dictionary that it does not give", f"set dictionary; {UNPACKED}"
                )
            return None
        try:
            return jetstream_compression.read(path)
        except DictionaryError as error:
            self._note_plain(f"the dictionary {path} {error}", f"set another one; {UNPACKED}")
            return None

    def _note_plain(self, what: str, remedy: str) -> None:
        """There is no compression, which costs bytes and nothing else."""
        self.health.last_error, self.health.remedy = what, remedy
        log.warning("source_uncompressed", source=self.name, error=what, remedy=remedy)

    def _healthy_s(self, connected_at: float | None) -> float:
        return 0.0 if connected_at is None else self._monotonic() - connected_at


class _Connection:
    """One WebSocket, and how what it sends is read."""

    def __init__(self, ws: _Socket, url: URL, dictionary: Dictionary | None, heartbeat_s: float, provider: str) -> None:
        self.host = _host(url)
        self.watch = _Watch(heartbeat_s)
        self._ws = ws
        self._heartbeat_s = heartbeat_s
        self._decode = jetstream_frames.decode_v2 if _is_v2(url) else jetstream_frames.decode_v1
        self._dictionary = dictionary
        self._provider = provider

    async def receive(self) -> aiohttp.WSMessage:
        """The next data frame. Raises LostError when there will be none."""
        pinged = False
        while True:
            try:
                message = await self.watch.receive(self._ws)
            except TimeoutError:
                if pinged:
                    raise trouble.LostError(f"was silent and answered no ping for {self._heartbeat_s:g} s") from None
                pinged = True
                async with asyncio.timeout(self._heartbeat_s):
                    await self._ws.ping()
                continue
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    return message
                case aiohttp.WSMsgType.PING:
                    async with asyncio.timeout(self._heartbeat_s):
                        await self._ws.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.ERROR:
                    raise trouble.LostError(f"broke the WebSocket protocol (code {self._ws.close_code})")
                case _:
                    raise trouble.LostError(f"closed the connection (code {self._ws.close_code})")
            pinged = False

    def read(self, message: aiohttp.WSMessage, received_at: datetime) -> Frame | Notice | ErrorNotice:
        """Raises BadFrameError, or DictionaryError where the connection is of no use."""
        data = message.data
        if self._dictionary is not None and message.type is aiohttp.WSMsgType.BINARY:
            data = self._dictionary.unpack(data)
        return self._decode(data, received_at, self._provider)


class _Watch:
    """Cuts a wait for the server that takes ``limit_s``.

    One timer for all of them, set anew when it rings: ``asyncio.timeout`` sets and clears one for each wait, which
    takes longer than to decode a post.
    """

    def __init__(self, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._task: asyncio.Task[Any] | None = None
        self._since: float | None = None  # while somebody waits
        self._cancelling: int | None = None  # when it has rung: cancellations that are not ours
        self._timer = self._loop.call_later(limit_s, self._ring)

    async def receive(self, ws: _Socket) -> aiohttp.WSMessage:
        """Raises TimeoutError."""
        self._task, self._since = asyncio.current_task(), self._loop.time()
        try:
            return await ws.receive()
        except asyncio.CancelledError:
            if self._task is not None and self._cancelling is not None and self._task.uncancel() <= self._cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._since = self._cancelling = None

    def stop(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        waited_s = 0.0 if self._since is None else self._loop.time() - self._since
        if waited_s >= self._limit_s and self._task is not None:
            self._cancelling, self._since, waited_s = self._task.cancelling(), None, 0.0
            self._task.cancel()
        self._timer = self._loop.call_later(self._limit_s - waited_s, self._ring)


class _Refusals:
    """A middleware that reads why a server refused us, which aiohttp's own WebSocket error leaves out."""

    def __init__(self) -> None:
        self.name = ""

    @property
    def advice(self) -> str:
        return f"it says {self.name}; {REFUSED}" if self.name.isalnum() and self.name.isascii() else REFUSED

    async def __call__(
        self, request: aiohttp.ClientRequest, proceed: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        self.name = ""
        response = await proceed(request)
        if response.status == 400:
            body = await response.content.read(4096)
            with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                self.name = TOO_OLD if TOO_OLD.encode() in body else msgspec.json.decode(body, type=_Envelope).error
        return response


class _Envelope(msgspec.Struct):
    error: str


def _request(url: URL, cursor: int | None, dictionary: Dictionary | None) -> URL:
    """``url`` with what we want of it; what else its query asks for stays."""
    query = [(key, value) for key, value in url.query.items() if key not in OURS]
    if _is_v2(url):
        query += [("collections", COLLECTION), ("kinds", "commit"), ("kinds", "account")]
    else:
        query.append(("wantedCollections", COLLECTION))
    if dictionary is not None:
        query.append(("zstdDictionary", str(dictionary.id)) if _is_v2(url) else ("compress", "true"))
    if cursor is not None:
        query.append(("cursor", str(cursor)))
    return url.with_query(query)


def _host(url: URL) -> str:
    """Host and port, without what else an address may hold."""
    return url.host_port_subcomponent or ""


def _is_v2(url: URL) -> bool:
    return url.path.rstrip("/").endswith("subscribeEvents")


def _refused(error: Exception, refusals: _Refusals, name: str) -> bool:
    return isinstance(error, aiohttp.WSServerHandshakeError) and error.status == 400 and refusals.name == name
