"""What is scored but never shipped, and the rows by language: loaded from `<shared>/data`, checked by hash.

kaggle_disaster, traffic_dabiri, case2021_task2 and storm_gloria have no stated licence (shared/data/README.md): models
that learn from them are measured and thrown away. HTML entities are resolved as in training, except where spans count
characters.
"""

from __future__ import annotations

import html
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from classifiers import data

FOLDS = 5

_NOISE = re.compile(r"(?:https?://|www\.)\S+|@\w+|^\s*rt\b|\brt(?=\s+@)")
_PUNCTUATION = re.compile(r"[\W_]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """A text and a yes or no. `fold` (0–4) is None where the set brings its own parts."""

    text: str
    target: bool
    fold: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """`train` and the official tests by name."""

    train: list[Judged]
    tests: dict[str, list[Judged]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A text and its gold label: a category id or "none". `event` is the data set's name of it, "" without one."""

    text: str
    label: str
    dataset: str
    lang: str
    event: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A text whose places somebody marked: (start, end) in characters of the text; none where it names no place."""

    text: str
    spans: tuple[tuple[int, int], ...]
    event: str
    created_at: datetime
    part: Literal["train", "dev", "test"]


def normalised(text: str) -> str:
    """What makes two posts the same: lower case, without addresses, mentions, RT and punctuation."""
    return " ".join(_PUNCTUATION.sub(" ", _NOISE.sub(" ", html.unescape(text).lower())).split())


def kaggle(shared: Path) -> list[Judged]:
    """Kaggle's disaster posts: is it about a real disaster? The fold is a hash of the normalised text.

    So posts that differ only in address or mention are in one fold. Raises DataError.
    """
    return [
        Judged(
            text=html.unescape(item["text"]),
            target=item["labels"]["target"] == 1,
            fold=data.text_hash(normalised(item["text"])) % FOLDS,
        )
        for item in _read(shared, "kaggle_disaster")
    ]


def traffic(shared: Path) -> Parts:
    """Traffic (an incident, or its condition) or not, with the official tests test2 and test3.

    In the tests the official label of that test counts, 0 for non-traffic; it differs from the column `class` in 42
    and 27 rows. A row may stand in both. A train row whose normalised text stands in a test (one does) is left out.
    Raises DataError.
    """
    parts = Parts(train=[], tests={"test2": [], "test3": []})
    for item in _read(shared, "traffic_dabiri"):
        text, split = html.unescape(item["text"]), item["labels"]["split"]
        if split == "train":
            parts.train.append(Judged(text=text, target=item["labels"]["class"] > 1))
        else:
            for name, label in split.items():
                parts.tests[name].append(Judged(text=text, target=label > 0))
    tested = {normalised(row.text) for rows in parts.tests.values() for row in rows}
    return Parts(train=[row for row in parts.train if normalised(row.text) not in tested], tests=parts.tests)


def case2021(shared: Path) -> list[Example]:
    """News snippets with a category of the taxonomy, for zero-shot figures; those without one left out."""
    return list(_examples(_read(shared, "case2021_task2")))


def storm_gloria(shared: Path) -> list[Example]:
    """Posts of one storm in Spanish and Catalan, storm or none; of the other languages the guess is too often wrong."""
    return [row for row in _examples(_read(shared, "storm_gloria")) if row.lang in ("es", "ca")]


def spans(shared: Path) -> list[Marked]:
    """English IDRISI rows whose places were marked, by the official time-based split. Raises DataError.

    The test part is published without labels, but the same posts have them in the random split and among the
    disambiguation rows: a row is in it where `labels.split` has no `timebased`. Each event's test begins after the end
    of its dev part.
    """
    return [
        Marked(
            text=item["text"],
            spans=tuple((place["start"], place["end"]) for place in item["places"]),
            event=item["event"],
            created_at=datetime.fromisoformat(item["created_at"]),
            part=item["labels"]["split"].get("timebased", "test"),
        )
        for item in _read(shared, "idrisi")
        if item["lang"] == "en" and item["labels"]["location_annotated"]
    ]


def grouped(rows: Iterable[Judged]) -> list[list[Judged]]:
    """The rows of each fold, 0 to 4."""
    found: dict[int | None, list[Judged]] = defaultdict(list)
    for row in rows:
        found[row.fold].append(row)
    return [found[fold] for fold in range(FOLDS)]


def _read(shared: Path, name: str) -> Iterator[dict[str, Any]]:
    return data.read(shared, f"labelled/{name}.jsonl.gz", data.checksums(shared))


def _examples(items: Iterable[dict[str, Any]]) -> Iterator[Example]:
    for item in items:
        if item["event_type"] is not None:
            yield Example(
                text=html.unescape(item["text"]),
                label=item["event_type"],
                dataset=item["dataset"],
                lang=item["lang"] or "",
                event=item["event"] or "",
            )
