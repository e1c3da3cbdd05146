"""Digests know no way around access: while they wait, while they are sent, and after."""

from datetime import time, timedelta

import pytest

from bot import admin, glancing, proving, revoking
from bot.domain import channel as channels
from bot.domain import errors
from bot.domain.access import OrganisationState
from bot.domain.alert import Kind, event_id
from bot.domain.delivery import Act, RateLimited, Sent, Unknown
from bot.domain.quieting import Quieting
from bot.pipeline import digesting
from bot.store import deliveries, directory
from tests.factories import make_alert
from tests.worlds import World

C1 = "slack:T0123/C1"
HERE = channels.parse(C1)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(C1)
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(digest=(time(17, 30),))))
    yield world
    world.close()


def alert(number=1, provider="bluesky", **fields):
    key = f"{provider}|{number}"
    defaults = {"event": event_id(key), "sources": (provider,), "evidence": (key,), "quotes": (key,)}
    return make_alert(**defaults | fields)


FIRE = alert(1, category="fire", headline="Fire reported in Port Calder")
FLOOD = alert(2, category="flood", headline="Flood reported in Port Calder")
QUAKE = alert(3, "usgs", category="earthquake", headline="Earthquake near Port Calder")


def gathered(world, *alerts):
    """A digest that is queued."""
    for each in alerts:
        world.record(each)
    world.now = world.now.replace(hour=17, minute=30)
    world.write(digesting.release, world.now)


def deliver(world):
    return [each for each in world.deliver_all() if each.act is not Act.NOTICE]


def items(sending):
    return {each.category for each in sending.message.items}


def row_of(world, alert):
    (found,) = world.rows(alert=alert.id, act="post")
    return found


def digest_row(world):
    return world.rows(act="digest")[0]


# ---- before it is claimed


@pytest.mark.parametrize("fields", [{"category": "fire"}, {"org": "Acme", "category": "fire"}])
def test_what_is_denied_while_it_waits_is_left_out_with_the_rule(world, fields):
    world.record(FIRE)
    world.record(FLOOD)
    effect = world.revoke(**fields)
    assert effect.withheld == 1
    gathered(world)
    (sent,) = deliver(world)
    assert sent.message.alert == FLOOD or items(sent) == {"flood"}
    assert (row_of(world, FIRE)["state"], row_of(world, FIRE)["rule"]) == ("withheld", None)
    assert row_of(world, FIRE)["reason"].startswith(f"revocation {effect.revocation}: ")


def test_what_is_denied_between_gathering_and_claiming_is_not_told(world):
    gathered(world, FIRE, FLOOD)
    effect = world.revoke(category="fire")
    assert (effect.withheld, effect.in_flight) == (1, [])
    (digest,) = deliver(world)
    assert items(digest) == {"flood"}
    assert row_of(world, FIRE)["reason"].startswith(f"revocation {effect.revocation}: ")


def test_grant_that_expires_while_a_digest_waits_withholds_what_it_gave(tmp_path):
    world = World(tmp_path / "other.db")
    world.org(grant=None)
    world.grant(org="Acme", provider="*", until=world.now + timedelta(hours=2))
    world.channel(C1)
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(digest=(time(17, 30),))))
    gathered(world, FIRE, FLOOD)
    assert world.deliver_all() == []
    assert {row["state"] for row in world.rows() if row["act"] != "notice"} == {"withheld"}
    assert row_of(world, FIRE)["reason"].startswith("expired ")
    world.close()


def test_provider_that_is_barred_while_a_digest_waits_takes_its_events_out(world):
    gathered(world, FIRE, QUAKE)
    world.revoke(org="Acme", provider="usgs")
    deliver(world)
    assert row_of(world, QUAKE)["state"] == "withheld"
    assert row_of(world, FIRE)["state"] == "withheld", "its View was shaped by every provider"


