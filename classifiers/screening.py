"""The training of the screen: a small network learns to say what the transformer says. Needs torch (extra `train`).

It learns from the transformer's probabilities, not from labels, so every permitted text teaches it something, labelled
or not. Its word vectors stand on the transformer's embedding of each word alone, through one linear map learnt with the
rest, so a rare word lies near the frequent ones that mean the same. Figures are of the stored, rounded screen.
"""

from __future__ import annotations

import html
import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from classifiers import data, encoder, rows, screen
from classifiers.api import CANDIDATE, EMBEDDING_SIZE
from classifiers.taxonomy import CATEGORIES

RECALL = 0.99
SHARE = 0.01
"""The stream of the bar: so many of its posts are candidates."""

SIZE = 48
FILTERS = 64
HIDDEN = 48
EPOCHS = 3
BATCH = 512
RATE = 3e-3
FORGET = 0.15
"""How often a word's vector and meaning are left out in training, so that its letter groups learn to stand in."""
MARGIN = 0.002
"""The threshold is set for so much more recall than asked: one and a half standard errors over 5,000 candidates."""

MOST_FURTHER = 60_000
"""Texts beyond the training rows: the transformer answers them in some ten minutes."""

_WORD_TEXTS = 3
"""A word of fewer training texts has no row of its own."""
_BLOCK_TEXTS = 200
"""A script that stands in fewer training texts cannot be read."""
_EVENT_MOST = 600
_CHUNK = 4096

Floats = npt.NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Texts and the transformer's top probability of each."""

    texts: list[str]
    top: Floats

    @property
    def candidates(self) -> npt.NDArray[np.bool_]:
        """Which texts the transformer calls a candidate."""
        return np.asarray(self.top >= CANDIDATE)

    def part(self, inside: npt.NDArray[np.bool_]) -> Judged:
        """Those texts where `inside` is true."""
        return Judged(texts=[text for text, yes in zip(self.texts, inside, strict=True) if yes], top=self.top[inside])


def train(
    model: encoder.Encoder, corpus: data.Data, path: Path, *, more: Sequence[str] = (), seed: int = 1
) -> dict[str, float]:
    """Fit the screen to `model`, set its threshold, write it to `path` and return its figures.

    `more` are further texts to learn from (`further_texts`). The threshold is set on one half (by hash) of the posts
    never trained on and every figure is of the other half.
    """
    held_out = {tuple(screen.words(row.text)) for row in [*corpus.held_out, *corpus.background]}
    texts = list(dict.fromkeys([row.text for row in corpus.train] + list(more)))
    # A repost of a held-out post reads the same to the screen: figures over it would flatter.
    texts = [text for text in texts if tuple(screen.words(text)) not in held_out]
    wanted = vocabulary(texts)[0]
    weights = fit(texts, probabilities(model, texts), seed=seed, meanings=meanings(model, wanted))
    screen.save(path, weights, 0.0)
    fitted = screen.Screen.load(path)

    ordinary, reports = _judged(model, corpus.background), _judged(model, unseen_rows(corpus.held_out))
    unseen = Judged(texts=ordinary.texts + reports.texts, top=np.concatenate([ordinary.top, reports.top]))
    first = _first_half(unseen.texts)
    scores = fitted.scores(unseen.texts)
    threshold = choose_threshold(scores[first], unseen.candidates[first], RECALL + MARGIN)
    screen.save(path, weights, threshold)
    fitted = screen.Screen.load(path)

    ordinary, reports = (judged.part(~_first_half(judged.texts)) for judged in (ordinary, reports))
    kept = scores >= threshold
    ordinary_scores = fitted.scores(ordinary.texts)
    figures = {
        "threshold": threshold,
        "candidates_kept": float(kept[unseen.candidates & ~first].mean()),
        "background_passed": float((ordinary_scores >= threshold).mean()),
        "background_unjudged": float(np.isposinf(ordinary_scores).mean()),
        "held_out_texts": float((~first).sum()),
        "training_texts": float(len(texts)),
    }
    figures |= {f"stream_{name}": value for name, value in stream(fitted, ordinary, reports).items()}
    return {name: round(value, 4) for name, value in figures.items()}


