"""MastodonSource against FakeMastodon: the real client, real server-sent events and pages."""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from yarl import URL

from bot.domain import errors, post
from bot.ingest import mastodon, mastodon_recheck, mastodon_requests, recheck
from bot.ingest.mastodon_origins import Origins
from bot.ingest.source import State
from tests.fakes import mastodon as fakes
from tests.fakes import streaming
from tests.fakes.streaming import Break, Refuse

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
        "names": lambda: streaming.Names(fake.script),
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
        f"http://away.example:{fake.port}/users/ada/statuses/2",
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
    assert boost.repost_of == f"http://away.example:{fake.port}/users/ada/statuses/4"


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


async def test_an_update_without_an_edit_tells_the_post_again(fake: fakes.FakeMastodon) -> None:
    """As when a quote of it is allowed: what we have stays, what we missed comes."""
    missed = fake.create("<p>missed</p>")
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        status = fake.create("<p>first words</p>")
        fake.quote(status["id"])
        fake.edit(status["id"], "<p>second words</p>")
        fake.say("status.update", json.dumps(status | {"edited_at": None}))
        fake.quote(missed["id"])
        items = [await reading.next() for _ in range(4)]
    assert [getattr(item, "text", None) for item in items] == ["first words", None, "second words", "missed"]


async def test_who_is_told_again_and_asks_not_to_be_found_is_left_out(fake: fakes.FakeMastodon) -> None:
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        status, earlier = fake.create(), fake.create(ago=timedelta(days=1))
        made, _ = await reading.next(), await reading.next()
        status["account"] |= {"noindex": True}
        fake.quote(status["id"])
        gone = await reading.next()
        earlier["id"] = "109348684737626801"  # of an earlier process
        fake.say("status.update", json.dumps(earlier | {"account": status["account"]}))
        also = await reading.next()
    assert [(gone.id, gone.replaced_by), (also.id, also.replaced_by)] == [(made.id, None), (earlier["uri"], None)]


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


async def test_a_page_that_is_too_long_is_asked_for_in_smaller_ones(fake: fakes.FakeMastodon) -> None:
    for number in range(60):
        big = 10 <= number < 22
        fake.create(f"<p>invented {number}</p>", spoiler_text="x" * (900_000 if big else 1))
    source = make_source(fake)
    arrivals = await take(source, 61, zero(fake))
    assert [text.partition("invented ")[2] for text in texts(arrivals)[:10]] == [f"{number}" for number in range(10)]
    assert len(texts(arrivals)) == 60
    assert (source.health.last_error, source.health.dropped) == (None, 0)


@pytest.mark.parametrize("last", [False, True])
async def test_a_status_that_is_too_long_alone_is_stepped_over(last: bool, fake: fakes.FakeMastodon) -> None:
    fake.create("<p>before</p>")
    fake.create("x" * 9_000_000)
    if not last:
        fake.create("<p>after</p>")
    source = make_source(fake)
    arrivals = await take(source, 2 if last else 3, zero(fake))
    assert texts(arrivals) == ["before", *["after"] * (not last)]
    assert (source.health.last_error, source.health.dropped) == (None, 1)
    async with Reading(source, arrivals[-1].cursor) as reading:
        fake.create("<p>later</p>")
        while getattr(await reading.next(), "text", "") != "later":
            pass


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
    assert [query["local"] for path, query in fake.requests if path.endswith("timelines/public")] == ["true"] * 2


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


class Keeping(dict[str, str]):
    """Local id → id, as a store keeps them of this instance."""

    async def stored(self, prefix: str) -> list[str]:
        return [f"{prefix}{each}" for each in self]

    async def post_of(self, name: str) -> str | None:
        host, _, local_id = name.partition("/")
        assert host.startswith("mastodon.example:")
        return self.get(local_id)


def asking(fake: fakes.FakeMastodon, kept: Keeping, **settings: Any) -> mastodon.MastodonSource:
    source = make_source(fake, **settings)
    source.recheck(mastodon_recheck.Kept(stored=kept.stored, post_of=kept.post_of))
    return source


@contextlib.asynccontextmanager
async def ticking(fake: fakes.FakeMastodon, seconds: float = 6) -> AsyncIterator[None]:
    """The stream says something now and then."""

    async def tick() -> None:
        while True:
            fake.time.advance_to(fake.time.now + timedelta(seconds=seconds))
            before = fake.written
            fake.say("notification", "{}")
            while fake.written == before:
                await asyncio.sleep(0)

    ticks = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticks.cancel()
        await asyncio.gather(ticks, return_exceptions=True)


