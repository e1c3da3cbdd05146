"""A store of the version before Slack and Discord had settings opens, is brought up to date, and works."""

import contextlib
import json

import pytest
import sqlite_utils

from bot import admin, pressing, tuning
from bot.admin import Actor
from bot.domain import alert as alerts
from bot.domain import channel as channels
from bot.domain import errors, subscription, times
from bot.domain.alert import Kind, Level, event_id
from bot.domain.delivery import Act
from bot.domain.quieting import Quieting
from bot.platforms.base import Action, Press
from bot.store import directory, local_ids, migrations
from bot.store.database import Database
from tests.factories import NOW, make_alert, make_subscription
from tests.worlds import OPERATOR, World

C1, C2 = "slack:T0123/C1", "slack:T0123/C2"
ANN = Actor(id="slack:T0123/U1", surface="slack", member="slack:T0123")
STAMP = times.to_text(NOW)


def alert(number=1, **fields):
    key = f"bluesky|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,), "quotes": (key,)} | fields)


def row(delivery, told, act="post", channel=C1, **fields):
    return {
        "delivery": delivery, "org": "o1", "channel": channel, "platform": "slack", "act": act, "view": "*",
        "alert": told.id, "event": told.event, "state": "queued", "created_at": STAMP, "due_at": STAMP,
    } | fields  # fmt: skip


@pytest.fixture
def path(tmp_path):
    """With the schema, and in it the rows, of that version."""
    path = tmp_path / "store.db"
    with contextlib.closing(sqlite_utils.Database(path)) as db:
        migrations._steps.apply(db, stop_before="m003_readers")
        spec = subscription.to_spec(make_subscription(channel=C1))
        for newer in ("radii", "certainty", "excluded"):
            del spec[newer]
        db["settings"].insert({"name": "policy_version", "value": "1"})
        db["organisations"].insert(
            {"org": "o1", "name": "Acme", "sector": "news", "state": "active", "created_at": STAMP}
        )
        db["workspaces"].insert({"workspace": "slack:T0123", "org": "o1", "platform": "slack", "created_at": STAMP})
        for channel, lost in ((C1, None), (C2, "the bot was removed")):
            db["channels"].insert(
                {"channel": channel, "workspace": "slack:T0123", "platform": "slack", "lost": lost, "created_at": STAMP}
            )
        db["subscriptions"].insert(
            {
                "subscription": "s1",
                "channel": C1,
                "spec": json.dumps(spec),
                "created_at": STAMP,
                "created_by": "cli:ada",
            }
        )
        db["grants"].insert({
            "grant_id": "g1", "org": "o1", "provider": "*", "capabilities": json.dumps(["alerts", "evidence"]),
            "reason": "contract", "author": "cli:ada", "created_at": STAMP,
        })  # fmt: skip
        for told in (alert(1), alert(2), alert(1, revision=2, kind=Kind.UPDATE)):
            db["events"].insert(
                {
                    "view": "*", "event": told.event, "category": told.category, "level": told.level.value,
                    "headline": told.headline, "revision": told.revision, "first_post_at": STAMP, "updated_at": STAMP,
                },
                replace=True,
            )  # fmt: skip
            db["alerts"].insert({
                "view": "*", "alert": told.id, "event": told.event, "revision": told.revision, "kind": told.kind.value,
                "level": told.level.value, "category": told.category, "raised_at": STAMP, "recorded_at": STAMP,
                "body": json.dumps(alerts.to_body(told)),
            })  # fmt: skip
        for each in (
            row("d1", alert(1), state="sent", attempts=1, platform_id="ts-1", claimed_at=STAMP, sent_at=STAMP),
            row("d2", alert(2)),
            row("d3", alert(1, revision=2), "edit", root="d1"),
            row("d4", alert(1, revision=2), "reply", root="d1"),
            row("d5", alert(1), channel=C2, state="held", reason="lost: the bot was removed"),
        ):
            db["deliveries"].insert(each)
    return path


@pytest.fixture
def world(path):
    world = World(path)
    yield world
    world.close()


def told(sent):
    return [(each.act, each.delivery) for each in sent]


def test_what_was_queued_goes_on_in_its_order(world):
    assert told(world.deliver_all()) == [(Act.POST, "d2"), (Act.EDIT, "d3"), (Act.REPLY, "d4")]
    assert world.rows(state="held")[0]["delivery"] == "d5"


def test_what_is_new_and_louder_goes_first_and_a_messages_own_order_stays(world):
    world.record(alert(1, revision=3, kind=Kind.UPDATE, level=Level.FLASH, change="louder"))
    acts = [(each.act, each.message.alert.id) for each in world.deliver_all()]
    assert acts == [
        (Act.REPLY, alert(1, revision=2).id),
        (Act.EDIT, alert(1, revision=3).id),
        (Act.REPLY, alert(1, revision=3).id),
        (Act.POST, alert(2).id),
    ]


def test_what_was_held_since_its_channel_was_lost_goes_when_it_is_back(world):
    world.deliver_all()
    world.write(admin.record_return, world.now, C2)
    assert told(world.deliver_all()) == [(Act.POST, "d5")]


def test_channel_and_its_messages_can_do_what_is_new(world):
    assert world.write(directory.quieting, C1) == Quieting()
    assert world.write(directory.editors, "slack:T0123") == "admins"
    assert world.write(directory.subscriptions, C1) == [make_subscription(channel=C1)]
    world.run(tuning.set_budget, OPERATOR, world.now, channels.parse(C1), 5)
    assert world.write(directory.quieting, C1).budget == 5
    pressed = Press(action=Action.ACKNOWLEDGE, delivery="d1", actor=ANN.id, channel=channels.parse(C1))
    world.run(pressing.press, ANN, world.now, pressed)
    edits = [each for each in world.deliver_all() if each.act is Act.EDIT]
    assert edits[-1].message.acknowledged.by == ANN.id


def test_reading_only_asks_to_bring_it_up_to_date_first(path):
    with pytest.raises(errors.StoreError, match="older version"):
        Database.open(path, read_only=True)
    Database.open(path).close()
    Database.open(path, read_only=True).close()


def test_step_that_fails_leaves_the_store_as_it_was(path):
    with contextlib.closing(sqlite_utils.Database(path)) as db:
        db.execute("CREATE TABLE feedback (in_the_way TEXT)")
        before = list(db.conn.iterdump())
        db.conn.commit()
    with pytest.raises(errors.StoreError):
        Database.open(path)
    with contextlib.closing(sqlite_utils.Database(path)) as db:
        assert list(db.conn.iterdump()) == before
        db.execute("DROP TABLE feedback")
        db.conn.commit()
    Database.open(path).close()


def test_store_without_local_ids_learns_those_of_posts_that_come_again(tmp_path):
    path = tmp_path / "older.db"
    with contextlib.closing(sqlite_utils.Database(path)) as db:
        migrations._steps.apply(db, stop_before="m006_local_ids")
        db.execute(
            "INSERT INTO posts VALUES "
            "(1, 'mastodon|p1', 'mastodon', 'p1', NULL, 'Smoke', NULL, ?, ?, ?, '{}', '{}', '[]', x'', 'f', 'm', "
            "NULL, NULL)",
            [STAMP, STAMP, STAMP],
        )
        db.conn.commit()
    named = [local_ids.Named(source="one", local_id=each, post=f"mastodon|p{each}") for each in ("1", "2")]
    world = World(path)
    with contextlib.closing(world):
        assert world.write(local_ids.to_ask, "one", NOW) == []
        world.write(local_ids.add, named)
        assert world.write(local_ids.to_ask, "one", NOW) == ["1"]
