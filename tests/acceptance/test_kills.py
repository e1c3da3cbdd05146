"""The real service, killed once at each named point while access is withdrawn; ``python -m tests.acceptance.kills``
does so a hundred times."""

from pathlib import Path

from bot import crashpoints
from tests.acceptance import kills
from tests.acceptance.stage import Script


async def test_killed_while_access_is_withdrawn_it_sends_nothing_beyond_what_was_in_flight(
    tmp_path: Path, script: Script
) -> None:
    chosen = [each for n, each in enumerate(kills.plan(len(crashpoints.POINTS))) if n % 6 == 0]
    assert [each.point for each in chosen] == list(crashpoints.POINTS)
    found = await kills.carry_out_all(tmp_path, script, chosen)
    assert all(each.reached for each in found)
    assert not [each for each in found if each.problem or each.beyond]
    assert sum(each.withheld for each in found), "nothing was left to withhold: the test has shown nothing"
