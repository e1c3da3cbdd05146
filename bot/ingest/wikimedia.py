"""Wikimedia's EventStreams: server-sent events of every change on every wiki, of which bursts of edits are told.

A burst corroborates what posts tell. It is a Post of our own words by one author, ``wikimedia:burst``: one voice,
however many articles are changed, so it never makes an event alone.

Resuming. A connection that breaks goes on after its last event id. A restarted process asks for what came since ten
minutes before its cursor, counts it again without telling of anything, and knows from the cursor which bursts it has
told of and still last. So the cursor is a time and these; it moves with the bursts, and each minute by a Mark.

Gaps. Further back than ``FURTHEST`` is not asked for: such a burst is no news, and there are some 30 events a second.
That stretch, or one that the server does not keep any more, is a Gap.

The server ends each connection after 15 minutes; that is no trouble.
"""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import structlog
from yarl import URL

from bot.domain import errors, post, times
from bot.ingest import addresses, backoff, bursts, sse, trouble, wikimedia_frames
from bot.ingest.present import Present
from bot.ingest.source import SourceHealth, State
from bot.ingest.trouble import LostError, Trouble

DEFAULT_URL = "https://stream.wikimedia.org/v2/stream/recentchange"
FURTHEST = timedelta(hours=6)
MARK_EVERY = timedelta(minutes=1)
LATE = timedelta(minutes=2)  # an answer may begin so much later than it was asked to: there is always some edit
SILENT_S = 60.0  # the stream of all wikis is never so quiet
CONNECT_S = 15.0
READ = 64 * 1024  # bytes
NOT_KEPT = "the server did not go back as far as it was asked to"
NOT_ASKED = f"nothing was read for more than {FURTHEST // timedelta(hours=1)} hours"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """``at``: everything up to then was counted. ``told``: page → last edit of the bursts that were told of."""

    at: datetime
    told: dict[str, datetime]

    @property
    def cursor(self) -> str:
        told = {page: times.to_text(last) for page, last in sorted(self.told.items())}
        return msgspec.json.encode({"at": times.to_text(self.at), "told": told}).decode()

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Raises UsageError for a cursor that this source has not written."""
        try:
            raw = msgspec.json.decode(cursor.encode(), type=_Cursor)
            told = {page: times.from_text(last) for page, last in raw.told.items()}
            return cls(at=times.from_text(raw.at), told=told)
        except (msgspec.MsgspecError, ValueError):
            raise errors.UsageError(f"the cursor {cursor!r} is none of Wikimedia's; was the source renamed?") from None


class _Cursor(msgspec.Struct):
    at: str
    told: dict[str, str]


class WikimediaSource:
    """Bursts of edits of articles of ``wikis`` (``enwiki``, …), for ever; it never gives up.

    ``contact``: an e-mail or web address, which Wikimedia asks every program to give.
    """

    live = True

    def __init__(
        self,
        name: str,
        url: str = DEFAULT_URL,
        *,
        wikis: Sequence[str],
        provider: str = wikimedia_frames.PROVIDER,
        contact: str | None = None,
        silent_s: float = SILENT_S,
        rng: random.Random | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.name = name
        self.provider = provider
        self.health = SourceHealth()
        self._url = addresses.server(name, url)
        self._host = self._url.host_port_subcomponent or ""
        self._wikis = frozenset(wikis)
        self._agent = f"Tocsin (self-hosted early warning; {contact or 'no contact set'})"
        self._silent_s = silent_s
        self._rng = rng or random.Random()
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        counting = _Counting(
            self.name, self.provider, self._wikis, self.health, None if after is None else Position.parse(after),
            Present(self._clock, self._monotonic),
        )  # fmt: skip
        waits = backoff.Backoff(self._rng)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=self._silent_s)
        async with aiohttp.ClientSession(timeout=timeout, headers={"User-Agent": self._agent}) as session:
            while True:
                connected_at: float | None = None
                self.health.state = State.CONNECTING
                found: Trouble | None = None
                try:
                    async with session.get(self._asked(counting), headers=counting.headers) as response:
                        response.raise_for_status()
                        connected_at = self._connected(counting)
                        async for event in self._events(response):
                            for arrival in counting.take(event, self._clock()):
                                yield arrival
                    if self._monotonic() - connected_at < backoff.HEALTHY_S:
                        raise LostError("ended the connection at once")
                except (aiohttp.ClientError, OSError, TimeoutError, LostError) as error:
                    counting.heed(error)
                    found = trouble.of(
                        error, self._host, self._clock(),
                        refused="give the source a contact (an e-mail address), and check its url",
                    )  # fmt: skip
                healthy_s = 0.0 if connected_at is None else self._monotonic() - connected_at
                wait_s = waits.after(healthy_s, found.retry_after_s if found else None)
                self.health.state, self.health.retry_at = State.WAITING, None
                if found is not None:
                    trouble.waiting(self.name, self.health, found, wait_s, self._clock())
                await self._sleep(wait_s)
                self.health.reconnects += connected_at is not None

    def _asked(self, counting: "_Counting") -> URL:
        since = counting.since(self._clock())
        return self._url if since is None else self._url.update_query(since=times.to_text(since))

    def _connected(self, counting: "_Counting") -> float:
        self.health.state = State.LIVE
        log.info("source_connected", source=self.name, host=self._host, resumed=counting.resumed)
        return self._monotonic()

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[sse.Event]:
        parser = sse.Parser()
        while chunk := await response.content.read(READ):
            before = parser.dropped
            for event in parser.feed(chunk):
                if not event.comment:
                    yield event
            self.health.dropped += parser.dropped - before


class _Counting:
    """Where one reading of the stream is. No I/O."""

    def __init__(
        self,
        name: str,
        provider: str,
        wikis: Collection[str],
        health: SourceHealth,
        position: Position | None,
        present: Present,
    ) -> None:
        self._name = name
        self._present = present
        self._provider = provider
        self._wikis = wikis
        self._health = health
        self._bursts = bursts.Bursts(None if position is None else position.told)
        self._at = None if position is None else position.at
        self._told_until = self._at  # bursts up to then were told of before and are only counted again
        self._marked_at = self._at
        self._event_id: str | None = None
        self._asked: datetime | None = None  # when it was asked by time, until the answer begins

    @property
    def headers(self) -> dict[str, str]:
        accept = {"Accept": "text/event-stream"}
        return accept if self._event_id is None else accept | {"Last-Event-ID": self._event_id}

    @property
    def resumed(self) -> bool:
        return self._event_id is not None or self._asked is not None

    def since(self, now: datetime) -> datetime | None:
        """From when on to ask; None: from the present, or from the last event id on."""
        if self._event_id is not None or self._at is None:
            return None
        self._asked = now
        return max(self._at, now - FURTHEST) - bursts.WINDOW - bursts.SLACK

    def heed(self, error: BaseException) -> None:
        """A server that does not know our event id any more is asked by time."""
        if isinstance(error, aiohttp.ClientResponseError) and error.status == 400 and self._event_id is not None:
            self._event_id, self._told_until = None, self._at

    def take(self, event: sse.Event, now: datetime) -> list[post.Arrival]:
        try:
            change = wikimedia_frames.decode(event.data, self._wikis)
            if change is not None and self._present.precedes(change.at, now):
                raise wikimedia_frames.BadFrameError("its time lies in the future")
        except wikimedia_frames.BadFrameError as error:
            trouble.dropped(self._name, self._health, str(error))
            return []
        if change is None:
            return []
        found = self._gap(change.at)
        self._event_id = event.id or self._event_id
        self._at = change.at if self._at is None else max(self._at, change.at)
        burst = None if change.edit is None else self._bursts.add(change.edit)
        if burst is not None and (self._told_until is None or burst.at > self._told_until):
            item = wikimedia_frames.to_post(burst, change.domain, provider=self._provider, received_at=now)
            found.append(self._arrival(item, self._at))
        elif self._marked_at is None or self._at - self._marked_at >= MARK_EVERY:
            found.append(self._arrival(post.Mark(), self._at))
        return found

    def _gap(self, first: datetime) -> list[post.Arrival]:
        """Is something missing between where we were and the first event of an answer that was asked for by time?"""
        if self._at is None or self._asked is None:
            return []
        asked_at, self._asked = self._asked, None
        until, reason = asked_at - FURTHEST, NOT_ASKED
        if first - max(self._at, until) > LATE:
            until, reason = first, NOT_KEPT
        elif until <= self._at:
            return []
        gap = post.Gap(since=self._at, until=until, reason=reason)
        log.warning("source_gap", source=self._name, since=gap.since, until=until, reason=reason)
        self._at = self._told_until = until
        return [self._arrival(gap, until)]

    def _arrival(self, item: post.Post | post.Gap | post.Mark, at: datetime) -> post.Arrival:
        self._marked_at = at
        cursor = Position(at=at, told=self._bursts.lasting).cursor
        return post.Arrival(source=self._name, cursor=cursor, item=item, at=at)
