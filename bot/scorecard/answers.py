"""What the fold models say of the streams' texts, kept in a cache: a text is classified once for all runs."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bot.detection import candidates
from classifiers import encoder
from classifiers.api import Classification, PlaceSpan
from classifiers.rows import SOURCES
from classifiers.taxonomy import CATEGORIES

PART = 2_000
"""Texts of one file of the cache: what a stopped run loses."""


class Answers:
    """Of one fold model; the cache belongs to its version."""

    def __init__(self, cache: Path, model: encoder.Encoder) -> None:
        self._model = model
        self._folder = cache / f"answers-{model.version}"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._parts: list[dict[str, Any]] = []
        self._at: dict[bytes, tuple[int, int]] = {}
        for path in sorted(self._folder.glob("*.npz")):
            self._take(path)

    def missing(self, texts: Iterable[str]) -> list[str]:
        """Those of the texts that were not classified yet, each once, shortest first."""
        return sorted({text for text in texts if _key(text) not in self._at}, key=lambda text: (len(text), text))

    def add(self, texts: Sequence[str]) -> Iterator[int]:
        """Classify the texts; yields how many after each part."""
        for start in range(0, len(texts), PART):
            some = texts[start : start + PART]
            raw = self._model.raw(some)
            path = self._folder / f"{len(self._parts):04}-{_key(some[0]).hex()[:8]}.npz"
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.savez(
                    file,
                    keys=np.array([_key(text).hex() for text in some]),
                    logits=raw.logits,
                    topics=raw.topics.astype(np.float16),
                    reports=(1.0 / (1.0 + np.exp(-raw.reports))).astype(np.float32),
                    sources=raw.sources,
                    embeddings=raw.embeddings.astype(np.float16),
                    places=np.array([json.dumps([[s.start, s.end] for s in spans]) for spans in raw.places]),
                )
            part.replace(path)
            self._take(path)
            yield len(some)

    def top(self, text: str) -> float:
        """The highest probability of a category. Raises KeyError for a text that was not classified."""
        part, row = self._at[_key(text)]
        return float(self._parts[part]["top"][row])

    def get(self, text: str) -> Classification:
        """As `Encoder.classify` gives it; the embedding rounded as it is in the store."""
        number, row = self._at[_key(text)]
        part = self._parts[number]
        sources = np.exp(part["sources"][row] - part["sources"][row].max())
        vector = candidates.unpacked(candidates.packed(part["embeddings"][row]))
        return Classification(
            categories=dict(zip(CATEGORIES, part["p"][row].astype(float).tolist(), strict=True)),
            places=tuple(
                PlaceSpan(text=text[start:end], start=start, end=end, type="LOC")
                for start, end in json.loads(str(part["places"][row]))
            ),
            embedding=np.zeros(384, dtype=np.float32) if vector is None else vector,
            model=self._model.version,
            report=float(part["reports"][row]),
            sources=dict(zip(SOURCES, (sources / sources.sum()).astype(float).tolist(), strict=True)),
        )

    def _take(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as file:
            part = {name: file[name] for name in file.files}
        # Probabilities are made anew: a model may be calibrated anew without its answers changing.
        part["p"] = self._model.calibration.probabilities(part.pop("logits").astype(np.float64))
        part["top"] = part["p"].max(axis=1)
        for row, key in enumerate(part.pop("keys").tolist()):
            self._at[bytes.fromhex(key)] = (len(self._parts), row)
        self._parts.append(part)


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()[:12]
