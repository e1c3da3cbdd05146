"""An RSS and an Atom feed of forty entries, one every eleven minutes, with times by the publisher's own clock.

Entries are edited, with and without a time of the change, and again before anybody may have looked; some leave the feed
for an hour and come back as they were; and a cache shows now and then what the feed was like before.
"""

import functools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from bot.domain import post
from bot.ingest import feed
from bot.store.database import Database, rows
from tests.fakes import polled
from tests.fakes.polled import FakeSite, VirtualTime
from tests.soaks import polling
from tests.soaks.holding import Emitted, Report, Trouble
from tests.soaks.polling import AWAY, HOUR, MINUTE, QUIET, Troubles

TROUBLES = frozenset(Trouble)
SHOWN = 40
PATH = "/feed.xml"
SEEN_BY = 3 * HOUR  # whoever asks at all has seen an entry by then
CACHED_AT = (5, 12, 20, 90, 98, 110)  # hours


@dataclass
class Version:
    """``stamp``: the time of the change that the feed shows with these words, by the publisher's clock."""

    at: datetime
    words: str
    stamp: datetime


@dataclass
class Entry:
    number: int
    published: datetime
    right: bool  # was the publisher's clock?
    versions: list[Version]
    hidden: bool = False
    left: bool = False  # was it ever hidden?
    again: bool = False  # is its next edit about to come?

    @property
    def id(self) -> str:
        return f"n{self.number}"

    def emitted(self) -> list[Emitted]:
        """The first words under its own id; those of an edit with a later time under that of a version."""
        ends: list[datetime | None] = [version.at for version in self.versions[1:]]
        found = []
        for number, (version, gone_at) in enumerate(zip(self.versions, [*ends, None], strict=True)):
            before = [each.stamp for each in self.versions[:number]]
            if before and version.stamp <= before[-1]:
                continue
            found.append(
                Emitted(
                    id=post.versioned(self.id, f"{version.stamp.timestamp():.0f}") if before else self.id,
                    at=version.at,
                    text=version.words,
                    gone_at=gone_at,
                    missable=bool(before) and (gone_at is not None or version.stamp <= max(before)),
                )
            )
        return found


Written = Callable[[Iterable[Entry]], bytes]


