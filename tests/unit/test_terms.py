"""Providers' terms and the order of rules: deny wins, and whatever decides is named."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.access import (
    Capability,
    OrganisationState,
    Policy,
    ProviderSet,
    Request,
    Terms,
    decide,
    permitted,
)
from tests.factories import NOW, make_grant, make_organisation, make_revocation

POLICE = make_organisation(name="Harbour Police", sector="government/law_enforcement")
BANK = make_organisation(org="o2", name="First Bank", sector="finance/bank")
EVERYBODY = make_grant(org=None, sector=None, capabilities=frozenset(Capability))
NO_UNREST = Terms(provider="x", barred_cells=frozenset({("unrest", "government/law_enforcement")}))
NO_GOVERNMENT = Terms(provider="x", barred_sectors=frozenset({"government"}))
THREE_A_DAY = Terms(provider="x", quota=3)


def policy(*terms, **fields):
    return Policy(**{"version": 1, "grants": (EVERYBODY,), "revocations": (), "terms": terms} | fields)


def asked(org=POLICE, *providers, **fields):
    return Request(**{"org": org, "at": NOW, "providers": frozenset(providers or ("x",))} | fields)


# ---- sectors


def test_barred_sector_and_everything_below_it_loses_the_provider_from_its_view():
    assert permitted(policy(NO_GOVERNMENT), POLICE, NOW) == ProviderSet.parse("*!x")
    assert permitted(policy(NO_GOVERNMENT), BANK, NOW) == ProviderSet.parse("*")


@pytest.mark.parametrize("capability", list(Capability))
def test_barred_sector_may_use_no_capability_of_the_provider(capability):
    decision = decide(policy(NO_GOVERNMENT), asked(capability=capability))
    assert (decision.allowed, decision.rule) == (False, "terms x")
    assert decision.why == "the terms of x bar Harbour Police: nothing of it for government/law_enforcement"


def test_barred_sector_may_have_other_providers_but_nothing_that_the_provider_shaped():
    terms = policy(NO_GOVERNMENT)
    assert decide(terms, asked(POLICE, "bluesky")).allowed
    assert decide(terms, asked(POLICE, "bluesky", view=ProviderSet.parse("*"))).rule == "view"
    assert decide(terms, asked(POLICE, "bluesky", view=ProviderSet.parse("*!x"))).allowed


def test_provider_that_is_granted_by_name_is_taken_out_too():
    named = policy(NO_GOVERNMENT, grants=(make_grant(provider="x"), make_grant(grant="g2", provider="usgs")))
    assert permitted(named, POLICE, NOW) == ProviderSet.parse("usgs")


def test_terms_of_a_sector_do_not_reach_one_whose_name_begins_alike():
    terms = policy(Terms(provider="x", barred_sectors=frozenset({"government/health"})))
    assert decide(terms, asked(make_organisation(sector="government/healthcare"))).allowed


# ---- cells


def test_cell_denies_single_deliveries_and_leaves_the_view():
    terms = policy(NO_UNREST)
    assert permitted(terms, POLICE, NOW) == ProviderSet.parse("*")
    decision = decide(terms, asked(category="unrest"))
    assert (decision.allowed, decision.rule) == (False, "terms x")
    assert decision.why == "the terms of x bar Harbour Police: no unrest for government/law_enforcement"
    assert decide(terms, asked(category="flood")).allowed
    assert decide(terms, asked(POLICE, "bluesky", category="unrest")).allowed
    assert decide(terms, asked(BANK, category="unrest")).allowed
    assert not decide(terms, asked(POLICE, "bluesky", "x", category="unrest")).allowed


# ---- quotas


@pytest.mark.parametrize(("used", "allowed"), [({}, True), ({"x": 2}, True), ({"x": 3}, False), ({"x": 4}, False)])
def test_quota_is_asked_only_where_a_new_event_is(used, allowed):
    decision = decide(policy(THREE_A_DAY), asked(used=used))
    assert decision.allowed is allowed
    if not allowed:
        assert decision.rule == "terms x"
        assert "has had its 3 new events of today" in decision.why


def test_quota_of_one_provider_says_nothing_about_another():
    assert decide(policy(THREE_A_DAY), asked(POLICE, "bluesky", used={"x": 9, "bluesky": 9})).allowed


# ---- the order of rules


def test_suspension_comes_before_revocations_before_terms_before_grants_before_the_view():
    revoked = make_revocation(provider="x")
    suspended = replace(POLICE, state=OrganisationState.SUSPENDED)
    request = asked(view=ProviderSet.parse("*"), category="unrest")
    found = policy(NO_GOVERNMENT, grants=(), revocations=(revoked,))
    rules = [decide(found, replace(request, org=suspended)).rule, decide(found, request).rule]
    found = replace(found, revocations=())
    rules.append(decide(found, request).rule)
    found = replace(found, terms=())
    rules.append(decide(found, request).rule)
    found = replace(found, grants=(make_grant(until=NOW - timedelta(days=1)),))
    rules.append(decide(found, request).rule)
    found = replace(found, grants=(make_grant(grant="g2", provider="x"),))
    rules.append(decide(found, request).rule)
    assert rules == ["suspended", "revocation r1", "terms x", "no grant", "expired g1", "view"]
    assert decide(found, replace(request, view=ProviderSet.parse("x"))).rule == "grant g2"


def test_terms_win_over_every_grant_and_hold_without_one():
    special = make_grant(grant="g9", org=POLICE.org, provider="x", capabilities=frozenset(Capability))
    assert decide(policy(NO_GOVERNMENT, grants=(EVERYBODY, special)), asked()).rule == "terms x"
    assert decide(policy(NO_GOVERNMENT, grants=()), asked()).rule == "terms x"


# ---- one organisation's share of the policy


SECTORS = ("government", "government/law_enforcement", "finance", "finance/bank")
PROVIDERS = ("x", "bluesky", "usgs", "*")
ORGS = (POLICE, BANK, replace(BANK, org="o3", state=OrganisationState.SUSPENDED))


def some(*values):
    return st.sampled_from(values)


@st.composite
def grants(draw, n):
    to_org = draw(st.booleans())
    return make_grant(
        grant=f"g{n}", org=draw(some("o1", "o2")) if to_org else None,
        sector=None if to_org else draw(some(None, *SECTORS)), provider=draw(some(*PROVIDERS)),
        capabilities=frozenset(draw(st.sets(some(*Capability), min_size=1))),
        until=draw(some(None, NOW - timedelta(1), NOW, NOW + timedelta(1))),
    )  # fmt: skip


@st.composite
def revocations(draw, n):
    return make_revocation(
        revocation=f"r{n}", org=draw(some(None, None, "o1", "o2")), sector=draw(some(None, None, *SECTORS)),
        provider=draw(some(None, *PROVIDERS)), category=draw(some(None, None, "unrest")),
        capability=draw(some(None, *Capability)), channel=draw(some(None, None, "slack:T1/C1")),
        from_at=draw(some(NOW - timedelta(1), NOW, NOW + timedelta(1))),
        until=draw(some(None, NOW, NOW + timedelta(2))),
    )  # fmt: skip


TERMS = st.builds(
    Terms, provider=some("x", "bluesky"), barred_sectors=st.frozensets(some(*SECTORS), max_size=2),
    barred_cells=st.frozensets(st.tuples(some("unrest", "flood"), some(*SECTORS)), max_size=2),
    quota=some(None, 1, 3),
)  # fmt: skip


@st.composite
def policies(draw):
    return Policy(
        version=1,
        grants=tuple(draw(grants(n)) for n in range(draw(st.integers(0, 4)))),
        revocations=tuple(draw(revocations(n)) for n in range(draw(st.integers(0, 2)))),
        terms=tuple(draw(st.lists(TERMS, max_size=2, unique_by=lambda each: each.provider))),
        changed_at=draw(some(None, NOW, NOW + timedelta(1))),
    )


REQUESTS = st.builds(
    Request, org=some(*ORGS), at=some(NOW, NOW + timedelta(hours=36)), capability=some(*Capability),
    channel=some(None, "slack:T1/C1"), providers=st.frozensets(some("x", "bluesky", "usgs"), max_size=2),
    category=some(None, "unrest", "flood"), view=some(None, *map(ProviderSet.parse, ("*", "*!x", "bluesky+usgs", "x"))),
    used=some({}, {"x": 1}, {"x": 3, "bluesky": 0}),
)  # fmt: skip


@given(policies(), REQUESTS)
def test_what_is_decided_from_an_organisations_share_is_what_the_whole_policy_says(whole, request):
    decision = decide(whole, request)
    shares = [whole.of(request.org), *(own for org, own in whole.by_organisation(ORGS) if org == request.org)]
    assert len(shares) == 2
    for share in shares:
        assert decide(share, request).allowed is decision.allowed
        for capability in Capability:
            assert permitted(share, request.org, request.at, capability) == permitted(
                whole, request.org, request.at, capability
            )
    assert decision.rule
    assert decision.why


@given(policies(), REQUESTS, TERMS, st.data())
def test_more_rules_that_deny_never_allow_more(whole, request, terms, data):
    """Deny wins: another revocation or other terms beside the others take away, and give nothing."""
    stricter = replace(whole, revocations=(*whole.revocations, data.draw(revocations(9))))
    if terms.provider not in {each.provider for each in whole.terms}:
        stricter = replace(stricter, terms=(*stricter.terms, terms))
    assert decide(whole, request).allowed or not decide(stricter, request).allowed
    before, after = (permitted(each, request.org, request.at) for each in (whole, stricter))
    assert after.within(before)


@given(policies(), REQUESTS)
def test_nothing_is_allowed_from_a_provider_outside_the_permitted_set(whole, request):
    if decide(whole, request).allowed:
        allowed = permitted(whole, request.org, request.at, request.capability)
        assert all(map(allowed.permits, request.providers))
        assert request.view is None or request.view.within(allowed)
