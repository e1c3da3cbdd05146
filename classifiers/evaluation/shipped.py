"""The shipped model on what it never saw: sets that it was not trained on, ordinary posts, places, evasion, speed."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from classifiers import data, encoder, evasion
from classifiers.api import CANDIDATE
from classifiers.evaluation import scoring, sets
from classifiers.taxonomy import CATEGORIES

Figures = dict[str, Any]
CANDIDATES = 0.01
"""Of the stream that the path is timed on."""
BATCH = 256
"""Posts of one call, as in the service."""
ROUNDS = 3
_MARKETS = ("markets", "politics")


def figures(model: encoder.Encoder, shared: Path, *, background: int) -> Figures:
    """`background` texts of the half of the pool that was never trained on are classified. Raises DataError."""
    corpus = data.load(shared)
    sums = data.checksums(shared)
    hard = [item["text"] for item in data.read(shared, "background/hard_public.jsonl.gz", sums)]
    own = [row for row in data.own_texts() if row.split == "held_out"]
    traffic = sets.traffic(shared).tests
    return {
        "model": model.version,
        "kaggle": _two_classes(model, sets.kaggle(shared)),
        "traffic": {name: _two_classes(model, rows) for name, rows in traffic.items()},
        "case2021": _labelled(model, sets.case2021(shared)),
        "finance": _finance(model, [row for row in corpus.held_out if row.dataset == "fin_tweets_topic"]),
        "storm_gloria": _labelled(model, sets.storm_gloria(shared)),
        "own_texts": _own(model, own),
        "background": _ordinary(model, corpus.background[:background]),
        "hard_background": _false_candidates(model, hard),
        "places": _places(model, sets.spans(shared)),
        "evasion": _evasion(model, own),
        "path": _path(model, corpus, background),
    }


def probabilities(model: encoder.Encoder, texts: Sequence[str]) -> Any:
    """Calibrated, shape (texts, 20)."""
    return model.calibration.probabilities(model.raw(texts).logits.astype(np.float64))


def _two_classes(model: encoder.Encoder, rows: Sequence[sets.Judged]) -> Figures:
    """Zero-shot: the top probability as the answer, at the neutral threshold and at the best there is on these rows."""
    p = probabilities(model, [row.text for row in rows]).max(axis=1)
    gold = np.array([row.target for row in rows])
    cuts = scoring.cuts(gold, p)
    f1 = 2 * cuts.hits / (cuts.named + cuts.n)
    named = p >= CANDIDATE
    score = scoring.score(int((gold & named).sum()), int(named.sum()), int(gold.sum()))
    ap = float((np.diff(cuts.recall, prepend=0.0) * cuts.precision).sum())
    return {
        "n": len(rows),
        "f1": score.f1,
        "precision": score.precision,
        "recall": score.recall,
        "ap": ap,
        "best_f1": float(f1.max()),
        "best_threshold": float(cuts.thresholds[f1.argmax()]),
    }


def _labelled(model: encoder.Encoder, rows: Sequence[sets.Example]) -> Figures:
    gold = [row.label for row in rows]
    p = probabilities(model, [row.text for row in rows])
    present = [category for category in CATEGORIES if gold.count(category) >= 5]
    macro = scoring.macro_f1(gold, scoring.predict(p, dict.fromkeys(CATEGORIES, CANDIDATE)), present)
    return {
        "n": len(rows),
        "macro_f1": macro.f1,
        "f1": {category: score.f1 for category, score in macro.by_category.items()},
        "ap": scoring.average_precision(gold, p, present),
        "rows": {category: gold.count(category) for category in present},
    }


def _finance(model: encoder.Encoder, rows: Sequence[data.Row]) -> Figures:
    """The valid part: rows of topics that are neither news nor noise count for neither."""
    p = probabilities(model, [row.text for row in rows])
    judged = [at for at, row in enumerate(rows) if row.report is not None]
    gold = [next(iter(sorted(rows[at].reported)), scoring.NONE) for at in judged]
    return {"n": len(judged), "ap": scoring.average_precision(gold, p[judged], _MARKETS)}


def _own(model: encoder.Encoder, rows: Sequence[data.Row]) -> Figures:
    """The project's own held-out texts: same authors as the trained ones, hence optimistic."""
    p = probabilities(model, [row.text for row in rows])
    top, named = p.argmax(axis=1), p.max(axis=1) >= CANDIDATE
    result: Figures = {}
    for column, category in enumerate(CATEGORIES):
        gold = np.array([category in row.positive for row in rows])
        said = named & (top == column)
        other = named & np.array([CATEGORIES[best] in row.positive for best, row in zip(top, rows, strict=True)])
        hits = int((gold & said).sum())
        score = scoring.score(hits, int(said.sum()), hits + int((gold & ~said & ~other).sum()))
        result[category] = {"n": int(gold.sum()), "precision": score.precision, "recall": score.recall, "f1": score.f1}
    none = np.array([not row.positive for row in rows])
    result["none"] = {"n": int(none.sum()), "candidates": int((none & named).sum())}
    return result


