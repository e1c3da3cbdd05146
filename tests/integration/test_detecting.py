"""From judged posts to recorded alerts, with the real detectors over a real store: views, restarts, batches."""

import asyncio
import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.detection.detector import Detector
from bot.domain.alert import Kind
from bot.domain.post import Deletion, Gap
from bot.pipeline.classifying import Judged
from bot.pipeline.detecting import Detecting
from bot.store import memories
from bot.store.database import rows
from tests import stories
from tests.factories import NOW
from tests.worlds import World

STORY = stories.stream()
OFFICIAL = ("usgs", "cap")
BATCHES = st.lists(st.integers(1, 20), min_size=1, max_size=8)


@contextmanager
def worlds() -> Iterator[World]:
    """One with Acme, which may receive everything."""
    with tempfile.TemporaryDirectory(prefix="tocsin-test-") as folder:
        world = World(Path(folder) / "store.db")
        world.now = NOW + timedelta(hours=1)
        world.org()
        yield world
        world.close()


def play(world: World, judged: Sequence[Judged], sizes: Sequence[int]) -> list[tuple[str, str]]:
    """Through a new Detecting, in batches of these sizes, over and over; the (View, revision) that it said were new."""
    raised: list[tuple[str, str]] = []

    async def on_raised(view: Any, alert: Any) -> None:
        raised.append((view.key, alert.id))

    async def playing() -> None:
        detecting = Detecting(
            world.database, lambda view: Detector(view, stories.GAZETTEER), now=lambda: world.now, on_raised=on_raised
        )
        await detecting.start()
        left, turn = list(judged), 0
        while left:
            size = sizes[turn % len(sizes)]
            await detecting.take(left[:size])
            left, turn = left[size:], turn + 1

    asyncio.run(playing())
    return raised


def recorded(world: World, view: str) -> list[str]:
    """What an organisation with this View sees: events, their evidence and every revision, as they were stored."""
    found: list[dict[str, Any]] = []
    for table, order in (("events", "event"), ("evidence", "event, post"), ("alerts", "raised_at, alert")):
        found += world.write(rows, f"SELECT * FROM {table} WHERE view = ? ORDER BY {order}", [view])
    return [json.dumps({name: row[name] for name in row if name not in ("view", "recorded_at")}) for row in found]


def revisions(world: World) -> list[dict[str, Any]]:
    return [json.loads(row["body"]) for row in world.write(rows, "SELECT body FROM alerts WHERE view = '*'")]


def provider_of(judged: Judged) -> str:
    item = judged.arrival.item
    assert not isinstance(item, Gap)
    return item.provider


def test_the_story_has_what_the_properties_are_about():
    with worlds() as world:
        play(world, STORY, [7])
        bodies = revisions(world)
    assert {body["kind"] for body in bodies} == {kind.value for kind in Kind}
    assert any("dead" in body["headline"] for body in bodies)
    assert any(body["change"].startswith("a quoted post was deleted") for body in bodies)
    assert len({body["event"] for body in bodies}) >= 4
    assert max(body["revision"] for body in bodies) >= 4
    assert 60 <= len(STORY) <= 80


@given(barred=st.sets(st.sampled_from([*stories.PROVIDERS, *OFFICIAL]), min_size=1), one=BATCHES, other=BATCHES)
@settings(max_examples=12, deadline=None)
def test_a_view_is_byte_for_byte_that_of_a_store_into_which_barred_posts_never_came(barred, one, other):
    without = [each for each in STORY if provider_of(each) not in barred]
    with worlds() as world:
        world.org("Bank")
        for provider in barred:
            world.revoke(org="Bank", provider=provider)
        play(world, STORY, one)
        view = world.view("Bank").key
        seen, everything = recorded(world, view), recorded(world, "*")
    with worlds() as world:
        play(world, without, other)
        expected = recorded(world, "*")
    assert seen == expected
    assert view == "*" + "".join(f"!{name}" for name in sorted(barred))
    assert everything


def test_batches_change_nothing():
    found = set()
    for sizes in ([1], [len(STORY)], [3, 11]):
        with worlds() as world:
            play(world, STORY, sizes)
            found.add(tuple(recorded(world, "*")))
    assert len(found) == 1


def is_purge(judged: Judged) -> bool:
    """Does it delete posts that came?"""
    item = judged.arrival.item
    return isinstance(item, Deletion) and "never" not in (item.id or "")


PURGED_FROM = next(number for number, each in enumerate(STORY) if is_purge(each))


def cut_run(story: Sequence[Judged], cut: int, sizes: Sequence[int]) -> dict[str, Any]:
    """What is recorded and said to be new, per View, by a run that is stopped after ``cut`` arrivals."""
    with worlds() as world:
        world.org("Bank")
        world.revoke(org="Bank", provider="x")
        raised = play(world, story[:cut], sizes)
        if cut < len(story):
            world.reopen()
            raised += play(world, story[cut:], sizes)
        views = {view: recorded(world, view) for view in ("*", "*!x")}
    return {view: (seen, [alert for key, alert in raised if key == view]) for view, seen in views.items()}


@pytest.fixture(scope="module")
def uncut() -> dict[str, Any]:
    return cut_run(STORY, len(STORY), [6])


@pytest.mark.parametrize("cut", range(len(STORY)))
def test_stopped_anywhere_and_resumed_from_the_store_it_goes_on_as_if_it_had_not(cut, uncut):
    assert cut_run(STORY, cut, [6]) == uncut


@given(cut=st.integers(0, len(STORY)), sizes=BATCHES)
@settings(max_examples=10, deadline=None)
def test_it_may_stop_whatever_the_batches(cut, sizes):
    assert cut_run(STORY, cut, sizes) == cut_run(STORY, len(STORY), [6])


def test_stopped_after_every_few_arrivals_it_goes_on_as_if_it_had_not(uncut):
    with worlds() as world:
        world.org("Bank")
        world.revoke(org="Bank", provider="x")
        raised = []
        for start in range(0, len(STORY), 3):
            raised += play(world, STORY[start : start + 3], [3])
            world.reopen()
        seen = {view: recorded(world, view) for view in ("*", "*!x")}
    assert {view: (seen[view], [alert for key, alert in raised if key == view]) for view in seen} == uncut


def test_a_store_of_the_version_before_goes_on(uncut):
    cut = PURGED_FROM
    with worlds() as world:
        world.org("Bank")
        world.revoke(org="Bank", provider="x")
        play(world, STORY[:cut], [6])
        for table in ("detectors", "clusters", "members"):
            world.write(lambda db, table: db.execute(f"DROP TABLE {table}"), table)
        world.write(lambda db: db.execute("DELETE FROM _sqlite_migrations WHERE name = 'm002_memories'"))
        world.reopen()
        play(world, STORY[cut:], [6])
        assert {view: recorded(world, view) for view in ("*", "*!x")} == {
            view: seen for view, (seen, _) in uncut.items()
        }


def test_what_the_detector_of_a_view_that_ended_remembered_is_forgotten():
    with worlds() as world:
        play(world, STORY[:30], [6])
        assert world.write(memories.load, "*") is not None
        world.revoke(org="Acme", provider="x")
        play(world, STORY[30:], [6])
        assert world.write(memories.load, "*") is None
        assert world.write(memories.load, "*!x") is not None
