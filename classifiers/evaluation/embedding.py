"""The frozen encoder: mean-pooled embeddings of the base weights as they come, through ONNX Runtime in float32.

The graph and the vectors are kept in a cache folder, vectors by hash of the normalised text, so that a text is embedded
once for all folds and runs. Needs the extra `train` once, for writing the graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from classifiers.api import EMBEDDING_SIZE
from classifiers.normalising import normalise

MAX_TOKENS = 64
_BATCH = 32
_PART = 4_096
"""Texts of one cache file: what an interruption can cost."""
_ENTRY = np.dtype([("key", "S16"), ("vector", "<f4", (EMBEDDING_SIZE,))])


def embed(texts: Sequence[str], cache: Path, *, threads: int = 2) -> npt.NDArray[np.float32]:
    """float32, shape (rows, 384), L2 norm 1, in the order of the texts. Raises ModelError without the base weights.

    The cache belongs to one set of base weights: its hash is part of the folder's name.
    """
    # torch takes seconds to import, and the types above are wanted without it.
    from classifiers import network

    folder = cache / f"frozen-{network.BASE_SHA256[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    known = _stored(folder)
    normal = [normalise(text) for text in texts]
    keys = [_key(text) for text in normal]
    missing = {key: text for key, text in zip(keys, normal, strict=True) if key not in known}
    if missing:
        known |= _computed(missing, folder, threads)
    result = np.empty((len(texts), EMBEDDING_SIZE), dtype=np.float32)
    for row, key in enumerate(keys):
        result[row] = known[key]
    return result


def _key(text: str) -> bytes:
    # Hexadecimal: numpy cuts trailing null bytes off its byte strings.
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16].encode("ascii")


def _stored(folder: Path) -> dict[bytes, Any]:
    known: dict[bytes, Any] = {}
    for path in folder.glob("*.npy"):
        entries = np.load(path)
        known.update(zip(entries["key"].tolist(), entries["vector"], strict=True))
    return known


def _computed(missing: dict[bytes, str], folder: Path, threads: int) -> dict[bytes, Any]:
    """Embeds and stores; parts are sorted by length, so that little is padded."""
    session, tokenizer = _opened(folder, threads)
    ordered = sorted(missing.items(), key=lambda pair: len(pair[1]))
    known: dict[bytes, Any] = {}
    with tqdm(total=len(ordered), unit="text", desc="embedding", disable=len(ordered) < _PART) as bar:
        for start in range(0, len(ordered), _PART):
            part = ordered[start : start + _PART]
            entries = np.empty(len(part), dtype=_ENTRY)
            entries["key"] = [key for key, _ in part]
            for at in range(0, len(part), _BATCH):
                encoded = tokenizer.encode_batch([text for _, text in part[at : at + _BATCH]])
                feed = {
                    "input_ids": np.array([item.ids for item in encoded], dtype=np.int64),
                    "attention_mask": np.array([item.attention_mask for item in encoded], dtype=np.int64),
                }
                entries["vector"][at : at + _BATCH] = session.run(None, feed)[0]
            path = folder / f"{hashlib.sha256(entries['key'].tobytes()).hexdigest()[:16]}.npy"
            with path.with_suffix(".writing").open("wb") as file:
                np.save(file, entries)
            path.with_suffix(".writing").replace(path)
            known.update(zip(entries["key"].tolist(), entries["vector"], strict=True))
            bar.update(len(part))
    return known


def _opened(folder: Path, threads: int) -> tuple[Any, Any]:
    import onnxruntime
    from tokenizers import Tokenizer

    from classifiers import network

    graph = folder / "encoder.onnx"
    base = network.base_folder()
    if not graph.is_file():
        write_graph(base, graph)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), sess_options=options, providers=["CPUExecutionProvider"])
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.enable_padding()
    return session, tokenizer


def write_graph(base: Path, path: Path) -> None:
    """The mean-pooled encoder of a model folder as ONNX, whole or not at all."""
    import torch
    from transformers import AutoModel

    from classifiers import network

    class Pooled(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.encoder = AutoModel.from_pretrained(
                base, local_files_only=True, add_pooling_layer=False, dtype=torch.float32, attn_implementation="sdpa"
            )

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return torch.nn.functional.normalize(network.mean_pooled(states, attention_mask), dim=1)

    ids = torch.randint(1000, 2000, (4, 16))
    mask = torch.ones_like(ids)
    mask[0, 10:] = 0
    axes = {0: torch.export.Dim("batch", min=1, max=4096), 1: torch.export.Dim("tokens", min=2, max=512)}
    program = torch.onnx.export(
        Pooled().eval(),
        (ids, mask),
        dynamo=True,
        dynamic_shapes=(axes, axes),
        input_names=["input_ids", "attention_mask"],
        output_names=["sentence_embedding"],
        opset_version=18,
        verbose=False,
    )
    unfinished = path.with_suffix(".writing")
    program.save(str(unfinished), external_data=False)
    unfinished.replace(path)
