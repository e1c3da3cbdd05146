"""From the inbox to judged posts: batches through the screen and the transformer, on the inference thread.

Knows nothing of where the inbox gets its arrivals from. An inbox ends with None.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bot import metrics
from bot.domain.post import Arrival, Post
from classifiers.api import Classification

Inbox = asyncio.Queue[Arrival | None]
Gather = Callable[[Inbox], Awaitable[list[Arrival | None]]]

BATCH_MOST = 256  # arrivals


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An arrival with the model's answer; None: not a post, an official one, or dropped by the screen."""

    arrival: Arrival
    classification: Classification | None


class Inference(Protocol):
    """``classifiers.batching.InferenceThread`` is it."""

    async def screen(self, texts: Sequence[str]) -> list[bool]: ...

    async def classify(self, texts: Sequence[str]) -> list[Classification]: ...


async def classify_forever(
    inbox: Inbox, outbox: asyncio.Queue[list[Judged] | None], inference: Inference, gather: Gather
) -> None:
    """Until the inbox yields None, which is passed on."""
    ended = False
    while not ended:
        batch = await gather(inbox)
        ended = None in batch
        arrivals = [arrival for arrival in batch if arrival is not None]
        if arrivals:
            await outbox.put(await judge(arrivals, inference))
        metrics.inbox_items.set(inbox.qsize())
    await outbox.put(None)


async def judge(arrivals: Sequence[Arrival], inference: Inference) -> list[Judged]:
    """Order is kept. Official posts need no model; what the screen drops is not classified, save verified authors'."""
    posts = [
        (position, arrival.item)
        for position, arrival in enumerate(arrivals)
        if isinstance(arrival.item, Post) and arrival.item.official is None
    ]
    kept = await inference.screen([post.text for _, post in posts])
    wanted = [pair for pair, keep in zip(posts, kept, strict=True) if keep or pair[1].verified]
    with metrics.classify_batch_seconds.time():
        answers = await inference.classify([post.text for _, post in wanted])
    metrics.screened_out_total.inc(len(posts) - len(wanted))
    metrics.classified_total.inc(len(wanted))
    by_position = {position: answer for (position, _), answer in zip(wanted, answers, strict=True)}
    return [
        Judged(arrival=arrival, classification=by_position.get(position)) for position, arrival in enumerate(arrivals)
    ]
