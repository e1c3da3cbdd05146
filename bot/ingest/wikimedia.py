"""Wikimedia's EventStreams: server-sent events of every change on every wiki, of which bursts of edits are told.

A burst corroborates what posts tell. It is a Post of our own words by one author, ``wikimedia:burst``: one voice,
however many articles are changed, so it never makes an event alone.

Resuming. A connection that breaks goes on after its last event id. A restarted process asks for what came since ten
minutes before its cursor, counts it again, and knows from the cursor which bursts it has told of and still last. So
the cursor is a time and these; it moves with the bursts, and each minute by a Mark.

Gaps. Further back than ``FURTHEST`` is not asked for: such a burst is no news, and there are some 30 events a second.
That stretch is a Gap, and so is one that the server does not keep any more, or in which all its times were wrong: an
event whose time lies ahead of us, or long before those that came already, cannot be counted. It may have been our clock
that was wrong, so the server is asked for these once more before they are given up.

Where several in a row lie long before what came already, and our clock says that this was ahead or nothing else comes
for ``BELIEVED_S``, then what came already was wrong. The counting goes on from their time, after a Gap which has no
beginning unless that is known.

The server ends each connection after 15 minutes; that is no trouble.
"""

import asyncio
import contextlib
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import aiohttp
import msgspec
import structlog

from bot.domain import errors, post, times
from bot.ingest import addresses, backoff, bursts, elapsed, sse, trouble, wikimedia_frames
from bot.ingest.present import AHEAD, Present
from bot.ingest.source import SourceHealth, State
from bot.ingest.trouble import LostError, Trouble

