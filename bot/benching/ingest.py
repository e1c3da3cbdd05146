"""Jetstream's frames into the inbox: the source as the service runs it, and the obvious way with ``json``, turn about
on the same frames, from a server whose processor time is not counted.
"""

import asyncio
import json
import statistics
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp

from bot.benching import jetstream_server, machine
from bot.domain import post
from bot.ingest.ingester import Ingester
from bot.ingest.jetstream import JetstreamSource

FRAMES = 40_000  # of a connection
ROUNDS = 5
GOAL_PER_SECOND = 20_000.0
INBOX_MOST = 2_000  # as in the service
INVENTED_LATER = timedelta(days=3_650)

Inbox = asyncio.Queue[post.Arrival]
Way = Callable[[str, Inbox], Coroutine[Any, Any, None]]


async def measure(count: int, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """``rows`` of each way, with medians of ``rounds``; ``ratio`` is ours : naive, the median of the rounds' ratios.

    The goal is one for a core: on a machine with other work a CPU second is that, a second is not.
    """
    spent: dict[str, list[machine.Timed]] = {name: [] for name in WAYS}
    async with jetstream_server.serving(count) as url:
        for number in range(rounds + 1):
            first = number % len(WAYS)
            for name in list(WAYS)[first:] + list(WAYS)[:first]:
                way, version = WAYS[name]
                taken = await _timed(way, url + jetstream_server.PATHS[version])
                if number:  # the first round warms up
                    spent[name].append(taken)
                    advance(count)
    rows = [_row(name, count, spent[name]) for name in WAYS]
    pairs = zip(spent["ours, protocol 1"], spent["naive, protocol 1"], strict=True)
    ratios = [naive.cpu_seconds / ours.cpu_seconds for ours, naive in pairs]
    return {
        "frames": count,
        "rounds": rounds,
        "rows": rows,
        "ratio": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in ratios],
        "goal_per_second": GOAL_PER_SECOND,
        "met": all(row["per_cpu_second"] >= GOAL_PER_SECOND for row in rows[:2]),
    }


def told(found: dict[str, Any]) -> str:
    """For a terminal."""
    rows = "\n".join(
        f"  {row['stage']}: {row['per_second']:,.0f} frames/s, {row['per_cpu_second']:,.0f} a CPU second"
        for row in found["rows"]
    )
    return (
        f"Jetstream frames into the inbox, one core, {found['rounds']} rounds of {found['frames']:,}:\n{rows}\n"
        f"  goal {found['goal_per_second']:,.0f} a CPU second: {'met' if found['met'] else 'NOT met'}; ours : naive in "
        f"CPU time {found['ratio']:g} : 1 ({min(found['ratios']):g} to {max(found['ratios']):g});\n"
        "  naive is json, dicts and a Post: it checks nothing, and notices neither repeats, gaps, edits nor silence"
    )


def _row(name: str, count: int, spent: list[machine.Timed]) -> dict[str, Any]:
    return {
        "stage": name,
        "per_second": round(statistics.median(count / each.seconds for each in spent), 1),
        "per_cpu_second": round(statistics.median(count / each.cpu_seconds for each in spent), 1),
    }


async def _timed(way: Way, url: str) -> machine.Timed:
    """Until the last frame is out of the inbox, which is emptied as ``classifying`` does it: what there is at once."""
    inbox: Inbox = asyncio.Queue(INBOX_MOST)
    watch = machine.Stopwatch()
    reading = asyncio.create_task(way(url, inbox), name="reading")
    try:
        while True:
            arrival = await inbox.get()
            while not inbox.empty():
                arrival = inbox.get_nowait()
            if isinstance(arrival.item, post.Post) and arrival.item.text == jetstream_server.LAST:
                return watch.read()
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


async def _ours(url: str, inbox: Inbox) -> None:
    source = JetstreamSource("bench", [url], clock=_after_all)
    await Ingester([source], inbox=inbox, cursors={}, clock=_after_all).run()


def _after_all() -> datetime:
    """Later than any event, whose times are invented; read from the clock all the same, as a service does."""
    return datetime.now(UTC) + INVENTED_LATER


async def _naive(url: str, inbox: Inbox) -> None:
    """What one writes first: ``json``, dicts, no doubt about anything."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        async for message in ws:
            frame = json.loads(message.data)
            if frame["kind"] != "commit":
                continue
            commit = frame["commit"]
            at = datetime.fromtimestamp(frame["time_us"] / 1_000_000, UTC)
            uri = f"at://{frame['did']}/{commit['collection']}/{commit['rkey']}"
            item: post.Post | post.Deletion
            if commit["operation"] == "delete":
                item = post.Deletion(provider="bluesky", id=uri, deleted_at=at)
            else:
                record = commit["record"]
                images = record.get("embed", {}).get("images", [])
                item = post.Post(
                    provider="bluesky",
                    id=uri,
                    text=record["text"],
                    created_at=datetime.fromisoformat(record["createdAt"]),
                    received_at=datetime.now(UTC),
                    author=frame["did"],
                    langs=tuple(record.get("langs", [])),
                    url=f"https://bsky.app/profile/{frame['did']}/post/{commit['rkey']}",
                    reply_to=record["reply"]["parent"]["uri"] if "reply" in record else None,
                    media=tuple(
                        f"https://cdn.bsky.app/img/feed_fullsize/plain/{frame['did']}/{each['image']['ref']['$link']}"
                        for each in images
                    ),
                )
            await inbox.put(post.Arrival(source="bench", cursor=str(frame["time_us"]), item=item, at=at))


WAYS: dict[str, tuple[Way, int]] = {
    "ours, protocol 1": (_ours, 1),
    "ours, protocol 2": (_ours, 2),
    "naive, protocol 1": (_naive, 1),
}
