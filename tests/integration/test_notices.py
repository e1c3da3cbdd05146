"""What a revocation tells whom, in which order, and what it takes back."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from bot import admin, revoking
from bot.domain import channel as channels
from bot.domain import errors
from bot.domain.access import OrganisationState
from bot.domain.alert import Kind, event_id
from bot.domain.delivery import Act, Missing, Sent, Unavailable, Unknown
from bot.pipeline import delivering
from tests.factories import NOW, make_alert
from tests.worlds import World

C1, C2, QUIET, OTHER = "slack:T0123/C1", "slack:T0123/C2", "slack:T0123/C3", "discord:100/9"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(C1)
    world.channel(C2)
    world.channel(QUIET, subscribed=False)
    world.org("Globe", "news")
    world.channel(OTHER, "Globe")
    yield world
    world.close()


def alert(number=1, provider="bluesky", **fields):
    key = f"{provider}|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,), "quotes": (key,), "sources": (provider,)} | fields)


def deliver(world):
    return [*world.deliver_all("slack"), *world.deliver_all("discord")]


def told(world, **fields):
    """Which channels hear of it, and what."""
    effect = world.revoke(**{"notice": None, "silent": None} | fields)
    sent = [each for each in deliver(world) if each.act is Act.NOTICE]
    assert effect.notices == len(sent)
    return {str(each.channel): each.message.text for each in sent}


# ---- who is told


@pytest.mark.parametrize(
    ("fields", "heard"),
    [
        ({"org": "Acme"}, {C1, C2}),
        ({"sector": "finance"}, {C1, C2}),
        ({"workspace": "slack:T0123"}, {C1, C2}),
        ({"channel": C1}, {C1}),
        ({"channel": QUIET}, set()),
        ({"provider": "x"}, {C1, C2, OTHER}),
        ({"category": "flood"}, {C1, C2, OTHER}),
        ({"capability": "export"}, {C1, C2, OTHER}),
        ({"org": "Globe", "category": "flood"}, {OTHER}),
        ({"sector": "research"}, set()),
    ],
)
def test_channels_that_are_covered_and_had_asked_for_something_are_told(world, fields, heard):
    assert set(told(world, **fields)) == heard


def test_provider_that_somebody_never_had_is_not_taken_from_them(world):
    world.org("Herald", "news", grant="usgs")
    world.channel("discord:200/1", "Herald")
    assert set(told(world, provider="x")) == {C1, C2, OTHER}


def test_usual_sentence_says_what_is_withdrawn_until_when_and_why(world):
    text = told(
        world, channel=C1, category="flood", provider="x", reason="clause 7",
        until=NOW + timedelta(days=1),
    )[C1]  # fmt: skip
    assert text.startswith(
        "ACCESS WITHDRAWN: access to alerts about flood that rest on posts from x has been withdrawn"
    )
    assert "until 2031-05-15T12:00:00" in text
    assert "Reason given: clause 7." in text


@pytest.mark.parametrize("capability", ["evidence", "history", "export"])
def test_usual_sentence_names_a_capability_that_is_withdrawn_alone(world, capability):
    assert f"access to {capability} has been withdrawn" in told(world, channel=C1, capability=capability)[C1]


def test_notice_of_ones_own_stands_in_place_of_the_usual_sentence(world):
    assert told(world, org="Acme", notice="Please call us.") == {C1: "Please call us.", C2: "Please call us."}


def test_silent_tells_nobody_and_puts_its_reason_on_record(world):
    assert told(world, org="Acme", silent="an investigation") == {}
    assert world.audit()[-1].effect["silent"] == "an investigation"


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"notice": "a", "silent": "b"}, "contradict"), ({"notice": None, "silent": " "}, "--silent its reason"),
     ({"within": timedelta(1)}, "give both")],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(world, fields, says):
    with pytest.raises(errors.UsageError, match=says):
        world.revoke(org="Acme", **fields)
    assert world.rows() == []


def test_what_begins_later_tells_nobody_now_and_says_so_beforehand(world):
    fields = {"org": "Acme", "from_at": NOW + timedelta(hours=1), "notice": "x"}
    assert world.revoke(dry_run=True, **fields).notices == 0
    assert told(world, **fields) == {}


# ---- the order: fence, park, retract, notify


def test_nothing_but_retractions_and_notices_comes_after_the_fence_and_notices_come_last(world):
    world.record(alert(1), alert(2))
    deliver(world)
    world.record(alert(3), alert(1, revision=2, kind=Kind.UPDATE, change="more"))
    world.revoke(org="Acme", retract=True, notice="Please call us.")
    acts = [each.act for each in deliver(world) if str(each.channel) == C1]
    assert acts == [Act.RETRACT, Act.RETRACT, Act.NOTICE]
    assert {row["state"] for row in world.rows(channel=C1) if row["created_at"] == "2031-05-14T12:00:00.000Z"} == {
        "sent", "withheld",
    }  # fmt: skip


def test_token_is_needed_until_the_last_notice_so_they_are_queued_in_this_order(world):
    world.record(alert(1))
    deliver(world)
    world.revoke(org="Acme", retract=True, notice="Please call us.", drop_credentials=True)
    queued = [row["act"] for row in world.rows(channel=C1) if row["state"] == "queued"]
    assert queued == ["retract", "notice"]


# ---- what is taken back


@pytest.mark.parametrize(("hours", "gone"), [(None, {"1", "2"}), (3, {"2"}), (0.5, set())])
def test_within_takes_back_only_what_was_sent_lately(world, hours, gone):
    world.record(alert(1))
    deliver(world)
    world.wait(hours=5)
    world.record(alert(2))
    deliver(world)
    world.wait(hours=1)
    within = None if hours is None else timedelta(hours=hours)
    effect = world.revoke(channel=C1, retract=True, within=within)
    taken_back = {row["event"] for each in deliver(world) for row in world.rows(delivery=each.delivery)}
    assert taken_back == {event_id(f"bluesky|{number}") for number in gone}
    assert effect.retracting == len(gone)


def test_only_messages_that_the_matcher_covers_are_taken_back(world):
    world.record(alert(1, "x"), alert(2, "bluesky"))
    deliver(world)
    effect = world.revoke(org="Acme", provider="x", retract=True)
    assert (effect.delivered, effect.retracting) == (2, 2)
    assert {(each.act, str(each.channel)) for each in deliver(world)} == {(Act.RETRACT, C1), (Act.RETRACT, C2)}


@pytest.mark.parametrize("capability", ["history", "export"])
def test_looking_back_leaves_no_message_to_take_back(world, capability):
    world.record(alert(1), alert(2))
    world.claim()
    effect = world.revoke(org="Acme", capability=capability, retract=True)
    assert (effect.delivered, effect.retracting) == (0, 0)


def test_message_that_is_retracted_already_is_not_retracted_twice(world):
    world.record(alert(1))
    deliver(world)
    assert world.revoke(channel=C1, retract=True).retracting == 1
    assert world.revoke(org="Acme", retract=True).retracting == 1  # the other channel's
    assert len(world.rows(act="retract")) == 2


# ---- what a dry run says


@pytest.mark.parametrize(
    "fields",
    [
        {"org": "Acme"}, {"sector": "finance", "retract": True}, {"provider": "x", "retract": True},
        {"channel": C1, "retract": True, "within": timedelta(hours=1)}, {"category": "explosion", "retract": True},
        {"org": "Acme", "drop_credentials": True, "retract": True}, {"capability": "evidence", "retract": True},
        {"org": "Acme", "from_at": NOW + timedelta(days=1)},
        {"workspace": "slack:T0123", "silent": "no", "notice": None},
    ],
)  # fmt: skip
def test_dry_run_says_what_the_act_does_and_changes_nothing(world, fields):
    world.record(alert(1), alert(2, "x"))
    deliver(world)
    world.record(alert(3, "x"), alert(4))
    claimed = {each.message.alert.event: each for each in world.claim()}
    unknown = next(iter(claimed.values()))
    world.settle(unknown, Unknown(reason="reset"))
    world.claim()
    given = {"notice": "Please call us."} | fields
    before = world.dump()
    planned = world.revoke(dry_run=True, **given)
    assert world.dump() == before
    effect = world.revoke(plan=planned.plan, **given)
    same = ("plan", "touched", "untouched", "withheld", "held", "in_flight", "delivered", "retracting", "notices",
            "dropping")  # fmt: skip
    for name in same:
        assert getattr(planned, name) == getattr(effect, name), name


@pytest.mark.parametrize(
    ("change", "holds"),
    [
        (lambda world: world.record(alert(9)), True),
        (lambda world: deliver(world), True),
        (lambda world: world.channel("slack:T0777/C1", "Globe"), True),
        (lambda world: world.channel("slack:T0123/C9"), False),
        (lambda world: world.act(admin.remove_channel, channels.parse(C2)), False),
        (lambda world: world.org("Fund", "finance/trading"), False),
        (lambda world: world.org("Lab", "research", grant=None), True),
        (lambda world: world.grant(org="Acme", provider="usgs"), False),
        (lambda world: world.revoke(org="Globe"), False),
        (
            lambda world: world.act(
                admin.set_terms, provider="x", barred_sectors=[], barred_cells=[], quota=3, reason="terms"
            ),
            False,
        ),
        (lambda world: world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED), False),
    ],
)
def test_plan_holds_while_only_queues_change(world, change, holds):
    world.record(alert(1))
    plan = world.revoke(sector="finance", dry_run=True).plan
    change(world)
    if holds:
        assert world.revoke(sector="finance", plan=plan).plan == plan
    else:
        with pytest.raises(errors.TocsinError, match="no longer holds"):
            world.revoke(sector="finance", plan=plan)
        assert world.revoke(sector="finance").revocation is not None, "without a plan it never refuses"


def test_plan_of_another_order_does_not_hold(world):
    plan = world.revoke(sector="finance", dry_run=True).plan
    for fields in ({"sector": "news"}, {"sector": "finance", "retract": True}, {"sector": "finance", "provider": "x"}):
        with pytest.raises(errors.TocsinError, match="no longer holds"):
            world.revoke(plan=plan, **fields)


def test_plan_is_held_by_the_words_of_its_times_not_by_the_moment(world):
    plan = world.revoke(org="Acme", until=NOW + timedelta(hours=36), dry_run=True).plan
    world.wait(minutes=2)
    assert world.revoke(org="Acme", until=world.now + timedelta(hours=36), plan=plan).plan == plan


# ---- a message of which nobody knows whether it arrived


class Platform:
    """Remembers what it was asked; ``there``: what a look into the history finds."""

    def __init__(self, there):
        self.there, self.found, self.sent = there, [], []

    async def find(self, sending):
        self.found.append(sending)
        return self.there

    async def send(self, sending):
        self.sent.append(sending)
        return Sent(platform_id=sending.target_id)


def taken_back(world, there):
    """A message was tried an hour ago, and then nobody could look for it."""
    world.record(alert(1))
    tried = next(each for each in world.claim() if str(each.channel) == C1)
    world.settle(tried, Unknown(reason="reset"))
    world.wait(hours=1)
    assert world.revoke(channel=C1, retract=True).retracting == 1
    (retraction,) = [each for each in world.claim() if str(each.channel) == C1]
    platform = Platform(there)
    outcome = asyncio.run(delivering._take_back(platform, retraction))
    return tried, retraction, platform, outcome


def test_it_is_looked_for_since_it_was_queued_and_taken_back(world):
    tried, retraction, platform, outcome = taken_back(world, Sent(platform_id="ts-7", duplicate=True))
    (looked,) = platform.found
    assert (looked.act, looked.delivery, looked.created_at) == (Act.POST, tried.delivery, NOW)
    (sent,) = platform.sent
    assert sent == replace(retraction, target_id="ts-7")
    assert outcome == Sent(platform_id="ts-7")


def test_it_is_done_where_it_is_not_there(world):
    *_, platform, outcome = taken_back(world, Missing())
    assert platform.sent == []
    assert outcome == Sent(platform_id="", duplicate=True)


def test_it_is_tried_again_where_nobody_can_look(world):
    _, retraction, platform, outcome = taken_back(world, Unavailable(reason="503"))
    assert platform.sent == []
    world.settle(retraction, outcome)
    world.wait(minutes=1)
    (again,) = [each for each in world.claim() if str(each.channel) == C1]
    assert (again.delivery, again.target_id) == (retraction.delivery, None)


def test_reinstating_does_not_send_it_again(world):
    world.record(alert(1))
    tried = next(each for each in world.claim() if str(each.channel) == C1)
    effect = world.revoke(channel=C1)
    world.settle(tried, Unknown(reason="reset"))
    world.wait(minutes=1)
    assert not [each for each in world.claim() if str(each.channel) == C1]
    world.act(revoking.reinstate, effect.revocation, "settled")
    assert not [each for each in world.claim() if str(each.channel) == C1]
