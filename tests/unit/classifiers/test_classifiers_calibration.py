"""Platt scaling finds the truth it was given."""

import numpy as np
import pytest

from classifiers import calibration


def test_fit_recovers_slope_and_offset_and_lowers_the_error():
    draw = np.random.default_rng(1)
    logits = draw.normal(0, 3, 20_000)
    truth = calibration.Calibration(slope=0.5, offset=-0.7)
    right = draw.random(20_000) < truth.probabilities(logits)
    weights = np.ones(20_000)
    fitted = calibration.fit(logits, right, weights)
    assert fitted.slope == pytest.approx(0.5, abs=0.05)
    assert fitted.offset == pytest.approx(-0.7, abs=0.1)
    before = calibration.expected_error(calibration.Calibration().probabilities(logits), right, weights)
    after = calibration.expected_error(fitted.probabilities(logits), right, weights)
    assert after < 0.02 < before


def test_extreme_logits_stay_between_0_and_1():
    p = calibration.Calibration(slope=3.0).probabilities(np.array([-1e9, 0.0, 1e9]))
    assert 0.0 <= p[0] < 1e-6
    assert p[1] == 0.5
    assert 1 - 1e-6 < p[2] <= 1.0
