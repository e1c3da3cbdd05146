"""The measures: one label a row, F1, average precision, thresholds, calibration error, spans. Pure; numpy only.

Everywhere `gold` is one label a row (a category id or "none"), `p` is a float array of shape (rows, 20) in the order of
the taxonomy, and `thresholds` map a category id to the least p that names it. A category without a threshold is never
named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from classifiers import calibration
from classifiers.calibration import Booleans, Floats
from classifiers.taxonomy import CATEGORIES

NONE = "none"
Thresholds = Mapping[str, float]
Integers = npt.NDArray[np.int64]

_LABELS = (*CATEGORIES, NONE)
_CODE = {label: code for code, label in enumerate(_LABELS)}
_STEPS = 40
"""Candidate thresholds of one category in the coordinate search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """Precision, recall and F1, each 0 where its denominator is 0; `n` is the number of gold rows (or spans)."""

    n: int
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Macro:
    """`f1` is the plain mean of the categories' F1."""

    f1: float
    by_category: dict[str, Score]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One bin of a reliability diagram: mean p, how often it was right, and its share of the weight (0–1)."""

    p: float
    rate: float
    mass: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Cuts:
    """Every distinct score as a threshold, highest first: how many rows reach it, and how many of them are gold."""

    thresholds: Floats
    named: Integers
    hits: Integers
    n: int

    @property
    def precision(self) -> Floats:
        """Shape (cuts,)."""
        return np.asarray(self.hits / self.named)

    @property
    def recall(self) -> Floats:
        """Shape (cuts,)."""
        return np.asarray(self.hits / max(1, self.n))


def predict(p: Floats, thresholds: Thresholds) -> list[str]:
    """The label of each row: of the categories that reach their own threshold the one with the highest p, else "none".

    Ties go to the first in the taxonomy's order.
    """
    return [_LABELS[code] for code in _predicted(p, _vector(thresholds))]


def macro_f1(gold: Sequence[str], predicted: Sequence[str], categories: Sequence[str]) -> Macro:
    """F1 of each of the categories and their mean. A row named as a category outside them is a miss of its own."""
    hits, named, wanted = _counts(_codes(gold), _codes(predicted))
    by_category = {
        category: score(int(hits[code]), int(named[code]), int(wanted[code]))
        for category, code in ((category, _CODE[category]) for category in categories)
    }
    return Macro(f1=float(np.mean([found.f1 for found in by_category.values()])), by_category=by_category)


def score(hits: int, named: int, wanted: int) -> Score:
    """From counts: right ones, ones said, ones that should have been said."""
    precision, recall = hits / max(1, named), hits / max(1, wanted)
    return Score(n=wanted, precision=precision, recall=recall, f1=2 * hits / max(1, named + wanted))


def macro_f1_interval(
    gold: Sequence[str],
    predicted: Sequence[str],
    events: Sequence[str],
    categories: Sequence[str],
    *,
    draws: int = 2_000,
    level: float = 0.95,
    seed: int = 1,
) -> tuple[float, float]:
    """Percentile bootstrap over happenings (Efron 1979): events are drawn with replacement, their rows come along.

    `events` names the happening of each row. Rows of one happening are alike, so drawing rows would flatter the
    interval. A draw without a gold row of some category takes the mean over the others.
    """
    names, at = np.unique(np.asarray(events), return_inverse=True)
    gold_codes, predicted_codes = _codes(gold), _codes(predicted)
    columns = [_CODE[category] for category in categories]
    counts = np.stack([_counts(gold_codes[at == i], predicted_codes[at == i]) for i in range(len(names))])
    times = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    hits, named, wanted = np.moveaxis(np.tensordot(times, counts, axes=1)[:, :, columns], 1, 0)
    f1 = 2 * hits / np.maximum(1, named + wanted)
    present = wanted > 0
    usable = present.any(axis=1)
    means = (f1 * present).sum(axis=1)[usable] / present.sum(axis=1)[usable]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def cuts(right: Booleans, scores: Floats) -> Cuts:
    """For curves and thresholds; both arguments have shape (rows,). Equal scores cannot be told apart: one cut."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True)) if len(ordered) else np.zeros(0, dtype=int)
    return Cuts(thresholds=ordered[last], named=last + 1, hits=np.cumsum(right[order])[last], n=int(right.sum()))


def category_cuts(gold: Sequence[str], p: Floats, category: str) -> Cuts:
    """One category against all other rows."""
    return cuts(_codes(gold) == _CODE[category], p[:, _CODE[category]])


def average_precision(gold: Sequence[str], p: Floats, categories: Iterable[str]) -> dict[str, float]:
    """AP = Σ (recall step × precision there), no interpolation, each category against the rest; 0 without gold rows."""
    result: dict[str, float] = {}
    for category in categories:
        found = category_cuts(gold, p, category)
        result[category] = float((np.diff(found.recall, prepend=0.0) * found.precision).sum())
    return result


