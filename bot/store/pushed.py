"""Post lines that were pushed to us and wait for their source to read them, and the signatures that were used."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlite_utils import Database

from bot.domain import times
from bot.store.database import row, rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    number: int
    line: bytes
    received_at: datetime


def use_signature(db: Database, signature: str, *, now: datetime, expires_at: datetime) -> bool:
    """False if it was used before."""
    db.execute("DELETE FROM push_signatures WHERE expires_at <= ?", [times.to_text(now)])
    added = db.execute("INSERT OR IGNORE INTO push_signatures VALUES (?, ?)", [signature, times.to_text(expires_at)])
    return added.rowcount > 0


def add(db: Database, source: str, lines: Iterable[tuple[str, bytes]], at: datetime) -> int:
    """Keep lines, each with the name of the item that it is about; one that waits already stays as it is. Returns how
    many are new."""
    added = 0
    for item, line in lines:
        added += db.execute(
            "INSERT OR IGNORE INTO pushed (source, item, line, received_at) VALUES (?, ?, ?, ?)",
            [source, item, line, times.to_text(at)],
        ).rowcount
    return added


def waiting(db: Database, source: str) -> int:
    """How many lines a source has not been recorded to have read."""
    found = row(db, "SELECT count(*) AS n FROM pushed WHERE source = ?", [source])
    return int(found["n"]) if found else 0


def after(db: Database, source: str, number: int, most: int) -> Sequence[Pushed]:
    """The oldest lines after that one."""
    return [
        Pushed(number=found["number"], line=found["line"], received_at=times.from_text(found["received_at"]))
        for found in rows(
            db,
            "SELECT number, line, received_at FROM pushed WHERE source = ? AND number > ? ORDER BY number LIMIT ?",
            [source, number, most],
        )
    ]


def forget(db: Database, source: str) -> int:
    """Delete what lies before the source's stored cursor: it has been recorded. Returns how many lines went."""
    return db.execute(
        "DELETE FROM pushed WHERE source = :source AND number <= "
        "(SELECT CAST(cursor AS INTEGER) FROM cursors WHERE source = :source)",
        {"source": source},
    ).rowcount


def expire(db: Database, before: datetime) -> int:
    """Delete lines that nobody has read since then: their source is not configured any more. Returns how many."""
    return db.execute("DELETE FROM pushed WHERE received_at < ?", [times.to_text(before)]).rowcount
