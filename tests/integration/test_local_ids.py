"""What a source calls a post when it tells of its end: remembered with the words, and gone with them."""

import asyncio
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.detection.detector import Detector
from bot.domain import post
from bot.domain.post import Deletion
from bot.pipeline.detecting import Detecting
from bot.store import local_ids, retention
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


def play(world, *batches):
    async def playing():
        detecting = Detecting(world.database, lambda view: Detector(view, stories.GAZETTEER), now=lambda: world.now)
        await detecting.start()
        for batch in batches:
            await detecting.take(batch)

    asyncio.run(playing())


def told(source, local_id, post_id, at=1, text="Explosion at the harbour", *, report=True):
    judged = stories.judged(stories.post(at, text, id=post_id, author="a1"), at)
    arrival = replace(judged.arrival, source=source, local_id=local_id)
    return replace(judged, arrival=arrival, classification=judged.classification if report else None)


def edited(post_id, stamp, at=5):
    deletion = Deletion(
        provider="bluesky",
        id=post_id,
        deleted_at=NOW + timedelta(seconds=at),
        replaced_by=post.versioned(post_id, stamp),
    )
    return stories.judged(deletion, at)


def names(world):
    found = world.write(rows, "SELECT source, local_id, post FROM local_ids ORDER BY source, local_id")
    return [(each["source"], each["local_id"], each["post"].removeprefix("bluesky|")) for each in found]


def left(world):
    return [row["id"] for row in world.write(rows, "SELECT id FROM posts WHERE deleted_at IS NULL ORDER BY seq")]


def test_each_source_has_a_name_of_its_own_for_a_stored_post(world):
    play(world, [told("one", "11", "p1"), told("one", "12", "p2", report=False)], [told("two", "7", "p1")])
    play(world, [told("three", "11", "p1"), told("three", "12", "p2", report=False)])
    assert names(world) == [("one", "11", "p1"), ("three", "11", "p1"), ("two", "7", "p1")]
    assert world.write(local_ids.post_of, "two", "7") == "p1"
    assert world.write(local_ids.post_of, "one", "7") is None


def test_names_pass_to_the_newest_version_and_go_with_the_last(world):
    new = post.versioned("p1", "2")
    play(world, [told("one", "11", "p1")], [told("two", "7", "p1")])
    play(world, [edited("p1", "2"), told("one", "11", new, 5)])
    assert names(world) == [("one", "11", new), ("two", "7", new)]
    play(world, [stories.deletion(9, "bluesky", "p1")])
    assert names(world) == []


@pytest.mark.parametrize("report", [True, False])
def test_names_wait_for_the_new_words_until_nothing_is_left_of_the_old_post(world, report):
    new = post.versioned("p1", "2")
    play(world, [told("one", "11", "p1"), told("two", "7", "p1")], [edited("p1", "2")])
    assert world.write(local_ids.to_ask, "one", NOW - timedelta(days=1)) == ["11"]
    assert world.write(local_ids.post_of, "one", "11") == "p1"
    play(world, [told("one", "11", new, report=report)])
    assert names(world) == [("one", "11", new if report else "p1"), ("two", "7", "p1")]
    world.write(retention.purge_deleted, before=NOW + timedelta(days=1), at=world.now, most=9)
    assert names(world) == ([("one", "11", new), ("two", "7", new)] if report else [])


def test_names_of_all_versions_go_with_the_post(world):
    new = post.versioned("p1", "2")
    play(world, [told("one", "11", "p1"), told("two", "7", "p1")], [edited("p1", "2")], [told("one", "11", new)])
    play(world, [stories.deletion(9, "bluesky", "p1")])
    assert names(world) == []


def test_names_go_with_the_words_of_an_account_and_with_retention(world):
    play(world, [told("one", "11", "p1"), told("one", "12", "p2")])
    world.write(retention.purge, "bluesky", before=NOW + timedelta(days=1), at=world.now, most=1)
    assert names(world) == [("one", "12", "p2")]
    gone = Deletion(provider="bluesky", author="a1", deleted_at=world.now)
    play(world, [stories.judged(gone, 9)])
    assert names(world) == []


def test_what_is_kept_is_asked_about_the_newest_first(world):
    play(world, [told("one", "11", "p1"), told("two", "7", "p2"), told("one", "12", "p3"), told("one", "13", "p4")])
    play(world, [stories.deletion(9, "bluesky", "p3")])
    assert world.write(local_ids.to_ask, "one", NOW - timedelta(days=1)) == ["13", "11"]
    assert world.write(local_ids.to_ask, "one", NOW + timedelta(days=1)) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_old_words_that_another_source_brings_later_are_not_taken(world, at_once):
    new, older = post.versioned("p1", "10"), post.versioned("p1", "9")
    steps = [told("one", "11", new), told("two", "7", "p1", 2), told("two", "7", older, 3), told("two", "8", "p2", 4)]
    play(world, *([steps] if at_once else [[each] for each in steps]))
    assert left(world) == [new, "p2"]
    assert names(world) == [("one", "11", new), ("two", "8", "p2")]


def test_old_words_are_not_taken_either_where_the_newer_ones_were_deleted(world):
    play(world, [told("one", "11", post.versioned("p1", "10"))], [stories.deletion(2, "bluesky", "p1")])
    play(world, [told("two", "7", "p1", 3)])
    assert left(world) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_an_edit_is_the_same_told_at_once_or_step_by_step(world, at_once):
    new = post.versioned("p1", "2")
    steps = [told("one", "11", "p1"), edited("p1", "2"), told("one", "11", new, 5)]
    play(world, *([steps] if at_once else [[each] for each in steps]))
    stored = [row["id"] for row in world.write(rows, "SELECT id FROM posts ORDER BY seq")]
    assert (stored, left(world), names(world)) == (["p1", new], [new], [("one", "11", new)])
