"""Wikimedia's recent changes over TLS: nearly six days of people who write and quarrel by day and sleep at night.

Many things look like a burst and are none: bots, two people, talk pages, other wikis, too few or too slow edits, the
same edit sent again. Which bursts there were is counted here from what everybody did, article by article, as
``bot.ingest.bursts`` says what a burst is. The server's times are wrong now and then, and right again by night.

A gap covers nothing that is held (``covered`` is 0): what follows one is counted anew, and what lasts is not told
again. No gap is longer than what could not be read or counted: ``_LOST``, which is known here from what went wrong.
"""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from pathlib import Path

from bot.domain import post
from bot.ingest.wikimedia import WAS_AHEAD, WikimediaSource
from bot.store.database import Database
from tests.fakes import streaming
from tests.fakes import wikimedia as fakes
from tests.fakes.streaming import START
from tests.fakes.wikimedia import Cut, FakeEventStreams, Fault, Garbage, Heartbeats, Page, Refuse, Split, Stall
from tests.soaks.holding import Emitted, Report, Soak, Trouble, account

NAME = "wikimedia"
TROUBLES = frozenset(Trouble)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
END = START + 138 * HOUR
NIGHT = range(12, 15)  # hours after START, of each day
WITHIN = timedelta(minutes=10)

_AHEAD = fakes.change(at=START + 114.4 * HOUR, number=999_999, bot=True).data
_FAULTS: tuple[tuple[float, Fault, Trouble], ...] = (
    (3, Refuse(503, away=MINUTE), Trouble.GONE_A_MINUTE),
    (4, Garbage(), Trouble.GARBAGE),
    (5, Cut(), Trouble.CUT),
    (6, Split(), Trouble.SLOW),
    (7, Heartbeats(), Trouble.SLOW),
    *[(8, Refuse(429, {"Retry-After": "30"}), Trouble.TOO_MANY_REQUESTS)] * 6,
    (9, Garbage(b"data: [1,2\nid: \ndata: x\n\n"), Trouble.GARBAGE),
    (10, Stall(), Trouble.HALF_OPEN),
    (11, Garbage(b"id: " + b"9" * 100_000 + b"\ndata: " + b"x" * 3_000_000 + b"\n\n"), Trouble.GARBAGE),
    (16, Page(), Trouble.GARBAGE),
    (17, Refuse(302, {"Location": "http://127.0.0.1:9/"}), Trouble.GARBAGE),
    (18, Refuse(400), Trouble.GARBAGE),
    (20, Cut(), Trouble.NO_NAME),
    (22, Cut(), Trouble.UNTRUSTED),
    (46, Refuse(503, away=47 * HOUR), Trouble.GONE_TWO_DAYS),  # until 93: the last six hours begin at night
    (109.4, Garbage(b"", after=b"data: " + _AHEAD + b"\n\n"), Trouble.GARBAGE),  # believed while our clock is ahead
    (130, Cut(), Trouble.CUT),
)
_OUR_CLOCK = (
    (94, 94.7, -7 * MINUTE),
    (96, 97, 9 * HOUR),
    (100, 101, 2 * DAY),
    (102, 104, -DAY),
    (109.3, 110.3, 5 * HOUR),
)
_THEIR_CLOCK = ((106, 108.5, -3 * HOUR), (129, 132.5, 9 * HOUR))
_LOST = ((46, 87.4), (106, 108.5), (109.4, 110.8), (129, 132.5))  # hours; the server is back at 93, or soon after


@dataclass(frozen=True)
class Edit:
    """What somebody did; ``shown``: what else the stream tells of it."""

    at: datetime
    title: str
    user: str
    shown: dict[str, object] = field(default_factory=dict)

    @property
    def counts(self) -> bool:
        """It is of an article that we watch, by a person."""
        return not self.shown


