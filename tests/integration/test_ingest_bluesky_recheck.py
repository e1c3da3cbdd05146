"""What is asked about Bluesky's stored posts, of the AppView and of their authors' servers, and what becomes of the
answers; in virtual time."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
import structlog.testing
from yarl import URL

from bot.domain import errors, post
from bot.ingest import bluesky_recheck, jetstream
from bot.ingest.bluesky_recheck import Asking
from bot.ingest.source import SourceHealth, State
from bot.store.database import StoreLockedError
from tests import streams
from tests.fakes import sources
from tests.fakes.bluesky import FakeAppView, FakeRecords

MINUTE, HOUR, PATIENCE = 60.0, 3600.0, bluesky_recheck.PATIENCE_S


def uri(number: int, author: int = 1) -> str:
    return f"at://{sources.did(author)}/app.bsky.feed.post/3mbbbb{number:07d}"


WITNESS = uri(9_000_000, 99)


class Time:
    """Moves only from sleeper to sleeper, and only in ``until``."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._numbers = itertools.count()

    def clock(self) -> datetime:
        return sources.START + timedelta(seconds=self.now_s)

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


class Store:
    """What it keeps, the oldest first: ``ids`` since long ago, ``later`` since then, and a witness, just received."""

    def __init__(self, time: Time, ids: Iterable[str]) -> None:
        self.time = time
        self.ids = list(ids)
        self.later: list[tuple[float, str]] = []
        self.witness: str | None = WITNESS
        self.reads: list[int | frozenset[str]] = []  # how many were wanted, or whose
        self.locked = 0
        self.error: Exception | None = None

    @property
    def kept(self) -> bluesky_recheck.Kept:
        return bluesky_recheck.Kept(newest=self._newest, of=self._of)

    async def _newest(self, until: datetime, most: int) -> Sequence[str]:
        self.reads.append(most)
        return self._read(until)[:most]

    async def _of(self, authors: Collection[str], until: datetime) -> Sequence[str]:
        self.reads.append(frozenset(authors))
        return [each for each in self._read(until) if each.split("/")[2:3] and each.split("/")[2] in authors]

    def _read(self, until: datetime) -> list[str]:
        if self.error is not None:
            raise self.error
        if self.locked:
            self.locked -= 1
            raise StoreLockedError("invented")
        until_s = (until - sources.START).total_seconds()
        late = [*self.later, *([(self.time.now_s - 1, self.witness)] if self.witness else [])]
        return [*(each for at, each in reversed(late) if at <= until_s), *reversed(self.ids)]


class World:
    """An AppView and servers that have all but ``gone``, and an Asking that runs."""

    def __init__(self, time: Time, store: Store, view: FakeAppView, records: FakeRecords, gone: set[str]) -> None:
        self.time, self.store, self.view, self.records, self.gone = time, store, view, records, gone
        self.health = SourceHealth()
        self.asking = Asking(
            "bluesky", store.kept, URL(view.url), URL(records.url), health=self.health, clock=time.clock,
            monotonic=lambda: time.now_s, sleep=time.sleep,
        )  # fmt: skip

    @property
    def asked(self) -> set[str]:
        return {each for asked in self.view.asked for each in asked} - {WITNESS}

    async def found(self, end_s: float) -> list[str]:
        await self.time.until(end_s)
        return list(self.asking.take()) if self.asking.waiting else []


@contextlib.asynccontextmanager
async def world(ids: Iterable[str], *gone: str) -> AsyncIterator[World]:
    away, time = set(gone), Time()

    def stands(each: str) -> bool:
        return each not in away

    async with FakeAppView(stands) as view, FakeRecords(stands) as records:
        made = World(time, Store(time, ids), view, records, away)
        async with made.asking.going():
            yield made


async def test_what_is_missing_twice_and_not_at_its_server_is_gone_and_told_once() -> None:
    many = [uri(number) for number in range(60)]
    async with world(many, many[7], many[55]) as on:
        on.asking.everyone()
        assert await on.found(2 * PATIENCE - 1) == []
        assert on.view.asked == [], "what has just changed is not known everywhere yet"
        assert await on.found(3 * PATIENCE - 1) == [], "it has been missing once"
        assert on.asked == set(many)
        assert on.records.asked == []
        assert sorted(await on.found(5 * PATIENCE)) == [many[7], many[55]]
        assert sorted(on.records.asked) == [many[7], many[55]]
        on.store.ids = [each for each in many if each not in on.gone]
        count = len(on.view.asked)
        assert await on.found(50 * PATIENCE) == []
        assert len(on.view.asked) == count, "nothing is left to ask about"


def _newest_40(number: int) -> bool:
    return number >= 160


def _every_other(number: int) -> bool:
    return number % 2 == 0


