from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain import access, errors
from bot.domain.access import Capability, OrganisationState, Policy, ProviderSet, Request, decide, permitted
from tests.factories import NOW, make_grant, make_organisation, make_revocation

UNIVERSE = ("bluesky", "usgs", "x")
OUTSIDE = "zzz"
BLUESKY = frozenset({"bluesky"})


def policy(grants=(), revocations=(), **fields):
    return Policy(version=1, grants=tuple(grants), revocations=tuple(revocations), **fields)


def request(**fields):
    defaults = {
        "org": make_organisation(sector="finance/bank"),
        "at": NOW,
        "workspace": "slack:T0123",
        "channel": "slack:T0123/C0456",
        "providers": BLUESKY,
        "category": "explosion",
        "view": access.EVERYTHING,
    }
    return Request(**defaults | fields)


def test_nothing_is_allowed_without_a_grant():
    decision = decide(policy(), request())
    assert not decision.allowed
    assert decision.rule == "no grant"
    assert "Acme" in decision.why


def test_grant_allows_and_is_named():
    assert decide(policy([make_grant()]), request()) == access.Decision(allowed=True, rule="grant g1", why="granted")


@pytest.mark.parametrize(
    "fields",
    [
        {"org": "o1"},
        {"workspace": "slack:T0123"},
        {"channel": "slack:T0123/C0456"},
        {"sector": "finance"},
        {"sector": "finance/bank"},
        {"provider": "bluesky"},
        {"provider": "*"},
        {"category": "explosion"},
        {"capability": Capability.ALERTS},
        {"org": "o1", "provider": "bluesky", "category": "explosion"},
        {},
    ],
)
def test_matching_revocation_wins_over_every_grant(fields):
    rules = policy([make_grant(), make_grant(grant="g2", org=None)], [make_revocation(**fields)])
    decision = decide(rules, request())
    assert (decision.allowed, decision.rule) == (False, "revocation r1")
    assert "the provider asked" in decision.why


@pytest.mark.parametrize(
    "fields",
    [
        {"org": "o2"},
        {"workspace": "slack:T9"},
        {"channel": "slack:T0123/C9"},
        {"sector": "government"},
        {"sector": "finance/insurance"},
        {"category": "fire"},
        {"capability": Capability.EXPORT},
        {"org": "o1", "category": "fire"},
        {"from_at": NOW + timedelta(milliseconds=1)},
        {"until": NOW},
        {"lifted_at": NOW},
    ],
)
def test_revocation_that_does_not_match_or_is_not_live_changes_nothing(fields):
    fields = {"from_at": NOW - timedelta(hours=1)} | fields
    assert decide(policy([make_grant()], [make_revocation(**fields)]), request()).allowed


def test_revocation_of_another_provider_denies_what_it_has_shaped():
    rules = policy([make_grant()], [make_revocation(provider="x")])
    assert decide(rules, request()).rule == "view"
    assert decide(rules, request(view=ProviderSet.parse("*!x"))).allowed
    assert decide(rules, request(view=None)).allowed


def test_sector_means_itself_and_everything_below_but_not_its_namesakes():
    rules = policy([make_grant(org=None, sector="government")])
    for sector, allowed in (("government", True), ("government/intelligence", True), ("governmental", False)):
        org = make_organisation(org="o9", sector=sector)
        assert decide(rules, request(org=org)).allowed is allowed
    assert not decide(rules, request()).allowed


def test_every_provider_of_the_evidence_needs_a_grant():
    rules = policy([make_grant(provider="bluesky")])
    only = ProviderSet.parse("bluesky")
    assert decide(rules, request(view=only)).allowed
    denied = decide(rules, request(view=only, providers=frozenset({"bluesky", "x"})))
    assert denied.why == "Acme has no grant for alerts from x"


def test_expired_grant_says_so():
    rules = policy([make_grant(until=NOW)])
    decision = decide(rules, request())
    assert (decision.allowed, decision.rule) == (False, "expired g1")
    assert decide(rules, request(at=NOW - timedelta(seconds=1))).allowed


def test_capabilities_are_separate():
    rules = policy([make_grant(capabilities=frozenset({Capability.ALERTS}))])
    assert decide(rules, request()).allowed
    for capability in (Capability.EVIDENCE, Capability.HISTORY, Capability.EXPORT):
        assert not decide(rules, request(capability=capability)).allowed


def test_suspended_organisation_gets_nothing():
    org = make_organisation(state=OrganisationState.SUSPENDED)
    assert decide(policy([make_grant()]), request(org=org)).rule == "suspended"
    assert permitted(policy([make_grant()]), org, NOW).empty


def test_clock_read_before_the_revocation_does_not_slip_under_it():
    rules = policy([make_grant()], [make_revocation(from_at=NOW)], changed_at=NOW)
    earlier = NOW - timedelta(seconds=5)
    assert not decide(rules, request(at=earlier)).allowed
    assert permitted(rules, make_organisation(), earlier).empty


