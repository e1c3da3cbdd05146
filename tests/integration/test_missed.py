"""Who was missed: invented organisations of six sectors, some of which are not what they say, and some that only seem
so."""

from datetime import timedelta

import pytest

from bot import admin, missed
from bot.domain.access import OrganisationState
from bot.store import directory
from tests.worlds import World

SEEN = {
    "Harbour Signals": {"sector": "government/intelligence"},
    "North Fusion Center": {"sector": "government/emergency", "purpose": "situation reports"},
    "Kestrel Data": {"sector": "corporate_security", "purpose": "surveillance of protest organisers for the Police"},
    "Calder Analytics": {"sector": "research", "parent": "harbour signals"},
    "Gull Media": {"sector": "news", "domain": "news.base.mil"},
    "Relief Desk": {"sector": "humanitarian"},
}
NEAR = {
    "Spyglass Insurance": {"sector": "finance/insurance", "domain": "spyglass.example", "purpose": "claims"},
    "First Bank of Calder": {"sector": "finance/bank", "domain": "gov.bank.example", "parent": "Calder Holdings"},
    "Crispy News": {"sector": "news/print", "purpose": "to report on storms"},
    "Fire Service": {"sector": "government/emergency", "domain": "fire.gov", "purpose": "to fight fires"},
    "Port Watch": {"sector": "corporate_security", "purpose": "port safety", "domain": "milan.example"},
    "Tide Lab": {"sector": "research"},
}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    for name, fields in (SEEN | NEAR).items():
        known = {key: value for key, value in fields.items() if key != "sector"}
        world.act(admin.add_organisation, name, fields["sector"], **known)
    yield world
    world.close()


def bind(world, name, channel):
    world.act(admin.add_channel, name, admin.channels.parse(channel))


def clients(world, sector=None):
    found = world.write(missed.clients, world.now, sector)
    return {row["name"]: {sign["kind"] for sign in row["signs"]} for row in found}


def test_those_that_look_like_the_class_are_found_with_the_evidence_and_near_misses_are_not(world):
    bind(world, "Harbour Signals", "slack:T0001/CSHARED")
    bind(world, "Relief Desk", "slack:T0002/CSHARED")
    assert clients(world, "government/intelligence") == {
        "North Fusion Center": {"name"},
        "Kestrel Data": {"purpose"},
        "Calder Analytics": {"parent"},
        "Gull Media": {"domain"},
        "Relief Desk": {"channel"},
    }


def test_each_sign_says_what_it_saw(world):
    found = {row["name"]: row for row in world.write(missed.clients, world.now, "government/intelligence")}
    assert found["Gull Media"]["signs"] == [
        {"kind": "domain", "evidence": "e-mail domain news.base.mil is a government's"}
    ]
    assert found["Gull Media"]["sector"] == "news"
    assert found["Gull Media"]["looks_like"] == "government/intelligence"
    assert found["Calder Analytics"]["signs"][0]["evidence"].startswith("parent 'harbour signals' says 'signals'")
    assert "its parent 'harbour signals' is government/intelligence" in str(found["Calder Analytics"])


def test_by_default_every_class_that_is_barred_is_looked_for(world):
    assert clients(world) == {}
    world.revoke(sector="government/intelligence", provider="x")
    assert "Gull Media" in clients(world)


@pytest.mark.parametrize("cells", [True, False])
def test_classes_that_a_providers_terms_bar_are_looked_for_too(world, cells):
    sector = "government/law_enforcement"
    world.act(
        admin.set_terms, provider="x", barred_sectors=[] if cells else [sector],
        barred_cells=[("unrest", sector)] if cells else [], quota=None, reason="terms",
    )  # fmt: skip
    assert "Kestrel Data" in clients(world)
    assert "North Fusion Center" not in clients(world)


def test_a_revocation_that_is_lifted_or_over_bars_no_class(world):
    world.revoke(sector="government/intelligence", until=world.now + timedelta(hours=1))
    world.wait(hours=2)
    assert clients(world) == {}


def test_a_workspaces_own_domain_is_evidence(world):
    bind(world, "Tide Lab", "slack:T0009/C1")
    world.write(directory.add_domain, "slack:T0009", "Coast.GOV")
    assert clients(world, "government")["Tide Lab"] == {"domain"}


def test_channels_of_one_id_on_two_discord_servers_are_two(world):
    bind(world, "Harbour Signals", "discord:1/77")
    bind(world, "Tide Lab", "discord:2/77")
    assert "Tide Lab" not in clients(world, "government/intelligence")


def test_suspended_organisations_are_looked_at_like_the_others(world):
    world.act(admin.set_organisation_state, "Gull Media", OrganisationState.SUSPENDED)
    assert "Gull Media" in clients(world, "government/intelligence")


def test_those_with_the_most_signs_come_first(world):
    bind(world, "Harbour Signals", "slack:T0001/CSHARED")
    bind(world, "Kestrel Data", "slack:T0002/CSHARED")
    found = world.write(missed.clients, world.now, "government")
    assert found[0]["name"] == "Kestrel Data"
    assert [len(row["signs"]) for row in found] == sorted((len(row["signs"]) for row in found), reverse=True)
