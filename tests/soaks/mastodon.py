"""Two Mastodon instances that see much of the same fediverse, each sooner or later and under numbers of its own.

People write, edit and delete for almost five days; some are suspended and some ask not to be found, of which no stream
tells; some changes never reach an instance, and each clears old statuses away, of which nobody is told either. The
account is what they did; pages bring back what was missed, so that a gap is an excuse only for words that came and
went. The first instance has the long troubles, and for a while a wrong clock.
"""

import asyncio
import functools
import heapq
import random
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.ingest import mastodon, mastodon_recheck
from bot.ingest.source import Source
from bot.store import local_ids
from bot.store.database import Database
from tests.fakes import mastodon as fakes
from tests.fakes import streaming
from tests.fakes.mastodon import FakeMastodon
from tests.fakes.streaming import Break, Cut, Down, Fault, Jump, Nameless, Raw, Refuse, Split, Stall, Trickle
from tests.soaks.holding import Emitted, Report, Soak, Trouble, account

NAME = "mastodon"
TROUBLES = frozenset(Trouble)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
QUIET = 4.7 * DAY  # until when things happen; the rest is for asking about all of it
DAYS = 5
HALF_OPEN_STEPS = 20  # how many things happen before a half-open connection is noticed
INSTANCES = ("one", "two")
ALLOWANCE = 20  # requests in 5 minutes
AUTHORS = ("ada", "bo", "cy", "dee", "eve", "fay", "gil", "hal", "ivy", "jo")


@dataclass(frozen=True, kw_only=True)
class Version:
    """``at``: when it was written; ``ours``: the same by the clock of who reads. Where that is wrong, a gap may lie by
    either."""

    at: datetime
    ours: datetime
    words: str


@dataclass(kw_only=True)
class Note:
    """``lags``: which instances get to know of it, how much later. ``ids``: their numbers of it. ``deaf``: who hears of
    no change any more. ``cleared``: an instance has cleared it away. ``heard``: it came to the second one for sure."""

    uri: str
    author: str
    lags: dict[int, timedelta]
    versions: list[Version] = field(default_factory=list)
    ids: dict[int, str] = field(default_factory=dict)
    deaf: set[int] = field(default_factory=set)
    cleared: bool = False
    heard: bool = False
    gone_at: datetime | None = None


