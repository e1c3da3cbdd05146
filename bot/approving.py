"""Acts of two persons: one operator proposes, another approves. A revocation's fence never waits for it.

What cannot be undone or opens access for many is proposed where the configuration says so and there are two operators
to do it. A person has any number of accounts; approving by another account of one's own is refused.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, assert_never

from bot import admin, revoking
from bot.admin import Actor
from bot.domain import errors, times
from bot.domain.access import Terms
from bot.revoking import Effect, Order
from bot.store import access, audit, proposals
from bot.store.database import Database, Tables

LIFE = timedelta(hours=24)


class Act(StrEnum):
    RETRACT = "retract"  # delivered messages cannot be put back
    DROP_CREDENTIALS = "drop-credentials"  # the workspace has to install anew
    REINSTATE_SECTOR = "reinstate-sector"  # opens access for many
    GRANT_SECTOR = "grant-sector"  # opens access for many
    RELAX_TERMS = "relax-terms"  # opens access for many


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What was not done at once: its proposal, None where it could not even be proposed, and a sentence about it."""

    proposal: str | None
    text: str


@dataclass(frozen=True, slots=True)
class _Refused:
    why: str


def revoke(db: Tables, actor: Actor, at: datetime, order: Order, two_persons: frozenset[str]) -> Effect:
    """``revoking.revoke`` at once, less what needs a second person: that is proposed."""
    two_persons |= proposals.required(db)
    now = replace(
        order,
        retract=order.retract and Act.RETRACT not in two_persons,
        within=None if Act.RETRACT in two_persons else order.within,
        drop_credentials=order.drop_credentials and Act.DROP_CREDENTIALS not in two_persons,
    )
    if order.dry_run or now == order:
        return revoking.revoke(db, actor, at, order)
    revoking.check(db, order, at)
    effect = revoking.revoke(db, actor, at, replace(now, plan=None))
    if not _is_person(actor):
        return replace(effect, refused=_refuse_proposal(db, actor, at, str(effect.revocation)))
    made = []
    if order.retract and not now.retract:
        since = times.to_text(at - order.within) if order.within is not None else None
        args = {"revocation": effect.revocation, "since": since}
        made.append(propose(db, actor, at, Act.RETRACT, args, str(effect.revocation), order.reason))
    if order.drop_credentials and not now.drop_credentials:
        args = {"revocation": effect.revocation}
        made.append(propose(db, actor, at, Act.DROP_CREDENTIALS, args, str(effect.revocation), order.reason))
    return replace(effect, proposals=made)


def reinstate(
    db: Tables, actor: Actor, at: datetime, revocation: str, reason: str, two_persons: frozenset[str]
) -> dict[str, Any]:
    """``revoking.reinstate``, or its proposal where it would open a sector."""
    two_persons |= proposals.required(db)
    if Act.REINSTATE_SECTOR not in two_persons or not revoking.is_of_sector(db, revocation):
        return revoking.reinstate(db, actor, at, revocation, reason)
    if not reason.strip():
        raise errors.UsageError("reinstate: give a --reason; it stands in the audit")
    args = {"revocation": revocation, "reason": reason}
    made = propose(db, actor, at, Act.REINSTATE_SECTOR, args, revocation, reason)
    return {"revocation": revocation, "lifted_at": None, "proposal": made}


def grant(db: Tables, actor: Actor, at: datetime, values: Mapping[str, Any], two_persons: frozenset[str]) -> Any:
    """``admin.grant``, or the id of its proposal where it is for a sector."""
    two_persons |= proposals.required(db)
    if values["sector"] is None or Act.GRANT_SECTOR not in two_persons:
        return admin.grant(db, actor, at, **values)
    admin.check_grant(**values)
    until = values["until"]
    args = {**values, "capabilities": list(values["capabilities"]), "until": until and times.to_text(until)}
    return propose(
        db, actor, at, Act.GRANT_SECTOR, args, f"sector {values['sector']}: {values['provider']}", values["reason"]
    )


