"""Retention: posts lose their words when their provider's time, or the operator's shorter one, is over; deleted ones
lose what is left of them once no detector can need it. Events and alerts stay."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from bot import metrics
from bot.domain.post import Gap
from bot.pipeline.rebuilding import REBUILT_FROM
from bot.store import audit, pushed, retention, sources
from bot.store.database import Database, StoreLockedError, Tables

EVERY_S = 600.0
MOST = 2_000  # posts in one transaction
# A detector that is rebuilt is fed deleted posts' embeddings too; an hour more, since sources differ in their order.
NEEDED = REBUILT_FROM + timedelta(hours=1)

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How long posts are kept: ``default``, or less or as long as ``of`` says for a provider; ``known`` tells of those
    that are not in it, whoever configured them once. ``pushed``: the sources whose pushed lines will be read."""

    default: timedelta
    of: Mapping[str, timedelta] = field(default_factory=dict)
    known: Callable[[str], timedelta] | None = None
    pushed: frozenset[str] = frozenset()

    def span(self, provider: str) -> timedelta:
        """Never less than what a restart needs."""
        most = self.of.get(provider)
        if most is None:
            most = self.default if self.known is None else self.known(provider)
        return max(min(self.default, most), NEEDED)


class Retaining:
    """Purges every ten minutes; a backlog in bounded steps, between which others may write."""

    def __init__(
        self,
        database: Database,
        policy: Policy,
        *,
        now: Callable[[], datetime],
        most: int = MOST,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._policy = policy
        self._now = now
        self._most = most
        self._sleep = sleep

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.purge()
            except StoreLockedError as error:
                metrics.store_retries_total.inc()
                log.warning("store_locked", problem=str(error))
            await self._sleep(EVERY_S)

    async def purge(self) -> int:
        """Everything that is due. Returns how many posts."""
        total = 0
        while True:
            purged = await self._database.write(purge, self._policy, self._now(), self._most)
            total += purged
            if purged < self._most:
                break
        if total:
            log.info("posts_purged", posts=total)
        return total


def purge(db: Tables, policy: Policy, at: datetime, most: int) -> int:
    """One step, at most ``most`` posts, with an entry in the audit if there were any. Returns how many.

    Pushed lines that no source is there to read go after the default time, which is a gap in that source.
    """
    counts: dict[str, Any] = {}
    left = most
    for provider in retention.providers(db):
        n = retention.purge(db, provider, before=at - policy.span(provider), at=at, most=left)
        if n:
            counts[provider] = n
        left -= n
    deleted = retention.purge_deleted(db, before=at - NEEDED, at=at, most=left)
    retention.forget_deletions(db, before=at - NEEDED)
    purged = most - left + deleted
    unread = _expire_pushed(db, policy, at)
    if purged or unread:
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="purge", target="posts",
            reason="retention", effect={"posts": counts, "deleted": deleted, "unread": unread},
        )  # fmt: skip
    return purged


def _expire_pushed(db: Tables, policy: Policy, at: datetime) -> int:
    """Returns how many lines."""
    unread = pushed.expire(db, at - max(policy.default, NEEDED), policy.pushed)
    for each in unread:
        reason = f"{each.lines} pushed lines were never read, since the source is not configured any more"
        sources.add_gap(db, each.source, Gap(since=each.since, until=each.until, reason=reason), at)
    return sum(each.lines for each in unread)
