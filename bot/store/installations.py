"""Slack workspaces that installed the app over HTTP, with the token of each; and OAuth states that are under way."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.store.database import row, rows

# Whoever asks for a page that begins an installation leaves a row: what is more than this goes, the oldest first.
STATES_MOST = 10_000
_EXPIRED_KEPT = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """``workspace``: ``slack:T0123``; ``scopes`` as granted; ``installed_by``: ``slack:T0123/U0456``."""

    workspace: str
    name: str | None
    bot_token: str = field(repr=False)
    bot_user: str
    app_id: str | None
    scopes: tuple[str, ...]
    installed_by: str
    installed_at: datetime


class State(Enum):
    """What a state was when it came back."""

    GOOD = auto()
    EXPIRED = auto()
    UNKNOWN = auto()  # never issued, or used before


def save(db: Database, installation: Installation) -> None:
    """The newest installation of a workspace is the one that counts."""
    db.execute(
        "INSERT OR REPLACE INTO installations "
        "(workspace, name, bot_token, bot_user, app_id, scopes, installed_by, installed_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            installation.workspace,
            installation.name,
            installation.bot_token,
            installation.bot_user,
            installation.app_id,
            ",".join(installation.scopes),
            installation.installed_by,
            times.to_text(installation.installed_at),
        ],
    )


def find(db: Database, workspace: str) -> Installation | None:
    found = row(db, "SELECT * FROM installations WHERE workspace = ?", [workspace])
    return None if found is None else _installation(found)


def installations(db: Database) -> list[Installation]:
    return [_installation(found) for found in rows(db, "SELECT * FROM installations ORDER BY workspace")]


def delete(db: Database, workspace: str, *, until: datetime | None = None) -> bool:
    """Let the token go, unless the workspace was installed (again) after ``until``. True if none is left."""
    db.execute(
        "DELETE FROM installations WHERE workspace = :workspace AND (:until IS NULL OR installed_at <= :until)",
        {"workspace": workspace, "until": None if until is None else times.to_text(until)},
    )
    return find(db, workspace) is None


def add_state(db: Database, state: str, *, now: datetime, expires_at: datetime) -> None:
    db.execute("DELETE FROM oauth_states WHERE expires_at < ?", [times.to_text(now - _EXPIRED_KEPT)])
    db.execute("INSERT INTO oauth_states VALUES (?, ?)", [_hash(state), times.to_text(expires_at)])
    db.execute(
        "DELETE FROM oauth_states WHERE hash IN "
        "(SELECT hash FROM oauth_states ORDER BY expires_at DESC, hash LIMIT -1 OFFSET ?)",
        [STATES_MOST],
    )


def consume_state(db: Database, state: str, now: datetime) -> State:
    """Good once: of two that bring the same state, the second finds nothing."""
    found = row(db, "SELECT expires_at FROM oauth_states WHERE hash = ?", [_hash(state)])
    if found is None:
        return State.UNKNOWN
    db.execute("DELETE FROM oauth_states WHERE hash = ?", [_hash(state)])
    return State.GOOD if now < times.from_text(found["expires_at"]) else State.EXPIRED


def _hash(state: str) -> str:
    return hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()


def _installation(found: dict[str, Any]) -> Installation:
    return Installation(
        workspace=found["workspace"],
        name=found["name"],
        bot_token=found["bot_token"],
        bot_user=found["bot_user"],
        app_id=found["app_id"],
        scopes=tuple(found["scopes"].split(",")) if found["scopes"] else (),
        installed_by=found["installed_by"],
        installed_at=times.from_text(found["installed_at"]),
    )
