"""Disasters, one every half hour, in a feed of what goes on, with times by the agency's own clock.

Their levels rise and fall with their episodes, now and then twice before anybody may have looked; they leave the feed
and come back. What began and ended in two days without a server is a gap. (Nothing changes just before and after, when
nobody might have seen it.)
"""

import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from bot.domain import post
from bot.ingest import gdacs
from tests.fakes import polled
from tests.fakes.polled import FakeSite, VirtualTime
from tests.soaks import polling
from tests.soaks.holding import Emitted, Report, Trouble
from tests.soaks.polling import AWAY, HOUR, MINUTE, QUIET, Troubles

NAME = "gdacs"
TROUBLES = frozenset(Trouble)
PATH = "/xml/rss.xml"
LEVELS = ("Green", "Orange", "Red")
TOLD = ("Orange", "Red")
SEEN_BY = 25 * MINUTE  # whoever asks at all has seen a change by then
CACHED_AT = (7, 19, 91, 109)  # hours


@dataclass(frozen=True, kw_only=True)
class Episode:
    at: datetime
    number: int
    level: str
    report: int
    modified: datetime

    @property
    def title(self) -> str:
        return f"{self.level} flood alert in Velmar"

    @property
    def summary(self) -> str:
        return f"Report {self.report}"

    @property
    def words(self) -> str:
        return f"{self.title}\n{self.summary}"

    @property
    def stamp(self) -> str:
        said = f"{self.level}\0{self.title}\0{self.summary}".encode()
        return f"{self.modified.timestamp():.0f}.{hashlib.blake2b(said, digest_size=6).hexdigest()}"


@dataclass
class Disaster:
    guid: str
    episodes: list[Episode] = field(default_factory=list)
    listed: bool = True
    away: list[tuple[datetime, datetime]] = field(default_factory=list)  # from the feed
    over_at: datetime | None = None
    again: bool = False  # is its next change about to come?

    @property
    def was_told(self) -> bool:
        return any(each.level in TOLD for each in self.episodes)

    def emitted(self) -> list[Emitted]:
        """From the first at a level that is told on; each ends the words before it. Nobody could see those of a
        disaster that was over before the server came back, and of others only the last ones."""
        shown = list({self._shown_at(each.at): each for each in self.episodes}.items())
        while shown and shown[0][1].level not in TOLD:
            del shown[0]
        found = []
        for number, (at, episode) in enumerate(shown):
            gone_at = shown[number + 1][0] if number + 1 < len(shown) else None
            found.append(
                Emitted(
                    id=post.versioned(self.guid, episode.stamp) if number else self.guid,
                    at=at,
                    text=episode.words,
                    gone_at=gone_at,
                    missable=number > 0 and gone_at is not None,
                )
            )
        return found

    def _shown_at(self, at: datetime) -> datetime:
        shown = polling.shown_at(at)
        if self.over_at is not None and self.over_at < shown:
            return at
        return next((back for left, back in self.away if left <= shown < back), shown)


