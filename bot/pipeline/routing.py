"""From one alert revision to deliveries: who wants it, who may have it, and which act it is in each channel."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.detection import revisions
from bot.domain import access as rules
from bot.domain import quieting
from bot.domain.access import Decision, Organisation, Policy, ProviderSet
from bot.domain.alert import Alert, Kind, Level
from bot.domain.delivery import Act, State
from bot.domain.quieting import Hold
from bot.store import access, deliveries, directory, messages
from bot.store.database import Tables


def route(db: Tables, view: ProviderSet, alert: Alert, at: datetime) -> int:
    """Queue (or withhold, with the reason) this revision for every channel of every organisation with this View."""
    queued = 0
    for org, policy in access.policy(db).by_organisation(directory.organisations(db)):
        if rules.permitted(policy, org, at) != view:
            continue
        for channel in directory.channels(db, org.org):
            to = _Place(org=org, channel=channel["channel"], lost=channel["lost"], view=view, policy=policy, at=at)
            queued += _route_to(db, to, alert)
    return queued


def retract_orphans(db: Tables, post: str, at: datetime) -> int:
    """Take back messages that quote a deleted post and that no edit without it is queued for: the organisation's View
    has changed, its access is withdrawn, the channel was removed, or the event is over and nobody revises it.

    Asked when the revisions that came with the deletion are routed. A retraction shows nothing, so it needs no access.
    """
    queued = 0
    for found in deliveries.standing_on(db, post):
        alerts = deliveries.standing_in(db, found)
        if not any(post in alert.quotes for alert in alerts) or deliveries.will_drop(db, found, post):
            continue
        deliveries.queue(
            db, org=found["org"], channel=found["channel"], act=Act.RETRACT, at=at, view=found["view"],
            alert=deliveries.alert_of(db, found), root=found["delivery"],
        )  # fmt: skip
        queued += 1
    return queued


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where a revision goes, and by which rules."""

    org: Organisation
    channel: str
    lost: str | None
    view: ProviderSet
    policy: Policy
    at: datetime


def _route_to(db: Tables, to: _Place, alert: Alert) -> int:
    """A message that stands is edited whatever the subscription says now; one that waits to be told tells of this
    revision; what a digest has told goes on in its thread, until it is louder and wanted. A new one is posted if it is
    wanted."""
    root = _root(db, to.channel, to.view, alert)
    if root is not None and deliveries.waits(root):
        return _renew(db, to, alert, root)
    if root is not None:
        deliveries.supersede_edits(db, root["delivery"])
        edited = _queue(db, to, alert, Act.EDIT, root=root["delivery"])
        return edited + _tell_in_thread(db, to, alert, root["delivery"])
    told = deliveries.digest_telling_of(db, to.channel, alert.event)
    over = alert.kind is Kind.RETRACTION or revisions.goes_on_as(alert) is not None
    wanted = not over and any(each.matches(alert) for each in directory.subscriptions(db, to.channel))
    if told is not None and not (wanted and _is_louder(db, told, alert)):
        return _queue(db, to, alert, Act.REPLY, root=told["digest"])
    return _queue(db, to, alert, Act.POST) if wanted else 0


def _tell_in_thread(db: Tables, to: _Place, alert: Alert, root: str) -> int:
    """What changed. A correction or a retraction comes at once, and what waits to be told before it is no longer true;
    a channel that has unsubscribed hears of nothing else."""
    if alert.kind in (Kind.CORRECTION, Kind.RETRACTION):
        for reply in deliveries.open_replies(db, root):
            deliveries.supersede(db, reply["delivery"], f"a {alert.kind.value} came first")
    elif not directory.subscriptions(db, to.channel):
        return 0
    return _queue(db, to, alert, Act.REPLY, root=root)


def _renew(db: Tables, to: _Place, alert: Alert, root: dict[str, Any]) -> int:
    """The event's message has not been told yet."""
    if alert.kind is Kind.RETRACTION or revisions.goes_on_as(alert) is not None:
        deliveries.supersede(db, root["delivery"], "the event was over before it was told")
        return 0
    decision = _decide(to, alert)
    deliveries.renew(db, root["delivery"], to.view.key, alert)
    if not decision.allowed:
        deliveries.deny(db, root | {"alert": alert.id}, decision, to.policy, to.at)
        return 0
    settings = directory.quieting(db, to.channel)
    if quieting.hold_post(settings, alert, to.at, posted_today=0) is None and alert.level is Level.FLASH:
        deliveries.release(db, root["delivery"], to.at)
        return 1
    return 0


def _queue(db: Tables, to: _Place, alert: Alert, act: Act, root: str | None = None) -> int:
    """Queue, hold or withhold one act, with the reason. Returns how many are due."""
    decision, hold = _decide(to, alert), None
    if not decision.allowed:
        state, reason = State.WITHHELD, deliveries.denial(decision)
    elif to.lost is not None:
        state, reason = State.HELD, deliveries.LOST + to.lost
    elif act is Act.REPLY and (muted := messages.muted(db, str(root))) is not None and muted.silences(alert, to.at):
        state, reason = State.SUPERSEDED, muted.why
    else:
        hold = _hold(db, to, alert, act)
        state, reason = (State.QUEUED, "") if hold is None else (State.HELD, hold.why)
    delivery = deliveries.queue(
        db, org=to.org.org, channel=to.channel, act=act, at=to.at, view=to.view.key, alert=alert, root=root,
        state=state, reason=reason, due_at=None if hold is None else hold.until,
    )  # fmt: skip
    if not decision.allowed:
        deliveries.note_denied(db, to.org.org, delivery, alert.id, to.channel, decision, to.at)
    return int(state is State.QUEUED)


def _decide(to: _Place, alert: Alert) -> Decision:
    return rules.decide(to.policy, deliveries.request_for(to.org, to.channel, to.view.key, alert, to.at))


def _hold(db: Tables, to: _Place, alert: Alert, act: Act) -> Hold | None:
    """An edit calls for nobody's attention, so it never waits."""
    settings = directory.quieting(db, to.channel)
    if act is Act.POST:
        posted = deliveries.posted_since(db, to.channel, quieting.day_start(settings, to.at))
        return quieting.hold_post(settings, alert, to.at, posted)
    return quieting.hold_reply(settings, alert, to.at) if act is Act.REPLY else None


def _is_louder(db: Tables, told: dict[str, Any], alert: Alert) -> bool:
    before = deliveries.alert_of(db, told)
    return before is not None and alert.level.rank > before.level.rank


def _root(db: Tables, channel: str, view: ProviderSet, alert: Alert) -> dict[str, Any] | None:
    """The delivery of the message that this revision edits. An event that has ended, since it is the same happening as
    another, has one only beside the other's: where the channel got a single message, the other goes on in that one."""
    root = deliveries.root_of(db, channel, view.key, alert.event)
    other = revisions.goes_on_as(alert)
    if root is None or other is None:
        return root
    going_on = deliveries.root_of(db, channel, view.key, other)
    return None if going_on is None or going_on["delivery"] == root["delivery"] else root
