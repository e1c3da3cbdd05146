"""Organisations, their workspaces, channels and subscriptions."""

import json
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import errors, subscription, times
from bot.domain import quieting as rules
from bot.domain.access import Organisation, OrganisationState
from bot.domain.channel import Channel
from bot.domain.quieting import Quieting
from bot.domain.subscription import Subscription
from bot.store.database import row, rows


def add_organisation(db: Database, org: Organisation, at: datetime) -> None:
    db.execute(
        "INSERT INTO organisations (org, name, sector, state, created_at, purpose, parent, domain) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [org.org, org.name, org.sector, org.state.value, times.to_text(at), org.purpose, org.parent, org.domain],
    )


def organisations(db: Database) -> list[Organisation]:
    return [_organisation(found) for found in rows(db, "SELECT * FROM organisations ORDER BY name, org")]


def find_organisation(db: Database, name_or_id: str) -> Organisation | None:
    found = row(
        db,
        "SELECT * FROM organisations WHERE org = ? OR name = ? COLLATE NOCASE ORDER BY org = ? DESC",
        [name_or_id, name_or_id, name_or_id],
    )
    return None if found is None else _organisation(found)


def organisation(db: Database, name_or_id: str) -> Organisation:
    """Like ``find_organisation``; raises UsageError where there is none."""
    found = find_organisation(db, name_or_id)
    if found is None:
        raise errors.UsageError(f"organisation {name_or_id!r} does not exist; `tocsin org list` shows those that do")
    return found


def set_state(db: Database, org: str, state: OrganisationState) -> None:
    db.execute("UPDATE organisations SET state = ? WHERE org = ?", [state.value, org])


def bind_channel(db: Database, org: Organisation, channel: Channel, at: datetime) -> None:
    """Add a channel (again: it counts as found again). Raises UsageError if its workspace is another organisation's."""
    owner = organisation_of(db, channel.workspace)
    if owner is not None and owner.org != org.org:
        raise errors.UsageError(
            f"workspace {channel.workspace} belongs to {owner.name}; a workspace has one organisation"
        )
    stamp = times.to_text(at)
    db.execute(
        "INSERT INTO workspaces (workspace, org, platform, created_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (workspace) DO UPDATE SET lost = NULL",
        [channel.workspace, org.org, channel.platform, stamp],
    )
    db.execute(
        "INSERT INTO channels (channel, workspace, platform, created_at) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (channel) DO UPDATE SET lost = NULL",
        [str(channel), channel.workspace, channel.platform, stamp],
    )


def organisation_of(db: Database, workspace: str) -> Organisation | None:
    found = row(
        db, "SELECT o.* FROM organisations o JOIN workspaces w ON w.org = o.org WHERE w.workspace = ?", [workspace]
    )
    return None if found is None else _organisation(found)


def channels(db: Database, org: str | None = None) -> list[dict[str, Any]]:
    """``channel``, ``org``, ``platform``, ``workspace``, ``lost`` (why no message can go there, or None)."""
    return rows(
        db,
        "SELECT c.channel, w.org, c.platform, c.workspace, coalesce(c.lost, w.lost) AS lost "
        "FROM channels c JOIN workspaces w ON w.workspace = c.workspace "
        "WHERE :org IS NULL OR w.org = :org ORDER BY c.channel",
        {"org": org},
    )


def lost(db: Database, channel: str) -> str | None:
    """Why no message can go to a channel; None if one can."""
    found = row(
        db,
        "SELECT coalesce(c.lost, w.lost) AS lost FROM channels c JOIN workspaces w USING (workspace) "
        "WHERE c.channel = ?",
        [channel],
    )
    return found["lost"] if found else None


def platforms(db: Database) -> set[str]:
    """Those that have channels."""
    return {found["platform"] for found in rows(db, "SELECT DISTINCT platform FROM channels")}


def has_channel(db: Database, channel: str) -> bool:
    return row(db, "SELECT 1 FROM channels WHERE channel = ?", [channel]) is not None


def remove_channel(db: Database, channel: str) -> None:
    """Its subscriptions go with it; a workspace without channels stays its organisation's."""
    db.execute("DELETE FROM channels WHERE channel = ?", [channel])


def lose(db: Database, target: str, reason: str) -> bool:
    """Mark a workspace or a channel as out of reach. False if it is not known here."""
    table, key = ("channels", "channel") if "/" in target else ("workspaces", "workspace")
    return db.execute(f"UPDATE {table} SET lost = ? WHERE {key} = ?", [reason, target]).rowcount > 0  # noqa: S608


