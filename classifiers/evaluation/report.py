"""evaluation.json, part by part, and evaluation.md from it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from classifiers.taxonomy import CATEGORIES

Figures = dict[str, Any]


def read(folder: Path) -> Figures:
    """The parts measured so far, {} for none."""
    path = folder / "evaluation.json"
    result: Figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return result


def write(folder: Path, part: str, figures: Figures) -> None:
    """Put one part in its place in evaluation.json, and write evaluation.md anew."""
    folder.mkdir(parents=True, exist_ok=True)
    everything = read(folder) | {part: figures}
    (folder / "evaluation.json").write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    (folder / "evaluation.md").write_text(markdown(everything), encoding="utf-8")


def markdown(everything: Figures) -> str:
    """The parts that are there, as sections."""
    sections = {
        "unseen": _unseen,
        "variants": _variants,
        "quantisation": _quantisation,
        "recipe": _recipe,
        "encoders": _encoders,
        "shipped": _shipped,
    }
    return "\n".join(write(everything[part]) for part, write in sections.items() if part in everything)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table; numbers between 0 and 1 are given two digits, the first column is left-aligned."""
    titles = list(head)
    lines = ["| " + " | ".join(titles) + " |", "| --- |" + " --: |" * (len(titles) - 1)]
    lines += ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _unseen(part: Figures) -> str:
    names = list(part["compared"])
    measured = part["measured"]
    reports = part["reports"]
    lines = [
        f"### Unseen events: {part['cases']} posts of {part['happenings']} happenings in five groups\n",
        "One label a post, whatever it says of the event; one threshold for all categories, chosen on the other four "
        "groups. In brackets a 95 % interval over happenings.\n",
        table(
            ["", *names],
            [
                [
                    "macro-F1, %",
                    *(
                        "{:.1f} ({:.0f}–{:.0f})".format(
                            *(100 * value for value in (figures["macro_f1"], *figures["interval"]))
                        )
                        for figures in part["compared"].values()
                    ),
                ],
                [
                    "… with a threshold for each category",
                    *(f"{100 * figures['macro_f1_own_thresholds']:.1f}" for figures in part["compared"].values()),
                ],
                [
                    "… at 0.5",
                    *(f"{100 * figures['macro_f1_at_half']:.1f}" for figures in part["compared"].values()),
                ],
                *(
                    [f"F1 {category}", *(part["compared"][name]["f1"][category] for name in names)]
                    for category in measured
                ),
                *(
                    [f"AP {category}", *(part["compared"][name]["ap"][category] for name in names)]
                    for category in measured
                ),
            ],
        ),
        "Apart: categories of one event, known to the fold by own texts and what posts of other events say.\n",
        table(
            ["category", "posts", "AP", "F1 at 0.5"],
            [[name, row["n"], row["ap"], row["f1"]] for name, row in part["zero_shot"].items()],
        ),
        f"As the service uses it (is the category *reported*; {reports['cases']} posts that people judged), each group "
        f"calibrated on the others: expected calibration error {reports['calibration_error']:.3f} "
        f"(each happening alike: {reports['calibration_error_each_happening_alike']:.3f}), report or not at p ≥ 0.5: "
        f"precision {reports['report_precision']:.2f}, recall {reports['report_recall']:.2f}, F1 "
        f"{reports['report_f1']:.2f}; macro-F1 at 0.5 {100 * reports['macro_f1']:.1f} %. Error by category: "
        + ", ".join(f"{name} {value:.3f}" for name, value in reports["calibration_error_by_category"].items())
        + ".\n",
        "By language, unseen events, one label a post:\n",
        table(
            ["language", "posts", "of events", "precision", "recall", "F1"],
            [
                [lang, row["n"], row["events"], row["precision"], row["recall"], row["f1"]]
                for lang, row in part["languages"].items()
            ],
        ),
        "![Confusion](confusion.png)\n\n![Precision and recall](precision-recall.png)\n\n"
        "![Reliability](reliability.png)\n",
    ]
    return "\n".join(lines)


def _variants(part: Figures) -> str:
    rows = []
    for name, figures in part.items():
        for kind, said in (("whole", "whole recipe"), ("without", name)):
            f1, ap = (100 * figures[kind][what] for what in ("macro_f1", "macro_ap"))
            row = [said, str(figures["groups"]), figures["steps"], f1, ap]
            if row not in rows:
                rows.append(row)
    return "### What the parts of the recipe bring (unseen events, threshold 0.5)\n\n" + table(
        ["recipe", "groups", "steps", "macro-F1, %", "macro-AP, %"], rows
    )


def _quantisation(part: Figures) -> str:
    return (
        "### What int8 costs\n\n"
        f"Macro-F1 on {part['cases']} posts of unseen events: float32 {100 * part['float32']:.2f} %, int8 "
        f"{100 * part['int8']:.2f} %.\n"
    )


def _recipe(part: Figures) -> str:
    kaggle, traffic = part["kaggle"], part["traffic"]
    return (
        "### The recipe on sets with a training part of their own (weights measured, never shipped)\n\n"
        f"- Kaggle disaster posts, five folds grouped by normalised text, p ≥ 0.5: F1 {kaggle['f1']:.3f} (folds "
        f"{', '.join(f'{value:.3f}' for value in kaggle['folds'])}).\n"
        f"- Traffic or not: test2 F1 {traffic['test2']['f1']:.4f}, test3 F1 {traffic['test3']['f1']:.4f}.\n"
    )


