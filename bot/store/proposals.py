"""Acts that one person has proposed and another has to approve."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.store.database import row, rows


def add(
    db: Database,
    proposal: str,
    act: str,
    args: str,
    *,
    target: str,
    reason: str,
    by: str,
    proposer: str,
    at: datetime,
    expires_at: datetime,
) -> None:
    """``by``: the account and its person; ``proposer``: the person alone."""
    db.execute(
        "INSERT INTO proposals (proposal, act, args, target, reason, proposed_by, proposer, proposed_at, expires_at, "
        "state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 'open')",
        [proposal, act, args, target, reason, by, proposer, times.to_text(at), times.to_text(expires_at)],
    )


def get(db: Database, proposal: str) -> dict[str, Any] | None:
    return row(db, "SELECT * FROM proposals WHERE proposal = ?", [proposal])


def listed(db: Database) -> list[dict[str, Any]]:
    return rows(db, "SELECT * FROM proposals ORDER BY proposed_at DESC, proposal")


def decide(db: Database, proposal: str, state: str, *, by: str, at: datetime) -> None:
    db.execute(
        "UPDATE proposals SET state = ?, decided_by = ?, decided_at = ? WHERE proposal = ?",
        [state, by, times.to_text(at), proposal],
    )


def required(db: Database) -> frozenset[str]:
    """The acts that need a second person by the configuration that the service last ran with: whoever uses the command
    line with another one, or none, is held to them all the same."""
    found = row(db, "SELECT value FROM settings WHERE name = 'two_persons'")
    return frozenset(json.loads(found["value"])) if found else frozenset()


def set_required(db: Database, acts: Iterable[str]) -> None:
    db.execute(
        "INSERT INTO settings VALUES ('two_persons', ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        [json.dumps(sorted(acts))],
    )