def _false_candidates(model: encoder.Encoder, texts: Sequence[str]) -> Figures:
    p = probabilities(model, texts)
    false = p.max(axis=1) >= CANDIDATE
    kept = np.array(model.screen(texts))
    counts = {CATEGORIES[at]: int((p[false].argmax(axis=1) == at).sum()) for at in range(len(CATEGORIES))}
    return {
        "n": len(texts),
        "candidates": int(false.sum()),
        "rate": float(false.mean()),
        "candidates_after_screen": int((false & kept).sum()),
        "screened": float(kept.mean()),
        "by_category": {name: count for name, count in counts.items() if count},
    }


def _ordinary(model: encoder.Encoder, rows: Sequence[data.Row]) -> Figures:
    result = _false_candidates(model, [row.text for row in rows])
    result["by_source"] = {
        source: _false_candidates(model, [row.text for row in rows if row.dataset == source])["rate"]
        for source in sorted({row.dataset for row in rows})
    }
    return result


def _places(model: encoder.Encoder, rows: Sequence[sets.Marked]) -> Figures:
    test = [row for row in rows if row.part == "test"]
    found = model.raw([row.text for row in test]).places
    score = scoring.exact_span_f1(
        [row.spans for row in test], [[(span.start, span.end) for span in places] for places in found]
    )
    return {"rows": len(test), "n": score.n, "precision": score.precision, "recall": score.recall, "f1": score.f1}


def _evasion(model: encoder.Encoder, rows: Sequence[data.Row]) -> Figures:
    texts = [row.text for row in rows if row.positive and row.lang == "en"]
    return {"table": [asdict(row) for row in evasion.measure(model.classify, model.screen, texts)]}


def _path(model: encoder.Encoder, corpus: data.Data, background: int) -> Figures:
    """The whole classify path on ordinary posts with reports among them: 1 % are candidates by the transformer.

    Screen and transformer in batches as the service makes them; each text is decided once, `ROUNDS` times timed. As
    ordinary posts nearly give so many false candidates by themselves, the screen's recall of reports is told apart.
    """
    ordinary = [row.text for row in corpus.background[:background]]
    reports = [row.text for row in corpus.held_out if row.split == "posts" and row.reported]
    reports = sorted(set(reports), key=data.text_hash)[: background // 50]
    is_candidate = [bool(top >= CANDIDATE) for top in probabilities(model, ordinary + reports).max(axis=1)]
    candidates = sum(is_candidate[: len(ordinary)])
    added = 0
    while added < len(reports) and candidates < CANDIDATES * (len(ordinary) + added):
        candidates += is_candidate[len(ordinary) + added]
        added += 1
    found = [text for text, yes in zip(reports, is_candidate[len(ordinary) :], strict=True) if yes]
    stream = list(zip(ordinary + reports[:added], is_candidate, strict=False))
    random.Random(1).shuffle(stream)
    texts = [text for text, _ in stream]
    kept = np.array(model.screen(texts))
    wanted = np.array([candidate for _, candidate in stream])
    seconds = sorted(_timed(model, texts) for _ in range(ROUNDS))[ROUNDS // 2]
    begun = time.perf_counter()
    model.screen(texts)
    screening = time.perf_counter() - begun
    some = texts[:2_000]
    begun = time.perf_counter()
    model.classify(some)
    classifying = time.perf_counter() - begun
    return {
        "posts": len(texts),
        "reports_added": added,
        "candidates": int(wanted.sum()),
        "screen_recall": float(kept[wanted].mean()),
        "reports": len(found),
        "screen_recall_of_reports": float(np.mean(model.screen(found))),
        "screen_passes": float(kept.mean()),
        "posts_per_s": len(texts) / seconds,
        "screen_per_s": len(texts) / screening,
        "transformer_per_s": len(some) / classifying,
    }


def _timed(model: encoder.Encoder, texts: Sequence[str]) -> float:
    begun = time.perf_counter()
    for start in range(0, len(texts), BATCH):
        batch = texts[start : start + BATCH]
        passed = [text for text, keep in zip(batch, model.screen(batch), strict=True) if keep]
        if passed:
            model.classify(passed)
    return time.perf_counter() - begun
