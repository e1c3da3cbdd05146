"""A burst is relative to what is spoken of anyway. Posts and places are invented."""

from datetime import timedelta

import pytest

from bot.detection import members
from bot.detection.clusters import Cluster
from bot.detection.rates import Rates
from bot.detection.weights import Weights
from tests.factories import NOW
from tests.unit.test_detection_detector import BLAST, GAZETTEER, report

WEIGHTS = Weights()


def cluster_of(count, *, every):
    """A cluster of explosions, a voice ``every`` seconds, and the time of the last."""
    cluster = Cluster(1, WEIGHTS)
    for number in range(count):
        candidate = report(number, BLAST[number], at=every * number, place="Port Calder")
        cluster.add(members.member(candidate, GAZETTEER, stream_at=candidate.stream_at))
    assert len(cluster.voices) == count
    return cluster, NOW + timedelta(seconds=every * (count - 1))


def rates_of(others, category="explosion"):
    """What was heard in the twelve hours before: so many candidates of a category."""
    rates = Rates(WEIGHTS)
    for number in range(others):
        rates.note(category, NOW - timedelta(hours=11) + timedelta(minutes=6 * number))
    return rates


def test_where_nothing_is_spoken_of_anyway_any_cluster_is_a_burst():
    cluster, now = cluster_of(3, every=600)
    assert rates_of(0).chance(cluster, now) < 1e-9


def test_the_same_voices_mean_less_on_a_day_full_of_the_subject():
    cluster, now = cluster_of(3, every=1800)
    chances = [rates_of(others).chance(cluster, now) for others in (1, 20, 100)]
    assert chances == sorted(chances)
    assert chances[0] < WEIGHTS.chance < chances[2]


def test_the_same_voices_mean_more_within_a_minute_than_within_an_hour():
    busy = rates_of(100)
    slow, fast = cluster_of(3, every=1800), cluster_of(3, every=20)
    assert busy.chance(*fast) < WEIGHTS.chance < busy.chance(*slow)


def test_talk_of_another_category_makes_nothing_ordinary():
    cluster, now = cluster_of(3, every=1800)
    assert rates_of(100, "storm").chance(cluster, now) < 1e-9


def test_a_burst_that_begins_long_after_the_first_post_is_one():
    cluster, _ = cluster_of(1, every=1)
    late = NOW + timedelta(hours=2)
    for number in range(1, 5):
        candidate = report(number, BLAST[number], at=7_200 + 10 * number, place="Port Calder")
        cluster.add(members.member(candidate, GAZETTEER, stream_at=candidate.stream_at))
    assert rates_of(100).chance(cluster, late + timedelta(seconds=40)) < WEIGHTS.chance


@pytest.mark.parametrize("hours", [13, 30])
def test_what_is_older_than_the_window_is_forgotten(hours):
    rates = rates_of(100)
    later = NOW + timedelta(hours=hours)
    rates.note("storm", later)
    fresh = Rates(WEIGHTS)
    fresh.note("storm", later)
    cluster, now = cluster_of(3, every=1800)
    assert rates.chance(cluster, now) == fresh.chance(cluster, now)
