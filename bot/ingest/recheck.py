"""Asking a provider again about the posts that we keep, where its stream does not tell of every deletion.

A round asks about everything that is stored, the newest first: one batch in a request, one request at a time, as far
apart as ``PACE_S`` and the provider's rate limit want. A failed request is tried again. What is refused, or fails
``TRIES`` times though the provider answers, waits until the rest of the round is done; the next time it is cut in
halves, unless the others fail as well: so one bad id costs the others nothing. Nothing counts as asked about before it
was answered; an id that is not answered alone either is left for the next round.
"""

import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import aiohttp
import structlog

from bot.ingest import trouble
from bot.store.database import StoreLockedError

PACE_S = 5.0
FIRST_RETRY_S = 60.0
LONGEST_RETRY_S = 900.0
TRIES = 3

_ABOUT_US = frozenset({401, 402, 403, 407, 408, 425, 429})  # refusals that say nothing about what was asked

_Found = TypeVar("_Found")

Stored = Callable[[], Awaitable[Sequence[str]]]
Ask = Callable[[aiohttp.ClientSession, Sequence[str]], Awaitable[tuple[Sequence[_Found], float | None]]]

log = structlog.get_logger()


@dataclass(slots=True)
class _Batch:
    """``answered``: how many others had been when it first failed."""

    ids: list[str]
    failures: int = 0
    answered: int = 0


class Recheck(Generic[_Found]):
    """Rounds over what ``stored`` gives, the ids by which the provider is asked; None: nothing is asked.

    ``ask`` asks about at most ``batch`` of them and says what was found, and for how many seconds the provider wants to
    be left alone; ``pause_s`` reads that from an error. A round begins every ``every_s`` and when ``soon`` was called;
    one that has gone on for over ``due_s`` is overdue. ``stored`` may raise what a request raises, too.
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
        self._left: deque[_Batch] = deque()
        self._answered = 0
        self._next_round = -math.inf if every_s < math.inf else math.inf
        self._next_request = -math.inf
        self._round_began = monotonic()
        self._failures = 0

    @property
    def pending(self) -> bool:
        """Is there something left of a round?"""
        return bool(self._left)

    @property
    def overdue(self) -> bool:
        return self.pending and self._monotonic() - self._round_began > self._due_s

    def soon(self) -> None:
        """Another round begins as soon as the present one is over."""
        self._next_round = -math.inf

    async def some(self, session: aiohttp.ClientSession) -> Sequence[_Found]:
        """Ask about one batch, where that is due. Raises what a request raises; then it is quiet for a while."""
        at = self._monotonic()
        if not self._left and self._stored is not None and at >= self._next_round:
            try:
                await self._begin(self._stored, at)
            except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
                self._wait(error)
                self._next_round = self._next_request
                raise
        if not self._left or at < self._next_request:
            return ()
        batch = self._left[0]
        try:
            found, pause_s = await self._ask(session, batch.ids)
        except StoreLockedError as error:
            log.warning("recheck_postponed", problem=str(error))
            self._next_request = at + FIRST_RETRY_S
            return ()
        except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
            self._wait(error)
            self._failed(batch, error)
            raise
        self._failures = 0
        self._answered += 1
        self._left.popleft()
        self._next_request = at + max(PACE_S, pause_s or 0.0)
        return found

    async def _begin(self, stored: Stored, at: float) -> None:
        self._next_round = at + self._every_s
        try:
            ids = list(dict.fromkeys(await stored()))
        except StoreLockedError as error:
            log.warning("recheck_postponed", problem=str(error))
            self._next_round = at + FIRST_RETRY_S
            return
        self._left.extend(_Batch(ids[first : first + self._batch]) for first in range(0, len(ids), self._batch))
        self._round_began = at

    def _wait(self, error: Exception) -> None:
        asked_s = self._pause_s(error)
        retry_s = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** min(self._failures, 10))
        self._failures += 1
        if asked_s and isinstance(error, aiohttp.ClientResponseError) and error.status == 429:
            retry_s = PACE_S  # it knows when it will answer
        self._next_request = self._monotonic() + max(retry_s, asked_s or 0.0)

    def _failed(self, batch: _Batch, error: Exception) -> None:
        """An answer that may be due to what was asked: the rest comes first."""
        status = error.status if isinstance(error, aiohttp.ClientResponseError) else None
        if status == 429 or not isinstance(error, aiohttp.ClientResponseError | trouble.LostError):
            return
        if batch.failures == 0:
            batch.answered = self._answered
        batch.failures += 1
        refused = status is not None and 400 <= status < 500 and status not in _ABOUT_US
        if not refused and batch.failures < TRIES:
            return
        self._left.popleft()
        others_answered = self._answered > batch.answered
        again_and_again = batch.failures >= 2 * TRIES
        if len(batch.ids) == 1:
            if not again_and_again and not (others_answered and batch.failures >= TRIES):
                self._left.append(batch)
        elif others_answered or again_and_again or not self._left:
            middle = (len(batch.ids) + 1) // 2
            self._left += [_Batch(batch.ids[:middle]), _Batch(batch.ids[middle:])]
        else:
            self._left.append(batch)
