"""Which times of a live source lie ahead of us."""

from datetime import datetime, timedelta

from bot.ingest.present import AHEAD, STAYS_S, Present
from tests import factories

NOW = factories.NOW
SECOND = timedelta(seconds=1)


def test_five_minutes_ahead_may_be_our_clock_and_more_is_wrong() -> None:
    present = Present(lambda: NOW, lambda: 0.0)
    assert not present.precedes(NOW + AHEAD, NOW)
    assert present.precedes(NOW + AHEAD + SECOND, NOW)
    assert not present.precedes(NOW - timedelta(days=1), NOW)


def test_a_clock_that_was_set_back_makes_no_time_wrong() -> None:
    passed = [0.0]
    present = Present(lambda: NOW, lambda: passed[0])
    passed[0] = 3600.0
    assert not present.precedes(NOW + timedelta(hours=1), NOW - timedelta(days=1))
    assert present.precedes(NOW + timedelta(hours=2), NOW - timedelta(days=1))


def test_a_clock_that_was_set_forward_counts_at_once() -> None:
    present = Present(lambda: NOW, lambda: 0.0)
    assert not present.precedes(NOW + timedelta(days=1), NOW + timedelta(days=1))


HOUR = timedelta(hours=1)


class Clocks:
    """A machine that started with its clock ``ahead``; then it was put right."""

    def __init__(self, ahead: timedelta) -> None:
        self.passed_s = 0.0
        self.present = Present(lambda: NOW + ahead, lambda: self.passed_s)

    def see(self, late: timedelta, *, every_s: float = 60.0, for_s: float = 2 * STAYS_S) -> None:
        """Events that come so much later than they say."""
        end_s = self.passed_s + for_s
        while self.passed_s <= end_s:
            self.present.precedes(self.now - late, self.now)
            self.passed_s += every_s

    @property
    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed_s)

    def believes(self, ahead: timedelta) -> bool:
        return not self.present.precedes(self.now + ahead, self.now)


def test_a_clock_that_was_ahead_at_the_start_is_forgotten_once_what_comes_agrees_with_it() -> None:
    clocks = Clocks(10 * HOUR)
    assert clocks.believes(9 * HOUR)
    clocks.see(SECOND)
    assert not clocks.believes(9 * HOUR)
    assert not clocks.believes(AHEAD + SECOND)
    assert clocks.believes(AHEAD)


def test_a_time_that_lies_ahead_of_both_does_not_hold_that_up() -> None:
    clocks = Clocks(10 * HOUR)
    clocks.see(SECOND, for_s=STAYS_S * 0.6)
    assert not clocks.believes(365 * 24 * HOUR)
    clocks.see(SECOND, for_s=STAYS_S * 0.6)
    assert not clocks.believes(9 * HOUR)


def test_old_events_say_nothing_about_a_clock_that_was_set_back() -> None:
    clocks = Clocks(10 * HOUR)
    clocks.see(HOUR, for_s=10 * STAYS_S)
    assert clocks.believes(9 * HOUR)


def test_a_clock_that_is_set_back_wrongly_for_long_makes_no_time_wrong() -> None:
    clocks = Clocks(10 * HOUR)
    clocks.see(-9.99 * HOUR, for_s=10 * STAYS_S)
    assert clocks.believes(9 * HOUR)