@dataclass
class World:
    """Has its disasters at their times, in the feed and in its own account."""

    time: VirtualTime
    troubles: Troubles
    rng: random.Random
    disasters: list[Disaster] = field(default_factory=list)
    came_back: int = 0
    cached: bytes | None = None
    cached_shown: int = 0

    def plan(self) -> None:
        passed = MINUTE
        while passed < QUIET:
            self.time.at(passed, self._begin)
            passed += timedelta(minutes=self.rng.uniform(10, 40))
        for hour in CACHED_AT:
            self.time.at(hour * HOUR, self._cache)

    def document(self) -> bytes:
        if self.cached is not None:
            self.cached_shown += 1
            return self.cached
        return self._now()

    def emitted(self) -> list[Emitted]:
        return [each for disaster in self.disasters for each in disaster.emitted()]

    def _now(self) -> bytes:
        items = "".join(_item(each) for each in reversed(self.disasters) if each.listed)
        return f"<rss xmlns:gdacs='http://www.gdacs.org'><channel>{items}</channel></rss>".encode("utf-8-sig")

    def _begin(self) -> None:
        if self._unwatched():
            return
        disaster = Disaster(guid=f"FL{len(self.disasters) + 1_100_000}")
        self.disasters.append(disaster)
        self._change(disaster)
        self._go_on(disaster, self.rng.randint(1, 5))

    def _go_on(self, disaster: Disaster, left: int) -> None:
        if not left:
            self._later(self.rng.uniform(25, 300), lambda: self._end(disaster))
        elif self.rng.random() < 0.2:
            self._later(self.rng.uniform(25, 40), lambda: self._leave(disaster, left))
        else:
            self._later(self.rng.uniform(25, 70), lambda: self._step(disaster, left))

    def _step(self, disaster: Disaster, left: int) -> None:
        quick = disaster.was_told and self.rng.random() < 0.3
        self._change(disaster)
        if not quick:
            self._go_on(disaster, left - 1)
            return
        disaster.again = True
        self._later(self.rng.uniform(1, 10), lambda: self._change_again(disaster, left))

    def _change_again(self, disaster: Disaster, left: int) -> None:
        disaster.again = False
        self._change(disaster)
        self._go_on(disaster, left - 1)

    def _leave(self, disaster: Disaster, left: int) -> None:
        if self._unwatched():
            self._later(10, lambda: self._leave(disaster, left))
            return
        disaster.listed = False
        here = self._here()
        self._later(self.rng.uniform(60, 180), lambda: self._come_back(disaster, left, here))

    def _come_back(self, disaster: Disaster, left: int, since: datetime) -> None:
        """As it was, or with a new episode at once."""
        disaster.listed = True
        disaster.away.append((since, self._here()))
        self.came_back += 1
        if self.rng.random() < 0.5:
            self._change(disaster)
        self._go_on(disaster, left - 1)

    def _end(self, disaster: Disaster) -> None:
        if self._unwatched():
            self._later(10, lambda: self._end(disaster))
            return
        disaster.listed = False
        disaster.over_at = self._here()

    def _change(self, disaster: Disaster) -> None:
        """Not to a time before its last one: that would be an old copy."""
        here = self._here()
        modified = (here + self.troubles.their_clock).replace(microsecond=0)
        last = disaster.episodes[-1] if disaster.episodes else None
        if last is not None and (self._unwatched() or modified <= last.modified):
            return
        number = 1 if last is None else last.number + (self.rng.random() < 0.6)
        level = self.rng.choice([each for each in LEVELS if last is None or each != last.level])
        report = 1 if last is None else last.report + 1
        disaster.episodes.append(Episode(at=here, number=number, level=level, report=report, modified=modified))

    def _cache(self) -> None:
        """What is there now is shown in half an hour; not words that may come and go unseen."""
        if any(each.again for each in self.disasters):
            self._later(3, self._cache)
            return
        document = self._now()
        self._later(30, lambda: self._serve(document))
        self._later(42, lambda: self._serve(None))

    def _serve(self, document: bytes | None) -> None:
        self.cached = document

    def _unwatched(self) -> bool:
        """Is the server about to go away, or just back?"""
        passed = self.time.passed
        return AWAY[0] - SEEN_BY < passed < AWAY[0] or AWAY[1] < passed < AWAY[1] + SEEN_BY

    def _later(self, minutes: float, act: Callable[[], None]) -> None:
        if self.time.passed + minutes * MINUTE < QUIET:
            self.time.at(self.time.passed + minutes * MINUTE, act)

    def _here(self) -> datetime:
        return polled.START + self.time.passed


def _item(disaster: Disaster) -> str:
    episode = disaster.episodes[-1]
    return (
        f"<item><title>{episode.title}</title><description>{episode.summary}</description>"
        f"<guid isPermaLink='false'>{disaster.guid}</guid>"
        f"<pubDate>{format_datetime(disaster.episodes[0].modified)}</pubDate>"
        f"<gdacs:datemodified>{format_datetime(episode.modified)}</gdacs:datemodified>"
        f"<gdacs:eventtype>FL</gdacs:eventtype><gdacs:alertlevel>{episode.level}</gdacs:alertlevel>"
        f"<gdacs:episodeid>{episode.number}</gdacs:episodeid></item>"
    )


async def soak(folder: Path, seed: int) -> Report:
    time = VirtualTime()
    async with FakeSite() as site:
        troubles = Troubles(site, time, PATH)
        world = World(time, troubles, random.Random(seed))
        world.plan()
        site.put(PATH, world.document)
        report = await polling.soak(
            NAME,
            folder,
            seed,
            lambda environment: gdacs.source("gdacs", site.url(PATH), provider="gdacs", **environment),
            site,
            time,
            troubles,
            world.emitted,
        )
    assert world.came_back > 0, "a disaster that never came back"
    assert world.cached_shown > len(CACHED_AT), "an old copy that nobody was shown"
    return report
