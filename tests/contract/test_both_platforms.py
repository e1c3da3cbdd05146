"""Every scenario on every platform."""

from pathlib import Path

import pytest

from tests.contract import stages
from tests.contract.scenarios import SCENARIOS, Scenario

READABLE = [name for name in stages.PLACES if name != stages.MUTED]


@pytest.mark.parametrize("place", READABLE)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
async def test_scenario(scenario: Scenario, place: str, tmp_path: Path) -> None:
    async with stages.setting(stages.PLACES[place](), tmp_path) as stage:
        if scenario.joined:
            await stage.join()
        for step in scenario.steps:
            await step.play(stage)
            await stage.deliver()

        standing = stage.place.standing()
        assert [each.kind for each in standing] == [kind for kind, _ in scenario.stands], standing
        for each, (_, text) in zip(standing, scenario.stands, strict=True):
            assert text in each.text
        if scenario.states is not None:
            assert [row["state"] for row in await stage.rows()] == list(scenario.states)
        assert _once_each(stage.desk.heard) == list(scenario.desk)
        assert await stage.audited() == list(scenario.refused)


def _once_each(heard: list[str]) -> list[str]:
    """Slack says twice that it let the bot go, and Discord of each workspace that it is there (again)."""
    news = ("lost", "restored")
    return [each for n, each in enumerate(heard) if not (each.startswith(news) and heard[n - 1 : n] == [each])]
