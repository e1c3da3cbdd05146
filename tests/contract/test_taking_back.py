"""On each platform: what a revocation takes back is gone, and what is edited says nothing of what it said before."""

from pathlib import Path

import pytest

from bot.domain import alert as alerts
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert, Kind, Level
from bot.pipeline import reconciling, recording
from bot.store import access
from bot.store.database import Tables
from tests import factories
from tests.contract import stages
from tests.contract.places import Call, Ill, Standing
from tests.contract.stages import Stage

READABLE = [name for name in stages.PLACES if name != stages.MUTED]
EACH = pytest.mark.parametrize("place", READABLE)
WIDE, NARROW = ProviderSet.parse("*"), ProviderSet.parse("*!x")
BARRED_WORDS = ("Hexham", "forty dead", "words of x")


def notices(stage: Stage) -> list[Standing]:
    return [each for each in stage.place.standing() if "has been withdrawn" in each.text]


@EACH
@pytest.mark.parametrize("arrived", [True, False])
@pytest.mark.parametrize("hours", [0, 3])
async def test_message_of_which_nobody_knows_is_looked_for_and_taken_back(
    place: str, arrived: bool, hours: int, tmp_path: Path
) -> None:
    async with stages.setting(stages.PLACES[place](), tmp_path) as stage:
        await stage.join()
        await stage.raise_event(1, Level.URGENT)
        stage.place.strike(Call.POST, Ill.RESET_AFTER if arrived else Ill.RESET)
        await stage.attempt()
        assert len(stage.place.standing()) == arrived
        stage.world.wait(hours=hours)
        await stage.withdraw(org="Acme", retract=True)
        await stage.deliver()
        assert stage.place.standing() == notices(stage)
        assert len(notices(stage)) == 1
        assert [row["state"] for row in await stage.rows()] == ["withheld", "sent", "sent"]


@EACH
async def test_message_that_was_being_sent_at_the_fence_is_taken_back_after_a_restart(
    place: str, tmp_path: Path
) -> None:
    async with stages.setting(stages.PLACES[place](), tmp_path) as stage:
        await stage.join()
        await stage.raise_event(1, Level.URGENT)
        (sending,) = await stage.outbox._claim(stage.place.platform, 16)
        await stage.place.notifier.send(sending)
        await stage.withdraw(org="Acme", retract=True)
        await stage.outbox.recover()
        await stage.deliver()
        assert stage.place.standing() == notices(stage)


def alert(*keys: str, **fields: object) -> Alert:
    sources = tuple(sorted({key.partition("|")[0] for key in keys}))
    return factories.make_alert(
        **{"event": alerts.event_id(keys[0]), "evidence": keys, "quotes": keys, "sources": sources} | fields
    )


LOUD = alert("x|1", "bluesky|2", level=Level.FLASH, headline="Refinery gone, forty dead at Hexham Point", place=None)
QUIET = alert("bluesky|2", headline="Smoke reported near Port Calder")


async def record(stage: Stage, *raised: Alert, view: ProviderSet = WIDE) -> None:
    steps = [
        stage.world.candidate(key, text=f"words of {key}") for key in raised[0].evidence if raised[0].revision == 1
    ]
    await stage._serially(lambda: stage.world.record(*raised, view=view, steps=steps))
    await stage.deliver()


async def bar(stage: Stage, *known: Alert) -> None:
    """Nobody may see x any more; the View without it has been told of ``known``."""

    def write(db: Tables) -> None:
        recording.record_silently(db, NARROW, known, stage.world.now)
        found = reconciling.overdue(db, stage.world.now)
        reconciling.reconcile(db, found.roots, stage.world.now, access.changes(db, stage.world.now))

    await stage._serially(lambda: stage.world.revoke(provider="x"))
    await stage.world.database.write(write)
    await stage.deliver()


def said(stage: Stage) -> str:
    return "\n".join(each.text for each in stage.place.standing())


@EACH
async def test_message_is_edited_to_what_may_be_seen(place: str, tmp_path: Path) -> None:
    async with stages.setting(stages.PLACES[place](), tmp_path) as stage:
        await stage.join()
        await record(stage, LOUD)
        assert all(word in said(stage) for word in BARRED_WORDS)
        await bar(stage, QUIET)
        (left,) = stage.place.standing()
        assert "Smoke reported near Port Calder" in left.text
        assert not any(word in left.text for word in BARRED_WORDS)


@EACH
@pytest.mark.parametrize("known", [(), (QUIET,)])
@pytest.mark.parametrize("level", [Level.ALERT, Level.FLASH])
async def test_thread_that_told_of_it_goes_too(
    place: str, known: tuple[Alert, ...], level: Level, tmp_path: Path
) -> None:
    async with stages.setting(stages.PLACES[place](), tmp_path) as stage:
        await stage.join()
        await record(stage, alert("bluesky|2", level=Level.ALERT))
        louder = alert(
            "bluesky|2", "x|1", revision=2, kind=Kind.UPDATE, level=level, headline="Hexham Point gone, forty dead",
            change="now forty dead at Hexham Point, words of x",
        )  # fmt: skip
        await record(stage, louder)
        assert len(stage.place.standing()) == 2
        await bar(stage, *known)
        assert not any(word in said(stage) for word in BARRED_WORDS)
        assert len(stage.place.standing()) == len(known)
