"""The runtimes that `classifiers.runtimes` compares: how each one's file is written from the weights, and opened.

Inputs and outputs go by the names of the exported graph. openvino, nncf and ctranslate2 are optional.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import json
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers import normalising

Array = npt.NDArray[Any]
Infer = Callable[[Mapping[str, Array]], Sequence[Array]]
"""Input name → (posts, tokens) in; the three OUTPUTS out. Called by several threads at once."""

MAX_TOKENS = 64
OUTPUTS = ("category_logits", "tag_logits", "sentence_embedding")


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """A runtime and precision: the packages it needs, the file it reads, what opens that file."""

    name: str
    file: str
    open: Callable[[Path, int], Infer]
    needs: tuple[str, ...] = ()


def missing(needs: Sequence[str]) -> str | None:
    """What to install for these packages, None where all are there."""
    absent = [name for name in needs if importlib.util.find_spec(name) is None]
    return f"not installed: pip install {' '.join(absent)}" if absent else None


@functools.cache
def _tokenizer(folder: Path) -> tuple[Any, list[str]]:
    tokenizer = importlib.import_module("tokenizers").Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    return tokenizer, json.loads((folder / "inputs.json").read_text(encoding="utf-8"))


def feeds_of(folder: Path, texts: Sequence[str]) -> list[dict[str, Array]]:
    """The graph's inputs for each text alone, shape (1, tokens)."""
    tokenizer, names = _tokenizer(folder)
    clean = [normalising.normalise(text) for text in texts]
    if "case_ids" not in names:
        return [_feed(e.ids) for e in tokenizer.encode_batch_fast(clean)]
    encodings = zip(clean, tokenizer.encode_batch(clean), strict=True)
    return [_feed(e.ids) | {"case_ids": np.array([normalising.case_of(text, e.offsets)])} for text, e in encodings]


def _feed(ids: Sequence[int]) -> dict[str, Array]:
    return {"input_ids": np.array([ids], dtype=np.int64), "attention_mask": np.ones((1, len(ids)), dtype=np.int64)}


