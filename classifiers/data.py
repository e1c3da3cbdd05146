"""The training data: which files, how many rows of each, and what stays unseen.

Reads `<shared>/data` (its README describes the files and their licences) and the project's own `texts/*.jsonl`. Every
shared file is checked against SHA256SUMS before it is read. Only what a shipped model may be trained on is in
`PERMITTED`; the rest of the folder is for measuring.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from classifiers import folds
from classifiers.rows import TEXTS, Row, definitions, labelled, no_places, own_texts, text_hash

__all__ = ["PERMITTED", "Data", "DataError", "Row", "checksums", "load", "own_texts", "read", "text_hash"]

PERMITTED: dict[str, str] = {
    "crisislex_t26": "MIT",
    "crisislex_t6": "MIT",
    "dtc_maria": "MIT",
    "stocknet": "MIT",
    "fin_tweets_topic": "MIT (upstream card)",
    "idrisi": "CC BY 4.0",
    "pheme_rumours": "CC BY 4.0",
    "cti_ann": "CC BY 4.0",
    "smile": "CC BY 4.0",
    "tweeteval": "open, with the restrictions of the original tasks and of X",
}
"""File → licence, for the files that a shipped model may be trained on (shared/data/README.md, last section)."""

UNSEEN_POSTS = 12
"""One post in so many (by hash) of every trained event is left out of training: for the screen and for parity."""

EVENT_CAP = 450
_CAPS: dict[str, int] = {
    "fin_markets": 1_800,
    "fin_politics": 800,
    "fin_none": 1_500,
    "cti_ann": 1_200,
    "dtc_maria": 600,
    "stocknet": 1_500,
    "smile": 900,
    "background": 8_000,
    "tweeteval_stance": 1_500,
    "tweeteval_offensive": 1_500,
    "tweeteval_emoji": 2_500,
    "tweeteval_emotion": 1_500,
    "tweeteval_sentiment": 2_500,
}
_SPANS_CAP = 900
"""Rows of one event, beyond EVENT_CAP, from which only the place spans are learnt."""


class DataError(Exception):
    """A data file is missing or not the one its checksum describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Everything a training run reads: rows to train on, rows never trained on, and ordinary posts never trained on."""

    train: list[Row]
    held_out: list[Row]
    background: list[Row] = field(repr=False)
    hashes: dict[str, str]


def load(
    shared: Path,
    *,
    without: int | None = None,
    seed: int = 1,
    limit: int | None = None,
    own: bool = True,
    more: Sequence[Row] = (),
) -> Data:
    """Read, check and select. Raises DataError.

    `without` is a group of `folds` whose events go to `held_out` whole; `limit` cuts the training rows to about that
    many, evenly; `own` takes in the project's own texts and the taxonomy's definitions; `more` are further rows to
    train on, capped like the rest.
    """
    sums = checksums(shared)
    rows: list[Row] = []
    for name in PERMITTED:
        rows.extend(labelled(name, read(shared, f"labelled/{name}.jsonl.gz", sums)))
    rows = [replace(row, split=_split(row, without)) for row in rows]
    ordinary, background = _background(read(shared, "background/public.jsonl.gz", sums))
    rows.extend(ordinary)
    if own:
        rows.extend(own_texts())
        rows.extend(definitions())
    rows.extend(more)
    train = _capped([row for row in rows if row.split == "train"], seed)
    held_out = [row for row in rows if row.split != "train"]
    if limit is not None and limit < len(train):
        train = random.Random(seed).sample(train, limit)
    used = [f"labelled/{name}.jsonl.gz" for name in PERMITTED] + ["background/public.jsonl.gz"]
    hashes = {name: sums[name] for name in used}
    hashes |= {f"texts/{path.name}": _sha256(path) for path in sorted(TEXTS.glob("*.jsonl"))}
    return Data(train=train, held_out=held_out, background=background, hashes=hashes)


def checksums(shared: Path) -> dict[str, str]:
    """SHA256SUMS as path → hash."""
    listing = shared / "data" / "SHA256SUMS"
    if not listing.is_file():
        raise DataError(f"{listing} is not there; name the folder that holds data/ with --shared")
    pairs = (line.split(maxsplit=1) for line in listing.read_text(encoding="utf-8").splitlines() if line.strip())
    return {name.strip(): digest for digest, name in pairs}


def read(shared: Path, name: str, sums: dict[str, str]) -> Iterator[dict[str, Any]]:
    """The rows of one data file, after its hash was checked."""
    path = shared / "data" / name
    if not path.is_file():
        raise DataError(f"{path} is not there; name the folder that holds data/ with --shared")
    if _sha256(path) != sums.get(name):
        raise DataError(f"{path} is not the file that SHA256SUMS describes; fetch it again")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _split(row: Row, without: int | None) -> str:
    """`train`, `held_out` (an unseen event or a file's own test part), `spans` or `posts` (unseen posts)."""
    if without is not None and folds.group_of(row.event) == without:
        return "held_out"
    if row.split == "train" and text_hash(row.text) % UNSEEN_POSTS == 0:
        return "posts"
    return row.split


def _background(items: Iterable[dict[str, Any]]) -> tuple[list[Row], list[Row]]:
    """Half of the pool by hash for training, without the rows whose licence forbids it; the other half for measuring.

    Rows with a bare number for an id come from crisislex_t6 (also in its file, marked in_background) or from
    traffic_dabiri, which has no licence: both are left out of training.
    """
    train: list[Row] = []
    measure: list[Row] = []
    for item in items:
        open_source = item["id"].startswith(("tweeteval-", "smile-"))
        source = item["id"].split("-")[0] if open_source else "crisislex_t6 or traffic_dabiri"
        spans = no_places(item["text"])
        row = Row(text=item["text"], report=False, spans=spans, event="background", dataset=source, lang="en")
        if text_hash(row.text) % 2:
            measure.append(row)
        elif open_source:
            train.append(replace(row, dataset="background"))
    return train, measure


def _capped(rows: list[Row], seed: int) -> list[Row]:
    """No event outweighs the others: at most so many of each event and kind, drawn by the seed."""
    groups: dict[tuple[str, bool, bool], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.event, bool(row.positive), bool(row.report)].append(row)
    draw = random.Random(seed)
    chosen: list[Row] = []
    for (event, _, _), group in sorted(groups.items(), key=lambda pair: pair[0]):
        draw.shuffle(group)
        cap = len(group) if event.startswith(("own_", "definition")) else _CAPS.get(event, EVENT_CAP)
        chosen.extend(group[:cap])
        rest = [row for row in group[cap:] if row.dataset == "idrisi" and row.spans is not None]
        chosen.extend(replace(row, judged=False, report=None) for row in rest[:_SPANS_CAP])
    draw.shuffle(chosen)
    return chosen
