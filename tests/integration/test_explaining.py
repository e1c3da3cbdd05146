import asyncio

import pytest

from bot.detection.detector import Detector
from bot.domain.alert import event_id
from bot.pipeline import explaining
from bot.pipeline.detecting import Detecting
from bot.store import directory
from tests import stories
from tests.factories import make_alert
from tests.worlds import World

CHANNEL = "slack:T0123/C0456"
ALERT = make_alert(event=event_id("bluesky|1"), evidence=("bluesky|1",), quotes=("bluesky|1",))


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    yield world
    world.close()


def explain(world, what, org="Acme"):
    stages, shown = world.write(lambda db: explaining.explain(db, what, directory.organisation(db, org), world.now))
    return {each.stage: each.verdict for each in stages}, shown


def recorded(world):
    world.record(ALERT, steps=[world.candidate("bluesky|1")])


@pytest.mark.parametrize("what", [ALERT.id, ALERT.event, "1", "bluesky|1"])
def test_what_was_delivered_is_shown_stage_by_stage(world, what):
    world.channel(CHANNEL)
    recorded(world)
    world.deliver_all()
    stages, shown = explain(world, what)
    assert shown
    assert stages["assessed"] == "yes: new at level alert"
    assert stages["access"] == "yes: granted"
    assert stages["subscribed"].startswith("yes: anywhere")
    assert stages["delivered"] == f"yes: post {ALERT.id} is sent"
    assert ("classified" in stages) is (what in ("1", "bluesky|1"))


def test_queued_is_not_shown_yet(world):
    world.channel(CHANNEL)
    recorded(world)
    stages, shown = explain(world, ALERT.id)
    assert (stages["delivered"], shown) == (f"no: post {ALERT.id} is queued", False)


def test_withheld_says_which_rule(world):
    world.channel(CHANNEL)
    recorded(world)
    world.revoke(channel=CHANNEL)
    stages, shown = explain(world, ALERT.id)
    assert stages["access"] == "no: access of Acme is withdrawn: the provider asked"
    assert "is withheld: revocation r" in stages["delivered"]
    assert not shown


def test_what_is_not_subscribed_says_why(world):
    world.channel(CHANNEL, subscribed=False)
    recorded(world)
    assert explain(world, ALERT.id)[0]["subscribed"] == "no: the channel has no subscription"


def test_organisation_without_a_channel(world):
    recorded(world)
    assert explain(world, ALERT.id)[0]["subscribed"] == "no: Acme has no channel"


@pytest.mark.parametrize("what", ["bluesky|1", ALERT.id, "no such thing"])
def test_barred_organisation_hears_that_it_is_barred_and_nothing_else(world, what):
    world.org("Bank", grant=None)
    recorded(world)
    stages, shown = explain(world, what, "Bank")
    assert list(stages) == ["access"]
    assert stages["access"].startswith("no: Bank has no grant for alerts")
    assert not shown


def test_post_of_a_barred_provider_is_not_spoken_of(world):
    recorded(world)
    world.revoke(org="Acme", provider="bluesky")
    stages, _ = explain(world, "bluesky|1")
    assert list(stages) == ["access"]
    assert list(explain(world, ALERT.id)[0]) == ["stored"]


def test_post_that_is_not_evidence_yet(world):
    world.record(steps=[world.candidate("bluesky|7")])
    stages, _ = explain(world, "bluesky|7")
    assert stages["classified"] == "yes: taken for a report of explosion"
    assert stages["evidence"].startswith("no: ")


def test_unknown_thing(world):
    stages, shown = explain(world, "nothing")
    assert stages["stored"].startswith("no: nothing is neither")
    assert not shown


# with a detector that is rebuilt from the store

TOLD = (
    "Huge explosion at the harbour in Port Calder",
    "massive blast in Port Calder just now, windows blown in",
    "Something has blown up in Port Calder, black smoke over the docks",
)


def make_detector(view):
    return Detector(view, stories.GAZETTEER)


def played(world):
    """Three voices, a repost and a post about something else, through detecting."""
    at = {"topic": 1, "place": "Port Calder"}
    told = [stories.judged(stories.post(10 * n, text), 10 * n, **at) for n, text in enumerate(TOLD)]
    told.append(stories.judged(stories.post(40, TOLD[0], repost_of="p0"), 40, **at))
    told.append(stories.judged(stories.post(50, "a barn burns near Dunmere", "x"), 50, topic=9, category="fire"))

    async def playing():
        detecting = Detecting(world.database, make_detector, now=lambda: world.now)
        await detecting.start()
        await detecting.take(told)

    asyncio.run(playing())


def explain_fully(world, what, org="Acme"):
    found = directory.organisation(world.database._reader, org)
    stages, _ = world.write(explaining.explain, what, found, world.now, make_detector)
    return {each.stage: each for each in stages}


def test_rebuilt_detector_says_which_post_is_a_voice_and_which_is_not(world):
    played(world)
    voice, repost = (explain_fully(world, what)["detected"] for what in ("p10", "p40"))
    (event,) = {each.figures["event"] for each in (voice, repost)}
    assert voice.verdict == f"yes: an independent voice of event {event}"
    assert repost.verdict == "no: it is a repost"
    assert repost.figures["place"] == "same place"
    assert repost.figures["similarity"] > 0.5
    assert repost.figures["live"]["voices"] == 3


def test_rebuilt_detector_says_of_a_post_of_no_event_how_far_it_is_from_one(world):
    played(world)
    alone = explain_fully(world, "p50")
    assert alone["detected"].verdict == "yes: an independent voice of posts that are no event"
    assert alone["detected"].figures["live"]["voices"] == 1
    assert "assessed" not in alone


def test_event_is_live_until_it_is_too_long_ago(world):
    played(world)
    event = explain_fully(world, "p0")["detected"].figures["event"]
    assert explain_fully(world, event)["detected"].verdict == "yes: the event is live, alert"
    world.wait(hours=25)
    assert explain_fully(world, event)["detected"].verdict == "no: the event takes no more posts"
    assert explain_fully(world, "p0")["detected"].verdict == "no: the detector does not know it, or no longer"


def test_no_detector_is_asked_about_what_the_organisation_may_not_have(world):
    played(world)
    world.org("Bank", grant=None)
    world.revoke(org="Acme", provider="x")

    def never(view):
        raise AssertionError(view)

    for org, what in (("Bank", "p0"), ("Acme", "p50"), ("Bank", "no such thing")):
        found = directory.organisation(world.database._reader, org)
        stages, shown = world.write(explaining.explain, what, found, world.now, never)
        assert [each.stage for each in stages] == ["access"]
        assert not shown


def test_event_is_explained_as_it_is_after_its_first_post_was_deleted(world):
    played(world)
    event = explain_fully(world, "p10")["detected"].figures["event"]

    async def taken():
        detecting = Detecting(world.database, make_detector, now=lambda: world.now)
        await detecting.start()
        await detecting.take([stories.deletion(60, "bluesky", "p0")])

    asyncio.run(taken())
    found = explain_fully(world, event)
    assert found["detected"].verdict == "yes: the event is live, alert"
    assert found["detected"].figures["live"]["voices"] == 2
    assert explain_fully(world, "p20")["detected"].figures["event"] == event
