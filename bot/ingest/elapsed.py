"""How much time has passed: by a clock that nobody sets, and that goes on while the machine is suspended."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", None)  # on Linux, where time.monotonic stands still in a suspended machine


def seconds() -> float:
    """Since some moment, the same one for as long as this process lives."""
    return time.monotonic() if _CLOCK is None else time.clock_gettime(_CLOCK)