def further_texts(shared: Path, corpus: data.Data) -> list[str]:
    """Texts of the permitted files beyond the caps of `corpus.train`, and of the training half of the background.

    None that `corpus` holds out, and none of a file's item whose event or part is held out. Raises DataError.
    """
    held_out = {row.text for row in corpus.held_out} | {row.text for row in corpus.background}
    held_out_events = {row.event for row in corpus.held_out if row.split == "held_out" and row.dataset != "own"}
    own_parts = {event for event in held_out_events if event in data.PERMITTED or event.startswith("fin_")}
    events = held_out_events - own_parts
    found: dict[str, None] = {}
    sums = data.checksums(shared)
    for name in data.PERMITTED:
        for item in data.read(shared, f"labelled/{name}.jsonl.gz", sums):
            row = next(iter(rows.labelled(name, [item])), None)
            if item.get("in_background") or item["event"] in events or (row is not None and row.split != "train"):
                continue
            text = row.text if row is not None else html.unescape(item["text"])
            if text not in held_out and item["text"] not in held_out:
                found.setdefault(text)
    for item in data.read(shared, "background/public.jsonl.gz", sums):
        ours = item["id"].startswith(("tweeteval-", "smile-")) and data.text_hash(item["text"]) % 2 == 0
        if ours and item["text"] not in held_out:
            found.setdefault(item["text"])
    return sorted(found, key=data.text_hash)[:MOST_FURTHER]


def unseen_rows(held_out: Iterable[data.Row]) -> list[data.Row]:
    """Rows never trained on, at most so many of an event and kind, so that no event sets the threshold alone."""
    groups: dict[tuple[str, bool], list[data.Row]] = {}
    for row in held_out:
        groups.setdefault((row.event, bool(row.positive)), []).append(row)
    draw = random.Random(7)
    return [
        row
        for _, group in sorted(groups.items())
        for row in (draw.sample(group, _EVENT_MOST) if len(group) > _EVENT_MOST else group)
    ]


def probabilities(model: encoder.Encoder, texts: Sequence[str]) -> Floats:
    """The transformer's calibrated probabilities, shape (texts, 20)."""
    parts: list[Floats] = [np.empty((0, len(CATEGORIES)))]
    for start in range(0, len(texts), _CHUNK):
        logits = model.raw(texts[start : start + _CHUNK]).logits
        parts.append(model.calibration.probabilities(logits.astype(np.float64)))
    return np.concatenate(parts)


def meanings(model: encoder.Encoder, words: Sequence[str]) -> dict[str, npt.NDArray[np.float16]]:
    """The transformer's embedding of each word as a text of its own."""
    found: dict[str, npt.NDArray[np.float16]] = {}
    for start in range(0, len(words), _CHUNK):
        some = words[start : start + _CHUNK]
        found |= zip(some, model.raw(some).embeddings.astype(np.float16), strict=True)
    return found


def choose_threshold(scores: Floats, candidate: npt.NDArray[np.bool_], recall: float = RECALL) -> float:
    """The highest threshold that keeps at least this share of the candidates. There must be one candidate at least."""
    ordered = np.sort(scores[candidate])
    lost = int(len(ordered) * (1.0 - recall) + 1e-9)
    most = float(np.finfo(np.float32).max)
    return float(np.clip(ordered[lost], -most, most))  # a text that cannot be judged is infinite


def stream(fitted: screen.Screen, ordinary: Judged, reports: Judged, *, share: float = SHARE) -> dict[str, float]:
    """What the screen does to the bar's stream: the ordinary posts, reports added until `share` are candidates.

    Where the ordinary posts hold so many already nothing is added: `candidates` says what share there is.
    """
    lacking = share * len(ordinary.texts) - float(ordinary.candidates.sum())
    added = reports.part(reports.candidates)
    order = np.argsort([data.text_hash(text) for text in added.texts], kind="stable")
    chosen = order[: max(0, int(np.ceil(lacking / (1.0 - share))))]
    texts = ordinary.texts + [added.texts[at] for at in chosen]
    candidates = np.concatenate([ordinary.candidates, np.ones(len(chosen), dtype=bool)])
    kept = np.array(fitted.keep(texts), dtype=bool)
    return {
        "posts": float(len(texts)),
        "added": float(len(chosen)),
        "candidates": float(candidates.mean()),
        "recall": float(kept[candidates].mean()),
        "passed": float(kept.mean()),
    }


