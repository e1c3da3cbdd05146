"""How often the shipped model and the Detector raise an alert over a dense public stream that nobody has labelled."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bot.detection import places
from bot.detection.weights import Weights
from bot.domain.post import Post
from bot.scorecard import mixing, runs
from bot.scorecard.runs import Judged

REPLAY = "snow2014_10k"


def posts(shared: Path, cache: Path) -> list[Post]:
    """The stream. Raises TocsinError."""
    path = shared / "data" / "replay" / f"{REPLAY}.jsonl.gz"
    return list(runs.posts(mixing.mix(shared, cache, REPLAY, "--replay", str(path)).posts))


def rate(stream: Sequence[Post], judged: Judged, gazetteer: places.Gazetteer, weights: Weights) -> dict[str, Any]:
    """First alerts for 10,000 posts, and of each its level, category, headline and number of posts."""
    first = [alert for alert in runs.detect(judged, gazetteer, weights) if alert["kind"] == "new"]
    return {
        "stream": REPLAY,
        "posts": len(stream),
        "alerts": len(first),
        "per_10k": round(10_000 * len(first) / len(stream), 2) if stream else None,
        "listed": [{name: alert[name] for name in ("level", "category", "headline", "posts")} for alert in first],
    }
