"""After access has changed, nothing that a barred provider shaped stays standing: edited, or taken back."""

import asyncio
from datetime import time, timedelta

import pytest

from bot import admin, revoking
from bot.detection.detector import Detector
from bot.domain.access import OrganisationState, ProviderSet
from bot.domain.alert import Certainty, Kind, Level, Place, event_id
from bot.domain.delivery import Act, Rejected, Unavailable, Unknown
from bot.domain.quieting import EventMute, Quieting
from bot.pipeline import digesting, reconciling, recording
from bot.pipeline.detecting import Detecting
from bot.platforms.slack import render as slack
from bot.store import access, directory, messages
from tests.factories import NOW, make_alert
from tests.stories import GAZETTEER, judged, post
from tests.worlds import World

C1, BANK = "slack:T0123/C1", "slack:T0999/C9"
WIDE, NARROW = ProviderSet.parse("*"), ProviderSet.parse("*!x")
CALDER = Place(name="Port Calder", country="IE", lat=52.1, lon=-8.2, radius_km=8.0, confidence=0.7)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(C1)
    yield world
    world.close()


def alert(*keys, **fields):
    keys = keys or ("x|1", "bluesky|2")
    defaults = {
        "event": event_id(keys[0]), "evidence": keys, "quotes": keys,
        "sources": tuple(sorted({key.partition("|")[0] for key in keys})),
    }  # fmt: skip
    return make_alert(**defaults | fields)


LOUD = alert(
    level=Level.FLASH, certainty=Certainty.OBSERVED, authors=777777,
    headline="Refinery gone, forty dead at Hexham Point",
    place=Place(name="Hexham Point", country="IE", lat=51.0, lon=-9.0, radius_km=1.0, confidence=0.9),
)  # fmt: skip
QUIET = alert("bluesky|2", headline="Smoke reported near Port Calder", place=CALDER, authors=2, posts=2)


def delivered(world, *alerts, view=WIDE):
    steps = [
        world.candidate(key, text=f"words of {key}") for each in alerts for key in each.evidence
        if not world.write(lambda db, key=key: db.execute("SELECT 1 FROM posts WHERE post = ?", [key]).fetchone())
    ]  # fmt: skip
    world.record(*alerts, view=view, steps=steps)
    return [sent for sent in world.deliver_all() if str(sent.channel) == C1]


def known_to(world, view, *alerts):
    """A detector that was rebuilt for this View has said so."""
    world.write(recording.record_silently, view, alerts, world.now)


def reconcile(world):
    """What the service does when it is told what every View may see: how many acts were queued."""
    found = world.write(reconciling.overdue, world.now)
    return world.write(reconciling.reconcile, found.roots, world.now, world.write(access.changes, world.now))


def waits(world):
    return world.write(reconciling.overdue, world.now).waiting


def bar_in_terms(world, *sectors):
    world.act(admin.set_terms, provider="x", barred_sectors=sectors, barred_cells=[], quota=None, reason="its terms")


def acts(world):
    return [(sent.act, sent.message.alert and sent.message.alert.event) for sent in world.deliver_all()]


BARRED = pytest.mark.parametrize(
    "bar",
    [
        lambda world: world.revoke(provider="x"),
        lambda world: world.revoke(org="Acme", provider="x"),
        lambda world: world.act(
            admin.set_terms, provider="x", barred_sectors=["finance"], barred_cells=[], quota=None, reason="terms"
        ),
    ],
    ids=["provider", "organisation and provider", "terms"],
)


@BARRED
def test_message_is_edited_to_what_may_be_seen_and_nothing_of_the_barred_provider_is_left(world, bar):
    delivered(world, LOUD)
    bar(world)
    known_to(world, NARROW, QUIET)
    assert reconcile(world) == 1
    (edit,) = world.deliver_all()
    assert (edit.act, edit.message.alert) == (Act.EDIT, QUIET)
    shown = str(slack.render(edit)).casefold()
    for word in ("hexham", "refinery", "forty", "777777", "777,777", "flash", "words of x", "x|1"):
        assert word not in shown
    assert "smoke reported near port calder" in shown
    assert "words of bluesky|2" in shown


