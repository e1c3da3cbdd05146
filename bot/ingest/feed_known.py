"""What is known of a feed, for its cursor: of each entry, of names that are shared, of the reading before. Pure.

Of an entry: its version, when it was changed (Unix seconds, empty where it does not say), and under what ending of its
id it stands: ``-`` first where it was only seen, or where the old words are gone and the new ones not yet told. Then
how often its words have changed without a time lately, and the versions before with their times, the latest first.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice

from bot.domain import post
from bot.ingest import feed_names
from bot.ingest.feed_entries import Entry
from bot.ingest.polling import Known

EARLIER = 5  # versions of an entry that are known to be over
NOWHERE = "-"
SOONEST, SLOWEST = timedelta(minutes=10), timedelta(hours=4)  # from one change without a time to the next
_OFTEN = "~"  # before the number of changes without a time and when the last one was
_SHARED = "="  # before the digest of a shared name
_SHOWN = "#"  # how many entries the last reading had
_MOVED = 3  # different entries that a feed has to show again under new names


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """``changes``: without a time of their own, the last one at ``last_change`` (Unix seconds)."""

    version: str
    stamp: str
    ending: str
    changes: int = 0
    last_change: int = 0
    earlier: tuple[str, ...] = ()

    @classmethod
    def of(cls, known: Sequence[str]) -> "Remembered":
        version, stamp, ending, *rest = known
        often = [each for each in rest if each.startswith(_OFTEN)]
        changes, last = often[0][len(_OFTEN) :].split(":") if often else ("0", "0")
        return cls(
            version=version,
            stamp=stamp,
            ending=ending,
            changes=int(changes),
            last_change=int(last),
            earlier=tuple(each for each in rest if not each.startswith(_OFTEN)),
        )

    @property
    def known(self) -> tuple[str, ...]:
        often = (f"{_OFTEN}{self.changes}:{self.last_change}",) if self.changes else ()
        return (self.version, self.stamp, self.ending, *often, *self.earlier)

    @property
    def past(self) -> tuple[str, ...]:
        """The earlier versions once this one is over."""
        return (*([f"{self.version}@{self.stamp}"] if self.version else []), *self.earlier)[:EARLIER]

    @property
    def stands(self) -> bool:
        return not self.ending.startswith(NOWHERE)

    @property
    def between(self) -> bool:
        """Are the old words gone and the new ones not yet told?"""
        return not self.version

    def is_over(self, version: str, stamp: str, now: datetime) -> bool:
        """Is it of an old copy? None is served for hours, and none is the newer one by its own time."""
        if f"{version}@{stamp}" not in self.earlier:
            return False
        if stamp == self.stamp:
            return timedelta(0) <= timedelta(seconds=int(now.timestamp()) - self.last_change) < SLOWEST
        return not (self.stamp and stamp and int(self.stamp) < int(stamp) <= now.timestamp())

    def may_change(self, now: datetime) -> bool:
        """The first changes come at once; where they do not end, ever more seldom, as a page with a counter may."""
        if not self.changes:
            return True
        wait = min(SOONEST * 2 ** (self.changes - 1), SLOWEST)
        return not timedelta(0) <= timedelta(seconds=int(now.timestamp()) - self.last_change) < wait

    def changes_after(self, now: datetime) -> int:
        """With one more; a quiet day makes the others forgotten."""
        quiet = timedelta(seconds=int(now.timestamp()) - self.last_change) >= timedelta(days=1)
        return 1 if quiet else min(self.changes + 1, 10)

    def next_ending(self, stamp: str) -> str:
        """Later than the one before, whoever's clock that was by."""
        before = self.ending.partition(post.VERSION)[2]
        return f"{post.VERSION}{max(int(stamp), int(before) + 1) if before else stamp}"


def stamp(entry: Entry) -> str:
    return "" if entry.updated is None else f"{entry.updated.timestamp():.0f}"


def shared(known: Known) -> dict[str, str]:
    """Names that are shared, as ``feed_names`` has them."""
    return {key.removeprefix(_SHARED): value[0] for key, value in known.items() if key.startswith(_SHARED)}


def reading(entries: Sequence[Entry], ways: dict[str, str]) -> dict[str, tuple[str, ...]]:
    """What there is to know of a reading as a whole."""
    names: dict[str, tuple[str, ...]] = {f"{_SHARED}{key}": (way,) for key, way in ways.items()}
    return {**names, _SHOWN: (str(len(entries)),)} if entries else names


def carried(entries: Sequence[Entry], known: Known) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """What is known, with entries that went by another of their own names under the one that they have now; and the
    keys that are over. What was told under the other name stays."""
    found, over = dict(known), []
    present = {entry.key for entry in entries}
    for entry in entries:
        if entry.key in found:
            continue
        for key in map(feed_names.digest, feed_names.others(entry)):
            if key in found and key not in present and found[key][:2] == (entry.version, stamp(entry)):
                found[entry.key] = replace(Remembered.of(found.pop(key)), ending=NOWHERE).known
                over.append(key)
                break
    return found, over


def renamed(entries: Sequence[Entry], strangers: Iterable[Entry], known: Known) -> tuple[set[str], bool]:
    """Keys of entries that went by other names in the reading before, and whether the feed as a whole has moved.

    Words come again, so that alike is not enough. It is one entry where the old one has just left the feed and a time
    to the minute is the same too; and all that are alike are, where a feed shows only strangers and most of them were
    in the reading before.
    """
    left = Counter((found[0], found[1]) for found in _before(entries, known))
    alike = []
    for entry in strangers:
        what = (entry.version, stamp(entry))
        if left[what] > 0:
            left[what] -= 1
            alike.append(entry)
    seen = {entry.key for entry in entries} & known.keys()
    different = {(entry.version, stamp(entry)) for entry in alike}
    if not seen and len(different) >= _MOVED and 2 * len(alike) > len(entries):
        return {entry.key for entry in alike}, True
    return {entry.key for entry in alike if _exact(entry)}, False


def _before(entries: Sequence[Entry], known: Known) -> Iterable[tuple[str, ...]]:
    """Of the reading before, what has left the feed: what is known stands in the order in which it was last seen."""
    shown = int(known.get(_SHOWN, ("0",))[0])
    present = {entry.key for entry in entries}
    last = islice((key for key in reversed(list(known)) if not key.startswith((_SHARED, _SHOWN))), shown)
    return (known[key] for key in last if key not in present)


def _exact(entry: Entry) -> bool:
    """Is its time more than a date or an hour?"""
    return entry.updated is not None and bool(entry.updated.minute or entry.updated.second)
