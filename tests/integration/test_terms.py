"""Terms that a provider sets while messages are queued, held, in flight and delivered; quotas."""

from datetime import time, timedelta

import pytest

from bot import admin
from bot.domain import errors
from bot.domain.access import Capability
from bot.domain.alert import Kind, event_id
from bot.domain.delivery import Act, Rejected, Unavailable, Unknown
from bot.domain.quieting import Quieting
from bot.pipeline import digesting
from bot.store import access, directory
from tests.factories import make_alert
from tests.worlds import World

C1, C2, BANK = "slack:T0123/C1", "slack:T0123/C2", "slack:T0999/C9"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org("Acme", "government/law_enforcement")
    world.org("First Bank", "finance/bank")
    world.channel(C1)
    world.channel(BANK, "First Bank")
    yield world
    world.close()


def alert(number=1, provider="x", **fields):
    key = f"{provider}|{number}"
    defaults = {
        "event": event_id(key), "sources": (provider,), "evidence": (key,), "quotes": (key,), "category": "unrest",
    }  # fmt: skip
    return make_alert(**defaults | fields)


def terms(world, *, provider="x", bar_sectors=(), bar=(), quota=None, reason="section 4 of its terms"):
    return world.act(
        admin.set_terms, provider=provider, barred_sectors=bar_sectors, barred_cells=bar, quota=quota, reason=reason
    )


def acme(world, **where):
    return world.rows(channel=C1, **where)


NO_UNREST = {"bar": [("unrest", "government/law_enforcement")]}
BOTH = pytest.mark.parametrize("barring", [NO_UNREST, {"bar_sectors": ["government"]}])


@BOTH
def test_terms_withhold_what_is_queued_for_whom_they_bar_and_for_nobody_else(world, barring):
    world.record(alert())
    terms(world, **barring)
    assert [str(sent.channel) for sent in world.deliver_all()] == [BANK]
    (row,) = acme(world)
    assert row["state"] == "withheld"
    assert row["reason"].startswith("terms x: the terms of x bar Acme: ")


@BOTH
def test_terms_withhold_what_a_channel_holds_back(world, barring):
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(digest=(time(17, 30),))))
    world.record(alert(1), alert(2, category="unrest"))
    terms(world, **barring)
    world.now = world.now.replace(hour=18)
    world.write(digesting.release, world.now)
    world.deliver_all()
    assert [row["state"] for row in acme(world)] == ["withheld", "withheld"]


@BOTH
def test_terms_list_what_is_in_flight_and_let_nothing_be_tried_again(world, barring):
    world.record(alert())
    claimed = {str(sending.channel): sending for sending in world.claim()}
    terms(world, **barring)
    assert world.audit()[-1].effect["in_flight"] == [claimed[C1].delivery]
    world.settle(claimed[C1], Unknown(reason="reset"))
    world.wait(minutes=1)
    assert world.claim() == []
    assert acme(world)[0]["state"] == "withheld"


@BOTH
def test_edits_and_replies_of_what_was_delivered_before_ask_too(world, barring):
    world.record(alert())
    world.deliver_all()
    terms(world, **barring)
    view = world.view("First Bank")
    world.record(alert(revision=2, kind=Kind.UPDATE, change="more voices"), view=view)
    sent = world.deliver_all()
    assert {str(each.channel) for each in sent} == {BANK}
    assert {row["state"] for row in acme(world) if row["act"] in ("edit", "reply")} <= {"withheld"}


def test_cell_leaves_other_categories_and_providers_alone(world):
    terms(world, **NO_UNREST)
    world.record(alert(1, category="flood"), alert(2, "bluesky"), alert(3))
    sent = [each.message.alert.event for each in world.deliver_all() if str(each.channel) == C1]
    assert sent == [event_id("x|1"), event_id("bluesky|2")]


def test_cell_denies_an_alert_that_rests_on_the_provider_only_in_part(world):
    terms(world, **NO_UNREST)
    world.record(alert(1, sources=("bluesky", "x"), evidence=("x|1", "bluesky|1")))
    assert [str(each.channel) for each in world.deliver_all()] == [BANK]


def test_new_terms_stand_in_place_of_the_old_ones_and_pour_nothing_out(world):
    world.record(alert())
    terms(world, **NO_UNREST)
    terms(world, quota=5)
    world.record(alert(2))
    told = [each.message.alert.event for each in world.deliver_all() if str(each.channel) == C1]
    assert told == [event_id("x|2")]
    assert [each.quota for each in world.write(access.terms)] == [5]


