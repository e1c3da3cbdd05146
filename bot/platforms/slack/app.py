"""Slack in Socket Mode: one workspace, one connection that is kept up, one notifier; no public address."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse

from bot.domain.errors import TocsinError
from bot.platforms import base
from bot.platforms.base import Problem
from bot.platforms.slack import commands, connection, domains, errors, manifest, notifier
from bot.platforms.slack.workspaces import OneWorkspace

log = structlog.get_logger()

API_URL = "https://slack.com/api/"

_CALL_TIMEOUT = timedelta(seconds=8)
_CONNECT_TIMEOUT = timedelta(seconds=4)
_PING_INTERVAL = timedelta(seconds=10)
# A connection that held this long was healthy: the next one is made without waiting.
_HEALTHY_AFTER_S = 60.0
_REFUSED_AGAIN = timedelta(minutes=5)
_BOT, _APP = "bot_token", "app_token"


class State(StrEnum):
    CONNECTING = "connecting"  # not yet reached
    CONNECTED = "connected"  # commands and events arrive
    UNREACHABLE = "unreachable"  # the network or Slack is down; tried again and again
    REFUSED = "refused"  # a token is no good; tried again every few minutes


class Slack:
    """``async with Slack(…) as slack``: raises TocsinError if Slack refuses a token; an outage only delays.

    ``notifier`` can be used while this is entered. ``state`` and ``problem`` say how the connection is.
    """

    def __init__(
        self,
        *,
        bot_token: str,
        app_token: str,
        desk: base.Desk,
        api_url: str = API_URL,
        on_domain: domains.OnDomain | None = None,
        timeout: timedelta = _CALL_TIMEOUT,
        backoff: Callable[[int], float] | None = None,
    ) -> None:
        """``on_domain`` hears where the workspace's people have their e-mail. ``timeout`` is of one call; ``backoff``:
        failures in a row → seconds to wait before the next attempt."""
        self.state = State.CONNECTING
        self.problem: Problem | None = None
        self._app_token = app_token
        self._desk = desk
        self._on_domain = on_domain
        self._timeout = timeout
        self._backoff = backoff or _full_jitter
        self._client = make_client(bot_token, api_url)
        self._workspace = OneWorkspace(bot_token)
        self.notifier = notifier.SlackNotifier(self._client, self._workspace)
        self._listeners = commands.Listeners(desk=desk, client=self._client, workspaces=self._workspace)
        self._bolt = commands.make_app(self._client, self._listeners, self._workspace)
        self._stack = contextlib.AsyncExitStack()
        self._current: connection.Connection | None = None
        self._open: set[connection.Connection] = set()
        self._keeping: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        async with contextlib.AsyncExitStack() as stack:
            self._client.session = await stack.enter_async_context(make_session(self._timeout))
            stack.push_async_callback(self._listeners.close)
            stack.push_async_callback(self._disconnect)
            await self._first()
            group = await stack.enter_async_context(asyncio.TaskGroup())
            self._keeping = group.create_task(self._keep_connected(), name="slack-connection")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        try:
            await self._stack.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            # The TaskGroup wraps what the caller raised; only a fault of our own task may come out as a group.
            if group.exceptions != (error,):
                raise
        log.info("slack_closed")

    @property
    def team(self) -> str | None:
        """``T0123`` once Slack has been reached."""
        return self._workspace.team

    async def check(self) -> Problem | None:
        """Ask Slack now whether both tokens are good, without touching the connection."""
        return await _check(self._client, self._app_token)

    async def _first(self) -> None:
        try:
            self._current = await self._connect()
        except _RefusedError as refused:
            raise TocsinError(f"{refused.problem.problem}; {refused.problem.remedy}") from None
        except _UnreachableError as unreachable:
            self._note(State.UNREACHABLE, unreachable.problem)

    async def _keep_connected(self) -> None:
        """Until cancelled. The old connection is let go only when its successor is there, so no command is missed."""
        failures = 0
        loop = asyncio.get_running_loop()
        while True:
            old = self._current
            if old is not None:
                since = loop.time()
                await old.ended.wait()
                log.info("slack_disconnected", lasted_s=round(loop.time() - since, 1))
                failures = 0 if loop.time() - since >= _HEALTHY_AFTER_S else failures
            await asyncio.sleep(self._backoff(failures) if failures or old is None else 0.0)
            failures += 1
            wait = timedelta()
            try:
                self._current = await self._connect()
            except _UnreachableError as unreachable:
                self._current, wait = None, unreachable.wait
                self._note(State.UNREACHABLE, unreachable.problem)
            except _RefusedError as refused:
                self._current, wait = None, _REFUSED_AGAIN
                await self._refused(refused)
            finally:
                if old is not None:
                    await self._let_go(old)
            await asyncio.sleep(wait.total_seconds())

    async def _let_go(self, gone: connection.Connection) -> None:
        await gone.close()
        self._open.discard(gone)

    async def _disconnect(self) -> None:
        # Also what was being let go when the service was told to stop.
        for left in list(self._open):
            await self._let_go(left)

    async def _refused(self, refused: "_RefusedError") -> None:
        """A token went bad while we ran: everything else goes on, this workspace waits for a person."""
        problem = refused.problem
        # Without the app-level token no commands arrive, but messages still go out.
        if self.state is not State.REFUSED and self.team is not None and refused.setting == _BOT:
            await self._desk.lost(f"slack:{self.team}", f"{problem.problem}; {problem.remedy}")
        self._note(State.REFUSED, problem)

    async def _connect(self) -> connection.Connection:
        """Introduce ourselves, ask for an address, connect. Raises _RefusedError or _UnreachableError."""
        identity = await self._introduce()
        url = await self._ask(self._client.apps_connections_open(app_token=self._app_token), _APP)
        fresh = connection.Connection(
            app_token=self._app_token,
            web_client=self._client,
            url=str(url.get("url")),
            ping_interval=_PING_INTERVAL.total_seconds(),
        )
        self._open.add(fresh)
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                await connection.Handler(self._bolt, fresh).connect_async()  # type: ignore[no-untyped-call]
                await fresh.hello.wait()
        except BaseException as error:
            await self._let_go(fresh)
            if isinstance(error, TimeoutError):
                raise _UnreachableError(_unreachable("its WebSocket did not open in time")) from None
            raise
        self.state, self.problem = State.CONNECTED, None
        log.info("slack_connected", team=identity["team_id"])
        return fresh

    async def _introduce(self) -> dict[str, Any]:
        identity = await self._ask(self._client.auth_test(), _BOT)
        team = str(identity["team_id"])
        self._workspace.team, self._workspace.user = team, identity.get("user_id")
        await self._desk.restored(f"slack:{team}")
        await domains.learn(self._client, team, None, self._on_domain)
        return identity

    async def _ask(self, call: Any, setting: str) -> dict[str, Any]:
        try:
            response = await call
        except errors.REMOTE as error:
            raise _failure(error, setting) from None
        data = response.data
        if not isinstance(data, dict):
            raise _UnreachableError(_unreachable("its answer is not Slack's"))
        return data

    def _note(self, state: State, problem: Problem) -> None:
        if self.state is not state:
            log.warning("slack_unavailable", state=state.value, problem=problem.problem, remedy=problem.remedy)
        self.state, self.problem = state, problem


async def check(*, bot_token: str, app_token: str, api_url: str = API_URL) -> Problem | None:
    """For ``tocsin check``: are both tokens good and do the scopes suffice? Connects to nothing that lasts."""
    client = make_client(bot_token, api_url)
    async with make_session(_CALL_TIMEOUT) as client.session:
        return await _check(client, app_token)


def make_client(bot_token: str | None, api_url: str = API_URL) -> AsyncWebClient:
    """The outbox retries, the SDK must not: it would post twice what was processed and then reset.

    ``bot_token`` None: each call brings its workspace's own.
    """
    base_url = api_url if api_url.endswith("/") else api_url + "/"
    client = AsyncWebClient(bot_token, base_url=base_url, retry_handlers=[], logger=connection.sdk_logger())
    if urlsplit(base_url).scheme != "https":
        client.proxy = None  # a local server; the SDK would send even that through HTTPS_PROXY
    return client


def make_session(timeout: timedelta) -> aiohttp.ClientSession:
    """With a session of ours the SDK's own timeout does not count; this one does."""
    most = timeout.total_seconds()
    connect = min(most, _CONNECT_TIMEOUT.total_seconds())
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=most, sock_connect=connect))


