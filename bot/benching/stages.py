"""Each stage by itself, with the code that the service runs."""

import asyncio
import itertools
from collections.abc import Callable, Sequence
from typing import Any

from bot import app
from bot.benching import machine, organisations, workload
from bot.detection.detector import Detector
from bot.detection.places import Gazetteer
from bot.domain import access as rules
from bot.domain.alert import Alert
from bot.domain.post import Candidate, Post
from bot.ingest import lines
from bot.pipeline import classifying, recording
from bot.store import deliveries
from classifiers.api import Classifier

MODEL_MOST = 5_000  # posts that the transformer alone is measured with; the whole pipeline sees all
ROUNDS_MOST = 6  # times that the rehearsal's reports are told to the detector
RECORDED_TOGETHER = 8  # candidates in a transaction: what a batch of posts leaves on a busy day

Advance = Callable[[int], None]


def measure(classifier: Classifier, gazetteer: Gazetteer, count: int, advance: Advance) -> list[dict[str, Any]]:
    """One row a stage: ``stage``, ``unit``, ``items``, ``seconds``, ``cpu_seconds``, ``per_second``, ``what``."""
    given = list(workload.to_lines(workload.posts(count)))
    posts, decoded = machine.timed(lambda: [lines.decode(line) for line in given])
    texts = [each.text for each in posts if isinstance(each, Post)]
    kept, screened = machine.timed(lambda: _in_batches(classifier.screen, texts, advance))
    wanted = [text for text, keep in zip(texts, kept, strict=True) if keep]
    few, all_of_them = wanted[:MODEL_MOST], texts[:MODEL_MOST]
    classifier.classify(texts[: classifying.BATCH_MOST])  # the runtime allocates with the first posts
    _, some = machine.timed(lambda: _in_batches(classifier.classify, few, advance))
    _, every = machine.timed(lambda: _in_batches(classifier.classify, all_of_them, advance))
    share = f"{len(wanted) / len(texts):.1%} of the posts" if texts else ""
    found = [
        _row("decode", "posts", decoded, len(posts), "Post lines to Posts"),
        _row("screen", "posts", screened, len(texts), f"keeps {share}"),
        _row("transformer, kept posts", "posts", some, len(few), "what the screen keeps"),
        _row("transformer, all posts", "posts", every, len(all_of_them), "without the screen"),
    ]
    candidates = workload.candidates_of(classifier, max(1, min(ROUNDS_MOST, count // 800)))
    detector = Detector(rules.EVERYTHING, gazetteer)
    raised, detected = machine.timed(lambda: [detector.add(candidate) for candidate in candidates])
    alerts = sum(len(each) for each in raised)
    found.append(_row("detection", "candidates", detected, len(candidates), f"raising {alerts} revisions"))
    recorded, queued = asyncio.run(_record(list(zip(candidates, raised, strict=True))))
    what = f"{RECORDED_TOGETHER} a transaction, queueing {queued} deliveries"
    found.append(_row("recording", "candidates", recorded, len(candidates), what))
    return found


def _in_batches(fn: Callable[[Sequence[str]], Sequence[Any]], texts: Sequence[str], advance: Advance) -> list[Any]:
    """In calls of as many texts as the service makes at most; the transformer takes each text alone all the same."""
    answers: list[Any] = []
    for start in range(0, len(texts), classifying.BATCH_MOST):
        batch = texts[start : start + classifying.BATCH_MOST]
        answers += fn(batch)
        advance(len(batch))
    return answers


async def _record(steps: Sequence[tuple[Candidate, list[Alert]]]) -> tuple[machine.Timed, int]:
    """Into a throw-away store of an organisation with a channel for each category; and the rows queued."""
    with app.throwaway() as database:
        await database.write(organisations.add, "Bench", "TBENCH", organisations.one_channel_each())
        watch = machine.Stopwatch()
        for number, batch in enumerate(_chunks(steps, RECORDED_TOGETHER)):
            await database.write(
                recording.record,
                steps=[candidate for candidate, _ in batch],
                raised=[(rules.EVERYTHING, [alert for _, alerts in batch for alert in alerts])],
                cursors={"bench": str(number)},
                gaps=[],
                known_views={rules.EVERYTHING.key},
                now=app.now(),
            )
        spent = watch.read()
        return spent, len(await database.read(deliveries.listed))


def _chunks(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    return [
        items[start : start + size]
        for start in itertools.takewhile(lambda at: at < len(items), itertools.count(0, size))
    ]


def _row(stage: str, unit: str, spent: machine.Timed, items: int, what: str) -> dict[str, Any]:
    return {"stage": stage, "unit": unit} | spent.rates(items) | {"what": what}