class World:
    """Everything happens at its time, and the instances' readers take it before time goes on."""

    def __init__(
        self, time: streaming.Time, instances: Sequence[FakeMastodon], origin: FakeMastodon, rng: random.Random
    ) -> None:
        """``origin``: where everything is written."""
        self.time = time
        self._origin = origin
        self.notes: list[Note] = []
        self.happened: set[Trouble] = set()
        self.cleared = 0
        self._instances = instances
        self._rng = rng
        self._plan: list[streaming.Planned] = []
        self._silent: set[str] = set()  # authors who are suspended, or ask not to be found
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._beat_at = time.now
        for instance in instances:
            instance.changed = self._changed
        time.on_advance = self._settle

    # Time.

    def at(self, passed: timedelta, act: Callable[[], object]) -> None:
        heapq.heappush(self._plan, streaming.Planned(streaming.START + passed, len(self._plan), act))

    async def sleep(self, seconds: float) -> None:
        await self._pass_to(self.time.now + timedelta(seconds=seconds))

    def sleeping(self, instance: FakeMastodon) -> Callable[[float], Any]:
        """How the reader of an instance sleeps."""

        async def sleep(seconds: float) -> None:
            instance.rest(True)
            try:
                await self.sleep(seconds)
            finally:
                instance.rest(False)

        return sleep

    async def go_on(self, passed: timedelta) -> None:
        """Until then, whenever all readers that can listen do."""
        half_open = 0
        while self.time.now < streaming.START + passed:
            stalled = any(each.stalled for each in self._instances)
            half_open = half_open + 1 if stalled else 0
            if self._ready() and half_open <= HALF_OPEN_STEPS:
                await self.sleep(MINUTE.total_seconds() if self.quiet else 5 * MINUTE.total_seconds())
                continue
            self._changed.clear()
            await self._changed.wait()

    @property
    def quiet(self) -> bool:
        return self.time.now >= streaming.START + QUIET

    def _ready(self) -> bool:
        waiting = [each.listened_to or each.resting for each in self._instances]
        return all(waiting) and any(each.listened_to and not each.resting for each in self._instances)

    async def _pass_to(self, when: datetime) -> None:
        async with self._turn:
            while self._plan and self._plan[0].at <= when:
                planned = heapq.heappop(self._plan)
                self.time.advance_to(planned.at)
                planned.act()
                await self._taken()
            self.time.advance_to(when)
            if self.time.now - self._beat_at >= MINUTE:
                await self._taken()

    async def _taken(self) -> None:
        self._beat_at = self.time.now
        for instance in self._instances:
            await instance.taken()

    def _settle(self) -> None:
        for instance in self._instances:
            instance.script.settle()

    # What people do.

    def live(self) -> None:
        """A note about every twelve minutes; all that comes of it is planned."""
        passed = MINUTE
        for number in range(10_000):
            if passed >= QUIET:
                break
            self.at(passed, functools.partial(self._write, number))
            passed += timedelta(milliseconds=self._rng.randrange(240_000, 1_200_000))
        for day, author in ((2.4, "ada"), (4.4, "bo")):
            self.at(day * DAY, functools.partial(self._suspend, author))
        for day, author in ((3.7, "cy"),):
            self.at(day * DAY, functools.partial(self._hide, author))
        for day in (1.2, 2.8, 3.3):
            for instance in range(2):
                self.at(day * DAY, functools.partial(self._vacuum, instance))

    def _write(self, number: int) -> None:
        author = self._rng.choice(AUTHORS)
        first = self._rng.randrange(2)
        lags = {first: timedelta(0)}
        if self._rng.random() < 0.5:
            lags[1 - first] = timedelta(milliseconds=self._rng.randrange(50_000))
        later = [timedelta(milliseconds=self._rng.randrange(1_000, 4_000_000)) for _ in range(2)]
        later += [timedelta(milliseconds=self._rng.randrange(3_600_000, 150_000_000))]
        edited, deleted = self._rng.random(), self._rng.random()
        if author in self._silent:
            return
        note = Note(
            uri=f"http://away.example:{self._origin.port}/users/{author}/statuses/{number}",
            author=author,
            lags=lags,
        )
        self.notes.append(note)
        self._origin.elsewhere.add(note.uri)
        self._say(note, f"invented {number}")
        for instance in lags:
            self._later(note, instance, functools.partial(self._bring, note, instance, self.time.now))
        for delay in later[: 0 if edited > 0.3 else 2 if edited < 0.1 else 1] + later[2:] * (0.3 < edited < 0.4):
            self._after(delay, functools.partial(self._edit, note))
        if deleted > 0.8:
            self._after(later[1], functools.partial(self._quote, note))
        if deleted < 0.3:
            self._after(later[2] if deleted < 0.1 else delay_of(later), functools.partial(self._delete, note))

    def _say(self, note: Note, words: str) -> None:
        note.versions.append(Version(at=self.time.now, ours=self.time.clock(), words=words))

    def _bring(self, note: Note, instance: int, written: datetime) -> None:
        if note.author in self._silent:
            return
        status = self._instances[instance].create(
            f"<p>{note.versions[0].words}</p>",
            ago=self.time.now - written,
            uri=note.uri,
            account={"url": f"https://away.example/@{note.author}", "discoverable": None},
        )
        note.ids[instance] = status["id"]
        note.heard |= instance == 1 and self._instances[1].listened_to and not self._instances[1].stalled

    def _edit(self, note: Note) -> None:
        if note.gone_at is not None or not self._shown(note):
            return
        words = f"{note.versions[0].words}, version {len(note.versions)}"
        self._say(note, words)
        for instance in self._told(note):
            change = functools.partial(self._change, note, instance, words, fakes.text(self.time.now))
            self._soon(note, instance, change)

    def _change(self, note: Note, instance: int, words: str, edited_at: str) -> None:
        local_id = note.ids.get(instance)
        status = self._instances[instance].statuses.get(local_id or "")
        if local_id is not None and status is not None and (status["edited_at"] or "") < edited_at:
            self._instances[instance].edit(local_id, f"<p>{words}</p>", edited_at=edited_at)

    def _delete(self, note: Note) -> None:
        if note.gone_at is not None or (note.cleared and self.time.now > streaming.START + QUIET - DAY - HOUR):
            return  # within a day nobody asks again about what was cleared away
        note.gone_at = self.time.now
        self._origin.elsewhere.discard(note.uri)
        for instance in self._told(note):
            self._soon(note, instance, functools.partial(self._drop, note, instance))

    def _drop(self, note: Note, instance: int) -> None:
        local_id = note.ids.get(instance)
        if local_id in self._instances[instance].statuses:
            self._instances[instance].delete(local_id)

    def _told(self, note: Note) -> list[int]:
        """Who hears of a change. The first instance, once it does not, never does again, where the second one does."""
        if len(note.lags) == 2 and note.heard and not note.cleared and self._rng.random() < 0.2:
            note.deaf.add(0)
        return [each for each in note.lags if each not in note.deaf]

    def _soon(self, note: Note, instance: int, act: Callable[[], object]) -> None:
        """Later than the note itself, but not always in order."""
        lag = timedelta(milliseconds=self._rng.randrange(50_000))
        self.at(self.time.now - streaming.START + max(lag, note.lags[instance]), act)

    def _shown(self, note: Note) -> bool:
        """Will anybody hear of a change, or does not have it yet?"""
        return not note.cleared or any(
            instance not in note.deaf and note.ids.get(instance) in self._instances[instance].statuses
            for instance in note.lags
        )

    def _quote(self, note: Note) -> None:
        for instance, local_id in note.ids.items():
            if local_id in self._instances[instance].statuses and note.author not in self._silent:
                self._instances[instance].quote(local_id)

    def _vacuum(self, instance: int) -> None:
        for note in self.notes:
            local_id = note.ids.get(instance)
            edited_for = self.time.now - note.versions[-1].at  # long enough to have been heard of, in spite of all
            old = edited_for > (50 if len(note.versions) > 1 else 12) * HOUR
            if old and local_id in self._instances[instance].statuses and self._rng.random() < 0.3:
                note.cleared = True
                note.deaf.add(instance)
                self.cleared += 1
                self._instances[instance].vacuum(local_id)

    def _suspend(self, author: str) -> None:
        for note, instance, local_id in self._end(author):
            self._instances[instance].statuses.pop(local_id)
            self._instances[instance].suspended.add(local_id)
            note.ids.pop(instance)

    def _hide(self, author: str) -> None:
        for _, instance, local_id in self._end(author):
            self._instances[instance].statuses[local_id]["account"]["noindex"] = True

    def _end(self, author: str) -> list[tuple[Note, int, str]]:
        """Of all that they wrote, where it can still be read."""
        self._silent.add(author)
        shown = []
        for note in self.notes:
            if note.author == author and note.gone_at is None and self._shown(note):
                note.gone_at = self.time.now
                shown += [(note, *each) for each in note.ids.items() if each[1] in self._instances[each[0]].statuses]
        return shown

    def _after(self, delay: timedelta, act: Callable[[], object]) -> None:
        passed = self.time.now - streaming.START + delay
        if passed < QUIET:
            self.at(passed, act)

    def _later(self, note: Note, instance: int, act: Callable[[], object]) -> None:
        self.at(self.time.now - streaming.START + note.lags[instance], act)

    # What goes wrong without a fault of the wire.

    def set_clock(self, shift: timedelta) -> None:
        self.happened.add(Trouble.THEIR_CLOCK)
        self._instances[0].wrong = shift

    def distrust(self, instance: FakeMastodon) -> None:
        """It says that its streams are behind TLS, where there is none; until it is asked no more."""
        asked = len(instance.requests)
        instance.streaming_at = f"wss://streaming.example:{instance.port}"

        def over() -> None:
            instance.streaming_at = None
            if any(path == "/api/v2/instance" for path, _ in instance.requests[asked:]):
                self.happened.add(Trouble.UNTRUSTED)

        instance.script.add(Break(at=self.time.now))
        self._after(10 * MINUTE, over)

    def emitted(self, *, ours: bool) -> list[Emitted]:
        """``ours``: at which times by the clock of who reads."""
        found = []
        for note in self.notes:
            ends = [*(each.at for each in note.versions[1:]), note.gone_at]
            for number, (each, gone_at) in enumerate(zip(note.versions, ends, strict=True)):
                stamp = (each.at - fakes.EPOCH) // timedelta(milliseconds=1)
                external_id = f"{note.uri}#v:{stamp}" if number else note.uri
                at = each.ours if ours else each.at
                overtaken = number > 0 and gone_at is not None and gone_at - each.at < MINUTE
                found.append(Emitted(id=external_id, at=at, text=each.words, gone_at=gone_at, missable=overtaken))
        return found


