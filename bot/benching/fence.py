"""From a revocation's commit to the last message that its organisation gets, while a burst is being delivered."""

import asyncio
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from bot import admin, app, proving, revoking
from bot.admin import Actor
from bot.benching import organisations, slack_server, workload
from bot.benching.slack_server import SlackServer
from bot.detection.detector import Detector
from bot.detection.places import Gazetteer
from bot.domain import access as rules
from bot.domain.alert import Kind
from bot.pipeline import recording
from bot.pipeline.delivering import Delivering
from bot.revoking import Effect, Order
from bot.store import deliveries
from bot.store.database import Database, Tables
from classifiers.api import Classifier

TEAMS = {"Fenced": "TBENCH1", "Second": "TBENCH2", "Third": "TBENCH3"}
FENCED = "Fenced"
ANSWER_AFTER = timedelta(milliseconds=50)  # about what Slack takes; without it nothing would ever be in flight
STOPPED_WITHIN_S = 120.0


async def measure(
    classifier: Classifier,
    gazetteer: Gazetteer,
    channels: int,
    alerts: int,
    rounds: int,
    advance: Callable[[int], None],
) -> dict[str, Any]:
    """``alerts`` to ``channels`` channels of each of three organisations, of which one is revoked in the middle; the
    counts of all rounds together, and the longest times of any.

    ``after_fence`` counts messages to it that came after the revocation's transaction began, ``unlisted`` those of them
    that it did not list as in flight: must be 0. ``last_ms`` is from the call of ``revoke`` to the last message at all.
    """
    found = []
    for number in range(rounds):
        found.append(await _round(classifier, gazetteer, channels, alerts, seed=number))
        advance(found[-1]["queued"])
    totals: dict[str, Any] = {"organisations": len(TEAMS), "channels": channels * len(TEAMS), "rounds": rounds}
    for name in found[0]:
        values = [each[name] for each in found if each[name] is not None]
        totals[name] = max(values, default=None) if name.endswith("_ms") else sum(values)
    return totals


async def _round(
    classifier: Classifier, gazetteer: Gazetteer, channels: int, alerts: int, *, seed: int
) -> dict[str, Any]:
    async with SlackServer(ANSWER_AFTER, seed=seed) as server, slack_server.notifying(server) as notifier:
        with app.throwaway() as database:
            for name, team in TEAMS.items():
                await database.write(organisations.add, name, team, [frozenset[str]()] * channels)
            queued = await _queue(database, classifier, gazetteer, alerts)
            delivering = Delivering(database, {notifier.platform: notifier}, now=app.now)
            async with asyncio.timeout(STOPPED_WITHIN_S), asyncio.TaskGroup() as group:
                group.create_task(delivering.run(), name="delivering")
                await server.wait_for(_into_second_wave(channels, queued))
                asked = app.now()
                effect, began, committed = await admin.act(
                    database, organisations.ACTOR, "revoke", FENCED, app.now, _revoke
                )
                answered = app.now()
                delivering.finish()
            rows = {row["delivery"]: row for row in await database.read(deliveries.listed)}
            proof = await database.read(proving.proof, effect.revocation or "")
    to = {delivery: row["org"] for delivery, row in rows.items()}
    fenced = effect.touched[0]["org"]
    theirs = [each for each in server.received if to[each.delivery] == fenced]
    after = [each for each in theirs if each.at > began]
    others = Counter(row["state"] for row in rows.values() if row["org"] != fenced)
    return {
        "queued": queued, "before": len(theirs) - len(after), "withheld": effect.withheld,
        "in_flight": len(effect.in_flight), "after_fence": len(after),
        "unlisted": sum(each.delivery not in effect.in_flight for each in after),
        "claimed_after": len(proof["claimed_after"]),
        "last_after_commit_ms": max((_ms(each.at - committed) for each in after if each.at > committed), default=None),
        "last_ms": max((_ms(each.at - asked) for each in theirs if each.at > asked), default=None),
        "revoke_ms": _ms(answered - asked), "others_sent": others["sent"], "others_queued": sum(others.values()),
        "received_twice": len(server.received) - len({each.delivery for each in server.received}),
    }  # fmt: skip


async def _queue(database: Database, classifier: Classifier, gazetteer: Gazetteer, most: int) -> int:
    """Record the rehearsal's reports and the first alerts of ``most`` happenings at once. Returns the rows queued."""
    detector = Detector(rules.EVERYTHING, gazetteer)
    steps = workload.candidates_of(classifier, 1)
    raised = [alert for step in steps for alert in detector.add(step) if alert.kind is Kind.NEW]
    recorded = await database.write(
        recording.record,
        steps=steps,
        raised=[(rules.EVERYTHING, raised[:most])],
        cursors={},
        gaps=[],
        known_views={rules.EVERYTHING.key},
        now=app.now(),
    )
    return recorded.queued


def _into_second_wave(channels: int, queued: int) -> int:
    """How many messages have come when every channel has one and the fenced organisation's, the first, get the next:
    between two waves all channels keep Slack's second of silence, and nothing would be in flight."""
    return max(1, min(channels * len(TEAMS) + channels // 2, queued // 2))


def _revoke(db: Tables, actor: Actor, at: datetime) -> tuple[Effect, datetime, datetime]:
    """The revocation, and the time at both ends of its transaction: whatever is claimed is claimed before or after."""
    began = app.now()
    effect = revoking.revoke(db, actor, at, Order(reason="bench", org=FENCED, silent="a measurement"))
    return effect, began, app.now()


def _ms(duration: timedelta) -> float:
    return round(duration.total_seconds() * 1000, 1)
