"""Named points at which a test may kill the process, as a crash would: no handler, no flush, no farewell.

Armed only by the environment variable ``TOCSIN_CRASH_AT`` (``NAME`` or ``NAME:N`` for the N-th passing), which the
command line reads once; otherwise passing a point does nothing.
"""

import os
import signal

POINTS = ("detected", "recorded", "claimed", "sent", "settled")

_armed: dict[str, int] = {}


def arm(text: str) -> None:
    """``text``: what stands in the variable. Raises ValueError for an unknown point."""
    name, _, count = text.partition(":")
    if name not in POINTS:
        raise ValueError(f"crash point {name!r} does not exist; there are {', '.join(POINTS)}")
    _armed[name] = int(count or 1)


def reach(name: str) -> None:
    """Pass a point; the armed passing is the process's last act."""
    if name in _armed:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
