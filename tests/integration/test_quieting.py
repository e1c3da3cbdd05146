"""What a channel has asked to get later: nothing is lost, nothing comes twice, nothing waits for ever."""

from datetime import UTC, datetime, time, timedelta

import pytest

from bot import admin, tuning
from bot.domain import channel as channels
from bot.domain import errors, quieting
from bot.domain.alert import Kind, Level, event_id
from bot.domain.delivery import Act, RateLimited, Rejected, Scope, Unavailable, Unknown
from bot.domain.quieting import QuietHours, Quieting
from bot.pipeline import digesting
from bot.store import claiming, deliveries, directory
from tests.factories import make_alert
from tests.worlds import OPERATOR, World

C1 = "slack:T0123/C1"
HERE = channels.parse(C1)
NIGHT = QuietHours(start=time(22, 0), end=time(7, 0))


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(C1)
    yield world
    world.close()


def alert(number=1, **fields):
    key = f"bluesky|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,), "quotes": (key,)} | fields)


def update(number=1, revision=2, **fields):
    return alert(number, **{"revision": revision, "kind": Kind.UPDATE, "change": "more voices"} | fields)


def settle_in(world, **fields):
    """The channel has set this before anything came."""
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(**fields)))


def at(world, text):
    world.now = datetime.fromisoformat(text).replace(tzinfo=UTC)


def release(world):
    return world.write(digesting.release, world.now)


def tended(world):
    """What delivering does every two seconds, then all that is due."""
    release(world)
    return world.deliver_all()


def told(sent):
    return [(each.act, each.message.alert and each.message.alert.id) for each in sent]


def items(sending):
    return [each.id for each in sending.message.items]


def post_states(world):
    return [(row["state"], row["reason"]) for row in world.rows(act="post")]


# ---- released


def test_one_fresh_alert_comes_as_the_message_that_it_would_have_been(world):
    settle_in(world, muted_until=world.now + timedelta(hours=1))
    world.record(alert())
    assert tended(world) == []
    world.wait(hours=1)
    assert told(tended(world)) == [(Act.POST, alert().id)]


def test_several_come_as_one_digest_the_loudest_first(world):
    settle_in(world, muted_until=world.now + timedelta(hours=1))
    world.record(alert(1))
    world.record(alert(2, level=Level.URGENT))
    world.wait(hours=1)
    (digest,) = tended(world)
    assert digest.act is Act.DIGEST
    assert items(digest) == [alert(2).id, alert(1).id]
    assert digest.message.text == "Digest: 2 events since Wed 14 May, 12:00 (UTC)"
    assert [row["state"] for row in world.rows()] == ["digested", "digested", "sent"]
    assert tended(world) == []


def test_flash_that_waited_with_others_has_a_message_of_its_own(world):
    settle_in(world, muted_until=world.now + timedelta(hours=1), digest=(time(13, 0),))
    world.record(alert(1))
    world.record(alert(2, level=Level.FLASH))
    world.wait(hours=1)
    post, digest = tended(world)
    assert (post.act, post.message.alert.id, items(digest)) == (Act.POST, alert(2).id, [alert(1).id])


def test_one_that_waited_long_comes_as_a_digest(world):
    settle_in(world, muted_until=world.now + timedelta(days=3))
    world.record(alert())
    world.wait(days=3)
    assert [each.act for each in tended(world)] == [Act.DIGEST]


def test_digest_channel_gets_one_message_even_of_one_event(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert())
    assert world.rows()[0]["reason"] == "in the digest of Wed 14 May, 17:30 (UTC)"
    at(world, "2031-05-14T17:30")
    assert [items(each) for each in tended(world)] == [[alert().id]]


