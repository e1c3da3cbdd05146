"""FakeMastodon: one instance on 127.0.0.1 with its public timeline, as a stream of events and as pages."""

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self

from aiohttp import web

from tests.fakes import streaming

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOKEN = "tok-invented"
ALLOWANCE = 300  # requests in 5 minutes


def snowflake(when: datetime, sequence: int) -> str:
    return str(((when - EPOCH) // timedelta(milliseconds=1) << 16) + sequence % 65_536)


def text(when: datetime) -> str:
    return when.strftime("%Y-%m-%dT%H:%M:%S.") + f"{when.microsecond // 1000:03d}Z"


@dataclass(kw_only=True)
class Said:
    """One thing that the stream said, or would have to somebody who listened. ``kind``: create, edit, delete."""

    at: datetime
    kind: str
    uri: str
    version: int = 0


class FakeMastodon:
    """``async with FakeMastodon(time) as fake``; ``fake.url`` is the instance.

    ``batches``: may several statuses be asked for at once, as from Mastodon 4.3 on? ``suspended``: local ids of what
    accounts wrote that are gone; ``muted``: those that are left out where several are asked for. ``wrong``: how far its
    clock is off. ``elsewhere``: uris of what it does not have, though it stands where it was written. ``allowance``: of
    requests in 5 minutes, from when ``remaining`` are used up.

    It is also ``away.example``, where by default everything was written; ``strangers`` are the uris asked for there.

    In ``lockstep`` the stream goes on when the source, whose clocks are then ``fake.clock`` and ``fake.monotonic``, has
    taken what was sent; ``taken`` waits for that.
    """

    def __init__(self, time: streaming.Time, *, lockstep: bool = False) -> None:
        self.time = time
        self.script = streaming.Script(time)
        self.statuses: dict[str, dict[str, Any]] = {}
        self.batches = True
        self.muted: set[str] = set()
        self.suspended: set[str] = set()
        self.wrong = timedelta(0)
        self.said: list[Said] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.elsewhere: set[str] = set()
        self.strangers: list[str] = []
        self.allowance = ALLOWANCE
        self.streaming_at: str | None = None
        self.remaining: int | None = None
        self.page_size = 40
        self.written = 0  # events that a stream has taken
        self.port = 0
        self._events: list[bytes] = []
        self._next = 0
        self._renewed_at: datetime | None = None
        self._grown = asyncio.Event()
        self._closing = asyncio.Event()
        self._lockstep = lockstep
        self._beating = False
        self._looked = asyncio.Event()
        self._stream_of: object | None = None
        self.changed = asyncio.Event()
        self.stalled = False
        self.resting = False
        time.on_advance = self.script.settle

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/api/v2/instance", self._instance)
        app.router.add_get("/api/v1/timelines/public", self._timeline)
        app.router.add_get("/api/v1/statuses", self._statuses)
        app.router.add_get("/api/v1/statuses/{id}", self._status)
        app.router.add_get("/users/{author}/statuses/{number}", self._origin)
        app.router.add_get("/api/v1/streaming/public", self._stream)
        app.router.add_get("/api/v1/streaming/public/local", self._stream)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._grown.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"http://mastodon.example:{self.port}"

    # What happens.

    def create(self, content: str = "<p>Smoke</p>", *, ago: timedelta = timedelta(0), **fields: Any) -> dict[str, Any]:
        """``ago``: it comes late from elsewhere, and has the number of its own time."""
        self._next += 1
        written = self.time.now - ago + self.wrong
        local_id = snowflake(written, self._next)
        uri = fields.pop("uri", f"http://away.example:{self.port}/users/ada/statuses/{self._next}")
        account = {
            "id": "7", "username": "ada", "acct": "ada@away.example", "url": "https://away.example/@ada",
            "bot": False, "discoverable": None,
        }  # fmt: skip
        status = {
            "id": local_id, "uri": uri, "url": f"https://away.example/@ada/{self._next}", "created_at": text(written),
            "edited_at": None, "visibility": "public", "language": "en", "spoiler_text": "", "sensitive": False,
            "content": content, "in_reply_to_id": None, "reblog": None, "media_attachments": [], "account": account,
        } | fields  # fmt: skip
        self.statuses[local_id] = status
        self._say("update", json.dumps(status), Said(at=self.time.now, kind="create", uri=uri))
        return status

    def edit(self, local_id: str, content: str = "<p>edited</p>", **fields: Any) -> None:
        status = self.statuses[local_id]
        status |= {"content": content, "edited_at": text(self.time.now)} | fields
        version = (self.time.now - EPOCH) // timedelta(milliseconds=1)
        said = Said(at=self.time.now, kind="edit", uri=status["uri"], version=version)
        self._say("status.update", json.dumps(status), said)

    def delete(self, local_id: str) -> None:
        uri = self.statuses.pop(local_id)["uri"]
        self._say("delete", local_id, Said(at=self.time.now, kind="delete", uri=uri))

    def quote(self, local_id: str) -> None:
        """A quote of it is allowed or no more, as of Mastodon 4.5: it is told again, without an edit."""
        self._say("status.update", json.dumps(self.statuses[local_id]), None)

    def vacuum(self, local_id: str) -> None:
        """It came from elsewhere and has grown old; nobody is told."""
        self.elsewhere.add(self.statuses.pop(local_id)["uri"])

    def say(self, event: str, data: str) -> None:
        self._say(event, data, None)

    def _say(self, event: str, data: str, said: Said | None) -> None:
        self._events.append(f"event: {event}\ndata: {data}\n\n".encode())
        if said is not None:
            self.said.append(said)
        self._grown.set()

    # The source in lockstep.

    @property
    def listened_to(self) -> bool:
        return self._stream_of is not None

    def clock(self) -> datetime:
        self._looked.set()
        return self.time.clock()

    def monotonic(self) -> float:
        self._looked.set()
        return self.time.monotonic()

    def rest(self, resting: bool) -> None:
        """The source sleeps: it takes nothing."""
        self.resting = resting
        self.changed.set()

    async def taken(self) -> None:
        """Until the source has taken all that there is to say; at once where it cannot."""
        self._beating = True
        self._grown.set()
        while self.listened_to and self._beating and not self.resting and not self.stalled:
            self.changed.clear()
            await self.changed.wait()

    async def _look(self) -> None:
        if self._lockstep:
            await self._looked.wait()

    # The wire.

    def _refusal(self, request: web.Request) -> web.Response | None:
        self.requests.append((request.path, dict(request.query)))
        if self.script.due(streaming.Down) is not None:
            streaming.abort(request)
            return web.Response(status=500)
        refuse = self.script.due(streaming.Refuse, path=request.path)
        if refuse is not None:
            return web.json_response(refuse.body, status=refuse.status, headers=refuse.headers)
        if request.path != "/api/v2/instance" and request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"error": "The access token is invalid"}, status=401)
        return None

    async def _instance(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if self.streaming_at is None:
            return web.json_response({"error": "not found"}, status=404)
        return web.json_response({"configuration": {"urls": {"streaming": self.streaming_at}}})

    async def _timeline(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        ids = sorted(self.statuses, key=int)
        limit = min(int(request.query.get("limit", "20")), self.page_size)
        if "min_id" in request.query:
            ids = [each for each in ids if int(each) > int(request.query["min_id"])][:limit]
        else:
            ids = ids[-limit:]
        return web.json_response([self.statuses[each] for each in reversed(ids)], headers=self._limits())

    async def _statuses(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if not self.batches:
            return web.json_response({"error": "Not Found"}, status=404)
        ids = request.query.getall("id[]", [])
        if len(ids) > 20:
            return web.json_response({"error": "Validation failed"}, status=422)
        found = [self.statuses[each] for each in ids if each in self.statuses and each not in self.muted]
        return web.json_response(found, headers=self._limits())

    async def _status(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        local_id = request.match_info["id"]
        if local_id in self.statuses:
            return web.json_response(self.statuses[local_id], headers=self._limits())
        status = 410 if local_id in self.suspended else 404
        return web.json_response({"error": "Record not found"}, status=status, headers=self._limits())

    async def _origin(self, request: web.Request) -> web.Response:
        """At the server where it was written."""
        assert "Authorization" not in request.headers, "the token is nobody else's"
        assert request.headers["Accept"] == "application/activity+json"
        uri = str(request.url)
        self.strangers.append(uri)
        there = uri in self.elsewhere or any(each.get("uri") == uri for each in self.statuses.values())
        return web.json_response({"id": uri}) if there else web.json_response({"error": "Not Found"}, status=404)

    def _limits(self) -> dict[str, str]:
        if self.remaining is None:
            return {}
        if self._renewed_at is None or self.time.now >= self._renewed_at:
            self.remaining = self.remaining if self._renewed_at is None else self.allowance
            self._renewed_at = self.time.now + timedelta(minutes=5)
        self.remaining -= 1
        assert self.remaining >= 0, "asked more often than allowed"
        return {
            "X-RateLimit-Limit": str(self.allowance),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": text(self._renewed_at),
        }

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        date = format_datetime((self.time.now + self.wrong).replace(microsecond=0), usegmt=True)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Date": date})
        await response.prepare(request)
        mine = self._stream_of = object()
        self.changed.set()
        try:
            await self._talk(request, response)
        except ConnectionError:
            pass
        finally:
            if self._stream_of is mine:
                self._stream_of = None
                self.stalled = False
                self.changed.set()
        return response

    async def _talk(self, request: web.Request, response: web.StreamResponse) -> None:
        position = len(self._events)
        await response.write(b":)\n")
        while not self._closing.is_set():
            if await self._faulty(request, response, position):
                break
            if position < len(self._events):
                await self._send(response, self._events[position])
                position += 1
                self.written += 1
                continue
            self._grown.clear()
            self._looked.clear()
            await response.write(b":thump\n")
            if self._beating:
                await self._look()
                self._beating = position < len(self._events)
                self.changed.set()
            if position == len(self._events) and not self._beating:
                await self._grown.wait()

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        if self.script.due(streaming.Split) is not None:
            self._looked.clear()
            await response.write(data[: len(data) // 2])
            await self._look()
            data = data[len(data) // 2 :]
        if self.script.due(streaming.Trickle) is not None:
            for start in range(0, len(data) - 7, 7):
                await response.write(data[start : start + 7])
            data = data[-(len(data) % 7 or 7) :]
        self._looked.clear()
        await response.write(data)
        await self._look()

    async def _faulty(self, request: web.Request, response: web.StreamResponse, position: int) -> bool:
        """Do what is due before the next event; is the connection over?"""
        if self.script.due(streaming.Down) is not None:
            streaming.abort(request)
            return True
        if self.script.due(streaming.Stall) is not None:
            self.stalled = True
            self.changed.set()
            await self._closing.wait()
            return True
        if (broken := self.script.due(streaming.Break)) is not None:
            if not broken.politely:
                streaming.abort(request)
            return True
        if (raw := self.script.due(streaming.Raw)) is not None:
            await response.write(raw.data)
        if position < len(self._events) and self.script.due(streaming.Cut) is not None:
            await response.write(self._events[position][: len(self._events[position]) // 2])
            streaming.abort(request)
            return True
        return False
