"""A Candidate as a cluster keeps it: what assessment needs, without the text."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np

from bot.detection import candidates, casualties, denials, places, words
from bot.domain.post import Candidate, Official

TOWNS_COMPARED = 12
LEAST_P = 0.1  # of a category that counts for a cluster
Vector = np.ndarray[Any, np.dtype[np.float32]]

_SEVERE = re.compile(
    r"\b(?:huge|massive|major|enormous|multiple|mass|catastroph\w*|devastat\w*|trapped|bodies|blood|bleeding|screaming|"
    r"dead|killed|dying|casualt\w*|emergency|evacuat\w*|collapsed|hostages?|"
    r"enorme|masiv[oa]|atrapad[oa]s?|muert[oa]s?|herid[oa]s?|evacua\w*|morts?|bless[ée]s?|mortos|ferid[oa]s)\b",
    re.IGNORECASE,
)
_FIRST_HAND = re.compile(
    r"\b(?:i|i'm|i’m|im|we|we're|my|our|us|me|just (?:heard|felt|saw)|here|outside my|from my|right now|"
    r"estoy|mi|estamos|aquí|acá|je|nous|ma|notre|ici|estou|estamos|minha|meu|aqui|ich|wir|hier|mein\w*)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One post in a cluster. ``denial``: by an authority. ``doubt``: words of denial by anybody else. ``second_hand``:
    a repost, by the platform or by "RT @…". ``categories``: those of p ≥ 0.1. ``content``: its words without everyday
    ones; ``names``: probable names. ``distinct``: how many different words; ``sketch``: a bit of 64 for each of them,
    which tells most texts apart at once, and differs from process to process."""

    key: str
    provider: str
    author: str | None
    original: str | None
    fingerprint: str
    created_at: datetime
    stream_at: datetime
    category: str
    p: float
    categories: dict[str, float]
    vector: Vector | None
    words: tuple[str, ...]
    distinct: int
    sketch: int
    content: frozenset[str]
    names: frozenset[str]
    mentions: places.Mentions
    point: tuple[float, float] | None
    counts: dict[str, int]
    severe: bool
    first_hand: bool
    media: bool
    verified: bool
    official: Official | None
    denial: bool
    doubt: bool
    second_hand: bool
    quoted: str | None
    langs: tuple[str, ...]
    length: int

    @property
    def towns(self) -> dict[str, str]:
        return self.mentions.towns

    @property
    def areas(self) -> frozenset[tuple[str, str]]:
        return self.mentions.areas

    @property
    def compared_towns(self) -> list[str]:
        """Of the first dozen names those that are no street or mall."""
        return [town for town in islice(self.mentions.towns, TOWNS_COMPARED) if not places.is_feature(town)]

    def says_begin(self, beginning: str) -> bool:
        """Does a word of its ``content`` begin like that?"""
        return any(word.startswith(beginning) for word in self.content)

    @property
    def stands_in(self) -> bool:
        """Does it quote in its own words what may not have come itself?"""
        return self.second_hand and self.original is None and bool(self.words)

    @property
    def speakers(self) -> frozenset[str]:
        """Who speaks, as far as it is known: the author, and whom a textual repost quotes."""
        return frozenset(name for name in (self.author, self.quoted) if name is not None)

    @property
    def trusted(self) -> bool:
        return self.verified or self.official is not None


def member(candidate: Candidate, gazetteer: places.Gazetteer, *, stream_at: datetime) -> Member:
    """Everything that is read from the text is read here, once."""
    post = candidate.post
    text = post.text
    category, p = candidate.top if candidate.categories else ("", 0.0)
    sequence = words.sequence(text)
    distinct = set(sequence)
    mentions = gazetteer.read(text, candidate.places)
    names = set(words.names(text))
    for town in mentions.towns:
        names.update(token for token in town.split() if not words.is_common(token))
    denial = denials.authoritative(post)
    return Member(
        key=post.key,
        provider=post.provider,
        author=f"{post.provider}|{post.author}" if post.author else None,
        original=f"{post.provider}|{post.repost_of}" if post.repost_of else None,
        fingerprint=candidate.fingerprint,
        created_at=post.created_at,
        stream_at=stream_at,
        category=category,
        p=p,
        categories={name: p for name, p in candidate.categories.items() if p >= LEAST_P},
        vector=candidates.unpacked(candidate.embedding),
        words=sequence,
        distinct=len(distinct),
        sketch=_sketch(distinct),
        content=words.content(sequence),
        names=frozenset(name for name in names if not gazetteer.names_area(name)),
        mentions=mentions,
        point=_point(post.lat, post.lon),
        counts=casualties.counts(text),
        severe=_SEVERE.search(text[: words.MAX_CHARACTERS]) is not None,
        first_hand=_is_first_hand(candidate),
        media=(candidate.media or 0.0) >= 0.5,
        verified=post.verified,
        official=post.official,
        denial=denial,
        doubt=not denial and denials.worded(text),
        second_hand=post.repost_of is not None or words.is_textual_repost(text),
        quoted=f"{post.provider}|@{quoted}" if (quoted := words.quoted(text)) else None,
        langs=post.langs,
        length=min(len(text), 1_000),
    )


def _sketch(distinct: Collection[str]) -> int:
    """It differs from process to process, so it may only rule out what the words themselves would rule out."""
    sketch = 0
    for word in distinct:
        sketch |= 1 << (hash(word) & 63)
    return sketch


def _is_first_hand(candidate: Candidate) -> bool:
    """As the model says; where it says nothing, by words."""
    if candidate.first_hand is not None:
        return candidate.first_hand >= 0.5
    return _FIRST_HAND.search(candidate.post.text[: words.MAX_CHARACTERS]) is not None


def _point(lat: float | None, lon: float | None) -> tuple[float, float] | None:
    if lat is None or lon is None or not (-90 <= lat <= 90 and -180 <= lon <= 180):
        return None
    return (float(lat), float(lon))