def test_unknown_sector_names_those_that_exist():
    with pytest.raises(errors.UsageError, match=r"finance/bank.*government/intelligence"):
        access.check_sector("finance/casino")


@pytest.mark.parametrize("name", ["", "-", "Bluesky", "a+b", "a!b", "a b", "a|b", "a" * 65, "*!x", "x\n"])
def test_provider_names_that_would_break_a_key_are_refused(name):
    with pytest.raises(errors.UsageError, match="is not a name"):
        access.check_provider(name)


# ---- properties

providers = st.sampled_from(UNIVERSE)
sets = st.builds(ProviderSet, st.booleans(), st.frozensets(providers))
orgs = st.builds(
    make_organisation, org=st.sampled_from(["o1", "o2"]), sector=st.sampled_from(["finance/bank", "government"])
)
grants = st.builds(
    make_grant,
    org=st.sampled_from([None, "o1", "o2"]),
    sector=st.sampled_from([None, "finance", "government"]),
    provider=st.sampled_from((*UNIVERSE, "*")),
    capabilities=st.frozensets(st.sampled_from(list(Capability))),
    until=st.sampled_from([None, NOW, NOW + timedelta(hours=1)]),
)
revocations = st.builds(
    make_revocation,
    org=st.sampled_from([None, "o1"]),
    workspace=st.sampled_from([None, "slack:T0123", "slack:T9"]),
    channel=st.sampled_from([None, "slack:T0123/C0456", "slack:T9/C9"]),
    sector=st.sampled_from([None, "finance", "government"]),
    provider=st.sampled_from([None, *UNIVERSE, "*"]),
    category=st.sampled_from([None, "explosion", "fire"]),
    capability=st.sampled_from([None, *Capability]),
    from_at=st.sampled_from([NOW - timedelta(hours=1), NOW, NOW + timedelta(hours=1)]),
    until=st.sampled_from([None, NOW, NOW + timedelta(hours=2)]),
    lifted_at=st.sampled_from([None, None, NOW]),
)
requests = st.builds(
    request,
    org=orgs,
    capability=st.sampled_from(list(Capability)),
    providers=st.frozensets(providers),
    category=st.sampled_from([None, "explosion", "fire"]),
    view=st.one_of(st.none(), sets),
)
lists = st.lists(revocations, max_size=4)


def among(view):
    return {name for name in (*UNIVERSE, OUTSIDE) if view.permits(name)}


@given(sets, sets)
def test_within_is_the_subset_relation(one, other):
    assert one.within(other) is (among(one) <= among(other))
    assert one.empty is (among(one) == set())


@given(sets)
def test_key_is_canonical_and_parse_is_its_inverse(view):
    assert ProviderSet.parse(view.key) == view


def test_different_sets_have_different_keys():
    views = [
        ProviderSet(everything, frozenset(name for name, kept in zip(UNIVERSE, bits, strict=True) if kept))
        for everything in (True, False)
        for bits in product((True, False), repeat=3)
    ]
    assert len({view.key for view in views}) == len(views)
    assert {view.key for view in views} >= {"*", "-", "*!x", "bluesky+usgs"}


@settings(max_examples=300)
@given(st.lists(grants, max_size=4), lists, revocations, requests)
def test_one_more_revocation_never_allows_anything(some, before, more, asked):
    if not decide(policy(some, before), asked).allowed:
        assert not decide(policy(some, [*before, more]), asked).allowed
    view = permitted(policy(some, [*before, more]), asked.org, NOW, asked.capability)
    assert view.within(permitted(policy(some, before), asked.org, NOW, asked.capability))


@settings(max_examples=300)
@given(st.lists(grants, max_size=4), lists, requests)
def test_deny_wins(some, before, asked):
    if any(each.live(NOW) and access.hits(each, asked) for each in before):
        assert not decide(policy([make_grant(), *some], before), asked).allowed


@given(st.lists(grants, max_size=4), lists, grants, requests)
def test_one_more_grant_never_denies_anything(some, before, more, asked):
    if decide(policy(some, before), asked).allowed:
        assert decide(policy([*some, more], before), asked).allowed


@given(st.lists(grants, max_size=4), revocations, orgs, st.sampled_from(list(Capability)))
def test_revocation_with_narrower_limits_leaves_the_view_alone(some, revocation, org, capability):
    if revocation.workspace or revocation.channel or revocation.category:
        assert permitted(policy(some, [revocation]), org, NOW, capability) == permitted(
            policy(some), org, NOW, capability
        )


@settings(max_examples=300)
@given(st.lists(grants, max_size=4), lists, orgs)
def test_permitted_holds_what_decide_allows_one_by_one(some, before, org):
    wide = [each for each in before if not (each.workspace or each.channel or each.category)]
    rules = policy(some, wide)
    view = permitted(rules, org, NOW)
    for provider in (*UNIVERSE, OUTSIDE):
        asked = request(org=org, providers=frozenset({provider}), view=None)
        assert view.permits(provider) is decide(rules, asked).allowed
