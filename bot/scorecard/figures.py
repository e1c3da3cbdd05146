"""From alerts and the truth to figures: a stream by ``tools/score_replay.py`` (shared folder), then all together."""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bot.domain.errors import TocsinError
from bot.scorecard import streams
from bot.scorecard.streams import Stream

ENOUGH = 5
"""Relevant posts before the first of a news organisation, for the alert to be asked to come before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """``card`` is score_replay's of the stream's one event; ``false`` its list of false alerts, ``new`` included."""

    stream: Stream
    card: dict[str, Any]
    false: list[dict[str, Any]]
    background: int
    may_lead: bool
    independent: int


def score(shared: Path, stream: Stream, alerts: Sequence[dict[str, Any]]) -> Scored:
    """Raises TocsinError."""
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as file:
        file.writelines(json.dumps(alert) + "\n" for alert in alerts)
        file.flush()
        command = [sys.executable, str(shared / "tools" / "score_replay.py"), file.name, str(stream.truth)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise TocsinError(f"score_replay.py could not score {stream.name}: {done.stderr.strip()}")
    card = json.loads(done.stdout)
    if card["summary"]["alerts_citing_later_posts"]:
        raise TocsinError(f"{stream.name}: alerts cite posts that came after them")
    event = json.loads(stream.truth.read_text(encoding="utf-8"))["events"][0]
    media = event["first_media"]
    before = [at for at in event["relevant_at"] if media is not None and _time(at) < _time(media["created_at"])]
    return Scored(
        stream=stream,
        card=card["events"][0],
        false=card["false"],
        background=card["summary"]["background_posts"],
        may_lead=len(before) >= ENOUGH,
        independent=len(event["independent_at"]),
    )


def together(scored: Sequence[Scored]) -> dict[str, Any]:
    """The bars' figures over streams."""
    cards = [each.card for each in scored]
    found = [card for card in cards if card["detected"]]
    leading = [each.card for each in scored if each.may_lead]
    ahead = [card for card in leading if card["detected"] and card["before_first_media_s"] is not None]
    placed = [card for card in found if card["country_correct"] is not None]
    background = sum(each.background for each in scored)
    false = [alert for each in scored for alert in each.false]
    severe = [alert for alert in false if alert["level"] != "alert"]
    judged = [card for card in found if card["category_correct"] is not None]
    possible = [each for each in scored if each.independent >= streams.LEAST]
    return {
        "streams": len(cards),
        "detected": _share(len(found), len(cards)),
        "possible": len(possible),
        "detected_of_possible": _share(sum(each.card["detected"] for each in possible), len(possible)),
        "independent_before_alert": _median(card["independent_before_alert"] for card in found),
        "after_third_independent_s": _median(card["after_third_independent_s"] for card in found),
        "ahead_of_media": _share(sum(card["before_first_media_s"] > 0 for card in ahead), len(leading)),
        "may_lead": len(leading),
        "duplicates": sum(card["duplicates"] for card in cards),
        "category": _share(sum(card["category_correct"] for card in judged), len(judged)),
        "country": _share(sum(card["country_correct"] for card in placed), len(placed)),
        "placed": len(placed),
        "place_error_km": _median(card["place_error_km"] for card in found),
        "background": background,
        "false": len(false),
        "false_urgent": len(severe),
        "false_per_50k": 50_000 * len(false) / background if background else None,
    }


def _share(count: int, of: int) -> float | None:
    return round(count / of, 4) if of else None


def _median(values: Iterable[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return round(statistics.median(found), 1) if found else None


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
