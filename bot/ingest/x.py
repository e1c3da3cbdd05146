"""X's filtered stream (API v2) with an app-only bearer token. Off unless its terms are accepted.

The terms bar surveillance and the monitoring of protests, bar what is derived from its posts for users whose mission is
intelligence, and want deletions honoured within 24 hours: see ``x_recheck``.

Resuming. The stream has no cursor; ours is the time until which we have heard everything, its keep-alives included. An
outage is a gap, except for as many of its minutes as the plan backfills; then posts come again, and their ids are
known. While a backfill may still be running, the cursor stays where the outage began.

Edits. An edit is a post with an id of its own: Deletions of the older ids, then the Post. Withheld posts are left out,
and so are posts that only other people's rules of the same app match. Retweets are told by ``repost_of``.

Waiting, as X asks: network errors 0.25 s more each time up to 16 s, HTTP errors 5 s doubling to 320 s, 429 what the
answer says or 60 s doubling to 960 s; without jitter, since there is one connection for a token.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import aiohttp
import structlog

from bot.domain import errors, post
from bot.ingest import addresses, bodies, trouble, x_posts, x_recheck, x_requests, x_rules
from bot.ingest.recent import Recent
from bot.ingest.recheck import Stored
from bot.ingest.source import SourceHealth, State

SILENCE_S = 21.0  # the server sends a line at least every 20 s
HEALTHY_S = 60.0
SEEN = 65_536  # ids remembered: 5 minutes of backfill at 200 posts a second
MARK_EVERY_S = 300.0
STREAM = "2/tweets/search/stream"

log = structlog.get_logger()


class XSource:
    """Posts that match ``rules``, deletions and gaps, for ever; it never gives up.

    ``backfill_minutes``: how many the plan allows.
    """

    live = True

    def __init__(
        self,
        name: str,
        url: str,
        *,
        token: str,
        rules: Sequence[str],
        provider: str = "x",
        backfill_minutes: int = 0,
        silence_s: float = SILENCE_S,
        connector: Callable[[], aiohttp.BaseConnector] = aiohttp.TCPConnector,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Raises UsageError where ``url`` is no address of a server."""
        self.name = name
        self.provider = provider
        self.health = SourceHealth()
        self._url = addresses.server(name, url).with_query(None)
        self._token = token
        self._rules = rules
        self._backfill = timedelta(minutes=backfill_minutes)
        self._silence_s = silence_s
        self._connector = connector
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self.recheck(None)

    def recheck(self, stored: Stored | None) -> None:
        """From now on ask X again about what ``stored`` gives: the ids of its posts that we keep."""
        self._recheck = x_recheck.rounds(stored, self._url, clock=self._clock, monotonic=self._monotonic)

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        reading = _Reading(name=self.name, provider=self.provider, heard=None if after is None else _parse(after))
        waits = _Waits()
        async with aiohttp.ClientSession(
            connector=self._connector(),
            headers={"Authorization": f"Bearer {self._token}", "User-Agent": "tocsin"},
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            while True:
                connected_at: float | None = None
                self.health.state = State.CONNECTING
                for arrival in await self._recheck_some(session, reading):
                    yield arrival
                try:
                    if reading.rules is None:
                        reading.rules = await self._keep_rules(session)
                    async with self._connected(session, reading) as response:
                        connected_at = self._monotonic()
                        if (gap := reading.resumed(self._clock(), connected_at)) is not None:
                            yield gap
                        stream = _Lines()
                        while True:
                            chunk, waited = await bodies.more(response, self._silence_s, "keep-alive")
                            for line in stream.feed(chunk):
                                for arrival in self._take(reading, line):
                                    yield arrival
                            self.health.dropped += stream.dropped
                            stream.dropped = 0
                            if waited:
                                reading.listened(self._clock(), self._monotonic())
                            for arrival in await self._recheck_some(session, reading):
                                yield arrival
                            if (mark := reading.mark(self._monotonic())) is not None:
                                yield mark
                except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
                    found = self._trouble(error)
                    healthy_s = 0.0 if connected_at is None else self._monotonic() - connected_at
                    wait_s = waits.after(error, healthy_s, found.retry_after_s)
                trouble.waiting(self.name, self.health, found, wait_s, self._clock())
                await self._sleep(wait_s)
                self.health.reconnects += connected_at is not None

    async def _keep_rules(self, session: aiohttp.ClientSession) -> frozenset[str]:
        kept = await x_rules.keep(session, self._url, self._rules)
        for rule, why in kept.refused.items():
            self.health.last_error = f"X refuses the rule {rule!r}: {why}"
            self.health.remedy = f"correct or remove it under rules of [[source]] {self.name}; the others are read"
            log.warning("rule_refused", source=self.name, rule=rule, reason=why)
        if not kept.ids:
            raise _NoRulesError("took none of the rules")
        return kept.ids

    @contextlib.asynccontextmanager
    async def _connected(
        self, session: aiohttp.ClientSession, reading: "_Reading"
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        query = dict(x_posts.FIELDS)
        minutes = reading.ask_back(self._backfill, self._clock(), self._monotonic())
        if minutes:
            query["backfill_minutes"] = str(minutes)
        async with asyncio.timeout(self._silence_s):
            response = await session.get(self._url / STREAM, params=query, allow_redirects=False)
        async with response:
            async with asyncio.timeout(self._silence_s):
                await x_requests.check(response)
            self.health.state = State.LIVE
            log.info("source_connected", source=self.name, host=self._url.host, backfill_minutes=minutes)
            yield response
            response.close()

    def _take(self, reading: "_Reading", line: bytes) -> list[post.Arrival]:
        now = self._clock()
        if not line:
            reading.backfilling = False
            return []
        try:
            found = x_posts.decode(line, now, provider=self.provider)
        except x_posts.BadLineError as error:
            trouble.dropped(self.name, self.health, str(error))
            return []
        if isinstance(found, x_posts.Notice):
            raise _EndedError(f"ended the stream ({found.title})", operational=found.operational)
        arrivals, left_out = reading.take(found, now)
        self.health.skipped += left_out
        return arrivals

    async def _recheck_some(self, session: aiohttp.ClientSession, reading: "_Reading") -> list[post.Arrival]:
        """Deletions of posts that are gone by now; a failure is told, and does not touch the stream."""
        try:
            gone = await self._recheck.some(session)
        except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
            found = self._trouble(error)
            log.warning("recheck_failed", source=self.name, error=found.what, remedy=found.remedy)
            gone = ()
        if self._recheck.overdue:
            self.health.last_error = "X could not be asked within 24 hours which of its posts were deleted"
            self.health.remedy = "its plan allows too few requests: narrow the rules, or keep its posts for less long"
        now = self._clock()
        return [reading.deletion(each, now) for each in gone]

    def _trouble(self, error: Exception) -> trouble.Trouble:
        now = self._clock()
        found = trouble.of(error, self._url.host or "", now, refused=_remedy(error, self.name))
        if not isinstance(error, aiohttp.ClientResponseError):
            return found
        what = f"{found.what}: {error.message}" if error.message else found.what
        return replace(found, what=what, retry_after_s=x_requests.pause_s(error.headers, now))


class _Reading:
    """Where one reading of the stream is, and which posts it has seen. No I/O, no clock.

    ``heard``: until when nothing is missing; None before the first connection. ``rules``: the ids of ours.
    """

    def __init__(self, *, name: str, provider: str, heard: datetime | None) -> None:
        self.rules: frozenset[str] | None = None
        self.backfilling = False
        self._name = name
        self._provider = provider
        self._heard = heard
        self._heard_mono: float | None = None  # the same on a clock that nobody sets; None after a restart
        self._asked_back = timedelta(0)
        self._connected_at: datetime | None = None
        self._marked = 0.0
        self._seen: Recent[bool] = Recent(SEEN)

    def ask_back(self, most: timedelta, now: datetime, mono: float) -> int:
        """How many minutes to ask for again."""
        outage = self._outage(now, mono)
        self._asked_back = timedelta(0)
        if outage is not None:
            self._asked_back = min(most, timedelta(minutes=outage // timedelta(minutes=1) + 1))
        return self._asked_back // timedelta(minutes=1)

    def resumed(self, now: datetime, mono: float) -> post.Arrival | None:
        """We are connected. The gap, if something is missing."""
        outage, since = self._outage(now, mono), self._heard
        self._connected_at = now
        self._marked = mono
        self.backfilling = bool(self._asked_back)
        if outage is None or since is None or outage <= self._asked_back:
            if self._heard is None:
                self._hear(now, mono)
            return None
        until = max(since, now - self._asked_back)
        reason = "not connected" if not self._asked_back else "not connected for longer than is sent again"
        log.warning("source_gap", source=self._name, since=since, until=until, reason=reason)
        self._heard, self._heard_mono = until, mono - self._asked_back.total_seconds()
        return self._arrival(post.Gap(since=since, until=until, reason=reason), now)

    def listened(self, now: datetime, mono: float) -> None:
        """All that the connection has sent until now is through."""
        self._hear(now, mono)

    def mark(self, mono: float) -> post.Arrival | None:
        """Every few minutes, how far we have heard: after a restart the gap begins there, not at the last post."""
        if self._heard is None or mono - self._marked < MARK_EVERY_S:
            return None
        self._marked = mono
        return self._arrival(post.Mark(), self._heard)

    def take(self, line: x_posts.Line, now: datetime) -> tuple[list[post.Arrival], bool]:
        """What ``line`` adds; and whether it was left out."""
        item = line.post
        if item.id in self._seen:
            return [], False
        if self._connected_at is not None and item.created_at >= self._connected_at:
            self.backfilling = False
        self._seen.put(item.id, True)
        for older in line.older:
            self._seen.put(older, True)
        arrivals = [self.deletion(older, now, replaced_by=item.id) for older in line.older]
        others = line.rules and self.rules is not None and not line.rules & self.rules
        if others or line.withheld:
            return arrivals, True
        self._hear(min(now, x_posts.id_time(item.id)), None)
        return [*arrivals, self._arrival(item, now)], False

    def deletion(self, id: str, now: datetime, *, replaced_by: str | None = None) -> post.Arrival:
        gone = post.Deletion(provider=self._provider, id=id, deleted_at=now, replaced_by=replaced_by)
        return self._arrival(gone, now)

    def _outage(self, now: datetime, mono: float) -> timedelta | None:
        if self._heard is None:
            return None
        if self._heard_mono is not None:
            return timedelta(seconds=max(mono - self._heard_mono, 0.0))
        return max(now - self._heard, timedelta(0))

    def _hear(self, now: datetime, mono: float | None) -> None:
        """Never back, and not while older posts may still come."""
        if self.backfilling:
            return
        self._heard = now if self._heard is None else max(self._heard, now)
        self._heard_mono = mono if mono is not None else self._heard_mono

    def _arrival(self, item: post.Post | post.Deletion | post.Gap | post.Mark, at: datetime) -> post.Arrival:
        heard = at if self._heard is None else self._heard
        return post.Arrival(source=self._name, cursor=str(int(heard.timestamp() * 1000)), item=item, at=at)


@dataclass(slots=True)
class _Lines:
    """Lines that end with CRLF; what is longer than a line may be is dropped and counted."""

    dropped: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _too_long: bool = False

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        *ended, rest = chunk.split(b"\n")
        for piece in ended:
            line = bytes(self._buffer + piece).strip()
            self._buffer.clear()
            if self._too_long or len(line) > x_posts.MAX_LINE:
                self.dropped += 1
                self._too_long = False
                continue
            yield line
        self._buffer += rest
        if len(self._buffer) > x_posts.MAX_LINE:
            self._buffer.clear()
            self._too_long = True


class _EndedError(trouble.LostError):
    """X said that it ends the stream."""

    def __init__(self, what: str, *, operational: bool) -> None:
        super().__init__(what)
        self.operational = operational


class _NoRulesError(trouble.LostError):
    """There is nothing to listen to."""


@dataclass(slots=True)
class _Waits:
    """Three classes of errors: https://docs.x.com/x-api/fundamentals/handling-disconnections."""

    _network: int = 0
    _http: int = 0
    _limited: int = 0

    def after(self, error: Exception, healthy_s: float, asked_s: float | None) -> float:
        if healthy_s >= HEALTHY_S:
            self._network = self._http = self._limited = 0
        match error:
            case aiohttp.ClientResponseError(status=429):
                self._limited += 1
                return asked_s if asked_s is not None else float(60 * 2 ** min(self._limited - 1, 4))
            case aiohttp.ClientResponseError() | _NoRulesError() | _EndedError(operational=False):
                self._http += 1
                return max(asked_s or 0.0, float(min(320, 5 * 2 ** min(self._http - 1, 6))))
            case _:
                self._network += 1
                return min(16.0, 0.25 * self._network)


def _parse(cursor: str) -> datetime:
    """Raises UsageError for a cursor that this source has not written."""
    try:
        return datetime.fromtimestamp(int(cursor) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise errors.UsageError(f"the cursor {cursor!r} is none of X's; was the source renamed?") from None


def _remedy(error: Exception, name: str) -> str:
    match error:
        case aiohttp.ClientResponseError(status=401):
            return f"set token of [[source]] {name} to the app's bearer token (developer.x.com, Keys and tokens)"
        case aiohttp.ClientResponseError(status=403):
            return f"the plan of the app behind [[source]] {name} has to include the filtered stream; check it at X"
        case _:
            return f"check url, rules and backfill_minutes of [[source]] {name}"
