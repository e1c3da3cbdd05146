"""What a channel asks to be told later: mutes, quiet hours, digests, budgets; and who may change what it gets.

Whatever is changed holds for what waits already: what need not wait any longer is released, what is queued is held.
"""

from dataclasses import replace
from datetime import datetime, time
from typing import Any

from bot import admin
from bot.admin import Actor
from bot.domain import channel as channels
from bot.domain import errors, quieting, times
from bot.domain.channel import Channel
from bot.domain.quieting import QuietHours, Quieting
from bot.store import audit, deliveries, directory
from bot.store.database import Database, Tables

EDITORS = ("admins", "members")


async def mute(database: Database, actor: Actor, at: datetime, channel: Channel, until: datetime | None) -> Quieting:
    """Everything in the channel waits until then; None: no longer. Raises UsageError for longer than a week."""
    if until is not None and until - at > quieting.MUTE_MOST:
        raise errors.UsageError(f"mute: at most {quieting.MUTE_MOST.days} days; then say it again")
    if until is not None and until <= at:
        raise errors.UsageError("mute: give a time that lies ahead, such as 2h")
    return await _change(database, actor, at, "mute", channel, muted_until=until)


async def set_quiet_hours(
    database: Database, actor: Actor, at: datetime, channel: Channel, quiet: QuietHours | None, zone: str | None
) -> Quieting:
    """None: no quiet hours. ``zone``: None leaves it as it is."""
    return await _change(database, actor, at, "quiet", channel, quiet=quiet, **_zone(zone))


async def set_digest(
    database: Database, actor: Actor, at: datetime, channel: Channel, hours: tuple[time, ...], zone: str | None
) -> Quieting:
    """Empty: everything comes at once. ``zone``: None leaves it as it is."""
    return await _change(database, actor, at, "digest", channel, digest=hours, **_zone(zone))


async def set_budget(database: Database, actor: Actor, at: datetime, channel: Channel, budget: int | None) -> Quieting:
    """Most new events a day; None: any number."""
    return await _change(database, actor, at, "budget", channel, budget=budget)


async def set_editors(database: Database, actor: Actor, at: datetime, channel: Channel, editors: str) -> None:
    """Who may change what the workspace's channels get. Only its admins and operators may say so."""
    if actor.operator is None and actor.workspace != channel.workspace:
        await admin.refuse(database, actor, "editors", channel.workspace, at, "not an admin of this workspace")

    def write(db: Tables) -> None:
        admin.check_may_receive(db, channel, at)
        directory.set_editors(db, channel.workspace, editors)
        audit.append(
            db, at=at, actor=str(actor), surface=actor.surface, action="editors", target=channel.workspace,
            effect={"editors": editors},
        )  # fmt: skip

    await database.write(write)


def apply_quieting(db: Tables, channel: str, at: datetime) -> None:
    """Hold what is queued and now has to wait; let go what waits and need not: it is released as one, soon."""
    settings = directory.quieting(db, channel)
    since = quieting.day_start(settings, at)
    for row in deliveries.waiting(db, channel):
        alert = deliveries.alert_of(db, row)
        if alert is None:
            continue
        if row["act"] == "post":
            held = quieting.hold_post(settings, alert, at, deliveries.posted_since(db, channel, since))
        else:
            held = quieting.hold_reply(settings, alert, at)
        deliveries.hold(db, row["delivery"], held or quieting.Hold(until=at, why="to be released"))
    for row in deliveries.queued_posts(db, channel):
        alert = deliveries.alert_of(db, row)
        held = None if alert is None else quieting.hold_post(settings, alert, at, posted_today=0)
        if held is not None:
            deliveries.hold(db, row["delivery"], held)


async def _change(
    database: Database, actor: Actor, at: datetime, action: str, channel: Channel, **fields: Any
) -> Quieting:
    await admin.authorise_in_workspace(database, actor, action, channel, at)

    def write(db: Tables) -> Quieting:
        admin.check_may_receive(db, channel, at)
        if not directory.has_channel(db, str(channel)):
            raise errors.UsageError(f"{action}: this channel gets nothing yet; `/tocsin subscribe` comes first")
        settings = replace(directory.quieting(db, str(channel)), **fields)
        directory.set_quieting(db, str(channel), settings)
        apply_quieting(db, str(channels.parse(str(channel))), at)
        audit.append(
            db, at=at, actor=str(actor), surface=actor.surface, action=action, target=str(channel),
            effect={"quieting": quieting.to_spec(settings), "at": times.to_text(at)},
        )  # fmt: skip
        return settings

    return await database.write(write)


def _zone(zone: str | None) -> dict[str, str]:
    return {} if zone is None else {"zone": quieting.check_zone(zone)}
