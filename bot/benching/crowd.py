"""Candidates of thousands of invented happenings at once, as a model would judge them; no model is needed.

Of a few there are thousands of posts, of many some, and of most a single one, as in real streams.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np

from bot.detection import candidates, words
from bot.domain.post import Candidate, Post, Span
from bot.rehearsal import scenario
from classifiers.api import CATEGORIES, EMBEDDING_SIZE

# How many happenings share which part of all posts; nobody else's is like one of the rest.
SHARES = ((12, 0.4), (300, 0.3), (2_500, 0.2))

# Two posts of one happening then have a cosine of about 0.64, two happenings of one category 0.35.
_KIND, _OWN, _SPREAD = 0.45, 0.8, 0.75
_SYLLABLES = [
    "ba", "be", "bo", "da", "de", "do", "fa", "fe", "ga", "go", "ha", "he", "ka", "ke", "ko", "la", "le", "lo", "ma",
    "me", "mo", "na", "ne", "no", "pa", "pe", "po", "ra", "re", "ro", "sa", "se", "so", "ta", "te", "to", "va", "ve",
    "vo", "za", "ze", "zo", "lin", "dor", "mar", "vel", "ton", "wick", "ham", "shaw", "bury", "ford",
]  # fmt: skip
_WORDS = [
    "huge", "loud", "smoke", "sky", "road", "windows", "shaking", "people", "running", "heard", "here", "neighbours",
    "street", "sirens", "cars", "bridge", "harbour", "market", "school", "roof", "water", "mud", "flames", "dust",
    "glass", "trees", "cold", "dark", "scared", "safe", "please", "wow", "terrible", "saw", "just", "now", "this",
    "morning", "minutes", "ago", "everyone", "outside", "station", "lights", "power",
]  # fmt: skip

Vector = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class Happening:
    category: str
    town: str
    landmark: str
    centre: Vector


def posts(count: int, over: timedelta) -> Iterator[Candidate]:
    """``count`` candidates from the scenario's start on, evenly over ``over``; the same ones at every call."""
    rng, chance = np.random.default_rng(5), random.Random(5)
    kinds = {category: _unit(rng.standard_normal(EMBEDDING_SIZE)) for category in CATEGORIES}
    common = _unit(rng.standard_normal(EMBEDDING_SIZE))

    def happening() -> Happening:
        category = chance.choice(CATEGORIES)
        own = _unit(rng.standard_normal(EMBEDDING_SIZE))
        centre = _unit(_KIND * common + _KIND * kinds[category] + _OWN * own)
        return Happening(category, _name(chance), _name(chance), centre)

    order: list[Happening] = []
    for happenings, share in SHARES:
        each = max(1, int(share * count / happenings))
        for _ in range(min(happenings, int(share * count))):
            order += [happening()] * each
    order += [happening() for _ in range(count - len(order))]
    chance.shuffle(order)
    for number, about in enumerate(order, start=1):
        spread = _unit(rng.standard_normal(EMBEDDING_SIZE))
        yield _candidate(about, number, number * over / count, _unit(about.centre + _SPREAD * spread), chance)


def _candidate(about: Happening, number: int, after: timedelta, vector: Vector, chance: random.Random) -> Candidate:
    text, at = _text(about, chance), scenario.START + after
    start = text.find(about.town)
    spans = (Span(text=about.town, start=start, end=start + len(about.town), type="LOC"),) if start >= 0 else ()
    return Candidate(
        post=Post(
            provider="bench", id=f"p{number}", text=text, created_at=at, received_at=at, author=f"a{number}",
            langs=("en",),
        ),
        seq=number,
        stream_at=at,
        categories=dict.fromkeys(CATEGORIES, 0.01) | {about.category: 0.7 + 0.25 * chance.random()},
        places=spans,
        embedding=candidates.packed(vector.astype(np.float32)),
        fingerprint=words.fingerprint(text),
        model="bench",
    )  # fmt: skip


def _text(about: Happening, chance: random.Random) -> str:
    """Ordinary words, the category; mostly its town, sometimes a landmark, and a word that nobody else has."""
    said = chance.sample(_WORDS, chance.randint(8, 16))
    said.insert(chance.randrange(len(said)), about.category.replace("_", " "))
    if chance.random() < 0.8:
        said.append(f"in {about.town}")
    if chance.random() < 0.2:
        said.append(f"near {about.landmark}")
    if chance.random() < 0.5:
        said.append(_name(chance).lower())
    text = " ".join(said)
    return text[0].upper() + text[1:]


def _name(chance: random.Random) -> str:
    return "".join(chance.choice(_SYLLABLES) for _ in range(chance.randint(3, 4))).capitalize()


def _unit(vector: Vector) -> Vector:
    unit: Vector = vector / np.linalg.norm(vector)
    return unit
