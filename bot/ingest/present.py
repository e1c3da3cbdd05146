"""Which times of a live source are wrong since they lie ahead of us: following one would make the rest look old."""

from collections.abc import Callable
from datetime import datetime, timedelta

AHEAD = timedelta(minutes=5)


class Present:
    """Two clocks: one that somebody may set back, and what it said at the start plus the time since then."""

    def __init__(self, clock: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._began, self._began_s = clock(), monotonic()
        self._monotonic = monotonic

    def precedes(self, at: datetime, now: datetime) -> bool:
        """Is ``at`` more than AHEAD later than both?"""
        if at - now <= AHEAD:
            return False
        return at - self._began - timedelta(seconds=self._monotonic() - self._began_s) > AHEAD