DEFAULT_URL = "https://stream.wikimedia.org/v2/stream/recentchange"
FURTHEST = timedelta(hours=6)
MARK_EVERY = timedelta(minutes=1)
LATE = timedelta(minutes=2)  # an answer may begin so much later than it was asked to: there is always some edit
BEHIND = bursts.WINDOW + bursts.SLACK + LATE  # whatever is so much older than what came before cannot be counted
SEVERAL = 5  # events in a row: one may have any time
BELIEVED_S = 3 * 3600.0
SILENT_S = 60.0  # the stream of all wikis is never so quiet, whatever heartbeats it sends
MOST_ID = 8 * 1024  # bytes of an event id; it goes back in a header
CONNECT_S = 15.0
READ = 64 * 1024  # bytes
NOT_KEPT = "the server did not go back as far as it was asked to"
NOT_PLACED = "the server's times were wrong"
WAS_AHEAD = "an event's time was ahead, and what came after it was not counted"
NOT_ASKED = f"nothing was read for more than {FURTHEST // timedelta(hours=1)} hours"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """``at``: everything up to then was counted. ``told``: page → last edit of the bursts that were told of.
    ``untold``: bursts up to then lie in a gap and are not told."""

    at: datetime
    told: dict[str, datetime]
    untold: datetime | None = None

    @property
    def cursor(self) -> str:
        told = {page: times.to_text(last) for page, last in sorted(self.told.items())}
        untold = None if self.untold is None else times.to_text(self.untold)
        return msgspec.json.encode(_Cursor(at=times.to_text(self.at), told=told, untold=untold)).decode()

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Raises UsageError for a cursor that this source has not written."""
        try:
            raw = msgspec.json.decode(cursor.encode(), type=_Cursor)
            told = {page: times.from_text(last) for page, last in raw.told.items()}
            untold = None if raw.untold is None else times.from_text(raw.untold)
            return cls(at=times.from_text(raw.at), told=told, untold=untold)
        except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError):
            raise errors.UsageError(f"the cursor {cursor!r} is none of Wikimedia's; was the source renamed?") from None


class _Cursor(msgspec.Struct, omit_defaults=True):
    at: str
    told: dict[str, str]
    untold: str | None = None


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
        connector: Callable[[], aiohttp.BaseConnector] = aiohttp.TCPConnector,
        rng: random.Random | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = elapsed.seconds,
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
        self._connector = connector
        self._rng = rng or random.Random()
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        counting = _Counting(
            self.name, self.provider, self._wikis, self.health, None if after is None else Position.parse(after),
            Present(self._clock, self._monotonic), self._monotonic,
        )  # fmt: skip
        waits = backoff.Backoff(self._rng)
        async with self._session() as session:
            while True:
                connected_at: float | None = None
                self.health.state = State.CONNECTING
                found: Trouble | None = None
                try:
                    async with self._answer(session, counting) as response:
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
                if found is not None:
                    trouble.waiting(self.name, self.health, found, wait_s, self._clock())
                await self._sleep(wait_s)
                self.health.reconnects += connected_at is not None

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._connector(),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": self._agent},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S, sock_read=self._silent_s),
        )

    @contextlib.asynccontextmanager
    async def _answer(
        self, session: aiohttp.ClientSession, counting: "_Counting"
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A stream of events. Redirects are not followed: who has moved is for the operator to see."""
        since = counting.ask(self._clock())
        url = self._url if since is None else self._url.update_query(since=times.to_text(since))
        async with session.get(url, headers=counting.headers, allow_redirects=False) as response:
            if response.status != 200:
                raise aiohttp.ClientResponseError(
                    response.request_info, (), status=response.status, headers=response.headers
                )
            if response.content_type != "text/event-stream":
                raise LostError("answered with something else than a stream of events")
            yield response
            response.close()

    def _connected(self, counting: "_Counting") -> float:
        self.health.state = State.LIVE
        log.info("source_connected", source=self.name, host=self._host, resumed=counting.resumed)
        return self._monotonic()

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncIterator[sse.Event]:
        """Raises TimeoutError where no event comes for ``silent_s``, whatever else does."""
        parser = sse.Parser()
        loop = asyncio.get_running_loop()
        silent_at = loop.time() + self._silent_s
        while True:
            async with asyncio.timeout_at(silent_at):
                chunk = await response.content.read(READ)
            if not chunk:
                return
            before, heard = parser.dropped, False
            for event in parser.feed(chunk):
                if not event.comment:
                    heard = True
                    yield event
            if heard:
                silent_at = loop.time() + self._silent_s
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
        monotonic: Callable[[], float],
    ) -> None:
        self._name = name
        self._monotonic = monotonic
        self._present = present
        self._provider = provider
        self._wikis = wikis
        self._health = health
        self._at = None if position is None else position.at
        self._untold = None if position is None else position.untold
        self._bursts = bursts.Bursts(None if position is None else position.told, now=self._at)
        self._marked_at = self._at
        self._event_id: str | None = None
        self._began = False  # something of the present answer was counted
        self._asked: datetime | None = None  # what follows that was asked for, where it was asked by time
        self._theirs: datetime | None = None  # what the server took for the present when our clock was ahead
        self._unplaced = False  # something had a wrong time since the last event that was counted
        self._asked_again = False
        self._behind: deque[datetime] = deque(maxlen=SEVERAL)  # the last times in a row that lay far behind
        self._behind_s = 0.0  # since when
        self._leapt_from: datetime | None = None  # where it was when an event's time led it far ahead at once
        self._put_back = False  # what came already was wrong, and the gap is still to be told

    @property
    def headers(self) -> dict[str, str]:
        accept = {"Accept": "text/event-stream"}
        return accept if self._event_id is None else accept | {"Last-Event-ID": self._event_id}

    @property
    def resumed(self) -> bool:
        return self._event_id is not None or self._asked is not None

    def ask(self, now: datetime) -> datetime | None:
        """From when on to ask; None: from the present, or from the last event id on."""
        self._began = self._unplaced = False
        self._asked = None
        if self._at is None:
            return None
        furthest = (now if self._theirs is None else min(now, self._theirs)) - FURTHEST
        if self._event_id is not None and self._at >= furthest:
            return None
        self._event_id = None
        self._asked = max(self._at, furthest)
        return self._asked - bursts.WINDOW - bursts.SLACK

    def heed(self, error: BaseException) -> None:
        """A server that does not know our event id any more, or does not want it, is asked by time."""
        if isinstance(error, aiohttp.ClientResponseError) and error.status in (400, 413, 431):
            self._event_id = None

    def take(self, event: sse.Event, now: datetime) -> list[post.Arrival]:
        """Raises LostError where the server is to be asked again."""
        try:
            change = wikimedia_frames.decode(event.data, self._wikis)
            if change is not None:
                self._place(change.at, now)
        except wikimedia_frames.BadFrameError as error:
            trouble.dropped(self._name, self._health, str(error))
            return []
        if change is None:
            return []
        found = self._gap(change.at)
        self._event_id = event.id if _goes_back(event.id) else None
        at = self._advance(change.at)
        burst = None if change.edit is None else self._bursts.add(change.edit)
        if burst is not None and (self._untold is None or burst.at > self._untold):
            item = wikimedia_frames.to_post(burst, change.domain, provider=self._provider, received_at=now)
            found.append(self._arrival(item, at))
        elif self._marked_at is None or at - self._marked_at >= MARK_EVERY:
            found.append(self._arrival(post.Mark(), at))
        return found

    def _place(self, at: datetime, now: datetime) -> None:
        """Can it be counted by its time? Raises BadFrameError where not."""
        if self._present.precedes(at, now):
            self._unplaced = True
            raise wikimedia_frames.BadFrameError("its time lies in the future")
        from_ = self._at if self._began or self._asked is None or self._theirs is not None else self._asked
        if from_ is None or at >= from_ - BEHIND:
            self._behind.clear()
            return
        self._unplaced = True
        if not self._behind:
            self._behind_s = self._monotonic()
        self._behind.append(at)
        if len(self._behind) == SEVERAL:
            self._doubt(max(self._behind), now)
        if self._at is None or at < self._at - BEHIND or not self._put_back:
            raise wikimedia_frames.BadFrameError("its time lies far behind")

    def _doubt(self, newest: datetime, now: datetime) -> None:
        """Several in a row lie far behind: which time was wrong? Raises LostError where that which was asked for."""
        if self._at is not None and newest < self._at - BEHIND and self._was_ahead(self._at, newest, now):
            self._at, self._untold, self._put_back, self._asked = newest, newest, True, None
            self._bursts = bursts.Bursts(None, now=newest)
            self._behind.clear()
        elif not self._began and self._asked is not None and self._theirs is None:
            self._theirs = newest
            self._behind.clear()
            raise LostError("was asked for what is still to come: this machine's clock was ahead")
        else:
            self._tell()

    def _was_ahead(self, at: datetime, newest: datetime, now: datetime) -> bool:
        """As our clock says, or everything else for long enough."""
        if at - now > BEHIND and newest - now <= AHEAD:
            return True
        return self._monotonic() - self._behind_s >= BELIEVED_S

    def _tell(self) -> None:
        what = f"the times of {self._name}'s events lie far behind those that came before, and none of them is counted"
        remedy = f"check this machine's clock; they are believed where it stays so for {BELIEVED_S / 3600:g} hours"
        self._health.last_error, self._health.remedy = what, remedy
        trouble.warn("frame_dropped", self._name, self._health, Trouble(what=what, remedy=remedy))

    def _gap(self, first: datetime) -> list[post.Arrival]:
        """What is missing before an event, if it begins an answer or follows some whose times were wrong."""
        began, unplaced = self._began, self._unplaced
        self._began, self._unplaced = True, False
        if self._put_back and self._at is not None:
            since = self._leapt_from if self._leapt_from is not None and self._leapt_from < self._at else None
            self._put_back, self._leapt_from, self._theirs, self._asked_again = False, None, None, False
            return [self._told(post.Gap(since=since, until=self._at, reason=WAS_AHEAD), self._at)]
        if self._at is None or (began and not unplaced):
            return []
        until = self._at if began or self._asked is None else self._asked
        reason = NOT_ASKED
        if first - until > LATE:
            if unplaced and not self._asked_again:
                self._asked_again = True
                raise LostError("sent times that were wrong, or this machine's clock was")
            until, reason = first, NOT_PLACED if unplaced else NOT_KEPT
        self._theirs, self._asked_again = None, False
        if until <= self._at:
            return []
        gap = post.Gap(since=self._at, until=until, reason=reason)
        self._advance(until)
        self._untold = until
        return [self._told(gap, until)]

    def _advance(self, at: datetime) -> datetime:
        if self._at is not None and at - self._at > BEHIND:
            self._leapt_from = self._at
        self._at = at if self._at is None else max(self._at, at)
        return self._at

    def _told(self, gap: post.Gap, until: datetime) -> post.Arrival:
        log.warning("source_gap", source=self._name, since=gap.since, until=until, reason=gap.reason)
        return self._arrival(gap, until)

    def _arrival(self, item: post.Post | post.Gap | post.Mark, at: datetime) -> post.Arrival:
        self._marked_at = at
        if self._untold is not None and at - self._untold > bursts.WINDOW + bursts.SLACK:
            self._untold = None
        cursor = Position(at=at, told=self._bursts.lasting, untold=self._untold).cursor
        return post.Arrival(source=self._name, cursor=cursor, item=item, at=at)


def _goes_back(event_id: str | None) -> bool:
    """Can it stand in a header?"""
    return event_id is not None and 0 < len(event_id) <= MOST_ID and event_id.isascii() and event_id.isprintable()
