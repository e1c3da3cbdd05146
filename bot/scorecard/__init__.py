"""``python -m bot.scorecard``: detection measured on public replays in ordinary background, beside the alternatives.

Each happening is judged by the fold model that never saw it, in background that this model was not trained on, with
a sum that was learned from other happenings in the other half of the background. The screen and the constants that were
set by hand are the shipped ones and have seen them all. Streams and the models' answers are kept in a cache, so a
stopped run goes on. Needs the extra ``train`` and the shared folder.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.detection.places import Gazetteer
from bot.detection.weights import Weights
from bot.domain.errors import TocsinError
from bot.scorecard import crossing, figures, progress, report, runs, streams, wordlists
from bot.scorecard.answers import Answers
from bot.scorecard.crossing import Sample
from bot.scorecard.figures import Scored
from bot.scorecard.streams import Replay, Stream
from classifiers import encoder
from classifiers.api import Classifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """``models``: the folder with the fold models; ``out`` gets scorecard.json, .md and .png."""

    shared: Path
    models: Path
    cache: Path
    out: Path


def scorecard(
    folders: Folders, gazetteer: Gazetteer, weights: Weights | None = None, *, threads: int = 2
) -> dict[str, Any]:
    """Run everything that the cache does not hold yet. Raises TocsinError, ModelError, DataError."""
    from bot.scorecard import picture, supplements

    shipped = encoder.load(threads=threads)
    weights = weights or Weights()
    replays = streams.replays(folders.shared)
    mixed = _mixed(folders, replays)
    answers = _answered(folders, mixed, threads)
    samples = _samples(mixed, answers, shipped)
    slow = [each for each in samples if not each.stream.fast]
    nowhere = Gazetteer([], {}, {})

    def scored(name: str, some: Sequence[Sample], where: Gazetteer = gazetteer, **less: Any) -> list[Scored]:
        with progress.bar(name, len(some)) as advance:
            alerts = crossing.detected(some, where, weights, advance, **less)
        return [figures.score(folders.shared, each.stream, raised) for each, raised in zip(some, alerts, strict=True)]

    ours = scored("streams", samples)
    slowly = [each for each in ours if not each.stream.fast]
    without = {
        "burst": scored("without burst", slow, without="burst"),
        "first-hand": scored("without first-hand", slow, without="first_hand"),
        "place": scored("without place", slow, nowhere, given=runs.placeless),
        "embedding": scored("without embedding", slow, given=runs.vectorless),
    }
    listed = [Sample(stream=each.stream, judged=wordlists.judged(runs.posts(each.stream.posts))) for each in slow]
    others = {"Tocsin without the transformer": scored("without the transformer", listed)}
    result = {
        "together": {
            "Tocsin": figures.together(slowly),
            f"Tocsin, {streams.FAST_RATE} posts/s": figures.together([each for each in ours if each.stream.fast]),
        }
        | {name: figures.together(some) for name, some in (others | _alternatives(folders, slow)).items()},
        "without": {name: figures.together(some) for name, some in without.items()},
        "streams": [report.row(each) for each in ours],
        "false": [alert | {"stream": each.stream.name} for each in ours for alert in each.false],
    } | supplements.measure(
        folders.shared, folders.cache, replays, answers, crossing.by_group(slow, gazetteer, weights), shipped,
        gazetteer, weights,
    )  # fmt: skip
    folders.out.mkdir(parents=True, exist_ok=True)
    (folders.out / "scorecard.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    picture.draw(picture.rows(slowly), folders.out / report.PICTURE)
    (folders.out / "scorecard.md").write_text(report.markdown(result), encoding="utf-8")
    return result


def fit(folders: Folders, gazetteer: Gazetteer, to: Path, *, threads: int = 2) -> Mapping[str, float]:
    """Learn ``strength``'s coefficients over all streams and write them. Raises TocsinError, ModelError, DataError."""
    from bot.scorecard import fitting

    mixed = [each for each in _mixed(folders, streams.replays(folders.shared)) if not each.fast]
    samples = _samples(mixed, _answered(folders, mixed, threads), encoder.load(threads=threads))
    coefficients, learners = crossing.learn(samples, gazetteer, Weights())
    fitting.write(to, coefficients, learners)
    return coefficients


def _samples(mixed: Sequence[Stream], answers: Mapping[int, Answers], screen: Classifier) -> list[Sample]:
    with progress.bar("screening", len(mixed)) as advance:
        found = []
        for stream in mixed:
            judged = runs.judged(runs.posts(stream.posts), answers[stream.replay.group], screen)
            found.append(Sample(stream=stream, judged=judged))
            advance(1)
    return found


def _alternatives(folders: Folders, samples: Sequence[Sample]) -> dict[str, list[Scored]]:
    from bot.scorecard import alternatives

    found: dict[str, list[Scored]] = {}
    with progress.bar("alternatives", len(samples)) as advance:
        for each in samples:
            posts = list(runs.posts(each.stream.posts))
            for name, alerts in (
                ("first stories", alternatives.first_stories(posts)[1]),
                ("first stories, crisis words", alternatives.first_stories(posts, crisis_words=True)[1]),
                ("bursts", alternatives.bursts(posts)),
            ):
                found.setdefault(name, []).append(figures.score(folders.shared, each.stream, alerts))
            advance(1)
    return found


def _mixed(folders: Folders, replays: Sequence[Replay]) -> list[Stream]:
    # Each half of the background has every other replay: what is tuned on one half is scored on the other.
    wanted = [(replay, number % len(streams.HALVES), False) for number, replay in enumerate(replays)]
    sudden = [(replay, half, True) for replay, half, _ in wanted if streams.with_onset(replay)]
    wanted += sudden[: streams.FAST_EVENTS]
    found = []
    with progress.bar("mixing", len(wanted)) as advance:
        for replay, half, fast in wanted:
            found.append(streams.mixed(folders.shared, folders.cache, replay, half, fast=fast))
            advance(1)
    return found


def _answered(folders: Folders, mixed: Sequence[Stream], threads: int) -> dict[int, Answers]:
    """By group: what its fold model says of every text of its streams."""
    result = {}
    for group in sorted({stream.replay.group for stream in mixed}):
        folder = folders.models / f"group-{group}" / "model"
        if not (folder / encoder.MANIFEST).is_file():
            raise TocsinError(f"there is no fold model in {folder}; run: python -m classifiers folds")
        answers = Answers(folders.cache, encoder.load(folder, threads=threads))
        of_group = [stream for stream in mixed if stream.replay.group == group]
        missing = answers.missing(post.text for stream in of_group for post in runs.posts(stream.posts))
        with progress.bar(f"classifying, group {group}", len(missing)) as advance:
            for done in answers.add(missing):
                advance(done)
        result[group] = answers
    return result