@BARRED
@pytest.mark.parametrize("known", [(), (alert("bluesky|2", kind=Kind.RETRACTION, revision=2),), (alert("usgs|7"),)])
def test_message_is_taken_back_where_nothing_may_be_seen_of_it(world, bar, known):
    (sent,) = delivered(world, LOUD)
    bar(world)
    known_to(world, NARROW, *known)
    assert reconcile(world) == 1
    (gone,) = world.deliver_all()
    assert (gone.act, gone.target_id) == (Act.RETRACT, f"ts-{sent.delivery}")


def test_doing_it_again_or_after_a_restart_queues_nothing(world):
    delivered(world, LOUD)
    delivered(world, alert("x|8"))
    world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    assert reconcile(world) == 2
    assert reconcile(world) == 0
    world.deliver_all()
    world.reopen()
    assert reconcile(world) == 0


def test_narrower_view_that_another_organisation_has_already_is_the_one_that_is_shown(world):
    world.org("First Bank", grant=None)
    world.act(admin.set_terms, provider="x", barred_sectors=["news"], barred_cells=[], quota=None, reason="terms")
    world.org("Globe", "news")
    world.channel(BANK, "Globe")
    delivered(world, LOUD)
    assert [str(each.channel) for each in delivered(world, QUIET, view=NARROW)] == []
    world.revoke(org="Acme", provider="x")
    assert reconcile(world) == 1
    assert [(str(each.channel), each.act, each.message.alert) for each in world.deliver_all()] == [
        (C1, Act.EDIT, QUIET)
    ]


def test_others_keep_what_they_may_see(world):
    world.org("Globe", "news")
    world.channel(BANK, "Globe")
    delivered(world, LOUD)
    world.revoke(org="Acme", provider="x")
    reconcile(world)
    assert {str(each.channel) for each in world.deliver_all()} == {C1}


@pytest.mark.parametrize(
    "fields", [{"category": "explosion"}, {"channel": C1}, {"capability": "evidence"}, {"provider": "x", "channel": C1},
               {"org": "Acme"}, {"sector": "finance"}],
)  # fmt: skip
def test_what_does_not_narrow_the_view_edits_and_takes_back_nothing(world, fields):
    delivered(world, LOUD)
    world.revoke(**fields)
    assert reconcile(world) == 0
    assert world.deliver_all() == []


def test_suspended_organisation_keeps_what_stands(world):
    delivered(world, LOUD)
    world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED)
    assert reconcile(world) == 0
    world.revoke(provider="x")
    assert reconcile(world) == 0
    world.act(admin.set_organisation_state, "Acme", OrganisationState.ACTIVE)
    assert reconcile(world) == 1


@pytest.mark.parametrize("known", [(), (QUIET,)])
def test_reinstating_edits_nothing_back_and_pours_nothing_out(world, known):
    delivered(world, LOUD)
    effect = world.revoke(provider="x")
    known_to(world, NARROW, *known)
    reconcile(world)
    world.deliver_all()
    world.act(revoking.reinstate, effect.revocation, "settled")
    assert reconcile(world) == 0
    assert world.deliver_all() == []


def test_what_is_new_after_reinstating_goes_on_in_the_message_that_stands(world):
    (sent,) = delivered(world, LOUD)
    effect = world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    reconcile(world)
    world.deliver_all()
    world.act(revoking.reinstate, effect.revocation, "settled")
    later = alert(revision=2, kind=Kind.UPDATE, change="more voices")
    found = delivered(world, later)
    assert [(each.act, each.root) for each in found] == [(Act.EDIT, sent.root), (Act.REPLY, sent.root)]


