"""Asking again about what is stored: that each source is given what the store keeps of it, and how a round goes on
where a provider refuses, fails or wants to be left alone."""

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot import app
from bot.domain import post
from bot.domain.post import Candidate
from bot.ingest import mastodon, mastodon_recheck, recheck, trouble, x
from bot.ingest.bluesky_recheck import QUIET_S
from bot.ingest.recheck import Recheck, Stored
from bot.store import local_ids, posts
from bot.store.database import Database, StoreLockedError
from tests import factories, streams
from tests.fakes import sources
from tests.fakes.bluesky import FakeAppView, FakeRecords

# What each source is given.


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    with Database.open(tmp_path / "store.db") as opened:
        yield opened


async def keep(database: Database, *kept: post.Post, deleted: Sequence[post.Post] = ()) -> None:
    def candidate(seq: int, made: post.Post) -> Candidate:
        return Candidate(
            post=made, seq=seq, stream_at=made.received_at, categories={"explosion": 0.9}, places=(), embedding=b"",
            fingerprint=made.key, model="m1",
        )  # fmt: skip

    candidates = [candidate(seq, each) for seq, each in enumerate([*kept, *deleted], start=1)]

    def write(db: Any) -> None:
        for each in candidates:
            posts.add(db, each)
        for each in deleted:
            deletion = post.Deletion(provider=each.provider, id=each.id, deleted_at=each.received_at)
            posts.delete(db, deletion, after_seq=len(candidates), stream_at=each.received_at)

    await database.write(write)


def received(provider: str, id: str, ago: timedelta = timedelta(hours=1), **fields: Any) -> post.Post:
    at = datetime.now(UTC) - ago
    return factories.make_post(provider=provider, id=id, received_at=at, created_at=at, **fields)


def uri(number: int, author: int) -> str:
    return f"at://{sources.did(author)}/app.bsky.feed.post/3mbbbb{number:07d}"


class Clock:
    """Moves on whenever somebody sleeps."""

    def __init__(self) -> None:
        self.passed = timedelta(0)
        self._began = datetime.now(UTC)

    def now(self) -> datetime:
        return self._began + self.passed

    def monotonic(self) -> float:
        return self.passed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.passed += timedelta(seconds=seconds)
        await asyncio.sleep(0)


async def test_bluesky_is_asked_about_what_is_stored_of_it_and_a_start_finds_what_is_gone(database: Database) -> None:
    kept = [received("bluesky", uri(number, number), author=sources.did(number)) for number in range(40)]
    others = [
        received("bluesky", uri(50, 50), timedelta(days=40)), received("elsewhere", uri(51, 51)),
    ]  # fmt: skip
    await keep(database, *kept, *others, deleted=[received("bluesky", uri(52, 52))])
    gone, time = kept[7].id, Clock()
    async with (
        sources.FakeJetstream() as fake,
        FakeAppView(lambda each: each != gone) as view,
        FakeRecords(lambda each: each != gone) as records,
    ):
        fake.add_post("first")
        source = streams.make_source(
            fake.url(1), appview=view.url, directory=records.url, clock=time.now, monotonic=time.monotonic,
            sleep=time.sleep, heartbeat_s=0.05,
        )  # fmt: skip
        app._recheck([source], database)
        arrivals = await streams.take(source, 2, streams.before_all(1, fake))
    assert isinstance(arrivals[1].item, post.Deletion)
    assert arrivals[1].item.id == gone
    assert {each for asked in view.asked for each in asked} == {each.id for each in kept}
    assert time.passed >= timedelta(seconds=QUIET_S), "nothing new was stored meanwhile"


class Listening(x.XSource):
    given: Stored | None

    def recheck(self, stored: Stored | None) -> None:
        self.given = stored
        super().recheck(stored)


class Hearing(mastodon.MastodonSource):
    given: mastodon_recheck.Kept | None

    def recheck(self, kept: mastodon_recheck.Kept | None) -> None:
        self.given = kept
        super().recheck(kept)


async def test_x_is_asked_about_what_is_stored_of_it(database: Database) -> None:
    await keep(
        database, received("x", "1"), received("x", "2"), received("x", "3", timedelta(days=40)),
        received("elsewhere", "4"), deleted=[received("x", "5")],
    )  # fmt: skip
    source = Listening("x", "https://x.example", token="invented", rules=["fire"])
    app._recheck([source], database)
    assert source.given is not None
    assert sorted(await source.given()) == ["1", "2"]


