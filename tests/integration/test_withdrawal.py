"""What must not stay standing, be shown or come late once access, a View or a post is gone."""

from datetime import timedelta

import pytest

from bot import admin, revoking
from bot.detection import revisions
from bot.domain import channel as channels
from bot.domain import errors
from bot.domain.access import MAX_VIEWS
from bot.domain.alert import Kind, event_id
from bot.domain.delivery import Act, Rejected
from bot.domain.post import Deletion
from bot.pipeline import explaining
from bot.store import audit, directory
from tests.factories import make_alert
from tests.worlds import World

CHANNEL = "slack:T0123/C0456"
OTHER = "slack:T0999/C0999"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    yield world
    world.close()


def alert(*keys, **fields):
    return make_alert(**{"event": event_id("bluesky|1"), "evidence": keys, "quotes": keys} | fields)


def deletion(world, provider="bluesky", post_id="1"):
    return Deletion(provider=provider, id=post_id, deleted_at=world.now)


def stands(world):
    world.channel(CHANNEL)
    world.record(alert("bluesky|1"), steps=[world.candidate("bluesky|1")])
    return world.deliver_all()


def test_a_deleted_post_leaves_a_withdrawn_organisation_although_others_keep_the_view(world):
    world.org("Globe", "news")
    world.channel(OTHER, "Globe")
    stands(world)
    world.revoke(org="Acme")
    without = alert("bluesky|1", revision=2, kind=Kind.UPDATE, quotes=())
    world.record(without, steps=[deletion(world)], view=world.view("Globe"))
    acts = {(s.act, str(s.channel)) for s in world.deliver_all()}
    assert acts == {(Act.RETRACT, CHANNEL), (Act.EDIT, OTHER), (Act.REPLY, OTHER)}


def test_a_deleted_post_leaves_a_channel_whose_access_is_withdrawn(world):
    stands(world)
    world.revoke(channel=CHANNEL)
    world.record(steps=[deletion(world)])
    assert [s.act for s in world.deliver_all()] == [Act.RETRACT]


def test_a_deleted_post_leaves_a_removed_channel(world):
    stands(world)
    world.act(admin.remove_channel, channels.parse(CHANNEL))
    world.record(steps=[deletion(world)])
    assert [s.act for s in world.deliver_all()] == [Act.RETRACT]


def test_a_deleted_post_is_left_to_the_edit_that_comes_with_its_deletion(world):
    stands(world)
    world.record(alert("bluesky|1", revision=2, kind=Kind.UPDATE, quotes=()), steps=[deletion(world)])
    assert [s.act for s in world.deliver_all()] == [Act.EDIT, Act.REPLY]


def test_a_deleted_post_leaves_the_message_of_an_event_that_detection_has_forgotten(world):
    stands(world)
    world.record(steps=[deletion(world)])
    assert [s.act for s in world.deliver_all()] == [Act.RETRACT]


def united(world, edited):
    """Two messages; the younger one's event ends in the other. ``edited``: what becomes of the edits."""
    world.channel(CHANNEL)
    younger = alert("bluesky|2", event=event_id("bluesky|2"))
    world.record(alert("bluesky|1"), younger, steps=[world.candidate(f"bluesky|{n}") for n in (1, 2)])
    world.deliver_all()
    going_on = alert("bluesky|1", "bluesky|2", revision=2, kind=Kind.UPDATE, quotes=("bluesky|1",))
    world.record(revisions.united(younger, going_on, now=world.now), going_on)
    if edited == "withheld":
        world.revoke(channel=CHANNEL)
    while claimed := world.claim():
        refused = edited == "rejected" and claimed[0].act is Act.EDIT
        world.settle(claimed[0], Rejected(reason="no", remedy="look") if refused else None)
        if edited == "queued":
            break
    return world.rows(act="post", event=younger.event)[0]


@pytest.mark.parametrize("edited", ["sent", "withheld", "rejected"])
def test_a_deleted_post_leaves_the_message_of_an_event_that_ended_however_its_last_edit_went(world, edited):
    message = united(world, edited)
    world.record(steps=[deletion(world, post_id="2")])
    gone = [s.target_id for s in world.deliver_all() if s.act is Act.RETRACT]
    assert gone == ([] if edited == "sent" else [message["platform_id"]])


def test_a_deleted_post_is_left_to_an_edit_without_its_quote_that_was_queued_before(world):
    stands(world)
    world.record(alert("bluesky|1", revision=2, kind=Kind.UPDATE, quotes=()))
    world.record(steps=[deletion(world)])
    assert [s.act for s in world.deliver_all()] == [Act.EDIT, Act.REPLY]