def test_budget_holds_the_rest_of_the_day_and_updates_do_not_count(world):
    settle_in(world, budget=2)
    world.record(alert(1))
    world.deliver_all()
    world.record(update(1))
    world.record(alert(2))
    world.record(alert(3))
    world.record(alert(4, level=Level.FLASH))
    assert told(tended(world)) == [
        (Act.POST, alert(4).id), (Act.EDIT, update(1).id), (Act.REPLY, update(1).id), (Act.POST, alert(2).id),
    ]  # fmt: skip
    assert world.rows(state="held")[0]["reason"].startswith("over the budget of 2 new events a day: in the digest of")
    world.now = datetime(2031, 5, 15, 8, 0, tzinfo=UTC)
    world.record(alert(5))
    post, digest = tended(world)
    assert (post.message.alert.id, items(digest)) == (alert(5).id, [alert(3).id])


def test_reply_waits_for_the_quiet_hours_to_end_and_the_edit_does_not(world):
    world.record(alert())
    world.deliver_all()
    settle_in(world, quiet=QuietHours(start=time(11, 0), end=time(13, 0)))
    world.record(update())
    assert told(tended(world)) == [(Act.EDIT, update().id)]
    at(world, "2031-05-14T13:00")
    assert told(tended(world)) == [(Act.REPLY, update().id)]


# ---- while it waits


def test_what_waits_tells_of_the_newest_revision(world):
    settle_in(world, muted_until=world.now + timedelta(hours=1))
    world.record(alert())
    world.record(update(headline="Two explosions reported in Port Calder"))
    assert len(world.rows()) == 1
    world.wait(hours=1)
    (sending,) = tended(world)
    assert sending.message.alert.headline == "Two explosions reported in Port Calder"


def test_event_that_is_over_before_it_was_told_is_not_told(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert())
    world.record(alert(revision=2, kind=Kind.RETRACTION))
    at(world, "2031-05-14T17:30")
    assert tended(world) == []
    assert post_states(world) == [("superseded", "the event was over before it was told")]


