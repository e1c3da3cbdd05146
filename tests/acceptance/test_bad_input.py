"""What the outside world does to a running service: it lives on or says what to do, and nothing is lost."""

import asyncio
import contextlib
import itertools
import resource
import socket
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from tests.acceptance import stage
from tests.acceptance.stage import AGENCY, BANK, CHANNELS, NEWS, Process, Script, Stage, until
from tests.fakes.slack import Fault
from tests.fakes.sources import FakeJetstream, Garbage, Refuse


async def test_without_an_answering_source_it_says_so_names_rehearse_and_keeps_trying(
    tmp_path: Path, script: Script
) -> None:
    async with stage.open_stage(tmp_path, script) as on, FakeJetstream() as limited:
        limited.script(*[Refuse(429, {"Retry-After": "1"})] * 1_000)
        with closed_port() as port:
            on.write_config(
                sources=jetstream("limited", limited.url(1)) + jetstream("absent", f"ws://127.0.0.1:{port}/")
            )
            process = on.start()
            await process.until_logged("service_ready")
            said = await process.until_logged("sources_silent", timeout_s=14)
            assert "tocsin rehearse" in said["message"]
            assert set(said["sources"]) == {"limited", "absent"}
            status, health = await on.health(process)
            assert (status, health["ok"]) == (503, False)
            assert len(limited.requests) < 20, "it hammers a server that asks it to wait"
            limited.faults.clear()
            await until("the source is reached after all", lambda: limited.sent_by_connection, timeout_s=30)
            status, health = await on.health(process)
            assert (status, health["ok"]) == (200, True)
            await process.stop()


async def test_garbage_from_a_source_is_dropped_and_the_posts_around_it_arrive(tmp_path: Path, script: Script) -> None:
    today = FakeJetstream(clock=lambda: datetime.now(UTC), stamped=True)
    async with stage.open_stage(tmp_path, script) as on, today as source:
        source.script(Garbage(at=2), Garbage(at=1, data=b"\xff\xfe", binary=True))
        on.write_config(sources=jetstream("bluesky", source.url(1)))
        process = on.start()
        await until("it is connected", lambda: source.sent_by_connection)
        for author in range(1, 7):
            source.add_post("lovely weather over here today", author=author)
        async with asyncio.timeout(20):
            while await arrived(on, process) < 6:
                assert process.ended is None
        assert (await on.health(process))[0] == 200
        await process.stop()
        source.faults.clear()


async def test_lost_places_hold_their_rows_say_what_to_do_and_get_everything_later(
    tmp_path: Path, script: Script
) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(pace=stage.STREAM_S / 6)
        on.discord.guilds["100"].channels.remove("200")
        process = on.start()
        await until(f"{NEWS} has a message", lambda: on.standing(NEWS))
        on.slack.revoke_token()
        await until(f"{AGENCY} has a message", lambda: on.standing(AGENCY))
        await on.discord.kick("101")
        for org in CHANNELS:
            await until(f"rows of {org} are held", lambda org=org: on.has_held(org))
        await on.until_settled()

        held, places = await on.tocsin_many(["deliveries", "--state", "held"], ["channel", "list"])
        remedies = {NEWS: "install the app again", BANK: "tocsin channel remove", AGENCY: "invite it again"}
        for org, channel in CHANNELS.items():
            reasons = {each["reason"] for each in held if each["channel"] == channel}
            assert reasons, f"nothing of {org} is held"
            assert all(remedies[org] in reason for reason in reasons), reasons
        listed = {each["channel"]: each for each in places}
        for org, channel in CHANNELS.items():
            assert remedies[org] in listed[channel]["lost"]

        on.slack.restore_token()
        on.discord.guilds["100"].channels.append("200")
        await on.tocsin_many(*[["channel", "add", org, CHANNELS[org]] for org in (NEWS, BANK)])
        await on.discord.join("101", ["210"])
        await until("nothing is held", lambda: not any(map(on.has_held, CHANNELS)))
        await on.until_settled()
        await process.stop()
        for org in CHANNELS:
            on.assert_complete(org)


async def test_rate_limited_by_slack_it_waits_and_loses_nothing(tmp_path: Path, script: Script) -> None:
    storm, wait_s = 4, 0.95
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(with_discord=False)
        on.slack.script("chat.postMessage", Fault.rate_limited(1, times=storm))
        process = on.start()
        await on.until_settled(platforms=["slack"])
        await process.stop()
        on.assert_complete(NEWS)
        calls = [each.at for each in on.slack.calls("chat.postMessage")]
        assert len(calls) == storm + len(on.standing(NEWS))
        assert all(later - earlier > wait_s for earlier, later in itertools.pairwise(calls[: storm + 1]))


async def test_second_service_on_a_store_ends_with_a_sentence(tmp_path: Path, script: Script) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(pace=1)
        first = on.start()
        await first.until_logged("service_ready")
        second = on.start()
        assert await second.until_ended() == 1
        sentence = second.stderr.splitlines()[-1]
        assert f"another tocsin service (process {first.pid})" in sentence
        assert "stop that one" in sentence
        assert first.ended is None
        await first.stop()


async def test_store_locked_by_another_program_delays_and_loses_nothing(tmp_path: Path, script: Script) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(pace=stage.STREAM_S / 6)
        process = on.start()
        await until("the first message stands", lambda: on.standing(AGENCY))
        with contextlib.closing(sqlite3.connect(on.store, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            said = await process.until_logged("store_locked", timeout_s=20)
            other.execute("ROLLBACK")
        assert "end the program that holds it" in said["problem"]
        await on.until_settled()
        await process.stop()
        for org in CHANNELS:
            on.assert_complete(org)


async def test_disk_that_is_full_ends_it_with_a_sentence_and_loses_nothing(tmp_path: Path, script: Script) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(pace=stage.STREAM_S / 6)
        process = on.start()
        await until("the first message stands", lambda: on.standing(AGENCY))
        # No file of the process may grow beyond this: to SQLite that is a disk that takes no more.
        wal = on.store.with_name(on.store.name + "-wal").stat().st_size
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (wal, wal))
        assert await process.until_ended(30) == 1
        sentence = process.stderr.splitlines()[-1]
        assert sentence.startswith("tocsin: store ")
        assert "disk" in sentence
        assert not on.recorded(), "it ended too late to show anything"
        restarted = on.start()
        await on.until_settled()
        await restarted.stop()
        for org in CHANNELS:
            on.assert_complete(org)


async def arrived(on: Stage, process: Process) -> float:
    return (await on.metrics(process)).get('tocsin_arrivals_total{kind="post",source="bluesky"}', 0.0)


def jetstream(name: str, url: str) -> str:
    return f'[[source]]\ntype = "jetstream"\nname = "{name}"\nprovider = "bluesky"\nurl = "{url}"\n'


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and which nobody else gets meanwhile."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]
