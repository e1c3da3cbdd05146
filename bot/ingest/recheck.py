"""Asking a provider again about the posts that we keep, where its stream does not tell of every deletion.

A round asks about everything that is stored, the newest first: one batch in a request, one request at a time, as far
apart as ``PACE_S`` and the provider's rate limit want. A failed request is tried again, the round goes on.
"""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import aiohttp

from bot.ingest import trouble

PACE_S = 5.0
FIRST_RETRY_S = 60.0
LONGEST_RETRY_S = 900.0

_Found = TypeVar("_Found")

Stored = Callable[[], Awaitable[Sequence[str]]]
Ask = Callable[[aiohttp.ClientSession, Sequence[str]], Awaitable[tuple[Sequence[_Found], float | None]]]


class Recheck(Generic[_Found]):
    """Rounds over what ``stored`` gives, the ids by which the provider is asked; None: nothing is asked.

    ``ask`` asks about at most ``batch`` of them and says what was found, and for how many seconds the provider wants to
    be left alone; ``pause_s`` reads that from an error. A round begins every ``every_s`` and when ``soon`` was called;
    one that has gone on for over ``due_s`` is overdue.
    """

    def __init__(
        self,
        stored: Stored | None,
        ask: Ask[_Found],
        *,
        batch: int,
        due_s: float,
        every_s: float = math.inf,
        pause_s: Callable[[Exception], float | None],
        monotonic: Callable[[], float],
    ) -> None:
        self._stored = stored
        self._ask = ask
        self._batch = batch
        self._due_s = due_s
        self._every_s = every_s
        self._pause_s = pause_s
        self._monotonic = monotonic
        self._left: list[str] = []
        self._next_round = -math.inf if every_s < math.inf else math.inf
        self._next_request = -math.inf
        self._round_began = monotonic()
        self._failures = 0

    @property
    def overdue(self) -> bool:
        return bool(self._left) and self._monotonic() - self._round_began > self._due_s

    def soon(self) -> None:
        """Another round begins as soon as the present one is over."""
        self._next_round = -math.inf

    async def some(self, session: aiohttp.ClientSession) -> Sequence[_Found]:
        """Ask about one batch, where that is due. Raises what a request raises; then it is quiet for a while."""
        at = self._monotonic()
        if not self._left and self._stored is not None and at >= self._next_round:
            self._next_round = at + self._every_s
            self._left = list(dict.fromkeys(await self._stored()))
            self._round_began = at
        if not self._left or at < self._next_request:
            return ()
        try:
            found, pause_s = await self._ask(session, self._left[: self._batch])
        except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
            self._wait(self._pause_s(error))
            raise
        self._failures = 0
        self._left = self._left[self._batch :]
        self._next_request = at + max(PACE_S, pause_s or 0.0)
        return found

    def _wait(self, asked_s: float | None) -> None:
        retry_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures, 10))
        self._failures += 1
        self._next_request = self._monotonic() + (retry_s if asked_s is None else max(asked_s, PACE_S))
