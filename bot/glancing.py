"""What a channel sees of itself: its status, and what it was told lately. Asks ``decide`` before it shows."""

from datetime import datetime

from bot import admin, printing
from bot.commands import RECENT
from bot.domain import access as rules
from bot.domain import quieting, times
from bot.domain.access import Capability
from bot.domain.channel import Channel
from bot.store import access, deliveries, directory, events
from bot.store.database import Tables

TOLD_MOST = 20


def status(db: Tables, here: Channel, at: datetime) -> list[str]:
    org = admin.check_may_receive(db, here, at)
    settings, lost = directory.quieting(db, str(here)), directory.lost(db, str(here))
    wanted = directory.subscriptions(db, str(here))
    waiting = deliveries.waiting(db, str(here))
    latest = _told_lines(db, here, at, search="")[:1]
    counted = "1 subscription" if len(wanted) == 1 else f"{len(wanted)} subscriptions"
    lines = [
        f"{org.name} ({org.sector}): access is granted",
        f"{counted}; `/tocsin subscriptions` shows what this channel gets"
        if wanted
        else "no subscription yet: `/tocsin subscribe`",
        f"out of reach: {lost}" if lost else "this channel can be reached",
        *settings.describe(),
    ]
    if settings.budget is not None:
        used = deliveries.posted_since(db, str(here), quieting.day_start(settings, at))
        lines.append(f"{used} of {settings.budget} new events used today")
    if waiting:
        due = min(row["due_at"] for row in waiting)
        lines.append(f"{len(waiting)} waiting until {settings.local(times.from_text(due))}")
    lines.append(f"latest: {latest[0]}" if latest else "nothing was told here in the last 24 hours")
    if directory.editors(db, here.workspace) == "members":
        lines.append("everybody here may change these settings")
    return lines


def recent(db: Tables, here: Channel, at: datetime, search: str) -> list[str]:
    admin.check_may_receive(db, here, at)
    return _told_lines(db, here, at, search)[:TOLD_MOST]


def _told_lines(db: Tables, here: Channel, at: datetime, search: str) -> list[str]:
    """What the channel was told and may still be told, the newest first."""
    policy, lines, wanted = access.policy(db), [], search.casefold()
    for row in deliveries.told(db, str(here), at - RECENT):
        told = events.get(db, row["view"], row["alert"])
        org = directory.organisation(db, row["org"])
        if told is None or wanted not in f"{told.headline} {told.category}".casefold():
            continue
        line = admin.visible_line(policy, org, rules.ProviderSet.parse(row["view"]), told, at, Capability.ALERTS)
        if (
            line is not None
            and rules.decide(policy, deliveries.request_for(org, str(here), row["view"], told, at)).allowed
        ):
            lines.append(printing.alert(line))
    return lines
