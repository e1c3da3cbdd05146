"""From a logit to a probability that means what it says: Platt scaling, one pair for all categories.

Fitted on the top category of rows of events never trained on, half reports and half others, so p answers "is this top
category right?". Categories have no pairs of their own: with two happenings of a category the other one alone would
decide, and the order of the logits would be lost (on unseen events 0.69 macro-F1 in place of 0.72). numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Booleans = npt.NDArray[np.bool_]

_STEPS = 100
_RIDGE = 1e-6
"""Keeps the slope finite where every row is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """p = 1 / (1 + exp(-(slope · logit + offset)))."""

    slope: float = 1.0
    offset: float = 0.0

    def probabilities(self, logits: Floats) -> Floats:
        """Any shape in, the same shape out, each between 0 and 1."""
        scaled = np.clip(self.slope * logits + self.offset, -40.0, 40.0)
        return np.asarray(1.0 / (1.0 + np.exp(-scaled)))


def fit(logits: Floats, right: Booleans, weights: Floats) -> Calibration:
    """Fit on logits (rows, 20): `right` (rows,) says whether the top category is the text's, `weights` (rows,).

    Weighted logistic regression by Newton's method, halving a step that does not lower the loss (a full step can run
    away from a bad start).
    """
    top = logits.max(axis=1).astype(np.float64)
    weights = weights / weights.sum()
    slope, offset = 1.0, 0.0

    def loss(slope: float, offset: float) -> float:
        z = slope * top + offset
        return float((weights * (np.logaddexp(0.0, z) - right * z)).sum()) + _RIDGE * ((slope - 1.0) ** 2 + offset**2)

    best = loss(slope, offset)
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(slope * top + offset, -40.0, 40.0)))
        error = weights * (p - right)
        curve = weights * p * (1.0 - p)
        gradient = np.array([(error * top).sum() + 2 * _RIDGE * (slope - 1.0), error.sum() + 2 * _RIDGE * offset])
        mixed = (curve * top).sum()
        hessian = np.array([[(curve * top**2).sum() + 2 * _RIDGE, mixed], [mixed, curve.sum() + 2 * _RIDGE]])
        move = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(slope - size * float(move[0]), offset - size * float(move[1])) > best:
            size /= 2.0
        slope, offset = slope - size * float(move[0]), offset - size * float(move[1])
        now = loss(slope, offset)
        if best - now < 1e-12:
            break
        best = now
    return Calibration(slope=max(slope, 0.05), offset=offset)


def expected_error(p: Floats, right: Booleans, weights: Floats, bins: int = 15) -> float:
    """Expected calibration error over bins of equal mass: the mean gap between p and how often it is right."""
    order = np.argsort(p, kind="stable")
    p, right, weights = p[order], right[order], weights[order]
    at = np.minimum((np.cumsum(weights) / weights.sum() * bins).astype(int), bins - 1)
    gap = 0.0
    for number in range(bins):
        inside = at == number
        mass = weights[inside].sum()
        if mass > 0:
            gap += abs(float((weights[inside] * (p[inside] - right[inside])).sum()))
    return gap / float(weights.sum())