def test_terms_are_on_record_and_raise_the_policys_version(world):
    before = world.write(access.version)
    terms(world, quota=3, **NO_UNREST)
    entry = world.audit()[-1]
    assert (entry.action, entry.target, entry.reason) == ("terms", "x", "section 4 of its terms")
    assert entry.effect["barred_cells"] == [["unrest", "government/law_enforcement"]]
    assert entry.effect["quota"] == 3
    assert world.write(access.version) > before


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"provider": "*", "quota": 1}, "one provider"),
        ({"provider": "X!", "quota": 1}, "not a name"),
        ({"reason": " "}, "--reason"),
        ({"bar_sectors": ["astrology"]}, "astrology"),
        ({"bar": [("unrest", "astrology")]}, "astrology"),
    ],
)
def test_terms_that_cannot_be_meant_change_nothing(world, fields, says):
    before = (world.write(access.version), len(world.audit()))
    with pytest.raises(errors.UsageError, match=says):
        terms(world, **fields)
    assert (world.write(access.version), len(world.audit())) == before
    assert world.write(access.terms) == []


# ---- quotas


def told(world, channel=C1):
    return [row["event"] for row in world.rows(channel=channel, state="sent", act="post")]


def test_quota_lets_so_many_new_events_a_day_through_to_each_organisation(world):
    terms(world, quota=2)
    world.record(*(alert(number) for number in range(4)))
    world.deliver_all()
    assert told(world) == [event_id("x|0"), event_id("x|1")]
    assert told(world, BANK) == told(world)
    assert acme(world, state="withheld")[0]["reason"] == (
        "terms x: the terms of x: Acme has had its 2 new events of today"
    )


def test_quota_is_of_the_day_and_of_the_provider(world):
    terms(world, quota=1)
    world.record(alert(1), alert(2), alert(3, "bluesky"))
    world.deliver_all()
    assert told(world) == [event_id("x|1"), event_id("bluesky|3")]
    world.wait(hours=12)
    world.record(alert(4))
    world.deliver_all()
    assert told(world)[-1] == event_id("x|4")


def test_updates_do_not_count(world):
    terms(world, quota=1)
    world.record(alert())
    world.deliver_all()
    world.record(alert(revision=2, kind=Kind.UPDATE, change="more voices"))
    assert {each.act for each in world.deliver_all()} == {Act.EDIT, Act.REPLY}


def test_one_event_counts_once_however_often_it_is_tried(world):
    terms(world, quota=1)
    world.record(alert())
    (sending,) = [each for each in world.claim() if str(each.channel) == C1]
    for outcome in (Unavailable(reason="503"), Unknown(reason="reset")):
        world.settle(sending, outcome)
        world.wait(minutes=2)
        (sending,) = [each for each in world.claim() if str(each.channel) == C1]
    world.settle(sending)
    assert told(world) == [event_id("x|1")]


def test_one_event_counts_once_in_however_many_channels(world):
    world.channel(C2)
    terms(world, quota=1)
    world.record(alert(1), alert(2))
    world.deliver_all()
    assert told(world, C1) == told(world, C2) == [event_id("x|1")]


def test_what_was_rejected_has_used_the_quota(world):
    """It is known only afterwards; the terms are kept either way."""
    terms(world, quota=1)
    world.record(alert(1), alert(2))
    for sending in world.claim():
        world.settle(sending, Rejected(reason="no", remedy="look"))
    world.deliver_all()
    assert told(world) == []


def test_events_of_a_digest_count_one_by_one(world):
    terms(world, quota=2)
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(digest=(time(17, 30),))))
    world.record(*(alert(number) for number in range(3)), alert(9, "bluesky"))
    world.now = world.now.replace(hour=17, minute=30)
    world.write(digesting.release, world.now)
    (digest,) = [each for each in world.deliver_all() if str(each.channel) == C1]
    assert len(digest.message.items) == 3
    assert sum("x" in item.sources for item in digest.message.items) == 2
    assert len(acme(world, state="withheld")) == 1
    world.write(lambda db: directory.set_quieting(db, C1, Quieting()))
    world.record(alert(10))
    assert [each for each in world.deliver_all() if str(each.channel) == C1] == []


def test_digest_that_is_sent_again_counts_nothing_twice(world):
    terms(world, quota=2)
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(digest=(time(17, 30),))))
    world.record(alert(1), alert(2))
    world.now = world.now.replace(hour=17, minute=30)
    world.write(digesting.release, world.now)
    (first,) = [each for each in world.claim() if str(each.channel) == C1]
    world.settle(first, Unavailable(reason="503"))
    world.wait(minutes=1)
    (again,) = [each for each in world.claim() if str(each.channel) == C1]
    assert len(again.message.items) == 2


def test_grant_of_everything_is_bound_by_terms_like_any_other(world):
    world.grant(org="Acme", capabilities=list(Capability))
    terms(world, bar_sectors=["government"])
    assert world.view().key == "*!x"
    world.record(alert(), view=world.view("First Bank"))
    world.deliver_all()
    assert acme(world) == []


def test_quota_of_terms_that_are_set_while_messages_wait_counts_from_there(world):
    world.record(alert(1))
    world.deliver_all()
    world.record(alert(2), alert(3))
    terms(world, quota=1)
    world.now += timedelta(minutes=1)
    world.deliver_all()
    assert told(world) == [event_id("x|1"), event_id("x|2")]
