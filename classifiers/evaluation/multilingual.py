"""all-MiniLM-L6-v2 beside multilingual-e5-small on unseen events, by language: frozen encoder, logistic regression.

Both see the same rows in the same folds and have the same classifier; speed and size are those of ONNX Runtime. It
answers whether a second model on `e5` is worth building. Needs the extra `train`.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from classifiers import data, folds
from classifiers.api import ModelError
from classifiers.evaluation import comparing, e5, embedding, scoring, unseen
from classifiers.normalising import normalise
from classifiers.taxonomy import CATEGORIES

Figures = dict[str, Any]

WHOLE = ("es", "it", "pt", "fr")
"""Languages of which every row is taken."""
ARABIC, ENGLISH = 1_500, 3_000
"""Rows drawn of the languages that have more; Arabic ones have no "none" among them."""
LEAST = 10
"""Rows of a category below which a language's average precision of it says nothing."""
_TIMED, _ROUNDS, _BATCH = 96, 3, 32
_TOKEN_BYTES = 384
"""What a piece of the vocabulary takes in int8, without its entry in tokenizer.json."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """An encoder as it comes: its model folder, and what is put before each text."""

    name: str
    folder: Path
    prefix: str

    def tokenizer(self) -> Any:
        """Cuts at as many tokens as the service does, the prefix apart."""
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
        tokenizer.no_padding()
        extra = len(tokenizer.encode(self.prefix, add_special_tokens=False).ids)
        tokenizer.enable_truncation(embedding.MAX_TOKENS + extra)
        return tokenizer

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, normalised as the model's are."""
        encoded = self.tokenizer().encode_batch([self.prefix + normalise(text) for text in texts])
        return [item.ids for item in encoded]


def compare(shared: Path, cache: Path) -> Figures:
    """Everything, on one thread; graphs and vectors are kept in `cache` (1.1 GB). Raises DataError, ModelError.

    Without e5's two packages its figures are {"problem": why}.
    """
    from classifiers import network

    whole = unseen.cases(shared)
    every = sample(whole)
    categories = unseen.measured(whole)
    figures: Figures = {"rows": len(every), "measured": categories, "encoders": {}}
    places: dict[str, tuple[str, Callable[[], Path]]] = {
        "all-MiniLM-L6-v2": ("", network.base_folder),
        "multilingual-e5-small": (e5.PREFIX, lambda: e5.folder(cache / "e5-small")),
    }
    found = []
    for name, (prefix, folder) in places.items():
        try:
            found.append(Frozen(name=name, folder=folder(), prefix=prefix))
        except ModelError as error:
            figures["encoders"][name] = {"problem": str(error)}
    graphs = [_graphs(frozen, cache) for frozen in found]
    occurring = [case.text for case in whole]
    for frozen, (full, small) in zip(found, graphs, strict=True):
        scores = _crossed_scores(every, _vectors(frozen, full, [case.text for case in every], cache))
        figures["encoders"][frozen.name] = {
            "languages": by_language(every, scores, categories),
            "size": _size(frozen, small, occurring),
        }
    texts = [every[at].text for at in np.random.default_rng(1).choice(len(every), _TIMED, replace=False)]
    for frozen, speed in zip(found, _speeds(found, graphs, texts), strict=True):
        figures["encoders"][frozen.name]["speed"] = speed
    return figures


def sample(every: Sequence[unseen.Case]) -> list[unseen.Case]:
    """Every row of WHOLE, and ARABIC and ENGLISH of the others, an English happening's events and "none" apart."""
    chosen = [case for case in every if case.lang in WHOLE]
    chosen += balanced([case for case in every if case.lang == "ar"], ARABIC, lambda case: case.happening)
    english = [case for case in every if case.lang == "en"]
    return chosen + balanced(english, ENGLISH, lambda case: (case.happening, case.gold == scoring.NONE))


def balanced(every: Sequence[unseen.Case], most: int, key: Callable[[unseen.Case], Hashable]) -> list[unseen.Case]:
    """At most so many, of each key as equally many as there are, by the hash of the text; the same text once."""
    piles: dict[Hashable, list[unseen.Case]] = defaultdict(list)
    once = {data.text_hash(case.text): case for case in every}
    for _, case in sorted(once.items()):
        piles[key(case)].append(case)
    turns = itertools.zip_longest(*(piles[name] for name in sorted(piles, key=str)))
    return [case for turn in turns for case in turn if case is not None][:most]


