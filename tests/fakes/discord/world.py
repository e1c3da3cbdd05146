"""What exists on the fake Discord: guilds, channels, threads, messages; and who waits for a change of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from tests.fakes.discord import limits, shapes
from tests.fakes.discord.faults import Fault

EPOCH_MS = 1_420_070_400_000


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
    # What everybody may do there, and whether the bot has a role that may post. Only the gateway tells; REST is lax.
    permissions: int = 0
    has_role: bool = False


@dataclass(slots=True, kw_only=True)
class Session:
    id: str
    socket: web.WebSocketResponse | None
    events: list[dict[str, Any]] = field(default_factory=list)


class World:
    """``guilds``: guild id → its channel ids. ``clock`` gives the time that message ids are made from."""

    def __init__(
        self,
        guilds: dict[str, list[str]] | None = None,
        *,
        token: str = "discord-token",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.token = token
        self.guilds: dict[str, Guild] = {}
        for guild, channels in ({"100": ["200"]} if guilds is None else guilds).items():
            self.guilds[guild] = Guild(id=guild, name=f"Guild {guild}", channels=list(channels))
        self.requests: list[Request] = []
        self.gateway_url = ""
        self._clock = clock
        self._messages: dict[str, list[dict[str, Any]]] = {}
        self._threads: dict[str, str] = {}
        self._left: set[str] = set()
        self._faults: list[tuple[str, Fault]] = []
        self._sessions: list[Session] = []
        self._ids = 0
        self._changed = asyncio.Condition()

    def messages(self, channel: str) -> list[dict[str, Any]]:
        """What stands in a channel or thread now, oldest first."""
        return list(self._messages.get(channel, ()))

    def chat(self, channel: str, count: int) -> None:
        """Somebody else writes that many messages there."""
        talk = {"content": "what a day", "author": shapes.user("1004", "someone")}
        self._messages.setdefault(channel, []).extend(self._message(channel, {}) | talk for _ in range(count))

    async def until(self, true: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Wait for something to become true by a request or a gateway event."""
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(true)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    def _guild_of(self, channel: str) -> Guild:
        parent = self._threads.get(channel, channel)
        for guild in self.guilds.values():
            if parent in guild.channels:
                return guild
        if parent in self._left:
            raise limits.Refuse(403, 50001, "Missing Access")
        raise limits.Refuse(404, 10003, "Unknown Channel")

    def _message(self, channel: str, body: dict[str, Any]) -> dict[str, Any]:
        message = {
            "id": self._snowflake(),
            "channel_id": channel,
            "type": 0,
            "content": "",
            "embeds": [],
            "author": shapes.user(shapes.BOT, "tocsin", bot=True),
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
        if "components" in body:
            changed["components"] = shapes.components(body["components"] or [])
        return changed

    def _snowflake(self) -> str:
        self._ids += 1
        return str(((int(self._clock().timestamp() * 1000) - EPOCH_MS) << 22) + self._ids)

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
