"""Asking the server where a status was written whether it is still there, when another instance says that it has none.

An instance clears away what came from elsewhere and has grown old (Mastodon's content cache retention); that is no word
of its author's. ActivityPub (https://www.w3.org/TR/activitypub/#delete-activity-outbox) lets the status's own server
answer 404 or 410 where it is gone. These servers are strangers': they get no token, are reached within ``reach``'s
bounds, are not followed elsewhere, and are asked about a status once a day at most.
"""

import asyncio
from collections.abc import Callable

import aiohttp
from aiohttp import abc, resolver
from yarl import URL

from bot.ingest import trouble
from bot.ingest.reach import Reach
from bot.ingest.recent import Recent

AGAIN_S = 24 * 3600.0
REQUEST_S = 10.0  # while which the stream is not read
KNOWN = 131_072

_HEADERS = {"Accept": "application/activity+json", "User-Agent": "tocsin"}
_GONE = (404, 410)


class Origins:
    """``home``: the instance that is read; only where its own address is no ``https`` may others' be none either."""

    def __init__(
        self,
        home: URL,
        *,
        names: Callable[[], abc.AbstractResolver] = resolver.DefaultResolver,
        monotonic: Callable[[], float],
    ) -> None:
        self._home = home
        self._names = names
        self._monotonic = monotonic
        self._asked: Recent[float] = Recent(KNOWN)

    async def gone(self, uri: str) -> bool:
        """Does the status's own server say so, now? What ``home`` itself wrote it need not be asked about again."""
        url = self._address(uri)
        if url is None:
            return False
        if url.raw_host == self._home.raw_host:
            return True
        now, asked = self._monotonic(), self._asked.get(uri)
        if asked is not None and now - asked < AGAIN_S:
            return False
        self._asked.put(uri, now)
        try:
            return await self._status(url) in _GONE
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError, trouble.LostError):
            return False

    def _address(self, uri: str) -> URL | None:
        try:
            url = URL(uri)
        except (ValueError, IndexError):  # yarl's, for a host that is none
            return None
        allowed = ("https",) if self._home.scheme == "https" else ("https", "http")
        named = url.raw_host and url.raw_user is None and url.raw_password is None
        return url if url.scheme in allowed and named else None

    async def _status(self, url: URL) -> int:
        reach = Reach(self._home, self._names())
        connector = aiohttp.TCPConnector(resolver=reach, force_close=True)
        async with asyncio.timeout(REQUEST_S), aiohttp.ClientSession(connector=connector, headers=_HEADERS) as session:
            try:
                await reach.check(url)
                async with session.get(url, allow_redirects=False) as response:
                    return response.status
            finally:
                await reach.close()
