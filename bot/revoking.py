"""Withdrawing access, giving it back, and proving what a withdrawal did.

One transaction is the fence: it inserts the Revocation, turns what is open and no longer allowed into ``withheld``,
lists what is in flight, queues retractions and appends to the audit.
"""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bot import admin
from bot.admin import Actor
from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain import errors, times
from bot.domain.access import Capability, Organisation, OrganisationState, Policy, Revocation
from bot.domain.alert import Alert
from bot.domain.delivery import Act, State
from bot.store import access, audit, deliveries, directory
from bot.store.database import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A revocation to be carried out (or only planned): the matcher's fields are ANDed, at least one is given."""

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
    retract: bool = False
    dry_run: bool = False
    plan: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a revocation did, or would do. ``in_flight``: deliveries that may still arrive, within 10 s."""

    revocation: str | None
    plan: str
    dry_run: bool
    touched: list[dict[str, str]]
    untouched: list[dict[str, str]]
    withheld: int
    in_flight: list[str]
    delivered: int
    retracting: int
    committed_at: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "revocation": self.revocation,
            "plan": self.plan,
            "dry_run": self.dry_run,
            "touched": self.touched,
            "untouched": self.untouched,
            "withheld": self.withheld,
            "in_flight": self.in_flight,
            "delivered": self.delivered,
            "retracting": self.retracting,
            "committed_at": self.committed_at,
        }


def revoke(db: Tables, actor: Actor, at: datetime, order: Order) -> Effect:
    """Withdraw access. After this transaction only what ``in_flight`` lists can still arrive.

    With ``dry_run`` nothing changes. With ``plan`` it refuses if who or what is touched has changed since that plan.
    """
    revocation = _revocation(db, order, at)
    before = access.policy(db)
    after = replace(before, revocations=(*before.revocations, revocation))
    orgs = directory.organisations(db)
    touched = [org for org in orgs if _is_touched(db, revocation, org, before, at)]
    plan = _plan(db, order, touched, before)
    if order.plan is not None and order.plan != plan:
        raise errors.TocsinError(
            f"revoke: plan {order.plan} no longer holds, the organisations, channels or rules touched have changed; "
            "look at a new --dry-run"
        )
    standing = _standing(db, revocation, touched)
    if order.dry_run:
        withheld, in_flight = _denied(db, touched, after, at)
        going = _to_retract(db, order, touched, standing, in_flight)
        return _effect(None, plan, order, orgs, touched, withheld, in_flight, standing, going, None)
    access.add_revocation(db, revocation, author=str(actor), at=at, effect={})
    access.bump_version(db)
    withheld, in_flight = deliveries.withhold_denied(db, touched, access.policy(db), at)
    going = _to_retract(db, order, touched, standing, in_flight)
    for found in going:
        _queue_retraction(db, found, at)
    effect = _effect(revocation.revocation, plan, order, orgs, touched, withheld, in_flight, standing, going, at)
    db.execute(
        "UPDATE revocations SET effect = ? WHERE revocation = ?",
        [json.dumps(effect.to_json()), revocation.revocation],
    )
    audit.append(
        db,
        at=at,
        actor=str(actor),
        surface=actor.surface,
        action="revoke",
        target=_describe(revocation),
        reason=order.reason,
        effect=effect.to_json(),
    )
    return effect


def reinstate(db: Tables, actor: Actor, at: datetime, revocation: str, reason: str) -> dict[str, Any]:
    """Lift a revocation. Nothing of the dark period is delivered: what was withheld stays withheld."""
    found = access.revocation_row(db, revocation)
    if found is None:
        raise errors.UsageError(f"revocation {revocation!r} does not exist; `tocsin revocations` shows those that do")
    if found["lifted_at"] is not None:
        raise errors.TocsinError(f"revocation {revocation} was lifted already at {found['lifted_at']}")
    if not reason.strip():
        raise errors.UsageError("reinstate: give a --reason; it stands in the audit")
    access.lift(db, revocation, author=str(actor), reason=reason, at=at)
    access.bump_version(db)
    admin.check_views(db, at, "reinstate")
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action="reinstate", target=revocation, reason=reason
    )
    return {"revocation": revocation, "lifted_at": times.to_text(at)}


def proof(db: Tables, revocation: str) -> dict[str, Any]:
    """What is recorded about a revocation's effect, and what can be counted now.

    ``claimed_after`` lists deliveries to touched organisations that were claimed after the fence although the matcher
    covers them; it must be empty.
    """
    found = access.revocation_row(db, revocation)
    if found is None:
        raise errors.UsageError(f"revocation {revocation!r} does not exist; `tocsin revocations` shows those that do")
    effect = found["effect"]
    matcher = next(each for each in access.revocations(db) if each.revocation == revocation)
    fence = max(found["from_at"], found["created_at"])
    end = min(found["lifted_at"] or "9999", found["until"] or "9999")
    fenced = matcher.capability in (None, Capability.ALERTS)  # of another capability deliveries go on, with less
    claimed_after, in_flight, retractions = [], [], []
    for org in effect.get("touched", []):
        for row in deliveries.listed(db, org=org["org"]):
            if row["delivery"] in effect["in_flight"]:
                in_flight.append({"delivery": row["delivery"], "state": row["state"], "sent_at": row["sent_at"]})
            if row["act"] == Act.RETRACT.value and row["created_at"] == effect["committed_at"]:
                retractions.append(
                    {
                        "delivery": row["delivery"],
                        "channel": row["channel"],
                        "state": row["state"],
                        "reason": row["reason"],
                    }
                )
            if (
                fenced
                and row["act"] in deliveries.SHOWING
                and fence < (row["claimed_at"] or "") < end
                and row["delivery"] not in effect["in_flight"]
                and _row_hits(db, matcher, row)
            ):
                claimed_after.append(row["delivery"])
    return found | {"claimed_after": claimed_after, "in_flight_now": in_flight, "retractions": retractions}


def _revocation(db: Tables, order: Order, at: datetime) -> Revocation:
    fields = (
        order.org, order.workspace, order.channel, order.sector, order.provider, order.category, order.capability
    )  # fmt: skip
    if all(value is None for value in fields):
        raise errors.UsageError("revoke: say what is withdrawn, with at least one of --org, --sector, --provider, …")
    if not order.reason.strip():
        raise errors.UsageError("revoke: give a --reason; it stands in the audit and in every refusal")
    if order.sector is not None:
        rules.check_sector(order.sector)
    if order.provider is not None:
        rules.check_provider(order.provider)
    start = order.from_at or at
    if order.retract and start > at:
        raise errors.UsageError("revoke: --retract takes back at once; leave out --from, or retract when it has begun")
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


def _is_touched(db: Tables, revocation: Revocation, org: Organisation, policy: Policy, at: datetime) -> bool:
    """Whoever the matcher covers; of a provider's withdrawal only those who may receive from it."""
    own = directory.channels(db, org.org)
    covered = rules.touches(revocation, org, {each["workspace"] for each in own}, {each["channel"] for each in own})
    if not covered or revocation.provider in (None, "*"):
        return covered
    active = replace(org, state=OrganisationState.ACTIVE)
    capabilities = [revocation.capability] if revocation.capability else list(Capability)
    return any(rules.permitted(policy, active, at, each).permits(str(revocation.provider)) for each in capabilities)


