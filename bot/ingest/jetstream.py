"""Bluesky's Jetstream: one WebSocket that never ends, resumed by cursor, over one host or several. No key is needed.

Protocol 1 is ``/subscribe``, protocol 2 ``/xrpc/network.bsky.jetstream.subscribeEvents``; the URL's path says which.
How it goes on after a break, and what a gap is: ``jetstream_position``. What happened to stored posts in a gap:
``bluesky_recheck``, which asks beside the reading; what it finds comes between two frames.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import msgspec
import structlog
from yarl import URL

from bot.domain import errors, post
from bot.ingest import addresses, elapsed, jetstream_compression, jetstream_frames, jetstream_hosts, trouble
from bot.ingest.bluesky_recheck import Asking, Kept
from bot.ingest.jetstream_compression import Dictionary, DictionaryError
from bot.ingest.jetstream_connection import Connection
from bot.ingest.jetstream_frames import COLLECTION, BadFrameError, ErrorNotice, Frame
from bot.ingest.jetstream_hosts import Hosts
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
DIRECTORY = "https://plc.directory"
REFUSED = "check the source's url: its path is /subscribe or /xrpc/network.bsky.jetstream.subscribeEvents"
UNPACKED = "nothing is lost, the stream goes on without compression"

log = structlog.get_logger()


class JetstreamSource:
    """Posts, deletions and gaps of Bluesky's public stream, for ever; it never gives up.

    ``urls`` is one address or a list to fail over along; ``heartbeat_s`` is for how long it may be silent.
    ``compress`` asks for zstd, for which protocol 1 needs the file ``dictionary``. ``appview`` is whom to ask again
    about stored posts, empty for nobody; ``directory`` says where their authors' own servers are.
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
        appview: str = "",
        directory: str = DIRECTORY,
        heartbeat_s: float = HEARTBEAT_S,
        rng: random.Random | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = elapsed.seconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises UsageError where ``urls`` holds no ws:// or wss:// address, and ``appview`` or ``directory`` none of
        a server."""
        self.name = name
        self.provider = provider
        self.health = SourceHealth(continuous=True)
        self._urls = [addresses.websocket(name, url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not self._urls:
            raise errors.UsageError(f"source {name}: no url is given; leave the setting out for Bluesky's own servers")
        self._compress = compress
        self._dictionary = self._read(dictionary) if compress else None
        self._appview = addresses.server(name, appview).with_query(None) if appview else None
        self._directory = addresses.server(name, directory).with_query(None)
        self._kept: Kept | None = None
        self._heartbeat_s = heartbeat_s
        self._rng = rng or random.Random()
        self._clock = clock
        self._monotonic = monotonic
        self._present = Present(clock, monotonic)
        self._sleep = sleep

    def recheck(self, kept: Kept | None) -> None:
        """From the next reading on ask again about the posts that are kept, where there is an AppView to ask."""
        self._kept = kept if self._appview is not None else None

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        stream = Stream(self.name, None if after is None else Position.parse(after), several=len(self._urls) > 1)
        hosts = Hosts(self._urls, self._rng, self._monotonic)
        plain = False  # the next connection without compression
        refusals = _Refusals()
        asking = self._asking()
        asking.everyone()
        async with asking.going(), aiohttp.ClientSession(middlewares=(refusals,)) as session:
            while True:
                url, host = hosts.url, jetstream_hosts.name(hosts.url)
                connected_at, dictionary = None, None
                self.health.state = State.CONNECTING
                if asking.waiting:
                    for arrival in self._gone(stream, asking):
                        yield arrival
                try:
                    if self._compress and not plain:
                        dictionary = await self._usable(session, url)
                    plain = False
                    async with self._connected(session, url, stream, dictionary) as connection:
                        connected_at = self._monotonic()
                        while True:
                            message = await connection.receive()
                            if message is not None:
                                for arrival in self._take(stream, connection, message, asking):
                                    yield arrival
                            if asking.waiting:
                                for arrival in self._gone(stream, asking):
                                    yield arrival
                except AskAgainError:
                    continue
                except DictionaryError as error:
                    self._note_plain(f"{host} {error}", UNPACKED)
                    plain = True
                    continue
                except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
                    if _refused(error, refusals, TOO_OLD) and stream.ask_less():
                        continue
                    if plain := dictionary is not None and _refused(error, refusals, UNKNOWN_DICTIONARY):
                        self._note_plain(f"{host} no longer knows the dictionary that it gave", UNPACKED)
                        continue
                    found = trouble.of(error, host, self._clock(), refused=refusals.advice)
                wait_s = hosts.next(self._healthy_s(connected_at), found.retry_after_s)
                trouble.waiting(self.name, self.health, found, wait_s, self._clock())
                await self._sleep(wait_s)
                self.health.reconnects += connected_at is not None

    def _asking(self) -> Asking:
        return Asking(
            self.name,
            self._kept,
            self._appview or URL(),
            self._directory,
            health=self.health,
            clock=self._clock,
            monotonic=self._monotonic,
            sleep=self._sleep,
        )

    def _gone(self, stream: Stream, asking: Asking) -> Sequence[post.Arrival]:
        """Deletions of what is found to be gone: at the place, and of the time, that the stream has come to."""
        if (here := stream.here) is None:
            return ()
        at, now = jetstream_frames.from_us(here.time_us), self._clock()
        return [
            post.Arrival(
                source=self.name,
                cursor=here.cursor,
                item=post.Deletion(provider=self.provider, id=uri, deleted_at=now),
                at=at,
            )
            for uri in asking.take()
        ]

    async def _usable(self, session: aiohttp.ClientSession, url: URL) -> Dictionary | None:
        if jetstream_hosts.is_v2(url):
            return await jetstream_compression.fetch(session, url, CONNECT_S)
        return self._dictionary

    @contextlib.asynccontextmanager
    async def _connected(
        self, session: aiohttp.ClientSession, url: URL, stream: Stream, dictionary: Dictionary | None
    ) -> AsyncIterator[Connection]:
        host, v2 = jetstream_hosts.name(url), jetstream_hosts.is_v2(url)
        cursor = stream.ask(host, self._clock(), by_number=v2)
        async with asyncio.timeout(CONNECT_S):
            ws = await session.ws_connect(
                _request(url, cursor, dictionary, syncs=self._kept is not None),
                protocols=("xrpc.v1.json",) if v2 else (),
                timeout=aiohttp.ClientWSTimeout(ws_receive=None, ws_close=min(CLOSE_S, self._heartbeat_s)),
                autoping=False,
                autoclose=False,
                max_msg_size=MAX_MESSAGE,
                decode_text=False,
            )
        connection = Connection(ws, url, dictionary, self._heartbeat_s, self.provider)
        try:
            self.health.state = State.LIVE
            stream.connected(self._clock())
            packed = dictionary is not None
            log.info("source_connected", source=self.name, host=host, resumed=stream.asked_back, compressed=packed)
            yield connection
        finally:
            connection.watch.stop()
            await ws.close()

    def _take(
        self, stream: Stream, connection: Connection, message: aiohttp.WSMessage, asking: Asking
    ) -> Sequence[post.Arrival]:
        now = self._clock()
        try:
            event = connection.read(message, now)
        except BadFrameError as error:
            trouble.dropped(self.name, self.health, str(error))
            return ()
        if isinstance(event, Frame):
            dated = None
            if self._present.precedes(event.at, now):
                self._note_ahead(connection)
                dated = jetstream_frames.dated(event, now)
            skipped, arrivals = stream.skipped, stream.take(event, connection.host, dated=dated)
            self.health.skipped += stream.skipped - skipped
            if arrivals and isinstance(arrivals[0].item, post.Gap):
                asking.everyone()
            if event.synced is not None:
                asking.author(event.synced)
            return arrivals
        if isinstance(event, ErrorNotice):
            raise trouble.LostError(f"ended the stream with {event.name}")
        log.info("source_notice", source=self.name, notice=event.name)
        stream.heed(event)
        return ()

    def _read(self, path: Path | None) -> Dictionary | None:
        if path is None:
            if not all(map(jetstream_hosts.is_v2, self._urls)):
                self._note_plain(
                    "protocol 1 packs with a dictionary that it does not give", f"set dictionary; {UNPACKED}"
                )
            return None
        try:
            return jetstream_compression.read(path)
        except DictionaryError as error:
            self._note_plain(f"the dictionary {path} {error}", f"set another one; {UNPACKED}")
            return None

    def _note_ahead(self, connection: Connection) -> None:
        """Once for each connection."""
        if connection.ahead:
            return
        connection.ahead = True
        what = f"{connection.host} dates its events in the future"
        remedy = "they are taken as of now, nothing is lost; check this machine's clock, it may be the wrong one"
        self.health.last_error, self.health.remedy = what, remedy
        log.warning("source_ahead", source=self.name, error=what, remedy=remedy)

    def _note_plain(self, what: str, remedy: str) -> None:
        """There is no compression, which costs bytes and nothing else."""
        self.health.last_error, self.health.remedy = what, remedy
        log.warning("source_uncompressed", source=self.name, error=what, remedy=remedy)

    def _healthy_s(self, connected_at: float | None) -> float:
        return 0.0 if connected_at is None else self._monotonic() - connected_at


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


def _request(url: URL, cursor: int | None, dictionary: Dictionary | None, *, syncs: bool) -> URL:
    """``url`` with what we want of it; what else its query asks for stays."""
    query = [(key, value) for key, value in url.query.items() if key not in OURS]
    if jetstream_hosts.is_v2(url):
        query += [("collections", COLLECTION), ("kinds", "commit"), ("kinds", "account")]
        query += [("kinds", "sync")] if syncs else []
    else:
        query.append(("wantedCollections", COLLECTION))
    if dictionary is not None:
        query.append(("zstdDictionary", str(dictionary.id)) if jetstream_hosts.is_v2(url) else ("compress", "true"))
    if cursor is not None:
        query.append(("cursor", str(cursor)))
    return url.with_query(query)


def _refused(error: Exception, refusals: _Refusals, name: str) -> bool:
    return isinstance(error, aiohttp.WSServerHandshakeError) and error.status == 400 and refusals.name == name
