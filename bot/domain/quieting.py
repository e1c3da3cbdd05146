"""Quieting: what a channel has asked not to be told at once, until when, and what breaks through."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from bot.domain import errors, times
from bot.domain.alert import Alert, Kind, Level

MUTE_MOST = timedelta(days=7)  # a channel that is muted for ever is one that nobody misses until it is too late
DIGEST_DEFAULT = time(8, 0)  # when the next digest comes in a channel with a budget and without digests of its own
BUDGET_MOST = 1_000
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """From ``start`` to ``end`` of the channel's own time, past midnight where ``end`` is earlier. ``flash``: alerts of
    that level come all the same."""

    start: time
    end: time
    flash: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Quieting:
    """What one channel has set. ``digest``: times of the day at which everything comes, in one message; empty: at once.
    ``budget``: most messages about new events a day. ``zone``: an IANA time zone, in which hours and days are meant."""

    zone: str = "UTC"
    quiet: QuietHours | None = None
    digest: tuple[time, ...] = ()
    budget: int | None = None
    muted_until: datetime | None = None

    def describe(self) -> list[str]:
        """Lines for a person; none where nothing is set."""
        lines = []
        if self.muted_until is not None:
            lines.append(f"muted until {self.local(self.muted_until)}")
        if self.quiet is not None:
            through = "flash alerts come all the same" if self.quiet.flash else "without exception"
            lines.append(f"quiet hours {_clock(self.quiet.start)}–{_clock(self.quiet.end)} ({self.zone}), {through}")
        if self.digest:
            lines.append(f"digest at {', '.join(map(_clock, self.digest))} ({self.zone})")
        if self.budget is not None:
            lines.append(f"at most {self.budget} new events a day, the rest in the next digest")
        return lines

    def local(self, when: datetime) -> str:
        """``Wed 14 May, 07:00 (Europe/Dublin)``"""
        return f"{when.astimezone(ZoneInfo(self.zone)):%a %d %b, %H:%M} ({self.zone})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Not now: at ``until``, and the reason for a person."""

    until: datetime
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventMute:
    """One event's message, muted by ``by`` until a time, or (``level``) until the event is louder than that."""

    by: str
    until: datetime | None = None
    level: Level | None = None

    @property
    def why(self) -> str:
        return f"the event is muted by {self.by}"

    def silences(self, alert: Alert, at: datetime) -> bool:
        """Is the thread not told of this revision? Corrections and retractions always come."""
        if alert.kind in (Kind.CORRECTION, Kind.RETRACTION):
            return False
        if self.level is not None:
            return alert.level.rank <= self.level.rank
        return self.until is not None and at < self.until


def hold_post(settings: Quieting, alert: Alert, at: datetime, posted_today: int) -> Hold | None:
    """Does a new event's message wait? ``posted_today``: how many the channel has had since ``day_start``.

    Muted: it waits. Flash breaks through everything else, quiet hours only if they say so. Otherwise quiet hours, then
    digests, then the budget decide. Where there are digests, what was muted or quiet comes in the next one; none comes
    in quiet hours.
    """
    waits = _hold_anything(settings, alert, at)
    if alert.level is Level.FLASH or (waits is not None and not settings.digest):
        return waits
    if settings.digest:
        due = _digest_after(settings, alert, at if waits is None else waits.until - _TICK)
        return Hold(until=due, why=f"in the digest of {settings.local(due)}")
    if settings.budget is not None and posted_today >= settings.budget:
        due = _digest_after(settings, alert, at)
        return Hold(
            until=due,
            why=f"over the budget of {settings.budget} new events a day: in the digest of {settings.local(due)}",
        )
    return None


def hold_reply(settings: Quieting, alert: Alert, at: datetime) -> Hold | None:
    """Does what changed wait? Corrections and retractions never do, digests and budgets do not count."""
    return None if alert.kind in (Kind.CORRECTION, Kind.RETRACTION) else _hold_anything(settings, alert, at)


def next_digest(settings: Quieting, at: datetime) -> datetime:
    """The next time of a digest strictly after ``at``."""
    hours = settings.digest or (DIGEST_DEFAULT,)
    return min(_next(settings.zone, hour, at) for hour in hours)


def day_start(settings: Quieting, at: datetime) -> datetime:
    """The beginning of the channel's own day."""
    local = at.astimezone(ZoneInfo(settings.zone))
    return _resolve(local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0))


