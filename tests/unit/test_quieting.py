import contextlib
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain import errors, quieting
from bot.domain.alert import Kind, Level
from bot.domain.quieting import EventMute, Hold, QuietHours, Quieting
from tests.factories import NOW, make_alert

DUBLIN = "Europe/Dublin"  # 12:00 UTC is 13:00 there in May
NIGHT = QuietHours(start=time(22, 0), end=time(7, 0))
FLASH = make_alert(level=Level.FLASH)


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def held_until(settings, alert=None, at=NOW, posted_today=0):
    hold = quieting.hold_post(settings, alert or make_alert(), at, posted_today)
    return None if hold is None else hold.until


def test_without_settings_nothing_waits():
    assert held_until(Quieting(), posted_today=10_000) is None
    assert quieting.hold_reply(Quieting(), make_alert(), NOW) is None


# ---- mutes, quiet hours, digests, budgets


def test_mute_holds_everything_until_it_ends_also_flash():
    settings = Quieting(muted_until=NOW + timedelta(hours=2))
    assert held_until(settings) == held_until(settings, FLASH) == NOW + timedelta(hours=2)
    assert held_until(settings, at=NOW + timedelta(hours=2)) is None


@pytest.mark.parametrize(
    ("at", "until"),
    [
        ("2031-05-14T20:59", None),  # 21:59 in Dublin
        ("2031-05-14T21:00", "2031-05-15T06:00"),
        ("2031-05-14T23:30", "2031-05-15T06:00"),
        ("2031-05-15T05:59", "2031-05-15T06:00"),
        ("2031-05-15T06:00", None),
    ],
)
def test_quiet_hours_pass_midnight_in_the_channels_own_time(at, until):
    settings = Quieting(zone=DUBLIN, quiet=NIGHT)
    assert held_until(settings, at=utc(at)) == (until and utc(until))


def test_quiet_hours_within_a_day():
    settings = Quieting(quiet=QuietHours(start=time(9, 0), end=time(17, 30)))
    assert held_until(settings, at=utc("2031-05-14T08:59")) is None
    assert held_until(settings, at=utc("2031-05-14T09:00")) == utc("2031-05-14T17:30")
    assert held_until(settings, at=utc("2031-05-14T17:30")) is None


def test_flash_breaks_through_quiet_hours_unless_they_say_no():
    at = utc("2031-05-14T23:00")
    assert held_until(Quieting(quiet=NIGHT), FLASH, at) is None
    strict = QuietHours(start=time(22, 0), end=time(7, 0), flash=False)
    assert held_until(Quieting(quiet=strict), FLASH, at) == utc("2031-05-15T07:00")


def test_digest_comes_at_its_next_time_and_flash_does_not_wait_for_it():
    settings = Quieting(digest=(time(8, 0), time(17, 30)))
    assert held_until(settings) == utc("2031-05-14T17:30")
    assert held_until(settings, at=utc("2031-05-14T17:30")) == utc("2031-05-15T08:00")
    assert held_until(settings, FLASH) is None


def test_budget_counts_and_its_rest_comes_in_the_next_digest():
    settings = Quieting(budget=3)
    assert held_until(settings, posted_today=2) is None
    assert held_until(settings, posted_today=3) == utc("2031-05-15T08:00")
    assert held_until(settings, FLASH, posted_today=3) is None
    assert held_until(Quieting(budget=3, digest=(time(17, 30),)), posted_today=3) == utc("2031-05-14T17:30")


# ---- combinations: nothing comes in quiet hours, muted hours, or beside a digest


def test_mute_that_ends_in_quiet_hours_goes_on_as_these():
    settings = Quieting(quiet=NIGHT, muted_until=utc("2031-05-14T23:30"))
    assert held_until(settings) == utc("2031-05-15T07:00")
    assert held_until(settings, FLASH) == utc("2031-05-14T23:30")
    assert quieting.hold_reply(settings, make_alert(), NOW).until == utc("2031-05-15T07:00")


def test_what_was_muted_or_quiet_comes_in_the_next_digest_and_not_before():
    settings = Quieting(quiet=NIGHT, digest=(time(8, 0),))
    assert held_until(settings, at=utc("2031-05-14T23:00")) == utc("2031-05-15T08:00")
    muted = Quieting(muted_until=NOW + timedelta(hours=1), digest=(time(13, 0), time(17, 30)))
    assert held_until(muted) == utc("2031-05-14T13:00"), "the digest that comes as the mute ends"


