"""Unseen events, the model beside three baselines: every figure from answers about events that no fold trained on.

Thresholds and calibration of a group are chosen on the answers about the other four groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from classifiers import data, folds
from classifiers.evaluation import baselines, pictures, scoring, unseen
from classifiers.taxonomy import CATEGORIES

Figures = dict[str, Any]
TRIED = tuple(number / 20 for number in range(1, 20))
"""Common thresholds that are tried."""


def figures(shared: Path, cache: Path, out: Path, *, threads: int) -> Figures:
    """Everything about unseen events; pictures go to `out`. Raises DataError, ModelError."""
    every = unseen.cases(shared)
    categories = unseen.measured(every)
    ours = unseen.answers(shared, cache, every, threads=threads)
    scores = {"Tocsin": _sigmoid(ours.topics)} | baseline_scores(shared, cache, every)
    gold = [case.gold for case in every]
    compared = {name: _compared(every, p, categories) for name, p in scores.items()}
    groups = np.array([case.group for case in every])
    predicted = crossed(gold, groups, scores["Tocsin"], categories)
    pictures.confusion(gold, predicted, [*CATEGORIES, scoring.NONE], out / "confusion.png")
    pictures.precision_recall(gold, scores["Tocsin"], categories, out / "precision-recall.png")
    return {
        "cases": len(every),
        "happenings": len({case.happening for case in every}),
        "measured": categories,
        "compared": compared,
        "zero_shot": _zero_shot(every, scores["Tocsin"], categories),
        "reports": _reports(every, ours, out),
        "languages": _languages(every, predicted),
    }


def variant_figures(shared: Path, cache: Path, variant: str, groups: Sequence[int], *, threads: int) -> Figures:
    """The recipe with something left out beside the whole recipe, trained for as long, on the same groups."""
    whole = unseen.cases(shared)
    every = [case for case in whole if case.group in groups]
    categories = unseen.measured(whole)
    with_it = unseen.answers(shared, cache, every, threads=threads, variant="short")
    without = unseen.answers(shared, cache, every, threads=threads, variant=variant)
    gold = [case.gold for case in every]
    present = [category for category in categories if category in gold]
    result: Figures = {"groups": list(groups), "steps": unseen.SHORT_STEPS, "categories": present}
    for name, answers in (("whole", with_it), ("without", without)):
        p = _sigmoid(answers.topics)
        named = scoring.predict(p, dict.fromkeys(CATEGORIES, 0.5))
        result[name] = {
            "macro_f1": scoring.macro_f1(gold, named, present).f1,
            "macro_ap": float(np.mean(list(scoring.average_precision(gold, p, present).values()))),
        }
    return result


def baseline_scores(shared: Path, cache: Path, every: Sequence[unseen.Case]) -> dict[str, Any]:
    """Name → scores (cases, 20) of each baseline, fitted on the training rows of each fold; kept in the cache."""
    path = cache / f"baselines-{unseen.digest([case.text for case in every])}.npz"
    kinds = (baselines.WordsAndSvm, lambda: baselines.FrozenEncoder(cache), baselines.Keywords)
    names = [kind().name for kind in kinds]
    if not path.is_file():
        scores = {name: np.zeros((len(every), len(CATEGORIES))) for name in names}
        for group in tqdm(range(folds.COUNT), unit="fold", desc="baselines"):
            texts, labels = _labelled(data.load(shared, without=group).train)
            at = [number for number, case in enumerate(every) if case.group == group]
            for kind in kinds:
                baseline = kind()
                baseline.fit(texts, labels)
                scores[baseline.name][at] = baseline.scores([every[number].text for number in at])
        part = path.with_suffix(".part.npz")
        np.savez(part, **scores)  # type: ignore[arg-type]
        part.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in names}


def crossed(gold: Sequence[str], groups: Any, p: Any, categories: Sequence[str], *, common: bool = True) -> list[str]:
    """One label a row, by thresholds that give the other groups the best macro-F1.

    One `common` threshold for all categories, or one for each of `categories`: with two happenings of a category the
    other one alone decides then, and a threshold that fits one event may be far from fitting the next.
    """
    labels = np.array(gold)
    predicted = np.full(len(gold), scoring.NONE, dtype=object)
    for group in np.unique(groups):
        here = groups == group
        others = labels[~here].tolist()
        if common:
            chosen = dict.fromkeys(CATEGORIES, _common(others, p[~here], categories))
        else:
            chosen = dict.fromkeys(CATEGORIES, 0.5) | scoring.best_thresholds(others, p[~here], categories)
        predicted[here] = scoring.predict(p[here], chosen)
    return [str(label) for label in predicted]


def _common(gold: Sequence[str], p: Any, categories: Sequence[str]) -> float:
    """The threshold of TRIED that gives the best macro-F1."""

    def result(threshold: float) -> float:
        return scoring.macro_f1(gold, scoring.predict(p, dict.fromkeys(CATEGORIES, threshold)), categories).f1

    return max(TRIED, key=result)


def _compared(every: Sequence[unseen.Case], p: Any, categories: Sequence[str]) -> Figures:
    gold = [case.gold for case in every]
    groups = np.array([case.group for case in every])
    predicted = crossed(gold, groups, p, categories)
    apart = crossed(gold, groups, p, categories, common=False)
    macro = scoring.macro_f1(gold, predicted, categories)
    plain = scoring.macro_f1(gold, scoring.predict(p, dict.fromkeys(CATEGORIES, 0.5)), categories)
    low, high = scoring.macro_f1_interval(gold, predicted, [case.happening for case in every], categories)
    return {
        "macro_f1": macro.f1,
        "interval": [low, high],
        "macro_f1_at_half": plain.f1,
        "macro_f1_own_thresholds": scoring.macro_f1(gold, apart, categories).f1,
        "f1": {category: score.f1 for category, score in macro.by_category.items()},
        "ap": scoring.average_precision(gold, p, categories),
    }


def _zero_shot(every: Sequence[unseen.Case], p: Any, categories: Sequence[str]) -> Figures:
    """Categories whose only event was held out: AP among the cases of that event's group."""
    result = {}
    for category in sorted({case.gold for case in every} - set(categories) - {scoring.NONE}):
        group = next(case.group for case in every if case.gold == category)
        at = [number for number, case in enumerate(every) if case.group == group]
        gold = [every[number].gold for number in at]
        named = scoring.predict(p[at], dict.fromkeys(CATEGORIES, 0.5))
        result[category] = {
            "n": gold.count(category),
            "ap": scoring.average_precision(gold, p[at], [category])[category],
            "f1": scoring.macro_f1(gold, named, [category]).f1,
        }
    return result


