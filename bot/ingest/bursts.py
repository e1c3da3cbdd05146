"""Bursts of edits: many people changing one article within minutes. Pure; the edits' own times are the only clock.

The thresholds are those of Wikipedia Live Monitor, which looked for breaking news in the same way and left bots out
too: five edits by three editors (T. Steiner, S. van Hooland, E. Summers, "MJ no more: Using Concurrent Wikipedia Edit
Spikes with Social Network Plausibility Checks for Breaking News Detection", 2013, and its published program). It asked
for at most a minute between two edits; ten minutes for all are wider, since a burst here only corroborates posts.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

EDITS = 5
EDITORS = 3
WINDOW = timedelta(minutes=10)
SLACK = timedelta(seconds=30)  # for edits that come out of order: what ended so long ago is over
MOST_PAGES = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """``key`` names this edit, ``page`` the article, ``editor`` whoever made it; ``at``: aware UTC."""

    key: str
    page: str
    editor: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Burst:
    """``since``: its first edit, ``at``: the one with which there were enough."""

    page: str
    since: datetime
    at: datetime


class Bursts:
    """Each burst once: it lasts while edits of the page follow each other within ``WINDOW``.

    ``told``: page → the last edit of bursts that were told of before and still last, as ``lasting`` gave them at
    ``now``. An edit that comes so late that what it belongs to is over counts no more.
    """

    def __init__(self, told: Mapping[str, datetime] | None = None, now: datetime | None = None) -> None:
        self._edits: OrderedDict[str, list[Edit]] = OrderedDict()  # the page that was edited last is the last
        self._told = dict(told or {})
        self._now = now

    @property
    def lasting(self) -> dict[str, datetime]:
        """Page → last edit, of the bursts that were told of and are not over."""
        return dict(self._told)

    def add(self, edit: Edit) -> Burst | None:
        """The burst that this edit completes, unless it was told of. The same edit twice counts once."""
        if edit.at < self._advance(edit.at):
            return None
        edits = self._edits.get(edit.page, [])
        if any(each.key == edit.key for each in edits):
            return None
        latest = max(edit.at, *(each.at for each in edits)) if edits else edit.at
        edits = [each for each in [*edits, edit] if latest - each.at <= WINDOW]
        self._edits[edit.page] = edits
        self._edits.move_to_end(edit.page)
        last = self._told.get(edit.page)
        if last is not None and edit.at - last <= WINDOW:
            self._told[edit.page] = max(last, edit.at)
            return None
        self._told.pop(edit.page, None)
        if len(edits) < EDITS or len({each.editor for each in edits}) < EDITORS:
            return None
        self._told[edit.page] = latest
        return Burst(page=edit.page, since=min(each.at for each in edits), at=edit.at)

    def _advance(self, at: datetime) -> datetime:
        """The time before which everything is over."""
        self._now = at if self._now is None else max(self._now, at)
        over = self._now - WINDOW - SLACK
        while self._edits:
            page, edits = next(iter(self._edits.items()))
            if max(each.at for each in edits) >= over and len(self._edits) <= MOST_PAGES:
                break
            del self._edits[page]
        for page in [page for page, last in self._told.items() if last < over]:
            del self._told[page]
        return over
