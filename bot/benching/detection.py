"""The detector alone, on one thread, with as many posts live as a busy day brings: how fast, and in what memory."""

import itertools
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import threadpoolctl

from bot import app
from bot.benching import child, crowd, machine
from bot.detection.detector import Detector
from bot.detection.weights import Weights
from bot.domain import access as rules
from bot.domain.post import Candidate, Deletion

LIVE = 100_000  # posts
GOAL_PER_SECOND = 1_000.0
MEASURED_SHARE = 0.05  # of ``live``: candidates that come then
MEASURED_LEAST = 500
DELETED = 5  # posts of the largest event, one by one
FILL_S = 300.0  # then it is measured with what is live
MEASURE_S = 20.0
FILL_MOST = 1.5  # candidates for each post that is to be live, since clusters may be dropped for room
TOLD_EVERY = 500


def measure(live: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Run the child until ``live`` posts are live, or as many as there can be. Raises TocsinError where it fails."""
    return child.run(["detection", str(live)], "detection", advance)


def run(live: int) -> dict[str, Any]:
    """In the child; tells on stdout how far it is. ``deletion_ms`` is None where there is no event to delete from.

    The goal is one for a core: on a machine with other work a CPU second is that, a second is not.
    """
    detector = Detector(rules.EVERYTHING, app.load_gazetteer())
    weights, measured = Weights(), max(MEASURED_LEAST, round(MEASURED_SHARE * live))
    coming = crowd.posts(round(FILL_MOST * live) + measured, FILL_MOST * weights.window)
    detector.add(next(coming))  # the happenings are thought up with the first
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        empty = machine.memory()["now_mib"]
        fed = 1 + _fill(detector, coming, live)
        posts, clusters, full = detector.posts(), detector.live(), machine.memory()["now_mib"]
        further = list(itertools.islice(coming, measured))
        taken, spent = _take(detector, further)
        deletions = _delete(detector, further[:taken])
    return {
        "fed": fed, "live_posts": posts, "clusters": clusters, **spent.rates(taken),
        "per_cpu_second": round(taken / spent.cpu_seconds, 1), "goal_per_second": GOAL_PER_SECOND,
        "met": posts >= live and taken / spent.cpu_seconds >= GOAL_PER_SECOND,
        "deletion_ms": round(statistics.median(deletions), 1) if deletions else None,
        "memory": {"empty_mib": empty, "full_mib": full},
        "bounds": {
            "posts": weights.max_live_posts, "clusters": weights.max_clusters, "posts_of_a_cluster": weights.max_posts,
        },
    }  # fmt: skip


def _fill(detector: Detector, coming: Iterator[Candidate], live: int) -> int:
    """Feed it until so many posts are live, or the time is over; returns how many it was fed."""
    watch = machine.Stopwatch()
    most = round(FILL_MOST * live)
    for number, candidate in enumerate(itertools.islice(coming, most), start=1):
        detector.add(candidate)
        if number % TOLD_EVERY == 0:
            child.tell({"done": min(number, live)})
            if watch.read().seconds > FILL_S or (number >= live and detector.posts() >= live):
                return number
    return most


def _take(detector: Detector, further: Sequence[Candidate]) -> tuple[int, machine.Timed]:
    """How many it took, in what time."""
    watch = machine.Stopwatch()
    for number, candidate in enumerate(further, start=1):
        detector.add(candidate)
        if number % TOLD_EVERY == 0 and watch.read().seconds > MEASURE_S:
            return number, watch.read()
    return len(further), watch.read()


def _delete(detector: Detector, latest: Sequence[Candidate]) -> list[float]:
    """Milliseconds of CPU that a deletion from the event with the most of the latest posts takes, one each."""
    events: dict[str, list[Candidate]] = {}
    for candidate in latest[-TOLD_EVERY:]:
        event = (detector.explain(candidate.post.key) or {}).get("event")
        if event is not None:
            events.setdefault(event, []).append(candidate)
    spent = []
    for candidate in max(events.values(), key=len, default=[])[:DELETED]:
        gone = Deletion(provider=candidate.post.provider, id=candidate.post.id, deleted_at=latest[-1].stream_at)
        watch = machine.Stopwatch()
        detector.delete(gone, gone.deleted_at)
        spent.append(watch.read().cpu_seconds * 1000)
    return spent
