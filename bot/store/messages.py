"""What people did with an event's message: acknowledged it, muted the event, said that it is not relevant.

``root`` is the delivery that posted the message.
"""

import json
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.domain.alert import Level
from bot.domain.delivery import Acknowledgement
from bot.domain.quieting import EventMute
from bot.store.database import row, rows


def acknowledge(db: Database, root: str, by: str, at: datetime) -> bool:
    """False if somebody had done so already."""
    changed = db.execute(
        "INSERT INTO messages (root, acknowledged_by, acknowledged_at) VALUES (?, ?, ?) ON CONFLICT (root) DO UPDATE "
        "SET acknowledged_by = excluded.acknowledged_by, acknowledged_at = excluded.acknowledged_at "
        "WHERE acknowledged_by IS NULL",
        [root, by, times.to_text(at)],
    )
    return changed.rowcount > 0


def acknowledgement(db: Database, root: str) -> Acknowledgement | None:
    found = row(db, "SELECT * FROM messages WHERE root = ? AND acknowledged_by IS NOT NULL", [root])
    if found is None:
        return None
    return Acknowledgement(by=found["acknowledged_by"], at=times.from_text(found["acknowledged_at"]))


def mute(db: Database, root: str, muted: EventMute) -> None:
    """In place of an earlier mute."""
    db.execute(
        "INSERT INTO messages (root, muted_by, muted_until, muted_level) VALUES (?, ?, ?, ?) ON CONFLICT (root) DO "
        "UPDATE SET muted_by = excluded.muted_by, muted_until = excluded.muted_until, "
        "muted_level = excluded.muted_level",
        [root, muted.by, muted.until and times.to_text(muted.until), muted.level and muted.level.value],
    )


def muted(db: Database, root: str) -> EventMute | None:
    found = row(db, "SELECT * FROM messages WHERE root = ? AND muted_by IS NOT NULL", [root])
    if found is None:
        return None
    return EventMute(
        by=found["muted_by"],
        until=times.from_text(found["muted_until"]) if found["muted_until"] else None,
        level=Level(found["muted_level"]) if found["muted_level"] else None,
    )


def add_feedback(db: Database, root: str, actor: str, view: str, alert: str, at: datetime) -> bool:
    """Somebody says that it is not relevant. False if they had said so before."""
    added = db.execute(
        "INSERT OR IGNORE INTO feedback VALUES (?, ?, ?, ?, ?)", [root, actor, times.to_text(at), view, alert]
    )
    return added.rowcount > 0


def feedback(db: Database) -> list[dict[str, Any]]:
    """The posts under what people called not relevant: ``provider``, ``id``, ``text``, ``langs``, the alert's
    ``category`` and how many people said so (``presses``: each once, in however many channels and revisions).

    Those first that were called so first; a post comes once for each category. Without posts that were deleted since
    or whose time is over, and without official warnings, which no model has chosen.
    """
    found = rows(
        db,
        "SELECT p.provider, p.id, p.text, json_extract(p.more, '$.langs') AS langs, a.category, "
        "count(DISTINCT f.actor) AS presses FROM feedback f "
        "JOIN alerts a ON a.view = f.view AND a.alert = f.alert JOIN json_each(a.body, '$.evidence') e "
        "JOIN posts p ON p.post = e.value "
        "WHERE p.deleted_at IS NULL AND p.purged_at IS NULL AND json_extract(p.more, '$.official') IS NULL "
        "GROUP BY p.post, a.category ORDER BY min(f.at), p.seq, a.category",
    )
    return [each | {"langs": json.loads(each["langs"])} for each in found]
