"""Events and their Alert revisions, per View."""

import json
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import alert as alerts
from bot.domain import times
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert
from bot.store.database import row, rows


def record(db: Database, view: ProviderSet, alert: Alert, at: datetime) -> bool:
    """Store one revision with its event and evidence. False if it was there already (after a restart, a rebuild)."""
    text = json.dumps(alerts.to_body(alert))
    inserted = db.execute(
        "INSERT OR IGNORE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            view.key,
            alert.id,
            alert.event,
            alert.revision,
            alert.kind.value,
            alert.level.value,
            alert.category,
            times.to_text(alert.raised_at),
            times.to_text(at),
            text,
        ],
    )
    if inserted.rowcount == 0:
        return False
    db.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (view, event) DO UPDATE SET "
        "category = excluded.category, level = excluded.level, headline = excluded.headline, "
        "revision = excluded.revision, updated_at = excluded.updated_at, retracted = excluded.retracted",
        [
            view.key,
            alert.event,
            alert.category,
            alert.level.value,
            alert.headline,
            alert.revision,
            times.to_text(alert.first_post_at),
            times.to_text(alert.raised_at),
            int(alert.kind is alerts.Kind.RETRACTION),
        ],
    )
    for key in alert.evidence:
        db.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?)", [view.key, alert.event, key])
    return True


def get(db: Database, view: str, alert_id: str) -> Alert | None:
    found = row(db, "SELECT body FROM alerts WHERE view = ? AND alert = ?", [view, alert_id])
    return None if found is None else alerts.from_body(json.loads(found["body"]))


def latest(db: Database, view: str, event: str) -> Alert | None:
    found = row(
        db, "SELECT body FROM alerts WHERE view = ? AND event = ? ORDER BY revision DESC LIMIT 1", [view, event]
    )
    return None if found is None else alerts.from_body(json.loads(found["body"]))


def latest_of_all(db: Database, view: str) -> list[Alert]:
    """The last revision of every event of a View."""
    found = rows(
        db,
        "SELECT a.body FROM alerts a JOIN events e ON e.view = a.view AND e.event = a.event "
        "AND e.revision = a.revision WHERE a.view = ? ORDER BY a.event",
        [view],
    )
    return [alerts.from_body(json.loads(each["body"])) for each in found]


def listed(db: Database, view: str, *, since: datetime | None, search: str = "") -> list[Alert]:
    """A View's revisions as they were raised, from ``since`` on, with ``search`` in headline or category."""
    found = rows(
        db,
        "SELECT body FROM alerts WHERE view = ? AND raised_at >= ? ORDER BY raised_at, alert",
        [view, times.to_text(since) if since else ""],
    )
    bodies = (alerts.from_body(json.loads(each["body"])) for each in found)
    wanted = search.casefold()
    return [alert for alert in bodies if wanted in alert.headline.casefold() or wanted in alert.category]


def of_post(db: Database, view: str, post_key: str) -> list[str]:
    """The events of a View that a post is evidence of."""
    return [
        each["event"]
        for each in rows(db, "SELECT event FROM evidence WHERE view = ? AND post = ? ORDER BY event", [view, post_key])
    ]


def overlap(db: Database, view: str, event: str, other: str) -> bool:
    """Do two events of a View share evidence, by the last revision of each that has any? A retraction may have none."""
    return not _last_evidence(db, view, event).isdisjoint(_last_evidence(db, view, other))


def sharing_evidence(db: Database, view: str, event: str) -> list[dict[str, Any]]:
    """Other events, of this View or another, that share evidence with this one: ``view``, ``event``; those first that
    began with the same post and so have its id, then those that share the most."""
    return rows(
        db,
        "SELECT other.view, other.event, count(*) AS shared FROM evidence AS mine "
        "JOIN evidence AS other ON other.post = mine.post AND (other.view, other.event) <> (mine.view, mine.event) "
        "WHERE mine.view = ? AND mine.event = ? GROUP BY other.view, other.event "
        "ORDER BY other.event <> mine.event, shared DESC, 1, 2",
        [view, event],
    )


def _last_evidence(db: Database, view: str, event: str) -> set[str]:
    found = row(
        db,
        "SELECT body FROM alerts WHERE view = ? AND event = ? AND json_array_length(body, '$.evidence') > 0 "
        "ORDER BY revision DESC LIMIT 1",
        [view, event],
    )
    return set() if found is None else set(alerts.from_body(json.loads(found["body"])).evidence)
