"""The fake as a test uses it."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Self

from aiohttp import WSCloseCode, web

from tests.fakes.discord.asking import Asking
from tests.fakes.discord.faults import Fault
from tests.fakes.discord.world import Request

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


class FakeDiscord(Asking):
    """``guilds``: guild id → its channel ids. ``clock`` gives the time that message ids are made from."""

    def __init__(
        self,
        guilds: dict[str, list[str]] | None = None,
        *,
        token: str = "discord-token",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        port: int = 0,
    ) -> None:
        super().__init__(guilds, token=token, clock=clock)
        self._port = port
        self._runner: web.AppRunner | None = None
        self.api_url = ""

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

    def script(self, operation: str, *faults: Fault) -> None:
        """The next calls of ``operation`` meet these faults, in order."""
        self._faults += [(operation, fault) for fault in faults]

    def unfired(self) -> list[tuple[str, Fault]]:
        return list(self._faults)

    def all_messages(self) -> list[dict[str, Any]]:
        return [message for channel in self._messages.values() for message in channel]

    def calls(self, operation: str) -> list[Request]:
        return [request for request in self.requests if request.operation == operation]

    async def delete_message(self, channel: str, message: str) -> None:
        """A moderator does."""
        self._messages[channel] = [m for m in self._messages.get(channel, ()) if m["id"] != message]
