"""Join codes: one code, one workspace. Only their hashes are kept."""

from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.store.database import row


def add(db: Database, code_hash: str, org: str, *, by: str, at: datetime, expires_at: datetime) -> None:
    db.execute(
        "INSERT INTO join_codes (hash, org, created_at, created_by, expires_at) VALUES (?, ?, ?, ?, ?)",
        [code_hash, org, times.to_text(at), by, times.to_text(expires_at)],
    )


def find(db: Database, code_hash: str) -> dict[str, Any] | None:
    return row(db, "SELECT * FROM join_codes WHERE hash = ?", [code_hash])


def use(db: Database, code_hash: str, *, by: str, workspace: str, at: datetime) -> None:
    db.execute(
        "UPDATE join_codes SET used_at = ?, used_by = ?, workspace = ? WHERE hash = ?",
        [times.to_text(at), by, workspace, code_hash],
    )
