"""MastodonSource against FakeMastodon: the real client, real server-sent events and pages."""

import asyncio
import contextlib
import functools
import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest

from bot.domain import errors, post
from bot.ingest import mastodon
from bot.ingest.source import State
from tests.fakes import mastodon as fakes
from tests.fakes import streaming
from tests.fakes.streaming import Break, Cut, Down, Jump, Nameless, Raw, Refuse, Split, Stall, Trickle

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def fake() -> AsyncIterator[fakes.FakeMastodon]:
    async with fakes.FakeMastodon(streaming.Time()) as server:
        yield server
        assert server.script.left == []


def make_source(fake: fakes.FakeMastodon, **settings: Any) -> mastodon.MastodonSource:
    defaults: dict[str, Any] = {
        "token": fakes.TOKEN,
        "connector": streaming.connector(fake.script),
        "rng": random.Random(1),
        "clock": fake.time.clock,
        "monotonic": fake.time.monotonic,
        "sleep": fake.time.sleep,
        "heartbeat_s": 2.0,
    }
    return mastodon.MastodonSource("mastodon", settings.pop("url", fake.url), **defaults | settings)


async def take(source: mastodon.MastodonSource, count: int, after: str | None) -> list[post.Arrival]:
    arrivals = []
    async with asyncio.timeout(20), contextlib.aclosing(source.posts(after)) as posts:
        async for arrival in posts:
            if isinstance(arrival.item, post.Mark):
                continue
            arrivals.append(arrival)
            if len(arrivals) == count:
                break
    return arrivals


class Reading:
    """``async with Reading(source)``: connected; ``await reading.next()`` is the next item that is no Mark."""

    def __init__(self, source: mastodon.MastodonSource, after: str | None = None) -> None:
        self._source = source
        self._after = after

    async def __aenter__(self) -> "Reading":
        self._posts = self._source.posts(self._after)
        self._first: asyncio.Task[post.Arrival] | None = asyncio.create_task(anext(self._posts))
        while self._source.health.state is not State.LIVE and self._source.health.last_error is None:
            await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._first is not None:
            self._first.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._first
        await self._posts.aclose()

    async def next(self) -> Any:
        async with asyncio.timeout(10):
            while True:
                waiting, self._first = self._first, None
                item = (await (waiting or anext(self._posts))).item
                if not isinstance(item, post.Mark):
                    return item


async def started(fake: fakes.FakeMastodon, source: mastodon.MastodonSource) -> None:
    """The source knows where it begins."""
    while not any(path.endswith("timelines/public") for path, _ in fake.requests) or source.health.state != State.LIVE:
        await asyncio.sleep(0)


def asked_for_pages(fake: fakes.FakeMastodon) -> int:
    return sum(path.endswith("timelines/public") for path, _ in fake.requests)


def texts(arrivals: list[post.Arrival]) -> list[str]:
    return [arrival.item.text for arrival in arrivals if isinstance(arrival.item, post.Post)]


def zero(fake: fakes.FakeMastodon) -> str:
    """The cursor of somebody who left an hour before anything happened."""
    return f"{fakes.snowflake(streaming.START - 60 * MINUTE, 0)}@{int(streaming.START.timestamp() * 1000) - 3_600_000}"


async def test_an_id_that_could_be_no_cursor_is_no_place_to_start_from(fake: fakes.FakeMastodon) -> None:
    fake.statuses["5"] = {"id": "a b"}
    source = make_source(fake)
    async with Reading(source) as reading:
        while source.health.last_error is None:
            await asyncio.sleep(0)
        assert source.health.last_error.endswith("answered with a status whose id is none")
        fake.statuses.clear()
        tried = asked_for_pages(fake)
        while asked_for_pages(fake) == tried or source.health.state is not State.LIVE:
            await asyncio.sleep(0)
        fake.create("<p>now</p>")
        assert (await reading.next()).text == "now"


async def test_a_status_arrives_as_a_post(fake: fakes.FakeMastodon) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        parent = fake.create("<p>First</p>")
        fake.create(
            '<p>Flames &amp; smoke<br>over <a href="https://news.example/a?b=1&amp;c=2"><span class="invisible">https://'
            '</span><span class="ellipsis">news.example</span></a></p><p><a class="mention hashtag" '
            'href="https://away.example/tags/fire">#<span>fire</span></a> :blobcat:</p>',
            spoiler_text="Fire",
            language="en-GB",
            in_reply_to_id=parent["id"],
            media_attachments=[{"url": "https://files.example/1.jpg"}],
        )
        first, second = await reading.next(), await reading.next()

    assert first.text == "First"
    assert second.text == (
        "Fire\n\nFlames & smoke\nover https://news.example (https://news.example/a?b=1&c=2)\n\n#fire :blobcat:"
    )
    assert (second.provider, second.id, second.langs) == (
        "mastodon",
        "https://away.example/users/ada/statuses/2",
        ("en",),
    )
    assert (second.url, second.reply_to) == ("https://away.example/@ada/2", first.id)
    assert (second.media, second.author) == (("https://files.example/1.jpg",), first.author)
    assert "ada" not in second.author
    assert (second.created_at, source.health.state) == (streaming.START, State.LIVE)


