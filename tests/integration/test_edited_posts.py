"""A post that was edited is two to us: its old words are deleted, its new ones come under ``ID#v:STAMP``."""

import asyncio
import contextlib
import json
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from yarl import URL

from bot.detection.detector import Detector
from bot.domain import post
from bot.domain.post import Candidate, Deletion, Post
from bot.ingest import bulletins, feed, jetstream_frames, mastodon_statuses
from bot.ingest.mastodon_timeline import Timeline
from bot.ingest.polling import Asked
from bot.ingest.push import PushSource
from bot.pipeline.detecting import Detecting
from bot.store import posts, pushed
from bot.store.database import rows
from tests import stories
from tests.factories import NOW
from tests.fakes import sources
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


def edit(at, post_id, stamp):
    new = post.versioned(post_id, stamp)
    gone = Deletion(provider="bluesky", id=post_id, deleted_at=NOW + timedelta(seconds=at), replaced_by=new)
    return stories.judged(gone, at)


def heard(items, at):
    """What a source yields, as the model would see it."""
    return [stories.judged(item, at, place="Port Calder") for item in items]


EDITED = [
    said(1, "Explosion at the harbour", "p1"),
    edit(5, "p1", "2"),
    said(5, "Explosion at the harbour, two hurt", "p1#v:2"),
    said(6, "Explosion near me", "p10"),
]


@pytest.mark.parametrize("at_once", [True, False])
def test_the_new_words_stay(world, at_once):
    play(world, EDITED, at_once=at_once)
    assert left(world) == ["p1#v:2", "p10"]


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("at", [4, 5, 8])
def test_a_repeated_edit_takes_nothing_away(world, at_once, at):
    play(world, [*EDITED, edit(at, "p1", "2")], at_once=at_once)
    assert left(world) == ["p1#v:2", "p10"]


@pytest.mark.parametrize("at_once", [True, False])
def test_an_earlier_edit_that_is_told_late_takes_no_later_words(world, at_once):
    again = [edit(7, "p1", "10"), said(7, "Explosion at the harbour, three hurt", "p1#v:10")]
    play(world, [*EDITED, *again, edit(9, "p1", "2"), edit(9, "p1", "9")], at_once=at_once)
    assert left(world) == ["p10", "p1#v:10"]


@pytest.mark.parametrize("at_once", [True, False])
def test_a_deletion_takes_all_versions_and_no_other_post(world, at_once):
    again = [edit(7, "p1", "3"), said(7, "Explosion at the harbour, three hurt", "p1#v:3")]
    others = [said(8, "Explosion at the harbour", other) for other in ("p1#block-1", "p1#", "p1#v;2", "p1#V:2")]
    play(world, [*EDITED, *again, *others, stories.deletion(9, "bluesky", "p1")], at_once=at_once)
    assert left(world) == ["p10", "p1#block-1", "p1#", "p1#v;2", "p1#V:2"]
    assert world.write(rows, "SELECT text FROM posts WHERE deleted_at IS NOT NULL AND text <> ''") == []


def test_what_a_deletion_took_is_replayed_for_each_version(world):
    late = [edit(7, "p1", "3"), said(7, "Explosion at the harbour, three hurt", "p1#v:3"), edit(8, "p1", "2")]
    play(world, [*EDITED, *late, stories.deletion(9, "bluesky", "p1")], at_once=False)
    history = world.write(posts.history, NOW - timedelta(hours=1))
    assert [step.post.id if isinstance(step, Candidate) else ("gone", step[0].id) for step in history] == [
        "p1",
        ("gone", "p1"),
        "p1#v:2",
        "p10",
        ("gone", "p1#v:2"),
        "p1#v:3",
        ("gone", "p1#v:3"),
    ]


def test_another_jetstream_host_tells_an_edit_late(world):
    fake = sources.FakeJetstream()
    made = fake.add_post("Explosion in Port Calder", rkey="3kaaa")
    one, two = (fake.add_update(f"Explosion in Port Calder, {word}", rkey="3kaaa") for word in ("one hurt", "two hurt"))
    frames = [jetstream_frames.decode_v1(event.v1(), sources.START) for event in (made, one, two, one)]
    told = [heard(frame.items, at) for at, frame in enumerate(frames)]
    play(world, [each for judged in told for each in judged], at_once=False)
    assert left(world) == [f"{made.uri}#v:{two.body['rev']}"]


URI = "https://away.example/users/ada/statuses/1"


