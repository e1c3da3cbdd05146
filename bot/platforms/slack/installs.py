"""Installing the app over OAuth v2: a browser goes to Slack, comes back with a code, the code becomes a token.

Bolt's own flow is not used: it lets an outage during the exchange out as a fault of ours, calls every refusal an
invalid code, loses an installation whose auth.test fails, and reads settings from the environment.
"""

import html
import secrets
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, assert_never
from urllib.parse import urlsplit

import aiohttp
import structlog
from aiohttp import web
from slack_sdk.oauth import AuthorizeUrlGenerator
from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms.slack import errors, manifest, refusals
from bot.store import installations
from bot.store.database import Database
from bot.store.installations import Installation

log = structlog.get_logger()

COOKIE = "tocsin-slack-state"
GOOD_FOR = timedelta(minutes=10)
# Anybody may begin, and each beginning is a write: no flood of them may hold up what the service is there for.
BEGUN_A_MINUTE_MOST = 60

FOREIGN = "an installation that this browser did not begin"
FORGED = "an installation with a forged state, or one that was used before"
EXPIRED = "an installation that took longer than 10 minutes"
BAD_CODE = "an installation with a code that Slack does not accept"
ORGANISATION_WIDE = "an installation for a whole Enterprise organisation"

_BAD_CODES = {"invalid_code", "code_already_used", "code_expired"}
_BAD_CREDENTIALS = {"bad_client_secret", "invalid_client_id", "bad_redirect_uri", "oauth_authorization_url_mismatch"}


class Installing:
    """The two pages. ``installed`` is told of each new installation, which it stores."""

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        public_url: str,
        client: AsyncWebClient,
        database: Database,
        refused: refusals.Refusals,
        installed: Callable[[Installation], Awaitable[None]],
        now: Callable[[], datetime],
    ) -> None:
        self._client_id = client_id
        self._client_secret = client_secret
        self._install_url = public_url + manifest.INSTALL_PATH
        self._redirect_url = public_url + manifest.REDIRECT_PATH
        self._secure = public_url.startswith("https://")
        self._client = client
        self._database = database
        self._refused = refused
        self._installed = installed
        self._now = now
        self._begun: deque[datetime] = deque(maxlen=BEGUN_A_MINUTE_MOST)
        self._authorize = AuthorizeUrlGenerator(
            client_id=client_id,
            scopes=list(manifest.SCOPES),
            redirect_uri=self._redirect_url,
            authorization_url=urlsplit(client.base_url)._replace(path="/oauth/v2/authorize").geturl(),
        )

    async def begin(self, request: web.Request) -> web.Response:  # noqa: ARG002
        """Send the browser to Slack. The state binds what comes back to this browser, by a cookie."""
        state, now = secrets.token_urlsafe(32), self._now()
        if len(self._begun) == BEGUN_A_MINUTE_MOST and now - self._begun[0] < timedelta(minutes=1):
            return _page(429, "Too many people are installing Tocsin", "Wait a minute, then load this page again.")
        self._begun.append(now)
        await self._database.write(installations.add_state, state, now=now, expires_at=now + GOOD_FOR)
        response = web.Response(status=302, headers={"Location": self._authorize.generate(state)} | _HEADERS)
        response.set_cookie(
            COOKIE,
            state,
            max_age=int(GOOD_FOR.total_seconds()),
            path="/",
            secure=self._secure,
            httponly=True,
            samesite="Lax",
        )
        return response

    async def finish(self, request: web.Request) -> web.Response:
        """The browser is back, with ``code`` and ``state``, or with ``error``."""
        try:
            if "error" in request.query:
                raise _NotInstalledError(200, "Slack was not allowed to install Tocsin", "Nothing was changed.")
            await self._check_state(request)
            installation = await self._exchange(request.query.get("code", ""))
        except _NotInstalledError as not_installed:
            if not_installed.audited is not None:
                await self._refused.note(manifest.REDIRECT_PATH, not_installed.audited)
            again = f'<a href="{html.escape(self._install_url)}">Begin again</a>'
            return _page(not_installed.status, not_installed.title, html.escape(not_installed.text), again)
        await self._installed(installation)
        name = installation.name or installation.workspace
        return _page(
            200,
            f"Tocsin is installed in {name}",
            "It sends nothing yet. Now an administrator of the workspace types "
            "<code>/tocsin join CODE</code> in Slack, with the code that the operator of this service gave you.",
            "Then invite the bot to a channel with <code>/invite @</code> and its name, "
            "and choose what to get with <code>/tocsin subscribe</code>.",
        )

    async def _check_state(self, request: web.Request) -> None:
        state, cookie = request.query.get("state", ""), request.cookies.get(COOKIE, "")
        # First the browser, so that nobody else can use up its state.
        if not state or not secrets.compare_digest(_bytes(state), _bytes(cookie)):
            raise _NotInstalledError(
                403,
                "This installation was not begun in this browser",
                "Nothing was installed. Open the link below and stay in one browser; it must accept cookies.",
                audited=FOREIGN,
            )
        match await self._database.write(installations.consume_state, state, self._now()):
            case installations.State.GOOD:
                return
            case installations.State.EXPIRED:
                raise _NotInstalledError(
                    403, "That took too long", "Nothing was installed; it must be done in 10 minutes.", audited=EXPIRED
                )
            case installations.State.UNKNOWN:
                raise _NotInstalledError(
                    403,
                    "This page was used before",
                    "It works once. If Tocsin does not answer in Slack yet, begin again.",
                    audited=FORGED,
                )
            case never:
                assert_never(never)

    async def _exchange(self, code: str) -> Installation:
        try:
            # As oauth_v2_access of the SDK, whose way to write the header aiohttp is about to drop.
            response = await self._client.api_call(
                "oauth.v2.access",
                data={"code": code, "redirect_uri": self._redirect_url},
                headers={"Authorization": aiohttp.encode_basic_auth(self._client_id, self._client_secret)},
            )
        except errors.REMOTE as error:
            raise _failure(error) from None
        if not isinstance(response.data, dict):
            raise _unreadable()
        return self._read(response.data)

    def _read(self, answer: dict[str, Any]) -> Installation:
        if answer.get("is_enterprise_install"):
            # Its token would speak for every workspace of that organisation, and those have their own agreements here.
            raise _NotInstalledError(
                403,
                "Tocsin is installed workspace by workspace",
                "It was about to be installed for a whole Enterprise organisation; nothing was stored. Remove it in "
                "the organisation's settings, then install it in each workspace that is to have it.",
                audited=ORGANISATION_WIDE,
            )
        team, by = answer.get("team") or {}, answer.get("authed_user") or {}
        token, user = answer.get("access_token"), answer.get("bot_user_id")
        if not team.get("id") or not isinstance(token, str) or not token or not user:
            raise _unreadable()
        return Installation(
            workspace=f"slack:{team['id']}",
            name=team.get("name"),
            bot_token=token,
            bot_user=user,
            app_id=answer.get("app_id"),
            scopes=tuple(scope for scope in str(answer.get("scope") or "").split(",") if scope),
            installed_by=f"slack:{team['id']}/{by.get('id') or '-'}",
            installed_at=self._now(),
        )


