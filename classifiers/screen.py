"""The cheap first stage: a linear model over hashed words and word pairs that imitates the transformer. numpy only.

It answers one question — could the transformer call this a candidate? — in some tens of microseconds a post, and its
threshold keeps at least 99 % of what the transformer calls one on held-out posts (the manifest has the figures).

What it cannot judge it lets through: a text in Latin letters most of whose words never stood in its training data
(another language, glued hashtags) goes on to the transformer. A text without any Latin word is dropped: the encoder
reads English and gets nothing from other scripts, so passing them on would cost time and find nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.normalising import normalise

BUCKETS = 1 << 18
UNSEEN_SHARE = 0.6
"""Let a text through when at least this share of its words (of three or more) was never seen."""

_WORD = re.compile(r"[0-9a-z\u00c0-\u024f]+")
_MOST_WORDS = 80


class Screen:
    """Weights as int8 with one scale; `seen` is one bit a bucket for the words of the training data."""

    def __init__(
        self, weights: npt.NDArray[np.int8], scale: float, bias: float, threshold: float, seen: npt.NDArray[np.uint8]
    ) -> None:
        self._weights = weights.astype(np.float32) * np.float32(scale)
        self._bias = bias
        self.threshold = threshold
        self._seen = np.unpackbits(seen).astype(np.float32)

    @classmethod
    def load(cls, path: Path) -> Screen:
        """From the npz that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(
                weights=file["weights"],
                scale=float(file["scale"]),
                bias=float(file["bias"]),
                threshold=float(file["threshold"]),
                seen=file["seen"],
            )

    def scores(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """One score a text; infinite where the screen cannot judge, minus infinite where there is nothing to read."""
        indices, starts, words = _hashed(texts)
        scores = np.full(len(texts), -np.inf, dtype=np.float32)
        counts = np.diff(np.append(starts, len(indices)))
        some = counts > 0
        if not some.any():
            return scores
        at = starts[some]
        total = np.add.reduceat(self._weights[indices], at)
        scores[some] = total / np.sqrt(counts[some]) + self._bias
        # Words come first in each text's run of indices, pairs after them; a text of n words has 2n - 1 indices.
        is_word = np.concatenate([np.arange(count) < n for count, n in zip(counts[some], words[some], strict=True)])
        known = np.add.reduceat(self._seen[indices] * is_word, at)
        unseen = (words[some] >= 3) & (known <= (1.0 - UNSEEN_SHARE) * words[some])
        scores[np.flatnonzero(some)[unseen]] = np.inf
        return scores

    def keep(self, texts: Sequence[str]) -> list[bool]:
        """For each text: is it worth the transformer?"""
        return [bool(keep) for keep in self.scores(texts) >= self.threshold]


def save(path: Path, weights: npt.NDArray[Any], bias: float, threshold: float, seen: npt.NDArray[np.bool_]) -> None:
    """Write the screen: float weights are rounded to int8."""
    scale = float(np.abs(weights).max()) / 127.0 or 1.0
    rounded = np.clip(np.round(weights / scale), -127, 127).astype(np.int8)
    np.savez_compressed(
        path, weights=rounded, scale=scale, bias=bias, threshold=threshold, seen=np.packbits(seen.astype(np.uint8))
    )


def features(text: str) -> tuple[list[int], int]:
    """Bucket numbers of the words and then of the word pairs, and how many words there are. Stable across runs."""
    words = _WORD.findall(normalise(text).lower())[:_MOST_WORDS]
    hashes = [zlib.crc32(word.encode()) for word in words]
    pairs = [zlib.crc32(words[at + 1].encode(), hashes[at]) for at in range(len(words) - 1)]
    return [value % BUCKETS for value in hashes + pairs], len(words)


def _hashed(
    texts: Sequence[str],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    indices: list[int] = []
    starts: list[int] = []
    words: list[int] = []
    for text in texts:
        starts.append(len(indices))
        found, count = features(text)
        indices.extend(found)
        words.append(count)
    return np.array(indices, dtype=np.int64), np.array(starts, dtype=np.int64), np.array(words, dtype=np.int64)
