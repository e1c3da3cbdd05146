"""Who was missed: organisations that look like a class whose access is withdrawn, and are not in it."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bot.domain import access as rules
from bot.domain.access import Organisation
from bot.domain.resemblance import Profile, signs
from bot.store import access, directory
from bot.store.database import Tables


def clients(db: Tables, at: datetime, sector: str | None = None) -> list[dict[str, Any]]:
    """Each with its evidence, for a person to judge. ``sector``: look for this class; None: for every class that a live
    revocation or a provider's terms bar."""
    orgs = directory.organisations(db)
    parents = {org.name.casefold(): org.sector for org in orgs}
    barred = [rules.check_sector(sector)] if sector else sorted(_barred(db, at))
    profiles = _profiles(db, orgs)
    found = []
    for each in barred:
        for profile in profiles:
            evidence = signs(profile, each, parents)
            if evidence:
                found.append(
                    {
                        "org": profile.org.org,
                        "name": profile.org.name,
                        "sector": profile.org.sector,
                        "looks_like": each,
                        "signs": [{"kind": sign.kind, "evidence": sign.evidence} for sign in evidence],
                    }
                )
    return sorted(found, key=lambda row: (-len(row["signs"]), row["name"], row["looks_like"]))


def _barred(db: Tables, at: datetime) -> set[str]:
    policy = access.policy(db)
    withdrawn = {each.sector for each in policy.revocations if each.sector is not None and each.live(at)}
    by_terms = {sector for terms in policy.terms for sector in terms.barred_sectors}
    by_cells = {sector for terms in policy.terms for _, sector in terms.barred_cells}
    return withdrawn | by_terms | by_cells


def _profiles(db: Tables, orgs: Iterable[Organisation]) -> list[Profile]:
    """A Slack channel that two workspaces share has one id in both."""
    domains: dict[str, set[str]] = {}
    for row in directory.domains(db):
        domains.setdefault(row["org"], set()).add(row["domain"])
    owners: dict[str, set[str]] = {}
    for row in directory.channels(db):
        if row["platform"] == "slack":
            owners.setdefault(row["channel"].rpartition("/")[2], set()).add(row["org"])
    known = {org.org: org for org in orgs}
    shared: dict[str, dict[str, str]] = {}
    for together in owners.values():
        for one in together:
            for other in together - {one}:
                shared.setdefault(one, {})[known[other].name] = known[other].sector
    return [
        Profile(
            org=org,
            domains=frozenset(domains.get(org.org, set()) | ({org.domain} - {""})),
            shares_with=shared.get(org.org, {}),
        )
        for org in known.values()
    ]
