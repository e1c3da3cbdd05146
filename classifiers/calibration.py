"""From a logit to a probability that means what it says: Platt scaling, one slope and one offset for all categories.

Fitted on the top category of rows of events that were never trained on, half reports and half others, so p answers
"is this top category right?". One pair for all: most categories have no second event to fit their own on. numpy only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """p = 1 / (1 + exp(-(slope · logit + offset)))."""

    slope: float = 1.0
    offset: float = 0.0

    def probabilities(self, logits: Floats) -> Floats:
        """Any shape in, the same shape out, each between 0 and 1."""
        scaled = np.clip(self.slope * logits + self.offset, -40.0, 40.0)
        return np.asarray(1.0 / (1.0 + np.exp(-scaled)))


def fit(logits: Floats, right: Booleans, weights: Floats, steps: int = 100) -> Calibration:
    """Weighted logistic regression of `right` on one logit; all arrays have shape (rows,).

    Newton's method, halving a step that does not lower the loss (a full step can run away from a bad start).
    """
    weights = weights / weights.sum()

    def loss(slope: float, offset: float) -> float:
        z = slope * logits + offset
        return float((weights * (np.logaddexp(0.0, z) - right * z)).sum()) + 1e-6 * (slope - 1.0) ** 2

    slope, offset = 1.0, 0.0
    best = loss(slope, offset)
    for _ in range(steps):
        p = 1.0 / (1.0 + np.exp(-np.clip(slope * logits + offset, -40.0, 40.0)))
        error = weights * (p - right)
        curve = weights * p * (1.0 - p)
        gradient = np.array([(error * logits).sum() + 2e-6 * (slope - 1.0), error.sum()])
        mixed = (curve * logits).sum()
        hessian = np.array([[(curve * logits**2).sum() + 2e-6, mixed], [mixed, curve.sum() + 1e-9]])
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
