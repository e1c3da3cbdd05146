"""How sources are doing: what is stored for ``tocsin sources``, and what operators are told."""

import asyncio
import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from bot.domain import post
from bot.ingest import standing
from bot.ingest.push import PushSource
from bot.ingest.source import State
from bot.ingest.watching import Watching
from bot.store import deliveries, sources
from tests import factories
from tests.worlds import World

CHANNEL = "slack:T0123/C0456"


class Watched:
    """One source whose health the test writes, looked at every five seconds of a time of its own."""

    def __init__(self, path: Path, channel: str | None = CHANNEL) -> None:
        self.world = World(path)
        self.source = PushSource("sirens", provider="sirens")
        self.source.health.state = State.LIVE
        self.channel = channel
        self.now = factories.NOW
        self.woken = 0
        self.watching = self.make()

    def make(self) -> Watching:
        return Watching(
            self.world.database,
            [self.source],
            channel=self.channel,
            now=lambda: self.now,
            on_queued=self.wake,
            monotonic=lambda: self.now.timestamp(),
        )

    def wake(self) -> None:
        self.woken += 1

    def restart(self) -> None:
        self.world.reopen()
        self.source = PushSource("sirens", provider="sirens")
        self.watching = self.make()

    def play(self, seconds: int, *, items: int = 0) -> None:
        """``items`` with each look."""

        async def looks() -> None:
            for _ in range(seconds // 5):
                self.now += timedelta(seconds=5)
                self.source.health.items += items
                if items:
                    self.source.health.last_item_at = self.now
                    self.source.health.lag = timedelta(seconds=1.5)
                await self.watching.look()

        asyncio.run(looks())

    def notices(self) -> list[str]:
        return [self.world.write(deliveries.get, row["delivery"])["text"] for row in self.world.rows(act="notice")]

    def standing(self, **more: Any) -> dict[str, Any]:
        (found,) = self.world.write(standing.standing, {"sirens": "sirens"}, self.now + timedelta(**more))
        return dict(found)


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path / "store.db")
    made.world.org()
    made.world.channel(CHANNEL)
    yield made
    made.world.close()


def test_operators_hear_once_that_a_source_is_quiet_and_once_that_it_is_back(watched: Watched) -> None:
    watched.play(300, items=10)
    watched.play(600)
    (quiet,) = watched.notices()
    assert quiet.startswith("SOURCE QUIET: sirens: nothing for 2 minutes (usually something every 5 s); it is live.")
    assert watched.standing()["quiet_since"] == "2031-05-14T12:07:05.000Z"
    watched.play(60, items=10)
    assert watched.notices() == [quiet, "SOURCE BACK: sirens sends again, 8 minutes after it was noticed."]
    assert watched.woken == 2
    watched.world.now = watched.now
    assert [str(sending.channel) for sending in watched.world.deliver_all()] == [CHANNEL, CHANNEL]


def test_a_source_that_cannot_connect_is_told_of_with_what_to_do(watched: Watched) -> None:
    watched.source.health.state = State.WAITING
    watched.source.health.last_error = "the name sirens.example cannot be resolved"
    watched.source.health.remedy = "check the network, its DNS and the url"
    watched.play(400)
    (text,) = watched.notices()
    assert "it is waiting. Last error: the name sirens.example cannot be resolved." in text
    assert "What to do: check the network, its DNS and the url." in text


def test_a_restart_repeats_nothing_and_knows_what_is_usual(watched: Watched) -> None:
    watched.play(300, items=10)
    watched.play(300)
    assert len(watched.notices()) == 1
    watched.restart()
    watched.source.health.state = State.LIVE
    watched.play(300)
    assert len(watched.notices()) == 1
    watched.play(10, items=1)
    assert [text[:12] for text in watched.notices()] == ["SOURCE QUIET", "SOURCE BACK:"]


@pytest.mark.parametrize("channel", [None, "slack:T0999/C0999"], ids=["no channel", "one that nobody has bound"])
def test_without_a_channel_it_is_only_in_the_log(tmp_path: Path, channel: str | None) -> None:
    watched = Watched(tmp_path / "store.db", channel)
    watched.play(300, items=10)
    watched.play(300)
    assert watched.notices() == []
    assert watched.standing()["quiet_since"] is not None
    watched.world.close()


def test_a_file_that_was_read_to_its_end_is_not_quiet(watched: Watched) -> None:
    watched.play(300, items=10)
    watched.source.health.state = State.ENDED
    watched.play(600)
    assert watched.notices() == []


def test_where_it_stands(watched: Watched) -> None:
    watched.play(300, items=10)
    gap = post.Gap(since=factories.NOW, until=watched.now, reason="an invented outage")
    watched.world.write(sources.add_gap, "sirens", gap, watched.now)
    watched.world.write(sources.add_gap, "another", gap, watched.now)
    found = watched.standing()
    assert (found["state"], found["lag_s"], found["per_second"], found["usual_per_second"]) == ("live", 1.5, 2.0, 2.0)
    assert (found["items"], found["usual_gap_s"]) == (600, 5.0)
    assert [each["reason"] for each in found["gaps"]] == ["an invented outage"]
    row = standing.shown(found)
    assert (row["gaps"], row["last_gap"], row["lag"]) == (1, "2031-05-14T12:05:00.000Z", "1.5 s")


def test_where_no_service_runs_it_says_so(watched: Watched) -> None:
    assert watched.standing()["state"] == "stopped"
    watched.play(10, items=1)
    assert watched.standing(minutes=5)["state"] == "stopped"
    assert watched.standing()["state"] == "live"


def test_lag_is_told_only_while_it_is_connected(watched: Watched) -> None:
    watched.play(30, items=10)
    watched.source.health.state = State.WAITING
    watched.play(5)
    assert watched.standing()["lag_s"] is None
    assert standing.shown(watched.standing())["lag"] == "-"
    lag = REGISTRY.get_sample_value("tocsin_source_lag_seconds", {"source": "sirens"})
    assert lag is not None
    assert math.isnan(lag)


def test_the_silence_of_a_source_that_always_has_something_is_lag(watched: Watched) -> None:
    watched.source.health.continuous = True
    watched.play(30, items=10)
    watched.play(60)
    assert watched.standing()["lag_s"] == 61.5


def test_where_no_service_runs_there_is_no_lag(watched: Watched) -> None:
    watched.play(30, items=10)
    assert watched.standing(minutes=5)["lag_s"] is None


def test_a_wait_that_was_announced_is_nobody_s_business(watched: Watched) -> None:
    watched.play(10)
    watched.source.health.state = State.WAITING
    watched.source.health.retry_at = watched.now + timedelta(minutes=15)
    watched.play(15 * 60)
    assert watched.notices() == []
    watched.source.health.retry_at = watched.now + timedelta(minutes=15)
    watched.play(5)
    assert len(watched.notices()) == 1


def test_it_is_measured(watched: Watched) -> None:
    watched.play(300, items=10)
    names = ("live", "quiet", "lag_seconds", "items_per_second")
    values = [REGISTRY.get_sample_value(f"tocsin_source_{name}", {"source": "sirens"}) for name in names]
    assert values == [1.0, 0.0, 1.5, 2.0]
