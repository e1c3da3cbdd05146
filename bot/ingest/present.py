"""Which times of a live source are wrong since they lie ahead of us: following one would make the rest look old."""

from collections.abc import Callable
from datetime import datetime, timedelta

AHEAD = timedelta(minutes=5)
STAYS_S = 600.0
COMPARED_EVERY_S = 1.0  # it is asked for each frame


class Present:
    """Two clocks: one that somebody may set back, and what it said at the start plus the time since then.

    Which of them is wrong after that is seen from what comes: where it is of the first one's present for ``STAYS_S``
    and never later, the clock was ahead at the start and has been put right, and the second follows.
    """

    def __init__(self, clock: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self._began, self._began_s = clock(), monotonic()
        self._monotonic = monotonic
        self._compared_s = self._began_s - COMPARED_EVERY_S
        self._agreed_s: float | None = None  # since when what comes has been of a present that was set back

    def precedes(self, at: datetime, now: datetime) -> bool:
        """Is ``at`` more than AHEAD later than both?"""
        at_s = self._monotonic()
        if at - now <= AHEAD and at_s - self._compared_s < COMPARED_EVERY_S:
            return False
        self._compared_s = at_s
        unset = self._began + timedelta(seconds=at_s - self._began_s)
        if unset - now > AHEAD:
            self._compare(at, now, at_s, ahead_of_both=at - unset > AHEAD)
        else:
            self._agreed_s = None
        return at - now > AHEAD and at - unset > AHEAD

    def _compare(self, at: datetime, now: datetime, at_s: float, *, ahead_of_both: bool) -> None:
        if ahead_of_both or now - at > AHEAD:
            return
        if at - now > AHEAD:
            self._agreed_s = None
        elif self._agreed_s is None:
            self._agreed_s = at_s
        elif at_s - self._agreed_s >= STAYS_S:
            self._began, self._began_s, self._agreed_s = now, at_s, None