def delay_of(later: list[timedelta]) -> timedelta:
    """Soon after it was written, edited or not."""
    return later[0] * 1.5


class Mercy(random.Random):
    """Nobody kills what is in its last hours."""

    def __init__(self, seed: int, world: World) -> None:
        super().__init__(seed)
        self._world = world

    def random(self) -> float:
        return 1.0 if self._world.quiet else super().random()


def faults() -> tuple[list[tuple[Fault, Trouble]], list[tuple[Fault, Trouble]]]:
    """Of the first instance, and of the second."""

    def at(hours: float) -> Any:
        return {"at": streaming.START + hours * HOUR}

    def storm(hours: float) -> list[tuple[Fault, Trouble]]:
        limited = Refuse(**at(hours), path="/api/v1", status=429, headers={"Retry-After": "30"})
        return [(limited, Trouble.TOO_MANY_REQUESTS)] * 5

    minute = Trouble.GONE_A_MINUTE
    first: list[tuple[Fault, Trouble]] = [
        (Break(**at(2)), minute),
        (Break(**at(3), politely=True), minute),
        (Down(**at(5), until=streaming.START + 5 * HOUR + MINUTE), minute),
        (Stall(**at(8)), Trouble.HALF_OPEN),
        (Split(**at(9)), Trouble.CUT),
        (Trickle(**at(10)), Trouble.SLOW),
        (Raw(**at(11), data=b"event: update\ndata: \xff\x00{nonsense\n\n"), Trouble.GARBAGE),
        (Raw(**at(11.5), data=b"event: delete\ndata: no id\n\n"), Trouble.GARBAGE),
        (Cut(**at(12)), Trouble.CUT),
        (Break(**at(13)), minute),
        *[(Nameless(**at(13)), Trouble.NO_NAME)] * 3,
        (Jump(**at(14), by=-HOUR), Trouble.OUR_CLOCK),
        (Break(**at(14.2)), minute),
        (Jump(**at(17), by=HOUR), Trouble.OUR_CLOCK),
        (Refuse(**at(18), path="/api/v1/statuses", status=500), minute),
        (Break(**at(20)), minute),
        *storm(20),
        (Break(**at(22)), minute),
        (Refuse(**at(22), path="/api/v1/timelines", status=502), minute),
        (Refuse(**at(22), path="/api/v2/instance", status=503), minute),
        (Down(**at(30), until=streaming.START + 78 * HOUR), Trouble.GONE_TWO_DAYS),
        (Jump(**at(90), by=5 * HOUR), Trouble.OUR_CLOCK),
        (Break(**at(90.5)), minute),
        (Jump(**at(91), by=-5 * HOUR), Trouble.OUR_CLOCK),
        (Break(**at(91.2)), minute),
        (Break(**at(100)), minute),
        (Down(**at(101), until=streaming.START + 101.7 * HOUR), minute),
        (Break(**at(105)), minute),
        (Down(**at(106.2), until=streaming.START + 106.9 * HOUR), minute),
        (Break(at=streaming.START + QUIET), minute),
    ]
    second: list[tuple[Fault, Trouble]] = [
        (Cut(**at(7)), Trouble.CUT),
        (Break(**at(26)), minute),
        *storm(26),
        (Down(**at(50), until=streaming.START + 50 * HOUR + MINUTE), minute),
        (Raw(**at(60)), Trouble.GARBAGE),
        (Stall(**at(82)), Trouble.HALF_OPEN),
        (Refuse(**at(83), path="/api/v1/statuses", status=404), minute),
        (Break(at=streaming.START + QUIET), minute),
    ]
    return first, second


