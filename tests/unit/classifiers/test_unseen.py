"""What is made of answers about unseen events: calibration, thresholds, and who may be compared with whom."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the extra `train` is not installed")
pytest.importorskip("torch", reason="the extra `train` is not installed")
pytest.importorskip("matplotlib", reason="the extra `train` is not installed")

from classifiers import calibration
from classifiers.evaluation import comparing, report, unseen
from classifiers.taxonomy import CATEGORIES

STORM = CATEGORIES.index("storm")


def case(gold, happening, group, reported=True):
    return unseen.Case(
        text=f"{gold} {happening}", gold=gold, report=None if reported is None else reported and gold != "none",
        happening=happening, group=group, lang="en",
    )  # fmt: skip


def stream(seed, groups=5, each=200):
    """Cases and logits of a model that is right about storms four times in five at logit 2, and knows no else."""
    draw = np.random.default_rng(seed)
    cases, rows = [], []
    for group in range(groups):
        for number in range(each):
            storm = number % 2 == 0
            says_storm = draw.random() < (0.8 if storm else 0.2)
            cases.append(case("storm" if storm else "none", f"storm-{group}", group))
            row = np.full(len(CATEGORIES), -9.0)
            row[STORM] = 2.0 if says_storm else -2.0
            rows.append(row)
    return cases, np.array(rows, dtype=np.float32)


def test_only_categories_with_two_happenings_are_measured():
    cases = [case("storm", "a", 0), case("storm", "a", 0), case("flood", "b", 0), case("flood", "c", 1)]
    assert unseen.measured(cases) == ["flood"]


def test_a_post_about_an_event_that_reports_nothing_is_no_report():
    assert case("storm", "a", 0).reported == "storm"
    assert case("storm", "a", 0, reported=False).reported == "none"
    assert case("storm", "a", 0, reported=None).reported is None
    assert case("none", "a", 0).reported == "none"


def test_weights_give_reports_and_others_the_same_sum_and_each_happening_alike():
    cases = [case("storm", "a", 0)] * 9 + [case("flood", "b", 0)] + [case("none", "a", 0)] * 5
    weights = unseen.balance(cases)
    assert weights.sum() == pytest.approx(len(cases))
    assert weights[:10].sum() == pytest.approx(weights[10:].sum())
    assert weights[:9].sum() == pytest.approx(weights[9])


def test_the_calibration_says_how_often_the_model_is_right():
    cases, logits = stream(1)
    fitted = unseen.fit_calibration(cases, logits)
    p = fitted.probabilities(logits.astype(np.float64))[:, STORM]
    assert p[logits[:, STORM] > 0].mean() == pytest.approx(0.8, abs=0.05)
    assert p[logits[:, STORM] < 0].mean() == pytest.approx(0.2, abs=0.05)


def test_a_group_has_no_say_in_its_own_calibration_and_thresholds():
    cases, logits = stream(2)
    spoilt = logits.copy()
    spoilt[[at for at, one in enumerate(cases) if one.group == 3]] *= -1
    assert unseen.fit_calibration(cases, logits, apart=3) == unseen.fit_calibration(cases, spoilt, apart=3)
    gold, groups = [one.gold for one in cases], np.array([one.group for one in cases])
    p = calibration.Calibration().probabilities(logits.astype(np.float64))
    relabelled = [other if group != 3 else "none" for other, group in zip(gold, groups, strict=True)]
    before, after = (comparing.crossed(labels, groups, p, ["storm"]) for labels in (gold, relabelled))
    assert [label for label, group in zip(before, groups, strict=True) if group == 3] == [
        label for label, group in zip(after, groups, strict=True) if group == 3
    ]


def test_answers_are_named_by_their_texts():
    assert unseen.digest(["a", "b"]) != unseen.digest(["b", "a"])
    assert unseen.digest(["a\ud800"]) == unseen.digest(["a\ud800"])


def test_parts_are_kept_and_rendered_one_by_one(tmp_path):
    report.write(tmp_path, "quantisation", {"cases": 10, "int8": 0.5, "float32": 0.51})
    variants = {"unmasked": {"groups": [1], "steps": 9, "whole": {"macro_f1": 0.6, "macro_ap": 0.7},
                             "without": {"macro_f1": 0.4, "macro_ap": 0.5}}}  # fmt: skip
    report.write(tmp_path, "variants", variants)
    assert set(report.read(tmp_path)) == {"quantisation", "variants"}
    text = (tmp_path / "evaluation.md").read_text(encoding="utf-8")
    assert "float32 51.00 %, int8 50.00 %" in text
    assert "| unmasked | [1] | 9 | 40.00 | 50.00 |" in text
    assert text.index("recipe bring") < text.index("int8 costs")
