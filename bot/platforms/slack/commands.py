"""Slash commands, buttons, forms and events from Slack: acknowledged at once, then handed to the Desk."""

import re
import shlex
from datetime import timedelta
from typing import Any

import structlog
from slack_bolt.app.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.channel import Channel
from bot.platforms import base
from bot.platforms.slack import asking, connection, errors, forms, interactions, running
from bot.platforms.slack.asking import Asker
from bot.platforms.slack.workspaces import Workspaces

log = structlog.get_logger()

COMMANDS = ("tocsin", "tocsin-admin")

_OPEN_QUOTATION = 'A quotation mark is not closed. Write texts with blanks in "double quotes".'
_NOT_OPENED = (
    "Slack did not open the form ({why}); nothing was changed. Type the command again, or with its options: "
    "/tocsin help names them."
)

_UNINSTALLED = (
    "the app was uninstalled from the workspace; install it again and put the new token into [slack] bot_token"
)
_REVOKED = "the bot token was revoked; install the app again and put the new token into [slack] bot_token"
_REMOVED = f"the bot was removed; {errors.INVITE}"
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

    def __init__(
        self,
        *,
        desk: base.Desk,
        client: AsyncWebClient,
        workspaces: Workspaces,
        patience: timedelta = interactions.PATIENCE,
    ) -> None:
        """``patience``: how long a form may stay open for the Desk's answer to what was filled in."""
        self._desk = desk
        self._workspaces = workspaces
        self._asking = asking.Asking(client=client, workspaces=workspaces)
        self._interactions = interactions.Interactions(desk=desk, asking=self._asking, patience=patience)
        self._running = running.Running()

    def register(self, app: AsyncApp) -> None:
        for name in COMMANDS:
            app.command(f"/{name}")(self._command)
        # Whatever was pressed is acknowledged; else Slack shows a warning beside it.
        app.action(re.compile(""))(self._pressed)
        app.view(forms.CALLBACK)(self._submitted)
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
        await self._running.close()

    async def _command(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        await self._running.track(self._answer(body))

    async def _pressed(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        await ack()
        await self._running.track(self._interactions.pressed(body))

    async def _submitted(self, ack: AsyncAck, body: dict[str, Any]) -> None:
        await self._running.track(self._interactions.submitted(ack, body))

    async def _answer(self, body: dict[str, Any]) -> None:
        asker = Asker(
            actor=f"slack:{body['team_id']}/{body['user_id']}",
            channel=Channel("slack", body["team_id"], body["channel_id"]),
            user=body["user_id"],
            response_url=body["response_url"],
        )
        argv = arguments(body.get("text") or "")
        if argv is None:
            await self._asking.reply(asker, _OPEN_QUOTATION)
            return
        command = str(body["command"]).removeprefix("/")
        try:
            invocation = base.Invocation(
                command=command,
                argv=argv,
                actor=asker.actor,
                channel=asker.channel,
                workspace_admin=await self._asking.is_admin(asker),
            )
            reply = await self._form_or_answer(invocation, asker, body["trigger_id"])
        except Exception:
            # Bolt would swallow it; the asker must not be left without an answer, nor the log without the fault.
            log.exception("command_failed", command=command, actor=asker.actor)
            reply = asking.FAULT
        if reply is not None:
            await self._asking.reply(asker, reply)

    async def _form_or_answer(self, invocation: base.Invocation, asker: Asker, trigger_id: str) -> str | None:
        """The reply; None where a form was opened instead."""
        form = await self._desk.form(invocation)
        if form is None:
            return await self._desk.answer(invocation)
        origin = forms.Origin(channel=asker.channel.channel_id, response_url=asker.response_url, state=form.state)
        failure = await self._asking.open(asker, trigger_id, forms.render(form, origin))
        return None if failure is None else _NOT_OPENED.format(why=failure)

    async def _uninstalled(self, body: dict[str, Any]) -> None:
        await self._running.track(self._desk.lost(f"slack:{body['team_id']}", _UNINSTALLED))

    async def _tokens_revoked(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        # ``oauth`` lists people who withdrew their own tokens: none of our business.
        if (event.get("tokens") or {}).get("bot"):
            await self._running.track(self._desk.lost(f"slack:{body['team_id']}", _REVOKED))

    async def _member_left(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        if event.get("user") == await self._workspaces.bot_user(body["team_id"]):
            await self._running.track(self._desk.lost(_target(body, event), _REMOVED))

    async def _member_joined(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        if event.get("user") == await self._workspaces.bot_user(body["team_id"]):
            await self._running.track(self._desk.restored(_target(body, event)))

    async def _channel_lost(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        await self._running.track(self._desk.lost(_target(body, event), _LOST[event["type"]]))

    async def _channel_restored(self, body: dict[str, Any], event: dict[str, Any]) -> None:
        await self._running.track(self._desk.restored(_target(body, event)))


def make_app(
    client: AsyncWebClient, listeners: Listeners, workspaces: Workspaces, *, signing_secret: str | None = None
) -> AsyncApp:
    """Events of the bot itself are wanted (it left, it joined). Without ``signing_secret`` for Socket Mode, which has
    no signatures to check; with it for HTTP, where an unsigned or old request is answered 401."""

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
        authorize=authorize,  # type: ignore[arg-type]  # None: it is not installed there
        signing_secret=signing_secret,
        user_facing_authorize_error_message="Tocsin is not installed in this workspace any more; install it again.",
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
