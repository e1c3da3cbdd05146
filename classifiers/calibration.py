"""From a logit to a probability that means what it says: Platt scaling, by category where unseen events allow it.

Fitted on the top category of rows of events never trained on, half reports and half others, so p answers
"is this top category right?". A category with one happening at most has no unseen one to be fitted on and takes the
pair fitted on all; the others are drawn towards it. numpy only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.taxonomy import CATEGORIES

Floats = npt.NDArray[np.floating[Any]]
Booleans = npt.NDArray[np.bool_]

_STEPS = 100
_PULL = 0.02
"""How strongly a category's pair is drawn towards the common one, beside a mean loss of about 0.3 a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """p = 1 / (1 + exp(-(slope · logit + offset))); `own` holds category → (slope, offset) for those that have one."""

    slope: float = 1.0
    offset: float = 0.0
    own: Mapping[str, Sequence[float]] = field(default_factory=dict)

    def probabilities(self, logits: Floats) -> Floats:
        """Shape (…, 20) in, the same shape out, each between 0 and 1."""
        pairs = np.array([self.own.get(category, (self.slope, self.offset)) for category in CATEGORIES])
        scaled = np.clip(pairs[:, 0] * logits + pairs[:, 1], -40.0, 40.0)
        return np.asarray(1.0 / (1.0 + np.exp(-scaled)))


def fit(logits: Floats, right: Booleans, weights: Floats, own: Sequence[str] = ()) -> Calibration:
    """Fit on logits (rows, 20): `right` (rows,) says whether the top category is the text's, `weights` (rows,).

    Categories in `own` get a pair of their own from the rows that they top.
    """
    top = logits.argmax(axis=1)
    highest = logits.max(axis=1).astype(np.float64)
    slope, offset = _pair(highest, right, weights, (1.0, 0.0), 1e-6)
    pairs = {}
    for category in own:
        rows = top == CATEGORIES.index(category)
        if rows.any():
            pairs[category] = _pair(highest[rows], right[rows], weights[rows], (slope, offset), _PULL)
    return Calibration(slope=slope, offset=offset, own=pairs)


def _pair(
    logits: Floats, right: Booleans, weights: Floats, prior: tuple[float, float], pull: float
) -> tuple[float, float]:
    """Weighted logistic regression of `right` on one logit, drawn towards `prior`; arrays of shape (rows,).

    Newton's method, halving a step that does not lower the loss (a full step can run away from a bad start).
    """
    weights = weights / weights.sum()
    slope, offset = prior

    def loss(slope: float, offset: float) -> float:
        z = slope * logits + offset
        distance = (slope - prior[0]) ** 2 + (offset - prior[1]) ** 2
        return float((weights * (np.logaddexp(0.0, z) - right * z)).sum()) + pull * distance

    best = loss(slope, offset)
    for _ in range(_STEPS):
        p = 1.0 / (1.0 + np.exp(-np.clip(slope * logits + offset, -40.0, 40.0)))
        error = weights * (p - right)
        curve = weights * p * (1.0 - p)
        gradient = np.array(
            [
                (error * logits).sum() + 2 * pull * (slope - prior[0]),
                error.sum() + 2 * pull * (offset - prior[1]),
            ]
        )
        mixed = (curve * logits).sum()
        hessian = np.array([[(curve * logits**2).sum() + 2 * pull, mixed], [mixed, curve.sum() + 2 * pull + 1e-9]])
        move = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-6 and loss(slope - size * float(move[0]), offset - size * float(move[1])) > best:
            size /= 2.0
        slope, offset = slope - size * float(move[0]), offset - size * float(move[1])
        now = loss(slope, offset)
        if best - now < 1e-12:
            break
        best = now
    return max(slope, 0.05), offset


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