@pytest.mark.parametrize("how", ["revoke", "suspend"])
@pytest.mark.parametrize("tried", [False, True])
def test_withdrawn_digest_ends_with_everything_that_it_was_to_tell(world, how, tried):
    gathered(world, FIRE, FLOOD)
    if tried:
        world.settle(world.claim()[0], RateLimited(retry_after=timedelta(minutes=1)))
    if how == "revoke":
        world.revoke(org="Acme")
    else:
        world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED)
    assert deliver(world) == []
    world.wait(minutes=2)
    assert deliver(world) == []
    assert {row["state"] for row in world.rows() if row["act"] != "notice"} == {"withheld"}


# ---- while it is being sent


@pytest.mark.parametrize(
    ("fields", "covered"),
    [({"org": "Acme"}, True), ({"category": "fire"}, True), ({"category": "storm"}, False), ({"channel": C1}, True)],
)
def test_digest_that_is_being_sent_is_in_flight_if_it_tells_of_anything_covered(world, fields, covered):
    gathered(world, FIRE, FLOOD)
    (sending,) = world.claim()
    planned = world.revoke(dry_run=True, **fields)
    effect = world.revoke(**fields)
    assert planned.in_flight == effect.in_flight == ([sending.delivery] if covered else [])
    world.settle(sending)
    proof = world.write(proving.proof, effect.revocation)
    assert proof["claimed_after"] == []
    assert [each["delivery"] for each in proof["in_flight_now"]] == effect.in_flight


@pytest.mark.parametrize("outcome", [None, Unknown(reason="reset")])
def test_digest_that_is_being_sent_is_taken_back_when_it_stands(world, outcome):
    gathered(world, FIRE, FLOOD)
    (sending,) = world.claim()
    effect = world.revoke(category="fire", retract=True)
    assert (effect.in_flight, effect.retracting) == ([sending.delivery], 1)
    world.settle(sending, outcome)
    world.wait(seconds=2)
    sent = deliver(world)
    assert [each.act for each in sent][-1:] == [Act.RETRACT]
    assert sent[-1].root == sending.delivery


def test_digest_that_did_not_arrive_is_sent_again_without_what_was_denied_meanwhile(world):
    gathered(world, FIRE, FLOOD)
    (sending,) = world.claim()
    effect = world.revoke(category="fire")
    world.settle(sending, RateLimited(retry_after=timedelta(seconds=1)))
    world.wait(seconds=2)
    (again,) = deliver(world)
    assert (again.delivery, items(again)) == (sending.delivery, {"flood"})
    assert row_of(world, FIRE)["state"] == "withheld"
    assert world.write(proving.proof, effect.revocation)["claimed_after"] == []


def test_digest_between_two_attempts_does_not_accuse_itself(world):
    gathered(world, FIRE, FLOOD)
    world.settle(world.claim()[0], RateLimited(retry_after=timedelta(seconds=30)))
    effect = world.revoke(category="fire")
    assert effect.in_flight == []
    world.wait(seconds=31)
    (again,) = deliver(world)
    assert items(again) == {"flood"}
    assert world.write(proving.proof, effect.revocation)["claimed_after"] == []


def test_digest_of_which_everything_is_denied_meanwhile_is_not_sent_again(world):
    gathered(world, FIRE)
    world.settle(world.claim()[0], RateLimited(retry_after=timedelta(seconds=1)))
    world.revoke(category="fire")
    world.wait(seconds=2)
    assert deliver(world) == []
    assert digest_row(world)["reason"] == "nothing is left to tell"
    assert row_of(world, FIRE)["state"] == "withheld"


def test_proof_sees_a_digest_by_what_it_told(world):
    """Somebody has broken the fence: what was claimed after it is found, by its item."""
    gathered(world, FIRE, FLOOD)
    effect = world.revoke(category="fire")
    world.wait(seconds=1)
    world.write(
        lambda db: db.execute(
            "UPDATE deliveries SET state = 'digested', attempts = 1, claimed_at = ? WHERE alert = ?",
            ["2031-05-14T17:30:01.000Z", FIRE.id],
        )
    )
    assert world.write(proving.proof, effect.revocation)["claimed_after"] == [row_of(world, FIRE)["delivery"]]


