"""How fast the outbox empties into each platform, in which order, within the limits; and how soon a slash command is
acknowledged meanwhile. The store, the outbox, the notifiers and the HTTP endpoint are the real ones."""

import asyncio
import contextlib
import hashlib
import hmac
import itertools
import math
import socket
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from bot import admin, app, printing
from bot.benching import chat_server, crowd, organisations
from bot.benching.chat_server import ChatServer, Received
from bot.benching.machine import Stopwatch
from bot.desk import FrontDesk
from bot.domain import access as rules
from bot.domain import alert as alerts
from bot.domain.alert import Alert, Certainty, Kind, Level
from bot.domain.channel import Channel
from bot.domain.delivery import Found, Outcome, Sending
from bot.domain.post import Candidate
from bot.domain.subscription import Subscription
from bot.pipeline import recording
from bot.pipeline.delivering import Delivering
from bot.platforms.base import Notifier
from bot.platforms.discord import client as discord_client
from bot.platforms.discord import discord
from bot.platforms.discord.notifier import DiscordNotifier
from bot.platforms.slack.http import SlackOverHttp
from bot.store import deliveries, directory, installations
from bot.store.database import Database, Tables
from bot.store.installations import Installation

PLATFORMS = ("slack", "discord")
CHANNELS, ALERTS = 200, 15  # 500 alerts would be 100,000 messages, and the first 3,000 say the same
LIMITED_CHANNELS, LIMITED_ALERTS = 40, 8
COMMANDS_A_SECOND = 20.0
DONE_WITHIN_S = 120.0
ACK_GOAL_MS = 3_000
TEAM, GUILD, SECRET = "TBENCH", "100", "bench"
ORG = "Bench"

# What each figure of the part says.
MEANING = {
    "per_second": "Messages that the platform took in a second of the burst, with the spacing of a channel and the "
    "limit over all channels switched off.",
    "cpu_ms_per_message": "Processor time of this process, all threads, for each of them: claiming, rendering, "
    "sending, settling; the chat server has a process of its own.",
    "out_of_order": "Messages that came before an older one of the same urgency in their channel; must be 0.",
    "less_urgent_first": "Messages that came before a more urgent one that waited in their channel; must be 0.",
    "missing": "Messages that never came; must be 0.",
    "twice": "Messages that came twice; must be 0.",
    "rate_limited": "Requests answered 429 by a server that enforces the documented limits, with our own limits on; "
    "should be 0.",
    "ack_p50_ms": "Half of the slash commands were acknowledged within so many milliseconds during a burst.",
    "ack_p99_ms": "99 of 100 slash commands were acknowledged within so many milliseconds; Slack allows 3,000.",
    "reply_p99_ms": "99 of 100 askers had the answer itself within so many milliseconds.",
}


class _Counted:
    """A notifier that counts what it sent, and may be freed of its platform's limits."""

    def __init__(self, notifier: Notifier, advance: Callable[[int], None], *, free: bool) -> None:
        self.platform = notifier.platform
        self.spacing = timedelta(0) if free else notifier.spacing
        self.per_second = None if free else notifier.per_second
        self._notifier = notifier
        self._advance = advance

    async def send(self, sending: Sending) -> Outcome:
        outcome = await self._notifier.send(sending)
        self._advance(1)
        return outcome

    async def find(self, sending: Sending) -> Found:
        return await self._notifier.find(sending)


def total(channels: int, most: int) -> int:
    """Messages in all parts together."""
    return 2 * channels * most + channels * math.ceil(most / 2) + 2 * LIMITED_CHANNELS * min(most, LIMITED_ALERTS)


