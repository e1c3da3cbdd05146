"""A Slack that speaks the real HTTP Web API and the real Socket Mode WebSocket, on 127.0.0.1.

async with FakeSlack() as fake:
    fake.add_channel("C0456")
    fake.script("chat.postMessage", Fault.reset_after())
    … run the service against fake.api_url, fake.bot_token, fake.app_token …
    reply = await fake.slash("/tocsin", "help", user="U1", channel="C0456")
    reply = await fake.click("Acknowledge", message=fake.messages("C0456")[0], user="U1", channel="C0456")
    assert fake.unfired() == []
"""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import aiohttp
from aiohttp import web

from tests.fakes import block_kit

TOO_LONG = 13_200
_WAIT_S = 10.0
# A trigger is good for one modal, within this time.
TRIGGER_S = 3.0


@dataclass(slots=True)
class Fault:
    """What goes wrong with one call (or with the next ``times``). ``processed``: the call takes effect all the same."""

    kind: str
    processed: bool = False
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    times: float = 1
    fired: int = 0

    @staticmethod
    def rate_limited(seconds: float | str = 1, *, times: float = 1) -> "Fault":
        headers = {"Retry-After": str(seconds)}
        return Fault("answer", status=429, body={"ok": False, "error": "ratelimited"}, headers=headers, times=times)

    @staticmethod
    def http(status: int = 500, text: str = "<html>oops</html>", *, processed: bool = False) -> "Fault":
        """Not Slack's JSON: a gateway's page."""
        return Fault("answer", processed=processed, status=status, body=text)

    @staticmethod
    def error(code: str, *, times: float = 1) -> "Fault":
        return Fault("answer", body={"ok": False, "error": code}, times=times)

    @staticmethod
    def reset_before(*, times: float = 1) -> "Fault":
        return Fault("reset", times=times)

    @staticmethod
    def reset_after() -> "Fault":
        return Fault("reset", processed=True)

    @staticmethod
    def hang_before() -> "Fault":
        return Fault("hang")

    @staticmethod
    def hang_after() -> "Fault":
        return Fault("hang", processed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One call as it arrived. ``at``: seconds on the monotonic clock. ``answer``: what was answered, faults apart."""

    method: str
    at: float
    arguments: dict[str, Any]
    token: str
    answer: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Envelope:
    """One thing sent over the WebSocket; times are on the monotonic clock. ``answer``: what the acknowledgement said.
    ``interactive``: the ``ts`` of the message that was pressed."""

    id: str
    sent_at: float
    acked: asyncio.Event = field(default_factory=asyncio.Event)
    acked_at: float | None = None
    answer: dict[str, Any] = field(default_factory=dict)
    interactive: str | None = None
    replied: asyncio.Event = field(default_factory=asyncio.Event)
    replied_at: float | None = None
    replies: list[dict[str, Any]] = field(default_factory=list)


class SlackError(Exception):
    """Becomes ``{"ok": false, "error": …}``."""


class FakeSlack:
    """One workspace. ``clock`` makes the ``ts`` of messages; state may be read and changed freely between calls."""

    def __init__(
        self,
        *,
        port: int = 0,
        team: str = "T0123",
        bot_token: str = "xoxb-fake",
        app_token: str = "xapp-fake",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.team, self.bot_token, self.app_token = team, bot_token, app_token
        self.bot_user, self.bot_id = "UBOT", "BBOT"
        self.clock = clock
        self.scopes = {"chat:write", "commands", "channels:history", "groups:history", "users:read"}
        self.scopes |= {"channels:read", "groups:read", "team:read"}
        self.email_domain = ""
        self.channels: dict[str, list[dict[str, Any]]] = {}
        self.archived: set[str] = set()
        self.kicked: set[str] = set()
        self.users: dict[str, dict[str, Any]] = {}
        self.token_error: str | None = None
        self.requests: list[Request] = []
        self.envelopes: list[Envelope] = []
        self.connections = 0
        self.ephemerals: list[dict[str, Any]] = []
        self.views: dict[str, dict[str, Any]] = {}
        self._triggers: dict[str, tuple[str, float]] = {}
        self._faults: list[tuple[str, Fault]] = []
        self._sockets: list[web.WebSocketResponse] = []
        self._open: dict[str, Envelope] = {}
        self._changed = asyncio.Condition()
        self._closing = asyncio.Event()
        self._count = itertools.count(1)
        self._last_ts = 0
        self._port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=8 * 2**20)
        app.add_routes(self._routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.5)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        for socket in list(self._sockets):
            await socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.route("*", "/api/{method}", self._call),
            web.get("/socket", self._socket),
            web.post("/response/{envelope}", self._response),
        ]

    # What a test sets up.

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/api/"

    def add_channel(self, channel: str) -> None:
        self.channels.setdefault(channel, [])

    def add_user(self, user: str, *, admin: bool = False, owner: bool = False) -> None:
        self.users[user] = {"id": user, "team_id": self.team, "is_admin": admin, "is_owner": owner, "deleted": False}

    def script(self, method: str, *faults: Fault) -> None:
        """The next calls of ``method`` meet these faults, in this order."""
        self._faults += [(method, fault) for fault in faults]

    def unfired(self) -> list[str]:
        """Scripted faults that never fired: a test must find this empty."""
        return [f"{method}: {fault.kind}" for method, fault in self._faults if fault.fired == 0]

    def revoke_token(self, error: str = "token_revoked") -> None:
        """From now on every call with the bot token is refused. ``restore_token`` undoes it."""
        self.token_error = error

    def restore_token(self) -> None:
        self.token_error = None

    # What a test looks at.

    def messages(self, channel: str) -> list[dict[str, Any]]:
        """Everything that now exists there, replies in threads included, oldest first."""
        return list(self.channels[channel])

    def posted(self, channel: str, delivery: str) -> list[dict[str, Any]]:
        """The messages that carry this delivery's id."""
        return [
            message
            for message in self.channels[channel]
            if (message.get("metadata") or {}).get("event_payload", {}).get("delivery_id") == delivery
        ]

    def calls(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]

    async def wait_for(self, condition: Callable[[], bool], timeout: float = _WAIT_S) -> None:
        """Until ``condition`` holds; it is asked again after each call and each change of the socket."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(condition)

    async def connected(self, at_least: int = 1, timeout: float = _WAIT_S) -> None:
        """Until the service has opened its WebSocket (the ``at_least``-th one since the fake started)."""
        await self.wait_for(lambda: self.connections >= at_least and bool(self._sockets), timeout)

    # What Slack does.

    async def slash(self, command: str, text: str, *, user: str, channel: str, timeout: float = _WAIT_S) -> str:
        """Somebody types a command; waits for the acknowledgement and the first reply, and returns its text."""
        envelope = await self.type(command, text, user=user, channel=channel)
        async with asyncio.timeout(timeout):
            await envelope.acked.wait()
            await envelope.replied.wait()
        return seen(envelope.replies[0])

    async def type(self, command: str, text: str, *, user: str, channel: str) -> Envelope:
        """As ``slash``, without waiting for anything: a form may be the answer (``form``)."""
        envelope = self._envelope()
        payload = {
            "token": "verification",
            "team_id": self.team,
            "team_domain": "fake",
            "channel_id": channel,
            "channel_name": "general",
            "user_id": user,
            "user_name": user.lower(),
            "command": command,
            "text": text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),
            "api_app_id": "A0123",
            "is_enterprise_install": "false",
            "response_url": f"http://127.0.0.1:{self._port}/response/{envelope.id}",
            "trigger_id": self._trigger(user),
        }
        await self._send(envelope, "slash_commands", payload, accepts_response_payload=True)
        return envelope

    async def form(self, user: str, timeout: float = _WAIT_S) -> dict[str, Any]:
        """The modal that ``user`` has open, or is about to have."""
        await self.wait_for(lambda: user in self.views, timeout)
        return self.views[user]

    async def submit(self, user: str, given: dict[str, Any], *, timeout: float = _WAIT_S) -> dict[str, str] | None:
        """``user`` fills in the modal (label → text, label of an option, or a list of these) and sends it off.

        The errors by block, and the modal stays open; or None: it is closed.
        """
        view = self.views[user]
        envelope = self._envelope()
        payload = self._interaction("view_submission", user) | {
            "trigger_id": self._trigger(user),
            "view": view | {"state": {"values": block_kit.filled_in(view, given)}},
            "response_urls": [],
        }
        await self._send(envelope, "interactive", payload, accepts_response_payload=True)
        async with asyncio.timeout(timeout):
            await envelope.acked.wait()
        if envelope.answer.get("response_action") == "errors":
            errors = envelope.answer["errors"]
            shown = {block["block_id"] for block in view["blocks"] if block["type"] == "input"}
            assert errors, "no errors in an answer that names some"
            assert set(errors) <= shown, "errors for blocks that the form does not show"
            return dict(errors)
        assert envelope.answer == {}, "an answer that Slack does not know"
        del self.views[user]
        return None

    async def click(
        self, label: str, *, message: dict[str, Any], user: str, channel: str, timeout: float = _WAIT_S
    ) -> str:
        """Somebody clicks a button; waits for the acknowledgement and the reply, and returns its text."""
        return await self._pressed(block_kit.click(message, label), message, user, channel, timeout)

    async def choose(
        self, label: str, *, message: dict[str, Any], user: str, channel: str, timeout: float = _WAIT_S
    ) -> str:
        """As ``click``, for an option of a select."""
        return await self._pressed(block_kit.choose(message, label), message, user, channel, timeout)

    async def press(
        self,
        action: dict[str, Any],
        *,
        message: dict[str, Any],
        user: str,
        channel: str,
        forged: dict[str, Any] | None = None,
    ) -> Envelope:
        """Send any action, and with ``forged`` anything else in place of what Slack would say; waits for nothing."""
        envelope = self._envelope()
        envelope.interactive = message["ts"]
        payload = self._interaction("block_actions", user) | {
            "container": {
                "type": "message_attachment",
                "message_ts": message["ts"],
                "attachment_id": 1,
                "channel_id": channel,
                "is_ephemeral": False,
                "is_app_unfurl": False,
            },
            "trigger_id": self._trigger(user),
            "channel": {"id": channel, "name": "general"},
            "message": message,
            "state": {"values": {}},
            "response_url": f"http://127.0.0.1:{self._port}/response/{envelope.id}",
            "actions": [action],
        }
        await self._send(envelope, "interactive", payload | (forged or {}), accepts_response_payload=True)
        return envelope

    async def _pressed(
        self, action: dict[str, Any], message: dict[str, Any], user: str, channel: str, timeout: float
    ) -> str:
        envelope = await self.press(action, message=message, user=user, channel=channel)
        async with asyncio.timeout(timeout):
            await envelope.acked.wait()
            await envelope.replied.wait()
        return seen(envelope.replies[0])

    def _interaction(self, kind: str, user: str) -> dict[str, Any]:
        return {
            "type": kind,
            "token": "verification",
            "api_app_id": "A0123",
            "team": {"id": self.team, "domain": "fake"},
            "user": {"id": user, "username": user.lower(), "name": user.lower(), "team_id": self.team},
            "enterprise": None,
            "is_enterprise_install": False,
        }

    def _trigger(self, user: str) -> str:
        trigger = f"{next(self._count)}.2.abc"
        self._triggers[trigger] = (user, self.clock() + TRIGGER_S)
        return trigger

    async def event(self, event: dict[str, Any], timeout: float = _WAIT_S) -> None:
        """An Events API event; returns when it has been acknowledged."""
        envelope = self._envelope()
        payload = {
            "token": "verification",
            "team_id": self.team,
            "api_app_id": "A0123",
            "event": {"event_ts": self._ts()} | event,
            "type": "event_callback",
            "event_id": f"Ev{envelope.id}",
            "event_time": int(self.clock()),
            "authorizations": [{"team_id": self.team, "user_id": self.bot_user, "is_bot": True}],
            "is_ext_shared_channel": False,
        }
        await self._send(envelope, "events_api", payload, retry_attempt=0, retry_reason="")
        async with asyncio.timeout(timeout):
            await envelope.acked.wait()

    async def kick(self, channel: str) -> None:
        """The bot is removed from a channel, and Slack says so."""
        self.kicked.add(channel)
        await self.event({"type": "member_left_channel", "user": self.bot_user, "channel": channel, "team": self.team})

    async def disconnect(self, reason: str = "refresh_requested") -> None:
        """Ask for a new connection, as Slack does every few hours; the old one stays open until the client goes."""
        await self._socket_now().send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "fake"}})

    async def drop(self) -> None:
        """Close the WebSocket without a word."""
        await self._socket_now().close(code=1001)

    # The Web API.

    async def _call(self, request: web.Request) -> web.StreamResponse:
        method, arguments = request.match_info["method"], await _arguments(request)
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        called = Request(method=method, at=time.monotonic(), arguments=arguments, token=token)
        self.requests.append(called)
        fault = self._fault(method)
        answer: dict[str, Any] | None = None
        if fault is None or fault.processed:
            answer = self._answer(method, arguments, token)
            called.answer.update(answer)
        await self._notify()
        if fault is None:
            return _json(answer, headers={"X-OAuth-Scopes": ",".join(sorted(self.scopes))})
        match fault.kind:
            case "reset":
                assert request.transport is not None
                request.transport.abort()
                raise asyncio.CancelledError
            case "hang":
                await self._closing.wait()
                raise asyncio.CancelledError
        if isinstance(fault.body, str):
            return web.Response(status=fault.status, text=fault.body, content_type="text/html", headers=fault.headers)
        return _json(fault.body, status=fault.status, headers=fault.headers)

    def _fault(self, method: str) -> Fault | None:
        for name, fault in self._faults:
            if name == method and fault.fired < fault.times:
                fault.fired += 1
                return fault
        return None

    def _answer(self, method: str, arguments: dict[str, Any], token: str) -> dict[str, Any]:
        expected = self.app_token if method == "apps.connections.open" else self.bot_token
        try:
            if token != expected:
                raise SlackError("invalid_auth" if token else "not_authed")
            if expected == self.bot_token and self.token_error is not None:
                raise SlackError(self.token_error)
            answer = getattr(self, "_" + method.replace(".", "_"), None)
            if answer is None:
                raise SlackError("unknown_method")
            return {"ok": True} | answer(arguments)
        except SlackError as error:
            return {"ok": False, "error": str(error)}

    def _auth_test(self, _: dict[str, Any]) -> dict[str, Any]:
        return {
            "url": "https://fake.slack.com/",
            "team": "Fake",
            "user": "tocsin",
            "team_id": self.team,
            "user_id": self.bot_user,
            "bot_id": self.bot_id,
            "is_enterprise_install": False,
        }

    def _apps_connections_open(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"url": f"ws://127.0.0.1:{self._port}/socket?ticket={next(self._count)}"}

    def _chat_postMessage(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the method's name
        channel = self._writable(arguments)
        _check_content(arguments)
        thread = arguments.get("thread_ts")
        if arguments.get("reply_broadcast") and thread is None:
            raise SlackError("invalid_arguments")
        if thread is not None and not any(message["ts"] == thread for message in self.channels[channel]):
            raise SlackError("thread_not_found")
        message = {
            "type": "message",
            "user": self.bot_user,
            "bot_id": self.bot_id,
            "ts": self._ts(),
            **{key: arguments[key] for key in ("text", "blocks", "attachments", "metadata") if key in arguments},
        }
        if thread is not None:
            message["thread_ts"] = thread
            if arguments.get("reply_broadcast"):
                message["subtype"] = "thread_broadcast"
        self.channels[channel].append(message)
        return {"channel": channel, "ts": message["ts"], "message": message}

    def _chat_update(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._writable(arguments)
        message = self._own(channel, arguments)
        _check_content(arguments)
        for key in ("text", "blocks", "attachments", "metadata"):
            if key in arguments:
                message[key] = arguments[key]
        message["edited"] = {"user": self.bot_user, "ts": self._ts()}
        text = message.get("text", "")
        return {"channel": channel, "ts": message["ts"], "text": text, "message": {"type": "message", "text": text}}

    def _chat_postEphemeral(self, arguments: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - the method's name
        channel = self._writable(arguments)
        if arguments.get("user") not in self.users:
            raise SlackError("user_not_in_channel")
        _check_content(arguments)
        kept = ("user", "text", "blocks", "attachments")
        self.ephemerals.append({"channel": channel} | {key: arguments[key] for key in kept if key in arguments})
        return {"message_ts": self._ts()}

    def _views_open(self, arguments: dict[str, Any]) -> dict[str, Any]:
        user, until = self._triggers.get(arguments.get("trigger_id", ""), (None, 0.0))
        if user is None:
            raise SlackError("invalid_trigger_id")
        if until == float("-inf"):
            raise SlackError("exchanged_trigger_id")
        if self.clock() > until:
            raise SlackError("expired_trigger_id")
        view = arguments.get("view")
        if not isinstance(view, dict) or block_kit.view_faults(view):
            raise SlackError("invalid_arguments")
        self._triggers[arguments["trigger_id"]] = (user, float("-inf"))
        self.views[user] = {"id": f"V{next(self._count)}", "team_id": self.team, "app_id": "A0123"} | view
        return {"view": self.views[user]}

    def _chat_delete(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._known(arguments)
        message = self._own(channel, arguments)
        self.channels[channel].remove(message)
        return {"channel": channel, "ts": message["ts"]}

    def _conversations_history(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel = self._readable(arguments)
        found = [
            message
            for message in self.channels[channel]
            if message.get("thread_ts") in (None, message["ts"]) or message.get("subtype") == "thread_broadcast"
        ]
        return _page(found[::-1], arguments, default=100)

    def _conversations_replies(self, arguments: dict[str, Any]) -> dict[str, Any]:
        channel, thread = self._readable(arguments), arguments.get("ts")
        found = [message for message in self.channels[channel] if thread in (message["ts"], message.get("thread_ts"))]
        if not any(message["ts"] == thread for message in found):
            raise SlackError("thread_not_found")
        return _page(found, arguments, default=1000)

    def _team_info(self, _: dict[str, Any]) -> dict[str, Any]:
        if "team:read" not in self.scopes:
            raise SlackError("missing_scope")
        return {"team": {"id": self.team, "name": "Fake", "domain": "fake", "email_domain": self.email_domain}}

    def _users_info(self, arguments: dict[str, Any]) -> dict[str, Any]:
        user = self.users.get(arguments.get("user", ""))
        if user is None:
            raise SlackError("user_not_found")
        return {"user": user}

    def _known(self, arguments: dict[str, Any]) -> str:
        channel = arguments.get("channel", "")
        if channel not in self.channels:
            raise SlackError("channel_not_found")
        return str(channel)

    def _writable(self, arguments: dict[str, Any]) -> str:
        channel = self._known(arguments)
        if channel in self.kicked:
            raise SlackError("not_in_channel")
        if channel in self.archived:
            raise SlackError("is_archived")
        if "chat:write" not in self.scopes:
            raise SlackError("missing_scope")
        return channel

    def _readable(self, arguments: dict[str, Any]) -> str:
        if "channels:history" not in self.scopes:
            raise SlackError("missing_scope")
        channel = self._known(arguments)
        if channel in self.kicked:
            raise SlackError("not_in_channel")
        return channel

    def _own(self, channel: str, arguments: dict[str, Any]) -> dict[str, Any]:
        for message in self.channels[channel]:
            if message["ts"] == arguments.get("ts"):
                return message
        raise SlackError("message_not_found")

    def _ts(self) -> str:
        self._last_ts = max(self._last_ts + 1, int(self.clock() * 1_000_000))
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    # Socket Mode.

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        self._sockets.append(socket)
        self.connections += 1
        await socket.send_json(
            {"type": "hello", "num_connections": len(self._sockets), "connection_info": {"app_id": "A0123"}}
        )
        await self._notify()
        try:
            async for frame in socket:
                if frame.type is aiohttp.WSMsgType.TEXT:
                    self._acknowledged(json.loads(frame.data))
                    await self._notify()
        finally:
            self._sockets.remove(socket)
            await self._notify()
        return socket

    def _acknowledged(self, message: dict[str, Any]) -> None:
        envelope = self._open.get(message.get("envelope_id", ""))
        if envelope is not None:
            envelope.acked_at = time.monotonic()
            envelope.answer = message.get("payload") or {}
            envelope.acked.set()

    async def _response(self, request: web.Request) -> web.Response:
        envelope = self._open.get(request.match_info["envelope"])
        if envelope is None or len(envelope.replies) >= 5:
            return web.Response(status=404, text="expired_url")
        reply = await request.json()
        if envelope.interactive is not None and reply.get("replace_original") is not False:
            self._replace(envelope.interactive, reply)
        envelope.replies.append(reply)
        envelope.replied_at = time.monotonic()
        envelope.replied.set()
        await self._notify()
        return web.Response(text="ok")

    def _replace(self, ts: str, reply: dict[str, Any]) -> None:
        """An answer to a press that does not say otherwise takes the place of the message."""
        for message in (message for messages in self.channels.values() for message in messages):
            if message["ts"] == ts:
                message |= {"text": "", "blocks": [], "attachments": []} | reply

    def _envelope(self) -> Envelope:
        envelope = Envelope(id=f"env-{next(self._count)}", sent_at=time.monotonic())
        self._open[envelope.id] = envelope
        self.envelopes.append(envelope)
        return envelope

    async def _send(self, envelope: Envelope, kind: str, payload: dict[str, Any], **more: Any) -> None:
        frame = {"envelope_id": envelope.id, "type": kind, "payload": payload, "accepts_response_payload": False}
        await self._socket_now().send_json(frame | more)

    def _socket_now(self) -> web.WebSocketResponse:
        if not self._sockets:
            raise RuntimeError("the service has no Socket Mode connection: await fake.connected() first")
        return self._sockets[-1]

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def seen(message: dict[str, Any]) -> str:
    """What a person reads in a message: the texts of its blocks and attachments line by line, else its ``text``."""
    blocks = list(message.get("blocks") or [])
    for attachment in message.get("attachments") or []:
        blocks += attachment.get("blocks") or []
    text = "\n".join("".join(_texts(part)) for block in blocks for part in _parts(block))
    text = text or message.get("text", "")
    for entity, char in (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")):
        text = text.replace(entity, char)
    return text


def _parts(block: dict[str, Any]) -> list[dict[str, Any]]:
    """What stands on a line of its own."""
    inner = block.get("elements") or [block]
    return [line for part in inner for line in (part["elements"] if part.get("type") == "rich_text_list" else [part])]


def _texts(node: Any) -> list[str]:
    if isinstance(node, dict):
        if node.get("type") == "user":
            return [f"@{node['user_id']}"]
        if "placeholder" in node:
            return _texts(node["placeholder"])
        own = node.get("text") if isinstance(node.get("text"), str) else node.get("fallback")
        inner = [found for key, value in node.items() if key in ("elements", "text") for found in _texts(value)]
        return [own, *inner] if isinstance(own, str) else inner
    if isinstance(node, list):
        return [found for value in node for found in _texts(value)]
    return []


async def _arguments(request: web.Request) -> dict[str, Any]:
    """As Slack takes them: JSON, or a query and a form whose structured values are JSON text."""
    arguments: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        return arguments | await request.json()
    arguments |= {key: value for key, value in (await request.post()).items() if isinstance(value, str)}
    for key in ("blocks", "attachments", "metadata", "view"):
        if isinstance(arguments.get(key), str):
            with contextlib.suppress(ValueError):
                arguments[key] = json.loads(arguments[key])
    return arguments


def _check_content(arguments: dict[str, Any]) -> None:
    """Slack's limits, as far as they are documented."""
    blocks = list(arguments.get("blocks") or [])
    attachments = arguments.get("attachments") or []
    if not blocks and not attachments and not arguments.get("text"):
        raise SlackError("no_text")
    for attachment in attachments:
        blocks += attachment.get("blocks") or []
    if len(blocks) > 50:
        raise SlackError("invalid_blocks")
    for block in blocks:
        text = (block.get("text") or {}).get("text", "")
        if len(text) > (150 if block["type"] == "header" else 3000) or len(block.get("block_id", "")) > 255:
            raise SlackError("invalid_blocks")
    if block_kit.faults(arguments):
        raise SlackError("invalid_blocks")
    if len(json.dumps([arguments.get("text"), blocks], ensure_ascii=False)) > TOO_LONG:
        raise SlackError("msg_blocks_too_long")


def _page(found: list[dict[str, Any]], arguments: dict[str, Any], *, default: int) -> dict[str, Any]:
    oldest, latest = float(arguments.get("oldest") or 0), float(arguments.get("latest") or "inf")
    inclusive = str(arguments.get("inclusive", "")).lower() in ("1", "true")

    def inside(ts: float) -> bool:
        return oldest <= ts <= latest if inclusive else oldest < ts < latest

    found = [message for message in found if inside(float(message["ts"]))]
    start, limit = int(arguments.get("cursor") or 0), int(arguments.get("limit") or default)
    with_metadata = str(arguments.get("include_all_metadata", "")).lower() in ("1", "true")
    shown = [
        message if with_metadata else {key: value for key, value in message.items() if key != "metadata"}
        for message in found[start : start + limit]
    ]
    more = start + limit < len(found)
    return {
        "messages": shown,
        "has_more": more,
        "response_metadata": {"next_cursor": str(start + limit) if more else ""},
    }


def _json(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=status, headers=headers)
