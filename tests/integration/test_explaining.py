import pytest

from bot.domain.alert import event_id
from bot.pipeline import explaining
from bot.store import directory
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
