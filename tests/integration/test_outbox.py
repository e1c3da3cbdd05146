from dataclasses import replace
from datetime import timedelta

import pytest

from bot import admin
from bot.detection import revisions
from bot.domain import channel as channels
from bot.domain.alert import Kind, event_id
from bot.domain.delivery import Act, Missing, RateLimited, Rejected, Scope, Sent, Unavailable, Unknown
from bot.domain.post import Deletion
from bot.pipeline import recording
from bot.pipeline.delivering import Delivering
from bot.store import claiming, deliveries, directory, events
from tests.factories import make_alert, make_subscription
from tests.worlds import OPERATOR, World, make_update

C1, C2 = "slack:T0123/C1", "slack:T0123/C2"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    yield world
    world.close()


def alert(number: int = 1, **fields):
    key = f"bluesky|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,), "quotes": (key,)} | fields)


def update(number: int = 1, **fields):
    return alert(number, **{"revision": 2, "kind": Kind.UPDATE, "change": "more voices"} | fields)


def posted(world, *numbers):
    """Alerts that stand in the channel."""
    for number in numbers:
        world.record(alert(number), steps=[world.candidate(f"bluesky|{number}")])
    return world.deliver_all()


# ---- claiming


def test_channels_rows_go_one_at_a_time_in_their_order(world):
    world.channel(C1)
    for number in range(3):
        world.record(alert(number))
    order = []
    while claimed := world.claim():
        assert len(claimed) == 1
        assert world.claim() == []
        order.append(claimed[0].message.alert.event)
        world.settle(claimed[0])
    assert order == [alert(number).event for number in range(3)]
    assert set(world.states()) == {"sent"}


def test_at_most_sixteen_are_in_flight_on_a_platform(world):
    for number in range(20):
        world.channel(f"slack:T0123/C{number}")
    world.channel("discord:1/2")
    world.record(alert())
    first = world.claim()
    assert len(first) == 16
    assert world.claim() == []
    assert len(world.claim("discord")) == 1
    world.settle(first[0])
    assert len(world.claim()) == 1
    assert len(world.rows(state="sending")) == 17


def test_most_limits_a_claim_and_the_longest_waiting_channel_goes_first(world):
    world.channel(C1)
    world.record(alert(1))
    world.channel(C2)
    world.record(alert(2))
    assert [str(sending.channel) for sending in world.claim(most=1)] == [C1]
    assert [str(sending.channel) for sending in world.claim(most=1)] == [C2]


def test_claim_carries_what_a_notifier_needs(world):
    world.channel(C1)
    world.record(alert(), steps=[world.candidate("bluesky|1")])
    world.wait(seconds=3)
    (sending,) = world.claim()
    assert (sending.act, sending.attempt, sending.uncertain, sending.target_id) == (Act.POST, 1, False, None)
    assert sending.message.alert == alert()
    assert [quote.text for quote in sending.message.quotes] == ["text of bluesky|1"]
    assert len(sending.delivery) <= 25
    row = world.rows()[0]
    assert (row["attempts"], row["rule"][:6], row["policy_version"] > 0) == (1, "grant ", True)


# ---- what the platform answers


def test_429_pauses_its_channel_and_not_the_others(world):
    world.channel(C1)
    world.channel(C2)
    world.record(alert(1))
    world.record(alert(2))
    first, second = world.claim()
    world.settle(first, RateLimited(retry_after=timedelta(seconds=30)))
    world.settle(second)
    assert [str(sending.channel) for sending in world.claim()] == [C2]
    assert world.rows(state="queued")[0]["reason"] == "rate limited for 30 s"
    world.wait(seconds=29.9)
    assert world.claim() == []
    world.wait(seconds=0.2)
    (again,) = world.claim()
    assert (again.delivery, again.attempt, again.uncertain) == (first.delivery, 2, False)


@pytest.mark.parametrize("scope", [Scope.PLATFORM, Scope.WORKSPACE])
def test_429_of_a_wider_scope_pauses_every_channel_of_it(world, scope):
    world.channel(C1)
    world.channel(C2)
    world.channel("discord:1/2")
    world.record(alert())
    first, second = world.claim()
    world.settle(first, RateLimited(retry_after=timedelta(seconds=30), scope=scope))
    world.settle(second)
    world.record(alert(2))
    assert world.claim() == []
    assert len(world.claim("discord")) == 1
    world.wait(seconds=31)
    assert len(world.claim()) == 2


