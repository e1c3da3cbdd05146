"""How well posts are told apart by happening: our clusters beside first-story detection, over the same posts.

Every post of a set is fed to both, whatever its probability; only the relevant ones are scored. A set is either all
happenings of one fold group, moved to one common start, or a replay of many small threads. Scores are the adjusted
mutual information and the adjusted Rand index: 0 for chance, 1 for the truth. Needs the extra ``train``.
"""

import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from sklearn import metrics

from bot.detection import candidates, places
from bot.detection.clusters import Cluster
from bot.detection.detector import Detector
from bot.detection.weights import Weights
from bot.domain.access import EVERYTHING
from bot.domain.post import Post
from bot.scorecard import alternatives, mixing, runs, streams
from bot.scorecard.mixing import Mixed
from bot.scorecard.streams import Replay
from classifiers.api import Classification

START = "2031-01-01T00:00:00Z"
THREADS = "reportedly_2015"
"""A replay whose posts each belong to one of many threads; no model was trained on it."""
LONG = alternatives.WINDOW
TRIED = (0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
"""Thresholds of first-story detection; the one that turns out best for a set is given too: an upper bound."""
OURS, OURS_LONG = "Tocsin", "Tocsin, windows of 24 h"
THEIRS, THEIRS_BEST = "first stories", "first stories, best threshold of each set"
METHODS = (OURS, OURS_LONG, THEIRS, THEIRS_BEST)

Said = Callable[[str], Classification]


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Posts in order of their time, and the happening of each relevant one, by its id.

    ``group`` is the fold whose model judges them; None: the shipped model.
    """

    name: str
    group: int | None
    posts: list[Post]
    happenings: dict[str, str]


def labelled(shared: Path, cache: Path, replays: Sequence[Replay]) -> list[Labelled]:
    """The five groups of happenings, and the threads. Raises TocsinError."""
    groups = sorted({replay.group for replay in replays})
    found = [_labelled(f"group {group}", group, _together(shared, cache, group, replays)) for group in groups]
    path = shared / "data" / "replay" / f"{THREADS}.jsonl.gz"
    return [*found, _labelled(THREADS, None, mixing.mix(shared, cache, THREADS, "--replay", str(path)))]


def scored(some: Labelled, said: Said, gazetteer: places.Gazetteer, weights: Weights) -> dict[str, Any]:
    """``set``, ``posts``, ``happenings`` and, by method, ``ami``, ``ari`` and the number of ``clusters``."""
    tried = {nearest: figures(some, alternatives.first_stories(some.posts, nearest=nearest)[0]) for nearest in TRIED}
    return {
        "set": some.name,
        "posts": len(some.happenings),
        "happenings": len(set(some.happenings.values())),
        "scores": {
            OURS: figures(some, clusters(some.posts, said, gazetteer, weights)),
            OURS_LONG: figures(
                some, clusters(some.posts, said, gazetteer, replace(weights, window=LONG, raised_window=LONG))
            ),
            THEIRS: tried[alternatives.NEAREST],
            THEIRS_BEST: max(tried.values(), key=lambda score: score["ami"]),
        },
    }


def mean(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By method: the scores' mean over sets, each weighted with its posts."""
    posts = sum(row["posts"] for row in rows)
    return {
        method: {
            score: round(sum(row["posts"] * row["scores"][method][score] for row in rows) / posts, 4)
            for score in ("ami", "ari")
        }
        for method in METHODS
        if posts
    }


def figures(some: Labelled, found: Sequence[int]) -> dict[str, Any]:
    """The scores of the posts' labels, over the relevant posts."""
    pairs = [
        (some.happenings[post.id], label)
        for post, label in zip(some.posts, found, strict=True)
        if post.id in some.happenings
    ]
    true, ours = [happening for happening, _ in pairs], [label for _, label in pairs]
    return {
        "ami": round(float(metrics.adjusted_mutual_info_score(true, ours)), 4),
        "ari": round(float(metrics.adjusted_rand_score(true, ours)), 4),
        "clusters": len(set(ours)),
    }


def clusters(posts: Sequence[Post], said: Said, gazetteer: places.Gazetteer, weights: Weights) -> list[int]:
    """The number of the cluster that held each post last, after every union and split; a negative number of its own
    for a post that joined none. Every post is a candidate."""
    weights = replace(weights, threshold=0.0, other_threshold=0.0, start=0.0, oldest_post=timedelta.max)
    detector = _Open(EVERYTHING, gazetteer, weights)
    labels = {post.key: -number for number, post in enumerate(posts, 1)}
    sizes: dict[int, int] = {}
    for seq, post in enumerate(posts, 1):
        candidate = candidates.make(post, said(post.text), seq=seq, stream_at=post.created_at, weights=weights)
        if candidate is None:
            raise ValueError("with thresholds of 0 every post is a candidate")
        detector.add(candidate)
        for cluster in detector.clusters():
            if sizes.get(cluster.number) != len(cluster.members):
                sizes[cluster.number] = len(cluster.members)
                labels.update(dict.fromkeys(cluster.members, cluster.number))
    return [labels[post.key] for post in posts]


class _Open(Detector):
    """The Detector as it is, and one question more."""

    def clusters(self) -> list[Cluster]:
        """What is live now. A cluster that expires keeps the posts that it had."""
        return self._clusters.live()


def _together(shared: Path, cache: Path, group: int, replays: Sequence[Replay]) -> Mixed:
    """The group's happenings in one stream, their first relevant posts at the same moment."""
    with tempfile.TemporaryDirectory() as folder:
        arguments: list[str] = []
        for replay in replays:
            if replay.group == group:
                arguments += ["--replay", str(replay.path), "--truth", str(_without_onset(replay, Path(folder)))]
        return mixing.mix(
            shared, cache, f"group-{group}", *arguments,
            "--start", START, "--before", streams.BEFORE, "--after", streams.AFTER,
        )  # fmt: skip


def _without_onset(replay: Replay, folder: Path) -> Path:
    """A truth file by which the replay's window lies around its first relevant post: some begin hours after the
    onset."""
    truth = json.loads(streams.truth_of(replay).read_text(encoding="utf-8"))
    path = folder / f"{replay.name}.truth.json"
    path.write_text(json.dumps(truth | {"onset": None}), encoding="utf-8")
    return path


def _labelled(name: str, group: int | None, mixed: Mixed) -> Labelled:
    events = mixed.events()
    return Labelled(
        name=name,
        group=group,
        posts=list(runs.posts(mixed.posts)),
        happenings={post: event["event"] for event in events for post in event["relevant_ids"]},
    )
