"""What each View's Detector remembers, so that a restart goes on from there. Absent: it is rebuilt from the posts."""

import json
from collections.abc import Collection
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.domain.memory import KeptCluster, KeptPost, Memory
from bot.store.database import row, rows

_TABLES = ("detectors", "clusters", "members")


def save(db: Database, view: str, memory: Memory) -> None:
    """Write what changed, or everything in place of what was kept, in the transaction that stores the posts it comes
    from."""
    if memory.whole:
        forget(db, view)
    begun = None if memory.begun is None else times.to_text(memory.begun)
    db.execute(
        "INSERT OR REPLACE INTO detectors VALUES (?, ?, ?, ?, ?, ?)",
        [view, times.to_text(memory.now), begun, memory.number, memory.turn, json.dumps(memory.pending)],
    )
    _many(db, "DELETE FROM clusters WHERE view = ? AND cluster = ?", [(view, each) for each in memory.gone_clusters])
    _many(db, "DELETE FROM members WHERE view = ? AND post = ?", [(view, key) for key in memory.gone_posts])
    _many(
        db,
        "INSERT OR REPLACE INTO clusters VALUES (?, ?, ?, ?, ?, ?)",
        [
            (view, kept.number, kept.turn, times.to_text(kept.last_at), kept.event, _more(kept))
            for kept in memory.clusters
        ],
    )
    _many(
        db,
        "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?)",
        [(view, kept.key, kept.cluster, kept.turn, times.to_text(kept.stream_at)) for kept in memory.posts],
    )


def load(db: Database, view: str) -> Memory | None:
    """Everything that was kept of a View; None where there is nothing to go on from."""
    found = row(db, "SELECT * FROM detectors WHERE view = ?", [view])
    if found is None:
        return None
    clusters = rows(db, "SELECT * FROM clusters WHERE view = ? ORDER BY turn", [view])
    members = rows(db, "SELECT * FROM members WHERE view = ? ORDER BY turn", [view])
    return Memory(
        whole=True,
        now=times.from_text(found["now"]),
        begun=None if found["begun"] is None else times.from_text(found["begun"]),
        number=found["number"],
        turn=found["turn"],
        pending=tuple(json.loads(found["pending"])),
        clusters=tuple(_cluster(each) for each in clusters),
        posts=tuple(
            KeptPost(
                key=each["post"],
                cluster=each["cluster"],
                turn=each["turn"],
                stream_at=times.from_text(each["stream_at"]),
            )
            for each in members
        ),
    )


def forget_others(db: Database, keep: Collection[str]) -> None:
    """A View whose detector did not see a batch cannot go on from what it remembers."""
    for found in rows(db, "SELECT view FROM detectors"):
        if found["view"] not in keep:
            forget(db, found["view"])


def forget(db: Database, view: str) -> None:
    for table in _TABLES:
        db.execute(f"DELETE FROM {table} WHERE view = ?", [view])  # noqa: S608


def _many(db: Database, sql: str, params: list[tuple[Any, ...]]) -> None:
    if params:
        db.conn.executemany(sql, params)


def _more(kept: KeptCluster) -> str:
    """Only what is set: most clusters are a post or two that were never raised."""
    more = {
        "closed": kept.closed,
        "absorbed": kept.absorbed,
        "parted_from": kept.parted_from,
        "denied_by": kept.denied_by,
        "cancelled": kept.cancelled,
    }
    return json.dumps({name: value for name, value in more.items() if value})


def _cluster(found: dict[str, Any]) -> KeptCluster:
    more = json.loads(found["more"])
    return KeptCluster(
        number=found["cluster"],
        turn=found["turn"],
        last_at=times.from_text(found["last_at"]),
        event=found["event"],
        closed=more.get("closed", False),
        absorbed=tuple(more.get("absorbed", ())),
        parted_from=tuple(more.get("parted_from", ())),
        denied_by=tuple(more.get("denied_by", ())),
        cancelled=tuple(more.get("cancelled", ())),
    )