def test_next_due_looks_through_pauses_and_past_busy_channels(world):
    world.channel(C1)
    world.record(alert(1))
    world.record(alert(2))
    due = lambda: world.write(claiming.next_due, "slack", world.now)  # noqa: E731
    assert due() == world.now
    (first,) = world.claim()
    assert due() is None
    world.settle(first, RateLimited(retry_after=timedelta(seconds=30)))
    assert due() == world.now + timedelta(seconds=30)
    world.wait(seconds=31)
    assert due() <= world.now
    world.deliver_all()
    assert due() is None


def test_spacing_keeps_a_channel_quiet_for_a_moment(world):
    world.channel(C1)
    world.record(alert(1))
    world.record(alert(2))
    world.settle(world.claim()[0], spacing_s=1)
    assert world.claim() == []
    world.wait(seconds=1.1)
    assert len(world.claim()) == 1


def test_unavailable_backs_off(world):
    world.channel(C1)
    world.record(alert())
    waits = []
    for _ in range(4):
        world.settle(world.claim()[0], Unavailable(reason="503"))
        start = world.now
        while not world.write(claiming.next_due, "slack", world.now) <= world.now:
            world.wait(seconds=1)
        waits.append((world.now - start).total_seconds())
    assert waits == [1, 2, 4, 8]
    assert world.rows()[0]["reason"] == "503"


def test_unknown_is_looked_up_before_it_is_sent_again(world):
    world.channel(C1)
    world.record(alert())
    (first,) = world.claim()
    world.settle(first, Unknown(reason="reset"))
    world.wait(seconds=2)
    (again,) = world.claim()
    assert again.uncertain
    world.settle(again, RateLimited(retry_after=timedelta(seconds=1)))
    world.wait(seconds=2)
    (third,) = world.claim()
    assert third.uncertain, "a refused look into the history must not lead to a second message"


def test_old_attempt_is_looked_up_too(world):
    world.channel(C1)
    world.record(alert())
    world.settle(world.claim()[0], RateLimited(retry_after=timedelta(minutes=2)))
    world.wait(minutes=3)
    assert world.claim()[0].uncertain


def test_after_a_crash_what_was_being_sent_is_unknown(world):
    world.channel(C1)
    world.record(alert())
    (first,) = world.claim()
    world.reopen()
    assert world.write(claiming.recover, world.now) == 1
    (again,) = world.claim()
    assert (again.delivery, again.uncertain, again.attempt) == (first.delivery, True, 2)
    assert world.write(claiming.recover, world.now) == 1
    assert world.write(claiming.recover, world.now) == 0


async def test_worker_looks_before_it_sends_again(world):
    class Remote:
        platform, spacing = "slack", timedelta(0)
        asked: list[str] = []

        async def find(self, sending):
            self.asked.append("find")
            return Missing() if len(self.asked) == 1 else Sent(platform_id="17.1", duplicate=True)

        async def send(self, sending):
            self.asked.append("send")
            return Unknown(reason="reset")

    def prepare(db):
        org = directory.organisation(db, "Acme")
        directory.bind_channel(db, org, channels.parse(C1), world.now)
        notice = deliveries.queue(db, org=org.org, channel=C1, act=Act.NOTICE, at=world.now, text="hello")
        db.execute("UPDATE deliveries SET state = 'unknown' WHERE delivery = ?", [notice])

    await world.database.write(prepare)
    remote = Remote()
    worker = Delivering(world.database, {"slack": remote}, now=lambda: world.now)
    for _ in range(2):
        claimed = await world.database.write(claiming.claim_due, platform="slack", at=world.now, most=16)
        await worker._deliver(claimed[0])
        world.wait(seconds=5)
    assert remote.asked == ["find", "send", "find"]
    row = (await world.database.read(deliveries.listed))[0]
    assert (row["state"], row["platform_id"], row["attempts"]) == ("sent", "17.1", 2)


