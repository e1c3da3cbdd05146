"""What a source calls a post when it tells of its end: remembered until it is gone."""

import asyncio
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.detection.detector import Detector
from bot.domain import post
from bot.domain.post import Deletion
from bot.pipeline.detecting import Detecting, Newest
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


def asked(world, source="one", *, since=NOW - timedelta(days=1), **more):
    return world.write(local_ids.to_ask, source, since, provider="bluesky", **more)


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
def test_names_wait_for_the_new_words_however_long_that_takes(world, report):
    new = post.versioned("p1", "2")
    play(world, [told("one", "11", "p1"), told("two", "7", "p1")], [edited("p1", "2")])
    assert asked(world) == ["11"]
    assert world.write(local_ids.post_of, "one", "11") == "p1"
    play(world, [told("one", "11", new, report=report)])
    now = new if report else "p1"
    assert names(world) == [("one", "11", now), ("two", "7", now)]
    world.write(retention.purge_deleted, before=NOW + timedelta(days=1), at=world.now, most=9)
    assert names(world) == [("one", "11", now), ("two", "7", now)]
    assert asked(world) == (["11"] if report else [])


def test_a_name_waits_also_where_the_old_words_came_and_went_in_one_batch(world):
    new = post.versioned("p1", "2")
    play(world, [told("one", "11", "p1"), edited("p1", "2")])
    assert world.write(local_ids.post_of, "one", "11") == "p1"
    play(world, [told("one", "11", new)])
    assert names(world) == [("one", "11", new)]


def test_names_that_wait_go_with_the_post(world):
    play(world, [told("one", "11", "p1")], [edited("p1", "2")], [stories.deletion(9, "bluesky", "p1")])
    assert names(world) == []


def test_names_of_all_versions_go_with_the_post(world):
    new = post.versioned("p1", "2")
    play(world, [told("one", "11", "p1"), told("two", "7", "p1")], [edited("p1", "2")], [told("one", "11", new)])
    play(world, [stories.deletion(9, "bluesky", "p1")])
    assert names(world) == []


def test_names_go_with_the_words_of_an_account(world):
    play(world, [told("one", "11", "p1"), told("one", "12", "p2")])
    gone = Deletion(provider="bluesky", author="a1", deleted_at=world.now)
    play(world, [stories.judged(gone, 9)])
    assert names(world) == []


def test_what_has_outlived_its_retention_has_its_name_but_is_not_asked_about(world):
    """Its deletion has to reach the messages that quote it."""
    new = post.versioned("p1", "2")
    play(world, [told("one", "11", "p1")], [edited("p1", "2"), told("one", "11", new)], [told("one", "12", "p2")])
    world.write(retention.purge, "bluesky", before=NOW + timedelta(days=1), at=world.now, most=2)
    assert names(world) == [("one", "11", new), ("one", "12", "p2")]
    assert asked(world) == ["12"]
    play(world, [stories.deletion(9, "bluesky", "p1")])
    assert (left(world), names(world)) == (["p2"], [("one", "12", "p2")])


def test_what_is_kept_is_asked_about_the_newest_first(world):
    play(world, [told("one", "11", "p1"), told("two", "7", "p2"), told("one", "12", "p3"), told("one", "13", "p4")])
    play(world, [stories.deletion(9, "bluesky", "p3")])
    assert asked(world) == ["13", "11"]
    assert asked(world, most=1) == ["13"]
    assert asked(world, since=NOW + timedelta(days=1)) == []


def test_only_names_of_one_instance_are_asked_about(world):
    play(world, [told("one", "a.social/11", "p1"), told("one", "b.social/12", "p2"), told("one", "13", "p3")])
    assert asked(world, prefix="b.social/") == ["b.social/12"]


@pytest.mark.parametrize("at_once", [True, False])
def test_old_words_that_another_source_brings_later_are_not_taken(world, at_once):
    new, older = post.versioned("p1", "10"), post.versioned("p1", "9")
    steps = [told("one", "11", new), told("two", "7", "p1", 2), told("two", "7", older, 3), told("two", "8", "p2", 4)]
    play(world, *([steps] if at_once else [[each] for each in steps]))
    assert left(world) == [new, "p2"]
    assert names(world) == [("one", "11", new), ("two", "7", new), ("two", "8", "p2")]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
def test_who_is_late_has_a_name_for_the_newer_words(world, at_once, restarted):
    new = post.versioned("p1", "10")
    steps = [told("one", "11", new), told("two", "7", "p1", 2)]
    batches = [steps] if at_once else [[each] for each in steps]
    for each in [batches] if not restarted else [[batch] for batch in batches]:
        play(world, *each)
    assert (left(world), names(world)) == ([new], [("one", "11", new), ("two", "7", new)])


@pytest.mark.parametrize("words_went", [True, False])
@pytest.mark.parametrize("restarted", [True, False])
def test_no_version_of_what_is_gone_is_taken(world, restarted, words_went):
    one = [[told("one", "11", "p1")], *([[edited("p1", "2", 1)]] * words_went), [stories.deletion(2, "bluesky", "p1")]]
    two = [[told("two", "7", post.versioned("p1", "3"), 3)], [told("two", "7", post.versioned("p1", "4"), 4)]]
    for each in [[*one, *two]] if not restarted else [one, two]:
        play(world, *each)
    assert (left(world), names(world)) == ([], [])


def test_what_was_never_stored_is_gone_as_well(world):
    report = post.versioned("p1", "2")
    play(
        world,
        [told("one", "11", "p1", report=False)],
        [stories.deletion(2, "bluesky", "p1"), told("two", "7", report, 3)],
    )
    assert left(world) == []


@pytest.mark.parametrize("told_of", ["the words", "the edit"])
def test_old_words_are_not_taken_where_the_newer_ones_are_no_report(world, told_of):
    new = post.versioned("p1", "2")
    newer = edited("p1", "2", 1) if told_of == "the edit" else told("one", "11", new, report=False)
    play(world, [newer], [told("two", "7", "p1", 2)])
    assert left(world) == []


def test_the_newest_versions_of_so_many_posts_are_remembered():
    newest = Newest(2)
    assert [newest.told(f"b|{each}") for each in ("p1#v:2", "p2", "p1", "p3", "p2", "p1")] == [
        False, False, True, False, False, False,
    ]  # fmt: skip


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


def test_no_version_is_taken_in_the_batch_in_which_what_is_kept_from_before_goes(world):
    play(world, [told("one", "11", "p1")])
    play(world, [stories.deletion(2, "bluesky", "p1"), told("two", "7", post.versioned("p1", "3"), 3)])
    assert (left(world), names(world)) == ([], [])
