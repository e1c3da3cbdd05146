"""Answers about unseen events: five models, each trained without one group of happenings, and what they say of it.

Models and answers are kept in a cache folder, so that a stopped run goes on, and detection can be measured with the
same models (`<cache>/group-N/model` is a folder for `encoder.load`).
"""

from __future__ import annotations

import hashlib
import html
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers import calibration, data, encoder, export, folds, train
from classifiers.api import ModelError
from classifiers.evaluation import scoring
from classifiers.taxonomy import CATEGORIES

FILES = ("crisislex_t26", "crisislex_t6", "idrisi", "pheme_rumours")
"""The crisis sets whose events are held out in turn."""

STEPS = 2_400
"""Training steps of a fold model at most: one pass over its rows, some ten minutes on one quiet core."""
SHORT_STEPS = 900
"""Those of a variant of the recipe; the variant "short" is the whole recipe, trained for as long."""

PRECISION = 0.9
"""The stated precision of the thresholds in a shipped model's manifest."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A labelled post of one of FILES. `gold` is a category or "none", whatever the post says of it; `report` says
    whether people called it informative (None: not told)."""

    text: str
    gold: str
    report: bool | None
    happening: str
    group: int
    lang: str | None

    @property
    def reported(self) -> str | None:
        """The category that the post reports, "none", or None where nobody said whether it reports."""
        return "none" if self.gold == "none" or self.report is False else self.gold if self.report else None


@dataclass(frozen=True, slots=True)
class Answers:
    """What the fold models say of the cases, each asked only about its own group: logits (cases, 20) and reports."""

    categories: Floats
    topics: Floats
    reports: Floats


def cases(shared: Path) -> list[Case]:
    """Every row of FILES that has a type, in file order. Raises DataError."""
    sums = data.checksums(shared)
    found = []
    for name in FILES:
        for item in data.read(shared, f"labelled/{name}.jsonl.gz", sums):
            group = folds.group_of(item["event"])
            if item["event_type"] is None or group is None:
                continue
            found.append(
                Case(
                    text=html.unescape(item["text"]),
                    gold=item["event_type"],
                    report=False if item["event_type"] == "none" else item["informative"],
                    happening=folds.happening_of(item["event"]),
                    group=group,
                    lang=item["lang"],
                )
            )
    return found


def measured(every: Sequence[Case]) -> list[str]:
    """The categories with at least two happenings, in the taxonomy's order: those that can be unseen and trained."""
    seen = {(case.gold, case.happening) for case in every}
    return [category for category in CATEGORIES if sum(gold == category for gold, _ in seen) >= 2]


def folder(cache: Path, group: int, variant: str = "") -> Path:
    """Where the model without `group` is kept; a variant is a recipe with something left out."""
    return cache / f"group-{group}{variant and '-' + variant}"


def fold_plan(group: int, *, threads: int, variant: str = "") -> train.Plan:
    """How a fold model is trained: one run like the first of those that made the shipped one."""
    return train.Plan(
        epochs=1,
        steps=SHORT_STEPS if variant else STEPS,
        group=group,
        threads=threads,
        mask=variant != "unmasked",
        own=variant != "without-own-texts",
    )


def train_group(shared: Path, cache: Path, group: int, *, threads: int, variant: str = "") -> Path:
    """Train and export one model where the cache has none. Returns its folder.

    Raises ModelError for one that was trained by another plan. Whoever changes the data empties the cache.
    """
    place = folder(cache, group, variant)
    plan = fold_plan(group, threads=threads, variant=variant)
    if not (place / train.WEIGHTS).is_file():
        train.train(shared, place, plan)
    elif not train.made_by(place, plan):
        raise ModelError(f"the model in {place} was trained by another plan; delete that folder and run folds again")
    if not (place / "model" / encoder.MANIFEST).is_file():
        uncalibrated = export.Fitted(calibration=calibration.Calibration(), thresholds={})
        export.export(place, shared, place / "model", fitted=uncalibrated, screened=False, threads=threads)
    return place


def has_model(cache: Path, group: int) -> bool:
    """Is the model without `group` in the cache?"""
    return (folder(cache, group) / "model" / encoder.MANIFEST).is_file()


