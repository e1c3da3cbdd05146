"""The scenario as Post lines: happenings amid chatter, sorted by time, the same at every call."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from bot.rehearsal import chatter
from bot.rehearsal.scripted import Scripted, read_happenings

START = datetime(2031, 5, 14, 14, tzinfo=UTC)
SPAN = timedelta(hours=3)
CHATTER_POSTS = 1_750


def lines() -> Iterator[str]:
    """`posts()` as JSON, one line each, without line ends."""
    for post in posts():
        yield json.dumps(post, ensure_ascii=False)


def posts() -> Iterator[dict[str, Any]]:
    """Post lines in order of `created_at`; deletion lines stand among them by their `deleted_at`."""
    timed: list[tuple[float, dict[str, Any]]] = []
    start_ms = int(START.timestamp() * 1000)
    happenings = read_happenings()
    ordinary = chatter.chatter(CHATTER_POSTS, span_s=SPAN.total_seconds(), start_ms=start_ms)
    for script in (*happenings, *ordinary):
        timed.append((script.at, _post_line(script)))
        if script.deleted_at is not None:
            timed.append((script.deleted_at, _deletion_line(script, script.deleted_at)))
    timed.sort(key=lambda item: item[0])
    for _, line in timed:
        yield line


def _post_line(script: Scripted) -> dict[str, Any]:
    return {
        "source": script.source,
        "id": script.id,
        "text": script.text,
        "created_at": _time(script.at),
        "author": script.author,
        "langs": list(script.langs),
        "url": script.url,
        "repost_of": script.repost_of,
        "reply_to": script.reply_to,
        "lat": script.lat,
        "lon": script.lon,
        "media": list(script.media),
        "verified": script.verified,
        "official": script.official,
    }


def _deletion_line(script: Scripted, deleted_at: float) -> dict[str, Any]:
    return {"source": script.source, "id": script.id, "deleted_at": _time(deleted_at)}


def _time(at: float) -> str:
    """RFC 3339 with milliseconds."""
    moment = START + timedelta(milliseconds=round(at * 1000))
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