def _seven_of_eight(number: int) -> bool:
    return number % 8 != 0


def _all(_: int) -> bool:
    return True


@pytest.mark.parametrize("missing", [_newest_40, _every_other, _seven_of_eight, _all])
@pytest.mark.parametrize("count", [2, 20, 200])
async def test_what_the_appview_alone_does_not_show_stays(missing: Callable[[int], bool], count: int) -> None:
    """For forty minutes it is wrong; one post is really gone."""
    many = [uri(number, number) for number in range(count)]
    async with world(many, many[1]) as on:
        wrong = {each for number, each in enumerate(many) if missing(number)}
        on.view.shows = lambda each: each not in wrong | on.gone
        on.asking.everyone()
        found = await on.found(2 * PATIENCE + 40 * MINUTE)
        wrong.clear()
        assert {*found, *await on.found(30 * HOUR)} == {many[1]}


async def test_what_the_appview_never_shows_is_asked_for_at_its_server_once_a_day_at_most() -> None:
    many = [uri(number, number) for number in range(60)]
    async with world(many) as on:
        on.view.shows = lambda each: each != many[7]
        on.asking.everyone()
        await on.found(5 * PATIENCE)
        assert on.records.asked == [many[7]]
        for hours in range(2, 22, 2):
            on.asking.everyone()
            assert await on.found(hours * HOUR) == []
        assert on.records.asked == [many[7]]
        on.gone.add(many[7])
        assert await on.found(26 * HOUR) == [many[7]], "a question in the meantime is not lost"
        assert on.records.asked == [many[7]] * 2


async def test_a_server_that_does_not_answer_is_asked_again_later() -> None:
    many = [uri(number, number) for number in range(60)]
    async with world(many, many[7]) as on:
        on.records.bad = [(500, {}), (502, {})]
        on.asking.everyone()
        assert await on.found(4 * PATIENCE + HOUR) == []
        assert await on.found(4 * PATIENCE + 5 * HOUR) == [many[7]]
        assert on.records.bad == []


async def test_no_round_begins_before_the_appview_shows_what_came_after_the_question() -> None:
    many = [uri(number, number) for number in range(60)]
    async with world(many) as on:
        on.view.shows = lambda each: each != WITNESS  # and many[7] is still shown
        on.asking.everyone()
        assert await on.found(3 * HOUR) == []
        assert on.asked == set()
        assert on.health.last_error is not None
        assert on.health.last_error.endswith(" does not know yet what is new among the posts that we keep")
        on.gone.add(many[7])
        on.view.shows = lambda each: each not in on.gone
        assert await on.found(6 * HOUR) == [many[7]]


async def test_where_nothing_new_comes_it_is_asked_all_the_same() -> None:
    async with world([uri(number) for number in range(60)], uri(5)) as on:
        on.store.witness = None
        on.asking.everyone()
        await on.found(bluesky_recheck.QUIET_S - MINUTE)
        assert on.view.asked == []
        assert await on.found(bluesky_recheck.QUIET_S + 5 * PATIENCE) == [uri(5)]


async def test_what_came_after_the_question_is_not_asked_about() -> None:
    early, late = [uri(number) for number in range(30)], [uri(number, 2) for number in range(100, 130)]
    async with world(early) as on:
        on.store.later = [(MINUTE, each) for each in late]
        on.view.shows = lambda each: each not in late[1:]
        on.asking.everyone()
        assert await on.found(2 * PATIENCE + HOUR) == []
        assert on.records.asked == []


async def test_what_is_back_at_the_second_asking_stays() -> None:
    many = [uri(number) for number in range(40)]
    async with world(many) as on:
        on.view.forgotten = {many[3], many[30]}
        on.asking.everyone()
        assert await on.found(20 * PATIENCE) == []
        assert on.view.forgotten == set()
        assert on.records.asked == []


async def test_all_posts_of_one_author_may_be_gone() -> None:
    theirs, others = [uri(number, 2) for number in range(70)], [uri(number, 3) for number in range(200)]
    async with world([*theirs, *others], *theirs) as on:
        on.asking.author(sources.did(2))
        assert sorted(await on.found(20 * PATIENCE)) == sorted(theirs)
        asked = [each for each in on.view.asked if set(each) & set(theirs)]
        assert all(2 * len(set(each) & set(theirs)) < len(each) for each in asked), "some others tell that it answers"


async def test_only_the_author_of_a_sync_is_read_and_asked_about_and_fills_up_with_a_few() -> None:
    many = [uri(number, number % 50) for number in range(500)]
    async with world(many) as on:
        on.asking.author(sources.did(4))
        assert await on.found(10 * PATIENCE) == []
        _, asked = on.view.asked
        assert set(asked) >= {each for each in many if each.split("/")[2] == sources.did(4)}
        assert len(asked) == 25
        assert set(on.store.reads) == {bluesky_recheck.NEWEST, frozenset({sources.did(4)})}


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_a_small_store_is_asked_about_as_well(count: int) -> None:
    many = [uri(number, number) for number in range(count)]
    async with world(many, *many) as on:
        on.asking.everyone()
        assert sorted(await on.found(40 * HOUR)) == many


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


