"""Posts whose time is over lose their words, and the terms that a provider has from the start."""

import asyncio
import tomllib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import admin, app, config
from bot.domain import times
from bot.domain.alert import event_id
from bot.domain.delivery import Act
from bot.domain.post import Deletion
from bot.ingest import terms
from bot.pipeline import rebuilding, retaining
from bot.pipeline.retaining import Policy, Retaining
from bot.store import access, posts, pushed, sources
from tests.factories import NOW, make_alert
from tests.worlds import World

MONTH = Policy(default=timedelta(days=30))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "store.db")
    made.org()
    yield made
    made.close()


def keep(world: World, *keys: str, **fields: Any) -> None:
    given = {"lat": 52.1, "lon": -8.2, "media": ("https://social.example/a.jpg",), "reply_to": "did:plc:bbb/1"}
    given |= {"author": "did:plc:aaa", "received_at": world.now, "created_at": world.now}
    world.record(steps=[world.candidate(key, **given | fields) for key in keys])


def purge(world: World, policy: Policy = MONTH, *, most: int = retaining.MOST) -> int:
    found: int = world.write(retaining.purge, policy, world.now, most)
    return found


def told(world: World, key: str) -> list[str]:
    return [quote.text for quote in world.write(posts.quotes, [key])]


def test_after_its_time_nothing_of_a_post_s_words_is_in_the_store(world: World) -> None:
    keep(world, "bluesky|1", text="Smoke over the invented quay", url="https://social.example/smoke")
    world.wait(days=29)
    assert purge(world) == 0
    assert told(world, "bluesky|1") == ["Smoke over the invented quay"]
    world.wait(days=2)
    assert purge(world) == 1
    left = [line for line in world.dump() if 'INTO "posts"' in line]
    assert len(left) == 1
    for gone in ("Smoke", "social.example", "did:plc:aaa", "did:plc:bbb", "52.1", "a.jpg"):
        assert gone not in left[0]
    assert told(world, "bluesky|1") == []
    assert "explosion" in left[0], "what kind of report it was stays"


def test_one_entry_in_the_audit_tells_how_many(world: World) -> None:
    keep(world, "bluesky|1", "bluesky|2", "usgs|1")
    world.wait(days=31)
    assert purge(world) == 3
    entry = world.audit()[-1]
    assert (entry.action, entry.actor, entry.effect) == (
        "purge", "tocsin", {"posts": {"bluesky": 2, "usgs": 1}, "deleted": 0, "unread": 0},
    )  # fmt: skip
    before = len(world.audit())
    assert purge(world) == 0
    assert len(world.audit()) == before


def test_each_provider_has_its_own_time_and_none_a_longer_one_than_the_operator_says(world: World) -> None:
    policy = Policy(default=timedelta(days=30), of={"usgs": timedelta(days=3650), "x": timedelta(days=7)})
    keep(world, "bluesky|1", "usgs|1", "x|1")
    world.wait(days=8)
    purge(world, policy)
    assert [bool(told(world, key)) for key in ("bluesky|1", "usgs|1", "x|1")] == [True, True, False]
    world.wait(days=23)
    purge(world, policy)
    assert [bool(told(world, key)) for key in ("bluesky|1", "usgs|1")] == [False, False]


def test_alerts_and_events_stay(world: World) -> None:
    keep(world, "bluesky|1")
    world.record(make_alert(evidence=("bluesky|1",), quotes=("bluesky|1",)))
    before = [line for line in world.dump() if 'INTO "alerts"' in line or 'INTO "events"' in line]
    world.wait(days=31)
    purge(world)
    assert [line for line in world.dump() if 'INTO "alerts"' in line or 'INTO "events"' in line] == before
    assert before


def test_a_backlog_goes_in_bounded_steps(world: World) -> None:
    keep(world, *(f"bluesky|{n}" for n in range(25)))
    world.wait(days=31)
    assert [purge(world, most=10) for _ in range(4)] == [10, 10, 5, 0]


