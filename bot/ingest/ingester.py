"""The ingester: one task per source, one bounded inbox for all of them.

A full inbox stops every source that has something to put, which stops reading its socket, which stops the server. A
source that breaks is started again from the last item that it got into the inbox; the others do not notice.
"""

import asyncio
import contextlib
import dataclasses
import random
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from bot.domain import errors, post
from bot.ingest import backoff, elapsed
from bot.ingest.source import Source, SourceHealth, State

TRIES = 3  # how often a finite source may break at the same place before it is given up

log = structlog.get_logger()


class Ingester:
    """Moves what ``sources`` yield into ``inbox``, each from its cursor in ``cursors`` on."""

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        inbox: asyncio.Queue[post.Arrival],
        cursors: Mapping[str, str],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = elapsed.seconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
    ) -> None:
        """Raises UsageError where two sources have one name: a cursor belongs to a name."""
        self.health: dict[str, SourceHealth] = {source.name: source.health for source in sources}
        if len(self.health) < len(sources):
            raise errors.UsageError("two sources have the same name; give each [[source]] a name of its own")
        if inbox.maxsize <= 0:
            raise ValueError("the inbox needs a bound")
        self._sources = sources
        self._inbox = inbox
        self._cursors = cursors
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._rng = rng or random.Random()

    async def run(self) -> None:
        """Returns when every finite source has ended or been given up; with a live source, never.

        Raises TocsinError where a source was asked for what makes no sense, such as another source's cursor.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                for source in self._sources:
                    tasks.create_task(self._keep_reading(source), name=f"source:{source.name}")
        except BaseExceptionGroup as group:
            for error in group.exceptions:
                if isinstance(error, errors.TocsinError):
                    raise error from None
            raise

    def answered(self) -> bool:
        """Has any source connected, or yielded anything?"""
        return any(health.answered for health in self.health.values())

    async def warn_if_silent(self, after_s: float = 10.0) -> bool:
        """After ``after_s``: say so if no source has answered, and return whether that was said."""
        await self._sleep(after_s)
        if not self.health or self.answered():
            return False
        log.warning(
            "sources_silent",
            message=f"no source has answered for {after_s:g} s: check the network; "
            "`tocsin rehearse` shows the service without one; still trying",
            sources={name: health.last_error or health.state.value for name, health in self.health.items()},
        )
        return True

    async def _keep_reading(self, source: Source) -> None:
        cursor = self._cursors.get(source.name)
        waits = backoff.Backoff(self._rng)
        failures = 0  # in a row, without an item in between
        told: str | None = None
        while True:
            started = self._monotonic()
            before = cursor
            try:
                async with contextlib.aclosing(source.posts(cursor)) as posts:
                    async for arrival in posts:
                        arrival = self._dated(source, arrival)
                        await self._inbox.put(arrival)
                        cursor = arrival.cursor
                        self._count(source, arrival)
                if not source.live:
                    source.health.state = State.ENDED
                    return
                where = "it ended, which a live source never does"
            except errors.TocsinError:
                raise  # what was asked for makes no sense: a person has to act
            except Exception as error:
                where = _where(error)
            failures = failures + 1 if cursor == before else 1
            given_up = not source.live and failures >= TRIES
            source.health.last_error = f"source {source.name} broke: {where}"
            source.health.remedy = "this is a defect in Tocsin: please report it with this line"
            source.health.state = State.FAILED if given_up else State.WAITING
            if told != where or given_up:
                told = where
                log.error("source_failed", source=source.name, error=where, given_up=given_up)
            if given_up:
                return
            wait_s = waits.after(self._monotonic() - started)
            source.health.retry_at = self._clock() + timedelta(seconds=wait_s)
            await self._sleep(wait_s)

    def _dated(self, source: Source, arrival: post.Arrival) -> post.Arrival:
        """A live source is never ahead of us: stream time that has run ahead would make what follows look old."""
        if source.live and arrival.at > (now := self._clock()):
            return dataclasses.replace(arrival, at=now)
        return arrival

    def _count(self, source: Source, arrival: post.Arrival) -> None:
        health = source.health
        now = self._clock()
        if not isinstance(arrival.item, post.Mark):
            health.items += 1
            health.last_item_at = now
        if source.live:
            health.lag = now - arrival.at


def _where(error: Exception) -> str:
    """The kind of ``error`` and its place, not its message: that may quote a post."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return type(error).__name__ + place
