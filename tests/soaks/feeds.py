"""Feeds of forty entries, one every eleven minutes, with times by the publisher's own clock: RSS, Atom, and an RSS feed
whose entries have no guid and all link to one page.

Some entries have the same words as others, some of RSS no time. Entries are edited, with and without a time of the
change, and again before anybody may have looked; some leave the feed for an hour and come back as they were; a cache
shows now and then what the feed was like before; and once all get new ids. Those without a guid are never edited.
"""

import functools
import random
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from bot.domain import post
from bot.ingest import feed
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
MOVED_AT = 28 * HOUR  # whoever asks at all has seen by then what there was; so nothing happens in the hours before
FIRST = 5  # entries of a feed without guids that stay in it: an only one that makes place for another is edited
EQUAL = ("Flood warning in force", "All clear")


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
    dated: bool = True
    moved_at: datetime | None = None  # when it got another id
    hidden: bool = False
    left: bool = False  # was it ever hidden?
    again: bool = False  # is its next edit about to come?

    @property
    def id(self) -> str:
        """The first one."""
        return f"n{self.number}" if self.written < MOVED_AT else f"m{self.number}"

    @property
    def shown_id(self) -> str:
        return self.id if self.moved_at is None else f"m{self.number}"

    @property
    def written(self) -> timedelta:
        return self.versions[0].at - polled.START

    def emitted(self, held: Sequence[tuple[str, str]]) -> list[Emitted]:
        """The first words under the first id, those of an edit under that of a version, of whichever time."""
        ids = self._versions(held)
        found = []
        for number, version in enumerate(self.versions):
            gone_at = self._gone_at(number)
            found.append(
                Emitted(
                    id=ids.get(number, f"{self.id}, version {number}") if number else self.id,
                    at=version.at,
                    text=version.words,
                    gone_at=gone_at,
                    missable=number > 0 and gone_at is not None,
                )
            )
        return found

    def _gone_at(self, number: int) -> datetime | None:
        """What went by the old id stays as it was."""
        if number + 1 == len(self.versions):
            return None
        before, after = self.versions[number].at, self.versions[number + 1].at
        return None if self.moved_at is not None and before < self.moved_at <= after else after

    def _versions(self, held: Sequence[tuple[str, str]]) -> dict[int, str]:
        """The store's ids of the edits: by their words; where those are gone by the time that the feed said, else by
        that of the reading, else by their order."""
        own = (f"{self.id}{post.VERSION}", f"{self.shown_id}{post.VERSION}")
        ids = sorted(
            (int(each.partition(post.VERSION)[2]), each, words) for each, words in held if each.startswith(own)
        )
        numbers = {version.words: number for number, version in enumerate(self.versions) if number}
        found = {numbers[words]: each for _, each, words in ids if words in numbers}
        for stamp, each, words in ids:
            left = [number for number in numbers.values() if number not in found and self._gone_at(number)]
            if not words and left:
                found[min(left, key=lambda number: (not self._fits(number, stamp), number))] = each
        return found

    def _fits(self, number: int, stamp: int) -> bool:
        version, gone_at = self.versions[number], self._gone_at(number)
        assert gone_at is not None
        said = number > 0 and version.stamp != self.versions[number - 1].stamp
        return version.stamp.timestamp() == stamp if said else version.at.timestamp() <= stamp <= gone_at.timestamp()


Written = Callable[[Iterable[Entry]], bytes]


