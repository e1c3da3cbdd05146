"""Which times of a live source lie ahead of us."""

from datetime import timedelta

from bot.ingest.present import AHEAD, Present
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
