"""The shipped model at run time: tokenizer, ONNX Runtime session, calibration, screen. No torch, no network.

`load()` checks every file against the manifest's hashes before it is used. The graph has three outputs: category
logits, place tags, embedding (export.py writes it).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.api import EMBEDDING_SIZE, Classification, Embedding, ModelError, PlaceSpan
from classifiers.calibration import Calibration
from classifiers.normalising import normalise
from classifiers.screen import Screen
from classifiers.taxonomy import CATEGORIES

MODEL = Path(__file__).parent / "model"
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
SCREEN = "screen.npz"

CHUNK = 16
"""Texts that a thread takes at once."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Raw:
    """The graph's answer before calibration: logits (texts, 20), places per text, embeddings (texts, 384)."""

    logits: Floats
    places: list[tuple[PlaceSpan, ...]]
    embeddings: Floats


def load(path: Path | None = None, *, threads: int = 2) -> Encoder:
    """The model in the folder `path`, or the shipped one. Raises ModelError where it is missing or not what it says."""
    folder = path or MODEL
    manifest = verified_manifest(folder)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import onnxruntime
    from transformers import PreTrainedTokenizerFast

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = onnxruntime.InferenceSession(
            str(folder / GRAPH), sess_options=options, providers=["CPUExecutionProvider"]
        )
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / TOKENIZER))
        screen = Screen.load(folder / SCREEN)
    except Exception as error:  # each library raises its own kinds; all mean the same to the caller
        raise ModelError(f"the model in {folder} cannot be loaded ({error}); install tocsin again") from error
    return Encoder(manifest, session, tokenizer.backend_tokenizer, screen, threads=threads)


def verified_manifest(folder: Path) -> dict[str, Any]:
    """The manifest, after each file that it lists was found and its hash compared. Raises ModelError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise ModelError(
            f"there is no model in {folder}; install tocsin again, or build one with: python -m classifiers train"
        )
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files: dict[str, str] = manifest["files"]
        known = manifest["categories"] == list(CATEGORIES)
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not a model's manifest; install tocsin again") from error
    if not known:
        raise ModelError(f"the model in {folder} has other categories than this version of tocsin; export it again")
    for name, digest in files.items():
        file = folder / name
        if not file.is_file():
            raise ModelError(f"the model's file {file} is missing; install tocsin again")
        if sha256(file) != digest:
            raise ModelError(f"the model's file {file} is not the one in its manifest; install tocsin again")
    return manifest


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Encoder:
    """A `Classifier`. One call at a time; `batching.InferenceThread` owns it where there is an event loop.

    Each text goes through the graph alone, on one of `threads` threads. Dynamic quantisation scales activations over
    the whole tensor, so in a shared batch an answer would depend on its neighbours, and alerts on timing; and without
    padding, one by one on two threads is no slower here than sorted batches of 32 (ratio 0.9–1.4 in one run).
    """

    def __init__(self, manifest: dict[str, Any], session: Any, tokenizer: Any, screen: Screen, *, threads: int) -> None:
        self.version: str = manifest["version"]
        self.manifest = manifest
        self.calibration = Calibration(**manifest["calibration"])
        self._session = session
        self._screen = screen
        self._threads = threads
        self._tokenizer = tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(manifest["max_tokens"])

    def screen(self, texts: Sequence[str]) -> list[bool]:
        """For each text: is it worth the transformer?"""
        return self._screen.keep(texts)

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        """Answers in the order of the texts; any number of texts, any text (only its first 64 tokens count)."""
        raw = self.raw(texts)
        probabilities = self.calibration.probabilities(raw.logits.astype(np.float64))
        return [
            Classification(
                categories=dict(zip(CATEGORIES, row.tolist(), strict=True)),
                places=raw.places[at],
                embedding=raw.embeddings[at],
                model=self.version,
            )
            for at, row in enumerate(probabilities)
        ]

    def raw(self, texts: Sequence[str]) -> Raw:
        """Logits, places and embeddings, uncalibrated: for `classify`, `export` and `evaluate`."""
        raw = Raw(
            np.empty((len(texts), len(CATEGORIES)), dtype=np.float32),
            [()] * len(texts),
            np.empty((len(texts), EMBEDDING_SIZE), dtype=np.float32),
        )
        encodings = self._tokenizer.encode_batch_fast([normalise(text) for text in texts])

        def answer(numbers: range) -> None:
            for number in numbers:
                self._answer(number, texts[number], encodings[number].ids, raw)

        chunks = [range(start, min(start + CHUNK, len(texts))) for start in range(0, len(texts), CHUNK)]
        with ThreadPoolExecutor(self._threads, thread_name_prefix="encoder") as threads:
            for _ in threads.map(answer, chunks):
                pass
        return raw

    def _answer(self, number: int, text: str, tokens: list[int], raw: Raw) -> None:
        ids = np.array([tokens], dtype=np.int64)
        logits, tags, embeddings = self._session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        raw.logits[number] = logits[0] if len(tokens) > 2 else _NOTHING_SAID
        raw.embeddings[number] = _unit(embeddings[0])
        found = tags[0].argmax(axis=1)
        if found.any():
            raw.places[number] = _places(text, self._tokenizer, found)


_NOTHING_SAID = np.float32(-20.0)
"""The logit of every category for a text without a single token."""


def _unit(vector: Floats) -> Embedding:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def _places(text: str, tokenizer: Any, tags: npt.NDArray[np.int64]) -> tuple[PlaceSpan, ...]:
    """Spans of words whose first piece is tagged; a word is whole or not at all. Offsets are computed only here."""
    encoding = tokenizer.encode(normalise(text))
    spans: list[list[int]] = []
    words: dict[int, tuple[int, int, int]] = {}
    for tag, word, (start, end) in zip(tags.tolist(), encoding.word_ids, encoding.offsets, strict=True):
        if word is None:
            continue
        first_tag, first_start, _ = words.get(word, (tag, start, end))
        words[word] = (first_tag, first_start, end)
    previous = 0
    for tag, start, end in words.values():
        if tag == 2 and previous and spans:
            spans[-1][1] = end
        elif tag:
            spans.append([start, end])
        previous = tag
    return tuple(
        PlaceSpan(text=text[start:end], start=start, end=end, type="LOC") for start, end in spans if end - start > 1
    )
