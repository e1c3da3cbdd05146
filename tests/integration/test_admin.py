import json
from datetime import timedelta

import pytest

from bot import admin, proving, revoking
from bot.admin import Actor
from bot.domain import audit as chain
from bot.domain import channel as channels
from bot.domain import errors
from bot.domain.access import Capability, OrganisationState
from bot.domain.alert import Kind, event_id
from bot.domain.delivery import Act, Unknown
from bot.store import access, deliveries, directory
from tests.factories import make_alert, make_subscription
from tests.worlds import OPERATOR, STRANGER, World

ACME, BANK = "slack:T0123/C0456", "slack:T9/C9"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    yield world
    world.close()


@pytest.fixture
def both(world):
    """Two organisations with a channel each; both may have everything."""
    world.org("Acme", "government/intelligence")
    world.org("Bank", "finance/bank")
    world.channel(ACME, "Acme")
    world.channel(BANK, "Bank")
    return world


def alert(number=1, **fields):
    key = f"bluesky|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,)} | fields)


def last(world):
    entry = world.audit()[-1]
    return entry.action, entry.target


# ---- organisations and channels


def test_organisation_begins_with_nothing(world):
    org = world.org(grant=None)
    assert world.view().empty
    assert last(world) == ("org-add", org.org)


@pytest.mark.parametrize("name", ["", "   "])
def test_organisation_needs_a_name(world, name):
    with pytest.raises(errors.UsageError, match="needs a name"):
        world.org(name)


def test_unknown_sector_and_duplicate_names_are_refused(world):
    with pytest.raises(errors.UsageError, match="sector 'casino' is unknown"):
        world.org(sector="casino")
    world.org("Acme")
    with pytest.raises(errors.TocsinError, match="exists already"):
        world.org(" aCME ")
    assert len(world.write(directory.organisations)) == 1


def test_workspace_has_one_organisation(both):
    with pytest.raises(errors.UsageError, match="workspace slack:T0123 belongs to Acme"):
        both.channel("slack:T0123/C7", "Bank")
    assert len(both.write(directory.channels)) == 2


def test_unknown_organisation_is_named(world):
    with pytest.raises(errors.UsageError, match="organisation 'Nobody' does not exist; `tocsin org list`"):
        world.channel(ACME, "Nobody")


def test_removed_channel_loses_its_subscriptions_and_open_deliveries(both):
    both.record(alert())
    both.act(admin.remove_channel, channels.parse(ACME))
    assert [row["state"] for row in both.rows(channel=ACME)] == ["withheld"]
    assert both.write(directory.subscriptions, ACME) == []
    assert last(both) == ("channel-remove", ACME)
    with pytest.raises(errors.UsageError, match="not known"):
        both.act(admin.remove_channel, channels.parse(ACME))


def test_suspended_organisation_gets_nothing_and_no_backlog_afterwards(both):
    both.record(alert(1))
    both.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED)
    assert [row["state"] for row in both.rows(channel=ACME)] == ["withheld"]
    both.record(alert(2), view=both.view("Bank"))
    assert len(both.rows(channel=ACME)) == 1
    both.act(admin.set_organisation_state, "Acme", OrganisationState.ACTIVE)
    both.record(alert(3))
    both.deliver_all()
    assert [row["state"] for row in both.rows(channel=ACME)] == ["withheld", "sent"]
    assert [entry.action for entry in both.audit()][-2:] == ["org-suspend", "org-resume"]


# ---- who may


async def test_stranger_is_refused_and_the_refusal_is_audited(world):
    order = revoking.Order(reason="just so", org="Acme")
    with pytest.raises(errors.RefusedError, match=r"revoke: refused, slack:T0123/U9 is not an operator"):
        await admin.act(world.database, STRANGER, "revoke", "org=Acme", lambda: world.now, revoking.revoke, order)
    entry = world.audit()[-1]
    assert (entry.action, entry.actor, entry.surface) == ("revoke-refused", "slack:T0123/U9", "slack")
    assert (entry.target, entry.reason) == ("org=Acme", "not an operator")
    assert world.write(access.revocations) == []


def test_workspace_admin_may_subscribe_only_in_that_workspace(both):
    person = Actor(id="slack:T9/U1", surface="slack", workspace="slack:T9")
    made = both.run(admin.subscribe, person, both.now, make_subscription(channel=BANK))
    assert made.subscription.startswith("s")
    for act in (
        lambda: both.run(admin.subscribe, person, both.now, make_subscription(channel=ACME)),
        lambda: both.run(admin.unsubscribe, person, both.now, channels.parse(ACME), None),
    ):
        before = len(both.audit())
        with pytest.raises(errors.RefusedError, match="neither an operator nor an admin of this workspace"):
            act()
        assert len(both.audit()) == before + 1
        assert both.audit()[-1].action.endswith("-refused")
    assert len(both.write(directory.subscriptions, ACME)) == 1


