"""Cursors, gaps, and how the sources of the running service are doing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.domain.post import Gap
from bot.store.database import rows


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceState:
    """As it was at ``at``. ``per_second``: items over the last minute; ``usual_per_second``: over the last hours, the
    latest counting most; ``usual_gap_s``: between two items, None while too few came to say; ``quiet_since``: when the
    operators were told that it is quiet."""

    source: str
    at: datetime
    state: str
    items: int
    dropped: int
    skipped: int
    reconnects: int
    lag_s: float | None
    per_second: float
    usual_per_second: float
    usual_gap_s: float | None
    last_item_at: datetime | None
    last_error: str | None
    remedy: str | None
    quiet_since: datetime | None


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
    """A gap that is told again, since its source was started anew right after it, is the same one, maybe longer."""
    if gap.since is not None and gap.until is not None:
        longer = db.execute(
            "UPDATE gaps SET until = max(until, ?) WHERE source = ? AND since = ? AND reason = ?",
            [times.to_text(gap.until), source, times.to_text(gap.since), gap.reason],
        )
        if longer.rowcount:
            return
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


def save_states(db: Database, states: Iterable[SourceState]) -> None:
    for each in states:
        db.execute(
            "INSERT OR REPLACE INTO source_states VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                each.source,
                times.to_text(each.at),
                each.state,
                each.items,
                each.dropped,
                each.skipped,
                each.reconnects,
                each.lag_s,
                each.per_second,
                each.usual_per_second,
                each.usual_gap_s,
                each.last_item_at and times.to_text(each.last_item_at),
                each.last_error,
                each.remedy,
                each.quiet_since and times.to_text(each.quiet_since),
            ],
        )


def states(db: Database) -> dict[str, SourceState]:
    """By the source's name; also of sources that are not configured any more."""
    return {found["source"]: _state(found) for found in rows(db, "SELECT * FROM source_states")}


def _state(found: dict[str, Any]) -> SourceState:
    at = {name: found[name] and times.from_text(found[name]) for name in ("at", "last_item_at", "quiet_since")}
    return SourceState(**found | at)