def test_acknowledged_message_stays_acknowledged(world):
    (sent,) = delivered(world, LOUD)
    world.write(messages.acknowledge, sent.root, "slack:T0123/U1", world.now)
    world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    reconcile(world)
    (edit,) = world.deliver_all()
    assert edit.message.acknowledged.by == "slack:T0123/U1"


def test_organisation_without_the_capability_evidence_is_shown_no_quotes_by_the_edit(world):
    delivered(world, LOUD)
    world.revoke(capability="evidence")
    world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    reconcile(world)
    (edit,) = world.deliver_all()
    assert (edit.message.quotes, edit.message.evidence) == ((), False)


def test_barred_category_of_what_may_be_seen_takes_the_message_back(world):
    """In the narrower View it is of a category that this channel may not have."""
    delivered(world, LOUD)
    world.revoke(category="fire")
    world.revoke(provider="x")
    known_to(world, NARROW, alert("bluesky|2", category="fire"))
    reconcile(world)
    assert [act for act, _ in acts(world)] == [Act.RETRACT]


# ---- what is not simply there


def test_message_in_flight_at_the_fence_is_edited_once_it_has_arrived(world):
    world.record(LOUD, view=WIDE)
    (sending,) = world.claim()
    effect = world.revoke(provider="x")
    assert effect.in_flight == [sending.delivery]
    known_to(world, NARROW, QUIET)
    assert waits(world)
    assert reconcile(world) == 0
    world.settle(sending)
    assert not waits(world)
    assert reconcile(world) == 1
    assert acts(world) == [(Act.EDIT, QUIET.event)]


def test_message_of_which_nobody_knows_whether_it_arrived_is_looked_for_and_taken_back(world):
    world.record(LOUD, view=WIDE)
    (sending,) = world.claim()
    world.revoke(provider="x")
    world.settle(sending, Unknown(reason="reset"))
    assert waits(world)
    world.wait(seconds=2)
    assert world.claim() == []  # withheld
    assert not waits(world)
    assert reconcile(world) == 1
    (gone,) = world.deliver_all()
    assert (gone.act, gone.root, gone.target_id) == (Act.RETRACT, sending.delivery, None)
    assert gone.root_at == NOW
    assert reconcile(world) == 0


def test_message_that_never_left_is_not_looked_for(world):
    world.record(LOUD, view=WIDE)
    world.revoke(provider="x")
    assert reconcile(world) == 0


def test_edit_that_was_in_flight_at_the_fence_is_edited_away(world):
    delivered(world, QUIET)
    world.record(alert("bluesky|2", "x|1", revision=2, kind=Kind.UPDATE, change="louder"), view=WIDE)
    (sending,) = world.claim()
    assert sending.act is Act.EDIT
    world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    assert reconcile(world) == 1
    world.settle(sending)
    assert acts(world) == [(Act.EDIT, QUIET.event)]
    assert reconcile(world) == 0


def test_edit_that_the_platform_refused_leaves_the_message_to_be_dealt_with(world):
    """What stands is what was there before it."""
    delivered(world, LOUD)
    world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    reconcile(world)
    (edit,) = world.claim()
    world.settle(edit, Rejected(reason="edit_window_closed", remedy="none"))
    assert reconcile(world) == 1
    again = world.deliver_all()
    assert [each.act for each in again] == [Act.EDIT]


def test_edit_that_still_waits_and_is_permitted_is_enough(world):
    delivered(world, LOUD)
    world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    reconcile(world)
    (edit,) = world.claim()
    world.settle(edit, Unavailable(reason="503"))
    assert reconcile(world) == 0


