"""One Socket Mode connection. When it ends it says so and leaves it to app.py what to do next.

The SDK's own reconnection uses a spent address for ever, tries a revoked token for ever and leaves tasks behind; so it
is replaced here, at the one method through which all of it goes.
"""

import asyncio
import json
import logging
import re

from aiohttp import WSMessage
from slack_bolt.adapter.socket_mode.async_base_handler import AsyncBaseSocketModeHandler
from slack_bolt.adapter.socket_mode.async_internals import run_async_bolt_app, send_async_response
from slack_bolt.app.async_app import AsyncApp
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.web.async_client import AsyncWebClient

# Slack wants an acknowledgement within 3 s; what is not acknowledged by then need not be waited for.
_ACKNOWLEDGED_WITHIN_S = 3.0
_CLOSED_WITHIN_S = 2.0
_SECRET = re.compile(r"xox[a-z]+-[\w-]+|xapp-[\w-]+|wss?://\S+")


def sdk_logger() -> logging.Logger:
    """For Bolt and the SDK: errors only (their warnings quote whole payloads), without tokens and tickets."""
    logger = logging.getLogger("tocsin.slack_sdk")
    logger.setLevel(logging.ERROR)
    if not logger.filters:
        logger.addFilter(_redact)
    return logger


class Connection(SocketModeClient):
    """A WebSocket to ``url`` (from apps.connections.open, good for one use) that never reconnects by itself.

    ``ended`` is set when Slack asks for a new connection, closes this one, or no longer answers its pings.
    """

    def __init__(self, *, app_token: str, web_client: AsyncWebClient, url: str, ping_interval: float) -> None:
        super().__init__(app_token, logger=sdk_logger(), web_client=web_client, ping_interval=ping_interval)
        self.proxy = web_client.proxy
        self.wss_uri = url
        self.ended = asyncio.Event()
        self.hello = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self.on_message_listeners.append(self._hear_hello)

    async def connect_to_new_endpoint(self, force: bool = False) -> None:  # noqa: ARG002 - the parent's signature
        self.ended.set()

    async def process_message(self) -> None:
        # The parent's, but the tasks are kept: asyncio may drop one that nobody holds, and close() waits for them.
        raw: str = await self.message_queue.get()
        message = json.loads(raw) if raw.startswith("{") else {}
        task = asyncio.create_task(self.run_message_listeners(message, raw), name="slack-message")
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def close(self) -> None:
        """Let what has arrived be acknowledged, then close everything; nothing of this connection is left."""
        if self._running:
            await asyncio.wait(self._running, timeout=_ACKNOWLEDGED_WITHIN_S)
        self.closed = True
        self.auto_reconnect_enabled = False
        try:
            async with asyncio.timeout(_CLOSED_WITHIN_S):
                await self.disconnect()  # type: ignore[no-untyped-call]
        except (OSError, TimeoutError):
            pass  # the other side is gone; what is ours is released below
        tasks = [self.message_processor, self.current_session_monitor, self.message_receiver, *self._running]
        running = [task for task in tasks if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self.aiohttp_client_session.close()

    async def _hear_hello(self, message: WSMessage) -> None:
        if not self.hello.is_set() and '"hello"' in str(message.data):
            self.hello.set()


class Handler(AsyncBaseSocketModeHandler):
    """Bolt's own adapter around a Connection: Bolt's AsyncSocketModeHandler always makes its own client."""

    def __init__(self, app: AsyncApp, connection: Connection) -> None:
        self.app = app
        self.client: Connection = connection
        connection.socket_mode_request_listeners.append(self.handle)

    async def handle(self, client: AsyncBaseSocketModeClient, req: SocketModeRequest) -> None:
        started = asyncio.get_running_loop().time()
        response = await run_async_bolt_app(self.app, req)  # type: ignore[arg-type]
        await send_async_response(client, req, response, started)


def _redact(record: logging.LogRecord) -> bool:
    # A traceback repeats what the message says, addresses with their tickets included.
    record.msg, record.args, record.exc_info = _SECRET.sub("(secret)", record.getMessage()), None, None
    return True