# ---- subscriptions


def test_subscription_without_a_place_needs_anywhere(both):
    with pytest.raises(errors.UsageError, match="say --anywhere, or name at least one --place"):
        both.run(admin.subscribe, OPERATOR, both.now, make_subscription(channel=ACME, anywhere=False))


def test_subscribing_needs_an_organisation_that_may_receive(both):
    with pytest.raises(errors.UsageError, match="belongs to no organisation yet"):
        both.run(admin.subscribe, OPERATOR, both.now, make_subscription(channel="slack:T5/C5"))
    both.revoke(org="Acme")
    with pytest.raises(errors.TocsinError, match="access of Acme is withdrawn: the provider asked"):
        both.run(admin.subscribe, OPERATOR, both.now, make_subscription(channel=ACME))
    with pytest.raises(errors.TocsinError, match="withdrawn"):
        both.write(admin.subscriptions, both.now, channels.parse(ACME))


def test_subscribing_in_a_new_channel_of_a_known_workspace_adds_it(both):
    both.run(admin.subscribe, OPERATOR, both.now, make_subscription(channel="slack:T9/C77"))
    assert both.write(directory.has_channel, "slack:T9/C77")
    assert len(both.write(admin.subscriptions, both.now, channels.parse("slack:T9/C77"))) == 1


def test_unsubscribing_one_and_all(both):
    one = both.run(admin.subscribe, OPERATOR, both.now, make_subscription(channel=ACME))
    acme = channels.parse(ACME)
    assert both.run(admin.unsubscribe, OPERATOR, both.now, acme, one.subscription) == 1
    with pytest.raises(errors.UsageError, match=f"does not have subscription {one.subscription}"):
        both.run(admin.unsubscribe, OPERATOR, both.now, acme, one.subscription)
    assert both.run(admin.unsubscribe, OPERATOR, both.now, acme, None) == 1
    with pytest.raises(errors.UsageError, match="does not have any subscription"):
        both.run(admin.unsubscribe, OPERATOR, both.now, acme, None)


# ---- grants


@pytest.mark.parametrize("who", [{}, {"org": "Acme", "sector": "finance"}])
def test_grant_is_for_an_organisation_or_a_sector(both, who):
    with pytest.raises(errors.UsageError, match="exactly one of --org and --sector"):
        both.grant(**who)


def test_grant_of_a_sector_reaches_what_is_below_it(world):
    world.org("Spies", "government/intelligence", grant=None)
    world.grant(sector="government", provider="bluesky")
    assert world.view("Spies").key == "bluesky"
    assert world.write(access.grants)[0].capabilities == {Capability.ALERTS, Capability.EVIDENCE}


def test_unknown_sector_provider_and_organisation_are_refused(both):
    for fields in ({"sector": "casino"}, {"org": "Nobody"}, {"org": "Acme", "provider": "Not A Name"}):
        with pytest.raises(errors.UsageError):
            both.grant(**fields)


def test_seventeenth_provider_set_is_refused_and_changes_nothing(world):
    for number in range(16):
        world.org(f"Org {number}", grant=f"p{number}")
    world.org("Last", grant=None)
    version, audited = world.write(access.version), len(world.audit())
    with pytest.raises(errors.TocsinError, match="provider set number 17, and 16 can be live"):
        world.grant(org="Last", provider="p99")
    assert (world.write(access.version), len(world.audit())) == (version, audited)
    world.grant(org="Last", provider="p3")
    assert len(world.write(access.live_views, world.now)) == 16


# ---- revocations

FIELDS = {
    "org": "Acme",
    "workspace": "slack:T0123",
    "channel": ACME,
    "sector": "government",
    "provider": "bluesky",
    "category": "explosion",
    "capability": "alerts",
}
ONLY_ACME = ("org", "workspace", "channel", "sector")


