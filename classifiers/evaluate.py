"""`python -m classifiers evaluate`: the shipped model on what it never saw, as JSON and a Markdown table.

Held-out events (data.HELD_OUT), the project's own held-out texts (same authors, hence optimistic; told apart), the
held-out half of the ordinary background and the hard background (crisis words, no disaster), place spans, speed.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from classifiers import calibration, data, encoder, export
from classifiers.api import CANDIDATE
from classifiers.taxonomy import CATEGORIES

Figures = dict[str, Any]


def evaluate(model: encoder.Encoder, shared: Path, *, background: int = 20_000) -> Figures:
    """Every figure of the card. `background` texts of the held-out half are classified. Raises DataError."""
    corpus = data.load(shared)
    rows = export.calibration_rows(corpus.held_out)
    real = [row for row in rows if row.dataset != "own"]
    own = [row for row in rows if row.dataset == "own"]
    real_raw = model.raw([row.text for row in real])
    own_raw = model.raw([row.text for row in own])
    sums = data.checksums(shared)
    hard = [item["text"] for item in data.read(shared, "background/hard_public.jsonl.gz", sums)]
    p = model.calibration.probabilities(real_raw.logits.astype(np.float64))
    return {
        "model": model.version,
        "rows": len(real),
        "categories": _by_category(real, p),
        "own_categories": _by_category(own, model.calibration.probabilities(own_raw.logits.astype(np.float64))),
        "report": _report(real, p),
        "calibration_error": _calibration_error(real, real_raw.logits),
        "background": _ordinary(model, corpus.background[:background]),
        "hard_background": _false_candidates(model, hard),
        "places": _places(model, [row for row in corpus.held_out if row.split == "spans"]),
        "speed": _speed(model, [row.text for row in corpus.background[:4000]]),
    }


def markdown(figures: Figures) -> str:
    """The figures as a Markdown section."""
    lines = [
        f"Model `{figures['model']}`, {figures['rows']} held-out rows. AP: average precision of the category's",
        "probability over all of these rows. F1: one label a row, the top category where p ≥ 0.5, else none.",
        "",
        "| category | reports | AP | precision | recall | F1 | own texts: n | own: F1 |",
        "| --- | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for category in CATEGORIES:
        real, own = figures["categories"][category], figures["own_categories"][category]
        cells = [f"{real[key]:.2f}" if real["n"] else "–" for key in ("ap", "precision", "recall", "f1")]
        lines.append(
            f"| {category} | {real['n']} | {' | '.join(cells)} | {own['n']} | {own['f1']:.2f} |"
            if own["n"]
            else f"| {category} | {real['n']} | {' | '.join(cells)} | 0 | – |"
        )
    report, background, hard = figures["report"], figures["background"], figures["hard_background"]
    places, speed = figures["places"], figures["speed"]
    lines += [
        "",
        f"- Report or not (any category ≥ 0.5), events only: AP {report['ap']:.3f}, F1 {report['f1']:.3f}.",
        f"- Expected calibration error of the top category, each event by a calibration fitted on the others: "
        f"{figures['calibration_error']:.3f}.",
        f"- Ordinary background (held-out half): {background['candidates']} of {background['n']} posts ≥ 0.5 "
        f"({background['rate']:.2%}); {background['screened']:.2%} pass the screen. By source: "
        + ", ".join(f"{source} {rate:.2%}" for source, rate in background["by_source"].items())
        + ". The pool holds posts about real storms and market news, which count as false here.",
        f"- Hard background (crisis words, no disaster; never trained on): {hard['candidates']} of {hard['n']} "
        f"({hard['rate']:.1%}).",
        "- Place spans, exact match, IDRISI posts that were not drawn for training (their events were): "
        f"F1 {places['f1']:.3f} "
        f"(precision {places['precision']:.3f}, recall {places['recall']:.3f}, {places['n']} spans).",
        f"- Speed on this machine: {speed['classify_per_s']:.0f} posts/s classified, "
        f"{speed['screen_per_s']:.0f} posts/s screened.",
    ]
    return "\n".join(lines) + "\n"


def write(figures: Figures, folder: Path) -> None:
    """evaluation.json and evaluation.md in the folder."""
    (folder / "evaluation.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / "evaluation.md").write_text(markdown(figures), encoding="utf-8")


def _by_category(rows: Sequence[data.Row], p: Any) -> dict[str, Figures]:
    """AP and F1 of each category. A row for which the category is neither right nor wrong does not count."""
    top = p.argmax(axis=1)
    named = p.max(axis=1) >= CANDIDATE
    result: dict[str, Figures] = {}
    for column, category in enumerate(CATEGORIES):
        judged = np.array([category not in row.unknown for row in rows], dtype=bool)
        gold = np.array([category in row.positive for row in rows], dtype=bool)[judged]
        said = (named & (top == column))[judged]
        # A row that rightly carries two categories counts as found under either.
        other_right = (
            np.array([CATEGORIES[best] in row.positive for best, row in zip(top, rows, strict=True)], dtype=bool)[
                judged
            ]
            & named[judged]
        )
        hit = int((gold & said).sum())
        missed = int((gold & ~said & ~other_right).sum())
        precision = hit / max(1, int(said.sum()))
        recall = hit / max(1, hit + missed)
        result[category] = {
            "n": int(gold.sum()),
            "ap": float(average_precision_score(gold, p[judged, column])) if gold.any() else 0.0,
            "precision": precision,
            "recall": recall,
            "f1": 2 * precision * recall / max(1e-9, precision + recall),
        }
    return result


def _report(rows: Sequence[data.Row], p: Any) -> Figures:
    gold = np.array([bool(row.positive) for row in rows])
    best = p.max(axis=1)
    hit = int((gold & (best >= CANDIDATE)).sum())
    precision, recall = hit / max(1, int((best >= CANDIDATE).sum())), hit / max(1, int(gold.sum()))
    return {
        "ap": float(average_precision_score(gold, best)),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(1e-9, precision + recall),
    }


def _calibration_error(rows: Sequence[data.Row], logits: Any) -> float:
    """Fitted on all held-out events but one group, applied to that one, over all groups; 15 bins of equal mass."""
    groups = np.array([row.event.lower() for row in rows])
    top = logits.argmax(axis=1)
    best = logits.max(axis=1).astype(np.float64)
    right = np.array([CATEGORIES[at] in row.positive for at, row in zip(top, rows, strict=True)])
    weights = export.balanced(rows)
    p = np.empty(len(rows))
    for group in np.unique(groups):
        inside = groups == group
        fitted = calibration.fit(best[~inside], right[~inside], weights[~inside])
        p[inside] = fitted.probabilities(best[inside])
    return calibration.expected_error(p, right, weights)


def _false_candidates(model: encoder.Encoder, texts: Sequence[str]) -> Figures:
    p = model.calibration.probabilities(model.raw(texts).logits.astype(np.float64))
    false = p.max(axis=1) >= CANDIDATE
    kept = np.array(model.screen(texts))
    per_category = {CATEGORIES[at]: int((p[false].argmax(axis=1) == at).sum()) for at in range(len(CATEGORIES))}
    return {
        "n": len(texts),
        "candidates": int(false.sum()),
        "rate": float(false.mean()),
        "candidates_after_screen": int((false & kept).sum()),
        "screened": float(kept.mean()),
        "by_category": {name: count for name, count in per_category.items() if count},
    }


def _ordinary(model: encoder.Encoder, rows: Sequence[data.Row]) -> Figures:
    figures = _false_candidates(model, [row.text for row in rows])
    figures["by_source"] = {
        source: _false_candidates(model, [row.text for row in rows if row.dataset == source])["rate"]
        for source in sorted({row.dataset for row in rows})
    }
    return figures


def _places(model: encoder.Encoder, rows: Sequence[data.Row]) -> Figures:
    found = model.raw([row.text for row in rows]).places
    hit = said = wanted = 0
    for row, spans in zip(rows, found, strict=True):
        gold = set(row.spans or ())
        mine = {(span.start, span.end) for span in spans}
        hit, said, wanted = hit + len(gold & mine), said + len(mine), wanted + len(gold)
    precision, recall = hit / max(1, said), hit / max(1, wanted)
    return {
        "n": wanted,
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(1e-9, precision + recall),
    }


def _speed(model: encoder.Encoder, texts: Sequence[str]) -> Figures:
    model.classify(texts[:256])
    begun = time.perf_counter()
    model.classify(texts)
    between = time.perf_counter()
    model.screen(texts)
    done = time.perf_counter()
    return {"classify_per_s": len(texts) / (between - begun), "screen_per_s": len(texts) / (done - between)}
