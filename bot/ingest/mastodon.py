"""Mastodon: one instance's public timeline, as server-sent events, with a token of an account there.

An instance hands on what its users' followed accounts post anywhere, so several instances together see more; a status
is the same Post at all of them, since its ``uri`` is its id. The token's scope is ``read:statuses``.

Resuming. The stream replays nothing. We connect first, then fetch the timeline's pages from the last status that we had
up to what was the newest one after the connection, then read on; what comes twice is known by its local id and version.
A status that came from elsewhere late has the number of when it was written, so we go back 2 minutes further; what the
instance received later than that while we were away is lost to us. More than MOST_PAGES pages are not fetched: a gap.
A page that is too long is asked for in smaller ones; a status that is too long alone is stepped over, and counted.

Edits and deletions of the time of an outage are in no timeline. The outage is therefore a gap too, which says so. After
it, and once a day, the instance is asked what has become of all the statuses that we keep (``mastodon_recheck``).

Edits. The old words go with a Deletion, the new ones come as a Post with the id ``uri#v:T``, T being the time of the
edit in Unix milliseconds. Deletions name a local id only: for the last 131,072 statuses of this process we know whose,
of older ones the store knows it. Any other one concerns what we never kept, so it is counted as skipped. In the store
the host stands before a local id: where ``url`` is another one now, nobody is asked about what its like never gave.

Left out: what is not public, and accounts with ``noindex`` or with ``discoverable`` set to false; bots are not. Where
an account says so later, the words that we kept go when we ask again.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import aiohttp
import structlog
from aiohttp import abc, resolver
from yarl import URL

from bot.domain import post
from bot.ingest import (
    addresses,
    backoff,
    bodies,
    elapsed,
    mastodon_recheck,
    mastodon_requests,
    mastodon_statuses,
    sse,
    trouble,
)
from bot.ingest.mastodon_origins import Origins
from bot.ingest.mastodon_requests import TooLongError
from bot.ingest.mastodon_statuses import BadStatusError
from bot.ingest.mastodon_timeline import Position, Timeline
from bot.ingest.source import SourceHealth, State

HEARTBEAT_S = 15.0  # the server's comment ``:thump``
PAGE = 40
MOST_PAGES = 250  # of the 300 requests in 5 minutes that Mastodon allows
TIMELINE = "api/v1/timelines/public"

log = structlog.get_logger()


class MastodonSource:
    """Posts, edits, deletions and gaps of one instance's public timeline, for ever; it never gives up.

    ``url`` is the instance's address. ``local``: only what its own users post. ``undiscoverable``: also accounts that
    have asked not to be found.
    """

    live = True

    def __init__(
        self,
        name: str,
        url: str,
        *,
        token: str,
        provider: str = "mastodon",
        local: bool = False,
        undiscoverable: bool = False,
        heartbeat_s: float = HEARTBEAT_S,
        most_pages: int = MOST_PAGES,
        connector: Callable[[], aiohttp.BaseConnector] = aiohttp.TCPConnector,
        names: Callable[[], abc.AbstractResolver] = resolver.DefaultResolver,
        rng: random.Random | None = None,
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
        self._local = local
        self._undiscoverable = undiscoverable
        self._silence_s = 2.5 * heartbeat_s
        self._most_pages = most_pages
        self._connector = connector
        self._rng = rng or random.Random()
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._instance = mastodon_requests.Instance(self._url, clock=clock, monotonic=monotonic)
        self._origins = Origins(self._url, names=names, monotonic=monotonic)
        self.recheck(None)

    def recheck(self, kept: mastodon_recheck.Kept | None) -> None:
        """From now on ask the instance again about the statuses that are kept; before that, what was edited or deleted
        during an outage is never learned."""
        self._kept = kept
        self._rounds = mastodon_recheck.Rounds(kept, self._instance, self._origins, monotonic=self._monotonic)

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        timeline = Timeline(
            name=self.name,
            provider=self.provider,
            prefix=self._instance.prefix,
            position=None if after is None else Position.parse(after),
        )
        waits = backoff.Backoff(self._rng)
        async with self._session() as session:
            while True:
                connected_at: float | None = None
                self.health.state = State.CONNECTING
                try:
                    async with self._connected(session) as response:
                        connected_at = self._monotonic()
                        catching_up = await self._begin(session, response, timeline)
                        while catching_up is not None and not catching_up.done:
                            for arrival in await self._catch_up(session, timeline, catching_up):
                                yield arrival
                        if catching_up is not None:
                            self._rounds.soon()
                        parser = sse.Parser()
                        while True:
                            chunk, waited = await bodies.more(response, self._silence_s, "heartbeat")
                            for event in parser.feed(chunk):
                                for arrival in await self._heed(timeline, event):
                                    yield arrival
                            if waited:
                                timeline.heard(self._clock())
                                if (mark := timeline.mark(self._clock(), self._monotonic())) is not None:
                                    yield mark
                            self.health.dropped += parser.dropped
                            parser.dropped = 0
                            for arrival in await self._recheck_some(session, timeline):
                                yield arrival
                except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
                    found = self._trouble(error)
                healthy_s = 0.0 if connected_at is None else self._monotonic() - connected_at
                wait_s = max(waits.after(healthy_s, found.retry_after_s), self._instance.wait_s())
                trouble.waiting(self.name, self.health, found, wait_s, self._clock())
                await self._sleep(wait_s)
                self.health.reconnects += connected_at is not None
                for arrival in await self._recheck_some(session, timeline):
                    yield arrival

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=self._connector(),
            headers={"Authorization": f"Bearer {self._token}", "User-Agent": "tocsin"},
            timeout=aiohttp.ClientTimeout(total=None),
        )

    @contextlib.asynccontextmanager
    async def _connected(self, session: aiohttp.ClientSession) -> AsyncIterator[aiohttp.ClientResponse]:
        base = await self._streaming_url(session)
        path = "api/v1/streaming/public/local" if self._local else "api/v1/streaming/public"
        async with asyncio.timeout(mastodon_requests.REQUEST_S):
            response = await session.get(
                base / path, headers={"Accept": "text/event-stream"}, allow_redirects=False, raise_for_status=True
            )
        async with response:
            if response.content_type != "text/event-stream":
                raise trouble.LostError("answered with something else than a stream of events")
            self.health.state = State.LIVE
            log.info("source_connected", source=self.name, host=base.host)
            yield response
            response.close()

    async def _streaming_url(self, session: aiohttp.ClientSession) -> URL:
        """Where the instance says that its streams are: often another host, and redirects would lose the token."""
        async with (
            asyncio.timeout(mastodon_requests.REQUEST_S),
            session.get(self._url / "api/v2/instance", allow_redirects=False) as response,
        ):
            self._instance.heed(response)
            if response.status == 429 or response.status >= 500:
                response.raise_for_status()
            named = mastodon_statuses.streaming_url(await bodies.read(response)) if response.status == 200 else ""
        try:
            url = URL(named)
            host = url.host
        except (ValueError, IndexError):  # yarl's, for a host that is none
            return self._url
        scheme = {"wss": "https", "https": "https", "ws": "http", "http": "http"}.get(url.scheme)
        if not host or scheme is None or (self._url.scheme == "https" and scheme != "https"):
            return self._url
        return url.with_scheme(scheme).with_query(None)

    async def _begin(
        self, session: aiohttp.ClientSession, response: aiohttp.ClientResponse, timeline: Timeline
    ) -> "_CatchingUp | None":
        """What is to be fetched before the stream is read. At the very beginning: nothing, but where we are."""
        now = self._clock()
        newest = await self._page(session, {}, limit=1)
        last = newest[-1][0] if newest else ""
        if timeline.position is None:
            if newest and not last:
                raise trouble.LostError("answered with a status whose id is none")
            timeline.start(last or "0", now)
            return None
        server_now = trouble.date(response.headers) or now
        return _CatchingUp(
            after=timeline.rewound(now, server_now),
            last=last,
            outage=timeline.outage(now, server_now),
            began=now,
            pages=self._most_pages,
        )

    async def _catch_up(
        self, session: aiohttp.ClientSession, timeline: Timeline, fetch: "_CatchingUp"
    ) -> list[post.Arrival]:
        """One page more; after the last one, the gap."""
        gone_too_far = fetch.pages <= 0
        fetch.pages -= 1
        try:
            statuses = await self._page(session, {} if gone_too_far else {"min_id": fetch.after}, limit=fetch.limit)
        except TooLongError:
            if fetch.limit == 1:
                raise
            fetch.limit //= 2
            return []
        fetch.limit = min(2 * fetch.limit, PAGE)
        arrivals = []
        for _, raw in statuses:
            arrivals += self._add(timeline, raw)
        order = mastodon_statuses.order
        newest = max((each for each, _ in statuses if each), key=order, default=None)
        again = "are asked for again" if self._kept else "could not be"
        if gone_too_far:
            fetch.done = True
            reason = f"more than {self._most_pages} pages had to be fetched; the rest was not"
        elif newest is None or (fetch.last and order(newest) >= order(fetch.last)):
            fetch.done = True
            reason = f"not connected: the posts were fetched afterwards, edits and deletions {again}"
        elif order(newest) <= order(fetch.after):
            raise trouble.LostError("answered with the same page again")
        else:
            fetch.after = newest
        if fetch.done:
            arrivals.append(timeline.gap(*fetch.outage, reason, fetch.began))
        return arrivals

    async def _page(
        self, session: aiohttp.ClientSession, query: dict[str, str], *, limit: int
    ) -> list[tuple[str, bytes]]:
        """A page of the timeline. Of a single status that is too long, its id."""
        if pause_s := self._instance.wait_s():
            await self._sleep(pause_s)
        query = {"limit": str(limit)} | ({"local": "true"} if self._local else {}) | query
        try:
            return mastodon_statuses.page(await self._instance.get(session, TIMELINE, list(query.items())))
        except TooLongError as error:
            only = mastodon_statuses.first_of(error.head) if limit == 1 else ""
            if not only:
                raise
            return [(only, b"")]
        except BadStatusError:
            raise trouble.LostError("answered with something else than a timeline") from None

    async def _recheck_some(self, session: aiohttp.ClientSession, timeline: Timeline) -> list[post.Arrival]:
        """What has become of statuses that are kept; a failure is told, and does not touch the stream."""
        if self._kept is None or timeline.position is None:
            return []
        arrivals = []
        try:
            for answer in await self._rounds.some(session):
                arrivals += await self._answered(timeline, answer)
        except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
            trouble.warn("recheck_failed", self.name, self.health, self._trouble(error))
        if self._rounds.overdue:
            self.health.last_error = f"{self._url.host} could not be asked within two days what was edited or deleted"
            self.health.remedy = "it allows too few requests: keep its posts for less long, or read local posts only"
        return arrivals

    async def _answered(self, timeline: Timeline, answer: mastodon_recheck.Answer) -> list[post.Arrival]:
        if not await self._recalled(timeline, answer.local_id):
            return []
        now = self._clock()
        if answer.raw is None:
            return timeline.delete(answer.local_id, now)
        status = self._decoded(answer.raw, now)
        return [] if status is None else timeline.found(status, now)

    async def _recalled(self, timeline: Timeline, local_id: str) -> bool:
        """Is it a status that is kept, or one of the last that we read?"""
        if timeline.knows(local_id):
            return True
        kept = None if self._kept is None else await self._kept.post_of(f"{self._instance.prefix}{local_id}")
        if kept is not None:
            timeline.recall(local_id, kept)
        return kept is not None

    async def _heed(self, timeline: Timeline, event: sse.Event) -> list[post.Arrival]:
        match event.event:
            case _ if event.comment:
                return []
            case "update" | "status.update":
                return self._add(timeline, event.data, edited=event.event == "status.update")
            case "delete":
                try:
                    local_id = mastodon_statuses.local_id(event.data)
                except BadStatusError as error:
                    return self._drop(error)
                known = await self._recalled(timeline, local_id)
                self.health.skipped += not known
                return timeline.delete(local_id, self._clock()) if known else []
            case _:
                return []

    def _add(self, timeline: Timeline, raw: bytes, *, edited: bool = False) -> list[post.Arrival]:
        now = self._clock()
        status = self._decoded(raw, now)
        if status is None:
            return []
        self.health.skipped += status.post is None
        return timeline.add(status, now, edited=edited)

    def _decoded(self, raw: bytes, now: datetime) -> mastodon_statuses.Status | None:
        try:
            return mastodon_statuses.decode(raw, now, provider=self.provider, undiscoverable=self._undiscoverable)
        except BadStatusError as error:
            self._drop(error)
            return None

    def _drop(self, error: BadStatusError) -> list[post.Arrival]:
        trouble.dropped(self.name, self.health, str(error))
        return []

    def _trouble(self, error: Exception) -> trouble.Trouble:
        found = trouble.of(error, self._url.host or "", self._clock(), refused=_remedy(error, self.name, self._url))
        asked_s = self._instance.asked_s(error)
        self._instance.rest(asked_s or 0.0)
        return replace(found, retry_after_s=asked_s) if found.retry_after_s is None else found


@dataclass(slots=True, kw_only=True)
class _CatchingUp:
    """The pages between the last status before an outage and ``last``, the newest one after the connection. ``pages``:
    how many may still be asked for; ``limit``: statuses of the next one."""

    after: str
    last: str
    outage: tuple[datetime, datetime]
    began: datetime
    pages: int
    limit: int = PAGE
    done: bool = False


def _remedy(error: Exception, name: str, url: URL) -> str:
    match error:
        case aiohttp.ClientResponseError(status=401 | 403):
            return (
                f"the token of [[source]] {name} is not accepted: under Preferences → Development of an account on "
                f"{url.host} make an application with the scope read:statuses, and set token to its access token"
            )
        case _:
            return f"check url of [[source]] {name}: it is the address of a Mastodon server"