async def test_who_asks_not_to_be_found_is_left_out(fake: fakes.FakeMastodon) -> None:
    account = {"url": "https://away.example/@bo"}
    left_out = [account | {"noindex": True}, account | {"discoverable": False}]
    for each in left_out:
        fake.create("<p>hidden</p>", account=each)
    fake.create("<p>unlisted</p>", visibility="unlisted")
    fake.create("<p>boost</p>", reblog=fake.create("<p>hidden</p>", account=left_out[0]))
    fake.create("<p>a bot</p>", account=account | {"bot": True, "discoverable": None})
    source = make_source(fake)
    arrivals = await take(source, 1, zero(fake))
    assert (texts(arrivals), source.health.skipped) == (["a bot"], 5)

    everybody = make_source(fake, undiscoverable=True)
    arrivals = await take(everybody, 5, zero(fake))
    assert texts(arrivals) == ["hidden", "hidden", "hidden", "boost", "a bot"]
    boost = arrivals[3].item
    assert isinstance(boost, post.Post)
    assert boost.repost_of == "https://away.example/users/ada/statuses/4"


async def test_edits_and_deletions(fake: fakes.FakeMastodon) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        status = fake.create("<p>first words</p>")
        made = await reading.next()
        for words in ("<p>second words</p>", "<p>third words</p>"):
            fake.time.advance_to(fake.time.now + MINUTE)
            fake.edit(status["id"], words)
        fake.say("status.update", json.dumps(status))  # told twice: nothing new
        fake.delete(status["id"])
        fake.say("delete", "109348684737626801")
        fake.create("<p>the end</p>")
        items = [await reading.next() for _ in range(7)]

    versions = [f"{made.id}#v:{said.version}" for said in fake.said if said.kind == "edit"]
    told = [(type(item).__name__, item.id) for item in items]
    assert told[:2] == [("Deletion", made.id), ("Post", versions[0])]
    assert sorted(told[2:4]) == [("Deletion", made.id), ("Deletion", versions[0])]
    assert told[4:6] == [("Post", versions[1]), ("Deletion", made.id)]
    assert items[6].text == "the end"
    assert (items[1].text, items[4].text, source.health.skipped) == ("second words", "third words", 1)


async def test_an_edit_without_a_time_is_a_deletion_only(fake: fakes.FakeMastodon) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        status = fake.create()
        fake.say("status.update", json.dumps(status | {"content": "<p>other words</p>"}))
        fake.create("<p>the end</p>")
        items = [await reading.next() for _ in range(3)]
    assert [type(item) for item in items] == [post.Post, post.Deletion, post.Post]
    assert items[1].id == items[0].id


async def test_pages_fill_what_was_missed_and_the_outage_is_told(fake: fakes.FakeMastodon) -> None:
    for number in range(95):
        fake.time.advance_to(fake.time.now + timedelta(seconds=1))
        fake.create(f"<p>invented {number}</p>")
    source = make_source(fake)
    arrivals = await take(source, 96, zero(fake))
    assert texts(arrivals) == [f"invented {number}" for number in range(95)]
    gap = arrivals[-1].item
    assert isinstance(gap, post.Gap)
    assert (gap.since, gap.until) == (streaming.START - 60 * MINUTE, fake.time.now)
    assert "edits and deletions could not be" in gap.reason

    rest = await take(make_source(fake), 1, arrivals[-1].cursor)
    assert len(rest) == 1, "two minutes come again; the store knows them"
    half = await take(make_source(fake), 2, arrivals[40].cursor)
    assert isinstance(half[0].item, post.Post)


async def test_what_came_late_from_elsewhere_in_an_outage_is_fetched(fake: fakes.FakeMastodon) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        fake.create("<p>in time</p>")
        await reading.next()
        fake.script.add(Break())
        late = fake.create("<p>written before, received after</p>", ago=timedelta(seconds=90))
        item, gap = await reading.next(), await reading.next()
    assert (item.id, item.text) == (late["uri"], "written before, received after")
    assert isinstance(gap, post.Gap)


