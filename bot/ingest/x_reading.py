"""Where one reading of X's stream is: until when all was heard, what is missing, which posts were seen. No I/O.

Its time is X's own, as the answers that open the stream are dated, and goes on by a clock that nobody sets: our clock
may be wrong at any time, and so may the ids and the dates of posts. What survives a restart is in ``x_cursor``.

Rules. While one of ours is not there, X sends nothing for it; from when on, nobody says. So where one was missing, or
is there under a new id, the gap begins when the rules were last seen to be as we knew them, and until that gap is
recorded the cursor goes on to say so.
"""

from datetime import datetime, timedelta

import structlog

from bot.domain import post
from bot.ingest import x_cursor, x_posts
from bot.ingest.recent import Recent
from bot.ingest.x_rules import Kept

SEEN = 65_536  # ids remembered: 5 minutes of backfill at 200 posts a second
MARK_EVERY_S = 300.0
LATE = timedelta(seconds=10)  # a post is sent up to so long after it was written; X gives 6 to 7 s for 99 %
DATED = timedelta(seconds=1)  # an answer's date has whole seconds
ODD = timedelta(minutes=1)  # what two clocks of X's may differ
QUIET_S = 10.0  # a keep-alive after so long without a post: no backfill is on its way
WAITED_S = 1.0  # what had to be waited for for so long has nothing older behind it, in no buffer

log = structlog.get_logger()


