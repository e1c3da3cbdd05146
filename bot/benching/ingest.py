"""Jetstream's frames into the inbox: the source as the service runs it, and the obvious way with ``json`` and
``zstandard``, turn about on the same frames, plain and packed, from a server whose processor time is not counted.
"""

import asyncio
import contextlib
import json
import statistics
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import zstandard

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
Way = Callable[[str, Inbox, Path | None], Coroutine[Any, Any, None]]
PAIRS = ("protocol 1", "protocol 1 packed", "protocol 2 packed")  # ours beside the naive way


async def measure(count: int, rounds: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """``rows`` of each way, with medians of ``rounds``. ``ratio`` is ours : naive of plain frames, protocol 1, the
    median of the rounds' ``ratios``; ``pairs`` has those of each pair.

    The goal is one for a core: on a machine with other work a CPU second is that, a second is not.
    """
    spent: dict[str, list[machine.Timed]] = {name: [] for name in WAYS}
    with packing() as dictionary:
        async with jetstream_server.serving(count) as url:
            for number in range(rounds + 1):
                first = number % len(WAYS)
                for name in list(WAYS)[first:] + list(WAYS)[:first]:
                    way, version, packed = WAYS[name]
                    taken = await _timed(way, url + jetstream_server.PATHS[version], dictionary if packed else None)
                    if number:  # the first round warms up
                        spent[name].append(taken)
                        advance(count)
    rows = [_row(name, count, spent[name]) for name in WAYS]
    pairs = {each: _compared(spent[f"ours, {each}"], spent[f"naive, {each}"]) for each in PAIRS}
    return {
        "frames": count,
        "rounds": rounds,
        "rows": rows,
        **pairs[PAIRS[0]],
        "pairs": pairs,
        "goal_per_second": GOAL_PER_SECOND,
        "met": all(row["per_cpu_second"] >= GOAL_PER_SECOND for row in rows if row["stage"].startswith("ours")),
    }


def told(found: dict[str, Any]) -> str:
    """For a terminal."""
    rows = "\n".join(
        f"  {row['stage']}: {row['per_second']:,.0f} frames/s, {row['per_cpu_second']:,.0f} a CPU second"
        for row in found["rows"]
    )
    compared = "; ".join(
        f"{name} {each['ratio']:g} : 1 ({min(each['ratios']):g} to {max(each['ratios']):g})"
        for name, each in found["pairs"].items()
    )
    return (
        f"Jetstream frames into the inbox, one core, {found['rounds']} rounds of {found['frames']:,}:\n{rows}\n"
        f"  goal {found['goal_per_second']:,.0f} a CPU second: {'met' if found['met'] else 'NOT met'}; ours : naive in "
        f"CPU time: {compared};\n"
        "  naive is zstandard, json, dicts and a Post: it checks nothing, and notices neither repeats, gaps, edits nor "
        "silence"
    )


@contextlib.contextmanager
def packing() -> Iterator[Path]:
    """The server's dictionary as a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.zdict"
        path.write_bytes(jetstream_server.dictionary())
        yield path


def _compared(ours: list[machine.Timed], naive: list[machine.Timed]) -> dict[str, Any]:
    ratios = [its.cpu_seconds / our.cpu_seconds for our, its in zip(ours, naive, strict=True)]
    return {"ratio": round(statistics.median(ratios), 2), "ratios": [round(ratio, 2) for ratio in ratios]}


def _row(name: str, count: int, spent: list[machine.Timed]) -> dict[str, Any]:
    return {
        "stage": name,
        "per_second": round(statistics.median(count / each.seconds for each in spent), 1),
        "per_cpu_second": round(statistics.median(count / each.cpu_seconds for each in spent), 1),
    }


async def _timed(way: Way, url: str, dictionary: Path | None) -> machine.Timed:
    """Until the last frame is out of the inbox, which is emptied as ``classifying`` does it: what there is at once."""
    inbox: Inbox = asyncio.Queue(INBOX_MOST)
    watch = machine.Stopwatch()
    reading = asyncio.create_task(way(url, inbox, dictionary), name="reading")
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


async def _ours(url: str, inbox: Inbox, dictionary: Path | None) -> None:
    source = JetstreamSource(
        "bench", [url], compress=dictionary is not None, dictionary=dictionary, clock=_after_all
    )  # fmt: skip
    await Ingester([source], inbox=inbox, cursors={}, clock=_after_all).run()


def _after_all() -> datetime:
    """Later than any event, whose times are invented; read from the clock all the same, as a service does."""
    return datetime.now(UTC) + INVENTED_LATER


async def _naive(url: str, inbox: Inbox, dictionary: Path | None) -> None:
    """What one writes first: ``json``, dicts, no doubt about anything."""
    packed = zstandard.ZstdCompressionDict(jetstream_server.dictionary())
    unpack = zstandard.ZstdDecompressor(dict_data=packed).decompress
    if dictionary is not None:
        url += f"?compress=true&zstdDictionary={packed.dict_id()}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as ws:
        async for message in ws:
            frame = json.loads(message.data if dictionary is None else unpack(message.data))
            frame = frame.get("payload", frame)
            if "commit" not in frame and "operation" not in frame:
                continue
            commit = frame.get("commit", frame)
            if "time_us" in frame:
                at = datetime.fromtimestamp(frame["time_us"] / 1_000_000, UTC)
            else:
                at = datetime.fromisoformat(frame["witnessedAt"])
            cursor = str(frame["seq"] if "seq" in frame else frame["time_us"])
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
            await inbox.put(post.Arrival(source="bench", cursor=cursor, item=item, at=at))


WAYS: dict[str, tuple[Way, int, bool]] = {
    "ours, protocol 1": (_ours, 1, False),
    "ours, protocol 2": (_ours, 2, False),
    "ours, protocol 1 packed": (_ours, 1, True),
    "ours, protocol 2 packed": (_ours, 2, True),
    "naive, protocol 1": (_naive, 1, False),
    "naive, protocol 1 packed": (_naive, 1, True),
    "naive, protocol 2 packed": (_naive, 2, True),
}
