"""The training data: which rows of which files, as what, and which events are held out.

Reads `<shared>/data` (its README describes the files and their licences) and the project's own `texts/*.jsonl`. Every
shared file is checked against SHA256SUMS before it is read. Only what a shipped model may be trained on is in
`PERMITTED`; the rest of the folder is for measuring.
"""

from __future__ import annotations

import gzip
import hashlib
import html
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from classifiers.taxonomy import CATEGORIES

TEXTS = Path(__file__).parent / "texts"

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

HELD_OUT: dict[str, tuple[str, ...]] = {
    "terror_attack": ("2013_Boston_bombings", "2013_Boston_Bombings"),
    "wildfire": ("2013_Australia_bushfire",),
    "earthquake": ("2012_Costa_Rica_earthquake",),
    "flood": ("2013_Alberta_floods", "2013_Alberta_Floods"),
    "storm": ("2013_Typhoon_Yolanda",),
    "transport_accident": ("2013_NY_train_crash",),
}
"""Events never trained on: for calibration and the card's figures. One happening a category with two or more; the same
happening in two files is held out in both. The other categories have one event at most and cannot be measured so."""

HELD_OUT_EVENTS = frozenset(event for events in HELD_OUT.values() for event in events)

# Categories that a report of one may rightly carry as well: not counted as wrong in training where it is the label,
# and counted as right where the text says so in these words.
_ALSO: dict[str, tuple[str, ...]] = {
    "terror_attack": ("explosion", "shooting"),
    "shooting": ("terror_attack",),
    "armed_conflict": ("explosion", "terror_attack", "fire"),
    "unrest": ("fire", "politics", "shooting"),
    "explosion": ("fire", "hazmat_pollution"),
    "fire": ("explosion", "hazmat_pollution"),
    "wildfire": ("fire", "hazmat_pollution"),
    "earthquake": ("structural_collapse", "landslide"),
    "volcano": ("earthquake", "explosion"),
    "landslide": ("flood", "storm", "structural_collapse"),
    "flood": ("storm", "landslide"),
    "storm": ("flood", "landslide"),
    "meteor": ("explosion",),
    "transport_accident": ("fire", "explosion", "hazmat_pollution"),
    "structural_collapse": ("explosion",),
    "hazmat_pollution": ("fire", "wildfire", "explosion"),
    "public_health": ("hazmat_pollution",),
    "cyber": ("markets",),
    "markets": ("politics",),
    "politics": ("markets", "unrest"),
}
_WORDS: dict[str, re.Pattern[str]] = {
    "explosion": re.compile(
        r"\b(?:explo(?:sion|de|ded)s?|blasts?|explosi[oó]n|esplosione|explos[aã]o)\b", re.IGNORECASE
    ),
    "shooting": re.compile(r"\b(?:shooting|gunm[ae]n|gunfire|shots fired|shooter)\b", re.IGNORECASE),
    "flood": re.compile(r"\b(?:flood(?:s|ed|ing|waters?)?|inundaci[oó]n(?:es)?|under water)\b", re.IGNORECASE),
    "landslide": re.compile(r"\b(?:land|mud)slides?\b", re.IGNORECASE),
    "structural_collapse": re.compile(r"\bbuildings? (?:has |have )?collapsed\b", re.IGNORECASE),
}

_SYMPATHY = re.compile(
    r"\b(?:pray\w*|thoughts|condolences?|r\.?i\.?p|god bless|hope every|stay safe|be safe|stay strong|heart goes out|"
    r"donat\w+|fundrais\w+|tribute|lol|lmao|haha\w*)\b",
    re.IGNORECASE,
)
_CRISIS = re.compile(
    r"\b(?:kill\w*|shoot\w*|shot|bomb\w*|explo\w*|attack\w*|riot\w*|fire|flood\w*|quake|earthquake|hurricane|tornado|crash\w*|"
    r"dead|dies|died|protest\w*|war|strikes?|terror\w*|murder\w*|breaking|election|resign\w*|votes?|voted)\b",
    re.IGNORECASE,
)
_CYBER = re.compile(r"breach|attack|hack|outage|leak|ransom|stolen|vulnerab|exploit|patch|botnet|phish", re.IGNORECASE)
_NO_NEWS = re.compile(
    r"webcast|conference call|listen now|to (?:announce|report|host|present|participate)", re.IGNORECASE
)