def test_the_job_takes_everything_that_is_due_also_after_a_restart(world: World) -> None:
    keep(world, *(f"bluesky|{n}" for n in range(25)))
    world.wait(days=31)
    assert purge(world, most=10) == 10
    world.reopen()
    job = Retaining(world.database, MONTH, now=lambda: world.now, most=10)
    assert asyncio.run(job.purge()) == 15
    assert asyncio.run(job.purge()) == 0


def test_a_purged_post_that_comes_again_is_known(world: World) -> None:
    keep(world, "bluesky|1", text="Smoke")
    world.wait(days=31)
    purge(world)
    assert world.write(posts.known, ["bluesky|1"]) == {"bluesky|1"}
    keep(world, "bluesky|1", text="Smoke")
    assert told(world, "bluesky|1") == []


@pytest.mark.parametrize("whose", [{"id": "1"}, {"author": "did:plc:aaa"}], ids=["the post", "the whole account"])
def test_what_is_deleted_after_its_time_still_leaves_the_messages_that_quote_it(
    world: World, whose: dict[str, str]
) -> None:
    world.channel()
    keep(world, "bluesky|1")
    alert = make_alert(event=event_id("bluesky|1"), evidence=("bluesky|1",), quotes=("bluesky|1",))
    world.record(alert)
    assert [sending.act for sending in world.deliver_all()] == [Act.POST]
    world.wait(days=31)
    purge(world)
    found = world.write(
        posts.delete, Deletion(provider="bluesky", deleted_at=world.now, **whose), after_seq=1, stream_at=world.now
    )
    assert found == ["bluesky|1"]


def test_another_account_s_end_touches_no_purged_post(world: World) -> None:
    keep(world, "bluesky|1")
    world.wait(days=31)
    purge(world)
    gone = Deletion(provider="bluesky", author="did:plc:other", deleted_at=world.now)
    assert world.write(posts.delete, gone, after_seq=1, stream_at=world.now) == []


def test_a_deleted_post_keeps_for_a_day_what_a_restarted_detector_needs_and_no_longer(world: World) -> None:
    keep(world, "bluesky|1")
    world.record(steps=[Deletion(provider="bluesky", author="did:plc:aaa", deleted_at=world.now)])
    world.wait(hours=24)
    purge(world)
    steps = world.write(posts.history, NOW - timedelta(hours=1))
    assert [type(step).__name__ for step in steps] == ["Candidate", "tuple"]
    assert steps[0].post.author == "did:plc:aaa"
    assert steps[0].fingerprint == "bluesky|1"
    world.wait(hours=2)
    assert purge(world) == 1
    (row,) = [line for line in world.dump() if 'INTO "posts"' in line]
    assert "did:plc:aaa" not in row
    assert not [line for line in world.dump() if 'INTO "deletions"' in line]
    assert world.audit()[-1].effect == {"posts": {}, "deleted": 1, "unread": 0}


def test_what_was_pushed_waits_for_its_source_however_long_the_service_was_off(world: World) -> None:
    world.write(pushed.add, "control-room", [("post 1", b"an invented line")], world.now)
    world.wait(days=400)
    purge(world, Policy(default=timedelta(days=30), pushed=frozenset({"control-room"})))
    assert world.write(pushed.waiting, "control-room") == 1
    assert world.write(sources.gaps) == []


def test_what_was_read_of_a_source_that_is_gone_is_no_gap(world: World) -> None:
    world.write(pushed.add, "gone", [("post 1", b"an invented line")], world.now)
    world.write(sources.save_cursor, "gone", "1", world.now)
    world.wait(days=31)
    purge(world)
    assert world.write(pushed.waiting, "gone") == 0
    assert world.write(sources.gaps) == []


