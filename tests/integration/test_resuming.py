"""A detector that goes on from the store, where deleted posts have no text any more, raises what the old one would."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlite_utils
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.detection import candidates, members, vectors
from bot.detection.clustering import Clusters
from bot.detection.detector import Detector
from bot.detection.weights import Weights
from bot.domain.access import EVERYTHING
from bot.domain.alert import Alert, Kind
from bot.domain.post import Candidate, Deletion, Official
from bot.pipeline import rebuilding
from bot.store import events, memories, migrations, posts
from tests.factories import NOW
from tests.unit import test_detection_detector as stories

Step = Candidate | Deletion
SMALL = Weights(max_clusters=12, max_posts=9, verdicts=20)
TOWNS = ("Port Calder", "Dunmere", "Cork", "Columbus", "")
SAID = ("huge explosion shook", "massive blast heard", "windows broken all over", "black smoke above", "flames over")


def at(step: Step) -> datetime:
    return step.stream_at if isinstance(step, Candidate) else step.deleted_at


class Kept:
    """A detector whose every step is stored as recording does."""

    def __init__(self, weights: Weights | None = None) -> None:
        self.db = sqlite_utils.Database(memory=True)
        self.db.conn.isolation_level = None
        migrations.apply(self.db, Path("memory"))
        self.weights = weights
        self.detector = Detector(EVERYTHING, stories.GAZETTEER, weights)

    def take(self, step: Step, seq: int) -> list[Alert]:
        raised = played(self.detector, [step])
        if isinstance(step, Candidate):
            posts.add(self.db, step)
        else:
            posts.delete(self.db, step, after_seq=seq, stream_at=step.deleted_at)
        for alert in raised:
            events.record(self.db, EVERYTHING, alert, at(step))
        memory = self.detector.remembered()
        if memory is not None:
            memories.save(self.db, EVERYTHING.key, memory)
        return raised

    def resumed(self, at: datetime = NOW + timedelta(hours=1)) -> Detector:
        detector = Detector(EVERYTHING, stories.GAZETTEER, self.weights)
        rebuilding.resume(detector, rebuilding.read(self.db, EVERYTHING, at))
        return detector


def played(detector: Detector, steps: Sequence[Step]) -> list[Alert]:
    raised: list[Alert] = []
    for step in steps:
        raised += detector.add(step) if isinstance(step, Candidate) else detector.delete(step, step.deleted_at)
    return raised


def numbered(steps: Sequence[Step]) -> list[tuple[Step, int]]:
    """In order of time, with the number of the last candidate so far."""
    found: list[tuple[Step, int]] = []
    seq = 0
    for step in sorted(steps, key=at):
        if isinstance(step, Candidate):
            seq += 1
            step = stories.replace(step, seq=seq)
        found.append((step, seq))
    return found


def goes_on_everywhere(steps: Sequence[Step], weights: Weights | None = None, every: int = 1) -> list[Alert]:
    """Cut after each ``every``-th step: the resumed detector says of the rest what the old one says. Returns that."""
    story = numbered(steps)
    kept = Kept(weights)
    said: list[list[Alert]] = []
    resumed: list[tuple[int, Detector]] = []
    for number, (step, seq) in enumerate(story):
        said.append(kept.take(step, seq))
        if number % every == 0:
            resumed.append((number + 1, kept.resumed()))
    for cut, detector in resumed:
        left = [alert for alerts in said[cut:] for alert in alerts]
        assert played(detector, [step for step, _ in story[cut:]]) == left, cut
    return [alert for alerts in said for alert in alerts]


def gone(candidate: Candidate, *, after: float) -> Deletion:
    return Deletion(
        provider=candidate.post.provider, id=candidate.post.id,
        deleted_at=candidate.stream_at + timedelta(seconds=after),
    )  # fmt: skip


def without(author: str, *, at: float) -> Deletion:
    return Deletion(provider="bluesky", author=author, deleted_at=NOW + timedelta(seconds=at))


def test_with_deletions_and_an_account_that_goes_away():
    blasts = stories.blasts(14)
    again = [
        stories.report(20 + n, text, author="a1-3", place="Port Calder", at=75 + n)
        for n, text in enumerate(("the docks in Port Calder burn", "more bangs at the pier of Port Calder"))
    ]
    raised = goes_on_everywhere(
        [*blasts, *again, gone(blasts[0], after=62), gone(blasts[4], after=65), without("a1-3", at=118)]
    )
    assert len({alert.event for alert in raised}) == 1
    assert raised[-1].revision > 3


def test_when_two_events_turn_out_to_be_one():
    steps = stories.two_that_are_one()
    raised = goes_on_everywhere([*steps, gone(steps[0], after=330), gone(steps[9], after=150), without("a1-1", at=600)])
    assert any(alert.change.startswith("the same happening as") for alert in raised)


def test_when_one_event_turns_out_to_be_two():
    steps = stories.two_in_one()
    raised = goes_on_everywhere([*steps, gone(steps[0], after=34), gone(steps[5], after=150)])
    assert any(alert.change.startswith("split from") for alert in raised)


def test_with_a_denial_and_its_deletion():
    denial = stories.denial(at=200, author="mayor")
    more = [
        stories.report(60 + n, text, category="shooting", place="Larkfield Mall", topic=5, at=300 + 70 * n)
        for n, text in enumerate(stories.SHOTS)
    ]
    raised = goes_on_everywhere([*stories.shots(), denial, *more, gone(denial, after=150)])
    assert [alert.disputed for alert in raised if alert.kind is Kind.CORRECTION] == [True, False]


def test_with_a_warning_that_is_cancelled_and_a_retraction():
    flood = Official(category="flood")
    cancel = Official(category="flood", supersedes=("1-0",), cancelled=True)
    steps = [
        stories.report(0, "Flood warning for Cork, Ireland", provider="cap", category="flood", official=flood),
        *(
            stories.report(n, f"water in {word} of Cork", category="flood", place="Cork", topic=1)
            for n, word in enumerate(("the streets", "all cellars", "every shop", "half the lanes"), start=2)
        ),
        stories.report(9, "", provider="cap", category="flood", official=cancel),
    ]
    taken_back = [gone(step, after=200) for step in steps[1:5]]
    after = stories.report(80, "water in the streets of Cork again", category="flood", place="Cork", topic=1)
    raised = goes_on_everywhere([*steps, *taken_back, after])
    assert raised[-1].kind is Kind.RETRACTION


@st.composite
def streams(draw: st.DrawFn) -> list[Step]:
    """Up to fifty reports of a few places, some far apart in time, reposted, copied, by the same authors or by an
    authority; and deletions of a post or an author now and then."""
    steps: list[Step] = []
    moment = 0.0
    told: list[Candidate] = []
    for number in range(draw(st.integers(10, 50))):
        moment += draw(st.sampled_from([1.0, 5.0, 20.0, 20.0, 70.0, 900.0]))
        kind = draw(st.sampled_from("rrrrrrrrrrcpdda"))
        if told and kind == "d":
            steps.append(stories.deletion(draw(st.sampled_from(told)), at=moment))
        elif told and kind == "a":
            steps.append(without(draw(st.sampled_from(told)).post.author or "", at=moment))
        else:
            place = draw(st.sampled_from(TOWNS))
            toll = draw(st.sampled_from(["", "", "3 dead", "12 injured"]))
            text = f"{draw(st.sampled_from(SAID))} {place} {toll} word{number} #tag{place[:4]}"
            fields = {"author": f"a{draw(st.integers(0, 30))}", "id": f"n{number}"}
            if told and kind == "c":
                text = draw(st.sampled_from(told)).post.text
            if told and kind == "p":
                fields["repost_of"] = draw(st.sampled_from(told)).post.id
            told.append(
                stories.report(
                    number,
                    text,
                    at=moment,
                    topic=draw(st.integers(1, 4)),
                    place=place or None,
                    verified=draw(st.integers(0, 7)) == 0,
                    p=draw(st.sampled_from([0.55, 0.8, 0.95])),
                    **fields,
                )
            )
            steps.append(told[-1])
    if draw(st.booleans()):
        steps.append(stories.report(99, "There was no explosion in Dunmere. Reports are false.", at=moment / 2,
                                    place="Dunmere", verified=True, id="denial"))  # fmt: skip
    return steps


@pytest.mark.parametrize(
    ("weights", "compared"),
    [(Weights(), 4_096), (SMALL, 4_096), (Weights(), 3)],
    ids=["as shipped", "small", "by signs"],
)
@given(steps=streams())
@settings(max_examples=15, deadline=None)
def test_whatever_comes_and_goes(weights, compared, steps):
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vectors, "_ALL_COMPARED", compared)
        patched.setattr(vectors, "_SHORTLIST", 2 if compared == 3 else 384)
        goes_on_everywhere(steps, weights, every=3)


def test_what_is_remembered_holds_no_words():
    kept = Kept()
    steps = numbered([*stories.blasts(5), gone(stories.blasts(5)[2], after=90)])
    for step, seq in steps:
        kept.take(step, seq)
    for table in ("detectors", "clusters", "members"):
        text = " ".join(str(value) for row in kept.db[table].rows for value in row.values())
        assert "alder" not in text.casefold()
        assert "bluesky|1-2" not in text


def test_a_view_that_missed_a_batch_is_rebuilt_and_not_resumed():
    kept = Kept()
    for step, seq in numbered(stories.blasts(5)):
        kept.take(step, seq)
    memories.forget_others(kept.db, ["another"])
    assert memories.load(kept.db, EVERYTHING.key) is None
    assert not any(kept.db[table].count for table in ("detectors", "clusters", "members"))


def test_among_more_clusters_than_are_all_compared(monkeypatch):
    """Two hundred that were nearer than the one that is left have gone; none was near enough to another to join it."""
    monkeypatch.setattr(vectors, "_ALL_COMPARED", 20)
    monkeypatch.setattr(vectors, "_SHORTLIST", 10)

    def told(number: int, spread: float, **fields: Any) -> Candidate:
        vector = stories.direction(1, spread=spread, member=number)
        return stories.replace(
            stories.report(number, f"u{number}v w{number}x", at=number, **fields), embedding=candidates.packed(vector)
        )

    nearer = [told(number, 0.7, author="crowd", id=f"c{number}") for number in range(200)]
    others = [stories.report(n, f"x{n}y z{n}w", at=n, topic=1000 + n) for n in range(300, 340)]
    kept = Kept(Weights(join=0.7, alone_cosine=0.75))
    for step, seq in numbered([*nearer, told(250, 0.8), without("crowd", at=260), *others]):
        kept.take(step, seq)
    detector, last = kept.resumed(), stories.replace(told(400, 0.0), seq=400)
    assert kept.detector.live() == detector.live() == 41
    for each in (kept.detector, detector):
        each.add(last)
    verdict = kept.detector.explain(last.post.key)
    assert verdict is not None
    assert verdict["joined"]
    assert detector.explain(last.post.key) == verdict


def test_how_long_it_has_listened_is_remembered():
    kept = Kept()
    first = stories.report(0, "smoke over the quay of Dunmere", at=-40 * 3600, topic=9)
    slow = [stories.report(n, text, place="Port Calder", at=900 * n) for n, text in enumerate(stories.BLAST[:3])]
    for step, seq in numbered([first, *slow[:2]]):
        kept.take(step, seq)
    detector, last = kept.resumed(), stories.replace(slow[2], seq=4)
    for each in (kept.detector, detector):
        each.add(last)
    weighed = kept.detector.weigh(last.post.key)
    assert weighed is not None
    assert detector.weigh(last.post.key) == weighed


def test_what_was_remembered_in_another_time_is_forgotten():
    """Received days ago: an old file that is replayed now has its own stream time."""
    kept = Kept()
    for step, seq in numbered(stories.blasts(5)):
        kept.take(step, seq)
    later = NOW + timedelta(days=2)
    kept.detector = kept.resumed(later)
    assert kept.detector.live() == 0
    old = stories.report(50, "water in every cellar of Cork", at=-14 * 86_400, id="old", received_at=later)
    kept.take(stories.replace(old, seq=6), 6)
    memory = memories.load(kept.db, EVERYTHING.key)
    assert memory is not None
    assert (memory.now, memory.begun) == (old.stream_at, old.stream_at)
    assert [post.key for post in memory.posts] == [old.post.key]
    assert len(memory.clusters) == 1


def test_words_lead_to_another_cluster_that_holds_them_once_the_first_is_over():
    def told(number: int) -> members.Member:
        candidate = stories.report(number, stories.BLAST[0], place="Port Calder")
        return members.member(candidate, stories.GAZETTEER, stream_at=candidate.stream_at)

    clusters, posts = Clusters(stories.GAZETTEER, Weights()), [told(number) for number in range(4)]
    first, _ = clusters.start(posts[0])
    clusters.close(first)
    second, _ = clusters.start(posts[1])
    assert clusters.original_of(posts[2]) is second
    clusters.drop(first)
    resumed = Clusters(stories.GAZETTEER, Weights())
    resumed.resume(clusters.remembered(NOW, (), NOW), {post.key: post for post in posts}, {})
    for each in (clusters, resumed):
        found = each.original_of(posts[3])
        assert found is not None
        assert found.number == second.number


def test_before_it_is_asked_nothing_of_what_is_over_is_kept():
    detector = Detector(EVERYTHING, stories.GAZETTEER)
    steps = numbered([*stories.blasts(5), without("a1-3", at=100), gone(stories.blasts(5)[1], after=120)])
    played(detector, [step for step, _ in steps])
    memory = detector.remembered()
    assert memory is not None
    assert (memory.whole, memory.gone_posts, memory.gone_clusters) == (True, (), ())
    assert {post.key for post in memory.posts} == {"bluesky|1-0", "bluesky|1-2", "bluesky|1-4"}
    again = detector.remembered()
    assert again is not None
    assert (again.whole, again.posts, again.clusters) == (False, (), ())