def test_message_that_the_platform_refuses_does_not_block_the_channel(world):
    world.channel(C1)
    world.record(alert(1))
    world.record(alert(2))
    world.settle(world.claim()[0], Rejected(reason="too long", remedy="report it"))
    assert len(world.deliver_all()) == 1
    assert world.states() == ["rejected", "sent"]


# ---- lost and found


@pytest.mark.parametrize(("scope", "held"), [(Scope.CHANNEL, 2), (Scope.WORKSPACE, 4)])
def test_lost_place_holds_its_rows_until_it_is_back(world, scope, held):
    world.channel(C1)
    world.channel(C2)
    world.record(alert(1))
    world.record(alert(2))
    first, second = world.claim()
    world.settle(first, Rejected(reason="channel_not_found", remedy="invite it again", scope=scope))
    world.settle(second, Unavailable(reason="503"))
    assert len(world.rows(state="held")) == held
    assert {row["reason"] for row in world.rows(state="held")} == {"lost: channel_not_found; invite it again"}
    world.record(alert(3))
    assert len(world.rows(state="held")) == held + (1 if scope is Scope.CHANNEL else 2)
    target = C1 if scope is Scope.CHANNEL else "slack:T0123"
    world.write(admin.record_return, world.now, target)
    world.wait(seconds=2)
    world.deliver_all()
    assert set(world.states()) == {"sent"}


def test_what_was_in_flight_when_its_channel_was_lost_is_held_as_well(world):
    world.channel(C1)
    world.record(alert())
    (first,) = world.claim()
    world.write(admin.record_loss, world.now, C1, "the bot was removed")
    world.settle(first, Unknown(reason="reset"))
    assert world.states() == ["held"]
    world.write(admin.record_return, world.now, C1)
    assert world.claim()[0].uncertain


def test_adding_a_channel_again_frees_its_whole_workspace(world):
    world.channel(C1)
    world.channel(C2)
    world.record(alert())
    world.write(admin.record_loss, world.now, "slack:T0123", "the token was revoked")
    assert world.states() == ["held", "held"]
    world.channel(C1, subscribed=False)
    assert len(world.deliver_all()) == 2


def test_return_of_the_workspace_does_not_free_a_channel_that_is_lost_itself(world):
    world.channel(C1)
    world.record(alert())
    world.write(admin.record_loss, world.now, C1, "archived")
    world.write(admin.record_loss, world.now, "slack:T0123", "token")
    assert world.write(admin.record_return, world.now, "slack:T0123") == 0
    assert world.states() == ["held"]
    assert world.write(admin.record_return, world.now, C1) == 1


def test_removed_channel_gets_nothing_more_even_what_was_in_flight_and_failed(world):
    world.channel(C1)
    world.record(alert(1))
    world.record(alert(2))
    (first,) = world.claim()
    world.act(admin.remove_channel, channels.parse(C1))
    world.settle(first, Unavailable(reason="503"))
    world.wait(minutes=1)
    assert world.claim() == []
    assert [(row["state"], row["reason"]) for row in world.rows()] == [("withheld", "the channel was removed")] * 2


# ---- edits, replies, retractions


def test_update_edits_the_message_that_stands_and_replies_in_its_thread(world):
    world.channel(C1)
    (post,) = posted(world, 1)
    world.record(update())
    edit, reply = world.deliver_all()
    assert (edit.act, reply.act) == (Act.EDIT, Act.REPLY)
    assert edit.target_id == reply.target_id == f"ts-{post.delivery}"
    assert reply.message.change == "more voices"


def test_update_waits_for_its_message(world):
    world.channel(C1)
    world.record(alert())
    world.record(update())
    (post,) = world.claim()
    assert post.act is Act.POST
    world.settle(post, Unavailable(reason="503"))
    assert world.claim() == []
    world.wait(seconds=1)
    assert [sending.act for sending in world.deliver_all()] == [Act.POST, Act.EDIT, Act.REPLY]