class World:
    """All that is done, from the beginning to the end, in the order in which the server tells of it."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self.edits: list[Edit] = []
        for hour in range(int((END - START) / HOUR) - 2):
            if hour % 24 not in NIGHT:
                for story in range(6):
                    self._write(START + hour * HOUR + rng.uniform(1, 35) * MINUTE, f"Story {hour} {story}")
        self.edits.sort(key=lambda each: each.at)

    def fill(self, fake: FakeEventStreams) -> None:
        """The stream also has what nobody counts, and says some things twice."""
        ticks = (Edit(START + n * MINUTE, "A list", "Robot", {"bot": True}) for n in range(int((END - START) / MINUTE)))
        again = (Edit(each.at + 2 * MINUTE, each.title, each.user, {"again": each}) for each in self.edits[::20])
        numbers: dict[int, int] = {}
        for number, told in enumerate(sorted(chain(self.edits, ticks, again), key=lambda each: each.at), start=1):
            shown = dict(told.shown)
            meant = shown.pop("again", told)
            number = numbers.setdefault(id(meant), number)
            stamp = meant.at + _shift(meant.at, _THEIR_CLOCK)
            change = fakes.change(
                at=meant.at, number=number, title=told.title, user=told.user, dt=f"{stamp:%Y-%m-%dT%H:%M:%SZ}", **shown
            )
            fake.emit(fakes.Event(at=told.at, data=change.data))

    def emitted(self) -> list[Emitted]:
        pages: dict[str, list[Edit]] = {}
        for each in self.edits:
            if each.counts:
                pages.setdefault(each.title, []).append(each)
        return [burst for title, edits in pages.items() for burst in _bursts(title, edits)]

    def _write(self, at: datetime, title: str) -> None:
        """A story: a burst or something like it; some flare up again later."""
        rng = self._rng
        kind = rng.randrange(12)
        people = 2 if kind == 0 else rng.randrange(3, 7)
        edits = 4 if kind == 1 else rng.randrange(5, 14)
        shown: dict[str, object] = {
            2: {"bot": True},
            3: {"namespace": 1},
            4: {"wiki": "frwiki"},
            5: {"type": "log"},
        }.get(kind, {})
        pause = (150, 400) if kind == 6 else (30, 110)
        for _ in range(2 if kind == 7 else 1):
            for number in range(edits):
                at += timedelta(seconds=rng.randint(*pause))
                self.edits.append(Edit(at, title, f"Editor {number % people}", shown))
            at += timedelta(seconds=rng.randint(605, 900))


def _bursts(title: str, edits: list[Edit]) -> list[Emitted]:
    """Five edits by three people within ten minutes; it lasts while edits follow each other within ten minutes."""
    found: list[Emitted] = []
    last: datetime | None = None
    for number, edit in enumerate(edits):
        within = [each for each in edits[: number + 1] if edit.at - each.at <= WITHIN]
        if last is not None and edit.at - last <= WITHIN:
            last = edit.at
        elif len(within) >= 5 and len({each.user for each in within}) >= 3:
            last = edit.at
            key = f"enwiki:{title.replace(' ', '_')}:{int(within[0].at.timestamp())}"
            found.append(Emitted(id=key, at=edit.at, text=f"Many editors are changing the article “{title}”"))
        else:
            last = None
    return found


def _shift(at: datetime, wrong: tuple[tuple[float, float, timedelta], ...]) -> timedelta:
    hours = (at - START) / HOUR
    return next((shift for begins, ends, shift in wrong if begins <= hours < ends), timedelta(0))


def _lost(gap: post.Gap) -> bool:
    """Marks come each minute. Where the service was killed before it noticed, a gap has no beginning."""
    assert gap.until is not None
    since, until = gap.since or gap.until, gap.until
    return any(START + a * HOUR - 2 * MINUTE <= since <= until <= START + b * HOUR for a, b in _LOST)


async def soak(folder: Path, seed: int) -> Report:
    world = World(random.Random(seed))
    happened = {Trouble.THEIR_CLOCK}
    async with FakeEventStreams(tls=True) as fake:
        world.fill(fake)
        for hour, fault, _ in _FAULTS:
            fake.script(fault, at=START + hour * HOUR)
        fake.names.add(*[streaming.Nameless(at=START + 20 * HOUR)] * 3)
        fake.names.add(streaming.Untrusted(at=START + 22 * HOUR, until=START + 22.2 * HOUR))

        def clock() -> datetime:
            shift = _shift(fake.now, _OUR_CLOCK)
            happened.update({Trouble.OUR_CLOCK} if shift else set())
            return fake.now + shift

        async def sleep(seconds: float) -> None:
            await fake.time.sleep(seconds)

        def source(_: Database) -> list[WikimediaSource]:
            return [
                WikimediaSource(
                    NAME,
                    fake.url,
                    wikis=["enwiki"],
                    contact="ada@example.org",
                    silent_s=0.3,
                    connector=fake.connector(),
                    rng=random.Random(lived.lives),
                    clock=clock,
                    monotonic=fake.time.monotonic,
                    sleep=lived.sleep,
                )
            ]

        lived = Soak(
            folder / f"{NAME}.db",
            source,
            clock=clock,
            monotonic=fake.time.monotonic,
            sleep=sleep,
            rng=random.Random(seed),
            deaths=0.004,
            last=lambda arrival: arrival.at >= END - HOUR,
        )
        await lived.run()
        assert fake.unfired() == [], "a scripted fault that never fired"
        held = await lived.held()
        assert [gap for gap in held.gaps if not _lost(gap)] == [], "a gap where everything could be read and counted"
        assert WAS_AHEAD in {gap.reason for gap in held.gaps}
        happened |= {trouble for _, fault, trouble in _FAULTS if fault in fake.fired}
        report = account(
            NAME,
            world.emitted(),
            held,
            lives=lived.lives,
            repeated=lived.repeated,
            broke=lived.broke,
            used=happened | ({Trouble.KILLED} if lived.killed else set()),
            since=START,
        )
        assert report.covered == 0, "told although a gap says that it was missed"
        return report
