"""Listeners that still work when the service stops."""

import asyncio
from collections.abc import Awaitable
from typing import Any

# What still runs when the service stops gets this long to answer.
_FINISHED_WITHIN_S = 5.0


class Running:
    """Bolt runs each listener in a task of its own and forgets it; ``close`` must know them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def track(self, work: Awaitable[None]) -> None:
        """Run ``work`` in the current task."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await work
        finally:
            self._tasks.discard(task)

    async def close(self) -> None:
        """Wait a little for what is under way, then cut it."""
        if not self._tasks:
            return
        _, late = await asyncio.wait(self._tasks, timeout=_FINISHED_WITHIN_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