async def test_one_post_that_is_refused_keeps_the_others_from_nothing() -> None:
    many = [uri(number, number) for number in range(60)]
    async with world(many, many[7], many[8]) as on:
        on.view.refused = {many[8]}
        on.asking.everyone()
        assert await on.found(10 * HOUR) == [many[7]]


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_kept(status: int) -> None:
    async with world([uri(number) for number in range(60)]) as on:
        on.view.bad = [(status, {"Retry-After": "3600"})]
        on.asking.everyone()
        await on.found(2 * PATIENCE + 3599)
        assert len(on.view.asked) == 1
        await on.found(2 * PATIENCE + 5000)
        assert len(on.view.asked) > 1


async def test_a_failure_is_told_once_in_the_log_and_by_the_source_and_no_zero_hurries_us() -> None:
    async with world([uri(number) for number in range(60)]) as on:
        on.view.bad = [(503, {"Retry-After": "0"})] * 1000
        on.asking.everyone()
        with structlog.testing.capture_logs() as logs:
            await on.found(2 * PATIENCE + 10 * HOUR)
        assert len(on.view.asked) < 50
        assert [each["event"] for each in logs] == ["recheck_failed"]
        assert on.health.last_error == f"{URL(on.view.url).authority} is out of order (503)"
        assert on.health.remedy is not None


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
        assert on.asked == {uri(1), uri(2)}


async def test_of_too_many_authors_the_first_are_dropped_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bluesky_recheck, "MOST_AUTHORS", 5)
    many = [uri(number, number) for number in range(8)]
    async with world(many, *many) as on:
        for number in range(8):
            on.asking.author(sources.did(number))
        with structlog.testing.capture_logs() as logs:
            assert sorted(await on.found(30 * HOUR)) == many[3:]
        assert [each["count"] for each in logs if each["event"] == "recheck_authors_dropped"] == [3]
        assert on.store.reads[:3] == [1000, 1000, frozenset(map(sources.did, range(3, 8)))]


async def test_a_locked_store_is_read_later_and_no_question_is_lost() -> None:
    many = [uri(number) for number in range(60)]
    async with world(many, many[7]) as on:
        on.store.locked = 3
        on.asking.everyone()
        assert await on.found(20 * PATIENCE) == [many[7]]
        assert on.store.locked == 0


async def test_a_store_that_breaks_is_told_to_the_reader() -> None:
    async with world([uri(1)]) as on:
        on.store.error = RuntimeError("invented")
        on.asking.everyone()
        await on.time.until(2 * PATIENCE - 1)
        moving = asyncio.create_task(on.time.until(2 * PATIENCE))
        async with asyncio.timeout(10):
            while not on.asking.waiting:
                await asyncio.sleep(0)
        moving.cancel()
        await asyncio.gather(moving, return_exceptions=True)
        with pytest.raises(RuntimeError):
            on.asking.take()


# Through the source.


@contextlib.asynccontextmanager
async def reading(
    version: int, fake: sources.FakeJetstream, view: FakeAppView, time: Time, ids: Iterable[str]
) -> AsyncIterator[tuple[asyncio.Queue[post.Arrival], SourceHealth]]:
    store = Store(time, ids)
    async with FakeRecords(view.shows) as records:
        source = streams.make_source(
            fake.url(version), appview=view.url, directory=records.url, monotonic=lambda: time.now_s,
            sleep=time.sleep, heartbeat_s=0.05, clock=lambda: time.clock() + timedelta(minutes=1),
        )  # fmt: skip
        source.recheck(store.kept)
        async with _read(source, version, fake) as inbox:
            yield inbox, source.health
    left = [each for each in asyncio.all_tasks() if each.get_name().startswith("recheck:")]
    assert left == [], "what asks ends with the reading"