def by_language(every: Sequence[unseen.Case], p: Any, categories: Sequence[str]) -> Figures:
    """Of each language the one label as in `comparing`, and AP of the categories with LEAST rows.

    `trained` counts the posts of events of `categories`: no other can be known to a fold.
    """
    gold = [case.gold for case in every]
    predicted = comparing.crossed(gold, np.array([case.group for case in every]), p, categories)
    result = {}
    for lang in (*WHOLE, "ar", "en"):
        at = [number for number, case in enumerate(every) if case.lang == lang]
        wanted = [gold[number] for number in at]
        said = [predicted[number] for number in at]
        right = sum(a == b != scoring.NONE for a, b in zip(wanted, said, strict=True))
        events = sum(label != scoring.NONE for label in wanted)
        score = scoring.score(right, sum(label != scoring.NONE for label in said), events)
        # Where all rows are of one category, any order has an AP of 1.
        enough = [category for category in categories if LEAST <= wanted.count(category) < len(wanted)]
        ap = scoring.average_precision(wanted, p[at], enough)
        result[lang] = {
            "n": len(at),
            "events": events,
            "trained": sum(label in categories for label in wanted),
            "precision": score.precision,
            "recall": score.recall,
            "f1": score.f1,
            "macro_ap": float(np.mean(list(ap.values()))) if ap else None,
            "ap": ap,
        }
    return result


def _crossed_scores(every: Sequence[unseen.Case], vectors: Any) -> Any:
    """Probabilities (cases, 20) from the other groups' rows.

    As `baselines.FrozenEncoder`, but centred and scaled to a mean squared length of 1: e5's vectors lie in a narrow
    cone, where the same penalty weighs more.
    """
    groups, gold = np.array([case.group for case in every]), np.array([case.gold for case in every])
    p = np.zeros((len(every), len(CATEGORIES)))
    for group in range(folds.COUNT):
        here = groups == group
        middle = vectors[~here].mean(axis=0)
        length = np.sqrt(((vectors[~here] - middle) ** 2).sum(axis=1).mean())
        model = LogisticRegression(C=10.0, class_weight="balanced", max_iter=500)
        model.fit((vectors[~here] - middle) / length, gold[~here])
        scores = model.predict_proba((vectors[here] - middle) / length)
        for column, label in enumerate(model.classes_):
            if label in CATEGORIES:
                p[here, CATEGORIES.index(label)] = scores[:, column]
    return p


def _vectors(frozen: Frozen, graph: Path, texts: Sequence[str], cache: Path) -> Any:
    """float32 (texts, 384), in batches of equal length; kept by the digest of the texts."""
    path = cache / f"{frozen.name}-{unseen.digest(texts)}.npy"
    if not path.is_file():
        ids, session = frozen.tokens(texts), _session(graph)
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda number: len(ids[number]))
        for _, same in itertools.groupby(order, key=lambda number: len(ids[number])):
            alike = list(same)
            for start in range(0, len(alike), _BATCH):
                at = alike[start : start + _BATCH]
                vectors[at] = _run(session, [ids[number] for number in at])
        part = path.with_suffix(".part.npy")
        np.save(part, vectors)
        part.replace(path)
    return np.load(path)


def _speeds(found: Sequence[Frozen], graphs: Sequence[tuple[Path, Path]], texts: Sequence[str]) -> list[Figures]:
    """Posts per CPU second, not per second, since others may be using the machine; in turns for the same reason."""
    ids = [frozen.tokens(texts) for frozen in found]
    sessions = [[_session(path) for path in pair] for pair in graphs]
    rates: dict[tuple[int, int], list[float]] = defaultdict(list)
    for _, at, kind in itertools.product(range(_ROUNDS), range(len(found)), range(2)):
        start = time.process_time()
        for one in ids[at]:
            _run(sessions[at][kind], [one])
        rates[at, kind].append(len(texts) / (time.process_time() - start))
    return [
        {
            "float32": statistics.median(rates[at, 0]),
            "int8": statistics.median(rates[at, 1]),
            "tokens": statistics.fmean(len(one) for one in ids[at]),
        }
        for at in range(len(found))
    ]


def _size(frozen: Frozen, small: Path, texts: Sequence[str]) -> Figures:
    vocabulary = frozen.tokenizer().get_vocab_size()
    occurring = len({number for ids in frozen.tokens(texts) for number in ids})
    graph, tokenizer = small.stat().st_size, (frozen.folder / "tokenizer.json").stat().st_size
    pruned = graph - (vocabulary - occurring) * _TOKEN_BYTES + tokenizer * occurring / vocabulary
    return {"mb": (graph + tokenizer) / 1e6, "thousands": occurring / 1e3, "mb_pruned": pruned / 1e6}


def _graphs(frozen: Frozen, cache: Path) -> tuple[Path, Path]:
    """The pooled encoder in float32 and in int8, quantised as the shipped model is."""
    from classifiers import export

    full, small = (cache / f"{frozen.name}-{kind}.onnx" for kind in ("float32", "int8"))
    cache.mkdir(parents=True, exist_ok=True)
    if not full.is_file():
        embedding.write_graph(frozen.folder, full)
    if not small.is_file():
        part = small.with_suffix(".writing")
        export.quantise(full, part)
        part.replace(small)
    return full, small


def _session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), sess_options=options, providers=["CPUExecutionProvider"])


def _run(session: Any, ids: Sequence[Sequence[int]]) -> Any:
    tokens = np.array(ids, dtype=np.int64)
    return session.run(None, {"input_ids": tokens, "attention_mask": np.ones_like(tokens)})[0]