@dataclass
class Newsroom:
    """Writes and edits its entries at their times, in the feed and in its own account."""

    time: VirtualTime
    troubles: Troubles
    rng: random.Random
    write: Written
    named: bool = True  # do the entries have ids?
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
        if self.named:
            self.time.at(MOVED_AT, self._move)

    def document(self) -> bytes:
        if self.cached is not None:
            self.cached_shown += 1
            return self.cached
        return self._now()

    def emitted(self, held: Sequence[tuple[str, str]]) -> list[Emitted]:
        """``held``: ids and words, as the store has them in their order: some ids say when the feed was read."""
        if self.named:
            return [each for entry in self.entries for each in entry.emitted(held)]
        ids: dict[str, list[str]] = {}
        for each, words in reversed(held):
            ids.setdefault(words, []).append(each)
        return [
            replace(each, id=ids[each.text].pop()) if ids.get(each.text or "") else each
            for entry in self.entries
            for each in entry.emitted(())
        ]

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
        if self._still():
            return
        number, stamp = len(self.entries), self._stamp()
        words = self.rng.choice(EQUAL) if self.named and self.rng.random() < 0.15 else f"news {number}"
        entry = Entry(
            number=number,
            published=stamp,
            right=stamp == self._here().replace(microsecond=0),
            versions=[Version(at=self._here(), words=words, stamp=stamp)],
            dated=not self.named or self.rng.random() > 0.15,
        )
        self.entries.append(entry)
        passed = self.time.passed
        if self.rng.random() < 0.1 and (self.named or number >= FIRST):
            self._later(self.rng.uniform(1, 60), lambda: self._hide(entry))
        if AWAY[0] - SEEN_BY < passed < AWAY[1] or passed + SEEN_BY > QUIET - HOUR:
            return  # its first words may not be seen in time
        if self.named and self.rng.random() < 0.3:
            self._later(SEEN_BY / MINUTE + self.rng.uniform(0, 90), lambda: self._edit(entry, again=True))

    def _still(self, afterwards: timedelta = timedelta(0)) -> bool:
        """Is the feed about to move, or may nobody have seen yet that it has?"""
        return self.named and MOVED_AT - SEEN_BY < self.time.passed < MOVED_AT + afterwards

    def _move(self) -> None:
        for entry in self.entries:
            entry.moved_at = self._here()

    def _edit(self, entry: Entry, *, again: bool) -> None:
        if self._still(SEEN_BY):
            entry.again = False
            return
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
        if self._still():
            return
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
        f"<item><guid>{each.shown_id}</guid><title>{each.versions[-1].words}</title>{_dated(each)}{_modified(each)}</item>"
        for each in entries
    )
    return (
        "<rss version='2.0' xmlns:dcterms='http://purl.org/dc/terms/'>"
        f"<channel><title>The Selby Herald</title>{items}</channel></rss>"
    ).encode()


def atom(entries: Iterable[Entry]) -> bytes:
    items = "".join(
        f"<entry><id>{each.shown_id}</id><title>{each.versions[-1].words}</title>"
        f"<published>{each.published.isoformat()}</published>"
        f"<updated>{each.versions[-1].stamp.isoformat()}</updated></entry>"
        for each in entries
    )
    return f"<feed xmlns='http://www.w3.org/2005/Atom'><title>The Selby Herald</title>{items}</feed>".encode()


def nameless(entries: Iterable[Entry]) -> bytes:
    items = "".join(
        f"<item><title>{each.versions[-1].words}</title><link>https://selby.example/warnings</link>"
        f"<pubDate>{format_datetime(each.published)}</pubDate></item>"
        for each in entries
    )
    return f"<rss version='2.0'><channel><title>Selby's warnings</title>{items}</channel></rss>".encode()


def _dated(entry: Entry) -> str:
    return f"<pubDate>{format_datetime(entry.published)}</pubDate>" if entry.dated else ""


def _modified(entry: Entry) -> str:
    stamp = entry.versions[-1].stamp
    return "" if stamp == entry.published else f"<dcterms:modified>{stamp.isoformat()}</dcterms:modified>"


async def _soak(name: str, write: Written, folder: Path, seed: int) -> Report:
    time = VirtualTime()
    store = folder / f"{name}.db"
    async with FakeSite() as site:
        troubles = Troubles(site, time, PATH)
        newsroom = Newsroom(time, troubles, random.Random(seed), write, named=write is not nameless)
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
            lambda: newsroom.emitted(_held(store)),
        )
    assert newsroom.cached_shown > len(CACHED_AT), "an old copy that nobody was shown"
    assert newsroom.in_order(each for each, _ in _held(store)), "not in the order of the feed"
    return report


def _held(store: Path) -> list[tuple[str, str]]:
    with closing(sqlite3.connect(store)) as db:
        return db.execute("SELECT id, text FROM posts ORDER BY seq").fetchall()


SOAKS = {
    "rss": functools.partial(_soak, "rss", rss),
    "atom": functools.partial(_soak, "atom", atom),
    "rss-nameless": functools.partial(_soak, "rss-nameless", nameless),
}
