"""Acts of two persons: the fence holds at once, the rest waits for somebody else."""

from datetime import timedelta

import pytest

from bot import approving, config, revoking
from bot.admin import Actor
from bot.domain import errors
from bot.domain.access import Capability, Terms
from bot.domain.alert import event_id
from bot.domain.delivery import Act, Unknown
from bot.revoking import Order
from bot.store import access, offboarding, proposals
from tests.factories import make_alert
from tests.worlds import STRANGER, World

C1, C2 = "slack:T0123/C1", "slack:T0999/C9"
ALL = frozenset(each.value for each in approving.Act)
ADA = Actor(id="cli:ada", surface="cli", operator="Ada")
ADA_AT_SLACK = Actor(id="slack:T0123/UADA", surface="slack", operator="Ada")
BEN = Actor(id="discord:77", surface="discord", operator="Ben")
NOBODY = Actor(id="cli:root", surface="cli", operator="cli:root")


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(C1)
    world.org("Globe", "news")
    world.channel(C2, "Globe")
    yield world
    world.close()


def alert(number=1):
    key = f"bluesky|{number}"
    return make_alert(event=event_id(key), evidence=(key,), quotes=(key,))


def revoke(world, actor=ADA, *, needed=ALL, **fields):
    order = Order(**{"reason": "the provider asked", "silent": "not this test's story", "org": "Acme"} | fields)
    return world.write(approving.revoke, actor, world.now, order, needed)


def approve(world, proposal, actor=BEN):
    return world.run(approving.approve, actor, world.now, proposal)


def listed(world):
    return {row["proposal"]: row["state"] for row in world.write(approving.listed, world.now)}


def stands(world):
    world.record(alert())
    return world.deliver_all()


def acts(world):
    return [(sent.act, str(sent.channel)) for sent in world.deliver_all()]


# ---- what waits, and what does not


def test_the_fence_holds_at_once_and_the_rest_is_proposed(world):
    stands(world)
    world.record(alert(2))
    effect = revoke(world, retract=True, drop_credentials=True)
    assert (effect.withheld, effect.retracting, effect.dropping) == (1, 0, [])
    assert len(effect.proposals) == 2
    assert acts(world) == [(Act.POST, C2)]
    assert world.write(offboarding.ready, world.now) == []
    assert [entry.action for entry in world.audit()[-3:]] == ["revoke", "propose", "propose"]


def test_what_is_approved_is_what_was_proposed(world):
    stands(world)
    effect = revoke(world, retract=True, drop_credentials=True)
    retraction, dropping = effect.proposals
    assert approve(world, retraction) == "being retracted: 1"
    assert acts(world) == [(Act.RETRACT, C1)]
    assert "slack:T0123" in approve(world, dropping)
    assert [row["workspace"] for row in world.write(offboarding.ready, world.now)] == ["slack:T0123"]
    assert set(listed(world).values()) == {"approved"}
    entry = next(entry for entry in world.audit() if entry.action == "approve")
    assert (entry.actor, entry.effect) == ("Ben (discord:77)", {"proposal": retraction, "act": "retract"})


def test_window_of_a_retraction_is_counted_from_the_proposal(world):
    stands(world)
    world.wait(hours=30)
    (proposal,) = revoke(world, retract=True, within=timedelta(hours=36)).proposals
    world.wait(hours=20)
    assert approve(world, proposal) == "being retracted: 1"


def test_what_was_sent_before_the_window_stays(world):
    stands(world)
    world.wait(hours=40)
    (proposal,) = revoke(world, retract=True, within=timedelta(hours=36)).proposals
    assert approve(world, proposal) == "being retracted: 0"


@pytest.mark.parametrize("arrived", [True, False])
def test_approved_retraction_also_takes_back_what_was_in_flight_at_the_fence(world, arrived):
    world.record(alert())
    sending = next(each for each in world.claim() if str(each.channel) == C1)
    (proposal,) = revoke(world, retract=True).proposals
    world.settle(sending, None if arrived else Unknown(reason="reset"))
    world.wait(seconds=2)
    assert not [each for each in world.claim() if str(each.channel) == C1]
    assert approve(world, proposal) == "being retracted: 1"
    (gone,) = [each for each in world.deliver_all() if str(each.channel) == C1]
    assert (gone.act, gone.root) == (Act.RETRACT, sending.delivery)
    assert gone.target_id == (f"ts-{sending.delivery}" if arrived else None)


def test_only_the_acts_that_the_configuration_names_wait(world):
    stands(world)
    effect = revoke(world, retract=True, drop_credentials=True, needed=frozenset({"drop-credentials"}))
    assert (effect.retracting, effect.dropping) == (1, [])
    (proposal,) = effect.proposals
    assert world.write(proposals.get, proposal)["act"] == "drop-credentials"


