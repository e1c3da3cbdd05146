"""The shipped model at run time: tokenizer, ONNX Runtime session, calibration, screen. No torch, no network.

`load()` checks every file against the manifest's hashes before it is used. The graph takes token ids, a mask and the
tokens' cases, and its outputs are those of `network.Answer`, by name (export.py writes it).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.api import EMBEDDING_SIZE, Classification, Embedding, ModelError, PlaceSpan, Screening
from classifiers.calibration import Calibration
from classifiers.normalising import case_of, normalise
from classifiers.rows import SOURCES
from classifiers.screen import Screen
from classifiers.taxonomy import CATEGORIES

MODEL = Path(__file__).parent / "model"
MANIFEST = "manifest.json"
GRAPH = "model.onnx"
TOKENIZER = "tokenizer.json"
SCREEN = "screen.npz"
FORMAT = 2
"""Of the folder and its manifest: another one cannot be read."""

OUTPUTS = ("category_logits", "topic_logits", "report_logit", "source_logits", "tag_logits", "sentence_embedding")
CHUNK = 16
"""Texts that a thread takes at once, at most."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Raw:
    """The graph's answer before calibration, one row a text: category and topic logits (texts, 20), report logits
    (texts), source logits (texts, 4), places, embeddings (texts, 384)."""

    logits: Floats
    topics: Floats
    reports: Floats
    sources: Floats
    places: list[tuple[PlaceSpan, ...]]
    embeddings: Floats

    @classmethod
    def empty(cls, texts: int) -> Raw:
        """To be filled."""

        def floats(*shape: int) -> Floats:
            return np.empty((texts, *shape), dtype=np.float32)

        return cls(
            logits=floats(len(CATEGORIES)),
            topics=floats(len(CATEGORIES)),
            reports=floats(),
            sources=floats(len(SOURCES)),
            places=[()] * texts,
            embeddings=floats(EMBEDDING_SIZE),
        )


def load(path: Path | None = None, *, threads: int = 2) -> Encoder:
    """The model in the folder `path`, or the shipped one. Raises ModelError where it is missing or not what it says.

    From here on numpy's BLAS has one thread in this process.
    """
    folder = path or MODEL
    manifest = verified_manifest(folder)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    import onnxruntime
    import threadpoolctl
    from transformers import PreTrainedTokenizerFast

    # The threads of numpy's BLAS wait in a busy loop for the screen's next product and take the transformer's cores:
    # with them the whole path is slower by two fifths.
    threadpoolctl.threadpool_limits(1, user_api="blas")
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
        known = manifest["categories"] == list(CATEGORIES) and manifest["format"] == FORMAT
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is not a model's manifest; install tocsin again") from error
    if not known:
        raise ModelError(f"the model in {folder} is of another version of tocsin; export it again")
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
        tokenizer.no_padding()
        tokenizer.enable_truncation(manifest["max_tokens"])

    def screen(self, texts: Sequence[str]) -> list[bool]:
        """For each text: is it worth the transformer?"""
        return self._screen.keep(texts)

    def screening(self, text: str) -> Screening:
        """What `screen` says of one text, with its figures."""
        score = float(self._screen.scores([text])[0])
        return Screening(
            passed=score >= self._screen.threshold,
            score=round(score, 3) if math.isfinite(score) else None,
            threshold=round(self._screen.threshold, 3),
        )

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        """Answers in the order of the texts; any number of texts, any text (only its first 64 tokens count)."""
        raw = self.raw(texts)
        probabilities = self.calibration.probabilities(raw.logits.astype(np.float64))
        reports = 1.0 / (1.0 + np.exp(-raw.reports.astype(np.float64)))
        sources = np.exp(raw.sources - raw.sources.max(axis=1, keepdims=True)).astype(np.float64)
        sources /= sources.sum(axis=1, keepdims=True)
        return [
            Classification(
                categories=dict(zip(CATEGORIES, row.tolist(), strict=True)),
                places=raw.places[at],
                embedding=raw.embeddings[at],
                model=self.version,
                report=float(reports[at]),
                sources=dict(zip(SOURCES, sources[at].tolist(), strict=True)),
            )
            for at, row in enumerate(probabilities)
        ]

    def raw(self, texts: Sequence[str]) -> Raw:
        """The graph's answers, uncalibrated: for `classify`, `export` and `evaluate`."""
        raw = Raw.empty(len(texts))
        normalised = [normalise(text) for text in texts]
        encodings = self._tokenizer.encode_batch(normalised)

        def answer(numbers: range) -> None:
            for number in numbers:
                cases = case_of(normalised[number], encodings[number].offsets)
                self._answer(number, texts[number], encodings[number], cases, raw)

        size = max(1, min(CHUNK, -(-len(texts) // self._threads)))  # so that the last thread is not left with the rest
        chunks = [range(start, min(start + size, len(texts))) for start in range(0, len(texts), size)]
        with ThreadPoolExecutor(self._threads, thread_name_prefix="encoder") as threads:
            for _ in threads.map(answer, chunks):
                pass
        return raw

    def _answer(self, number: int, text: str, encoding: Any, cases: Sequence[int], raw: Raw) -> None:
        ids = np.array([encoding.ids], dtype=np.int64)
        case_ids = np.array([cases], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "case_ids": case_ids}
        logits, topics, reports, sources, tags, embeddings = self._session.run(OUTPUTS, feed)
        silent = len(encoding.ids) <= 2
        raw.logits[number] = _NOTHING_SAID if silent else logits[0]
        raw.topics[number] = _NOTHING_SAID if silent else topics[0]
        raw.reports[number] = _NOTHING_SAID if silent else reports[0]
        raw.sources[number] = sources[0]
        raw.embeddings[number] = _unit(embeddings[0])
        raw.places[number] = _places(text, encoding, tags[0])


_NOTHING_SAID = np.float32(-20.0)
"""The logit of everything for a text without a single token."""


def _unit(vector: Floats) -> Embedding:
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def _places(text: str, encoding: Any, logits: Floats) -> tuple[PlaceSpan, ...]:
    """Spans of whole words; `logits` (tokens, 3) are of `network.TAGS`.

    A word is in a place when its pieces think so on average; its first piece says whether another place begins, which
    it does at every hashtag.
    """
    outside = _outside(logits)
    words: dict[int, list[int]] = {}
    for at, word in enumerate(encoding.word_ids):
        if word is not None:
            words.setdefault(word, []).append(at)
    spans: list[list[int]] = []
    inside = False
    for pieces in words.values():
        start, end = encoding.offsets[pieces[0]][0], encoding.offsets[pieces[-1]][1]
        continues = logits[pieces[0], 2] > logits[pieces[0], 1]
        if outside[pieces].mean() > 0.5:
            inside = False
            continue
        if inside and continues and "#" not in text[spans[-1][1] : start + 1]:
            spans[-1][1] = end
        else:
            spans.append([start, end])
        inside = True
    return tuple(
        PlaceSpan(text=text[start:end], start=start, end=end, type="LOC") for start, end in spans if end - start > 1
    )


def _outside(logits: Floats) -> Floats:
    """The probability of the first of three tags, by rows."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers[:, 0] / powers.sum(axis=1))
