"""A full offboarding: fence, park, retract, notify, and only then let go of the token."""

import pytest

from bot import admin, revoking
from bot.domain.alert import event_id
from bot.domain.delivery import Act, Rejected, Scope, Unavailable
from bot.pipeline import expiring
from bot.store import installations, offboarding
from tests.factories import make_alert
from tests.worlds import World

C1, C2, DISCORD = "slack:T0123/C1", "slack:T0123/C2", "discord:100/1"
WORKSPACE = "slack:T0123"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(C1)
    world.channel(C2)
    install(world)
    yield world
    world.close()


def install(world, workspace=WORKSPACE):
    made = installations.Installation(
        workspace=workspace, name="Acme", bot_token="xoxb-invented", bot_user="U1", app_id="A1",
        scopes=("chat:write",), installed_by=f"{workspace}/U9", installed_at=world.now,
    )  # fmt: skip
    world.write(installations.save, made)


def alert(number=1):
    key = f"bluesky|{number}"
    return make_alert(event=event_id(key), evidence=(key,), quotes=(key,))


def tend(world):
    """What delivering does every two seconds."""
    world.wait(seconds=2)
    if world.write(expiring.due, world.now):
        world.write(expiring.let_go, world.now)


def has_token(world, workspace=WORKSPACE):
    return world.write(installations.find, workspace) is not None


def dropped(world):
    return [(entry.target, entry.effect["dropped"], entry.effect["why"]) for entry in world.audit()
            if entry.action == "credentials-dropped"]  # fmt: skip


def offboard(world, **fields):
    usual = {"org": "Acme", "retract": True, "notice": "Please call us.", "drop_credentials": True}
    return world.revoke(**usual | fields)


def test_token_goes_only_after_the_last_retraction_and_notice(world):
    world.record(alert())
    world.deliver_all()
    effect = offboard(world)
    assert (effect.dropping, effect.retracting, effect.notices) == ([WORKSPACE], 2, 2)
    acts = []
    while claimed := world.claim():
        for sending in claimed:
            tend(world)
            assert has_token(world)
            acts.append(sending.act)
            world.settle(sending)
    assert sorted(acts[:2]) == [Act.RETRACT] * 2
    assert acts[2:] == [Act.NOTICE] * 2
    tend(world)
    assert not has_token(world)
    assert dropped(world) == [(WORKSPACE, True, "")]
    tend(world)
    assert len(dropped(world)) == 1


def test_token_goes_where_retractions_and_notices_have_failed_for_good(world):
    world.record(alert())
    world.deliver_all()
    effect = offboard(world)
    while claimed := world.claim():
        for sending in claimed:
            world.settle(sending, Rejected(reason="cant_delete_message", remedy="delete it by hand"))
    tend(world)
    assert not has_token(world)
    assert {row["state"] for row in world.rows() if row["act"] != "post"} == {"rejected"}
    assert effect.retracting == 2


def test_token_waits_while_anything_is_tried_again(world):
    offboard(world)
    (first, second) = world.claim()
    world.settle(first)
    world.settle(second, Unavailable(reason="503"))
    tend(world)
    assert has_token(world)


def test_token_does_not_wait_for_a_channel_out_of_reach(world):
    world.record(alert())
    world.deliver_all()
    offboard(world)
    while claimed := world.claim():
        for sending in claimed:
            world.settle(sending, Rejected(reason="account_inactive", remedy="install again", scope=Scope.WORKSPACE))
    tend(world)
    assert not has_token(world)


def test_what_still_waited_for_the_organisation_goes_nowhere(world):
    world.record(alert())
    offboard(world)
    world.deliver_all()
    tend(world)
    world.record(alert(2), view=world.view())
    assert world.deliver_all() == []


@pytest.mark.parametrize("channel", [DISCORD, "slack:T0777/C1"])
def test_token_that_is_not_in_the_store_cannot_be_let_go_of_and_that_is_on_record(world, channel):
    """Discord, and Slack by Socket Mode: the token is in the configuration."""
    world.org("Globe", "news")
    world.channel(channel, "Globe")
    effect = offboard(world, org="Globe")
    world.deliver_all(channel.partition(":")[0])
    tend(world)
    ((workspace, done, why),) = dropped(world)
    assert [workspace] == effect.dropping
    assert done is False
    assert "configuration" in why
    assert has_token(world)


def test_workspace_whose_token_could_not_go_is_in_reach_when_it_is_reinstated(world):
    world.org("Globe", "news")
    world.channel(DISCORD, "Globe")
    effect = offboard(world, org="Globe")
    world.deliver_all("discord")
    tend(world)
    world.act(revoking.reinstate, effect.revocation, "settled")
    world.record(alert(5))
    assert [each.act for each in world.deliver_all("discord")] == [Act.POST]


def test_reinstated_meanwhile_it_keeps_its_token(world):
    effect = offboard(world)
    world.act(revoking.reinstate, effect.revocation, "settled")
    world.deliver_all()
    tend(world)
    assert has_token(world)
    assert dropped(world) == []


def test_reinstating_another_revocation_does_not_stop_it(world):
    other = world.revoke(org="Acme", category="flood")
    offboard(world)
    world.act(revoking.reinstate, other.revocation, "settled")
    world.deliver_all()
    tend(world)
    assert not has_token(world)


@pytest.mark.parametrize("fields", [{"org": None, "workspace": WORKSPACE}, {"org": None, "sector": "finance"}])
def test_workspaces_and_sectors_can_be_let_go_of_too(world, fields):
    world.org("Globe", "news")
    world.channel("slack:T0777/C1", "Globe")
    install(world, "slack:T0777")
    effect = offboard(world, **fields)
    assert effect.dropping == [WORKSPACE]
    world.deliver_all()
    tend(world)
    assert not has_token(world)
    assert has_token(world, "slack:T0777")


def test_organisations_other_workspace_keeps_its_token_until_its_own_messages_are_out(world):
    world.channel("slack:T0555/C1")
    install(world, "slack:T0555")
    offboard(world)
    for sending in world.claim():
        if str(sending.channel).startswith("slack:T0555/"):
            world.settle(sending)
    tend(world)
    assert (has_token(world, "slack:T0555"), has_token(world)) == (False, True)


def test_store_knows_what_is_still_to_be_done_after_a_restart(world):
    offboard(world)
    world.reopen()
    world.deliver_all()
    assert [row["workspace"] for row in world.write(offboarding.ready, world.now)] == [WORKSPACE]


def test_installing_again_after_it_is_reinstated_brings_it_back(world):
    effect = offboard(world)
    world.deliver_all()
    tend(world)
    world.act(revoking.reinstate, effect.revocation, "settled")
    install(world)
    world.write(admin.record_return, world.now, WORKSPACE)
    world.record(alert(7))
    assert {str(each.channel) for each in world.deliver_all()} == {C1, C2}
