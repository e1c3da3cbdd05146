"""What Bluesky's AppView is asked about stored posts, and what becomes of its answers; in virtual time."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from yarl import URL

from bot.domain import errors, post
from bot.ingest import bluesky_recheck
from bot.ingest.bluesky_recheck import Asking
from bot.ingest.source import SourceHealth, State
from tests import streams
from tests.fakes import sources

MINUTE, PATIENCE = 60.0, bluesky_recheck.PATIENCE_S


def uri(number: int, author: int = 1) -> str:
    return f"at://{sources.did(author)}/app.bsky.feed.post/3mbbbb{number:07d}"


class Time:
    """Moves only from sleeper to sleeper, and only in ``until``."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    async def sleep(self, seconds: float) -> None:
        waker: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self.now_s + seconds, next(self._numbers), waker))
        await waker

    async def until(self, end_s: float) -> None:
        while True:
            async with asyncio.timeout(10):
                while not self._sleepers:
                    await asyncio.sleep(0)
            due_s, _, waker = self._sleepers[0]
            if due_s > end_s:
                self.now_s = end_s
                return
            heapq.heappop(self._sleepers)
            self.now_s = max(self.now_s, due_s)
            if not waker.done():
                waker.set_result(None)
            while not waker.done() or not self._sleepers:  # it has done what it woke for
                await asyncio.sleep(0)


class Kept:
    """The store: what it keeps, and how often it was read."""

    def __init__(self, ids: Iterable[str]) -> None:
        self.ids = list(ids)
        self.reads = 0

    async def __call__(self) -> Sequence[str]:
        self.reads += 1
        return list(self.ids)


class World:
    """An AppView that shows all of ``kept`` but ``gone``, and an Asking that runs."""

    def __init__(self, kept: Kept, view: sources.FakeAppView, gone: set[str]) -> None:
        self.kept, self.view, self.gone, self.time = kept, view, gone, Time()
        self.asking = Asking(
            "bluesky", kept, URL(view.url), clock=lambda: sources.START, monotonic=lambda: self.time.now_s,
            sleep=self.time.sleep,
        )  # fmt: skip

    async def found(self, end_s: float) -> list[str]:
        await self.time.until(end_s)
        return list(self.asking.take()) if self.asking.waiting else []


@contextlib.asynccontextmanager
async def world(ids: Iterable[str], *gone: str) -> AsyncIterator[World]:
    away = set(gone)
    async with sources.FakeAppView(lambda each: each not in away) as view:
        made = World(Kept(ids), view, away)
        async with made.asking.going():
            yield made


async def test_what_is_missing_twice_ten_minutes_apart_is_gone_and_told_once() -> None:
    many = [uri(number) for number in range(60)]
    async with world(many, many[7], many[55]) as on:
        on.asking.everyone()
        assert await on.found(2 * PATIENCE - 1) == []
        assert on.view.asked == [], "what has just changed is not known everywhere yet"
        assert await on.found(3 * PATIENCE - 1) == [], "it has been missing once"
        assert {each for asked in on.view.asked for each in asked} == set(many)
        assert all(len(asked) == 25 for asked in on.view.asked)
        assert sorted(await on.found(5 * PATIENCE)) == [many[7], many[55]]
        on.kept.ids = [each for each in many if each not in on.gone]
        count = len(on.view.asked)
        assert await on.found(50 * PATIENCE) == []
        assert len(on.view.asked) == count, "nothing is left to ask about"
        assert on.kept.reads <= 3


async def test_what_is_back_at_the_second_asking_stays() -> None:
    many = [uri(number) for number in range(40)]
    async with world(many) as on:
        on.view.forgotten = {many[3], many[30]}
        on.asking.everyone()
        assert await on.found(20 * PATIENCE) == []
        assert on.view.forgotten == set()


async def test_all_posts_of_one_author_may_be_gone() -> None:
    theirs, others = [uri(number, 2) for number in range(70)], [uri(number, 3) for number in range(200)]
    async with world([*theirs, *others], *theirs) as on:
        on.asking.author(sources.did(2))
        assert sorted(await on.found(20 * PATIENCE)) == sorted(theirs)
        assert all(not set(asked) <= set(theirs) for asked in on.view.asked), "some others tell that it answers"


