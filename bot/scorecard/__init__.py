"""``python -m bot.scorecard``: detection measured on public replays in ordinary background, beside the alternatives.

Each happening is judged by the fold model that never saw it, in background that this model was not trained on. Streams
and the models' answers are kept in a cache, so a stopped run goes on. Needs the extra ``train`` and the shared folder.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bot.detection.places import Gazetteer
from bot.detection.weights import Weights
from bot.domain.errors import TocsinError
from bot.scorecard import figures, report, runs, streams
from bot.scorecard.answers import Answers
from bot.scorecard.figures import Scored
from bot.scorecard.streams import Replay, Stream
from classifiers import encoder

Advance = Callable[[int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folders:
    """``models``: the folder with the fold models; ``out`` gets scorecard.json and .md."""

    shared: Path
    models: Path
    cache: Path
    out: Path


def scorecard(
    folders: Folders, gazetteer: Gazetteer, weights: Weights | None = None, *, threads: int = 2
) -> dict[str, Any]:
    """Run everything that the cache does not hold yet. Raises TocsinError, ModelError, DataError."""
    from bot.scorecard import alternatives

    replays = streams.replays(folders.shared)
    mixed = _mixed(folders, replays)
    answers = _answered(folders, mixed, threads)
    weights = weights or Weights()
    ours: list[Scored] = []
    without: dict[str, list[Scored]] = {name: [] for name in runs.PARTS}
    others: dict[str, list[Scored]] = {name: [] for name in ("first stories", "first stories, crisis words", "bursts")}
    with _progress("streams", len(mixed)) as advance:
        for stream in mixed:
            judged = runs.judged(stream.posts, answers[stream.replay.group])
            ours.append(figures.score(folders.shared, stream, runs.detect(judged, gazetteer, weights)))
            if stream.fast:
                advance(1)
                continue
            for part, some in without.items():
                alerts = runs.detect(*runs.less(part, judged, gazetteer, weights))
                some.append(figures.score(folders.shared, stream, alerts))
            posts = list(runs.posts(stream.posts))
            for name, alerts in (
                ("first stories", alternatives.first_stories(posts)[1]),
                ("first stories, crisis words", alternatives.first_stories(posts, crisis_words=True)[1]),
                ("bursts", alternatives.bursts(posts)),
            ):
                others[name].append(figures.score(folders.shared, stream, alerts))
            advance(1)
    together = {
        "Tocsin": figures.together([each for each in ours if not each.stream.fast]),
        f"Tocsin, {streams.FAST_RATE} posts/s": figures.together([each for each in ours if each.stream.fast]),
    }
    result = {
        "together": together | {name: figures.together(some) for name, some in others.items()},
        "without": {name: figures.together(some) for name, some in without.items()},
        "streams": [report.row(each) for each in ours],
        "false": [alert | {"stream": each.stream.name} for each in ours for alert in each.false],
    }
    folders.out.mkdir(parents=True, exist_ok=True)
    (folders.out / "scorecard.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    (folders.out / "scorecard.md").write_text(report.markdown(result), encoding="utf-8")
    return result


def _mixed(folders: Folders, replays: Sequence[Replay]) -> list[Stream]:
    # Each half of the background has every other replay: what is tuned on one half is scored on the other.
    wanted = [(replay, number % len(streams.HALVES), False) for number, replay in enumerate(replays)]
    sudden = [(replay, half, True) for replay, half, _ in wanted if streams.with_onset(replay)]
    wanted += sudden[: streams.FAST_EVENTS]
    found = []
    with _progress("mixing", len(wanted)) as advance:
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
        with _progress(f"classifying, group {group}", len(missing)) as advance:
            for done in answers.add(missing):
                advance(done)
        result[group] = answers
    return result


@contextmanager
def _progress(name: str, total: int) -> Iterator[Advance]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total)
        yield lambda steps: progress.update(task, advance=steps)