def answers(shared: Path, cache: Path, every: Sequence[Case], *, threads: int, variant: str = "") -> Answers:
    """What each fold model says of the cases of its group; kept in the cache."""
    result = Answers(
        np.zeros((len(every), len(CATEGORIES)), np.float32),
        np.zeros((len(every), len(CATEGORIES)), np.float32),
        np.zeros(len(every), np.float32),
    )
    for group in sorted({case.group for case in every}):
        at = [number for number, case in enumerate(every) if case.group == group]
        place = train_group(shared, cache, group, threads=threads, variant=variant)
        texts = [every[number].text for number in at]
        version = encoder.verified_manifest(place / "model")["version"]
        kept = _kept(place / f"answers-{version}-{digest(texts)}.npz", place / "model", texts, threads=threads)
        result.categories[at], result.topics[at], result.reports[at] = kept
    return result


def float_topics(cache: Path, every: Sequence[Case], *, threads: int) -> Floats:
    """Topic logits of the networks in float32, before quantisation."""
    result = np.zeros((len(every), len(CATEGORIES)), np.float32)
    for group in sorted({case.group for case in every}):
        at = [number for number, case in enumerate(every) if case.group == group]
        weights = folder(cache, group) / train.WEIGHTS
        result[at] = train.answers(weights, [every[n].text for n in at], threads=threads, exact=True).topic_logits
    return result


def _kept(path: Path, model: Path, texts: Sequence[str], *, threads: int) -> tuple[Floats, Floats, Floats]:
    if not path.is_file():
        raw = encoder.load(model, threads=threads).raw(texts)
        part = path.with_suffix(".part.npz")
        np.savez(part, categories=raw.logits, topics=raw.topics, reports=raw.reports)
        part.replace(path)
    with np.load(path, allow_pickle=False) as file:
        return file["categories"], file["topics"], file["reports"]


def digest(texts: Sequence[str]) -> str:
    """Twelve hexadecimal digits that name these texts in this order."""
    return hashlib.sha256(json.dumps(texts, ensure_ascii=False).encode("utf-8", "replace")).hexdigest()[:12]


def calibrate(shared: Path, cache: Path, *, threads: int) -> export.Fitted:
    """Fit on the answers of all five fold models, and give each of these what the others' answers fit.

    Raises DataError, ModelError.
    """
    every = cases(shared)
    logits = answers(shared, cache, every, threads=threads).categories
    for group in range(folds.COUNT):
        export.refit(folder(cache, group) / "model", _fitted(every, logits, apart=group))
    return _fitted(every, logits)


def _fitted(every: Sequence[Case], logits: Floats, apart: int | None = None) -> export.Fitted:
    fitted = fit_calibration(every, logits, apart)
    told = [number for number, case in enumerate(every) if case.reported is not None and case.group != apart]
    p = fitted.probabilities(logits[told].astype(np.float64))
    gold = [str(every[number].reported) for number in told]
    chosen = scoring.thresholds_for_precision(gold, p, PRECISION, categories=measured(every))
    return export.Fitted(calibration=fitted, thresholds=chosen)


def fit_calibration(every: Sequence[Case], logits: Floats, apart: int | None = None) -> calibration.Calibration:
    """Platt scaling on the answers about unseen events, without those of the group `apart`.

    Right is a report of the top category. Half of the weight lies on reports and half on the others.
    """
    chosen = [n for n, case in enumerate(every) if case.reported is not None and case.group != apart]
    part = [every[number] for number in chosen]
    top = logits[chosen].argmax(axis=1)
    right = np.array([CATEGORIES[best] == case.reported for best, case in zip(top, part, strict=True)])
    return calibration.fit(logits[chosen], right, scoring.balanced([str(case.reported) for case in part]))


def balance(every: Sequence[Case]) -> Any:
    """Weights (cases,) that give reports and others the same sum, and each happening the same within either."""
    keys = [(case.reported == "none", case.happening) for case in every]
    counts: dict[tuple[bool, str], int] = {}
    for key in keys:
        counts[key] = counts.get(key, 0) + 1
    kinds = {none: sum(1 for other, _ in counts if other == none) for none in (True, False)}
    return np.array([0.5 * len(every) / (kinds[none] * counts[none, name]) for none, name in keys])
