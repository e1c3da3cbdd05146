"""After access has changed: messages that show what rests on more than their readers may see now are edited to what
they may see, or taken back where that is nothing."""

from collections.abc import Iterable, Sequence
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
class Overdue:
    """Messages that show what they may not, by their delivery. ``waiting``: look again, since others are in flight of
    which nobody knows yet whether they will stand."""

    roots: Sequence[str]
    waiting: bool


def overdue(db: Tables, at: datetime) -> Overdue:
    """Of every organisation that has access. Whoever has none any more keeps what stands, unless the revocation says
    ``--retract``. Only reads: a long history is no matter of a transaction that others wait for."""
    roots, waiting = [], False
    for org, policy in access.policy(db).by_organisation(directory.organisations(db)):
        view = rules.permitted(policy, org, at)
        if not _has_access(policy, org, at) or all(
            ProviderSet.parse(key).within(view) for key in deliveries.views_told(db, org.org)
        ):
            continue
        for root in [*deliveries.standing_posts(db, [org.org]), *deliveries.perhaps_standing(db, org.org)]:
            if _is_within(db, root, view):
                continue
            if root["state"] in (State.SENT.value, State.WITHHELD.value):
                roots.append(root["delivery"])
            else:
                waiting = True
    return Overdue(roots=roots, waiting=waiting)


def reconcile(db: Tables, roots: Iterable[str], at: datetime, changes: tuple[int, int]) -> int | None:
    """Returns how many acts were queued; doing it again queues none. None: access is not any more as it was, by
    ``access.changes``, when every live View was told what it may see, so nothing was done."""
    if access.changes(db, at) != changes:
        return None
    everything, queued = access.policy(db), 0
    for delivery in roots:
        root = deliveries.get(db, delivery)
        if root is None or deliveries.is_taken_back(db, delivery):
            continue
        org = directory.organisation(db, root["org"])
        policy = everything.of(org)
        view = rules.permitted(policy, org, at)
        if not _has_access(policy, org, at) or _is_within(db, root, view):
            continue
        match root["act"], root["state"]:
            case Act.DIGEST, State.SENT:
                queued += _reconcile_digest(db, org, policy, view, root, at)
            case Act.POST, State.SENT:
                queued += _reconcile_message(db, org, policy, view, root, at)
            case _, State.WITHHELD:
                queued += _retract(db, root, at)
    return queued


def _has_access(policy: Policy, org: Organisation, at: datetime) -> bool:
    """Not withdrawn as a whole, suspended or ended; that no provider is left to it is another matter."""
    return rules.decide(policy, rules.Request(org=org, at=at)).allowed


def _is_within(db: Tables, root: dict[str, Any], view: ProviderSet) -> bool:
    """Whatever may stand in a message and in its thread."""
    shown = [*deliveries.may_stand_in(db, root), *deliveries.may_stand_under(db, root)]
    return all(_rests_within(each, view) for each in shown)


def _reconcile_message(
    db: Tables, org: Organisation, policy: Policy, view: ProviderSet, root: dict[str, Any], at: datetime
) -> int:
    """What was said in its thread cannot be edited: the message is taken back with it, and another one tells of what
    may be seen."""
    standing = deliveries.may_stand_in(db, root)
    answered = not all(_rests_within(shown, view) for shown in deliveries.may_stand_under(db, root))
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
