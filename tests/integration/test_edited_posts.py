"""A post that was edited is two to us: its old words are deleted, its new ones come under ``ID#VERSION``."""

import asyncio
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from bot.detection.detector import Detector
from bot.pipeline.detecting import Detecting
from bot.store.database import rows
from tests import stories
from tests.factories import NOW
from tests.worlds import World


@pytest.fixture
def world():
    with tempfile.TemporaryDirectory(prefix="tocsin-test-") as folder:
        world = World(Path(folder) / "store.db")
        world.now = NOW + timedelta(hours=1)
        world.org()
        yield world
        world.close()


def play(world, judged, *, at_once):
    async def playing():
        detecting = Detecting(world.database, lambda view: Detector(view, stories.GAZETTEER), now=lambda: world.now)
        await detecting.start()
        for batch in [judged] if at_once else [[each] for each in judged]:
            await detecting.take(batch)

    asyncio.run(playing())


def said(at, text, post_id):
    return stories.judged(stories.post(at, text, id=post_id, author="a1"), at)


def left(world):
    return [row["id"] for row in world.write(rows, "SELECT id FROM posts WHERE deleted_at IS NULL ORDER BY seq")]


EDITED = [
    said(1, "Explosion at the harbour", "p1"),
    stories.deletion(5, "bluesky", "p1"),
    said(5, "Explosion at the harbour, two hurt", "p1#v2"),
    said(6, "Explosion near me", "p10"),
]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_new_words_stay(world, at_once):
    play(world, EDITED, at_once=at_once)
    assert left(world) == ["p1#v2", "p10"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_repeated_edit_takes_nothing_away(world, at_once):
    play(world, [*EDITED, stories.deletion(5, "bluesky", "p1")], at_once=at_once)
    assert left(world) == ["p1#v2", "p10"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_deletion_takes_all_versions_and_no_other_post(world, at_once):
    again = [stories.deletion(7, "bluesky", "p1"), said(7, "Explosion at the harbour, three hurt", "p1#v3")]
    play(world, [*EDITED, *again, stories.deletion(9, "bluesky", "p1")], at_once=at_once)
    assert left(world) == ["p10"]
    assert world.write(rows, "SELECT text FROM posts WHERE deleted_at IS NOT NULL AND text <> ''") == []