# fin_tweets_topic: topics that are news of a happening; the other market topics are neither right nor wrong.
_MARKET_NEWS = frozenset({1, 5, 7, 11, 12, 13, 14, 19})
_MARKET_NOISE = frozenset({0, 18})

EVENT_CAP = 450
EVENT_NEGATIVE_CAP = 300
_CAPS: dict[str, int] = {"markets": 1800, "politics": 800, "cyber": 400}


class DataError(Exception):
    """A data file is missing or not the one its checksum describes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One training text. `positive` and `unknown` are category ids; every other category is a no.

    `spans` are the gold places (start, end), None where nobody marked any. `judged` is false where only they count.
    """

    text: str
    positive: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    spans: tuple[tuple[int, int], ...] | None = None
    judged: bool = True
    event: str = ""
    dataset: str = ""
    lang: str | None = None
    split: str = "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """Everything a training run reads: rows to train on, rows held out, and the ordinary posts never trained on."""

    train: list[Row]
    held_out: list[Row]
    background: list[Row] = field(repr=False)
    hashes: dict[str, str]


def load(shared: Path, *, seed: int = 1, limit: int | None = None) -> Data:
    """Read, check and select. `limit` cuts the training rows to about that many, evenly. Raises DataError."""
    sums = checksums(shared)
    rows: list[Row] = []
    for name in PERMITTED:
        rows.extend(_labelled(name, read(shared, f"labelled/{name}.jsonl.gz", sums)))
    ordinary, background = _background(read(shared, "background/public.jsonl.gz", sums))
    rows.extend(ordinary)
    rows.extend(own_texts())
    train = _capped([row for row in rows if row.split == "train"], seed)
    held_out = [row for row in rows if row.split != "train"]
    held_out += _unused_spans(rows, train)
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


def own_texts() -> Iterator[Row]:
    """The project's own texts. One in seven (by hash) is held out."""
    for path in sorted(TEXTS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            categories = item["category"].split("+")
            positive = frozenset(categories) - {"none"}
            yield Row(
                text=item["text"],
                positive=positive,
                unknown=_also(positive) - positive,
                spans=_no_places(item["text"]) if not positive else None,
                event="own_" + categories[0],
                dataset="own",
                lang=item["lang"],
                split="held_out" if text_hash(item["text"]) % 7 == 0 else "train",
            )


def text_hash(text: str) -> int:
    """A stable hash that splits by text: half of the background by parity, own texts by the remainder of 7."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:6], "big")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _labelled(name: str, items: Iterable[dict[str, Any]]) -> Iterator[Row]:
    for item in items:
        if item.get("in_background"):
            continue
        row = _row(name, item)
        if row is not None:
            yield row


def _row(name: str, item: dict[str, Any]) -> Row | None:
    """The training row that a labelled item becomes, or None where its labels do not say enough."""
    kind: str | None = item["event_type"]
    text: str = item["text"]
    labels = item["labels"]
    event = item["event"] or name
    spans = None
    judged = True
    unknown: frozenset[str] = frozenset()
    match name:
        case "crisislex_t26":
            if item["informative"] is False and labels["Informativeness"].startswith("Related"):
                kind = "none"
        case "crisislex_t6" if kind != "none" and _SYMPATHY.search(text):
            return None
        case "idrisi":
            if item["lang"] != "en":
                return None
            judged = kind is not None and "donation" not in labels["humAID_class"] and not _SYMPATHY.search(text)
            if labels["location_annotated"]:
                spans = tuple((place["start"], place["end"]) for place in item["places"])
            elif not judged:
                return None
            kind = kind or "none"
        case "dtc_maria" if kind == "storm" and _SYMPATHY.search(text):
            return None
        case "fin_tweets_topic":
            topic = labels["label"]
            if topic in _MARKET_NOISE or _NO_NEWS.search(text):
                kind = "none"
            elif kind == "markets" and topic not in _MARKET_NEWS:
                kind, unknown = "none", frozenset({"markets", "politics"})
            event = f"fin_{kind}"
        case "stocknet":
            kind, event = "none", "stocknet"
        case "cti_ann":
            if kind == "cyber" and not _CYBER.search(text):
                kind, unknown = "none", frozenset({"cyber"})
        case "tweeteval":
            task = labels["task"]
            if kind is None and (task.startswith("stance") or task == "offensive") and not _CRISIS.search(text):
                kind = "none"
            event = f"tweeteval_{task.split('/')[0]}"
    if kind is None:
        return None
    if spans is None:
        text = html.unescape(text)
    positive = frozenset() if kind == "none" or not judged else frozenset({kind})
    said = frozenset(other for other in _also(positive) if other in _WORDS and _WORDS[other].search(text))
    positive |= said
    return Row(
        text=text,
        positive=positive,
        unknown=(unknown | _also(positive)) - positive,
        spans=spans,
        judged=judged,
        event=event,
        dataset=name,
        lang=item["lang"],
        split=_split(name, event, labels, text),
    )


def _split(name: str, event: str, labels: dict[str, Any], text: str) -> str:
    """`train` or `held_out`."""
    if event in HELD_OUT_EVENTS:
        return "held_out"
    if name == "fin_tweets_topic" and labels["split"] == "valid":
        return "held_out"
    if name == "cti_ann" and text_hash(text) % 5 == 0:
        return "held_out"
    return "train"


def _unused_spans(rows: list[Row], train: list[Row], most: int = 1_500) -> list[Row]:
    """IDRISI rows that no draw chose, as split `spans`: unseen posts, of events that were trained on, for places.

    The shared file has no labelled part of the time-based test split, and its other parts are all trained on.
    """
    chosen = {row.text for row in train}
    unused = (row for row in rows if row.dataset == "idrisi" and row.spans is not None and row.text not in chosen)
    by_hash = sorted(unused, key=lambda row: text_hash(row.text))
    return [replace(row, split="spans") for row in by_hash[:most]]


def _also(positive: Iterable[str]) -> frozenset[str]:
    return frozenset(other for category in positive for other in _ALSO.get(category, ()))


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
        row = Row(text=item["text"], spans=_no_places(item["text"]), event="background", dataset=source, lang="en")
        if text_hash(row.text) % 2:
            measure.append(row)
        elif open_source:
            train.append(replace(row, dataset="background"))
    return train, measure


def _no_places(text: str) -> tuple[tuple[int, int], ...] | None:
    """No span, where a text surely names no place: it has no capital letter after its first, no @ and no #.

    Without such rows the place head, taught on disaster posts alone, finds places in chatter.
    """
    return () if not any(char.isupper() or char in "@#" for char in text[1:]) else None


def _capped(rows: list[Row], seed: int) -> list[Row]:
    """No event outweighs the others: at most so many reports and so many others of each, drawn by the seed."""
    groups: dict[tuple[str, bool, bool], list[Row]] = defaultdict(list)
    for row in rows:
        groups[row.event, bool(row.positive), row.judged].append(row)
    draw = random.Random(seed)
    chosen: list[Row] = []
    for (event, positive, judged), group in sorted(groups.items(), key=lambda pair: pair[0]):
        cap = _cap(event, group[0], positive=positive, judged=judged)
        chosen.extend(draw.sample(group, cap) if cap < len(group) else group)
    draw.shuffle(chosen)
    return chosen


def _cap(event: str, example: Row, *, positive: bool, judged: bool) -> int:
    if event.startswith("own_"):
        return len(CATEGORIES) * 1_000
    if example.dataset in ("background", "tweeteval"):
        return {"background": 7_500, "tweeteval_stance": 1_500, "tweeteval_offensive": 1_500}.get(event, 2_500)
    if not judged:
        return 120
    if example.dataset == "dtc_maria":
        return 250 if positive else 1_200
    if example.dataset == "stocknet":
        return 1_500
    if example.dataset == "cti_ann":
        return 1_200
    if example.dataset == "fin_tweets_topic":
        return _CAPS.get(event.removeprefix("fin_"), 1_500)
    return EVENT_CAP if positive else EVENT_NEGATIVE_CAP
