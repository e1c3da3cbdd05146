"""The first schedules of the leak hunt; ``python -m tests.stateful.leakhunt`` runs ten thousand."""

from tests.stateful import leakhunt
from tests.stateful.processes import POINTS

SCHEDULES = 300


def test_nothing_gets_through_a_fence_comes_twice_or_is_lost_however_the_service_dies() -> None:
    counts, found = leakhunt.hunt(range(SCHEDULES), steps=20)
    assert not found, "\n".join(f"seed {seed}:\n{trace}" for seed, trace in found[:2])
    assert all(counts[f"crash at {point}"] for point in POINTS)
    assert counts["fences"] > SCHEDULES / 3
    assert counts["in flight"]
