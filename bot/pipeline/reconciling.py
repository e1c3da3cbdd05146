"""After access has changed: messages that show what rests on more than their readers may see now are edited to what
they may see, or taken back where that is nothing."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from bot.domain import access as rules
from bot.domain.access import Organisation, Policy, ProviderSet
from bot.domain.alert import Alert, Kind
from bot.domain.delivery import Act, State
from bot.store import access, deliveries, directory, events
from bot.store.database import Tables


def reconcile(db: Tables, at: datetime) -> int:
    """For every organisation that may see something. Whoever may see nothing any more keeps what stands, unless the
    revocation says ``--retract``. Returns how many acts were queued; doing it again queues none."""
    policy = access.policy(db)
    queued = 0
    for org in directory.organisations(db):
        view = rules.permitted(policy, org, at)
        if view.empty:
            continue
        own = policy.of(org)
        for root in deliveries.standing_posts(db, [org.org]):
            act = _reconcile_digest if root["act"] == Act.DIGEST.value else _reconcile_message
            queued += act(db, org, own, view, root, at)
    return queued


def _reconcile_message(
    db: Tables, org: Organisation, policy: Policy, view: ProviderSet, root: dict[str, Any], at: datetime
) -> int:
    standing = deliveries.standing_in(db, root)
    if not standing or deliveries.edit_waits(db, root["delivery"]):
        return 0
    shown = standing[-1]
    made_in = deliveries.view_of(db, root["delivery"], shown.id) or root["view"]
    if _rests_within(shown, made_in, view):
        return 0
    instead = _same_happening(db, made_in, shown, view)
    if (
        instead is not None
        and rules.decide(policy, deliveries.request_for(org, root["channel"], view.key, instead, at)).allowed
    ):
        return _queue(db, root, Act.EDIT, at, view=view.key, alert=instead)
    return _queue(db, root, Act.RETRACT, at, view=made_in, alert=shown)


def _reconcile_digest(
    db: Tables, org: Organisation, policy: Policy, view: ProviderSet, root: dict[str, Any], at: datetime
) -> int:
    """A digest cannot lose one of its events: it is taken back, and another one tells of the rest."""
    items = deliveries.items_shown(db, root)
    kept = [item for item in items if _keeps(db, item, view)]
    if len(kept) == len(items):
        return 0
    queued = _queue(db, root, Act.RETRACT, at, view=None, alert=None)
    allowed = [item for item in kept if deliveries.decide_row(db, item, policy, at, org=org).allowed]
    if not allowed:
        return queued
    digest = deliveries.queue(db, org=org.org, channel=root["channel"], act=Act.DIGEST, at=at)
    deliveries.gather(db, digest, (item["delivery"] for item in allowed))
    return queued + 1


def _keeps(db: Tables, item: dict[str, Any], view: ProviderSet) -> bool:
    alert = deliveries.alert_of(db, item)
    return alert is not None and _rests_within(alert, item["view"], view)


def _rests_within(alert: Alert, made_in: str, view: ProviderSet) -> bool:
    """Was it made of nothing but what may be seen now?"""
    return ProviderSet.parse(made_in).within(view) and all(map(view.permits, alert.sources))


def _same_happening(db: Tables, made_in: str, shown: Alert, view: ProviderSet) -> Alert | None:
    """What the View that may be seen says about it: the event that shares the most evidence, if it is not over."""
    others: Iterable[dict[str, Any]] = events.sharing_evidence(db, made_in, shown.event)
    for other in others:
        alert = events.latest(db, view.key, other["event"]) if other["view"] == view.key else None
        if alert is not None and alert.kind is not Kind.RETRACTION:
            return alert
    return None


def _queue(db: Tables, root: dict[str, Any], act: Act, at: datetime, *, view: str | None, alert: Alert | None) -> int:
    lost = directory.lost(db, root["channel"])
    deliveries.queue(
        db, org=root["org"], channel=root["channel"], act=act, at=at, view=view, alert=alert, root=root["delivery"],
        state=State.QUEUED if lost is None else State.HELD, reason="" if lost is None else deliveries.LOST + lost,
    )  # fmt: skip
    return 1
