"""``python -m tests.stateful.leakhunt [N] [--from SEED] [--steps N]``: random schedules in which the service dies, and
whatever gets through a fence is found.

Each schedule is a store of its own, two processes, a virtual clock and some forty acts; the service is cut at named
points with its connection dropped, and started again. Exit status 1, with the seed that shows it, on the first leak,
duplicate or loss.
"""

import argparse
import logging
import random
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import structlog

from tests.stateful.processes import POINTS
from tests.stateful.universe import Universe

ACTS = {
    "post": 6, "claim": 6, "answer": 6, "flow": 4, "revoke": 4, "reinstate": 1, "approve": 1.5, "grant": 1,
    "suspend": 0.3, "resume": 1, "set_terms": 0.4, "tune": 1.5, "press": 2, "delete_post": 1, "idle": 2, "tend": 1,
    "wait": 3, "lose": 0.3, "restore": 1, "crash": 0.3, "arm": 1.5, "intrude": 1.5, "add_channel": 0.3,
}  # fmt: skip
STEPS = 40


def run_one(seed: int, *, steps: int = STEPS) -> Counter[str]:
    """One schedule; raises AssertionError where something got through, came twice or was lost."""
    drawn = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="tocsin-hunt-") as folder:
        universe = Universe(Path(folder), drawn.choice)
        try:
            for act in drawn.choices(list(ACTS), list(ACTS.values()), k=steps):
                getattr(universe, act)()
                universe.check()
            universe.end()
            universe.counts["duplicates"] += universe.duplicates()
            assert not universe.duplicates(), "a message came twice"
        finally:
            universe.close()
    return universe.counts


def hunt(seeds: Sequence[int], *, steps: int = STEPS) -> tuple[Counter[str], list[tuple[int, str]]]:
    """All the counts, and the seeds that showed something with what it was."""
    counts: Counter[str] = Counter()
    found = []
    for seed in seeds:
        try:
            counts += run_one(seed, steps=steps)
        except AssertionError:
            found.append((seed, traceback.format_exc()))
        counts["schedules"] += 1
    return counts, found


def report(counts: Counter[str], found: Sequence[tuple[int, str]]) -> str:
    lines = [
        f"{name:<40}{counts[name]:>10,}"
        for name in ("schedules", "fences", "approvals", "presses", "claims", "sends", "in flight", "crashes")
    ]
    lines += [f"{'  crashes at ' + point:<40}{counts[f'crash at {point}']:>10,}" for point in POINTS]
    lines += [f"{'  revocations just at ' + point:<40}{counts[f'intrusion at {point}']:>10,}" for point in POINTS[:-1]]
    lines.append(f"{'schedules with a leak, duplicate or loss':<40}{len(found):>10,}  (must be 0)")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.stateful.leakhunt", description=__doc__)
    parser.add_argument("schedules", type=int, nargs="?", default=10_000)
    parser.add_argument("--steps", type=int, default=STEPS, help="acts of a schedule")
    parser.add_argument("--from", dest="first", type=int, default=0, help="the first seed")
    asked = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    started = time.monotonic()
    counts, found = hunt(range(asked.first, asked.first + asked.schedules), steps=asked.steps)
    for seed, trace in found[:3]:
        again = f"python -m tests.stateful.leakhunt 1 --from {seed} --steps {asked.steps}"
        print(f"seed {seed}:\n{trace}\nShow it again: {again}\n")  # noqa: T201
    print(report(counts, found))  # noqa: T201
    print(f"{time.monotonic() - started:.0f} s")  # noqa: T201
    missed = [point for point in POINTS if not counts[f"crash at {point}"]]
    if missed and asked.schedules >= 300:
        print(f"never crashed at: {', '.join(missed)}")  # noqa: T201
        return 1
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