async def test_too_much_to_fetch_is_a_gap(fake: fakes.FakeMastodon) -> None:
    for number in range(200):
        fake.create(f"<p>invented {number}</p>")
    arrivals = await take(make_source(fake, most_pages=2), 121, zero(fake))
    assert texts(arrivals) == [f"invented {number}" for number in [*range(80), *range(160, 200)]]
    gap = arrivals[-1].item
    assert isinstance(gap, post.Gap)
    assert gap.reason.startswith("more than 2 pages")
    again = await take(make_source(fake, most_pages=2), 1, arrivals[-1].cursor)
    assert again


async def test_the_rate_limit_is_kept(fake: fakes.FakeMastodon) -> None:
    for number in range(130):
        fake.create(f"<p>invented {number}</p>")
    fake.remaining = 2
    arrivals = await take(make_source(fake), 131, zero(fake))
    assert len(set(texts(arrivals))) == 130
    assert fake.time.slept == [300.0]


async def test_too_many_requests_wait_as_long_as_the_server_says(fake: fakes.FakeMastodon) -> None:
    reset = fakes.text(streaming.START + timedelta(seconds=140))
    fake.script.add(
        Refuse(path="/api/v1/timelines", status=429, headers={"X-RateLimit-Reset": reset}),
        Refuse(path="/api/v1/streaming", status=429, headers={"Retry-After": "77"}),
    )
    fake.create("<p>patience</p>")
    source = make_source(fake)
    assert texts(await take(source, 2, zero(fake))) == ["patience"]
    assert fake.time.slept[0] >= 77
    assert fake.time.now >= streaming.START + timedelta(seconds=140)
    assert "429" in (source.health.last_error or "")


@pytest.mark.parametrize(
    ("settings", "what", "remedy"),
    [
        ({"token": "wrong"}, "refused us (401)", "the token of [[source]] mastodon is not accepted"),
        ({"url": "https://127.0.0.1:{port}"}, "no encryption that can be trusted", "certificates"),
        ({"url": "http://127.0.0.1:{port}/elsewhere"}, "refused us (404)", "check url of [[source]] mastodon"),
    ],
)
async def test_what_is_wrong_is_said_with_a_remedy(
    settings: dict[str, str], what: str, remedy: str, fake: fakes.FakeMastodon
) -> None:
    settings = {key: value.format(port=fake.port) for key, value in settings.items()}
    source = make_source(fake, **settings)
    async with Reading(source):
        while source.health.last_error is None:
            await asyncio.sleep(0)
    assert what in source.health.last_error
    assert remedy in (source.health.remedy or "")
    assert "wrong" not in source.health.last_error + (source.health.remedy or "")


async def test_the_instance_says_where_its_streams_are(fake: fakes.FakeMastodon) -> None:
    fake.streaming_at = f"ws://streaming.example:{fake.port}"
    fake.create("<p>over there</p>")
    assert texts(await take(make_source(fake), 1, zero(fake))) == ["over there"]


async def test_the_token_follows_no_redirect(fake: fakes.FakeMastodon) -> None:
    elsewhere = f"http://elsewhere.example:{fake.port}/api/v1/timelines/public"
    fake.script.add(Refuse(path="/api/v2/instance", status=301, headers={"Location": elsewhere}))
    fake.create("<p>still here</p>")
    assert texts(await take(make_source(fake), 1, zero(fake))) == ["still here"]
    first, second, *_ = [path for path, _ in fake.requests]
    assert (first, second) == ("/api/v2/instance", "/api/v1/streaming/public")


async def test_a_source_of_local_posts_asks_for_those(fake: fakes.FakeMastodon) -> None:
    fake.create()
    await take(make_source(fake, local=True), 1, zero(fake))
    assert ("/api/v1/streaming/public/local", {}) in fake.requests
    assert [query["local"] for path, query in fake.requests if path.endswith("timelines/public")] == ["true"]


async def test_what_is_no_status_is_dropped_and_counted(fake: fakes.FakeMastodon) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        for data in ("{not json", "[]", '{"id": 5}', "\x00", '"' + "x" * 3_000_000 + '"'):
            fake.say("update", data)
        fake.say("delete", "../../evil")
        fake.say("notification", '{"type": "mention"}')
        fake.create("<p>after</p>")
        assert (await reading.next()).text == "after"
        fake.create("<p>later</p>")
        assert (await reading.next()).text == "later"
    assert source.health.dropped == 6


@pytest.mark.parametrize("cursor", ["", "5", "5@", "@5", "5@x", "a b@5", "5@99999999999999999999"])
async def test_a_foreign_cursor_is_refused(cursor: str, fake: fakes.FakeMastodon) -> None:
    with pytest.raises(errors.UsageError, match="none of Mastodon's"):
        await take(make_source(fake), 1, cursor)


async def test_back_pressure_reaches_the_server(fake: fakes.FakeMastodon) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        for _ in range(300):
            fake.create("<p>" + "x" * 90_000 + "</p>")
        assert (await reading.next()).text.startswith("xxx")
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert fake.written < 200, "nobody reads: the server has to wait"