@pytest.mark.parametrize("settings", [Quieting(digest=(time(8, 0),)), Quieting(budget=1)])
def test_digest_does_not_come_in_quiet_hours(settings):
    late = QuietHours(start=time(22, 0), end=time(9, 30))
    quiet = Quieting(quiet=late, digest=settings.digest, budget=settings.budget)
    assert held_until(quiet, posted_today=1) == utc("2031-05-15T09:30")


CLOCKS = st.times().map(lambda each: each.replace(second=0, microsecond=0))
ZONES = st.sampled_from(["UTC", DUBLIN, "America/Havana", "Asia/Beirut", "Australia/Lord_Howe", "America/New_York"])


@st.composite
def settings_of(draw):
    start, end = draw(st.tuples(CLOCKS, CLOCKS).filter(lambda both: both[0] != both[1]))
    return Quieting(
        zone=draw(ZONES),
        quiet=draw(st.none() | st.booleans().map(lambda flash: QuietHours(start=start, end=end, flash=flash))),
        digest=tuple(sorted(draw(st.sets(CLOCKS, max_size=3)))),
        budget=draw(st.sampled_from([None, 1, 20])),
        muted_until=draw(st.none() | MOMENTS),
    )  # fmt: skip


MOMENTS = st.datetimes(datetime(2031, 1, 1), datetime(2032, 1, 1)).map(lambda each: each.replace(tzinfo=UTC))  # noqa: DTZ001


@given(settings_of(), MOMENTS, st.sampled_from(list(Level)), st.integers(0, 30))
def test_what_waits_waits_for_a_later_time_at_which_it_may_come(settings, at, level, posted_today):
    alert = make_alert(level=level)
    hold = quieting.hold_post(settings, alert, at, posted_today)
    if hold is None:
        return
    assert at < hold.until
    bound = max(at, settings.muted_until or at) + timedelta(days=3)
    assert hold.until <= bound
    plain = Quieting(zone=settings.zone, quiet=settings.quiet, muted_until=settings.muted_until)
    assert quieting.hold_post(plain, alert, hold.until, 0) is None, "released, it would come in quiet hours or a mute"


@given(settings_of())
def test_settings_survive_the_store(settings):
    assert quieting.from_spec(quieting.to_spec(settings)) == Quieting(
        zone=settings.zone, quiet=settings.quiet, digest=settings.digest, budget=settings.budget,
        muted_until=settings.muted_until and settings.muted_until.replace(
            microsecond=settings.muted_until.microsecond // 1000 * 1000
        ),
    )  # fmt: skip


def test_settings_that_say_nothing_are_the_defaults():
    assert quieting.from_spec({}) == Quieting()


# ---- days on which clocks change


def test_quiet_hours_that_end_in_the_hour_that_comes_twice_end_once():
    """Dublin, 26 October 2031: 01:00 to 02:00 comes twice."""
    settings = Quieting(zone=DUBLIN, quiet=QuietHours(start=time(22, 0), end=time(1, 30)))
    assert held_until(settings, at=utc("2031-10-26T00:10")) == utc("2031-10-26T00:30")
    assert held_until(settings, at=utc("2031-10-26T00:30")) is None
    assert held_until(settings, at=utc("2031-10-26T01:10")) is None, "the second 01:10 is not a day of quiet"


def test_quiet_hours_that_begin_or_end_in_the_hour_that_is_skipped():
    """Dublin, 30 March 2031: 01:00 to 02:00 does not come."""
    ends = Quieting(zone=DUBLIN, quiet=QuietHours(start=time(22, 0), end=time(1, 30)))
    assert held_until(ends, at=utc("2031-03-30T00:59")) == utc("2031-03-30T01:30")
    begins = Quieting(zone=DUBLIN, quiet=QuietHours(start=time(1, 30), end=time(2, 0)))
    for minute in range(0, 180, 10):
        until = held_until(begins, at=utc("2031-03-30T00:00") + timedelta(minutes=minute))
        assert until is None or until < utc("2031-03-30T03:00")


def test_digest_comes_once_on_the_days_on_which_clocks_change():
    settings = Quieting(zone=DUBLIN, digest=(time(1, 30),))
    for start in ("2031-03-28T12:00", "2031-10-24T12:00"):
        at, came = utc(start), []
        while len(came) < 4:
            at = quieting.next_digest(settings, at)
            came.append(at)
        days = [each.astimezone(ZoneInfo(DUBLIN)).date() for each in came]
        assert days == [days[0] + timedelta(days=n) for n in range(4)]


