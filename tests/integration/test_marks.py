"""A Mark moves its source's cursor and nothing else."""

import asyncio
from datetime import timedelta
from pathlib import Path

from bot.detection.detector import Detector
from bot.domain import post, times
from bot.ingest.ingester import Ingester
from bot.ingest.source import State
from bot.pipeline.classifying import Judged
from bot.pipeline.detecting import Detecting
from bot.store import posts, sources
from tests import factories, stories
from tests.unit.test_ingest_ingester import ListSource
from tests.worlds import World


def mark(number: int) -> post.Arrival:
    return post.Arrival(source="wikimedia", cursor=str(number), item=post.Mark(), at=factories.NOW)


def test_it_is_recorded_as_the_cursor_alone(tmp_path: Path) -> None:
    world = World(tmp_path / "store.db")
    world.org()
    world.now = factories.NOW + timedelta(hours=1)

    async def taking() -> None:
        detecting = Detecting(
            world.database, lambda view: Detector(view, stories.GAZETTEER), now=lambda: world.now
        )  # fmt: skip
        await detecting.start()
        await detecting.take([Judged(arrival=mark(1), classification=None)])
        world.wait(seconds=2)
        await detecting.take([Judged(arrival=mark(2), classification=None)])

    asyncio.run(taking())
    assert world.write(sources.cursors) == {"wikimedia": "2"}
    assert world.write(posts.next_seq) == 1
    assert world.write(sources.gaps) == []
    world.close()


async def test_the_ingester_passes_it_on_and_does_not_count_it() -> None:
    class Marking(ListSource):
        async def posts(self, after: str | None):
            yield mark(1)

    source = Marking("wikimedia")
    inbox: asyncio.Queue[post.Arrival] = asyncio.Queue(10)
    await Ingester([source], inbox=inbox, cursors={}).run()
    assert inbox.get_nowait() == mark(1)
    assert (source.health.items, source.health.last_item_at, source.health.state) == (0, None, State.ENDED)


def test_a_clock_that_is_set_back_does_not_hold_the_cursor(tmp_path: Path) -> None:
    world = World(tmp_path / "store.db")

    async def taking() -> None:
        detecting = Detecting(world.database, lambda view: Detector(view, stories.GAZETTEER), now=lambda: world.now)
        await detecting.start()
        await detecting.take([Judged(arrival=mark(1), classification=None)])
        world.now -= timedelta(hours=1)
        await detecting.take([Judged(arrival=mark(2), classification=None)])

    asyncio.run(taking())
    assert world.write(sources.cursors) == {"wikimedia": "2"}
    world.close()


def test_a_gap_that_is_told_again_is_the_same_one(tmp_path: Path) -> None:
    world = World(tmp_path / "store.db")
    since, until = factories.NOW, factories.NOW + timedelta(hours=1)
    for end in (until, until + timedelta(minutes=1), until):
        world.write(sources.add_gap, "news", post.Gap(since=since, until=end, reason="away"), world.now)
    world.write(sources.add_gap, "another", post.Gap(since=since, until=until, reason="away"), world.now)
    world.write(sources.add_gap, "news", post.Gap(since=until, until=until, reason="away"), world.now)
    found = [(gap["source"], gap["until"]) for gap in world.write(sources.gaps)]
    assert found == [
        ("news", times.to_text(until + timedelta(minutes=1))),
        ("another", times.to_text(until)),
        ("news", times.to_text(until)),
    ]
    world.close()
