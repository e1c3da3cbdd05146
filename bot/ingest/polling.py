"""Polling a document over HTTP: asked again and again, told from what it said before. The base of feeds and warnings.

What a document says is a ``Reading``'s matter (pure, on a thread); this module owns the asking and the remembering.

Asking. Conditional requests; redirects are followed by hand, and a permanent one is remembered once its target has
answered with something readable; one to another host only for feeds. Where the new address fails, the old one is asked
every second time. 410 means gone for good: the source stays, says so
and asks once a day. The interval moves between the reading's floor and ceiling, by how often the document changed, with
jitter on top. A server that cannot be reached is tried again after the common back-off, one that answers with an error
after the interval as well; ``Retry-After`` goes first. A body is at most 10 MB, unpacked.

Remembering. The cursor is JSON: the validators, the moved address, when the document was last read, and what is known
of it, bounded. An arrival's cursor holds what was known right after it, and the new validators only with the last one
of its document: whoever resumes in between gets the whole document again and is told the rest. Where a document told
nothing a Mark moves the cursor, every five minutes, so that what was only seen is known after a restart as well.
"""

import asyncio
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Protocol

import aiohttp
import msgspec
import structlog
from aiohttp import abc, resolver
from yarl import URL

from bot.domain import errors, post
from bot.ingest import addresses, backoff, elapsed, fetching, trouble
from bot.ingest.fetching import Answer, Document
from bot.ingest.questions import Questions
from bot.ingest.reach import Reach
from bot.ingest.source import SourceHealth, State

GONE_S = 86_400.0
KNOWN = 2_000  # entries of the cursor
JITTER = 0.1
MARK_EVERY_S = 300.0

Known = Mapping[str, tuple[str, ...]]

log = structlog.get_logger()