def day_end(settings: Quieting, at: datetime) -> datetime:
    """The end of the channel's own day."""
    return _next(settings.zone, time(0, 0), at)


def parse_clock(text: str) -> time:
    """``7``, ``07:30`` or ``19.15``; raises UsageError."""
    found = re.fullmatch(r"(\d{1,2})(?:[:.](\d{2}))?", text.strip())
    if found is None or int(found[1]) > 23 or int(found[2] or 0) > 59:
        raise errors.UsageError(f"{text!r} is not a time of the day; write 07:00 or 22:30")
    return time(int(found[1]), int(found[2] or 0))


def parse_hours(text: str) -> tuple[time, time]:
    """``22:00-07:00``; raises UsageError."""
    parts = re.split(r"\s*(?:-|–|—|to)\s*", text.strip())
    if len(parts) != 2:
        raise errors.UsageError(f"{text!r} is not a span of hours; write 22:00-07:00")
    start, end = map(parse_clock, parts)
    if start == end:
        raise errors.UsageError("quiet hours that begin and end at the same time would be the whole day; mute instead")
    return start, end


def check_zone(name: str) -> str:
    """Return the IANA name of the zone or raise UsageError."""
    try:
        return ZoneInfo(name).key
    except (KeyError, ValueError, OSError):
        raise errors.UsageError(f"time zone {name!r} is not known; write one like Europe/Dublin or UTC") from None


def to_spec(settings: Quieting) -> dict[str, Any]:
    """JSON-ready; the inverse of ``from_spec``."""
    quiet = settings.quiet
    return {
        "zone": settings.zone,
        "quiet": quiet and {"start": _clock(quiet.start), "end": _clock(quiet.end), "flash": quiet.flash},
        "digest": [_clock(each) for each in settings.digest],
        "budget": settings.budget,
        "muted_until": settings.muted_until and times.to_text(settings.muted_until),
    }


def from_spec(spec: dict[str, Any]) -> Quieting:
    """What is left out is not set."""
    quiet, muted = spec.get("quiet"), spec.get("muted_until")
    return Quieting(
        zone=spec.get("zone") or "UTC",
        quiet=quiet
        and QuietHours(start=parse_clock(quiet["start"]), end=parse_clock(quiet["end"]), flash=quiet["flash"]),
        digest=tuple(map(parse_clock, spec.get("digest") or ())),
        budget=spec.get("budget"),
        muted_until=times.from_text(muted) if muted else None,
    )


def _hold_anything(settings: Quieting, alert: Alert, at: datetime) -> Hold | None:
    """A mute that ends in quiet hours goes on as these."""
    muted = settings.muted_until if settings.muted_until is not None and at < settings.muted_until else None
    until = _quiet_until(settings, alert, muted or at)
    if until is not None:
        return Hold(until=until, why=f"quiet hours until {settings.local(until)}")
    return None if muted is None else Hold(until=muted, why=f"muted until {settings.local(muted)}")


def _quiet_until(settings: Quieting, alert: Alert, at: datetime) -> datetime | None:
    """When the quiet hours end that it is in; None outside of them."""
    quiet, zone = settings.quiet, ZoneInfo(settings.zone)
    if quiet is None or (quiet.flash and alert.level is Level.FLASH):
        return None
    today = at.astimezone(zone).date()
    for day in (today, today - timedelta(days=1)):
        start = _resolve(datetime.combine(day, quiet.start, zone))
        end = _resolve(datetime.combine(day + timedelta(days=quiet.end <= quiet.start), quiet.end, zone))
        if start <= at < end:
            return end
    return None


def _digest_after(settings: Quieting, alert: Alert, at: datetime) -> datetime:
    due = next_digest(settings, at)
    return _quiet_until(settings, alert, due) or due


def _next(zone: str, clock: time, at: datetime) -> datetime:
    """When it is ``clock`` in ``zone`` next, strictly after ``at``."""
    day = at.astimezone(ZoneInfo(zone)).date()
    for ahead in range(3):
        due = _resolve(datetime.combine(day + timedelta(days=ahead), clock, ZoneInfo(zone)))
        if due > at:
            return due
    raise AssertionError("a clock shows every time of the day within three days")


def _resolve(local: datetime) -> datetime:
    """As UTC; a time that the zone skips in spring comes that much later, of one that comes twice the first."""
    return local.astimezone(UTC)


def _clock(when: time) -> str:
    return f"{when:%H:%M}"