def test_the_channels_day_begins_once_where_midnight_comes_twice():
    """Havana, 2 November 2031: 00:00 to 01:00 comes twice."""
    settings = Quieting(zone="America/Havana")
    first = utc("2031-11-02T04:00")
    for minutes in (0, 30, 61, 90, 600):
        assert quieting.day_start(settings, first + timedelta(minutes=minutes)) == first
    assert quieting.day_end(settings, first + timedelta(minutes=90)) == utc("2031-11-03T05:00")


def test_the_channels_day_begins_after_a_midnight_that_is_skipped():
    """Beirut, 30 March 2031: the day begins at 01:00."""
    settings = Quieting(zone="Asia/Beirut")
    assert quieting.day_start(settings, utc("2031-03-30T09:00")) == utc("2031-03-29T22:00")
    assert quieting.day_end(settings, utc("2031-03-29T12:00")) == utc("2031-03-29T22:00")


# ---- updates, and events that are muted


@pytest.mark.parametrize("kind", [Kind.CORRECTION, Kind.RETRACTION])
def test_corrections_and_retractions_never_wait(kind):
    settings = Quieting(muted_until=NOW + timedelta(hours=2))
    assert quieting.hold_reply(settings, make_alert(kind=kind), NOW) is None


def test_updates_wait_for_mutes_and_quiet_hours_but_neither_for_digests_nor_budgets():
    update = make_alert(kind=Kind.UPDATE)
    assert quieting.hold_reply(Quieting(digest=(time(8, 0),), budget=1), update, NOW) is None
    night = utc("2031-05-14T23:00")
    assert quieting.hold_reply(Quieting(quiet=NIGHT), update, night) == Hold(
        until=utc("2031-05-15T07:00"), why="quiet hours until Thu 15 May, 07:00 (UTC)"
    )


def test_muted_event_is_silent_until_its_time():
    muted = EventMute(by="slack:T0123/U1", until=NOW + timedelta(hours=1))
    update = make_alert(kind=Kind.UPDATE, level=Level.FLASH)
    assert muted.silences(update, NOW)
    assert not muted.silences(update, NOW + timedelta(hours=1))


def test_event_that_is_muted_until_it_escalates():
    muted = EventMute(by="slack:T0123/U1", level=Level.URGENT)
    quiet = [level for level in Level if muted.silences(make_alert(kind=Kind.UPDATE, level=level), NOW)]
    assert quiet == [Level.ALERT, Level.URGENT]


@pytest.mark.parametrize("kind", [Kind.CORRECTION, Kind.RETRACTION])
def test_muted_event_is_corrected_and_retracted_all_the_same(kind):
    muted = EventMute(by="slack:T0123/U1", until=NOW + timedelta(hours=1))
    assert not muted.silences(make_alert(kind=kind), NOW)


# ---- what people type


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("22:00-07:00", (time(22), time(7))),
        ("7-9", (time(7), time(9))),
        (" 22.30 – 6:15 ", (time(22, 30), time(6, 15))),
        ("22 to 7", (time(22), time(7))),
    ],
)
def test_hours_as_people_write_them(text, meant):
    assert quieting.parse_hours(text) == meant


@pytest.mark.parametrize(
    "text", ["", "22", "22-", "22-24", "7:60-8", "7-7", "1-2-3", "night", "-", "٧-٩x", "22:00-07:00 UTC"]
)
def test_hours_that_cannot_be_meant(text):
    with pytest.raises(errors.UsageError):
        quieting.parse_hours(text)


@pytest.mark.parametrize(
    "name", ["", ".", "Europe", "../../etc/passwd", "/etc/localtime", "a\0b", "x" * 5000, "Mars/Base", "\ud800"]
)
def test_zone_that_is_none(name):
    with pytest.raises(errors.UsageError):
        quieting.check_zone(name)


@given(st.text(max_size=40))
def test_any_text_is_a_zone_and_hours_or_a_usage_error(text):
    for parse in (quieting.check_zone, quieting.parse_hours, quieting.parse_clock):
        with contextlib.suppress(errors.UsageError):
            parse(text)


def test_settings_describe_themselves():
    settings = Quieting(
        zone=DUBLIN, quiet=QuietHours(start=time(22, 0), end=time(7, 0), flash=False), budget=20, muted_until=NOW,
        digest=(time(8, 0), time(17, 30)),
    )  # fmt: skip
    assert settings.describe() == [
        "muted until Wed 14 May, 13:00 (Europe/Dublin)",
        "quiet hours 22:00–07:00 (Europe/Dublin), without exception",
        "digest at 08:00, 17:30 (Europe/Dublin)",
        "at most 20 new events a day, the rest in the next digest",
    ]
    assert Quieting().describe() == []
