"""From one alert revision to deliveries: who wants it, who may have it, and which act it is in each channel."""

from datetime import datetime
from typing import Any

from bot.detection import revisions
from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain.access import Organisation, Policy, ProviderSet
from bot.domain.alert import Alert, Kind
from bot.domain.delivery import Act, State
from bot.store import access, deliveries, directory
from bot.store.database import Tables


def route(db: Tables, view: ProviderSet, alert: Alert, at: datetime) -> int:
    """Queue (or withhold, with the reason) this revision for every channel of every organisation with this View."""
    policy = access.policy(db)
    queued = 0
    for org in directory.organisations(db):
        if rules.permitted(policy, org, at) != view:
            continue
        for channel in directory.channels(db, org.org):
            queued += _route_to(db, org, channel["channel"], channel["lost"], view, alert, policy, at)
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


def _route_to(
    db: Tables,
    org: Organisation,
    channel: str,
    lost: str | None,
    view: ProviderSet,
    alert: Alert,
    policy: Policy,
    at: datetime,
) -> int:
    """A message that stands is edited whatever the subscription says now; a new one is posted if it is wanted."""
    root = _root(db, channel, view, alert)
    if root is None:
        if alert.kind is Kind.RETRACTION or revisions.goes_on_as(alert) is not None:
            return 0
        wanted = any(each.matches(alert) for each in directory.subscriptions(db, channel))
        if not wanted:
            return 0
        acts = [Act.POST]
    else:
        deliveries.supersede_edits(db, root["delivery"])
        acts = [Act.EDIT, Act.REPLY]
    decision = rules.decide(policy, deliveries.request_for(org, channel, view.key, alert, at))
    state, reason = State.QUEUED, ""
    if not decision.allowed:
        state, reason = State.WITHHELD, f"{decision.rule}: {decision.why}"
    elif lost is not None:
        state, reason = State.HELD, deliveries.LOST + lost
    for act in acts:
        deliveries.queue(
            db,
            org=org.org,
            channel=str(channels.parse(channel)),
            act=act,
            at=at,
            view=view.key,
            alert=alert,
            root=root["delivery"] if root else None,
            state=state,
            reason=reason,
        )
    return len(acts) if state is State.QUEUED else 0


def _root(db: Tables, channel: str, view: ProviderSet, alert: Alert) -> dict[str, Any] | None:
    """The delivery of the message that this revision edits. An event that has ended, since it is the same happening as
    another, has one only beside the other's: where the channel got a single message, the other goes on in that one."""
    root = deliveries.root_of(db, channel, view.key, alert.event)
    other = revisions.goes_on_as(alert)
    if root is None or other is None:
        return root
    going_on = deliveries.root_of(db, channel, view.key, other)
    return None if going_on is None or going_on["delivery"] == root["delivery"] else root
