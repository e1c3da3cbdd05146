"""XSource keeps its rules in step at FakeX, and says what it missed while somebody else changed them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from bot.domain import post
from bot.ingest import x_reading, x_requests
from bot.ingest.source import State
from tests.fakes import streaming
from tests.fakes import x as fakes
from tests.fakes.streaming import Break, Endless, Refuse
from tests.integration.test_ingest_x import MINUTE, RULES, STREAM, Reading, make_source, ticking


@pytest.fixture
async def fake() -> AsyncIterator[fakes.FakeX]:
    async with fakes.FakeX(streaming.Time(), backfill=True) as server:
        yield server
        assert server.script.left == []


async def test_rules_are_kept_in_step_and_others_left_alone(fake: fakes.FakeX) -> None:
    fake.rules = [
        {"id": "1", "value": "old", "tag": "tocsin:x"},
        {"id": "2", "value": "fire lang:en", "tag": "tocsin"},
        {"id": "6", "value": "of another Tocsin", "tag": "tocsin:staging"},
        {"id": "7", "value": "of an earlier one", "tag": "tocsin"},
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
        ("of another Tocsin", "tocsin:staging"),
        ("of an earlier one", "tocsin"),
        ("somebody's", "theirs"),
        ("shared", "theirs"),
        ("untagged", None),
        ("flood", "tocsin:x"),
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
        fake.time.advance_to(streaming.START + 10 * MINUTE)
        for _ in range(2):
            fake.post("still there")
            await reading.next()
        fake.rules.clear()
        fake.script.add(Break(), Refuse(path=STREAM, status=429, headers={"Retry-After": "600"}))
        fake.say(b"")
        gap = await reading.next()
        assert gap.reason == "not connected, with rules that X did not have"
        assert gap.since == streaming.START - x_reading.LATE, "when they were seen last"
        fake.post("after", rule=fake.rules[0]["id"])
        assert (await reading.next()).text == "after"


@pytest.mark.parametrize("changed", ["taken away", "set again"])
async def test_rules_that_others_change_while_we_listen_are_a_gap_and_no_silence(
    changed: str, fake: fakes.FakeX
) -> None:
    async with Reading(make_source(fake)) as reading:
        fake.post("before")
        await reading.next()
        fake.time.advance_to(streaming.START + 10 * MINUTE)
        fake.post("still there")
        last = await reading.arrival()
        fake.rules = [] if changed == "taken away" else [fake.rules[0] | {"id": "999999"}]
        fake.post("lost", rule="999999")
        async with ticking(fake):
            gap = await reading.next()
        fake.post("after")
        after = await reading.arrival()
    assert isinstance(gap, post.Gap)
    assert (gap.since, gap.reason) == (streaming.START - x_reading.LATE, "X did not have all of our rules")
    assert gap.until is not None
    assert streaming.START + 15 * MINUTE <= gap.until <= streaming.START + 16 * MINUTE
    assert isinstance(after.item, post.Post)
    assert after.item.text == "after"

    async with Reading(make_source(fake), last.cursor) as reading:
        gap = await reading.next()
    assert gap.since == streaming.START - x_reading.LATE, "killed before the gap was recorded, it is told again"
    async with Reading(make_source(fake), after.cursor) as reading:
        gap = await reading.next()
    assert gap.reason == "not connected", "once it was, it is not"


async def test_rules_that_stay_are_looked_through_and_say_nothing(fake: fakes.FakeX) -> None:
    told: list[post.Arrival] = []
    async with contextlib.aclosing(make_source(fake).posts(None)) as reading, ticking(fake), asyncio.timeout(10):
        while len(fake.asked(RULES)) < 6:
            told.append(await anext(reading))
    assert fake.time.now >= streaming.START + 45 * MINUTE
    assert {type(each.item) for each in told} == {post.Mark}


async def test_rules_that_hang_while_we_listen_do_not_end_the_stream(
    fake: fakes.FakeX, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Reading(make_source(fake)) as reading:
        fake.post("before")
        await reading.next()
        monkeypatch.setattr(x_requests, "REQUEST_S", 0.2)
        fake.time.advance_to(streaming.START + 16 * MINUTE)
        fake.script.add(Endless(path=RULES))
        for words in ("meanwhile", "after"):
            fake.post(words)
            assert (await reading.next()).text == words
    assert fake.time.slept == []


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