def before(fake: fakes.FakeMastodon, count: int) -> Keeping:
    """Statuses of the time before, all of which are kept."""
    made = [fake.create(f"<p>invented {number}</p>", ago=timedelta(days=1)) for number in range(count)]
    return Keeping({each["id"]: each["uri"] for each in made})


def asked_again(fake: fakes.FakeMastodon) -> list[str]:
    return [path for path, _ in fake.requests if path.startswith("/api/v1/statuses")]


async def asked_times(fake: fakes.FakeMastodon, reading: Reading, count: int) -> list[Any]:
    """What came until it was asked so often again."""

    async def read() -> list[Any]:
        items: list[Any] = []
        while getattr(item := await reading.next(), "text", "") != "the end":
            items.append(item)
        return items

    reader = asyncio.create_task(read())
    async with ticking(fake):
        while len(asked_again(fake)) < count:
            await asyncio.sleep(0)
    fake.create("<p>the end</p>")
    return await reader


async def test_a_deletion_of_what_an_earlier_process_read_is_looked_up(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 3)
    first, edited, _ = kept
    kept[edited] += "#v:1936000000000"
    source = asking(fake, kept)
    async with Reading(source) as reading:
        await started(fake, source)
        for local_id in (first, edited, "109348684737626801"):
            fake.say("delete", local_id)
        fake.create("<p>the end</p>")
        gone, other, last = [await reading.next() for _ in range(3)]
    uris = [fake.statuses[each]["uri"] for each in (first, edited)]
    assert [(gone.id, gone.replaced_by), (other.id, other.replaced_by)] == [(uri, None) for uri in uris]
    assert (last.text, source.health.skipped) == ("the end", 1)


@pytest.mark.parametrize("batches", [True, False])
async def test_after_an_outage_it_is_asked_what_has_become_of_what_is_kept(
    batches: bool, fake: fakes.FakeMastodon
) -> None:
    fake.batches = batches
    kept = before(fake, 45)
    ids = list(kept)
    fake.muted = {ids[1]}
    fake.delete(ids[0])
    del fake.statuses[ids[30]]
    fake.suspended.add(ids[30])
    fake.edit(ids[44], "<p>other words</p>")
    fake.edit(ids[20], "<p>known words</p>")
    kept[ids[20]] += f"#v:{fake.said[-1].version}"
    source = asking(fake, kept)
    cursor = f"{fakes.snowflake(streaming.START - MINUTE, 0)}@{int(streaming.START.timestamp() * 1000) - 60_000}"
    async with Reading(source, cursor) as reading:
        gap, *items = await asked_times(fake, reading, 6 if batches else 46)
    assert gap.reason.endswith("edits and deletions are asked for again")
    gone = {item.id for item in items if isinstance(item, post.Deletion) and item.replaced_by is None}
    assert gone == {kept[ids[0]], kept[ids[30]]}
    (edit,) = [item for item in items if isinstance(item, post.Deletion) and item.replaced_by is not None]
    (new,) = [item for item in items if isinstance(item, post.Post)]
    assert (edit.id, edit.replaced_by) == (kept[ids[44]], new.id)
    assert (new.id.partition("#")[0], new.text) == (kept[ids[44]], "other words")


async def test_who_asks_not_to_be_found_later_is_left_out_when_asked_again(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 2)
    first, second = kept
    fake.statuses[first]["account"] |= {"noindex": True}
    fake.edit(second, account={"url": "https://away.example/@bo", "discoverable": False})
    source = asking(fake, kept)
    async with Reading(source) as reading:
        items = await asked_times(fake, reading, 1)
    assert {(type(item), item.id) for item in items} == {(post.Deletion, kept[each]) for each in (first, second)}


async def test_an_instance_that_clears_old_statuses_away_deletes_nothing(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 3)
    cleared, gone, other = kept
    for each in (cleared, gone):
        fake.vacuum(each)
    fake.elsewhere.remove(kept[gone])
    fake.delete(other)
    source = asking(fake, kept)
    async with Reading(source) as reading:
        items = await asked_times(fake, reading, 4)
        assert {item.id for item in items} == {kept[gone], kept[other]}
        fake.script.add(Break())
        fake.create("<p>after the outage</p>")
        while not isinstance(await reading.next(), post.Gap):
            pass
        await asked_times(fake, reading, 8)
    assert fake.strangers.count(kept[cleared]) == 1, "within a day it is not asked again"


