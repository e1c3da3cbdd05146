"""How many posts a second one process takes from Post lines to alerts: real texts at 500 a second, as the service runs.

The pool of ordinary posts is too small for that, so that posts come again and again: detection is not scored on it. The
store, routing and delivery are not part of it; ``tocsin bench`` measures them on texts of our own.
"""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from bot.detection import candidates, places
from bot.detection.detector import Detector
from bot.detection.weights import Weights
from bot.domain.access import EVERYTHING
from bot.domain.post import Arrival, Post
from bot.pipeline import classifying
from bot.pipeline.classifying import Inbox, Judged
from bot.scorecard import mixing, runs, streams
from bot.scorecard.mixing import Mixed
from bot.scorecard.streams import Replay
from classifiers import batching
from classifiers.api import Classifier

RATE = 500
BEFORE, AFTER = "1m", "3m"
INBOX = 2_000  # posts
BATCHES = 4

Advance = Callable[[int], None]
Outbox = asyncio.Queue[list[Judged] | None]


def stream(shared: Path, cache: Path, replay: Replay) -> Mixed:
    """The replay among RATE ordinary posts a second. Raises TocsinError, DataError."""
    pool = streams.pool(shared, cache, replay.group, 0)
    return mixing.mix(
        shared, cache, "speed", "--replay", str(replay.path), "--background", str(pool), "--rate", str(RATE),
        "--before", BEFORE, "--after", AFTER,
    )  # fmt: skip


def measure(
    mixed: Mixed, classifier: Classifier, gazetteer: places.Gazetteer, weights: Weights, advance: Advance
) -> dict[str, Any]:
    """``posts``, ``classified`` (what the screen kept), ``seconds`` and ``per_second``."""
    classifier.classify(["the runtime allocates with the first post"])
    began = time.perf_counter()
    posts, classified = asyncio.run(_run(mixed.posts, classifier, gazetteer, weights, advance))
    seconds = time.perf_counter() - began
    return {
        "rate": RATE,
        "posts": posts,
        "classified": classified,
        "seconds": round(seconds, 1),
        "per_second": round(posts / seconds, 1),
    }


async def _run(
    path: Path, classifier: Classifier, gazetteer: places.Gazetteer, weights: Weights, advance: Advance
) -> tuple[int, int]:
    inbox: Inbox = asyncio.Queue(INBOX)
    outbox: Outbox = asyncio.Queue(BATCHES)
    gather = partial(batching.gather_batch, most=classifying.BATCH_MOST)
    async with batching.InferenceThread(classifier) as inference, asyncio.TaskGroup() as tasks:
        tasks.create_task(_read(path, inbox), name="reading")
        tasks.create_task(classifying.classify_forever(inbox, outbox, inference, gather), name="classifying")
        detecting = tasks.create_task(_detect(outbox, gazetteer, weights, advance), name="detecting")
    return detecting.result()


async def _read(path: Path, inbox: Inbox) -> None:
    for number, post in enumerate(runs.posts(path)):
        await inbox.put(Arrival(source="speed", cursor=str(number), item=post, at=post.created_at))
    await inbox.put(None)


async def _detect(outbox: Outbox, gazetteer: places.Gazetteer, weights: Weights, advance: Advance) -> tuple[int, int]:
    detector = Detector(EVERYTHING, gazetteer, weights)
    posts = classified = 0
    while (batch := await outbox.get()) is not None:
        for judged in batch:
            posts += 1
            if judged.classification is None or not isinstance(judged.arrival.item, Post):
                continue
            classified += 1
            candidate = candidates.make(
                judged.arrival.item, judged.classification, seq=classified, stream_at=judged.arrival.at, weights=weights
            )
            if candidate is not None:
                detector.add(candidate)
        advance(len(batch))
    return posts, classified