def status(local_ms, words, edited_at=None):
    raw = {
        "id": str(local_ms << 16),
        "uri": URI,
        "created_at": "2031-05-14T11:59:00.000Z",
        "edited_at": edited_at,
        "visibility": "public",
        "content": f"<p>{words}</p>",
        "account": {"url": "https://away.example/@ada"},
    }
    return mastodon_statuses.decode(json.dumps(raw).encode(), NOW, provider="mastodon")


def test_two_instances_tell_the_same_edit_one_after_the_other(world):
    """The Deletion has the time of when it was heard, the words an earlier one: that of the status."""
    ms = int(NOW.timestamp() * 1000)
    here, there = (Timeline(name=name, provider="mastodon", position=None) for name in ("here", "there"))
    arrivals = []
    for second, timeline in enumerate((here, there)):
        now = NOW + timedelta(seconds=60 + second)
        timeline.start(str((ms - 1) << 16), now)
        for step in (status(ms, "Blast in Port Calder"), status(ms, "Fire in Port Calder", "2031-05-14T11:59:30Z")):
            arrivals += timeline.add(step, now, edited=bool(step.version))
    judged = [stories.judged(each.item, (each.at - NOW).total_seconds(), place="Port Calder") for each in arrivals]
    play(world, judged, at_once=False)
    (new,) = left(world)
    assert new.startswith(f"{URI}#v:")

    gone = there.delete(str(ms << 16), NOW + timedelta(seconds=69))
    play(world, heard([each.item for each in gone], 69), at_once=False)
    assert left(world) == []


def quake(magnitude, minutes):
    at = NOW + timedelta(minutes=minutes)
    return bulletins.Bulletin(
        key="us1",
        version=f"{magnitude}",
        stamp=f"{at.timestamp() * 1000:.0f}",
        notable=True,
        category="earthquake",
        text=f"M {magnitude} earthquake",
        sent_at=NOW,
        author="usgs",
        lat=53.2,
        lon=-9.3,
    )


def test_an_official_update_survives_a_crash_between_its_halves(world):
    known = {}
    asked = {"now": NOW, "since": NOW, "address": URL("https://q.example/")}
    for number, bulletin in enumerate((quake(6.1, 0), quake(5.8, 2), quake(5.5, 4))):
        for half, step in enumerate(bulletins.news("usgs", [bulletin], Asked(known=known, **asked))):
            play(world, [stories.judged(step.item, 60 * number + half)], at_once=False)  # each in a process of its own
            known |= step.remember
        assert left(world) == ["us1" if not number else f"us1#v:{bulletin.stamp}"]


def blog(first, *more):
    entries = "".join(
        f"<item><guid isPermaLink='false'>{guid}</guid><title>{words}</title></item>"
        for guid, words in (("https://n.example/live", first), *more)
    )
    return f"<rss version='2.0'><channel>{entries}</channel></rss>".encode()


def test_a_live_blogs_parts_are_no_versions_of_it(world):
    parts = [(f"https://n.example/live#{name}", "Fire in Port Calder") for name in ("block-1", "v:5")]
    reading = feed.Entries("rss:news", official=False)
    known = {"other": ("", "", "-")}
    for second, body in enumerate((blog("Blast in Port Calder", *parts), blog("Calm in Port Calder", *parts))):
        told = reading.read(
            body, None, Asked(now=NOW, since=NOW, address=URL("https://n.example/feed.xml"), known=known)
        )
        play(
            world,
            heard([step.item for step in told.steps if isinstance(step.item, Post | Deletion)], second),
            at_once=True,
        )
        known |= {key: each for step in told.steps for key, each in step.remember.items()}
    assert sorted(left(world)) == [
        "https://n.example/live#block-1", f"https://n.example/live#v:{NOW.timestamp():.0f}",
        "https://n.example/live%23v:5",
    ]  # fmt: skip


def test_what_a_sender_calls_his_posts_makes_no_versions(world):
    when = "2031-05-14T12:00:00Z"
    told = [{"id": each, "text": "Fire in Port Calder", "created_at": when} for each in ("7", "7#1", "7#v:1", "7#v:2")]
    told += [{"id": each, "deleted_at": when} for each in ("7", "7#v:2")]
    sent = [(f"{number}", json.dumps({"source": "desk"} | each).encode()) for number, each in enumerate(told)]
    world.write(pushed.add, "desk", sent, NOW)

    async def reading():
        source = PushSource("desk", provider="desk")
        source.use(world.database)
        async with asyncio.timeout(20), contextlib.aclosing(source.posts(None)) as arrivals:
            return [(await anext(arrivals)).item for _ in sent]

    play(world, heard(asyncio.run(reading()), 1), at_once=False)
    assert left(world) == ["7#1", "7%23v:1"]
