"""What a classifier is and what it answers: the types that other packages may import.

A leaf: standard library and numpy only. The model itself is loaded by `classifiers.encoder.load`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from classifiers.taxonomy import CATEGORIES

__all__ = [
    "CANDIDATE",
    "CATEGORIES",
    "EMBEDDING_SIZE",
    "Classification",
    "Classifier",
    "Embedding",
    "ModelError",
    "PlaceSpan",
    "Screening",
]

Embedding = npt.NDArray[np.float32]
"""float32, shape (384,), L2 norm 1: for clustering posts about the same happening."""

EMBEDDING_SIZE = 384
CANDIDATE = 0.5
"""The neutral threshold (contract.md): a post whose top category reaches it is a candidate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceSpan:
    """A mention of a place: `text[start:end]` in characters of the text as it was given."""

    text: str
    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """The model's answer about one text. `categories` holds every category, in the contract's order.

    `report` is the probability that the text reports something real, specific and current, whatever it is; `sources`
    are the probabilities of who speaks (`rows.SOURCES`). A model without these heads says None and nothing.
    """

    categories: dict[str, float]
    places: tuple[PlaceSpan, ...]
    embedding: Embedding
    model: str
    report: float | None = None
    sources: dict[str, float] = field(default_factory=dict)

    @property
    def top(self) -> tuple[str, float]:
        """The most probable category and its calibrated probability; ties go to the first in the contract's order."""
        category = max(self.categories, key=self.categories.__getitem__)
        return category, self.categories[category]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screening:
    """The screen's answer about one text: it passes from `threshold` on.

    `score` is None where there is nothing to read, where the screen cannot judge, and for a model without a screen;
    `threshold` is None for such a model.
    """

    passed: bool
    score: float | None = None
    threshold: float | None = None


class Classifier(Protocol):
    """Blocking and thread-compatible (one call at a time); `batching.InferenceThread` puts it beside an event loop."""

    version: str

    def screen(self, texts: Sequence[str]) -> list[bool]:
        """For each text: is it worth the transformer?"""
        ...

    def screening(self, text: str) -> Screening:
        """What `screen` says of one text, with its figures."""
        ...

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        """Answers in the order of the texts; any number of texts, any text."""
        ...


class ModelError(Exception):
    """The model is missing or not the one its manifest describes. The message says what, and what to do."""
