import asyncio

import pytest

from bot.detection import candidates
from bot.detection.detector import Detector
from bot.domain.access import EVERYTHING
from bot.domain.alert import event_id
from bot.pipeline import explaining
from bot.pipeline.detecting import Detecting
from bot.pipeline.tracing import Watch
from bot.store import directory
from classifiers.api import Screening
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


AT = {"topic": 1, "place": "Port Calder"}


def played(world, watch=None):
    """Three voices, a repost and a post about something else, through detecting."""
    told = [stories.judged(stories.post(10 * n, text), 10 * n, **AT) for n, text in enumerate(TOLD)]
    told.append(stories.judged(stories.post(40, TOLD[0], repost_of="p0"), 40, **AT))
    told.append(stories.judged(stories.post(50, "a barn burns near Dunmere", "x"), 50, topic=9, category="fire"))
    detect(world, told, watch)


def detect(world, told, watch=None):
    async def detecting():
        running = Detecting(
            world.database, make_detector, now=lambda: world.now,
            on_taken=None if watch is None else lambda judged: watch.note(judged, running.explain),
        )  # fmt: skip
        await running.start()
        await running.take(told)

    asyncio.run(detecting())


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
    detect(world, [stories.deletion(60, "bluesky", "p0")])
    found = explain_fully(world, event)
    assert found["detected"].verdict == "yes: the event is live, alert"
    assert found["detected"].figures["live"]["voices"] == 2
    assert explain_fully(world, "p20")["detected"].figures["event"] == event


# what other posts say beside one's own


def mixed(world, watch=None):
    """An event of two providers, of which the organisation may then have one only, of this category."""
    told = [stories.judged(stories.post(10 * n, text, "x" if n else "bluesky"), 10 * n, **AT)
            for n, text in enumerate(TOLD)]  # fmt: skip
    detect(world, told, watch)
    world.revoke(org="Acme", provider="x", category="explosion")
    assert world.view().key == "*"


def said(stages):
    return " ".join(f"{each.verdict} {each.figures}" for each in stages)


def test_nothing_is_said_of_an_event_that_rests_on_posts_which_the_organisation_may_not_have(world):
    mixed(world)
    found = directory.organisation(world.database._reader, "Acme")
    stages, shown = world.write(explaining.explain, "p0", found, world.now, make_detector)
    assert [each.stage for each in stages] == ["classified", "access"]
    assert stages[-1].verdict == "no: access of Acme is withdrawn: the provider asked"
    assert event_id("bluesky|p0") not in said(stages)
    assert not shown


def test_an_event_is_not_explained_by_posts_that_came_after_its_last_revision_and_may_not_be_had(world):
    told = [stories.judged(stories.post(10 * n, text), 10 * n, **AT) for n, text in enumerate(TOLD)]
    later = stories.post(40, "Our windows shook from the explosion in Port Calder", "x")
    detect(world, [*told, stories.judged(later, 40, **AT)])
    event = event_id("bluesky|p0")
    assert explain_fully(world, event)["detected"].figures["live"]["voices"] == 4
    world.revoke(org="Acme", provider="x", category="explosion")
    found = explain_fully(world, event)
    assert found["assessed"].figures["voices"] < 4
    assert "detected" not in found
    assert found["access"].verdict.startswith("no: ")
    assert list(explain_fully(world, "p0"))[:2] == ["classified", "access"]


def traced(world, watch):
    """What a replay says at its end."""
    found = directory.organisation(world.database._reader, "Acme")
    reader = world.write(explaining.reader, found, world.now)
    (trace,) = watch.traces(lambda text: Screening(score=1.0, threshold=0.5, passed=True), reader)
    return trace.stages


def test_a_replay_says_nothing_of_an_event_that_rests_on_posts_which_may_not_be_had(world):
    watch = Watch(["p0"], world.view())
    mixed(world, watch)
    stages = traced(world, watch)
    assert [each.stage for each in stages] == ["screened", "classified", "access"]
    assert event_id("bluesky|p0") not in said(stages)


@pytest.mark.parametrize("provider", ["x", "bluesky"])
def test_a_replay_says_nothing_once_the_providers_of_the_organisation_have_changed(world, provider):
    watch = Watch(["p0"], world.view())
    played(world, watch)
    assert [each.stage for each in traced(world, watch)] == ["screened", "classified", "detected", "assessed"]
    world.revoke(org="Acme", provider=provider)
    (stage,) = traced(world, watch)
    assert stage.stage == "access"
    assert stage.verdict.startswith("no: the providers that Acme may receive from changed during this replay")


def test_what_was_said_of_posts_that_are_forgotten_is_said_no_more():
    detector = make_detector(EVERYTHING)
    told = [stories.judged(stories.post(10 * n, text), 10 * n, **AT) for n, text in enumerate(TOLD)]
    for seq, each in enumerate(told):
        detector.add(candidates.make(each.arrival.item, each.classification, seq=seq, stream_at=each.arrival.at))
    assert detector.explain("bluesky|p10")["similarity"] > 0.5
    far = stories.judged(stories.post(9 * 86400, "a barn burns near Dunmere"), 9 * 86400, topic=9)
    detector.add(candidates.make(far.arrival.item, far.classification, seq=9, stream_at=far.arrival.at))
    assert detector.explain("bluesky|p10") == {"event": None, "level": None, "independent": True, "joined": True,
                                               "why": "an independent voice"}  # fmt: skip
