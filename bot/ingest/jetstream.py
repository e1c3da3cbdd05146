"""Bluesky's Jetstream: one WebSocket that never ends, resumed by cursor, over one host or several. No key is needed.

Protocol 1 is ``/subscribe``, protocol 2 ``/xrpc/network.bsky.jetstream.subscribeEvents``; the URL's path says which.

Resuming. A v1 cursor is a time: we go back 5 s (60 s at another host, whose clock and lag are its own) and drop what
we have seen. A v2 cursor is a number of one host: there we go on exactly after it; at another host, or where the number
is too old or unknown, we go back by time, which v2 accepts as well. A restarted process has seen nothing yet, so with
v1 it repeats up to 5 s (60 s with several hosts) of posts; the store knows them by their ids.

Gaps. Servers keep some 36 hours. v2 says when it cannot go back so far, v1 does not: there, a cursor older than that,
or an answer that begins well after the last event that we had, is a gap, because that event itself was asked for again.
A gap runs from that event to the first one of the answer. It is an item like any other, so that it is recorded with the
cursor that passes it.

A connection that is silent is pinged; no answer within one more heartbeat, and it is given up. That clock runs only
while we wait for the server, never while the inbox is full and we make the server wait.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, assert_never

import aiohttp
import msgspec
import structlog
from yarl import URL

from bot.domain import errors, post
from bot.ingest import backoff, jetstream_frames
from bot.ingest.jetstream_frames import COLLECTION, PROVIDER, BadFrameError, ErrorNotice, Frame, Notice
from bot.ingest.source import SourceHealth, State

DEFAULT_URLS = (
    "wss://jetstream2.us-east.bsky.network/subscribe",
    "wss://jetstream1.us-west.bsky.network/subscribe",
)
REWIND = timedelta(seconds=5)
REWIND_ELSEWHERE = timedelta(seconds=60)
KEPT = timedelta(hours=36)  # how far back Bluesky's own servers go
SEEN = 131_072  # event keys remembered: REWIND_ELSEWHERE at some 2,000 posts a second
HEARTBEAT_S = 30.0  # the servers ping as often
CONNECT_S = 15.0
CLOSE_S = 2.0
MAX_MESSAGE = 16 * 1024 * 1024  # above MAX_FRAME: a big frame is dropped, only an absurd one costs the connection
LONGEST_RETRY_AFTER_S = 3600.0
TOO_OLD = "CursorTooOld"

log = structlog.get_logger()

_Socket = aiohttp.ClientWebSocketResponse[Any]


@dataclass(frozen=True, slots=True)
class Position:
    """Right after which event. ``seq`` counts at ``host`` only; ``time_us`` is that host's time.

    As a cursor: v1 ``1783175888085434``, v2 ``host:seq:time_us``. ``seen`` is False for the moment of the first
    connection, from which we go on if it breaks before its first event.
    """

    time_us: int
    host: str | None = None
    seq: int | None = None
    seen: bool = True

    @property
    def cursor(self) -> str:
        return str(self.time_us) if self.seq is None else f"{self.host}:{self.seq}:{self.time_us}"

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Raises UsageError for a cursor that no version of this source has written."""
        head, _, time_us = cursor.rpartition(":")
        host, _, seq = head.rpartition(":")
        try:
            jetstream_frames.from_us(int(time_us))
            if head and not host:
                raise ValueError
            return cls(int(time_us), host, int(seq)) if head else cls(int(time_us))
        except (ValueError, OverflowError):
            raise errors.UsageError(f"the cursor {cursor!r} is none of Jetstream's; was the source renamed?") from None


