"""Requests to an instance's REST API. Mastodon allows 300 in 5 minutes, pages and what is asked again together."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime

import aiohttp
from yarl import URL

from bot.domain import times
from bot.ingest import bodies, mastodon_statuses, trouble

REQUEST_S = 30.0
LONGEST_PAUSE_S = 900.0

Query = Sequence[tuple[str, str]]


async def get(
    session: aiohttp.ClientSession, url: URL, query: Query = (), *, within_s: float = REQUEST_S
) -> tuple[bytes, Mapping[str, str]]:
    """Body and headers. Raises ClientResponseError for whatever is no success, with the API's own word for the reason
    as its message; empty where no API answered."""
    headers = {"Accept": "application/json"}
    async with (
        asyncio.timeout(within_s),
        session.get(url, params=query, headers=headers, allow_redirects=False) as response,
    ):
        body = await bodies.read(response)
        if response.status == 200:
            return body, response.headers
        raise aiohttp.ClientResponseError(
            response.request_info,
            response.history,
            status=response.status,
            message=mastodon_statuses.problem(body),
            headers=response.headers,
        )


def asked_s(headers: Mapping[str, str] | None, now: datetime) -> float | None:
    """For how long an answer that says no wants us to wait."""
    asked = trouble.retry_after_s(headers, now)
    return _reset_s(headers, now) if asked is None else asked


def pause_s(headers: Mapping[str, str], now: datetime, *, reserve: int = 0) -> float:
    """Until the allowance is renewed, where no more than ``reserve`` requests are left of it."""
    left = headers.get("X-RateLimit-Remaining", "")
    if not (left.isascii() and left.isdigit()) or len(left) > 9 or int(left) > reserve:
        return 0.0
    return _reset_s(headers, now) or 0.0


def _reset_s(headers: Mapping[str, str] | None, now: datetime) -> float | None:
    text = (headers or {}).get("X-RateLimit-Reset")
    try:
        seconds = None if text is None else (times.from_text(text) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_PAUSE_S)
