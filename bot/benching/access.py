"""What access costs: a revocation amid many queued deliveries, decisions, the verification of the audit."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

from bot import app, revoking
from bot.benching.organisations import ACTOR
from bot.domain import access as rules
from bot.domain import alert as alerts
from bot.domain import audit as chain
from bot.domain import channel as channels
from bot.domain.access import Capability, Grant, Organisation, ProviderSet
from bot.domain.alert import Alert
from bot.domain.audit import AuditEntry
from bot.domain.delivery import Act
from bot.revoking import Order
from bot.store import access, deliveries, directory, events
from bot.store.database import Tables

ORGANISATIONS, QUEUED, ENTRIES, DECISIONS = 1_000, 10_000, 1_000_000, 20_000
GOAL_MS = 100.0
STEPS = 3
_SECTORS = (
    "government/intelligence", "government/law_enforcement", "government/emergency", "finance/bank",
    "finance/insurance", "news", "news/broadcast", "corporate_security", "humanitarian", "research",
)  # fmt: skip
_VIEW = ProviderSet(False, frozenset({"bluesky", "x"}))


def measure(orgs: int, queued: int, entries: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Milliseconds of the transaction, with a synchronous disk; decisions and entries per second of one core."""
    found = asyncio.run(_revoking(orgs, queued))
    advance(1)
    found |= {"decisions_per_second": _deciding(orgs), "organisations": orgs, "queued": queued}
    advance(1)
    sealed = list(_entries(entries))
    began = time.perf_counter()
    problem = chain.verify(sealed)
    took = time.perf_counter() - began
    advance(1)
    return found | {
        "audit_entries": entries, "audit_verify_s": round(took, 2), "audit_ok": problem is None,
        "goal_ms": GOAL_MS, "met": max(found["sector_ms"], found["organisation_ms"]) <= GOAL_MS,
    }  # fmt: skip


def told(found: dict[str, Any]) -> str:
    """For people."""
    verdict = "met" if found["met"] else "NOT met"
    return (
        f"revoke amid {found['queued']:,} queued deliveries of {found['organisations']:,} organisations, the whole "
        f"transaction: one organisation {found['organisation_ms']} ms, a sector of a tenth of them "
        f"{found['sector_ms']} ms, everybody's provider {found['provider_ms']} ms\n"
        f"  goal {found['goal_ms']:g} ms for an organisation and a sector: {verdict}\n"
        f"decide: {found['decisions_per_second']:,} a second with {found['organisations']:,} grants\n"
        f"audit: {found['audit_entries']:,} entries verified in {found['audit_verify_s']} s"
    )


async def _revoking(orgs: int, queued: int) -> dict[str, float]:
    with app.throwaway() as database:
        await database.write(_set_stage, orgs, queued)
        return {
            "organisation_ms": await _timed(database, Order(reason="bench", org="Organisation 3")),
            "sector_ms": await _timed(database, Order(reason="bench", sector=_SECTORS[0])),
            "provider_ms": await _timed(database, Order(reason="bench", provider="x")),
        }


async def _timed(database: Any, order: Order) -> float:
    began = time.perf_counter()
    await database.write(lambda db: revoking.revoke(db, ACTOR, app.now(), order))
    return round((time.perf_counter() - began) * 1000, 1)


def _set_stage(db: Tables, orgs: int, queued: int) -> None:
    at = app.now()
    raised = [_alert(number) for number in range(10)]
    for alert in raised:
        events.record(db, _VIEW, alert, at)
    each = max(1, queued // orgs)
    for number in range(orgs):
        org = _org(number)
        channel = channels.parse(f"slack:T{number}/C0")
        directory.add_organisation(db, org, at)
        directory.bind_channel(db, org, channel, at)
        for grant in _grants(number):
            access.add_grant(db, grant, reason="bench", author="bench", at=at)
        for turn in range(each):
            deliveries.queue(
                db, org=org.org, channel=str(channel), act=Act.POST, at=at, view=_VIEW.key,
                alert=raised[turn % len(raised)],
            )  # fmt: skip


def _deciding(orgs: int) -> int:
    policy = rules.Policy(
        version=1, grants=tuple(grant for number in range(orgs) for grant in _grants(number)), revocations=()
    )
    asked = [
        rules.Request(org=_org(number % orgs), at=app.now(), providers=frozenset({"bluesky"}), view=_VIEW)
        for number in range(DECISIONS // 20)
    ]
    began = time.perf_counter()
    for request in asked:
        rules.decide(policy, request)
    return round(len(asked) / (time.perf_counter() - began))


def _org(number: int) -> Organisation:
    return Organisation(org=f"o{number}", name=f"Organisation {number}", sector=_SECTORS[number % len(_SECTORS)])


def _grants(number: int) -> list[Grant]:
    usual = frozenset({Capability.ALERTS, Capability.EVIDENCE})
    return [
        Grant(grant=f"g{number}{name}", org=f"o{number}", sector=None, provider=name, capabilities=usual)
        for name in ("bluesky", "x")
    ]


def _alert(number: int) -> Alert:
    at = app.now()
    return Alert(
        event=f"{number:016x}", revision=1, kind=alerts.Kind.NEW, level=alerts.Level.ALERT,
        certainty=alerts.Certainty.LIKELY, newsworthiness=0.5, disputed=False, category="explosion",
        categories={"explosion": 0.9}, headline="Explosion reported in Port Calder", place=None, first_post_at=at,
        raised_at=at, posts=3, authors=3, sources=("bluesky", "x"), evidence=("bluesky|a", "bluesky|b", "x|c"),
    )  # fmt: skip


def _entries(count: int) -> Iterator[AuditEntry]:
    previous = chain.GENESIS
    for seq in range(1, count + 1):
        entry = chain.seal(
            AuditEntry(
                seq=seq, at="2031-05-14T12:00:00.000Z", actor="tocsin", surface="service", action="delivery-denied",
                target="o1", reason="no grant", effect={"delivery": f"d{seq}"}, prev_hash=previous,
            )
        )  # fmt: skip
        previous = entry.hash
        yield entry
