"""Buttons: each asks for access at the click, however old the message is."""

from datetime import UTC, datetime, timedelta

import pytest

from bot import admin, pressing, revoking
from bot.admin import Actor
from bot.domain import channel as channels
from bot.domain import errors
from bot.domain.access import OrganisationState
from bot.domain.alert import Kind, Level, event_id
from bot.domain.delivery import Acknowledgement, Act, RateLimited, Unknown
from bot.domain.post import Deletion
from bot.domain.quieting import Quieting
from bot.platforms.base import MUTES, Action, Press
from bot.store import deliveries, directory, messages
from tests.factories import make_alert
from tests.worlds import World

C1, C2 = "slack:T0123/C1", "slack:T0123/C2"
ANN = Actor(id="slack:T0123/U1", surface="slack", member="slack:T0123")
BEN = Actor(id="slack:T0123/U2", surface="slack", member="slack:T0123")
GUEST = Actor(id="slack:T0999/U7", surface="slack")  # another workspace's, in a channel that both share


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


def stands(world, number=1, **fields):
    """A message; gives its delivery id."""
    world.record(alert(number, **fields), steps=[world.candidate(f"bluesky|{number}")])
    (sent,) = world.deliver_all()
    return sent.root


def press(world, action, root, *, actor=ANN, channel=C1, value=""):
    wanted = Press(action=action, delivery=root, actor=actor.id, channel=channels.parse(channel), value=value)
    return world.run(pressing.press, actor, world.now, wanted)


def counted(world):
    """What a press may change."""
    return (
        len(world.rows()),
        world.write(lambda db: [db.execute(f"SELECT * FROM {name}").fetchall() for name in ("messages", "feedback")]),
    )


def refused(world, action, root, **fields):
    before = counted(world)
    with pytest.raises(errors.RefusedError):
        press(world, action, root, **{"value": "1h"} | fields)
    assert counted(world) == before
    entry = world.audit()[-1]
    assert entry.action == f"{action.value}-refused"
    return entry.reason


def told(sent):
    return [(each.act, each.message.alert.id) for each in sent]


EVERY = pytest.mark.parametrize("action", list(Action))


# ---- who may press what


@EVERY
def test_member_of_another_workspace_is_refused(world, action):
    assert refused(world, action, stands(world), actor=GUEST) == "not a member of this workspace"


@EVERY
@pytest.mark.parametrize("channel", [C2, "slack:T0999/C1", "discord:1/2"])
def test_button_of_a_message_in_another_channel_is_refused(world, action, channel):
    world.channel(C2, subscribed=False)
    here = channels.parse(channel).workspace
    root = stands(world)
    actor = Actor(id="whoever", surface="slack", member=here)
    assert "not in this channel" in refused(world, action, root, channel=channel, actor=actor)


@EVERY
@pytest.mark.parametrize("delivery", ["", "d0", "'; --", "\x00", "d" * 5000])
def test_unknown_delivery_is_refused(world, action, delivery):
    assert "not in this channel" in refused(world, action, delivery)


@EVERY
def test_after_a_revocation_is_refused(world, action):
    root = stands(world)
    world.revoke(org="Acme", reason="the contract ended")
    assert "the contract ended" in refused(world, action, root)


@EVERY
@pytest.mark.parametrize("fields", [{"channel": C1}, {"category": "explosion"}, {"provider": "bluesky"}])
def test_after_a_narrower_revocation_is_refused_too(world, action, fields):
    root = stands(world)
    world.revoke(**fields)
    refused(world, action, root)


@EVERY
def test_suspended_organisation_presses_nothing(world, action):
    root = stands(world)
    world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED)
    assert "suspended" in refused(world, action, root)


@EVERY
def test_message_that_was_taken_back_has_no_buttons_any_more(world, action):
    root = stands(world)
    reinstated = world.revoke(org="Acme", retract=True)
    assert reinstated.retracting == 1
    world.deliver_all()
    world.act(revoking.reinstate, reinstated.revocation, "a mistake")
    assert "does not stand" in refused(world, action, root)


@EVERY
def test_message_of_which_a_quoted_post_was_deleted_has_no_buttons_once_it_is_taken_back(world, action):
    root = stands(world)
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=world.now)])
    assert "does not stand" in refused(world, action, root), "also before the retraction is sent"
    world.deliver_all()
    refused(world, action, root)