def set_terms(
    db: Tables, actor: Actor, at: datetime, values: Mapping[str, Any], two_persons: frozenset[str], own: Terms
) -> Waiting | None:
    """``admin.set_terms``; where they permit more than before and that needs a second person, what they bar besides
    holds at once and the rest is proposed. ``own``: the provider's own terms, which stand where none are stored."""
    made = admin.check_terms(**values)
    before = _standing(db, own)
    two_persons |= proposals.required(db)
    if Act.RELAX_TERMS not in two_persons or not made.relaxes(before):
        admin.set_terms(db, actor, at, **values)
        return None
    after = made.along_with(before) if before.relaxes(made) else before
    if after != before:
        sectors, cells = sorted(after.barred_sectors), sorted(after.barred_cells)
        more = {"barred_sectors": sectors, "barred_cells": cells, "quota": after.quota}
        admin.set_terms(db, actor, at, **{**values, **more})
        if not _is_person(actor):
            return Waiting(proposal=None, text=_refuse_proposal(db, actor, at, made.provider))
    args = {"provider": made.provider, "reason": values["reason"], **_told(made), "standing": _told(after)}
    target = f"{made.provider}: {_in_words(after)} → {_in_words(made)}"
    proposal = propose(db, actor, at, Act.RELAX_TERMS, args, target, values["reason"])
    return Waiting(
        proposal=proposal,
        text=f"proposed as {proposal}, since it permits more than before: another operator has to approve it",
    )


def _standing(db: Tables, own: Terms) -> Terms:
    found = (each for each in access.terms(db) if each.provider == own.provider)
    return next(found, own)


def _in_words(terms: Terms) -> str:
    cells = [f"{category}:{sector}" for category, sector in sorted(terms.barred_cells)]
    bars = ", ".join([*sorted(terms.barred_sectors), *cells])
    quota = "" if terms.quota is None else f"quota {terms.quota}"
    return "; ".join(filter(None, [bars and f"bars {bars}", quota])) or "bars nothing"


def _told(terms: Terms) -> dict[str, Any]:
    """JSON-ready, less whose they are."""
    return {
        "barred_sectors": sorted(terms.barred_sectors),
        "barred_cells": [list(cell) for cell in sorted(terms.barred_cells)],
        "quota": terms.quota,
    }


def _relax_terms(db: Tables, actor: Actor, at: datetime, args: dict[str, Any]) -> str:
    provider, standing = args["provider"], args.pop("standing")
    found = next((each for each in access.terms(db) if each.provider == provider), None)
    if found is not None and standing != _told(found):
        raise errors.TocsinError(f"the terms of {provider} have changed since it was proposed; propose it again")
    cells = [(category, sector) for category, sector in args.pop("barred_cells")]
    admin.set_terms(db, actor, at, **args, barred_cells=cells)
    return f"the terms of {provider} are set"


def propose(db: Tables, actor: Actor, at: datetime, act: Act, args: Mapping[str, Any], target: str, reason: str) -> str:
    """Returns the proposal's id. Raises RefusedError for an account that is no configured operator's."""
    if not _is_person(actor):
        raise errors.RefusedError(
            f"{act.value}: needs two operators, and {actor.id} is nobody's account; put it under [[operator]] ids"
        )
    proposal = f"a{secrets.token_hex(4)}"
    proposals.add(
        db, proposal, act.value, json.dumps(args), target=target, reason=reason, by=str(actor),
        proposer=str(actor.operator), at=at, expires_at=at + LIFE,
    )  # fmt: skip
    _audit(db, actor, at, "propose", proposal, act.value, target, reason)
    return proposal


