"""Bluesky's Jetstream, both protocols, plain and packed: a town of three hundred that posts, edits, deletes and leaves,
an AppView that is asked what the stream did not tell, for hours behind and at times without most of its posts, the
authors' own server, and a second host that offers no encryption.

A clock that is set moves the times of the server's events: those of the future are taken as of now, so nothing of them
may be missing; v1 cannot be asked for what it dated before we came, which has to be a gap.

What was edited in a gap may keep its old words while the post stands: who asks by its id is told of the newest only.
Protocol 1 has no word for a repository that was set anew, so there nobody loses posts that way.
"""

import asyncio
import contextlib
import functools
import heapq
import itertools
import math
import random
import socket
import zlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self
from unittest import mock

from bot.domain import post
from bot.ingest.bluesky_recheck import Kept
from bot.ingest.jetstream import JetstreamSource
from bot.ingest.source import State
from bot.store import posts
from bot.store.database import Database
from tests.fakes import sources
from tests.fakes.bluesky import FakeAppView, FakeRecords
from tests.fakes.jetstream_faults import Cut, Drop, EndWith, Fault, Garbage, PackWith, Refuse, Slow, Split, Stall
from tests.fakes.sources import Event, FakeJetstream
from tests.soaks.holding import Emitted, Held, Report, Soak, Trouble, account

TROUBLES = frozenset(Trouble)
HOST = "jetstream.example"
AUTHORS = 300
CLOCK = 1000  # an author that never leaves
EVENTS_AN_HOUR = 24
STEP = timedelta(hours=1) / EVENTS_AN_HOUR
CALM = 30  # hours in which all is asked that is to be asked
LAG, LAGGING = timedelta(hours=5), range(59, 66)  # of the AppView, and when
OUTAGES = {30: 2, 66: 2, 77: 8, 84: 8}  # when the AppView knows only one in so many
OUTAGE = timedelta(minutes=40)
WRONG = timedelta(hours=1)  # more than that is due to a clock that was set
HIDDEN = {"values": [{"val": "!no-unauthenticated"}]}

FAULTS: dict[int, tuple[tuple[Fault, Trouble], ...]] = {
    3: ((Drop(2), Trouble.GONE_A_MINUTE),),
    5: ((Drop(4, rude=False), Trouble.GONE_A_MINUTE),),
    8: ((Cut(3), Trouble.CUT),),
    11: ((Split(3), Trouble.CUT),),
    14: ((Slow(2), Trouble.SLOW),),
    17: ((Garbage(3), Trouble.GARBAGE),),
    18: ((Garbage(3, data=b"{" * 100_000), Trouble.GARBAGE),),
    20: ((Refuse(429, {"Retry-After": "17"}), Trouble.TOO_MANY_REQUESTS),) * 40,
    23: ((Refuse(503), Trouble.GONE_A_MINUTE),) * 3,
    26: ((Stall(2), Trouble.HALF_OPEN),),
    29: ((Drop(1), Trouble.GONE_A_MINUTE), (Cut(1), Trouble.CUT), (Drop(0), Trouble.GONE_A_MINUTE)),
}
BAD_ANSWERS: tuple[bytes | tuple[int, dict[str, str]], ...] = (
    b'{"posts": []}', b"<html>", (503, {}), (429, {"Retry-After": "300"}),
)  # fmt: skip


