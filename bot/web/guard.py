"""Who may read what is served on ``[web]``, and the headers that every such answer carries.

Without a token only this machine is answered: a loopback name in ``Host``, so that no page elsewhere can point a name
of its own here, and none of the headers by which a proxy says for whom it asks. With a token that is wanted, as the
cookie that the login page sets or as ``Authorization: Bearer``.
"""

import ipaddress
from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog
from aiohttp import web
from yarl import URL

from bot.web import sessions

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
OnLogin = Callable[[bool, str], Awaitable[None]]

log = structlog.get_logger()

COOKIE = "tocsin_board"

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
_OF_PROXIES = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")


class Guard:
    """``token``: the one to show, or None. ``public``: a public address points at this server. ``on_login`` hears of
    each login that was tried: whether it succeeded, and the address that it came from."""

    def __init__(
        self, *, token: str | None, now: Callable[[], datetime], public: bool = False, on_login: OnLogin | None = None
    ) -> None:
        self._sessions = None if token is None else sessions.Sessions(token, now)
        self._public = public
        self._on_login = on_login

    @property
    def has_token(self) -> bool:
        return self._sessions is not None

    def around(self, answer: Answer, *, signed_in: bool = True, proxied: bool = False) -> Answer:
        """``answer``, for whom it is meant. ``signed_in``: where there is a token, it is wanted. ``proxied``: where
        there is none, a proxy on this machine may ask too."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            refused = await self._refusal(request, signed_in=signed_in, proxied=proxied)
            response = refused or await answer(request)
            response.headers.update(_HEADERS)
            response.headers.setdefault("Cache-Control", "no-store")
            return response

        return guarded

    async def sign_in(self, request: web.Request, token: str) -> web.Response | None:
        """None where the token is right, and then ``remember`` may follow."""
        refused = await self._try(request, token)
        if refused is None and self._on_login is not None:
            await self._on_login(True, _remote(request))
        return refused

    def remember(self, request: web.Request, response: web.Response) -> None:
        """Begin a session in the reader's browser."""
        assert self._sessions is not None
        response.set_cookie(
            COOKIE,
            self._sessions.begin(),
            max_age=int(sessions.LASTS.total_seconds()),
            secure="https" in (request.scheme, request.headers.get("X-Forwarded-Proto")),
            httponly=True,
            samesite="Strict",
        )

    async def _refusal(self, request: web.Request, *, signed_in: bool, proxied: bool) -> web.Response | None:
        if self._sessions is None:
            return self._refusal_elsewhere(request, proxied=proxied)
        if not signed_in or self._sessions.knows(request.cookies.get(COOKIE, "")):
            return None
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.casefold() == "bearer":
            return await self._try(request, token.strip())
        if request.path == "/":
            return web.Response(status=303, headers={"Location": "/login"})
        return problem(401, "sign in with the board's token")

    def _refusal_elsewhere(self, request: web.Request, *, proxied: bool) -> web.Response | None:
        if not _is_loopback(request.host):
            return problem(403, "this address is not served here; open the board by its loopback address")
        if proxied:
            return None
        if any(name in request.headers for name in _OF_PROXIES):
            return problem(403, "this came through a proxy; to serve it so, set token in [web] of config.toml")
        if self._public:
            return problem(
                403, "a public address points here for Slack; to see the board too, set token in [web] of config.toml"
            )
        return None

    async def _try(self, request: web.Request, token: str) -> web.Response | None:
        """None where the token is right, however many were wrong. A wrong one is reported, and slows down further ones;
        that it is long enough not to be guessed is for the configuration to see to."""
        assert self._sessions is not None
        if self._sessions.opens(token):
            return None
        remote = _remote(request)
        wait = self._sessions.wait(remote)
        if wait is not None:
            seconds = max(1, round(wait.total_seconds()))
            response = problem(429, f"too many wrong tokens; try again in {seconds} s")
            response.headers["Retry-After"] = str(seconds)
            return response
        self._sessions.note_wrong(remote)
        log.warning("board_login_refused", remote=remote)
        if self._on_login is not None:
            await self._on_login(False, remote)
        return problem(401, "this is not the board's token")


def problem(status: int, why: str) -> web.Response:
    return web.json_response({"why": why}, status=status)


def _remote(request: web.Request) -> str:
    """Where it comes from: the peer, or, where that is a proxy on this machine, the last address that it names."""
    peer = request.remote or "unknown"
    named = request.headers.getall("X-Forwarded-For", [])
    if not named or not _is_loopback_address(peer):
        return peer
    last = named[-1].rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(last.partition("%")[0]))
    except ValueError:
        return peer


def _is_loopback(host: str) -> bool:
    try:
        name = URL(f"http://{host}").host or ""
    except ValueError:
        return False
    return name == "localhost" or _is_loopback_address(name)


def _is_loopback_address(name: str) -> bool:
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
