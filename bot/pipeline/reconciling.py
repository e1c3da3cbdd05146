"""After access has changed: messages that show what rests on more than their readers may see now are edited to what
they may see, or taken back where that is nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.domain import access as rules
from bot.domain.access import Organisation, Policy, ProviderSet
from bot.domain.alert import Alert, Kind
from bot.domain.delivery import Act, State
from bot.store import access, deliveries, directory, events
from bot.store.database import Tables
from bot.store.deliveries import Shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """``waiting``: do it again, since messages are in flight of which nobody knows yet whether they will stand, or
    access has changed meanwhile."""

    queued: int
    waiting: bool


def reconcile(db: Tables, at: datetime, changes: tuple[int, int]) -> Reconciled:
    """For every organisation that may see something. Whoever may see nothing any more keeps what stands, unless the
    revocation says ``--retract``. Doing it again queues nothing.

    ``changes``: the ``access.changes`` for which every live View has been told what it may see.
    """
    if access.changes(db, at) != changes:
        return Reconciled(queued=0, waiting=True)
    queued, waiting = 0, False
    for org, policy in access.policy(db).by_organisation(directory.organisations(db)):
        view = rules.permitted(policy, org, at)
        if view.empty or all(ProviderSet.parse(key).within(view) for key in deliveries.views_told(db, org.org)):
            continue
        for root in deliveries.standing_posts(db, [org.org]):
            act = _reconcile_digest if root["act"] == Act.DIGEST.value else _reconcile_message
            queued += act(db, org, policy, view, root, at)
        for root in deliveries.perhaps_standing(db, org.org):
            if all(_rests_within(shown, view) for shown in deliveries.may_stand_in(db, root)):
                continue
            if root["state"] == State.WITHHELD.value:
                queued += _retract(db, root, at)
            else:
                waiting = True
    return Reconciled(queued=queued, waiting=waiting)


def _reconcile_message(
    db: Tables, org: Organisation, policy: Policy, view: ProviderSet, root: dict[str, Any], at: datetime
) -> int:
    """What was said in its thread cannot be edited: the message is taken back with it, and another one tells of what
    may be seen."""
    standing = deliveries.may_stand_in(db, root)
    answered = not all(_rests_within(shown, view) for shown in deliveries.may_stand_under(db, root))
    if not standing or (all(_rests_within(shown, view) for shown in standing) and not answered):
        return 0
    coming = deliveries.coming_edit(db, root["delivery"])
    if coming is not None and _rests_within(coming, view) and not answered:
        return 0
    instead = _same_happening(db, standing[-1], view)
    if (
        instead is None
        or not rules.decide(policy, deliveries.request_for(org, root["channel"], view.key, instead, at)).allowed
    ):
        return _retract(db, root, at, standing[-1])
    if not answered:
        return _queue(db, root, Act.EDIT, at, root=root["delivery"], view=view.key, alert=instead)
    retracted = _retract(db, root, at, standing[-1])
    return retracted + _queue(db, root, Act.POST, at, root=None, view=view.key, alert=instead)


def _reconcile_digest(
    db: Tables, org: Organisation, policy: Policy, view: ProviderSet, root: dict[str, Any], at: datetime
) -> int:
    """A digest cannot lose one of its events: it is taken back, and another one tells of the rest."""
    items = deliveries.items_shown(db, root)
    kept = [item for item in items if _keeps(db, item, view)]
    answered = not all(_rests_within(shown, view) for shown in deliveries.may_stand_under(db, root))
    if len(kept) == len(items) and not answered:
        return 0
    queued = _retract(db, root, at)
    allowed = [item for item in kept if deliveries.decide_row(db, item, policy, at, org=org).allowed]
    if not allowed:
        return queued
    digest = deliveries.queue(db, org=org.org, channel=root["channel"], act=Act.DIGEST, at=at, **_reach(db, root))
    deliveries.gather(db, digest, (item["delivery"] for item in allowed))
    return queued + 1


def _keeps(db: Tables, item: dict[str, Any], view: ProviderSet) -> bool:
    alert = deliveries.alert_of(db, item)
    return alert is not None and _rests_within((item["view"], alert), view)


def _rests_within(shown: Shown, view: ProviderSet) -> bool:
    """Was it made of nothing but what may be seen now?"""
    made_in, alert = shown
    return ProviderSet.parse(made_in).within(view) and all(map(view.permits, alert.sources))


def _same_happening(db: Tables, shown: Shown, view: ProviderSet) -> Alert | None:
    """What the View that may be seen says about it: the event that shares the most evidence, if it is not over."""
    made_in, alert = shown
    others: Iterable[dict[str, Any]] = events.sharing_evidence(db, made_in, alert.event)
    for other in [{"view": made_in, "event": alert.event}, *others]:
        found = events.latest(db, view.key, other["event"]) if other["view"] == view.key else None
        if found is not None and found.kind is not Kind.RETRACTION:
            return found
    return None


def _retract(db: Tables, root: dict[str, Any], at: datetime, shown: Shown | None = None) -> int:
    view, alert = shown or (root["view"], deliveries.alert_of(db, root))
    return _queue(db, root, Act.RETRACT, at, root=root["delivery"], view=view, alert=alert)


def _queue(
    db: Tables,
    found: dict[str, Any],
    act: Act,
    at: datetime,
    *,
    root: str | None,
    view: str | None,
    alert: Alert | None,
) -> int:
    deliveries.queue(
        db, org=found["org"], channel=found["channel"], act=act, at=at, view=view, alert=alert, root=root,
        **_reach(db, found),
    )  # fmt: skip
    return 1


def _reach(db: Tables, found: dict[str, Any]) -> dict[str, Any]:
    """In which state it waits."""
    lost = directory.lost(db, found["channel"])
    return {} if lost is None else {"state": State.HELD, "reason": deliveries.LOST + lost}
