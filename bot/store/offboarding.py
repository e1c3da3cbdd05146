"""Workspaces whose token goes when everything that needs it is done."""

from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.store.database import rows


def add(db: Database, workspace: str, revocation: str, at: datetime) -> None:
    db.execute("INSERT OR REPLACE INTO dropping VALUES (?, ?, ?)", [workspace, revocation, times.to_text(at)])


def remove(db: Database, workspace: str) -> None:
    db.execute("DELETE FROM dropping WHERE workspace = ?", [workspace])


def cancel(db: Database, revocation: str) -> None:
    """What this revocation had let go of stays."""
    db.execute("DELETE FROM dropping WHERE revocation = ?", [revocation])


def ready(db: Database, at: datetime) -> list[dict[str, Any]]:
    """Those to which nothing is to be sent any more that still could be, and whose messages no operator may still
    decide to take back: ``workspace``, ``revocation``."""
    return rows(
        db,
        """
        SELECT workspace, min(revocation) AS revocation FROM dropping
        WHERE NOT EXISTS (SELECT 1 FROM deliveries WHERE state IN ('queued', 'sending', 'unknown')
                AND channel LIKE dropping.workspace || '/%')
            AND NOT EXISTS (SELECT 1 FROM proposals WHERE act = 'retract' AND target = dropping.revocation
                AND state = 'open' AND expires_at > ?)
        GROUP BY workspace ORDER BY workspace
        """,
        [times.to_text(at)],
    )