def _plan(db: Tables, order: Order, touched: Sequence[Organisation], policy: Policy) -> str:
    """A hash of the order, and of the organisations, channels and rules that it touches."""
    content = {
        "order": [str(getattr(order, name)) for name in
                  ("org", "workspace", "channel", "sector", "provider", "category", "capability", "retract")],
        "touched": [(org.org, org.sector, org.state.value) for org in touched],
        "channels": [each["channel"] for org in touched for each in directory.channels(db, org.org)],
        "grants": sorted(each.grant for each in policy.grants),
        "revocations": sorted(f"{each.revocation}{each.lifted_at}" for each in policy.revocations),
    }  # fmt: skip
    return "p" + hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _denied(db: Tables, touched: Sequence[Organisation], after: Policy, at: datetime) -> tuple[int, list[str]]:
    """What ``after`` would withhold and what could still arrive."""
    withheld, in_flight = 0, []
    for found in deliveries.open_rows(db, (org.org for org in touched)):
        if found["act"] == Act.DIGEST and found["state"] == State.SENDING.value:
            if not all(
                deliveries.decide_row(db, item, after, at).allowed for item in deliveries.items_shown(db, found)
            ):
                in_flight.append(found["delivery"])
            continue
        if deliveries.decide_row(db, found, after, at).allowed:
            continue
        if found["state"] == State.SENDING.value:
            in_flight.append(found["delivery"])
        else:
            withheld += 1
    return withheld, in_flight


