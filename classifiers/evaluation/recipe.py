"""How good the recipe is where a set brings its own training part: Kaggle's disaster posts and the traffic posts.

Their data have no stated licence: the weights made here are measured and never shipped. Each run starts from the
shipped network, which never saw these sets, and learns the one question of the set on the head for reports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from classifiers import data, train
from classifiers.evaluation import scoring, sets

EPOCHS = 3
MOST_TRAFFIC = 12_000
"""Training rows of the traffic set, drawn by hash: more of them change nothing in the third digit."""


def kaggle(run: Path, shared: Path, cache: Path, *, threads: int) -> dict[str, Any]:
    """F1 of the disaster class, five folds grouped by normalised text, every row predicted once at p ≥ 0.5."""
    groups = sets.grouped(sets.kaggle(shared))
    per_fold, said, gold = [], [], []
    for fold, test in enumerate(groups):
        rest = [row for number, group in enumerate(groups) if number != fold for row in group]
        logits = _learnt(run, rest, test, _place(cache, run, f"kaggle-{fold}"), threads=threads)
        per_fold.append(_yes(test, logits > 0).f1)
        said.extend((logits > 0).tolist())
        gold.extend(test)
    return {"f1": _yes(gold, said).f1, "folds": per_fold, "rows": len(gold)}


def traffic(run: Path, shared: Path, cache: Path, *, threads: int) -> dict[str, Any]:
    """F1 of the traffic class on both official tests."""
    parts = sets.traffic(shared)
    rows = sorted(parts.train, key=lambda row: data.text_hash(row.text))[:MOST_TRAFFIC]
    both = [row for test in parts.tests.values() for row in test]
    logits = _learnt(run, rows, both, _place(cache, run, "traffic"), threads=threads, epochs=1)
    result: dict[str, Any] = {"trained_on": len(rows)}
    at = 0
    for name, test in parts.tests.items():
        score = _yes(test, logits[at : at + len(test)] > 0)
        result[name] = {"n": len(test), "f1": score.f1, "precision": score.precision, "recall": score.recall}
        at += len(test)
    return result


def _place(cache: Path, run: Path, name: str) -> Path:
    """Kept for this run of the shipped network alone."""
    return cache / f"{name}-{hashlib.sha256((run / train.RECORD).read_bytes()).hexdigest()[:8]}"


def _learnt(
    run: Path,
    rows: Sequence[sets.Judged],
    test: Sequence[sets.Judged],
    out: Path,
    *,
    threads: int,
    epochs: int = EPOCHS,
) -> Any:
    """Train on `rows` and answer `test`: report logits (test rows,); both are kept in `out`."""
    kept = out / "logits.npy"
    if not kept.is_file():
        taught = [data.Row(text=row.text, report=row.target, judged=False, event=out.name) for row in rows]
        plan = train.Plan(epochs=epochs, rate=5e-5, mask=False, threads=threads)
        weights = out / train.WEIGHTS
        if not weights.is_file():
            train.fit(taught, {"set": out.name}, out, plan, run)
        np.save(kept, train.answers(weights, [row.text for row in test], threads=threads).report_logit)
    return np.load(kept)


def _yes(rows: Sequence[sets.Judged], said: Sequence[bool]) -> scoring.Score:
    gold = np.array([row.target for row in rows])
    named = np.array(said)
    return scoring.score(int((gold & named).sum()), int(named.sum()), int(gold.sum()))