def test_with_one_operator_nothing_waits():
    one = config.Config.model_validate({"operator": [{"name": "Ada", "ids": ["cli:ada"]}]})
    two = config.Config.model_validate(
        {"operator": [{"name": "Ada", "ids": ["cli:ada"]}, {"name": "Ben", "ids": ["discord:77"]}]}
    )
    assert one.two_persons == frozenset()
    assert two.two_persons == ALL


def test_nothing_waits_where_nothing_is_asked_for_that_cannot_be_undone(world):
    effect = revoke(world)
    assert (effect.proposals, listed(world)) == ([], {})


def test_dry_run_proposes_nothing_and_its_plan_is_held(world):
    plan = revoke(world, retract=True, dry_run=True)
    assert listed(world) == {}
    assert len(revoke(world, retract=True, plan=plan.plan).proposals) == 1
    with pytest.raises(errors.TocsinError, match="no longer holds"):
        revoke(world, retract=True, plan=plan.plan)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"within": timedelta(hours=1)}, "--within"),
        ({"retract": True, "from_at": timedelta(hours=1)}, "--retract takes back at once"),
        ({"drop_credentials": True, "until": timedelta(hours=1)}, "--drop-credentials is for whole"),
        ({"drop_credentials": True, "provider": "x"}, "--drop-credentials is for whole"),
        ({"drop_credentials": True, "from_at": timedelta(hours=1)}, "--drop-credentials is for whole"),
    ],
)
def test_what_cannot_be_ordered_by_one_cannot_be_proposed_by_two(world, fields, says):
    given = {name: world.now + value if name in ("from_at", "until") else value for name, value in fields.items()}
    for needed in (frozenset[str](), ALL):
        with pytest.raises(errors.UsageError, match=says):
            revoke(world, needed=needed, **given)
    assert world.write(access.revocations) == []
    assert listed(world) == {}


# ---- opening access


def grant(world, actor=ADA, **fields):
    values = {"org": None, "sector": "news", "provider": "x", "capabilities": (), "until": None, "reason": "contract 9"}
    return world.write(approving.grant, actor, world.now, values | fields, ALL)


def test_grant_to_a_sector_waits_and_is_given_as_it_was_proposed(world):
    until = world.now + timedelta(days=14)
    proposal = grant(world, capabilities=("alerts", "export"), until=until)
    before = world.write(access.grants)
    approve(world, proposal)
    (made,) = [each for each in world.write(access.grants) if each not in before]
    assert (made.sector, made.provider, made.until) == ("news", "x", until)
    assert made.capabilities == {Capability.ALERTS, Capability.EXPORT}


def test_grant_to_one_organisation_does_not_wait(world):
    assert grant(world, org="Acme", sector=None).org is not None
    assert listed(world) == {}


@pytest.mark.parametrize(
    ("fields", "says"),
    [({"sector": "astrology"}, "astrology"), ({"org": "Acme"}, "exactly one"), ({"reason": " "}, "--reason"),
     ({"provider": "X!"}, "not a name")],
)  # fmt: skip
def test_grant_that_cannot_be_given_cannot_be_proposed(world, fields, says):
    with pytest.raises(errors.UsageError, match=says):
        grant(world, **fields)
    assert listed(world) == {}


def reinstate(world, revocation, actor=ADA, reason="settled"):
    return world.write(approving.reinstate, actor, world.now, revocation, reason, ALL)


def test_reinstating_a_sector_waits_and_the_revocation_holds_until_then(world):
    effect = revoke(world, org=None, sector="news")
    done = reinstate(world, effect.revocation)
    assert done["lifted_at"] is None
    world.record(alert(), view=world.view("Acme"))
    assert acts(world) == [(Act.POST, C1)]
    approve(world, done["proposal"])
    world.record(alert(2))
    assert acts(world) == [(Act.POST, C1), (Act.POST, C2)]


def test_reinstating_everybody_from_a_provider_waits_too(world):
    effect = revoke(world, org=None, provider="x")
    assert "proposal" in reinstate(world, effect.revocation)


@pytest.mark.parametrize(
    "fields", [{"org": "Acme"}, {"org": None, "channel": C1}, {"org": None, "workspace": "slack:T0123"}]
)
def test_reinstating_one_does_not_wait(world, fields):
    effect = revoke(world, **fields)
    assert reinstate(world, effect.revocation)["lifted_at"] is not None


@pytest.mark.parametrize("needed", [ALL, frozenset[str]()])
def test_reinstating_needs_a_reason_and_a_revocation_that_stands(world, needed):
    effect = revoke(world, org=None, sector="news")
    with pytest.raises(errors.UsageError, match="--reason"):
        world.write(approving.reinstate, ADA, world.now, effect.revocation, " ", needed)
    with pytest.raises(errors.UsageError, match="does not exist"):
        world.write(approving.reinstate, ADA, world.now, "r0", "settled", needed)
    assert listed(world) == {}


