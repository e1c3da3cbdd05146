"""The least of Slack's Web API and of Discord's HTTP API, in a process of its own: it takes messages and notes when
which came. With ``enforce`` it answers 429 to whoever goes beyond the documented limits.

The child is ``python -m bot.benching chat-server free|enforce``; it says its port on stdout and ends with its parent.
"""

import asyncio
import contextlib
import itertools
import json
import sys
import time
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import aiohttp
from aiohttp import web

SLACK_SPACING_S = 1.0  # one message a second and channel
DISCORD_A_SECOND = 50  # requests of a bot, over all channels
DISCORD_BUCKET, DISCORD_WINDOW_S = 5, 5.0  # messages in a channel within the window


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One call. ``at``: seconds on the monotonic clock, which all processes of a machine share. ``status``: 200 or 429;
    0 for the answer to a command, whose number ``delivery`` is."""

    at: float
    platform: str
    delivery: str
    channel: str
    status: int


class ChatServer:
    """As another process sees it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.slack_api = f"{url}/api/"
        self.discord_api = f"{url}/api/v10"

    async def received(self) -> list[Received]:
        """Everything since the last call, in order of arrival."""
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/received") as response:
            return [Received(**each) for each in await response.json()]


@contextlib.asynccontextmanager
async def serving(*, enforce: bool) -> AsyncIterator[ChatServer]:
    command = [sys.executable, "-m", "bot.benching", "chat-server", "enforce" if enforce else "free"]
    child = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        said = json.loads(await child.stdout.readline())
        yield ChatServer(f"http://127.0.0.1:{said['port']}")
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def run(*, enforce: bool) -> None:
    """In the child: until stdin ends."""
    served = _Served(enforce=enforce)
    runner = web.AppRunner(served.application(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(json.dumps({"port": runner.addresses[0][1]}) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


class _Served:
    def __init__(self, *, enforce: bool) -> None:
        self._enforce = enforce
        self._received: list[Received] = []
        self._numbers = itertools.count(1)
        self._last: dict[str, float] = {}
        self._recent: deque[float] = deque()
        self._windows: dict[str, deque[float]] = defaultdict(deque)

    def application(self) -> web.Application:
        served = web.Application()
        discord = "/api/v10"
        served.add_routes(
            [
                web.get("/received", self._tell),
                web.post("/api/chat.postMessage", self._slack_message),
                web.route("*", "/api/users.info", self._user),
                web.post("/response/{number}", self._answer),
                web.get(f"{discord}/users/@me", self._me),
                web.get(f"{discord}/oauth2/applications/@me", self._application),
                web.post(f"{discord}/channels/{{channel}}/messages", self._discord_message),
            ]
        )
        return served

    async def _tell(self, _: web.Request) -> web.Response:
        found, self._received = self._received, []
        return web.json_response([asdict(each) for each in found])

    async def _slack_message(self, request: web.Request) -> web.Response:
        at, said = time.monotonic(), await request.json()
        channel = str(said["channel"])
        early = self._enforce and at - self._last.get(channel, -SLACK_SPACING_S) < SLACK_SPACING_S
        self._note(at, "slack", said["metadata"]["event_payload"]["delivery_id"], channel, early)
        if early:
            return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers={"Retry-After": "1"})
        self._last[channel] = at
        return web.json_response({"ok": True, "channel": channel, "ts": f"{next(self._numbers)}.000000"})

    async def _user(self, _: web.Request) -> web.Response:
        return web.json_response({"ok": True, "user": {"id": "U1", "is_admin": True, "is_owner": False}})

    async def _answer(self, request: web.Request) -> web.Response:
        at = time.monotonic()
        await request.read()
        number = request.match_info["number"]
        self._received.append(Received(at=at, platform="slack", delivery=number, channel="", status=0))
        return web.Response(text="ok")

    async def _me(self, _: web.Request) -> web.Response:
        return _json({"id": "1", "username": "tocsin", "discriminator": "0", "avatar": None, "bot": True})

    async def _application(self, _: web.Request) -> web.Response:
        owner = {"id": "2", "username": "ada", "discriminator": "0", "avatar": None}
        about = {"id": "1", "name": "tocsin", "description": "", "icon": None, "bot_public": False}
        return _json(about | {"bot_require_code_grant": False, "verify_key": "", "flags": 0, "owner": owner})

    async def _discord_message(self, request: web.Request) -> web.Response:
        at, said, channel = time.monotonic(), await request.json(), request.match_info["channel"]
        limits, wait_s, everywhere = self._discord_limits(channel, at)
        self._note(at, "discord", said["nonce"], channel, wait_s is not None)
        if wait_s is None:
            return _json({"id": str(next(self._numbers)), "channel_id": channel}, headers=limits)
        told = {"Retry-After": f"{wait_s:.3f}", "Via": "1.1 google"}
        told |= {"X-RateLimit-Global": "true"} if everywhere else {}
        body = {"message": "You are being rate limited.", "retry_after": wait_s, "global": everywhere}
        return _json(body, status=429, headers=limits | told)

    def _discord_limits(self, channel: str, at: float) -> tuple[dict[str, str], float | None, bool]:
        """The headers of the channel's bucket; how long to wait, or None; whether that is for all channels."""
        if not self._enforce:
            return {}, None, False
        window = self._windows[channel]
        if window and at - window[0] >= DISCORD_WINDOW_S:
            window.clear()
        while self._recent and at - self._recent[0] >= 1.0:
            self._recent.popleft()
        everywhere, full = len(self._recent) >= DISCORD_A_SECOND, len(window) >= DISCORD_BUCKET
        if not everywhere and not full:
            window.append(at)
            self._recent.append(at)
        left_s = DISCORD_WINDOW_S - (at - window[0]) if window else DISCORD_WINDOW_S
        headers = {
            "X-RateLimit-Limit": str(DISCORD_BUCKET),
            "X-RateLimit-Remaining": str(DISCORD_BUCKET - len(window)),
            "X-RateLimit-Reset": f"{time.time() + left_s:.3f}",
            "X-RateLimit-Reset-After": f"{left_s:.3f}",
            "X-RateLimit-Bucket": "messages",
        }
        wait_s = 1.0 - (at - self._recent[0]) if everywhere else left_s if full else None
        return headers, wait_s, everywhere

    def _note(self, at: float, platform: str, delivery: str, channel: str, limited: bool) -> None:
        status = 429 if limited else 200
        self._received.append(Received(at=at, platform=platform, delivery=delivery, channel=channel, status=status))


def _json(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """discord.py reads JSON only if the content type is exactly this: no charset."""
    said = (headers or {}) | {"Content-Type": "application/json"}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=said)


def limited(received: Sequence[Received]) -> int:
    return sum(each.status == 429 for each in received)