def test_later_revision_supersedes_edits_that_nobody_has_sent(world):
    world.channel(C1)
    posted(world, 1)
    world.record(update())
    world.record(update(revision=3))
    sent = world.deliver_all()
    assert [(s.act.value, s.message.alert.revision) for s in sent] == [("reply", 2), ("edit", 3), ("reply", 3)]
    assert [row["reason"] for row in world.rows(state="superseded")] == ["a later revision took its place"]


@pytest.mark.parametrize(
    ("outcome", "state"), [(Rejected(reason="no", remedy="look"), "rejected"), (Unavailable(reason="503"), "failed")]
)
def test_update_of_a_message_that_never_stood_is_moot(world, outcome, state):
    world.channel(C1)
    world.record(alert())
    world.record(update())
    (post,) = world.claim()
    world.wait(days=2)
    world.settle(post, outcome)
    assert world.claim() == []
    assert world.states() == [state, "superseded", "superseded"]
    assert {row["reason"] for row in world.rows(state="superseded")} == {f"the message that it belongs to is {state}"}


def test_retraction_of_what_was_never_posted_is_not_posted(world):
    world.channel(C1)
    world.record(alert(kind=Kind.RETRACTION))
    assert world.rows() == []


def test_message_is_edited_whatever_the_subscription_says_now(world):
    world.channel(C1)
    posted(world, 1)
    world.run(admin.unsubscribe, admin.Actor(id="a", surface="cli", operator="A"), world.now, channels.parse(C1), None)
    world.record(update())
    world.record(alert(2))
    assert [sending.act for sending in world.deliver_all()] == [Act.EDIT]


def test_message_of_the_view_before_is_edited_by_shared_evidence(world):
    world.channel(C1)
    (post,) = posted(world, 1)
    world.revoke(org="Acme", provider="x")
    assert world.view().key == "*!x"
    world.record(update(), view=world.view())
    edit, _ = world.deliver_all()
    assert edit.target_id == f"ts-{post.delivery}"


def test_same_alert_recorded_again_is_queued_once(world):
    world.channel(C1)
    world.record(alert())
    assert world.record(alert()).alerts == []
    assert len(world.rows()) == 1


# ---- access at the claim


def test_revoked_org_gets_nothing_even_if_queued(world):
    world.channel(C1)
    world.record(alert())
    world.revoke(org="Acme", from_at=world.now + timedelta(seconds=10))
    assert world.states() == ["queued"]
    world.wait(seconds=10)
    assert world.claim() == []
    assert world.states() == ["withheld"]
    assert world.rows()[0]["reason"].startswith("revocation r")


def test_expired_grant_withholds_at_the_claim(world):
    world.org("Bank", grant=None)
    world.grant(org="Bank", until=world.now + timedelta(minutes=1))
    world.channel("slack:T9/C9", "Bank")
    world.record(alert(), view=world.view("Bank"))
    world.wait(minutes=1)
    assert world.claim() == []
    assert world.rows()[0]["reason"].startswith("expired g")


def test_withheld_row_gives_its_turn_to_the_next(world):
    world.channel(C1)
    world.record(alert(1, category="fire"))
    world.record(alert(2))
    world.revoke(category="fire", from_at=world.now + timedelta(seconds=1))
    world.wait(seconds=1)
    (sending,) = world.claim()
    assert sending.message.alert.category == "explosion"


def test_edit_and_reply_of_a_standing_message_are_withheld_too(world):
    world.channel(C1)
    posted(world, 1)
    world.revoke(org="Acme")
    world.record(update(), view=world.view())
    view = directory.organisations
    assert world.write(view)
    assert world.deliver_all() == []


def test_evidence_is_quoted_only_with_the_capability(world):
    world.channel(C1)
    world.revoke(org="Acme", capability="evidence")
    (sending,) = posted(world, 1)
    assert sending.message.alert == alert()
    assert sending.message.quotes == ()


def test_deleted_posts_are_not_quoted(world):
    world.channel(C1)
    both = ("bluesky|1", "bluesky|2")
    world.record(alert(evidence=both, quotes=both), steps=[world.candidate(key) for key in both])
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=world.now)])
    (sending,) = world.claim()
    assert [quote.text for quote in sending.message.quotes] == ["text of bluesky|2"]


