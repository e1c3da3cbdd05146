"""Watches how the sources are doing: into the store for ``tocsin sources``, into the metrics, and to the operators'
channel when one goes quiet compared with its usual rate, or stays without a connection, and when it is back."""

import asyncio
import contextlib
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import structlog

from bot import metrics
from bot.domain import channel as channels
from bot.domain.delivery import Act
from bot.ingest import elapsed
from bot.ingest.rhythm import Rhythm, Turn
from bot.ingest.source import Source, State
from bot.store import deliveries, directory, sources
from bot.store.database import Database, StoreLockedError, Tables
from bot.store.sources import SourceState

LOOK_EVERY_S = 5.0
RATE_OVER_S = 60.0
USUAL_OVER_S = 3600.0  # the time constant of the usual rate

log = structlog.get_logger()


@dataclass(slots=True, kw_only=True)
class _Watched:
    source: Source
    rhythm: Rhythm
    quiet_since: datetime | None
    usual_per_second: float | None = None
    counts: deque[tuple[float, int]] = field(default_factory=deque)  # (when, items) of the last minute


class Watching:
    """``channel``: where operators are told; None: in the log only. ``on_queued`` wakes delivering."""

    def __init__(
        self,
        database: Database,
        watched: Sequence[Source],
        *,
        channel: str | None,
        now: Callable[[], datetime],
        on_queued: Callable[[], None],
        monotonic: Callable[[], float] = elapsed.seconds,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._database = database
        self._sources = watched
        self._channel = channel
        self._now = now
        self._on_queued = on_queued
        self._monotonic = monotonic
        self._sleep = sleep
        self._watched: list[_Watched] | None = None
        self._unsaid: list[str] = []

    async def run(self) -> None:
        """For ever."""
        while True:
            with contextlib.suppress(StoreLockedError):  # the next look is as good
                await self.look()
            await self._sleep(LOOK_EVERY_S)

    async def look(self) -> None:
        """Once: one small write."""
        if self._watched is None:
            known = await self._database.read(sources.states)
            self._watched = [_watched(source, known) for source in self._sources]
        now, now_s = self._now(), self._monotonic()
        states = []
        for each in self._watched:
            self._unsaid += _turn(each, now, now_s)
            states.append(_state(each, now, now_s))
            _measure(states[-1])
        told = await self._database.write(_record, states, self._unsaid, self._channel, now)
        if self._unsaid and self._channel is not None and not told:
            log.warning(
                "alarm_not_sent",
                channel=self._channel,
                remedy="bind it to an organisation with `tocsin channel add`",
            )
        self._unsaid = []
        if told:
            self._on_queued()


def _watched(source: Source, known: Mapping[str, SourceState]) -> _Watched:
    before = known.get(source.name)
    if before is None:
        return _Watched(source=source, rhythm=Rhythm(), quiet_since=None)
    rhythm = Rhythm(usual_gap_s=before.usual_gap_s, quiet=before.quiet_since is not None)
    return _Watched(
        source=source, rhythm=rhythm, quiet_since=before.quiet_since, usual_per_second=before.usual_per_second
    )


def _turn(each: _Watched, now: datetime, now_s: float) -> list[str]:
    """What operators are to be told of this source now."""
    health = each.source.health
    if health.state is State.ENDED:
        return []
    turn = each.rhythm.look(
        now_s,
        items=health.items,
        connected=health.state is State.LIVE,
        interval_s=0.0 if health.interval is None else health.interval.total_seconds(),
        retry_at_s=None if health.retry_at is None else now_s + (health.retry_at - now).total_seconds(),
    )
    match turn:
        case Turn.QUIET:
            each.quiet_since = now
            text = _quiet_text(each, now_s)
            log.warning("source_quiet", source=each.source.name, error=health.last_error, remedy=health.remedy)
            return [text]
        case Turn.BACK:
            since, each.quiet_since = each.quiet_since, None
            log.info("source_back", source=each.source.name)
            after = "" if since is None else f", {_span((now - since).total_seconds())} after it was noticed"
            return [f"SOURCE BACK: {each.source.name} sends again{after}."]
        case None:
            return []


def _quiet_text(each: _Watched, now_s: float) -> str:
    health, usual_s = each.source.health, each.rhythm.usual_gap_s
    silent = f"nothing for {_span(each.rhythm.silent_s(now_s))}"
    usual = "" if usual_s is None else f" (usually something every {_span(usual_s)})"
    said = [f"SOURCE QUIET: {each.source.name}: {silent}{usual}; it is {health.state.value}."]
    if health.state is not State.LIVE and health.last_error is not None:
        said.append(f"Last error: {health.last_error}. What to do: {health.remedy or 'see the log'}.")
    elif health.state is State.LIVE:
        said.append("It is connected: look whether its provider has changed something or is quiet itself.")
    return " ".join(said)


def _rates(each: _Watched, now_s: float) -> tuple[float, float]:
    """Items a second over the last minute, and usually; what is quiet does not become usual."""
    counts, items = each.counts, each.source.health.items
    looked_s = counts[-1][0] if counts else now_s
    counts.append((now_s, items))
    while len(counts) > 2 and now_s - counts[1][0] >= RATE_OVER_S:
        counts.popleft()
    since_s, before = counts[0]
    rate = (items - before) / (now_s - since_s) if now_s > since_s else 0.0
    if each.usual_per_second is None:
        each.usual_per_second = rate if now_s - since_s >= RATE_OVER_S else None
    elif each.quiet_since is None:
        each.usual_per_second += (1 - math.exp((looked_s - now_s) / USUAL_OVER_S)) * (rate - each.usual_per_second)
    return rate, each.usual_per_second or 0.0


def _state(each: _Watched, now: datetime, now_s: float) -> SourceState:
    health = each.source.health
    rate, usual = _rates(each, now_s)
    lag = health.lag_now(now)
    return SourceState(
        source=each.source.name,
        at=now,
        state=health.state.value,
        items=health.items,
        dropped=health.dropped,
        skipped=health.skipped,
        reconnects=health.reconnects,
        lag_s=None if lag is None else lag.total_seconds(),
        per_second=rate,
        usual_per_second=usual,
        usual_gap_s=each.rhythm.usual_gap_s,
        last_item_at=health.last_item_at,
        last_error=health.last_error,
        remedy=health.remedy,
        quiet_since=each.quiet_since,
    )


def _measure(state: SourceState) -> None:
    metrics.source_live.labels(state.source).set(state.state == State.LIVE)
    metrics.source_quiet.labels(state.source).set(state.quiet_since is not None)
    metrics.source_per_second.labels(state.source).set(state.per_second)
    metrics.source_dropped.labels(state.source).set(state.dropped)
    metrics.source_lag_seconds.labels(state.source).set(math.nan if state.lag_s is None else state.lag_s)


def _record(db: Tables, states: Sequence[SourceState], texts: Sequence[str], channel: str | None, at: datetime) -> bool:
    """Also whether operators will be told."""
    sources.save_states(db, states)
    if not texts or channel is None or not directory.has_channel(db, channel):
        return False
    org = directory.organisation_of(db, channels.parse(channel).workspace)
    if org is None:
        return False
    for text in texts:
        deliveries.queue(
            db, org=org.org, channel=channel, act=Act.NOTICE, at=at, text=text, priority=deliveries.SOON,
            exempt=True,
        )  # fmt: skip
    return True


def _span(seconds: float) -> str:
    """``5 s``, ``12 minutes``, ``3 hours``."""
    if seconds < 120:
        return f"{max(1, round(seconds))} s"
    return f"{round(seconds / 60)} minutes" if seconds < 7200 else f"{round(seconds / 3600)} hours"