async def test_a_soak_of_days_with_every_fault_loses_and_repeats_nothing() -> None:
    time = streaming.Time()
    async with fakes.FakeMastodon(time, drive=True) as fake:
        happen(fake, days=6)
        fake.script.add(*faults())
        source = make_source(fake, heartbeat_s=0.2, rng=streaming.Unhurried())
        arrivals = []
        async with asyncio.timeout(120), contextlib.aclosing(source.posts(None)) as posts:
            async for arrival in posts:
                arrivals.append(arrival)
                if isinstance(arrival.item, post.Post) and arrival.item.text == "the end":
                    break
        assert fake.script.left == []
    account(fake.said, arrivals)
    assert source.health.dropped == 2
    assert sum(isinstance(each.item, post.Gap) for each in arrivals) > 10


def happen(fake: fakes.FakeMastodon, *, days: int) -> None:
    """A status about every four minutes; every seventh is edited, every eleventh deleted, every fifth comes late."""
    rng = random.Random(7)
    made: dict[int, str] = {}

    def create(number: int, ago: timedelta) -> None:
        made[number] = fake.create(f"<p>invented {number}</p>", ago=ago)["id"]

    def change(number: int, how: Callable[[str], None]) -> None:
        if made.get(number) in fake.statuses:
            how(made[number])

    for number in range(days * 360):
        at = streaming.START + number * 4 * MINUTE + timedelta(seconds=rng.uniform(1, 200))
        late = timedelta(seconds=rng.uniform(5, 50)) if number % 5 == 0 else timedelta(0)
        fake.plan(at, functools.partial(create, number, late))
        if number % 7 == 0:
            later = at + timedelta(seconds=rng.uniform(1, 4000))
            fake.plan(later, functools.partial(change, number, fake.edit))
        if number % 11 == 0:
            later = at + timedelta(seconds=rng.uniform(1, 4000))
            fake.plan(later, functools.partial(change, number, fake.delete))
    fake.plan(streaming.START + timedelta(days=days), lambda: fake.create("<p>the end</p>"))


def faults() -> list[streaming.Fault]:
    def at(hours: float) -> Any:
        return {"at": streaming.START + timedelta(hours=hours)}

    storm = [Refuse(**at(20), path="/api/v1", status=429, headers={"Retry-After": "30"}) for _ in range(5)]
    return [
        Break(**at(2)),
        Break(**at(3), politely=True),
        Down(**at(5), until=streaming.START + timedelta(hours=5) + MINUTE),
        Stall(**at(8)),
        Split(**at(9)),
        Trickle(**at(10)),
        Raw(**at(11), data=b"event: update\ndata: \xff\x00{nonsense\n\n"),
        Raw(**at(11.5), data=b"event: delete\ndata: no id\n\n"),
        Cut(**at(12)),
        Break(**at(13)),
        *[Nameless(**at(13)) for _ in range(3)],
        Jump(**at(14), by=timedelta(hours=-1)),
        Break(**at(14.2)),
        Jump(**at(17), by=timedelta(hours=1)),
        Break(**at(20)),
        *storm,
        Break(**at(22)),
        Refuse(**at(22), path="/api/v1/timelines", status=502),
        Refuse(**at(22), path="/api/v2/instance", status=503),
        Down(**at(30), until=streaming.START + timedelta(hours=78)),
        Break(**at(90)),
    ]


def account(said: list[fakes.Said], arrivals: list[post.Arrival]) -> None:
    """Each thing said came out once, or lies in a gap that allows for it."""
    posts = Counter(arrival.item.id for arrival in arrivals if isinstance(arrival.item, post.Post))
    gone = {arrival.item.id or "" for arrival in arrivals if isinstance(arrival.item, post.Deletion)}
    gaps = [arrival.item for arrival in arrivals if isinstance(arrival.item, post.Gap)]
    assert not [each for each, count in posts.items() if count > 1]

    def missed(event: fakes.Said) -> bool:
        return any(gap.since <= event.at <= gap.until for gap in gaps if gap.since and gap.until)

    deleted = {event.uri for event in said if event.kind == "delete"}
    seen = {each.partition("#")[0] for each in posts}
    for event in said:
        match event.kind:
            case "create":
                assert event.uri in seen or (event.uri in deleted and missed(event)), event
            case "edit" if not missed(event) and event.uri in seen:
                assert f"{event.uri}#v:{event.version}" in posts, event
                assert event.uri in gone, event
            case "delete" if not missed(event) and event.uri in seen:
                assert any(each.partition("#")[0] == event.uri for each in gone), event
    assert seen <= {event.uri for event in said}
    assert sum(not missed(event) for event in said) > len(said) // 3
