"""WikimediaSource against FakeEventStreams: the real client over HTTP, days of the server's time."""

import asyncio
import contextlib
import itertools
import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.domain import errors, post
from bot.ingest import wikimedia
from bot.ingest.source import State
from tests.fakes import wikimedia as fakes
from tests.fakes.wikimedia import START, FakeEventStreams, Garbage, Heartbeats, Page, Refuse

ENOUGH = timedelta(minutes=10)


@pytest.fixture
async def fake() -> AsyncIterator[FakeEventStreams]:
    async with FakeEventStreams() as server:
        yield server
        assert server.unfired() == []


class Pause:
    """Stands in for asyncio.sleep: the server's time passes."""

    def __init__(self, fake: FakeEventStreams) -> None:
        self.fake = fake
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.fake.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)


def make_source(fake: FakeEventStreams, **settings: Any) -> wikimedia.WikimediaSource:
    defaults: dict[str, Any] = {
        "wikis": ["enwiki"],
        "contact": "ada@example.org",
        "rng": random.Random(1),
        "clock": lambda: fake.now,
        "monotonic": lambda: fake.now.timestamp(),
        "sleep": Pause(fake),
    }
    settings = defaults | settings
    return wikimedia.WikimediaSource("wikimedia", settings.pop("url", fake.url), **settings)


async def read(
    source: wikimedia.WikimediaSource, after: str | None, fake: FakeEventStreams, until: datetime, *, most: int = 9999
) -> Any:
    """What it yields until the server's time is ``until``, at ``most`` so many; also the last cursor."""
    found, cursor = [], after
    async with asyncio.timeout(60), contextlib.aclosing(source.posts(after)) as posts:
        async for arrival in posts:
            cursor = arrival.cursor
            if not isinstance(arrival.item, post.Mark):
                found.append(arrival)
            if arrival.at >= until or len(found) == most:
                break
    return found, cursor


def burst(fake: FakeEventStreams, title: str, begins: datetime, edits: int = 6) -> None:
    for number in range(edits):
        fake.emit(
            fakes.change(
                at=begins + timedelta(minutes=number),
                number=len(fake.events) + 1,
                title=title,
                user=f"Editor {number % 3}",
            )
        )


def tick(fake: FakeEventStreams, at: datetime) -> None:
    """Some change that does not count: the stream is never silent."""
    fake.emit(fakes.change(at=at, number=len(fake.events) + 1, bot=True, title="An invented list"))


def a_stream(fake: FakeEventStreams, days: float, seed: int = 7) -> None:
    """Bursts and ordinary edits of invented articles, in order of time."""
    rng = random.Random(seed)
    events = []
    for minute in range(int(days * 24 * 60)):
        at = START + timedelta(minutes=minute)
        events.append((at, "An invented list", "Robot", True))
        if rng.random() < 0.5:
            events.append((at + timedelta(seconds=rng.random() * 50), f"Town {rng.randrange(40)}", "Ann", False))
        if rng.random() < 0.01:
            title, lasts = f"Event {minute}", rng.randrange(3, 40)
            events += [
                (at + timedelta(minutes=rng.random() * lasts), title, f"Editor {rng.randrange(6)}", False)
                for _ in range(rng.randrange(4, 30))
            ]
    for at, title, user, bot in sorted(events):
        fake.emit(fakes.change(at=at, number=len(fake.events) + 1, title=title, user=user, bot=bot))