# ---- who may approve


def proposed(world):
    stands(world)
    (proposal,) = revoke(world, retract=True).proposals
    return proposal


@pytest.mark.parametrize(
    ("actor", "why"), [(ADA, "the person who proposed it"), (ADA_AT_SLACK, "the person who proposed it"),
                       (NOBODY, "not an operator of the configuration"),
                       (STRANGER, "not an operator of the configuration")],
)  # fmt: skip
def test_proposer_by_any_account_and_strangers_are_refused_and_audited(world, actor, why):
    proposal = proposed(world)
    with pytest.raises(errors.RefusedError, match=why):
        approve(world, proposal, actor)
    assert listed(world) == {proposal: "open"}
    entry = world.audit()[-1]
    assert (entry.action, entry.actor, entry.target) == ("approve-refused", str(actor), proposal)
    assert why in entry.reason
    assert world.deliver_all() == []
    assert approve(world, proposal) == "being retracted: 1"


def test_account_of_nobody_cannot_propose_and_its_fence_holds_all_the_same(world):
    effect = revoke(world, NOBODY, retract=True)
    assert "nobody's account" in str(effect.refused)
    assert (effect.proposals, listed(world)) == ([], {})
    assert [each.revocation for each in world.write(access.revocations)] == [effect.revocation]
    assert world.audit()[-1].action == "propose-refused"


def test_it_can_be_approved_once(world):
    proposal = proposed(world)
    approve(world, proposal)
    world.deliver_all()
    with pytest.raises(errors.TocsinError, match=f"proposal {proposal} is approved"):
        approve(world, proposal)
    assert world.deliver_all() == []


@pytest.mark.parametrize(("hours", "state"), [(23, "open"), (24, "expired"), (200, "expired")])
def test_it_expires_unapproved_after_a_day(world, hours, state):
    proposal = proposed(world)
    world.wait(hours=hours)
    assert listed(world) == {proposal: state}
    if state == "expired":
        with pytest.raises(errors.TocsinError, match="expired"):
            approve(world, proposal)
        with pytest.raises(errors.TocsinError, match="expired"):
            world.write(approving.reject, BEN, world.now, proposal)
    else:
        approve(world, proposal)


@pytest.mark.parametrize("actor", [ADA, BEN])
def test_rejected_it_is_not_carried_out_and_the_fence_holds(world, actor):
    proposal = proposed(world)
    world.write(approving.reject, actor, world.now, proposal)
    with pytest.raises(errors.TocsinError, match="rejected"):
        approve(world, proposal)
    assert world.audit()[-1].action == "reject"
    world.record(alert(2), view=world.view("Globe"))
    assert acts(world) == [(Act.POST, C2)]


def test_unknown_proposal_is_said(world):
    for act in (lambda: approve(world, "a0"), lambda: world.write(approving.reject, BEN, world.now, "a0")):
        with pytest.raises(errors.UsageError, match="tocsin proposals"):
            act()


def test_what_cannot_be_carried_out_any_more_stays_open_and_changes_nothing(world):
    stands(world)
    effect = revoke(world, retract=True)
    world.act(revoking.reinstate, effect.revocation, "settled")
    before = len(world.audit())
    with pytest.raises(errors.TocsinError, match="lifted already"):
        approve(world, effect.proposals[0])
    assert listed(world) == {effect.proposals[0]: "open"}
    assert len(world.audit()) == before
    assert world.deliver_all() == []


def test_two_who_approve_at_once_carry_it_out_once(world):
    proposal = proposed(world)
    first = world.run(approving.approve, BEN, world.now, proposal)
    with pytest.raises(errors.TocsinError):
        world.run(approving.approve, Actor(id="cli:cy", surface="cli", operator="Cy"), world.now, proposal)
    assert first == "being retracted: 1"
    assert len(world.rows(act="retract")) == 1


def test_single_organisation_of_the_command_line_is_its_own_operator(world):
    """Without [[operator]] entries whoever writes the store acts alone."""
    stands(world)
    effect = revoke(world, NOBODY, needed=frozenset(), retract=True)
    assert (effect.retracting, effect.proposals) == (1, [])


def test_whoever_leaves_the_configuration_out_is_held_to_it_all_the_same(world):
    """The service has written down what it was configured with."""
    world.write(proposals.set_required, ["retract"])
    effect = world.write(approving.revoke, ADA, world.now, Order(reason="r", org="Acme", retract=True), frozenset())
    assert (effect.retracting, len(effect.proposals)) == (0, 1)
    world.write(proposals.set_required, [])
    effect = world.write(approving.revoke, ADA, world.now, Order(reason="r", org="Globe", retract=True), frozenset())
    assert effect.proposals == []


