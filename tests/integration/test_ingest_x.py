"""XSource against FakeX: the real client, a real stream, rules and lookups."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot import app, config
from bot.domain import errors, post
from bot.ingest import x, x_reading, x_requests
from bot.ingest.source import State
from bot.store import posts
from bot.store.database import Database
from tests import factories
from tests.fakes import streaming
from tests.fakes import x as fakes
from tests.fakes.streaming import Break, Endless, Nameless, Refuse, Untrusted
from tests.worlds import World

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


async def test_rules_are_kept_in_step_and_others_left_alone(fake: fakes.FakeX) -> None:
    fake.rules = [
        {"id": "1", "value": "old", "tag": "tocsin"},
        {"id": "2", "value": "fire lang:en", "tag": "tocsin"},
        {"id": "3", "value": "somebody's", "tag": "theirs"},
        {"id": "4", "value": "shared", "tag": "theirs"},
        {"id": "5", "value": "untagged"},
    ]
    source = make_source(fake, rules=["fire lang:en", "flood", "shared"])
    async with Reading(source) as reading:
        fake.post("theirs only", rule="3")
        fake.post("shared", rule="4")
        assert (await reading.next()).text == "shared"
    assert [(rule["value"], rule.get("tag")) for rule in fake.rules] == [
        ("fire lang:en", "tocsin"),
        ("somebody's", "theirs"),
        ("shared", "theirs"),
        ("untagged", None),
        ("flood", "tocsin"),
    ]
    assert source.health.skipped == 1


async def test_a_refused_rule_is_named_and_the_others_are_read(fake: fakes.FakeX) -> None:
    source = make_source(fake, rules=["(bad", "flood"])
    async with Reading(source) as reading:
        while source.health.state is not State.LIVE:
            await asyncio.sleep(0)
        fake.post("water")
        assert (await reading.next()).text == "water"
    assert "X refuses the rule '(bad': There were errors" in (source.health.last_error or "")
    assert "under rules of [[source]] x" in (source.health.remedy or "")


async def test_without_a_rule_there_is_no_stream(fake: fakes.FakeX) -> None:
    source = make_source(fake, rules=["bad"])
    async with Reading(source):
        while not fake.time.slept:
            await asyncio.sleep(0)
    assert "took none of the rules" in (source.health.last_error or "")
    assert fake.time.slept[0] == 5
    assert not fake.asked(STREAM)


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
    assert before.cursor == ms()
    assert gap.cursor == after.cursor == ms(timedelta(seconds=15))
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
    assert ms(-SECOND) <= first.cursor <= ms(), (
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
    assert gap.cursor == ms(-5 * MINUTE)
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


@pytest.mark.parametrize("cursor", ["", "x", "5@5", "9" * 30])
async def test_a_foreign_cursor_is_refused(cursor: str, fake: fakes.FakeX) -> None:
    with pytest.raises(errors.UsageError, match="none of X's"):
        await anext(make_source(fake).posts(cursor))


async def test_stored_posts_are_asked_about_and_what_is_gone_is_deleted(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(250)]
    fake.gone = {ids[0]: "resource-not-found", ids[120]: "not-authorized-for-resource", ids[3]: "something-else"}
    fake.withheld = {ids[130]}
    fake.edits = {ids[240]: [ids[240], ids[241]]}
    source = make_source(fake, stored=keeping(*ids, "not an id"))
    async with Reading(source) as reading:
        ticking = asyncio.create_task(tick(fake))
        gone = [await reading.next() for _ in range(4)]
        ticking.cancel()
    assert {item.id for item in gone} == {ids[0], ids[120], ids[130], ids[240]}
    assert all(isinstance(item, post.Deletion) and item.provider == "x" for item in gone)
    assert sorted(fake.looked_up) == ids, "each once"


async def test_the_recheck_keeps_the_rate_limit_and_survives_refusals(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(201)]
    fake.gone = dict.fromkeys(ids, "resource-not-found")
    fake.remaining = 1
    fake.script.add(Refuse(path=LOOKUP, exactly=True, status=503))
    source = make_source(fake, stored=keeping(*ids))
    seen: list[tuple[int, timedelta]] = []
    async with Reading(source) as reading:
        ticking = asyncio.create_task(tick(fake))
        for _ in ids:
            await reading.next()
            seen.append((len(fake.looked_up), fake.time.now - streaming.START))
        ticking.cancel()
    at = dict(reversed(seen))
    assert at[100] >= MINUTE, "after a refusal it waits a minute"
    assert at[200] - at[100] >= 14 * MINUTE, "the window of 15 minutes was used up"
    assert source.health.last_error is None, "the stream is well"


async def test_a_round_that_takes_longer_than_the_terms_allow_is_said(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(300)]
    fake.gone = {ids[250]: "resource-not-found", ids[150]: "resource-not-found"}
    source = make_source(fake, stored=keeping(*ids))
    async with Reading(source) as reading:
        await reading.next()
        fake.time.advance_to(fake.time.now + timedelta(hours=25))
        ticking = asyncio.create_task(tick(fake))
        await reading.next()
        ticking.cancel()
    assert "within 24 hours" in (source.health.last_error or "")
    assert "narrow the rules" in (source.health.remedy or "")


async def test_what_a_store_keeps_is_what_is_asked_about(tmp_path: Path) -> None:
    world = World(tmp_path / "store.db")
    with contextlib.closing(world), Database.open(tmp_path / "store.db") as database:
        for key in ("x|101", "x|102", "bluesky|at://a", "x|103"):
            await database.write(posts.add, world.candidate(key))
        await database.write(
            lambda db: posts.delete(
                db,
                post.Deletion(provider="x", id="102", deleted_at=factories.NOW),
                after_seq=4,
                stream_at=factories.NOW,
            )
        )
        assert await database.read(posts.kept_ids, "x", factories.NOW - timedelta(days=365)) == ["103", "101"]
        assert await database.read(posts.kept_ids, "x", factories.NOW + timedelta(days=365)) == []


async def test_a_mark_says_how_far_it_has_heard(fake: fakes.FakeX) -> None:
    async with contextlib.aclosing(make_source(fake).posts(ms())) as reading:
        ticking = asyncio.create_task(tick(fake))
        async with asyncio.timeout(10):
            while not isinstance((arrival := await anext(reading)).item, post.Mark):
                pass
        ticking.cancel()
    assert int(arrival.cursor) >= int(ms(timedelta(minutes=5)))


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


async def tick(fake: fakes.FakeX) -> None:
    """Keep-alives, 20 s apart."""
    while True:
        fake.time.advance_to(fake.time.now + timedelta(seconds=20))
        fake.say(b"")
        fake.time.looked.clear()
        await fake.time.looked.wait()


# Clocks, restarts and backfill.


async def test_where_the_first_connection_began_is_kept_at_once(fake: fakes.FakeX) -> None:
    async with contextlib.aclosing(make_source(fake).posts(None)) as reading:
        first = await anext(reading)
    assert isinstance(first.item, post.Mark)
    assert first.cursor == ms()


@pytest.mark.parametrize("wrong", [-60 * MINUTE, 60 * MINUTE])
async def test_a_restart_while_our_clock_is_wrong_is_the_same_gap(wrong: timedelta, fake: fakes.FakeX) -> None:
    fake.time.jump(wrong)
    async with Reading(make_source(fake)) as reading:
        fake.post("before")
        before = await reading.arrival()
    assert before.cursor == ms()
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
    assert gap.cursor == ms()


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
    assert {arrival.cursor for arrival in arrivals} == {before.cursor}
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
    assert late.cursor == ms(), "after a kill here, the gap begins before it"
    assert now.cursor == ms(MINUTE), "and goes on with what was read, since more may lie in a buffer"


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


# Rules.


async def test_a_rule_that_x_did_not_have_while_we_were_away_is_a_gap_in_spite_of_backfill(fake: fakes.FakeX) -> None:
    async with Reading(make_source(fake, backfill_minutes=5)) as reading:
        fake.post("before")
        before = await reading.arrival()
    old = fake.rules[0]["id"]
    fake.time.advance_to(streaming.START + MINUTE)
    fake.post("of the old rule", rule=old)
    source = make_source(fake, backfill_minutes=5, rules=["flood"])
    async with Reading(source, before.cursor) as reading:
        gap = await reading.arrival()
        fake.post("of the new rule")
        assert (await reading.next()).text == "of the new rule"
    assert isinstance(gap.item, post.Gap)
    assert gap.item.since == streaming.START - x_reading.LATE
    assert gap.item.until == streaming.START + MINUTE + x_reading.DATED
    assert gap.item.reason == "not connected, with rules that X did not have"
    assert source.health.skipped == 2, "what only the old rule matched"


async def test_rules_that_others_took_away_are_set_again_at_the_next_connection(fake: fakes.FakeX) -> None:
    async with Reading(make_source(fake)) as reading:
        fake.post("before")
        await reading.next()
        fake.rules.clear()
        fake.time.advance_to(streaming.START + 16 * MINUTE)
        fake.script.add(Break())
        fake.say(b"")
        assert (await reading.next()).reason == "not connected, with rules that X did not have"
        fake.post("after", rule=fake.rules[0]["id"])
        assert (await reading.next()).text == "after"


async def test_rules_that_cannot_be_looked_through_again_do_not_keep_us_from_connecting(fake: fakes.FakeX) -> None:
    async with Reading(make_source(fake)) as reading:
        fake.post("before")
        await reading.next()
        fake.time.advance_to(streaming.START + 16 * MINUTE)
        fake.script.add(Break(), Refuse(path=RULES, status=429, headers={"Retry-After": "800"}))
        fake.say(b"")
        assert isinstance(await reading.next(), post.Gap)
    assert fake.time.slept == [0.25]


async def test_rules_that_hang_or_are_refused_are_asked_for_again(
    fake: fakes.FakeX, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(x_requests, "REQUEST_S", 0.2)
    fake.script.add(Endless(path=RULES), Refuse(path=RULES, status=429, headers={"Retry-After": "20"}))
    source = make_source(fake)
    async with Reading(source) as reading:
        while source.health.state is not State.LIVE:
            await asyncio.sleep(0)
        fake.post("now")
        assert (await reading.next()).text == "now"
    assert fake.time.slept == [0.25, 20]


async def test_a_refused_rule_does_not_keep_out_the_others_of_its_order(fake: fakes.FakeX) -> None:
    fake.whole_orders = True
    source = make_source(fake, rules=["flood", "(bad", "smoke"])
    async with Reading(source):
        while source.health.state is not State.LIVE:
            await asyncio.sleep(0)
    assert [rule["value"] for rule in fake.rules] == ["flood", "smoke"]
    assert "X refuses the rule '(bad'" in (source.health.last_error or "")


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


# Deletions.


async def test_deletions_are_asked_about_while_the_stream_is_refused_for_a_day(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(250)]
    fake.gone = {ids[0]: "resource-not-found"}
    fake.script.add(Refuse(path=STREAM, exactly=True, status=429, headers={"Retry-After": "86400"}))
    async with Reading(make_source(fake, stored=keeping(*ids))) as reading:
        gone = await reading.next()
        assert (gone.id, len(fake.asked(STREAM))) == (ids[0], 1)
    assert fake.time.now < streaming.START + MINUTE


async def test_a_service_that_starts_again_and_again_comes_to_all_posts(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(550)]
    cursor = None
    for _ in range(6):
        async with contextlib.aclosing(make_source(fake, stored=keeping(*reversed(ids))).posts(cursor)) as reading:
            began, cursor = await anext(reading), (await anext(reading)).cursor
        assert isinstance(began.item, post.Mark | post.Gap)
    assert fake.looked_up[:550] == ids[::-1], "the newest first"
    assert fake.looked_up[550:] == ids[:-51:-1], "and around"


async def test_a_deletion_is_told_before_the_cursor_goes_on(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(250)]
    fake.gone = {ids[220]: "resource-not-found"}
    async with contextlib.aclosing(make_source(fake, stored=keeping(*ids)).posts(None)) as reading:
        await anext(reading)
        gone, mark = await anext(reading), await anext(reading)
    assert isinstance(gone.item, post.Deletion)
    assert (gone.item.id, gone.cursor) == (ids[220], ms())
    assert (type(mark.item), mark.cursor) == (post.Mark, f"{ms()}:{ids[150]}")


async def test_what_is_no_id_of_x_does_not_keep_the_others_from_being_asked_about(fake: fakes.FakeX) -> None:
    good = "1900000000000000001"
    fake.gone = {good: "resource-not-found"}
    stored = keeping("at://a", "9" * 19, "9" * 30, "\u0661\u0662", good)
    async with Reading(make_source(fake, stored=stored)) as reading:
        ticking = asyncio.create_task(tick(fake))
        assert (await reading.next()).id == good
        ticking.cancel()
    assert fake.looked_up == [good]


WITHHELD = {"copyright": False, "country_codes": ["XX"]}


@pytest.mark.parametrize("whose", ["its own", "its original's"])
async def test_what_is_withheld_in_a_country_is_left_out_and_taken_back(whose: str, fake: fakes.FakeX) -> None:
    original = "1900000000000000001"
    fields: dict[str, Any] = {"withheld": WITHHELD}
    if whose != "its own":
        said = {"id": original, "text": "Smoke in full", "withheld": WITHHELD}
        fields = {"referenced_tweets": [{"type": "retweeted", "id": original}], "includes": {"tweets": [said]}}
    source = make_source(fake)
    async with Reading(source) as reading:
        withheld = fake.post("RT Smoke", **fields)
        fake.post("the end")
        assert (await reading.next()).text == "the end"
    assert source.health.skipped == 1

    fake.withheld = {withheld if whose == "its own" else original}
    fake.retweets = {} if whose == "its own" else {withheld: original}
    async with Reading(make_source(fake, stored=keeping(withheld, original + "1"))) as reading:
        ticking = asyncio.create_task(tick(fake))
        assert (await reading.next()).id == withheld
        ticking.cancel()


async def test_an_edit_with_an_id_that_is_lower_is_one_too(fake: fakes.FakeX) -> None:
    async with Reading(make_source(fake)) as reading:
        old = fake.post("first words")
        await reading.next()
        fake.skewed = -60 * MINUTE
        new = fake.edit(old, "second words")
        gone, item = await reading.next(), await reading.next()
    assert int(new) < int(old)
    assert isinstance(gone, post.Deletion)
    assert (gone.id, gone.replaced_by, item.id) == (old, new, new)

    async with Reading(make_source(fake, stored=keeping(old, new))) as reading:
        ticking = asyncio.create_task(tick(fake))
        assert (await reading.next()).id == old
        ticking.cancel()