class Reading:
    """``rules``: the ids of ours; ``asked`` and ``spent_s``: how far stored posts were asked about again, as the cursor
    has it. ``connected_at`` and each ``mono`` are of the clock that nobody sets, in seconds."""

    def __init__(self, *, name: str, provider: str, after: str | None) -> None:
        """Raises UsageError for a cursor that this source has not written."""
        self.rules: frozenset[str] | None = None
        self.connected_at: float | None = None
        self._name = name
        self._provider = provider
        start = None if after is None else x_cursor.parse(after)
        self._heard = None if start is None else start.heard  # nothing is missing until then; None: never connected
        self._heard_mono: float | None = None  # the same on the clock that nobody sets; None after a restart
        self._rules_at = None if start is None else start.checked  # when they were last as we know them
        self._newest_rule = 0 if start is None else start.rule
        self._new_rules: tuple[datetime, int] | None = None  # the same of rules whose gap is not told yet
        self.asked = None if start is None else start.asked
        self.spent_s = 0.0 if start is None else float(start.spent_s)
        self._asked_back = timedelta(0)
        self._backfilling_until: float | None = None
        self._dated: datetime | None = None  # X's own time at ``connected_at``
        self._post_mono = 0.0
        self._newest: datetime | None = None  # when the last post of this connection was written, as X has it
        self._marked = 0.0
        self._seen: Recent[bool] = Recent(SEEN)

    def found(self, kept: Kept, at: datetime) -> None:
        """The rules, at ``at`` by X's clock."""
        newest = max((int(each) for each in kept.ids if x_cursor.digits(each)), default=0)
        self.rules = kept.ids
        if kept.added or self._new_rules is not None or 0 < self._newest_rule < newest:
            self._new_rules = at, newest
        else:
            self._rules_at, self._newest_rule = at, newest

    def new_rules(self, now: datetime) -> post.Arrival | None:
        """While connected: the gap where rules had to be set again."""
        if self._new_rules is None:
            return None
        (until, _), since = self._new_rules, self._rules_at
        self._know_rules()
        wrong = since is not None and since - until > ODD
        return self._gap(
            since=None if since is None or wrong else min(since, until) - LATE,
            until=until + DATED,
            reason="X did not have all of our rules",
            now=now,
        )

    def ask_back(self, most: timedelta, mono: float) -> int:
        """How many minutes to ask for again: all that there is after a restart, since only X knows how long it took."""
        self._asked_back = timedelta(0)
        if self._heard is not None:
            self._asked_back = most
        if self._heard_mono is not None:
            outage = timedelta(seconds=mono - self._heard_mono) + LATE
            self._asked_back = min(most, timedelta(minutes=outage // timedelta(minutes=1) + 1))
        return self._asked_back // timedelta(minutes=1)

    def resumed(self, date: datetime, now: datetime, mono: float) -> post.Arrival | None:
        """We are connected, at ``date`` by X's clock. What is to be told: the gap where something is missing, and that
        we begin where we do."""
        back, rules_are_new, rules_at = self._asked_back, self._new_rules is not None, self._rules_at
        self._dated, self.connected_at, self._newest = date, mono, None
        self._post_mono = self._marked = mono
        self._backfilling_until = mono + back.total_seconds() if back else None
        self._know_rules()
        if self._heard is None:
            self._heard, self._heard_mono = date, mono
            return self._arrival(post.Mark(), now)
        missed = date - self._heard
        if self._heard_mono is not None:
            missed = max(missed, timedelta(seconds=mono - self._heard_mono))
        unknown = missed < -ODD
        missed = back if unknown else max(missed, timedelta(0))
        kept = min(missed, back)
        self._heard, self._heard_mono = date - kept, mono - kept.total_seconds()
        if missed + LATE <= back and not (unknown or rules_are_new):
            return None
        reason = "not connected"
        if unknown:
            reason = "not connected since an unknown time: a clock was wrong"
        elif rules_are_new:
            reason = "not connected, with rules that X did not have"
        elif back:
            reason = "not connected for longer than is sent again"
        since = date - missed
        if rules_are_new and rules_at is not None:
            since = min(since, rules_at)
        return self._gap(
            since=None if unknown else since - LATE,
            until=date + DATED - (timedelta(0) if rules_are_new else back),
            reason=reason,
            now=now,
        )

    def listened(self, mono: float, waited_s: float) -> None:
        """All that was read by then is through. It says nothing while older posts may still come, and where more may
        lie in a buffer, no more than the last post says."""
        if self._backfilling_until is not None and mono < self._backfilling_until:
            return
        if self._dated is None or self.connected_at is None or self._heard is None:
            return
        self._backfilling_until = None
        theirs = self._dated + timedelta(seconds=mono - self.connected_at)
        heard = theirs if waited_s >= WAITED_S else min(theirs, self._newest or self._heard)
        if heard >= self._heard:
            self._heard, self._heard_mono = heard, mono - (theirs - heard).total_seconds()

    def kept_alive(self, mono: float) -> None:
        if mono - self._post_mono >= QUIET_S:
            self._backfilling_until = None

    def mark(self, now: datetime, mono: float) -> post.Arrival | None:
        """Every few minutes, how far we have heard: after a restart the gap begins there, not at the last post."""
        if self._heard is None or mono - self._marked < MARK_EVERY_S:
            return None
        self._marked = mono
        return self._arrival(post.Mark(), now)

    def take(self, line: x_posts.Line, now: datetime, mono: float) -> tuple[list[post.Arrival], bool]:
        """What ``line`` adds; and whether it was left out."""
        item = line.post
        self._post_mono, self._newest = mono, x_posts.id_time(item.id)
        if item.id in self._seen:
            return [], False
        self._seen.put(item.id, True)
        for older in line.older:
            self._seen.put(older, True)
        arrivals = [self.deletion(older, now, replaced_by=item.id) for older in line.older]
        others = line.rules and self.rules is not None and not line.rules & self.rules
        if others or line.withheld:
            return arrivals, True
        return [*arrivals, self._arrival(item, now)], False

    def deletion(self, id: str, now: datetime, *, replaced_by: str | None = None) -> post.Arrival:
        gone = post.Deletion(provider=self._provider, id=id, deleted_at=now, replaced_by=replaced_by)
        return self._arrival(gone, now)

    def asked_about(self, asked: str | None, now: datetime) -> post.Arrival:
        """All that was found about stored posts down to this one has been told; None: about all of them."""
        self.asked = asked
        return self._arrival(post.Mark(), now)

    def _know_rules(self) -> None:
        if self._new_rules is not None:
            self._rules_at, self._newest_rule = self._new_rules
            self._new_rules = None

    def _gap(self, *, since: datetime | None, until: datetime, reason: str, now: datetime) -> post.Arrival:
        log.warning("source_gap", source=self._name, since=since, until=until, reason=reason)
        return self._arrival(post.Gap(since=since, until=until, reason=reason), now)

    def _arrival(self, item: post.Post | post.Deletion | post.Gap | post.Mark, at: datetime) -> post.Arrival:
        cursor = x_cursor.Cursor(
            heard=at if self._heard is None else self._heard,
            asked=self.asked,
            spent_s=int(self.spent_s),
            checked=self._rules_at,
            rule=self._newest_rule,
        )
        return post.Arrival(source=self._name, cursor=str(cursor), item=item, at=at)
