"""Platt scaling finds the truth it was given."""

import numpy as np
import pytest

from classifiers import calibration
from classifiers.taxonomy import CATEGORIES

ROWS = 20_000


def drawn(seed):
    """Logits whose top category is spread over all of them."""
    draw = np.random.default_rng(seed)
    logits = np.full((ROWS, len(CATEGORIES)), -50.0)
    top = draw.integers(0, len(CATEGORIES), ROWS)
    logits[np.arange(ROWS), top] = draw.normal(0, 3, ROWS)
    return draw, logits, top


def test_fit_recovers_slope_and_offset_and_lowers_the_error():
    draw, logits, _ = drawn(1)
    truth = calibration.Calibration(slope=0.5, offset=-0.7)
    right = draw.random(ROWS) < truth.probabilities(logits).max(axis=1)
    weights = np.ones(ROWS)
    fitted = calibration.fit(logits, right, weights)
    assert fitted.slope == pytest.approx(0.5, abs=0.05)
    assert fitted.offset == pytest.approx(-0.7, abs=0.1)
    before = calibration.Calibration().probabilities(logits).max(axis=1)
    after = fitted.probabilities(logits).max(axis=1)
    errors = [calibration.expected_error(p, right, weights) for p in (before, after)]
    assert errors[1] < 0.02 < errors[0]


def test_a_category_of_its_own_kind_gets_a_pair_of_its_own():
    draw, logits, top = drawn(2)
    storm = CATEGORIES.index("storm")
    truth = calibration.Calibration(slope=0.6, offset=0.0, own={"storm": (0.6, -2.0)})
    right = draw.random(ROWS) < truth.probabilities(logits)[np.arange(ROWS), top]
    fitted = calibration.fit(logits, right, np.ones(ROWS), ["storm", "flood"])
    assert set(fitted.own) == {"storm", "flood"}
    assert fitted.own["storm"][1] < fitted.own["flood"][1] - 1.0
    assert fitted.probabilities(np.zeros((1, len(CATEGORIES))))[0, storm] < 0.3


def test_extreme_logits_stay_between_0_and_1():
    logits = np.full((3, len(CATEGORIES)), np.array([[-1e9], [0.0], [1e9]]))
    p = calibration.Calibration(slope=3.0).probabilities(logits)[:, 0]
    assert 0.0 <= p[0] < 1e-6
    assert p[1] == 0.5
    assert 1 - 1e-6 < p[2] <= 1.0