@EVERY
def test_reply_edit_and_digest_have_no_buttons_of_their_own(world, action):
    stands(world)
    world.record(update())
    world.write(lambda db: deliveries.queue(db, org="o1", channel=C1, act=Act.DIGEST, at=world.now))
    for row in world.rows():
        if row["act"] != "post":
            assert "not in this channel" in refused(world, action, row["delivery"])


def test_message_that_is_on_its_way_for_the_first_time_cannot_be_pressed(world):
    world.record(alert())
    assert "does not stand" in refused(world, Action.ACKNOWLEDGE, world.rows()[0]["delivery"])


def test_message_that_may_have_arrived_can_be_pressed(world):
    world.record(alert())
    (sending,) = world.claim()
    world.settle(sending, Unknown(reason="reset"))
    press(world, Action.ACKNOWLEDGE, sending.root)
    world.wait(seconds=2)
    assert world.deliver_all()[0].message.acknowledged == Acknowledgement(
        by=ANN.id, at=world.now - timedelta(seconds=2)
    )


# ---- acknowledging


def test_acknowledgement_stands_in_the_message_for_everybody(world):
    root = stands(world)
    assert press(world, Action.ACKNOWLEDGE, root).text.startswith("Acknowledged")
    (edit,) = world.deliver_all()
    assert (edit.act, edit.root, edit.message.acknowledged) == (
        Act.EDIT, root, Acknowledgement(by=ANN.id, at=world.now),
    )  # fmt: skip
    world.record(update())
    assert all(each.message.acknowledged == Acknowledgement(by=ANN.id, at=world.now) for each in world.deliver_all())


def test_second_acknowledgement_changes_nothing(world):
    root = stands(world)
    press(world, Action.ACKNOWLEDGE, root)
    world.deliver_all()
    before = counted(world)
    for actor in (ANN, BEN):
        assert "already" in press(world, Action.ACKNOWLEDGE, root, actor=actor).text
    assert counted(world) == before


def test_acknowledgement_does_not_bring_an_older_revision_back(world):
    root = stands(world)
    world.record(update())
    press(world, Action.ACKNOWLEDGE, root)
    edits = [each for each in world.deliver_all() if each.act is Act.EDIT]
    assert [each.message.alert.id for each in edits] == [update().id]
    assert edits[0].message.acknowledged


def test_acknowledgement_while_an_edit_is_being_sent_comes_after_it_with_the_same_revision(world):
    root = stands(world)
    world.record(update())
    (edit,) = world.claim()
    press(world, Action.ACKNOWLEDGE, root)
    world.settle(edit, RateLimited(retry_after=timedelta(seconds=1)))
    world.wait(seconds=2)
    edits = [each for each in world.deliver_all() if each.act is Act.EDIT]
    assert {each.message.alert.id for each in edits} == {update().id}
    assert edits[-1].message.acknowledged


@pytest.mark.parametrize("target", [C1, "slack:T0123"])
def test_acknowledgement_in_a_lost_channel_comes_when_it_is_back(world, target):
    root = stands(world)
    world.write(admin.record_loss, world.now, target, "the bot was removed")
    press(world, Action.ACKNOWLEDGE, root)
    assert world.deliver_all() == []
    world.write(admin.record_return, world.now, target)
    (edit,) = world.deliver_all()
    assert edit.message.acknowledged


# ---- muting an event


def muted(world, value, **fields):
    root = stands(world, **fields)
    press(world, Action.MUTE, root, value=value)
    return root


def test_every_choice_of_a_mute_is_known_and_nothing_else(world):
    root = stands(world)
    for value in MUTES:
        assert press(world, Action.MUTE, root, value=value).text.startswith("Muted until")
    for value in ("", "1d", "for ever", "1H"):
        assert "does not exist" in refused(world, Action.MUTE, root, value=value)


@pytest.mark.parametrize("value", list(MUTES))
def test_muted_event_is_silent_in_its_thread_and_its_message_stays_up_to_date(world, value):
    muted(world, value)
    world.record(update())
    assert told(world.deliver_all()) == [(Act.EDIT, update().id)]
    assert world.rows(act="reply")[0]["reason"] == "the event is muted by slack:T0123/U1"


@pytest.mark.parametrize("value", list(MUTES))
@pytest.mark.parametrize("kind", [Kind.CORRECTION, Kind.RETRACTION])
def test_muted_event_is_corrected_and_retracted_all_the_same(world, value, kind):
    muted(world, value)
    world.record(alert(revision=2, kind=kind))
    assert [each.act for each in world.deliver_all()] == [Act.EDIT, Act.REPLY]