@pytest.mark.parametrize(
    "names",
    [
        *((name,) for name in FIELDS),
        ("org", "provider"),
        ("sector", "category"),
        ("channel", "capability"),
        ("workspace", "provider", "category"),
        tuple(FIELDS),
    ],
)
def test_revocation_withholds_what_it_matches_and_nothing_else(both, names):
    both.record(alert(1))
    effect = both.revoke(**{name: FIELDS[name] for name in names})
    both.record(alert(2))
    narrow = any(name in ONLY_ACME for name in names)
    assert [org["name"] for org in effect.touched] == (["Acme"] if narrow else ["Acme", "Bank"])
    assert [org["name"] for org in effect.untouched] == (["Bank"] if narrow else [])
    assert effect.withheld == (1 if narrow else 2)
    sent = both.deliver_all()
    assert {str(sending.channel) for sending in sent} == ({BANK} if narrow else set())
    assert both.write(proving.proof, effect.revocation)["claimed_after"] == []
    assert [entry.effect["withheld"] for entry in both.audit() if entry.action == "revoke"] == [effect.withheld]
    assert chain.verify(both.audit()) is None


@pytest.mark.parametrize(
    "fields",
    [
        {"org": "Bank", "sector": "government"},
        {"provider": "bluesky", "channel": ACME, "org": "Bank"},
    ],
)
def test_fields_are_anded(both, fields):
    both.record(alert())
    effect = both.revoke(**fields)
    assert (effect.touched, effect.withheld) == ([], 0)
    assert len(both.deliver_all()) == 2


def test_other_category_and_provider_go_on(both):
    both.record(alert())
    assert both.revoke(category="fire").withheld == 0
    assert both.revoke(workspace="slack:T0123", provider="x").withheld == 0
    assert len(both.deliver_all()) == 2


def test_withdrawn_provider_that_shaped_the_view_withholds_the_queue(both):
    """A View with x in it may owe its level or timing to x: what it queued is not sent."""
    both.record(alert())
    effect = both.revoke(org="Acme", provider="x")
    assert effect.withheld == 1
    assert both.view("Acme").key == "*!x"


def test_provider_that_nobody_may_receive_touches_nobody(world):
    world.org("Acme", grant="usgs")
    assert world.revoke(provider="bluesky").touched == []
    assert [org["name"] for org in world.revoke(provider="usgs").touched] == ["Acme"]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "say what is withdrawn"),
        ({"org": "Acme", "reason": "  "}, "give a --reason"),
        ({"org": "Nobody"}, "does not exist"),
        ({"sector": "casino"}, "is unknown"),
        ({"provider": "No Name"}, "is not a name"),
        ({"workspace": "slack:T77"}, "belongs to no organisation"),
        ({"channel": "slack:T0123/C77"}, "is not known here"),
        ({"channel": "somewhere"}, "is not written as"),
        ({"org": "Acme", "until": timedelta(seconds=-1)}, "lies before its beginning"),
        ({"org": "Acme", "from_at": timedelta(hours=2), "until": timedelta(hours=1)}, "lies before its beginning"),
        ({"org": "Acme", "from_at": timedelta(hours=2), "retract": True}, "--retract takes back at once"),
    ],
)
def test_revocation_that_makes_no_sense_is_refused(both, fields, why):
    order = {key: both.now + value if isinstance(value, timedelta) else value for key, value in fields.items()}
    audited = len(both.audit())
    with pytest.raises(errors.UsageError, match=why):
        both.revoke(**order)
    assert both.write(access.revocations) == []
    assert len(both.audit()) == audited


def test_dry_run_changes_nothing_and_tells_what_the_act_then_does(both):
    both.record(alert(1))
    (sending,) = [each for each in both.claim() if str(each.channel) == BANK]
    both.record(alert(2))
    before = both.dump()
    end = both.now + timedelta(hours=1)
    planned = both.revoke(sector="finance", dry_run=True, until=end)
    assert both.dump() == before
    assert (planned.revocation, planned.committed_at, planned.dry_run) == (None, None, True)
    done = both.revoke(sector="finance", plan=planned.plan, until=end)
    assert (done.withheld, done.in_flight, done.touched) == (1, [sending.delivery], planned.touched)
    assert (planned.withheld, planned.in_flight) == (done.withheld, done.in_flight)


def test_plan_that_no_longer_holds_is_refused(both):
    planned = both.revoke(sector="finance", dry_run=True)
    both.org("Another", "finance/insurance")
    with pytest.raises(errors.TocsinError, match=f"plan {planned.plan} no longer holds"):
        both.revoke(sector="finance", plan=planned.plan)
    assert both.write(access.revocations) == []
    with pytest.raises(errors.TocsinError, match="no longer holds"):
        both.revoke(sector="government", plan=planned.plan)


