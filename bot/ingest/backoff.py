"""Waiting before the next try: exponential with full jitter, so that many clients do not come back together.

Source: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015), the variant "full jitter".
"""

import random
from dataclasses import dataclass, field

FIRST_S = 0.5
LONGEST_S = 60.0
HEALTHY_S = 60.0


@dataclass(slots=True)
class Backoff:
    """Delays in seconds: uniform in 0 … min(60, 0.5 · 2ⁿ); n starts again after 60 s of health."""

    rng: random.Random
    failures: int = field(default=0, init=False)

    def after(self, healthy_s: float, retry_after_s: float | None = None) -> float:
        """The delay after a connection that was healthy for ``healthy_s``; what the server asked for goes first."""
        if healthy_s >= HEALTHY_S:
            self.failures = 0
        ceiling = min(LONGEST_S, FIRST_S * 2 ** min(self.failures, 16))
        self.failures += 1
        delay = self.rng.uniform(0, ceiling)
        return delay if retry_after_s is None else retry_after_s + delay