def _encoders(figures: Figures) -> str:
    """Two tables: by language, and speed and size. An encoder that is not there has its reason below."""
    encoders = figures["encoders"]
    there = {name: part for name, part in encoders.items() if "problem" not in part}
    rows = []
    for lang in next(iter(there.values()))["languages"] if there else ():
        for name, part in there.items():
            row = part["languages"][lang]
            macro = "–" if row["macro_ap"] is None else row["macro_ap"]
            said = (row["precision"], row["recall"], row["f1"], macro, ", ".join(row["ap"]))
            rows.append([lang, row["n"], row["events"], row["trained"], name, *said])
    speeds = [
        [name, *(f"{value:.0f}" for value in part["speed"].values()), *(f"{v:.1f}" for v in part["size"].values())]
        for name, part in there.items()
    ]
    head = ("language", "posts", "of events", "of measured categories", "encoder", "precision", "recall", "F1")
    lines = [
        f"### Encoders by language: frozen, logistic regression, {figures['rows']} posts of unseen events\n",
        table((*head, "macro-AP", "over"), rows),
        "Posts per CPU second, one thread, each alone, median of 3 rounds in turns; MB in int8 with "
        "tokenizer.json; pruned: an estimate with the pieces of the vocabulary that occur in the crisis sets.\n",
        table(
            ("encoder", "float32", "int8", "tokens a post", "MB", "pieces occurring, thousands", "MB pruned"), speeds
        ),
        *(f"{name}: {part['problem']}\n" for name, part in encoders.items() if "problem" in part),
    ]
    return "\n".join(lines)


def _shipped(part: Figures) -> str:
    kaggle, background, hard = part["kaggle"], part["background"], part["hard_background"]
    places, path, case = part["places"], part["path"], part["case2021"]
    own = part["own_texts"]
    lines = [
        f"### The shipped model `{part['model']}` on what it never saw\n",
        f"- Kaggle disaster posts, zero-shot: F1 {kaggle['f1']:.3f} at p ≥ 0.5 (precision {kaggle['precision']:.2f}, "
        f"recall {kaggle['recall']:.2f}), AP {kaggle['ap']:.3f}; the best threshold on these very rows, "
        f"{kaggle['best_threshold']:.2f}, would give {kaggle['best_f1']:.3f}.",
        *(
            f"- Traffic {name}, zero-shot (accident, jam, roadworks against nothing; only accidents are events here): "
            f"F1 {row['f1']:.3f}, AP {row['ap']:.3f}."
            for name, row in part["traffic"].items()
        ),
        f"- CASE 2021 snippets, zero-shot: macro-F1 {100 * case['macro_f1']:.1f} % ("
        + ", ".join(f"{name} {value:.2f} of {case['rows'][name]}" for name, value in case["f1"].items())
        + ").",
        f"- Financial posts, valid part ({part['finance']['n']} rows): AP "
        + ", ".join(f"{name} {value:.2f}" for name, value in part["finance"]["ap"].items())
        + ".",
        f"- Storm Gloria, Spanish and Catalan ({part['storm_gloria']['n']} rows): F1 storm "
        f"{part['storm_gloria']['f1'].get('storm', 0.0):.2f}, AP {part['storm_gloria']['ap'].get('storm', 0.0):.2f}.",
        f"- Ordinary background (the half never trained on): {background['candidates']} of {background['n']} posts "
        f"have p ≥ 0.5 ({background['rate']:.2%}); {background['screened']:.2%} pass the screen. By source: "
        + ", ".join(f"{source} {rate:.2%}" for source, rate in background["by_source"].items())
        + ". The pool holds posts about real storms and market news, which count as false here.",
        f"- Hard background (crisis words, no disaster): {hard['candidates']} of {hard['n']} ({hard['rate']:.1%}).",
        f"- Places, exact match, {places['rows']} English posts of the time-based test: F1 {places['f1']:.3f} "
        f"(precision {places['precision']:.3f}, recall {places['recall']:.3f}, {places['n']} spans).",
        f"- The whole classify path on {path['posts']} ordinary posts with reports among them, {path['candidates']} of "
        f"them candidates by the transformer: {path['posts_per_s']:.0f} posts/s (the screen alone "
        f"{path['screen_per_s']:.0f}, the transformer alone {path['transformer_per_s']:.0f}); the screen keeps "
        f"{path['screen_recall']:.1%} of the candidates, nearly all of them false ones, and passes "
        f"{path['screen_passes']:.1%} of the stream; of {path['reports']} unseen reports that are candidates it keeps "
        f"{path['screen_recall_of_reports']:.1%}.\n",
        "Own held-out texts (same authors as the trained ones, hence optimistic); "
        f"{own['none']['candidates']} of {own['none']['n']} hard negatives are candidates:\n",
        table(
            ["category", "texts", "precision", "recall", "F1"],
            [
                [name, own[name]["n"], own[name]["precision"], own[name]["recall"], own[name]["f1"]]
                for name in CATEGORIES
            ],
        ),
        "Deliberate evasion, {texts} own English texts that are candidates untouched:\n".format(
            **part["evasion"]["table"][0]
        ),
        table(
            ["evasion", "still candidates", "same category", "pass the screen", "found by the service"],
            [
                [row["evasion"], row["candidates"], row["same"], row["screened"], row["found"]]
                for row in part["evasion"]["table"]
            ],
        ),
    ]
    return "\n".join(lines)