def test_notice_of_a_withdrawal_needs_no_access_and_any_other_does(world):
    world.channel(C1)
    org = world.write(directory.organisation, "Acme")
    said = {"org": org.org, "channel": C1, "act": Act.NOTICE}
    world.write(deliveries.queue, **said, at=world.now, text="a test")
    effect = world.revoke(org="Acme")
    assert effect.withheld == 1
    world.write(deliveries.queue, **said, at=world.now, text="another test")
    world.write(deliveries.queue, **said, at=world.now, text="access is withdrawn", exempt=True)
    assert [sending.message.text for sending in world.deliver_all()] == ["access is withdrawn"]
    assert sorted(world.states()) == ["sent", "withheld", "withheld"]


def test_a_notice_that_is_a_day_late_is_not_sent(world):
    world.channel(C1)
    org = world.write(directory.organisation, "Acme")
    world.write(deliveries.queue, org=org.org, channel=C1, act=Act.NOTICE, at=world.now, text="25 alerts wait")
    world.wait(hours=25)
    assert world.deliver_all() == []
    assert world.states() == ["failed"]


def test_a_channel_that_can_be_reached_again_gets_what_it_missed(world):
    """Of some returns a platform says nothing; a test message that arrives shows it."""
    world.channel(C1)
    world.record(alert())
    (sending,) = world.claim()
    world.settle(sending, Rejected(reason="not allowed", remedy="give the role", scope=Scope.CHANNEL))
    assert world.states() == ["held"]
    assert [entry.action for entry in world.audit()][-1] == "lost"
    world.act(admin.queue_test, channels.parse(C1))
    told = world.deliver_all()
    assert [each.act for each in told] == [Act.NOTICE, Act.POST]
    assert [entry.action for entry in world.audit()][-1] == "restored"


def test_only_organisations_with_this_view_are_told(world):
    world.channel(C1)
    world.org("Bank", grant="usgs")
    world.channel("slack:T9/C9", "Bank")
    world.record(alert(), view=world.view("Acme"))
    assert [row["channel"] for row in world.rows()] == [C1]


def test_batch_is_not_stored_while_a_live_view_has_no_detector(world):
    found = world.write(
        recording.record, steps=[world.candidate("bluesky|1")], raised=[], cursors={"bluesky": "7"}, gaps=[],
        known_views=set(), now=world.now,
    )  # fmt: skip
    assert found.missing == {"*"}
    assert not any("bluesky|1" in line for line in world.dump())


def test_counts_and_unsettled(world):
    world.channel(C1)
    posted(world, 1)
    world.record(make_update(event=alert(1).event, evidence=("bluesky|1",)))
    assert world.write(deliveries.counts) == {"sent": 1, "queued": 2}
    assert world.write(deliveries.unsettled, "slack") == 2
    assert world.write(deliveries.unsettled, "discord") == 0


# ---- one happening or two, found out late


def test_an_event_that_was_split_off_posts_a_message_of_its_own(world):
    world.channel(C1)
    keys = ("bluesky|1", "bluesky|2")
    world.record(alert(1, evidence=keys), steps=[world.candidate(key) for key in keys])
    world.deliver_all()
    part = event_id("bluesky|2")
    world.record(
        update(1, evidence=("bluesky|1",)),
        make_update(event=part, revision=1, evidence=("bluesky|2",), quotes=("bluesky|2",)),
    )
    acts = [(row["event"], row["act"]) for row in world.rows() if row["state"] == "queued"]
    assert acts == [(event_id("bluesky|1"), "edit"), (event_id("bluesky|1"), "reply"), (part, "post")]
    world.deliver_all()
    world.record(make_update(event=part, revision=2, evidence=("bluesky|2",), quotes=("bluesky|2",)))
    (edit, _) = world.rows(state="queued")
    assert (edit["event"], edit["act"]) == (part, "edit")
    assert world.claim()[0].target_id != world.rows(act="post")[0]["platform_id"]


BOTH = ("bluesky|1", "bluesky|2")
OLDER, YOUNGER = (event_id(key) for key in BOTH)


def unite(world):
    """As detecting does: the younger event ends, then the older goes on."""
    going_on = update(1, evidence=BOTH)
    world.record(revisions.united(alert(2), going_on, now=world.now), going_on)
    return world.deliver_all()


