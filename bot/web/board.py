"""The board: one page, and what it reads. It shows one organisation, with a token whichever is chosen."""

import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web

from bot.domain import errors
from bot.store.database import Database
from bot.web import guard, reading
from bot.web.guard import Guard
from bot.web.reading import Asked

log = structlog.get_logger()

# What the page may ask for → how far back.
PAST: Mapping[str, timedelta | None] = {
    "day": reading.RECENT, "week": timedelta(days=7), "month": timedelta(days=30), "all": None
}  # fmt: skip

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_PROBLEM = "<!-- problem -->"  # where login.html says what was wrong


class Board:
    """``guard``: who may read it; without a token only the organisation ``local`` is shown."""

    def __init__(self, database: Database, guard: Guard, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._guard = guard
        self._now = now
        self._files = {path.name: path.read_bytes() for path in _STATIC.iterdir() if path.suffix in _TYPES}

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/", self._guard.around(self._page)),
            web.get("/login", self._guard.around(self._login_page, signed_in=False)),
            web.post("/login", self._guard.around(self._login, signed_in=False)),
            web.get("/static/{name}", self._guard.around(self._static, signed_in=False)),
            web.get("/board/events", self._guard.around(self._events)),
            web.get("/board/events/{event}", self._guard.around(self._event)),
        ]

    async def _page(self, request: web.Request) -> web.Response:
        return self._refusal_of_others(request) or self._html("board.html")

    async def _login_page(self, request: web.Request) -> web.Response:  # noqa: ARG002
        if not self._guard.has_token:
            return web.Response(status=303, headers={"Location": "/"})
        return self._html("login.html")

    async def _login(self, request: web.Request) -> web.Response:
        if not self._guard.has_token:
            return web.Response(status=303, headers={"Location": "/"})
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return guard.problem(403, "sign in from the board's own page")
        refused = await self._guard.sign_in(request, str((await request.post()).get("token", "")))
        if refused is not None:
            page = self._html("login.html", status=refused.status, problem=json.loads(refused.text or "{}")["why"])
            page.headers.update({k: v for k, v in refused.headers.items() if k == "Retry-After"})
            return page
        response = web.Response(status=303, headers={"Location": "/"})
        self._guard.remember(request, response)
        return response

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = self._files.get(name)
        if body is None or name.endswith(".html"):
            return guard.problem(404, "there is no such file")
        response = _tagged(request, body, _TYPES[Path(name).suffix])
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def _events(self, request: web.Request) -> web.Response:
        past = request.query.get("past", "day")
        if past not in PAST:
            return guard.problem(400, f"past is one of: {', '.join(PAST)}")
        return await self._read(request, reading.listing, PAST[past])

    async def _event(self, request: web.Request) -> web.Response:
        return await self._read(request, reading.event, request.match_info["event"])

    async def _read(self, request: web.Request, fn: Callable[..., dict[str, Any] | None], what: Any) -> web.Response:
        refused = self._refusal_of_others(request)
        if refused is not None:
            return refused
        asked = Asked(at=self._now(), org=request.query.get("org"), everyone=self._guard.has_token)
        try:
            found = await self._database.read(fn, asked, what)
        except errors.UsageError as error:
            return guard.problem(404, str(error))
        except errors.StoreError as error:
            log.warning("board_unreadable", problem=str(error))
            return guard.problem(503, "the store cannot be read now")
        if found is None:
            return guard.problem(404, "there is no such event, or none that may be seen")
        return _tagged(request, json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"), "application/json")

    def _refusal_of_others(self, request: web.Request) -> web.Response | None:
        if self._guard.has_token or request.query.get("org", reading.DEFAULT) == reading.DEFAULT:
            return None
        return guard.problem(
            403, f"without a token the board shows {reading.DEFAULT} only; set token in [web] of config.toml"
        )

    def _html(self, name: str, *, status: int = 200, problem: str = "") -> web.Response:
        """``problem``: words of our own."""
        body = self._files[name].replace(_PROBLEM.encode(), problem.encode())
        return web.Response(body=body, status=status, content_type="text/html", charset="utf-8")


def _tagged(request: web.Request, body: bytes, content_type: str) -> web.Response:
    """With an ETag; 304 and no body where the reader has it."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    if tag in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers={"ETag": tag})
    return web.Response(body=body, content_type=content_type, charset="utf-8", headers={"ETag": tag})
