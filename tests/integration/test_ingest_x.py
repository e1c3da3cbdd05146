"""XSource against FakeX: the real client, a real stream, rules and lookups."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from bot import app, config
from bot.domain import errors, post
from bot.ingest import x, x_reading
from bot.ingest.source import State
from tests.fakes import streaming
from tests.fakes import x as fakes
from tests.fakes.streaming import Break, Endless, Nameless, Refuse, Untrusted

SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)
STREAM = "/2/tweets/search/stream"
RULES = STREAM + "/rules"
LOOKUP = "/2/tweets"
RULE = {"id": "1", "value": "fire lang:en", "tag": "tocsin"}


@pytest.fixture
async def fake() -> AsyncIterator[fakes.FakeX]:
    async with fakes.FakeX(streaming.Time(), backfill=True) as server:
        yield server
        assert server.script.left == []


def make_source(fake: fakes.FakeX, **settings: Any) -> x.XSource:
    defaults: dict[str, Any] = {
        "token": fakes.TOKEN,
        "rules": ["fire lang:en"],
        "connector": streaming.connector(fake.script),
        "clock": fake.time.clock,
        "monotonic": fake.time.monotonic,
        "sleep": fake.time.sleep,
        "silence_s": 5.0,
    }
    stored = settings.pop("stored", None)
    source = x.XSource("x", settings.pop("url", fake.url), **defaults | settings)
    if stored is not None:
        source.recheck(stored)
    return source


def keeping(*ids: str) -> Callable[[], Awaitable[Sequence[str]]]:
    async def stored() -> Sequence[str]:
        return ids

    return stored


class Reading:
    """``async with Reading(source)``: connected; ``await reading.next()`` is the next arrival that is no Mark."""

    def __init__(self, source: x.XSource, after: str | None = None) -> None:
        self._source = source
        self._after = after

    async def __aenter__(self) -> "Reading":
        self._posts = self._source.posts(self._after)
        self._first: asyncio.Task[post.Arrival] | None = asyncio.create_task(anext(self._posts))
        health = self._source.health
        while not self._first.done() and health.state is not State.LIVE and health.last_error is None:
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._first is not None:
            self._first.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._first
        await self._posts.aclose()

    async def arrival(self) -> post.Arrival:
        async with asyncio.timeout(10):
            while True:
                waiting, self._first = self._first, None
                arrival = await (waiting or anext(self._posts))
                if not isinstance(arrival.item, post.Mark):
                    return arrival

    async def next(self) -> Any:
        return (await self.arrival()).item


def ms(after: timedelta = timedelta(0)) -> str:
    return str(int((streaming.START + after).timestamp() * 1000))


@contextlib.asynccontextmanager
async def ticking(fake: fakes.FakeX, every: timedelta = 20 * SECOND) -> AsyncIterator[None]:
    """Meanwhile the time goes on, from keep-alive to keep-alive."""

    async def tick() -> None:
        while True:
            fake.time.advance_to(fake.time.now + every)
            fake.time.looked.clear()
            fake.say(b"")
            await fake.time.looked.wait()

    clock = asyncio.create_task(tick(), name="ticking")
    try:
        yield
    finally:
        clock.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await clock


def heard(arrival: post.Arrival) -> str:
    """Until when all was heard, as its cursor says."""
    return arrival.cursor.partition(":")[0]


async def test_a_line_arrives_as_a_post(fake: fakes.FakeX) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        first = fake.post(
            "Cut short …",
            lang="in",
            note_tweet={"text": "Smoke over the invented harbour & sirens"},
            referenced_tweets=[{"type": "replied_to", "id": "42"}],
            geo={"coordinates": {"type": "Point", "coordinates": [-8.6, 41.1]}},
            attachments={"media_keys": ["3_1"]},
            includes={
                "users": [{"id": "1001", "username": "invented", "verified_type": "government"}],
                "media": [
                    {"media_key": "3_1", "url": "https://img.example/1.jpg"},
                    {"media_key": "3_2", "url": "https://x.y"},
                ],
            },
        )
        item = await reading.next()
        fake.post(
            "RT @invented: Smo…",
            referenced_tweets=[{"type": "retweeted", "id": first}],
            includes={"tweets": [{"id": first, "text": "Smoke in full"}]},
        )
        again = await reading.next()
    assert (item.provider, item.id, item.author, item.langs) == ("x", first, "1001", ("id",))
    assert (item.text, item.reply_to, item.verified) == ("Smoke over the invented harbour & sirens", "42", True)
    assert (item.lat, item.lon, item.media) == (41.1, -8.6, ("https://img.example/1.jpg",))
    assert (item.url, item.created_at) == (f"https://x.com/i/web/status/{first}", streaming.START)
    assert (again.text, again.repost_of, again.verified) == ("Smoke in full", first, False)


async def test_an_edit_takes_its_older_versions_back(fake: fakes.FakeX) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        old = fake.post("first words")
        new = fake.edit(old, "second words")
        fake.post("withheld", withheld={"copyright": True, "country_codes": ["XX"]})
        fake.post("the end")
        items = [await reading.next() for _ in range(4)]
    assert [(type(item), item.id) for item in items[:3]] == [(post.Post, old), (post.Deletion, old), (post.Post, new)]
    assert (items[3].text, source.health.skipped) == ("the end", 1)


async def test_an_edit_that_only_others_asked_for_takes_the_older_version_back_too(fake: fakes.FakeX) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        old = fake.post("Smoke over the harbour")
        assert (await reading.next()).id == old
        fake.post("nothing to see", rule="theirs", edit_history_tweet_ids=[old])
        fake.post("the end")
        gone, end = [await reading.next() for _ in range(2)]
    assert isinstance(gone, post.Deletion)
    assert (gone.id, end.text, source.health.skipped) == (old, "the end", 1)


async def test_an_outage_without_backfill_is_a_gap(fake: fakes.FakeX) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        fake.post("before")
        before = await reading.arrival()
        fake.script.add(Break(), *[Refuse(path=STREAM, status=503) for _ in range(2)])
        fake.post("lost")
        gap = await reading.arrival()
        fake.post("after")
        after = await reading.arrival()
    assert isinstance(gap.item, post.Gap)
    assert x_reading.LATE <= streaming.START - gap.item.since <= x_reading.LATE + x_reading.DATED
    assert gap.item.until == streaming.START + timedelta(seconds=15) + x_reading.DATED
    assert heard(before) == ms()
    assert heard(gap) == heard(after) == ms(timedelta(seconds=15))
    assert isinstance(after.item, post.Post)
    assert after.item.text == "after"


async def test_a_restart_is_a_gap_from_the_cursor_on(fake: fakes.FakeX) -> None:
    fake.rules = [RULE]
    async with Reading(make_source(fake), ms(-60 * MINUTE)) as reading:
        gap = await reading.next()
    assert gap.since == streaming.START - 60 * MINUTE - x_reading.LATE
    assert gap.until == streaming.START + x_reading.DATED
    assert gap.reason == "not connected"


async def test_backfill_closes_a_short_outage(fake: fakes.FakeX) -> None:
    source = make_source(fake, backfill_minutes=5)
    async with Reading(source) as reading:
        fake.post("before")
        await reading.next()
        fake.script.add(Break(), *[Refuse(path=STREAM, status=503) for _ in range(4)])
        fake.post("meanwhile")
        first = await reading.arrival()
        fake.post("after")
        items = [first.item, await reading.next()]
    assert [item.text for item in items if isinstance(item, post.Post)] == ["meanwhile", "after"]
    assert ms(-SECOND) <= heard(first) <= ms(), (
        "until the backfill is through, a crash goes back to where the outage began"
    )
    assert fake.asked(STREAM)[-1]["backfill_minutes"] == "2"
    assert fake.time.slept == [0.25, 5.0, 10.0, 20.0, 40.0]


async def test_backfill_leaves_a_gap_before_its_reach(fake: fakes.FakeX) -> None:
    fake.rules = [RULE]
    async with Reading(make_source(fake, backfill_minutes=5), ms(-60 * MINUTE)) as reading:
        gap = await reading.arrival()
        fake.post("now")
        item = await reading.next()
    assert isinstance(gap.item, post.Gap)
    assert gap.item.since == streaming.START - 60 * MINUTE - x_reading.LATE
    assert gap.item.until == streaming.START - 5 * MINUTE + x_reading.DATED
    assert heard(gap) == ms(-5 * MINUTE)
    assert item.text == "now"


async def test_an_answer_that_says_no_and_never_ends_is_given_up(fake: fakes.FakeX) -> None:
    fake.script.add(Endless(path=STREAM, exactly=True))
    source = make_source(fake, silence_s=0.2)
    async with Reading(source) as reading:
        while source.health.state is not State.LIVE:
            await asyncio.sleep(0)
        fake.post("now")
        assert (await reading.next()).text == "now"
    assert fake.time.slept == [0.25]
    assert source.health.last_error is not None
    assert "did not answer in time" in source.health.last_error


async def test_each_class_of_errors_waits_in_its_own_way(fake: fakes.FakeX) -> None:
    reset = str(int(streaming.START.timestamp()) + 700)
    fake.script.add(
        *[Nameless() for _ in range(3)],
        *[Refuse(path=RULES, status=500) for _ in range(8)],
        *[Refuse(path=STREAM, status=429) for _ in range(2)],
        Refuse(path=STREAM, status=429, headers={"Retry-After": "7"}),
    )
    source = make_source(fake)
    async with Reading(source):
        while source.health.state is not State.LIVE or fake.script.left:
            await asyncio.sleep(0)
    assert fake.time.slept == [0.25, 0.5, 0.75, 5, 10, 20, 40, 80, 160, 320, 320, 60, 120, 7]

    fake.time.slept.clear()
    late = str(int(fake.time.now.timestamp()) + 333)
    fake.script.add(
        Refuse(path=STREAM, status=429, headers={"x-rate-limit-remaining": "0", "x-rate-limit-reset": late}),
        Refuse(path=STREAM, status=429, headers={"x-rate-limit-remaining": "9", "x-rate-limit-reset": reset}),
    )
    source = make_source(fake)
    async with Reading(source):
        while source.health.state is not State.LIVE or fake.script.left:
            await asyncio.sleep(0)
    assert fake.time.slept == [pytest.approx(333, abs=1), 120]


async def test_the_end_of_a_stream_is_said_in_its_own_words(fake: fakes.FakeX) -> None:
    source = make_source(fake)
    problem = {"title": "operational-disconnect", "disconnect_type": "UpstreamOperationalDisconnect"}
    async with Reading(source) as reading:
        fake.say(json.dumps({"errors": [problem | {"type": f"{fakes.PROBLEMS}/operational-disconnect"}]}).encode())
        assert isinstance(await reading.next(), post.Gap)
        assert "ended the stream (UpstreamOperationalDisconnect)" in (source.health.last_error or "")
        fake.say(json.dumps({"errors": [{"title": "ConnectionException", "type": "x"}]}).encode())
        assert isinstance(await reading.next(), post.Gap)
    assert fake.time.slept == [0.25, 5.0]


@pytest.mark.parametrize(
    ("settings", "what", "remedy"),
    [
        ({"token": "wrong"}, "refused us (401): Unauthorized", "set token of [[source]] x"),
        ({"url": "https://127.0.0.1:{port}"}, "no encryption that can be trusted", "certificates"),
    ],
)
async def test_what_is_wrong_is_said_with_a_remedy(
    settings: dict[str, str], what: str, remedy: str, fake: fakes.FakeX
) -> None:
    settings = {key: value.format(port=fake.port) for key, value in settings.items()}
    source = make_source(fake, **settings)
    async with Reading(source):
        pass
    assert what in (source.health.last_error or "")
    assert remedy in (source.health.remedy or "")


async def test_a_second_connection_is_named(fake: fakes.FakeX) -> None:
    first, second = make_source(fake), make_source(fake)
    async with Reading(first), Reading(second):
        pass
    assert "(429): TooManyConnections" in (second.health.last_error or "")


async def test_what_is_no_post_is_dropped_and_counted(fake: fakes.FakeX) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        for line in (b"{not json", b"[]", b'{"data": {"id": "../1"}}', b"\x00\xff", b"x" * 3_000_000):
            fake.say(line)
        fake.post("after")
        assert (await reading.next()).text == "after"
        fake.post("later")
        await reading.next()
    assert source.health.dropped == 5


@pytest.mark.parametrize("cursor", ["", "x", "5@5", "9" * 30, "5:a", "5:1:2:3:4:5", "5:::" + "9" * 19])
async def test_a_foreign_cursor_is_refused(cursor: str, fake: fakes.FakeX) -> None:
    with pytest.raises(errors.UsageError, match="none of X's"):
        await anext(make_source(fake).posts(cursor))


async def test_a_mark_says_how_far_it_has_heard(fake: fakes.FakeX) -> None:
    async with contextlib.aclosing(make_source(fake).posts(ms())) as reading, ticking(fake):
        async with asyncio.timeout(10):
            while not isinstance((arrival := await anext(reading)).item, post.Mark):
                pass
    assert int(heard(arrival)) >= int(ms(timedelta(minutes=5)))


def test_the_configuration_builds_it() -> None:
    settings = config.Config.model_validate({"source": [
        {"type": "x", "token": "t", "rules": ["fire"], "accept_terms": True, "backfill_minutes": 5},
        {"type": "mastodon", "token": "t", "url": "https://mastodon.example", "local": True},
    ]})  # fmt: skip
    built = app.build_sources(settings.source)
    assert [(source.name, source.provider, source.live) for source in built] == [
        ("x", "x", True),
        ("mastodon", "mastodon", True),
    ]


# Clocks, restarts and backfill.


async def test_where_the_first_connection_began_is_kept_at_once(fake: fakes.FakeX) -> None:
    async with contextlib.aclosing(make_source(fake).posts(None)) as reading:
        first = await anext(reading)
    assert isinstance(first.item, post.Mark)
    assert heard(first) == ms()


@pytest.mark.parametrize("wrong", [-60 * MINUTE, 60 * MINUTE])
async def test_a_restart_while_our_clock_is_wrong_is_the_same_gap(wrong: timedelta, fake: fakes.FakeX) -> None:
    fake.time.jump(wrong)
    async with Reading(make_source(fake)) as reading:
        fake.post("before")
        before = await reading.arrival()
    assert heard(before) == ms()
    fake.time.jump(-wrong / 2)
    fake.time.advance_to(streaming.START + 2 * MINUTE)
    async with Reading(make_source(fake), before.cursor) as reading:
        gap = await reading.next()
    assert gap.since == streaming.START - x_reading.LATE
    assert gap.until == streaming.START + 2 * MINUTE + x_reading.DATED


async def test_a_cursor_from_the_future_is_a_gap_since_nobody_knows_when(fake: fakes.FakeX) -> None:
    async with Reading(make_source(fake), ms(60 * MINUTE)) as reading:
        gap = await reading.arrival()
    assert isinstance(gap.item, post.Gap)
    assert (gap.item.since, gap.item.until) == (None, streaming.START + x_reading.DATED)
    assert heard(gap) == ms()


@pytest.mark.parametrize("wrong", [-60 * MINUTE, 60 * MINUTE])
@pytest.mark.parametrize("whose", ["ours", "theirs"])
async def test_a_kill_in_the_middle_of_a_backfill_goes_back_to_the_outage_whatever_clocks_say(
    wrong: timedelta, whose: str, fake: fakes.FakeX
) -> None:
    async with Reading(make_source(fake, backfill_minutes=5)) as reading:
        fake.post("before")
        before = await reading.arrival()
    if whose == "ours":
        fake.time.jump(wrong)
    else:
        fake.skewed = wrong
    for number in range(3):
        fake.time.advance_to(fake.time.now + MINUTE)
        fake.post(f"meanwhile {number}")
    async with Reading(make_source(fake, backfill_minutes=5), before.cursor) as reading:
        fake.say(b"")
        arrivals = [await reading.arrival() for _ in range(3)]
    assert {heard(arrival) for arrival in arrivals} == {heard(before)}
    async with Reading(make_source(fake, backfill_minutes=5), arrivals[0].cursor) as reading:
        items = [await reading.next() for _ in range(4)]
    assert [item.text for item in items] == ["before", "meanwhile 0", "meanwhile 1", "meanwhile 2"]


async def test_what_is_still_on_its_way_when_the_inbox_is_full_is_not_heard(fake: fakes.FakeX) -> None:
    async with Reading(make_source(fake)) as reading:
        fake.post("taken")
        await reading.next()
        fake.time.advance_to(streaming.START + MINUTE)
        fake.post("on its way")
        fake.time.advance_to(streaming.START + 3 * MINUTE)
        late = await reading.arrival()
        fake.post("now")
        now = await reading.arrival()
    assert heard(late) == ms(), "after a kill here, the gap begins before it"
    assert heard(now) == ms(MINUTE), "and goes on with what was read, since more may lie in a buffer"


async def test_a_connection_that_still_counts_after_a_kill_is_waited_for(fake: fakes.FakeX) -> None:
    fake.lingers = 90 * SECOND
    async with Reading(make_source(fake)) as reading:
        fake.post("before")
        before = await reading.arrival()
    source = make_source(fake)
    async with Reading(source, before.cursor) as reading:
        gap = await reading.next()
        fake.post("after")
        assert (await reading.next()).text == "after"
    assert "TooManyConnections" in (source.health.last_error or "")
    assert fake.time.slept == [60, 120]
    assert gap.until == streaming.START + 3 * MINUTE + x_reading.DATED


async def test_a_certificate_that_nobody_trusts_is_waited_out() -> None:
    time = streaming.Time()
    async with fakes.FakeX(time, tls=True) as fake:
        assert fake.certificates is not None
        fake.script.add(Untrusted(until=streaming.START + MINUTE))
        source = make_source(fake, connector=streaming.connector(fake.script, fake.certificates.trust))
        async with Reading(source) as reading:
            while source.health.state is not State.LIVE:
                await asyncio.sleep(0)
            fake.post("now")
            assert (await reading.next()).text == "now"
        assert fake.script.left == []
    assert "no encryption that can be trusted" in (source.health.last_error or "")
    assert sum(time.slept) >= 60


# Waiting.


async def test_the_end_of_a_rate_limit_is_by_the_clock_of_x(fake: fakes.FakeX) -> None:
    reset = str(int(streaming.START.timestamp()) + 600)
    fake.time.jump(60 * MINUTE)
    headers = {"x-rate-limit-remaining": "0", "x-rate-limit-reset": reset}
    fake.script.add(Refuse(path=STREAM, status=429, headers=headers))
    source = make_source(fake)
    async with Reading(source):
        while source.health.state is not State.LIVE:
            await asyncio.sleep(0)
    assert fake.time.slept == [600]


async def test_who_is_asked_to_wait_for_no_time_waits_longer_each_time(fake: fakes.FakeX) -> None:
    fake.script.add(*[Refuse(path=STREAM, status=429, headers={"Retry-After": "0"}) for _ in range(6)])
    source = make_source(fake)
    async with Reading(source):
        while source.health.state is not State.LIVE or fake.script.left:
            await asyncio.sleep(0)
    assert fake.time.slept == [1, 2, 4, 8, 16, 16]
