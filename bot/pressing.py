"""The buttons under an event's message. Each asks for access at the click, however old the message is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, assert_never

from bot import admin
from bot.admin import Actor
from bot.domain import access as rules
from bot.domain import quieting
from bot.domain.access import Capability
from bot.domain.alert import Alert
from bot.domain.delivery import Act, Quote, State
from bot.domain.quieting import EventMute
from bot.platforms.base import Action, Press
from bot.store import access, deliveries, directory, messages, posts
from bot.store.database import Database, Tables

SOURCES_MOST = 20
_ACKNOWLEDGED = "Acknowledged; the message says so to everybody here."


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """What came of it: a sentence for whoever pressed, and what to show them."""

    text: str
    quotes: Sequence[Quote] = ()
    alert: Alert | None = None


@dataclass(frozen=True, slots=True)
class _Refused:
    why: str


async def press(database: Database, actor: Actor, at: datetime, pressed: Press) -> Pressed:
    """Raises RefusedError, audited, where the message is not that channel's or its access is withdrawn."""
    outcome = await database.write(_press, actor, at, pressed)
    if isinstance(outcome, _Refused):
        await admin.refuse(database, actor, pressed.action.value, str(pressed.channel), at, outcome.why)
    return outcome


def _press(db: Tables, actor: Actor, at: datetime, pressed: Press) -> Pressed | _Refused:
    root = deliveries.get(db, pressed.delivery)
    if root is None or root["act"] != Act.POST.value or root["channel"] != str(pressed.channel):
        return _Refused("pressing a button of a message that is not in this channel")
    if actor.member != pressed.channel.workspace:
        return _Refused("not a member of this workspace")
    standing = deliveries.standing_in(db, root)
    if not standing or deliveries.is_taken_back(db, root["delivery"]):
        return _Refused("pressing a button of a message that does not stand")
    alert = standing[-1]
    org = directory.organisation(db, root["org"])
    asked = deliveries.request_for(org, root["channel"], _view(db, root, alert), alert, at)
    decision = rules.decide(access.policy(db), asked)
    if not decision.allowed:
        return _Refused(f"no longer permitted to see this: {decision.why}")
    match pressed.action:
        case Action.ACKNOWLEDGE:
            return _acknowledge(db, actor, at, root, alert)
        case Action.MUTE:
            return _mute(db, actor, at, root, alert, pressed.value)
        case Action.IRRELEVANT:
            return _note_irrelevant(db, actor, at, root, alert)
        case Action.SOURCES:
            return _sources(db, replace(asked, capability=Capability.EVIDENCE), alert)
        case Action.WHY:
            return Pressed(text="", alert=alert)
        case _:
            assert_never(pressed.action)


def _acknowledge(db: Tables, actor: Actor, at: datetime, root: dict[str, Any], alert: Alert) -> Pressed:
    if not messages.acknowledge(db, root["delivery"], actor.id, at):
        return Pressed(text="Somebody has acknowledged this already; the message says who and when.")
    if deliveries.edit_waits(db, root["delivery"]):  # it will say so, and tells of a newer revision
        return Pressed(text=_ACKNOWLEDGED)
    lost = directory.lost(db, root["channel"])
    deliveries.queue(
        db, org=root["org"], channel=root["channel"], act=Act.EDIT, at=at, view=_view(db, root, alert), alert=alert,
        root=root["delivery"], state=State.QUEUED if lost is None else State.HELD,
        reason="" if lost is None else deliveries.LOST + lost,
    )  # fmt: skip
    return Pressed(text=_ACKNOWLEDGED)


def _mute(db: Tables, actor: Actor, at: datetime, root: dict[str, Any], alert: Alert, value: str) -> Pressed | _Refused:
    settings = directory.quieting(db, root["channel"])
    match value:
        case "1h":
            muted = EventMute(by=actor.id, until=at + timedelta(hours=1))
        case "today":
            muted = EventMute(by=actor.id, until=quieting.day_end(settings, at))
        case "escalation":
            muted = EventMute(by=actor.id, level=alert.level)
        case _:
            return _Refused("asking for a mute that does not exist")
    messages.mute(db, root["delivery"], muted)
    for reply in deliveries.open_replies(db, root["delivery"]):
        told = deliveries.alert_of(db, reply)
        if told is not None and muted.silences(told, at):
            deliveries.supersede(db, reply["delivery"], muted.why)
    until = f"until it is louder than {alert.level.value}"
    if muted.until is not None:
        until = f"until {settings.local(muted.until)}"
    return Pressed(
        text=f"Muted {until}. The message itself stays up to date; corrections and a retraction come all the same."
    )


def _note_irrelevant(db: Tables, actor: Actor, at: datetime, root: dict[str, Any], alert: Alert) -> Pressed:
    added = messages.add_feedback(db, root["delivery"], actor.id, _view(db, root, alert), alert.id, at)
    if not added:
        return Pressed(text="You have said so already; it counts once.")
    return Pressed(text="Noted: not relevant here. It helps the next version of the model; nothing else changes.")


def _sources(db: Tables, asked: rules.Request, alert: Alert) -> Pressed | _Refused:
    decision = rules.decide(access.policy(db), asked)
    if not decision.allowed:
        return _Refused(f"not permitted to see evidence: {decision.why}")
    quotes = posts.quotes(db, alert.evidence[:SOURCES_MOST])
    more = len(alert.evidence) - len(quotes)
    text = f"{len(quotes)} source posts" if len(quotes) != 1 else "1 source post"
    return Pressed(text=text + (f" (and {more} more, or deleted since)" if more else ""), quotes=quotes, alert=alert)


def _view(db: Tables, root: dict[str, Any], alert: Alert) -> str:
    """The View of the revision that stands: an edit may have come from another one than the message did."""
    found = deliveries.view_of(db, root["delivery"], alert.id)
    return str(root["view"] if found is None else found)
