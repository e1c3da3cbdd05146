"""A View's detector after a restart: it goes on from what the last one remembered, and where nothing is remembered (the
View is new, the store is older) it is fed the last day's candidates again. Where no candidate was received for a day it
begins anew."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.detection.detector import Detector
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert
from bot.domain.memory import Memory
from bot.domain.post import Candidate, Deletion
from bot.store import events, memories, posts
from bot.store.database import Tables

REBUILT_FROM = timedelta(hours=24)  # a detector is rebuilt from what was received in this time

Deleted = tuple[Deletion, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What the store knows of a View, in one snapshot. ``memory``: None also where nothing was received in the last
    ``REBUILT_FROM``, since its clock may be that of quite another stream; the next one that is saved takes its place.
    ``evidence``: the posts in ``memory``. ``raised``: the last revision of every event."""

    memory: Memory | None
    evidence: list[Candidate]
    raised: list[Alert]
    history: list[Candidate | Deleted]


def read(db: Tables, view: ProviderSet, at: datetime) -> Past:
    history = posts.history(db, at - REBUILT_FROM)
    memory = memories.load(db, view.key) if history else None
    return Past(
        memory=memory,
        evidence=[] if memory is None else posts.members(db, view.key),
        raised=events.latest_of_all(db, view.key),
        history=history,
    )


def resume(detector: Detector, past: Past) -> bool:
    """Make a fresh detector what the last one was; False where nothing is remembered, and it is left as it is."""
    if past.memory is None:
        return False
    detector.resume(
        past.memory,
        raised={alert.event: alert for alert in past.raised},
        evidence=past.evidence,
        heard=[step for step in past.history if isinstance(step, Candidate)],
    )
    return True


def fed(detector: Detector, history: Sequence[Candidate | Deleted]) -> list[Alert]:
    """Everything that the detector raises over this history."""
    alerts: list[Alert] = []
    for step in history:
        alerts += detector.add(step) if isinstance(step, Candidate) else detector.delete(*step)
    return alerts
