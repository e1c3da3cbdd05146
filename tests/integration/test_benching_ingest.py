"""``bench --only ingest`` measures the source on frames such as a subscriber gets. Never how fast."""

import asyncio
import contextlib
import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.benching import ingest, jetstream_server
from bot.domain import post
from bot.ingest import jetstream_frames

NOW = datetime(2031, 5, 15, tzinfo=UTC)


async def read(way: str, url: str, count: int) -> list[post.Arrival]:
    run, version, packed = ingest.WAYS[way]
    inbox: ingest.Inbox = asyncio.Queue(ingest.INBOX_MOST)
    with ingest.packing() as dictionary:
        path = url + jetstream_server.PATHS[version]
        reading = asyncio.create_task(run(path, inbox, dictionary if packed else None))
        try:
            async with asyncio.timeout(20):
                return [await inbox.get() for _ in range(count)]
        finally:
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading


def test_frames_are_the_same_at_every_call_and_all_of_them_are_read() -> None:
    made = list(jetstream_server.events(2_000))
    assert made == list(jetstream_server.events(2_000))
    frames = [jetstream_frames.decode_v1(jetstream_server.v1(event), NOW) for event in made]
    same = [jetstream_frames.decode_v2(jetstream_server.v2(event), NOW) for event in made]
    for one, other in zip(frames, same, strict=True):
        assert isinstance(other, jetstream_frames.Frame)
        assert (one.items, one.key, one.at) == (other.items, other.key, other.at)
    kinds = Counter(type(item).__name__ for frame in frames for item in frame.items)
    assert 1_650 < kinds["Post"] < 1_850
    assert kinds["Deletion"] > 100
    posts = [item for frame in frames for item in frame.items if isinstance(item, post.Post)]
    assert all(
        sum(map(told, posts)) > 100 for told in (lambda each: bool(each.media), lambda each: bool(each.reply_to))
    )
    assert posts[-1].text == jetstream_server.LAST


@pytest.mark.parametrize("pair", ingest.PAIRS)
async def test_the_naive_way_finds_the_posts_that_ours_finds(pair: str) -> None:
    events = list(jetstream_server.events(600))
    items = [item for each in events for item in jetstream_frames.decode_v1(jetstream_server.v1(each), NOW).items]
    commits = [each for each in events if each["kind"] == "commit"]
    async with jetstream_server.serving(600) as url:
        with capture_logs() as logs:
            ours = await read(f"ours, {pair}", url, len(items))
        theirs = await read(f"naive, {pair}", url, len(commits))
    assert [each["compressed"] for each in logs if each["event"] == "source_connected"] == ["packed" in pair]
    assert [gist(each.item) for each in ours] == [gist(item) for item in items]
    created = {each["body"]["rkey"] for each in events if each["body"].get("operation") == "create"}
    assert said(ours, created) == said(theirs, created) != set()


def gist(item: Any) -> Any:
    if isinstance(item, post.Post):
        return item.id, item.text, item.author, item.reply_to, item.media, item.url
    return item


def said(arrivals: list[post.Arrival], rkeys: set[str]) -> set[Any]:
    """Posts under these keys; edits have another id each way."""
    posts = [each.item for each in arrivals if isinstance(each.item, post.Post)]
    return {gist(each) for each in posts if each.id.rpartition("/")[2] in rkeys}


async def test_each_way_is_measured_and_told() -> None:
    advanced: list[int] = []
    found = await ingest.measure(500, 2, advanced.append)
    assert [row["stage"] for row in found["rows"]] == list(ingest.WAYS)
    assert all(row["per_second"] > 0 and row["per_cpu_second"] > 0 for row in found["rows"])
    assert (len(found["ratios"]), sum(advanced)) == (2, 500 * 2 * len(ingest.WAYS))
    assert json.dumps(found)
    assert all(row["stage"] in ingest.told(found) for row in found["rows"])
