"""POST /ingest/{source}: signed, durable, once; from the request to the source that reads it."""

import asyncio
import contextlib
import gzip
import hashlib
import hmac
import io
import json
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlite_utils
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from bot.domain import errors, post
from bot.ingest.ingester import Ingester
from bot.ingest.push import PushSource
from bot.store import migrations, pushed, sources
from bot.store.database import Database
from bot.web import pushing, server
from bot.web.guard import Guard
from bot.web.pushing import Door, Pushing
from tests import factories

SECRET = "an invented secret"
ENDED = timedelta(hours=1)  # so old is no signature good


class Room:
    """The web server over a store; ``now`` stands still."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.now = factories.NOW
        self.passed_s = 0.0
        self.read_within_s = pushing.READ_WITHIN_S
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
        self.pushing = Pushing(
            self.database,
            [door, other],
            now=lambda: self.now,
            monotonic=lambda: self.passed_s,
            read_within_s=self.read_within_s,
        )
        guard = Guard(token=None, now=lambda: self.now)
        address = await self.stack.enter_async_context(
            server.serve("127.0.0.1", 0, lambda: {"ok": True}, guard, routes=self.pushing.routes())
        )
        self.address = URL(address)
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

    @contextlib.asynccontextmanager
    async def half_sent(
        self, body: bytes, *, signature: str | None = None, late: timedelta = timedelta(0)
    ) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        """A connection on which all but the last byte of a signed body has come."""
        reader, writer = await asyncio.open_connection(self.address.host, self.address.port)
        signature = self.sign(body, late=late) if signature is None else signature
        head = f"X-Tocsin-Signature: {signature}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(b"POST /ingest/control-room HTTP/1.1\r\nHost: a\r\n" + head.encode() + body[:-1])
        await writer.drain()
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    def sign(self, body: bytes, *, late: timedelta = timedelta(0), secret: str = SECRET) -> str:
        at = int((self.now - late).timestamp())
        return f"t={at},v1={hmac.new(secret.encode(), f'{at}.'.encode() + body, hashlib.sha256).hexdigest()}"

    def held(self) -> int:
        return self.pushing._bodies._held

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


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.001)


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
    assert refused == (409, {"error": "this was taken before; to send it again, sign it with the present time"})
    await room.restart()
    room.now += timedelta(minutes=4)
    assert await room.push(body, signature=signature) == refused
    assert len(await room.waiting()) == 1


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_clock_that_is_set_forward_and_back_makes_no_request_good_again(room: Room, restarted: bool) -> None:
    body = lines(1)
    signature = room.sign(body)
    assert (await room.push(body, signature=signature))[0] == 202
    room.now += timedelta(hours=1)  # somebody sets it
    if restarted:
        await room.restart()
        room.passed_s += 5.0
    assert (await room.push(lines(2)))[0] == 202, "a sender on the same machine"
    room.now -= timedelta(hours=1)
    assert (await room.push(body, signature=signature))[0] == 409


async def test_signatures_are_forgotten_when_they_are_over(room: Room) -> None:
    for number in range(4):
        assert (await room.push(lines(number)))[0] == 202
        room.now += timedelta(minutes=11)
        room.passed_s += 660.0
    assert await room.database.read(lambda db: db["push_signatures"].count) == 1


async def test_signatures_are_forgotten_although_the_clock_was_far_behind_at_the_start(room: Room) -> None:
    now, room.now = room.now, room.now - timedelta(days=4000)
    await room.restart()
    assert (await room.push(lines(1)))[0] == 202
    room.now = now  # somebody sets it
    for number in range(200):
        assert (await room.push(lines(number)))[0] == 202
        room.now += timedelta(minutes=11)
        room.passed_s += 660.0
    assert await room.database.read(lambda db: db["push_signatures"].count) < 150


async def test_a_clock_that_is_set_forward_for_hours_and_back_makes_no_request_good_again(room: Room) -> None:
    def passes(minutes: int) -> None:
        room.now += timedelta(minutes=minutes)
        room.passed_s += 60.0 * minutes

    room.now += timedelta(hours=12)  # somebody sets it
    passes(30)
    body = lines(1)
    signature = room.sign(body)
    assert (await room.push(body, signature=signature))[0] == 202
    for number in range(2, 10):
        passes(60)
        assert (await room.push(lines(number)))[0] == 202
    room.now -= timedelta(hours=12)
    passes(240)
    assert (await room.push(body, signature=signature))[0] == 409


async def test_every_refusal_of_a_signature_reads_the_same(room: Room) -> None:
    body = lines(1)
    good = room.sign(body)
    answers = [
        await room.push(body, signature=""),
        await room.push(body, signature=good[:-1] + ("0" if good[-1] != "0" else "1")),
        await room.push(body, signature=good.replace(",", ", ")),
        await room.push(body + b" ", signature=good),
        await room.push(body, signature=room.sign(body, secret="another")),
        await room.push(body, signature=room.sign(body, secret="another", late=timedelta(hours=1))),
        await room.push(body, to="other"),
        await room.push(body, to="nobody"),
        await room.push(body, to="nobody", signature=room.sign(body, secret="")),
    ]
    assert answers == [(401, {"error": "not signed as it has to be"})] * len(answers)
    assert await room.waiting() == []


async def test_a_signature_of_five_minutes_is_good(room: Room) -> None:
    body = lines(1)
    assert (await room.push(body, signature=room.sign(body, late=timedelta(minutes=5))))[0] == 202


@pytest.mark.parametrize(
    ("late", "said"),
    [
        (timedelta(minutes=5, seconds=1), "signed 301 s behind our clock"),
        (-timedelta(hours=3), "signed 10800 s ahead of our clock"),
    ],
)
async def test_who_has_the_secret_is_told_that_a_clock_is_wrong(room: Room, late: timedelta, said: str) -> None:
    body = lines(1)
    status, answer = await room.push(body, signature=room.sign(body, late=late))
    assert status == 401
    assert said in answer["error"]
    assert answer["now"] == int(room.now.timestamp())
    assert "the clock of a sender" in (room.source.health.last_error or "")
    assert await room.waiting() == []


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

    signed = {"X-Tocsin-Signature": room.sign(b"")}
    with contextlib.suppress(aiohttp.ClientConnectionError):
        async with room.http.post("/ingest/control-room", data=endless(), headers=signed) as answer:
            assert answer.status == 413
    assert await room.waiting() == []


async def test_a_body_that_is_cut_off_is_no_error_of_ours(room: Room, caplog: pytest.LogCaptureFixture) -> None:
    async with room.half_sent(line(1)):
        await until(lambda: room.held() > 0)
    await until(lambda: room.held() == 0)
    assert (await room.push(line(2)))[0] == 202
    assert await room.waiting() == [line(2)]
    assert caplog.records == []


async def test_a_body_that_stops_coming_is_given_up(room: Room) -> None:
    room.read_within_s = 0.05
    await room.restart()
    async with asyncio.timeout(20), room.half_sent(line(1)) as (reader, _):
        assert b" 408 " in await reader.readline()
    assert room.held() == 0


async def test_whoever_sends_slowest_makes_room_for_the_others(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushing, "HELD_MOST_BYTES", 1000)
    async with room.half_sent(line(1).ljust(501)) as (first, _), room.half_sent(line(1).ljust(301)):
        await until(lambda: room.held() == 800)
        assert (await room.push(line(2).ljust(500)))[0] == 202
        async with asyncio.timeout(20):
            assert b" 503 " in await first.readline()
        assert "too much is being sent" in (room.source.health.last_error or "")
        assert (await room.push(line(3)))[0] == 202
        assert room.held() == 300, "the other one may go on"
    await until(lambda: room.held() == 0)
    assert await room.waiting() == [line(2), line(3)]


async def test_whoever_signs_with_a_wrong_time_makes_room_first(
    room: Room, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pushing, "HELD_MOST_BYTES", 1000)
    async with room.half_sent(line(1).ljust(401)), room.half_sent(line(4).ljust(401), late=ENDED) as (late, _):
        await until(lambda: room.held() == 800)
        assert (await room.push(line(2).ljust(300)))[0] == 202
        async with asyncio.timeout(20):
            assert b" 503 " in await late.readline()
    assert capsys.readouterr().out.count("too much is being sent at the same time") == 1


async def test_no_body_is_taken_whose_signature_is_none(room: Room) -> None:
    async with room.half_sent(line(1), signature="t=1,v1=0") as (reader, _), asyncio.timeout(20):
        assert b" 401 " in await reader.readline()
        assert room.held() == 0


async def test_what_all_hold_is_never_more_than_the_bound_and_nothing_of_what_is_given_up_is_taken(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushing, "HELD_MOST_BYTES", 3000)
    bodies = [lines(*range(10 * n, 10 * n + 9)) for n in range(30)]
    answers = await asyncio.gather(*(room.push(body) for body in bodies))
    assert {status for status, _ in answers} <= {202, 503}
    taken = [body for body, (status, _) in zip(bodies, answers, strict=True) if status == 202]
    assert sorted(await room.waiting()) == sorted(b"\n".join(taken).split(b"\n") if taken else [])
    assert room.held() == 0


@pytest.mark.parametrize(
    "headers",
    [b"Content-Length: 4\r\nContent-Length: 3\r\n", b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n"],
    ids=["two lengths", "length and chunks"],
)
async def test_a_body_of_which_two_could_read_different_things_is_refused(room: Room, headers: bytes) -> None:
    reader, writer = await asyncio.open_connection(room.address.host, room.address.port)
    writer.write(b"POST /ingest/control-room HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n4\r\nabcd\r\n0\r\n\r\n")
    async with asyncio.timeout(20):
        assert b" 400 " in await reader.readline()
    writer.transport.abort()


async def test_the_first_of_two_signatures_counts(room: Room) -> None:
    body = line(1)
    both = [("X-Tocsin-Signature", "t=1,v1=" + "0" * 64), ("X-Tocsin-Signature", room.sign(body))]
    async with room.http.post("/ingest/control-room", data=body, headers=both) as answer:
        assert answer.status == 401


async def test_of_many_bad_lines_a_few_are_shown_and_all_are_counted(room: Room) -> None:
    status, answer = await room.push(b"x\n" * 5000)
    assert (status, answer["bad"]) == (400, 5000)
    assert [fault["line"] for fault in answer["errors"]] == list(range(1, pushing.FAULTS_SHOWN + 1))


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


async def test_what_did_not_fit_counts_as_sent(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    room.per_second = 2.0
    await room.restart()
    with monkeypatch.context() as small:
        small.setattr(pushing, "WAITING_MOST", 3)
        assert (await room.push(lines(*range(10))))[0] == 503
    assert (await room.push(lines(*range(9))))[0] == 429


async def test_what_could_not_be_stored_or_was_taken_before_does_not_count(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object) -> int:
        raise errors.StoreError("store: the disk is full; free some space")

    room.per_second = 2.0
    await room.restart()
    with monkeypatch.context() as broken:
        broken.setattr(room.database, "write", full)
        assert (await room.push(lines(*range(10))))[0] == 503
    body = lines(*range(2))
    signature = room.sign(body)
    assert (await room.push(body, signature=signature))[0] == 202
    room.now += timedelta(seconds=2)
    assert (await room.push(body, signature=signature))[0] == 409
    assert (await room.push(lines(3)))[0] == 202


async def test_what_waits_is_known_however_it_came_and_went(room: Room) -> None:
    await room.push(lines(1, 2))
    room.now += timedelta(seconds=1)
    await room.push(lines(2, 3, 3))
    assert await weight(room) == (3, len(line(1)) * 3)
    arrivals = await room.take(2)
    await room.record(arrivals[-1].cursor)
    await room.database.write(pushed.forget, "control-room")
    assert await weight(room) == (1, len(line(3)))
    await room.database.write(pushed.expire, room.now + ENDED, ["other"])
    assert await weight(room) == (0, 0)


async def test_an_older_store_knows_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "older.db"
    with contextlib.closing(sqlite_utils.Database(path)) as db:
        migrations._steps.apply(db, stop_before="m007_pushed_sums")
        for number in (1, 2):
            db.execute("INSERT INTO pushed VALUES (NULL, 'control-room', ?, ?, ?)", [str(number), line(number), "2031"])
        db.conn.commit()
    with Database.open(path) as database:
        assert await database.read(pushed.waiting, "control-room") == 2
        assert await database.read(pushed.weight, "control-room") == 2 * len(line(1))


async def weight(room: Room) -> tuple[int, int]:
    """Lines and bytes."""
    return (
        await room.database.read(pushed.waiting, "control-room"),
        await room.database.read(pushed.weight, "control-room"),
    )


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


@pytest.mark.parametrize("cursor", ["host:1:2", "1783175888085434", "2031-05-14T12:00:00.000Z", "-1", ""])
async def test_a_cursor_of_another_source_is_refused_and_deletes_no_line(room: Room, cursor: str) -> None:
    await room.push(lines(1, 2))
    await room.record(cursor)
    with pytest.raises(errors.UsageError, match="was the source renamed"):
        await room.take(1, cursor)
    assert await room.database.write(pushed.forget, "control-room") == 0
    assert len(await room.waiting()) == 2


@given(st.binary(max_size=400))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_body_breaks_the_reading(body: bytes) -> None:
    taken, faults, bad = pushing._read(body, "control-room", factories.NOW)
    assert len(taken) + bad <= body.count(b"\n") + 1
    assert len(faults) == min(bad, pushing.FAULTS_SHOWN)
