"""Cursors and gaps."""

from datetime import datetime

from sqlite_utils import Database

from bot.domain import times
from bot.domain.post import Gap
from bot.store.database import rows


def cursors(db: Database) -> dict[str, str]:
    """Where each source goes on."""
    return {found["source"]: found["cursor"] for found in rows(db, "SELECT source, cursor FROM cursors")}


def save_cursor(db: Database, source: str, cursor: str, at: datetime) -> None:
    """Call it in the transaction that stores what lies before the cursor."""
    db.execute(
        "INSERT INTO cursors VALUES (?, ?, ?) "
        "ON CONFLICT (source) DO UPDATE SET cursor = excluded.cursor, at = excluded.at",
        [source, cursor, times.to_text(at)],
    )


def add_gap(db: Database, source: str, gap: Gap, at: datetime) -> None:
    db.execute(
        "INSERT INTO gaps (source, since, until, reason, recorded_at) VALUES (?, ?, ?, ?, ?)",
        [
            source,
            gap.since and times.to_text(gap.since),
            gap.until and times.to_text(gap.until),
            gap.reason,
            times.to_text(at),
        ],
    )


def gaps(db: Database) -> list[dict[str, object]]:
    return rows(db, "SELECT source, since, until, reason, recorded_at FROM gaps ORDER BY gap")