async def measure(channels: int, most: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """``most`` alerts to each of ``channels`` channels of each platform, all queued before the first is sent."""
    few = min(most, LIMITED_ALERTS)
    limits = []
    async with chat_server.serving(enforce=False) as server:
        burst = [await _burst(server, platform, channels, most, advance, free=True) for platform in PLATFORMS]
        commands = await _commands(server, channels, math.ceil(most / 2), advance)
    for platform in PLATFORMS:
        async with chat_server.serving(enforce=True) as server:
            limits.append(await _burst(server, platform, LIMITED_CHANNELS, few, advance, free=False))
    return {"meaning": MEANING, "burst": burst, "within_limits": limits, "commands": commands}


def describe(found: dict[str, Any]) -> str:
    """The figures of ``measure``, for a person."""
    rows = [_row(row, "burst, limits off") for row in found["burst"]]
    rows += [_row(row, f"within limits ({_limits(row)})") for row in found["within_limits"]]
    commands = found["commands"]
    return "\n".join(
        [
            printing.table(rows, list(rows[0])),
            f"slash commands during a burst: acknowledged after p50 {commands['ack_p50_ms']} ms, "
            f"p99 {commands['ack_p99_ms']} ms (Slack allows {ACK_GOAL_MS:,}); the answer itself after "
            f"p50 {commands['reply_p50_ms']} ms, p99 {commands['reply_p99_ms']} ms; {commands['commands']} commands",
            f"  all {found['burst'][0]['alerts']} alerts were queued before the first was sent; "
            "disorder: messages before an older or a more urgent one of their "
            "channel; it must be 0, like lost and twice",
        ]
    )


def _row(row: dict[str, Any], what: str) -> dict[str, str]:
    return {
        "delivery": f"{row['platform']}, {what}",
        "messages/s": "-" if row["per_second"] is None else f"{row['per_second']:,.0f}",
        "CPU ms each": f"{row['cpu_ms_per_message']:.2f}",
        "of": f"{row['messages']:,} to {row['channels']} channels",
        "429s": str(row["rate_limited"]),
        "disorder": str(row["out_of_order"] + row["less_urgent_first"]),
        "lost": str(row["missing"]),
        "twice": str(row["twice"]),
    }


def _limits(row: dict[str, Any]) -> str:
    spacing = f"{row['spacing_s']:g} s a channel" if row["spacing_s"] else ""
    over_all = f"{row['limit_per_second']:g}/s in all" if row["limit_per_second"] else ""
    return ", ".join(filter(None, [spacing, over_all]))


async def _burst(
    server: ChatServer, platform: str, channels: int, most: int, advance: Callable[[int], None], *, free: bool
) -> dict[str, Any]:
    with app.throwaway() as database:
        urgency = await _queue(database, platform, channels, most)
        async with _notifying(platform, server, database) as notifier:
            watch = Stopwatch()
            await _deliver(database, _Counted(notifier, advance, free=free))
            spent = watch.read()
        rows = await database.read(deliveries.listed)
    received = await server.received()
    taken = [each for each in received if each.status == 200]
    span = taken[-1].at - taken[0].at if len(taken) > 1 else 0.0
    return {
        "platform": platform, "channels": channels, "alerts": most, "messages": len(taken),
        "spacing_s": 0.0 if free else notifier.spacing.total_seconds(),
        "limit_per_second": None if free else notifier.per_second, "seconds": round(span, 3),
        "per_second": round((len(taken) - 1) / span, 1) if span else None,
        "cpu_ms_per_message": round(1000 * spent.cpu_seconds / max(1, len(taken)), 3),
        "rate_limited": chat_server.limited(received),
    } | _order(rows, urgency, taken)  # fmt: skip


def _order(rows: Sequence[dict[str, Any]], urgency: Mapping[str, int], taken: Sequence[Received]) -> dict[str, int]:
    """What came in another order than the outbox promises: the most urgent first, then the oldest. ``urgency``: by
    alert; notices have none."""
    places = {row["delivery"]: (-urgency[row["alert"]], n) for n, row in enumerate(rows) if row["alert"]}
    by_channel: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for each in taken:
        if each.delivery in places:
            by_channel[each.channel].append(places[each.delivery])
    pairs = [pair for came in by_channel.values() for pair in itertools.pairwise(came)]
    return {
        "out_of_order": sum(a[0] == b[0] and a[1] > b[1] for a, b in pairs),
        "less_urgent_first": sum(a[0] > b[0] for a, b in pairs),
        "missing": len(places.keys() - {each.delivery for each in taken}),
        "twice": len(taken) - len({each.delivery for each in taken}),
    }


async def _commands(server: ChatServer, channels: int, most: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """``/tocsin status``, signed, over and over while a burst goes out to Slack through the same process."""
    acknowledged: dict[str, tuple[float, float]] = {}
    with app.throwaway() as database:
        await _queue(database, "slack", channels, most)
        async with _slack(server, database) as (slack, address), aiohttp.ClientSession() as session:
            counted = _Counted(slack.notifier, advance, free=True)
            delivering = asyncio.create_task(_deliver(database, counted), name="bench-delivering")
            for number in itertools.count():
                if delivering.done():
                    break
                sent = time.monotonic()
                await _type(session, address, server, str(number))
                acknowledged[str(number)] = sent, time.monotonic()
                await asyncio.wait([delivering], timeout=1 / COMMANDS_A_SECOND)
            await delivering
    replies = {each.delivery: each.at for each in await server.received() if each.status == 0}
    acks = [1000 * (acked - sent) for sent, acked in acknowledged.values()]
    answers = [1000 * (replies[number] - sent) for number, (sent, _) in acknowledged.items() if number in replies]
    return {
        "commands": len(acks), "answered": len(answers),
        "ack_p50_ms": _percentile(acks, 0.5), "ack_p99_ms": _percentile(acks, 0.99),
        "reply_p50_ms": _percentile(answers, 0.5), "reply_p99_ms": _percentile(answers, 0.99),
    }  # fmt: skip


async def _type(session: aiohttp.ClientSession, address: str, server: ChatServer, number: str) -> None:
    body = urlencode(
        {
            "command": "/tocsin", "text": "status", "team_id": TEAM, "channel_id": f"C{TEAM}0", "user_id": "U1",
            "user_name": "ada", "channel_name": "bench", "team_domain": "bench", "api_app_id": "A1", "token": "none",
            "is_enterprise_install": "false", "trigger_id": f"{number}.1.bench",
            "response_url": f"{server.url}/response/{number}",
        }
    ).encode()  # fmt: skip
    stamp = str(int(app.now().timestamp()))
    digest = hmac.new(SECRET.encode(), b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {
        "X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}",
        "Content-Type": "application/x-www-form-urlencoded",
    }  # fmt: skip
    async with session.post(f"{address}/slack/events", data=body, headers=headers) as response:
        await response.read()
        response.raise_for_status()


async def _deliver(database: Database, notifier: Notifier) -> None:
    delivering = Delivering(database, {notifier.platform: notifier}, now=app.now)
    delivering.finish()
    async with asyncio.timeout(DONE_WITHIN_S):
        await delivering.run()


@contextlib.asynccontextmanager
async def _notifying(platform: str, server: ChatServer, database: Database) -> AsyncIterator[Notifier]:
    if platform == "slack":
        async with _slack(server, database) as (slack, _):
            yield slack.notifier
        return
    with _discord_at(server.discord_api):
        client = discord_client.Client(_desk(database))
        try:
            await client.login("bench")
            yield DiscordNotifier(lambda: client)
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def _slack(server: ChatServer, database: Database) -> AsyncIterator[tuple[SlackOverHttp, str]]:
    """Slack over HTTP, and the address of its endpoint."""
    installed = Installation(
        workspace=f"slack:{TEAM}", name="Bench", bot_token="xoxb-bench", bot_user="UBOT", app_id="A1",  # noqa: S106
        scopes=(), installed_by=f"slack:{TEAM}/U1", installed_at=app.now(),
    )  # fmt: skip
    await database.write(installations.save, installed)
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    slack = SlackOverHttp(
        client_id="1.1", client_secret=SECRET, signing_secret=SECRET, public_url=address, database=database,
        desk=_desk(database), refused=_refused, now=app.now, api_url=server.slack_api,
    )  # fmt: skip
    async with slack:
        served = web.Application()
        served.add_routes(slack.routes)
        runner = web.AppRunner(served, access_log=None)
        await runner.setup()
        try:
            await web.SockSite(runner, listening).start()
            yield slack, address
        finally:
            await runner.cleanup()


async def _refused(target: str, why: str) -> None:
    raise AssertionError(f"bench: refused at {target}: {why}")


@contextlib.contextmanager
def _discord_at(api_url: str) -> Iterator[None]:
    """discord.py's address is global."""
    before, discord.http.Route.BASE = discord.http.Route.BASE, api_url
    try:
        yield
    finally:
        discord.http.Route.BASE = before


def _desk(database: Database) -> FrontDesk:
    return FrontDesk(
        database, operator_named=lambda _: None, locate=lambda _: None, suggest=lambda _: [], now=app.now,
        on_change=lambda: None,
    )  # fmt: skip


async def _queue(database: Database, platform: str, channels: int, most: int) -> dict[str, int]:
    """So many alerts of all levels, each quoting its first post, to every channel of one organisation. How urgent each
    is."""
    steps = list(crowd.posts(most, timedelta(minutes=10)))
    raised = [_alert(step, list(Level)[number % 3]) for number, step in enumerate(steps)]
    await database.write(_add, platform, channels)
    recorded = await database.write(
        recording.record,
        steps=steps,
        raised=[(rules.EVERYTHING, raised)],
        cursors={},
        gaps=[],
        known_views={rules.EVERYTHING.key},
        now=app.now(),
    )
    assert recorded.queued == channels * most, "every alert goes to every channel"
    return {alert.id: alert.level.rank for alert in raised}


def _add(db: Tables, platform: str, channels: int) -> None:
    at, actor = app.now(), organisations.ACTOR
    admin.add_organisation(db, actor, at, ORG, organisations.SECTOR)
    admin.grant(db, actor, at, org=ORG, sector=None, provider="*", capabilities=(), until=None, reason="bench")
    for number in range(channels):
        slack = Channel("slack", TEAM, f"C{TEAM}{number}")
        channel = slack if platform == "slack" else Channel("discord", GUILD, str(1000 + number))
        admin.add_channel(db, actor, at, ORG, channel)
        made = Subscription(subscription=f"s{number}", channel=str(channel), anywhere=True)
        directory.add_subscription(db, made, at=at, author=str(actor))


def _alert(step: Candidate, level: Level) -> Alert:
    now, category = app.now(), max(step.categories, key=lambda name: step.categories[name])
    return Alert(
        event=alerts.event_id(step.post.key), revision=1, kind=Kind.NEW, level=level, certainty=Certainty.LIKELY,
        newsworthiness=0.6, disputed=False, category=category, categories={category: 0.9},
        headline=step.post.text[:120], place=None, first_post_at=now, raised_at=now, posts=3, authors=3,
        sources=(step.post.provider,), evidence=(step.post.key,), quotes=(step.post.key,), langs=("en",),
    )  # fmt: skip


def _percentile(values: Sequence[float], share: float) -> float | None:
    """Nearest rank."""
    ordered = sorted(values)
    return round(ordered[max(0, math.ceil(share * len(ordered)) - 1)], 1) if ordered else None