def test_a_message_that_quotes_the_deleted_post_no_more_stays(world):
    stands(world)
    world.record(alert("bluesky|1", revision=2, kind=Kind.UPDATE, quotes=()))
    world.deliver_all()
    world.revoke(channel=CHANNEL)
    world.record(steps=[deletion(world)])
    assert world.deliver_all() == []


def test_a_deleted_post_leaves_the_message_of_an_event_that_was_retracted(world):
    stands(world)
    world.record(alert("bluesky|1", revision=2, kind=Kind.RETRACTION))
    world.deliver_all()
    world.record(steps=[deletion(world)])
    assert [s.act for s in world.deliver_all()] == [Act.RETRACT]


def test_a_deleted_post_leaves_a_message_that_was_posted_for_another_event_and_then_edited_to_quote_it(world):
    world.record(alert("bluesky|1"), steps=[world.candidate("bluesky|1")])
    world.channel(CHANNEL)
    younger = alert("bluesky|2", event=event_id("bluesky|2"))
    world.record(younger, steps=[world.candidate("bluesky|2")])
    world.deliver_all()
    going_on = alert("bluesky|1", "bluesky|2", revision=2, kind=Kind.UPDATE)
    world.record(revisions.united(younger, going_on, now=world.now), going_on)
    assert [s.act for s in world.deliver_all()] == [Act.EDIT, Act.REPLY]
    world.revoke(channel=CHANNEL)
    world.record(steps=[deletion(world, post_id="2")])
    assert [s.act for s in world.deliver_all()] == [Act.RETRACT]


def test_retraction_finds_a_message_that_quoted_the_provider_only_later(world):
    stands(world)
    later = alert("bluesky|1", "x|2", revision=2, kind=Kind.UPDATE, sources=("bluesky", "x"))
    world.record(later, steps=[world.candidate("x|2")])
    world.deliver_all()
    effect = world.revoke(provider="x", retract=True)
    assert (effect.delivered, effect.retracting) == (1, 1)
    assert [s.act for s in world.deliver_all()] == [Act.RETRACT]


@pytest.mark.parametrize("act", ["post", "reply"])
def test_what_waited_for_more_than_a_day_is_no_news(world, act):
    if act == "post":
        world.channel(CHANNEL)
        world.record(alert("bluesky|1"))
    else:
        stands(world)
        world.record(alert("bluesky|1", revision=2, kind=Kind.UPDATE))
    world.wait(hours=25)
    assert act not in {s.act.value for s in world.deliver_all()}
    assert world.rows(act=act)[-1]["state"] == "failed"


def test_explain_says_nothing_of_an_alert_of_a_withdrawn_category(world):
    stands(world)
    world.revoke(category="explosion")
    org = world.write(directory.organisation, "Acme")
    stages, shown = world.write(explaining.explain, event_id("bluesky|1"), org, world.now)
    assert [stage.stage for stage in stages] == ["access"]
    assert not shown


def test_explain_speaks_of_no_post_without_the_capability_evidence(world):
    stands(world)
    world.revoke(capability="evidence")
    org = world.write(directory.organisation, "Acme")
    stages, _ = world.write(explaining.explain, "bluesky|1", org, world.now)
    assert [stage.stage for stage in stages] == ["access"]


def test_an_organisation_that_would_need_a_view_too_many_is_refused(world):
    for number in range(MAX_VIEWS - 1):
        world.org(f"Org {number}", "news", grant=f"p{number}")
    world.grant(sector="finance/insurance", provider="late")
    with pytest.raises(errors.TocsinError, match="provider set number 17"):
        world.org("One too many", "finance/insurance", grant=None)
    assert world.write(directory.find_organisation, "One too many") is None


def test_reinstating_what_would_need_a_view_too_many_is_refused(world):
    world.org("Dark", "news", grant="dark")
    effect = world.revoke(org="Dark")
    for number in range(MAX_VIEWS - 1):
        world.org(f"Org {number}", "news", grant=f"p{number}")

    with pytest.raises(errors.TocsinError, match="provider set number 17"):
        world.act(revoking.reinstate, effect.revocation, "back")


def test_an_edit_that_waited_still_brings_the_message_up_to_date(world):
    stands(world)
    world.record(alert("bluesky|1", revision=2, kind=Kind.UPDATE))
    world.now += timedelta(hours=25)
    assert [s.act for s in world.deliver_all()] == [Act.EDIT]


def test_an_export_is_audited_with_how_much_was_taken(world):
    stands(world)
    world.grant(org="Acme", capabilities=["alerts", "export"])
    taken = world.act(admin.export, "Acme", None)
    entry = world.write(lambda db: list(audit.entries(db)))[-1]
    assert (entry.action, entry.effect["alerts"]) == ("export", 1)
    assert len(taken) == 1
