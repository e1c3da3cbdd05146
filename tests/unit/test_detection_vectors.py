"""Whatever was there before, the same clusters have the same nearest: a restarted process has no past."""

import random

import numpy as np
import pytest

from bot.detection import vectors
from bot.detection.vectors import Vectors
from tests.unit.test_detection_clusters import Placed
from tests.unit.test_detection_detector import direction

COUNT = 8


def numbers(clusters):
    return sorted(cluster.number for cluster in clusters)


def fresh(clusters, seed=1):
    found = Vectors()
    for cluster in random.Random(seed).sample(clusters, len(clusters)):
        found.place(cluster)
    return found


def with_a_past(clusters, others):
    """All were placed, and the others have left."""
    found = Vectors()
    for cluster in random.Random(2).sample([*clusters, *others], len(clusters) + len(others)):
        found.place(cluster)
    for cluster in others:
        found.leave(cluster)
    return found


@pytest.mark.parametrize("compared", [4_096, 150], ids=["all", "those whose signs agree"])
def test_what_has_left_changes_nothing(monkeypatch, compared):
    monkeypatch.setattr(vectors, "_ALL_COMPARED", compared)
    monkeypatch.setattr(vectors, "_SHORTLIST", 30)
    everything = [Placed(number, direction(number % 50, member=number)) for number in range(1_500)]
    live = random.Random(3).sample(everything, 200)
    left = [cluster for cluster in everything if cluster not in live]
    old, new = with_a_past(live, left), fresh(live)
    for topic in range(100):
        query = direction(topic, member=9_000)
        assert numbers(old.nearest(query, COUNT)) == numbers(new.nearest(query, COUNT))
        assert numbers(old.at_least(query, 0.5)) == numbers(new.at_least(query, 0.5))


def test_of_equally_near_ones_the_oldest_are_found():
    alike = [Placed(number, direction(1)) for number in range(40)]
    for seed in range(5):
        assert numbers(fresh(alike, seed).nearest(direction(1, member=1), COUNT)) == list(range(COUNT))


def test_the_nearest_are_those_of_exact_cosines():
    clusters = [Placed(number, direction(number % 5, member=number)) for number in range(300)]
    query = direction(3, member=9_000)
    exact = vectors.cosines(query, [cluster.centroid for cluster in clusters])
    wanted = sorted(range(300), key=lambda number: (-exact[number], number))[:COUNT]
    assert numbers(fresh(clusters).nearest(query, COUNT)) == sorted(wanted)


def test_clusters_come_move_and_go():
    """Against looking at every cluster."""
    chance, found, live = random.Random(4), Vectors(), {}
    for step in range(3_000):
        number = chance.randrange(400)
        if number in live and chance.random() < 0.5:
            found.leave(live.pop(number))
        else:
            cluster = live.setdefault(number, Placed(number, None))
            cluster.centroid = None if chance.random() < 0.1 else direction(number % 20, member=step)
            found.place(cluster)
        if step % 100 == 0:
            query = direction(step % 20, member=9_000)
            placed = [cluster for cluster in live.values() if cluster.centroid is not None]
            near = {each.number: vectors.cosines(query, [each.centroid])[0] for each in placed}
            wanted = sorted(near, key=lambda number: (-near[number], number))[:COUNT]
            assert numbers(found.nearest(query, COUNT)) == sorted(wanted)
            assert set(found.without) == live.keys() - near.keys()
    for cluster in live.values():
        found.leave(cluster)
    assert found.nearest(direction(1), COUNT) == found.at_least(direction(1), -1.0) == []
    assert vectors.cosines(np.ones(384, dtype=np.float32), []) == []
