"""From judged posts to recorded alerts: one detector per live provider set, fed in stream time.

Each item comes with its source's own time, and each detector makes stream time of those that its View permits: a barred
provider's clock does not move anybody else's.

A batch is detected and recorded as one step. If an organisation's permitted set has changed meanwhile, the recording
transaction says so, the missing detector is rebuilt from the store (which does not hold this batch yet) and fed the
batch, and the recording is tried again: nothing is lost between two sets.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog

from bot import crashpoints, metrics
from bot.detection import candidates
from bot.detection.detector import Detector
from bot.domain import post
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert
from bot.domain.memory import Memory
from bot.domain.post import Candidate, Deletion, Gap, Post
from bot.pipeline import rebuilding, reconciling, recording
from bot.pipeline.classifying import Judged
from bot.pipeline.rebuilding import Deleted, Past
from bot.store import access, events, local_ids, memories, posts
from bot.store.database import Database, StoreLockedError, Tables
from bot.store.local_ids import Named

log = structlog.get_logger()

P = ParamSpec("P")
R = TypeVar("R")

RECENT_KEYS = 100_000  # posts remembered for recognising those that a source yields twice
RECONCILED_WITHIN = timedelta(seconds=2)  # after a change of access, while no posts come
RECONCILED_AT_ONCE = 50  # messages in one transaction, since a revocation may be waiting for its turn
CURSOR_EVERY = timedelta(seconds=1)  # how often a cursor is written when nothing else is
LOCKED_TRIES = 12  # times ten seconds of waiting before a locked store stops the service

Raised = Callable[[ProviderSet, Alert], Awaitable[None]]
Taken = Callable[[Sequence[Judged]], None]


@dataclass(slots=True)
class Batch:
    """What one round is about to record."""

    steps: list[Candidate | Deleted] = field(default_factory=list)
    cursors: dict[str, str] = field(default_factory=dict)
    gaps: list[tuple[str, Gap]] = field(default_factory=list)
    raised: dict[str, tuple[ProviderSet, list[Alert]]] = field(default_factory=dict)
    remembered: dict[str, Memory] = field(default_factory=dict)
    named: list[Named] = field(default_factory=list)


class Newest:
    """What the last so many posts came to that sources told by names of their own, stored or not: where several bring
    the same posts, one later than the other, old words must not come back."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._keys: OrderedDict[str, str | None] = OrderedDict()  # key of the post → of its newest version; None: gone

    def told(self, key: str) -> bool:
        """Is it late: was a newer version told, or that the post is gone?"""
        newest = self.of(key)
        if newest is None and _first(key) in self._keys:
            return True
        if newest is None or post.newer(key, newest):
            self._put(key, key)
        return newest is not None and post.newer(newest, key)

    def of(self, key: str) -> str | None:
        return self._keys.get(_first(key))

    def deleted(self, deletion: Deletion) -> None:
        """Only what had such a name, or has versions."""
        if deletion.key is None:
            return
        if deletion.replaced_by is None:
            if deletion.key in self._keys:
                self._put(deletion.key, None)
        elif post.VERSION in deletion.replaced_by:
            self.told(post.post_key(deletion.provider, deletion.replaced_by))

    def _put(self, key: str, newest: str | None) -> None:
        self._keys[_first(key)] = newest
        self._keys.move_to_end(_first(key))
        if len(self._keys) > self._size:
            self._keys.popitem(last=False)


