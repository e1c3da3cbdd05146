"""Post lines that were pushed to us and wait for their source to read them, and the signatures that were used."""

from collections.abc import Collection, Iterable, Sequence
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Lines of one source that nobody will read, from the first that was received to the last."""

    source: str
    lines: int
    since: datetime
    until: datetime


def use_signature(db: Database, signature: str, *, expires_at: datetime) -> bool:
    """False if it was used before."""
    added = db.execute("INSERT OR IGNORE INTO push_signatures VALUES (?, ?)", [signature, times.to_text(expires_at)])
    return added.rowcount > 0


def forget_signatures(db: Database, before: datetime) -> None:
    """Those that expired before then; from then on they could be used again."""
    db.execute("DELETE FROM push_signatures WHERE expires_at <= ?", [times.to_text(before)])


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
    found = row(db, "SELECT lines FROM pushed_sums WHERE source = ?", [source])
    return int(found["lines"]) if found else 0


def weight(db: Database, source: str) -> int:
    """How many bytes these lines have."""
    found = row(db, "SELECT bytes FROM pushed_sums WHERE source = ?", [source])
    return int(found["bytes"]) if found else 0


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


def last_number(db: Database) -> int:
    """The number of the last line that was ever kept, of whichever source; no number is given twice."""
    found = row(db, "SELECT seq FROM sqlite_sequence WHERE name = 'pushed'")
    return int(found["seq"]) if found else 0


def forget(db: Database, source: str) -> int:
    """Delete what lies before the source's stored cursor: it has been recorded. Returns how many lines went.

    A cursor that is no number which was given to a line is another source's, which had the name before or has it now.
    """
    return db.execute(
        "DELETE FROM pushed WHERE source = :source AND number <= ("
        "SELECT CAST(cursor AS INTEGER) FROM cursors WHERE source = :source AND cursor NOT GLOB '*[^0-9]*' "
        "AND CAST(cursor AS INTEGER) <= (SELECT seq FROM sqlite_sequence WHERE name = 'pushed'))",
        {"source": source},
    ).rowcount


def expire(db: Database, before: datetime, configured: Collection[str]) -> list[Unread]:
    """Delete what was received before then for sources that are not ``configured`` any more. Returns what of it was
    never read."""
    found = rows(db, "SELECT DISTINCT source FROM pushed WHERE received_at < ?", [times.to_text(before)])
    unread = [_expire(db, each["source"], before) for each in found if each["source"] not in configured]
    return [each for each in unread if each is not None]


def _expire(db: Database, source: str, before: datetime) -> Unread | None:
    forget(db, source)
    given = [source, times.to_text(before)]
    found = row(
        db,
        "SELECT count(*) AS n, min(received_at) AS since, max(received_at) AS until FROM pushed "
        "WHERE source = ? AND received_at < ?",
        given,
    )
    if not found or not found["n"]:
        return None
    db.execute("DELETE FROM pushed WHERE source = ? AND received_at < ?", given)
    since, until = times.from_text(found["since"]), times.from_text(found["until"])
    return Unread(source=source, lines=found["n"], since=since, until=until)
