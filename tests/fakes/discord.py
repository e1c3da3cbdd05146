"""A Discord that speaks the real protocols: REST and gateway over aiohttp, with scripted faults.

It checks what the real one checks (limits, permissions, tokens) and remembers every request. Ids are numeric strings.
Use: ``async with FakeDiscord() as fake:`` and give ``fake.api_url``, ``fake.gateway_url``, ``fake.token`` to the bot.
"""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from aiohttp import WSCloseCode, WSMsgType, web

from bot.platforms import base

EPOCH_MS = 1_420_070_400_000
NONCE_LIFE = timedelta(minutes=5)
ADMINISTRATOR, MANAGE_GUILD, NOTHING = 8, 32, 0
BOT, APPLICATION, OWNER = "1000", "1001", "1002"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens instead of (``processed=False``) or after (``True``) the operation."""

    kind: str  # answer | reset | hang
    processed: bool = False
    status: int = 0
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)


def rate_limited(retry_after: float, *, everywhere: bool = False, via: bool = True) -> Fault:
    """``via=False``: the edge in front of Discord has barred the whole address."""
    headers = {"Retry-After": f"{max(1, round(retry_after))}", "X-RateLimit-Reset-After": f"{retry_after}"}
    if everywhere:
        headers["X-RateLimit-Global"] = "true"
    if via:
        headers["Via"] = "1.1 google"
    body = {"message": "You are being rate limited.", "code": 0, "retry_after": retry_after, "global": everywhere}
    return Fault(kind="answer", status=429, body=body, headers=headers)


def refused(status: int, code: int, message: str = "refused") -> Fault:
    return Fault(kind="answer", status=status, body={"message": message, "code": code})


def broken(status: int, *, processed: bool = False) -> Fault:
    return Fault(kind="answer", status=status, processed=processed)


def reset(*, processed: bool) -> Fault:
    return Fault(kind="reset", processed=processed)


def hang(*, processed: bool) -> Fault:
    return Fault(kind="hang", processed=processed)


@dataclass(slots=True, kw_only=True)
class Request:
    """One REST request as it came, and what it got. ``at`` is monotonic seconds."""

    at: float
    operation: str
    method: str
    path: str
    body: Any
    status: int = 0
    response: Any = None


@dataclass(slots=True, kw_only=True)
class Guild:
    id: str
    name: str
    channels: list[str]
    available: bool = True


@dataclass(slots=True, kw_only=True)
class _Session:
    id: str
    socket: web.WebSocketResponse | None
    events: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class _Interaction:
    reply: "asyncio.Future[str]"
    acknowledged: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    followups: list[dict[str, Any]] = field(default_factory=list)


class FakeDesk:
    """Records what the platform hands over; ``reply`` is what it answers to every command."""

    def __init__(self, *subcommands: base.Subcommand, reply: str = "ok") -> None:
        self.subcommands: Sequence[base.Subcommand] = subcommands
        self.reply = reply
        self.invocations: list[base.Invocation] = []
        self.heard: list[str] = []
        self._changed = asyncio.Condition()

    async def answer(self, invocation: base.Invocation) -> str:
        self.invocations.append(invocation)
        return self.reply

    async def lost(self, target: str, reason: str) -> None:
        await self._hear(f"lost {target}")

    async def restored(self, target: str) -> None:
        await self._hear(f"restored {target}")

    async def until(self, what: str, timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: what in self.heard)

    async def _hear(self, what: str) -> None:
        self.heard.append(what)
        async with self._changed:
            self._changed.notify_all()


class _Refuse(Exception):  # noqa: N818
    def __init__(self, status: int, code: int, message: str) -> None:
        self.status, self.body = status, {"message": message, "code": code}


class FakeDiscord:
    """``guilds``: guild id → its channel ids. ``clock`` gives the time that message ids are made from."""

    def __init__(
        self,
        guilds: dict[str, list[str]] | None = None,
        *,
        token: str = "discord-token",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        port: int = 0,
    ) -> None:
        self.token = token
        self.guilds: dict[str, Guild] = {}
        for guild, channels in ({"100": ["200"]} if guilds is None else guilds).items():
            self.guilds[guild] = Guild(id=guild, name=f"Guild {guild}", channels=list(channels))
        self.requests: list[Request] = []
        self.commands: list[dict[str, Any]] = []
        self.interactions: dict[str, _Interaction] = {}
        self.identified = 0
        self.resumed = 0
        self.threads_allowed = True
        self.delete_allowed = True
        self._clock = clock
        self._port = port
        self._messages: dict[str, list[dict[str, Any]]] = {}
        self._threads: dict[str, str] = {}
        self._left: set[str] = set()
        self._nonces: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._faults: list[tuple[str, Fault]] = []
        self._sessions: list[_Session] = []
        self._ids = 0
        self._changed = asyncio.Condition()
        self._released = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.api_url = ""
        self.gateway_url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**22)
        app.router.add_get("/gateway", self._gateway)
        for method, path, operation in ROUTES:
            app.router.add_route(method, "/api/v10" + path, self._serve(operation))
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, handler_cancellation=True)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.api_url = f"http://127.0.0.1:{self._port}/api/v10"
        self.gateway_url = f"ws://127.0.0.1:{self._port}/gateway"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._released.set()
        for session in self._sessions:
            if session.socket is not None and not session.socket.closed:
                await session.socket.close(code=WSCloseCode.GOING_AWAY)
        if self._runner is not None:
            await self._runner.cleanup()

    # What a test does

    def script(self, operation: str, *faults: Fault) -> None:
        """The next calls of ``operation`` meet these faults, in order."""
        self._faults += [(operation, fault) for fault in faults]

    def unfired(self) -> list[tuple[str, Fault]]:
        return list(self._faults)

    def messages(self, channel: str) -> list[dict[str, Any]]:
        """What stands in a channel or thread now, oldest first."""
        return list(self._messages.get(channel, ()))

    def all_messages(self) -> list[dict[str, Any]]:
        return [message for channel in self._messages.values() for message in channel]

    def calls(self, operation: str) -> list[Request]:
        return [request for request in self.requests if request.operation == operation]

    async def until(self, true: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait for something to become true by a request or a gateway event."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(true)

    async def connected(self, timeout_s: float = 10.0) -> None:
        await self.until(lambda: any(map(_alive, self._sessions)), timeout_s)

    async def slash(
        self,
        command: str,
        subcommand: str,
        options: dict[str, str | bool] | None = None,
        *,
        user: str = "111",
        channel: str | None = None,
        guild: str | None = None,
        permissions: int = NOTHING,
        direct: bool = False,
        timeout_s: float = 10.0,
    ) -> str:
        """Give a slash command as ``user``; the reply that this user sees. ``direct``: in a direct message."""
        await self.connected(timeout_s)
        if channel is None:
            channel = next(iter(self.guilds.values())).channels[0] if not direct else "900"
        guild = guild or next((g.id for g in self.guilds.values() if channel in g.channels), None)
        token = f"interaction-{self._snowflake()}"
        interaction = _Interaction(reply=asyncio.get_running_loop().create_future())
        self.interactions[token] = interaction
        await self.dispatch(
            "INTERACTION_CREATE",
            _interaction(
                self._snowflake(), token, command, subcommand, options or {}, user, channel, guild, permissions
            ),
        )
        async with asyncio.timeout(timeout_s):
            return await interaction.reply

    async def kick(self, guild: str) -> None:
        """The bot is removed from ``guild``."""
        self._left |= set(self.guilds.pop(guild).channels)
        await self.dispatch("GUILD_DELETE", {"id": guild})

    async def join(self, guild: str, channels: list[str]) -> None:
        self.guilds[guild] = Guild(id=guild, name=f"Guild {guild}", channels=list(channels))
        await self.dispatch("GUILD_CREATE", self._guild(self.guilds[guild], joined=True))

    async def outage(self, guild: str) -> None:
        """Discord has trouble with ``guild``; nobody removed the bot."""
        self.guilds[guild].available = False
        await self.dispatch("GUILD_DELETE", {"id": guild, "unavailable": True})

    async def outage_over(self, guild: str) -> None:
        self.guilds[guild].available = True
        await self.dispatch("GUILD_CREATE", self._guild(self.guilds[guild]))

    async def delete_channel(self, channel: str) -> None:
        guild = next(g for g in self.guilds.values() if channel in g.channels)
        body = self._channel(channel, guild)
        guild.channels.remove(channel)
        self._messages.pop(channel, None)
        await self.dispatch("CHANNEL_DELETE", body)

    async def delete_message(self, channel: str, message: str) -> None:
        """A moderator does."""
        self._messages[channel] = [m for m in self._messages.get(channel, ()) if m["id"] != message]

    async def dispatch(self, event: str, data: Any) -> None:
        """An event for every session, also those that may resume later."""
        for session in self._sessions:
            payload = {"op": 0, "t": event, "s": len(session.events) + 1, "d": data}
            session.events.append(payload)
            if _alive(session):
                await session.socket.send_str(json.dumps(payload))  # type: ignore[union-attr]

    async def drop(self, code: int = 4000) -> None:
        """Close the gateway's sockets; with 4000 clients resume, with 4004 the token is bad."""
        for session in self._sessions:
            if _alive(session):
                await session.socket.close(code=code)  # type: ignore[union-attr]
            if code == 4004:
                session.events.clear()

    async def send_raw(self, text: str) -> None:
        for session in self._sessions:
            if _alive(session):
                await session.socket.send_str(text)  # type: ignore[union-attr]

    async def ask_to_reconnect(self) -> None:
        await self.send_raw(json.dumps({"op": 7, "d": None, "s": None, "t": None}))

    # REST

    def _serve(self, operation: str) -> Callable[[web.Request], Any]:
        async def serve(request: web.Request) -> web.StreamResponse:
            text = await request.text()
            entry = Request(
                at=time.monotonic(),
                operation=operation,
                method=request.method,
                path=request.path.removeprefix("/api/v10"),
                body=json.loads(text) if text else None,
            )
            self.requests.append(entry)
            fault = self._take(operation)
            try:
                if fault is None or fault.processed:
                    status, body = self._do(operation, request, entry.body)
                else:
                    status, body = fault.status, fault.body
            except _Refuse as refusal:
                status, body = refusal.status, refusal.body
            if fault is not None and fault.kind == "answer":
                status, body = fault.status, fault.body
            entry.status, entry.response = status, body
            async with self._changed:
                self._changed.notify_all()
            if fault is not None and fault.kind == "reset" and request.transport is not None:
                request.transport.abort()
            elif fault is not None and fault.kind == "hang":
                await self._released.wait()
            return _response(operation, status, body, {} if fault is None else fault.headers)

        return serve

    def _take(self, operation: str) -> Fault | None:
        for index, (wanted, fault) in enumerate(self._faults):
            if wanted == operation:
                del self._faults[index]
                return fault
        return None

    def _do(self, operation: str, request: web.Request, body: Any) -> tuple[int, Any]:
        with_token = not operation.startswith(("callback", "original", "followup"))
        if with_token and request.headers.get("Authorization") != f"Bot {self.token}":
            raise _Refuse(401, 0, "401: Unauthorized")
        result: tuple[int, Any] = getattr(self, f"_op_{operation}")(request.match_info, request.query, body)
        return result

    def _op_me(self, _info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, _user(BOT, "tocsin", bot=True) | {"mfa_enabled": False, "locale": "en-US", "verified": True}

    def _op_application(self, _info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, _APPLICATION

    def _op_get_commands(self, _info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, self.commands

    def _op_put_commands(self, _info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        self.commands = [_registered(self._snowflake(), command) for command in body]
        return 200, self.commands

    def _op_get_channel(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        guild = self._guild_of(info["channel"])
        return 200, self._channel(info["channel"], guild)

    def _op_create_message(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        channel = info["channel"]
        self._guild_of(channel)
        _check(body)
        nonce = body.get("nonce")
        if body.get("enforce_nonce") and nonce in self._nonces:
            at, message = self._nonces[nonce]
            if self._clock() - at < NONCE_LIFE and message["channel_id"] == channel:
                return 200, message
        reference = body.get("message_reference")
        if reference and not any(m["id"] == str(reference["message_id"]) for m in self.messages(channel)):
            raise _Refuse(400, 50035, "Invalid Form Body")
        message = self._message(channel, body)
        self._messages.setdefault(channel, []).append(message)
        if nonce is not None:
            self._nonces[nonce] = (self._clock(), message)
        return 200, message

    def _op_edit_message(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        message = self._find(info["channel"], info["message"])
        _check({"content": message["content"], "embeds": message["embeds"]} | body)
        message.update(self._content(body))
        message["edited_timestamp"] = self._clock().isoformat()
        return 200, message

    def _op_get_message(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, _remembered(self._find(info["channel"], info["message"]))

    def _op_delete_message(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        message = self._find(info["channel"], info["message"])
        if not self.delete_allowed:
            raise _Refuse(403, 50013, "Missing Permissions")
        self._messages[info["channel"]].remove(message)
        return 204, None

    def _op_list_messages(self, info: Any, query: Any, _body: Any) -> tuple[int, Any]:
        self._guild_of(info["channel"])
        messages = self.messages(info["channel"])
        limit = int(query.get("limit", 50))
        if "after" in query:
            after = [m for m in messages if int(m["id"]) > int(query["after"])][:limit]
            return 200, [_remembered(m) for m in reversed(after)]
        if "before" in query:
            messages = [m for m in messages if int(m["id"]) < int(query["before"])]
        return 200, [_remembered(m) for m in reversed(messages[-limit:])]

    def _op_create_thread(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        guild = self._guild_of(info["channel"])
        message = self._find(info["channel"], info["message"])
        if not self.threads_allowed:
            raise _Refuse(403, 50013, "Missing Permissions")
        if "thread" in message:
            raise _Refuse(400, 160004, "A thread has already been created for this message")
        if not 1 <= len(body["name"]) <= 100:
            raise _Refuse(400, 50035, "Invalid Form Body")
        self._threads[message["id"]] = info["channel"]
        message["thread"] = _thread(message["id"], info["channel"], guild.id, body["name"], self._clock())
        return 201, message["thread"]

    def _op_delete_channel(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        thread = info["channel"]
        guild = self._guild_of(thread)
        if thread not in self._threads or not self.delete_allowed:
            raise _Refuse(403, 50013, "Missing Permissions")
        parent = self._threads.pop(thread)
        self._messages.pop(thread, None)
        return 200, _thread(thread, parent, guild.id, "gone", self._clock())

    def _op_callback(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        interaction = self._interaction(info["token"])
        interaction.acknowledged = body
        return 200, {
            "interaction": {"id": info["interaction"], "type": 2, "response_message_loading": True},
        }

    def _op_original_get(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        message = self._interaction(info["token"]).message
        if message is None:
            raise _Refuse(404, 10008, "Unknown Message")
        return 200, message

    def _op_original_edit(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        _check(body)
        interaction = self._interaction(info["token"])
        if interaction.acknowledged is None:
            raise _Refuse(404, 10015, "Unknown Webhook")
        interaction.message = self._message("200", body)
        if not interaction.reply.done():
            interaction.reply.set_result(body["content"])
        return 200, interaction.message

    def _op_followup(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        _check(body)
        message = self._message("200", body)
        self._interaction(info["token"]).followups.append(message | {"flags": body.get("flags", 0)})
        return 200, message

    def _interaction(self, token: str) -> _Interaction:
        if token not in self.interactions:
            raise _Refuse(404, 10062, "Unknown interaction")
        return self.interactions[token]

    def _guild_of(self, channel: str) -> Guild:
        parent = self._threads.get(channel, channel)
        for guild in self.guilds.values():
            if parent in guild.channels:
                return guild
        if parent in self._left:
            raise _Refuse(403, 50001, "Missing Access")
        raise _Refuse(404, 10003, "Unknown Channel")

    def _find(self, channel: str, message: str) -> dict[str, Any]:
        self._guild_of(channel)
        for found in self._messages.get(channel, ()):
            if found["id"] == message:
                return found
        raise _Refuse(404, 10008, "Unknown Message")

    def _message(self, channel: str, body: dict[str, Any]) -> dict[str, Any]:
        message = {
            "id": self._snowflake(),
            "channel_id": channel,
            "type": 0,
            "content": "",
            "embeds": [],
            "author": _user(BOT, "tocsin", bot=True),
            "timestamp": self._clock().isoformat(),
            "edited_timestamp": None,
            "mentions": [],
            "mention_roles": [],
            "mention_everyone": False,
            "attachments": [],
            "components": [],
            "flags": 0,
            "pinned": False,
            "tts": False,
        } | self._content(body)
        if "nonce" in body:
            message["nonce"] = body["nonce"]
        if body.get("message_reference"):
            message["message_reference"] = {
                "type": 0,
                "channel_id": channel,
                "message_id": str(body["message_reference"]["message_id"]),
            }
        return message

    @staticmethod
    def _content(body: dict[str, Any]) -> dict[str, Any]:
        changed: dict[str, Any] = {}
        if "content" in body:
            changed["content"] = body["content"] or ""
        if "embeds" in body:
            changed["embeds"] = [dict(embed) | {"type": "rich"} for embed in body["embeds"] or ()]
        return changed

    def _snowflake(self) -> str:
        self._ids += 1
        return str(((int(self._clock().timestamp() * 1000) - EPOCH_MS) << 22) + self._ids)

    # The gateway

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"op": 10, "d": {"heartbeat_interval": 41250}, "s": None, "t": None}))
        session: _Session | None = None
        async for frame in socket:
            if frame.type is not WSMsgType.TEXT:
                break
            message = json.loads(frame.data)
            match message["op"]:
                case 1:
                    await socket.send_str(json.dumps({"op": 11, "d": None, "s": None, "t": None}))
                case 2:
                    if message["d"]["token"] != self.token:
                        await socket.close(code=4004)
                        break
                    session = await self._identify(socket)
                case 6:
                    session = await self._resume(socket, message["d"])
        if session is not None and session.socket is socket:
            session.socket = None
        return socket

    async def _identify(self, socket: web.WebSocketResponse) -> _Session:
        session = _Session(id=f"session-{len(self._sessions) + 1}", socket=socket)
        self._sessions.append(session)
        ready = {
            "v": 10,
            "user": _user(BOT, "tocsin", bot=True),
            "guilds": [{"id": guild.id, "unavailable": True} for guild in self.guilds.values()],
            "session_id": session.id,
            "resume_gateway_url": self.gateway_url,
            "application": {"id": APPLICATION, "flags": 0},
        }
        creates = [("GUILD_CREATE", self._guild(guild)) for guild in self.guilds.values() if guild.available]
        for event, data in [("READY", ready), *creates]:
            payload = {"op": 0, "t": event, "s": len(session.events) + 1, "d": data}
            session.events.append(payload)
            await socket.send_str(json.dumps(payload))
        self.identified += 1
        async with self._changed:
            self._changed.notify_all()
        return session

    async def _resume(self, socket: web.WebSocketResponse, data: dict[str, Any]) -> _Session | None:
        session = next((s for s in self._sessions if s.id == data["session_id"] and s.events), None)
        if session is None or data["token"] != self.token:
            await socket.send_str(json.dumps({"op": 9, "d": False, "s": None, "t": None}))
            return None
        for payload in session.events:
            if payload["s"] > data["seq"]:
                await socket.send_str(json.dumps(payload))
        await socket.send_str(json.dumps({"op": 0, "t": "RESUMED", "s": len(session.events), "d": {}}))
        session.socket = socket
        self.resumed += 1
        async with self._changed:
            self._changed.notify_all()
        return session

    def _guild(self, guild: Guild, *, joined: bool = False) -> dict[str, Any]:
        return {
            "id": guild.id,
            "name": guild.name,
            "owner_id": OWNER,
            "channels": [self._channel(channel, guild) for channel in guild.channels],
            "roles": [{"id": guild.id, "name": "@everyone", "permissions": "0", "position": 0, "color": 0,
                       "hoist": False, "managed": False, "mentionable": False, "flags": 0}],
            "members": [],
            "threads": [],
            "emojis": [],
            "features": [],
            "member_count": 2,
            "joined_at": "2031-01-01T00:00:00+00:00",
        } | ({} if joined else {"unavailable": False})  # fmt: skip

    def _channel(self, channel: str, guild: Guild) -> dict[str, Any]:
        return {
            "id": channel,
            "type": 0,
            "flags": 0,
            "guild_id": guild.id,
            "name": f"channel-{channel}",
            "position": 0,
            "permission_overwrites": [],
        }


ROUTES = [
    ("GET", "/users/@me", "me"),
    ("GET", "/oauth2/applications/@me", "application"),
    ("GET", "/applications/{application}/commands", "get_commands"),
    ("PUT", "/applications/{application}/commands", "put_commands"),
    ("GET", "/channels/{channel}", "get_channel"),
    ("DELETE", "/channels/{channel}", "delete_channel"),
    ("POST", "/channels/{channel}/messages", "create_message"),
    ("GET", "/channels/{channel}/messages", "list_messages"),
    ("GET", "/channels/{channel}/messages/{message}", "get_message"),
    ("PATCH", "/channels/{channel}/messages/{message}", "edit_message"),
    ("DELETE", "/channels/{channel}/messages/{message}", "delete_message"),
    ("POST", "/channels/{channel}/messages/{message}/threads", "create_thread"),
    ("POST", "/interactions/{interaction}/{token}/callback", "callback"),
    ("GET", "/webhooks/{application}/{token}/messages/@original", "original_get"),
    ("PATCH", "/webhooks/{application}/{token}/messages/@original", "original_edit"),
    ("POST", "/webhooks/{application}/{token}", "followup"),
]


def _alive(session: _Session) -> bool:
    return session.socket is not None and not session.socket.closed


def _response(operation: str, status: int, body: Any, headers: dict[str, str]) -> web.Response:
    limits = {
        "X-RateLimit-Limit": "1000",
        "X-RateLimit-Remaining": "999",
        "X-RateLimit-Reset": f"{time.time() + 1:.3f}",
        "X-RateLimit-Reset-After": "1.000",
        "X-RateLimit-Bucket": operation,
    }
    if body is None:
        return web.Response(status=status or 204, headers=limits | headers)
    # discord.py reads JSON only if the content type is exactly this: no charset.
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        headers=limits | headers | {"Content-Type": "application/json"},
    )


def _check(body: dict[str, Any]) -> None:
    """The limits that the real one enforces, in UTF-16 units; its published schema is laxer."""
    embeds = body.get("embeds") or []
    texts = [
        (body.get("content") or "", 2000),
        *((embed.get("title") or "", 256) for embed in embeds),
        *((embed.get("description") or "", 4096) for embed in embeds),
        *((embed.get("footer", {}).get("text") or "", 2048) for embed in embeds),
        *((embed.get("author", {}).get("name") or "", 256) for embed in embeds),
    ]
    fields = [entry for embed in embeds for entry in embed.get("fields") or ()]
    texts += [(entry["name"], 256) for entry in fields] + [(entry["value"], 1024) for entry in fields]
    total = sum(_units(text) for text, _ in texts[1:])
    too_long = any(_units(text) > limit for text, limit in texts)
    hollow = any(not entry["name"].strip() or not entry["value"].strip() for entry in fields)
    if too_long or hollow or total > 6000 or any(len(embed.get("fields") or ()) > 25 for embed in embeds):
        raise _Refuse(400, 50035, "Invalid Form Body")
    if not (body.get("content") or "").strip() and not embeds:
        raise _Refuse(400, 50006, "Cannot send an empty message")
    if "allowed_mentions" not in body or body["allowed_mentions"].get("parse"):
        raise _Refuse(400, 50035, "the fake insists on allowed_mentions that allow nobody")


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _remembered(message: dict[str, Any]) -> dict[str, Any]:
    """As history shows it: the real one does not keep nonces."""
    return {key: value for key, value in message.items() if key != "nonce"}


def _user(user: str, name: str, *, bot: bool = False) -> dict[str, Any]:
    return {
        "id": user,
        "username": name,
        "discriminator": "0",
        "global_name": None,
        "avatar": None,
        "public_flags": 0,
        "flags": 0,
        "bot": bot,
        "primary_guild": None,
    }


def _thread(thread: str, parent: str, guild: str, name: str, now: datetime) -> dict[str, Any]:
    return {
        "id": thread,
        "type": 11,
        "flags": 0,
        "guild_id": guild,
        "parent_id": parent,
        "owner_id": BOT,
        "name": name,
        "message_count": 0,
        "member_count": 1,
        "total_message_sent": 0,
        "thread_metadata": {
            "archived": False,
            "archive_timestamp": now.isoformat(),
            "auto_archive_duration": 1440,
            "locked": False,
        },
    }


def _registered(command_id: str, command: dict[str, Any]) -> dict[str, Any]:
    permissions = command.get("default_member_permissions")
    return command | {
        "id": command_id,
        "application_id": APPLICATION,
        "version": command_id,
        "default_member_permissions": None if permissions is None else str(permissions),
        "nsfw": False,
        "name_localizations": None,
        "description_localizations": None,
    }


_APPLICATION: dict[str, Any] = {
    "id": APPLICATION,
    "name": "tocsin",
    "icon": None,
    "description": "",
    "type": None,
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "00",
    "flags": 0,
    "flags_new": "0",
    "redirect_uris": [],
    "interactions_endpoint_url": None,
    "role_connections_verification_url": None,
    "owner": _user(OWNER, "owner"),
    "approximate_guild_count": 1,
    "approximate_user_install_count": 0,
    "approximate_user_authorization_count": 0,
    "explicit_content_filter": 0,
    "team": None,
    "eligible_oauth2_scopes": [],
}


def _interaction(
    interaction: str,
    token: str,
    command: str,
    subcommand: str,
    options: dict[str, str | bool],
    user: str,
    channel: str,
    guild: str | None,
    permissions: int,
) -> dict[str, Any]:
    given = [{"name": key, "type": 5 if isinstance(v, bool) else 3, "value": v} for key, v in options.items()]
    person = _user(user, f"user{user}")
    body: dict[str, Any] = {
        "id": interaction,
        "application_id": APPLICATION,
        "type": 2,
        "token": token,
        "version": 1,
        "locale": "en-US",
        "entitlements": [],
        "attachment_size_limit": 10_485_760,
        "authorizing_integration_owners": {},
        "app_permissions": "0",
        "channel_id": channel,
        "channel": {"id": channel, "type": 0 if guild else 1, "name": "x", "position": 0, "recipients": [person]},
        "data": {
            "id": "1",
            "name": command,
            "type": 1,
            "options": [{"name": subcommand, "type": 1, "options": given}],
        },
    }
    if guild is None:
        return body | {"context": 1, "user": person}
    member = {"user": person, "roles": [], "joined_at": "2031-01-01T00:00:00+00:00", "deaf": False, "mute": False,
              "flags": 0, "permissions": str(permissions)}  # fmt: skip
    return body | {"context": 0, "guild_id": guild, "guild": {"id": guild, "locale": "en-US", "features": []},
                   "member": member}  # fmt: skip