class JetstreamSource:
    """Posts, deletions and gaps of Bluesky's public stream, for ever; it never gives up.

    ``urls`` is one address or a list to fail over along; ``heartbeat_s`` is for how long it may be silent.
    """

    live = True

    def __init__(
        self,
        name: str,
        urls: str | Sequence[str] = DEFAULT_URLS,
        *,
        provider: str = PROVIDER,
        heartbeat_s: float = HEARTBEAT_S,
        rng: random.Random | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises UsageError where ``urls`` holds no ws:// or wss:// address."""
        self.name = name
        self.provider = provider
        self.health = SourceHealth()
        self._urls = [_checked(name, url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not self._urls:
            raise errors.UsageError(f"source {name}: no url is given; leave the setting out for Bluesky's own servers")
        self._heartbeat_s = heartbeat_s
        self._rng = rng or random.Random()
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        stream = _Stream(self.name, None if after is None else Position.parse(after), several=len(self._urls) > 1)
        waits = backoff.Backoff(self._rng)
        which = 0
        refusals = _Refusals()
        async with aiohttp.ClientSession(middlewares=(refusals,)) as session:
            while True:
                url = self._urls[which]
                connected_at: float | None = None
                self.health.state = State.CONNECTING
                try:
                    async with self._connected(session, url, stream) as ws:
                        connected_at = self._monotonic()
                        while True:
                            data = await self._receive(ws)
                            for arrival in self._take(stream, url, data):
                                yield arrival
                except _AskAgainError:
                    continue
                except (aiohttp.ClientError, OSError, TimeoutError, _LostError) as error:
                    if _cursor_refused(error, refusals.name) and stream.ask_less():
                        continue
                    trouble = _trouble(error, url, refusals.name, self._clock())
                healthy_s = 0.0 if connected_at is None else self._monotonic() - connected_at
                wait_s = waits.after(healthy_s, trouble.retry_after_s)
                self._note(trouble, wait_s)
                which = (which + 1) % len(self._urls)
                await self._sleep(wait_s)
                self.health.reconnects += connected_at is not None

    @contextlib.asynccontextmanager
    async def _connected(self, session: aiohttp.ClientSession, url: URL, stream: "_Stream") -> AsyncIterator[_Socket]:
        async with asyncio.timeout(CONNECT_S):
            ws = await session.ws_connect(
                stream.request(url, self._clock()),
                protocols=("xrpc.v1.json",) if _is_v2(url) else (),
                timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=min(CLOSE_S, self._heartbeat_s)),
                autoping=False,
                max_msg_size=MAX_MESSAGE,
                decode_text=False,
            )
        try:
            self.health.state = State.LIVE
            stream.connected(self._clock())
            log.info("source_connected", source=self.name, host=_host(url), resumed=stream.asked_back)
            yield ws
        finally:
            await ws.close()

    async def _receive(self, ws: _Socket) -> bytes:
        """The next data frame. Raises _LostError when there will be none."""
        pinged = False
        while True:
            try:
                message = await ws.receive(timeout=self._heartbeat_s)
            except TimeoutError:
                if pinged:
                    raise _LostError(f"was silent and answered no ping for {self._heartbeat_s:g} s") from None
                pinged = True
                async with asyncio.timeout(self._heartbeat_s):
                    await ws.ping()
                continue
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    # We ask for no compression. Where we do, this is the place to unpack a binary frame.
                    return bytes(message.data)
                case aiohttp.WSMsgType.PING:
                    async with asyncio.timeout(self._heartbeat_s):
                        await ws.pong(message.data)
                case aiohttp.WSMsgType.PONG:
                    pass
                case aiohttp.WSMsgType.ERROR:
                    raise _LostError(f"broke the WebSocket protocol (code {ws.close_code})")
                case _:
                    raise _LostError(f"closed the connection (code {ws.close_code})")
            pinged = False

    def _take(self, stream: "_Stream", url: URL, data: bytes) -> list[post.Arrival]:
        try:
            decode = jetstream_frames.decode_v2 if _is_v2(url) else jetstream_frames.decode_v1
            event = decode(data, self._clock())
        except BadFrameError as error:
            self.health.dropped += 1
            if self.health.dropped == 1:
                log.warning("frame_dropped", source=self.name, reason=str(error), more="are counted only")
            return []
        match event:
            case Frame():
                arrivals = stream.take(event, _host(url))
                self.health.gaps += sum(isinstance(arrival.item, post.Gap) for arrival in arrivals)
                return arrivals
            case Notice():
                log.info("source_notice", source=self.name, notice=event.name)
                stream.heed(event)
                return []
            case ErrorNotice():
                raise _LostError(f"ended the stream with {event.name}")
            case _:
                assert_never(event)

    def _note(self, trouble: "_Trouble", wait_s: float) -> None:
        self.health.state = State.WAITING
        self.health.last_error = trouble.what
        self.health.remedy = trouble.remedy
        log.warning(
            "source_disconnected",
            source=self.name,
            error=trouble.what,
            remedy=trouble.remedy,
            retry_in_s=round(wait_s, 1),
        )


class _Stream:
    """Where one reading of the stream is: its position, what it has seen, and what it doubts. No I/O, no clock."""

    def __init__(self, name: str, position: Position | None, *, several: bool) -> None:
        self._name = name
        self._position = position
        self._several = several
        self._seen = _Seen(SEEN)
        self._too_old = 0  # how often the server refused to go back so far, since it last sent anything
        self._begun = False  # has this connection sent an event?
        self._tolerance = timedelta(0)
        self._doubt: str | None = None  # why we know that something is missing
        self.asked_back = False

    def request(self, url: URL, now: datetime) -> URL:
        """The address that goes on where we are; called once for each connection."""
        query = dict.fromkeys(("wantedCollections", "collections", "kinds", "cursor"))
        kept = [(key, value) for key, value in url.query.items() if key not in query]
        if _is_v2(url):
            kept += [("collections", COLLECTION), ("kinds", "commit"), ("kinds", "account")]
        else:
            kept.append(("wantedCollections", COLLECTION))
        cursor = self._cursor(url, now)
        self._begun = False
        self._doubt = "the server no longer keeps what followed" if self._too_old else None
        self.asked_back = cursor is not None
        return url.with_query([*kept, ("cursor", str(cursor))] if cursor is not None else kept)

    def _cursor(self, url: URL, now: datetime) -> int | None:
        position = self._position
        if position is None:
            return None
        here = position.host == _host(url)
        if _is_v2(url) and here and position.seq is not None and self._too_old == 0:
            return position.seq
        if self._too_old > 1:
            return None
        somewhere = here or (position.host is None and not self._several)
        overdue = now - jetstream_frames.from_us(position.time_us) > KEPT
        rewind = REWIND if somewhere else REWIND_ELSEWHERE
        self._tolerance = timedelta(0) if overdue else rewind
        return max(position.time_us - rewind // timedelta(microseconds=1), 0)

    def connected(self, now: datetime) -> None:
        if self._position is None:
            self._position = Position(round(now.timestamp() * 1_000_000), seen=False)

    def ask_less(self) -> bool:
        """The server refused our cursor as too old: by time then, at last for the present. False: nothing is left."""
        if self._position is None or self._too_old > 1:
            return False
        self._too_old += 2 if self._position.seq is None or self._too_old else 1
        return True

    def heed(self, notice: Notice) -> None:
        if notice.name == "OutdatedCursor":
            self._doubt = "the server no longer keeps what followed"
        elif notice.name == "FutureCursor" and self._position is not None and self._position.seq is not None:
            # Another archive under the same name: its numbers mean nothing to us, its times do.
            self._position = replace(self._position, host="", seq=None)
            raise _AskAgainError

    def take(self, frame: Frame, host: str) -> list[post.Arrival]:
        """What ``frame`` adds, a gap before it included; nothing where we have seen it."""
        before = self._position
        first, self._begun = not self._begun, True
        if before is not None and before.host == host and before.seq and frame.seq and frame.seq <= before.seq:
            return []
        arrivals = self._gap(before, frame, host) if first else []
        self._too_old = 0
        self._position = position = _moved(before, frame, host)
        if frame.items and (frame.key is None or self._seen.add(frame.key)):
            halfway = position if frame.seq is None else replace(position, seq=frame.seq - 1)
            last = len(frame.items) - 1
            for number, item in enumerate(frame.items):
                cursor = (position if number == last else halfway).cursor
                arrivals.append(post.Arrival(source=self._name, cursor=cursor, item=item, at=frame.at))
        return arrivals

    def _gap(self, before: Position | None, frame: Frame, host: str) -> list[post.Arrival]:
        """Is something missing between where we were and the first event of this connection?"""
        if before is None or not before.seen or not (self.asked_back or self._doubt):
            return []
        missing = timedelta(microseconds=frame.time_us - before.time_us)
        by_number = frame.seq is not None and before.seq is not None and before.host == host and not self._doubt
        if by_number or missing <= (timedelta(0) if self._doubt else self._tolerance):
            return []
        gap = post.Gap(
            since=jetstream_frames.from_us(before.time_us),
            until=frame.at,
            reason=self._doubt or "the server did not go back as far as it was asked to",
        )
        log.warning("source_gap", source=self._name, since=gap.since, until=gap.until, reason=gap.reason)
        passed = Position(frame.time_us, host, None if frame.seq is None else frame.seq - 1)
        return [post.Arrival(source=self._name, cursor=passed.cursor, item=gap, at=frame.at)]


def _moved(before: Position | None, frame: Frame, host: str) -> Position:
    """Right after ``frame``. By time we never go back: events may arrive some milliseconds out of order, and while an
    other host still repeats what we had, we are where the first one left us.
    """
    if frame.seq is None and before is not None and before.seen and frame.time_us < before.time_us:
        return before
    return Position(frame.time_us, host, frame.seq)


class _Seen:
    """The last ``size`` keys."""

    def __init__(self, size: int) -> None:
        self._keys: set[str] = set()
        self._order: deque[str] = deque()
        self._size = size

    def add(self, key: str) -> bool:
        """Is ``key`` new?"""
        if key in self._keys:
            return False
        self._keys.add(key)
        self._order.append(key)
        if len(self._order) > self._size:
            self._keys.discard(self._order.popleft())
        return True


class _Refusals:
    """A middleware that reads why a server refused us, which aiohttp's own WebSocket error leaves out."""

    def __init__(self) -> None:
        self.name = ""

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


class _LostError(Exception):
    """The connection is over; the message is the predicate of a sentence about the server."""


class _AskAgainError(Exception):
    """Connect again at once: the stream has another question."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trouble:
    what: str
    remedy: str
    retry_after_s: float | None = None


def _checked(name: str, text: str) -> URL:
    try:
        url = URL(text)
    except ValueError:
        url = URL()
    if url.scheme not in ("ws", "wss") or not url.host:
        raise errors.UsageError(f"source {name}: url {text!r} is no WebSocket address; it begins with wss:// or ws://")
    return url


def _host(url: URL) -> str:
    """Host and port, without what else an address may hold."""
    return url.host_port_subcomponent or ""


def _is_v2(url: URL) -> bool:
    return url.path.rstrip("/").endswith("subscribeEvents")


def _cursor_refused(error: Exception, name: str) -> bool:
    return isinstance(error, aiohttp.WSServerHandshakeError) and error.status == 400 and name == TOO_OLD


def _trouble(error: Exception, url: URL, refusal: str, now: datetime) -> _Trouble:
    """The sentence for a person about what ended or prevented a connection."""
    host = _host(url)
    keeps = "nothing to do, it connects again by itself"
    match error:
        case _LostError():
            return _Trouble(what=f"{host} {error}", remedy=keeps)
        case aiohttp.WSServerHandshakeError(status=429):
            return _Trouble(
                what=f"{host} says that we connect too often (429)",
                remedy="wait; if it stays, look for another Tocsin behind the same address or set another url",
                retry_after_s=_retry_after_s(error.headers, now),
            )
        case aiohttp.WSServerHandshakeError(status=status) if status >= 500:
            return _Trouble(
                what=f"{host} is out of order ({status})",
                remedy="wait, or add a second url to fail over to",
                retry_after_s=_retry_after_s(error.headers, now),
            )
        case aiohttp.WSServerHandshakeError():
            why = f"{error.status} {refusal}" if refusal.isalnum() else str(error.status)
            return _Trouble(
                what=f"{host} refused the connection ({why})",
                remedy="check the source's url: its path is /subscribe or /xrpc/network.bsky.jetstream.subscribeEvents",
            )
        case aiohttp.ClientSSLError():
            return _Trouble(
                what=f"{host} offered no encryption that can be trusted ({type(error).__name__})",
                remedy="check this machine's clock and certificates, and whether a proxy stands in between",
            )
        case aiohttp.ClientConnectorDNSError():
            return _Trouble(what=f"the name {host} cannot be resolved", remedy="check the network, its DNS and the url")
        case TimeoutError():
            return _Trouble(what=f"{host} did not answer in time", remedy="check the network, or set another url")
        case _:
            return _Trouble(
                what=f"{host} cannot be reached ({type(error).__name__})",
                remedy="check the network, or set another url",
            )


def _retry_after_s(headers: Any, now: datetime) -> float | None:
    """``Retry-After`` in either of its forms, at most an hour; None where there is none that makes sense."""
    text = (headers or {}).get("Retry-After", "")
    try:
        seconds = float(text) if text.isdigit() else (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)