# ---- after it was sent


@pytest.mark.parametrize(("category", "retracted"), [("fire", True), ("storm", False)])
def test_retracting_takes_back_digests_that_told_of_what_is_covered(world, category, retracted):
    gathered(world, FIRE, FLOOD)
    (digest,) = deliver(world)
    effect = world.revoke(category=category, retract=True)
    assert (effect.delivered, effect.retracting) == ((1, 1) if retracted else (0, 0))
    sent = deliver(world)
    assert [(each.act, each.root, each.target_id) for each in sent] == (
        [(Act.RETRACT, digest.delivery, f"ts-{digest.delivery}")] if retracted else []
    )
    if retracted:
        proof = world.write(proving.proof, effect.revocation)
        assert [each["state"] for each in proof["retractions"]] == ["sent"]


def test_updates_in_a_digests_thread_are_withheld_after_a_revocation(world):
    gathered(world, FIRE, FLOOD)
    deliver(world)
    world.revoke(category="fire")
    update = alert(1, category="fire", revision=2, kind=Kind.UPDATE, change="more voices")
    world.record(update)
    assert deliver(world) == []
    assert world.rows(alert=update.id)[0]["state"] == "withheld"


def test_event_of_a_digest_that_was_taken_back_does_not_go_on_in_its_thread(world):
    gathered(world, FIRE)
    deliver(world)
    effect = world.revoke(category="fire", retract=True)
    deliver(world)
    world.act(revoking.reinstate, effect.revocation, "settled")
    world.write(lambda db: directory.set_quieting(db, C1, Quieting()))
    update = alert(1, category="fire", revision=2, kind=Kind.UPDATE, change="more voices")
    world.record(update)
    assert [(each.act, each.message.alert.id) for each in deliver(world)] == [(Act.POST, update.id)]


def test_reply_to_a_digest_that_is_taken_back_is_not_sent(world):
    gathered(world, FIRE, FLOOD)
    deliver(world)
    world.record(alert(2, category="flood", revision=2, kind=Kind.UPDATE, change="more voices"))
    world.revoke(category="fire", retract=True)
    assert [each.act for each in deliver(world)] == [Act.RETRACT]


# ---- what a channel sees of itself


def test_recent_shows_what_a_digest_told_until_it_may_not(world):
    gathered(world, FIRE, FLOOD)
    deliver(world)

    def recent(search=""):
        return world.write(glancing.recent, HERE, world.now, search)

    assert len(recent()) == 2
    assert len(recent("FLOOD")) == 1
    world.revoke(category="fire")
    assert len(recent()) == 1
    world.revoke(org="Acme", reason="the contract ended")
    with pytest.raises(errors.TocsinError, match="the contract ended"):
        recent()
    with pytest.raises(errors.TocsinError, match="the contract ended"):
        world.write(glancing.status, HERE, world.now)


def test_recent_does_not_show_what_was_held_withheld_or_never_arrived(world):
    gathered(world, FIRE, FLOOD)
    assert world.write(glancing.recent, HERE, world.now, "") == []
    world.settle(world.claim()[0], RateLimited(retry_after=timedelta(minutes=1)))
    world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED)
    world.act(admin.set_organisation_state, "Acme", OrganisationState.ACTIVE)
    assert world.write(glancing.recent, HERE, world.now, "") == []


def test_unknown_digest_that_is_found_in_the_history_is_sent_once(world):
    gathered(world, FIRE)
    (first,) = world.claim()
    world.settle(first, Unknown(reason="reset"))
    world.wait(seconds=2)
    (again,) = world.claim()
    assert again.uncertain
    world.settle(again, Sent(platform_id="ts-1", duplicate=True))
    assert deliveries.get(world.database._writer, first.delivery)["reason"] == "already there: found by its delivery id"
    assert world.deliver_all() == []
