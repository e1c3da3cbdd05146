"""The first schedules of the leak hunt; ``python -m tests.stateful.leakhunt`` runs ten thousand."""

import pytest

from tests.stateful import leakhunt
from tests.stateful.processes import POINTS

SCHEDULES = 150


@pytest.mark.parametrize("first", [0, SCHEDULES])
def test_nothing_gets_through_a_fence_comes_twice_or_is_lost_however_the_service_dies(first: int) -> None:
    counts, found = leakhunt.hunt(range(first, first + SCHEDULES), steps=20)
    assert not found, "\n".join(f"seed {seed}:\n{trace}" for seed, trace in found[:2])
    assert all(counts[f"crash at {point}"] for point in POINTS)
    assert counts["fences"] > SCHEDULES / 3
    assert counts["in flight"]
