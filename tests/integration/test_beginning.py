"""A revocation that lies ahead: when its time comes, it withholds, lists what is in flight, and tells."""

from datetime import timedelta

import pytest

from bot import proving, revoking
from bot.domain.alert import event_id
from bot.domain.delivery import Act
from bot.pipeline import delivering
from bot.store import access
from tests.factories import make_alert
from tests.worlds import World

C1 = "slack:T0123/C1"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(C1)
    yield world
    world.close()


def alert(key):
    return make_alert(event=event_id(key), evidence=(key,), quotes=(key,))


def test_it_withholds_lists_and_tells_when_it_begins(world):
    effect = world.revoke(org="Acme", from_at=world.now + timedelta(hours=1), notice="Please call us.")
    assert (effect.withheld, effect.notices) == (0, 0)
    world.record(alert("bluesky|1"))
    (sending,) = world.claim()
    world.record(alert("bluesky|2"))
    world.wait(hours=1)
    world.write(delivering._tended, world.now)
    found = world.write(proving.proof, effect.revocation)
    assert (found["effect"]["withheld"], found["effect"]["in_flight"]) == (1, [sending.delivery])
    world.settle(sending)
    told = world.deliver_all()
    assert [(each.act, each.message.text) for each in told] == [(Act.NOTICE, "Please call us.")]
    assert world.write(proving.proof, effect.revocation)["claimed_after"] == []
    assert [entry.action for entry in world.audit()].count("revocation-begun") == 1


def test_it_begins_once(world):
    world.revoke(org="Acme", from_at=world.now + timedelta(hours=1), notice="Please call us.")
    world.wait(hours=1)
    for _ in range(3):
        world.write(delivering._tended, world.now)
    assert [each.act for each in world.deliver_all()] == [Act.NOTICE]


def test_it_may_begin_in_silence(world):
    world.revoke(org="Acme", from_at=world.now + timedelta(hours=1))
    world.wait(hours=1)
    world.write(delivering._tended, world.now)
    assert world.deliver_all() == []


def test_lifted_before_its_time_it_never_begins(world):
    effect = world.revoke(org="Acme", from_at=world.now + timedelta(hours=1), notice="Please call us.")
    world.act(revoking.reinstate, effect.revocation, "settled")
    world.wait(hours=1)
    assert world.write(access.beginning, world.now) == []
