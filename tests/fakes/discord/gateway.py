"""The gateway: identify, resume, replay, and what happens to guilds."""

import json
from typing import Any

from aiohttp import WSMsgType, web

from tests.fakes.discord import shapes
from tests.fakes.discord.world import Guild, Session, World

# View Channel and Send Messages
MAY_POST = 1 << 10 | 1 << 11
ROLE = "1003"


class Gateway(World):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.identified = 0
        self.resumed = 0

    async def connected(self, timeout_s: float = 10.0) -> None:
        await self.until(lambda: any(map(alive, self._sessions)), timeout_s)

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

    async def permit(self, guild: str, permissions: int) -> None:
        """From now on, this is what everybody may do in ``guild``."""
        self.guilds[guild].permissions = permissions
        everybody = shapes.role(guild, "@everyone", permissions)
        await self.dispatch("GUILD_ROLE_UPDATE", {"guild_id": guild, "role": everybody})

    async def give_role(self, guild: str) -> None:
        """The bot gets the role that may post."""
        self.guilds[guild].has_role = True
        await self.dispatch("GUILD_MEMBER_UPDATE", {"guild_id": guild} | self._me(self.guilds[guild]))

    async def delete_channel(self, channel: str) -> None:
        guild = next(g for g in self.guilds.values() if channel in g.channels)
        body = self._channel(channel, guild)
        guild.channels.remove(channel)
        self._messages.pop(channel, None)
        await self.dispatch("CHANNEL_DELETE", body)

    async def dispatch(self, event: str, data: Any) -> None:
        """An event for every session, also those that may resume later."""
        for session in self._sessions:
            payload = {"op": 0, "t": event, "s": len(session.events) + 1, "d": data}
            session.events.append(payload)
            if alive(session):
                await session.socket.send_str(json.dumps(payload))  # type: ignore[union-attr]

    async def drop(self, code: int = 4000) -> None:
        """Close the gateway's sockets; with 4000 clients resume, with 4004 the token is bad."""
        for session in self._sessions:
            if alive(session):
                await session.socket.close(code=code)  # type: ignore[union-attr]
            if code == 4004:
                session.events.clear()

    async def send_raw(self, text: str) -> None:
        for session in self._sessions:
            if alive(session):
                await session.socket.send_str(text)  # type: ignore[union-attr]

    async def ask_to_reconnect(self) -> None:
        await self.send_raw(json.dumps({"op": 7, "d": None, "s": None, "t": None}))

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.send_str(json.dumps({"op": 10, "d": {"heartbeat_interval": 41250}, "s": None, "t": None}))
        session: Session | None = None
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

    async def _identify(self, socket: web.WebSocketResponse) -> Session:
        session = Session(id=f"session-{len(self._sessions) + 1}", socket=socket)
        self._sessions.append(session)
        ready = {
            "v": 10,
            "user": shapes.user(shapes.BOT, "tocsin", bot=True),
            "guilds": [{"id": guild.id, "unavailable": True} for guild in self.guilds.values()],
            "session_id": session.id,
            "resume_gateway_url": self.gateway_url,
            "application": {"id": shapes.APPLICATION, "flags": 0},
        }
        creates = [("GUILD_CREATE", self._guild(guild)) for guild in self.guilds.values() if guild.available]
        for event, data in [("READY", ready), *creates]:
            payload = {"op": 0, "t": event, "s": len(session.events) + 1, "d": data}
            session.events.append(payload)
            await socket.send_str(json.dumps(payload))
        self.identified += 1
        await self._tell()
        return session

    async def _resume(self, socket: web.WebSocketResponse, data: dict[str, Any]) -> Session | None:
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
        await self._tell()
        return session

    def _guild(self, guild: Guild, *, joined: bool = False) -> dict[str, Any]:
        return {
            "id": guild.id,
            "name": guild.name,
            "owner_id": shapes.OWNER,
            "channels": [self._channel(channel, guild) for channel in guild.channels],
            "roles": [
                shapes.role(guild.id, "@everyone", guild.permissions),
                shapes.role(ROLE, "may post", MAY_POST),
            ],
            "members": [self._me(guild)],
            "threads": [],
            "emojis": [],
            "features": [],
            "member_count": 2,
            "joined_at": "2031-01-01T00:00:00+00:00",
        } | ({} if joined else {"unavailable": False})

    @staticmethod
    def _me(guild: Guild) -> dict[str, Any]:
        return {
            "user": shapes.user(shapes.BOT, "tocsin", bot=True),
            "roles": [ROLE] if guild.has_role else [],
            "joined_at": "2031-01-01T00:00:00+00:00",
            "deaf": False,
            "mute": False,
            "flags": 0,
        }


def alive(session: Session) -> bool:
    return session.socket is not None and not session.socket.closed
