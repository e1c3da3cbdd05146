"""ONE transaction per batch: candidate posts and their sources' names of them, events, alert revisions, deliveries and
the cursors they came with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType

from bot.domain.access import ProviderSet
from bot.domain.alert import Alert
from bot.domain.memory import Memory
from bot.domain.post import Candidate, Deletion, Gap
from bot.pipeline import routing
from bot.store import access, events, local_ids, memories, posts, sources
from bot.store.database import Tables
from bot.store.local_ids import Named

NOTHING: Mapping[str, Memory] = MappingProxyType({})


@dataclass(slots=True, kw_only=True)
class Recorded:
    """``missing``: live provider sets without a detector; then nothing was stored and the batch must come again."""

    missing: set[str] = field(default_factory=set)
    alerts: list[tuple[ProviderSet, Alert]] = field(default_factory=list)
    queued: int = 0


def record(
    db: Tables,
    *,
    steps: Sequence[Candidate | tuple[Deletion, datetime]],
    raised: Sequence[tuple[ProviderSet, Sequence[Alert]]],
    cursors: Mapping[str, str],
    gaps: Sequence[tuple[str, Gap]],
    known_views: set[str],
    now: datetime,
    remembered: Mapping[str, Memory] = NOTHING,
    named: Sequence[Named] = (),
) -> Recorded:
    """Store a batch and queue its deliveries, unless a live provider set has no detector yet. ``remembered``: what
    changed in each View's detector; one that is not there cannot be resumed after this batch, only rebuilt. ``named``:
    what sources call posts of this batch, and posts that were stored before; a post of this batch has its names before
    what follows it in the batch happens to it."""
    missing = set(access.live_views(db, now)) - known_views
    if missing:
        return Recorded(missing=missing)
    recorded = Recorded()
    gone = _take(db, steps, named)
    for view, alerts in raised:
        for alert in alerts:
            if events.record(db, view, alert, now):
                recorded.alerts.append((view, alert))
                recorded.queued += routing.route(db, view, alert, now)
    for key in gone:
        recorded.queued += routing.retract_orphans(db, key, now)
    if steps:
        memories.forget_others(db, remembered)
    for key, memory in remembered.items():
        memories.save(db, key, memory)
    for source, gap in gaps:
        sources.add_gap(db, source, gap, now)
    for source, cursor in cursors.items():
        sources.save_cursor(db, source, cursor, now)
    return recorded


def _take(db: Tables, steps: Sequence[Candidate | tuple[Deletion, datetime]], named: Sequence[Named]) -> list[str]:
    """Store and delete posts. Returns the keys of those that lost their words."""
    last_seq = posts.next_seq(db) - 1
    names: dict[str, list[Named]] = {}
    for each in named:
        names.setdefault(each.post, []).append(each)
    gone: list[str] = []
    for step in steps:
        if isinstance(step, Candidate):
            posts.add(db, step)
            last_seq = step.seq
            local_ids.add(db, names.pop(step.post.key, ()))
        else:
            deletion, at = step
            taken = posts.delete(db, deletion, after_seq=last_seq, stream_at=at)
            gone += taken
            local_ids.forget(db, taken, edited=deletion.replaced_by is not None)
            if deletion.key is not None and not taken and deletion.replaced_by is None:
                local_ids.forget(db, [deletion.key])  # nothing is left to wait for
    for rest in names.values():
        local_ids.add(db, rest)
    return gone


def record_silently(db: Tables, view: ProviderSet, alerts: Sequence[Alert], now: datetime) -> None:
    """What a rebuilt detector says about the past: stored for this View, delivered to nobody."""
    for alert in alerts:
        events.record(db, view, alert, now)