def expected(fake: FakeEventStreams) -> list[str]:
    """The ids of the bursts in what the server has emitted, counted in another way: page by page."""
    pages: dict[str, list[tuple[datetime, str]]] = {}
    for event in fake.events:
        raw = wikimedia.msgspec.json.decode(event.data)
        at = event.at.replace(microsecond=event.at.microsecond // 1000 * 1000)
        if not raw["bot"] and event.at <= fake.now:
            pages.setdefault(f"{raw['wiki']}:{raw['title']}", []).append((at, raw["user"]))
    found = []
    for page, edits in pages.items():
        told_until: datetime | None = None
        for number, (at, _) in enumerate(edits):
            within = [edit for edit in edits[: number + 1] if at - edit[0] <= timedelta(minutes=10)]
            if told_until is not None and at - told_until <= ENOUGH:
                told_until = at
            elif len(within) >= 5 and len({user for _, user in within}) >= 3:
                told_until = at
                found.append(f"{page.replace(' ', '_')}:{int(within[0][0].timestamp())}")
    return sorted(found)


def ids(arrivals: list[post.Arrival]) -> list[str]:
    return sorted(arrival.item.id for arrival in arrivals if isinstance(arrival.item, post.Post))


async def test_a_burst_becomes_one_post(fake: FakeEventStreams) -> None:
    burst(fake, "Port Calder explosion", START + timedelta(minutes=1))
    tick(fake, START + timedelta(minutes=14))
    source = make_source(fake)
    (arrival,), _ = await read(source, None, fake, START + timedelta(minutes=14))
    assert arrival.item.text == "Many editors are changing the article “Port Calder explosion”"
    assert arrival.at == arrival.item.created_at == START + timedelta(minutes=5)
    assert source.health.state is State.LIVE
    request = fake.requests[0]
    assert "ada@example.org" in request.headers["User-Agent"]
    assert "since" not in request.query


async def test_a_restarted_source_counts_again_and_tells_of_nothing_twice(fake: FakeEventStreams) -> None:
    burst(fake, "Port Calder", START + timedelta(minutes=1), edits=10)
    tick(fake, START + timedelta(minutes=29))
    (first,), cursor = await read(make_source(fake), None, fake, START + timedelta(minutes=5))
    found, _ = await read(make_source(fake), cursor, fake, START + timedelta(minutes=29))
    assert found == []
    assert fake.requests[-1].query["since"] == "2031-05-14T11:54:30.000Z"
    assert first.cursor == cursor


async def test_a_burst_whose_beginning_was_read_before_the_restart_is_told(fake: FakeEventStreams) -> None:
    burst(fake, "Port Calder", START + timedelta(minutes=1), edits=10)
    tick(fake, START + timedelta(minutes=29))
    found, cursor = await read(make_source(fake), None, fake, START + timedelta(minutes=3))
    assert found == []
    (arrival,), _ = await read(make_source(fake), cursor, fake, START + timedelta(minutes=29))
    assert arrival.item.id == f"enwiki:Port_Calder:{int(START.timestamp()) + 60}"


async def test_an_event_from_the_future_is_dropped_and_moves_no_cursor(fake: FakeEventStreams) -> None:
    tick(fake, START + timedelta(minutes=4))
    tomorrow = fakes.change(at=START + timedelta(days=1), number=9_999).data
    fake.script(Garbage(b"data: " + tomorrow + b"\n\n"))
    source = make_source(fake)
    async with asyncio.timeout(10), contextlib.aclosing(source.posts(None)) as posts:
        first = await anext(posts)
    assert wikimedia.Position.parse(first.cursor).at < START + timedelta(minutes=5)
    assert source.health.dropped == 1


async def test_two_days_without_a_service_are_a_gap(fake: FakeEventStreams) -> None:
    a_stream(fake, days=3)
    _, cursor = await read(make_source(fake), None, fake, START + timedelta(hours=2))
    stopped_at = wikimedia.Position.parse(cursor).at
    fake.now = START + timedelta(days=2, hours=2)
    source = make_source(fake)
    found, _ = await read(source, cursor, fake, START + timedelta(days=2, hours=2))
    gap = found[0].item
    assert isinstance(gap, post.Gap)
    assert (gap.since, gap.until) == (stopped_at, START + timedelta(days=1, hours=20))
    assert [each for each in found[1:] if isinstance(each.item, post.Gap)] == []
    assert ids(found[1:]) == [each for each in expected(fake) if each in ids(found)]


async def test_what_the_server_keeps_no_more_is_a_gap(fake: FakeEventStreams) -> None:
    a_stream(fake, days=1)
    _, cursor = await read(make_source(fake), None, fake, START + timedelta(hours=2))
    fake.kept = timedelta(hours=1)
    fake.now += timedelta(hours=4)
    found, _ = await read(make_source(fake), cursor, fake, fake.now)
    gap = found[0].item
    assert isinstance(gap, post.Gap)
    assert gap.until is not None
    assert abs(gap.until - (fake.now - fakes.LASTS - timedelta(hours=1))) < timedelta(minutes=2)


async def test_a_day_without_the_server_is_a_gap_like_one_without_a_service(fake: FakeEventStreams) -> None:
    a_stream(fake, days=1.2)
    source = make_source(fake)
    async with asyncio.timeout(60), contextlib.aclosing(source.posts(None)) as posts:
        await anext(posts)
        fake.script(Refuse(503, away=timedelta(days=1)))
        gap = await anext(each async for each in posts if isinstance(each.item, post.Gap))
    assert isinstance(gap.item, post.Gap)
    assert gap.item.reason == wikimedia.NOT_ASKED
    assert "Last-Event-ID" not in fake.requests[-1].headers


async def test_what_a_known_event_id_does_not_bring_back_is_a_gap(fake: FakeEventStreams) -> None:
    a_stream(fake, days=0.5)
    source = make_source(fake)
    async with asyncio.timeout(60), contextlib.aclosing(source.posts(None)) as posts:
        await anext(posts)
        fake.kept = timedelta(0)
        fake.script(Refuse(503, away=timedelta(hours=2)))
        gap = await anext(each async for each in posts if isinstance(each.item, post.Gap))
    assert isinstance(gap.item, post.Gap)
    assert gap.item.reason == wikimedia.NOT_KEPT
    assert "Last-Event-ID" in fake.requests[-1].headers


async def test_a_clock_that_was_ahead_at_the_start_makes_no_gap(fake: FakeEventStreams) -> None:
    burst(fake, "Port Calder", START + timedelta(minutes=12))
    for minute in range(40):
        tick(fake, START + timedelta(minutes=minute))
    fake.events.sort(key=lambda each: each.at)
    _, cursor = await read(make_source(fake), None, fake, START + timedelta(minutes=13))
    source = make_source(fake, clock=lambda: fake.now + timedelta(days=3))
    found, _ = await read(source, cursor, fake, START + timedelta(minutes=39))
    assert [each.item.id for each in found] == [f"enwiki:Port_Calder:{int(START.timestamp()) + 720}"]
    assert "this machine's clock was ahead" in (source.health.last_error or "")


async def test_a_clock_that_was_behind_for_an_hour_loses_nothing(fake: FakeEventStreams) -> None:
    for minute in range(180):
        tick(fake, START + timedelta(minutes=minute))
    burst(fake, "Port Calder", START + timedelta(minutes=50))
    fake.events.sort(key=lambda each: each.at)
    _, cursor = await read(make_source(fake), None, fake, START + timedelta(minutes=10))
    right_at = START + timedelta(minutes=80)
    source = make_source(fake, clock=lambda: fake.now - (timedelta(hours=5) if fake.now < right_at else timedelta(0)))
    found, _ = await read(source, cursor, fake, START + timedelta(minutes=170))
    assert [each.item.id for each in found] == [f"enwiki:Port_Calder:{int(START.timestamp()) + 3000}"]
    assert source.health.dropped > 0


@pytest.mark.parametrize("hours", [9, -9])
async def test_a_stretch_in_which_the_server_s_times_are_wrong_is_a_gap(fake: FakeEventStreams, hours: int) -> None:
    wrong = range(40, 100)
    for minute in range(150):
        at = START + timedelta(minutes=minute)
        stamp = at + (timedelta(hours=hours) if minute in wrong else timedelta(0))
        fake.emit(fakes.change(at=at, number=minute + 1, bot=True, dt=stamp.isoformat()))
    (gap,), _ = await read(make_source(fake), None, fake, START + timedelta(minutes=140))
    assert isinstance(gap.item, post.Gap)
    assert (gap.item.since, gap.item.until) == (START + timedelta(minutes=39), START + timedelta(minutes=100))
    assert gap.item.reason == wikimedia.NOT_PLACED


def before_each(*times: datetime) -> Garbage:
    """Events of these times before each of the others."""
    told = [fakes.change(at=at, number=9_000 + number, bot=True).data for number, at in enumerate(times)]
    return Garbage(b"".join(b"data: " + data + b"\n\n" for data in told))


def hours_of_ticks(fake: FakeEventStreams, hours: float) -> None:
    for minute in range(int(hours * 60)):
        tick(fake, START + timedelta(minutes=minute))


def with_a_burst(fake: FakeEventStreams, hours: float) -> str:
    """Its id."""
    burst(fake, "Port Calder", START + timedelta(hours=hours))
    fake.events.sort(key=lambda each: each.at)
    return f"enwiki:Port_Calder:{int((START + timedelta(hours=hours)).timestamp())}"


async def test_a_time_that_was_believed_while_our_clock_was_ahead_silences_nothing(fake: FakeEventStreams) -> None:
    hours_of_ticks(fake, 4)
    told = with_a_burst(fake, 3)
    right_at = START + timedelta(minutes=50)
    ahead = timedelta(hours=10)
    fake.script(before_each(START + ahead), at=START + timedelta(minutes=30))
    source = make_source(fake, clock=lambda: fake.now + (ahead if fake.now < right_at else timedelta(0)))
    (until_then, gap, found), cursor = await read(source, None, fake, START + timedelta(hours=30), most=3)
    assert until_then.item.until == START + ahead
    assert gap.item.reason == wikimedia.WAS_AHEAD
    assert gap.item.since == until_then.item.since == START + timedelta(minutes=15)
    assert right_at - ENOUGH < gap.item.until < right_at
    assert found.item.id == told
    assert wikimedia.Position.parse(cursor).at < START + timedelta(hours=4)


async def test_a_cursor_that_lies_ahead_silences_nothing_after_a_restart(fake: FakeEventStreams) -> None:
    hours_of_ticks(fake, 2)
    told = with_a_burst(fake, 1)
    ahead = START + timedelta(hours=10)
    cursor = wikimedia.Position(at=ahead, told={"enwiki:Port Calder": ahead}, untold=ahead).cursor
    (gap, found), cursor = await read(make_source(fake), cursor, fake, ahead, most=2)
    assert gap.item.since is None
    assert gap.item.until < START + timedelta(minutes=20)
    assert found.item.id == told
    assert wikimedia.Position.parse(cursor).at < START + timedelta(hours=2)


async def test_a_time_that_was_believed_counts_no_more_when_hours_of_others_follow(fake: FakeEventStreams) -> None:
    hours_of_ticks(fake, 6)
    told = with_a_burst(fake, 5)
    fake.script(before_each(START + timedelta(hours=10)))
    source = make_source(fake, clock=lambda: fake.now + timedelta(hours=10))
    with capture_logs() as logs:
        (gap, found), _ = await read(source, None, fake, START + timedelta(hours=30), most=2)
    assert START + timedelta(hours=3) < gap.item.until < START + timedelta(hours=3.5)
    assert found.item.id == told
    assert any("none of them is counted" in str(entry.get("error")) for entry in logs)


@pytest.mark.parametrize(
    ("old", "asked"),
    [([1], ["2031-05-16T07:49:30.000Z"]), ([1, 2, 43, 3, 4], ["2031-05-16T07:49:30.000Z", "2031-05-16T00:49:30.000Z"])],
    ids=["one", "several"],
)
async def test_old_events_at_the_start_of_an_answer_make_it_read_nothing_old(
    fake: FakeEventStreams, old: list[int], asked: list[str]
) -> None:
    hours_of_ticks(fake, 60)
    _, cursor = await read(make_source(fake), None, fake, START + timedelta(minutes=9))
    fake.now = START + timedelta(hours=50)
    fake.script(before_each(*(START + timedelta(hours=hour) for hour in old)))
    begins = len(fake.requests)
    (gap, *_), _ = await read(make_source(fake), cursor, fake, fake.now, most=1)
    assert [request.query["since"] for request in fake.requests[begins:]] == asked
    assert gap.item.since == START + timedelta(minutes=9)
    assert gap.item.reason == wikimedia.NOT_ASKED


async def test_a_burst_that_an_edit_completes_which_came_late_is_told_after_a_restart(fake: FakeEventStreams) -> None:
    burst(fake, "Port Calder", START + timedelta(minutes=1), edits=4)
    tick(fake, START + timedelta(minutes=8, seconds=5))
    late = fakes.change(at=START + timedelta(minutes=8), number=900, title="Port Calder", user="Ann")
    fake.emit(fakes.Event(at=START + timedelta(minutes=8, seconds=6), data=late.data))
    tick(fake, START + timedelta(minutes=29))
    _, cursor = await read(make_source(fake), None, fake, START + timedelta(minutes=8, seconds=5))
    (arrival,), _ = await read(make_source(fake), cursor, fake, START + timedelta(minutes=29))
    assert arrival.item.id.startswith("enwiki:Port_Calder:")


@pytest.mark.parametrize("event_id", [b"9" * 100_000, b"\x01", "é".encode(), b""], ids=["long", "control", "é", "none"])
async def test_an_event_id_that_cannot_go_back_is_replaced_by_a_time(fake: FakeEventStreams, event_id: bytes) -> None:
    for minute in range(60):
        tick(fake, START + timedelta(minutes=minute))
    told = fakes.change(at=START + timedelta(minutes=14), number=900, bot=True).data
    source = make_source(fake)
    async with asyncio.timeout(20), contextlib.aclosing(source.posts(None)) as posts:
        fake.script(Garbage(b"", after=b"id: " + event_id + b"\ndata: " + told + b"\n\n"))
        await anext(each async for each in posts if each.at > START + timedelta(minutes=20))
    assert "since" in fake.requests[1].query
    assert "Last-Event-ID" not in fake.requests[1].headers


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Refuse(302, {"Location": "http://127.0.0.1:9/"}), "refused us (302)"),
        (Page(), "something else than a stream of events"),
        (Heartbeats(), "did not answer in time"),
    ],
    ids=["elsewhere", "page", "heartbeats"],
)
async def test_what_is_no_stream_of_edits_is_said_and_tried_again(
    fake: FakeEventStreams, fault: fakes.Fault, said: str
) -> None:
    for minute in range(30):
        tick(fake, START + timedelta(minutes=minute))
    fake.script(fault)
    errors_said: list[str | None] = []

    async def sleep(seconds: float) -> None:
        errors_said.append(source.health.last_error)
        await Pause(fake)(seconds)

    source = make_source(fake, silent_s=0.3, sleep=sleep)
    await read(source, None, fake, START + timedelta(minutes=20))
    assert said in (errors_said[0] or "")


