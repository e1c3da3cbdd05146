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
    return draw, logits


def test_fit_recovers_slope_and_offset_and_lowers_the_error():
    draw, logits = drawn(1)
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


def test_the_order_of_the_categories_is_kept():
    draw = np.random.default_rng(2)
    logits = draw.normal(0, 3, (200, len(CATEGORIES)))
    fitted = calibration.fit(logits, draw.random(200) < 0.3, np.ones(200))
    assert (fitted.probabilities(logits).argmax(axis=1) == logits.argmax(axis=1)).all()


def test_rows_that_are_all_right_give_finite_numbers():
    fitted = calibration.fit(np.full((50, 20), 3.0), np.ones(50, dtype=bool), np.ones(50))
    assert np.isfinite([fitted.slope, fitted.offset]).all()


def test_extreme_logits_stay_between_0_and_1():
    logits = np.full((3, len(CATEGORIES)), np.array([[-1e9], [0.0], [1e9]]))
    p = calibration.Calibration(slope=3.0).probabilities(logits)[:, 0]
    assert 0.0 <= p[0] < 1e-6
    assert p[1] == 0.5
    assert 1 - 1e-6 < p[2] <= 1.0
