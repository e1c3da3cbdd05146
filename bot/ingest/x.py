"""X's filtered stream (API v2) with an app-only bearer token. Off unless its terms are accepted.

The terms bar surveillance and the monitoring of protests, bar what is derived from its posts for users whose mission is
intelligence, and want deletions honoured within 24 hours: see ``x_recheck``.

Resuming. The stream has no cursor; ours is the time until which we have heard everything, its keep-alives included: see
``x_reading``. An outage is a gap, except for as many of its minutes as the plan backfills; then posts come again, and
their ids are known. While a backfill may still be running, the cursor stays where the outage began. The rules of an app
can be changed by others, so they are looked through again before connecting and while we listen; a rule that was gone,
or was set anew, is a gap as well.

Edits. An edit is a post with an id of its own: Deletions of the older ids, then the Post. Left out are what X withholds
in any country, since we do not know where our readers are, and what only other people's rules of the same app match.
Retweets are told by ``repost_of``.

Waiting, as X asks: network errors 0.25 s more each time up to 16 s, HTTP errors 5 s doubling to 320 s, 429 what the
answer says or 60 s doubling to 960 s; without jitter, since there is one connection for a token. After a kill X may
count the old connection for a while, and says 429. While it waits it goes on asking about deletions.
"""

import asyncio
import contextlib
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import aiohttp
import structlog

from bot.domain import post
from bot.ingest import addresses, bodies, elapsed, recheck, trouble, x_posts, x_recheck, x_requests, x_rules
from bot.ingest.source import SourceHealth, State
from bot.ingest.x_reading import Reading

SILENCE_S = 21.0  # the server sends a line at least every 20 s
HEALTHY_S = 60.0
RULES_EVERY_S = 900.0
UNWELL = 3  # so many failures in a row to ask about stored posts are no hiccup
STREAM = "2/tweets/search/stream"

