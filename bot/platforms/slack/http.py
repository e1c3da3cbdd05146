"""Slack over HTTP: any number of workspaces that install the app at our public address, one notifier for all."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms import base
from bot.platforms.base import Problem
from bot.platforms.slack import app, commands, domains, errors, installs, manifest, notifier, refusals, signatures
from bot.platforms.slack.app import State
from bot.platforms.slack.workspaces import InstalledWorkspaces
from bot.store import installations
from bot.store.database import Database
from bot.store.installations import Installation

log = structlog.get_logger()

BODY_MOST = 2**20
TOO_LARGE = "a request of more than 1 MiB"
GARBLED = "a signed request that cannot be read"

_READ_WITHIN_S = 5.0
_CALL_TIMEOUT = timedelta(seconds=8)
_CHECKED_AT_ONCE = 8


class SlackOverHttp:
    """``async with SlackOverHttp(…) as slack``: ``slack.routes`` belong on the web server for as long as it is entered.

    ``refused`` gets (target, why) of what somebody tried at the public address, for the audit.
    """

    def __init__(
        self,
        *,
        client_id: str,
        client_secret: str,
        signing_secret: str,
        public_url: str,
        database: Database,
        desk: base.Desk,
        refused: refusals.Audit,
        now: Callable[[], datetime],
        api_url: str = app.API_URL,
        on_domain: domains.OnDomain | None = None,
        timeout: timedelta = _CALL_TIMEOUT,
    ) -> None:
        self.state = State.CONNECTING
        self.problem: Problem | None = None
        self._database = database
        self._desk = desk
        self._on_domain = on_domain
        self._now = now
        self._timeout = timeout
        self._public_url = public_url
        self._api_url = api_url
        self._client = app.make_client(None, api_url)
        workspaces = InstalledWorkspaces(database, public_url + manifest.INSTALL_PATH)
        self.notifier = notifier.SlackNotifier(self._client, workspaces)
        self._listeners = commands.Listeners(desk=desk, client=self._client, workspaces=workspaces)
        self._bolt = commands.make_app(self._client, self._listeners, workspaces, signing_secret=signing_secret)
        _let_go_first(self._bolt, self._left)
        self._signatures = signatures.Signatures(signing_secret, now)
        self._events = signatures.Recent()
        self._refused = refusals.Refusals(refused, now)
        self._installing = installs.Installing(
            client_id=client_id,
            client_secret=client_secret,
            public_url=public_url,
            client=self._client,
            database=database,
            refused=self._refused,
            installed=self._installed,
            now=now,
        )
        # What is stored and what the desk believes of a workspace change together.
        self._changing = asyncio.Lock()
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self._client.session = await stack.enter_async_context(app.make_session(self._timeout))
            stack.push_async_callback(self._listeners.close)
            self._stack = stack.pop_all()
        self.state = State.CONNECTED
        log.info("slack_listening", url=self._public_url + manifest.EVENTS_PATH)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)
        log.info("slack_closed")

    @property
    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(manifest.EVENTS_PATH, self._take),
            # Without HEAD, which would begin installations that nobody ends.
            web.get(manifest.INSTALL_PATH, self._installing.begin, allow_head=False),
            web.get(manifest.REDIRECT_PATH, self._installing.finish, allow_head=False),
        ]

    async def check(self) -> list[Problem]:
        """Ask Slack now whether it can be reached and takes the token of each workspace."""
        return await check(database=self._database, public_url=self._public_url, api_url=self._api_url)

    async def _take(self, request: web.Request) -> web.StreamResponse:
        """An event, a command or something pressed. Acknowledged within 3 s by Bolt, once our own checks are passed."""
        try:
            async with asyncio.timeout(_READ_WITHIN_S):
                body = await _body(request)
        except TimeoutError:
            return web.Response(status=408)
        if body is None:
            await self._refused.note(manifest.EVENTS_PATH, TOO_LARGE)
            return web.Response(status=413)
        signature = request.headers.get("X-Slack-Signature")
        fault = self._signatures.take(request.headers.get("X-Slack-Request-Timestamp"), signature, body)
        if fault is not None:
            await self._refused.note(manifest.EVENTS_PATH, fault.value)
            return web.Response(status=401)
        given = _bolt_request(body, request.content_type)
        if given is None:
            await self._refused.note(manifest.EVENTS_PATH, GARBLED)
            return web.Response(status=400)
        done = False
        try:
            response = await self._dispatch(given)
            done = response.status < 500
        finally:
            if not done and signature is not None:
                self._signatures.forget(signature)
        return response

    async def _dispatch(self, given: AsyncBoltRequest) -> web.StreamResponse:
        """Slack brings an event again, signed anew, if our answer came late: by then it has been dealt with."""
        event = given.body.get("event_id")
        if isinstance(event, str) and not self._events.add(event, self._now()):
            return web.Response()
        done = False
        try:
            answer = await self._bolt.async_dispatch(given)
            done = answer.status < 500
        finally:
            if not done and isinstance(event, str):
                self._events.discard(event)
        return await to_aiohttp_response(answer)

    async def _installed(self, installation: Installation) -> None:
        async with self._changing:
            await self._database.write(installations.save, installation)
            await self._desk.restored(installation.workspace)
        team = installation.workspace.partition(":")[2]
        await domains.learn(self._client, team, installation.bot_token, self._on_domain)
        log.info("slack_installed", workspace=installation.workspace, by=installation.installed_by)

    async def _left(self, team: str, why: str, at: datetime) -> None:
        """Slack says that the app is no longer in ``team``. What it says of an earlier installation is old news."""
        workspace = f"slack:{team}"
        async with self._changing:
            if not await self._database.write(installations.delete, workspace, until=at):
                log.info("slack_loss_outdated", workspace=workspace)
                return
            again = f"install it again at {self._public_url}{manifest.INSTALL_PATH}"
            await self._desk.lost(workspace, f"{why}; {again}")


async def check(*, database: Database | None, public_url: str, api_url: str = app.API_URL) -> list[Problem]:
    """For ``tocsin check``: can Slack be reached, and is the token of each workspace good? Changes nothing."""
    client = app.make_client(None, api_url)
    async with app.make_session(_CALL_TIMEOUT) as client.session:
        try:
            await client.api_test()
        except errors.REMOTE as error:
            return [
                Problem(
                    problem=f"Slack cannot be reached: {errors.code(error) or type(error).__name__}",
                    remedy="check the network and [slack] api_url",
                )
            ]
        known = [] if database is None else await database.read(installations.installations)
        few = asyncio.Semaphore(_CHECKED_AT_ONCE)

        async def problem(installation: Installation) -> Problem | None:
            async with few:
                return await _problem(client, installation, public_url + manifest.INSTALL_PATH)

        found = await asyncio.gather(*map(problem, known))
    return [each for each in found if each is not None]


async def _problem(client: AsyncWebClient, installation: Installation, install_url: str) -> Problem | None:
    named = f"workspace {installation.workspace}" + (f" ({installation.name})" if installation.name else "")
    try:
        identity = await client.auth_test(token=installation.bot_token)
    except errors.REMOTE as error:
        said, refusal = errors.code(error), errors.refusal(error)
        if refusal is None:
            return Problem(
                problem=f"{named}: Slack did not answer ({said or type(error).__name__})", remedy="run this check again"
            )
        return Problem(problem=f"{named}: {refusal[0]} ({said})", remedy=f"install the app again at {install_url}")
    missing = app.missing_scopes(identity)
    if missing:
        return Problem(
            problem=f"{named}: the app lacks the scopes {', '.join(missing)}",
            remedy=f"add them under OAuth & Permissions and install the app again at {install_url}",
        )
    return None


def _let_go_first(bolt: AsyncApp, left: Callable[[str, str, datetime], Awaitable[None]]) -> None:
    """Before any listener: an installation that ended takes its token with it. A failure answers 500, so that Slack
    says it again."""

    async def departures(body: dict[str, Any], next: Callable[[], Awaitable[None]]) -> BoltResponse | None:
        event = body.get("event") or {}
        match event.get("type"):
            case "app_uninstalled":
                why = "the app was uninstalled from the workspace"
            case "tokens_revoked" if (event.get("tokens") or {}).get("bot"):
                why = "the bot token was revoked"
            case _:
                await next()
                return None
        # Slack counts whole seconds: what it did within this one counts as later than an installation in it.
        at = datetime.fromtimestamp(float(body["event_time"]), UTC) + timedelta(seconds=1)
        await left(str(body["team_id"]), why, at)
        return BoltResponse(status=200, body="")

    bolt.middleware(departures)


async def _body(request: web.Request) -> bytes | None:
    """None where it is too large."""
    taken = bytearray()
    async for chunk in request.content.iter_any():
        taken += chunk
        if len(taken) > BODY_MOST:
            return None
    return bytes(taken)


def _bolt_request(body: bytes, content_type: str) -> AsyncBoltRequest | None:
    """Events come as JSON, commands as a form, what was pressed as JSON in a form; None for anything else.

    In the mode for what has been checked and parsed already: Bolt's own parser drops every command whose text contains
    the word "payload".
    """
    try:
        text = body.decode()
        if content_type == "application/json":
            found = json.loads(text)
        else:
            form = dict(parse_qsl(text, keep_blank_values=True))
            found = json.loads(form["payload"]) if "payload" in form else form
        if not isinstance(found, dict) or not ("type" in found or "command" in found):
            return None
        return AsyncBoltRequest(body=found, mode="socket_mode")
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError):  # Bolt looks for teams and people in it
        return None
