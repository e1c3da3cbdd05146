"""The web server on ``[web]``: the board, ``/healthz``, ``/metrics``, and what platforms have mounted."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from bot.domain.errors import TocsinError
from bot.web.board import Board
from bot.web.guard import Guard

Health = Callable[[], dict[str, Any]]


def application(
    health: Health, guard: Guard, *, board: Board | None = None, routes: Sequence[web.AbstractRouteDef] = ()
) -> web.Application:
    """``health``'s ``ok`` decides between 200 and 503. ``routes`` look after themselves: the guard is not theirs."""

    async def healthz(request: web.Request) -> web.Response:  # noqa: ARG001
        state = health()
        return web.json_response(state, status=200 if state["ok"] else 503)

    app = web.Application()
    app.router.add_get("/healthz", guard.around(healthz, signed_in=False, proxied=True))
    app.router.add_get("/metrics", guard.around(_metrics))
    app.router.add_routes([*routes, *(board.routes() if board is not None else ())])
    return app


@asynccontextmanager
async def serve(
    host: str,
    port: int,
    health: Health,
    guard: Guard,
    *,
    board: Board | None = None,
    routes: Sequence[web.AbstractRouteDef] = (),
) -> AsyncIterator[str]:
    """Serve until the block ends; yields the address."""
    runner = web.AppRunner(application(health, guard, board=board, routes=routes), access_log=None)
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
        named = f"[{host}]" if ":" in host else host
        yield f"http://{named}:{bound}"
    finally:
        await runner.cleanup()


async def _metrics(request: web.Request) -> web.Response:  # noqa: ARG001
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