def correct(world, revision=3, kind=Kind.CORRECTION, evidence=BOTH):
    """As detecting does: the correction, then what repeats it for the younger event."""
    corrected = alert(1, revision=revision, kind=kind, evidence=evidence)
    ended = world.write(events.latest, world.view().key, YOUNGER)
    world.record(corrected, revisions.echoed(ended, corrected))
    return world.deliver_all()


def told(sent):
    return [(each.message.alert.event, each.act, each.target_id) for each in sent]


def test_a_united_event_edits_its_own_message_one_last_time_and_the_other_goes_on_in_its_own(world):
    world.channel(C1)
    posted(world, 1, 2)
    older, younger = (row["platform_id"] for row in world.rows(act="post"))
    both = {
        (YOUNGER, Act.EDIT, younger), (YOUNGER, Act.REPLY, younger), (OLDER, Act.EDIT, older), (OLDER, Act.REPLY, older)
    }  # fmt: skip
    assert set(told(unite(world))) == both
    assert set(told(correct(world))) == both
    assert set(told(correct(world, 4, Kind.RETRACTION))) == both


def test_where_only_the_younger_ones_message_stands_the_happening_says_each_thing_once_in_it(world):
    world.record(alert(1), steps=[world.candidate("bluesky|1")])
    world.channel(C1)
    (message,) = posted(world, 2)
    once = [(OLDER, act, f"ts-{message.delivery}") for act in (Act.EDIT, Act.REPLY)]
    assert told(unite(world)) == once
    assert told(correct(world)) == once
    assert told(correct(world, 4, evidence=BOTH[:1])) == once, "its first posts are gone and it is still its message"
    assert told(correct(world, 5, Kind.RETRACTION, evidence=())) == once
    assert world.rows(state="superseded") == []


def test_where_only_the_older_ones_message_stands_nothing_is_said_of_the_younger_one(world):
    world.channel(C1)
    (message,) = posted(world, 1)
    world.run(admin.unsubscribe, admin.Actor(id="a", surface="cli", operator="A"), world.now, channels.parse(C1), None)
    world.record(alert(2), steps=[world.candidate("bluesky|2")])
    world.run(admin.subscribe, OPERATOR, world.now, make_subscription(channel=C1))
    once = [(OLDER, act, f"ts-{message.delivery}") for act in (Act.EDIT, Act.REPLY)]
    assert told(unite(world)) == once
    assert told(correct(world)) == once


def test_where_neither_message_stands_the_happening_is_posted_once(world):
    world.record(alert(1), alert(2), steps=[world.candidate(key) for key in BOTH])
    world.channel(C1)
    assert told(unite(world)) == [(OLDER, Act.POST, None)]


def test_an_event_goes_on_in_one_message_however_many_are_united_with_it(world):
    world.record(alert(1), steps=[world.candidate("bluesky|1")])
    world.channel(C1)
    message, other = posted(world, 2, 3)
    unite(world)
    three = ("bluesky|3", "bluesky|4", "bluesky|5")
    world.record(alert(3, revision=2, evidence=three))
    world.deliver_all()
    going_on = update(1, revision=3, evidence=(*BOTH, *three))
    world.record(revisions.united(alert(3, revision=2, evidence=three), going_on, now=world.now), going_on)
    edits = [(each.message.alert.event, each.target_id) for each in world.deliver_all() if each.act is Act.EDIT]
    assert edits == [(event_id("bluesky|3"), f"ts-{other.delivery}"), (OLDER, f"ts-{message.delivery}")]


def test_an_event_that_is_split_off_again_leaves_the_message_to_the_other(world):
    world.record(alert(1), steps=[world.candidate("bluesky|1")])
    world.channel(C1)
    (message,) = posted(world, 2)
    unite(world)
    world.record(
        update(1, revision=3, evidence=BOTH[:1]), update(2, revision=3, change="split from event", quotes=BOTH[1:])
    )
    here = f"ts-{message.delivery}"
    assert told(world.deliver_all()) == [(OLDER, Act.EDIT, here), (OLDER, Act.REPLY, here), (YOUNGER, Act.POST, None)]
    world.record(alert(2, revision=4, kind=Kind.RETRACTION, evidence=(), quotes=()))
    assert {target != here for _, _, target in told(world.deliver_all())} == {True}


