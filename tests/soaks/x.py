"""X's filtered stream over TLS: six days of posts, of which many are edited, deleted or withheld later.

The stream tells of no deletion: X is asked again. Whenever a day has passed since a post's words had to go, in which X
could be reached, the store may hold none of them. Somebody else takes our rules away, and sets them anew, while we
listen, while we are away and right before a kill.

A gap is not allowed to claim much of what could be heard: what the server served is its own account.
"""

import contextlib
import dataclasses
import functools
import random
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.domain import post
from bot.ingest import terms
from bot.ingest.x import XSource
from bot.store import posts
from bot.store.database import Database
from tests.fakes import streaming
from tests.fakes import x as fakes
from tests.fakes.streaming import (
    START,
    Break,
    Cut,
    Down,
    Endless,
    Fault,
    Jump,
    Nameless,
    Raw,
    Refuse,
    Split,
    Stall,
    Trickle,
    Untrusted,
)
from tests.soaks.holding import Emitted, Report, Soak, Trouble, account

TROUBLES = frozenset(Trouble)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
END = START + 6 * DAY
QUIET = 12 * HOUR  # before the end: until then words go, and the rest is for the source to see it
AWAY = (START + 30 * HOUR, START + 78 * HOUR)
STREAM, LOOKUP = "/2/tweets/search/stream", "/2/tweets"


def _at(hours: float) -> Any:
    return {"at": START + hours * HOUR}


def _reset(hours: float) -> dict[str, str]:
    reset = int((START + hours * HOUR).timestamp()) + 600
    return {"x-rate-limit-remaining": "0", "x-rate-limit-reset": str(reset)}


_FAULTS: tuple[tuple[Fault, Trouble], ...] = (
    (Down(**_at(5), until=START + 5 * HOUR + MINUTE), Trouble.GONE_A_MINUTE),
    (Break(**_at(6), politely=True), Trouble.GONE_A_MINUTE),
    (Refuse(**_at(6), path=STREAM, status=503), Trouble.GONE_A_MINUTE),
    (Stall(**_at(8)), Trouble.HALF_OPEN),
    (Endless(**_at(8), path=STREAM, exactly=True), Trouble.HALF_OPEN),
    (Split(**_at(9)), Trouble.CUT),
    (Trickle(**_at(10)), Trouble.SLOW),
    (Raw(**_at(11), data=b"\xff\x00{nonsense\r\n"), Trouble.GARBAGE),
    (Raw(**_at(11.5), data=b'{"data": {"id": "' + b"x" * 2_000_000 + b"\r\n"), Trouble.GARBAGE),
    (Cut(**_at(12)), Trouble.CUT),
    (Break(**_at(13)), Trouble.NO_NAME),
    *[(Nameless(**_at(13)), Trouble.NO_NAME)] * 3,
    (Jump(**_at(14), by=-HOUR), Trouble.OUR_CLOCK),
    (Break(**_at(14.2)), Trouble.OUR_CLOCK),
    (Jump(**_at(17), by=2 * HOUR), Trouble.OUR_CLOCK),
    (Break(**_at(17.2)), Trouble.OUR_CLOCK),
    (Refuse(**_at(17.2), path=STREAM, status=429, headers=_reset(17.2)), Trouble.TOO_MANY_REQUESTS),
    (Jump(**_at(18), by=-HOUR), Trouble.OUR_CLOCK),
    (Break(**_at(20)), Trouble.TOO_MANY_REQUESTS),
    *[(Refuse(**_at(20), path=STREAM, status=429, headers={"Retry-After": "30"}), Trouble.TOO_MANY_REQUESTS)] * 4,
    *[(Refuse(**_at(20), path=STREAM, status=429), Trouble.TOO_MANY_REQUESTS)] * 3,
    *[(Refuse(**_at(21), path=LOOKUP, exactly=True, status=429, headers=_reset(21)), Trouble.TOO_MANY_REQUESTS)] * 2,
    (Break(**_at(24)), Trouble.UNTRUSTED),
    (Untrusted(**_at(24), until=START + 24 * HOUR + 10 * MINUTE), Trouble.UNTRUSTED),
    (Down(at=AWAY[0], until=AWAY[1], answer=503), Trouble.GONE_TWO_DAYS),
    (Break(**_at(84.5)), Trouble.THEIR_CLOCK),
    (Break(**_at(90.5)), Trouble.THEIR_CLOCK),
    (Break(**_at(120)), Trouble.GONE_A_MINUTE),
)
_THEIR_CLOCK = {84: -3 * HOUR, 86: timedelta(0), 90: 9 * HOUR, 92: timedelta(0)}
_DENSE = ((14, 18), (84, 86), (90, 92))  # hours: while a clock is wrong every minute counts
_DEATHS = (14.5, 17.5, 18.05, 85, 91, 105.05)  # hours: while it is wrong, and right after; the others come by chance
_RULES = (60, 82, 100, 105, 110)  # hours: others take ours away, set them anew, and so on
_CHECKED = timedelta(minutes=35)  # so much of what was heard may lie in the gap of a rule that others changed
_HEARD = timedelta(minutes=15)  # and in any other: a kill forgets what came after the last Mark
_AROUND = (-3, 10, 50)  # seconds: before a fault, what comes late; after it, what is missed