def test_escalation_to_flash_comes_at_once_but_not_through_a_mute(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    world.record(alert(2))
    world.record(update(1, level=Level.FLASH))
    assert told(tended(world)) == [(Act.POST, update(1).id)]
    settle_in(world, muted_until=world.now + timedelta(hours=1))
    world.record(update(2, level=Level.FLASH))
    assert tended(world) == []


def test_event_retracted_while_its_digest_is_queued_is_left_out(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    world.record(alert(2))
    at(world, "2031-05-14T17:30")
    release(world)
    world.record(alert(1, revision=2, kind=Kind.RETRACTION))
    (digest,) = world.deliver_all()
    assert items(digest) == [alert(2).id]


def test_digest_of_which_nothing_is_left_is_not_sent(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    at(world, "2031-05-14T17:30")
    release(world)
    world.record(alert(1, revision=2, kind=Kind.RETRACTION))
    assert world.deliver_all() == []
    assert world.rows(act="digest")[0]["reason"] == "nothing is left to tell"


def test_event_escalated_to_flash_while_its_digest_is_queued_comes_once(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    world.record(alert(2))
    at(world, "2031-05-14T17:30")
    release(world)
    world.record(update(1, level=Level.FLASH))
    sent = world.deliver_all()
    assert [(each.act, items(each)) for each in sent] == [(Act.POST, []), (Act.DIGEST, [alert(2).id])]


def test_event_retracted_while_its_digest_is_being_sent_is_retracted_in_the_digests_thread(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    at(world, "2031-05-14T17:30")
    release(world)
    (digest,) = world.claim()
    world.record(alert(1, revision=2, kind=Kind.RETRACTION, change="it was an exercise"))
    assert world.claim() == []
    world.settle(digest)
    (reply,) = world.deliver_all()
    assert (reply.act, reply.root, reply.message.digested, reply.message.change) == (
        Act.REPLY, digest.delivery, True, "it was an exercise",
    )  # fmt: skip


def test_event_that_a_digest_told_goes_on_in_its_thread_and_gets_a_message_when_it_is_louder(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert())
    at(world, "2031-05-14T17:30")
    tended(world)
    settle_in(world)
    world.record(update())
    world.record(update(revision=3, level=Level.URGENT))
    assert sorted(told(tended(world))) == [(Act.POST, update(revision=3).id), (Act.REPLY, update().id)]
    world.record(update(revision=4, level=Level.URGENT))
    assert told(tended(world)) == [(Act.EDIT, update(revision=4).id), (Act.REPLY, update(revision=4).id)]


@pytest.mark.parametrize("kind", [Kind.UPDATE, Kind.RETRACTION])
def test_event_that_got_louder_than_its_digest_said_is_heard_of_although_nobody_subscribes_any_more(world, kind):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert())
    at(world, "2031-05-14T17:30")
    tended(world)
    world.run(admin.unsubscribe, OPERATOR, world.now, HERE, None)
    world.record(alert(revision=2, kind=kind, level=Level.URGENT))
    assert told(tended(world)) == [(Act.REPLY, alert(revision=2).id)]


# ---- what the platform answers to a digest


@pytest.mark.parametrize(
    ("outcome", "uncertain"),
    [
        (RateLimited(retry_after=timedelta(seconds=30)), False),
        (Unavailable(reason="503"), False),
        (Unknown(reason="reset"), True),
    ],
)
def test_digest_that_did_not_arrive_comes_again_with_what_it_tells_of(world, outcome, uncertain):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    world.record(alert(2))
    at(world, "2031-05-14T17:30")
    release(world)
    (first,) = world.claim()
    world.settle(first, outcome)
    world.wait(seconds=31)
    (again,) = tended(world)
    assert (again.delivery, items(again), again.uncertain) == (first.delivery, items(first), uncertain)
    assert [row["state"] for row in world.rows()] == ["digested", "digested", "sent"]


def test_digest_that_the_platform_refuses_ends_its_items_as_failed_and_the_event_is_told_when_it_goes_on(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    at(world, "2031-05-14T17:30")
    release(world)
    world.settle(world.claim()[0], Rejected(reason="too long", remedy="tell us"))
    assert post_states(world) == [("failed", "the digest was rejected")]
    settle_in(world)
    world.record(update(1))
    assert told(tended(world)) == [(Act.POST, update(1).id)]


@pytest.mark.parametrize("claimed", [False, True])
def test_digest_of_a_channel_that_is_removed_ends_with_what_it_was_to_tell_of(world, claimed):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    at(world, "2031-05-14T17:30")
    release(world)
    if claimed:
        world.settle(world.claim()[0], RateLimited(retry_after=timedelta(minutes=1)))
    world.act(admin.remove_channel, HERE)
    assert {(row["state"], row["reason"]) for row in world.rows()} == {("withheld", deliveries.REMOVED)}


# ---- channels that are lost meanwhile


@pytest.mark.parametrize("target", [C1, HERE.workspace])
def test_what_waits_in_a_channel_that_cannot_be_reached_comes_as_one_when_it_is_back(world, target):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    world.write(admin.record_loss, world.now, target, "the bot was removed")
    world.record(alert(2))
    for _ in range(3):
        world.wait(hours=8)
        assert tended(world) == [], "nothing is tried meanwhile"
    world.write(admin.record_return, world.now, target)
    world.record(alert(3))
    assert told(tended(world)) == [(Act.DIGEST, None)]
    world.wait(days=1)
    (second,) = tended(world)
    assert set(items(second)) == {alert(2).id, alert(3).id}
    assert "held" not in world.states()


def test_what_a_lost_channel_missed_comes_in_its_quiet_way_when_it_is_back(world):
    world.write(admin.record_loss, world.now, C1, "the bot was removed")
    world.record(alert(1))
    world.record(update(1))
    world.record(alert(2))
    settle_in(world, muted_until=world.now + timedelta(hours=2))
    world.write(admin.record_return, world.now, C1)
    assert tended(world) == []
    world.wait(hours=2)
    (digest,) = tended(world)
    assert set(items(digest)) == {update(1).id, alert(2).id}


def test_digest_that_was_on_its_way_when_the_channel_was_lost_comes_when_it_is_back(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    at(world, "2031-05-14T17:30")
    release(world)
    world.settle(world.claim()[0], Rejected(reason="gone", remedy="invite it", scope=Scope.CHANNEL))
    assert [row["state"] for row in world.rows()] == ["digested", "held"]
    world.wait(days=2)
    world.write(admin.record_return, world.now, C1)
    (digest,) = tended(world)
    assert (items(digest), digest.uncertain) == ([alert(1).id], True)


def test_event_that_goes_on_while_its_digest_waits_for_a_lost_channel_is_told_once(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    at(world, "2031-05-14T17:30")
    release(world)
    world.settle(world.claim()[0], Rejected(reason="gone", remedy="invite it", scope=Scope.CHANNEL))
    world.record(update(1))
    world.wait(hours=1)
    world.write(admin.record_return, world.now, C1)
    assert [each.act for each in tended(world)] == [Act.DIGEST, Act.REPLY]


# ---- settings that change meanwhile


def mute(world, **span):
    world.run(tuning.mute, OPERATOR, world.now, HERE, world.now + timedelta(**span) if span else None)


def test_mute_holds_what_is_queued_and_its_end_releases_it(world):
    world.record(alert(1))
    world.record(alert(2))
    mute(world, hours=2)
    assert tended(world) == []
    mute(world)
    assert [each.act for each in tended(world)] == [Act.DIGEST]


def test_what_was_queued_behind_a_message_is_told_with_it_when_that_has_to_wait(world):
    world.record(alert())
    world.record(update(headline="Two explosions reported in Port Calder"))
    mute(world, hours=2)
    assert world.claim() == []
    assert world.write(claiming.next_due, "slack", world.now) is None, "nothing to look for again and again"
    world.wait(hours=2)
    (sending,) = tended(world)
    assert sending.message.alert.headline == "Two explosions reported in Port Calder"
    assert [row["state"] for row in world.rows()] == ["sent", "superseded", "superseded"]


def test_event_that_was_over_before_a_mute_is_not_told_after_it(world):
    world.record(alert())
    world.record(alert(revision=2, kind=Kind.RETRACTION))
    mute(world, hours=2)
    world.wait(hours=2)
    assert tended(world) == []
    assert post_states(world) == [("superseded", "the event was over before it was told")]


def test_quiet_hours_that_begin_while_a_message_waits_for_its_turn_hold_it(world):
    settle_in(world, quiet=QuietHours(start=time(12, 30), end=time(13, 0)))
    world.record(alert(1))
    world.record(alert(2))
    world.settle(world.claim()[0], spacing_s=3600)
    at(world, "2031-05-14T13:00")
    world.record(alert(3))
    settle_in(world, quiet=QuietHours(start=time(12, 30), end=time(14, 0)))
    assert tended(world) == []
    at(world, "2031-05-14T14:00")
    assert [set(items(each)) for each in tended(world)] == [{alert(2).id, alert(3).id}]


def test_mute_takes_back_a_digest_that_has_not_been_sent(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1))
    world.record(alert(2))
    at(world, "2031-05-14T17:30")
    release(world)
    mute(world, hours=3)
    assert tended(world) == []
    world.wait(days=1)
    (digest,) = tended(world)
    assert set(items(digest)) == {alert(1).id, alert(2).id}


@pytest.mark.parametrize("quiet", [None, NIGHT, QuietHours(start=time(11), end=time(9))])
@pytest.mark.parametrize("digest", [(), (time(8), time(12))])
@pytest.mark.parametrize("budget", [None, 1])
@pytest.mark.parametrize("muted", [None, timedelta(hours=11)])
def test_every_combination_tells_of_everything_in_the_end(world, quiet, digest, budget, muted):
    settle_in(world, quiet=quiet, digest=digest, budget=budget, muted_until=muted and world.now + muted)
    for number, level in enumerate((*Level, *Level)):
        world.record(alert(number, level=level))
    sent = tended(world)
    for _ in range(50):
        world.wait(hours=1)
        sent += tended(world)
    assert set(world.states()) <= {"sent", "digested"}
    told_of = [each.message.alert.id for each in sent if each.message.alert] + [
        one for each in sent for one in items(each)
    ]
    assert sorted(told_of) == sorted(alert(number).id for number in range(6))


def test_mutes_are_limited(world):
    for span in (quieting.MUTE_MOST + timedelta(seconds=1), timedelta(0), -timedelta(hours=1)):
        with pytest.raises(errors.UsageError):
            world.run(tuning.mute, OPERATOR, world.now, HERE, world.now + span)
    mute(world, days=7)


def test_settings_are_audited_and_need_a_channel(world):
    world.run(tuning.set_budget, OPERATOR, world.now, HERE, 5)
    assert (world.audit()[-1].action, world.audit()[-1].target) == ("budget", C1)
    with pytest.raises(errors.UsageError, match="subscribe"):
        world.run(tuning.set_budget, OPERATOR, world.now, channels.parse("slack:T0123/C9"), 5)


def test_what_waits_is_not_told_to_a_channel_that_has_unsubscribed_meanwhile(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert())
    world.run(admin.unsubscribe, OPERATOR, world.now, HERE, None)
    world.wait(hours=6)
    assert tended(world) == []
    (row,) = world.rows(act="post")
    assert (row["state"], row["reason"]) == ("superseded", "the channel has unsubscribed")


def test_what_another_subscription_asks_for_still_comes(world):
    settle_in(world, digest=(time(17, 30),))
    world.channel(C1)  # a second subscription
    first, _ = world.write(directory.subscriptions, C1)
    world.record(alert())
    world.run(admin.unsubscribe, OPERATOR, world.now, HERE, first.subscription)
    world.wait(hours=6)
    assert [each.act for each in tended(world)] == [Act.DIGEST]


def test_what_waits_to_be_told_is_not_told_after_a_retraction(world):
    world.record(alert())
    world.deliver_all()
    settle_in(world, quiet=NIGHT)
    at(world, "2031-05-14T23:00:00")
    world.record(update(level=Level.URGENT))
    assert [each.act for each in world.deliver_all()] == [Act.EDIT]
    world.record(update(revision=3, kind=Kind.RETRACTION, change="the evidence was deleted"))
    assert [each.act for each in world.deliver_all()] == [Act.EDIT, Act.REPLY]
    at(world, "2031-05-15T07:01:00")
    assert tended(world) == []
    (waited,) = [row for row in world.rows(act="reply") if row["state"] == "superseded"]
    assert waited["reason"] == "a retraction came first"


def test_a_digest_says_that_an_event_got_louder_by_that_event_alone(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(alert(1), alert(2, level=Level.URGENT))
    world.wait(hours=6)
    assert [each.act for each in tended(world)] == [Act.DIGEST]
    world.record(update(1))
    world.record(update(2, level=Level.URGENT))
    told_now = tended(world)
    assert [(each.act, each.message.escalated) for each in told_now] == [(Act.REPLY, False), (Act.REPLY, False)]


def test_more_than_a_digest_has_room_for_comes_in_another_one(world):
    settle_in(world, digest=(time(17, 30),))
    world.record(*(alert(number) for number in range(60)))
    world.wait(hours=6)
    sent = tended(world)
    assert [(each.act, len(each.message.items)) for each in sent] == [(Act.DIGEST, n) for n in (25, 25, 10)]
    assert len({item.event for each in sent for item in each.message.items}) == 60
