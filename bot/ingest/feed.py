"""Any RSS or Atom feed, asked as often as it changes: between once a minute and once an hour.

A new feed tells what is younger than an hour; everything else in it counts as seen. An entry whose words change under
the same id is a Deletion of the old words; the new ones follow as ``ID#v:time`` where the feed says when it changed.
An entry that leaves the feed has scrolled off and stays. Where nothing of what was known is left in the feed, entries
may have come and gone unread: a Gap.

An entry that goes back to the words and the time that it had before is of an old copy of the feed, as a cache may serve
it: it says nothing. One that is new, but has the words and the time of a known one that has left the feed, is that one
under a new id, as after a move to other software; it is not told again, and its old words stay if it is edited.

Known of each entry: its version, when it was changed (Unix seconds, empty where it does not say), and under what
ending of its id it stands: ``-`` for none of them, since it was only seen or its new words were not taken up. Then the
versions before with their times, the latest first.
"""

from datetime import datetime, timedelta
from typing import Any

from yarl import URL

from bot.domain import post
from bot.ingest import feed_entries
from bot.ingest.feed_entries import Entry
from bot.ingest.polling import Asked, PollingSource, Step, Told

FRESH = timedelta(hours=1)
EARLIER = 5  # versions of an entry that are known to be over
_NOWHERE = "-"


class Entries:
    """The Reading. ``official``: the publisher speaks for an authority; its posts count as verified."""

    floor_s = 60.0
    ceiling_s = 3_600.0
    accept = "application/atom+xml, application/rss+xml, application/xml;q=0.9, */*;q=0.1"

    def __init__(self, provider: str, *, official: bool) -> None:
        self._provider = provider
        self._official = official

    def address(self, url: URL, away: timedelta | None) -> URL:  # noqa: ARG002
        return url

    def read(self, body: bytes, charset: str | None, asked: Asked) -> Told:
        entries, dropped = feed_entries.decode(body, charset, asked.address)
        renamed = _renamed(entries, asked)
        steps = [] if renamed else self._gap(entries, asked)
        for entry in _oldest_first(entries):
            if entry.key in renamed:
                steps.append(Step(remember={entry.key: (entry.version, _stamp(entry), _NOWHERE)}))
            else:
                steps += self._steps(entry, asked)
        return Told(steps=tuple(steps), dropped=dropped)

    def _gap(self, entries: list[Entry], asked: Asked) -> list[Step]:
        """Until now, since when the oldest entry that is left was written is only its author's claim."""
        if asked.since is None or not asked.known or any(entry.key in asked.known for entry in entries):
            return []
        if not entries:
            return []
        reason = "nothing that was known is left in the feed: what came and went in between is unknown"
        return [Step(item=post.Gap(since=asked.since, until=asked.now, reason=reason))]

    def _steps(self, entry: Entry, asked: Asked) -> list[Step]:
        stamp = _stamp(entry)
        known = asked.known.get(entry.key)
        if known is None:
            stale = asked.since is None and entry.published is not None and asked.now - entry.published > FRESH
            if stale or (asked.since is None and entry.published is None):
                return [Step(remember={entry.key: (entry.version, stamp, _NOWHERE)})]
            return [self._told(entry, "", stamp, asked.now)]
        version, before, ending, *earlier = known
        if version == entry.version or f"{entry.version}@{stamp}" in earlier:
            return [Step(remember={entry.key: known})]
        newer = bool(stamp) and (not before or int(stamp) > int(before))
        new = f"{post.VERSION}{stamp}"
        earlier = [*([f"{version}@{before}"] if version else []), *earlier][:EARLIER]
        rest = {entry.key: (entry.version, stamp or before, _NOWHERE, *earlier)}
        if ending == _NOWHERE:
            return [self._told(entry, new, stamp, asked.now, *earlier)] if newer else [Step(remember=rest)]
        gone = post.Deletion(
            provider=self._provider,
            id=f"{entry.id}{ending}",
            deleted_at=asked.now,
            replaced_by=f"{entry.id}{new}" if newer else None,
        )
        if not newer:
            return [Step(item=gone, remember=rest)]
        halfway = {entry.key: ("", before, _NOWHERE, *earlier)}
        return [Step(item=gone, remember=halfway), self._told(entry, new, stamp, asked.now, *earlier)]

    def _told(self, entry: Entry, ending: str, stamp: str, now: datetime, *earlier: str) -> Step:
        written = entry.updated if ending else entry.published
        item = post.Post(
            provider=self._provider,
            id=f"{entry.id}{ending}",
            text=entry.text,
            created_at=min(written or now, now),
            received_at=now,
            author=entry.author or self._provider,
            langs=entry.langs,
            url=entry.url,
            lat=entry.lat,
            lon=entry.lon,
            media=entry.media,
            verified=self._official,
        )
        return Step(item=item, remember={entry.key: (entry.version, stamp, ending, *earlier)})


def source(name: str, url: str, *, provider: str, official: bool, **environment: Any) -> PollingSource:
    reading = Entries(provider, official=official)
    return PollingSource(name, url, reading, provider=provider, may_move=True, **environment)


def _stamp(entry: Entry) -> str:
    return "" if entry.updated is None else f"{entry.updated.timestamp():.0f}"


def _renamed(entries: list[Entry], asked: Asked) -> set[str]:
    """Without times the words are enough only where no entry of the feed is known by its id."""
    strangers = [entry for entry in entries if entry.key not in asked.known]
    if not strangers:
        return set()
    present = {entry.key for entry in entries}
    left = {tuple(known[:2]) for key, known in asked.known.items() if key not in present}
    return {
        entry.key
        for entry in strangers
        if (entry.version, _stamp(entry)) in left and (entry.updated is not None or len(strangers) == len(entries))
    }


def _oldest_first(entries: list[Entry]) -> list[Entry]:
    """Feeds begin with the newest; where the times say otherwise they are right."""
    turned = entries[::-1]
    times = {entry.id: entry.published for entry in turned if entry.published is not None}
    return sorted(turned, key=lambda entry: times[entry.id]) if len(times) == len(turned) else turned