async def test_what_an_instance_cleared_away_goes_when_it_is_deleted_a_day_later(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 1)
    (only,) = kept
    fake.vacuum(only)
    source = asking(fake, kept)
    async with Reading(source) as reading:
        assert await asked_times(fake, reading, 2) == []
        fake.elsewhere.clear()
        async with ticking(fake, 600):
            assert (await reading.next()).id == kept[only]
    assert fake.time.now >= streaming.START + timedelta(days=1)


@pytest.mark.parametrize(
    "uri",
    ["https://away.example:1/5", "ftp://away.example/5", "http://u:p@away.example/5", "x",
     "https://xn--a.away.example/5", "https://xn--/5", "https://x\u3002@][\uff0e\u2024@/5"],
)  # fmt: skip
async def test_where_a_status_was_written_must_say_that_it_is_gone(uri: str, fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 2)
    first, second = kept
    for each in kept:
        fake.delete(each)
    kept[first] = uri
    async with Reading(asking(fake, kept)) as reading:
        items = await asked_times(fake, reading, 3)
    assert [item.id for item in items] == [kept[second]]


async def test_what_the_instance_itself_wrote_and_has_no_more_is_gone(fake: fakes.FakeMastodon) -> None:
    own = fake.create(ago=timedelta(days=1), uri=f"{fake.url}/users/bo/statuses/9")
    fake.vacuum(own["id"])
    async with Reading(asking(fake, Keeping({own["id"]: own["uri"]}))) as reading:
        items = await asked_times(fake, reading, 2)
    assert ([item.id for item in items], fake.strangers) == ([own["uri"]], [])


async def test_a_server_inside_our_network_is_not_asked_for_a_stranger(fake: fakes.FakeMastodon) -> None:
    home = URL("http://mastodon.example:1")

    class Public(streaming.Names):
        async def resolve(self, host: str, port: int = 0, family: Any = 0) -> list[Any]:
            found = await super().resolve(host, port)
            return [each | {"host": "192.0.43.8"} for each in found] if host == home.host else found

    origins = Origins(home, names=lambda: Public(fake.script), monotonic=fake.time.monotonic)
    gone = f"http://away.example:{fake.port}/users/ada/statuses/5"
    assert not await origins.gone(gone)
    assert not await origins.gone(f"http://127.0.0.1:{fake.port}/users/ada/statuses/5")
    assert fake.strangers == []
    at_home = Origins(URL(fake.url), names=lambda: streaming.Names(fake.script), monotonic=fake.time.monotonic)
    assert await at_home.gone(gone)


async def test_another_instance_is_not_asked_about_what_the_last_one_gave(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 1)
    fake.statuses.clear()

    async def stored(prefix: str) -> list[str]:
        assert prefix == f"mastodon.example:{fake.port}/"
        return []

    async def post_of(name: str) -> str | None:
        return {f"last.example/{each}": uri for each, uri in kept.items()}.get(name)

    source = make_source(fake)
    source.recheck(mastodon_recheck.Kept(stored=stored, post_of=post_of))
    async with Reading(source) as reading:
        await started(fake, source)
        fake.say("delete", next(iter(kept)))
        fake.create("<p>the end</p>")
        assert (await reading.next()).text == "the end"


async def test_a_post_is_named_after_its_instance(fake: fakes.FakeMastodon) -> None:
    status = fake.create()
    arrivals = await take(make_source(fake), 1, zero(fake))
    assert arrivals[0].local_id == f"mastodon.example:{fake.port}/{status['id']}"


