"""Batches close soon after their first item, and one thread owns the model."""

import asyncio
import threading

import numpy as np
import pytest

from classifiers import api, batching


class Recorder:
    """A classifier that remembers which thread called it, and may be told to wait."""

    version = "recorder"

    def __init__(self) -> None:
        self.threads: set[str] = set()
        self.proceed = threading.Event()
        self.proceed.set()

    def screen(self, texts):
        self.threads.add(threading.current_thread().name)
        return [bool(text) for text in texts]

    def classify(self, texts):
        self.threads.add(threading.current_thread().name)
        self.proceed.wait(10)
        return [
            api.Classification(
                categories={"flood": 0.25, "fire": 0.75},
                places=(),
                embedding=np.zeros(384, np.float32),
                model="recorder",
            )
            for _ in texts
        ]


async def test_a_full_batch_closes_without_waiting():
    queue: asyncio.Queue[int] = asyncio.Queue()
    for number in range(300):
        queue.put_nowait(number)
    # An hour: would the batch wait for its time, the test would run into its limit.
    assert await batching.gather_batch(queue, most=256, within_s=3600) == list(range(256))
    assert queue.qsize() == 44


async def test_a_small_batch_closes_when_its_time_is_over():
    queue: asyncio.Queue[int] = asyncio.Queue()
    queue.put_nowait(1)
    assert await batching.gather_batch(queue, within_s=0) == [1]


async def test_a_batch_takes_what_arrives_while_it_is_open():
    queue: asyncio.Queue[int] = asyncio.Queue()
    gathering = asyncio.create_task(batching.gather_batch(queue, most=3, within_s=3600))
    for number in range(3):
        await queue.put(number)
        await asyncio.sleep(0)
    assert await gathering == [0, 1, 2]


async def test_the_time_of_a_batch_starts_with_its_first_item():
    queue: asyncio.Queue[int] = asyncio.Queue()
    gathering = asyncio.create_task(batching.gather_batch(queue, within_s=0))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not gathering.done()
    queue.put_nowait(7)
    assert await gathering == [7]


async def test_all_calls_run_on_one_thread_beside_the_loop():
    recorder = Recorder()
    async with batching.InferenceThread(recorder) as thread:
        answers = await asyncio.gather(thread.classify(["a", "b"]), thread.classify(["c"]))
        assert [len(answer) for answer in answers] == [2, 1]
        assert await thread.screen(["", "x"]) == [False, True]
    assert len(recorder.threads) == 1
    assert threading.current_thread().name not in recorder.threads


async def test_the_loop_goes_on_while_the_model_works():
    recorder = Recorder()
    recorder.proceed.clear()
    async with batching.InferenceThread(recorder) as thread:
        working = asyncio.create_task(thread.classify(["a"]))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not working.done()
        recorder.proceed.set()
        assert (await working)[0].top == ("fire", 0.75)


async def test_use_outside_its_context_is_an_error():
    with pytest.raises(RuntimeError, match="async with"):
        await batching.InferenceThread(Recorder()).screen(["a"])
