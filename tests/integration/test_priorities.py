"""Which row goes next: the most urgent, in the order of its message; and a worker that never turns in circles."""

import asyncio
from datetime import timedelta

import pytest

from bot import admin, tuning
from bot.domain import channel as channels
from bot.domain.alert import Kind, Level, event_id
from bot.domain.delivery import Act, Rejected, Sent, Unavailable, Unknown
from bot.domain.post import Deletion
from bot.domain.quieting import QuietHours
from bot.pipeline import digesting, throttling
from bot.pipeline.delivering import Delivering, _Pace
from bot.store import claiming
from tests.factories import make_alert, make_subscription
from tests.worlds import OPERATOR, World

C1, C2 = "slack:T0123/C1", "slack:T0123/C2"
HERE = channels.parse(C1)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    yield world
    world.close()


def alert(number=1, **fields):
    key = f"bluesky|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,), "quotes": (key,)} | fields)


def update(number=1, revision=2, **fields):
    return alert(number, **{"revision": revision, "kind": Kind.UPDATE, "change": "more voices"} | fields)


def stands(world, number=1, **fields):
    world.record(alert(number, **fields), steps=[world.candidate(f"bluesky|{number}")])
    return world.deliver_all()[-1]


def told(sent):
    return [(each.act, each.message.alert and each.message.alert.id) for each in sent]


# ---- order


def test_most_urgent_goes_first_in_a_channel_then_the_oldest(world):
    world.channel(C1)
    levels = [Level.ALERT, Level.URGENT, Level.FLASH, Level.ALERT, Level.FLASH]
    for number, level in enumerate(levels):
        world.record(alert(number, level=level))
    order = [each.message.alert.event for each in world.deliver_all()]
    assert order == [alert(number).event for number in (2, 4, 1, 0, 3)]


def test_most_urgent_goes_first_between_channels(world):
    world.channel(C1)
    world.record(alert(1))
    world.channel(C2)
    world.run(admin.unsubscribe, OPERATOR, world.now, HERE, None)
    world.record(alert(2, level=Level.FLASH))
    assert [str(each.channel) for each in world.claim(most=1)] == [C2]


def test_what_belongs_to_one_message_keeps_its_order_however_loud_it_gets(world):
    world.channel(C1)
    world.record(alert(1))
    world.record(alert(2, level=Level.URGENT))
    world.record(update(1))
    world.record(update(1, revision=3, level=Level.FLASH))
    assert told(world.deliver_all()) == [
        (Act.POST, alert(1).id),
        (Act.REPLY, update(1).id),
        (Act.EDIT, update(1, 3).id),
        (Act.REPLY, update(1, 3).id),
        (Act.POST, alert(2).id),
    ]


def test_retraction_goes_before_everything_else(world):
    world.channel(C1)
    stands(world)
    world.record(alert(2, level=Level.FLASH))
    world.revoke(category="explosion", retract=True)
    world.record(alert(3, level=Level.FLASH, category="fire"))
    assert [each.act for each in world.deliver_all() if each.act is not Act.NOTICE] == [Act.RETRACT, Act.POST]


def test_retraction_of_what_stands_does_not_wait_for_another_message_that_backs_off(world):
    world.channel(C1)
    stands(world)
    world.record(alert(2, level=Level.FLASH))
    world.settle(world.claim()[0], Unavailable(reason="503"))
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=world.now)])
    assert [each.act for each in world.claim()] == [Act.RETRACT]


def test_retraction_waits_for_the_message_that_may_have_arrived(world):
    world.channel(C1)
    world.record(alert(1), steps=[world.candidate("bluesky|1")])
    (post,) = world.claim()
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=world.now)])
    world.settle(post, Unknown(reason="reset"))
    assert world.claim() == []
    assert world.write(claiming.next_due, "slack", world.now) > world.now
    world.wait(seconds=2)
    assert [each.act for each in world.deliver_all()] == [Act.POST, Act.RETRACT]


@pytest.mark.parametrize("outcome", [Rejected(reason="no", remedy="none"), Unavailable(reason="503")])
def test_what_changes_a_message_that_never_came_ends_and_lets_others_go(world, outcome):
    world.channel(C1)
    world.record(alert(1))
    world.record(update(1))
    world.record(alert(2))
    (post,) = world.claim()
    if isinstance(outcome, Unavailable):
        world.wait(days=1, seconds=1)
    world.settle(post, outcome)
    world.deliver_all()
    assert not {"queued", "unknown", "sending"} & set(world.states())


def test_edits_and_replies_of_a_message_that_is_taken_back_are_not_sent_any_more(world):
    world.channel(C1)
    stands(world)
    world.record(update(quotes=("bluesky|1",)))
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=world.now)])
    assert [each.act for each in world.deliver_all()] == [Act.RETRACT]
    assert {row["reason"] for row in world.rows(state="superseded")} == {
        "the message that it belongs to was taken back"
    }


def test_reply_that_waits_for_the_morning_does_not_answer_a_message_that_is_gone(world):
    world.channel(C1)
    stands(world)
    quiet = QuietHours(start=(world.now - timedelta(hours=1)).time(), end=(world.now + timedelta(hours=1)).time())
    world.run(tuning.set_quiet_hours, OPERATOR, world.now, HERE, quiet, None)
    world.record(update(quotes=("bluesky|1",)))
    world.deliver_all()
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=world.now)])
    world.deliver_all()
    world.wait(hours=1)
    world.write(digesting.release, world.now)
    assert world.deliver_all() == []
    assert world.rows(act="reply")[0]["state"] == "superseded"


