"""Where a reading of Jetstream is: after which event, what it has seen, what it doubts. No I/O, no clock.

Resuming. A v1 cursor is a time: we go back 5 s (60 s at another host, whose clock and lag are its own) and drop what
we have seen. A v2 cursor is a number of one host: there we go on exactly after it; at another host, or where the number
is too old or unknown, we go back by time, which v2 accepts as well. A restarted process has seen nothing yet, so with
v1 it repeats up to 5 s (60 s with several hosts) of posts; the store knows them by their ids.

Gaps. Servers keep some 36 hours. v2 says when it cannot go back so far, v1 does not: there, a cursor older than that,
or an answer that begins well after the last event that we had, is a gap, because that event itself was asked for again.
A gap runs from that event to the first one of the answer. It is an item like any other, so that it is recorded with the
cursor that passes it.

Wrong clocks. What comes with a time in the future is taken as of now, and moves the cursor to a little before our now:
its own time may be a mistake, and what the server dates from now on has to come again after a break. Whether something
is missing is told by the server's times alone, whatever ours says; a process that starts while they are ahead of where
the last one was cannot tell, so that is a gap. v1 keeps the past by its time: where that jumps back, what the server
dated so before we came cannot be asked for any more, which is a gap; then we go on from there.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from bot.domain import errors, post
from bot.ingest import jetstream_frames
from bot.ingest.jetstream_frames import Frame, Notice

REWIND = timedelta(seconds=5)
REWIND_ELSEWHERE = timedelta(seconds=60)
KEPT = timedelta(hours=36)  # how far back Bluesky's own servers go
BACK_US = 60_000_000  # events are out of order by milliseconds; what is older than that comes of a clock that was set
DELAY_US = 300_000_000  # how long ago what we read now may have been sent
SEEN = 131_072  # event keys remembered: REWIND_ELSEWHERE at some 2,000 posts a second

log = structlog.get_logger()


class AskAgainError(Exception):
    """Connect again at once: the next request is another one."""


@dataclass(frozen=True, slots=True)
class Position:
    """Right after which event. ``seq`` counts at ``host`` only; ``time_us`` is that host's time.

    As a cursor: v1 ``1783175888085434``, v2 ``host:seq:time_us``. ``seen`` is False for the moment of the first
    connection, from which we go on if it breaks before its first event.
    """

    time_us: int
    host: str | None = None
    seq: int | None = None
    seen: bool = True

    @property
    def cursor(self) -> str:
        return str(self.time_us) if self.seq is None else f"{self.host}:{self.seq}:{self.time_us}"

    @classmethod
    def parse(cls, cursor: str) -> "Position":
        """Raises UsageError for a cursor that no version of this source has written."""
        head, _, time_us = cursor.rpartition(":")
        host, _, seq = head.rpartition(":")
        try:
            jetstream_frames.from_us(int(time_us))
            if head and not host:
                raise ValueError
            return cls(int(time_us), host, int(seq)) if head else cls(int(time_us))
        except (ValueError, OverflowError, OSError):
            raise errors.UsageError(f"the cursor {cursor!r} is none of Jetstream's; was the source renamed?") from None


class Stream:
    """One reading, from connection to connection. ``several``: are there other hosts to go on at?"""

    def __init__(self, name: str, position: Position | None, *, several: bool) -> None:
        self._name = name
        self._position = position
        self._several = several
        self._seen = _Seen(SEEN)
        self._too_old = 0  # how often the server refused to go back so far, since it last sent anything
        self._begun = False  # has this connection sent an event?
        self._tolerance = timedelta(0)
        self._doubt: str | None = None  # why we know that something is missing
        self._latest_us = 0  # by time: of the last event of this connection, or what it was asked for
        self._had: tuple[str, int] | None = None  # the host and the time that it gave to the last event
        self._asked_at: datetime | None = None
        self.asked_back = False
        self.skipped = 0  # posts that are not for us

    def ask(self, host: str, now: datetime, *, by_number: bool) -> int | None:
        """The cursor that goes on where we are, None for the present; called once for each connection."""
        self._latest_us, self._asked_at = 0, now
        cursor = self._cursor(host, now, by_number=by_number)
        self._begun = False
        self._doubt = "the server no longer keeps what followed" if self._too_old else None
        self.asked_back = cursor is not None
        return cursor

    def _cursor(self, host: str, now: datetime, *, by_number: bool) -> int | None:
        position = self._position
        if position is None:
            return None
        here = position.host == host
        if by_number and here and position.seq is not None and self._too_old == 0:
            return position.seq
        if self._too_old > 1:
            return None
        somewhere = here or (position.host is None and not self._several)
        overdue = now - jetstream_frames.from_us(position.time_us) > KEPT
        rewind = REWIND if somewhere else REWIND_ELSEWHERE
        self._tolerance = timedelta(0) if overdue else rewind
        self._latest_us = max(position.time_us - rewind // timedelta(microseconds=1), 0)
        return self._latest_us

    @property
    def here(self) -> Position | None:
        """After the last event; None before there was one."""
        return self._position if self._position is not None and self._position.seen else None

    def connected(self, now: datetime) -> None:
        if self._position is None:
            self._position = Position(round(now.timestamp() * 1_000_000), seen=False)

    def ask_less(self) -> bool:
        """The server refused our cursor as too old: by time then, at last for the present. False: nothing is left."""
        if self._position is None or self._too_old > 1:
            return False
        self._too_old += 2 if self._position.seq is None or self._too_old else 1
        return True

    def heed(self, notice: Notice) -> None:
        """Raises AskAgainError where our cursor means nothing to this server."""
        if notice.name == "OutdatedCursor":
            self._doubt = "the server no longer keeps what followed"
        elif notice.name == "FutureCursor" and self._position is not None and self._position.seq is not None:
            # Another archive under the same name: its numbers mean nothing to us, its times do.
            self._position = replace(self._position, host="", seq=None)
            raise AskAgainError

    def take(self, frame: Frame, host: str, *, dated: Frame | None = None) -> Sequence[post.Arrival]:
        """What ``frame`` adds, a gap before it included; nothing where we have seen it. ``dated``: the same as of our
        own time, where the frame's is in the future."""
        told = frame if dated is None else dated
        before = self._position
        seq = frame.seq
        if seq is not None and before is not None and before.seq and seq <= before.seq and before.host == host:
            self._begun = True
            return ()
        back = frame.time_us < self._latest_us - BACK_US and (seq is None or not self._begun)
        arrivals = [] if self._begun and not back else self._gap(before, frame, told, host, back=back)
        self._begun, self._too_old = True, 0
        self._position = position = _moved(before, told, host, back=back, ours=dated is not None)
        self._latest_us = frame.time_us if dated is None else max(self._latest_us, told.time_us - DELAY_US)
        self._had = (host, frame.time_us)
        if frame.key is not None and not self._seen.add(frame.key):
            return arrivals
        if frame.skipped:
            self.skipped += 1
        last = len(told.items) - 1
        for number, item in enumerate(told.items):
            # Resumed between two items, the whole frame comes again.
            at = position if number == last or seq is None else replace(position, seq=seq - 1)
            arrivals.append(post.Arrival(source=self._name, cursor=at.cursor, item=item, at=told.at))
        return arrivals

    def _gap(self, before: Position | None, frame: Frame, told: Frame, host: str, *, back: bool) -> list[post.Arrival]:
        """Is something missing between where we were and the first event of this connection, or that of a clock that
        was set ``back``?"""
        if before is None or not before.seen or not (self.asked_back or self._doubt):
            return []
        since, until = jetstream_frames.from_us(before.time_us), told.at
        if back:
            since, until = until, since if self._asked_at is None else max(since, self._asked_at)
            reason = "the server's clock was set back"
        else:
            by_number = frame.seq is not None and before.seq is not None and before.host == host and not self._doubt
            missing = timedelta(
                microseconds=frame.time_us - self._heard_us(before, frame, host, ours=told is not frame)
            )
            if by_number or missing <= (timedelta(0) if self._doubt else self._tolerance):
                return []
            reason = self._doubt or "the server did not go back as far as it was asked to"
            until = until if until > since else frame.at
        gap = post.Gap(since=since, until=until, reason=reason)
        log.warning("source_gap", source=self._name, since=gap.since, until=gap.until, reason=gap.reason)
        passed = Position(told.time_us, host, None if frame.seq is None else frame.seq - 1)
        return [post.Arrival(source=self._name, cursor=passed.cursor, item=gap, at=told.at)]

    def _heard_us(self, before: Position, frame: Frame, host: str, *, ours: bool) -> int:
        """Until when, by the server's time: where that lies in the future, our position does not tell."""
        if self._had is None or self._had[0] != host or (self._had[1] > frame.time_us and not ours):
            return before.time_us
        return max(self._had[1], before.time_us)


def _moved(before: Position | None, told: Frame, host: str, *, back: bool, ours: bool) -> Position:
    """Right after ``told``. By time we go back only where a clock was set ``back``: events may arrive milliseconds out
    of order, and while another host repeats what we had, we are where the first one left us. ``ours``: its time is our
    own, which says nothing about where we were.
    """
    if before is None or back or (told.seq is not None and not ours):
        return Position(told.time_us, host, told.seq)
    if ours:
        return Position(max(told.time_us - DELAY_US, before.time_us), host, told.seq)
    if before.seen and told.time_us < before.time_us:
        return before
    return Position(told.time_us, host, told.seq)


class _Seen:
    """The last ``size`` keys."""

    def __init__(self, size: int) -> None:
        self._keys: set[str] = set()
        self._order: deque[str] = deque()
        self._size = size

    def add(self, key: str) -> bool:
        """Is ``key`` new?"""
        if key in self._keys:
            return False
        self._keys.add(key)
        self._order.append(key)
        if len(self._order) > self._size:
            self._keys.discard(self._order.popleft())
        return True
