"""Requests to an instance's REST API. Mastodon allows 300 in 5 minutes, pages and what is asked again together."""

import asyncio
import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import aiohttp
from yarl import URL

from bot.domain import times
from bot.ingest import bodies, mastodon_statuses, trouble

REQUEST_S = 30.0
LONGEST_PAUSE_S = 900.0
RESERVE = 60  # requests of an allowance that are left for pages; a fifth, where it is smaller
HEAD = 256  # bytes

Query = Sequence[tuple[str, str]]


class TooLongError(trouble.LostError):
    """An answer of more than ``bodies.MOST`` bytes; ``head`` is how it began."""

    def __init__(self, head: bytes) -> None:
        super().__init__(f"answered with more than {bodies.MOST} bytes")
        self.head = head


class Instance:
    """One instance, and for how long it wants to be left alone, by the last of its answers: whatever asks it asks
    ``wait_s`` before."""

    def __init__(self, url: URL, *, clock: Callable[[], datetime], monotonic: Callable[[], float]) -> None:
        self.url = url
        self._clock = clock
        self._monotonic = monotonic
        self._rests_until = -math.inf
        self._left = 1  # requests until the allowance is renewed
        self._reserve = RESERVE
        self._renewed_at = -math.inf

    @property
    def prefix(self) -> str:
        """What its numbers begin with in the store: they are nobody else's."""
        return f"{self.url.host_port_subcomponent}/"

    def wait_s(self, *, spare: bool = False) -> float:
        """``spare``: for a request that leaves some of the allowance for others."""
        least = self._reserve if spare else 0
        until = self._renewed_at if self._left <= least else -math.inf
        return max(until - self._monotonic(), self._rests_until - self._monotonic(), 0.0)

    def rest(self, seconds: float) -> None:
        self._rests_until = max(self._rests_until, self._monotonic() + seconds)

    def heed(self, response: aiohttp.ClientResponse) -> None:
        left, limit = (_count(response.headers.get(f"X-RateLimit-{each}", "")) for each in ("Remaining", "Limit"))
        reset_s = _reset_s(response.headers, self._clock())
        if left is not None and reset_s is not None:
            self._left, self._renewed_at = left, self._monotonic() + reset_s
            self._reserve = RESERVE if limit is None else min(RESERVE, limit // 5)
        self.rest(_asked_s(response.status, response.headers, self._clock()) or 0.0)

    def asked_s(self, error: BaseException) -> float | None:
        """For how long an answer that says no wants us to wait."""
        if not isinstance(error, aiohttp.ClientResponseError):
            return None
        return _asked_s(error.status, error.headers or {}, self._clock())

    async def get(
        self, session: aiohttp.ClientSession, path: str, query: Query = (), *, within_s: float = REQUEST_S
    ) -> bytes:
        """Raises ClientResponseError for whatever is no success, with the API's own word for the reason as its message;
        empty where no API answered."""
        headers = {"Accept": "application/json"}
        async with (
            asyncio.timeout(within_s),
            session.get(self.url / path, params=query, headers=headers, allow_redirects=False) as response,
        ):
            self.heed(response)
            body = await _read(response)
            if response.status == 200:
                return body
            raise aiohttp.ClientResponseError(
                response.request_info,
                response.history,
                status=response.status,
                message=mastodon_statuses.problem(body),
                headers=response.headers,
            )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > bodies.MOST:
            raise TooLongError(bytes(body[:HEAD]))
    return bytes(body)


def _asked_s(status: int, headers: Mapping[str, str], now: datetime) -> float | None:
    if status != 429 and status < 500:
        return None
    asked = trouble.retry_after_s(headers, now)
    return _reset_s(headers, now) if asked is None and status == 429 else asked


def _count(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _reset_s(headers: Mapping[str, str], now: datetime) -> float | None:
    text = headers.get("X-RateLimit-Reset")
    try:
        seconds = None if text is None else (times.from_text(text) - now).total_seconds()
    except (ValueError, OverflowError):
        return None
    return None if seconds is None else min(max(seconds, 0.0), LONGEST_PAUSE_S)
