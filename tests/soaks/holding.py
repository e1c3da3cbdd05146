"""What every soak does: a source is read by the real ingester into a real store, through many lives, while its server
goes through every trouble there is; then what the store holds is compared with what the server says that it emitted.

Time is virtual. A life ends like a kill: what was not recorded is lost, and the next life begins with what the store
says. The server's own account is made where things happen, never from what was sent.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path

import numpy as np

from bot.detection.detector import Detector
from bot.domain import post, times
from bot.domain.access import ProviderSet
from bot.ingest.ingester import Ingester
from bot.ingest.source import Source, SourceHealth, State
from bot.pipeline.classifying import Judged
from bot.pipeline.detecting import Detecting
from bot.store import sources
from bot.store.database import Database, Tables, rows
from classifiers.api import CATEGORIES, Classification

INBOX = 8  # small, so that a kill costs little and back-pressure is the rule
BATCH = 4
EARLY = timedelta(hours=12)  # clocks are set by up to so much in most soaks
REPORT = Classification(
    categories=dict.fromkeys(CATEGORIES, 0.01) | {"fire": 0.99},
    places=(),
    embedding=np.full(384, 384**-0.5, dtype=np.float32),
    model="soak",
)


class Trouble(StrEnum):
    """What a source has to survive."""

    GONE_A_MINUTE = "server gone for a minute"
    GONE_TWO_DAYS = "server gone for two days"
    HALF_OPEN = "half-open connection"
    SLOW = "slow server"
    CUT = "frame cut in two"
    GARBAGE = "garbage"
    TOO_MANY_REQUESTS = "429 storm"
    NO_NAME = "DNS failure"
    OUR_CLOCK = "our clock set"
    THEIR_CLOCK = "the provider's clock wrong"
    UNTRUSTED = "TLS failure"
    KILLED = "killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitted:
    """One thing that the server said, by its own account, under the id that the store has to know it by.

    ``text`` None: whatever it says. ``gone_at``: when it was deleted or its words were replaced; then the store may
    hold no words of it. ``missable``: it came and went while nobody could have seen it.
    """

    id: str
    at: datetime
    text: str | None = None
    gone_at: datetime | None = None
    missable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What the store holds in the end; ``posts``: id → words, empty where they are gone."""

    posts: dict[str, str]
    gaps: tuple[post.Gap, ...]

    def missed(self, at: datetime) -> bool:
        """Does it lie in a recorded gap?"""
        return any(gap.since <= at <= gap.until for gap in self.gaps if gap.since and gap.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """``missing``: emitted, not held, in no gap; ``invented``: held, never emitted, so that something is there twice or
    wrong; ``kept``: words that had to go; ``altered``: held with other words; ``repeated``: posts that a source brought
    more than once in one life; ``early``: gaps from before the soak began; ``broke``: what sources did not survive.
    ``covered``: held although a gap says that it was missed."""

    source: str
    emitted: int
    held: int
    gone: int
    in_gaps: int
    covered: int
    gaps: int
    lives: int
    used: frozenset[Trouble]
    missing: tuple[str, ...]
    invented: tuple[str, ...]
    kept: tuple[str, ...]
    altered: tuple[str, ...]
    repeated: tuple[str, ...]
    early: int
    broke: tuple[str, ...]

    @property
    def clean(self) -> bool:
        return not (
            self.missing or self.invented or self.kept or self.altered or self.repeated or self.early or self.broke
        )


class Soak:
    """Lives of one service with the sources that ``make`` builds for each life.

    ``deaths``: the chance that a batch is the last one of its life, half of the time before it is recorded.
    ``downtime`` passes between two lives. The soak is over when ``over`` is set, or when an arrival for which ``last``
    is true has been recorded, or when a finite source has ended.
    """

    def __init__(
        self,
        path: Path,
        make: Callable[[Database], Sequence[Source]],
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
        rng: random.Random,
        deaths: float = 0.01,
        downtime_s: float = 90.0,
        last: Callable[[post.Arrival], bool] = lambda _: False,
    ) -> None:
        self.over = asyncio.Event()
        self.lives = 0
        self.killed = 0
        self.repeated: list[str] = []
        self.broke: list[str] = []
        self.sources: list[Source] = []
        self._path = path
        self._make = make
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._rng = rng
        self._deaths = deaths
        self._downtime_s = downtime_s
        self._last = last
        self._inbox: asyncio.Queue[post.Arrival] = asyncio.Queue(INBOX)
        self._idle = asyncio.Event()
        self._idle.set()

    async def sleep(self, seconds: float) -> None:
        """For the source to sleep with, where only sleeping moves the time: all that it has said is recorded first."""
        await self.settled()
        await self._sleep(seconds)

    async def settled(self) -> None:
        while not (self._idle.is_set() and self._inbox.empty()):
            await asyncio.sleep(0)
            await self._idle.wait()

    async def run(self) -> None:
        while not await self._life():
            await self._sleep(self._downtime_s * self._rng.uniform(0.2, 1.8))

    async def held(self) -> Held:
        with Database.open(self._path, read_only=True) as database:
            return await database.read(_held)

    async def _life(self) -> bool:
        """Is all over?"""
        self.lives += 1
        self._inbox = asyncio.Queue(INBOX)
        self._idle.set()
        with Database.open(self._path) as database:
            made = self._make(database)
            self.sources.extend(made)
            detecting = Detecting(database, _nobody, now=self._clock)
            await detecting.start()
            ingester = Ingester(
                made,
                inbox=self._inbox,
                cursors=await database.read(sources.cursors),
                clock=self._clock,
                monotonic=self._monotonic,
                sleep=self._sleep,
                rng=self._rng,
            )
            reading = asyncio.create_task(ingester.run(), name="reading")
            recording = asyncio.create_task(self._record(detecting), name="recording")
            over = asyncio.create_task(self.over.wait(), name="over")
            tasks = {reading, recording, over}
            try:
                await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
                if recording.done():
                    return recording.result()
                if reading.done():
                    reading.result()
                settling = asyncio.create_task(self.settled(), name="settling")
                tasks.add(settling)
                await asyncio.wait({settling, recording}, return_when=asyncio.FIRST_COMPLETED)
                return recording.result() if recording.done() else True
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.broke += [each.health.last_error or "" for each in made if _broke(each.health)]

    async def _record(self, detecting: Detecting) -> bool:
        """Until the last arrival is recorded (True), or until it is killed (False)."""
        seen: set[tuple[str, str]] = set()
        while True:
            batch = [await self._inbox.get()]
            self._idle.clear()
            while len(batch) < BATCH and not self._inbox.empty():
                batch.append(self._inbox.get_nowait())
            brought = [(each.source, each.item.key) for each in batch if isinstance(each.item, post.Post)]
            for each in brought:
                if each in seen:
                    self.repeated.append(each[1])
                seen.add(each)
            fate = self._rng.random()
            if self.over.is_set():
                fate = 1.0  # what is on its way is recorded
            if fate < self._deaths / 2:
                self.killed += 1
                return False
            await detecting.take([_judged(each) for each in batch])
            self._idle.set()
            if any(map(self._last, batch)):
                return True
            if fate < self._deaths:
                self.killed += 1
                return False


def account(
    source: str,
    emitted: Iterable[Emitted],
    held: Held,
    *,
    lives: int,
    used: Iterable[Trouble],
    since: datetime,
    repeated: Iterable[str] = (),
    broke: Iterable[str] = (),
    asks_again: bool = False,
) -> Report:
    """``since``: what was emitted before that is none of ours, and may be held or not. ``asks_again``: the source asks
    what has become of the posts that it keeps, so that a deletion in a gap is no excuse."""
    told = {each.id: each for each in emitted}
    ours = [each for each in told.values() if each.at >= since]
    absent = [each for each in ours if each.id not in held.posts]
    known = {told[key]: words for key, words in held.posts.items() if key in told}
    return Report(
        source=source,
        emitted=len(ours),
        held=len(held.posts),
        gone=sum(not words for words in held.posts.values()),
        in_gaps=sum(held.missed(each.at) for each in absent),
        covered=sum(held.missed(each.at) for each in known),
        gaps=len(held.gaps),
        lives=lives,
        used=frozenset(used),
        missing=tuple(each.id for each in absent if not each.missable and not held.missed(each.at)),
        invented=tuple(key for key in held.posts if key not in told),
        kept=tuple(
            each.id
            for each, words in known.items()
            if words and each.gone_at is not None and (asks_again or not held.missed(each.gone_at))
        ),
        altered=tuple(
            each.id
            for each, words in known.items()
            if each.gone_at is None and (not words or each.text not in (None, words))
        ),
        repeated=tuple(repeated),
        early=sum(gap.since is not None and gap.since < since - EARLY for gap in held.gaps),
        broke=tuple(broke),
    )


def _broke(health: SourceHealth) -> bool:
    """Did it meet something that the ingester calls a defect?"""
    return health.state is State.FAILED or (health.last_error or "").startswith("source ")


def _held(db: Tables) -> Held:
    return Held(
        posts={found["id"]: found["text"] for found in rows(db, "SELECT id, text FROM posts ORDER BY seq")},
        gaps=tuple(
            post.Gap(since=_time(found["since"]), until=_time(found["until"]), reason=str(found["reason"]))
            for found in sources.gaps(db)
        ),
    )


def _time(text: object) -> datetime | None:
    return None if text is None else times.from_text(str(text))


def _judged(arrival: post.Arrival) -> Judged:
    """Everything is a report, so that everything is kept."""
    told = isinstance(arrival.item, post.Post) and arrival.item.official is None
    return Judged(arrival=arrival, classification=REPORT if told else None)


def _nobody(view: ProviderSet) -> Detector:
    raise AssertionError("nobody subscribes to a soak")
