"""The REST side: what each operation does, and the faults that meet it."""

import asyncio
import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from aiohttp import web

from tests.fakes.discord import limits, shapes
from tests.fakes.discord.faults import Fault
from tests.fakes.discord.world import Request, World

NONCE_LIFE = timedelta(minutes=5)


class Rest(World):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.commands: list[dict[str, Any]] = []
        self.threads_allowed = True
        self.delete_allowed = True
        self._nonces: dict[str, tuple[datetime, dict[str, Any]]] = {}
        self._released = asyncio.Event()

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
            except limits.Refuse as refusal:
                status, body = refusal.status, refusal.body
            if fault is not None and fault.kind == "answer":
                status, body = fault.status, fault.body
            entry.status, entry.response = status, body
            await self._tell()
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
            raise limits.Refuse(401, 0, "401: Unauthorized")
        result: tuple[int, Any] = getattr(self, f"_op_{operation}")(request.match_info, request.query, body)
        return result

    def _op_me(self, _info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, shapes.user(shapes.BOT, "tocsin", bot=True) | {
            "mfa_enabled": False,
            "locale": "en-US",
            "verified": True,
        }

    def _op_application(self, _info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, shapes.APPLICATION_INFO

    def _op_get_commands(self, _info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, self.commands

    def _op_put_commands(self, _info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        self.commands = [shapes.registered(self._snowflake(), command) for command in body]
        return 200, self.commands

    def _op_get_channel(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        guild = self._guild_of(info["channel"])
        return 200, self._channel(info["channel"], guild)

    def _op_create_message(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        channel = info["channel"]
        self._guild_of(channel)
        limits.check_message(body)
        nonce = body.get("nonce")
        if body.get("enforce_nonce") and nonce in self._nonces:
            at, message = self._nonces[nonce]
            if self._clock() - at < NONCE_LIFE and message["channel_id"] == channel:
                return 200, message
        reference = body.get("message_reference")
        if reference and not any(m["id"] == str(reference["message_id"]) for m in self.messages(channel)):
            unknown = ("message_reference", "REPLIES_UNKNOWN_MESSAGE", "Unknown message")
            raise limits.Refuse(400, 50035, "Invalid Form Body", about=unknown)
        message = self._message(channel, body)
        self._messages.setdefault(channel, []).append(message)
        if nonce is not None:
            self._nonces[nonce] = (self._clock(), message)
        return 200, message

    def _op_edit_message(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        message = self._find(info["channel"], info["message"])
        limits.check_message({"content": message["content"], "embeds": message["embeds"]} | body)
        message.update(self._content(body))
        message["edited_timestamp"] = self._clock().isoformat()
        return 200, message

    def _op_get_message(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        return 200, remembered(self._find(info["channel"], info["message"]))

    def _op_delete_message(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        if info["message"] in [each["id"] for each in self._beginning(info["channel"])]:
            raise limits.Refuse(403, 50021, "Cannot execute action on a system message")
        message = self._find(info["channel"], info["message"])
        if not self.delete_allowed:
            raise limits.Refuse(403, 50013, "Missing Permissions")
        self._messages[info["channel"]].remove(message)
        return 204, None

    def _op_list_messages(self, info: Any, query: Any, _body: Any) -> tuple[int, Any]:
        self._guild_of(info["channel"])
        messages = self._beginning(info["channel"]) + self.messages(info["channel"])
        limit = int(query.get("limit", 50))
        if "after" in query:
            after = [m for m in messages if int(m["id"]) > int(query["after"])][:limit]
            return 200, [remembered(m) for m in reversed(after)]
        if "before" in query:
            messages = [m for m in messages if int(m["id"]) < int(query["before"])]
        return 200, [remembered(m) for m in reversed(messages[-limit:])]

    def _op_create_thread(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        guild = self._guild_of(info["channel"])
        message = self._find(info["channel"], info["message"])
        if not self.threads_allowed:
            raise limits.Refuse(403, 50013, "Missing Permissions")
        if "thread" in message:
            raise limits.Refuse(400, 160004, "A thread has already been created for this message")
        if not 1 <= len(body["name"]) <= 100:
            raise limits.Refuse(400, 50035, "Invalid Form Body")
        self._threads[message["id"]] = info["channel"]
        message["thread"] = shapes.thread(message["id"], info["channel"], guild.id, body["name"], self._clock())
        return 201, message["thread"]

    def _op_delete_channel(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        thread = info["channel"]
        guild = self._guild_of(thread)
        if thread not in self._threads or not self.delete_allowed:
            raise limits.Refuse(403, 50013, "Missing Permissions")
        parent = self._threads.pop(thread)
        self._messages.pop(thread, None)
        return 200, shapes.thread(thread, parent, guild.id, "gone", self._clock())

    def _beginning(self, channel: str) -> list[dict[str, Any]]:
        """The first message of a thread, which the real one puts there: it refers to the message that the thread is
        about, and can neither be changed nor deleted."""
        if channel not in self._threads:
            return []
        about = {"type": 0, "channel_id": self._threads[channel], "message_id": channel}
        return [self._message(channel, {}) | {"id": channel, "type": 21, "message_reference": about}]

    def _find(self, channel: str, message: str) -> dict[str, Any]:
        self._guild_of(channel)
        for found in self._messages.get(channel, ()):
            if found["id"] == message:
                return found
        raise limits.Refuse(404, 10008, "Unknown Message")


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


def remembered(message: dict[str, Any]) -> dict[str, Any]:
    """As history shows it: the real one does not keep nonces."""
    return {key: value for key, value in message.items() if key != "nonce"}
