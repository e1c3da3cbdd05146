"""From one alert revision to deliveries: who wants it, who may have it, and which act it is in each channel."""

from datetime import datetime
from typing import Any

from bot.detection import revisions
from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain.access import Organisation, Policy, ProviderSet
from bot.domain.alert import Alert, Kind
from bot.domain.delivery import Act, State
from bot.store import access, deliveries, directory, events
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
    """Take back messages that quote a deleted post where no edit will: the organisation's View has changed, its access
    is withdrawn, the channel was removed, or the edit without the quote has not arrived.

    A retraction shows nothing, so it needs no access.
    """
    policy = access.policy(db)
    queued = 0
    for found in deliveries.standing_on(db, post):
        alerts = deliveries.standing_in(db, found)
        if not any(post in alert.quotes for alert in alerts) or _is_kept_current(db, found, post, policy, at):
            continue
        deliveries.queue(
            db, org=found["org"], channel=found["channel"], act=Act.RETRACT, at=at, view=found["view"],
            alert=deliveries.alert_of(db, found), root=found["delivery"],
        )  # fmt: skip
        queued += 1
    return queued


def _is_kept_current(db: Tables, found: dict[str, Any], post: str, policy: Policy, at: datetime) -> bool:
    """Will the next revision of its event edit this message, because the post is gone? Detection makes one only for a
    post that the last revision quotes, and none after a retraction."""
    view, event = deliveries.told_last(db, found)
    last = events.latest(db, view, event)
    if last is None or last.kind is Kind.RETRACTION or post not in last.quotes:
        return False
    org = directory.organisation(db, found["org"])
    return (
        directory.has_channel(db, found["channel"])
        and rules.permitted(policy, org, at).key == view
        and rules.decide(policy, deliveries.request_for(org, found["channel"], view, last, at)).allowed
    )


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