async def approve(database: Database, actor: Actor, at: datetime, proposal: str) -> str:
    """Carry it out. Raises RefusedError, audited, for its own proposer, by whichever account, and for who is no
    configured operator; returns a sentence."""
    outcome = await database.write(_approve, actor, at, proposal)
    if isinstance(outcome, _Refused):
        await admin.refuse(database, actor, "approve", proposal, at, outcome.why)
    return outcome


def reject(db: Tables, actor: Actor, at: datetime, proposal: str) -> None:
    """It will not be carried out. Its proposer may do this, too."""
    found = _open(db, proposal, at)
    proposals.decide(db, proposal, "rejected", by=str(actor), at=at)
    _audit(db, actor, at, "reject", proposal, found["act"], found["target"], found["reason"])


def listed(db: Tables, at: datetime) -> list[dict[str, Any]]:
    """All of them, the newest first; ``state`` is what it is now."""
    return [row | {"state": _state(row, at), "args": json.loads(row["args"])} for row in proposals.listed(db)]


def _refuse_proposal(db: Tables, actor: Actor, at: datetime, target: str) -> str:
    """What withdraws access holds all the same."""
    why = f"{actor.id} is nobody's account; put it under [[operator]] ids"
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action="propose-refused", target=target, reason=why
    )
    return f"not proposed, since {why}: only the fence holds"


def _approve(db: Tables, actor: Actor, at: datetime, proposal: str) -> str | _Refused:
    found = _open(db, proposal, at)
    if not _is_person(actor):
        return _Refused("not an operator of the configuration")
    if actor.operator == found["proposer"]:
        return _Refused("the person who proposed it, and a second one has to approve")
    proposals.decide(db, proposal, "approved", by=str(actor), at=at)
    _audit(db, actor, at, "approve", proposal, found["act"], found["target"], found["reason"])
    return _carry_out(db, actor, at, Act(found["act"]), json.loads(found["args"]))


def _carry_out(db: Tables, actor: Actor, at: datetime, act: Act, args: dict[str, Any]) -> str:
    match act:
        case Act.RETRACT:
            since = times.from_text(args["since"]) if args["since"] else None
            return f"being retracted: {revoking.retract(db, actor, at, args['revocation'], since)}"
        case Act.DROP_CREDENTIALS:
            gone = revoking.drop_credentials(db, actor, at, args["revocation"])
            return f"credentials are dropped when retractions and notices are out: {', '.join(gone) or 'none'}"
        case Act.REINSTATE_SECTOR:
            revoking.reinstate(db, actor, at, args["revocation"], args["reason"])
            return f"revocation {args['revocation']} is lifted; what was withheld stays withheld"
        case Act.GRANT_SECTOR:
            until = args.pop("until")
            made = admin.grant(db, actor, at, **args, until=times.from_text(until) if until else None)
            return f"grant {made.grant}: {made.provider} to sector {made.sector}"
        case Act.RELAX_TERMS:
            return _relax_terms(db, actor, at, args)
        case _:
            assert_never(act)


def _open(db: Tables, proposal: str, at: datetime) -> dict[str, Any]:
    found = proposals.get(db, proposal)
    if found is None:
        raise errors.UsageError(f"proposal {proposal!r} does not exist; `tocsin proposals` shows those that do")
    state = _state(found, at)
    if state != "open":
        raise errors.TocsinError(f"proposal {proposal} is {state}; propose it again")
    return found


def _state(found: Mapping[str, Any], at: datetime) -> str:
    expired = found["state"] == "open" and found["expires_at"] <= times.to_text(at)
    return "expired" if expired else str(found["state"])


def _is_person(actor: Actor) -> bool:
    """Is this one of the configuration's operators? Whoever may write the store is one by account only."""
    return actor.operator is not None and actor.operator != actor.id


def _audit(
    db: Tables, actor: Actor, at: datetime, action: str, proposal: str, act: str, target: str, reason: str
) -> None:
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action=action, target=target, reason=reason,
        effect={"proposal": proposal, "act": act},
    )  # fmt: skip
