"""The Source protocol: what every connection to a provider offers, and how each says how it is doing."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from bot.domain import post


class State(StrEnum):
    CONNECTING = "connecting"
    LIVE = "live"  # connected, or reading
    WAITING = "waiting"  # backing off before it tries again
    ENDED = "ended"  # a finite source has been read to its end
    FAILED = "failed"  # given up; only finite sources do


@dataclass(slots=True, kw_only=True)
class SourceHealth:
    """How a source is doing; written by the source and by the ingester, read by anybody in the same event loop.

    ``lag`` is the clock less the source's own time of the last item, when that came; ``continuous`` sources always have
    something to send, so that their silence is lag as well. ``interval`` is how often a polled source asks now, and
    ``retry_at`` when it tries again after a failure, None where it said nothing. ``dropped`` counts bad upstream data,
    ``skipped`` what was left out on purpose: who asked not to be found, and deletions of what was never taken.
    ``last_error`` says what happened, ``remedy`` what to do about it, each as one sentence; they stay after recovery.
    ``logged``: what the log was told since it was last connected, so that an outage of days is not told at each try.
    """

    state: State = State.CONNECTING
    last_item_at: datetime | None = None
    lag: timedelta | None = None
    continuous: bool = False
    interval: timedelta | None = None
    retry_at: datetime | None = None
    items: int = 0
    dropped: int = 0
    skipped: int = 0
    reconnects: int = 0
    last_error: str | None = None
    remedy: str | None = None
    logged: set[tuple[str, str]] = field(default_factory=set)

    def lag_now(self, now: datetime) -> timedelta | None:
        """None while it is not connected, and before the first item."""
        if self.state is not State.LIVE or self.lag is None:
            return None
        if not self.continuous or self.last_item_at is None:
            return self.lag
        return self.lag + max(now - self.last_item_at, timedelta(0))

    @property
    def answered(self) -> bool:
        """Has it ever connected or yielded?"""
        return self.items > 0 or self.reconnects > 0 or self.state in (State.LIVE, State.ENDED)


class Source(Protocol):
    """One configured connection to a provider. ``live`` sources never end; the others end when they are read."""

    @property
    def name(self) -> str: ...

    @property
    def provider(self) -> str: ...

    @property
    def live(self) -> bool: ...

    @property
    def health(self) -> SourceHealth: ...

    def posts(self, after: str | None) -> AsyncGenerator[post.Arrival, None]:
        """Everything after the item whose cursor is ``after``; None starts at the source's own beginning.

        Live sources start at the present then. At-least-once: a resumed source may repeat the last few seconds.
        An async generator; close it (``aclosing``) to let go of its connection.
        """
        ...
