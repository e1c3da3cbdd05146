"""Slack over a WebSocket, over HTTP, and without the scopes to read history."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp import web

from bot.desk import FrontDesk
from bot.platforms import base
from bot.platforms.base import Form, Notifier
from bot.platforms.slack import app, http
from tests.contract.places import Call, HearingDesk, Ill, Kind, Standing, Values, Who
from tests.fakes import block_kit
from tests.fakes.slack import Envelope, FakeSlack, Fault, seen
from tests.fakes.slack_oauth import FakeSlackApp, FakeWorkspace
from tests.worlds import World


class SlackPlace:
    """Socket Mode, one workspace."""

    name = "slack"
    platform = "slack"
    scopes_less: frozenset[str] = frozenset()

    def __init__(self) -> None:
        self._channel_id, self._beside = "C0456", "C0457"

    @property
    def channel(self) -> str:
        return f"slack:{self.slack.team}/{self._channel_id}"

    @contextlib.asynccontextmanager
    async def open(self, world: World, desk: HearingDesk) -> AsyncIterator[None]:
        async with FakeSlack(clock=lambda: world.now.timestamp()) as fake:
            self.slack, self._desk = fake, desk
            self._furnish()
            self.slack.scopes -= self.scopes_less
            async with app.Slack(
                bot_token=fake.bot_token, app_token=fake.app_token, api_url=fake.api_url, desk=desk,
                backoff=lambda _: 0.0,
            ) as platform:  # fmt: skip
                self.notifier: Notifier = platform.notifier
                yield

    def move(self, number: int) -> None:
        self._channel_id = f"C{number:05}"
        self.slack.add_channel(self._channel_id)

    def standing(self) -> list[Standing]:
        return [Standing(_kind(message), seen(message)) for message in self.slack.channels.get(self._channel_id, ())]

    def unfired(self) -> Sequence[object]:
        return self._served().unfired()

    async def command(self, subcommand: str, options: Mapping[str, str], who: Who) -> str:
        text = _typed(self._desk, subcommand, options)
        return await self.slack.slash("/tocsin", text, user=_USERS[who], channel=self._channel_id)

    async def fill(self, values: Values, who: Who) -> str:
        user, whispered = _USERS[who], len(self.slack.ephemerals)
        await self.slack.type("/tocsin", "subscribe", user=user, channel=self._channel_id)
        await self.slack.form(user)
        assert self._desk.shown is not None
        errors = await self.slack.submit(user, dict(_by_label(self._desk.shown, values)))
        if errors is not None:
            return "\n".join(errors.values())
        await self.slack.wait_for(lambda: len(self.slack.ephemerals) > whispered)
        return seen(self.slack.ephemerals[-1])

    async def press(self, label: str, who: Who, *, elsewhere: bool = False) -> str:
        message = self.slack.messages(self._channel_id)[0]
        is_button = label in {e["text"]["text"] for _, e in block_kit.elements(message) if e["type"] == "button"}
        action = (block_kit.click if is_button else block_kit.choose)(message, label)
        stranger = {"user": {"id": "U9", "username": "u9", "name": "u9", "team_id": "T0999"}}
        envelope = await self.slack.press(
            action, message=message, user=_USERS[who], channel=self._beside if elsewhere else self._channel_id,
            forged=stranger if who is Who.STRANGER else None,
        )  # fmt: skip
        return await _reply(envelope)

    def strike(self, call: Call, ill: Ill, times: int = 1) -> None:
        for _ in range(times):
            self._served().script(_CALLS[call], _fault(ill))

    def shut_out(self) -> None:
        self._hidden = self.slack.channels.pop(self._channel_id)

    async def let_in(self) -> None:
        self.let_in_silently()
        joined = {"type": "member_joined_channel", "user": self.slack.bot_user, "channel": self._channel_id}
        await self.slack.event(joined)
        await self._desk.until("restored channel")

    def let_in_silently(self) -> None:
        self.slack.channels[self._channel_id] = self._hidden

    async def delete_channel(self) -> None:
        del self.slack.channels[self._channel_id]
        await self.slack.event({"type": "channel_deleted", "channel": self._channel_id})
        await self._desk.until("lost channel")

    async def remove(self) -> None:
        self.slack.revoke_token("account_inactive")
        await self.slack.event({"type": "app_uninstalled"})
        await self.slack.event({"type": "tokens_revoked", "tokens": {"bot": [self.slack.bot_user]}})
        await self._desk.until("lost workspace", times=2)

    def refuse_token(self) -> None:
        self.slack.revoke_token()

    async def bring_back(self) -> None:
        self.slack.restore_token()
        await self.slack.disconnect()
        await self._desk.until("restored workspace")

    def _served(self) -> FakeSlack:
        return self.slack

    def _furnish(self) -> None:
        for channel in (self._channel_id, self._beside):
            self.slack.add_channel(channel)
        self.slack.add_user(_USERS[Who.MEMBER])
        self.slack.add_user(_USERS[Who.ADMIN], admin=True)


class MutedSlackPlace(SlackPlace):
    """Without the scopes to read what stands in its channels."""

    name = "slack without history"
    scopes_less = frozenset({"channels:history", "groups:history"})


class SlackHttpPlace(SlackPlace):
    """Over HTTP: requests are signed, and the workspace has installed the app."""

    name = "slack over HTTP"
    slack: FakeWorkspace

    @contextlib.asynccontextmanager
    async def open(self, world: World, desk: HearingDesk) -> AsyncIterator[None]:
        listening = socket.create_server(("127.0.0.1", 0))
        async with FakeSlackApp(clock=lambda: world.now.timestamp()) as fake:
            fake.public_url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            self._app, self._desk = fake, desk
            self.slack = fake.add_workspace("T0123", "Kestrel News")
            self._furnish()
            platform = http.SlackOverHttp(
                client_id=fake.client_id, client_secret=fake.client_secret, signing_secret=fake.signing_secret,
                public_url=fake.public_url, api_url=fake.api_url, database=world.database, desk=desk,
                refused=_nobody_is_refused, now=lambda: world.now,
            )  # fmt: skip
            async with platform, _serving(platform.routes, listening):
                self.notifier = platform.notifier
                await self._install()
                yield

    async def remove(self) -> None:
        await self.slack.uninstall()
        await self._desk.until("lost workspace", times=2)

    def refuse_token(self) -> None:
        self.slack.tokens[self.slack.bot_token] = "token_revoked"

    async def bring_back(self) -> None:
        await self._install()

    async def _install(self) -> None:
        self._app.installer = self.slack, _USERS[Who.ADMIN]
        jar = aiohttp.CookieJar(unsafe=True)  # cookies for an address without a name
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            async with browser.get(f"{self._app.public_url}/slack/install") as response:
                assert response.status == 200, await response.text()
        await self._desk.until("restored workspace")

    def _served(self) -> FakeSlack:
        return self._app


_USERS = {Who.ADMIN: "UADMIN", Who.MEMBER: "U1", Who.STRANGER: "U9"}
_CALLS = {
    Call.POST: "chat.postMessage",
    Call.EDIT: "chat.update",
    Call.DELETE: "chat.delete",
    Call.LIST: "conversations.history",
    Call.LIST_THREAD: "conversations.replies",
    Call.OPEN_THREAD: "chat.postMessage",
}


def _fault(ill: Ill) -> Fault:
    match ill:
        case Ill.RATE_LIMITED:
            return Fault.rate_limited(2)
        case Ill.BROKEN | Ill.BROKEN_AFTER:
            return Fault.http(500, processed=ill is Ill.BROKEN_AFTER)
        case Ill.DOWN:
            return Fault.http(503)
        case Ill.RESET:
            return Fault.reset_before()
        case Ill.RESET_AFTER:
            return Fault.reset_after()
        case Ill.TIMED_OUT:
            return Fault.hang_before()
        case Ill.TIMED_OUT_AFTER:
            return Fault.hang_after()
    code, _, processed = ill.value.partition(", ")
    return Fault("answer", processed=bool(processed), body={"ok": False, "error": code})


def _typed(desk: FrontDesk, subcommand: str, options: Mapping[str, str]) -> str:
    """As a person types it in Slack."""
    known = next(each for each in desk.subcommands if (each.command, each.name) == ("tocsin", subcommand))
    words = [subcommand]
    for option in known.options:
        if option.name in options:
            value = options[option.name]
            words += [value] if option.positional else [f"--{option.name}"] + ([] if option.flag else [f'"{value}"'])
    assert set(options) <= {option.name for option in known.options}
    return " ".join(words)


def _kind(message: Mapping[str, Any]) -> Kind:
    if message.get("subtype") == "thread_broadcast":
        return Kind.LOUD
    return Kind.MESSAGE if message.get("thread_ts") in (None, message["ts"]) else Kind.REPLY


def _by_label(form: Form, values: Values) -> list[tuple[str, str | list[str]]]:
    """Field and option by what a person reads, in place of the names that the desk gave them."""
    given: list[tuple[str, str | list[str]]] = []
    for each in form.fields:
        if each.name in values:
            chosen, labels = values[each.name], dict(each.choices)
            if not isinstance(chosen, str):
                chosen = [labels[value] for value in chosen]
                chosen = chosen[0] if each.kind is base.FieldKind.CHOICE else chosen
            given.append((each.label, chosen if isinstance(chosen, str) else list(chosen)))
    return given


async def _reply(envelope: Envelope) -> str:
    async with asyncio.timeout(10):
        await envelope.acked.wait()
        await envelope.replied.wait()
    return seen(envelope.replies[0])


async def _nobody_is_refused(target: str, why: str) -> None:
    raise AssertionError(f"refused at {target}: {why}")


@contextlib.asynccontextmanager
async def _serving(routes: list[web.RouteDef], listening: socket.socket) -> AsyncIterator[None]:
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()
