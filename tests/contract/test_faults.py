"""Whatever goes wrong with whichever call: each message exists once."""

from pathlib import Path

import pytest

from tests.contract import faults, stages
from tests.contract.faults import OPERATIONS, Count, Operation

SETTLED = {"sent", "digested"}


async def counted(place: str, folder: Path, operation: Operation) -> list[Count]:
    found = [count async for count in faults.counts(place, folder, [operation])]
    assert len({count.fault for count in found}) >= 6
    return found


@pytest.mark.parametrize("place", [name for name in stages.PLACES if name != stages.MUTED])
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_no_fault_makes_a_message_come_twice_or_not_at_all(
    operation: Operation, place: str, tmp_path: Path
) -> None:
    for count in await counted(place, tmp_path, operation):
        assert (count.duplicates, count.losses) == (0, 0), count
        assert count.exist == count.expected, count
        assert set(count.states) <= SETTLED, count
        assert count.counted == 0, count


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_where_the_history_cannot_be_read_a_fault_makes_one_duplicate_at_most_and_it_is_counted(
    operation: Operation, tmp_path: Path
) -> None:
    for count in await counted(stages.MUTED, tmp_path, operation):
        assert count.losses == 0, count
        assert count.duplicates <= 1, count
        assert count.duplicates <= count.counted, count
        assert set(count.states) <= SETTLED, count
