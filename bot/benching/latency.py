"""From a post's arrival to its message at a chat server, while posts come live."""

import asyncio
import math
import random
from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import timedelta
from typing import Any, cast

from bot import app
from bot.benching import organisations, slack_server, workload
from bot.benching.slack_server import Received, SlackServer
from bot.detection.places import Gazetteer
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert
from bot.domain.delivery import Act
from bot.domain.post import Arrival, Post
from bot.ingest.replay import ReplaySource
from bot.ingest.source import SourceHealth, State
from bot.store import deliveries
from classifiers.api import Classifier

GOAL_P50_MS = 250.0
GOAL_P99_MS = 1000.0
RATE = 50.0  # posts a second
ROUND_S = 6.0  # each round begins with an empty store, so that every happening is news again
REPORTS = 54  # of 11 happenings, about five each: far more than an ordinary day has
REPORTS_SHARE_MOST = 0.2
TEAM = "TBENCH"
DRAINED_WITHIN_S = 60.0


class LiveSource:
    """Posts at ``RATE``, each written at the moment when it comes; unlike a live source's, they end.

    They come independently of each other (a Poisson process): even gaps would fall into step with the batches.
    """

    provider = "bench"
    live = False
    paced = True  # so that batches close as they do for a live source

    def __init__(self, name: str, posts: Sequence[Post], advance: Callable[[int], None], rng: random.Random) -> None:
        self.name = name
        self.health = SourceHealth()
        self.late = timedelta()  # the most that a post came after its time: the machine's own delay, not counted
        self._posts = posts
        self._advance = advance
        self._rng = rng

    async def posts(self, after: str | None) -> AsyncGenerator[Arrival, None]:
        self.health.state = State.LIVE
        loop = asyncio.get_running_loop()
        due = loop.time()
        for number, each in enumerate(self._posts[int(after or 0) :], start=1):
            due += self._rng.expovariate(RATE)
            wait = due - loop.time()
            await asyncio.sleep(max(0.0, wait))
            self.late = max(self.late, timedelta(seconds=-min(0.0, wait)))
            moment = app.now()
            self._advance(1)
            yield Arrival(source=self.name, cursor=str(number), item=workload.at(each, moment), at=moment)


async def measure(
    classifier: Classifier, gazetteer: Gazetteer, seconds: float, advance: Callable[[int], None]
) -> dict[str, Any]:
    """``seconds`` of posts, a round at a time. Milliseconds; ``met`` is None where no alert was raised."""
    waits: list[float] = []
    spaced, revisions, late = 0, 0, timedelta()
    rounds = max(1, round(seconds / ROUND_S))
    count = round(min(seconds, ROUND_S) * RATE)
    reports = min(REPORTS, max(workload.AT_ONCE, round(count * REPORTS_SHARE_MOST)))
    for number in range(rounds):
        given = list(workload.posts(count, reports=reports))
        source = LiveSource("bench", given, advance, random.Random(number))
        found, behind, alerts = await _round(classifier, gazetteer, source)
        waits += found
        spaced, revisions, late = spaced + behind, revisions + alerts, max(late, source.late)
    figures = {name: _percentile(waits, share) for name, share in (("p50_ms", 0.5), ("p99_ms", 0.99), ("max_ms", 1.0))}
    met = figures["p50_ms"] <= GOAL_P50_MS and figures["p99_ms"] <= GOAL_P99_MS if waits else None
    return {
        "posts": count * rounds, "rate": RATE, "reports": reports * rounds, "rounds": rounds,
        "channels": len(organisations.one_channel_each()),
        "revisions": revisions, "count": len(waits), **(figures if waits else dict.fromkeys(figures)),
        "behind_spacing": spaced, "source_late_ms": round(late.total_seconds() * 1000, 1),
        "goal_p50_ms": GOAL_P50_MS, "goal_p99_ms": GOAL_P99_MS, "met": met,
    }  # fmt: skip


async def _round(classifier: Classifier, gazetteer: Gazetteer, source: LiveSource) -> tuple[list[float], int, int]:
    """Waits in ms of every first message, how many of them stood behind another in their channel, revisions raised."""
    raised: dict[str, Alert] = {}

    async def on_raised(view: ProviderSet, alert: Alert) -> None:
        del view
        raised[alert.id] = alert

    async with SlackServer() as server, slack_server.notifying(server) as notifier:
        with app.throwaway() as database:
            await database.write(organisations.add, "Bench", TEAM, organisations.one_channel_each())
            service = app.Service(database, classifier, gazetteer, on_raised=on_raised)
            service.use({"slack": notifier})
            async with asyncio.timeout(2 * ROUND_S + DRAINED_WITHIN_S):
                await service.play(cast(ReplaySource, source))  # play asks a source for nothing more than this one has
            rows = {row["delivery"]: row for row in await database.read(deliveries.listed)}
    waits, spaced = [], 0
    for number, came in enumerate(server.received):
        if rows[came.delivery]["act"] == Act.POST.value:
            waited = came.at - raised[rows[came.delivery]["alert"]].raised_at
            waits.append(waited.total_seconds() * 1000)
            spaced += _behind(came, server.received[:number], notifier.spacing)
    return waits, spaced, len(raised)


def _behind(came: Received, before: Sequence[Received], spacing: timedelta) -> bool:
    """Did it follow another message of its channel as closely as Slack's limit of one a second allows?"""
    return any(each.channel == came.channel and came.at - each.at < spacing * 1.25 for each in before)


def _percentile(values: Sequence[float], share: float) -> float:
    """Nearest rank; 0 of nothing."""
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1) if ordered else 0.0
