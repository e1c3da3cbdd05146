"""How often each category is spoken of anyway: a burst is relative to that.

Counts of candidates in buckets of stream time over a sliding window, so that a detector that is rebuilt from a window's
candidates and more continues exactly.
"""

import math
from collections import Counter, deque
from datetime import UTC, datetime, timedelta

from bot.detection.clusters import Cluster
from bot.detection.weights import Weights

_BUCKET = timedelta(minutes=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST_SPAN = timedelta(minutes=1)
_LATEST = 12  # voices


class Rates:
    """Of one Detector, in its stream time, which never goes back."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._buckets: deque[tuple[int, Counter[str]]] = deque()
        self._totals: Counter[str] = Counter()

    def note(self, category: str, now: datetime) -> None:
        """A candidate of the category came."""
        number = _number(now)
        if not self._buckets or self._buckets[-1][0] < number:
            self._buckets.append((number, Counter()))
            self._forget(number)
        self._buckets[-1][1][category] += 1
        self._totals[category] += 1

    def chance(self, cluster: Cluster, now: datetime) -> float:
        """The probability that ordinary talk makes so many voices like the first in so short a time.

        The smallest Poisson tail over the cluster's latest voices: a burst may begin long after its first post. What is
        ordinary are the category's other candidates of the window, spread evenly over it; ``alike`` of them would join.
        """
        category = cluster.category
        others = self._totals[category] - sum(member.category == category for member in cluster.members.values())
        per_window = max(0, others) * self._weights.alike
        least = 1.0
        for count, voice in enumerate(reversed(cluster.voices[-_LATEST:])):
            span = max(now - voice.stream_at, _LEAST_SPAN)
            least = min(least, _tail(count, per_window * (span / self._weights.rate_window)))
        return least

    def _forget(self, number: int) -> None:
        kept = number - int(self._weights.rate_window / _BUCKET)
        while self._buckets[0][0] <= kept:
            self._totals -= self._buckets.popleft()[1]


def _number(at: datetime) -> int:
    return int((at - _EPOCH) / _BUCKET)


def _tail(least: int, mean: float) -> float:
    """P(N ≥ least) for a Poisson N."""
    below = (
        sum(math.exp(-mean + count * math.log(mean) - math.lgamma(count + 1)) for count in range(least)) if mean else 1
    )
    return max(0.0, 1.0 - below) if least > 0 else 1.0
