"""What the board lists: the last revision of a View's events, and all revisions of one, with the time of recording."""

import json
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import alert as alerts
from bot.domain import times
from bot.domain.alert import Alert
from bot.store.database import rows


def latest(db: Database, view: str, *, since: datetime | None, most: int) -> list[tuple[Alert, datetime]]:
    """The last revision of each event, where it was recorded from ``since`` on; the last raised first."""
    found = rows(
        db,
        "SELECT a.body, a.recorded_at FROM alerts a JOIN events e ON e.view = a.view AND e.event = a.event "
        "AND e.revision = a.revision WHERE a.view = ? AND a.recorded_at >= ? "
        "ORDER BY a.raised_at DESC, a.event LIMIT ?",
        [view, times.to_text(since) if since else "", most],
    )
    return [_recorded(each) for each in found]


def revisions(db: Database, view: str, event: str) -> list[tuple[Alert, datetime]]:
    """All revisions of an event, the first first."""
    found = rows(
        db,
        "SELECT body, recorded_at FROM alerts WHERE view = ? AND alert BETWEEN ? AND ? AND event = ? ORDER BY revision",
        [view, f"{event}-", f"{event}-:", event],  # by the key: an alert's id is its event's, a hyphen and digits
    )
    return [_recorded(each) for each in found]


def _recorded(found: dict[str, Any]) -> tuple[Alert, datetime]:
    return alerts.from_body(json.loads(found["body"])), times.from_text(found["recorded_at"])