def test_the_retraction_of_an_event_that_was_split_off_leaves_the_others_message_alone(world):
    world.channel(C1)
    world.record(alert(1, evidence=BOTH), steps=[world.candidate(key) for key in BOTH])
    world.deliver_all()
    world.run(admin.unsubscribe, admin.Actor(id="a", surface="cli", operator="A"), world.now, channels.parse(C1), None)
    world.record(update(1, evidence=BOTH[:1]), update(2, revision=1))
    world.deliver_all()
    world.record(alert(2, revision=2, kind=Kind.RETRACTION, evidence=(), quotes=()))
    assert world.deliver_all() == []


def test_two_events_of_the_new_view_do_not_share_the_message_of_the_one_that_they_were_before(world):
    world.channel(C1)
    keys = ("bluesky|1", "bluesky|2", "x|3")
    world.record(alert(1, evidence=keys), steps=[world.candidate(key) for key in keys])
    (message,) = world.deliver_all()
    world.revoke(org="Acme", provider="x")
    world.record(update(1), update(2, revision=1))
    here = f"ts-{message.delivery}"
    assert told(world.deliver_all()) == [(OLDER, Act.EDIT, here), (OLDER, Act.REPLY, here), (YOUNGER, Act.POST, None)]


def test_a_retraction_without_evidence_finds_the_message_of_the_view_before(world):
    world.channel(C1)
    keys = ("bluesky|1", "x|2")
    world.record(alert(1, evidence=keys, sources=("bluesky", "x")), steps=[world.candidate(key) for key in keys])
    (message,) = world.deliver_all()
    world.revoke(org="Acme", provider="x")
    world.write(recording.record_silently, world.view(), [alert(1)], world.now)
    world.record(alert(1, revision=2, kind=Kind.RETRACTION, evidence=(), quotes=()))
    assert [target for _, _, target in told(world.deliver_all())] == [f"ts-{message.delivery}"] * 2


# ---- whose words they are


def test_the_last_words_of_a_united_event_are_withheld_with_a_provider_that_they_were_made_from(world):
    world.channel(C1)
    posted(world, 2)
    world.revoke(org="Acme", provider="x", category="explosion")
    assert world.view().key == "*"
    going_on = update(1, evidence=("x|1", "bluesky|2"), sources=("bluesky", "x"), headline="Explosion: 9 dead")
    world.record(alert(1, evidence=("x|1",), sources=("x",), headline="Explosion: 9 dead"))
    ended = revisions.united(alert(2), going_on, now=world.now)
    assert (ended.headline, ended.sources) == ("Explosion: 9 dead", ("bluesky", "x"))
    world.record(ended, going_on)
    corrected = replace(going_on, revision=3, kind=Kind.CORRECTION, sources=("x",), headline="Explosion: 8 dead")
    world.record(corrected, revisions.echoed(ended, corrected))
    assert world.deliver_all() == []


@pytest.mark.parametrize("kind", [Kind.CORRECTION, Kind.RETRACTION])
def test_a_united_event_of_another_category_takes_over_nothing_of_what_the_other_says(world, kind):
    world.channel(C1)
    world.record(alert(2), steps=[world.candidate("bluesky|2")])
    world.deliver_all()
    world.revoke(org="Acme", category="fire")
    going_on = update(
        1, evidence=BOTH, category="fire", disputed=True, headline="Fire reported in Galway: at least 9 reported dead"
    )
    ended = revisions.united(alert(2), going_on, now=world.now)
    corrected = replace(going_on, revision=3, kind=kind, headline="Fire reported in Galway", change="9 → 2 dead")
    echo = revisions.echoed(ended, corrected)
    assert (ended.headline, ended.disputed) == (alert(2).headline, False)
    for said in (ended, echo):
        assert not said.disputed
        words = f"{said.headline} {said.change}"
        assert not any(word in words.casefold() for word in ("fire", "galway", "dead"))
    assert (ended.category, echo.category) == ("explosion", "explosion")
