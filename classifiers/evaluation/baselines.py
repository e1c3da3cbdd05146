"""What the model has to beat: a linear model on words, a linear model on the frozen encoder, and a list of keywords.

Each is fitted on texts and labels (a category id or "none") and gives scores between 0 and 1 of shape (rows, 20) in the
order of the taxonomy, for `scoring`. Texts are normalised as the model's are. Needs the extra `train`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC

from classifiers.calibration import Floats
from classifiers.evaluation import embedding, keywords
from classifiers.normalising import normalise
from classifiers.taxonomy import CATEGORIES


class Baseline(Protocol):
    """Fitted once a fold. A category that is not among the labels gets score 0 everywhere."""

    name: str

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """One label a text."""
        ...

    def scores(self, texts: Sequence[str]) -> Floats:
        """Shape (rows, 20), each between 0 and 1."""
        ...


class WordsAndSvm:
    """TF-IDF of words (1–2) and characters (3–5, within words), sublinear, and a linear SVM, one against the rest."""

    name = "TF-IDF + linear SVM"

    def __init__(self, *, regularisation: float = 0.5, most_features: int = 200_000) -> None:
        words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, dtype=np.float32)
        characters = TfidfVectorizer(
            analyzer="char_wb", ngram_range=(3, 5), min_df=5, max_features=most_features, sublinear_tf=True,
            dtype=np.float32,
        )  # fmt: skip
        svm = LinearSVC(C=regularisation, class_weight="balanced", random_state=1)
        self._model: Any = make_pipeline(make_union(words, characters), svm)

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Six seconds of one core for 20,000 posts."""
        self._model.fit(_normalised(texts), labels)

    def scores(self, texts: Sequence[str]) -> Floats:
        """The distance to each category's plane through a sigmoid: an order, not a probability."""
        distance = self._model.decision_function(_normalised(texts))
        if distance.ndim == 1:  # two labels: one distance, towards the second
            distance = np.stack([-distance, distance], axis=1)
        return _columns(1.0 / (1.0 + np.exp(-distance)), self._model.classes_)


class FrozenEncoder:
    """Embeddings of the untrained encoder (`embedding.embed`, cached) and a multinomial logistic regression."""

    name = "frozen encoder + logistic regression"

    def __init__(self, cache: Path, *, regularisation: float = 10.0) -> None:
        self._cache = cache
        self._model: Any = LogisticRegression(C=regularisation, class_weight="balanced", max_iter=500)

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """The embeddings are the slow part; texts that any fold has seen cost nothing again."""
        self._model.fit(embedding.embed(texts, self._cache), labels)

    def scores(self, texts: Sequence[str]) -> Floats:
        """Probabilities; a row's sum is at most 1, "none" has the rest."""
        return _columns(self._model.predict_proba(embedding.embed(texts, self._cache)), self._model.classes_)


class Keywords:
    """Different words of `keywords.WORDS` found, n: the score is n / (n + 1), so that one word is 0.5."""

    name = "keyword list"

    def __init__(self) -> None:
        self._patterns = [keywords.pattern(category) for category in CATEGORIES]

    def fit(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        """Learns nothing."""

    def scores(self, texts: Sequence[str]) -> Floats:
        """Shape (rows, 20): 0, 0.5, 0.67, 0.75 …"""
        counts = np.array(
            [
                [len(set(found.findall(text))) for found in self._patterns]
                for text in map(str.lower, _normalised(texts))
            ],
            dtype=np.float64,
        ).reshape(len(texts), len(CATEGORIES))
        return np.asarray(counts / (counts + 1.0))


def _normalised(texts: Sequence[str]) -> list[str]:
    return [normalise(text) for text in texts]


def _columns(scores: Any, labels: Sequence[str]) -> Floats:
    """The columns of the fitted labels put at the taxonomy's places; "none" dropped, the unseen 0."""
    result = np.zeros((len(scores), len(CATEGORIES)))
    for column, label in enumerate(labels):
        if label in CATEGORIES:
            result[:, CATEGORIES.index(label)] = scores[:, column]
    return result
