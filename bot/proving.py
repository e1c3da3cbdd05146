"""What a revocation did, as the store can show it: who was fenced, what arrived when, what could be taken back."""

from datetime import datetime
from typing import Any

from bot import reach
from bot.domain import errors, times
from bot.domain.access import Capability, ProviderSet, Revocation
from bot.domain.delivery import Act, State
from bot.store import access, deliveries
from bot.store.database import Tables


def proof(db: Tables, revocation: str) -> dict[str, Any]:
    """What is recorded about a revocation's effect, and what can be counted now.

    ``claimed_after`` lists deliveries to touched organisations that were claimed after the fence although the matcher
    covers them; it must be empty. ``last_message_s``: from the commit to the last message that reached a platform, in
    seconds; None where none did. ``retracted``: how many messages were taken back, without those that were looked for
    and not found; ``not_retracted``: what stands all the same and why.
    """
    found = access.revocation_row(db, revocation)
    if found is None:
        raise errors.UsageError(f"revocation {revocation!r} does not exist; `tocsin revocations` shows those that do")
    matcher = next(each for each in access.revocations(db) if each.revocation == revocation)
    rows = [
        row
        for org in found["effect"].get("touched", [])
        for row in deliveries.history_of(db, org["org"], found["created_at"])
    ]
    in_flight = set(found["effect"].get("in_flight", []))
    committed = times.from_text(found["effect"].get("committed_at") or found["created_at"])
    arrived = [row for row in rows if row["delivery"] in in_flight and row["state"] == State.SENT.value]
    retractions = [row for row in rows if row["act"] == Act.RETRACT.value]
    return found | {
        "claimed_after": _claimed_after(db, found, matcher, rows, in_flight),
        "in_flight_now": [
            {"delivery": row["delivery"], "state": row["state"], "sent_at": row["sent_at"]}
            for row in rows
            if row["delivery"] in in_flight
        ],
        "last_message_s": max((_after(row["sent_at"], committed) for row in arrived), default=None),
        "retractions": [
            {"delivery": row["delivery"], "channel": row["channel"], "state": row["state"], "reason": row["reason"]}
            for row in retractions
        ],
        "retracted": sum(row["state"] == State.SENT.value and bool(row["platform_id"]) for row in retractions),
        "not_retracted": _not_retracted(retractions) + _not_edited(rows),
    }


def _after(sent_at: str, committed: datetime) -> float:
    return (times.from_text(sent_at) - committed).total_seconds()


def _claimed_after(
    db: Tables, found: dict[str, Any], matcher: Revocation, rows: list[dict[str, Any]], in_flight: set[str]
) -> list[str]:
    if matcher.capability not in (None, Capability.ALERTS):
        return []  # of another capability deliveries go on, with less
    end = min(found["lifted_at"] or "9999", found["until"] or "9999")
    return [
        row["delivery"]
        for row in rows
        if row["act"] in deliveries.SHOWING
        and row["act"] != Act.DIGEST.value  # its items are rows of their own, claimed with it
        and (row["claimed_at"] or "9999") < end
        and _is_after_fence(row, found)
        and row["delivery"] not in in_flight
        and (reach.row_hits(db, matcher, row) or _was_shaped(matcher, row))
    ]


def _was_shaped(matcher: Revocation, row: dict[str, Any]) -> bool:
    """Was it made in a View that has the withdrawn provider, whoever its evidence comes from?"""
    narrow = matcher.workspace or matcher.channel or matcher.category
    if matcher.provider in (None, "*") or narrow or row["view"] is None:
        return False
    return ProviderSet.parse(row["view"]).permits(matcher.provider)


def _is_after_fence(row: dict[str, Any], found: dict[str, Any]) -> bool:
    """Was it claimed under the policy that the fence made? Clocks may step back, the policy's version does not; a row
    that was withheld has the version of that, so there the time has to say it."""
    fence = max(found["from_at"], found["created_at"])
    version = found["effect"].get("policy_version")
    later = row["claimed_at"] > fence
    if version is None or row["policy_version"] is None:
        return bool(later)
    return bool(row["policy_version"] >= version and (later or row["state"] != State.WITHHELD.value))


def _not_retracted(retractions: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What was to be taken back and was not, or not yet."""
    return [
        {"channel": row["channel"], "message": row["root"], "state": row["state"], "why": row["reason"] or "under way"}
        for row in retractions
        if row["state"] not in (State.SENT.value, State.SUPERSEDED.value)
    ]


def _not_edited(rows: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Messages that were to show what may be seen now, and still show what they did."""
    return [
        {"channel": row["channel"], "message": row["root"], "state": row["state"], "why": row["reason"]}
        for row in rows
        if row["act"] == Act.EDIT.value and row["state"] in (State.REJECTED.value, State.FAILED.value)
    ]


def told(found: dict[str, Any]) -> list[str]:
    """The proof in lines for people."""
    effect = found["effect"]
    matcher = " ".join(
        f"{name}={found[name]}"
        for name in ("org", "workspace", "channel", "sector", "provider", "category", "capability")
        if found[name]
    )
    state = f"lifted {found['lifted_at']} by {found['lifted_by']}" if found["lifted_at"] else "in force"
    last = found["last_message_s"]
    lines = [
        f"revocation {found['revocation']}: {matcher} ({state})",
        f"reason: {found['reason']}" + (f" · asked for by {found['requester']}" if found["requester"] else ""),
        f"committed {effect.get('committed_at', found['created_at'])} by {found['author']}",
        "touched: " + (", ".join(org["name"] for org in effect.get("touched", [])) or "nobody"),
        "not touched: " + (", ".join(org["name"] for org in effect.get("untouched", [])) or "nobody"),
        f"withheld {effect.get('withheld', 0)} (held back {effect.get('held', 0)}) · in flight "
        f"{len(effect.get('in_flight', []))} · delivered before {effect.get('delivered', 0)}",
        "last message after the commit: " + ("none" if last is None else f"{last:.3f} s, listed as in flight"),
        *_unanswered(found),
        f"claimed after the fence (must be none): {', '.join(found['claimed_after']) or 'none'}",
        f"retracted: {found['retracted']}",
    ]
    lines += [f"not retracted: {each['channel']}: {each['state']}, {each['why']}" for each in found["not_retracted"]]
    return lines


def _unanswered(found: dict[str, Any]) -> list[str]:
    n = sum(row["state"] != State.SENT.value for row in found["in_flight_now"])
    return [f"of what was in flight {n} got no answer, and may have arrived within 10 s"] if n else []
