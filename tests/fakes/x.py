"""FakeX: X's API v2 on 127.0.0.1, as far as the filtered stream, its rules and the lookup of posts go."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self

from aiohttp import web

from tests.fakes import streaming
from tests.fakes.mastodon import EPOCH, text

HOST = "api.x.example"
TOKEN = "bearer-invented"
PROBLEMS = "https://api.x.com/2/problems"
MOST_IDS = 100


def snowflake(when: datetime, sequence: int) -> str:
    milliseconds = (when - EPOCH) // timedelta(milliseconds=1) - 1_288_834_974_657
    return str((milliseconds << 22) + sequence % 4_194_304)


@dataclass
class Served:
    """What one connection could hear, from the beginning of its backfill on; ``until`` None: it still can."""

    since: datetime
    until: datetime | None = None


class FakeX:
    """``async with FakeX(time) as fake``; ``fake.url`` is the API.

    A rule with ``bad`` is refused, and with ``whole_orders`` the others of its order too. With ``backfill`` the plan
    sends up to five minutes again; with ``tls`` it shows its ``certificates``. Posts come ``late``, their ids and dates
    are ``skewed``, and a connection that a client left counts for as long as it ``lingers``. With ``drive`` the stream
    goes on to what is planned, after ``settled``.
    """

    def __init__(self, time: streaming.Time, *, drive: bool = False, backfill: bool = False, tls: bool = False) -> None:
        self.time = time
        self.script = streaming.Script(time)
        self.rules: list[dict[str, str]] = []
        self.certificates = streaming.Certificates(self.script, HOST) if tls else None
        self.whole_orders = False
        self.late = timedelta(0)
        self.skewed = timedelta(0)
        self.lingers = timedelta(0)
        self.settled: Callable[[], Awaitable[None]] = _at_once
        self.gone: dict[str, str] = {}  # id → type of the problem
        self.withheld: set[str] = set()
        self.edits: dict[str, list[str]] = {}
        self.retweets: dict[str, str] = {}
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.looked_up: list[str] = []
        self.served: list[Served] = []
        self.remaining: int | None = None
        self.port = 0
        self._lines: list[tuple[datetime, bytes]] = []
        self._plan: list[streaming.Planned] = []
        self._next = 0
        self._drive = drive
        self._backfill = backfill
        self._left_at: datetime | None = None
        self._free = asyncio.Event()
        self._free.set()
        self._grown = asyncio.Event()
        self._closing = asyncio.Event()
        time.on_advance = self._release

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.on_response_prepare.append(self._date)
        app.router.add_get("/2/tweets/search/stream/rules", self._get_rules)
        app.router.add_post("/2/tweets/search/stream/rules", self._post_rules)
        app.router.add_get("/2/tweets/search/stream", self._stream)
        app.router.add_get("/2/tweets", self._lookup)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        shown = None if self.certificates is None else self.certificates.shown
        await web.TCPSite(self._runner, "127.0.0.1", 0, ssl_context=shown).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        self._grown.set()
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        return f"{'http' if self.certificates is None else 'https'}://{HOST}:{self.port}"

    def asked(self, path: str) -> list[dict[str, str]]:
        """The queries of the requests to ``path`` so far."""
        return [query for _, each, query in self.requests if each == path]

    # What happens.

    def post(self, words: str = "Smoke", *, rule: str | None = None, **fields: Any) -> str:
        """``includes`` goes beside the post, ``rule`` is the id of the one that matches it."""
        self._next += 1
        written = self.time.now + self.skewed
        new = snowflake(written, self._next)
        includes = fields.pop("includes", None)
        data = {
            "id": new, "text": words, "author_id": "1001", "created_at": text(written), "lang": "en",
            "edit_history_tweet_ids": [new],
        } | fields  # fmt: skip
        matching = [{"id": rule or (self.rules[0]["id"] if self.rules else "1"), "tag": "tocsin:x"}]
        line: dict[str, Any] = {"data": data, "matching_rules": matching}
        if includes is not None:
            line["includes"] = includes
        raw = json.dumps(line).encode()
        if self.late:
            self.plan(self.time.now + self.late, lambda: self.say(raw))
        else:
            self.say(raw)
        return new

    def edit(self, id: str, words: str = "Edited smoke") -> str:
        new = snowflake(self.time.now + self.skewed, self._next + 1)
        versions = [*self.edits.get(id, [id]), new]
        self.edits |= dict.fromkeys(versions, versions)
        return self.post(words, edit_history_tweet_ids=versions)

    def take_rules_away(self) -> None:
        """Somebody deletes ours."""
        self.rules = []

    def set_rules_again(self) -> None:
        """Somebody deletes ours and sets the same, which get new ids."""
        for number, rule in enumerate(self.rules):
            self._next += 1
            self.rules[number] = rule | {"id": str(116_000 + self._next)}

    def say(self, line: bytes) -> None:
        self._lines.append((self.time.now, line + b"\r\n"))
        self._grown.set()

    def plan(self, at: datetime, act: Callable[[], object]) -> None:
        self._plan.append(streaming.Planned(at, len(self._plan), act))
        self._plan.sort()

    def _release(self) -> None:
        self.script.settle()
        while self._plan and self._plan[0].at <= self.time.now:
            self._plan.pop(0).act()

    # The wire.

    async def _date(self, request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Date"] = format_datetime(self.time.now, usegmt=True)

    async def _refusal(self, request: web.Request) -> web.Response | None:
        self.requests.append((request.method, request.path, dict(request.query)))
        if (down := self.script.due(streaming.Down)) is not None:
            if down.answer is None:
                streaming.abort(request)
            return web.Response(status=down.answer or 500)
        if self.script.due(streaming.Endless, path=request.path) is not None:
            endless = web.StreamResponse(status=503)
            await endless.prepare(request)
            await endless.write(b"{")
            await asyncio.Event().wait()
        refuse = self.script.due(streaming.Refuse, path=request.path)
        if refuse is not None:
            return web.json_response(refuse.body, status=refuse.status, headers=refuse.headers)
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({"title": "Unauthorized", "type": "about:blank", "status": 401}, status=401)
        return None

    async def _get_rules(self, request: web.Request) -> web.Response:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        start = int(request.query.get("pagination_token", "0"))
        meta: dict[str, Any] = {"sent": text(self.time.now), "result_count": len(self.rules)}
        if start + 2 < len(self.rules):
            meta["next_token"] = str(start + 2)
        page = {"data": self.rules[start : start + 2]} if self.rules else {}
        return web.json_response(page | {"meta": meta})

    async def _post_rules(self, request: web.Request) -> web.Response:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        order = await request.json()
        if "delete" in order:
            self.rules = [rule for rule in self.rules if rule["id"] not in order["delete"]["ids"]]
            return web.json_response({"meta": {"summary": {"deleted": 1}}})
        made: list[dict[str, str]] = []
        problems: list[dict[str, Any]] = []
        for each in order["add"]:
            if "bad" in each["value"]:
                details = [f"There were errors in processing your stream rule: {each['value']}."]
                problems.append({"value": each["value"], "details": details, "title": "UnprocessableEntity",
                                 "type": f"{PROBLEMS}/invalid-rules"})  # fmt: skip
            elif any(rule["value"] == each["value"] for rule in self.rules):
                problems.append(
                    {"value": each["value"], "title": "DuplicateRule", "type": f"{PROBLEMS}/duplicate-rules"}
                )
            else:
                self._next += 1
                made.append({"id": str(116_000 + self._next), "value": each["value"], "tag": each["tag"]})
        if problems and self.whole_orders:
            made = []
        self.rules += made
        body = {"meta": {"summary": {"created": len(made), "not_created": len(problems)}}}
        return web.json_response(
            body | ({"data": made} if made else {}) | ({"errors": problems} if problems else {}),
            status=201 if made else 400,
        )

    async def _lookup(self, request: web.Request) -> web.Response:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        ids = request.query["ids"].split(",")
        assert len(ids) <= MOST_IDS
        self.looked_up += ids
        data: list[dict[str, Any]] = []
        originals: list[dict[str, Any]] = []
        problems: list[dict[str, Any]] = []
        for each in ids:
            if each in self.gone:
                problems.append({"resource_id": each, "value": each, "resource_type": "tweet", "parameter": "ids",
                                 "title": "Not Found Error", "type": f"{PROBLEMS}/{self.gone[each]}"})  # fmt: skip
                continue
            data.append(self._fate(each))
            if (original := self.retweets.get(each)) is not None:
                data[-1]["referenced_tweets"] = [{"type": "retweeted", "id": original}]
                originals.append(self._fate(original))
        headers = {}
        if self.remaining is not None:
            self.remaining -= 1
            reset = int((self.time.now + timedelta(minutes=15) - EPOCH).total_seconds())
            headers = {"x-rate-limit-remaining": str(self.remaining), "x-rate-limit-reset": str(reset)}
            self.remaining = self.remaining or 15
        body: dict[str, Any] = {"data": data} if data else {}
        body |= {"errors": problems} if problems else {}
        body |= {"includes": {"tweets": originals}} if originals else {}
        return web.json_response(body, headers=headers)

    def _fate(self, id: str) -> dict[str, Any]:
        fate: dict[str, Any] = {"id": id, "text": "as it was", "edit_history_tweet_ids": self.edits.get(id, [id])}
        return fate | ({"withheld": {"copyright": False, "country_codes": ["XX"]}} if id in self.withheld else {})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        refusal = await self._refusal(request)
        if refusal is not None:
            return refusal
        if await self._crowded():
            body = {"title": "ConnectionException", "connection_issue": "TooManyConnections",
                    "detail": "This stream is currently at the maximum allowed connection limit.",
                    "type": f"{PROBLEMS}/streaming-connection"}  # fmt: skip
            return web.json_response(body, status=429)
        minutes = int(request.query.get("backfill_minutes", "0"))
        if minutes and not self._backfill:
            return web.json_response({"title": "Invalid Request", "detail": "no backfill"}, status=400)
        response = web.StreamResponse(headers={"Content-Type": "application/json; charset=utf-8"})
        self._free.clear()
        try:
            await response.prepare(request)
            since = self.time.now - timedelta(minutes=minutes)
            self.served.append(Served(since))
            position = sum(at < since for at, _ in self._lines) if minutes else len(self._lines)
            await self._serve(request, response, position)
        except ConnectionError:
            self._left_at = self.time.now
        except asyncio.CancelledError:
            self._left_at = self.time.now
            raise
        finally:
            self._hear_no_more()
            self._free.set()
        return response

    def _hear_no_more(self) -> None:
        if self.served and self.served[-1].until is None:
            self.served[-1].until = self.time.now

    async def _crowded(self) -> bool:
        """One that has just left may not have been noticed yet."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.5):
                await self._free.wait()
        lingers = self._left_at is not None and self.time.now < self._left_at + self.lingers
        return lingers or not self._free.is_set()

    async def _serve(self, request: web.Request, response: web.StreamResponse, position: int) -> None:
        while not self._closing.is_set():
            if await self._faulty(request, response, position):
                return
            if position < len(self._lines):
                await self._send(response, self._lines[position][1])
                position += 1
            elif self._drive and self._plan:
                await self._send(response, b"\r\n")
                await self.settled()
                self.time.advance_to(min(self._plan[0].at, self.time.now + timedelta(minutes=4)))
            else:
                self._grown.clear()
                await response.write(b"\r\n")
                await self._grown.wait()

    async def _send(self, response: web.StreamResponse, data: bytes) -> None:
        if len(data) > 2 and self.script.due(streaming.Split) is not None:
            self.time.looked.clear()
            await response.write(data[: len(data) // 2])
            await self._look()
            data = data[len(data) // 2 :]
        if len(data) > 2 and self.script.due(streaming.Trickle) is not None:
            for start in range(0, len(data) - 7, 7):
                await response.write(data[start : start + 7])
            data = data[-(len(data) % 7 or 7) :]
        self.time.looked.clear()
        await response.write(data)
        await self._look()

    async def _look(self) -> None:
        if self._drive:
            await self.time.looked.wait()

    async def _faulty(self, request: web.Request, response: web.StreamResponse, position: int) -> bool:
        """Do what is due before the next line; is the connection over?"""
        if self.script.due(streaming.Down) is not None:
            streaming.abort(request)
            return True
        if self.script.due(streaming.Stall) is not None:
            self._hear_no_more()
            await self._closing.wait()
            return True
        if (broken := self.script.due(streaming.Break)) is not None:
            if not broken.politely:
                streaming.abort(request)
            return True
        if (raw := self.script.due(streaming.Raw)) is not None:
            await response.write(raw.data)
        if position < len(self._lines) and self.script.due(streaming.Cut) is not None:
            await response.write(self._lines[position][1][:40])
            streaming.abort(request)
            return True
        return False


async def _at_once() -> None:
    pass
