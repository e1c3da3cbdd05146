"""XSource asks FakeX again about stored posts: rounds, restarts, refusals, and what is said about them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.domain import post
from bot.ingest import x_cursor, x_requests
from bot.ingest.source import State
from bot.store import posts
from bot.store.database import Database
from tests import factories
from tests.fakes import streaming
from tests.fakes import x as fakes
from tests.fakes.streaming import Endless, Refuse
from tests.integration.test_ingest_x import LOOKUP, MINUTE, STREAM, Reading, keeping, make_source, ticking
from tests.worlds import World

IDS = [str(1_900_000_000_000_000_000 + number) for number in range(300)]


@pytest.fixture
async def fake() -> AsyncIterator[fakes.FakeX]:
    async with fakes.FakeX(streaming.Time(), backfill=True) as server:
        yield server
        assert server.script.left == []


async def asked_once(fake: fakes.FakeX, ids: Sequence[str], cursor: str | None) -> str:
    """A life that ends when it has recorded how far it asked."""
    before = None if cursor is None else x_cursor.parse(cursor).asked
    async with contextlib.aclosing(make_source(fake, stored=keeping(*ids)).posts(cursor)) as reading:
        async with asyncio.timeout(10), ticking(fake):
            while x_cursor.parse(told := (await anext(reading)).cursor).asked == before:
                pass
    return told


async def test_stored_posts_are_asked_about_and_what_is_gone_is_deleted(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(250)]
    fake.gone = {ids[0]: "resource-not-found", ids[120]: "not-authorized-for-resource", ids[3]: "something-else"}
    fake.withheld = {ids[130]}
    fake.edits = {ids[240]: [ids[240], ids[241]]}
    source = make_source(fake, stored=keeping(*ids, "not an id"))
    async with Reading(source) as reading, ticking(fake):
        gone = [await reading.next() for _ in range(4)]
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
    async with Reading(source) as reading, ticking(fake):
        for _ in ids:
            await reading.next()
            seen.append((len(fake.looked_up), fake.time.now - streaming.START))
    at = dict(reversed(seen))
    assert at[100] >= MINUTE, "after a refusal it waits a minute"
    assert at[200] - at[100] >= 14 * MINUTE, "the window of 15 minutes was used up"
    assert source.health.last_error is None, "the stream is well"


async def test_a_round_that_takes_longer_than_the_terms_allow_is_said_once(
    fake: fakes.FakeX, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.gone = {IDS[250]: "resource-not-found", IDS[150]: "resource-not-found", IDS[20]: "resource-not-found"}
    source = make_source(fake, stored=keeping(*IDS))
    async with Reading(source) as reading:
        await reading.next()
        fake.time.advance_to(fake.time.now + timedelta(hours=13))
        async with ticking(fake):
            await reading.next()
            await reading.next()
    assert "within 24 hours" in (source.health.last_error or "")
    assert "narrow the rules" in (source.health.remedy or "")
    assert capsys.readouterr().out.count("recheck_overdue") == 1


async def test_a_round_that_is_never_through_is_said_across_restarts_with_what_ails_it(fake: fakes.FakeX) -> None:
    cursor, what = None, []
    for _ in range(3):
        fake.script.add(Refuse(path=LOOKUP, exactly=True, status=429, headers={"Retry-After": "86400"}))
        source = make_source(fake, stored=keeping(*IDS))
        until = fake.time.now + timedelta(hours=5)
        async with contextlib.aclosing(source.posts(cursor)) as arrivals, ticking(fake, MINUTE):
            async for arrival in arrivals:
                cursor = arrival.cursor
                if fake.time.now > until:
                    break
        what.append(source.health.last_error)
        fake.time.advance_to(fake.time.now + timedelta(hours=1))
    assert what[:2] == [None, None]
    assert "within 24 hours which of its posts were deleted: asking which posts were deleted:" in (what[2] or "")
    assert "we ask too often (429)" in (what[2] or "")
    assert "another Tocsin" in (source.health.remedy or "")


async def test_a_plan_that_cannot_look_up_posts_is_said_at_once(fake: fakes.FakeX) -> None:
    problem = {"title": "Client Forbidden", "type": f"{fakes.PROBLEMS}/client-forbidden"}
    fake.script.add(Refuse(path=LOOKUP, exactly=True, status=403, body=problem))
    source = make_source(fake, stored=keeping(*IDS))
    async with Reading(source) as reading:
        fake.post("the stream is well")
        assert (await reading.next()).text == "the stream is well"
        assert source.health.state is State.LIVE
    assert "asking which posts were deleted: " in (source.health.last_error or "")
    assert "refused us (403): Client Forbidden" in (source.health.last_error or "")
    assert "has to include looking up posts" in (source.health.remedy or "")


async def test_what_fails_again_and_again_is_said(fake: fakes.FakeX) -> None:
    fake.gone = {IDS[0]: "resource-not-found"}
    fake.script.add(*[Refuse(path=LOOKUP, exactly=True, status=429, headers={"Retry-After": "60"})] * 3)
    source = make_source(fake, stored=keeping(*IDS))
    async with Reading(source) as reading, ticking(fake):
        await reading.next()
    assert (source.health.last_error or "").startswith("asking which posts were deleted: ")
    assert "we ask too often (429)" in (source.health.last_error or "")


async def test_a_lookup_that_hangs_is_given_up_and_tried_again(
    fake: fakes.FakeX, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(x_requests, "REQUEST_S", 0.2)
    fake.gone = {IDS[0]: "resource-not-found"}
    fake.script.add(Endless(path=LOOKUP, exactly=True))
    async with Reading(make_source(fake, stored=keeping(*IDS))) as reading:
        fake.post("meanwhile")
        assert (await reading.next()).text == "meanwhile"
        async with ticking(fake):
            assert (await reading.next()).id == IDS[0]
    assert fake.time.slept == [], "the stream went on"


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


async def test_deletions_are_asked_about_while_the_stream_is_refused_for_a_day(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(250)]
    fake.gone = {ids[0]: "resource-not-found"}
    fake.script.add(Refuse(path=STREAM, exactly=True, status=429, headers={"Retry-After": "86400"}))
    async with Reading(make_source(fake, stored=keeping(*ids))) as reading:
        gone = await reading.next()
        assert (gone.id, len(fake.asked(STREAM))) == (ids[0], 1)
    assert fake.time.now < streaming.START + MINUTE


async def test_a_service_that_starts_again_and_again_comes_to_all_posts_and_then_to_the_newest(
    fake: fakes.FakeX,
) -> None:
    stored = IDS[:150]
    cursor = await asked_once(fake, stored, None)
    stored += IDS[150:270]
    for _ in range(3):
        cursor = await asked_once(fake, stored, cursor)
    rest, again = fake.looked_up[100:150], fake.looked_up[150:]
    assert fake.looked_up[:100] == IDS[149:49:-1], "the newest first"
    assert rest == IDS[49::-1], "then the rest of the round"
    assert again == IDS[269:69:-1], "and the next one begins with the newest, at once"


async def test_what_x_refuses_to_look_up_does_not_keep_the_others_back_after_restarts(fake: fakes.FakeX) -> None:
    cursor = None
    for refused in (True, False, False):
        if refused:
            fake.script.add(Refuse(path=LOOKUP, exactly=True, status=400))
        cursor = await asked_once(fake, IDS, cursor)
    assert fake.looked_up == IDS[199::-1]


async def test_a_deletion_is_told_before_the_cursor_goes_on(fake: fakes.FakeX) -> None:
    ids = [str(1_900_000_000_000_000_000 + number) for number in range(250)]
    fake.gone = {ids[220]: "resource-not-found"}
    async with contextlib.aclosing(make_source(fake, stored=keeping(*ids)).posts(None)) as reading:
        await anext(reading)
        gone, mark = await anext(reading), await anext(reading)
    assert isinstance(gone.item, post.Deletion)
    assert (gone.item.id, x_cursor.parse(gone.cursor).asked) == (ids[220], None)
    assert (type(mark.item), x_cursor.parse(mark.cursor).asked) == (post.Mark, ids[150])


async def test_what_is_no_id_of_x_does_not_keep_the_others_from_being_asked_about(fake: fakes.FakeX) -> None:
    good = "1900000000000000001"
    fake.gone = {good: "resource-not-found"}
    stored = keeping("at://a", "9" * 19, "9" * 30, "\u0661\u0662", good)
    async with Reading(make_source(fake, stored=stored)) as reading, ticking(fake):
        assert (await reading.next()).id == good
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
    async with Reading(make_source(fake, stored=keeping(withheld, original + "1"))) as reading, ticking(fake):
        assert (await reading.next()).id == withheld


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

    async with Reading(make_source(fake, stored=keeping(old, new))) as reading, ticking(fake):
        assert (await reading.next()).id == old
