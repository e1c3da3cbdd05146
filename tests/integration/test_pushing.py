"""POST /ingest/{source}: signed, durable, once; from the request to the source that reads it."""

import asyncio
import contextlib
import gzip
import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot.domain import errors, post
from bot.ingest.ingester import Ingester
from bot.ingest.push import PushSource
from bot.store import pushed, sources
from bot.store.database import Database
from bot.web import pushing, server
from bot.web.guard import Guard
from bot.web.pushing import Door, Pushing
from tests import factories

SECRET = "an invented secret"


class Room:
    """The web server over a store; ``now`` stands still."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = factories.NOW
        self.per_second = 1000.0
        self.source = PushSource("control-room", provider="control-room")
        self.stack = contextlib.AsyncExitStack()
        self.http: aiohttp.ClientSession
        self.database: Database

    async def open(self) -> None:
        self.stack = contextlib.AsyncExitStack()
        self.database = self.stack.enter_context(Database.open(self.path))
        self.source.use(self.database)
        door = Door(source=self.source, secret=SECRET, per_second=self.per_second)
        other = Door(source=PushSource("other", provider="other"), secret="another", per_second=1.0)
        self.pushing = Pushing(self.database, [door, other], now=lambda: self.now)
        guard = Guard(token=None, now=lambda: self.now)
        address = await self.stack.enter_async_context(
            server.serve("127.0.0.1", 0, lambda: {"ok": True}, guard, routes=self.pushing.routes())
        )
        self.http = await self.stack.enter_async_context(aiohttp.ClientSession(address))

    async def restart(self) -> None:
        await self.stack.aclose()
        self.source = PushSource("control-room", provider="control-room")
        await self.open()

    async def push(
        self, body: bytes, *, to: str = "control-room", signature: str | None = None, **headers: str
    ) -> tuple[int, Any]:
        signed = {"X-Tocsin-Signature": self.sign(body) if signature is None else signature}
        async with self.http.post(f"/ingest/{to}", data=io.BytesIO(body), headers=signed | headers) as answer:
            self.headers = answer.headers
            return answer.status, await answer.json()

    def sign(self, body: bytes, *, late: timedelta = timedelta(0), secret: str = SECRET) -> str:
        at = int((self.now - late).timestamp())
        return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"

    async def waiting(self) -> list[bytes]:
        found = await self.database.read(pushed.after, "control-room", 0, 1000)
        return [each.line for each in found]

    async def take(self, count: int, after: str | None = None) -> list[post.Arrival]:
        found: list[post.Arrival] = []
        async with asyncio.timeout(20), contextlib.aclosing(self.source.posts(after)) as posts:
            async for arrival in posts:
                found.append(arrival)
                if len(found) == count:
                    break
        return found

    async def record(self, cursor: str) -> None:
        """What the pipeline does with what it has read."""
        await self.database.write(sources.save_cursor, "control-room", cursor, self.now)


@pytest.fixture
async def room(tmp_path: Path) -> AsyncIterator[Room]:
    made = Room(tmp_path / "store.db")
    await made.open()
    yield made
    await made.stack.aclose()


def line(number: int = 1, **fields: Any) -> bytes:
    defaults = {
        "source": "control-room", "id": f"call-{number}", "text": f"Smoke over the quay, call {number}",
        "created_at": "2031-05-14T12:00:00Z",
    }  # fmt: skip
    return json.dumps(defaults | fields).encode()


def lines(*numbers: int) -> bytes:
    return b"\n".join(line(number) for number in numbers)


def ids(arrivals: list[post.Arrival]) -> list[str | None]:
    return [arrival.item.id for arrival in arrivals if isinstance(arrival.item, post.Post | post.Deletion)]


async def test_what_is_accepted_is_in_the_store_and_comes_out_in_order(room: Room) -> None:
    assert await room.push(lines(1, 2)) == (202, {"accepted": 2, "repeated": 0})
    gone = json.dumps({"source": "control-room", "id": "call-1", "deleted_at": "2031-05-14T12:01:00Z"}).encode()
    assert await room.push(b"\n\n" + gone + b"\r\n") == (202, {"accepted": 1, "repeated": 0})
    assert len(await room.waiting()) == 3
    found = await room.take(3)
    assert ids(found) == ["call-1", "call-2", "call-1"]
    assert [type(arrival.item).__name__ for arrival in found] == ["Post", "Post", "Deletion"]
    assert {arrival.at for arrival in found} == {room.now}


async def test_it_wakes_a_source_that_waits(room: Room) -> None:
    inbox: asyncio.Queue[post.Arrival] = asyncio.Queue(10)
    reading = asyncio.create_task(Ingester([room.source], inbox=inbox, cursors={}).run())
    while not room.source.health.answered:
        await asyncio.sleep(0)
    await room.push(lines(7))
    async with asyncio.timeout(20):
        assert ids([await inbox.get()]) == ["call-7"]
    reading.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await reading


async def test_a_restart_goes_on_after_what_was_recorded_and_that_is_deleted(room: Room) -> None:
    await room.push(lines(1, 2, 3))
    first, second = await room.take(2)
    await room.record(first.cursor)
    await room.restart()
    assert ids(await room.take(2, first.cursor)) == ["call-2", "call-3"]
    assert await room.waiting() == [line(2), line(3)]
    await room.record(second.cursor)
    await room.restart()
    await room.push(lines(4))
    found = await room.take(2, second.cursor)
    assert ids(found) == ["call-3", "call-4"]
    await room.record(found[-1].cursor)
    await room.restart()
    await room.push(lines(5))
    assert ids(await room.take(1, found[-1].cursor)) == ["call-5"], "numbers are never used again"


async def test_what_waits_already_is_not_taken_twice(room: Room) -> None:
    await room.push(lines(1, 2))
    room.now += timedelta(seconds=1)
    assert await room.push(lines(2, 3, 3)) == (202, {"accepted": 1, "repeated": 2})
    assert ids(await room.take(3)) == ["call-1", "call-2", "call-3"]


def gone(number: int, at: str) -> bytes:
    return json.dumps({"source": "control-room", "id": f"call-{number}", "deleted_at": at}).encode()


def gone_account(at: str) -> bytes:
    return json.dumps({"source": "control-room", "author": "desk-7", "deleted_at": at}).encode()


@pytest.mark.parametrize("deletion", [lambda at: gone(1, at), gone_account])
async def test_a_later_deletion_of_the_same_is_another_one_and_stays_behind_the_post(room: Room, deletion: Any) -> None:
    early, late = deletion("2031-05-14T12:01:00Z"), deletion("2031-05-14T12:02:00Z")
    for body in (early, line(1, author="desk-7"), late):
        assert await room.push(body) == (202, {"accepted": 1, "repeated": 0})
    room.now += timedelta(seconds=1)
    assert await room.push(late) == (202, {"accepted": 0, "repeated": 1})
    found = await room.take(3)
    assert [type(arrival.item).__name__ for arrival in found] == ["Deletion", "Post", "Deletion"]
    assert len(await room.waiting()) == 3


async def test_a_request_is_good_once_also_after_a_restart(room: Room) -> None:
    body = lines(1)
    signature = room.sign(body)
    assert (await room.push(body, signature=signature))[0] == 202
    refused = await room.push(body, signature=signature)
    assert refused[0] == 401
    await room.restart()
    room.now += timedelta(minutes=4)
    assert await room.push(body, signature=signature) == refused
    assert len(await room.waiting()) == 1


async def test_every_refusal_of_a_signature_reads_the_same(room: Room) -> None:
    body = lines(1)
    good = room.sign(body)
    answers = [
        await room.push(body, signature=""),
        await room.push(body, signature=good[:-1] + ("0" if good[-1] != "0" else "1")),
        await room.push(body, signature=good.replace(",", ", ")),
        await room.push(body + b" ", signature=good),
        await room.push(body, signature=room.sign(body, late=timedelta(minutes=5, seconds=1))),
        await room.push(body, signature=room.sign(body, late=-timedelta(minutes=5, seconds=1))),
        await room.push(body, signature=room.sign(body, secret="another")),
        await room.push(body, to="other"),
        await room.push(body, to="nobody"),
        await room.push(body, to="nobody", signature=room.sign(body, secret="")),
    ]
    assert answers == [(401, {"error": "not signed as it has to be"})] * len(answers)
    assert await room.waiting() == []


async def test_a_signature_of_five_minutes_is_good(room: Room) -> None:
    body = lines(1)
    assert (await room.push(body, signature=room.sign(body, late=timedelta(minutes=5))))[0] == 202


async def test_one_bad_line_and_none_is_taken(room: Room) -> None:
    body = b"\n".join([line(1), b"{", line(2, source="bluesky"), b"", line(3, text=None)])
    status, answer = await room.push(body)
    assert status == 400
    assert [fault["line"] for fault in answer["errors"]] == [2, 3, 5]
    assert "Smoke" not in json.dumps(answer)
    assert await room.waiting() == []


@pytest.mark.parametrize("body", [b"", b"\n \r\n"])
async def test_nothing_is_nothing_to_take(room: Room, body: bytes) -> None:
    assert (await room.push(body))[0] == 400


async def test_a_mebibyte_is_taken_and_a_byte_more_is_not(room: Room) -> None:
    most = line(1) + b" " * (pushing.MOST_BYTES - len(line(1)))
    assert (await room.push(most))[0] == 202
    assert (await room.push(most + b" "))[0] == 413


async def test_a_body_without_a_length_is_measured_while_it_comes(room: Room) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 65536

    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with room.http.post("/ingest/control-room", data=endless()) as answer:
            assert answer.status == 413
    assert await room.waiting() == []


async def test_compressed_bodies_are_refused(room: Room) -> None:
    assert (await room.push(gzip.compress(lines(1)), **{"Content-Encoding": "gzip"}))[0] == 415


async def test_who_sends_too_fast_is_told_when_to_come_back(room: Room) -> None:
    room.per_second = 2.0
    await room.restart()
    assert (await room.push(lines(*range(10))))[0] == 202
    assert (await room.push(lines(20)))[0] == 429
    wait_s = int(room.headers["Retry-After"])
    assert 1 <= wait_s <= 10
    room.now += timedelta(seconds=wait_s)
    assert (await room.push(lines(20)))[0] == 202


async def test_requests_at_the_same_time_get_no_more_than_one_after_the_other(room: Room) -> None:
    room.per_second = 2.0
    await room.restart()
    answers = await asyncio.gather(*(room.push(lines(*range(10 * n, 10 * n + 10))) for n in range(6)))
    assert sorted(status for status, _ in answers) == [202, 429, 429, 429, 429, 429]
    assert len(await room.waiting()) == 10


async def test_what_was_not_taken_does_not_count(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.per_second = 2.0
    await room.restart()
    with monkeypatch.context() as small:
        small.setattr(pushing, "WAITING_MOST", 3)
        assert (await room.push(lines(*range(10))))[0] == 503
    assert (await room.push(lines(*range(9))))[0] == 202


async def test_a_store_that_cannot_be_written_is_no_202(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(*_: object) -> int:
        raise errors.StoreError("store: the disk is full; free some space")

    with monkeypatch.context() as broken:
        broken.setattr(room.database, "write", full)
        assert (await room.push(lines(1)))[0] == 503
    assert (await room.push(lines(1)))[0] == 202


async def test_more_than_can_wait_is_refused_for_now(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "WAITING_MOST", 3)
    assert (await room.push(lines(1, 2, 3)))[0] == 202
    room.now += timedelta(seconds=1)
    assert (await room.push(lines(4)))[0] == 503
    assert "Retry-After" in room.headers


async def test_more_bytes_than_can_wait_are_refused_for_now(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "WAITING_MOST_BYTES", 2 * len(line(1)))
    assert (await room.push(lines(1, 2)))[0] == 202
    room.now += timedelta(seconds=1)
    assert (await room.push(lines(3)))[0] == 503
    arrivals = await room.take(2)
    await room.record(arrivals[-1].cursor)
    await room.database.write(pushed.forget, "control-room")
    assert (await room.push(lines(3)))[0] == 202, "what was refused may come again, signed as before"


async def test_without_a_push_source_there_is_no_route(room: Room) -> None:
    assert list(Pushing(room.database, [], now=lambda: room.now).routes()) == []
    assert isinstance(room.pushing.routes()[0], web.RouteDef)


async def test_a_cursor_of_another_source_is_refused(room: Room) -> None:
    with pytest.raises(errors.UsageError, match="was the source renamed"):
        await room.take(1, "host:1:2")


@given(st.binary(max_size=400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_breaks_the_reading(body: bytes) -> None:
    taken, faults = pushing._read(body, "control-room", factories.NOW)
    assert len(taken) + len(faults) <= body.count(b"\n") + 1


async def test_days_of_pushing_with_crashes_lose_nothing_and_bring_nothing_twice(room: Room) -> None:
    """The sender repeats what was not answered; the service is killed between reading and recording."""
    seen: list[str | None] = []
    cursor: str | None = None
    for day in range(6):
        for hour in range(8):
            room.now += timedelta(hours=3)
            numbers = [100 * day + 10 * hour + n for n in range(5)]
            assert (await room.push(lines(*numbers)))[0] == 202
            if hour % 3 == 1:  # its answer was lost on the way: the sender signs and sends it again
                room.now += timedelta(seconds=2)
                assert (await room.push(lines(*numbers))) == (202, {"accepted": 0, "repeated": 5})
            found = await room.take(5, cursor)
            if hour == 4:
                await room.restart()  # read, and not recorded
                continue_at = await room.database.read(sources.cursors)
                assert continue_at.get("control-room") == cursor
                found = await room.take(5, cursor)
            seen += ids(found)
            cursor = found[-1].cursor
            await room.record(cursor)
    assert seen == [f"call-{100 * d + 10 * h + n}" for d in range(6) for h in range(8) for n in range(5)]