async def test_an_instance_is_asked_about_what_its_source_brought(database: Database) -> None:
    await keep(database, *(received("mastodon", f"https://a.example/{number}") for number in range(3)))
    prefix = "mastodon.example/"
    named = [
        local_ids.Named(source=source, local_id=f"{prefix}{number}", post=f"mastodon|https://a.example/{number}")
        for source, number in (("here", 0), ("here", 1), ("there", 2))
    ]
    await database.write(local_ids.add, named)
    source = Hearing("here", "https://mastodon.example", token="invented")
    app._recheck([source], database)
    assert source.given is not None
    assert sorted(await source.given.stored(prefix)) == [f"{prefix}0", f"{prefix}1"]
    assert await source.given.post_of(f"{prefix}1") == "https://a.example/1"
    assert await source.given.post_of(f"{prefix}2") is None


async def test_some_authors_are_read_without_the_others(database: Database) -> None:
    made = [received("bluesky", uri(number, number % 3), author=sources.did(number % 3)) for number in range(9)]
    stranger = received("elsewhere", uri(9, 1), author=sources.did(1))
    await keep(database, *made, stranger, deleted=[received("bluesky", uri(10, 1), author=sources.did(1))])
    since = datetime.now(UTC) - timedelta(days=1)
    authors = [sources.did(1), *(f"did:plc:{number}" for number in range(1_200)), sources.did(2)]
    found, plans = await database.read(_explained, posts.kept_ids_of, "bluesky", authors, since)
    assert found == [each.id for each in reversed(made) if each.author != sources.did(0)]
    assert all("posts_author (provider=? AND author=?)" in plan for plan in plans)


async def test_the_newest_are_read_without_the_rest(database: Database) -> None:
    made = [received("bluesky", uri(ago, 1), timedelta(minutes=ago)) for ago in range(9, 0, -1)]
    await keep(database, *made)
    since = datetime.now(UTC) - timedelta(days=1)
    found, plans = await database.read(_explained, posts.kept_ids, "bluesky", since, 3)
    assert found == [each.id for each in made[:-4:-1]]
    assert len(plans) == 1, "along the index, nothing is sorted"
    assert "posts_kept" in plans[0]


def _explained(db: Any, read: Callable[..., list[str]], *args: Any) -> tuple[list[str], list[str]]:
    """What is read, and how SQLite finds it."""
    asked: list[tuple[str, Any]] = []
    with db.tracer(lambda sql, params: asked.append((sql, params))):
        found = read(db, *args)
    plans = [each for sql, params in asked for each in db.query(f"EXPLAIN QUERY PLAN {sql}", params)]
    return found, [each["detail"] for each in plans]


async def test_what_was_received_between_two_times_is_left_out(database: Database) -> None:
    now = datetime.now(UTC)
    made = [received("bluesky", uri(hours, 1), timedelta(hours=hours), author=sources.did(1)) for hours in (3, 1, -24)]
    await keep(database, *made)
    but = (now - timedelta(hours=2), now)
    expected = [uri(-24, 1), uri(3, 1)]  # our clock may have been ahead when the first of them came
    since = now - timedelta(days=1)
    assert await database.read(posts.kept_ids, "bluesky", since, but=but) == expected
    assert await database.read(posts.kept_ids, "bluesky", since, 1, but=but) == expected[:1]
    assert await database.read(posts.kept_ids_of, "bluesky", [sources.did(1)], since, but=but) == expected


# How a round goes.

Answer = Callable[[Sequence[str]], tuple[int, dict[str, str]] | bytes | None]