def test_what_was_pushed_to_a_source_that_is_gone_does_not_stay(world: World) -> None:
    begun = world.now
    world.write(pushed.add, "gone", [("post 1", b"an invented line")], world.now)
    world.wait(days=29)
    purge(world)
    assert world.write(pushed.waiting, "gone") == 1
    world.wait(days=2)
    purge(world)
    assert world.write(pushed.waiting, "gone") == 0
    assert world.audit()[-1].effect["unread"] == 1
    (gap,) = world.write(sources.gaps)
    assert (gap["source"], gap["since"], gap["until"]) == ("gone", times.to_text(begun), times.to_text(begun))
    assert str(gap["reason"]).startswith("1 pushed lines were never read")


def test_no_setting_takes_from_a_restart_what_it_needs() -> None:
    assert Policy(default=timedelta(0)).span("bluesky") > rebuilding.REBUILT_FROM


STANDING = [terms.TERMS["x"].barring("x")]


def configured(text: str = "") -> config.Config:
    given = tomllib.loads(text)
    return config.Config(**({"source": []} | given))


def test_terms_hold_for_providers_that_nobody_configures_any_more() -> None:
    assert app._standing_terms([], []) == STANDING
    found = app._standing_terms([], ["bluesky", "x:archive"])
    assert [(made.provider, made.barred_sectors) for made in found] == [
        ("x", STANDING[0].barred_sectors),
        ("x:archive", STANDING[0].barred_sectors),
    ]


def test_retention_holds_for_providers_that_nobody_configures_any_more() -> None:
    policy = app._retention(configured("[retention]\ndays = 3000"))
    assert policy.span("x") == terms.PERSONS
    assert policy.span("control-room") == terms.PERSONS
    assert policy.span("nws") == timedelta(days=3000)
    named = '[[source]]\ntype = "usgs"\nname = "quakes"\nprovider = "quakes"\n'
    assert app._retention(configured(f"[retention]\ndays = 3000\n{named}")).span("quakes") == timedelta(days=3000)


def test_only_an_x_source_asks_what_was_deleted() -> None:
    x = '[[source]]\ntype = "x"\ntoken = "an invented token"\nrules = ["fire"]\naccept_terms = true\n'
    assert app.unasked(configured(x).source, ["bluesky", "x"]) == []
    assert app.unasked(configured().source, ["bluesky", "x"]) == ["x"]
    replayed = '[[source]]\ntype = "replay"\nname = "recorded"\npath = "posts.jsonl"\n'
    assert app.unasked(configured(replayed).source, ["bluesky", "x"]) == []


def test_a_provider_s_standing_terms_are_stored_once_and_audited(world: World) -> None:
    version = world.write(access.version)
    assert world.write(admin.adopt_terms, world.now, STANDING) == ["x"]
    entry = world.audit()[-1]
    assert (entry.action, entry.target, entry.actor, entry.surface) == ("terms", "x", "tocsin", "service")
    assert entry.reason == "the provider's standing terms"
    assert entry.effect["barred_sectors"] == ["government/intelligence"]
    assert world.write(access.terms) == STANDING
    assert world.write(access.version) > version
    before = len(world.audit())
    world.reopen()
    assert world.write(admin.adopt_terms, world.now, STANDING) == []
    assert len(world.audit()) == before


def test_what_an_operator_says_stands(world: World) -> None:
    world.act(admin.set_terms, provider="x", barred_sectors=["news"], barred_cells=[], quota=3, reason="a new contract")
    assert world.write(admin.adopt_terms, world.now, STANDING) == []
    (kept,) = world.write(access.terms)
    assert (kept.barred_sectors, kept.quota) == (frozenset({"news"}), 3)


def test_what_waits_for_whom_they_bar_is_withheld(world: World) -> None:
    world.org("Watchers", "government/intelligence")
    world.channel("slack:T0999/C0999", "Watchers")
    keep(world, "x|1")
    world.record(make_alert(sources=("x",), evidence=("x|1",), quotes=("x|1",)), view=world.view("Watchers"))
    assert world.states() == ["queued"]
    world.write(admin.adopt_terms, world.now, STANDING)
    assert world.states() == ["withheld"]
    assert world.audit()[-1].effect["withheld"] == 1
