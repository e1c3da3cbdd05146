"""Grants that end by themselves: on record, told once, and told apart from what somebody took away."""

from datetime import timedelta

import pytest

from bot import admin
from bot.domain import access as rules
from bot.domain.access import OrganisationState
from bot.domain.alert import event_id
from bot.domain.delivery import Act
from bot.pipeline import expiring
from bot.store import access, directory
from tests.factories import NOW, make_alert, make_subscription
from tests.worlds import World

C1, UNUSED = "slack:T0123/C1", "slack:T0123/C2"
PILOT = NOW + timedelta(days=14)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org(grant=None)
    subscribed(world, C1)
    world.channel(UNUSED, subscribed=False)
    yield world
    world.close()


def subscribed(world, channel, org="Acme"):
    """As it was before anything ended."""
    world.channel(channel, org, subscribed=False)
    wanted = make_subscription(channel=channel, subscription=f"s-{channel}")
    world.write(directory.add_subscription, wanted, at=world.now, author="Ada")


def alert(number=1):
    key = f"bluesky|{number}"
    return make_alert(event=event_id(key), evidence=(key,), quotes=(key,))


def pass_time(world, **span):
    world.wait(**span)
    due = world.write(expiring.due, world.now)
    world.write(expiring.expire, world.now)
    return due


def notices(world):
    return [each.message.text for each in world.deliver_all() if each.act is Act.NOTICE]


def ended(world):
    return [entry for entry in world.audit() if entry.action == "grant-expired"]


def test_pilot_ends_by_itself_is_told_once_and_stands_in_the_audit(world):
    grant = world.grant(org="Acme", until=PILOT)
    world.record(alert())
    assert pass_time(world, days=13) is False
    assert ended(world) == []
    assert pass_time(world, days=1) is True
    (entry,) = ended(world)
    assert (entry.target, entry.reason, entry.actor) == (grant.grant, "contract", "tocsin")
    org = world.write(directory.organisation, "Acme")
    assert (entry.effect["touched"], entry.effect["withheld"]) == ([org.org], 1)
    assert notices(world) == [
        "ACCESS ENDED: the time for which access was granted is over. Whoever runs this service can say more."
    ]
    assert pass_time(world, days=1) is False
    assert notices(world) == []
    assert len(ended(world)) == 1


def test_rows_say_that_it_expired_not_that_it_was_withdrawn_or_suspended(world):
    grant = world.grant(org="Acme", until=PILOT)
    world.record(alert(1))
    world.now = PILOT - timedelta(hours=1)
    world.record(alert(2))
    pass_time(world, hours=1)
    assert world.rows(act="post")[0]["reason"] == (
        f"expired {grant.grant}: the grant of Acme for alerts from bluesky has expired"
    )
    world.grant(org="Acme")
    world.record(alert(3))
    revoked = world.revoke(org="Acme", reason="clause 7")
    assert world.rows(act="post")[-1]["reason"] == (
        f"revocation {revoked.revocation}: access of Acme is withdrawn: clause 7"
    )
    world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED)
    org = world.write(directory.organisation, "Acme")
    decision = rules.decide(world.write(access.policy), rules.Request(org=org, at=world.now))
    assert (decision.rule, decision.why) == ("suspended", "Acme is suspended")


def test_nobody_is_told_where_another_grant_goes_on(world):
    world.grant(org="Acme", until=PILOT)
    world.grant(sector="finance", provider="*")
    world.record(alert())
    pass_time(world, days=15)
    assert ended(world)[0].effect["touched"] == []
    assert notices(world) == []


def test_end_of_one_provider_says_which(world):
    world.grant(org="Acme", provider="x", until=PILOT)
    world.grant(org="Acme", provider="usgs")
    pass_time(world, days=15)
    assert notices(world) == [
        "ACCESS ENDED: the time for which access to posts from x was granted is over. "
        "Whoever runs this service can say more."
    ]


def test_grants_that_end_together_are_told_together(world):
    for provider in ("x", "bluesky"):
        world.grant(org="Acme", provider=provider, until=PILOT)
    pass_time(world, days=15)
    assert len(notices(world)) == 1
    assert len(ended(world)) == 2


def test_end_of_everything_is_no_news_to_whoever_keeps_a_provider(world):
    world.grant(org="Acme", until=PILOT)
    world.grant(org="Acme", provider="usgs")
    pass_time(world, days=15)
    assert notices(world) == []


@pytest.mark.parametrize("how", ["revoked in silence", "suspended", "barred by terms", "of another capability"])
def test_whoever_had_nothing_any_more_is_not_told_that_it_ended(world, how):
    capabilities = ["export"] if how == "of another capability" else []
    world.grant(org="Acme", provider="x", until=PILOT, capabilities=capabilities)
    if how == "revoked in silence":
        world.revoke(org="Acme")
    elif how == "suspended":
        world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED)
    elif how == "barred by terms":
        world.act(
            admin.set_terms, provider="x", barred_sectors=["finance"], barred_cells=[], quota=None, reason="terms"
        )
    pass_time(world, days=15)
    assert notices(world) == []
    assert len(ended(world)) == 1


def test_sectors_grant_ends_for_everybody_in_it_and_for_nobody_else(world):
    world.grant(sector="finance", until=PILOT)
    world.org("Fund", "finance/trading", grant=None)
    subscribed(world, "discord:100/1", "Fund")
    world.org("Globe", "news")
    world.channel("discord:200/1", "Globe")
    pass_time(world, days=15)
    told = {row["channel"] for row in world.rows(act="notice")}
    assert told == {C1, "discord:100/1"}


def test_what_is_in_flight_at_the_end_is_listed_and_not_tried_again(world):
    world.grant(org="Acme", until=NOW + timedelta(hours=1))
    world.record(alert())
    (sending,) = world.claim()
    pass_time(world, hours=2)
    assert ended(world)[0].effect["in_flight"] == [sending.delivery]


def test_end_while_the_service_was_down_is_noticed_at_the_next_start(world):
    world.grant(org="Acme", until=PILOT)
    world.wait(days=40)
    world.reopen()
    assert world.write(expiring.due, world.now) is True
    pass_time(world)
    assert len(notices(world)) == 1


def test_decide_does_not_wait_for_anybody_to_notice(world):
    world.grant(org="Acme", until=PILOT)
    world.record(alert())
    world.wait(days=14)
    assert world.claim() == []
    assert world.rows()[0]["state"] in ("withheld", "failed")


def test_policys_version_rises_so_that_messages_are_looked_through(world):
    world.grant(org="Acme", until=PILOT)
    before = world.write(access.version)
    pass_time(world, days=15)
    assert world.write(access.version) == before + 1


def test_renewed_before_it_ends_it_ends_for_nobody(world):
    world.grant(org="Acme", until=PILOT)
    world.wait(days=13)
    world.grant(org="Acme")
    pass_time(world, days=2)
    world.record(alert())
    assert [each.act for each in world.deliver_all()] == [Act.POST]
