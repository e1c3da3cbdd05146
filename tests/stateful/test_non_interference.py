"""Whatever barred providers say, and whenever: what an organisation receives is byte for byte what it would receive had
they said nothing. Real detectors over a real store; every message is rendered as both platforms would show it."""

import asyncio
import dataclasses
import itertools
import json
import re
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.detection import detector as detectors
from bot.detection.weights import Weights
from bot.domain.delivery import Sending
from bot.domain.post import Deletion, Post
from bot.pipeline.classifying import Judged
from bot.pipeline.detecting import Detecting
from bot.platforms.discord import render as discord
from bot.platforms.slack import render as slack
from bot.store.database import rows
from tests import stories
from tests.worlds import World

CHANNELS = ("slack:T0999/C1", "discord:100/200")
VOLATILE = ("seq", "delivery", "org", "root", "digest", "policy_version", "provenance", "platform_id")  # ids
BARRED = [set(each) for n in (1, 2, 3) for each in itertools.combinations(stories.PROVIDERS, n)]
DELIVERY = re.compile(r"d[0-9a-f]{22}")

happenings = st.sampled_from([
    ("explosion", 1, "Port Calder", stories._BLAST), ("shooting", 2, "Larkfield Mall", stories._SHOTS),
])  # fmt: skip
said = st.tuples(
    st.sampled_from(stories.PROVIDERS), happenings, st.integers(0, 15), st.sampled_from((2, 11, 45, 400)),
    st.sampled_from(("post", "post", "post", "post", "verified", "repost", "deletion")),
)  # fmt: skip


def build(drawn: Sequence[Any]) -> list[Judged]:
    """Posts named by their place in the whole stream, so that leaving some out renames none."""
    found, at = [], 0.0
    for number, (provider, (category, topic, place, texts), index, gap, kind) in enumerate(drawn):
        at += gap
        if kind == "deletion":
            found.append(stories.deletion(at, provider, f"p{number // 2}"))
            continue
        more = {"verified": kind == "verified", "repost_of": f"p{number // 2}" if kind == "repost" else None}
        text = f"{texts[index % len(texts)]} ({number})"
        item = stories.post(at, text, provider, id=f"p{number}", author=f"a{provider}{number}", **more)
        found.append(stories.judged(item, at, topic=topic, category=category, place=place))
    return found


def received(stream: Sequence[Judged], barred: set[str]) -> tuple[list[str], list[str]]:
    """What is sent to a bank that is barred from these providers, and its rows, without ids; in the same store an
    agency gets everything."""
    with tempfile.TemporaryDirectory(prefix="tocsin-test-") as folder:
        world = World(Path(folder) / "store.db")
        world.org("Agency", "government/emergency")
        world.channel("slack:T0123/C0456", "Agency")
        world.org("Bank")
        for channel in CHANNELS:
            world.channel(channel, "Bank")
        for provider in sorted(barred):
            world.revoke(org="Bank", provider=provider)
        sent = asyncio.run(_played(world, stream))
        found = world.write(rows, f"SELECT * FROM deliveries WHERE channel IN {CHANNELS!r} ORDER BY seq")
        world.close()
    shown = [json.dumps({name: row[name] for name in row if name not in VOLATILE}) for row in found]
    return [text for sending in sent for text in rendered(sending)], shown


async def _played(world: World, stream: Sequence[Judged]) -> list[Sending]:
    """One arrival after the other; after each what is due is sent, and arrives."""
    detecting = Detecting(
        world.database,
        lambda view: detectors.Detector(view, stories.GAZETTEER, Weights(alert_voices=2)),
        now=lambda: world.now,
    )
    await detecting.start()
    sent = []
    for each in stream:
        world.now = max(world.now, each.arrival.at + timedelta(seconds=1))
        await detecting.take([each])
        for platform in ("slack", "discord"):
            sent += [sending for sending in world.deliver_all(platform) if str(sending.channel) in CHANNELS]
    return sent


def rendered(sending: Sending) -> list[str]:
    both: list[Any] = [slack.render(sending), discord.render(sending)]
    texts = [json.dumps([sending.act.value, dataclasses.asdict(each)], default=str) for each in both]
    return [DELIVERY.sub("d", text) for text in texts]


def without(stream: Sequence[Judged], barred: set[str]) -> list[Judged]:
    items = [(each, each.arrival.item) for each in stream]
    return [each for each, item in items if isinstance(item, Post | Deletion) and item.provider not in barred]


@given(drawn=st.lists(said, min_size=6, max_size=22), barred=st.sampled_from(BARRED))
@settings(max_examples=15, deadline=None)
def test_what_is_received_is_byte_for_byte_what_it_would_be_had_barred_providers_said_nothing(
    drawn: list[Any], barred: set[str]
) -> None:
    stream = build(drawn)
    assert received(stream, barred) == received(without(stream, barred), barred)


@pytest.mark.parametrize(
    "barred", [{"x"}, {"bluesky", "x"}, set(stories.PROVIDERS)], ids=lambda barred: "+".join(sorted(barred))
)
def test_so_it_is_with_the_story_in_which_much_happens(barred: set[str]) -> None:
    stream = stories.stream()
    sent, shown = received(stream, barred)
    assert (sent, shown) == received(without(stream, barred), barred)
    assert len(sent) > 10, "too little was sent to show anything"
    everything, _ = received(stream, set())
    assert sent != everything