class _NotInstalledError(Exception):
    """Becomes a page. ``audited``: it looks like an attempt to get in."""

    def __init__(self, status: int, title: str, text: str, *, audited: str | None = None) -> None:
        super().__init__(title)
        self.status = status
        self.title = title
        self.text = text
        self.audited = audited


def _failure(error: Exception) -> _NotInstalledError:
    said = errors.code(error)
    if said in _BAD_CODES:
        return _NotInstalledError(
            403, "Slack does not know this installation", f"Nothing was installed ({said}).", audited=BAD_CODE
        )
    if said in _BAD_CREDENTIALS:
        log.error(
            "slack_install_failed",
            problem=f"Slack refused to exchange a code ({said})",
            remedy="check [slack] client_id, client_secret and public_url against the app's settings",
        )
        return _NotInstalledError(
            500, "This service is not set up correctly", f"Tell its operator that Slack answered {said}."
        )
    log.warning("slack_install_failed", problem=said or type(error).__name__)
    return _NotInstalledError(502, "Slack did not answer", f"Nothing was installed ({said or type(error).__name__}).")


def _unreadable() -> _NotInstalledError:
    log.warning("slack_install_failed", problem="an answer that is not Slack's")
    return _NotInstalledError(502, "Slack did not answer", "Nothing was installed: its answer could not be read.")


# The address of the page holds a code: it is not to be kept, passed on, or framed.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def _page(status: int, title: str, *paragraphs: str) -> web.Response:
    """``title`` is text, ``paragraphs`` are HTML."""
    shown = html.escape(title)
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    response = web.Response(
        status=status,
        content_type="text/html",
        charset="utf-8",
        headers=_HEADERS,
        text='<!doctype html><html lang="en"><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{shown}</title>'
        "<style>body{font:1.1rem/1.5 system-ui,sans-serif;max-width:38rem;margin:12vh auto;padding:0 1rem}"
        ":root{color-scheme:light dark}</style>"
        f"<main><h1>{shown}</h1>{body}</main></html>",
    )
    response.del_cookie(COOKIE, path="/")
    return response


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
