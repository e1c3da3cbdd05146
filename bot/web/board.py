"""The board: one page, what it reads, and who may read it.

Without a token it answers only to a loopback name in ``Host``, so that no page elsewhere can point a name of its own
here, and shows one organisation. With a token it wants that, from the login page or as ``Authorization: Bearer``.
"""

import hashlib
import ipaddress
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog
from aiohttp import web
from yarl import URL

from bot.domain import errors
from bot.store.database import Database
from bot.web import reading, sessions
from bot.web.reading import Asked

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
OnLogin = Callable[[bool, str], Awaitable[None]]

log = structlog.get_logger()

COOKIE = "tocsin_board"
# What the page may ask for → how far back.
PAST: Mapping[str, timedelta | None] = {
    "day": reading.RECENT, "week": timedelta(days=7), "month": timedelta(days=30), "all": None
}  # fmt: skip

_STATIC = Path(__file__).parent / "static"
_TYPES = {".css": "text/css", ".html": "text/html", ".js": "text/javascript", ".svg": "image/svg+xml"}
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PROBLEM = "<!-- problem -->"  # where login.html says what was wrong


class Board:
    """``token``: the one to show, or None. ``on_login`` hears of each login that was tried: whether it succeeded, and
    the address that it came from."""

    def __init__(
        self, database: Database, *, token: str | None, now: Callable[[], datetime], on_login: OnLogin | None = None
    ) -> None:
        self._database = database
        self._now = now
        self._sessions = None if token is None else sessions.Sessions(token, now)
        self._on_login = on_login
        self._files = {path.name: path.read_bytes() for path in _STATIC.iterdir() if path.suffix in _TYPES}

    def routes(self) -> list[web.AbstractRouteDef]:
        return [
            web.get("/", self._guarded(self._page)),
            web.get("/login", self._guarded(self._login_page, signed_in=False)),
            web.post("/login", self._guarded(self._login, signed_in=False)),
            web.get("/static/{name}", self._guarded(self._static, signed_in=False)),
            web.get("/board/events", self._guarded(self._events)),
            web.get("/board/events/{event}", self._guarded(self._event)),
        ]

    def _guarded(self, answer: Answer, *, signed_in: bool = True) -> Answer:
        async def guarded(request: web.Request) -> web.StreamResponse:
            response = await self._refusal(request, signed_in=signed_in) or await answer(request)
            response.headers.update(_HEADERS)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guarded

    async def _refusal(self, request: web.Request, *, signed_in: bool) -> web.Response | None:
        if self._sessions is None:
            if not _is_loopback(request.host):
                return _problem(403, "this address is not served here; open the board by its loopback address")
            if request.query.get("org", reading.DEFAULT) != reading.DEFAULT:
                return _problem(
                    403, f"without a token the board shows {reading.DEFAULT} only; set token in [web] of config.toml"
                )
            return None
        if not signed_in or self._sessions.knows(request.cookies.get(COOKIE, "")):
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            return await self._try(request, token.strip())
        if request.path == "/":
            return web.Response(status=303, headers={"Location": "/login"})
        return _problem(401, "sign in with the board's token")

    async def _try(self, request: web.Request, token: str) -> web.Response | None:
        """None where the token is right. A wrong one is reported, and slows down further ones."""
        assert self._sessions is not None
        remote = request.remote or "unknown"
        wait = self._sessions.wait(remote)
        if wait is not None:
            seconds = max(1, round(wait.total_seconds()))
            response = _problem(429, f"too many wrong tokens; try again in {seconds} s")
            response.headers["Retry-After"] = str(seconds)
            return response
        if self._sessions.opens(token, remote):
            return None
        log.warning("board_login_refused", remote=remote)
        if self._on_login is not None:
            await self._on_login(False, remote)
        return _problem(401, "this is not the board's token")

    async def _page(self, request: web.Request) -> web.Response:  # noqa: ARG002
        return self._html("board.html")

    async def _login_page(self, request: web.Request) -> web.Response:  # noqa: ARG002
        if self._sessions is None:
            return web.Response(status=303, headers={"Location": "/"})
        return self._html("login.html")

    async def _login(self, request: web.Request) -> web.Response:
        if self._sessions is None:
            return web.Response(status=303, headers={"Location": "/"})
        if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
            return _problem(403, "sign in from the board's own page")
        refused = await self._try(request, str((await request.post()).get("token", "")))
        if refused is not None:
            page = self._html("login.html", status=refused.status, problem=json.loads(refused.text or "{}")["why"])
            page.headers.update({k: v for k, v in refused.headers.items() if k == "Retry-After"})
            return page
        if self._on_login is not None:
            await self._on_login(True, request.remote or "unknown")
        response = web.Response(status=303, headers={"Location": "/"})
        response.set_cookie(
            COOKIE,
            self._sessions.begin(),
            max_age=int(sessions.LASTS.total_seconds()),
            secure="https" in (request.scheme, request.headers.get("X-Forwarded-Proto")),
            httponly=True,
            samesite="Strict",
        )
        return response

    async def _static(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        body = self._files.get(name)
        if body is None or name.endswith(".html"):
            return _problem(404, "there is no such file")
        response = _tagged(request, body, _TYPES[Path(name).suffix])
        response.headers["Cache-Control"] = "no-cache"
        return response

    async def _events(self, request: web.Request) -> web.Response:
        past = request.query.get("past", "day")
        if past not in PAST:
            return _problem(400, f"past is one of: {', '.join(PAST)}")
        return await self._read(request, reading.listing, PAST[past])

    async def _event(self, request: web.Request) -> web.Response:
        return await self._read(request, reading.event, request.match_info["event"])

    async def _read(self, request: web.Request, fn: Callable[..., dict[str, Any] | None], what: Any) -> web.Response:
        asked = Asked(at=self._now(), org=request.query.get("org"), everyone=self._sessions is not None)
        try:
            found = await self._database.read(fn, asked, what)
        except errors.UsageError as error:
            return _problem(404, str(error))
        except errors.StoreError as error:
            log.warning("board_unreadable", problem=str(error))
            return _problem(503, "the store cannot be read now")
        if found is None:
            return _problem(404, "there is no such event, or none that may be seen")
        return _tagged(request, json.dumps(found, ensure_ascii=False).encode("utf-8", "replace"), "application/json")

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


def _problem(status: int, why: str) -> web.Response:
    return web.json_response({"why": why}, status=status)


def _is_loopback(host: str) -> bool:
    try:
        name = URL(f"http://{host}").host or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
