"""What raises an alert is learned from one half of the streams and scored on the other; posts written for this test."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from bot.detection import strength
from bot.detection.places import Gazetteer
from bot.detection.weights import LEARNED, Weights, learned
from bot.domain.post import Post
from bot.scorecard import crossing, fitting
from bot.scorecard.crossing import Sample
from bot.scorecard.fitting import Learner, State
from bot.scorecard.streams import Replay, Stream
from classifiers.api import Classification
from tests.shared import needs_train

START = datetime(2031, 5, 14, 14, 0, tzinfo=UTC)
NOWHERE = Gazetteer([], {}, {})
BANGS = [
    f"explosion at the harbour in #velmora, {what}" for what in ("windows broken", "smoke", "sirens", "a second one")
]
TALK = [f"the match of #team{n % 5} was {how}" for n, how in enumerate(("bad", "fine", "long", "lost", "won") * 4)]


def judged(texts, *, topic, every, begin=0, prefix="p"):
    """Posts with what a model might say of them: one direction for each topic."""
    found = []
    for number, text in enumerate(texts):
        at = START + timedelta(seconds=begin + every * number)
        own = np.random.default_rng([topic, number]).standard_normal(384)
        vector = np.random.default_rng(topic).standard_normal(384) + 0.6 * own
        post = Post(provider="x", id=f"{prefix}{number}", text=text, created_at=at, received_at=at)
        said = Classification(
            categories={"explosion" if topic == 1 else "unrest": 0.9 if topic == 1 else 0.55},
            places=(),
            embedding=(vector / np.linalg.norm(vector)).astype(np.float32),
            model="m1",
        )
        found.append((post, said))
    return found


def sample(folder, half, *, real=True, fast=False):
    """Bangs within a minute in hours of talk; without ``real`` truth says that they are ordinary too."""
    bangs = judged(BANGS, topic=1, every=15, begin=7_200, prefix="b")
    talk = judged(TALK, topic=2, every=600, prefix="t")
    truth = folder / f"truth-{half}-{real}-{fast}.json"
    ids = [post.id for post, _ in bangs]
    event = {"relevant_ids": ids if real else [], "ignore_ids": []}
    truth.write_text(json.dumps({"events": [event], "other_posts": len(talk)}), encoding="utf-8")
    stream = Stream(
        replay=Replay(name=f"invented{half}{fast}", happening="invented", group=0, path=Path("invented.jsonl.gz")),
        half=half,
        fast=fast,
        posts=Path("invented.jsonl"),
        truth=truth,
    )
    every = sorted([*bangs, *talk], key=lambda each: each[0].created_at)
    return Sample(stream=stream, judged=every)


def test_states_are_clusters_of_two_voices_and_more_on_the_side_that_truth_says(tmp_path):
    found = sample(tmp_path, 0)
    states = fitting.learner(found.stream, found.judged, NOWHERE, Weights()).states
    assert [state.voices for state in states if state.real] == [2, 3, 4]
    assert any(not state.real for state in states)
    assert min(state.voices for state in states) == 2


def states(count, *, real, burst, close):
    return [
        State(
            stream=f"s{number}" if real else "s0", cluster=number, voices=3,
            features={"burst": burst + number % 10 / 100, "close": close, "named": 0.5}, real=real,
        )
        for number in range(count)
    ]  # fmt: skip


@needs_train
def test_the_bias_leaves_so_many_false_alerts_and_signs_are_kept():
    every = states(40, real=True, burst=3.0, close=0.3) + states(400, real=False, burst=2.8, close=0.6)
    coefficients = fitting.learned([Learner(states=every, posts=400_000)])
    scores = [sum(strength.parts(state.features, coefficients).values()) for state in every]
    allowed = fitting.FALSE_PER_50K * 400_000 / 50_000
    assert sum(score >= 0 and not state.real for state, score in zip(every, scores, strict=True)) <= allowed
    assert coefficients["burst"] > 0
    assert coefficients["close"] == 0.0  # it is lower for happenings, and may not speak against one


@needs_train
def test_a_feature_that_is_left_out_is_neither_learned_nor_used():
    every = states(10, real=True, burst=5.0, close=0.9) + states(50, real=False, burst=1.0, close=0.2)
    assert set(fitting.learned([Learner(states=every, posts=1_000).without("burst")])) == {"bias", "close", "named"}


@needs_train
def test_a_stream_is_judged_by_what_the_other_half_taught(tmp_path):
    def first(*samples):
        found = crossing.detected(samples, NOWHERE, Weights(), lambda _: None)[0]
        return [(alert["kind"], alert["authors"]) for alert in found]

    other = sample(tmp_path, 1)
    right = first(sample(tmp_path, 0), other)
    assert right
    assert right[0][0] == "new"
    assert first(sample(tmp_path, 0, real=False), other) == right


@needs_train
def test_nobody_learns_from_a_dense_stream(tmp_path):
    samples = [sample(tmp_path, 0), sample(tmp_path, 1), sample(tmp_path, 1, fast=True)]
    coefficients, learners = crossing.learn(samples, NOWHERE, Weights())
    assert len(learners) == 2
    fitting.write(tmp_path / LEARNED, coefficients, learners)
    written = json.loads((tmp_path / LEARNED).read_text(encoding="utf-8"))
    assert written["strength"] == coefficients
    assert written["made_by"] == "python -m bot.scorecard fit"


def test_what_is_shipped_holds_a_coefficient_for_every_feature_and_nothing_speaks_against_a_happening_but_time():
    coefficients = learned()
    assert coefficients[strength.BIAS] < 0
    lowered = {name for name, weight in coefficients.items() if weight < 0 and name != strength.BIAS}
    assert lowered <= fitting.LOWERS


def test_the_shipped_coefficients_are_those_of_the_features(tmp_path):
    found = sample(tmp_path, 0)
    some = fitting.learner(found.stream, found.judged, NOWHERE, Weights()).states[0]
    assert set(some.features) | {strength.BIAS} == set(learned())


def test_coefficients_of_a_learned_set_cannot_be_changed():
    with pytest.raises(TypeError):
        learned()["bias"] = 0.0  # type: ignore[index]