def test_escalation_breaks_a_mute_until_it_escalates_and_only_that(world):
    muted(world, "escalation", level=Level.URGENT)
    world.record(update(level=Level.URGENT))
    assert [each.act for each in world.deliver_all()] == [Act.EDIT]
    world.record(update(revision=3, level=Level.FLASH))
    _, reply = world.deliver_all()
    assert (reply.act, reply.message.escalated) == (Act.REPLY, True)


@pytest.mark.parametrize("value", ["1h", "today"])
def test_escalation_does_not_break_a_mute_for_a_time(world, value):
    muted(world, value)
    world.record(update(level=Level.FLASH))
    assert [each.act for each in world.deliver_all()] == [Act.EDIT]


def test_mute_of_an_hour_ends(world):
    muted(world, "1h")
    world.wait(hours=1)
    world.record(update())
    assert [each.act for each in world.deliver_all()] == [Act.EDIT, Act.REPLY]


def test_mute_of_today_ends_with_the_channels_own_day(world):
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(zone="Europe/Dublin")))
    root = stands(world)
    assert press(world, Action.MUTE, root, value="today").text.startswith(
        "Muted until Thu 15 May, 00:00 (Europe/Dublin)."
    )
    world.now = datetime(2031, 5, 14, 22, 59, tzinfo=UTC)
    world.record(update())
    assert [each.act for each in world.deliver_all()] == [Act.EDIT]
    world.now = datetime(2031, 5, 14, 23, 0, tzinfo=UTC)
    world.record(update(revision=3))
    assert [each.act for each in world.deliver_all()] == [Act.EDIT, Act.REPLY]


def test_mute_stops_what_waits_for_the_thread_already(world):
    root = stands(world)
    world.record(update())
    world.record(update(revision=3, kind=Kind.CORRECTION))
    press(world, Action.MUTE, root, value="1h")
    assert [(each.act, each.message.alert.revision) for each in world.deliver_all()] == [(Act.EDIT, 3), (Act.REPLY, 3)]


def test_mute_is_that_messages_only(world):
    muted(world, "1h")
    stands(world, 2)
    world.record(update(2))
    assert [each.act for each in world.deliver_all()] == [Act.EDIT, Act.REPLY]


# ---- not relevant, sources, why


def test_not_relevant_counts_once_a_person_whatever_is_shown_meanwhile(world):
    root = stands(world)
    assert press(world, Action.IRRELEVANT, root).text.startswith("Noted")
    world.record(update())
    world.deliver_all()
    assert "already" in press(world, Action.IRRELEVANT, root).text
    assert press(world, Action.IRRELEVANT, root, actor=BEN).text.startswith("Noted")
    assert len(counted(world)[1][1]) == 2
    assert messages.muted(world.database._writer, root) is None
    assert world.deliver_all() == [], "nothing else changes"


def test_sources_are_shown_to_whoever_may_see_evidence(world):
    root = stands(world)
    shown = press(world, Action.SOURCES, root)
    assert shown.text == "1 source post"
    assert [quote.text for quote in shown.quotes] == ["text of bluesky|1"]


def test_sources_are_refused_without_the_capability(world):
    root = stands(world)
    world.revoke(org="Acme", capability="evidence")
    assert refused(world, Action.SOURCES, root).startswith("not permitted to see evidence")
    assert press(world, Action.WHY, root).alert == alert()


def test_deleted_source_is_not_shown(world):
    evidence = ("bluesky|1", "bluesky|2")
    world.record(alert(evidence=evidence), steps=[world.candidate(key) for key in evidence])
    (sent,) = world.deliver_all()
    world.record(steps=[Deletion(provider="bluesky", id="2", deleted_at=world.now)])
    shown = press(world, Action.SOURCES, sent.root)
    assert (shown.text, len(shown.quotes)) == ("1 source post (and 1 more, or deleted since)", 1)


def test_sources_are_limited(world):
    evidence = tuple(f"bluesky|{n}" for n in range(30))
    world.record(alert(1, evidence=evidence), steps=[world.candidate(key) for key in evidence])
    (sent,) = world.deliver_all()
    assert len(press(world, Action.SOURCES, sent.root).quotes) == pressing.SOURCES_MOST
