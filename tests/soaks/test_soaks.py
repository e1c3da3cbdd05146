"""Every source, days long, with every trouble that there is: nothing missing, nothing twice, nothing kept."""

from pathlib import Path

import pytest

from tests.soaks import everything


@pytest.mark.parametrize("name", everything.SOAKS)
async def test_days_of_troubles_lose_nothing_but_recorded_gaps(name: str, tmp_path: Path) -> None:
    report = await everything.SOAKS[name](tmp_path, 1)
    assert report.missing == ()
    assert report.invented == ()
    assert report.kept == ()
    assert report.altered == ()
    assert report.repeated == ()
    assert report.broke == ()
    assert report.early == 0
    assert report.used == everything.TROUBLES[name]
    assert report.lives > 3
    assert report.held > 200
    assert report.in_gaps < report.emitted / 2
