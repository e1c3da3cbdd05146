"""An RSS feed of forty entries, one every eleven minutes, some of them edited; it shows its times by its own clock."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

from bot.ingest import feed
from tests.fakes import polled
from tests.fakes.polled import FakeSite, VirtualTime
from tests.soaks import polling
from tests.soaks.holding import Emitted, Report, Trouble
from tests.soaks.polling import MINUTE, QUIET, Troubles

NAME = "rss"
TROUBLES = frozenset(Trouble)
SHOWN = 40
PATH = "/feed.xml"


@dataclass
class Entry:
    number: int
    written: datetime
    pub_date: str
    edited: datetime | None = None


@dataclass
class Newsroom:
    """Writes its entries at their times, into the feed and into its own account."""

    time: VirtualTime
    troubles: Troubles
    rng: random.Random
    entries: list[Entry] = field(default_factory=list)

    def plan(self) -> None:
        passed = MINUTE
        while passed < QUIET:
            self.time.at(passed, self._write)
            passed += timedelta(minutes=self.rng.uniform(2, 20))

    def _write(self) -> None:
        now = polled.START + self.time.passed
        stamp = format_datetime(now + self.troubles.their_clock)
        self.entries.append(Entry(number=len(self.entries), written=now, pub_date=stamp))

    def document(self) -> bytes:
        items = "".join(
            f"<item><guid>n{each.number}</guid><title>news {each.number}</title>"
            f"<pubDate>{each.pub_date}</pubDate></item>"
            for each in reversed(self.entries[-SHOWN:])
        )
        return f"<rss version='2.0'><channel>{items}</channel></rss>".encode()

    def emitted(self) -> list[Emitted]:
        return [Emitted(id=f"n{each.number}", at=each.written, text=f"news {each.number}") for each in self.entries]


async def soak(folder: Path, seed: int) -> Report:
    time = VirtualTime()
    async with FakeSite() as site:
        troubles = Troubles(site, time, PATH)
        newsroom = Newsroom(time, troubles, random.Random(seed))
        newsroom.plan()
        site.put(PATH, newsroom.document)
        return await polling.soak(
            NAME,
            folder,
            seed,
            lambda environment: feed.source("news", site.url(PATH), provider="rss:news", official=False, **environment),
            site,
            time,
            troubles,
            newsroom.emitted,
        )