def padded(feeds: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """One batch: every input filled with zeros up to the longest ([PAD] is 0, and the mask 0 there)."""
    if len(feeds) == 1:
        return feeds[0]
    batch = {name: np.zeros((len(feeds), max(f[name].shape[1] for f in feeds)), dtype=np.int64) for name in feeds[0]}
    for at, feed in enumerate(feeds):
        for name, value in feed.items():
            batch[name][at, : value.shape[1]] = value[0]
    return batch


def _open_onnx(path: Path, threads: int) -> Infer:
    """One session, one lane a thread: the caller's own."""
    del threads
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = runtime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(OUTPUTS, feed)


def _open_openvino(path: Path, threads: int, precision: str) -> Infer:
    """As many streams as threads; a thread keeps its own request. Pinned threads would fight over a shared machine."""
    settings = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    core = importlib.import_module("openvino").Core()
    compiled = core.compile_model(str(path), "CPU", settings | {"ENABLE_CPU_PINNING": False})
    ports, own = [compiled.output(name) for name in OUTPUTS], threading.local()

    def infer(feed: Mapping[str, Array]) -> Sequence[Array]:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        answer = own.request.infer(feed)
        return [answer[port] for port in ports]

    return infer


def _open_ctranslate2(path: Path, threads: int) -> Infer:
    """The encoder in int8; pooling and heads in numpy. Cases, where the network has them, go in as token types."""
    library = importlib.import_module("ctranslate2")
    encoder = library.Encoder(str(path), compute_type="int8", inter_threads=threads, intra_threads=1)
    heads = dict(np.load(path / "heads.npz"))

    def head(name: str, values: Array) -> Array:
        return np.asarray(values @ heads[f"{name}.weight"].T + heads[f"{name}.bias"])

    def infer(feed: Mapping[str, Array]) -> Sequence[Array]:
        lengths, mask = feed["attention_mask"].sum(axis=1), feed["attention_mask"][..., None].astype(np.float32)
        ids, *cases = (
            [row[:size].tolist() for row, size in zip(feed[name], lengths, strict=True)]
            for name in ("input_ids", "case_ids")
            if name in feed
        )
        answer = encoder.forward_batch(ids, **({"token_type_ids": cases[0]} if cases else {}))
        states = np.array(answer.last_hidden_state)
        mean = (states * mask).sum(axis=1) / mask.sum(axis=1)
        hidden = gelu(head("hidden", np.concatenate([states[:, 0], mean], axis=1)))
        if "categories.weight" in heads:
            logits = head("categories", hidden)
        else:
            one, other = -head("topics", hidden), -head("report", hidden)
            logits = -np.logaddexp(np.logaddexp(one, other), one + other)
        return logits, head("tags", states), mean / np.linalg.norm(mean, axis=1, keepdims=True)

    return infer


def gelu(x: Array) -> Array:
    """x·Φ(x), with the error function of Abramowitz and Stegun 7.1.26 (error below 1.5e-7)."""
    z = np.abs(x) / np.sqrt(2.0)
    t = 1.0 / (1.0 + 0.3275911 * z)
    poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.asarray(x * 0.5 * (1.0 + np.sign(x) * (1.0 - poly * np.exp(-z * z))))


_f32, _bf16 = (partial(_open_openvino, precision=precision) for precision in ("f32", "bf16"))
_OPENVINO, _NNCF, _CTRANSLATE2 = ("openvino",), ("openvino", "nncf"), ("ctranslate2",)
RUNTIMES = (
    Runtime(name="ONNX Runtime float32", file="full.onnx", open=_open_onnx),
    Runtime(name="ONNX Runtime dynamic int8", file="int8.onnx", open=_open_onnx),
    Runtime(name="ONNX Runtime static int8", file="static.onnx", open=_open_onnx),
    Runtime(name="OpenVINO float32", file="full.onnx", open=_f32, needs=_OPENVINO),
    Runtime(name="OpenVINO bf16", file="full.onnx", open=_bf16, needs=_OPENVINO),
    Runtime(name="OpenVINO int8", file="nncf.xml", open=_f32, needs=_NNCF),
    Runtime(name="CTranslate2 int8", file="ct2", open=_open_ctranslate2, needs=_CTRANSLATE2),
)


def prepare(
    run: Path, folder: Path, sample: Sequence[str], others: Sequence[str]
) -> tuple[tuple[Array, Array], dict[str, str]]:
    """Write every runtime's file from the same weights; torch's own answers, and file → why it could not be written."""
    import onnx
    import torch

    from classifiers import export, network

    model = network.Network(network.base_folder()).eval()
    model.load_state_dict(torch.load(run / "network.pt", weights_only=True, map_location="cpu"))
    full, problems = folder / "full.onnx", {}
    export.write_graph(model, full)
    graph = onnx.load(str(full)).graph
    inputs, outputs = ([value.name for value in values] for values in (graph.input, graph.output))
    (folder / "inputs.json").write_text(json.dumps(inputs), encoding="utf-8")
    answers = []
    with torch.no_grad():
        for feed in feeds_of(folder, sample):
            answer = model(*(torch.from_numpy(feed[name]) for name in inputs))
            # A named answer is taken by its names, a plain tuple by the order of the graph's.
            named = answer._asdict() if hasattr(answer, "_asdict") else dict(zip(outputs, answer, strict=True))
            answers.append([named[name].numpy() for name in OUTPUTS])
    logits, _, embeddings = zip(*answers, strict=True)
    feeds = feeds_of(folder, others)
    writers: tuple[tuple[str, tuple[str, ...], Callable[[], None]], ...] = (
        ("int8.onnx", (), lambda: export.quantise(full, folder / "int8.onnx")),
        ("static.onnx", (), lambda: _write_static(full, folder / "static.onnx", feeds)),
        ("nncf.xml", _NNCF, lambda: _write_nncf(full, folder / "nncf.xml", feeds)),
        ("ct2", _CTRANSLATE2, lambda: _write_ctranslate2(model, run, folder / "ct2")),
    )
    for file, needs, write in writers:
        try:
            if not missing(needs):
                write()
        except Exception as error:  # each library raises its own kinds
            problems[file] = problem(error)
    return (1 / (1 + np.exp(-np.concatenate(logits))), np.concatenate(embeddings)), problems


def _write_static(full: Path, path: Path, feeds: Sequence[dict[str, Array]]) -> None:
    """Activations at scales found on the calibration texts; `export.quantise` has left the graph without its shapes."""
    quantization = importlib.import_module("onnxruntime.quantization")
    left = iter(feeds)
    reader = type("Reader", (quantization.CalibrationDataReader,), {"get_next": lambda _: next(left, None)})
    kinds = {"weight_type": quantization.QuantType.QInt8, "activation_type": quantization.QuantType.QUInt8}
    quantization.quantize_static(
        full.with_name("plain.onnx"), path, reader(), op_types_to_quantize=["MatMul", "Gemm"], per_channel=True,
        extra_options={"MatMulConstBOnly": True}, **kinds,
    )  # fmt: skip


def _write_nncf(full: Path, path: Path, feeds: Sequence[dict[str, Array]]) -> None:
    """Post-training quantisation: SmoothQuant, scales found on the calibration texts, biases corrected."""
    openvino, nncf = importlib.import_module("openvino"), importlib.import_module("nncf")
    graph = openvino.Core().read_model(str(full))
    small = nncf.quantize(graph, nncf.Dataset(feeds), model_type=nncf.ModelType.TRANSFORMER, subset_size=len(feeds))
    openvino.save_model(small, str(path))


def _write_ctranslate2(model: Any, run: Path, path: Path) -> None:
    """Through a BERT folder. Its converter knows nothing of cases: they become the rows of the token types' table."""
    import torch

    hub, bert = path.with_name("bert"), model.encoder
    if hasattr(model, "case"):
        table = bert.embeddings.token_type_embeddings
        rows = table.weight[0] + model.case.weight
        table.weight, bert.config.type_vocab_size = torch.nn.Parameter(rows.detach()), len(rows)
    bert.save_pretrained(hub)
    shutil.copytree(run / "tokenizer", hub, dirs_exist_ok=True)
    converters = importlib.import_module("ctranslate2.converters")
    converters.TransformersConverter(str(hub)).convert(str(path), quantization="int8")
    heads = {k: v.numpy() for k, v in model.state_dict().items() if not k.startswith("encoder.")}
    np.savez(path / "heads.npz", **heads)


def problem(error: Exception) -> str:
    return f"not run: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
