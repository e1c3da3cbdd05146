"""Slash commands and events from Slack: acknowledged at once, then handed to the Desk."""

import asyncio
import re
import shlex
from collections.abc import Awaitable
from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.domain.channel import Channel
from bot.platforms import base
from bot.platforms.slack import connection, errors, render
from bot.platforms.slack.workspaces import Workspaces

log = structlog.get_logger()

COMMANDS = ("tocsin", "tocsin-admin")
# Commands that still run when the service stops get this long to answer.
_ANSWERED_WITHIN_S = 5.0

_UNINSTALLED = (
    "the app was uninstalled from the workspace; install it again and put the new token into [slack] bot_token"
)
_REVOKED = "the bot token was revoked; install the app again and put the new token into [slack] bot_token"
_REMOVED = "the bot was removed; invite it again with /invite @tocsin"
_ARCHIVED = "the channel was archived; unarchive it to go on"
_DELETED = "the channel was deleted; give it up with tocsin channel remove"

_LOST = {
    "channel_left": _REMOVED,
    "group_left": _REMOVED,
    "channel_archive": _ARCHIVED,
    "group_archive": _ARCHIVED,
    "channel_deleted": _DELETED,
    "group_deleted": _DELETED,
}
_RESTORED = ("channel_unarchive", "group_unarchive")


class Listeners:
    """Bolt's listeners."""

    def __init__(self, *, desk: base.Desk, client: AsyncWebClient, workspaces: Workspaces) -> None:
        self._desk = desk
        self._client = client
        self._workspaces = workspaces
        self._running: set[asyncio.Task[Any]] = set()

    def register(self, app: AsyncApp) -> None:
        for name in COMMANDS:
            app.command(f"/{name}")(self._command)
        app.event("app_uninstalled")(self._uninstalled)
        app.event("tokens_revoked")(self._tokens_revoked)
        app.event("member_left_channel")(self._member_left)
        app.event("member_joined_channel")(self._member_joined)
        for name in _LOST:
            app.event(name)(self._channel_lost)
        for name in _RESTORED:
            app.event(name)(self._channel_restored)

    async def close(self) -> None:
        """Wait a little for answers under way, then cut them."""
        if not self._running:
            return
        _, late = await asyncio.wait(self._running, timeout=_ANSWERED_WITHIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    async def _command(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        await self._tracked(self._answer(body))

    async def _answer(self, body: dict[str, Any]) -> None:
        command = str(body["command"]).removeprefix("/")
        argv = arguments(body.get("text") or "")
        if argv is None:
            await self._respond(body, 'A quotation mark is not closed. Write texts with blanks in "double quotes".')
            return
        invocation = base.Invocation(
            command=command,
            argv=argv,
            actor=f"slack:{body['team_id']}/{body['user_id']}",
            channel=Channel("slack", body["team_id"], body["channel_id"]),
            workspace_admin=await self._is_admin(body["team_id"], body["user_id"]),
        )
        try:
            reply = await self._desk.answer(invocation)
        except Exception:
            # Bolt would swallow it; the asker must not be left without an answer, nor the log without the fault.
            log.exception("command_failed", command=command, actor=invocation.actor)
            reply = "This could not be done because of a fault inside Tocsin; its log says more."
        await self._respond(body, reply)

    async def _is_admin(self, team: str, user: str) -> bool:
        try:
            response = await self._client.users_info(user=user, token=await self._workspaces.token(team))
        except errors.REMOTE as error:
            log.warning("slack_user_unknown", user=user, error=errors.code(error) or type(error).__name__)
            return False
        found = response.get("user") or {}
        return bool(found.get("is_admin") or found.get("is_owner"))

    async def _respond(self, body: dict[str, Any], text: str) -> None:
        # As Bolt's respond(), but over the shared session, with its timeout and without a proxy for a local server.
        message = render.plain(text)
        client = AsyncWebhookClient(body["response_url"], session=self._client.session, retry_handlers=[])
        client.proxy = self._client.proxy
        try:
            response = await client.send(text=message.text, blocks=message.blocks, response_type="ephemeral")
        except errors.REMOTE as error:
            log.warning("reply_failed", command=body["command"], error=type(error).__name__)
            return
        if response.status_code != 200:
            log.warning("reply_failed", command=body["command"], status=response.status_code)

    async def _uninstalled(self, body: dict[str, Any]) -> None:
        await self._tracked(self._desk.lost(f"slack:{body['team_id']}", _UNINSTALLED))

    async def _tokens_revoked(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        # ``oauth`` lists people who withdrew their own tokens: none of our business.
        if (event.get("tokens") or {}).get("bot"):
            await self._tracked(self._desk.lost(f"slack:{body['team_id']}", _REVOKED))

    async def _member_left(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        if event.get("user") == await self._workspaces.bot_user(body["team_id"]):
            await self._tracked(self._desk.lost(_target(body, event), _REMOVED))

    async def _member_joined(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        if event.get("user") == await self._workspaces.bot_user(body["team_id"]):
            await self._tracked(self._desk.restored(_target(body, event)))

    async def _channel_lost(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        await self._tracked(self._desk.lost(_target(body, event), _LOST[event["type"]]))

    async def _channel_restored(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        await self._tracked(self._desk.restored(_target(body, event)))

    async def _tracked(self, work: Awaitable[None]) -> None:
        """Bolt runs each listener in a task of its own and forgets it; ``close`` must know them."""
        task = asyncio.current_task()
        assert task is not None
        self._running.add(task)
        try:
            await work
        finally:
            self._running.discard(task)


def make_app(
    client: AsyncWebClient, listeners: Listeners, workspaces: Workspaces, *, signing_secret: str | None = None
) -> AsyncApp:
    """Events of the bot itself are wanted (it left, it joined). Without ``signing_secret`` for Socket Mode, which has no
    signatures to check; with it for HTTP, where an unsigned or old request is answered 401."""

    # A plain function: Bolt gives a method's ``self`` a None of its own.
    async def authorize(enterprise_id: str | None, team_id: str | None) -> AuthorizeResult | None:
        # Bolt's default would ask auth.test before the ack.
        token = await workspaces.token(team_id or "")
        if token is None:
            return None
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_token=token,
            bot_user_id=await workspaces.bot_user(team_id or ""),
        )

    over_http = signing_secret is not None
    app = AsyncApp(
        name="tocsin.slack",
        logger=connection.sdk_logger(),
        client=client,
        authorize=authorize,
        signing_secret=signing_secret,
        request_verification_enabled=over_http,
        ssl_check_enabled=over_http,
        url_verification_enabled=over_http,
        ignoring_self_events_enabled=False,
        attaching_function_token_enabled=False,
        attaching_conversation_kwargs_enabled=False,
    )
    listeners.register(app)
    return app


def arguments(text: str) -> tuple[str, ...] | None:
    """Split as a shell does, None if a quotation mark is not closed.

    Undoes what Slack (``&amp;``) and the typography of phones and Macs (“quotes”, — for --, hard blanks) have done.
    """
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, char)
    text = re.sub("[“”„‟]", '"', text.replace("\u00a0", " "))
    # An apostrophe stays one: only a pair around a word or words is a quotation.
    text = re.sub(r"(?<![^\s=])[‘‚]([^‘’]*)’(?!\S)", r"'\1'", text)
    text = re.sub(r"(?<!\S)[—–](?=[A-Za-z])", "--", text)
    try:
        return tuple(shlex.split(text))
    except ValueError:
        return None


def _target(body: dict[str, Any], event: dict[str, Any]) -> str:
    return str(Channel("slack", body["team_id"], event["channel"]))
