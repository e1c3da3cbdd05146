"""Every source, days long, with every trouble that there is: nothing missing, nothing twice, nothing kept."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.soaks import feeds
from tests.soaks.holding import Report, Trouble

SOAKS: dict[str, Callable[[Path, int], Awaitable[Report]]] = {each.NAME: each.soak for each in (feeds,)}


@pytest.mark.parametrize("name", SOAKS)
async def test_days_of_troubles_lose_nothing_but_recorded_gaps(name: str, tmp_path: Path) -> None:
    report = await SOAKS[name](tmp_path, 1)
    assert report.missing == ()
    assert report.invented == ()
    assert report.kept == ()
    assert report.altered == ()
    assert report.used == frozenset(Trouble)
    assert report.lives > 3
    assert report.held > 200
    assert report.in_gaps < report.emitted / 2
