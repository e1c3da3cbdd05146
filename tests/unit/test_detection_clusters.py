"""What a cluster sums up, and what is left of it when posts are deleted. Posts and places are invented."""

import random
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.detection import candidates, members, vectors
from bot.detection.clustering import Clusters
from bot.detection.clusters import Cluster
from bot.detection.vectors import Vectors
from bot.detection.weights import Weights
from tests.factories import NOW
from tests.unit.test_detection_detector import BLAST, GAZETTEER, blasts, detector, direction, feed, report

SAID = (*BLAST[:5], BLAST[0], f"RT @someone: {BLAST[1]}", "There was no explosion in Port Calder, that is false")


def told(number, said, author, verified, p):
    """A post of few authors who repeat themselves and each other, some with a count of victims."""
    text = SAID[said] + (" 3 people dead" if number % 4 == 0 else "")
    fields = {"id": f"t{number}", "author": f"a{author}", "verified": verified}
    candidate = report(number, text, place="Port Calder", p=p, **fields)
    return members.member(candidate, GAZETTEER, stream_at=candidate.stream_at)


def summed(cluster):
    """All that is read of a cluster."""
    return {
        "members": list(cluster.members),
        "voices": [voice.key for voice in cluster.voices],
        "centroid": None if cluster.centroid is None else cluster.centroid.tolist(),
        "heard": cluster.heard_since(NOW + timedelta(seconds=40)),
        "begins": cluster.says_begin("calder"),
    } | {
        name: getattr(cluster, name)
        for name in (
            "category", "mean_p", "closeness", "names", "content", "towns", "areas", "shown", "points", "verified",
            "officials", "stated", "highest", "severe", "denials", "doubts", "compared_towns", "fingerprints",
        )
    }  # fmt: skip


POSTS = st.lists(
    st.tuples(st.integers(0, len(SAID) - 1), st.integers(0, 5), st.booleans(), st.sampled_from((0.1, 0.95))),
    min_size=2,
    max_size=14,
)


@given(posts=POSTS, deleted=st.lists(st.integers(0, 13), max_size=5), together=st.booleans())
@settings(max_examples=150, deadline=None)
def test_a_cluster_without_deleted_posts_is_as_if_they_had_never_come(posts, deleted, together):
    everything = [told(number, *post) for number, post in enumerate(posts)]
    cluster, other = Cluster(1, Weights()), Cluster(1, Weights())
    for member in everything:
        cluster.add(member)
    keys = [everything[number % len(everything)].key for number in dict.fromkeys(deleted)]
    for some in [keys] if together else [[key] for key in keys]:
        cluster.remove(some)
    for member in everything:
        if member.key not in keys:
            other.add(member)
    assert summed(cluster) == summed(other)


def test_live_posts_are_bounded_and_the_longest_silent_unraised_go_first():
    target = detector(max_live_posts=20)
    feed(target, blasts(4))
    feed(target, [report(n, f"x{n}y z{n}w", at=40 + n, topic=1000 + n) for n in range(60)])
    assert target.posts() == 20
    assert (target.explain("bluesky|1-0") or {})["event"] is not None
    assert (target.explain("bluesky|1000-0") or {})["event"] is None
    assert "closed" not in (target.explain("bluesky|1000-0") or {})
    assert "closed" in (target.explain("bluesky|1059-59") or {})


def test_authors_are_found_by_the_index_as_by_looking_at_every_post():
    clusters = Clusters(GAZETTEER, Weights())
    chance = random.Random(1)
    for number in range(60):
        member = told(number, number % 5, number % 7, False, 0.95)
        known = clusters.live()
        if known and chance.random() < 0.6:
            clusters.add(chance.choice(known), member)
        else:
            clusters.start(member)
        if chance.random() < 0.3:
            clusters.remove(chance.choice([key for each in clusters.live() for key in each.members]))
        if len(clusters) > 4:
            clusters.merge(*clusters.live()[:2])
    for number in range(7):
        author = f"bluesky|a{number}"
        looked = {key for each in clusters.live() for key, m in each.members.items() if m.author == author}
        assert set(clusters.by_author(author)) == looked
    assert clusters.posts == sum(len(each.members) for each in clusters.live())


class Placed:
    """What Vectors needs of a cluster."""

    def __init__(self, number, centroid):
        self.number, self.centroid = number, centroid


@pytest.mark.parametrize("compared", [10_000, 100], ids=["all", "those whose signs agree"])
def test_the_nearest_are_found_among_many(monkeypatch, compared):
    monkeypatch.setattr(vectors, "_ALL_COMPARED", compared)
    found = Vectors()
    clusters = [Placed(number, direction(number % 40, member=number)) for number in range(1_200)]
    for cluster in clusters:
        found.place(cluster)
    for cluster in clusters[::3]:
        found.leave(cluster)
    near = found.nearest(direction(7, member=5_000), 8)
    assert len(near) == 8
    assert {cluster.number % 40 for cluster in near} == {7}
    assert all(cluster.number % 3 for cluster in near)
    least = found.at_least(direction(7, member=5_000), 0.5)
    assert {cluster.number for cluster in near} <= {cluster.number for cluster in least}
    assert {cluster.number % 40 for cluster in least} == {7}


def test_a_cluster_without_a_centroid_is_remembered_as_such():
    found = Vectors()
    cluster = Placed(1, np.ones(384, dtype=np.float32))
    found.place(cluster)
    cluster.centroid = None
    found.place(cluster)
    assert list(found.without) == [1]
    assert found.nearest(np.ones(384, dtype=np.float32), 8) == []
    found.leave(cluster)
    assert not found.without


def test_a_candidate_needs_more_where_the_model_was_not_measured():
    post = blasts(1)[0].post
    weights = Weights(threshold=0.3, other_threshold=0.7)
    assert candidates.threshold(replace(post, langs=("de",)), weights) == 0.7
    assert candidates.threshold(replace(post, langs=("de", "en")), weights) == 0.3
    assert candidates.threshold(replace(post, langs=()), weights) == 0.3
