"""The source type ``push``: Post lines that others send us over HTTP, read from the store in order.

``bot.web.pushing`` puts them there before it answers; the number of a line is the cursor. What was recorded is deleted.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator

import structlog

from bot.domain import errors, post
from bot.ingest import lines
from bot.ingest.source import SourceHealth, State
from bot.store import pushed
from bot.store.database import Database, StoreLockedError

READ_MOST = 256  # lines
FORGET_EVERY_S = 5.0  # while nothing comes

log = structlog.get_logger()


class PushSource:
    """Give it the store with ``use`` before it is read; ``wake`` it when something was put there."""

    live = True

    def __init__(self, name: str, *, provider: str) -> None:
        self.name = name
        self.provider = provider
        self.health = SourceHealth()
        self._database: Database | None = None
        self._waker = asyncio.Event()

    def use(self, database: Database) -> None:
        self._database = database

    def wake(self) -> None:
        self._waker.set()

    async def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        """Raises UsageError for a cursor that is none of this source's."""
        if self._database is None:
            raise RuntimeError(f"source {self.name}: was not given a store")
        number = await self._number(self._database, after)
        while True:
            self._waker.clear()
            await self._forget(self._database)
            found = await self._database.read(pushed.after, self.name, number, READ_MOST)
            self.health.state = State.LIVE
            for each in found:
                number = each.number
                try:
                    item = lines.decode(each.line, each.received_at)
                except lines.BadLineError as error:  # it was read before it was stored
                    self.health.dropped += 1
                    log.error("line_skipped", source=self.name, line=number, reason=str(error))
                    continue
                yield post.Arrival(source=self.name, cursor=str(number), item=lines.foreign(item), at=each.received_at)
            if not found:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(FORGET_EVERY_S):
                        await self._waker.wait()

    async def _forget(self, database: Database) -> None:
        with contextlib.suppress(StoreLockedError):
            await database.write(pushed.forget, self.name)

    async def _number(self, database: Database, cursor: str | None) -> int:
        """A cursor beyond every number that was ever given is that of another source which had the name."""
        if cursor is None:
            return 0
        if (
            cursor.isascii()
            and cursor.isdigit()
            and len(cursor) < 20
            and int(cursor) <= await database.read(pushed.last_number)
        ):
            return int(cursor)
        raise errors.UsageError(f"the cursor {cursor!r} is none of a push source's; was the source renamed?")
