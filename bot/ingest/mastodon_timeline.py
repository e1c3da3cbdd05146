"""Where one reading of a Mastodon timeline is, and what it knows of its statuses. No I/O, no clock."""

import math
from collections import deque
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from bot.domain import errors, post
from bot.ingest import mastodon_statuses
from bot.ingest.mastodon_statuses import Status
from bot.ingest.recent import Recent

REWIND = timedelta(minutes=2)
MARK_EVERY_S = 300.0
KNOWN = 131_072  # statuses whose local ids are remembered
RUN = 8  # statuses in a row that came late from elsewhere, each, before we think that this is where we are

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Right after which local id; ``seen_ms``: until when (Unix milliseconds) we have heard everything."""

    id: str
    seen_ms: int

    @property
    def cursor(self) -> str:
        return f"{self.id}@{self.seen_ms}"

    @property
    def seen_at(self) -> datetime:
        return datetime.fromtimestamp(self.seen_ms / 1000, UTC)

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Raises UsageError for a cursor that this source has not written."""
        local_id, _, milliseconds = cursor.partition("@")
        try:
            position = cls(id=mastodon_statuses.local_id(local_id.encode()), seen_ms=int(milliseconds))
            _ = position.seen_at
        except (ValueError, OverflowError, OSError):
            raise errors.UsageError(f"the cursor {cursor!r} is none of Mastodon's; was the source renamed?") from None
        return position


class Timeline:
    """Turns statuses and deletions into arrivals, each once."""

    def __init__(self, *, name: str, provider: str, prefix: str = "", position: Position | None) -> None:
        """``prefix``: what the local ids begin with where they are stored."""
        self.position = position
        self._name = name
        self._prefix = prefix
        self._provider = provider
        self._marked = -math.inf
        self._floor = ""  # where this reading began, if it began at the present
        self._latest: deque[str] = deque([] if position is None else [position.id], RUN)
        self._known: Recent[tuple[str, int]] = Recent(KNOWN)  # local id → uri, version

    def start(self, id: str, now: datetime) -> None:
        self.position = Position(id=id, seen_ms=_ms(now))
        self._floor = id
        self._latest.append(id)

    def heard(self, now: datetime) -> None:
        """Until ``now`` nothing is missing."""
        if self.position is not None:
            self.position = replace(self.position, seen_ms=_ms(now))

    def outage(self, now: datetime, server_now: datetime) -> tuple[datetime, datetime]:
        """From when to when we heard nothing. Where our clock was set back meanwhile, nobody knows when: then all the
        time that it can have been, by any of the clocks."""
        assert self.position is not None
        seen_at = self.position.seen_at
        if seen_at <= now:
            return seen_at, now
        at = mastodon_statuses.id_time(self.position.id)
        return now if at is None else min(at, now), max(seen_at, server_now)

    def rewound(self, now: datetime, server_now: datetime) -> str:
        """From which id to fetch. Where the instance's clock was set back, its ids since then are lower than ours: then
        from as long before its present time as the outage took."""
        assert self.position is not None
        at = mastodon_statuses.id_time(self.position.id)
        if at is None:
            return self.position.id
        if server_now < at:
            since, until = self.outage(now, server_now)
            return mastodon_statuses.first_id(server_now - (until - since) - REWIND)
        return max(mastodon_statuses.first_id(at - REWIND), self._floor, key=mastodon_statuses.order)

    def add(self, status: Status, now: datetime, *, edited: bool) -> list[post.Arrival]:
        """``edited``: the stream says that it is one that we may have; without a new version, it is told again (a quote
        of it was allowed, say)."""
        if not edited:
            self._move(status.local_id)
        return self._tell(status, now, edited=edited)

    def recall(self, local_id: str, id: str) -> None:
        """Of a status of an earlier reading, which post is kept."""
        if local_id not in self._known:
            self._known.put(local_id, mastodon_statuses.split(id))

    def knows(self, local_id: str) -> bool:
        return local_id in self._known

    def found(self, status: Status, now: datetime) -> list[post.Arrival]:
        """What has become of one that is known: edited, or not for everybody any more."""
        known = self._known.get(status.local_id)
        if known is None or known[0] != status.uri:
            return []
        return self.delete(status.local_id, now) if status.post is None else self._tell(status, now)

    def _tell(self, status: Status, now: datetime, *, edited: bool = False) -> list[post.Arrival]:
        known = self._known.get(status.local_id)
        if status.post is None and (known is not None or (edited and not status.version)):
            self._known.pop(status.local_id)
            return [self._arrival(self._deletion(status.uri, now), now)]
        if known is not None and status.version <= known[1]:
            return []
        gone = {status.uri} if status.version else set()
        if known is not None:
            gone.add(mastodon_statuses.versioned(*known))
        new = mastodon_statuses.versioned(status.uri, status.version) if status.version else None
        arrivals = [self._arrival(self._deletion(each, now, replaced_by=new), now) for each in sorted(gone)]
        if status.post is None:
            return arrivals
        self._known.put(status.local_id, (status.uri, status.version))
        parent = None if status.reply_to is None else self._known.get(status.reply_to)
        item = status.post if parent is None else replace(status.post, reply_to=parent[0])
        return [*arrivals, replace(self._arrival(item, self._at(now)), local_id=f"{self._prefix}{status.local_id}")]

    def delete(self, local_id: str, now: datetime) -> list[post.Arrival]:
        known = self._known.pop(local_id)
        if known is None:
            return []
        uri, _ = known  # with all its versions, whichever of them this instance was told of
        return [self._arrival(self._deletion(uri, now), now)]

    def gap(self, since: datetime, until: datetime, reason: str, at: datetime) -> post.Arrival:
        """``at``: since when we hear everything again."""
        self.heard(at)
        log.warning("source_gap", source=self._name, since=since, until=until, reason=reason)
        return self._arrival(post.Gap(since=since, until=until, reason=reason), at)

    def mark(self, now: datetime, mono: float) -> post.Arrival | None:
        """Every few minutes, how far we have heard: after a restart the outage begins there, not at the last post."""
        if mono - self._marked < MARK_EVERY_S:
            return None
        self._marked = mono
        return self._arrival(post.Mark(), now)

    def _deletion(self, id: str, now: datetime, *, replaced_by: str | None = None) -> post.Deletion:
        return post.Deletion(provider=self._provider, id=id, deleted_at=now, replaced_by=replaced_by)

    def _arrival(self, item: post.Post | post.Deletion | post.Gap | post.Mark, at: datetime) -> post.Arrival:
        assert self.position is not None
        return post.Arrival(source=self._name, cursor=self.position.cursor, item=item, at=at)

    def _move(self, local_id: str) -> None:
        """To the greatest of the last few: what came late from elsewhere has an earlier number."""
        assert self.position is not None
        self._latest.append(local_id)
        self.position = replace(self.position, id=max(self._latest, key=mastodon_statuses.order))

    def _at(self, now: datetime) -> datetime:
        """The instance's own time of where we are."""
        assert self.position is not None
        at = mastodon_statuses.id_time(self.position.id)
        return now if at is None else min(at, now)


def _ms(when: datetime) -> int:
    return int(when.timestamp() * 1000)