def test_revocation_from_a_later_time(both):
    both.record(alert(1))
    effect = both.revoke(org="Acme", from_at=both.now + timedelta(hours=1))
    assert effect.withheld == 0
    assert len(both.deliver_all()) == 2
    both.wait(hours=1)
    both.record(alert(2), view=both.view("Bank"))
    assert [str(sending.channel) for sending in both.deliver_all()] == [BANK]
    assert both.write(proving.proof, effect.revocation)["claimed_after"] == []


def test_revocation_from_an_earlier_time_does_not_accuse_what_was_sent_before_it_was_made(both):
    both.record(alert())
    both.deliver_all()
    both.wait(minutes=5)
    effect = both.revoke(org="Acme", from_at=both.now - timedelta(hours=1))
    assert effect.delivered == 1
    assert both.write(proving.proof, effect.revocation)["claimed_after"] == []


def test_revocation_that_ends_by_itself_gives_back_what_is_new_only(both):
    both.record(alert(1))
    effect = both.revoke(org="Acme", until=both.now + timedelta(hours=1))
    both.wait(hours=1)
    both.record(alert(2))
    both.deliver_all()
    assert [row["state"] for row in both.rows(channel=ACME)] == ["withheld", "sent"]
    both.wait(hours=1)
    both.act(revoking.reinstate, effect.revocation, "tidy")
    assert both.write(proving.proof, effect.revocation)["claimed_after"] == []


def test_in_flight_is_reported_and_listed_by_the_proof(both):
    both.record(alert())
    flying = {str(sending.channel): sending for sending in both.claim()}
    effect = both.revoke(org="Acme")
    assert effect.in_flight == [flying[ACME].delivery]
    both.settle(flying[ACME])
    proof = both.write(proving.proof, effect.revocation)
    assert [each["state"] for each in proof["in_flight_now"]] == ["sent"]
    assert proof["claimed_after"] == []


def test_in_flight_that_did_not_arrive_is_not_tried_again(both):
    both.record(alert())
    flying = {str(sending.channel): sending for sending in both.claim()}
    both.revoke(org="Acme")
    both.settle(flying[ACME], Unknown(reason="reset"))
    both.wait(minutes=5)
    assert both.claim() == []
    assert [row["state"] for row in both.rows(channel=ACME)] == ["withheld"]


def test_retracting_takes_back_what_stands_and_what_is_arriving(both):
    both.record(alert(1))
    both.deliver_all()
    both.record(alert(2))
    flying = {str(sending.channel): sending for sending in both.claim()}
    effect = both.revoke(org="Acme", retract=True)
    assert (effect.delivered, effect.retracting) == (1, 2)
    both.wait(seconds=1)
    both.settle(flying[ACME])
    both.settle(flying[BANK])
    retracted = both.deliver_all()
    assert [sending.act for sending in retracted] == [Act.RETRACT, Act.RETRACT]
    assert retracted[1].target_id == f"ts-{flying[ACME].delivery}"
    assert {str(sending.channel) for sending in retracted} == {ACME}
    proof = both.write(proving.proof, effect.revocation)
    assert [each["state"] for each in proof["retractions"]] == ["sent", "sent"]
    assert proof["claimed_after"] == [], "a retraction shows nothing"
    assert both.revoke(org="Acme", retract=True, dry_run=True).delivered == 0


def test_history_leaves_nothing_behind_to_retract(both):
    both.record(alert())
    both.deliver_all()
    effect = both.revoke(org="Acme", capability="history", retract=True)
    assert (effect.delivered, effect.retracting, effect.withheld) == (0, 0, 0)


@pytest.mark.parametrize("capability", ["evidence", "history", "export"])
def test_proof_of_a_lesser_capability_does_not_accuse_alerts(both, capability):
    effect = both.revoke(org="Acme", capability=capability)
    both.wait(seconds=1)
    both.record(alert())
    assert len(both.deliver_all()) == 2
    assert both.write(proving.proof, effect.revocation)["claimed_after"] == []


def test_proof_finds_what_should_not_have_been_claimed(both):
    effect = both.revoke(org="Acme")
    both.wait(seconds=1)
    org = both.write(directory.organisation, "Acme")
    both.record(alert(), view=both.view("Bank"))
    forged = both.write(deliveries.queue, org=org.org, channel=ACME, act=Act.POST, at=both.now, view="*", alert=alert())
    both.write(lambda db: db.execute("UPDATE deliveries SET claimed_at = due_at WHERE delivery = ?", [forged]))
    assert both.write(proving.proof, effect.revocation)["claimed_after"] == [forged]


