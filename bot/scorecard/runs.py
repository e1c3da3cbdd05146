"""One stream through the detector, as ``tocsin replay`` would do it, from answers that were computed before."""

from collections.abc import Iterator, Sequence
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
from classifiers.api import EMBEDDING_SIZE, Classification

LEAST_P = 0.3
"""Below this no threshold that is tried makes a candidate of a post."""

Judged = list[tuple[Post, Classification]]

PARTS = ("burst", "place", "embedding")
"""What detection can be run without, to see what it brings."""


def posts(path: Path) -> Iterator[Post]:
    """The posts of a file of Post lines, in its order."""
    with path.open("rb") as file:
        for line in file:
            item = lines.decode(line)
            if isinstance(item, Post):
                yield item


def judged(path: Path, answers: Answers) -> Judged:
    """The posts that could be candidates, with what the model says of them."""
    return [(post, answers.get(post.text)) for post in posts(path) if answers.top(post.text) >= LEAST_P]


def detect(stream: Judged, gazetteer: places.Gazetteer, weights: Weights) -> list[dict[str, Any]]:
    """Alert lines, as ``replay --json`` writes them."""
    detector = Detector(EVERYTHING, gazetteer, weights)
    return [alerts.to_line(alert) for candidate in _candidates(stream, weights) for alert in detector.add(candidate)]


def _candidates(stream: Sequence[tuple[Post, Classification]], weights: Weights) -> Iterator[Candidate]:
    seq = 1
    for post, classification in stream:
        made = candidates.make(post, classification, seq=seq, stream_at=post.created_at, weights=weights)
        if made is not None:
            seq += 1
            yield made


def less(
    part: str, stream: Judged, gazetteer: places.Gazetteer, weights: Weights
) -> tuple[Judged, places.Gazetteer, Weights]:
    """What ``detect`` takes, without one of PARTS."""
    match part:
        case "burst":
            return stream, gazetteer, replace(weights, chance=1.0)
        case "place":
            return [(post, replace(said, places=())) for post, said in stream], places.Gazetteer([], {}, {}), weights
        case "embedding":
            nothing = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
            return [(post, replace(said, embedding=nothing)) for post, said in stream], gazetteer, weights
    raise ValueError(f"detection has no part {part!r}")
