"""Access that ends by itself: grants and revocations whose time is over, and tokens that are to be let go of."""

from datetime import datetime
from typing import Any

from bot.domain import access as rules
from bot.domain.delivery import Act
from bot.store import access, audit, deliveries, directory, installations, offboarding
from bot.store.database import Tables

_NOT_OURS = "its token is not in the store but in the configuration: take it out there, or remove the bot"
_ENDED = "ACCESS ENDED: the time for which access was granted is over. Whoever runs this service can say more."


def due(db: Tables, at: datetime) -> bool:
    """Is there anything to do?"""
    return bool(access.expired_unnoticed(db, at) or offboarding.ready(db))


def expire(db: Tables, at: datetime) -> None:
    """Put on record which grants have ended, withhold what waits for whoever may no longer have it, and tell them."""
    ended = access.expired_unnoticed(db, at)
    for grant in ended:
        access.note_expired(db, grant["grant_id"], at)
        touched = _without_access(db, grant, at)
        queued, held, in_flight = deliveries.withhold_denied(db, touched, access.policy(db), at)
        for org in touched:
            for channel in _subscribed(db, org.org):
                deliveries.queue(db, org=org.org, channel=channel, act=Act.NOTICE, at=at, text=_ENDED)
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="grant-expired", target=grant["grant_id"],
            reason=grant["reason"],
            effect={
                "touched": [org.org for org in touched], "withheld": queued + held, "in_flight": in_flight,
                "provider": grant["provider"],
            },
        )  # fmt: skip
    if ended:
        access.bump_version(db)


def let_go(db: Tables, at: datetime) -> None:
    """Drop the tokens of workspaces to which nothing is to be sent any more."""
    for each in offboarding.ready(db):
        workspace = each["workspace"]
        dropped = installations.delete(db, workspace)
        offboarding.remove(db, workspace)
        deliveries.lose(db, workspace, "access was withdrawn and the token let go of; install the app again")
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="credentials-dropped", target=workspace,
            reason=each["revocation"], effect={"dropped": bool(dropped), "why": "" if dropped else _NOT_OURS},
        )  # fmt: skip


def _without_access(db: Tables, grant: dict[str, Any], at: datetime) -> list[rules.Organisation]:
    """Whoever had this grant and may now receive nothing from its provider."""
    policy = access.policy(db)
    return [
        org
        for org in directory.organisations(db)
        if (grant["org"] is None or grant["org"] == org.org)
        and (grant["sector"] is None or rules.in_sector(org.sector, grant["sector"]))
        and not _still_has(policy, org, grant["provider"], at)
    ]


def _still_has(policy: rules.Policy, org: rules.Organisation, provider: str, at: datetime) -> bool:
    view = rules.permitted(policy, org, at)
    return not view.empty if provider == "*" else view.permits(provider)


def _subscribed(db: Tables, org: str) -> list[str]:
    wanted = directory.subscribed_channels(db)
    return [row["channel"] for row in directory.channels(db, org) if row["channel"] in wanted]
