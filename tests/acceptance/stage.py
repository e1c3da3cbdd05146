"""The stage of the acceptance tests: invented posts, three organisations, both fakes, and the service as a process.

The service and the command line run as processes of their own; the fakes run in the test's event loop, so whatever
waits for a process here waits in a thread.
"""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from bot.domain import times
from bot.rehearsal import scenario
from tests.fakes.discord import FakeDiscord
from tests.fakes.slack import FakeSlack

ROOT = Path(__file__).parents[2]

# Three organisations: one on Slack (a bot token has one workspace, a workspace one organisation), two on Discord.
# The bank may have fewer providers than the others, and so has a View of its own.
NEWS, BANK, AGENCY = "Acme News", "First Bank", "Home Agency"
CHANNELS = {NEWS: "slack:T0123/C0001", BANK: "discord:100/200", AGENCY: "discord:101/210"}
SET_UP = [
    ["org", "add", NEWS, "--sector", "news"],
    ["org", "add", BANK, "--sector", "finance/bank"],
    ["org", "add", AGENCY, "--sector", "government/intelligence"],
    *[["channel", "add", org, channel] for org, channel in CHANNELS.items()],
    ["grant", "--org", NEWS, "--provider", "*", "--reason", "contract 1"],
    ["grant", "--sector", "government", "--provider", "*", "--reason", "contract 2"],
    *[["grant", "--org", BANK, "--provider", each, "--reason", "contract 3"] for each in ("bluesky", "x", "usgs")],
    *[["subscribe", channel, "--anywhere"] for channel in CHANNELS.values()],
]
SLACK_OPERATOR, SLACK_STRANGER = "UADA", "UEVE"
DISCORD_OPERATOR, DISCORD_STRANGER = "4711", "666"

# The part of the rehearsal that is played: three happenings amid chatter, then an official report as the last post.
FIRST, LAST = "2031-05-14T14:09:30", "2031-05-14T14:26:00.000Z"
LAST_POST = {
    "source": "usgs", "id": "usgs-last", "text": "M 5.1 - 40 km W of Los Angeles, California", "created_at": LAST,
    "author": "usgs", "lat": 34.05, "lon": -118.6, "verified": True,
    "official": {"category": "earthquake", "certainty": "observed"},
}  # fmt: skip
STREAM_S = 990


def write_posts(path: Path) -> int:
    """The Post lines of the stage; returns how many."""
    played = [each for each in scenario.posts() if FIRST <= (each.get("created_at") or each["deleted_at"]) < LAST]
    path.write_text("".join(json.dumps(each) + "\n" for each in [*played, LAST_POST]), encoding="utf-8")
    return len(played) + 1


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a process of ours gets: no settings and no proxies of the machine that runs the tests."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("TOCSIN_") and not name.lower().endswith("_proxy")
    }
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | (extra or {})


# What commands in one process only read, the model and the gazetteer, is loaded once.
LOADED_ONCE = """
import functools
from bot import app
from classifiers import encoder
app.load_gazetteer, encoder.load = functools.cache(app.load_gazetteer), functools.cache(encoder.load)
"""

# Several commands of the command line in one process, since each start costs a second.
_MANY = f"""
import json, sys, contextlib, io
from bot.cli import main
{LOADED_ONCE}
for argv in json.load(sys.stdin):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main(argv)
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, out.getvalue()]))
"""