@contextlib.asynccontextmanager
async def _read(
    source: jetstream.JetstreamSource, version: int, fake: sources.FakeJetstream
) -> AsyncIterator[asyncio.Queue[post.Arrival]]:
    inbox: asyncio.Queue[post.Arrival] = asyncio.Queue()

    async def read() -> None:
        async with contextlib.aclosing(source.posts(streams.before_all(version, fake))) as arrivals:
            async for arrival in arrivals:
                await inbox.put(arrival)

    task = asyncio.create_task(read())
    try:
        yield inbox
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("version", [1, 2])
async def test_a_start_asks_about_everything_and_deletions_come_on_a_stream_that_is_silent(version: int) -> None:
    time = Time()
    async with sources.FakeJetstream() as fake, FakeAppView(lambda each: each != uri(2, 5)) as view:
        fake.add_post("first")
        async with reading(version, fake, view, time, [uri(1, 5), uri(2, 5)]) as (inbox, _):
            async with asyncio.timeout(10):
                first = await inbox.get()
                await time.until(20 * PATIENCE)
                gone = await inbox.get()
        assert isinstance(gone.item, post.Deletion)
        assert gone.item.id == uri(2, 5)
        assert (gone.cursor, gone.at) == (first.cursor, first.at), "it is at the place that the stream has come to"


@pytest.mark.parametrize("version", [1, 2])
async def test_a_sync_is_asked_for_and_its_author_asked_about(version: int) -> None:
    time = Time()
    away: set[str] = set()
    async with sources.FakeJetstream() as fake, FakeAppView(lambda each: each not in away) as view:
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
                gone = (await inbox.get()).item
                assert inbox.empty()
        assert isinstance(gone, post.Deletion)
        assert gone.id == uri(1, 5)
        assert "sync" in fake.requests[0]["kinds"]


async def test_a_gap_before_a_sync_is_a_question_about_everyone() -> None:
    time = Time()
    away: set[str] = set()
    async with sources.FakeJetstream() as fake, FakeAppView(lambda each: each not in away) as view:
        fake.add_post("first")
        async with reading(2, fake, view, time, [uri(1, 5), uri(2, 6)]) as (inbox, health):
            async with asyncio.timeout(10):
                await inbox.get()
                await time.until(5 * PATIENCE)
                away.add(uri(2, 6))
                fake.forget(1)
                fake.step = timedelta(minutes=10)
                fake.add_sync(author=5)
                fake.forget(1)
                fake.add_sync(author=5)
                fake.add_post("after it")
                fake.hang_up()
                while health.state is not State.WAITING:
                    await asyncio.sleep(0)
                await time.until(5 * PATIENCE + MINUTE)
                assert isinstance((await inbox.get()).item, post.Gap)
                await inbox.get()
                await time.until(20 * PATIENCE)
                gone = (await inbox.get()).item
        assert isinstance(gone, post.Deletion)
        assert gone.id == uri(2, 6)


async def test_a_gap_is_followed_by_questions() -> None:
    time = Time()
    away: set[str] = set()
    async with sources.FakeJetstream() as fake, FakeAppView(lambda each: each not in away) as view:
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
        source.recheck(Store(Time(), [uri(1)]).kept)
        await streams.take(source, 1, streams.before_all(version, fake))
        assert "sync" not in fake.requests[0].get("kinds", [])
        assert not any(task.get_name().startswith("recheck:") for task in asyncio.all_tasks())


@pytest.mark.parametrize("setting", ["appview", "directory"])
def test_an_address_that_is_no_server_is_a_usage_error(setting: str) -> None:
    with pytest.raises(errors.UsageError, match="address of a server"):
        streams.make_source("ws://127.0.0.1:9/subscribe", **{setting: "ftp://x"})


@pytest.mark.parametrize("authors", [1, 5])
async def test_posts_that_the_appview_never_shows_do_not_switch_the_asking_off(authors: int) -> None:
    many = [uri(number, number) for number in range(60)]
    hidden = [uri(5000 + number, 77 + 300 * (number % authors)) for number in range(5)]
    later = [uri(6000 + number, 100 + number) for number in range(400)]
    async with world(many, many[7]) as on:
        on.store.later = [(MINUTE, each) for each in hidden]
        on.store.later += [(2 * MINUTE + 300 * number, each) for number, each in enumerate(later)]
        on.view.shows = lambda each: each not in hidden and each not in on.gone
        on.asking.everyone()
        assert await on.found(40 * HOUR) == [many[7]], on.health.last_error


async def test_a_new_post_that_the_appview_refuses_to_be_asked_about_does_not_either() -> None:
    many = [uri(number, number) for number in range(60)]
    refused = uri(5000, 77)
    async with world(many, many[7]) as on:
        on.store.later = [(MINUTE, refused)]
        on.view.refused = {refused}
        on.asking.everyone()
        assert await on.found(60 * HOUR) == [many[7]], on.health.last_error


async def test_a_thousand_newest_posts_of_one_author_whom_it_does_not_show_hide_no_deletion() -> None:
    many = [uri(number, number) for number in range(2_500)]
    hidden = {uri(10_000 + number, 7_777) for number in range(1_100)}
    async with world([*many, *sorted(hidden)], many[7]) as on:
        on.view.shows = lambda each: each not in hidden and each not in on.gone
        on.asking.everyone()
        assert many[7] in await on.found(48 * HOUR), on.health.last_error
