"""What an instance says about statuses that it is asked about again: what was edited or deleted while nobody listened.

Twenty in a request (``GET /api/v1/statuses``, Mastodon 4.3 or newer), which answers with those that this account may
see. One that is missing there is asked for alone. Only the API's own 404 or 410 says that it is gone, and 404 only of a
status of the instance's own: of others it may be housekeeping, so their own server is asked (``mastodon_origins``). An
account that was suspended looks the same. Older servers are asked about one by one.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import aiohttp

from bot.ingest import mastodon_statuses, trouble
from bot.ingest.mastodon_origins import Origins
from bot.ingest.mastodon_requests import Instance
from bot.ingest.mastodon_statuses import BadStatusError
from bot.ingest.recheck import Recheck

BATCH = 20
MOST = 100_000  # statuses in a round, the newest, which takes some seven hours
EVERY_S = 24 * 3600.0
DUE_S = 48 * 3600.0
REQUEST_S = 10.0  # while which the stream is not read
PATH = "api/v1/statuses"

_UNKNOWN_PATH = (400, 404, 405, 410, 422, 501)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the store keeps of a source's posts, by names ``HOST/ID``. ``stored``: those that begin so, of at most MOST
    posts, the newest first. ``post_of``: the id of the post, or of its version; None where it is not kept."""

    stored: Callable[[str], Awaitable[Sequence[str]]]
    post_of: Callable[[str], Awaitable[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``raw``: the status as it is now; None where it is gone."""

    local_id: str
    raw: bytes | None


class Rounds:
    """They ask about all that ``kept`` has: once a day, and whenever ``soon`` was called."""

    def __init__(
        self, kept: Kept | None, instance: Instance, origins: Origins, *, monotonic: Callable[[], float]
    ) -> None:
        self._kept = kept
        self._instance = instance
        self._origins = origins
        self._alone: dict[str, None] = {}  # to be asked for one by one, in this order
        self._together = True
        self._batches = Recheck(
            None if kept is None else self._begin, self._ask, batch=BATCH, every_s=EVERY_S, due_s=DUE_S,
            pause_s=instance.asked_s, monotonic=monotonic,
        )  # fmt: skip
        self._singles = Recheck(
            self._take_alone, self._ask_alone, batch=1, due_s=DUE_S, pause_s=instance.asked_s, monotonic=monotonic
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
            if self._instance.wait_s(spare=True):
                return ()
            if answers := await asked.some(session):
                return answers
        return ()

    async def _begin(self) -> Sequence[str]:
        self._together = True  # the server may be a newer one by now
        prefix = self._instance.prefix
        return [] if self._kept is None else [each.removeprefix(prefix) for each in await self._kept.stored(prefix)]

    async def _take_alone(self) -> Sequence[str]:
        alone, self._alone = self._alone, {}
        return list(alone)

    def _leave_alone(self, ids: Sequence[str]) -> None:
        if ids:
            self._alone |= dict.fromkeys(ids)
            self._singles.soon()

    async def _ask(self, session: aiohttp.ClientSession, ids: Sequence[str]) -> tuple[Sequence[Answer], float | None]:
        if not self._together:
            self._leave_alone(ids)
            return (), None
        try:
            body = await self._instance.get(session, PATH, [("id[]", each) for each in ids], within_s=REQUEST_S)
        except aiohttp.ClientResponseError as error:
            if error.status not in _UNKNOWN_PATH:
                raise
            self._together = False
            self._leave_alone(ids)
            return (), None
        found = _among(ids, body)
        self._leave_alone([each for each in ids if each not in found])
        return [Answer(local_id=each, raw=raw) for each, raw in found.items()], None

    async def _ask_alone(
        self, session: aiohttp.ClientSession, ids: Sequence[str]
    ) -> tuple[Sequence[Answer], float | None]:
        (local_id,) = ids
        try:
            body = await self._instance.get(session, f"{PATH}/{local_id}", within_s=REQUEST_S)
        except aiohttp.ClientResponseError as error:
            if not error.message or error.status not in (404, 410):
                raise
            gone = error.status == 410 or await self._gone(local_id)
            return [Answer(local_id=local_id, raw=None)] if gone else (), None
        return [Answer(local_id=local_id, raw=body)], None

    async def _gone(self, local_id: str) -> bool:
        kept = None if self._kept is None else await self._kept.post_of(f"{self._instance.prefix}{local_id}")
        return kept is not None and await self._origins.gone(mastodon_statuses.split(kept)[0])


def _among(ids: Sequence[str], body: bytes) -> dict[str, bytes]:
    try:
        return {local_id: raw for local_id, raw in mastodon_statuses.page(body) if local_id in ids}
    except BadStatusError:
        raise trouble.LostError("answered about statuses with something else") from None