def tocsin_many(commands: Sequence[Sequence[str]], *, cwd: Path, config: Path) -> list[str]:
    """Run commands that must all succeed; their standard outputs."""
    done = subprocess.run(
        [sys.executable, "-c", _MANY],
        input=json.dumps([["-c", str(config), *each] for each in commands]),
        capture_output=True, text=True, cwd=cwd, env=environment(), timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for command, (code, _) in zip(commands, results, strict=True):
        assert code == 0, f"tocsin {' '.join(command)}: {code}\n{done.stderr}"
    return [out for _, out in results]


def json_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


async def until(what: str, true: Callable[[], Any], *, timeout_s: float = 60.0) -> Any:
    """Ask again and again until it is so; returns what ``true`` returned."""
    deadline = time.monotonic() + timeout_s
    while not (found := true()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s in vain until {what}")
        await asyncio.sleep(0.03)
    return found


@dataclass(kw_only=True)
class Script:
    """What all tests share: the posts, a store with the organisations set up, and what each of them should be told."""

    posts: Path
    lines: int
    store: Path
    expected: dict[str, set[str]]
    """Organisation → alert ids of the control, `tocsin replay --as ORG --json`."""

    @classmethod
    def prepare(cls, folder: Path) -> "Script":
        posts, store, config = folder / "posts.jsonl", folder / "store.db", folder / "config.toml"
        lines = write_posts(posts)
        config.write_text(f'[store]\npath = "{store}"\n')
        tocsin_many(SET_UP, cwd=folder, config=config)
        replays = [["replay", str(posts), "--as", org, "--json"] for org in CHANNELS]
        outputs = tocsin_many(replays, cwd=folder, config=config)
        expected = {
            org: {line["alert"] for line in json_lines(out)} for org, out in zip(CHANNELS, outputs, strict=True)
        }
        for org, alerts in expected.items():
            assert len(alerts) >= 4, f"the control shows {org} too little to test anything with: {alerts}"
        return cls(posts=posts, lines=lines, store=store, expected=expected)


class Process:
    """One ``tocsin run``. Its output goes to files; ``stderr`` reads it."""

    def __init__(self, folder: Path, config: Path, name: str, env: Mapping[str, str]) -> None:
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bot", "-c", str(config), "run"],
                stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=folder, env=environment(env),
            )  # fmt: skip
        self.pid = self._process.pid

    @property
    def stdout(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def stderr(self) -> str:
        return self._err.read_text(errors="replace")

    @property
    def ended(self) -> int | None:
        """Its exit status, if it has ended; minus the signal that killed it."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, if it still runs, and wait for it."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log lines with this action. Lines that are no JSON are not ours (a traceback, the last sentence)."""
        found = []
        for line in self.stderr.splitlines():
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("event") == event:
                    found.append(entry)
        return found

    async def until_logged(self, event: str, timeout_s: float = 60.0) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.logged(event)
            if not found and self.ended is not None:
                raise AssertionError(f"it ended with {self.ended} before it logged {event}")
            return found[0] if found else None

        found: dict[str, Any] = await until(f"{event} is logged", look, timeout_s=timeout_s)
        return found

    async def until_ended(self, timeout_s: float = 60.0) -> int:
        await until("the process ends", lambda: self.ended is not None, timeout_s=timeout_s)
        assert self.ended is not None
        return self.ended

    async def stop(self, timeout_s: float = 30.0) -> None:
        """SIGTERM; it must drain and end well."""
        self.signal(signal.SIGTERM)
        assert await self.until_ended(timeout_s) == 0


@dataclass(kw_only=True)
class Stage:
    """One store with its fakes, and the processes that run on it one after another."""

    name: str
    folder: Path
    script: Script
    slack: FakeSlack
    discord: FakeDiscord
    processes: list[Process] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "tocsin.db"

    @property
    def config(self) -> Path:
        return self.folder / "config.toml"

    def write_config(
        self, *, pace: str | float = "max", with_discord: bool = True, sources: str | None = None, more: str = ""
    ) -> None:
        pace_toml = f'"{pace}"' if isinstance(pace, str) else f"{pace:g}"
        replay = f'[[source]]\ntype = "replay"\nname = "replay"\npath = "{self.script.posts}"\npace = {pace_toml}\n'
        on_discord = (
            f'[discord]\ntoken = "{self.discord.token}"\napi_url = "{self.discord.api_url}"\n'
            f'gateway_url = "{self.discord.gateway_url}"\n'
        )
        self.config.write_text(
            f'[store]\npath = "{self.store}"\n[web]\nport = 0\n[logs]\njson_lines = true\n[model]\nthreads = 1\n'
            f'[slack]\nbot_token = "{self.slack.bot_token}"\napp_token = "{self.slack.app_token}"\n'
            f'api_url = "{self.slack.api_url}"\n'
            f"{on_discord if with_discord else ''}"
            f'[[operator]]\nname = "Ada"\nids = ["slack:T0123/{SLACK_OPERATOR}", "discord:{DISCORD_OPERATOR}"]\n'
            f"{replay if sources is None else sources}{more}"
        )

    def start(self, **env: str) -> Process:
        process = Process(self.folder, self.config, f"run{len(self.processes) + 1}", env)
        self.processes.append(process)
        return process

    async def tocsin(self, *argv: str, status: int = 0) -> str:
        """One command of the command line; its standard output (standard error where it could not be done)."""
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "bot", "-c", str(self.config), *argv],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd=self.folder, env=environment(),
            timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == status, f"tocsin {' '.join(argv)}: {done.returncode}\n{done.stderr}"
        return done.stderr if status else done.stdout

    async def tocsin_many(self, *commands: Sequence[str]) -> list[list[dict[str, Any]]]:
        """Commands that must all succeed, in one process; the lines that each printed as JSON."""
        given = [[*each, "--json"] for each in commands]
        outputs = await asyncio.to_thread(tocsin_many, given, cwd=self.folder, config=self.config)
        return [json_lines(out) for out in outputs]

    def rows(self, sql: str, *params: Any) -> list[dict[str, Any]]:
        """Look into the store, read-only: for waiting; what is asserted comes from the command line."""
        with contextlib.closing(sqlite3.connect(f"file:{self.store}?mode=ro", uri=True, timeout=10)) as conn:
            conn.row_factory = sqlite3.Row
            return [dict(each) for each in conn.execute(sql, params)]

    def deliveries(self, org: str) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT d.* FROM deliveries d JOIN organisations o USING (org) WHERE o.name = ? ORDER BY seq", org
        )

    def has_held(self, org: str) -> bool:
        return any(each["state"] == "held" for each in self.deliveries(org))

    def recorded(self) -> bool:
        """Has the last post been recorded, and with it everything before it?"""
        return bool(self.rows("SELECT 1 FROM posts WHERE id = ?", LAST_POST["id"]))

    def settled(self, *, platforms: Sequence[str] = ("slack", "discord")) -> bool:
        open_rows = self.rows("SELECT platform FROM deliveries WHERE state IN ('queued', 'sending', 'unknown')")
        return self.recorded() and not any(each["platform"] in platforms for each in open_rows)

    async def until_settled(self, *, timeout_s: float = 120.0, platforms: Sequence[str] = ("slack", "discord")) -> None:
        def look() -> bool:
            process = self.processes[-1]
            assert process.ended is None, f"the service ended by itself with {process.ended}"
            return self.settled(platforms=platforms)

        await until("the stream has ended and the outbox is settled", look, timeout_s=timeout_s)

    def told(self, org: str) -> list[str]:
        """The alerts that an organisation has been told, once for every message that tells it of one."""
        return [
            each["alert"]
            for each in self.deliveries(org)
            if each["act"] in ("post", "reply") and each["state"] == "sent"
        ]

    def standing(self, org: str) -> list[str]:
        """The ids of the messages that stand in the organisation's channel at the platform, threads included."""
        channel = CHANNELS[org].rsplit("/", 1)[1]
        if CHANNELS[org].startswith("slack:"):
            return [message["ts"] for message in self.slack.messages(channel)]
        threads = [thread for thread, parent in self.discord._threads.items() if parent == channel]
        return [message["id"] for place in (channel, *threads) for message in self.discord.messages(place)]

    def assert_complete(self, org: str, *, duplicates: int = 0) -> None:
        """Everything that the control says has arrived, each alert once, and each message that stands is accounted for.

        ``duplicates``: at most so many messages may stand twice.
        """
        told = self.told(org)
        assert set(told) == self.script.expected[org], _difference(set(told), self.script.expected[org])
        assert len(told) == len(set(told)), f"{org} was told of an alert twice: {told}"
        ids = [
            each["platform_id"]
            for each in self.deliveries(org)
            if each["act"] in ("post", "reply") and each["state"] == "sent"
        ]
        standing = self.standing(org)
        assert set(ids) <= set(standing), "the store says sent, the platform has no such message"
        assert len(standing) - len(ids) <= duplicates, f"{len(standing)} messages stand for {len(ids)} deliveries"

    def writes(self, org: str) -> list["Write"]:
        """Every request that put or changed something in the organisation's channel, also refused ones."""
        channel = CHANNELS[org].rsplit("/", 1)[1]
        ahead = time.time() - time.monotonic()
        if CHANNELS[org].startswith("slack:"):
            return [
                Write(at=each.at + ahead, delivery=each.arguments["metadata"]["event_payload"]["delivery_id"])
                for each in self.slack.requests
                if each.method in ("chat.postMessage", "chat.update") and each.arguments["channel"] == channel
            ]
        places = {channel} | {thread for thread, parent in self.discord._threads.items() if parent == channel}
        return [
            Write(at=each.at + ahead, delivery=_footer(each.body))
            for each in self.discord.requests
            if each.operation in ("create_message", "edit_message", "create_thread")
            and re.match(r"/channels/(\d+)/", each.path)[1] in places  # type: ignore[index]
        ]

    async def health(self, process: Process) -> tuple[int, dict[str, Any]]:
        address = (await process.until_logged("service_ready"))["web"]
        async with aiohttp.ClientSession() as session, session.get(f"{address}/healthz") as response:
            return response.status, await response.json()

    async def metrics(self, process: Process) -> dict[str, float]:
        address = (await process.until_logged("service_ready"))["web"]
        async with aiohttp.ClientSession() as session, session.get(f"{address}/metrics") as response:
            lines = (await response.text()).splitlines()
        return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if x and x[0] != "#")}


