"""What the scorecard holds beside its streams: clusterings, the alert rate of an unlabelled stream, speed.

Texts are classified through the cache of answers, so a stopped run goes on. Needs the extra ``train``.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bot.detection.places import Gazetteer
from bot.detection.weights import Weights
from bot.scorecard import clusterings, progress, runs, speed, streams, unlabelled
from bot.scorecard.answers import Answers
from bot.scorecard.streams import Replay
from classifiers.encoder import Encoder


def measure(
    shared: Path,
    cache: Path,
    replays: Sequence[Replay],
    answers: Mapping[int, Answers],
    learned: Mapping[int, Mapping[str, float]],
    shipped: Encoder,
    gazetteer: Gazetteer,
    weights: Weights,
) -> dict[str, Any]:
    """``clusterings``, ``unlabelled`` and ``speed``. ``answers`` are the fold models', ``learned`` what other groups
    taught, by group. Raises TocsinError, DataError."""
    of_shipped = Answers(cache, shipped)
    return {
        "clusterings": _clusterings(
            clusterings.labelled(shared, cache, replays), answers, learned, of_shipped, gazetteer, weights
        ),
        "unlabelled": _unlabelled(shared, cache, of_shipped, shipped, gazetteer, weights),
        "speed": _speed(shared, cache, replays, shipped, gazetteer, weights),
    }


def _clusterings(
    sets: Sequence[clusterings.Labelled],
    answers: Mapping[int, Answers],
    learned: Mapping[int, Mapping[str, float]],
    of_shipped: Answers,
    gazetteer: Gazetteer,
    weights: Weights,
) -> dict[str, Any]:
    rows = []
    for some in sets:
        said = of_shipped if some.group is None else answers[some.group]
        _complete(said, (post.text for post in some.posts), some.name)
    with progress.bar("clusterings", len(sets)) as advance:
        for some in sets:
            said = of_shipped if some.group is None else answers[some.group]
            unseen = weights if some.group is None else replace(weights, strength=learned[some.group])
            rows.append(clusterings.scored(some, said.get, gazetteer, unseen))
            advance(1)
    groups = [row for row, some in zip(rows, sets, strict=True) if some.group is not None]
    return {"sets": rows, "mean": clusterings.mean(groups)}


def _unlabelled(
    shared: Path, cache: Path, of_shipped: Answers, shipped: Encoder, gazetteer: Gazetteer, weights: Weights
) -> dict[str, Any]:
    posts = unlabelled.posts(shared, cache)
    _complete(of_shipped, (post.text for post in posts), unlabelled.REPLAY)
    judged = runs.judged(posts, of_shipped, shipped)
    return unlabelled.rate(posts, judged, gazetteer, weights)


def _speed(
    shared: Path, cache: Path, replays: Sequence[Replay], shipped: Encoder, gazetteer: Gazetteer, weights: Weights
) -> dict[str, Any]:
    replay = next(each for each in replays if streams.with_onset(each))
    mixed = speed.stream(shared, cache, replay)
    with mixed.posts.open("rb") as file:
        count = sum(1 for _ in file)
    with progress.bar("speed", count) as advance:
        return speed.measure(mixed, shipped, gazetteer, weights, advance)


def _complete(answers: Answers, texts: Iterable[str], name: str) -> None:
    missing = answers.missing(texts)
    with progress.bar(f"classifying, {name}", len(missing)) as advance:
        for done in answers.add(missing):
            advance(done)