def vocabulary(texts: Sequence[str]) -> tuple[list[str], frozenset[int]]:
    """The words that get a vector, most frequent first, and the scripts that can be read."""
    counts: Counter[str] = Counter()
    blocks: Counter[int] = Counter()
    for text in texts:
        found = sorted(set(screen.words(text)))
        counts.update(found)
        blocks.update({screen.block_of(word) for word in found})
    known = frozenset(block for block, count in blocks.items() if count >= min(_BLOCK_TEXTS, len(texts)))
    words = [word for word, n in counts.most_common() if n >= _WORD_TEXTS and screen.block_of(word) in known]
    return words, known


def fit(
    texts: Sequence[str],
    probabilities: Floats,
    *,
    seed: int = 1,
    meanings: Mapping[str, npt.NDArray[np.float16]] | None = None,
    epochs: int = EPOCHS,
) -> screen.Weights:
    """Learn to answer `probabilities`, shape (texts, categories). The same arguments give the same weights."""
    torch.manual_seed(seed)
    words, blocks = vocabulary(texts)
    lexicon = _Lexicon(words, meanings or {})
    numbered = [lexicon.numbers(text, blocks) for text in texts]
    readable = np.flatnonzero([len(numbers) > 0 for numbers in numbered])
    network = _Network(lexicon, probabilities.shape[1])
    tables = [parameter for module in (network.own, network.grams) for parameter in module.parameters()]
    dense = [parameter for parameter in network.parameters() if all(parameter is not table for table in tables)]
    optimisers = (torch.optim.SparseAdam(tables, lr=2 * RATE), torch.optim.Adam(dense, lr=RATE))
    rates = [group["lr"] for optimiser in optimisers for group in optimiser.param_groups]
    targets = torch.from_numpy(
        np.concatenate([probabilities, probabilities.max(axis=1, keepdims=True)], axis=1)
    ).float()
    weight = torch.ones(targets.shape[1])
    weight[-1] = 2.0
    draw = np.random.default_rng(seed)
    steps = epochs * -(-len(readable) // BATCH)
    step = 0
    network.train()
    for _ in range(epochs):
        for batch in _batches(readable, numbered, draw):
            logits = network([numbered[at] for at in batch])
            loss = functional.binary_cross_entropy_with_logits(logits, targets[batch], weight=weight, reduction="sum")
            for optimiser in optimisers:
                optimiser.zero_grad()
            (loss / len(batch)).backward()
            left = max(0.02, 1.0 - step / steps)
            groups = [group for optimiser in optimisers for group in optimiser.param_groups]
            for group, rate in zip(groups, rates, strict=True):
                group["lr"] = rate * left
            for optimiser in optimisers:
                optimiser.step()
            step += 1
    network.eval()
    with torch.no_grad():
        return network.weights(tuple(words), blocks)


def _first_half(texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    # Bit 3: the lowest tells the halves of the background apart, and of unseen posts every hash is a multiple of 12.
    return np.array([data.text_hash(text) >> 3 & 1 == 0 for text in texts], dtype=bool)


def _judged(model: encoder.Encoder, found: Iterable[data.Row]) -> Judged:
    texts = list(dict.fromkeys(row.text for row in found))
    return Judged(texts=texts, top=probabilities(model, texts).max(axis=1))


def _batches(readable: Any, numbered: Sequence[Any], draw: np.random.Generator) -> list[Any]:
    """Shuffled batches of texts of like length: padding is computed in vain."""
    order = draw.permutation(readable)
    found = []
    for start in range(0, len(order), 20 * BATCH):
        some = order[start : start + 20 * BATCH]
        some = some[np.argsort([len(numbered[at]) for at in some], kind="stable")]
        found += [some[at : at + BATCH] for at in range(0, len(some), BATCH)]
    return [found[at] for at in draw.permutation(len(found))]


class _Lexicon:
    """Every word of the training texts by number: first those with a vector of their own, from 1; 0 is padding."""

    def __init__(self, words: Sequence[str], meanings: Mapping[str, npt.NDArray[np.float16]]) -> None:
        self.known = len(words)
        self._numbers = {word: number for number, word in enumerate(words, start=1)}
        self._grams: list[list[int]] = [[0]] + [screen.grams(word) for word in words]
        nothing = np.zeros(EMBEDDING_SIZE, dtype=np.float16)
        found = [nothing] + [meanings.get(word, nothing) for word in words]
        self.meanings = torch.from_numpy(np.array(found, dtype=np.float32))

    def numbers(self, text: str, blocks: frozenset[int]) -> npt.NDArray[np.int64]:
        """The words of a text as the screen reads them."""
        found = []
        for word in screen.words(text):
            number = self._numbers.get(word)
            if number is None:
                if screen.block_of(word) not in blocks:
                    continue
                number = self._numbers[word] = len(self._grams)
                self._grams.append(screen.grams(word))
            found.append(number)
        return np.array(found, dtype=np.int64)

    def groups(self, numbers: Any) -> tuple[Any, Any]:
        """Letter groups of some words, flat, and where each word's begin: what an EmbeddingBag takes."""
        lists = [self._grams[number] for number in numbers.tolist()]
        starts = np.cumsum([0] + [len(some) for some in lists[:-1]])
        return torch.tensor([group for some in lists for group in some]), torch.from_numpy(starts)


class _Network(torch.nn.Module):  # type: ignore[misc]
    """`screen.Screen` in torch, with an answer for each category beside the top probability's, which is the last."""

    def __init__(self, lexicon: _Lexicon, categories: int) -> None:
        super().__init__()
        self._lexicon = lexicon
        self.own = torch.nn.Embedding(lexicon.known + 1, SIZE, sparse=True)
        self.grams = torch.nn.EmbeddingBag(screen.GRAM_BUCKETS, SIZE, mode="mean", sparse=True)
        self.meaning = torch.nn.Linear(EMBEDDING_SIZE, SIZE, bias=False)
        self.filters = torch.nn.Linear(3 * SIZE, FILTERS)
        self.hidden = torch.nn.Linear(FILTERS + SIZE, HIDDEN)
        self.answers = torch.nn.Linear(HIDDEN, categories + 1)
        for table, spread in ((self.own, 0.01), (self.grams, 0.05), (self.meaning, 0.3)):
            torch.nn.init.normal_(table.weight, std=spread)

    def vectors(self, numbers: Any) -> Any:
        """One vector a word: letter groups and, where it has a row, its meaning and its own part."""
        row = torch.where(numbers <= self._lexicon.known, numbers, 0)
        there = (row > 0).float()
        if self.training:
            there = there * (torch.rand(len(row)) >= FORGET).float()
        own = self.own(row) + self.meaning(self._lexicon.meanings[row])
        return self.grams(*self._lexicon.groups(numbers)) + own * there[:, None]

    def forward(self, texts: Sequence[npt.NDArray[np.int64]]) -> Any:
        """Logits, shape (texts, categories + 1)."""
        padded = torch.zeros((len(texts), max(len(numbers) for numbers in texts)), dtype=torch.long)
        for at, numbers in enumerate(texts):
            padded[at, : len(numbers)] = torch.from_numpy(numbers)
        there = (padded > 0).float()[..., None]
        distinct, where = torch.unique(padded, return_inverse=True)
        vectors = functional.embedding(where, self.vectors(distinct)) * there
        around = functional.pad(vectors, (0, 0, 1, 1))
        found = torch.relu(self.filters(torch.cat([around[:, :-2], vectors, around[:, 2:]], dim=2))) * there
        total = vectors.sum(dim=1) / there.sum(dim=1).sqrt()
        together = torch.cat([found.max(dim=1).values, total], dim=1)
        hidden = torch.relu(self.hidden(functional.dropout(together, 0.1, self.training)))
        return self.answers(functional.dropout(hidden, 0.1, self.training))

    def weights(self, words: tuple[str, ...], blocks: frozenset[int]) -> screen.Weights:
        """What `screen.Screen` needs, as numpy."""
        numbers = torch.arange(1, self._lexicon.known + 1)
        return screen.Weights(
            words=words,
            blocks=blocks,
            vectors=self.vectors(numbers).numpy() if words else np.zeros((0, SIZE), dtype=np.float32),
            grams=self.grams.weight.numpy().copy(),
            filters=self.filters.weight.numpy().T.copy(),
            filters_bias=self.filters.bias.numpy().copy(),
            hidden=self.hidden.weight.numpy().T.copy(),
            hidden_bias=self.hidden.bias.numpy().copy(),
            score=self.answers.weight[-1].numpy().copy(),
            score_bias=float(self.answers.bias[-1]),
        )