_FILTERED, _LOOKUP = "the filtered stream", "looking up posts"  # what a plan has to include

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
        monotonic: Callable[[], float] = elapsed.seconds,
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

    def recheck(self, stored: recheck.Stored | None) -> None:
        """From now on ask X again about what ``stored`` gives: the ids of its posts that we keep."""
        self._place = x_recheck.Place()
        self._recheck = x_recheck.rounds(
            stored, self._url, self._place, clock=self._clock, monotonic=self._monotonic
        )  # fmt: skip
        self._unasked: trouble.Trouble | None = None  # why asking about stored posts failed last
        self._rules_due = -math.inf
        self._step_s = math.inf if stored is None else recheck.PACE_S

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        reading = Reading(name=self.name, provider=self.provider, after=after)
        self._place.asked, self._place.spent_s = reading.asked, reading.spent_s
        self._rules_due = -math.inf
        waits = _Waits()
        async with aiohttp.ClientSession(
            connector=self._connector(),
            headers={"Authorization": f"Bearer {self._token}", "User-Agent": "tocsin"},
            timeout=aiohttp.ClientTimeout(total=None),
        ) as session:
            while True:
                reading.connected_at = None
                self.health.state = State.CONNECTING
                try:
                    async with contextlib.aclosing(self._listen(session, reading)) as arrivals:
                        async for arrival in arrivals:
                            yield arrival
                except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
                    found = self._trouble(error)
                    healthy_s = 0.0 if reading.connected_at is None else self._monotonic() - reading.connected_at
                    wait_s = waits.after(error, healthy_s, found.retry_after_s)
                    trouble.waiting(self.name, self.health, found, wait_s, self._clock())
                while wait_s > 0:
                    if wait_s >= self._step_s:  # else it would only keep us from connecting again
                        for arrival in await self._recheck_some(session, reading):
                            yield arrival
                    step_s = min(wait_s, self._step_s)
                    await self._sleep(step_s)
                    wait_s -= step_s
                self.health.reconnects += reading.connected_at is not None

    async def _listen(self, session: aiohttp.ClientSession, reading: Reading) -> AsyncGenerator[post.Arrival, None]:
        """One connection. It ends with an error."""
        await self._keep_rules(session, reading)
        async with self._connected(session, reading) as response:
            date = trouble.date(response.headers) or self._clock()
            if (told := reading.resumed(date, self._clock(), self._monotonic())) is not None:
                yield told
            stream = _Lines()
            while True:
                asked_at = self._monotonic()
                chunk, _ = await bodies.more(response, self._silence_s, "keep-alive")
                read_at = self._monotonic()  # before a full inbox keeps us below: what comes meanwhile is not heard yet
                for line in stream.feed(chunk):
                    for arrival in self._take(reading, line, read_at):
                        yield arrival
                self.health.dropped += stream.dropped
                stream.dropped = 0
                if stream.whole:
                    reading.listened(read_at, read_at - asked_at)
                for arrival in await self._recheck_some(session, reading):
                    yield arrival
                await self._keep_rules(session, reading)
                if (told := reading.new_rules(self._clock())) is not None:
                    yield told
                if (mark := reading.mark(self._clock(), self._monotonic())) is not None:
                    yield mark

    async def _keep_rules(self, session: aiohttp.ClientSession, reading: Reading) -> None:
        """Now and then, before connecting and while connected, when the stream waits for it, but not for long."""
        if self._monotonic() < self._rules_due:
            return
        self._rules_due = self._monotonic() + RULES_EVERY_S
        most_s = None if reading.connected_at is None else x_requests.REQUEST_S
        try:
            async with asyncio.timeout(most_s):
                kept = await x_rules.keep(session, self._url, self.name, self._rules)
        except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
            if reading.rules is None:
                self._rules_due = -math.inf
                raise
            trouble.warn("rules_not_checked", self.name, self.health, self._trouble(error))
            return
        for rule, why in kept.refused.items():
            remedy = f"correct or remove it under rules of [[source]] {self.name}; the others are read"
            refused = trouble.Trouble(what=f"X refuses the rule {rule!r}: {why}", remedy=remedy)
            self._say(refused)
            trouble.warn("rule_refused", self.name, self.health, refused)
        if not kept.ids:
            self._rules_due = -math.inf
            raise _NoRulesError("took none of the rules")
        reading.found(kept, kept.at or self._clock())

    @contextlib.asynccontextmanager
    async def _connected(
        self, session: aiohttp.ClientSession, reading: Reading
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        query = dict(x_posts.FIELDS)
        minutes = reading.ask_back(self._backfill, self._monotonic())
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

    def _take(self, reading: Reading, line: bytes, read_at: float) -> list[post.Arrival]:
        now = self._clock()
        if not line:
            reading.kept_alive(read_at)
            return []
        try:
            found = x_posts.decode(line, now, provider=self.provider)
        except x_posts.BadLineError as error:
            trouble.dropped(self.name, self.health, str(error))
            return []
        if isinstance(found, x_posts.Notice):
            raise _EndedError(f"ended the stream ({found.title})", operational=found.operational)
        arrivals, left_out = reading.take(found, now, read_at)
        self.health.skipped += left_out
        return arrivals

    async def _recheck_some(self, session: aiohttp.ClientSession, reading: Reading) -> list[post.Arrival]:
        """Deletions of posts that are gone by now, and then a Mark of how far that was asked; a failure is told, and
        does not touch the stream."""
        try:
            gone = await self._recheck.some(session)
        except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
            self._tell_unasked(error)
            gone = ()
        self._place.seen(self._recheck.pending, self._monotonic())
        if self._place.overdue:
            self._tell_overdue()
        now = self._clock()
        arrivals = [reading.deletion(each, now) for each in gone]
        reading.spent_s = self._place.spent_s
        if self._place.asked != reading.asked:
            arrivals.append(reading.asked_about(self._place.asked, now))
        return arrivals

    def _tell_unasked(self, error: Exception) -> None:
        """At once where it will not go away by itself."""
        found = self._trouble(error, _LOOKUP)
        self._unasked = replace(found, what=f"asking which posts were deleted: {found.what}")
        trouble.warn("recheck_failed", self.name, self.health, self._unasked)
        denied = isinstance(error, aiohttp.ClientResponseError) and error.status in (401, 403)
        if denied or self._place.failures >= UNWELL:
            self._say(self._unasked)

    def _tell_overdue(self) -> None:
        what = "X cannot be asked within 24 hours which of its posts were deleted"
        remedy = "its plan allows too few requests: narrow the rules, or keep its posts for less long"
        late = trouble.Trouble(what=what, remedy=remedy)
        if self._place.failures and self._unasked is not None:
            late = replace(self._unasked, what=f"{what}: {self._unasked.what}")
        self._say(late)
        trouble.warn("recheck_overdue", self.name, self.health, late)

    def _say(self, found: trouble.Trouble) -> None:
        self.health.last_error, self.health.remedy = found.what, found.remedy

    def _trouble(self, error: Exception, asked: str = _FILTERED) -> trouble.Trouble:
        now = self._clock()
        found = trouble.of(error, self._url.host or "", now, refused=_remedy(error, self.name, asked))
        if not isinstance(error, aiohttp.ClientResponseError):
            return found
        what = f"{found.what}: {error.message}" if error.message else found.what
        return replace(found, what=what, retry_after_s=x_requests.pause_s(error.headers, now))


@dataclass(slots=True)
class _Lines:
    """Lines that end with CRLF; what is longer than a line may be is dropped and counted."""

    dropped: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _too_long: bool = False

    @property
    def whole(self) -> bool:
        """Has the last line ended?"""
        return not self._buffer and not self._too_long

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
                doubled = 2.0 ** min(self._limited - 1, 4)
                return 60 * doubled if asked_s is None else max(asked_s, doubled)
            case aiohttp.ClientResponseError() | _NoRulesError() | _EndedError(operational=False):
                self._http += 1
                return max(asked_s or 0.0, float(min(320, 5 * 2 ** min(self._http - 1, 6))))
            case _:
                self._network += 1
                return min(16.0, 0.25 * self._network)


def _remedy(error: Exception, name: str, asked: str) -> str:
    """``asked``: what the plan of the app has to include for it."""
    match error:
        case aiohttp.ClientResponseError(status=401):
            return f"set token of [[source]] {name} to the app's bearer token (developer.x.com, Keys and tokens)"
        case aiohttp.ClientResponseError(status=403):
            return f"the plan of the app behind [[source]] {name} has to include {asked}; check it at X"
        case _ if asked == _LOOKUP:
            return "wait, what X refuses is asked about in smaller parts"
        case _:
            return f"check url, rules and backfill_minutes of [[source]] {name}"