def missing_scopes(response: AsyncSlackResponse) -> list[str]:
    """What the token of an answered call lacks; nothing where the answer does not tell."""
    granted = str(response.headers.get("x-oauth-scopes") or "")
    held = {name.strip() for name in granted.split(",")}
    return [scope for scope in manifest.SCOPES if granted and scope not in held]


class _RefusedError(Exception):
    """A token is no good: only a person can help. ``setting``: which one."""

    def __init__(self, problem: Problem, setting: str) -> None:
        super().__init__(problem.problem)
        self.problem = problem
        self.setting = setting


class _UnreachableError(Exception):
    """Slack cannot be reached or is not well: try again, after ``wait`` at the earliest."""

    def __init__(self, problem: Problem, wait: timedelta = timedelta()) -> None:
        super().__init__(problem.problem)
        self.problem = problem
        self.wait = wait


async def _check(client: AsyncWebClient, app_token: str) -> Problem | None:
    try:
        identity = await client.auth_test()
    except errors.REMOTE as error:
        return _failure(error, _BOT).problem
    try:
        await client.apps_connections_open(app_token=app_token)
    except errors.REMOTE as error:
        return _failure(error, _APP).problem
    missing = missing_scopes(identity)
    if missing:
        return Problem(
            problem=f"the Slack app lacks the scopes {', '.join(missing)}",
            remedy="add them under OAuth & Permissions and reinstall the app to the workspace",
        )
    return None


def _failure(error: Exception, setting: str) -> _RefusedError | _UnreachableError:
    said = errors.code(error)
    wait = errors.retry_after(error)
    if wait is not None:
        return _UnreachableError(_unreachable("it asks to wait"), wait)
    refusal = errors.refusal(error)
    if refusal is None:
        return _UnreachableError(_unreachable(said or type(error).__name__))
    what, remedy = refusal
    problem = Problem(problem=f"Slack refused the bot token: {what} ({said})", remedy=remedy)
    if setting == _APP:
        problem = Problem(
            problem=f"Slack refused the app-level token ({said})",
            remedy="create one with the scope connections:write under Basic Information and put it (xapp-…) into "
            "[slack] app_token or TOCSIN_SLACK__APP_TOKEN",
        )
    return _RefusedError(problem, setting)


def _unreachable(why: str) -> Problem:
    return Problem(
        problem=f"Slack cannot be reached: {why}",
        remedy="check the network and [slack] api_url; the service keeps trying",
    )


def _full_jitter(failures: int) -> float:
    return random.uniform(0.0, min(60.0, 2.0 ** min(failures, 6)))
