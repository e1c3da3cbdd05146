"""Signs that an organisation is of a class that it does not say it belongs to; each for a person to judge."""

import pytest

from bot.domain.resemblance import Profile, signs
from tests.factories import make_organisation

INTELLIGENCE, POLICE, GOVERNMENT = "government/intelligence", "government/law_enforcement", "government"


def found(barred=GOVERNMENT, *, domains=(), shares_with=None, parents=None, **fields):
    org = make_organisation(**{"name": "Acme", "sector": "corporate_security"} | fields)
    profile = Profile(org=org, domains=frozenset(domains), shares_with=shares_with)
    return [(sign.kind, sign.evidence) for sign in signs(profile, barred, parents or {})]


def kinds(*args, **fields):
    return [kind for kind, _ in found(*args, **fields)]


@pytest.mark.parametrize(
    ("barred", "fields", "kind", "says"),
    [
        (INTELLIGENCE, {"name": "Northern Fusion Centre"}, "name", "fusion cent"),
        (INTELLIGENCE, {"purpose": "counterterrorism support"}, "purpose", "counterterror"),
        (INTELLIGENCE, {"parent": "Office of Signals"}, "parent", "signals"),
        (POLICE, {"name": "PORT CALDER POLICE"}, "name", "police"),
        (POLICE, {"purpose": "For the sheriffs of the valley"}, "purpose", "sheriff"),
        (GOVERNMENT, {"purpose": "work for the Department of Works"}, "purpose", "department of"),
        (GOVERNMENT, {"purpose": "social media surveillance"}, "purpose", "surveil"),
        (GOVERNMENT, {"purpose": "find persons of interest"}, "purpose", "persons of interest"),
        ("news", {"name": "Calder Broadcasting"}, "name", "broadcast"),
        ("finance", {"name": "Calder Banks"}, "name", "bank"),
    ],
)
def test_words_of_the_class_are_evidence(barred, fields, kind, says):
    ((found_kind, evidence),) = found(barred, **fields)
    assert found_kind == kind
    assert repr(says) in evidence
    assert repr(next(iter(fields.values()))) in evidence


@pytest.mark.parametrize(
    ("barred", "fields"),
    [
        (INTELLIGENCE, {"name": "Crispy Spyglass Bakery"}),
        ("finance", {"name": "Burbank Theatre"}),
        ("finance", {"name": "Embankment Gardens"}),
        ("news", {"name": "Newsome and Daughters"}),
        (GOVERNMENT, {"name": "Confederal Borderline Navymead"}),
        (POLICE, {"name": "Acme", "purpose": "metropolicy research"}),
        (GOVERNMENT, {}),
    ],
)
def test_words_within_other_words_are_not(barred, fields):
    assert found(barred, **fields) == []


@pytest.mark.parametrize(
    "domain",
    ["harbour.gov", "gov.uk", "council.gov.uk", "base.mil", "interior.gouv.fr", "x.gob.mx", "x.gv.at", "X.GOV",
     "ec.europa.eu"],
)  # fmt: skip
def test_domain_that_only_governments_get_is_evidence(domain):
    assert kinds(domains=[domain]) == ["domain"]
    assert domain in found(domains=[domain])[0][1]


@pytest.mark.parametrize(
    "domain", ["acme.example", "mygov.example", "gov.acme.example", "mil.example.com", "milan.it", "europa.example", ""]
)
def test_domain_that_only_looks_like_it_is_not(domain):
    assert found(domains=[domain]) == []


def test_governments_domain_says_nothing_new_of_another_part_of_government():
    assert found(INTELLIGENCE, sector="government/health", domains=["health.gov"]) == []
    assert kinds(INTELLIGENCE, sector="news", domains=["health.gov"]) == ["domain"]


def test_governments_domain_is_no_sign_of_another_class():
    assert found("finance", domains=["treasury.gov"]) == []


def test_parent_and_shared_channels_are_evidence_by_their_sectors():
    parents = {"state bureau": "government/intelligence"}
    assert kinds(INTELLIGENCE, parent="State Bureau", parents=parents) == ["parent"]
    assert kinds(POLICE, parent="State Bureau", parents=parents) == []
    shared = {"Analysts": INTELLIGENCE, "First Bank": "finance/bank"}
    assert found(INTELLIGENCE, shares_with=shared) == [
        ("channel", "shares a channel with 'Analysts', which is government/intelligence")
    ]


@pytest.mark.parametrize("sector", ["government/intelligence", "government/law_enforcement", "government"])
def test_whoever_is_in_the_class_is_not_missed(sector):
    assert found(GOVERNMENT, sector=sector, name="Police intelligence", domains=["a.gov"]) == []


def test_whoever_declares_another_part_of_government_is_found_by_what_it_says():
    assert kinds(INTELLIGENCE, sector="government/emergency", name="Fusion Center") == ["name"]
