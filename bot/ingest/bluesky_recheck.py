"""What has become of Bluesky's posts that we keep, where the stream may not have told us of their end.

Jetstream tells of deletions while they happen. What was deleted in a gap is asked about here: everything that we keep
after a gap, and after a start, since a life before this one may have left a question open; one author's posts after a
``#sync``. A question waits ten minutes at least, and is about what was received before it came up.

Bluesky's AppView is asked first, since it knows everybody's posts. It follows the network, seconds or hours behind: no
round begins before it shows something that came after the questions. It leaves out what it holds for invalid, and has
bad days: an answer in which more than half is missing is none, and what is missing from two answers, ten minutes apart,
is only doubtful. The author's own server has the last word: see ``bluesky_records``. Where that does not answer, the
post stays, and is asked about again.

An edit cannot be found out like this: the AppView gives the newest words of a post, and we ask by its id.
"""

import asyncio
import contextlib
import itertools
import math
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import aiohttp
import structlog
from yarl import URL

from bot.domain import post
from bot.ingest import bluesky_appview, recheck, trouble
from bot.ingest.bluesky_appview import Shown
from bot.ingest.bluesky_records import Records
from bot.ingest.recheck import Recheck
from bot.ingest.source import SourceHealth

BATCH = 12  # of a request's 25: that all of them are gone is believed where the others are there
SPARE = 200  # posts to take the others from
NEWEST = 1_000  # among which those are looked for, where not everything is read
QUIET_S = 3600.0  # after which we ask though nothing has come
UNKNOWN_S = 24 * 3600.0  # … and though the AppView knows nothing of what has come: it may be theirs who hide from it
MOST_KEPT = 100_000  # of what is stored, the newest: a round of some twelve hours
PATIENCE_S = 600.0
STANDS_S = 24 * 3600.0  # for how long the word of the author's server is enough
FIRST_RETRY_S = 3600.0
LONGEST_RETRY_S = 24 * 3600.0
DOUBTFUL_S = 30 * 24 * 3600.0  # after which nothing of it is kept any more
MOST_DOUBTS = 10_000
MOST_AUTHORS = 10_000
MOST_WAITING = 1_000

_EVERYONE = "everyone"
_URI = re.compile(
    r"at://(did:[a-z]+:[A-Za-z0-9._:%-]{1,100})/app\.bsky\.feed\.post/(?!\.{1,2}$)[A-Za-z0-9._:~-]{1,64}", re.ASCII
)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """The ids of the posts that the store keeps, the newest first, without those received between then and now:
    ``newest`` at most so many, ``of`` those of some authors."""

    newest: Callable[[datetime, int], Awaitable[Sequence[str]]]
    of: Callable[[Collection[str], datetime], Awaitable[Sequence[str]]]


@dataclass(slots=True)
class _Doubt:
    """A post that the AppView does not show, and when its author's server is asked."""

    since: float
    at: float
    tries: int = 0