async def soak(folder: Path, seed: int) -> Report:
    time = streaming.Time()
    async with AsyncExitStack() as stack:
        origin = await stack.enter_async_context(FakeMastodon(time))
        instances = [await stack.enter_async_context(FakeMastodon(time, lockstep=True)) for _ in INSTANCES]
        world = World(time, instances, origin, random.Random(seed))
        world.live()
        world.at(95 * HOUR, lambda: world.distrust(instances[0]))
        for hour, shift in ((100, -3 * HOUR), (102, timedelta(0)), (104, 9 * HOUR), (106, timedelta(0))):
            world.at((hour + 0.1) * HOUR, functools.partial(world.set_clock, shift))
        scripted = faults()
        for instance, each in zip(instances, scripted, strict=True):
            instance.remaining = instance.allowance = ALLOWANCE
            instance.script.add(*(fault for fault, _ in each))
        lived = _lives(folder, seed, world, instances)
        async with asyncio.timeout(240), asyncio.TaskGroup() as tasks:
            tasks.create_task(lived.run(), name="lives")
            await world.go_on(DAYS * DAY)
            lived.over.set()
        assert world.cleared, "nothing was cleared away"
        assert origin.strangers, "nobody was asked about what was cleared away"
        left = [fault for each in instances for fault in each.script.left]
        assert not left, f"scripted faults that never fired: {left}"
    used = {trouble for each in scripted for _, trouble in each} | world.happened
    held = await lived.held()
    ours, theirs = (
        account(
            NAME,
            world.emitted(ours=ours),
            held,
            lives=lived.lives,
            repeated=lived.repeated,
            broke=lived.broke,
            used=used | ({Trouble.KILLED} if lived.killed else set()),
            since=streaming.START,
            asks_again=True,
        )
        for ours in (True, False)
    )
    missing = {each for each in ours.missing if each in theirs.missing}
    cleared = {note.uri for note in world.notes if note.cleared}
    there = {
        each.id
        for each in world.emitted(ours=True)
        if each.gone_at is None and each.id.partition("#")[0] not in cleared
    }
    return replace(ours, missing=tuple(sorted(missing | (there - held.posts.keys()))))