class Detecting:
    """Owns the detectors. ``make_detector`` builds an empty one for a provider set; ``now`` is the wall clock.

    ``on_raised`` hears of every recorded revision, once, after it is stored. ``on_queued`` wakes delivering.
    ``on_taken`` hears of every batch after it is recorded, so that it can ask ``explain`` about its posts.
    """

    def __init__(
        self,
        database: Database,
        make_detector: Callable[[ProviderSet], Detector],
        *,
        now: Callable[[], datetime],
        on_raised: Raised | None = None,
        on_queued: Callable[[], None] | None = None,
        on_taken: Taken | None = None,
    ) -> None:
        self._database = database
        self._make_detector = make_detector
        self._now = now
        self._on_raised = on_raised
        self._on_queued = on_queued
        self._on_taken = on_taken
        self._detectors: dict[str, Detector] = {}
        self._recent: OrderedDict[str, bool] = OrderedDict()  # key → is it stored?
        self._newest = Newest(RECENT_KEYS)
        self._next_seq = 1
        self._cursors: dict[str, str] = {}
        self._cursors_saved_at: datetime | None = None
        self._reconciled: tuple[int, int] | None = None  # the ``access.changes`` for which messages were looked through

    async def start(self) -> None:
        """Rebuild every live set's detector from the store."""
        self._next_seq = await self._database.read(posts.next_seq)
        await self._refresh()
        await self._reconcile()

    async def run(self, inbox: asyncio.Queue[list[Judged] | None]) -> None:
        """Until the inbox yields None. Raises StoreError when the store cannot be written: nothing was lost."""
        while True:
            try:
                async with asyncio.timeout(RECONCILED_WITHIN.total_seconds()):
                    judged = await inbox.get()
            except TimeoutError:
                await self._reconcile()
                continue
            if judged is None:
                break
            await self.take(judged)
            await self._reconcile()
        await self._record(Batch(), final=True)

    async def take(self, judged: Sequence[Judged]) -> None:
        """Detect and record one batch."""
        batch = await self._prepare(judged)
        if batch.steps:
            for key in list(self._detectors):
                self._detect(key, batch)
        await self._record(batch)
        if self._on_taken is not None:
            self._on_taken(judged)

    def explain(self, view: ProviderSet, post_key: str) -> dict[str, Any] | None:
        """The view's detector's verdict about one candidate, if it still remembers it."""
        detector = self._detectors.get(view.key)
        return None if detector is None else detector.explain(post_key)

    async def _prepare(self, judged: Sequence[Judged]) -> Batch:
        batch = Batch()
        gone: set[str] = set()  # with this batch, of what the store may have from before we remember
        seen, outdated = await self._stored(judged)
        for each in judged:
            arrival, item = each.arrival, each.arrival.item
            batch.cursors[arrival.source] = arrival.cursor
            metrics.arrivals_total.labels(arrival.source, type(item).__name__.lower()).inc()
            match item:
                case Gap():
                    batch.gaps.append((arrival.source, item))
                    metrics.gaps_total.labels(arrival.source).inc()
                    log.warning("gap_found", source=arrival.source, reason=item.reason)
                case Deletion():
                    self._newest.deleted(item)
                    if item.key is not None and item.replaced_by is None:
                        gone.add(item.key)
                    batch.steps.append((item, arrival.at))
                    for version in await self._versions(batch, item):
                        batch.steps.append((replace(item, id=version), arrival.at))
                case Post():
                    stored = item.key in seen or self._recent.get(item.key, False)
                    late = arrival.local_id is not None and (
                        self._newest.told(item.key) or item.key in outdated or _first(item.key) in gone
                    )
                    if not stored and item.key not in self._recent:
                        stored = not late and self._take(batch, each, item)
                        self._remember(item.key, stored=stored)
                    if (stored or late) and arrival.local_id is not None:
                        key = self._newest.of(item.key) or item.key
                        batch.named.append(Named(source=arrival.source, local_id=arrival.local_id, post=key))
        if judged:
            metrics.stream_lag_seconds.set((self._now() - judged[-1].arrival.at).total_seconds())
        return batch

    async def _stored(self, judged: Sequence[Judged]) -> tuple[set[str], set[str]]:
        """Of the posts that are new to us: those that are stored, and those that say what was replaced or deleted
        since, where several sources bring the same posts, one sooner than the other."""
        new = {
            each.arrival.item.key: each
            for each in judged
            if isinstance(each.arrival.item, Post) and each.arrival.item.key not in self._recent
        }
        seen = await self._database.read(posts.known, new)
        shared = {
            key
            for key, each in new.items()
            if key not in seen and each.classification is not None and each.arrival.local_id is not None
        }
        return seen, await self._database.read(local_ids.outdated, shared) if shared else set()

    def _take(self, batch: Batch, judged: Judged, item: Post) -> bool:
        """Is it a candidate?"""
        candidate = self._candidate(judged, item)
        if candidate is None:
            return False
        self._next_seq += 1
        batch.steps.append(candidate)
        metrics.candidates_total.labels(candidate.top[0]).inc()
        return True

    async def _versions(self, batch: Batch, deletion: Deletion) -> list[str]:
        """The versions of a deleted post that go with it, of those stored and those in this batch."""
        if deletion.id is None:
            return []
        here = [
            step.post.id
            for step in batch.steps
            if isinstance(step, Candidate) and step.post.provider == deletion.provider and deletion.takes(step.post.id)
        ]
        return [*await self._database.read(posts.versions, deletion), *here]

    def _candidate(self, judged: Judged, post: Post) -> Candidate | None:
        at = judged.arrival.at
        if post.official is not None:
            return candidates.make_official(post, self._next_seq, at)
        if judged.classification is None:
            return None
        return candidates.make(post, judged.classification, seq=self._next_seq, stream_at=at)

    def _remember(self, key: str, *, stored: bool) -> None:
        self._recent[key] = stored
        if len(self._recent) > RECENT_KEYS:
            self._recent.popitem(last=False)

    def _detect(self, key: str, batch: Batch) -> None:
        view, detector = ProviderSet.parse(key), self._detectors[key]
        batch.raised[key] = (view, rebuilding.fed(detector, batch.steps))
        memory = detector.remembered()
        if memory is not None:
            batch.remembered[key] = memory

    async def _record(self, batch: Batch, *, final: bool = False) -> None:
        self._cursors |= batch.cursors
        now = self._now()
        quiet = not batch.steps and not batch.gaps and not batch.named
        waited = None if self._cursors_saved_at is None else now - self._cursors_saved_at
        if quiet and not final and waited is not None and timedelta(0) <= waited < CURSOR_EVERY:
            return
        crashpoints.reach("detected")
        while True:
            with metrics.record_seconds.time():
                recorded = await self._write(batch)
            if not recorded.missing:
                break
            await self._refresh()
            for gone in set(batch.raised) - set(self._detectors):
                del batch.raised[gone]
                batch.remembered.pop(gone, None)
            for key in self._detectors:
                if key not in batch.raised:
                    self._detect(key, batch)
        crashpoints.reach("recorded")
        self._cursors_saved_at = now
        self._cursors = {}
        for view, alert in recorded.alerts:
            metrics.alerts_total.labels(alert.kind.value, alert.level.value).inc()
            if self._on_raised is not None:
                await self._on_raised(view, alert)
        if recorded.queued and self._on_queued is not None:
            self._on_queued()

    async def _write(self, batch: Batch) -> recording.Recorded:
        return await self._patiently(
            recording.record,
            steps=batch.steps,
            raised=list(batch.raised.values()),
            remembered=batch.remembered,
            cursors=self._cursors,
            gaps=batch.gaps,
            named=batch.named,
            known_views=set(self._detectors),
            now=self._now(),
        )

    async def _patiently(self, fn: Callable[Concatenate[Tables, P], R], *args: P.args, **kw: P.kwargs) -> R:
        """``Database.write``, tried again while another program holds the store."""
        left = LOCKED_TRIES
        while True:
            try:
                return await self._database.write(fn, *args, **kw)
            except StoreLockedError as error:
                left -= 1
                if not left:
                    raise
                metrics.store_retries_total.inc()
                log.warning("store_locked", problem=str(error))

    async def _reconcile(self) -> None:
        """Where access has changed: bring the detectors into line, then the messages that stand."""
        now = self._now()
        changes = await self._database.read(access.changes, now)
        if changes == self._reconciled:
            return
        await self._refresh()
        overdue = await self._database.read(reconciling.overdue, now)
        done, total = not overdue.waiting, 0
        for some in range(0, len(overdue.roots), RECONCILED_AT_ONCE):
            roots = overdue.roots[some : some + RECONCILED_AT_ONCE]
            queued = await self._patiently(reconciling.reconcile, roots, now, changes)
            done, total = done and queued is not None, total + (queued or 0)
        if done:
            self._reconciled = changes
        if total:
            log.info("messages_reconciled", queued=total)
            if self._on_queued is not None:
                self._on_queued()

    async def _refresh(self) -> None:
        """Bring the detectors into line with the live sets: one goes on from what was remembered, or is new."""
        live = await self._database.read(access.live_views, self._now())
        for key in set(self._detectors) - set(live):
            del self._detectors[key]
        for key, view in live.items():
            if key in self._detectors:
                continue
            detector = self._make_detector(view)
            past = await self._database.read(rebuilding.read, view, self._now())
            # On a thread: a day's candidates take seconds, and deliveries and commands go on meanwhile.
            resumed = await asyncio.to_thread(rebuilding.resume, detector, past)
            if not resumed:
                await self._rebuild(view, detector, past)
            self._detectors[key] = detector
            log.info("view_ready", view=key, resumed=resumed)
        metrics.views_live.set(len(self._detectors))
        wanted = await self._database.read(access.count_views, self._now())
        if wanted > len(live):
            log.error(
                "views_over_limit",
                problem=f"{wanted} provider sets, {len(live)} can be live: organisations with the others get nothing",
                remedy="give organisations the same providers where you can",
            )

    async def _rebuild(self, view: ProviderSet, detector: Detector, past: Past) -> None:
        """Feed a fresh detector what the View would have seen; what it says about that is stored silently."""
        alerts = await asyncio.to_thread(rebuilding.fed, detector, past.history)
        await self._patiently(recording.record_silently, view, alerts, self._now())
        for alert in await self._database.read(events.latest_of_all, view.key):
            detector.adopt(alert)
        memory = detector.remembered()
        if memory is not None:
            await self._patiently(memories.save, view.key, memory)


def _first(key: str) -> str:
    """The key of a post's first version."""
    return key.partition(post.VERSION)[0]