def best_thresholds(gold: Sequence[str], p: Floats, categories: Sequence[str], *, rounds: int = 2) -> dict[str, float]:
    """Thresholds that give these rows a high macro-F1; use them on other rows.

    Starts from each category's best threshold against the rest, then moves one at a time (coordinate search over
    quantiles of its p, `rounds` times round) as long as the macro-F1 of the one-label prediction rises.
    """
    chosen = {category: _best_cut(category_cuts(gold, p, category)) for category in categories}
    codes, columns = _codes(gold), [_CODE[category] for category in categories]
    best = _macro(codes, _predicted(p, _vector(chosen)), columns)
    for _ in range(rounds):
        before = best
        for category in categories:
            for candidate in _candidates(p[:, _CODE[category]], codes == _CODE[category]):
                found = _macro(codes, _predicted(p, _vector({**chosen, category: candidate})), columns)
                if found > best + 1e-9:
                    best, chosen[category] = found, candidate
        if best - before < 1e-4:
            break
    return chosen


def thresholds_for_precision(
    gold: Sequence[str], p: Floats, precision: float = 0.9, *, categories: Sequence[str] = CATEGORIES, least: int = 10
) -> dict[str, float]:
    """The lowest threshold of each category at which it, against the rest, still has that precision.

    Left out where none reaches it with at least `least` right rows: fewer say nothing.
    """
    result: dict[str, float] = {}
    for category in categories:
        found = category_cuts(gold, p, category)
        good = np.flatnonzero((found.precision >= precision) & (found.hits >= least))
        if len(good):
            result[category] = _between(found.thresholds, int(good[-1]))
    return result


def top(gold: Sequence[str], p: Floats) -> tuple[Floats, Booleans]:
    """Of each row the highest p, and whether its category is the gold label: what calibration is measured on."""
    return p.max(axis=1), p.argmax(axis=1) == _codes(gold)


def balanced(gold: Sequence[str]) -> Floats:
    """Weights (rows,) that sum to 1: half on the rows with an event, half on the rows without."""
    event = _codes(gold) != _CODE[NONE]
    return np.where(event, 0.5 / max(1, int(event.sum())), 0.5 / max(1, int((~event).sum())))


def ece(p_top: Floats, right: Booleans, weights: Floats, bins: int = 15) -> float:
    """Expected calibration error over bins of equal mass (Naeini et al. 2015, Nguyen & O'Connor 2015); 0 is perfect."""
    return calibration.expected_error(p_top, right, weights, bins)


def reliability(p_top: Floats, right: Booleans, weights: Floats, bins: int = 15) -> list[Point]:
    """The bins that `ece` is the mean gap of, lowest p first; a bin that holds nothing is left out."""
    order = np.argsort(p_top, kind="stable")
    p, hit, mass = p_top[order], right[order], weights[order] / weights.sum()
    at = np.minimum((np.cumsum(weights[order]) / weights.sum() * bins).astype(int), bins - 1)
    sums = [np.bincount(at, weights=values, minlength=bins) for values in (mass, mass * p, mass * hit)]
    return [
        Point(p=float(mean / share), rate=float(rate / share), mass=float(share))
        for share, mean, rate in zip(*sums, strict=True)
        if share > 0
    ]


def exact_span_f1(
    gold: Sequence[Collection[tuple[int, int]]], predicted: Sequence[Collection[tuple[int, int]]]
) -> Score:
    """Micro F1 over the rows' (start, end) pairs: right where both ends agree; the type is ignored."""
    hits = named = wanted = 0
    for ours, theirs in zip(gold, predicted, strict=True):
        hits += len(set(ours) & set(theirs))
        named += len(set(theirs))
        wanted += len(set(ours))
    return score(hits, named, wanted)


def _codes(labels: Sequence[str]) -> Integers:
    return np.array([_CODE[label] for label in labels], dtype=np.int64)


def _vector(thresholds: Thresholds) -> Floats:
    return np.array([thresholds.get(category, np.inf) for category in CATEGORIES])


def _predicted(p: Floats, least: Floats) -> Integers:
    allowed = np.where(p >= least, p, -np.inf)
    best = allowed.argmax(axis=1)
    return np.where(np.isfinite(allowed.max(axis=1)), best, _CODE[NONE])


def _counts(gold: Integers, predicted: Integers) -> Integers:
    """Shape (3, labels): rows that are right, rows said, rows wanted."""
    right = gold[gold == predicted]
    return np.stack([np.bincount(codes, minlength=len(_LABELS)) for codes in (right, predicted, gold)])


def _macro(gold: Integers, predicted: Integers, columns: Sequence[int]) -> float:
    hits, named, wanted = _counts(gold, predicted)
    return float((2 * hits / np.maximum(1, named + wanted))[columns].mean())


def _best_cut(found: Cuts) -> float:
    """The threshold with the highest F1; the highest score of all where no row is gold."""
    return _between(found.thresholds, int((2 * found.hits / (found.named + found.n)).argmax()))


def _between(thresholds: Floats, at: int) -> float:
    """Half way to the next lower score: the same rows here, and the least surprise elsewhere."""
    below = float(thresholds[at + 1]) if at + 1 < len(thresholds) else float(thresholds[at])
    return (float(thresholds[at]) + below) / 2


def _candidates(scores: Floats, right: Booleans) -> list[float]:
    """Quantiles of the gold rows' scores, where the threshold matters, and of the highest other rows' as many."""
    steps = np.linspace(0.0, 1.0, _STEPS // 2)
    groups = [scores[right], np.sort(scores[~right])[-max(1, 2 * int(right.sum())) :]]
    return sorted({float(value) for group in groups if len(group) for value in np.quantile(group, steps)})
