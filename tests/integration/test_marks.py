"""A Mark moves its source's cursor and nothing else."""

import asyncio
from datetime import timedelta
from pathlib import Path

from bot.detection.detector import Detector
from bot.domain import post
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
