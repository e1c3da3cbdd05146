"""Access that ends by itself: grants whose time is over, and tokens that are to be let go of."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from bot.domain import access as rules
from bot.domain.access import Organisation, Policy
from bot.domain.delivery import Act
from bot.store import access, audit, deliveries, directory, installations, offboarding
from bot.store.database import Tables

_NOT_OURS = "its token is not in the store but in the configuration: take it out there, or remove the bot"


def due(db: Tables, at: datetime) -> bool:
    """Is there anything to do?"""
    return bool(access.expired_unnoticed(db, at) or access.beginning(db, at) or offboarding.ready(db, at))


def expire(db: Tables, at: datetime) -> None:
    """Put on record which grants have ended, withhold what waits for whoever may no longer have it, and tell them."""
    ended = access.expired_unnoticed(db, at)
    if not ended:
        return
    access.bump_version(db)
    policy, lost = access.policy(db), dict[Organisation, set[str]]()
    everybody = directory.organisations(db)
    for grant in ended:
        access.note_expired(db, grant["grant_id"], at)
        touched = _without_access(policy, [org for org in everybody if _is_of(grant, org)], grant, at)
        for org in touched:
            lost.setdefault(org, set()).add(grant["provider"])
        queued, held, in_flight = deliveries.withhold_denied(db, touched, policy, at)
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="grant-expired", target=grant["grant_id"],
            reason=grant["reason"],
            effect={
                "touched": [org.org for org in touched], "withheld": queued + held, "in_flight": in_flight,
                "provider": grant["provider"],
            },
        )  # fmt: skip
    for org, providers in lost.items():
        text = _notice(providers, anything_left=not rules.permitted(policy, org, at).empty)
        for channel in _subscribed(db, org.org):
            deliveries.queue(db, org=org.org, channel=channel, act=Act.NOTICE, at=at, text=text, exempt=True)


def let_go(db: Tables, at: datetime) -> None:
    """Drop the tokens of workspaces to which nothing is to be sent any more."""
    for each in offboarding.ready(db, at):
        workspace = each["workspace"]
        dropped = installations.find(db, workspace) is not None
        installations.delete(db, workspace)
        offboarding.remove(db, workspace)
        if dropped:
            deliveries.lose(db, workspace, "access was withdrawn and the token let go of; install the app again")
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="credentials-dropped", target=workspace,
            reason=each["revocation"], effect={"dropped": dropped, "why": "" if dropped else _NOT_OURS},
        )  # fmt: skip


def _is_of(grant: Mapping[str, Any], org: Organisation) -> bool:
    return grant["org"] in (None, org.org) and (grant["sector"] is None or rules.in_sector(org.sector, grant["sector"]))


def _without_access(
    policy: Policy, orgs: Sequence[Organisation], grant: Mapping[str, Any], at: datetime
) -> list[Organisation]:
    """Whoever could still receive from its provider, had this grant not ended; not those from whom it was withdrawn."""
    going_on = replace(
        policy,
        grants=tuple(replace(each, until=None) if each.grant == grant["grant_id"] else each for each in policy.grants),
    )
    provider = grant["provider"]
    had = {org for org, own in going_on.by_organisation(orgs) if _has(own, org, provider, at)}
    return [org for org, own in policy.by_organisation(orgs) if org in had and not _has(own, org, provider, at)]


def _has(policy: Policy, org: Organisation, provider: str, at: datetime) -> bool:
    view = rules.permitted(policy, org, at)
    return not view.empty if provider == "*" else view.permits(provider)


def _notice(providers: Iterable[str], *, anything_left: bool) -> str:
    of = f" to posts from {', '.join(sorted(providers))}" if anything_left else ""
    return f"ACCESS ENDED: the time for which access{of} was granted is over. Whoever runs this service can say more."


def _subscribed(db: Tables, org: str) -> list[str]:
    wanted = directory.subscribed_channels(db)
    return [row["channel"] for row in directory.channels(db, org) if row["channel"] in wanted]
