"""A real store in a folder of the test's own, with short ways to say who there is and what happens."""

import asyncio
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot import admin, revoking
from bot.admin import Actor
from bot.domain import alert as alerts
from bot.domain import audit as chain
from bot.domain import channel as channels
from bot.domain.access import Grant, Organisation, ProviderSet, permitted
from bot.domain.alert import Alert
from bot.domain.delivery import Outcome, Sending, Sent, settle
from bot.domain.post import Candidate, Deletion
from bot.pipeline import recording
from bot.revoking import Effect, Order
from bot.store import access, audit, claiming, deliveries, directory
from bot.store.database import Database
from tests import factories

OPERATOR = Actor(id="cli:ada", surface="cli", operator="Ada")
STRANGER = Actor(id="slack:T0123/U9", surface="slack")


class World:
    """Every act is one transaction, on the test's own thread. ``now`` stands still until ``wait``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = factories.NOW
        self.database = Database.open(path)
        self._seq = 0

    def close(self) -> None:
        self.database.close()

    def reopen(self) -> None:
        self.close()
        self.database = Database.open(self.path)

    def wait(self, **span: float) -> datetime:
        self.now += timedelta(**span)
        return self.now

    def write(self, fn: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        return self.database._in_transaction(fn, *args, **kw)

    def act(self, fn: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        return self.write(fn, OPERATOR, self.now, *args, **kw)

    def run(self, fn: Callable[..., Any], *args: Any, **kw: Any) -> Any:
        """An asynchronous use case."""
        return asyncio.run(fn(self.database, *args, **kw))

    def org(self, name: str = "Acme", sector: str = "finance/bank", grant: str | None = "*") -> Organisation:
        made: Organisation = self.act(admin.add_organisation, name, sector)
        if grant is not None:
            self.grant(org=name, provider=grant)
        return made

    def grant(self, **fields: Any) -> Grant:
        defaults: dict[str, Any] = {"org": None, "sector": None, "provider": "*", "capabilities": (), "until": None}
        made: Grant = self.act(admin.grant, **defaults | {"reason": "contract"} | fields)
        return made

    def channel(self, name: str = "slack:T0123/C0456", org: str = "Acme", *, subscribed: bool = True) -> str:
        self.act(admin.add_channel, org, channels.parse(name))
        if subscribed:
            wanted = factories.make_subscription(channel=name)
            self.run(admin.subscribe, OPERATOR, self.now, wanted)
        return name

    def view(self, org: str = "Acme") -> ProviderSet:
        return permitted(self.write(access.policy), self.write(directory.organisation, org), self.now)

    def candidate(self, key: str, **fields: Any) -> Candidate:
        provider, _, post_id = key.partition("|")
        self._seq += 1
        post = factories.make_post(**{"provider": provider, "id": post_id, "text": f"text of {key}"} | fields)
        return Candidate(
            post=post, seq=self._seq, stream_at=self.now, categories={"explosion": 0.9}, places=(), embedding=b"",
            fingerprint=key, model="m1",
        )  # fmt: skip

    def record(
        self, *raised: Alert, view: ProviderSet | None = None, steps: Iterable[Candidate | Deletion] = ()
    ) -> recording.Recorded:
        """Store one batch, as detecting does; every live View has its detector."""
        seen_by = [(view or self.view(), list(raised))] if raised else []

        def recorded(db: Any) -> recording.Recorded:
            return recording.record(
                db,
                steps=[step if isinstance(step, Candidate) else (step, self.now) for step in steps],
                raised=seen_by,
                cursors={},
                gaps=[],
                known_views=set(access.live_views(db, self.now)),
                now=self.now,
            )

        found: recording.Recorded = self.write(recorded)
        return found

    def claim(self, platform: str = "slack", most: int = 16) -> list[Sending]:
        found: list[Sending] = self.write(claiming.claim_due, platform=platform, at=self.now, most=most)
        return found

    def settle(self, sending: Sending, outcome: Outcome | None = None, spacing_s: float = 0) -> None:
        """What delivering does with an outcome; without one it was sent."""
        settlement = settle(
            outcome or Sent(platform_id=f"ts-{sending.delivery}"),
            attempt=sending.attempt,
            created_at=sending.created_at,
            now=self.now,
            uncertain=sending.uncertain,
        )
        self.write(
            claiming.settle, sending, settlement, at=self.now, spacing_until=self.now + timedelta(seconds=spacing_s)
        )

    def deliver_all(self, platform: str = "slack") -> list[Sending]:
        """Claim and send until nothing is due."""
        sent = []
        while claimed := self.claim(platform):
            for sending in claimed:
                self.settle(sending)
                sent.append(sending)
        return sent

    def revoke(self, **fields: Any) -> Effect:
        """Without a notice, unless the story is about it."""
        usual = {"reason": "the provider asked"} | ({} if "notice" in fields else {"silent": "not this test's story"})
        effect: Effect = self.act(revoking.revoke, Order(**usual | fields))
        return effect

    def rows(self, **where: Any) -> list[dict[str, Any]]:
        """Deliveries, oldest first, with these values."""
        found = self.write(deliveries.listed)
        return [row for row in found if all(row[name] == value for name, value in where.items())]

    def states(self) -> list[str]:
        return [row["state"] for row in self.rows()]

    def audit(self) -> list[chain.AuditEntry]:
        return list(self.write(lambda db: list(audit.entries(db))))

    def dump(self) -> list[str]:
        """Everything that the store holds, as SQL."""
        return list(self.database._reader.conn.iterdump())


def make_update(**fields: Any) -> Alert:
    return factories.make_alert(**{"revision": 2, "kind": alerts.Kind.UPDATE, "change": "more voices"} | fields)