class Time:
    """The world's, in whole milliseconds, with our clock and the server's beside it, each wrong by so much. It moves
    when the world says so."""

    def __init__(self) -> None:
        self.now = sources.START
        self.ours_wrong = self.theirs_wrong = timedelta(0)
        self.changed = asyncio.Event()  # somebody has gone to sleep, or something else that may be waited for
        self._sleepers: list[tuple[datetime, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def ours(self) -> datetime:
        return self.now + self.ours_wrong

    def theirs(self) -> datetime:
        return self.now + self.theirs_wrong

    def monotonic(self) -> float:
        return (self.now - sources.START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        """Until the world has moved on by as much."""
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        due = self.now + timedelta(milliseconds=math.ceil(seconds * 1000))
        heapq.heappush(self._sleepers, (due, next(self._numbers), waker))
        self.changed.set()
        await waker

    async def pass_by(self, seconds: float) -> None:
        self.advance(timedelta(milliseconds=math.ceil(seconds * 1000)))
        await asyncio.sleep(0)

    def advance(self, span: timedelta) -> None:
        self.now += span
        while self._sleepers and self._sleepers[0][0] <= self.now:
            waker = heapq.heappop(self._sleepers)[2]
            if not waker.done():
                waker.set_result(None)

    def anybody_sleeps(self) -> bool:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        return bool(self._sleepers)

    def skip(self) -> None:
        """To when the first sleeper wakes."""
        if self.anybody_sleeps():
            self.advance(max(self._sleepers[0][0] - self.now, timedelta(0)))


@dataclass(kw_only=True)
class Words:
    """A post, or a version of one."""

    id: str
    text: str
    at: datetime
    gone_at: datetime | None = None
    edited: bool = False  # that is why they are gone


@dataclass
class Town:
    """Writes events, and what they mean into its own account; knows nothing of what is sent."""

    fake: FakeJetstream
    time: Time
    rng: random.Random
    syncs_lose: bool
    words: list[Words] = field(default_factory=list)
    standing: dict[str, Event] = field(default_factory=dict)  # by uri, in its newest version
    _versions: dict[str, list[Words]] = field(default_factory=lambda: defaultdict(list))
    _left: set[int] = field(default_factory=set)
    _authors: dict[str, int] = field(default_factory=dict)
    _ended: dict[str, datetime] = field(default_factory=dict)
    _number: int = 0

    def one(self) -> None:
        """Something happens."""
        self._number += 1
        match self.rng.randrange(24):
            case 0 | 1 if self.standing:
                self._delete(self._any())
            case 2 | 3 if self.standing:
                self._edit(self._any())
            case 4 if self.standing:
                self._leave(self._authors[self._any()])
            case 5 if self.standing:
                self._set_anew(self._authors[self._any()])
            case 6:
                self.fake.add_account(author=AUTHORS + self.rng.randrange(50), active=True, status=None)
                self.fake.add_sync(author=AUTHORS + self.rng.randrange(50))
            case 7:
                self.fake.add_identity(author=self.rng.randrange(AUTHORS))
                self.fake.add_like(author=self.rng.randrange(AUTHORS))
            case 8:
                self.fake.add_post("for signed-in readers", labels=HIDDEN)
            case _:
                self.say(f"invented {self._number}", self._somebody())

    def say(self, text: str, author: int) -> None:
        made = self.fake.add_post(text, author=author)
        self._authors[made.uri] = author
        self._write(made, made.uri, text)

    def stood(self, uri: str, at: datetime) -> bool:
        """Was it there at that time?"""
        ended = self._ended.get(uri)
        return uri in self._versions and self._versions[uri][0].at <= at and (ended is None or at < ended)

    def emitted(self, held: Held) -> list[Emitted]:
        return [
            Emitted(
                id=each.id,
                at=each.at,
                text=each.text,
                gone_at=None if self._unseen(each, held) and held.posts.get(each.id) else each.gone_at,
            )
            for each in self.words
        ]

    def _unseen(self, each: Words, held: Held) -> bool:
        """Was it edited in gaps only, and stands?"""
        uri = each.id.partition(post.VERSION)[0]
        later = [other.gone_at for other in self._versions[uri] if other.at >= each.at and other.gone_at is not None]
        return each.edited and uri in self.standing and all(map(held.missed, later))

    def _write(self, event: Event, key: str, text: str) -> None:
        made = Words(id=key, text=text, at=self.time.now)
        self.words.append(made)
        self._versions[event.uri].append(made)
        self.standing[event.uri] = event

    def _edit(self, uri: str) -> None:
        text = f"edit {self._number}"
        edit = self.fake.add_update(text, author=self._authors[uri], rkey=self.standing[uri].body["rkey"])
        newest = self._versions[uri][-1]
        newest.gone_at, newest.edited = self.time.now, True
        self._write(edit, f"{uri}#v:{edit.body['rev']}", text)

    def _delete(self, uri: str) -> None:
        self.fake.add_delete(author=self._authors[uri], rkey=self.standing[uri].body["rkey"])
        self._gone(uri)

    def _leave(self, author: int) -> None:
        self.fake.add_account(author=author, status=self.rng.choice(["deleted", "takendown", "suspended"]))
        self._left.add(author)
        for uri in self._of(author):
            self._gone(uri)

    def _set_anew(self, author: int) -> None:
        """Some posts are not in the repository any more, which nobody says."""
        self.fake.add_sync(author=author)
        if self.syncs_lose:
            for uri in self._of(author)[::2]:
                self._gone(uri)

    def _gone(self, uri: str) -> None:
        self._versions[uri][-1].gone_at = self._ended[uri] = self.time.now
        del self.standing[uri]

    def _of(self, author: int) -> list[str]:
        return [uri for uri in self.standing if self._authors[uri] == author]

    def _any(self) -> str:
        return self.rng.choice(list(self.standing))

    def _somebody(self) -> int:
        return self.rng.choice([each for each in range(AUTHORS) if each not in self._left])


@dataclass
class Sight:
    """What the AppView knows of the town."""

    town: Town
    lag: timedelta = timedelta(0)
    one_in: int = 1
    until: datetime = sources.START
    behind: int = 0  # how often it said something that was no longer, or not yet, so
    blind: int = 0  # how often it left out what stood

    def __call__(self, uri: str) -> bool:
        now = self.town.time.now
        shown, stands = self.town.stood(uri, now - self.lag), uri in self.town.standing
        self.behind += shown is not stands
        if now < self.until and zlib.crc32(uri.encode()) % self.one_in:
            self.blind += stands
            return False
        return shown


class Unencrypted:
    """A host that answers whoever wants encryption with something else."""

    def __init__(self) -> None:
        self.refused = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            if await reader.read(4096):
                self.refused += 1
                writer.write(b"no such thing here")
                await writer.drain()
        writer.close()


@contextlib.contextmanager
def _names(failures: list[str]) -> Iterator[None]:
    """``HOST`` is here; every entry of the list is a failure to find that out."""
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **more: Any) -> Any:
        if host != HOST:
            return real(host, *arguments, **more)
        if failures:
            raise socket.gaierror(socket.EAI_AGAIN, failures.pop())
        return real("127.0.0.1", *arguments, **more)

    with mock.patch.object(socket, "getaddrinfo", resolve):
        yield


class Days:
    """What happens hour by hour, and that the next one waits until all of this one has been recorded."""

    def __init__(
        self, version: int, compress: bool, fake: FakeJetstream, view: FakeAppView, records: FakeRecords, sight: Sight
    ) -> None:
        self.happened: set[Trouble] = set()
        self.seen: set[str] = set()  # of wrong clocks, in what the source said
        self.away: list[tuple[datetime, datetime]] = []  # by the server's times, and so is the next one
        self.wrong: list[tuple[datetime, datetime]] = []
        self._version, self._compress = version, compress
        self._fake, self._view, self._records, self._sight = fake, view, records, sight
        self._town, self._time = sight.town, sight.town.time
        self._recorded: set[str] = set()
        self._hours = 0
        self._forgotten: set[str] = set()
        self._scripted: list[Trouble] = []

    def record(self, arrival: post.Arrival) -> bool:
        """What the soak has recorded; it is never the last."""
        if isinstance(arrival.item, post.Post):
            self._recorded.add(arrival.item.text)
            self._time.changed.set()
            if abs(arrival.item.received_at - self._time.now) > WRONG:
                self.seen.add("ours")
            if self._time.theirs_wrong < -WRONG and self._time.ours() - arrival.at > WRONG:
                self.seen.add("behind")
            if self._time.theirs_wrong > WRONG and "in the future" in (self._soak.sources[-1].health.last_error or ""):
                self.seen.add("ahead")
        return False

    async def run(self, soak: Soak) -> None:
        self._soak = soak
        while not self._fake.sent_by_connection:  # without a cursor it begins at the present
            self._pass()
            await asyncio.sleep(0)
        for hour in range(96):
            await self._trouble(hour)
            await self._hour()
        self._view.bad.clear()
        self._records.bad.clear()
        calm = 0
        while calm < CALM:
            lives = soak.lives
            await self._hour(busy=False)
            calm = calm + 1 if soak.lives == lives else 0
        soak.over.set()

    async def _hour(self, *, busy: bool = True) -> None:
        for _ in range(EVENTS_AN_HOUR):
            self._time.advance(STEP)
            await self._until(self._time.anybody_sleeps)  # who asks the AppView has got an answer
            await self._soak.settled()
            if busy:
                self._town.one()
        self._hours += 1
        last = f"hour {self._hours} is over"
        self._town.say(last, CLOCK)
        await self._until(lambda: last in self._recorded)

    async def _until(self, done: Callable[[], bool]) -> None:
        """Meanwhile no time passes, unless the source waits for it."""
        while not done():
            self._pass()
            self._time.changed.clear()
            await self._time.changed.wait()

    def _pass(self) -> None:
        if self._soak.sources and self._soak.sources[-1].health.state is State.WAITING:
            self._time.skip()

    async def _trouble(self, hour: int) -> None:
        """A fault needs a new connection to happen on."""
        faults = FAULTS.get(hour, ())
        if hour == 32 and self._compress:
            faults = ((PackWith(sources.dictionary("other")), Trouble.GARBAGE),)
        if hour == 35 and self._version == 2:
            faults = ((EndWith(3), Trouble.GONE_A_MINUTE),)
        if faults:
            self._fake.script(*(fault for fault, _ in faults))
            self.happened.update(trouble for _, trouble in faults)
            self._fake.hang_up()
        if hour % 5 == 0:
            self._bad_day(hour // 5)
        self._sight.lag = LAG if hour in LAGGING else timedelta(0)
        if hour in OUTAGES:
            self._sight.one_in, self._sight.until = OUTAGES[hour], self._time.now + OUTAGE
        match hour:
            case 38:
                await self._away(Trouble.GONE_A_MINUTE, timedelta(minutes=1))
            case 41:
                await self._clock(ours=timedelta(hours=-7))
            case 44:
                await self._clock(ours=timedelta(days=3))
            case 47:
                await self._clock(ours=timedelta(0))
            case 60:
                await self._away(Trouble.GONE_TWO_DAYS, timedelta(days=2))
            case 70:
                await self._clock(theirs=timedelta(days=2))
            case 73:
                await self._clock(theirs=timedelta(0))
            case 76:
                await self._clock(theirs=timedelta(hours=-3))
            case 80:
                await self._clock(theirs=timedelta(0))

    def _bad_day(self, number: int) -> None:
        """Of the AppView: some answers that are none, and posts that it forgets for once; and of the servers."""
        self._records.bad.append((503, {}))
        self._view.bad.append(BAD_ANSWERS[number % len(BAD_ANSWERS)])
        some = [uri for uri in self._town.standing if uri not in self._forgotten][::7]
        self._forgotten.update(some)
        self._view.forgotten.update(some)

    async def _clock(self, *, ours: timedelta | None = None, theirs: timedelta | None = None) -> None:
        """Ours is set while it runs; who sets the server's begins it anew, and things happen before we are back."""
        if ours is not None:
            self._time.ours_wrong = ours
            self._fake.hang_up()
            return
        assert theirs is not None
        if theirs:
            self._wrong_since = self._time.now + min(theirs, timedelta(0))
        else:
            self.wrong.append((self._wrong_since - WRONG, self._time.now + WRONG))
        await self._fake.go()
        self._time.theirs_wrong = theirs
        await self._fake.come()
        for _ in range(6):
            self._town.one()

    async def _away(self, trouble: Trouble, span: timedelta) -> None:
        """The server is gone, the town lives on."""
        self.happened.add(trouble)
        began = self._time.now
        await self._fake.go()
        await self._until(lambda: self._time.now >= began + timedelta(minutes=1))
        while self._time.now < began + span:
            self._time.now += STEP
            self._town.one()
            if self._time.now.minute == 0:
                await self._until(self._time.anybody_sleeps)
                self._time.advance(timedelta(0))
        self._fake.expire()
        self.away.append((began - WRONG, self._time.now + WRONG))
        await self._fake.come()


async def _soak(name: str, version: int, compress: bool, folder: Path, seed: int) -> Report:
    time, failures = Time(), ["scripted"] * 5
    dictionary = folder / "invented.zdict"
    dictionary.write_bytes(sources.dictionary())
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_names(failures))
        fake = await stack.enter_async_context(FakeJetstream(clock=time.theirs, stamped=True))
        town = Town(fake, time, random.Random(seed), syncs_lose=version == 2)
        sight = Sight(town)
        view = await stack.enter_async_context(FakeAppView(sight))
        records = await stack.enter_async_context(FakeRecords(lambda uri: uri in town.standing))
        unencrypted = await stack.enter_async_context(Unencrypted())
        here = fake.url(version).replace("127.0.0.1", HOST)
        there = f"wss://{HOST}:{unencrypted.port}/subscribe"

        def make(database: Database) -> Sequence[JetstreamSource]:
            source = JetstreamSource(
                "bluesky", [here, there], compress=compress, dictionary=dictionary, appview=view.url,
                directory=records.url, heartbeat_s=0.2, rng=random.Random(lived.lives), clock=time.ours,
                monotonic=time.monotonic, sleep=time.sleep,
            )  # fmt: skip
            source.recheck(_kept(database, time))
            return [source]

        days = Days(version, compress, fake, view, records, sight)
        lived = Soak(
            folder / f"{name}.db", make, clock=time.ours, monotonic=time.monotonic, sleep=time.pass_by,
            rng=random.Random(seed), deaths=0.006, last=days.record,
        )  # fmt: skip
        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
            tasks.create_task(days.run(lived), name="days")
            tasks.create_task(lived.run(), name="lives")
        assert fake.unfired() == [], "a scripted fault that never fired"
        assert bool(fake.packed) is compress
        if not failures:
            days.happened.add(Trouble.NO_NAME)
        if unencrypted.refused:
            days.happened.add(Trouble.UNTRUSTED)
        if lived.killed:
            days.happened.add(Trouble.KILLED)
        if "ours" in days.seen:
            days.happened.add(Trouble.OUR_CLOCK)
        if {"ahead", "behind"} <= days.seen:
            days.happened.add(Trouble.THEIR_CLOCK)
        assert sight.behind, "an AppView that was never behind"
        assert sight.blind, "an AppView that always knew all posts"
        held = await lived.held()
        _check_gaps(held.gaps, days, version)
        return account(
            name,
            town.emitted(held),
            held,
            lives=lived.lives,
            repeated=lived.repeated,
            broke=lived.broke,
            used=days.happened,
            since=sources.START,
            asks_again=True,
        )


def _check_gaps(gaps: Sequence[post.Gap], days: Days, version: int) -> None:
    """One where the server was away for longer than it keeps things. Protocol 1 goes by times, so that there is one at
    least where the server set its clock back, and there may be more while it was wrong; elsewhere there are none."""
    away, wrong = _within(gaps, days.away), _within(gaps, days.wrong)
    assert len(away) == 1, f"the server was away once too long: {away}"
    assert len(away) + len(wrong) == len(gaps), f"gaps where nothing was missing: {gaps}"
    assert bool(wrong) is (version == 1), f"while the server's clock was wrong: {wrong}"


def _within(gaps: Sequence[post.Gap], spans: Sequence[tuple[datetime, datetime]]) -> list[post.Gap]:
    return [
        gap
        for gap in gaps
        if gap.since and gap.until and any(first <= gap.since <= gap.until <= last for first, last in spans)
    ]


def _kept(database: Database, time: Time) -> Kept:
    since = sources.START - timedelta(days=30)

    def newest(until: datetime, most: int) -> Awaitable[Sequence[str]]:
        return database.read(posts.kept_ids, "bluesky", since, most, but=(until, time.ours()))

    def of(authors: Collection[str], until: datetime) -> Awaitable[Sequence[str]]:
        return database.read(posts.kept_ids_of, "bluesky", authors, since, but=(until, time.ours()))

    return Kept(newest=newest, of=of)


SOAKS: dict[str, Callable[[Path, int], Awaitable[Report]]] = {
    name: functools.partial(_soak, name, version, compress)
    for name, version, compress in (
        ("jetstream-v1", 1, False),
        ("jetstream-v1-packed", 1, True),
        ("jetstream-v2", 2, False),
        ("jetstream-v2-packed", 2, True),
    )
}