async def test_only_the_author_of_a_sync_is_asked_about_and_fills_up_with_a_few() -> None:
    many = [uri(number, number % 50) for number in range(500)]
    async with world(many) as on:
        on.asking.author(sources.did(4))
        assert await on.found(10 * PATIENCE) == []
        (asked,) = on.view.asked
        assert set(asked) >= {each for each in many if each.split("/")[2] == sources.did(4)}
        assert len(asked) == 25


async def test_a_small_store_is_asked_about_as_well() -> None:
    async with world([uri(1), uri(2)], uri(1), uri(2)) as on:
        on.asking.everyone()
        assert sorted(await on.found(20 * PATIENCE)) == [uri(1), uri(2)]


@pytest.mark.parametrize(
    "bad",
    [
        b'{"posts": []}', b"<html>", b"[]", b'{"posts": 5}', b'{"posts": [{"uri": 5}]}', b"[" * 100_000, b"\xff",
        (500, {}), (400, {}), (302, {"Location": "/elsewhere"}),
    ],
    ids=["none of 25", "HTML", "a list", "no posts", "no uri", "deep", "no UTF-8", "500", "400", "elsewhere"],
)  # fmt: skip
async def test_an_answer_that_is_none_is_asked_for_again(bad: Any) -> None:
    many = [uri(number) for number in range(60)]
    async with world(many, many[7]) as on:
        on.view.bad = [bad] * 5
        on.asking.everyone()
        assert await on.found(30 * PATIENCE) == [many[7]]
        assert on.view.bad == []


async def test_retry_after_is_kept() -> None:
    async with world([uri(number) for number in range(60)]) as on:
        on.view.bad = [(429, {"Retry-After": "3600"})]
        on.asking.everyone()
        await on.found(2 * PATIENCE + 3599)
        assert len(on.view.asked) == 1
        await on.found(2 * PATIENCE + 3700)
        assert len(on.view.asked) > 1


async def test_whoever_hides_from_the_signed_out_is_gone_at_once() -> None:
    many = [uri(number, number) for number in range(60)]
    async with world(many) as on:
        on.view.labels = {
            sources.did(7): [{"src": sources.did(7), "val": "!no-unauthenticated"}],
            sources.did(8): [{"src": sources.did(8), "val": "!no-unauthenticated", "neg": True}],
            sources.did(9): [{"src": sources.did(9), "val": "invented"}],
        }
        on.asking.everyone()
        assert await on.found(3 * PATIENCE - 1) == [many[7]]


async def test_versions_are_asked_about_by_their_post_and_what_is_none_of_bluesky_s_not_at_all() -> None:
    edited = post.versioned(uri(1), "3maaaaaaaaaaa")
    strange = ["at://did:plc:x/app.bsky.feed.post/..", "at://x", "1", uri(5) + "/x", f"at://did:web:{'a' * 999}/x", ""]
    async with world([edited, uri(1), uri(2), *strange], uri(1)) as on:
        on.asking.everyone()
        assert await on.found(20 * PATIENCE) == [uri(1)]
        assert {each for asked in on.view.asked for each in asked} == {uri(1), uri(2)}


async def test_too_many_authors_are_everyone() -> None:
    async with world([uri(number) for number in range(60)]) as on:
        for number in range(bluesky_recheck.MOST_AUTHORS + 1):
            on.asking.author(f"did:plc:{number}")
        await on.found(10 * PATIENCE)
        assert len({each for asked in on.view.asked for each in asked}) == 60


async def test_a_store_that_breaks_is_told_to_the_reader() -> None:
    async def broken() -> Sequence[str]:
        raise RuntimeError("invented")

    time = Time()
    asking = Asking(
        "x", broken, URL("http://127.0.0.1:9"), clock=lambda: sources.START, monotonic=lambda: time.now_s,
        sleep=time.sleep,
    )  # fmt: skip
    asking.everyone()
    async with asking.going():
        await time.until(2 * PATIENCE - 1)
        moving = asyncio.create_task(time.until(2 * PATIENCE))
        async with asyncio.timeout(10):
            while not asking.waiting:
                await asyncio.sleep(0)
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
        with pytest.raises(RuntimeError):
            asking.take()


# Through the source.


