"""The hosts of one Jetstream source: which protocol each speaks, and whose turn it is after a failure."""

import random
from collections.abc import Callable, Sequence

from yarl import URL

from bot.ingest import backoff


class Hosts:
    """Whose turn it is. A host that asked to be left alone keeps us from no other one."""

    def __init__(self, urls: Sequence[URL], rng: random.Random, monotonic: Callable[[], float]) -> None:
        self._urls = list(urls)
        self._turn = 0
        self._waits = backoff.Backoff(rng)
        self._monotonic = monotonic
        self._not_before: dict[str, float] = {}

    @property
    def url(self) -> URL:
        return self._urls[self._turn]

    def next(self, healthy_s: float, retry_after_s: float | None) -> float:
        """The present one failed after so long; which is next, and the seconds until then."""
        wait_s = self._waits.after(healthy_s)
        now = self._monotonic()
        self._not_before[name(self.url)] = now + (retry_after_s or 0.0)
        turns = (*range(self._turn + 1, len(self._urls)), *range(self._turn + 1))
        self._turn = min(turns, key=lambda turn: self._closed_s(self._urls[turn], now + wait_s))
        return wait_s + (self._closed_s(self.url, now) if self._closed_s(self.url, now + wait_s) else 0.0)

    def _closed_s(self, url: URL, at: float) -> float:
        return max(self._not_before.get(name(url), at) - at, 0.0)


def name(url: URL) -> str:
    """Host and port, without what else an address may hold."""
    return url.host_port_subcomponent or ""


def is_v2(url: URL) -> bool:
    return url.path.rstrip("/").endswith("subscribeEvents")