def test_thread_that_told_of_the_barred_providers_posts_goes_with_its_message(world):
    (first,) = delivered(world, QUIET)
    louder = alert("bluesky|2", "x|1", revision=2, kind=Kind.UPDATE, change="forty dead, says x", level=Level.FLASH)
    assert [each.act for each in delivered(world, louder)] == [Act.EDIT, Act.REPLY]
    world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    reconcile(world)
    sent = world.deliver_all()
    assert [(each.act, each.message.alert) for each in sent] == [(Act.RETRACT, None), (Act.POST, QUIET)]
    assert sent[0].target_id == f"ts-{first.delivery}"
    assert reconcile(world) == 0


def test_thread_that_told_of_nothing_barred_stays(world):
    bar_in_terms(world, "finance")
    (first,) = delivered(world, QUIET, view=NARROW)
    more = alert("bluesky|2", revision=2, kind=Kind.UPDATE, change="more voices")
    assert [each.act for each in delivered(world, more, view=NARROW)] == [Act.EDIT, Act.REPLY]
    bar_in_terms(world)
    world.write(messages.mute, first.root, EventMute(by="U1", until=world.now + timedelta(hours=1)))
    louder = alert("bluesky|2", "x|1", revision=3, kind=Kind.UPDATE, change="forty dead, says x")
    assert [each.act for each in delivered(world, louder)] == [Act.EDIT]
    world.revoke(provider="x")
    assert reconcile(world) == 1
    (edit,) = world.deliver_all()
    assert (edit.act, edit.message.alert) == (Act.EDIT, more)


def test_message_in_a_lost_channel_waits_for_it(world):
    delivered(world, LOUD)
    world.write(admin.record_loss, world.now, C1, "the bot was removed")
    world.revoke(provider="x")
    known_to(world, NARROW, QUIET)
    assert reconcile(world) == 1
    assert world.claim() == []
    world.write(admin.record_return, world.now, C1)
    assert acts(world) == [(Act.EDIT, QUIET.event)]


# ---- digests


def digested(world, *alerts):
    """One digest of alerts, each with the View that it came of."""
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(digest=(time(17, 30),))))
    for view, each in alerts:
        bar_in_terms(world, *(["finance"] if view == NARROW else []))
        world.record(each, view=view)
    world.now = world.now.replace(hour=17, minute=30)
    world.write(digesting.release, world.now)
    (sent,) = world.deliver_all()
    assert len(sent.message.items) == len(alerts)
    return sent


BARRED_ITEM, OTHER, THIRD = alert("x|1"), alert("bluesky|9", category="flood"), alert("bluesky|4", category="fire")


@pytest.mark.parametrize("lost", [False, True])
def test_digest_is_taken_back_and_another_one_tells_of_the_rest(world, lost):
    sent = digested(world, (NARROW, OTHER), (NARROW, THIRD), (WIDE, BARRED_ITEM))
    bar_in_terms(world)
    if lost:
        world.write(admin.record_loss, world.now, C1, "the bot was removed")
    world.revoke(provider="x")
    assert reconcile(world) == 2
    if lost:
        assert world.claim() == []
        world.write(admin.record_return, world.now, C1)
    gone, again = world.deliver_all()
    assert (gone.act, gone.target_id) == (Act.RETRACT, f"ts-{sent.delivery}")
    assert again.act is Act.DIGEST
    assert {item.event for item in again.message.items} == {OTHER.event, THIRD.event}
    assert reconcile(world) == 0


def test_digest_is_taken_back_with_what_its_view_told_in_its_thread(world):
    sent = digested(world, (NARROW, OTHER), (NARROW, THIRD))
    bar_in_terms(world)
    louder = alert("bluesky|9", "x|1", revision=2, kind=Kind.UPDATE, change="forty dead, says x", category="flood")
    assert [(each.act, each.root) for each in delivered(world, louder)] == [(Act.REPLY, sent.delivery)]
    world.revoke(provider="x")
    reconcile(world)
    assert [each.act for each in world.deliver_all()] == [Act.RETRACT, Act.DIGEST]