def _reports(every: Sequence[unseen.Case], ours: unseen.Answers, out: Path) -> Figures:
    """What the service uses: the calibrated p that a category is *reported*; rows that nobody judged left out."""
    told = [number for number, case in enumerate(every) if case.reported is not None]
    part = [every[number] for number in told]
    gold = [str(case.reported) for case in part]
    groups = np.array([case.group for case in part])
    logits = ours.categories[told].astype(np.float64)
    p = np.empty_like(logits)
    for group in range(folds.COUNT):
        fitted = unseen.fit_calibration(every, ours.categories, apart=group)
        p[groups == group] = fitted.probabilities(logits[groups == group])
    best, right = scoring.top(gold, p)
    weights = scoring.balanced(gold)
    pictures.reliability(best, right, weights, out / "reliability.png")
    categories = unseen.measured(every)
    by_category = {}
    for category in categories:
        mine = p.argmax(axis=1) == CATEGORIES.index(category)
        by_category[category] = scoring.ece(best[mine], right[mine], weights[mine])
    yes = np.array([label != scoring.NONE for label in gold])
    named = best >= 0.5
    report = scoring.score(int((yes & named).sum()), int(named.sum()), int(yes.sum()))
    return {
        "cases": len(part),
        "calibration_error": scoring.ece(best, right, weights),
        "calibration_error_each_happening_alike": scoring.ece(best, right, unseen.balance(part)),
        "calibration_error_by_category": by_category,
        "macro_f1": scoring.macro_f1(gold, scoring.predict(p, dict.fromkeys(CATEGORIES, 0.5)), categories).f1,
        "report_precision": report.precision,
        "report_recall": report.recall,
        "report_f1": report.f1,
    }


def _languages(every: Sequence[unseen.Case], predicted: Sequence[str]) -> Figures:
    """By language, unseen events: the one label, right category or not."""
    result = {}
    for lang in ("en", "es", "it", "pt", "fr", "ar", "tl"):
        at = [number for number, case in enumerate(every) if case.lang == lang]
        gold = [every[number].gold for number in at]
        said = [predicted[number] for number in at]
        event = [label != scoring.NONE for label in gold]
        right = sum(a == b != scoring.NONE for a, b in zip(gold, said, strict=True))
        score = scoring.score(right, sum(label != scoring.NONE for label in said), sum(event))
        result[lang] = {
            "n": len(at),
            "events": sum(event),
            "precision": score.precision,
            "recall": score.recall,
            "f1": score.f1,
        }
    return result


def _labelled(rows: Sequence[data.Row]) -> tuple[list[str], list[str]]:
    """One label a row: of several the one that most rows of its event have."""
    counts: dict[str, dict[str, int]] = {}
    for row in rows:
        for category in row.positive:
            of_event = counts.setdefault(row.event, {})
            of_event[category] = of_event.get(category, 0) + 1
    judged = [row for row in rows if row.judged]
    labels = [
        max(sorted(row.positive), key=lambda category: counts[row.event][category]) if row.positive else scoring.NONE
        for row in judged
    ]
    return [row.text for row in judged], labels


def _sigmoid(logits: Any) -> Any:
    return 1.0 / (1.0 + np.exp(-logits.astype(np.float64)))


def quantisation(shared: Path, cache: Path, *, one_in: int, threads: int) -> Figures:
    """Macro-F1 of the int8 graphs and of the networks in float32, on one case in so many (by hash), threshold 0.5."""
    every = [case for case in unseen.cases(shared) if data.text_hash(case.text) % one_in == 0]
    categories = unseen.measured(unseen.cases(shared))
    gold = [case.gold for case in every]
    result: Figures = {"cases": len(every)}
    for name, topics in (
        ("int8", unseen.answers(shared, cache, every, threads=threads).topics),
        ("float32", unseen.float_topics(cache, every, threads=threads)),
    ):
        named = scoring.predict(_sigmoid(topics), dict.fromkeys(CATEGORIES, 0.5))
        result[name] = scoring.macro_f1(gold, named, categories).f1
    return result
