"""The cheap first stage: a small convolution over word vectors that imitates the transformer. numpy only.

It answers one question — could the transformer call this a candidate? — in some ten to twenty microseconds a post, and
its threshold keeps at least 99 % of what the transformer calls one on held-out posts of events and background together
(the manifest has the figures; of the transformer's false candidates it keeps fewer).
`screening` trains it. A word's vector comes from a table; a word that is not in it gets the mean of its letter groups.

What it cannot judge it lets through: a text most of whose words are not in the table (another language, glued hashtags)
goes on to the transformer. Words in scripts that hardly stood in the training data count as not there, and a text of
nothing else is dropped: the encoder learnt nothing from them, so passing them on would cost time and find nothing.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.normalising import normalise

GRAM_BUCKETS = 1 << 15
MOST_WORDS = 48
"""Later words are not read: the transformer's 64 tokens end there as well."""
UNSEEN_SHARE = 0.6
"""Let a text through when at least this share of its words (of three or more) is not in the table."""

_CHUNK = 512
"""Texts that are computed at once: bounds the memory, and fits the processor's cache."""
_WORD = re.compile(r"[^\W_]+")
_INVISIBLE = dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF))
"""Soft hyphen, zero-width space, non-joiner, joiner, word joiner, byte order mark: they cut no word in two."""
_GRAM_SIZES = (3, 4)
_GRAM_LETTERS = 20

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What training gives. With d the size of a word's vector, f filters and h hidden units:

    `vectors` (words, d), `grams` (GRAM_BUCKETS, d), `filters` (3 · d, f) for the word before, the word and the word
    after, `hidden` (f + d, h), `score` (h,). `blocks` are the scripts that can be read, as `block_of` numbers them.
    """

    words: tuple[str, ...]
    blocks: frozenset[int]
    vectors: Floats
    grams: Floats
    filters: Floats
    filters_bias: Floats
    hidden: Floats
    hidden_bias: Floats
    score: Floats
    score_bias: float


class Screen:
    """The trained screen, ready to answer. Load it with `load`."""

    def __init__(self, weights: Weights, threshold: float) -> None:
        self.threshold = threshold
        self._weights = weights
        # Number 0 is the gap between two texts, and stands in for the words that are not in the table.
        self._numbers = {word: number for number, word in enumerate(weights.words, start=1)}
        size = weights.vectors.shape[1]
        self._table = np.concatenate([np.zeros((1, size), dtype=np.float32), weights.vectors])

    @classmethod
    def load(cls, path: Path) -> Screen:
        """From the npz that `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            weights = Weights(
                words=tuple(bytes(file["words"]).decode().split("\n")) if len(file["words"]) else (),
                blocks=frozenset(file["blocks"].tolist()),
                vectors=_restored(file["vectors"], file["vectors_scale"]),
                grams=_restored(file["grams"], file["grams_scale"]),
                filters=file["filters"],
                filters_bias=file["filters_bias"],
                hidden=file["hidden"],
                hidden_bias=file["hidden_bias"],
                score=file["score"],
                score_bias=float(file["score_bias"]),
            )
            return cls(weights, float(file["threshold"]))

    def keep(self, texts: Sequence[str]) -> list[bool]:
        """For each text: is it worth the transformer?"""
        return [bool(keep) for keep in self.scores(texts) >= self.threshold]

    def scores(self, texts: Sequence[str]) -> Floats:
        """One score a text, about the logit of the transformer's top probability.

        Infinite where the screen cannot judge, minus infinite where there is nothing to read.
        """
        scores = np.full(len(texts), -np.inf, dtype=np.float32)
        for start in range(0, len(texts), _CHUNK):
            self._score(texts[start : start + _CHUNK], scores[start : start + _CHUNK])
        return scores

    def _score(self, texts: Sequence[str], scores: Floats) -> None:
        """Fill in the scores of one chunk. Texts lie one after the other with a gap of one zero vector between."""
        numbers: list[int] = [0]
        starts: list[int] = []
        answered: list[int] = []
        strange: list[int] = []
        groups: list[int] = []
        group_starts: list[int] = []
        unjudged: list[int] = []
        number_of = self._numbers.get
        for at, text in enumerate(texts):
            start, strange_before = len(numbers), len(strange)
            for word in words(text):
                number = number_of(word)
                if number is None:
                    if block_of(word) not in self._weights.blocks:
                        continue
                    strange.append(len(numbers))
                    group_starts.append(len(groups))
                    groups += grams(word)
                    number = 0
                numbers.append(number)
            count = len(numbers) - start
            if not count:
                continue
            starts.append(start)
            answered.append(at)
            numbers.append(0)
            if count >= 3 and len(strange) - strange_before >= UNSEEN_SHARE * count:
                unjudged.append(at)
        if not answered:
            return
        vectors = self._table[numbers]
        if strange:
            lengths = np.diff(np.append(group_starts, len(groups))).astype(np.float32)
            vectors[strange] = np.add.reduceat(self._weights.grams[groups], group_starts) / lengths[:, None]
        scores[answered] = self._network(vectors, np.array(starts))
        scores[unjudged] = np.inf

    def _network(self, vectors: Floats, starts: Numbers) -> Floats:
        """The answers for texts whose vectors begin at `starts`, each followed by a gap; the first row is one too."""
        weights, size = self._weights, vectors.shape[1]
        found = vectors[:-2] @ weights.filters[:size]
        found += vectors[1:-1] @ weights.filters[size : 2 * size]
        found += vectors[2:] @ weights.filters[2 * size :]
        found += weights.filters_bias
        np.maximum(found, 0.0, out=found)
        ends = np.append(starts[1:] - 1, len(vectors) - 1)
        found[ends[:-1] - 1] = 0.0  # the gaps: a reduceat runs on to the next text's first word
        strongest = np.maximum.reduceat(found, starts - 1)
        total = np.add.reduceat(vectors, starts) / np.sqrt((ends - starts).astype(np.float32))[:, None]
        hidden = np.concatenate([strongest, total], axis=1) @ weights.hidden + weights.hidden_bias
        return np.asarray(np.maximum(hidden, 0.0) @ weights.score + np.float32(weights.score_bias), dtype=np.float32)


def words(text: str) -> list[str]:
    """The runs of letters and digits of any script, lower case, at most MOST_WORDS. The same in training."""
    if not text.isascii():
        text = text.translate(_INVISIBLE)
    return _WORD.findall(normalise(text).lower())[:MOST_WORDS]


def grams(word: str) -> list[int]:
    """Bucket numbers of a word's groups of letters, its two ends marked; never empty. Stable across runs."""
    marked = f"<{word[:_GRAM_LETTERS]}>"
    return [
        zlib.crc32(marked[at : at + size].encode()) % GRAM_BUCKETS
        for size in _GRAM_SIZES
        for at in range(len(marked) - size + 1)
    ]


def block_of(word: str) -> int:
    """Which 256 code points a word's first letter is of: 0 and 1 Latin, 4 Cyrillic, 6 Arabic, 48 kana …"""
    return ord(word[0]) >> 8


def save(path: Path, weights: Weights, threshold: float) -> None:
    """Write the screen: vectors are rounded to int8 with one scale a row."""
    vectors, vectors_scale = _rounded(weights.vectors)
    grams_, grams_scale = _rounded(weights.grams)
    np.savez_compressed(
        path,
        words=np.frombuffer("\n".join(weights.words).encode(), dtype=np.uint8),
        blocks=np.array(sorted(weights.blocks), dtype=np.int64),
        vectors=vectors,
        vectors_scale=vectors_scale,
        grams=grams_,
        grams_scale=grams_scale,
        filters=weights.filters.astype(np.float32),
        filters_bias=weights.filters_bias.astype(np.float32),
        hidden=weights.hidden.astype(np.float32),
        hidden_bias=weights.hidden_bias.astype(np.float32),
        score=weights.score.astype(np.float32),
        score_bias=weights.score_bias,
        threshold=threshold,
    )


def save_open(path: Path) -> None:
    """Write a screen that lets every text pass, whatever it says: for a model whose own is not trained yet."""
    save(path, _open_weights(), -np.inf)


def _open_weights() -> Weights:
    one = np.zeros((1, 1), dtype=np.float32)
    return Weights(
        words=(),
        blocks=frozenset(),
        vectors=one[:0],
        grams=np.zeros((GRAM_BUCKETS, 1), dtype=np.float32),
        filters=np.zeros((3, 1), dtype=np.float32),
        filters_bias=one[0],
        hidden=np.zeros((2, 1), dtype=np.float32),
        hidden_bias=one[0],
        score=one[0],
        score_bias=0.0,
    )


def _rounded(values: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    scale = np.maximum(np.abs(values).max(axis=1, keepdims=True, initial=0.0), 1e-8).astype(np.float32) / 127.0
    return np.round(values / scale).astype(np.int8), scale.astype(np.float32)


def _restored(values: npt.NDArray[Any], scale: Floats) -> Floats:
    return np.asarray(values.astype(np.float32) * scale, dtype=np.float32)
