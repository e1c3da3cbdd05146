"""Requests to X's API v2: answers that say no become errors that keep X's own word for the reason."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

import aiohttp
from yarl import URL

from bot.ingest import bodies, trouble, x_posts

REQUEST_S = 15.0
LONGEST_RESET_S = 900.0  # X counts in windows of 15 minutes


async def get(session: aiohttp.ClientSession, url: URL, query: Mapping[str, str]) -> tuple[bytes, Mapping[str, str]]:
    """Body and headers. Raises ClientResponseError with X's word for the reason as its message."""
    async with asyncio.timeout(REQUEST_S), session.get(url, params=query, allow_redirects=False) as response:
        await check(response)
        return await bodies.read(response), response.headers


async def post(session: aiohttp.ClientSession, url: URL, body: bytes) -> bytes:
    """As ``get``; an answer 400 with a body is one."""
    headers = {"Content-Type": "application/json"}
    async with (
        asyncio.timeout(REQUEST_S),
        session.post(url, data=body, headers=headers, allow_redirects=False) as response,
    ):
        if response.status != 400:
            await check(response)
        return await bodies.read(response)


async def check(response: aiohttp.ClientResponse) -> None:
    """Raises ClientResponseError for whatever is no success."""
    if 200 <= response.status < 300:
        return
    reason = x_posts.problem(await bodies.read(response))
    raise aiohttp.ClientResponseError(
        response.request_info, response.history, status=response.status, message=reason, headers=response.headers
    )


def pause_s(headers: Mapping[str, str] | None, now: datetime) -> float | None:
    """What X asks for: ``Retry-After``, or the end of a window that is used up; None where it asks for nothing.

    Its times are counted by its own clock, where the answer has it.
    """
    if headers is None:
        return None
    now = trouble.date(headers) or now
    asked = trouble.retry_after_s(headers, now)
    if asked is not None or headers.get("x-rate-limit-remaining") != "0":
        return asked
    reset = headers.get("x-rate-limit-reset", "")
    if not (reset.isascii() and reset.isdigit()) or len(reset) > 11:
        return None
    seconds = (datetime.fromtimestamp(int(reset), UTC) - now).total_seconds()
    return min(max(seconds, 0.0), LONGEST_RESET_S)
