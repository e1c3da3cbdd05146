"""Asking X again about the posts that we keep, since its stream tells of no deletion.

X's terms give 24 hours. Every stored, undeleted post of the last days is asked about every 8 hours, a hundred in a
request, one request at a time and as the rate limit allows; a round that takes over 24 hours is said.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

import aiohttp
from yarl import URL

from bot.ingest import trouble, x_posts, x_requests

BATCH = 100
EVERY_S = 8 * 3600.0
DUE_S = 24 * 3600.0  # X's Developer Policy, "Content compliance"
PACE_S = 5.0
FIRST_RETRY_S = 60.0
LONGEST_RETRY_S = 900.0
PATH = "2/tweets"


class Recheck:
    """Rounds over what ``stored`` says; ``some`` asks about one batch where that is due."""

    def __init__(
        self, stored: Callable[[], Awaitable[Sequence[str]]] | None, *, monotonic: Callable[[], float]
    ) -> None:
        self._stored = stored
        self._monotonic = monotonic
        self._left: list[str] = []
        self._next_round = -math.inf if stored is not None else math.inf
        self._next_request = -math.inf
        self._round_began = monotonic()
        self._failures = 0

    @property
    def overdue(self) -> bool:
        """Has a round been going on for longer than the terms allow?"""
        return bool(self._left) and self._monotonic() - self._round_began > DUE_S

    async def some(self, session: aiohttp.ClientSession, base: URL, now: datetime) -> tuple[str, ...]:
        """Ids whose words must go. Raises what a request raises; then it is quiet for a while."""
        at = self._monotonic()
        if not self._left and self._stored is not None and at >= self._next_round:
            self._left = [each for each in dict.fromkeys(await self._stored()) if each.isascii() and each.isdigit()]
            self._next_round = at + EVERY_S
            self._round_began = at
        if not self._left or at < self._next_request:
            return ()
        query = {"ids": ",".join(self._left[:BATCH]), "tweet.fields": "edit_history_tweet_ids,withheld"}
        try:
            body, headers = await x_requests.get(session, base / PATH, query)
            gone = x_posts.gone(body)
        except x_posts.BadLineError:
            self._wait(None)
            raise trouble.LostError("answered about posts with something else") from None
        except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
            self._wait(x_requests.pause_s(getattr(error, "headers", None), now))
            raise
        self._failures = 0
        asked, self._left = set(self._left[:BATCH]), self._left[BATCH:]
        self._next_request = at + max(PACE_S, x_requests.pause_s(headers, now) or 0.0)
        return tuple(each for each in gone if each in asked)

    def _wait(self, asked_s: float | None) -> None:
        retry_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._next_request = self._monotonic() + (retry_s if asked_s is None else max(asked_s, PACE_S))