def _standing(db: Tables, revocation: Revocation, touched: Sequence[Organisation]) -> list[Mapping[str, Any]]:
    """Delivered messages that the matcher covers; looking back and exports leave none behind."""
    if revocation.capability in (Capability.HISTORY, Capability.EXPORT):
        return []
    posts = deliveries.standing_posts(db, (org.org for org in touched))
    return [
        found for found in posts if any(_hits(db, revocation, found, alert) for alert in deliveries.shown_by(db, found))
    ]


def _to_retract(
    db: Tables,
    order: Order,
    touched: Sequence[Organisation],
    standing: Sequence[Mapping[str, Any]],
    in_flight: Sequence[str],
) -> list[Mapping[str, Any]]:
    """With ``--retract``: what stands, and what is being posted right now; its retraction waits until it stands."""
    if not order.retract:
        return []
    open_rows = deliveries.open_rows(db, (org.org for org in touched))
    arriving = [row for row in open_rows if row["act"] in (Act.POST, Act.DIGEST) and row["delivery"] in in_flight]
    return [*standing, *arriving]


def _row_hits(db: Tables, revocation: Revocation, found: Mapping[str, Any]) -> bool:
    shown = deliveries.shown_by(db, found) if found["act"] == Act.DIGEST else [deliveries.alert_of(db, found)]
    return any(_hits(db, revocation, found, alert) for alert in shown)


def _hits(db: Tables, revocation: Revocation, found: Mapping[str, Any], alert: Alert | None) -> bool:
    """Does the matcher cover this delivery, showing this revision?"""
    org = directory.organisation(db, found["org"])
    asked = deliveries.request_for(org, found["channel"], found["view"], alert, revocation.from_at)
    if revocation.capability is not None:
        asked = replace(asked, capability=revocation.capability)
    return rules.hits(revocation, asked)


def _queue_retraction(db: Tables, found: Mapping[str, Any], at: datetime) -> None:
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


def _effect(
    revocation: str | None,
    plan: str,
    order: Order,
    orgs: Sequence[Organisation],
    touched: Sequence[Organisation],
    withheld: int,
    in_flight: list[str],
    standing: Sequence[Mapping[str, Any]],
    going: Sequence[Mapping[str, Any]],
    at: datetime | None,
) -> Effect:
    ids = {org.org for org in touched}
    return Effect(
        revocation=revocation,
        plan=plan,
        dry_run=order.dry_run,
        touched=[_brief(org) for org in touched],
        untouched=[_brief(org) for org in orgs if org.org not in ids],
        withheld=withheld,
        in_flight=in_flight,
        delivered=len(standing),
        retracting=len(going),
        committed_at=times.to_text(at) if at else None,
    )


def _brief(org: Organisation) -> dict[str, str]:
    return {"org": org.org, "name": org.name, "sector": org.sector}


def _describe(revocation: Revocation) -> str:
    names = ("org", "workspace", "channel", "sector", "provider", "category", "capability")
    return " ".join(f"{name}={getattr(revocation, name)}" for name in names if getattr(revocation, name) is not None)