async def test_one_pause_is_for_everything_that_is_asked(fake: fakes.FakeMastodon) -> None:
    """What is asked again was refused for a while; then pages wait as well."""
    kept = before(fake, 1)
    reset = fakes.text(streaming.START + timedelta(seconds=140))
    limited = Refuse(path="/api/v1/statuses", status=429, headers={"X-RateLimit-Reset": reset})
    fake.script.add(limited)
    async with Reading(asking(fake, kept)) as reading:
        next_one = asyncio.create_task(reading.next())
        async with ticking(fake):
            while limited in fake.script.left:
                await asyncio.sleep(0)
        pages = asked_for_pages(fake)
        assert fake.time.now < streaming.START + timedelta(seconds=140)
        fake.script.add(Break())
        fake.create("<p>missed</p>")
        assert (await next_one).text == "missed"
    assert asked_for_pages(fake) > pages
    assert fake.time.now >= streaming.START + timedelta(seconds=140)


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500])
async def test_only_what_the_api_says_is_gone_is_gone(status: int, fake: fakes.FakeMastodon) -> None:
    """A proxy's 404 is none of the API's; what is always refused does not keep the others from being asked."""
    kept = before(fake, 2)
    first, second = kept
    for each in kept:
        del fake.statuses[each]
    body = {} if status in (404, 410) else {"error": "invented"}
    tries = 1 if status in (404, 410) else recheck.TRIES
    fake.script.add(*[Refuse(path=f"/api/v1/statuses/{first}", status=status, body=body) for _ in range(tries)])
    source = asking(fake, kept)
    async with Reading(source) as reading, ticking(fake):
        gone = await reading.next()
    assert (gone.id, source.health.last_error) == (kept[second], None), "the stream is well"


async def test_an_answer_is_not_lost_where_the_next_request_fails(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 2)
    edited, deleted = kept
    fake.edit(edited, "<p>other words</p>")
    fake.delete(deleted)
    fake.script.add(Refuse(path=f"/api/v1/statuses/{deleted}", status=500))
    source = asking(fake, kept)
    async with Reading(source) as reading, ticking(fake):
        old, new, gone = [await reading.next() for _ in range(3)]
    assert (old.id, new.text, gone.id) == (kept[edited], "other words", kept[deleted])


async def test_what_cannot_be_answered_for_twenty_is_asked_one_by_one(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 2)
    fake.delete(list(kept)[1])
    fake.script.add(*[Refuse(path="/api/v1/statuses", status=500) for _ in range(recheck.TRIES)])
    source = asking(fake, kept)
    async with Reading(source) as reading, ticking(fake):
        assert (await reading.next()).id == kept[list(kept)[1]]
    assert len(asked_again(fake)) >= recheck.TRIES + 2


async def test_asking_again_leaves_requests_for_pages(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 100)
    ids = list(kept)
    fake.delete(ids[99])
    source = asking(fake, kept)
    async with Reading(source) as reading:
        await started(fake, source)
        fake.remaining = mastodon_requests.RESERVE + 2
        async with ticking(fake):
            assert (await reading.next()).id == kept[ids[99]]
    assert fake.time.now >= streaming.START + 5 * MINUTE
    assert source.health.last_error is None


async def test_once_a_day_all_is_asked_about(fake: fakes.FakeMastodon) -> None:
    kept = before(fake, 1)
    (only,) = kept
    source = asking(fake, kept)
    async with Reading(source) as reading:
        assert await asked_times(fake, reading, 1) == []
        fake.statuses.pop(only)
        async with ticking(fake, 600):
            assert (await reading.next()).id == kept[only]
    assert fake.time.now >= streaming.START + timedelta(days=1)


@pytest.mark.parametrize("hours", [-3, 9])
async def test_an_instance_whose_clock_was_set_back_shows_all_that_was_missed(
    hours: float, fake: fakes.FakeMastodon
) -> None:
    """``hours``: set back by, or after having been ahead by."""
    source = make_source(fake)
    async with Reading(source) as reading:
        await started(fake, source)
        fake.wrong = timedelta(hours=max(hours, 0))
        fake.create("<p>first</p>")
        await reading.next()
        fake.script.add(Break())
        fake.wrong = timedelta(hours=min(hours, 0))
        for number in range(50):
            fake.time.advance_to(fake.time.now + timedelta(seconds=1))
            fake.create(f"<p>missed {number}</p>")
        items = [await reading.next() for _ in range(51)]
    assert {item.text for item in items[:50]} == {f"missed {number}" for number in range(50)}
    assert isinstance(items[50], post.Gap)


async def test_where_our_clock_was_set_back_all_that_may_be_missing_is_the_gap(fake: fakes.FakeMastodon) -> None:
    later = int((streaming.START + 60 * MINUTE).timestamp() * 1000)
    last = streaming.START - 5 * MINUTE
    arrivals = await take(make_source(fake), 1, f"{fakes.snowflake(last, 0)}@{later}")
    gap = arrivals[0].item
    assert isinstance(gap, post.Gap)
    assert (gap.since, gap.until) == (last, streaming.START + 60 * MINUTE)
