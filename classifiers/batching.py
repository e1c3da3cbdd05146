"""The model beside an event loop: one thread that owns it, and batches that close soon after their first item."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from classifiers.api import Classification, Classifier

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class InferenceThread:
    """Runs a classifier's calls one after another on a thread of its own: `async with InferenceThread(c) as thread`."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self._executor: ThreadPoolExecutor | None = None

    async def __aenter__(self) -> Self:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="inference")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        executor, self._executor = self._executor, None
        if executor is not None:
            # The call under way ends by itself (a batch takes well under a second); what waits behind it is dropped.
            await asyncio.to_thread(executor.shutdown, wait=True, cancel_futures=True)

    async def classify(self, texts: Sequence[str]) -> list[Classification]:
        """`Classifier.classify` on the thread."""
        return await self._run(self.classifier.classify, texts)

    async def screen(self, texts: Sequence[str]) -> list[bool]:
        """`Classifier.screen` on the thread."""
        return await self._run(self.classifier.screen, texts)

    async def _run(self, function: Callable[[Sequence[str]], Answer], texts: Sequence[str]) -> Answer:
        if self._executor is None:
            raise RuntimeError("InferenceThread is used outside its `async with`")
        return await asyncio.get_running_loop().run_in_executor(self._executor, function, texts)


async def gather_batch(queue: asyncio.Queue[Item], *, most: int = 256, within_s: float = 0.05) -> list[Item]:
    """Wait for one item, then take what comes until there are `most` or `within_s` have passed since the first.

    Never empty. Cancelled, it drops what it had taken: that was not yet stored, so the cursor has not moved past it.
    """
    batch = [await queue.get()]
    try:
        async with asyncio.timeout(within_s):
            while len(batch) < most:
                batch.append(queue.get_nowait() if queue.qsize() else await queue.get())
    except TimeoutError:
        pass
    return batch