def restore(db: Database, target: str) -> bool:
    """The opposite of ``lose``. True if it had been lost."""
    table, key = ("channels", "channel") if "/" in target else ("workspaces", "workspace")
    changed = db.execute(
        f"UPDATE {table} SET lost = NULL WHERE {key} = ? AND lost IS NOT NULL",  # noqa: S608
        [target],
    )
    return changed.rowcount > 0


def bind_workspace(db: Database, org: Organisation, workspace: str, platform: str, at: datetime) -> None:
    """Raises UsageError if it is another organisation's."""
    owner = organisation_of(db, workspace)
    if owner is not None and owner.org != org.org:
        raise errors.UsageError(f"workspace {workspace} belongs to another organisation; a workspace has one")
    db.execute(
        "INSERT OR IGNORE INTO workspaces (workspace, org, platform, created_at) VALUES (?, ?, ?, ?)",
        [workspace, org.org, platform, times.to_text(at)],
    )


def add_domain(db: Database, workspace: str, domain: str) -> None:
    """Where a workspace's people have their e-mail, by the platform's word; also of one that is nobody's yet."""
    db.execute("INSERT OR IGNORE INTO domains VALUES (?, ?)", [workspace, domain])


def domains(db: Database) -> list[dict[str, Any]]:
    """``org`` and ``domain`` of every workspace of which one is known."""
    return rows(db, "SELECT w.org, d.domain FROM domains d JOIN workspaces w USING (workspace) ORDER BY 1, 2")


def workspaces(db: Database) -> list[dict[str, Any]]:
    """``workspace``, ``org``, ``platform``, ``lost``."""
    return rows(db, "SELECT workspace, org, platform, lost FROM workspaces ORDER BY workspace")


def editors(db: Database, workspace: str) -> str:
    """Who may change what a workspace gets: ``admins`` or ``members``."""
    found = row(db, "SELECT editors FROM workspaces WHERE workspace = ?", [workspace])
    return found["editors"] if found else "admins"


def set_editors(db: Database, workspace: str, editors: str) -> None:
    db.execute("UPDATE workspaces SET editors = ? WHERE workspace = ?", [editors, workspace])


def quieting(db: Database, channel: str) -> Quieting:
    """What a channel has set; of an unknown one, nothing."""
    found = row(db, "SELECT quieting FROM channels WHERE channel = ?", [channel])
    return rules.from_spec(json.loads(found["quieting"])) if found else Quieting()


def set_quieting(db: Database, channel: str, settings: Quieting) -> None:
    db.execute("UPDATE channels SET quieting = ? WHERE channel = ?", [json.dumps(rules.to_spec(settings)), channel])


def throttled(db: Database, channel: str) -> bool:
    """Does the channel know that its messages lag behind?"""
    return row(db, "SELECT 1 FROM channels WHERE channel = ? AND throttled IS NOT NULL", [channel]) is not None


def throttled_channels(db: Database) -> list[str]:
    return [each["channel"] for each in rows(db, "SELECT channel FROM channels WHERE throttled IS NOT NULL")]


def set_throttled(db: Database, channel: str, since: datetime | None) -> None:
    db.execute("UPDATE channels SET throttled = ? WHERE channel = ?", [since and times.to_text(since), channel])


def add_subscription(db: Database, wanted: Subscription, *, at: datetime, author: str) -> None:
    db.execute(
        "INSERT INTO subscriptions VALUES (?, ?, ?, ?, ?)",
        [
            wanted.subscription,
            wanted.channel,
            json.dumps(subscription.to_spec(wanted)),
            times.to_text(at),
            author,
        ],
    )


def subscriptions(db: Database, channel: str | None = None) -> list[Subscription]:
    found = rows(
        db,
        "SELECT * FROM subscriptions WHERE :channel IS NULL OR channel = :channel ORDER BY channel, created_at",
        {"channel": channel},
    )
    return [subscription.from_spec(each["subscription"], each["channel"], json.loads(each["spec"])) for each in found]


def subscribed_channels(db: Database) -> set[str]:
    """Channels that have asked for something."""
    return {each["channel"] for each in rows(db, "SELECT DISTINCT channel FROM subscriptions")}


def remove_subscriptions(db: Database, channel: str, subscription_id: str | None = None) -> int:
    """One, or all of the channel's. Returns how many went."""
    gone = db.execute(
        "DELETE FROM subscriptions WHERE channel = :channel AND (:one IS NULL OR subscription = :one)",
        {"channel": channel, "one": subscription_id},
    )
    return gone.rowcount


def _organisation(found: dict[str, Any]) -> Organisation:
    return Organisation(
        org=found["org"],
        name=found["name"],
        sector=found["sector"],
        state=OrganisationState(found["state"]),
        purpose=found["purpose"],
        parent=found["parent"],
        domain=found["domain"],
    )
