"""One WebSocket to a Jetstream: its frames, its silence, and how what it sends is read.

A connection that is silent is pinged; no answer within one more heartbeat, and it is given up. That clock runs only
while we wait for the server, never while the inbox is full and we make the server wait.
"""

import asyncio
from datetime import datetime
from typing import Any

import aiohttp
from yarl import URL

from bot.ingest import jetstream_frames, jetstream_hosts, trouble
from bot.ingest.jetstream_compression import Dictionary
from bot.ingest.jetstream_frames import ErrorNotice, Frame, Notice

Socket = aiohttp.ClientWebSocketResponse[Any]


class Connection:
    """One WebSocket, and how what it sends is read."""

    def __init__(self, ws: Socket, url: URL, dictionary: Dictionary | None, heartbeat_s: float, provider: str) -> None:
        self.host = jetstream_hosts.name(url)
        self.ahead = False  # did it date anything in the future?
        self.watch = _Watch(heartbeat_s)
        self._ws = ws
        self._heartbeat_s = heartbeat_s
        self._decode = jetstream_frames.decode_v2 if jetstream_hosts.is_v2(url) else jetstream_frames.decode_v1
        self._dictionary = dictionary
        self._provider = provider

    async def receive(self) -> aiohttp.WSMessage | None:
        """The next data frame, or None for a sign of life. Raises LostError when there will be no more."""
        pinged = False
        while True:
            try:
                message = await self.watch.receive(self._ws)
            except TimeoutError:
                if pinged:
                    raise trouble.LostError(f"was silent and answered no ping for {self._heartbeat_s:g} s") from None
                pinged = True
                async with asyncio.timeout(self._heartbeat_s):
                    await self._ws.ping()
                continue
            match message.type:
                case aiohttp.WSMsgType.TEXT | aiohttp.WSMsgType.BINARY:
                    return message
                case aiohttp.WSMsgType.PING:
                    async with asyncio.timeout(self._heartbeat_s):
                        await self._ws.pong(message.data)
                    return None
                case aiohttp.WSMsgType.PONG:
                    return None
                case aiohttp.WSMsgType.ERROR:
                    raise trouble.LostError(f"broke the WebSocket protocol (code {self._ws.close_code})")
                case _:
                    raise trouble.LostError(f"closed the connection (code {self._ws.close_code})")

    def read(self, message: aiohttp.WSMessage, received_at: datetime) -> Frame | Notice | ErrorNotice:
        """Raises BadFrameError, or DictionaryError where the connection is of no use."""
        data = message.data
        if self._dictionary is not None and message.type is aiohttp.WSMsgType.BINARY:
            data = self._dictionary.unpack(data)
        return self._decode(data, received_at, self._provider)


class _Watch:
    """Cuts a wait for the server that takes ``limit_s``.

    One timer for all of them, set anew when it rings: ``asyncio.timeout`` sets and clears one for each wait, which
    takes longer than to decode a post.
    """

    def __init__(self, limit_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._limit_s = limit_s
        self._task: asyncio.Task[Any] | None = None
        self._since: float | None = None  # while somebody waits
        self._cancelling: int | None = None  # when it has rung: cancellations that are not ours
        self._timer = self._loop.call_later(limit_s, self._ring)

    async def receive(self, ws: Socket) -> aiohttp.WSMessage:
        """Raises TimeoutError."""
        self._task, self._since = asyncio.current_task(), self._loop.time()
        try:
            return await ws.receive()
        except asyncio.CancelledError:
            if self._task is not None and self._cancelling is not None and self._task.uncancel() <= self._cancelling:
                raise TimeoutError from None
            raise
        finally:
            self._since = self._cancelling = None

    def stop(self) -> None:
        self._timer.cancel()

    def _ring(self) -> None:
        waited_s = 0.0 if self._since is None else self._loop.time() - self._since
        if waited_s >= self._limit_s and self._task is not None:
            self._cancelling, self._since, waited_s = self._task.cancelling(), None, 0.0
            self._task.cancel()
        self._timer = self._loop.call_later(self._limit_s - waited_s, self._ring)
