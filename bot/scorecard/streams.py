"""The streams that detection is scored on: one replay each, mixed with one half of the ordinary background.

The pool of group N holds no text that the fold model N was trained on, and one hard post in twenty; its halves are told
apart by hash of the text. Mixing is done by ``tools/mix_stream.py`` of the shared folder.
"""

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.domain.errors import TocsinError
from bot.scorecard import mixing
from classifiers import data, folds

HALVES = (0, 1)
RATE = 0.9
"""Posts a second: what lasts seven hours without one coming twice."""
BEFORE, AFTER = "1h", "6h"
FAST_RATE, FAST_BEFORE, FAST_AFTER, FAST_EVENTS = 24, "2m", "14m", 10
"""The first events with a known onset once more, in a dense stream: as many posts as lie in a half of the pool."""
HARD_ONE_IN = 20
LEAST = 3
"""Independent relevant posts in a window, for there to be something to detect in it."""

_PREFERRED = ("t6_", "t26_", "idrisi_", "pheme_")
_LABELLED = ("crisislex_t6", "crisislex_t26", "idrisi", "pheme_rumours")
_POOL = "background/public.jsonl.gz"
_HARD = "background/hard_public.jsonl.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """``group`` is the fold whose model never saw the happening."""

    name: str
    happening: str
    group: int
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """Post lines in ``posts`` and what is true of them in ``truth``."""

    replay: Replay
    half: int
    fast: bool
    posts: Path
    truth: Path

    @property
    def name(self) -> str:
        return f"{self.replay.name}-{self.half}{'-fast' if self.fast else ''}"


def replays(shared: Path) -> list[Replay]:
    """Every labelled happening once, of the set that has most posts of it. Raises DataError."""
    events = {
        item["id"]: item["event"]
        for name in _LABELLED
        for item in data.read(shared, f"labelled/{name}.jsonl.gz", data.checksums(shared))
        if folds.group_of(item["event"]) is not None
    }
    found: dict[str, Replay] = {}
    folder = shared / "data" / "replay"
    for prefix in _PREFERRED:
        for path in sorted(folder.glob(f"{prefix}*.jsonl.gz")):
            event = next((events[item["id"]] for item in _items(path) if item["id"] in events), None)
            group = None if event is None else folds.group_of(event)
            if event is None or group is None:
                raise TocsinError(f"{path.name} is of no happening that classifiers/folds.json knows")
            name = path.name.removesuffix(".jsonl.gz")
            happening = folds.happening_of(event)
            found.setdefault(happening, Replay(name=name, happening=happening, group=group, path=path))
    return sorted(found.values(), key=lambda each: each.name)


def with_onset(replay: Replay) -> bool:
    """Does its truth say when the happening began?"""
    return json.loads(truth_of(replay).read_text(encoding="utf-8"))["onset"] is not None


def pool(shared: Path, cache: Path, group: int, half: int) -> Path:
    """The file with one half of the group's background; made where the cache has none. Raises DataError."""
    path = cache / f"pool-{group}-{half}.jsonl"
    if path.is_file():
        return path
    sums = data.checksums(shared)
    trained = {row.text for row in data.load(shared, without=group).train}
    ordinary = _half(data.read(shared, _POOL, sums), half, trained)
    hard = _half(data.read(shared, _HARD, sums), half, trained)
    hard.sort(key=lambda item: data.text_hash(item["text"]))
    chosen = ordinary + hard[: len(ordinary) // (HARD_ONE_IN - 1)]
    cache.mkdir(parents=True, exist_ok=True)
    _write(path, chosen)
    return path


def mixed(shared: Path, cache: Path, replay: Replay, half: int, *, fast: bool = False) -> Stream:
    """The replay in the background; made where the cache has none. Raises TocsinError, DataError.

    The window lies around the onset; where it holds nothing to detect, since the recording began hours after the onset,
    around the first relevant post.
    """
    name = f"{replay.name}-{half}{'-fast' if fast else ''}"
    stream = Stream(
        replay=replay, half=half, fast=fast, posts=cache / f"{name}.jsonl", truth=cache / f"{name}.truth.json"
    )
    if stream.truth.is_file():
        return stream
    known = json.loads(truth_of(replay).read_text(encoding="utf-8"))
    _mix(shared, cache, stream, truth_of(replay))
    if known["onset"] is not None and len(independent(stream)) < LEAST:
        late = cache / f"{replay.name}.late.truth.json"
        late.write_text(json.dumps(known | {"onset": None}), encoding="utf-8")
        stream.truth.unlink()
        _mix(shared, cache, stream, late)
    return stream


def independent(stream: Stream) -> list[str]:
    """The times of the stream's independent relevant posts."""
    return list(json.loads(stream.truth.read_text(encoding="utf-8"))["events"][0]["independent_at"])


def truth_of(replay: Replay) -> Path:
    """The truth file of the whole replay."""
    return replay.path.with_name(f"{replay.name}.truth.json")


def _mix(shared: Path, cache: Path, stream: Stream, truth: Path) -> None:
    rate, before, after = (FAST_RATE, FAST_BEFORE, FAST_AFTER) if stream.fast else (RATE, BEFORE, AFTER)
    mixing.mix(
        shared, cache, stream.name, "--replay", str(stream.replay.path), "--truth", str(truth),
        "--background", str(pool(shared, cache, stream.replay.group, stream.half)), "--rate", str(rate),
        "--no-repeat", "--before", before, "--after", after,
    )  # fmt: skip


def _half(items: Iterable[dict[str, Any]], half: int, trained: set[str]) -> list[dict[str, Any]]:
    return [
        item
        for item in items
        if item["text"] not in trained and (data.text_hash(item["text"]) >> 2) % len(HALVES) == half
    ]


def _items(path: Path) -> Iterable[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def _write(path: Path, items: Iterable[dict[str, Any]]) -> None:
    part = path.with_suffix(".part")
    with part.open("w", encoding="utf-8") as file:
        for item in items:
            file.write(json.dumps(item, ensure_ascii=False) + "\n")
    part.replace(path)
