"""How often a source usually sends something, and whether it is quiet compared with that. Pure.

What counts is the time between two looks at which something new was there: a feed that brings ten items at each poll
sends once a poll. The usual gap is their exponential moving average, known from ``KNOWN_FROM`` gaps on; the one that
ends a quiet time does not change it. Who asks now and then is not quiet before it has asked twice more, and who has
announced when it tries again is without a connection only once that has failed as well, or is overdue.
"""

from enum import Enum

SHARE = 0.1  # of a new gap in the average
KNOWN_FROM = 10
TIMES = 10  # as long as usual is quiet
LEAST_S = 120.0
UNCONNECTED_S = 300.0
APART_S = 1.0  # two announcements that differ by less are one, told from two clocks
LATE_S = 60.0  # so long after it was announced, a next try is overdue


class Turn(Enum):
    """What operators are told of, once each."""

    QUIET = "quiet"
    BACK = "back"


class Rhythm:
    """Of one source. ``usual_gap_s`` and ``quiet``: what was known before a restart."""

    def __init__(self, *, usual_gap_s: float | None = None, quiet: bool = False) -> None:
        self.quiet = quiet
        self._mean_s = usual_gap_s or 0.0
        self._gaps = 0 if usual_gap_s is None else KNOWN_FROM
        self._items: int | None = None
        self._heard_at = 0.0
        self._connected_at = 0.0
        self._owes_an_item = quiet
        self._announced_s: float | None = None  # the first try after the connection was lost
        self._failed_again = False

    @property
    def usual_gap_s(self) -> float | None:
        return self._mean_s if self._gaps >= KNOWN_FROM else None

    @property
    def patience_s(self) -> float | None:
        """From when on silence is worth telling of; None while nobody can say."""
        return max(LEAST_S, TIMES * self._mean_s) if self._gaps >= KNOWN_FROM else None

    def silent_s(self, now_s: float) -> float:
        return now_s - self._heard_at

    def look(
        self, now_s: float, *, items: int, connected: bool, interval_s: float = 0.0, retry_at_s: float | None = None
    ) -> Turn | None:
        """``now_s`` never goes back; ``items``: how many it has sent in all; ``connected``: or reading.

        ``interval_s``: how often it asks; ``retry_at_s``: when it tries again, as it said after it failed last.
        """
        if self._items is None:
            self._items, self._heard_at, self._connected_at = items, now_s, now_s
        if connected:
            self._connected_at, self._announced_s, self._failed_again = now_s, None, False
        else:
            self._wait(retry_at_s)
        heard = items > self._items
        if heard:
            self._hear(now_s, items)
        silent = self.patience_s is not None and self.silent_s(now_s) > max(self.patience_s, 2 * interval_s + LATE_S)
        if not self.quiet and (silent or self._unconnected(now_s)):
            self.quiet, self._owes_an_item = True, silent
            return Turn.QUIET
        if self.quiet and connected and not silent and (heard or not self._owes_an_item):
            self.quiet = False
            return Turn.BACK
        return None

    def _wait(self, retry_at_s: float | None) -> None:
        if self._announced_s is None:
            self._announced_s = retry_at_s
        elif retry_at_s is not None and retry_at_s > self._announced_s + APART_S:
            self._failed_again = True

    def _unconnected(self, now_s: float) -> bool:
        if now_s - self._connected_at <= UNCONNECTED_S:
            return False
        return self._announced_s is None or self._failed_again or now_s > self._announced_s + LATE_S

    def _hear(self, now_s: float, items: int) -> None:
        gap_s = self.silent_s(now_s)
        self._items, self._heard_at = items, now_s
        if self.quiet:
            return
        self._gaps += 1
        share = max(SHARE, 1.0 / self._gaps)
        self._mean_s += share * (gap_s - self._mean_s)
