"""What providers' terms ask for, as policy."""

from datetime import timedelta

import pytest

from bot.domain import access as rules
from bot.ingest import terms
from classifiers.api import CATEGORIES
from tests import factories


@pytest.mark.parametrize("name", terms.TERMS)
def test_each_is_about_what_exists(name: str) -> None:
    known = terms.TERMS[name]
    assert known.note.endswith(".")
    assert known.barred_sectors <= rules.SECTORS
    assert {sector for _, sector in known.barred_cells} <= rules.SECTORS
    assert {category for category, _ in known.barred_cells} <= set(CATEGORIES)
    assert known.retention >= timedelta(days=2)


@pytest.mark.parametrize(
    ("kind", "provider", "name"),
    [
        ("jetstream", "bluesky", "bluesky"),
        ("rss", "rss:reuters", "rss"),
        ("replay", "nws", "nws"),
        ("x", "twitter", "x"),
        ("rss", "x", "x"),
        ("push", "x", "x"),
    ],
)
def test_neither_the_type_nor_the_name_alone_gets_around_them(kind: str, provider: str, name: str) -> None:
    assert terms.of(kind, provider) is terms.TERMS[name]


def test_of_what_nobody_knows_nothing_is_known() -> None:
    assert terms.of("push", "control-room") is terms.UNKNOWN
    assert not terms.UNKNOWN.bars


@pytest.mark.parametrize(
    ("sector", "category", "allowed"),
    [
        ("government/intelligence", "earthquake", False),
        ("government/law_enforcement", "unrest", False),
        ("government/law_enforcement", "earthquake", True),
        ("news/agency", "unrest", True),
    ],
)
def test_what_x_bars_is_denied(sector: str, category: str, allowed: bool) -> None:
    org = factories.make_organisation(sector=sector)
    policy = rules.Policy(
        version=1, grants=(factories.make_grant(),), revocations=(), terms=(terms.TERMS["x"].barring("x"),)
    )
    request = rules.Request(org=org, at=factories.NOW, providers=frozenset({"x"}), category=category)
    assert rules.decide(policy, request).allowed is allowed
    assert terms.TERMS["x"].needs_consent
    assert terms.TERMS["x"].deletion_deadline == timedelta(hours=24)
