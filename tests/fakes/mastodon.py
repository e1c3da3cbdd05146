"""FakeMastodon: one instance on 127.0.0.1 with its public timeline, as a stream of events and as pages."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self

from aiohttp import web

from tests.fakes import streaming

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TOKEN = "tok-invented"


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

    ``said`` is the independent account of what happened. ``plan`` makes things happen later, in virtual time: with
    ``drive`` the stream itself goes on to them.
    """

    def __init__(self, time: streaming.Time, *, drive: bool = False) -> None:
        self.time = time
        self.script = streaming.Script(time)
        self.statuses: dict[str, dict[str, Any]] = {}
        self.said: list[Said] = []
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.streaming_at: str | None = None
        self.remaining: int | None = None
        self.page_size = 40
        self.written = 0  # events that a stream has taken
        self.port = 0
        self._events: list[bytes] = []
        self._plan: list[streaming.Planned] = []
        self._next = 0
        self._drive = drive
        self._grown = asyncio.Event()
        self._closing = asyncio.Event()
        time.on_advance = self._release

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/api/v2/instance", self._instance)
        app.router.add_get("/api/v1/timelines/public", self._timeline)
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
        written = self.time.now - ago
        local_id = snowflake(written, self._next)
        uri = f"https://away.example/users/ada/statuses/{self._next}"
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

    def say(self, event: str, data: str) -> None:
        self._say(event, data, None)

    def plan(self, at: datetime, act: Callable[[], object]) -> None:
        self._plan.append(streaming.Planned(at, len(self._plan), act))
        self._plan.sort()

    def _say(self, event: str, data: str, said: Said | None) -> None:
        self._events.append(f"event: {event}\ndata: {data}\n\n".encode())
        if said is not None:
            self.said.append(said)
        self._grown.set()

    def _release(self) -> None:
        """Whatever was planned for a time that has come."""
        self.script.settle()
        while self._plan and self._plan[0].at <= self.time.now:
            self._plan.pop(0).act()

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
        headers = {}
        if self.remaining is not None:
            self.remaining -= 1
            headers = {
                "X-RateLimit-Remaining": str(self.remaining),
                "X-RateLimit-Reset": text(self.time.now + timedelta(minutes=5)),
            }
            self.remaining = self.remaining or 300
        return web.json_response([self.statuses[each] for each in reversed(ids)], headers=headers)

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        date = format_datetime(self.time.now.replace(microsecond=0), usegmt=True)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Date": date})
        await response.prepare(request)
        position = len(self._events)
        await response.write(b":)\n")
        try:
            while not self._closing.is_set():
                if await self._faulty(request, response, position):
                    break
                if position < len(self._events):
                    await self._send(response, self._events[position])
                    position += 1
                    self.written += 1
                elif self._drive and self._plan:
                    self.time.advance_to(self._plan[0].at)
                else:
                    self._grown.clear()
                    await response.write(b":thump\n")
                    await self._grown.wait()
        except ConnectionError:
            pass
        return response

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        if self.script.due(streaming.Split) is not None:
            self.time.looked.clear()
            await response.write(data[: len(data) // 2])
            await self._look()
            data = data[len(data) // 2 :]
        if self.script.due(streaming.Trickle) is not None:
            for start in range(0, len(data) - 7, 7):
                await response.write(data[start : start + 7])
            data = data[-(len(data) % 7 or 7) :]
        self.time.looked.clear()
        await response.write(data)
        await self._look()

    async def _look(self) -> None:
        """In virtual time: until the source has taken what was sent."""
        if self._drive:
            await self.time.looked.wait()

    async def _faulty(self, request: web.Request, response: web.StreamResponse, position: int) -> bool:
        """Do what is due before the next event; is the connection over?"""
        if self.script.due(streaming.Down) is not None:
            streaming.abort(request)
            return True
        if self.script.due(streaming.Stall) is not None:
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