def _lives(folder: Path, seed: int, world: World, instances: Sequence[FakeMastodon]) -> Soak:
    def make(database: Database) -> list[Source]:
        return [
            _source(name, instance, world, database) for name, instance in zip(INSTANCES, instances, strict=True)
        ]  # fmt: skip

    return Soak(
        folder / f"{NAME}.db",
        make,
        clock=world.time.clock,
        monotonic=world.time.monotonic,
        sleep=world.sleep,
        rng=Mercy(seed, world),
        deaths=0.012,
    )


def _source(name: str, instance: FakeMastodon, world: World, database: Database) -> mastodon.MastodonSource:
    source = mastodon.MastodonSource(
        name,
        instance.url,
        token=fakes.TOKEN,
        heartbeat_s=0.3,
        connector=streaming.connector(instance.script),
        names=lambda: streaming.Names(streaming.Script(world.time)),
        rng=streaming.Unhurried(),
        clock=instance.clock,
        monotonic=instance.monotonic,
        sleep=world.sleeping(instance),
    )
    source.recheck(
        mastodon_recheck.Kept(
            stored=lambda prefix: database.read(local_ids.to_ask, name, streaming.START - DAY, prefix=prefix),
            post_of=lambda local_id: database.read(local_ids.post_of, name, local_id),
        )
    )
    return source