@contextlib.asynccontextmanager
async def reading(
    version: int, fake: sources.FakeJetstream, view: sources.FakeAppView, time: Time, ids: Iterable[str]
) -> AsyncIterator[tuple[asyncio.Queue[post.Arrival], SourceHealth]]:
    source = streams.make_source(
        fake.url(version), appview=view.url, monotonic=lambda: time.now_s, sleep=time.sleep, heartbeat_s=0.05
    )
    source.recheck(Kept(ids))
    inbox: asyncio.Queue[post.Arrival] = asyncio.Queue()

    async def read() -> None:
        async with contextlib.aclosing(source.posts(streams.before_all(version, fake))) as arrivals:
            async for arrival in arrivals:
                await inbox.put(arrival)

    task = asyncio.create_task(read())
    try:
        yield inbox, source.health
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    left = [each for each in asyncio.all_tasks() if each.get_name().startswith("recheck:")]
    assert left == [], "what asks ends with the reading"


@pytest.mark.parametrize("version", [1, 2])
async def test_a_start_asks_about_everything_and_deletions_come_on_a_stream_that_is_silent(version: int) -> None:
    time = Time()
    async with sources.FakeJetstream() as fake, sources.FakeAppView(lambda each: each != uri(2, 5)) as view:
        fake.add_post("first")
        async with reading(version, fake, view, time, [uri(1, 5), uri(2, 5)]) as (inbox, _):
            async with asyncio.timeout(10):
                first = await inbox.get()
                await time.until(20 * PATIENCE)
                gone = await inbox.get()
        assert gone.item == post.Deletion(
            provider="bluesky", id=uri(2, 5), deleted_at=sources.START + timedelta(minutes=1)
        )
        assert (gone.cursor, gone.at) == (first.cursor, first.at), "it is at the place that the stream has come to"


@pytest.mark.parametrize("version", [1, 2])
async def test_a_sync_is_asked_for_and_its_author_asked_about(version: int) -> None:
    time = Time()
    away: set[str] = set()
    async with sources.FakeJetstream() as fake, sources.FakeAppView(lambda each: each not in away) as view:
        fake.add_post("first")
        async with reading(version, fake, view, time, [uri(1, 5), uri(2, 6)]) as (inbox, _):
            async with asyncio.timeout(10):
                await inbox.get()
                await time.until(5 * PATIENCE)
                count = len(view.asked)
                away.update([uri(1, 5), uri(2, 6)])
                fake.add_sync(author=5)
                fake.add_post("second")
                await inbox.get()
                await time.until(20 * PATIENCE)
                if version == 1:
                    assert len(view.asked) == count, "protocol 1 has no word for it"
                    return
                gone = [(await inbox.get()).item for _ in range(2)]
        assert {each.id for each in gone if isinstance(each, post.Deletion)} == {uri(1, 5), uri(2, 6)}, (
            "so few are kept that the other one was asked about as well"
        )
        assert "sync" in fake.requests[0]["kinds"]


async def test_a_gap_is_followed_by_questions() -> None:
    time = Time()
    away: set[str] = set()
    async with sources.FakeJetstream() as fake, sources.FakeAppView(lambda each: each not in away) as view:
        fake.add_post("first")
        async with reading(1, fake, view, time, [uri(1, 5), uri(2, 6)]) as (inbox, health):
            async with asyncio.timeout(10):
                await inbox.get()
                await time.until(5 * PATIENCE)
                away.add(uri(2, 6))
                fake.forget(1)
                fake.step = timedelta(minutes=10)
                fake.add_post("after it")
                fake.hang_up()
                while health.state is not State.WAITING:
                    await asyncio.sleep(0)
                await time.until(5 * PATIENCE + MINUTE)
                gap, _ = (await inbox.get()).item, await inbox.get()
                assert isinstance(gap, post.Gap)
                await time.until(20 * PATIENCE)
                gone = (await inbox.get()).item
        assert isinstance(gone, post.Deletion)
        assert gone.id == uri(2, 6)


@pytest.mark.parametrize("version", [1, 2])
async def test_without_an_appview_nothing_is_asked_and_no_sync_is_asked_for(version: int) -> None:
    async with sources.FakeJetstream() as fake:
        fake.add_post("first")
        fake.add_sync()
        source = streams.make_source(fake.url(version), appview="")
        source.recheck(Kept([uri(1)]))
        await streams.take(source, 1, streams.before_all(version, fake))
        assert "sync" not in fake.requests[0].get("kinds", [])
        assert not any(task.get_name().startswith("recheck:") for task in asyncio.all_tasks())


def test_an_appview_that_is_no_server_is_a_usage_error() -> None:
    with pytest.raises(errors.UsageError, match="address of a server"):
        streams.make_source("ws://127.0.0.1:9/subscribe", appview="ftp://x")
