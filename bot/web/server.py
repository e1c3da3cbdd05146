"""``/healthz`` and ``/metrics`` on ``[web]``."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bot.domain.errors import TocsinError

Health = Callable[[], dict[str, Any]]


@asynccontextmanager
async def serve(host: str, port: int, health: Health) -> AsyncIterator[str]:
    """Serve until the block ends; yields the address. ``health``'s ``ok`` decides between 200 and 503."""

    async def healthz(request: web.Request) -> web.Response:  # noqa: ARG001
        state = health()
        return web.json_response(state, status=200 if state["ok"] else 503)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", _metrics)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise TocsinError(
                f"web server {host}:{port}: cannot listen there ({error.strerror}); set another [web] port, 0 for any"
            ) from error
        bound = runner.addresses[0][1]
        yield f"http://{host}:{bound}"
    finally:
        await runner.cleanup()


async def _metrics(request: web.Request) -> web.Response:  # noqa: ARG001
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