def test_a_token_waits_for_a_retraction_that_somebody_may_still_approve(world):
    order = Order(reason="r", org="Acme", retract=True, drop_credentials=True)
    effect = world.write(approving.revoke, ADA, world.now, order, ALL)
    retracting, dropping = effect.proposals
    world.run(approving.approve, BEN, world.now, dropping)
    world.deliver_all()
    assert world.write(offboarding.ready, world.now) == []
    world.run(approving.approve, BEN, world.now, retracting)
    world.deliver_all()
    assert [row["workspace"] for row in world.write(offboarding.ready, world.now)] == ["slack:T0123"]


# Terms that permit more than before.

GOVERNMENT = {"barred_sectors": ["government"], "barred_cells": [("unrest", "news")], "quota": 5}


def set_terms(world, actor=ADA, *, needed=ALL, own=(), **fields):
    """What waits of it, in words."""
    values = {"provider": "x", "reason": "section 4", "barred_sectors": [], "barred_cells": [], "quota": None} | fields
    own_terms = Terms(provider="x", barred_sectors=frozenset(own))
    waits = world.write(approving.set_terms, actor, world.now, values, needed, own_terms)
    return None if waits is None else waits.text


def terms(world):
    (found,) = world.write(access.terms)
    return {
        "barred_sectors": sorted(found.barred_sectors), "barred_cells": sorted(found.barred_cells),
        "quota": found.quota,
    }  # fmt: skip


@pytest.mark.parametrize(
    "fields",
    [
        {},
        GOVERNMENT | {"barred_sectors": []},
        GOVERNMENT | {"barred_sectors": ["government/intelligence"]},
        GOVERNMENT | {"barred_cells": []},
        GOVERNMENT | {"quota": 6},
        GOVERNMENT | {"quota": None},
    ],
)
def test_terms_that_permit_more_wait_for_a_second_person(world, fields):
    assert set_terms(world, **GOVERNMENT) is None
    assert "another operator" in set_terms(world, **fields)
    assert terms(world) == GOVERNMENT
    ((proposal, state),) = listed(world).items()
    assert state == "open"
    assert approve(world, proposal) == "the terms of x are set"
    assert terms(world) == {"barred_sectors": [], "barred_cells": [], "quota": None} | fields


def test_a_provider_s_own_terms_stand_before_they_are_adopted(world):
    assert "another operator" in set_terms(world, own=["government/intelligence"])
    assert world.write(access.terms) == []
    ((proposal, _),) = listed(world).items()
    assert approve(world, proposal) == "the terms of x are set"


def test_the_proposal_says_what_would_be_opened(world):
    set_terms(world, **GOVERNMENT)
    set_terms(world, barred_sectors=["government"])
    (row,) = world.write(approving.listed, world.now)
    assert row["target"] == "x: bars government, unrest:news; quota 5 → bars government"


def test_what_they_bar_besides_holds_at_once(world):
    set_terms(world, **GOVERNMENT)
    set_terms(world, barred_sectors=["finance"], quota=3)
    assert terms(world) == {
        "barred_sectors": ["finance", "government"],
        "barred_cells": [("unrest", "news")],
        "quota": 3,
    }


@pytest.mark.parametrize(
    "fields",
    [
        GOVERNMENT,
        GOVERNMENT | {"quota": 4},
        GOVERNMENT | {"barred_sectors": ["government", "news"]},
        GOVERNMENT | {"barred_sectors": ["government", "news"], "barred_cells": []},
    ],
)
def test_terms_that_permit_nothing_more_do_not_wait(world, fields):
    set_terms(world, **GOVERNMENT)
    assert set_terms(world, **fields) is None
    assert terms(world) == fields
    assert listed(world) == {}


def test_terms_that_changed_meanwhile_are_not_relaxed_unseen(world):
    set_terms(world, **GOVERNMENT)
    set_terms(world)
    ((proposal, _),) = listed(world).items()
    set_terms(world, BEN, **GOVERNMENT | {"quota": 1})
    with pytest.raises(errors.TocsinError, match="have changed"):
        approve(world, proposal)
    assert terms(world) == GOVERNMENT | {"quota": 1}
    assert listed(world) == {proposal: "open"}


def test_account_of_nobody_cannot_relax_terms_and_what_it_bars_holds(world):
    set_terms(world, **GOVERNMENT)
    assert "not proposed" in set_terms(world, NOBODY, barred_sectors=["finance"])
    assert terms(world)["barred_sectors"] == ["finance", "government"]
    assert listed(world) == {}
    assert world.audit()[-1].action == "propose-refused"
    with pytest.raises(errors.RefusedError, match="needs two operators"):
        set_terms(world, NOBODY, barred_sectors=["finance"])
