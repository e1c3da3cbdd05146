"""Withdrawing access, and giving it back.

One transaction is the fence: it inserts the Revocation, turns what is open and no longer allowed into ``withheld``,
lists what is in flight, queues retractions, then the notice, and appends to the audit. What is retracted goes before
the notice, and a workspace's token is dropped when both are done.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from bot import admin, reach
from bot.admin import Actor
from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain import errors, times
from bot.domain.access import Capability, Organisation, Policy, Revocation
from bot.domain.delivery import Act
from bot.reach import Row
from bot.store import access, audit, deliveries, directory, offboarding
from bot.store.database import Tables

MATCHER = ("org", "workspace", "channel", "sector", "provider", "category", "capability")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A revocation to be carried out (or only planned): the matcher's fields are ANDed, at least one is given.

    ``requester``: who asked for it. ``notice``: what the organisations' channels are told, instead of the usual
    sentence; ``silent``: why they are told nothing. ``within``: take back only what was sent in this time.
    ``drop_credentials``: let go of the workspaces' tokens when everything else is done.
    """

    reason: str
    org: str | None = None
    workspace: str | None = None
    channel: str | None = None
    sector: str | None = None
    provider: str | None = None
    category: str | None = None
    capability: str | None = None
    from_at: datetime | None = None
    until: datetime | None = None
    requester: str = ""
    notice: str | None = None
    silent: str | None = None
    retract: bool = False
    within: timedelta | None = None
    drop_credentials: bool = False
    dry_run: bool = False
    plan: str | None = None

    def content(self) -> dict[str, Any]:
        """Everything that a plan holds fast, JSON-ready. Of times only whether they are given: "in 36 hours" is another
        moment when the plan is carried out."""
        names = (*MATCHER, "retract", "within", "drop_credentials")
        said = {name: None if getattr(self, name) is None else str(getattr(self, name)) for name in names}
        return said | {"from": self.from_at is not None, "until": self.until is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a revocation did, or would do. ``withheld``: what waited, of it ``held`` because a channel had asked for
    that; ``in_flight``: deliveries that may still arrive, within 10 s; ``delivered``: messages that stand;
    ``policy_version``: the one that it made, None while it lies ahead. ``proposals``: what another operator has to
    approve before it is done; ``refused``: why it was not even proposed."""

    revocation: str | None
    plan: str
    dry_run: bool
    touched: list[dict[str, str]]
    untouched: list[dict[str, str]]
    withheld: int
    held: int
    in_flight: list[str]
    delivered: int
    retracting: int
    notices: int
    dropping: list[str]
    committed_at: str | None
    policy_version: int | None = None
    proposals: list[str] = field(default_factory=list)
    refused: str | None = None

    def to_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in Effect.__slots__}


def revoke(db: Tables, actor: Actor, at: datetime, order: Order) -> Effect:
    """Withdraw access. After this transaction only what ``in_flight`` lists can still arrive.

    With ``dry_run`` nothing changes. With ``plan`` it refuses if who or what is touched has changed since that plan.
    """
    revocation = _revocation(db, order, at)
    before = access.policy(db)
    everybody = directory.organisations(db)
    touched = reach.touched(db, everybody, revocation, before, at)
    plan = _checked_plan(db, order, touched, before)
    standing = reach.standing(db, revocation, touched)
    going = _going(db, order, revocation, touched, standing, at)
    workspaces = _workspaces(db, revocation, touched)
    ids = {org.org for org in touched}
    effect = Effect(
        revocation=None if order.dry_run else revocation.revocation,
        plan=plan,
        dry_run=order.dry_run,
        touched=[_brief(org) for org in touched],
        untouched=[_brief(org) for org in everybody if org.org not in ids],
        withheld=0,
        held=0,
        in_flight=[],
        delivered=len(standing),
        retracting=0,
        notices=0,
        dropping=workspaces if order.drop_credentials else [],
        committed_at=None if order.dry_run else times.to_text(at),
    )
    if order.dry_run:
        after = replace(before, revocations=(*before.revocations, revocation))
        queued, held, in_flight = reach.denied(db, touched, after, at)
        in_flight += reach.with_evidence(db, revocation, touched, in_flight)
        notices = len(_told_channels(db, order, revocation, touched, at))
        return replace(
            effect, withheld=queued + held, held=held, in_flight=in_flight, retracting=len(going), notices=notices
        )
    access.add_revocation(
        db, revocation, author=str(actor), at=at, effect={}, requester=order.requester, notice=order.notice,
        silent=order.silent,
    )  # fmt: skip
    after = replace(
        before,
        version=access.bump_version(db),
        revocations=(*before.revocations, revocation),
        changed_at=before.moment(at),
    )
    queued, held, in_flight = deliveries.withhold_denied(db, touched, after, at)
    effect = replace(
        effect,
        withheld=queued + held,
        held=held,
        in_flight=in_flight + reach.with_evidence(db, revocation, touched, in_flight),
        retracting=_queue_retractions(db, going, at),
        policy_version=after.version if revocation.from_at <= at else None,
    )
    told = _told_channels(db, order, revocation, touched, at)
    effect = replace(effect, notices=_notify(db, told, order.notice, revocation, at))
    for workspace in effect.dropping:
        offboarding.add(db, workspace, revocation.revocation, at)
    _save(db, revocation.revocation, effect)
    audit.append(
        db,
        at=at,
        actor=str(actor),
        surface=actor.surface,
        action="revoke",
        target=describe(revocation),
        reason=order.reason,
        effect=effect.to_json() | {"requester": order.requester, "silent": order.silent},
    )
    return effect


def begin(db: Tables, at: datetime) -> None:
    """Revocations that lay ahead and whose time has come: what waits is withheld, what is in flight listed, the
    channels are told."""
    for found in access.beginning(db, at):
        matcher = next(each for each in access.revocations(db) if each.revocation == found["revocation"])
        version = access.bump_version(db)
        policy = access.policy(db)
        touched = reach.touched(db, directory.organisations(db), matcher, policy.without(matcher), at)
        queued, held, in_flight = deliveries.withhold_denied(db, touched, policy, at)
        in_flight += reach.with_evidence(db, matcher, touched, in_flight)
        in_flight += reach.arrived_since(db, matcher, touched, in_flight)
        told = [] if found["silent"] is not None else _covered_channels(db, matcher, touched)
        effect = found["effect"] | {
            "touched": [_brief(org) for org in touched],
            "withheld": queued + held,
            "held": held,
            "in_flight": in_flight,
            "notices": _notify(db, told, found["notice"], matcher, at),
            "committed_at": times.to_text(at),
            "policy_version": version,
        }
        access.note_begun(db, matcher.revocation, at, effect)
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="revocation-begun", target=describe(matcher),
            reason=matcher.reason, effect=effect,
        )  # fmt: skip


def check(db: Tables, order: Order, at: datetime) -> None:
    """Raise UsageError for what cannot be ordered, and TocsinError if the plan that it names no longer holds."""
    policy = access.policy(db)
    _checked_plan(
        db, order, reach.touched(db, directory.organisations(db), _revocation(db, order, at), policy, at), policy
    )


def retract(db: Tables, actor: Actor, at: datetime, revocation: str, since: datetime | None) -> int:
    """Take back what a revocation covers and still stands, or may; of what is known to have arrived, only what was sent
    from ``since`` on. Returns how many messages."""
    matcher, touched = _live(db, revocation)
    if matcher.until is not None and matcher.until <= at:
        raise errors.TocsinError(f"revocation {revocation} has ended by itself; nothing is taken back any more")
    standing = reach.sent_since(reach.standing(db, matcher, touched), since)
    n = _queue_retractions(db, [*standing, *reach.perhaps_standing(db, matcher, touched)], at)
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action="retract", target=revocation,
        effect={"retracting": n, "since": since and times.to_text(since)},
    )  # fmt: skip
    return n


def drop_credentials(db: Tables, actor: Actor, at: datetime, revocation: str) -> list[str]:
    """Let go of the tokens of the workspaces that a revocation covers, when what needs them is done."""
    matcher, touched = _live(db, revocation)
    workspaces = _workspaces(db, matcher, touched)
    for workspace in workspaces:
        offboarding.add(db, workspace, revocation, at)
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action="drop-credentials", target=revocation,
        effect={"workspaces": workspaces},
    )  # fmt: skip
    return workspaces


def reinstate(db: Tables, actor: Actor, at: datetime, revocation: str, reason: str) -> dict[str, Any]:
    """Lift a revocation. Nothing of the dark period is delivered: what was withheld stays withheld."""
    _live(db, revocation)
    if not reason.strip():
        raise errors.UsageError("reinstate: give a --reason; it stands in the audit")
    access.lift(db, revocation, author=str(actor), reason=reason, at=at)
    access.bump_version(db)
    admin.check_views(db, at, "reinstate")
    offboarding.cancel(db, revocation)
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action="reinstate", target=revocation, reason=reason
    )
    return {"revocation": revocation, "lifted_at": times.to_text(at)}


def is_of_sector(db: Tables, revocation: str) -> bool:
    """Does lifting it open access for a whole sector, or for everybody?"""
    matcher, _ = _live(db, revocation)
    return matcher.org is None and matcher.workspace is None and matcher.channel is None


def describe(revocation: Revocation) -> str:
    """``sector=government provider=x``"""
    return " ".join(f"{name}={getattr(revocation, name)}" for name in MATCHER if getattr(revocation, name) is not None)


def _checked_plan(db: Tables, order: Order, touched: Sequence[Organisation], policy: Policy) -> str:
    plan = reach.plan(db, order.content(), touched, policy)
    if order.plan is not None and order.plan != plan:
        raise errors.TocsinError(
            f"revoke: plan {order.plan} no longer holds, the organisations, channels or rules touched have changed; "
            "look at a new --dry-run"
        )
    return plan


def _live(db: Tables, revocation: str) -> tuple[Revocation, list[Organisation]]:
    """A revocation that has not been lifted, and the organisations that it touched. Raises UsageError, TocsinError."""
    found = access.revocation_row(db, revocation)
    if found is None:
        raise errors.UsageError(f"revocation {revocation!r} does not exist; `tocsin revocations` shows those that do")
    if found["lifted_at"] is not None:
        raise errors.TocsinError(f"revocation {revocation} was lifted already at {found['lifted_at']}")
    matcher = next(each for each in access.revocations(db) if each.revocation == revocation)
    names = {org["org"] for org in found["effect"].get("touched", [])}
    return matcher, [org for org in directory.organisations(db) if org.org in names]


def _revocation(db: Tables, order: Order, at: datetime) -> Revocation:
    if all(getattr(order, name) is None for name in MATCHER):
        raise errors.UsageError("revoke: say what is withdrawn, with at least one of --org, --sector, --provider, …")
    if not order.reason.strip():
        raise errors.UsageError("revoke: give a --reason; it stands in the audit and in every refusal")
    if order.sector is not None:
        rules.check_sector(order.sector)
    if order.provider is not None:
        rules.check_provider(order.provider)
    start = order.from_at or at
    _check_extras(order, start, at)
    if order.until is not None and order.until <= start:
        raise errors.UsageError("revoke: --until lies before its beginning")
    if order.workspace is not None and directory.organisation_of(db, order.workspace) is None:
        raise errors.UsageError(f"workspace {order.workspace!r} belongs to no organisation here; nothing was withdrawn")
    if order.channel is not None and not directory.has_channel(db, str(channels.parse(order.channel))):
        raise errors.UsageError(f"channel {order.channel!r} is not known here; nothing was withdrawn")
    return Revocation(
        revocation=f"r{secrets.token_hex(4)}",
        reason=order.reason,
        from_at=start,
        org=directory.organisation(db, order.org).org if order.org is not None else None,
        workspace=order.workspace,
        channel=order.channel,
        sector=order.sector,
        provider=order.provider,
        category=order.category,
        capability=Capability(order.capability) if order.capability else None,
        until=order.until,
    )


def _check_extras(order: Order, start: datetime, at: datetime) -> None:
    if order.retract and start > at:
        raise errors.UsageError("revoke: --retract takes back at once; leave out --from, or retract when it has begun")
    if order.within is not None and not order.retract:
        raise errors.UsageError("revoke: --within says how far back --retract goes; give both")
    if order.notice is not None and order.silent is not None:
        raise errors.UsageError("revoke: --notice and --silent contradict each other")
    if order.silent is not None and not order.silent.strip():
        raise errors.UsageError("revoke: give --silent its reason; it stands in the audit")
    narrow = [name for name in ("channel", "provider", "category", "capability") if getattr(order, name) is not None]
    if order.drop_credentials and (narrow or order.until is not None or start > at):
        raise errors.UsageError(
            "revoke: --drop-credentials is for whole organisations, sectors or workspaces, at once and for good"
        )


def _going(
    db: Tables,
    order: Order,
    revocation: Revocation,
    touched: Sequence[Organisation],
    standing: Sequence[Row],
    at: datetime,
) -> list[Row]:
    """With ``--retract``: what stands, and what may be arriving or may have arrived."""
    if not order.retract:
        return []
    since = None if order.within is None else at - order.within
    return [*reach.sent_since(standing, since), *reach.perhaps_standing(db, revocation, touched)]


def _queue_retractions(db: Tables, going: Sequence[Row], at: datetime) -> int:
    for found in going:
        deliveries.queue(
            db,
            org=found["org"],
            channel=found["channel"],
            act=Act.RETRACT,
            at=at,
            view=found["view"],
            alert=deliveries.alert_of(db, found),
            root=found["delivery"],
        )
    return len(going)


def _notify(
    db: Tables, told: Sequence[tuple[str, str]], notice: str | None, revocation: Revocation, at: datetime
) -> int:
    """Tell the channels. Returns how many are told."""
    text = notice or _usual_notice(revocation)
    for org, channel in told:
        deliveries.queue(db, org=org, channel=channel, act=Act.NOTICE, at=at, text=text, exempt=True)
    return len(told)


def _told_channels(
    db: Tables, order: Order, revocation: Revocation, touched: Sequence[Organisation], at: datetime
) -> list[tuple[str, str]]:
    """Channels that the revocation covers and that had asked for something; none if it is silent or lies ahead."""
    if order.silent is not None or revocation.from_at > at:
        return []
    return _covered_channels(db, revocation, touched)


def _covered_channels(db: Tables, revocation: Revocation, touched: Sequence[Organisation]) -> list[tuple[str, str]]:
    subscribed = directory.subscribed_channels(db)
    names = {org.org for org in touched}
    return [
        (row["org"], row["channel"])
        for row in directory.channels(db)
        if row["org"] in names
        and row["channel"] in subscribed
        and revocation.workspace in (None, row["workspace"])
        and revocation.channel in (None, row["channel"])
    ]


def _usual_notice(revocation: Revocation) -> str:
    what = "access to alerts"
    if revocation.capability is not None and revocation.capability is not Capability.ALERTS:
        what = f"access to {revocation.capability.value}"
    if revocation.category is not None:
        what += f" about {revocation.category.replace('_', ' ')}"
    if revocation.provider not in (None, "*"):
        what += f" that rest on posts from {revocation.provider}"
    until = f" until {times.to_text(revocation.until)}" if revocation.until else ""
    return (
        f"ACCESS WITHDRAWN: {what} has been withdrawn from this channel{until}. Reason given: {revocation.reason}. "
        "Whoever runs this service can say more."
    )


def _workspaces(db: Tables, revocation: Revocation, touched: Sequence[Organisation]) -> list[str]:
    names = {org.org for org in touched}
    return [
        row["workspace"]
        for row in directory.workspaces(db)
        if row["org"] in names and revocation.workspace in (None, row["workspace"]) and row["platform"] != "console"
    ]


def _save(db: Tables, revocation: str, effect: Effect) -> None:
    db.execute("UPDATE revocations SET effect = ? WHERE revocation = ?", [json.dumps(effect.to_json()), revocation])


def _brief(org: Organisation) -> dict[str, str]:
    return {"org": org.org, "name": org.name, "sector": org.sector}