@dataclass(frozen=True, kw_only=True)
class Write:
    """``at``: Unix seconds of its arrival. ``delivery``: None where the request has no room for the id (a thread)."""

    at: float
    delivery: str | None


def unix(text: str) -> float:
    """Of a time as the store writes it."""
    return times.from_text(text).timestamp()


@contextlib.asynccontextmanager
async def open_stage(folder: Path, script: Script, name: str = "stage") -> AsyncIterator[Stage]:
    """Fakes that run, a copy of the store, no process yet. At the end what still runs is killed and all logs shown."""
    folder = folder / name
    folder.mkdir()
    shutil.copy(script.store, folder / "tocsin.db")
    async with FakeSlack() as slack, FakeDiscord({"100": ["200"], "101": ["210"]}) as discord:
        slack.add_channel("C0001")
        for user in (SLACK_OPERATOR, SLACK_STRANGER):
            slack.add_user(user)
        stage = Stage(name=name, folder=folder, script=script, slack=slack, discord=discord)
        stage.write_config()
        try:
            yield stage
            assert slack.unfired() == []
            assert discord.unfired() == []
        finally:
            for number, process in enumerate(stage.processes, start=1):
                process.kill()
                print(f"--- {name}, process {number}, status {process.ended}:\n{process.stderr[-6000:]}")  # noqa: T201


def _footer(body: Mapping[str, Any]) -> str | None:
    """The delivery id in an embed's footer, or in the small print of a message without embeds."""
    footers = [embed.get("footer", {}).get("text", "") for embed in body.get("embeds") or ()]
    for text in (*footers, body.get("content") or ""):
        found = re.search(r"\bd[0-9a-f]{22}\b", text)
        if found:
            return found[0]
    return None


def _difference(got: set[str], expected: set[str]) -> str:
    return f"missing {sorted(expected - got)}, unexpected {sorted(got - expected)}"
