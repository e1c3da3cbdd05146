"""A burst is relative to what is spoken of anyway. Posts and places are invented."""

from datetime import timedelta

import pytest

from bot.detection import members
from bot.detection.clusters import Cluster
from bot.detection.rates import Familiar, Rates
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
    assert rates_of(0).chance(cluster, now) < 0.01


def test_the_same_voices_mean_less_on_a_day_full_of_the_subject():
    cluster, now = cluster_of(3, every=1800)
    chances = [rates_of(others).chance(cluster, now) for others in (1, 20, 100)]
    assert chances == sorted(chances)
    assert chances[0] < 0.01 < 0.1 < chances[2]


def test_the_same_voices_mean_more_within_a_minute_than_within_an_hour():
    busy = rates_of(100)
    slow, fast = cluster_of(3, every=1800), cluster_of(3, every=20)
    assert busy.chance(*fast) < 0.001 < 0.1 < busy.chance(*slow)


def test_talk_of_another_category_makes_nothing_ordinary():
    cluster, now = cluster_of(3, every=1800)
    assert rates_of(100, "storm").chance(cluster, now) < 0.01


def test_what_came_within_the_last_half_hour_is_not_ordinary_yet():
    cluster, now = cluster_of(3, every=60)
    calm, busy = rates_of(20), rates_of(20)
    for each, category in ((calm, "storm"), (busy, "explosion")):
        for second in range(30):
            each.note(category, now + timedelta(seconds=second))
    assert busy.chance(cluster, now) == calm.chance(cluster, now)


def test_a_detector_that_has_just_begun_takes_what_it_hears_for_ordinary():
    cluster, now = cluster_of(3, every=20)
    young = Rates(WEIGHTS)
    for number in range(60):
        young.note("explosion", NOW + timedelta(seconds=number / 2))
    quiet = Rates(WEIGHTS)
    for number in range(3):
        quiet.note("explosion", NOW + timedelta(seconds=20 * number))
    assert young.chance(cluster, now) > 0.5 > quiet.chance(cluster, now)


def test_a_young_memory_counts_for_what_it_holds():
    cluster, now = cluster_of(3, every=60)
    young = Rates(WEIGHTS)
    for minute in range(90):
        young.note("explosion", NOW - timedelta(minutes=90 - minute))
    assert young.chance(cluster, now) > rates_of(60).chance(cluster, now)


def test_a_burst_that_begins_long_after_the_first_post_is_one():
    cluster, _ = cluster_of(1, every=1)
    late = NOW + timedelta(hours=2)
    for number in range(1, 5):
        candidate = report(number, BLAST[number], at=7_200 + 10 * number, place="Port Calder")
        cluster.add(members.member(candidate, GAZETTEER, stream_at=candidate.stream_at))
    assert rates_of(100).chance(cluster, late + timedelta(seconds=40)) < 0.001


@pytest.mark.parametrize("hours", [13, 30])
def test_what_is_older_than_the_window_is_forgotten(hours):
    rates, quiet = rates_of(100), rates_of(1, "storm")
    later = NOW + timedelta(hours=hours)
    for each in (rates, quiet):
        each.note("storm", later)
    cluster, now = cluster_of(3, every=1800)
    assert rates.chance(cluster, now) == quiet.chance(cluster, now)


def test_a_name_is_rare_until_it_has_been_given_for_a_while():
    familiar = Familiar(WEIGHTS)
    for number in range(10):
        familiar.note(f"x|{number}", None, frozenset({"calder"}), NOW + timedelta(seconds=number))
    assert familiar.rare("calder")
    familiar.note("x|late", None, frozenset({"dunmere"}), NOW + timedelta(minutes=31))
    assert not familiar.rare("calder")
    assert familiar.rare("dunmere")


def test_a_name_that_nobody_gave_for_long_is_rare_again():
    familiar = Familiar(WEIGHTS)
    for number in range(10):
        familiar.note(f"x|{number}", None, frozenset({"calder"}), NOW + timedelta(seconds=number))
    familiar.note("x|late", None, frozenset(), NOW + timedelta(hours=13))
    assert familiar.rare("calder")


def test_names_are_remembered_of_a_bounded_number_of_candidates():
    familiar = Familiar(Weights(most_familiar=5))
    for number in range(20):
        names = frozenset({"calder" if number < 10 else "dunmere"})
        familiar.note(f"x|{number}", None, names, NOW + timedelta(seconds=number))
    familiar.note("x|late", None, frozenset(), NOW + timedelta(hours=1))
    assert familiar.rare("calder")
    assert not familiar.rare("dunmere")


@pytest.mark.parametrize("gone", [{"key": "x|3", "author": None}, {"key": None, "author": "x|ada"}])
def test_what_was_deleted_makes_no_name_familiar(gone):
    familiar = Familiar(WEIGHTS)
    for number in range(4):
        familiar.note(f"x|{number}", "x|ada" if number == 3 else None, frozenset({"calder"}), NOW)
    familiar.note("x|late", None, frozenset(), NOW + timedelta(hours=1))
    assert not familiar.rare("calder")
    familiar.delete(**gone)
    assert familiar.rare("calder")
