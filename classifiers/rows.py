"""One training text and what it says about each head: how a labelled row of a data set becomes a `Row`. Pure."""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from classifiers.taxonomy import TAXONOMY

TEXTS = Path(__file__).parent / "texts"

SOURCES: tuple[str, ...] = ("first_hand", "official", "media", "second_hand")
"""Who speaks: an eyewitness, an authority, a news organisation, somebody who passes on what others say."""

_T26_SOURCES = {
    "Eyewitness": "first_hand",
    "Government": "official",
    "Media": "media",
    "Outsiders": "second_hand",
}

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One text with what is known of it. `positive` and `unknown` are category ids; every other category is a no.

    A category says what the text is about; `report` says whether it reports something real, specific and current
    (None: not known). `source` is one of SOURCES or None. `spans` are the gold places (start, end), None where nobody
    marked any. `judged` is false where the categories are not known.
    """

    text: str
    positive: frozenset[str] = frozenset()
    unknown: frozenset[str] = frozenset()
    report: bool | None = None
    source: str | None = None
    spans: tuple[tuple[int, int], ...] | None = None
    judged: bool = True
    event: str = ""
    dataset: str = ""
    lang: str | None = None
    split: str = "train"

    @property
    def reported(self) -> frozenset[str]:
        """The categories that the text reports: none where it is about them without reporting."""
        return self.positive if self.report else frozenset()


def text_hash(text: str) -> int:
    """A stable hash that splits by text: half of the background by parity, own texts by the remainder of 7."""
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "replace")).digest()[:6], "big")


def own_texts() -> Iterator[Row]:
    """The project's own texts. One in seven (by hash) is held out."""
    for path in sorted(TEXTS.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            item = json.loads(line)
            categories = item["category"].split("+")
            positive = frozenset(categories) - {"none"}
            spans = item.get("places")
            yield Row(
                text=item["text"],
                positive=positive,
                unknown=_also(positive) - positive,
                report=bool(positive),
                source=item.get("source"),
                spans=tuple((start, end) for start, end in spans) if spans is not None else None,
                event="own_" + categories[0],
                dataset="own",
                lang=item["lang"],
                split="held_out" if text_hash(item["text"]) % 7 == 0 else "train",
            )


def definitions() -> Iterator[Row]:
    """The taxonomy's own words as training texts: what each category is, what it is not, and its examples."""
    for category in TAXONOMY:
        positive = frozenset({category.id})
        unknown = _also(positive)
        for text in category.examples:
            yield Row(text=text, positive=positive, unknown=unknown, report=True, event="definition", dataset="own")
        yield Row(text=category.definition, positive=positive, unknown=unknown, event="definition", dataset="own")


def labelled(name: str, items: Iterable[dict[str, Any]]) -> Iterator[Row]:
    """The rows that the items of one labelled file become; those whose labels do not say enough are left out."""
    for item in items:
        if not item.get("in_background"):
            row = _row(name, item)
            if row is not None:
                yield row


def no_places(text: str) -> tuple[tuple[int, int], ...] | None:
    """No span, where a text surely names no place: it has no capital letter after its first, no @ and no #.

    Without such rows the place head, taught on disaster posts alone, finds places in chatter.
    """
    return () if not any(char.isupper() or char in "@#" for char in text[1:]) else None


def _row(name: str, item: dict[str, Any]) -> Row | None:
    kind: str | None = item["event_type"]
    text: str = item["text"]
    labels = item["labels"]
    event = item["event"] or name
    report: bool | None = None if kind is None else kind != "none"
    source = None
    spans = None
    split = "train"
    unknown: frozenset[str] = frozenset()
    match name:
        case "crisislex_t26":
            report = item["informative"]
            source = _T26_SOURCES.get(labels["Information Source"])
        case "crisislex_t6":
            if report and _SYMPATHY.search(text):
                report = None
        case "idrisi":
            if kind is None or "donation" in labels.get("humAID_class", "") or _SYMPATHY.search(text):
                report = None
            if labels["location_annotated"]:
                spans = tuple((place["start"], place["end"]) for place in item["places"])
            if "timebased" not in labels["split"]:
                split = "spans"  # the official test part of the time-based split
        case "dtc_maria":
            if kind == "storm" and _SYMPATHY.search(text):
                report = None
        case "fin_tweets_topic":
            topic = labels["label"]
            if topic in _MARKET_NOISE or _NO_NEWS.search(text):
                kind, report = "none", False
            elif kind == "markets" and topic not in _MARKET_NEWS:
                kind, report, unknown = "none", None, frozenset({"markets", "politics"})
            event = f"fin_{kind}"
            split = "held_out" if labels["split"] == "valid" else "train"
        case "stocknet":
            kind, report, event = "none", False, "stocknet"
        case "cti_ann":
            if kind == "cyber" and not _CYBER.search(text):
                kind, report, unknown = "none", None, frozenset({"cyber"})
            split = "held_out" if text_hash(text) % 5 == 0 else "train"
        case "tweeteval":
            task = labels["task"]
            if kind is None and (task.startswith("stance") or task == "offensive") and not _CRISIS.search(text):
                kind, report = "none", False
            event = f"tweeteval_{task.split('/')[0]}"
    if kind is None and spans is None:
        return None
    if spans is None:
        text = html.unescape(text)
    positive = frozenset() if kind in (None, "none") else frozenset({kind})
    positive |= frozenset(other for other in _also(positive) if other in _WORDS and _WORDS[other].search(text))
    return Row(
        text=text,
        positive=positive,
        unknown=(unknown | _also(positive)) - positive,
        report=report,
        source=source,
        spans=spans,
        judged=kind is not None,
        event=event,
        dataset=name,
        lang=item["lang"],
        split=split,
    )


def _also(positive: Iterable[str]) -> frozenset[str]:
    return frozenset(other for category in positive for other in _ALSO.get(category, ()))
