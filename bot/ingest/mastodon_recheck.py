"""What an instance says about statuses that it is asked about again: what was edited or deleted while nobody listened.

Twenty in a request (``GET /api/v1/statuses``, Mastodon 4.3 or newer), which answers with those that this account may
see. One that is missing there is asked for alone: only where that is answered with the API's own 404 or 410 is it gone;
an account that was suspended looks the same. Older servers, and whatever cannot be answered for twenty together, are
asked about one by one.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from yarl import URL

from bot.ingest import mastodon_requests, mastodon_statuses, trouble
from bot.ingest.mastodon_statuses import BadStatusError
from bot.ingest.recheck import Recheck, Stored

BATCH = 20
EVERY_S = 24 * 3600.0
DUE_S = 48 * 3600.0
REQUEST_S = 10.0  # while which the stream is not read
RESERVE = 60  # requests of an allowance that are left for pages
TRIES = 3
PATH = "api/v1/statuses"

_GONE = (404, 410)
_UNKNOWN_PATH = (400, 404, 405, 410, 422, 501)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the store keeps of a source's posts. ``stored``: the local ids to ask about, the newest first. ``post_of``:
    the id of the post with that local id, or of its version; None where it is not kept."""

    stored: Stored
    post_of: Callable[[str], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``raw``: the status as it is now; None where it is gone."""

    local_id: str
    raw: bytes | None


class Rounds:
    """They ask about all that ``kept`` has: once a day, and whenever ``soon`` was called."""

    def __init__(
        self, kept: Kept | None, base: URL, *, clock: Callable[[], datetime], monotonic: Callable[[], float]
    ) -> None:
        self._kept = kept
        self._base = base
        self._clock = clock
        self._alone: list[str] = []  # to be asked for one by one
        self._together = True
        self._batch_tries, self._single_tries = _Tries(), _Tries()

        def pause_s(error: Exception) -> float | None:
            return mastodon_requests.asked_s(getattr(error, "headers", None), clock())

        self._batches = Recheck(
            None if kept is None else self._begin, self._ask, batch=BATCH, every_s=EVERY_S, due_s=DUE_S,
            pause_s=pause_s, monotonic=monotonic,
        )  # fmt: skip
        self._singles = Recheck(
            self._take_alone, self._ask_alone, batch=1, due_s=DUE_S, pause_s=pause_s, monotonic=monotonic
        )
        self._turns = deque((self._batches, self._singles))

    @property
    def overdue(self) -> bool:
        return self._batches.overdue or self._singles.overdue

    def soon(self) -> None:
        self._batches.soon()

    async def some(self, session: aiohttp.ClientSession) -> Sequence[Answer]:
        """What is due; at most two requests, of which only the last has answers. Raises what a request raises."""
        self._turns.rotate()
        for asked in self._turns:
            if answers := await asked.some(session):
                return answers
        return ()

    async def _begin(self) -> Sequence[str]:
        self._together = True  # the server may be a newer one by now
        return [] if self._kept is None else await self._kept.stored()

    async def _take_alone(self) -> Sequence[str]:
        alone, self._alone = self._alone, []
        return alone

    def _leave_alone(self, ids: Sequence[str]) -> None:
        if ids:
            self._alone += ids
            self._singles.soon()

    async def _ask(self, session: aiohttp.ClientSession, ids: Sequence[str]) -> tuple[Sequence[Answer], float | None]:
        if not self._together:
            self._leave_alone(ids)
            return (), None
        try:
            body, headers = await mastodon_requests.get(
                session, self._base / PATH, [("id[]", each) for each in ids], within_s=REQUEST_S
            )
            found = _among(ids, body)
        except (aiohttp.ClientResponseError, trouble.LostError, TimeoutError) as error:
            unknown = isinstance(error, aiohttp.ClientResponseError) and error.status in _UNKNOWN_PATH
            if not unknown and not self._batch_tries.used_up(ids, error):
                raise
            self._together = not unknown
            self._leave_alone(ids)
            return (), None
        self._leave_alone([each for each in ids if each not in found])
        return [Answer(local_id=each, raw=raw) for each, raw in found.items()], self._pause_s(headers)

    async def _ask_alone(
        self, session: aiohttp.ClientSession, ids: Sequence[str]
    ) -> tuple[Sequence[Answer], float | None]:
        (local_id,) = ids
        try:
            body, headers = await mastodon_requests.get(session, self._base / PATH / local_id, within_s=REQUEST_S)
        except (aiohttp.ClientResponseError, trouble.LostError, TimeoutError) as error:
            if isinstance(error, aiohttp.ClientResponseError) and error.status in _GONE and error.message:
                return [Answer(local_id=local_id, raw=None)], self._pause_s(error.headers or {})
            if not self._single_tries.used_up(ids, error):
                raise
            return (), None
        return [Answer(local_id=local_id, raw=body)], self._pause_s(headers)

    def _pause_s(self, headers: Mapping[str, str]) -> float:
        return mastodon_requests.pause_s(headers, self._clock(), reserve=RESERVE)


@dataclass(slots=True)
class _Tries:
    """What is refused again and again must not keep a round from the rest."""

    _ids: Sequence[str] = ()
    _failures: int = 0

    def used_up(self, ids: Sequence[str], error: Exception) -> bool:
        if isinstance(error, aiohttp.ClientResponseError) and error.status == 429:
            return False
        self._failures = self._failures + 1 if self._ids == ids else 1
        self._ids = ids
        return self._failures >= TRIES


def _among(ids: Sequence[str], body: bytes) -> dict[str, bytes]:
    try:
        return {local_id: raw for local_id, raw in mastodon_statuses.page(body) if local_id in ids}
    except BadStatusError:
        raise trouble.LostError("answered about statuses with something else") from None
