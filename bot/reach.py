"""Whom and what a revocation reaches: organisations, open deliveries, messages that stand. Only reads."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.domain import access as rules
from bot.domain import times
from bot.domain.access import Capability, Organisation, OrganisationState, Policy, Revocation
from bot.domain.alert import Alert
from bot.domain.delivery import Act, State
from bot.store import deliveries, directory
from bot.store.database import Tables
from bot.store.deliveries import Known

Row = Mapping[str, Any]

_LEAVE_NONE = (Capability.HISTORY, Capability.EXPORT)  # what these gave is no message


def touched(
    db: Tables, orgs: Sequence[Organisation], revocation: Revocation, policy: Policy, at: datetime
) -> list[Organisation]:
    """Of these, whoever the matcher covers; of a provider's withdrawal only those who may receive from it."""
    covered = [org for org in orgs if _is_covered(db, revocation, org)]
    if revocation.provider in (None, "*"):
        return covered
    capabilities = [revocation.capability] if revocation.capability else list(Capability)
    return [
        org
        for org, own in policy.by_organisation(covered)
        if any(
            rules.permitted(own, replace(org, state=OrganisationState.ACTIVE), at, each).permits(revocation.provider)
            for each in capabilities
        )
    ]


def plan(db: Tables, content: Mapping[str, Any], orgs: Sequence[Organisation], policy: Policy) -> str:
    """A hash of what was ordered, and of the organisations, channels and rules that it touches."""
    names = {org.org for org in orgs}
    everything = {
        "order": content,
        "touched": [(org.org, org.sector, org.state.value) for org in orgs],
        "channels": [each["channel"] for each in directory.channels(db) if each["org"] in names],
        "grants": sorted(f"{each.grant} {each.until}" for each in policy.grants),
        "revocations": sorted(f"{each.revocation} {each.lifted_at}" for each in policy.revocations),
        "terms": sorted(map(repr, policy.terms)),
    }
    return "p" + hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:12]


def denied(db: Tables, orgs: Sequence[Organisation], after: Policy, at: datetime) -> tuple[int, int, list[str]]:
    """What ``after`` would withhold: queued, held; and what could still arrive."""
    queued, held, in_flight = 0, 0, []
    for org, own in after.by_organisation(orgs):
        for found in deliveries.open_rows(db, [org.org]):
            if found["act"] == Act.DIGEST and found["state"] == State.SENDING.value:
                items = deliveries.items_shown(db, found)
                if not all(deliveries.decide_row(db, item, own, at, org=org).allowed for item in items):
                    in_flight.append(found["delivery"])
            elif deliveries.decide_row(db, found, own, at, org=org).allowed:
                continue
            elif found["state"] == State.SENDING.value:
                in_flight.append(found["delivery"])
            elif found["state"] == State.HELD.value:
                held += 1
            else:
                queued += 1
    return queued, held, in_flight


def with_evidence(db: Tables, revocation: Revocation, orgs: Sequence[Organisation], known: Sequence[str]) -> list[str]:
    """What is being sent with quotes that the matcher covers, where it withdraws evidence and not the alerts."""
    if revocation.capability is not Capability.EVIDENCE:
        return []
    return [
        row["delivery"]
        for row in deliveries.open_rows(db, (org.org for org in orgs))
        if row["state"] == State.SENDING.value
        and row["delivery"] not in known
        and (alert := deliveries.alert_of(db, row)) is not None
        and alert.quotes
        and row_hits(db, revocation, row)
    ]


def arrived_since(db: Tables, revocation: Revocation, orgs: Sequence[Organisation], known: Sequence[str]) -> list[str]:
    """What was claimed before the matcher's time had come and has arrived after it, before anybody looked."""
    start = times.to_text(revocation.from_at)
    return [
        row["delivery"]
        for org in orgs
        for row in deliveries.history_of(db, org.org, start)
        if row["act"] in deliveries.SHOWING
        and row["delivery"] not in known
        and (row["claimed_at"] or "") <= start < (row["sent_at"] or "")
        and row_hits(db, revocation, row)
    ]


def standing(db: Tables, revocation: Revocation, orgs: Sequence[Organisation]) -> list[Row]:
    """Delivered messages that the matcher covers."""
    if revocation.capability in _LEAVE_NONE:
        return []
    found: list[Row] = []
    known: Known = {}
    for org in orgs:
        posts = deliveries.standing_posts(db, [org.org])
        if revocation.provider in (None, "*") and revocation.category is None:
            found += [row for row in posts if hits(db, revocation, row, None, org=org)]
            continue
        shown = deliveries.shown_to(db, org.org, known) if posts else {}
        found += [
            row
            for row in posts
            if any(hits(db, revocation, row, alert, org=org) for alert in shown.get(row["delivery"], ()))
        ]
    return found


def perhaps_standing(db: Tables, revocation: Revocation, orgs: Sequence[Organisation]) -> list[Row]:
    """Messages that the matcher covers and of which nobody knows whether they arrived, also of what is withheld now."""
    if revocation.capability in _LEAVE_NONE:
        return []
    return [row for org in orgs for row in deliveries.perhaps_standing(db, org.org) if row_hits(db, revocation, row)]


def sent_since(rows: Sequence[Row], since: datetime | None) -> list[Row]:
    """None: all."""
    if since is None:
        return list(rows)
    start = times.to_text(since)
    return [row for row in rows if (row["sent_at"] or row["created_at"]) >= start]


def row_hits(db: Tables, revocation: Revocation, found: Row) -> bool:
    """Does the matcher cover this delivery? A digest, if it covers anything that it tells of."""
    shown = deliveries.shown_by(db, found) if found["act"] == Act.DIGEST else [deliveries.alert_of(db, found)]
    return any(hits(db, revocation, found, alert) for alert in shown)


def hits(
    db: Tables, revocation: Revocation, found: Row, alert: Alert | None, *, org: Organisation | None = None
) -> bool:
    """Does the matcher cover this delivery, showing this revision?"""
    owner = org or directory.organisation(db, found["org"])
    asked = deliveries.request_for(owner, found["channel"], found["view"], alert, revocation.from_at)
    if revocation.capability is not None:
        asked = replace(asked, capability=revocation.capability)
    return rules.hits(revocation, asked)


def _is_covered(db: Tables, revocation: Revocation, org: Organisation) -> bool:
    own = directory.channels(db, org.org) if revocation.workspace or revocation.channel else []
    return rules.touches(revocation, org, {each["workspace"] for each in own}, {each["channel"] for each in own})
