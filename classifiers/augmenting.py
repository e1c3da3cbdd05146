"""Training texts made different on every pass, so that the model learns the kind of happening and not the event.

Without this a model learns that *boston* means terror and *calgary* means flood. Pure: text in, text out, by the given
random generator.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from classifiers.rows import Row

_TOKEN = re.compile(r"#?[^\W\d_][\w'’]+")
_RETWEET = re.compile(r"^(?:RT @\w+:? ?)+")
_SYLLABLES = re.findall(
    r"\w+",
    "bel cor dan el fen gar hal is jor kan lor mar nor ol pel quin ros sal tor ul vel wes yar zan bri cal dru "
    "est fal gre hol il kel lun mon nes or pra rin sto tam ul var wil",
)
_ENDINGS = re.findall(
    r"\w+", "ton ville burg mont ford dale port haven stad vik grad ana ia os ura ita eno ara field by wick mouth"
)
_CRISIS_STEM = re.compile(
    "quake|terremot|sismo|temblor|flood|inund|alluvion|fire|incendi|hurric|storm|typhoon|tornado|cyclon|bomb|explo|crash|"
    "derail|collaps|meteor|haze|smoke|shoot|gunm|riot|protest|attack|terror|outbreak|virus|covid|corona|evacu|rescue|volcan|"
    "erupt|lands|mud|tsunami|magnitude|train|plane|airport|build|factory|refiner|injur|dead|kill|victim|death|warn|police|"
    "state|river|lake|creek|road|school|hospital|market|bank|rain|wind|weather|emergency|damage|help|relief|water"
)


def event_names(rows: Sequence[Row]) -> dict[str, frozenset[str]]:
    """For each event the words that give it away: frequent in it, rare elsewhere, capitalised, no crisis word."""
    everywhere: Counter[str] = Counter()
    within: dict[str, Counter[str]] = defaultdict(Counter)
    capitalised: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for row in rows:
        words = set(_TOKEN.findall(row.text))
        lowered = {word.lower().lstrip("#") for word in words}
        everywhere.update(lowered)
        capitalised.update({word.lower().lstrip("#") for word in words if word[0] == "#" or word[0].isupper()})
        if row.positive and row.dataset != "own":
            within[row.event].update(lowered)
            sizes[row.event] += 1
    names: dict[str, frozenset[str]] = {}
    for event, counts in within.items():
        names[event] = frozenset(
            word
            for word, count in counts.items()
            if count >= max(3, 0.004 * sizes[event])
            and count > 0.6 * everywhere[word]
            and capitalised[word] > 0.6 * everywhere[word]
            and not _CRISIS_STEM.search(word)
        )
    return names


class Augmenter:
    """Replaces places and event names, drops hashtags and repost prefixes, each with the probability that it names."""

    DROP_HASHTAG = 0.3
    STRIP_REPOST = 0.7
    LOWER = 0.12
    UPPER = 0.04

    def __init__(
        self, names: dict[str, frozenset[str]], places: Sequence[str], *, replace: float = 0.55, mask: bool = True
    ) -> None:
        self._replace = replace
        self._mask = mask
        self._names = names
        self._places = places
        self._known = frozenset(place.lower() for place in places if len(place) > 4 and " " not in place)

    def apply(self, row: Row, draw: random.Random) -> tuple[str, tuple[tuple[int, int], ...] | None]:
        """A new text and, where the row has them, its place spans moved along."""
        text, spans = self._masked(row, draw) if self._mask else (row.text, row.spans)
        chance = draw.random()
        # Some letters change the length of a text with their case: those texts stay as they are.
        other = text.lower() if chance < self.LOWER else text.upper() if chance < self.LOWER + self.UPPER else text
        return (other if len(other) == len(text) else text), spans

    def _masked(self, row: Row, draw: random.Random) -> tuple[str, tuple[tuple[int, int], ...] | None]:
        if row.spans:
            return self._replace_spans(row, row.spans, draw)
        text = row.text
        if row.spans is not None and row.dataset == "idrisi":
            return text, row.spans
        if draw.random() < self.STRIP_REPOST:
            text = _RETWEET.sub("", text)
        names = self._names.get(row.event, frozenset())
        replace = draw.random() < self._replace
        drop = draw.random() < self.DROP_HASHTAG
        stand_in: dict[str, str] = {}

        def changed(match: re.Match[str]) -> str:
            word = match[0].lower().lstrip("#")
            if match[0][0] == "#" and drop and (word in names or row.event.startswith(("own", "20"))):
                return ""
            named = word in names or (word in self._known and match[0].lstrip("#")[0].isupper())
            if replace and named and not _CRISIS_STEM.search(word):
                return stand_in.setdefault(word, self._place(draw))
            return match[0]

        if row.positive or names:
            text = _TOKEN.sub(changed, text)
        if row.dataset == "own" and not row.spans:
            text = _roughen(text, draw)
        return text, row.spans

    def _replace_spans(
        self, row: Row, spans: tuple[tuple[int, int], ...], draw: random.Random
    ) -> tuple[str, tuple[tuple[int, int], ...]]:
        if draw.random() >= self._replace:
            return row.text, spans
        stand_in: dict[str, str] = {}
        pieces: list[str] = []
        moved: list[tuple[int, int]] = []
        at = length = 0

        def add(piece: str) -> None:
            nonlocal length
            pieces.append(piece)
            length += len(piece)

        for start, end in sorted(spans):
            if start < at:
                continue
            add(row.text[at:start])
            original = row.text[start:end]
            new = stand_in.setdefault(original.lower(), self._place(draw)) if draw.random() < 0.9 else original
            moved.append((length, length + len(new)))
            add(new)
            at = end
        add(row.text[at:])
        return "".join(pieces), tuple(moved)

    def _place(self, draw: random.Random) -> str:
        if draw.random() < 0.5 and self._places:
            return draw.choice(self._places)
        name = "".join(draw.choices(_SYLLABLES, k=draw.choice((1, 1, 2)))) + draw.choice(_ENDINGS)
        prefix = draw.choice(("", "", "", "", "Port ", "San ", "New ", "Lake ", "North ", "Mount ", "Saint "))
        return f"{prefix}{name.capitalize()}"


def _roughen(text: str, draw: random.Random) -> str:
    """Small noise for texts that are repeated within an epoch: punctuation, a dropped word, a typing slip."""
    if draw.random() < 0.4:
        text = text.rstrip(".!")
    if draw.random() < 0.25:
        text = text.replace(",", "")
    words = text.split(" ")
    if len(words) > 6 and draw.random() < 0.3:
        del words[draw.randrange(len(words))]
    if draw.random() < 0.2:
        at = draw.randrange(len(words))
        word = words[at]
        if len(word) > 4:
            cut = draw.randrange(1, len(word) - 1)
            words[at] = word[:cut] + word[cut + 1] + word[cut] + word[cut + 2 :]
    return " ".join(words)
