"""Days of polling in virtual time, with every fault that HTTP has in store, against an independent count."""

import contextlib
import json
import random
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from bot.domain import post
from bot.ingest import feed, usgs
from bot.ingest.polling import PollingSource
from tests.fakes import polled
from tests.fakes.polled import Cut, Drip, FakeSite, Garbage, Refuse, Stall, VirtualTime

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FAULTS = (
    Cut(), Stall(), Drip(), Garbage(), Garbage(b""), Refuse(500), Refuse(503, {"Retry-After": "120"}), Refuse(404),
    *[Refuse(429, {"Retry-After": "60"})] * 10,
)  # fmt: skip


@pytest.fixture
async def site() -> AsyncIterator[FakeSite]:
    async with FakeSite() as server:
        yield server
        assert server.faults == []


def script(site: FakeSite, time: VirtualTime, path: str) -> None:
    """A fault every two hours of the first day and a half; then one minute, then two days without a server; then a name
    that does not resolve, a server without TLS and a clock that is set, each for a while."""
    for number, fault in enumerate(FAULTS):
        time.at(2 * HOUR * number + 30 * MINUTE, lambda fault=fault: site.script(fault))  # type: ignore[misc]
    time.at(36 * HOUR, site.stop)
    time.at(36 * HOUR + MINUTE, site.start)
    time.at(38 * HOUR, site.stop)
    time.at(86 * HOUR, site.start)
    for hour, target in ((88, "http://nowhere.invalid/"), (90, f"https://127.0.0.1:{site.port}/")):
        time.at(hour * HOUR, lambda target=target: site.move(path, target, 302))  # type: ignore[misc]
        time.at(hour * HOUR + 10 * MINUTE, lambda: site.stay(path))
    time.at(92 * HOUR, lambda: setattr(time, "shift", -timedelta(minutes=7)))
    time.at(93 * HOUR, lambda: setattr(time, "shift", timedelta(0)))


async def run(
    make: Callable[[], PollingSource], kills: random.Random
) -> tuple[list[post.Arrival], list[PollingSource]]:
    """Everything that arrives until the time is over; the process is killed now and then, right after an arrival."""
    found: list[post.Arrival] = []
    sources = [make()]
    with contextlib.suppress(polled.OverError):
        while True:
            after = found[-1].cursor if found else None
            async with contextlib.aclosing(sources[-1].posts(after)) as posts:
                async for arrival in posts:
                    found.append(arrival)
                    if kills.random() < 0.02:
                        break
            sources.append(make())
    return found, sources


@dataclass
class Planet:
    """Quakes at random, one every ten minutes; a third is revised after 3 minutes, a tenth deleted after 12."""

    time: VirtualTime
    quakes: list[dict[str, Any]] = field(default_factory=list)

    def populate(self, rng: random.Random, days: float) -> None:
        minute = 1.0
        while minute < days * 1440:
            self.quakes.append(
                {
                    "id": f"us{len(self.quakes):06d}",
                    "minute": minute,
                    "mag": round(rng.uniform(4.5, 7.0), 1),
                    "revised": rng.random() < 0.33,
                    "deleted": rng.random() < 0.1,
                }
            )
            minute += rng.uniform(1.0, 20.0)

    def listed(self, window: timedelta) -> bytes:
        now = self.time.passed / MINUTE
        past = [each for each in self.quakes if 0 <= now - each["minute"] <= window / MINUTE]
        return json.dumps({"features": [self._feature(each, now) for each in reversed(past)]}).encode()

    def _feature(self, each: dict[str, Any], now: float) -> dict[str, Any]:
        age = now - each["minute"]
        deleted, revised = each["deleted"] and age >= 12, each["revised"] and age >= 3
        began = int((polled.START + each["minute"] * MINUTE).timestamp() * 1000)
        properties = {
            "mag": each["mag"] + 0.1 * revised, "time": began, "type": "earthquake", "place": f"near {each['id']}",
            "updated": began + 60_000 * (12 if deleted else 3 if revised else 0),
            "status": "deleted" if deleted else "automatic", "ids": f",{each['id']},",
        }  # fmt: skip
        return {"id": each["id"], "properties": properties, "geometry": {"coordinates": [1.0, 2.0, 3.0]}}


