"""One stream through the detector, as ``tocsin replay`` would do it, from answers that were computed before."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bot.detection import candidates, places
from bot.detection.detector import Detector
from bot.detection.weights import Weights
from bot.domain import alert as alerts
from bot.domain.access import EVERYTHING
from bot.domain.post import Candidate, Post
from bot.ingest import lines
from bot.scorecard.answers import Answers
from classifiers.api import EMBEDDING_SIZE, Classification, Classifier

LEAST_P = 0.1
"""Below this no threshold that is tried makes a candidate of a post."""

Judged = list[tuple[Post, Classification]]


def posts(path: Path) -> Iterator[Post]:
    """The posts of a file of Post lines, in its order."""
    with path.open("rb") as file:
        for line in file:
            item = lines.decode(line)
            if isinstance(item, Post):
                yield item


def judged(stream: Iterable[Post], answers: Answers, screen: Classifier) -> Judged:
    """The posts that the screen passes and that could be candidates, with what the model says of them."""
    found = [(post, answers.get(post.text)) for post in stream if answers.top(post.text) >= LEAST_P]
    kept = screen.screen([post.text for post, _ in found])
    return [each for each, passed in zip(found, kept, strict=True) if passed]


def detect(stream: Judged, gazetteer: places.Gazetteer, weights: Weights) -> list[dict[str, Any]]:
    """Alert lines, as ``replay --json`` writes them."""
    detector = Detector(EVERYTHING, gazetteer, weights)
    return [alerts.to_line(alert) for candidate in candidates_of(stream, weights) for alert in detector.add(candidate)]


def candidates_of(stream: Sequence[tuple[Post, Classification]], weights: Weights) -> Iterator[Candidate]:
    """What detection takes in, in order."""
    seq = 1
    for post, classification in stream:
        made = candidates.make(post, classification, seq=seq, stream_at=post.created_at, weights=weights)
        if made is not None:
            seq += 1
            yield made


def placeless(stream: Judged) -> Judged:
    """Without the places that the model finds."""
    return [(post, replace(said, places=())) for post, said in stream]


def vectorless(stream: Judged) -> Judged:
    """Without embeddings."""
    nothing = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
    return [(post, replace(said, embedding=nothing)) for post, said in stream]