def test_reinstating_does_not_pour_out_the_backlog(both):
    both.record(alert(1))
    effect = both.revoke(org="Acme")
    done = both.act(revoking.reinstate, effect.revocation, "settled")
    assert done["revocation"] == effect.revocation
    both.record(alert(2))
    both.record(alert(1, revision=2, kind=Kind.UPDATE))
    both.deliver_all()
    rows = [(row["act"], row["state"]) for row in both.rows(channel=ACME)]
    assert rows == [("post", "withheld"), ("post", "sent"), ("post", "sent")]
    with pytest.raises(errors.TocsinError, match="was lifted already"):
        both.act(revoking.reinstate, effect.revocation, "again")
    with pytest.raises(errors.UsageError, match="does not exist"):
        both.act(revoking.reinstate, "r0", "?")
    with pytest.raises(errors.UsageError, match="does not exist"):
        both.write(proving.proof, "r0")
    assert both.write(access.revocation_row, effect.revocation)["lift_reason"] == "settled"


def test_effect_is_json_with_the_contracts_keys(both):
    effect = both.revoke(org="Acme").to_json()
    assert json.loads(json.dumps(effect)) == effect
    assert effect.keys() >= {
        "revocation", "plan", "dry_run", "touched", "untouched", "withheld", "in_flight", "delivered", "committed_at",
    }  # fmt: skip
    assert effect["touched"][0].keys() == {"org", "name", "sector"}


# ---- first run, losses


def test_first_run_happens_once(world):
    assert world.write(admin.first_run, world.now, ["bluesky", "usgs"])
    assert not world.write(admin.first_run, world.now, ["bluesky", "usgs"])
    assert world.view("local").key == "bluesky+usgs"
    assert [entry.action for entry in world.audit()] == ["first-run"]
    world.record(alert(), view=world.view("local"))
    assert [str(sending.channel) for sending in world.deliver_all("console")] == ["console:-/main"]


def test_first_run_leaves_a_store_with_organisations_alone(world):
    world.org()
    assert not world.write(admin.first_run, world.now, ["bluesky"])


def test_loss_and_return_are_audited_where_they_concern_somebody(both):
    both.record(alert())
    assert both.write(admin.record_loss, both.now, ACME, "archived") == 1
    assert last(both) == ("lost", ACME)
    assert both.write(admin.record_return, both.now, ACME) == 1
    assert last(both) == ("restored", ACME)
    audited = len(both.audit())
    assert both.write(admin.record_loss, both.now, "slack:T77", "?") == 0
    assert both.write(admin.record_return, both.now, "slack:T77") == 0
    assert len(both.audit()) == audited


# ---- looking back


def look_back(world, capability=Capability.HISTORY, **fields):
    return world.write(admin.look_back, world.now, "Acme", capability, fields.get("since"), fields.get("search", ""))


@pytest.mark.parametrize("capability", [Capability.HISTORY, Capability.EXPORT])
def test_looking_back_needs_its_capability(both, capability):
    both.record(alert())
    with pytest.raises(errors.TocsinError, match=f"no grant for {capability.value}.*--capability {capability.value}"):
        look_back(both, capability)
    both.grant(org="Acme", capabilities=(capability.value,))
    assert [line["alert"] for line in look_back(both, capability)] == [alert().id]
    both.revoke(org="Acme", capability=capability.value)
    with pytest.raises(errors.TocsinError, match="access of Acme is withdrawn"):
        look_back(both, capability)


def test_looking_back_shows_evidence_only_with_that_capability_and_nothing_withdrawn(both):
    both.grant(org="Acme", capabilities=("history",))
    both.record(alert(1))
    both.record(alert(2, category="fire"))
    assert sorted(line["evidence"] for line in look_back(both)) == [["1"], ["2"]]
    both.revoke(org="Acme", capability="evidence")
    assert [line["evidence"] for line in look_back(both)] == [[], []]
    both.revoke(category="fire")
    assert [line["category"] for line in look_back(both)] == ["explosion"]


def test_looking_back_searches_and_begins_where_it_is_told(both):
    both.grant(org="Acme", capabilities=("history",))
    both.record(alert(1, headline="Explosion in Port Calder"))
    both.record(alert(2, headline="Blast in Oldtown", raised_at=both.now + timedelta(hours=1)))
    assert len(look_back(both, search="port CALDER")) == 1
    assert len(look_back(both, since=both.now + timedelta(minutes=1))) == 1
    assert look_back(both, search="nothing of it") == []