class Fate(random.Random):
    """Kills by chance, and with the next batch where that is ``sealed``."""

    sealed = False

    def random(self) -> float:
        sealed, self.sealed = self.sealed, False
        return 0.0 if sealed else super().random()


@dataclass(kw_only=True)
class Said:
    at: datetime
    words: str
    gone_at: datetime | None = None


@dataclass
class World:
    """Writes, edits, deletes and withholds posts at X, at their times, and into its own account."""

    fake: fakes.FakeX
    path: Path
    rng: random.Random
    said: dict[str, Said] = field(default_factory=dict)
    troubles: set[Trouble] = field(default_factory=set)
    overdue: set[str] = field(default_factory=set)
    checks: int = 0

    def plan(self) -> None:
        for number, at in enumerate(sorted(self._times())):
            self.fake.plan(at, functools.partial(self._write, number))
        for fault, _ in _FAULTS:
            self.fake.plan(fault.at - timedelta(seconds=1), lambda: None)  # until then all is heard
        for hours, skew in _THEIR_CLOCK.items():
            self.fake.plan(START + hours * HOUR, functools.partial(setattr, self.fake, "skewed", skew))
        for number, hours in enumerate(_RULES):
            change = self.fake.set_rules_again if number % 2 else self.fake.take_rules_away
            self.fake.plan(START + hours * HOUR, change)
        for hour in range(int((END - START) / HOUR)):
            self.fake.plan(START + hour * HOUR, self._check)

    def invented(self, gaps: Sequence[post.Gap]) -> list[str]:
        """Gaps that say that more was missed than the server knows of."""
        found = [f"a gap until {gap.until} claims {self._heard(gap)} too much" for gap in gaps
                 if self._heard(gap) > (_CHECKED if "rules" in gap.reason else _HEARD)]  # fmt: skip
        most = len(self.fake.served) - 1 + len(_RULES)
        return [*found, *(str(gap) for gap in gaps[most:])]

    def _heard(self, gap: post.Gap) -> timedelta:
        if gap.since is None or gap.until is None:
            return timedelta(0)
        spans = [(max(each.since, gap.since), min(each.until or END, gap.until)) for each in self.fake.served]
        return sum((max(until - since, timedelta(0)) for since, until in spans), timedelta(0))

    def _times(self) -> set[datetime]:
        times = {fault.at + timedelta(seconds=seconds) for fault, _ in _FAULTS for seconds in _AROUND}
        at = START + 10 * MINUTE
        while at < END - QUIET:
            times.add(at)
            dense = any(first * HOUR <= at - START < last * HOUR for first, last in _DENSE)
            at += timedelta(minutes=self.rng.uniform(0.5, 1.5) if dense else self.rng.uniform(4, 14))
        return times

    def emitted(self) -> list[Emitted]:
        return [Emitted(id=key, at=each.at, text=each.words, gone_at=each.gone_at) for key, each in self.said.items()]

    def _write(self, number: int) -> None:
        if number % 20 == 3:
            self.fake.post(f"theirs {number}", rule="999")
        elif number % 20 == 13:
            self.fake.post(f"withheld {number}", withheld={"copyright": False, "country_codes": ["XX"]})
        else:
            self._say(new := self.fake.post(f"invented {number}"), f"invented {number}")
            self._plan_fate(new, number)

    def _plan_fate(self, id: str, number: int) -> None:
        def later(least: timedelta, most: timedelta) -> datetime:
            return self.fake.time.now + self.rng.random() * (most - least) + least

        match number % 9:
            case 0:
                self._plan(later(MINUTE, HOUR), lambda: self._edit(id, number))
            case 4:
                self._plan(later(HOUR, 3 * DAY), lambda: self._take_back(id, self.fake.gone))
            case 7:
                self._plan(later(HOUR, 3 * DAY), lambda: self._withhold(id))

    def _plan(self, at: datetime, act: Any) -> None:
        if at < END - QUIET:
            self.fake.plan(at, act)

    def _edit(self, id: str, number: int) -> None:
        self.said[id].gone_at = self.fake.time.now
        self._say(self.fake.edit(id, f"edited {number}"), f"edited {number}")

    def _take_back(self, id: str, gone: dict[str, str]) -> None:
        gone[id] = self.rng.choice(("resource-not-found", "not-authorized-for-resource"))
        self.said[id].gone_at = self.fake.time.now

    def _withhold(self, id: str) -> None:
        self.fake.withheld.add(id)
        self.said[id].gone_at = self.fake.time.now

    def _say(self, id: str, words: str) -> None:
        if self.fake.skewed:
            self.troubles.add(Trouble.THEIR_CLOCK)
        self.said[id] = Said(at=self.fake.time.now, words=words)

    def _check(self) -> None:
        """Which words are still there, a day after they had to go?"""
        now = self.fake.time.now
        with contextlib.closing(sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)) as store:
            kept = [found[0] for found in store.execute("SELECT id FROM posts WHERE text != ''")]
        gone = {key: each.gone_at for key, each in self.said.items() if each.gone_at is not None}
        self.overdue |= {key for key in kept if key in gone and _reachable(gone[key], now) > DAY}
        self.checks += 1