def test_digest_of_nothing_that_may_still_be_told_is_taken_back(world):
    digested(world, (WIDE, BARRED_ITEM), (WIDE, alert("x|2")))
    world.revoke(provider="x")
    reconcile(world)
    assert [each.act for each in world.deliver_all()] == [Act.RETRACT]


def test_digest_of_nothing_that_is_barred_stands(world):
    digested(world, (NARROW, OTHER), (NARROW, THIRD))
    world.revoke(provider="x")
    assert reconcile(world) == 0


# ---- when it has to be done


def test_access_that_changes_meanwhile_is_waited_for(world):
    """The View of the newest revocation has no detector yet: what it may see is not known."""
    delivered(world, LOUD)

    before = world.write(access.changes, world.now)
    world.revoke(provider="x")
    found = world.write(reconciling.overdue, world.now)
    assert len(found.roots) == 1
    assert world.write(reconciling.reconcile, found.roots, world.now, before) is None
    assert world.deliver_all() == []


@pytest.mark.parametrize("how", ["a revocation that begins later", "a revocation that ends", "a grant that ends"])
def test_what_is_permitted_changes_with_the_time_too(world, how):
    start = world.write(access.changes, world.now)
    if how == "a revocation that begins later":
        world.revoke(provider="x", from_at=world.now + timedelta(hours=1))
    elif how == "a revocation that ends":
        world.revoke(provider="x", until=world.now + timedelta(hours=1))
    else:
        world.grant(org="Acme", until=world.now + timedelta(hours=1))
    made = world.write(access.changes, world.now)
    assert made != start
    assert world.write(access.changes, world.now + timedelta(minutes=59)) == made
    assert world.write(access.changes, world.now + timedelta(hours=1)) != made


def test_revocation_that_begins_later_edits_when_it_begins(world):
    delivered(world, LOUD)
    world.revoke(provider="x", from_at=world.now + timedelta(hours=1))
    known_to(world, NARROW, QUIET)
    assert reconcile(world) == 0
    world.wait(hours=1)
    assert reconcile(world) == 1
    assert acts(world) == [(Act.EDIT, QUIET.event)]


def test_service_does_it_by_itself_after_a_start_and_after_a_change(world):
    """A real detector, which is told of two providers' posts."""

    async def story():
        detecting = Detecting(
            world.database, lambda view: Detector(view=view, gazetteer=GAZETTEER), now=lambda: world.now
        )
        await detecting.start()
        texts = [
            "What was that bang? Whole house shook, huge explosion by the harbour in Port Calder",
            "massive blast at Port Calder just now, windows blown in all along our road",
            "Enormous boom at the docks in Port Calder, Ireland. Ball of fire, then black smoke",
            "Just heard and felt a gigantic explosion from the container terminal, Port Calder",
            "Car alarms everywhere, something has blown up in Port Calder",
            "From the hill I can see flames over Port Calder quay",
        ]
        providers = ["x", "x", "bluesky", "bluesky", "bluesky", "bluesky"]
        for number, (text, provider) in enumerate(zip(texts, providers, strict=True)):
            world.wait(seconds=20)
            at = (world.now - NOW).total_seconds()
            found = post(at, text, provider, id=f"{number}")
            await detecting.take([judged(found, at, topic=1, place="Port Calder")])
        return detecting

    asyncio.run(story())
    world.deliver_all()
    assert world.rows(act="post", state="sent")
    world.revoke(org="Acme", provider="x")

    async def start():
        await Detecting(
            world.database, lambda view: Detector(view=view, gazetteer=GAZETTEER), now=lambda: world.now
        ).start()

    asyncio.run(start())
    sent = world.deliver_all()
    assert {each.act for each in sent} <= {Act.EDIT, Act.RETRACT, Act.POST}
    assert sent
    for each in sent:
        assert each.act is Act.RETRACT or "x" not in each.message.alert.sources
    asyncio.run(start())
    assert world.deliver_all() == []