async def test_an_event_id_that_the_server_refuses_is_replaced_by_a_time(fake: FakeEventStreams) -> None:
    a_stream(fake, days=0.5)
    source = make_source(fake)
    async with contextlib.aclosing(source.posts(None)) as posts:
        async for arrival in posts:
            if arrival.at > START + timedelta(minutes=14):
                break
        fake.script(Refuse(400))
        found = [arrival]
        async for arrival in posts:
            found.append(arrival)
            if arrival.at > START + timedelta(hours=2):
                break
    assert "since" in fake.requests[2].query
    assert "Last-Event-ID" not in fake.requests[2].headers


async def test_the_end_after_fifteen_minutes_is_no_trouble(fake: FakeEventStreams) -> None:
    for minute in range(60):
        tick(fake, START + timedelta(minutes=minute))
    looks = itertools.count(0.0, fakes.LASTS.total_seconds())
    source = make_source(fake, monotonic=lambda: next(looks))
    await read(source, None, fake, START + timedelta(minutes=40))
    assert source.health.last_error is None
    assert len(fake.requests) >= 3
    assert all("Last-Event-ID" in request.headers for request in fake.requests[1:])


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://no-such-host.invalid/", "cannot be resolved"),
        ("https://127.0.0.1:{port}/", "127.0.0.1"),
        ("http://127.0.0.1:{port}/nothing", "refused us (404)"),
    ],
)
async def test_what_cannot_be_reached_is_said_and_tried_again(fake: FakeEventStreams, url: str, said: str) -> None:
    port = fake.url.split(":")[2].split("/")[0]
    tried = asyncio.Event()

    async def sleep(_: float) -> None:
        tried.set()
        await asyncio.sleep(0.001)

    source = make_source(fake, url=url.format(port=port), sleep=sleep)
    async with asyncio.timeout(30), contextlib.aclosing(source.posts(None)) as posts:
        reading = asyncio.create_task(anext(posts))
        await tried.wait()
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
    assert said in (source.health.last_error or "")
    assert source.health.remedy


async def test_a_cursor_of_another_source_is_refused(fake: FakeEventStreams) -> None:
    with pytest.raises(errors.UsageError, match="was the source renamed"):
        await anext(make_source(fake).posts("1783175888085434"))
