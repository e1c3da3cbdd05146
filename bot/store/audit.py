"""The audit table. ``append`` inside the transaction of what it records."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import audit, times
from bot.domain.audit import AuditEntry
from bot.store.database import row


def append(
    db: Database,
    *,
    at: datetime,
    actor: str,
    surface: str,
    action: str,
    target: str,
    reason: str = "",
    effect: dict[str, Any] | None = None,
) -> AuditEntry:
    """Seal one entry over the last one and store it."""
    last = row(db, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    entry = audit.seal(
        AuditEntry(
            seq=last["seq"] + 1 if last else 1,
            at=times.to_text(at),
            actor=actor,
            surface=surface,
            action=action,
            target=target,
            reason=reason,
            effect=effect or {},
            prev_hash=last["hash"] if last else audit.GENESIS,
        )
    )
    db.execute(
        "INSERT INTO audit VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            entry.seq,
            entry.at,
            entry.actor,
            entry.surface,
            entry.action,
            entry.target,
            entry.reason,
            json.dumps(entry.effect, sort_keys=True),
            entry.prev_hash,
            entry.hash,
        ],
    )
    return entry


def head(db: Database) -> dict[str, Any]:
    """``seq`` and ``hash`` of the last entry; of an empty audit 0 and the chain's beginning."""
    last = row(db, "SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1")
    return last or {"seq": 0, "hash": audit.GENESIS}


def latest(db: Database, most: int) -> list[AuditEntry]:
    """The last entries, oldest first."""
    found = list(db.query("SELECT * FROM audit ORDER BY seq DESC LIMIT ?", [most]))
    return [AuditEntry(**each | {"effect": json.loads(each["effect"])}) for each in reversed(found)]


def entries(db: Database) -> Iterator[AuditEntry]:
    """All entries, oldest first."""
    for found in db.query("SELECT * FROM audit ORDER BY seq"):
        yield AuditEntry(**found | {"effect": json.loads(found["effect"])})
