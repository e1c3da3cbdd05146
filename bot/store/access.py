"""Grants, revocations and the policy's version."""

import json
from collections.abc import Iterable
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.domain.access import MAX_VIEWS, Capability, Grant, Policy, ProviderSet, Revocation, Terms, permitted
from bot.store import directory
from bot.store.database import row, rows


def policy(db: Database) -> Policy:
    """Everything that ``decide`` needs. Read it in the transaction that uses it."""
    latest = row(
        db,
        "SELECT max(at) AS at FROM (SELECT max(created_at) AS at FROM revocations UNION ALL "
        "SELECT max(begun_at) FROM revocations UNION ALL SELECT max(expired_at) FROM grants)",
    )
    return Policy(
        version=version(db),
        grants=tuple(grants(db)),
        revocations=tuple(revocations(db)),
        terms=tuple(terms(db)),
        changed_at=_time(latest["at"]) if latest else None,
    )


def version(db: Database) -> int:
    found = row(db, "SELECT value FROM settings WHERE name = 'policy_version'")
    return int(found["value"]) if found else 0


def bump_version(db: Database) -> int:
    """Call it with every change of grants, revocations or an organisation's state or sector."""
    now = version(db) + 1
    db.execute(
        "INSERT INTO settings VALUES ('policy_version', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [str(now)],
    )
    return now


def changes(db: Database, at: datetime) -> tuple[int, int]:
    """The version, and how many grants and revocations have begun or ended by themselves: another one whenever what is
    permitted is another, whether by somebody's act or by the time."""
    found = row(
        db,
        "SELECT (SELECT count(*) FROM revocations WHERE from_at <= :at) + (SELECT count(*) FROM revocations "
        "WHERE until <= :at) + (SELECT count(*) FROM grants WHERE until <= :at) AS n",
        {"at": times.to_text(at)},
    )
    return version(db), found["n"] if found else 0


def live_views(db: Database, at: datetime) -> dict[str, ProviderSet]:
    """The distinct sets of permitted providers of all active organisations, by key.

    Past ``MAX_VIEWS`` none is added: such an organisation gets nothing, rather than something it may not have.
    """
    found: dict[str, ProviderSet] = {}
    for org, rules in policy(db).by_organisation(directory.organisations(db)):
        view = permitted(rules, org, at)
        if not view.empty and (view.key in found or len(found) < MAX_VIEWS):
            found[view.key] = view
    return found


def count_views(db: Database, at: datetime) -> int:
    """How many there would be without the limit."""
    everybody = policy(db).by_organisation(directory.organisations(db))
    found = (permitted(rules, org, at) for org, rules in everybody)
    return len({view.key for view in found if not view.empty})


def grants(db: Database) -> list[Grant]:
    return [
        Grant(
            grant=each["grant_id"],
            org=each["org"],
            sector=each["sector"],
            provider=each["provider"],
            capabilities=_capabilities(each["capabilities"]),
            until=_time(each["until"]),
        )
        for each in rows(db, "SELECT * FROM grants ORDER BY created_at, grant_id")
    ]


def add_grant(db: Database, grant: Grant, *, reason: str, author: str, at: datetime) -> None:
    db.execute(
        "INSERT INTO grants (grant_id, org, sector, provider, capabilities, until, reason, author, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            grant.grant,
            grant.org,
            grant.sector,
            grant.provider,
            json.dumps(sorted(grant.capabilities)),
            grant.until and times.to_text(grant.until),
            reason,
            author,
            times.to_text(at),
        ],
    )


def expired_unnoticed(db: Database, at: datetime) -> list[dict[str, Any]]:
    """Grants that have ended and of whose end nobody was told."""
    return rows(
        db, "SELECT * FROM grants WHERE until <= ? AND expired_at IS NULL ORDER BY until, grant_id", [times.to_text(at)]
    )


def note_expired(db: Database, grant: str, at: datetime) -> None:
    db.execute("UPDATE grants SET expired_at = ? WHERE grant_id = ?", [times.to_text(at), grant])


def terms(db: Database) -> list[Terms]:
    return [
        Terms(
            provider=each["provider"],
            barred_sectors=frozenset(json.loads(each["barred_sectors"])),
            barred_cells=frozenset((category, sector) for category, sector in json.loads(each["barred_cells"])),
            quota=each["quota"],
        )
        for each in rows(db, "SELECT * FROM terms ORDER BY provider")
    ]


