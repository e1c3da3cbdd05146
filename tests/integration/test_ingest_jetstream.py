"""JetstreamSource against FakeJetstream: the real client, the real WebSocket, both protocols."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from yarl import URL

from bot.domain import errors, post
from bot.ingest import jetstream_frames, jetstream_hosts
from bot.ingest.jetstream_position import Stream
from bot.ingest.source import State
from tests import streams
from tests.fakes import sources
from tests.fakes.jetstream_faults import Cut, Drop, EndWith, Fault, Garbage, Refuse, Split, Stall

VERSIONS = pytest.mark.parametrize("version", [1, 2])


@pytest.fixture
async def fake() -> AsyncIterator[sources.FakeJetstream]:
    async with sources.FakeJetstream() as server:
        yield server
        assert server.unfired() == []


@VERSIONS
async def test_posts_arrive_as_posts(version: int, fake: sources.FakeJetstream) -> None:
    event = fake.add_post(
        "Flames over the invented town",
        langs=["en-GB", "en"],
        reply={"parent": {"uri": "at://did:plc:aaa/app.bsky.feed.post/1", "cid": "b"}},
        embed={"$type": "app.bsky.embed.images", "images": [{"alt": "", "image": {"ref": {"$link": "bafyimage"}}}]},
    )
    source = streams.make_source(fake.url(version))
    (arrival,) = await streams.take(source, 1, streams.before_all(version, fake))

    item = arrival.item
    assert isinstance(item, post.Post)
    assert (item.provider, item.id, item.author) == ("bluesky", event.uri, event.did)
    assert item.url == f"https://bsky.app/profile/{event.did}/post/{event.body['rkey']}"
    assert (item.langs, item.repost_of) == (("en",), None)
    assert item.reply_to == "at://did:plc:aaa/app.bsky.feed.post/1"
    assert item.media == (f"https://cdn.bsky.app/img/feed_fullsize/plain/{event.did}/bafyimage",)
    assert item.created_at == datetime(2031, 5, 14, 11, 59, 59, 500_000, UTC)
    assert arrival.at == sources.START + timedelta(milliseconds=10)
    assert source.health.answered


@VERSIONS
async def test_without_a_cursor_it_starts_at_the_present(version: int, fake: sources.FakeJetstream) -> None:
    streams.fill(fake)
    source = streams.make_source(fake.url(version))
    reading = asyncio.create_task(streams.take(source, 1, None))
    while not source.health.answered:
        await asyncio.sleep(0)
    while not fake.sent_by_connection:
        await asyncio.sleep(0)
    fake.add_post("after it began")
    assert streams.texts(await reading) == ["after it began"]
    assert fake.cursors() == [None]


@VERSIONS
@pytest.mark.parametrize(
    "make_fault", [Drop, lambda after: Drop(after, rude=False), Cut], ids=["reset", "close", "cut"]
)
async def test_a_break_at_any_frame_loses_and_repeats_nothing(
    version: int, make_fault: Callable[[int], Fault], fake: sources.FakeJetstream
) -> None:
    expected = streams.fill(fake)
    frames = 12 if version == 1 else 6  # v2 is asked for commits and accounts only, v1 always sends identities
    positions = range(frames) if make_fault is Cut else range(frames + 1)
    for position in positions:
        fake.script(make_fault(position))
        arrivals = await streams.take(streams.make_source(fake.url(version)), 6, streams.before_all(version, fake))
        if fake.faults and position == frames:  # everything had been read before the break came
            fake.faults.clear()
        assert streams.texts(arrivals) == expected, position
        assert not fake.faults


@VERSIONS
async def test_breaks_one_after_the_other_lose_nothing(version: int, fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake)
    fake.script(*(Drop(number) for number in (0, 1, 2, 3, 2)))
    source = streams.make_source(fake.url(version))
    reading = asyncio.create_task(streams.take(source, 7, streams.before_all(version, fake)))
    while fake.faults:
        await asyncio.sleep(0)
    fake.add_post("the last")
    assert streams.texts(await reading) == [*expected, "the last"]
    assert source.health.reconnects > 0


@VERSIONS
async def test_a_new_process_goes_on_after_the_last_cursor(version: int, fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake)
    first = await streams.take(streams.make_source(fake.url(version)), 3, streams.before_all(version, fake))
    rest = await streams.take(streams.make_source(fake.url(version)), 3 if version == 2 else 6, first[-1].cursor)
    if version == 2:
        assert streams.texts(first + rest) == expected
    else:  # a time cursor goes back five seconds; the store knows what comes again
        assert streams.texts(rest) == expected
        assert fake.cursors()[-1] == int(first[-1].cursor) - 5_000_000


@VERSIONS
async def test_a_break_before_the_first_event_does_not_lose_it(version: int, fake: sources.FakeJetstream) -> None:
    clock = lambda: sources.START  # noqa: E731
    fake.script(Drop(0))
    waits = streams.Waits()
    waits.before = lambda: fake.add_post("while we were away")
    source = streams.make_source(fake.url(version), sleep=waits, clock=clock)
    assert streams.texts(await streams.take(source, 1, None)) == ["while we were away"]


@VERSIONS
async def test_deletions_updates_and_accounts(version: int, fake: sources.FakeJetstream) -> None:
    made = fake.add_post("first words", rkey="3kaaa")
    edit = fake.add_update("second words", rkey="3kaaa")
    fake.add_delete(rkey="3kaaa")
    for status in ("deleted", "takendown", "suspended", "deactivated", None):
        fake.add_account(author=2, status=status)
    fake.add_account(author=3, active=True, status=None)
    fake.add_account(author=3, status="desynchronized")
    fake.add_account(author=3, status="throttled")
    fake.add_post("the end")
    arrivals = await streams.take(streams.make_source(fake.url(version)), 10, streams.before_all(version, fake))

    assert streams.texts(arrivals) == ["first words", "second words", "the end"]
    deletions = [arrival.item for arrival in arrivals if isinstance(arrival.item, post.Deletion)]
    assert [item.id for item in deletions] == [made.uri] * 2 + [None] * 5
    assert [item.author for item in deletions] == [None] * 2 + [sources.did(2)] * 5
    assert isinstance(arrivals[1].item, post.Deletion), "the old words go before the new ones come"
    assert isinstance(arrivals[2].item, post.Post)
    assert arrivals[2].item.id == f"{made.uri}#v:{edit.body['rev']}", "a stored post never changes"
    assert {item.provider for item in deletions} == {"bluesky"}


@VERSIONS
async def test_what_is_for_signed_in_readers_only_is_skipped(version: int, fake: sources.FakeJetstream) -> None:
    hidden = {"$type": "com.atproto.label.defs#selfLabels", "values": [{"val": "!no-unauthenticated"}]}
    fake.add_post("not for us", labels=hidden)
    made = fake.add_post("for everybody", rkey="3kaaa", labels={"values": [{"val": "graphic-media"}]})
    fake.add_update("for a few", rkey="3kaaa", labels=hidden)
    fake.add_post("the end")
    fake.script(Drop(3))
    source = streams.make_source(fake.url(version))
    arrivals = await streams.take(source, 3, streams.before_all(version, fake))
    assert streams.texts(arrivals) == ["for everybody", "the end"]
    assert isinstance(arrivals[1].item, post.Deletion)
    assert arrivals[1].item.id == made.uri, "what it said before goes all the same"
    assert (source.health.skipped, source.health.dropped) == (2, 0), "each once, whatever comes again"


@VERSIONS
async def test_identities_syncs_and_accounts_that_are_back_yield_nothing(
    version: int, fake: sources.FakeJetstream
) -> None:
    for number in range(3):
        fake.add_identity(author=number)
        fake.add_sync(author=number)
        fake.add_account(author=number, active=True, status=None)
    fake.add_post("the end")
    source = streams.make_source(fake.url(version))
    assert streams.texts(await streams.take(source, 1, streams.before_all(version, fake))) == ["the end"]
    assert (source.health.dropped, source.health.skipped) == (0, 0)


@VERSIONS
async def test_a_crash_between_the_halves_of_an_update_loses_none(version: int, fake: sources.FakeJetstream) -> None:
    fake.add_post("first words", rkey="3kaaa")
    fake.add_update("second words", rkey="3kaaa")
    half = await streams.take(streams.make_source(fake.url(version)), 2, streams.before_all(version, fake))
    again = await streams.take(streams.make_source(fake.url(version)), 3 if version == 1 else 2, half[-1].cursor)
    assert streams.texts(again)[-1] == "second words"


@VERSIONS
@pytest.mark.parametrize("binary", [False, True])
async def test_garbage_is_counted_and_kills_nothing(version: int, binary: bool, fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake, 3)
    source = streams.make_source(fake.url(version))
    fake.script(Garbage(1, binary=binary))
    assert streams.texts(await streams.take(source, 3, streams.before_all(version, fake))) == expected
    assert source.health.dropped == 1
    assert len(fake.requests) == 1


@VERSIONS
async def test_what_comes_from_the_future_is_taken_as_of_now_and_moves_no_time(
    version: int, fake: sources.FakeJetstream
) -> None:
    streams.fill(fake, 1)
    claim = (sources.START + timedelta(days=1)).isoformat()
    early = [fake.add_post("tomorrow", createdAt=claim), fake.add_delete(rkey="3kaaa")]
    for each in early:
        each.time_us += 86_400_000_000
    source = streams.make_source(fake.url(version))
    arrivals = await streams.take(source, 3, streams.before_all(version, fake))
    now = sources.START + timedelta(minutes=1)
    assert [arrival.at for arrival in arrivals[1:]] == [now, now]
    made, gone = arrivals[1].item, arrivals[2].item
    assert isinstance(made, post.Post)
    assert isinstance(gone, post.Deletion)
    assert (made.created_at, gone.deleted_at) == (now, now)
    assert (source.health.dropped, len(fake.requests)) == (0, 1)
    assert source.health.last_error == f"127.0.0.1:{fake.port} dates its events in the future"


@VERSIONS
async def test_a_break_while_a_server_is_ahead_loses_nothing_and_is_no_gap(
    version: int, fake: sources.FakeJetstream
) -> None:
    streams.fill(fake, 1)
    for number in range(3):
        fake.add_post(f"tomorrow {number}").time_us += 86_400_000_000
    fake.script(Drop(3 if version == 1 else 2))
    source = streams.make_source(fake.url(version))
    arrivals = await streams.take(source, 4, streams.before_all(version, fake))
    expected = ["invented 0", "tomorrow 0", "tomorrow 1", "tomorrow 2"]
    assert streams.texts(arrivals) == expected
    again = await streams.take(streams.make_source(fake.url(version)), 4 if version == 1 else 2, arrivals[1].cursor)
    assert streams.texts(again)[-2:] == expected[-2:]


@VERSIONS
async def test_while_our_clock_is_slow_the_cursor_moves_with_it(version: int, fake: sources.FakeJetstream) -> None:
    """By hours; each minute something happens and the connection breaks."""
    fake.step = timedelta(minutes=1)
    events = [fake.add_post("before")]
    late = [sources.START - timedelta(hours=3)]
    source = streams.make_source(fake.url(version), clock=lambda: late[0])
    arrivals: list[post.Arrival] = []
    async with asyncio.timeout(10), contextlib.aclosing(source.posts(streams.before_all(version, fake))) as posts:
        for number in range(240):
            events.append(fake.add_post(f"invented {number}"))
            late[0] += timedelta(minutes=1)
            arrivals.append(await anext(posts))
            if number % 40 == 39:
                fake.hang_up()
    assert streams.texts(arrivals) == ["before", *(f"invented {number}" for number in range(239))], "and no gap"
    cursors = [int(arrival.cursor.split(":")[-1]) for arrival in arrivals]
    assert cursors == sorted(cursors)
    assert all(at <= event.time_us for at, event in zip(cursors, events, strict=False)), "what follows comes again"
    assert len(set(cursors)) > 40
    if version == 1:
        *_, before, last = [each for each in fake.cursors() if each is not None]
        assert before < last, "once our clock has passed where we were"


@VERSIONS
async def test_a_new_process_whose_clock_was_set_back_sees_no_gap_and_goes_on(
    version: int, fake: sources.FakeJetstream
) -> None:
    streams.fill(fake, 3)
    had = await streams.take(streams.make_source(fake.url(version)), 2, streams.before_all(version, fake))
    late = sources.START - timedelta(hours=7)
    source = streams.make_source(fake.url(version), clock=lambda: late)
    fake.add_post("after it")
    arrivals = await streams.take(source, 4 if version == 1 else 2, had[-1].cursor)
    assert streams.texts(arrivals)[-2:] == ["invented 2", "after it"]
    assert len(streams.texts(arrivals)) == len(arrivals), "there is no gap"
    assert {arrival.at for arrival in arrivals} == {late}
    assert all(int(each.cursor.split(":")[-1]) >= int(had[-1].cursor.split(":")[-1]) for each in arrivals)


def test_while_our_clock_is_slow_there_is_a_place_to_tell_what_asking_found() -> None:
    now = sources.START - timedelta(hours=3)
    frame = jetstream_frames.Frame(round(sources.START.timestamp() * 1_000_000), sources.START, None)
    stream = Stream("bluesky", None, several=False)
    stream.connected(now)
    assert stream.here is None
    stream.take(frame, "invented.example", dated=jetstream_frames.dated(frame, now))
    assert stream.here is not None
    assert stream.here.time_us < frame.time_us


async def test_a_gap_is_seen_though_our_clock_was_set_back(fake: sources.FakeJetstream) -> None:
    streams.fill(fake, 2)
    had = await streams.take(streams.make_source(fake.url(1)), 2, streams.before_all(1, fake))
    fake.forget(len(fake.events))
    fake.step = timedelta(minutes=30)
    last = fake.add_post("after it")
    source = streams.make_source(fake.url(1), clock=lambda: sources.START - timedelta(hours=7))
    gap, after = await streams.take(source, 2, had[-1].cursor)
    assert isinstance(gap.item, post.Gap)
    assert (gap.item.since, gap.item.until) == (had[-1].at, jetstream_frames.from_us(last.time_us))
    assert streams.texts([after]) == ["after it"]


async def test_v1_clock_that_was_set_back_is_a_gap_and_followed(fake: sources.FakeJetstream) -> None:
    streams.fill(fake, 2)
    had = await streams.take(streams.make_source(fake.url(1)), 2, streams.before_all(1, fake))
    back_us = 3 * 3_600_000_000
    fake.add_post("dated before what we ask for").time_us -= back_us
    source = streams.make_source(fake.url(1))
    reading = asyncio.create_task(streams.take(source, 6, had[-1].cursor))
    while fake.sent_by_connection[1:] != [4]:
        await asyncio.sleep(0)
    for number in range(3):
        fake.add_post(f"after it {number}").time_us -= back_us
    *_, gap, first, _, last = await reading
    assert isinstance(gap.item, post.Gap)
    assert (gap.item.since, gap.item.until) == (first.at, sources.START + timedelta(minutes=1))
    assert streams.texts([first, last]) == ["after it 0", "after it 2"]
    assert last.cursor == str(fake.events[-1].time_us)
    rest = await streams.take(streams.make_source(fake.url(1)), 3, gap.cursor)
    assert streams.texts(rest) == ["dated before what we ask for", "after it 0", "after it 1"], "the gap is told once"


@VERSIONS
async def test_the_provider_of_the_source_is_that_of_its_items(version: int, fake: sources.FakeJetstream) -> None:
    fake.add_post("one", rkey="3kaaa")
    fake.add_delete(rkey="3kaaa")
    source = streams.make_source(fake.url(version), provider="elsewhere")
    arrivals = await streams.take(source, 2, streams.before_all(version, fake))
    assert [arrival.item.provider for arrival in arrivals] == ["elsewhere"] * 2  # type: ignore[union-attr]


@VERSIONS
async def test_a_huge_frame_is_dropped_and_the_connection_kept(version: int, fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake, 2)
    fake.script(Garbage(1, data=b'{"did":"' + b"a" * 10_000_000 + b'"}'))
    source = streams.make_source(fake.url(version))
    assert streams.texts(await streams.take(source, 2, streams.before_all(version, fake))) == expected
    assert (source.health.dropped, len(fake.requests)) == (1, 1)


@VERSIONS
async def test_a_frame_in_two_fragments_is_one_frame(version: int, fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake, 3)
    fake.script(Split(2))
    source = streams.make_source(fake.url(version))
    assert streams.texts(await streams.take(source, 3, streams.before_all(version, fake))) == expected
    assert source.health.dropped == 0


@VERSIONS
@pytest.mark.parametrize("dated", [False, True])
async def test_retry_after_is_honoured_and_429_never_ends_it(
    version: int, dated: bool, fake: sources.FakeJetstream
) -> None:
    now = sources.START + timedelta(minutes=1)
    header = format_datetime(now + timedelta(seconds=17), usegmt=True) if dated else "17"
    expected = streams.fill(fake, 1)
    fake.script(*[Refuse(429, {"Retry-After": header})] * 30)
    waits = streams.Waits()
    source = streams.make_source(fake.url(version), sleep=waits)
    assert streams.texts(await streams.take(source, 1, streams.before_all(version, fake))) == expected
    assert len(waits.seconds) == 30
    assert all(17 <= seconds <= 17 + 60 for seconds in waits.seconds)
    assert source.health.last_error is not None
    assert "429" in source.health.last_error
    assert source.health.state is State.LIVE


async def test_back_off_doubles_with_full_jitter_up_to_a_minute(fake: sources.FakeJetstream) -> None:
    streams.fill(fake, 1)
    fake.script(*[Refuse(503)] * 12)
    waits = streams.Waits()
    await streams.take(streams.make_source(fake.url(1), sleep=waits), 1, streams.before_all(1, fake))
    rng = random.Random(1)
    assert waits.seconds == [rng.uniform(0, min(60.0, 0.5 * 2**n)) for n in range(12)]


async def test_a_healthy_minute_resets_the_back_off(fake: sources.FakeJetstream) -> None:
    streams.fill(fake, 1)
    fake.script(*[Refuse(503)] * 8, Drop(1), Refuse(503))
    waits = streams.Waits()
    hour = iter(range(0, 1_000_000, 61))
    source = streams.make_source(fake.url(1), sleep=waits, monotonic=lambda: float(next(hour)))
    reading = asyncio.create_task(streams.take(source, 2, streams.before_all(1, fake)))
    while fake.faults:
        await asyncio.sleep(0)
    fake.add_post("later")
    await reading
    assert waits.seconds[8] <= 0.5


@VERSIONS
async def test_a_half_open_connection_is_noticed(version: int, fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake, 4)
    fake.script(Stall(2))
    source = streams.make_source(fake.url(version), heartbeat_s=0.02)
    assert streams.texts(await streams.take(source, 4, streams.before_all(version, fake))) == expected
    assert source.health.last_error is not None
    assert "no ping" in source.health.last_error


async def test_a_quiet_server_that_answers_pings_is_kept(fake: sources.FakeJetstream) -> None:
    streams.fill(fake, 1)
    source = streams.make_source(fake.url(1), heartbeat_s=0.01)
    reading = asyncio.create_task(streams.take(source, 2, streams.before_all(1, fake)))
    await asyncio.sleep(0.1)  # ten heartbeats
    fake.add_post("after a silence")
    assert streams.texts(await reading)[-1] == "after a silence"
    assert len(fake.requests) == 1


@VERSIONS
async def test_a_full_inbox_stalls_the_server(version: int, fake: sources.FakeJetstream) -> None:
    text = "w" * 60_000
    for number in range(600):
        fake.add_post(text, author=number)
    inbox: asyncio.Queue[post.Arrival] = asyncio.Queue(4)

    async def read() -> None:
        source = streams.make_source(fake.url(version), heartbeat_s=0.02)
        async with contextlib.aclosing(source.posts(streams.before_all(version, fake))) as posts:
            async for arrival in posts:
                await inbox.put(arrival)

    reading = asyncio.create_task(read())
    seen = -1
    async with asyncio.timeout(10):
        while not fake.sent or seen != fake.sent:
            seen = fake.sent
            await asyncio.sleep(0.1)  # five heartbeats: waiting for us is no silence of the server
    assert inbox.full()
    assert fake.sent < 500, "the server has stopped: what is not read stays with it"
    ids: list[str] = []
    async with asyncio.timeout(10):
        while len(ids) < 600:
            item = (await inbox.get()).item
            assert isinstance(item, post.Post)
            ids.append(item.id)
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)
    assert len(set(ids)) == 600
    assert len(fake.requests) == 1


async def test_v1_clamped_silently_is_a_gap(fake: sources.FakeJetstream) -> None:
    streams.fill(fake, 2)
    cursor = str(fake.events[0].time_us - int(timedelta(hours=50).total_seconds() * 1_000_000))
    source = streams.make_source(fake.url(1))
    gap, first, *_ = await streams.take(source, 3, cursor)
    assert isinstance(gap.item, post.Gap)
    assert gap.item.since == sources.START + timedelta(milliseconds=10) - timedelta(hours=50)
    assert gap.item.until == first.at
    again = await streams.take(streams.make_source(fake.url(1)), 2, gap.cursor)
    assert streams.texts(again) == ["invented 0", "invented 1"], (
        "the gap's own cursor passes it once, and loses nothing"
    )


async def test_v1_server_that_forgot_what_we_had_is_a_gap(fake: sources.FakeJetstream) -> None:
    fake.step = timedelta(seconds=3)
    streams.fill(fake, 6)
    had = await streams.take(streams.make_source(fake.url(1)), 2, streams.before_all(1, fake))
    fake.forget(9)
    gap, *rest = await streams.take(streams.make_source(fake.url(1)), 4, had[-1].cursor)
    assert isinstance(gap.item, post.Gap)
    assert (gap.item.since, gap.item.until) == (had[-1].at, rest[0].at)
    assert streams.texts(rest) == ["invented 3", "invented 4", "invented 5"]


async def test_v2_cursor_too_old_is_a_gap_and_takes_what_is_left(fake: sources.FakeJetstream) -> None:
    streams.fill(fake, 6)
    had = await streams.take(streams.make_source(fake.url(2)), 2, streams.before_all(2, fake))
    fake.forget(9)
    gap, *rest = await streams.take(streams.make_source(fake.url(2)), 4, had[-1].cursor)
    assert isinstance(gap.item, post.Gap)
    assert (gap.item.since, gap.item.until) == (had[-1].at, rest[0].at)
    assert streams.texts(rest) == ["invented 3", "invented 4", "invented 5"]
    again = await streams.take(streams.make_source(fake.url(2)), 3, gap.cursor)
    assert streams.texts(again) == streams.texts(rest)


async def test_v2_too_old_by_number_and_by_time_starts_now(fake: sources.FakeJetstream) -> None:
    streams.fill(fake, 2)
    cursor = streams.before_all(2, fake)
    fake.script(Refuse(400, error="CursorTooOld"), Refuse(400, error="CursorTooOld"))
    source = streams.make_source(fake.url(2))
    reading = asyncio.create_task(streams.take(source, 2, cursor))
    while len(fake.sent_by_connection) < 1:
        await asyncio.sleep(0)
    fake.add_post("now")
    gap, now = await reading
    assert isinstance(gap.item, post.Gap)
    assert streams.texts([now]) == ["now"]
    assert [cursor is None for cursor in fake.cursors()] == [False, False, True]


async def test_v2_another_archive_under_the_same_name_is_resumed_by_time(fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake, 3)
    cursor = f"127.0.0.1:{fake.port}:999999:{fake.events[0].time_us}"
    source = streams.make_source(fake.url(2))
    assert streams.texts(await streams.take(source, 3, cursor)) == expected
    assert fake.cursors() == [999_999, fake.events[0].time_us - 60_000_000]


async def test_v2_error_frame_is_told_and_survived(fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake, 4)
    fake.script(EndWith(2))
    source = streams.make_source(fake.url(2))
    assert streams.texts(await streams.take(source, 4, streams.before_all(2, fake))) == expected
    assert source.health.last_error == f"127.0.0.1:{fake.port} ended the stream with ConsumerTooSlow"


@VERSIONS
async def test_failover_to_another_host_loses_and_repeats_nothing(version: int, fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake)
    async with sources.FakeJetstream() as other:
        other._next_seq = 100  # its own numbers
        streams.fill(other)
        for mine, theirs in zip(fake.events, other.events, strict=True):
            theirs.time_us = mine.time_us + 2_000_000  # its own clock
            theirs.body = mine.body
        fake.script(Drop(4))
        source = streams.make_source(fake.url(version), other.url(version))
        assert streams.texts(await streams.take(source, 6, streams.before_all(version, fake))) == expected
        assert other.cursors()[0] is not None
        assert (other.cursors()[0] or 0) > 10**15, "a number of one host means nothing at another"


@VERSIONS
async def test_a_second_break_while_another_host_repeats_loses_nothing(
    version: int, fake: sources.FakeJetstream
) -> None:
    expected = streams.fill(fake)
    async with sources.FakeJetstream() as other:
        other._next_seq = 100
        streams.fill(other)
        for mine, theirs in zip(fake.events, other.events, strict=True):
            theirs.time_us = mine.time_us - 20_000_000  # it is twenty seconds ahead of the first
            theirs.body = mine.body
        fake.script(Drop(4), *[Refuse(503)] * 3)
        other.script(Drop(1), Drop(2), Drop(3))
        source = streams.make_source(fake.url(version), other.url(version))
        assert streams.texts(await streams.take(source, 6, streams.before_all(version, fake))) == expected
        assert not other.unfired()


@VERSIONS
async def test_a_host_that_wants_to_be_left_alone_keeps_us_from_no_other(
    version: int, fake: sources.FakeJetstream
) -> None:
    expected = streams.fill(fake, 4)
    now_s = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now_s
        now_s += seconds
        await asyncio.sleep(0)

    async with sources.FakeJetstream() as other:
        streams.fill(other, 2)
        for mine, theirs in zip(fake.events, other.events, strict=False):
            theirs.body = mine.body
        fake.script(Refuse(429, {"Retry-After": "3600"}))
        other.script(Refuse(503), Drop(2), *[Refuse(503)] * 200)
        source = streams.make_source(fake.url(version), other.url(version), sleep=sleep, monotonic=lambda: now_s)
        arrivals = await streams.take(source, 4, streams.before_all(version, fake))
        assert len(other.sent_by_connection) == 1, "the other one is read meanwhile"
        assert set(streams.texts(arrivals)) == set(expected)
        assert 3600 <= now_s < 3600 + 120, "the first one is asked again when it wants to, and not before"
        assert len(fake.requests) == 2


async def test_hosts_that_all_want_to_be_left_alone_are_waited_for() -> None:
    now_s = 100.0
    hosts = jetstream_hosts.Hosts(
        [URL(f"wss://{name}.example/subscribe") for name in "abc"], random.Random(1), lambda: now_s
    )
    for name, asked_s in (("a", 500.0), ("b", 50.0), ("c", 900.0)):
        assert hosts.url.host == f"{name}.example"
        wait_s = hosts.next(0.0, asked_s)
    assert hosts.url.host == "b.example"
    assert 50 <= wait_s < 55


async def test_a_cursor_of_v1_serves_v2_and_the_other_way_round(fake: sources.FakeJetstream) -> None:
    expected = streams.fill(fake)
    for first, second in ((1, 2), (2, 1)):
        had = await streams.take(streams.make_source(fake.url(first)), 3, streams.before_all(first, fake))
        rest = await streams.take(streams.make_source(fake.url(second)), 6, had[-1].cursor)
        assert set(streams.texts(rest)) == set(expected)


async def test_an_unreachable_server_is_tried_for_ever_with_a_remedy() -> None:
    enough = asyncio.Event()
    waits = streams.Waits()
    waits.before = lambda: enough.set() if len(waits.seconds) > 30 else None
    async with sources.FakeJetstream() as gone:
        url = gone.url(1)
    source = streams.make_source(url, sleep=waits)
    reading = asyncio.create_task(streams.take(source, 1, None))
    async with asyncio.timeout(10):
        await enough.wait()
    assert not reading.done()
    assert source.health.state is not State.LIVE
    assert not source.health.answered
    assert source.health.last_error is not None
    assert "cannot be reached" in source.health.last_error
    assert source.health.remedy == "check the network, or the source's url"
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


@pytest.mark.parametrize("cursor", ["soon", "host:seq:1", "1:2", "9" * 40, "-"])
async def test_a_cursor_that_is_none_is_a_usage_error(cursor: str) -> None:
    with pytest.raises(errors.UsageError, match="cursor"):
        await anext(streams.make_source("ws://127.0.0.1:9/subscribe").posts(cursor))


@pytest.mark.parametrize("url", ["", "https://x.example/subscribe", "wss://", "not a url", "wss://[::1"])
def test_an_address_that_is_no_websocket_is_a_usage_error(url: str) -> None:
    with pytest.raises(errors.UsageError, match="WebSocket"):
        streams.make_source(url)
