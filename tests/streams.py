"""Reading a JetstreamSource in a test: no waiting, everything injected."""

import asyncio
import contextlib
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from bot.domain import post
from bot.ingest import jetstream
from tests.fakes import sources


class Waits:
    """Stands in for asyncio.sleep: notes, does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.before: Callable[[], Any] = lambda: None

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        self.before()
        await asyncio.sleep(0)


def make_source(*urls: str, **settings: Any) -> jetstream.JetstreamSource:
    defaults: dict[str, Any] = {
        "rng": random.Random(1),
        "clock": lambda: sources.START + timedelta(minutes=1),
        "sleep": Waits(),
    }
    return jetstream.JetstreamSource("bluesky", list(urls), **defaults | settings)


async def take(source: jetstream.JetstreamSource, count: int, after: str | None) -> list[post.Arrival]:
    arrivals = []
    async with asyncio.timeout(10), contextlib.aclosing(source.posts(after)) as posts:
        async for arrival in posts:
            arrivals.append(arrival)
            if len(arrivals) == count:
                break
    return arrivals


def before_all(version: int, fake: sources.FakeJetstream) -> str:
    """The cursor right before the first event."""
    first = fake.events[0]
    host = f"127.0.0.1:{fake.port}"
    return str(first.time_us - 1) if version == 1 else f"{host}:{first.seq - 1}:{first.time_us - 1}"


def texts(arrivals: list[post.Arrival]) -> list[str]:
    return [arrival.item.text for arrival in arrivals if isinstance(arrival.item, post.Post)]


def fill(fake: sources.FakeJetstream, count: int = 6) -> list[str]:
    for number in range(count):
        fake.add_post(f"invented {number}", author=number)
        fake.add_like(author=number)
        fake.add_identity(author=number)
    return [f"invented {number}" for number in range(count)]
