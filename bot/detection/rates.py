"""How often each category and each name is spoken of anyway: a burst is relative to that.

Counts of candidates in buckets of stream time over a sliding window, so that a detector that is rebuilt from a window's
candidates and more continues exactly.
"""

import math
from collections import Counter, deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from bot.detection.clusters import Cluster
from bot.detection.weights import Weights

_BUCKET = timedelta(minutes=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LEAST_SPAN = timedelta(minutes=1)
_LATEST = 12  # voices


class Rates:
    """Of one Detector, in its stream time, which never goes back. What came in the last ``fresh`` is not ordinary yet:
    it may be the happening itself. ``begun``: when the first candidate came, None before; it may be set to go on from
    what an earlier one heard."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._buckets: deque[tuple[int, Counter[str]]] = deque()
        self._fresh: deque[tuple[int, Counter[str]]] = deque()
        self._totals: Counter[str] = Counter()
        self.begun: datetime | None = None

    def note(self, category: str, now: datetime) -> None:
        """A candidate of the category came."""
        number = _number(now)
        if self.begun is None:
            self.begun = now
        if not self._fresh or self._fresh[-1][0] < number:
            self._fresh.append((number, Counter()))
            self._age(number)
        self._fresh[-1][1][category] += 1

    def chance(self, cluster: Cluster, now: datetime) -> float:
        """The probability that ordinary talk makes so many voices like the first in so short a time.

        The smallest Poisson tail over the cluster's latest voices: a burst may begin long after its first post. What is
        ordinary are the category's candidates of the window, spread evenly over it, and one more over half an hour at
        least; ``alike`` of them would join. The window is as long as the detector's memory.
        """
        others, window = self._ordinary(cluster, now)
        one_more = window / max(window, self._weights.fresh)
        per_window = (others + one_more) * self._weights.alike
        least = 1.0
        for count, voice in enumerate(reversed(cluster.voices[-_LATEST:])):
            span = max(now - voice.stream_at, _LEAST_SPAN)
            least = min(least, _tail(count, per_window * (span / window)))
        return least

    def _ordinary(self, cluster: Cluster, now: datetime) -> tuple[int, timedelta]:
        """How many of the category came in what time. A detector that has not listened for twice ``fresh`` has little
        else: then all but the cluster's own are ordinary."""
        memory = now - self.begun if self.begun is not None else timedelta(0)
        category, fresh = cluster.category, self._weights.fresh
        if memory >= 2 * fresh:
            return self._totals[category], min(self._weights.rate_window, memory - fresh)
        heard = self._totals[category] + sum(counts[category] for _, counts in self._fresh)
        own = sum(member.category == category for member in cluster.members.values())
        return max(0, heard - own), max(memory, _LEAST_SPAN)

    def _age(self, number: int) -> None:
        """Fresh buckets become ordinary, ordinary ones are forgotten."""
        fresh = number - int(self._weights.fresh / _BUCKET)
        while self._fresh[0][0] < fresh:
            self._buckets.append(self._fresh.popleft())
            self._totals += self._buckets[-1][1]
        kept = number - int(self._weights.rate_window / _BUCKET)
        while self._buckets and self._buckets[0][0] <= kept:
            self._totals -= self._buckets.popleft()[1]


class Familiar:
    """How often each name was given before the present half hour: what a happening brings along is new.

    Over the same sliding window; of the latest ``most_familiar`` candidates at most. What was deleted at its source is
    still counted as a candidate, but gives no names.
    """

    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self._fresh: deque[_Given] = deque()
        self._known: deque[_Given] = deque()
        self._of_key: dict[str, _Given] = {}
        self._of_author: dict[str, dict[str, _Given]] = {}
        self._totals: Counter[str] = Counter()

    def note(self, key: str, author: str | None, names: frozenset[str], now: datetime) -> None:
        """A candidate with these names came."""
        given = _Given(key, author, now, names)
        self._fresh.append(given)
        self._of_key[key] = given
        if author is not None:
            self._of_author.setdefault(author, {})[key] = given
        while now - self._fresh[0].at > self._weights.fresh or len(self._fresh) > self._weights.most_familiar:
            known = self._fresh.popleft()
            known.counted = True
            self._known.append(known)
            self._totals.update(known.names)
        while self._known and (
            now - self._known[0].at > self._weights.rate_window or len(self._known) > self._weights.most_familiar
        ):
            self._forget(self._known.popleft())

    def delete(self, *, key: str | None, author: str | None) -> None:
        """The post, or every post of the author, is gone at its source."""
        gone = list(self._of_author.get(author, {}).values()) if author is not None else []
        if key is not None and key in self._of_key:
            gone.append(self._of_key[key])
        for given in gone:
            self._forget(given)

    def rare(self, name: str) -> bool:
        """Did at most few candidates give this name before?"""
        limit = max(self._weights.rare_candidates, int(self._weights.rare_share * len(self._known)))
        return self._totals[name] <= limit

    def _forget(self, given: "_Given") -> None:
        """Its names; its place in the line stays."""
        if given.counted:
            for name in given.names:
                self._totals[name] -= 1
                if not self._totals[name]:
                    del self._totals[name]
        given.names = frozenset()
        if self._of_key.get(given.key) is given:
            del self._of_key[given.key]
        theirs = self._of_author.get(given.author, {}) if given.author is not None else {}
        if theirs.get(given.key) is given:
            del theirs[given.key]
            if not theirs and given.author is not None:
                del self._of_author[given.author]


@dataclass(slots=True)
class _Given:
    """What one candidate gave. ``counted``: its names are part of what is known."""

    key: str
    author: str | None
    at: datetime
    names: frozenset[str]
    counted: bool = False


def _number(at: datetime) -> int:
    return int((at - _EPOCH) / _BUCKET)


def _tail(least: int, mean: float) -> float:
    """P(N ≥ least) for a Poisson N."""
    below = (
        sum(math.exp(-mean + count * math.log(mean) - math.lgamma(count + 1)) for count in range(least)) if mean else 1
    )
    return max(0.0, 1.0 - below) if least > 0 else 1.0