class Asking:
    """What is to be asked, and what was found. ``waiting``: there is something to ``take``.

    Without ``kept`` nothing is ever asked.
    """

    def __init__(
        self,
        name: str,
        kept: Kept | None,
        appview: URL,
        directory: URL,
        *,
        health: SourceHealth,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.waiting = False
        self._name = name
        self._kept = kept
        self._appview = appview
        self._directory = directory
        self._health = health
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._noted: dict[str, float] = {}  # authors, or _EVERYONE, and when
        self._wanted: dict[str, float] = {}  # noted before _turned_at
        self._turned_at = monotonic()
        self._dropped = 0  # authors
        self._missing: dict[str, float] = {}  # since when
        self._doubts: dict[str, _Doubt] = {}
        self._stood: dict[str, float] = {}  # until when that is enough
        self._others: deque[str] = deque()
        self._session: aiohttp.ClientSession | None = None
        self._gone: list[str] = []
        self._failure: BaseException | None = None
        self._rounds = Recheck(
            self._due,
            self._ask,
            batch=BATCH,
            due_s=math.inf,
            every_s=recheck.PACE_S,
            pause_s=lambda error: trouble.retry_after_s(getattr(error, "headers", None), clock()),
            monotonic=monotonic,
        )

    def everyone(self) -> None:
        if self._kept is not None:
            self._noted = {_EVERYONE: self._monotonic()}

    def author(self, did: str) -> None:
        if self._kept is None:
            return
        if _EVERYONE not in self._noted:
            self._noted.pop(did, None)
            self._noted[did] = self._monotonic()
        else:
            self._noted[_EVERYONE] = self._monotonic()
        if len(self._noted) > MOST_AUTHORS:
            del self._noted[next(iter(self._noted))]
            self._dropped += 1

    def take(self) -> Sequence[str]:
        """The ids of posts whose words must go, each once. Raises what broke the asking."""
        if self._failure is not None:
            raise self._failure
        gone, self._gone, self.waiting = self._gone, [], False
        return gone

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Asks beside whatever is done within, and ends with it."""
        if self._kept is None:
            yield
            return
        task = asyncio.create_task(self._run(), name=f"recheck:{self._name}")
        task.add_done_callback(self._ended)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        async with (
            aiohttp.ClientSession(headers={"User-Agent": "tocsin"}) as session,
            Records(self._directory) as records,
        ):
            self._session = session
            while True:
                await self._sleep(recheck.PACE_S if self._rounds.pending or self._doubtful() else PATIENCE_S)
                if len(self._gone) >= MOST_WAITING:
                    continue
                try:
                    self._gone += await self._rounds.some(session)
                except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
                    self._tell(error)
                if (uri := self._doubtful()) is not None:
                    self._judge(uri, await records.stands(uri))
                self.waiting = bool(self._gone)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._failure, self.waiting = task.exception(), True

    async def _due(self) -> Sequence[str]:
        """What was noted before the last turn is asked about at this one: each question waits PATIENCE_S at least."""
        now = self._monotonic()
        if now - self._turned_at < PATIENCE_S or self._kept is None:
            return ()
        again = [uri for uri, since in self._missing.items() if now - since >= PATIENCE_S]
        noted_at = max(self._wanted.values(), default=now)
        until = self._clock() - timedelta(seconds=now - noted_at)
        if self._wanted and not await self._known_since(self._kept, until, waited_s=now - noted_at):
            return ()
        found = await self._chosen(self._kept, again, until) if self._wanted or again else []
        self._turned_at = now
        self._wanted, self._noted = self._noted, {}
        if self._dropped:
            problem = "more repositories were set anew than can be asked about; the first of them will not be"
            log.warning("recheck_authors_dropped", source=self._name, count=self._dropped, problem=problem)
            self._dropped = 0
        return found

    async def _known_since(self, kept: Kept, until: datetime, *, waited_s: float) -> bool:
        """Has the AppView come to what we received after ``until``? Raises what a request raises, LostError if not."""
        before = set(await kept.newest(until, NEWEST))
        since = [each for each in await kept.newest(self._clock(), NEWEST) if each not in before]
        # One of each author: one alone, whom the AppView does not show, is not to keep it from being asked.
        witnesses = list({author: uri for uri, author in _arranged(since).items()}.values())[-bluesky_appview.MOST :]
        if not witnesses or self._session is None:
            return waited_s >= QUIET_S
        try:
            known = await bluesky_appview.shown(self._session, self._appview, witnesses)
        except aiohttp.ClientResponseError as error:
            if error.status != 400 or waited_s < UNKNOWN_S:
                raise
            known = {}  # it refuses one of them, and with it all
        if not known and waited_s < UNKNOWN_S:
            raise trouble.LostError("does not know yet what is new among the posts that we keep")
        return True

    async def _chosen(self, kept: Kept, again: Sequence[str], until: datetime) -> list[str]:
        if _EVERYONE in self._wanted:
            ours = await asyncio.to_thread(_arranged, await kept.newest(until, MOST_KEPT))
            spare = ours
            self._missing = {uri: since for uri, since in self._missing.items() if uri in ours}
        else:
            authors = {*self._wanted, *(uri.split("/")[2] for uri in again)}
            ours = await asyncio.to_thread(_arranged, await kept.of(authors, until))
            spare = await asyncio.to_thread(_arranged, await kept.newest(until, NEWEST), self._wanted)
            if len(self._unsuspected(spare)) < bluesky_appview.MOST:
                spare = await asyncio.to_thread(_arranged, await kept.newest(until, MOST_KEPT), self._wanted)
            asked_again = set(again)
            for uri in asked_again.difference(ours):
                self._missing.pop(uri, None)
            ours = {uri: author for uri, author in ours.items() if author in self._wanted or uri in asked_again}
        self._others = deque(self._unsuspected(spare))
        self._forget(self._monotonic())
        return [uri for uri in ours if uri not in self._doubts]

    def _unsuspected(self, uris: Iterable[str]) -> list[str]:
        return _first(uri for uri in uris if uri not in self._missing and uri not in self._doubts)

    def _forget(self, now: float) -> None:
        self._stood = {uri: until for uri, until in self._stood.items() if until > now}
        self._doubts = {uri: doubt for uri, doubt in self._doubts.items() if now - doubt.since < DOUBTFUL_S}

    async def _ask(self, session: aiohttp.ClientSession, uris: Sequence[str]) -> tuple[Sequence[str], float | None]:
        asked = dict.fromkeys(uris)
        for _ in range(len(self._others)):
            if len(asked) == bluesky_appview.MOST:
                break
            asked[self._others[0]] = None
            self._others.rotate(-1)
        shown = await bluesky_appview.shown(session, self._appview, list(asked))
        if len(uris) > 1 and len(shown) < len(asked) / 2:
            raise trouble.LostError("does not know most of the posts that it was asked about")
        self._compare(uris, shown)
        told = {uri for uri in asked if uri not in shown or shown[uri].signed_in_only}
        if not told.isdisjoint(self._others):
            self._others = deque(uri for uri in self._others if uri not in told)
        return [uri for uri in uris if uri in shown and shown[uri].signed_in_only], None

    def _compare(self, uris: Sequence[str], shown: Mapping[str, Shown]) -> None:
        now = self._monotonic()
        for uri in uris:
            if uri in shown:
                self._missing.pop(uri, None)
            elif now - self._missing.setdefault(uri, now) >= PATIENCE_S and len(self._doubts) < MOST_DOUBTS:
                del self._missing[uri]
                self._doubts[uri] = _Doubt(since=now, at=max(now, self._stood.get(uri, now)))

    def _doubtful(self) -> str | None:
        now = self._monotonic()
        first = min(self._doubts, key=lambda uri: self._doubts[uri].at, default=None)
        return first if first is not None and self._doubts[first].at <= now else None

    def _judge(self, uri: str, stands: bool | None) -> None:
        now, doubt = self._monotonic(), self._doubts[uri]
        if stands is None:
            doubt.at = now + min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(doubt.tries, 10))
            doubt.tries += 1
            author = uri.split("/")[2]
            for each, other in self._doubts.items():  # they would wait for the same server, and the others for them
                if each != uri and each.split("/")[2] == author:
                    other.at = max(other.at, doubt.at - 1)
            return
        del self._doubts[uri]
        if stands:
            self._stood[uri] = now + STANDS_S
        else:
            self._gone.append(uri)

    def _tell(self, error: Exception) -> None:
        host = self._appview.host_port_subcomponent or ""
        found = trouble.of(
            error, host, self._clock(), refused="check appview of the source, or set it to an empty text"
        )
        self._health.last_error, self._health.remedy = found.what, found.remedy
        trouble.warn("recheck_failed", self._name, self._health, found)


def _arranged(ids: Iterable[str], but: Collection[str] = ()) -> dict[str, str]:
    """Each post once, whatever its versions, and its author; what is none of Bluesky's is left out, and what those
    authors wrote. Neighbours may all have gone with one author, so each request is to be about posts of all times."""
    authors: dict[str, str] = {}
    for each in ids:
        uri = each.partition(post.VERSION)[0]
        if (found := _URI.fullmatch(uri)) is not None and found[1] not in but:
            authors[uri] = found[1]
    uris = list(authors)
    apart = len(uris) // BATCH + 1
    return {uri: authors[uri] for first in range(apart) for uri in uris[first::apart]}


def _first(uris: Iterable[str]) -> list[str]:
    return list(itertools.islice(uris, SPARE))
