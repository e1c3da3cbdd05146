"""What the Detector is fed in place of the transformer's answers: the keyword list's categories, and hashed words.

No places: the gazetteer then looks for names in the text itself.
"""

import hashlib
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from bot.detection import words
from bot.domain.post import Post
from bot.scorecard.runs import Judged
from classifiers.api import EMBEDDING_SIZE, Classification, Embedding
from classifiers.evaluation import keywords
from classifiers.taxonomy import CATEGORIES

MODEL = "keywords"
WRONG = 0.1
"""The share of a category's words that are taken to mean something else, each for itself: one word makes p 0.9."""

_LIST = [(category, keywords.pattern(category)) for category in CATEGORIES]


def counts(text: str) -> dict[str, int]:
    """By category: how many different words of the keyword list stand in the text."""
    lowered = text.lower()
    return {category: len(set(pattern.findall(lowered))) for category, pattern in _LIST}


def judged(posts: Iterable[Post]) -> Judged:
    """The posts with a word of the list, and what follows from it."""
    found: Judged = []
    for post in posts:
        count = counts(post.text)
        if any(count.values()):
            found.append((post, _classification(post.text, count)))
    return found


def embedding(text: str) -> Embedding:
    """The words without everyday ones, each hashed to a place and a sign (Weinberger et al. 2009); L2 norm 1, or zero
    for a text without such words."""
    vector = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
    for word in words.content(words.sequence(text)):
        place, sign = _hashed(word)
        vector[place] += sign
    norm = float(np.linalg.norm(vector))
    return vector if norm == 0.0 else np.asarray(vector / norm, dtype=np.float32)


def _classification(text: str, count: dict[str, int]) -> Classification:
    return Classification(
        categories={category: 1.0 - WRONG**number for category, number in count.items()},
        places=(),
        embedding=embedding(text),
        model=MODEL,
    )


@lru_cache(maxsize=65_536)
def _hashed(word: str) -> tuple[int, float]:
    number = int.from_bytes(hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    return (number >> 1) % EMBEDDING_SIZE, 1.0 if number & 1 else -1.0
