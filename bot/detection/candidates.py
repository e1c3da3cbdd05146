"""Which classified posts detection takes in, and in what form."""

from datetime import datetime

import numpy as np

from bot.detection import denials, words
from bot.detection.weights import Weights
from bot.domain.post import Candidate, Post, Span
from classifiers.api import Classification

WEIGHTS = Weights()
OFFICIAL = "official"


def make(
    post: Post, classification: Classification, *, seq: int, stream_at: datetime, weights: Weights = WEIGHTS
) -> Candidate | None:
    """The Candidate, or None if the post is not one; ``refusal`` says why.

    A denial by a verified or official author passes whatever its probabilities: it is matched with the event that it
    denies and never starts one.
    """
    if refusal(post, classification, weights) is not None:
        return None
    return Candidate(
        post=post,
        seq=seq,
        stream_at=stream_at,
        categories=dict(classification.categories),
        places=tuple(
            Span(text=span.text, start=span.start, end=span.end, type=span.type) for span in classification.places
        ),
        embedding=packed(classification.embedding),
        fingerprint=words.fingerprint(post.text),
        model=classification.model,
        first_hand=classification.sources.get("first_hand"),
        media=classification.sources.get("media"),
    )


def refusal(post: Post, classification: Classification, weights: Weights = WEIGHTS) -> str | None:
    """None if ``make`` gives a Candidate, else a sentence for ``explain``."""
    needed = threshold(post, weights)
    category, p = min(classification.categories.items(), key=lambda item: (-item[1], item[0]))
    if p >= needed or denials.authoritative(post):
        return None
    return f"the most probable category, {category}, has p {p:.2f}; a candidate needs {needed:.2f}"


def threshold(post: Post, weights: Weights = WEIGHTS) -> float:
    """The p from which it is a Candidate: higher where it says that it is in a language for which the model's
    probabilities have not been measured."""
    foreign = bool(post.langs) and weights.measured_langs.isdisjoint(post.langs)
    return weights.other_threshold if foreign else weights.threshold


def make_official(post: Post, seq: int, stream_at: datetime) -> Candidate:
    """An official post needs no model: its own category with p 1, no embedding. Raises ValueError for another post."""
    if post.official is None:
        raise ValueError(f"{post.key} is not an official post")
    return Candidate(
        post=post,
        seq=seq,
        stream_at=stream_at,
        categories={post.official.category: 1.0},
        places=(),
        embedding=b"",
        fingerprint=words.fingerprint(post.text),
        model=OFFICIAL,
    )


def packed(embedding: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]") -> bytes:
    """384 little-endian float16."""
    return np.asarray(embedding).astype("<f2").tobytes()


def unpacked(embedding: bytes) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None":
    """float32 of L2 norm 1; None for an empty, broken or zero embedding."""
    if len(embedding) != 2 * 384:
        return None
    vector = np.frombuffer(embedding, dtype="<f2").astype(np.float32)
    norm = float(np.sqrt((vector.astype(np.float64) ** 2).sum()))
    if not np.isfinite(norm) or norm == 0.0:
        return None
    return (vector / np.float32(norm)).astype(np.float32)