async def test_days_of_quakes(site: FakeSite) -> None:
    time = VirtualTime(until=4 * DAY)
    planet = Planet(time)
    planet.populate(random.Random(3), days=3.9)
    for name, window in (("all_hour", HOUR), ("4.5_day", DAY), ("4.5_week", 7 * DAY)):
        site.put(f"/{name}.geojson", lambda window=window: planet.listed(window), "application/json")  # type: ignore[misc]
    script(site, time, "/all_hour.geojson")

    def make() -> PollingSource:
        environment = time.environment(timeout_s=0.4)
        return usgs.source("usgs", site.url("/all_hour.geojson"), provider="usgs", magnitude=4.5, **environment)

    found, sources = await run(make, random.Random(11))
    assert time.unfired() == 0
    assert len(sources) > 5
    assert not any(isinstance(each.item, post.Gap) for each in found), "a longer list shows more"
    assert_true_to(planet, [arrival.item for arrival in found if isinstance(arrival.item, post.Post)], found)


def assert_true_to(planet: Planet, posts: list[post.Post], found: list[post.Arrival]) -> None:
    ids = [item.id for item in posts]
    assert len(ids) == len(set(ids)), "nothing twice"
    last: dict[str, post.Post] = {item.id.partition("#")[0]: item for item in posts}
    gone = {arrival.item.id for arrival in found if isinstance(arrival.item, post.Deletion)}
    for each in planet.quakes:
        item = last.pop(each["id"], None)
        assert item is not None or each["deleted"], "nothing missing, but what was deleted while nobody could see it"
        if item is None:
            continue
        assert item.official is not None
        assert item.official.cancelled == each["deleted"]
        if not each["deleted"]:
            assert item.text.startswith(f"M {each['mag'] + 0.1 * each['revised']:.1f} ")
            earlier = {other for other in ids if other.partition("#")[0] == each["id"]} - {item.id}
            assert earlier <= gone, "no old words stand beside the new ones"
    assert last == {}


async def test_days_of_a_feed(site: FakeSite) -> None:
    """A feed of 40 entries, one every eleven minutes: what scrolls off in two days without a server is a gap."""
    time = VirtualTime(until=4 * DAY)
    every = timedelta(minutes=11)

    def written() -> int:
        return int(min(time.passed, 3.8 * DAY) / every)

    def document() -> bytes:
        numbers = range(written(), max(-1, written() - 40), -1)
        items = "".join(
            f"<item><guid>n{number}</guid><title>news {number}</title>"
            f"<pubDate>{format_datetime(polled.START + every * number)}</pubDate></item>"
            for number in numbers
        )
        return f"<rss version='2.0'><channel>{items}</channel></rss>".encode()

    site.put("/feed.xml", document)
    script(site, time, "/feed.xml")

    def make() -> PollingSource:
        environment = time.environment(timeout_s=0.4)
        return feed.source("news", site.url("/feed.xml"), provider="rss:news", official=False, **environment)

    found, _ = await run(make, random.Random(5))
    assert time.unfired() == 0
    numbers = [int(arrival.item.id[1:]) for arrival in found if isinstance(arrival.item, post.Post)]
    assert numbers == sorted(set(numbers)), "in order, nothing twice"
    (gap,) = [arrival.item for arrival in found if isinstance(arrival.item, post.Gap)]
    assert gap.since is not None
    assert gap.until is not None
    missing = set(range(written() + 1)) - set(numbers)
    assert missing
    for number in missing:
        assert gap.since - HOUR <= polled.START + every * number <= gap.until, "nothing missing but the recorded gap"
