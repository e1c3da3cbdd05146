"""Any RSS or Atom feed, asked as often as it changes: between once a minute and once an hour.

A new feed tells what is younger than an hour; everything else in it counts as seen. An entry whose words change under
the same id is a Deletion of the old words; the new ones follow as ``ID#v:time``, of the time that the feed says or else
of the reading. Changes without a time become the more seldom the more of them there are: some pages change at every
look; the last words win. An entry that leaves the feed has scrolled off and stays. Where nothing of what was known is
left in the feed, entries may have come and gone unread: a Gap.

An entry that goes back to the words and the time that it had before is of an old copy of the feed, as a cache may serve
it for some hours: it says nothing. One that goes by a new name, as after a move to other software, is not told again
(see ``feed_known``); its old words stay if it is edited.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from yarl import URL

from bot.domain import post
from bot.ingest import feed_entries, feed_known, feed_names
from bot.ingest.feed_entries import Entry
from bot.ingest.feed_known import NOWHERE, Remembered
from bot.ingest.polling import Asked, PollingSource, Step, Told

FRESH = timedelta(hours=1)


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
        decoded, dropped = feed_entries.decode(body, charset, asked.address)
        entries, ways = feed_names.told_apart(decoded, feed_known.shared(asked.known))
        known, over = feed_known.carried(entries, asked.known)
        steps = [Step(remember=feed_known.reading(entries, ways) | dict.fromkeys(over, ()))]
        strangers = [entry for entry in entries if entry.key not in known]
        renamed, moved = feed_known.renamed(entries, strangers, known)
        if entries and known and len(strangers) == len(entries) and not moved:
            steps += self._gap(asked)
        complete = True
        for entry in _oldest_first(entries):
            if entry.key in renamed:
                steps.append(_seen(entry))
            elif entry.key not in known:
                steps.append(self._new(entry, asked))
            else:
                before = Remembered.of(known[entry.key])
                stamp = feed_known.stamp(entry)
                if entry.version == before.version:
                    steps.append(Step(remember={entry.key: before.known}))
                elif before.is_over(entry.version, stamp, asked.now):
                    complete = complete and stamp != before.stamp
                    steps.append(Step(remember={entry.key: before.known}))
                elif _newer(entry, before) or before.between or before.may_change(asked.now):
                    steps += self._edited(entry, before, asked.now)
                else:
                    complete = False
                    steps.append(Step(remember={entry.key: before.known}))
        return Told(steps=tuple(steps), dropped=dropped, complete=complete)

    def _gap(self, asked: Asked) -> list[Step]:
        """Until now, since when the oldest entry that is left was written is only its author's claim."""
        if asked.since is None:
            return []
        reason = "nothing that was known is left in the feed: what came and went in between is unknown"
        return [Step(item=post.Gap(since=asked.since, until=asked.now, reason=reason))]

    def _new(self, entry: Entry, asked: Asked) -> Step:
        stale = entry.published is None or asked.now - entry.published > FRESH
        if asked.since is None and stale:
            return _seen(entry)
        after = Remembered(version=entry.version, stamp=feed_known.stamp(entry), ending="")
        return self._told(entry, after, asked.now)

    def _edited(self, entry: Entry, before: Remembered, now: datetime) -> list[Step]:
        stamp, said = feed_known.stamp(entry), _newer(entry, before)
        after = Remembered(
            version=entry.version,
            stamp=stamp or before.stamp,
            ending=before.next_ending(stamp if said else f"{now.timestamp():.0f}"),
            changes=before.changes if said else before.changes_after(now),
            last_change=before.last_change if said else int(now.timestamp()),
            earlier=before.past,
        )
        told = self._told(entry, after, now)
        if not before.stands:
            return [told]
        gone = post.Deletion(
            provider=self._provider,
            id=f"{entry.id}{before.ending}",
            deleted_at=now,
            replaced_by=f"{entry.id}{after.ending}",
        )
        halfway = replace(before, version="", ending=f"{NOWHERE}{before.ending}", earlier=before.past)
        return [Step(item=gone, remember={entry.key: halfway.known}), told]

    def _told(self, entry: Entry, after: Remembered, now: datetime) -> Step:
        written = entry.updated if after.ending else entry.published
        item = post.Post(
            provider=self._provider,
            id=f"{entry.id}{after.ending}",
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
        return Step(item=item, remember={entry.key: after.known})


def source(name: str, url: str, *, provider: str, official: bool, **environment: Any) -> PollingSource:
    reading = Entries(provider, official=official)
    return PollingSource(name, url, reading, provider=provider, may_move=True, **environment)


def _seen(entry: Entry) -> Step:
    seen = Remembered(version=entry.version, stamp=feed_known.stamp(entry), ending=NOWHERE)
    return Step(remember={entry.key: seen.known})


def _newer(entry: Entry, before: Remembered) -> bool:
    """Does it say that it was changed since?"""
    stamp = feed_known.stamp(entry)
    return bool(stamp) and (not before.stamp or int(stamp) > int(before.stamp))


def _oldest_first(entries: list[Entry]) -> list[Entry]:
    """Feeds begin with the newest; where the times say otherwise they are right."""
    turned = entries[::-1]
    times = {entry.id: entry.published for entry in turned if entry.published is not None}
    return sorted(turned, key=lambda entry: times[entry.id]) if len(times) == len(turned) else turned