class Provider:
    """It is asked about ids in a query; ``answer`` gives a status and headers instead of 200, or something else than an
    answer."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[list[str]] = []
        self.now_s = 0.0
        self.url = ""
        self.ids = [str(number) for number in range(30)]
        self.reads = 0
        self.errors = 0
        self.locked = 0

    @contextlib.asynccontextmanager
    async def serving(self, **settings: Any) -> AsyncIterator["Provider"]:
        server = web.Application()
        server.router.add_get("/", self._serve)
        runner = web.AppRunner(server, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        self.round = Recheck(
            self._stored, self._ask, pause_s=self._pause_s, monotonic=lambda: self.now_s,
            **{"batch": 10, "due_s": math.inf} | settings,
        )  # fmt: skip
        self.round.soon()
        try:
            async with aiohttp.ClientSession() as self.session:
                yield self
        finally:
            await runner.cleanup()

    async def until(self, end_s: float) -> list[str]:
        """What was found."""
        found: list[str] = []
        while self.now_s < end_s:
            self.now_s += recheck.PACE_S
            try:
                found += await self.round.some(self.session)
            except (aiohttp.ClientError, OSError, trouble.LostError):
                self.errors += 1
        return found

    async def _stored(self) -> Sequence[str]:
        self.reads += 1
        if self.locked:
            self.locked -= 1
            raise StoreLockedError("invented")
        return self.ids

    async def _ask(self, session: aiohttp.ClientSession, ids: Sequence[str]) -> tuple[Sequence[str], float | None]:
        async with session.get(self.url, params={"ids": ",".join(ids)}) as response:
            response.raise_for_status()
            if await response.read() != b"well":
                raise trouble.LostError("said something else")
            return ids, None

    async def _serve(self, request: web.Request) -> web.Response:
        ids = request.query["ids"].split(",")
        self.asked.append(ids)
        match self.answer(ids):
            case None:
                return web.Response(body=b"well")
            case (status, headers):
                return web.Response(status=status, headers=headers)
            case bytes(body):
                return web.Response(body=body)

    def _pause_s(self, error: Exception) -> float | None:
        return trouble.retry_after_s(getattr(error, "headers", None), sources.START)


def bad(*ids: str, answer: Any = (400, {})) -> Answer:
    return lambda asked: answer if set(asked) & set(ids) else None


@pytest.mark.parametrize("answer", [(400, {}), (404, {}), (500, {}), (403, {}), b"no"])
async def test_one_bad_id_keeps_none_of_the_others_waiting_for_good(answer: Any) -> None:
    async with Provider(bad("4", answer=answer)).serving() as on:
        found = await on.until(12 * 3600)
        assert sorted(found, key=int) == [each for each in on.ids if each != "4"]
        assert not on.round.pending, "it is left for the next round"
        on.answer = lambda _: None
        on.round.soon()
        assert await on.until(on.now_s + 600) == on.ids
        assert on.reads == 2


async def test_what_waits_at_the_end_of_a_round_is_still_asked_about() -> None:
    async with Provider(bad("4")).serving(due_s=3600) as on:
        first = await on.until(recheck.FIRST_RETRY_S + 30)
        assert sorted(first, key=int) == on.ids[10:], "the rest comes before it"
        assert on.round.pending
        on.now_s += 3600
        assert on.round.overdue
        on.answer = lambda _: None
        assert await on.until(on.now_s + 100) == on.ids[:10]
        assert not on.round.pending


@pytest.mark.parametrize("status", [401, 403, 404, 500])
async def test_where_everything_is_refused_a_day_long_nothing_is_cut_into_pieces_for_good(status: int) -> None:
    answers: list[Any] = [(status, {})]
    async with Provider(lambda _: answers[0]).serving() as on:
        on.ids = [str(number) for number in range(1_000)]
        assert await on.until(24 * 3600) == []
        answers[0] = None
        assert sorted(await on.until(30 * 3600), key=int) == on.ids
        assert len(on.asked) < 250
        assert {len(each) for each in on.asked} == {10}


async def test_a_provider_that_cannot_be_reached_is_asked_the_same_again() -> None:
    async with Provider(lambda _: None).serving() as on:
        url, on.url = on.url, "http://127.0.0.1:9/"
        await on.until(3600)
        assert on.errors > 5
        on.url = url
        assert await on.until(2 * 3600) == on.ids


@pytest.mark.parametrize(
    ("status", "after", "least_s", "most_s"),
    [
        (429, "30", 30, 40), (429, "0", 60, 70), (429, None, 60, 70), (429, "1800", 1800, 1810),
        (503, "0", 60, 70), (503, "10", 60, 70), (503, "1800", 1800, 1810), (503, None, 60, 70),
        (503, format_datetime(sources.START + timedelta(hours=1), usegmt=True), 3600, 3610),
    ],
)  # fmt: skip
async def test_the_longer_of_what_is_asked_for_and_the_back_off_is_waited(
    status: int, after: str | None, least_s: float, most_s: float
) -> None:
    answers: list[Any] = [(status, {} if after is None else {"Retry-After": after})]
    async with Provider(lambda _: answers.pop() if answers else None).serving() as on:
        await on.until(recheck.PACE_S)
        began = on.now_s
        while len(on.asked) == 1:
            await on.until(on.now_s + recheck.PACE_S)
        assert least_s <= on.now_s - began <= most_s


async def test_a_locked_store_is_read_again_later() -> None:
    async with Provider(lambda _: None).serving() as on:
        on.locked = 3
        assert await on.until(3600) == on.ids
        assert (on.reads, on.errors) == (4, 0)