def _reachable(since: datetime, until: datetime) -> timedelta:
    """For how long of that time X could be reached."""
    away = min(AWAY[1], until) - max(AWAY[0], since)
    return until - since - max(away, timedelta(0))


async def soak(folder: Path, seed: int, *, backfill_minutes: int = 0) -> Report:
    time = streaming.Time()
    path = folder / f"x-{backfill_minutes}.db"
    async with fakes.FakeX(time, drive=True, backfill=True, tls=True) as fake:
        assert fake.certificates is not None
        connector = streaming.connector(fake.script, fake.certificates.trust)
        world = World(fake, path, random.Random(seed))
        world.plan()
        fake.script.add(*(fault for fault, _ in _FAULTS))
        fate = Fate(seed)
        for hours in _DEATHS:
            fake.plan(START + hours * HOUR, functools.partial(setattr, fate, "sealed", True))
        fake.late, fake.lingers = timedelta(seconds=4), timedelta(seconds=45)

        def make(database: Database) -> list[XSource]:
            source = XSource(
                "x",
                fake.url,
                token=fakes.TOKEN,
                rules=["fire lang:en", "smoke"],
                backfill_minutes=backfill_minutes,
                silence_s=1.5,
                connector=connector,
                clock=time.clock,
                monotonic=time.monotonic,
                sleep=lived.sleep,
            )
            source.recheck(lambda: database.read(posts.kept_ids, source.provider, time.wall() - terms.PERSONS))
            return [source]

        lived = Soak(
            path,
            make,
            clock=time.wall,
            monotonic=time.monotonic,
            sleep=time.sleep,
            rng=fate,
            deaths=0.004,
        )
        fake.settled = lived.settled
        fake.plan(END, lived.over.set)
        await lived.run()
    assert fake.script.left == [], "a scripted trouble that never came"
    assert world.checks == (END - START) / HOUR
    held = await lived.held()
    used = {trouble for _, trouble in _FAULTS} - {Trouble.THEIR_CLOCK} | world.troubles
    report = account(
        "x",
        world.emitted(),
        held,
        lives=lived.lives,
        repeated=lived.repeated,
        broke=lived.broke,
        used=used | ({Trouble.KILLED} if lived.killed else set()),
        since=START,
        asks_again=True,
    )
    return dataclasses.replace(
        report,
        kept=tuple({*report.kept, *world.overdue}),
        invented=(*report.invented, *world.invented(held.gaps)),
    )


SOAKS = {"x": soak, "x-backfill": functools.partial(soak, backfill_minutes=5)}
