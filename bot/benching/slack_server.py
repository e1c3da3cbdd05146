"""The least of a Slack Web API, on this machine: takes chat.postMessage and chat.update and notes when which came."""

import asyncio
import contextlib
import itertools
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self

from aiohttp import web

from bot import app
from bot.domain.channel import Channel
from bot.domain.delivery import Rejected, Unavailable
from bot.platforms.slack import app as slack
from bot.platforms.slack.notifier import SlackNotifier

TOKEN = "xoxb-bench"  # noqa: S105 (the server below asks for none)
CALL_TIMEOUT = timedelta(seconds=8)


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One call, at the moment when its head was read. ``thread``: the message that it answers, if it does."""

    at: datetime
    method: str
    delivery: str
    channel: str
    thread: str | None


class SlackServer:
    """``async with SlackServer() as server``; answers each call after about ``answer_after``, as Slack would."""

    def __init__(self, answer_after: timedelta = timedelta(), *, seed: int = 0) -> None:
        self.received: list[Received] = []
        self.api_url = ""
        self._answer_after = answer_after.total_seconds()
        self._rng = random.Random(seed)
        self._numbers = itertools.count(1)
        self._came = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        served = web.Application()
        served.router.add_post("/api/chat.postMessage", self._take)
        served.router.add_post("/api/chat.update", self._take)
        self._runner = web.AppRunner(served, access_log=None)
        await self._runner.setup()
        listening = socket.create_server(("127.0.0.1", 0))
        await web.SockSite(self._runner, listening).start()
        self.api_url = f"http://127.0.0.1:{listening.getsockname()[1]}/api/"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def wait_for(self, count: int) -> None:
        """Until so many calls have come."""
        while len(self.received) < count:
            self._came.clear()
            await self._came.wait()

    async def _take(self, request: web.Request) -> web.Response:
        came = app.now()
        said = await request.json()
        channel, thread = str(said["channel"]), said.get("thread_ts")
        delivery = str(said["metadata"]["event_payload"]["delivery_id"])
        method = request.path.rpartition("/")[2]
        self.received.append(Received(at=came, method=method, delivery=delivery, channel=channel, thread=thread))
        self._came.set()
        ts = said.get("ts") or f"{int(came.timestamp())}.{next(self._numbers):06d}"
        await asyncio.sleep(self._answer_after * self._rng.uniform(0.2, 1.8))
        return web.json_response({"ok": True, "channel": channel, "ts": ts})


class AnyWorkspace:
    """One token for whatever workspace is asked for: a fence is seen best between several."""

    async def token(self, team: str) -> str | None:  # noqa: ARG002
        return TOKEN

    async def bot_user(self, team: str) -> str | None:  # noqa: ARG002
        return None

    def without_token(self, channel: Channel) -> Unavailable | Rejected:
        raise NotImplementedError(f"{channel}: there is always a token")


@contextlib.asynccontextmanager
async def notifying(server: SlackServer) -> AsyncIterator[SlackNotifier]:
    """The real notifier on this server."""
    client = slack.make_client(None, server.api_url)
    async with slack.make_session(CALL_TIMEOUT) as client.session:
        yield SlackNotifier(client, AnyWorkspace())
