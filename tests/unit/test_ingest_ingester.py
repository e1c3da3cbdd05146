"""The ingester: isolation, resumption, back-pressure, the end, and the warning of silence."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from datetime import timedelta
from typing import Any

import pytest
import structlog.testing

from bot.domain import errors, post
from bot.ingest import ingester
from bot.ingest.source import SourceHealth, State
from tests import factories


class ListSource:
    """Yields ``count`` posts; ``breaks`` maps a number to what happens, once, instead of that post."""

    def __init__(
        self, name: str, count: int = 3, *, live: bool = False, breaks: dict[int, Callable[[], None]] | None = None
    ) -> None:
        self.name = name
        self.provider = "bluesky"
        self.live = live
        self.health = SourceHealth()
        self.afters: list[str | None] = []
        self._count = count
        self._breaks = breaks or {}

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        self.afters.append(after)
        for number in range(int(after or 0) + 1, self._count + 1):
            if number in self._breaks:
                self._breaks.pop(number)()
            item = factories.make_post(id=f"{self.name}/{number}")
            yield post.Arrival(source=self.name, cursor=str(number), item=item, at=factories.NOW)
        if self.live:
            await asyncio.Event().wait()


class Instant:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)


def make_ingester(*sources: Any, **settings: Any) -> tuple[ingester.Ingester, "asyncio.Queue[post.Arrival]"]:
    inbox: asyncio.Queue[post.Arrival] = asyncio.Queue(settings.pop("room", 100))
    defaults: dict[str, Any] = {"cursors": {}, "clock": lambda: factories.NOW + timedelta(seconds=2)}
    defaults |= {"sleep": Instant(), "rng": random.Random(1)}
    return ingester.Ingester(sources, inbox=inbox, **defaults | settings), inbox


def keys(inbox: "asyncio.Queue[post.Arrival]") -> list[str]:
    return [str(inbox.get_nowait().item.key).split("|")[1] for _ in range(inbox.qsize())]  # type: ignore[union-attr]


def boom() -> None:
    raise RuntimeError("secret text of a post")


async def test_it_ends_when_every_finite_source_has_ended() -> None:
    work, inbox = make_ingester(ListSource("a", 2), ListSource("b", 1))
    await work.run()
    assert sorted(keys(inbox)) == ["a/1", "a/2", "b/1"]
    assert {name: health.state for name, health in work.health.items()} == {"a": State.ENDED, "b": State.ENDED}
    assert work.health["a"].items == 2
    assert work.answered()


async def test_each_source_starts_after_its_cursor() -> None:
    work, inbox = make_ingester(ListSource("a"), ListSource("b"), cursors={"a": "2", "other": "9"})
    await work.run()
    assert sorted(keys(inbox)) == ["a/3", "b/1", "b/2", "b/3"]


async def test_a_source_that_breaks_goes_on_where_it_was_and_the_others_do_not_notice() -> None:
    broken = ListSource("broken", 4, breaks={3: boom, 4: boom})
    sleep = Instant()
    work, inbox = make_ingester(broken, ListSource("fine"), sleep=sleep)
    with structlog.testing.capture_logs() as logs:
        await work.run()
    assert broken.afters == [None, "2", "3"]
    assert [key for key in keys(inbox) if key.startswith("broken")] == ["broken/1", "broken/2", "broken/3", "broken/4"]
    assert work.health["fine"].items == 3
    assert [entry["event"] for entry in logs] == ["source_failed"], "the same failure is told once"
    assert "secret" not in str(logs)
    assert "RuntimeError" in logs[0]["error"]
    assert len(sleep.seconds) == 2


async def test_a_finite_source_that_stays_broken_is_given_up() -> None:
    class Broken(ListSource):
        async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
            self.afters.append(after)
            boom()
            yield

    broken = Broken("broken")
    work, inbox = make_ingester(broken, ListSource("fine"))
    await work.run()
    assert len(broken.afters) == ingester.TRIES
    assert work.health["broken"].state is State.FAILED
    assert inbox.qsize() == 3


async def test_what_makes_no_sense_stops_the_program() -> None:
    def refuse() -> None:
        raise errors.UsageError("the cursor is none")

    work, _ = make_ingester(ListSource("a", breaks={1: refuse}), ListSource("b", live=True))
    with pytest.raises(errors.UsageError, match="the cursor is none"):
        await work.run()


async def test_a_full_inbox_holds_the_source_back_and_loses_nothing() -> None:
    work, inbox = make_ingester(ListSource("a", 50), room=3)
    running = asyncio.create_task(work.run())
    for _ in range(50):
        await asyncio.sleep(0)
    assert inbox.full()
    assert work.health["a"].items == 3
    got = [(await inbox.get()).cursor for _ in range(50)]
    await running
    assert got == [str(number) for number in range(1, 51)]


async def test_tasks_are_named_and_a_cancelled_ingester_leaves_none() -> None:
    work, _ = make_ingester(ListSource("a", live=True))
    running = asyncio.create_task(work.run())
    while not work.answered():
        await asyncio.sleep(0)
    assert "source:a" in {task.get_name() for task in asyncio.all_tasks()}
    assert work.health["a"].lag == timedelta(seconds=2)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert "source:a" not in {task.get_name() for task in asyncio.all_tasks()}


@pytest.mark.parametrize("live", [True, False])
async def test_a_live_source_is_never_ahead_of_the_clock_and_a_replay_may_be(live: bool) -> None:
    early = factories.NOW - timedelta(minutes=1)
    work, inbox = make_ingester(ListSource("a", live=live), clock=lambda: early)
    running = asyncio.create_task(work.run())
    async with asyncio.timeout(10):
        arrivals = [await inbox.get() for _ in range(3)]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert {each.at for each in arrivals} == {early if live else factories.NOW}


async def test_silence_is_told_after_ten_seconds_and_names_rehearse() -> None:
    source = ListSource("a")
    source.health.last_error = "the name x cannot be resolved"
    sleep = Instant()
    work, _ = make_ingester(source, sleep=sleep)
    with structlog.testing.capture_logs() as logs:
        assert await work.warn_if_silent()
    assert sleep.seconds == [10.0]
    assert "no source has answered for 10 s" in logs[0]["message"]
    assert "`tocsin rehearse`" in logs[0]["message"]
    assert logs[0]["sources"] == {"a": "the name x cannot be resolved"}


async def test_one_answer_is_no_silence() -> None:
    answering = ListSource("a")
    answering.health.state = State.LIVE
    work, _ = make_ingester(answering, ListSource("b"))
    assert not await work.warn_if_silent()


def test_two_sources_of_one_name_are_refused() -> None:
    with pytest.raises(errors.UsageError, match="same name"):
        make_ingester(ListSource("a"), ListSource("a"))