class UnreadableError(Exception):
    """The document is none of ours; the message is the predicate of a sentence, without anything of the document."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a reading may know: ``since`` is when the document was last read, None before the first time.

    ``answers``: of the questions of the same document, by address; None where it could not be had now, and missing
    where there were too many. None altogether: not yet asked.
    """

    now: datetime
    since: datetime | None
    address: URL
    known: Known
    answers: Mapping[str, Answer | None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One item, and what is known once it is out; without an item only that. An empty tuple forgets the key."""

    item: post.Post | post.Deletion | post.Gap | None = None
    remember: Known = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a document says beyond what was known. ``dropped``: entries that could not be read.

    ``questions``: addresses on the same host that have to be asked before the document is read once more.
    ``complete`` is False where something of it was left for the next time, or it is a part of something longer, so that
    it is asked for again in full.
    """

    steps: tuple[Step, ...] = ()
    dropped: int = 0
    questions: tuple[str, ...] = ()
    complete: bool = True


class Reading(Protocol):
    """How one kind of document is asked for and read."""

    floor_s: float
    ceiling_s: float
    accept: str

    def address(self, url: URL, away: timedelta | None) -> URL:
        """Where to ask after so long: another address where it shows more of the past."""
        ...

    def read(self, body: bytes, charset: str | None, asked: Asked) -> Told:
        """Pure; raises UnreadableError."""
        ...


@dataclass(slots=True, kw_only=True)
class Place:
    """Where one reading of the document is; ``Place.parse(name, place.cursor)`` is an equal one.

    ``moved`` counts for the address ``base`` only: an operator may have set another since.
    """

    etag: str | None = None
    modified: str | None = None
    base: str | None = None
    moved: str | None = None
    read_at: datetime | None = None
    known: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def cursor(self) -> str:
        shape = _Cursor(
            etag=self.etag,
            modified=self.modified,
            base=self.base,
            moved=self.moved,
            at=None if self.read_at is None else int(self.read_at.timestamp()),
            known=self.known,
        )
        return msgspec.json.encode(shape).decode()

    @classmethod
    def parse(cls, name: str, cursor: str) -> "Place":
        """Raises UsageError for a cursor that no polled source has written."""
        try:
            shape = msgspec.json.decode(cursor, type=_Cursor)
            at = None if shape.at is None else datetime.fromtimestamp(shape.at, UTC)
        except (msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError, ValueError, OSError):
            raise errors.UsageError(
                f"source {name}: its cursor is that of another kind of source; give the source another name"
            ) from None
        return cls(
            etag=shape.etag,
            modified=shape.modified,
            base=shape.base,
            moved=shape.moved,
            read_at=at,
            known=shape.known,
        )

    def remember(self, known: Known) -> None:
        for key, value in known.items():
            self.known.pop(key, None)
            if value:
                self.known[key] = value
        while len(self.known) > KNOWN:
            del self.known[next(iter(self.known))]


class _Cursor(msgspec.Struct, omit_defaults=True):
    etag: str | None = None
    modified: str | None = None
    base: str | None = None
    moved: str | None = None
    at: int | None = None
    known: dict[str, tuple[str, ...]] = {}


_TROUBLES = (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError, UnreadableError)


class PollingSource:
    """What the document at ``url`` says, for ever; it never gives up. ``agent``: how we name ourselves; ``may_move``: a
    permanent redirect to another host is remembered."""

    live = True

    def __init__(
        self,
        name: str,
        url: str,
        reading: Reading,
        *,
        provider: str,
        agent: str = "tocsin",
        may_move: bool = False,
        names: Callable[[], abc.AbstractResolver] = resolver.DefaultResolver,
        rng: random.Random | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = elapsed.seconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        timeout_s: float = fetching.TIMEOUT_S,
    ) -> None:
        """Raises UsageError where ``url`` is no address of a server."""
        self.name = name
        self.provider = provider
        self.health = SourceHealth()
        self._url = addresses.server(name, url)
        self._reading = reading
        self._may_move = may_move
        self._names = names
        self._headers = {"User-Agent": agent, "Accept": reading.accept}
        self._rng = rng or random.Random()
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._timeout_s = timeout_s
        self._questions = Questions(
            name=name, health=self.health, clock=clock, monotonic=monotonic, timeout_s=timeout_s
        )
        self._interval_s = reading.floor_s
        self._marked_at: float | None = None  # when a cursor last went out

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        place = Place() if after is None else Place.parse(self.name, after)
        if place.base != str(self._url):
            place.etag = place.modified = place.moved = None
        if place.moved is not None and not self._is_home(URL(place.moved)):
            place.moved = None
        place.base = str(self._url)
        waits = backoff.Backoff(self._rng)
        read_at: float | None = None  # by our own clock, which nobody sets
        back = False  # do we ask the configured address again, though it has moved?
        reach = Reach(self._url, self._names())
        async with self._session(reach) as session:
            while True:
                url = self._url if place.moved is None or back else URL(place.moved)
                now = self._clock()
                since = place.read_at if read_at is None else now - timedelta(seconds=self._monotonic() - read_at)
                address = self._reading.address(url, None if since is None else now - since)
                try:
                    validators = (place.etag, place.modified) if address == url and not back else (None, None)
                    document = await fetching.fetch(
                        session, address, *validators, reach=reach, timeout_s=self._timeout_s
                    )
                    told = await self._read(session, reach, document, since, place)
                except _TROUBLES as error:
                    back = place.moved is not None and not back
                    await self._sleep(self._failed(error, address, waits))
                    continue
                read_at = self._monotonic()
                if back and not document.moved:
                    place.moved = None
                back = False
                for arrival in self._take(place, document, told, same=address == url):
                    yield arrival
                self._succeeded(waits, changed=any(step.item is not None for step in told.steps))
                await self._sleep(self._interval_s * (1 + self._rng.uniform(0, JITTER)))

    def _session(self, reach: Reach) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(resolver=reach)
        return aiohttp.ClientSession(connector=connector, headers=self._headers, cookie_jar=aiohttp.DummyCookieJar())

    def _is_home(self, url: URL) -> bool:
        """May it be asked from now on instead of the configured address?"""
        return self._may_move or url.host == self._url.host

    async def _read(
        self, session: aiohttp.ClientSession, reach: Reach, document: Document, since: datetime | None, place: Place
    ) -> Told:
        if document.body is None:
            return Told()
        asked = Asked(now=self._clock(), since=since, address=document.url, known=dict(place.known))
        try:
            told = await asyncio.to_thread(self._reading.read, document.body, document.charset, asked)
            further = self._questions.begin(session, reach, document.url)
            while further.leaves(told.questions):
                await further.ask(told.questions)
                asked = replace(asked, answers=dict(further.answers))
                told = await asyncio.to_thread(self._reading.read, document.body, document.charset, asked)
        except UnreadableError:
            self.health.dropped += 1
            raise
        if told.dropped and not self.health.dropped:
            log.warning("entries_dropped", source=self.name, count=told.dropped, more="are counted only")
        self.health.dropped += told.dropped
        return told

    def _take(self, place: Place, document: Document, told: Told, *, same: bool) -> Iterable[post.Arrival]:
        """Every step in order; the new validators stand in the last cursor only."""
        for step in told.steps:
            if step.item is None:
                place.remember(step.remember)
        items = [step for step in told.steps if step.item is not None]
        now = self._clock()
        if place.read_at is None:  # who resumes in the middle of the first reading is not new any more
            place.read_at = now
        for number, step in enumerate(items, start=1):
            assert step.item is not None
            place.remember(step.remember)
            if number == len(items):
                self._settle(place, document, told, now, same=same)
            if isinstance(step.item, post.Gap):
                log.warning("source_gap", source=self.name, since=step.item.since, reason=step.item.reason)
            self._marked_at = self._monotonic()
            yield post.Arrival(source=self.name, cursor=place.cursor, item=step.item, at=now)
        if items:
            return
        self._settle(place, document, told, now, same=same)
        if self._marked_at is None or self._monotonic() - self._marked_at >= MARK_EVERY_S:
            self._marked_at = self._monotonic()
            yield post.Arrival(source=self.name, cursor=place.cursor, item=post.Mark(), at=now)

    def _settle(self, place: Place, document: Document, told: Told, now: datetime, *, same: bool) -> None:
        if document.moved and same and self._is_home(document.url):
            if place.moved != str(document.url):
                log.info("source_moved", source=self.name, host=document.url.host)
            place.moved = str(document.url)
        if document.body is not None:
            kept = same and told.complete
            place.etag, place.modified = (document.etag, document.modified) if kept else (None, None)
        place.read_at = now

    def _succeeded(self, waits: backoff.Backoff, *, changed: bool) -> None:
        reading = self._reading
        self._interval_s = (
            max(reading.floor_s, self._interval_s / 2) if changed else min(reading.ceiling_s, self._interval_s * 1.25)
        )
        self.health.interval = timedelta(seconds=self._interval_s)
        self.health.reconnects += waits.failures > 0
        waits.failures = 0
        self.health.state = State.LIVE

    def _failed(self, error: BaseException, address: URL, waits: backoff.Backoff) -> float:
        """Note what happened; returns the seconds until the next try."""
        host = address.host or "the server"
        if isinstance(error, aiohttp.ClientResponseError | trouble.LostError | UnreadableError):  # it did answer
            least_s = self._interval_s
            self._interval_s = min(self._reading.ceiling_s, self._interval_s * 1.25)
        else:
            least_s = 0.0
        if isinstance(error, aiohttp.ClientResponseError) and error.status == 410:
            found = trouble.Trouble(
                what=f"{host} says that this is gone for good (410)",
                remedy=f"find its new address and set url, or remove the source {self.name}; it is asked once a day",
            )
            wait_s = self._rng.uniform(GONE_S, (1 + JITTER) * GONE_S)
        elif isinstance(error, UnreadableError):
            found = trouble.Trouble(
                what=f"{host} {error}",
                remedy=f"open the url of the source {self.name} in a browser; if it shows no such thing, set another",
            )
            wait_s = least_s + waits.after(0.0)
        else:
            found = trouble.of(error, host, self._clock(), refused="check the source's url; it is asked again")
            wait_s = least_s + waits.after(0.0, found.retry_after_s)
        trouble.waiting(self.name, self.health, found, wait_s, self._clock())
        self.health.interval = timedelta(seconds=self._interval_s)
        return wait_s