@dataclass
class Newsroom:
    """Writes and edits its entries at their times, in the feed and in its own account."""

    time: VirtualTime
    troubles: Troubles
    rng: random.Random
    write: Written
    entries: list[Entry] = field(default_factory=list)
    cached: bytes | None = None
    cached_shown: int = 0

    def plan(self) -> None:
        passed = MINUTE
        while passed < QUIET:
            self.time.at(passed, self._add)
            passed += timedelta(minutes=self.rng.uniform(2, 20))
        for hour in CACHED_AT:
            self.time.at(hour * HOUR, self._cache)

    def document(self) -> bytes:
        if self.cached is not None:
            self.cached_shown += 1
            return self.cached
        return self._now()

    def emitted(self) -> list[Emitted]:
        return [each for entry in self.entries for each in entry.emitted()]

    def in_order(self, ids: Iterable[str]) -> bool:
        """Are these in the order in which they were written, as far as the feed shows it?"""
        sortable = {entry.id: entry.number for entry in self.entries if entry.right and not entry.left}
        numbers = [sortable[each] for each in ids if each in sortable]
        return numbers == sorted(numbers)

    def _now(self) -> bytes:
        return self.write([each for each in reversed(self.entries[-SHOWN:]) if not each.hidden])

    def _here(self) -> datetime:
        return polled.START + self.time.passed

    def _stamp(self) -> datetime:
        return (self._here() + self.troubles.their_clock).replace(microsecond=0)

    def _add(self) -> None:
        number, stamp = len(self.entries), self._stamp()
        version = Version(at=self._here(), words=f"news {number}", stamp=stamp)
        entry = Entry(
            number=number, published=stamp, right=stamp == self._here().replace(microsecond=0), versions=[version]
        )
        self.entries.append(entry)
        passed = self.time.passed
        if self.rng.random() < 0.1:
            self._later(self.rng.uniform(1, 60), lambda: self._hide(entry))
        if AWAY[0] - SEEN_BY < passed < AWAY[1] or passed + SEEN_BY > QUIET - HOUR:
            return  # its first words may not be seen in time
        if self.rng.random() < 0.3:
            self._later(SEEN_BY / MINUTE + self.rng.uniform(0, 90), lambda: self._edit(entry, again=True))

    def _edit(self, entry: Entry, *, again: bool) -> None:
        said = self.rng.random() < 0.7
        stamp = self._stamp() if said else entry.versions[-1].stamp
        words = f"news {entry.number}, version {len(entry.versions)}"
        entry.versions.append(Version(at=self._here(), words=words, stamp=stamp))
        entry.again = again and self.rng.random() < 0.3
        clock = self.troubles.their_clock
        if entry.again:
            self._later(
                self.rng.uniform(1, 30),
                lambda: self._edit(entry, again=False) if clock == self.troubles.their_clock else self._rest(entry),
            )

    def _rest(self, entry: Entry) -> None:
        entry.again = False

    def _hide(self, entry: Entry) -> None:
        entry.hidden = entry.left = True
        self._later(self.rng.uniform(20, 80), lambda: self._show(entry))

    def _show(self, entry: Entry) -> None:
        entry.hidden = False

    def _cache(self) -> None:
        """What is there now is shown in half an hour; not words that may come and go unseen."""
        if any(entry.again for entry in self.entries[-SHOWN:]):
            self._later(5, self._cache)
            return
        document = self._now()
        self._later(30, lambda: self._serve(document))
        self._later(45, lambda: self._serve(None))

    def _serve(self, document: bytes | None) -> None:
        self.cached = document

    def _later(self, minutes: float, act: Callable[[], None]) -> None:
        self.time.at(self.time.passed + minutes * MINUTE, act)


def rss(entries: Iterable[Entry]) -> bytes:
    items = "".join(
        f"<item><guid>{each.id}</guid><title>{each.versions[-1].words}</title>"
        f"<pubDate>{format_datetime(each.published)}</pubDate>{_modified(each)}</item>"
        for each in entries
    )
    return (
        "<rss version='2.0' xmlns:dcterms='http://purl.org/dc/terms/'>"
        f"<channel><title>The Selby Herald</title>{items}</channel></rss>"
    ).encode()


def atom(entries: Iterable[Entry]) -> bytes:
    items = "".join(
        f"<entry><id>{each.id}</id><title>{each.versions[-1].words}</title>"
        f"<published>{each.published.isoformat()}</published>"
        f"<updated>{each.versions[-1].stamp.isoformat()}</updated></entry>"
        for each in entries
    )
    return f"<feed xmlns='http://www.w3.org/2005/Atom'><title>The Selby Herald</title>{items}</feed>".encode()


def _modified(entry: Entry) -> str:
    stamp = entry.versions[-1].stamp
    return "" if stamp == entry.published else f"<dcterms:modified>{stamp.isoformat()}</dcterms:modified>"


async def _soak(name: str, write: Written, folder: Path, seed: int) -> Report:
    time = VirtualTime()
    async with FakeSite() as site:
        troubles = Troubles(site, time, PATH)
        newsroom = Newsroom(time, troubles, random.Random(seed), write)
        newsroom.plan()
        site.put(PATH, newsroom.document)
        report = await polling.soak(
            name,
            folder,
            seed,
            lambda environment: feed.source("news", site.url(PATH), provider="rss:news", official=False, **environment),
            site,
            time,
            troubles,
            newsroom.emitted,
        )
    assert newsroom.cached_shown > len(CACHED_AT), "an old copy that nobody was shown"
    with Database.open(folder / f"{name}.db", read_only=True) as database:
        held = await database.read(rows, "SELECT id FROM posts ORDER BY seq")
    assert newsroom.in_order(each["id"] for each in held), "not in the order of the feed"
    return report


SOAKS = {"rss": functools.partial(_soak, "rss", rss), "atom": functools.partial(_soak, "atom", atom)}