def set_terms(db: Database, made: Terms, *, reason: str, author: str, at: datetime) -> None:
    """In place of what the provider's terms were."""
    db.execute(
        "INSERT OR REPLACE INTO terms VALUES (?, ?, ?, ?, ?, ?, ?)",
        [
            made.provider,
            json.dumps(sorted(made.barred_sectors)),
            json.dumps(sorted(made.barred_cells)),
            made.quota,
            reason,
            author,
            times.to_text(at),
        ],
    )


def quota_used(db: Database, org: str, at: datetime) -> dict[str, int]:
    """Provider → new events that rest on it and that an organisation was told of on this day (UTC)."""
    found = rows(db, "SELECT provider, n FROM quota_use WHERE day = ? AND org = ?", [times.to_text(at)[:10], org])
    return {each["provider"]: each["n"] for each in found}


def use_quota(db: Database, org: str, providers: Iterable[str], at: datetime) -> None:
    """One more new event that rests on these."""
    for provider in providers:
        db.execute(
            "INSERT INTO quota_use VALUES (?, ?, ?, 1) ON CONFLICT (day, org, provider) DO UPDATE SET n = n + 1",
            [times.to_text(at)[:10], org, provider],
        )


def revocations(db: Database) -> list[Revocation]:
    return [_revocation(each) for each in rows(db, "SELECT * FROM revocations ORDER BY created_at, revocation")]


def revocation_row(db: Database, revocation: str) -> dict[str, Any] | None:
    """The stored row with its effect decoded."""
    found = row(db, "SELECT * FROM revocations WHERE revocation = ?", [revocation])
    return None if found is None else found | {"effect": json.loads(found["effect"])}


def revocation_rows(db: Database) -> list[dict[str, Any]]:
    return [
        found | {"effect": json.loads(found["effect"])}
        for found in rows(db, "SELECT * FROM revocations ORDER BY created_at, revocation")
    ]


def add_revocation(
    db: Database,
    revocation: Revocation,
    *,
    author: str,
    at: datetime,
    effect: dict[str, Any],
    requester: str = "",
    notice: str | None = None,
    silent: str | None = None,
) -> None:
    """One that lies ahead has not begun; ``note_begun`` says when it has."""
    db.execute(
        "INSERT INTO revocations (revocation, org, workspace, channel, sector, provider, category, capability, reason, "
        "author, from_at, until, created_at, effect, requester, notice, silent, begun_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            revocation.revocation,
            revocation.org,
            revocation.workspace,
            revocation.channel,
            revocation.sector,
            revocation.provider,
            revocation.category,
            revocation.capability,
            revocation.reason,
            author,
            times.to_text(revocation.from_at),
            revocation.until and times.to_text(revocation.until),
            times.to_text(at),
            json.dumps(effect),
            requester,
            notice,
            silent,
            times.to_text(at) if revocation.from_at <= at else None,
        ],
    )


def beginning(db: Database, at: datetime) -> list[dict[str, Any]]:
    """Revocations whose time has come and that have not taken effect yet, as ``revocation_row`` gives them."""
    found = rows(
        db,
        "SELECT * FROM revocations WHERE begun_at IS NULL AND lifted_at IS NULL AND from_at <= ? ORDER BY from_at, 1",
        [times.to_text(at)],
    )
    return [each | {"effect": json.loads(each["effect"])} for each in found]


def note_begun(db: Database, revocation: str, at: datetime, effect: dict[str, Any]) -> None:
    db.execute(
        "UPDATE revocations SET begun_at = ?, effect = ? WHERE revocation = ?",
        [times.to_text(at), json.dumps(effect), revocation],
    )


def lift(db: Database, revocation: str, *, author: str, reason: str, at: datetime) -> None:
    db.execute(
        "UPDATE revocations SET lifted_at = ?, lifted_by = ?, lift_reason = ? WHERE revocation = ?",
        [times.to_text(at), author, reason, revocation],
    )


@lru_cache(maxsize=64)
def _capabilities(text: str) -> frozenset[Capability]:
    return frozenset(Capability(name) for name in json.loads(text))


def _revocation(found: dict[str, Any]) -> Revocation:
    return Revocation(
        revocation=found["revocation"],
        reason=found["reason"],
        from_at=times.from_text(found["from_at"]),
        org=found["org"],
        workspace=found["workspace"],
        channel=found["channel"],
        sector=found["sector"],
        provider=found["provider"],
        category=found["category"],
        capability=Capability(found["capability"]) if found["capability"] else None,
        until=_time(found["until"]),
        lifted_at=_time(found["lifted_at"]),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else times.from_text(text)