# ---- escalation


def escalations(sent):
    return [(each.message.alert.revision, each.message.escalated) for each in sent if each.act is Act.REPLY]


def test_escalation_is_flagged_when_it_is_louder_than_everything_before(world):
    world.channel(C1)
    stands(world)
    flagged = []
    for revision, level in enumerate([Level.ALERT, Level.URGENT, Level.ALERT, Level.URGENT, Level.FLASH], start=2):
        world.record(update(revision=revision, level=level))
        flagged += escalations(world.deliver_all())
    assert flagged == [(2, False), (3, True), (4, False), (5, False), (6, True)]


def test_escalation_is_flagged_once_although_its_edit_was_overtaken(world):
    world.channel(C1)
    stands(world)
    world.record(update(level=Level.URGENT))
    world.record(update(revision=3, level=Level.URGENT))
    assert escalations(world.deliver_all()) == [(2, True), (3, False)]


def test_escalation_is_flagged_when_its_reply_comes_long_after_the_edit(world):
    world.channel(C1)
    stands(world)
    world.run(tuning.mute, OPERATOR, world.now, HERE, world.now + timedelta(hours=1))
    world.record(update(level=Level.URGENT))
    world.deliver_all()
    world.record(update(revision=3, level=Level.URGENT))
    world.deliver_all()
    world.wait(hours=1)
    world.write(digesting.release, world.now)
    assert escalations(world.deliver_all()) == [(2, True), (3, False)]


def test_escalation_stays_flagged_when_its_reply_is_tried_again(world):
    world.channel(C1)
    stands(world)
    world.record(update(level=Level.URGENT))
    world.settle(world.claim()[0])
    (reply,) = world.claim()
    world.settle(reply, Unknown(reason="reset"))
    world.wait(seconds=2)
    assert escalations([reply, *world.deliver_all()]) == [(2, True), (2, True)]


# ---- throttling and pace


def flood(world, n=throttling.BACKLOG + 1):
    for number in range(n):
        world.record(alert(number))
    world.wait(seconds=throttling.LAGGING.total_seconds() + 1)


def tell(world):
    return world.write(throttling.tell, world.now)


def test_lagging_channel_is_told_once_before_what_is_less_than_urgent(world):
    world.channel(C1)
    flood(world)
    assert [tell(world), tell(world)] == [1, 0]
    world.record(alert(99, level=Level.FLASH))
    sent = world.deliver_all()
    assert told(sent[:2]) == [(Act.POST, alert(99).id), (Act.NOTICE, None)]
    assert sent[1].message.text.startswith("22 alerts wait") or sent[1].message.text.startswith("21 alerts wait")
    assert [each.act for each in sent].count(Act.NOTICE) == 1


def test_channel_that_has_caught_up_is_told_again_the_next_time(world):
    world.channel(C1)
    flood(world)
    tell(world)
    world.deliver_all()
    assert tell(world) == 0
    for number in range(100, 101 + throttling.BACKLOG):
        world.record(alert(number))
    assert tell(world) == 0, "not before it lags"
    world.wait(seconds=throttling.LAGGING.total_seconds() + 1)
    assert tell(world) == 1


def test_channel_that_keeps_up_or_waits_on_purpose_is_not_told(world):
    world.channel(C1)
    flood(world, throttling.BACKLOG)
    assert tell(world) == 0
    flood(world)
    world.run(tuning.mute, OPERATOR, world.now, HERE, world.now + timedelta(hours=1))
    assert tell(world) == 0


def test_pace_lets_a_handful_through_at_once_and_no_more_than_the_limit_in_any_second():
    clock = [0.0]
    pace = _Pace(40, lambda: clock[0])
    sent = []
    while clock[0] < 3:
        room = pace.room()
        pace.spend(room)
        sent += [clock[0]] * room
        clock[0] += max(0.001, pace.wait_s())
    assert sent[:6].count(0.0) == 5
    assert max(sum(start <= at < start + 1 for at in sent) for start in sent) <= 45
    assert len(sent) >= 3 * 40 - 5
    clock[0] += 60
    assert pace.room() == 5
    assert _Pace(None, lambda: clock[0]).room() == 16


class Stuck:
    """A platform that answers nobody until it is let go."""

    platform = "slack"
    spacing = timedelta(0)
    per_second = None

    def __init__(self):
        self.sending = 0
        self.full, self.go = asyncio.Event(), asyncio.Event()

    async def send(self, sending):
        self.sending += 1
        if self.sending == 16:
            self.full.set()
        await self.go.wait()
        return Sent(platform_id=f"ts-{sending.delivery}")


async def test_worker_whose_hands_are_full_does_not_ask_the_store_again_and_again(world, monkeypatch):
    for number in range(20):
        name = f"slack:T0123/C{number}"
        world.act(admin.add_channel, "Acme", channels.parse(name))
        await admin.subscribe(world.database, OPERATOR, world.now, make_subscription(channel=name))
    world.record(alert())
    asked = []
    monkeypatch.setattr(claiming, "next_due", lambda *args: asked.append(args))
    stuck = Stuck()
    delivering = Delivering(world.database, {"slack": stuck}, now=lambda: world.now)
    running = asyncio.create_task(delivering.run())
    await asyncio.wait_for(stuck.full.wait(), 10)
    for _ in range(20):
        await world.database.read(lambda db: None)
    full = len(asked)
    assert full <= 1
    stuck.go.set()
    delivering.finish()
    await asyncio.wait_for(running, 10)
    assert set(world.states()) == {"sent"}
