"""`tocsin run` as a process against both fakes: withdrawn mid-stream, killed, stopped; then everything is counted."""

import asyncio
import json
import re
import signal
from pathlib import Path

import pytest

from tests.acceptance import stage
from tests.acceptance.stage import AGENCY, BANK, CHANNELS, NEWS, Script, Stage, until
from tests.fakes.slack import Fault

IN_FLIGHT_S = 10.0  # what was in flight when a revocation committed may arrive so much later


@pytest.mark.parametrize(("surface", "victim"), [("cli", NEWS), ("slack", AGENCY), ("discord", BANK)])
async def test_revoked_organisation_gets_nothing_more_and_the_others_everything(
    tmp_path: Path, script: Script, surface: str, victim: str
) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(pace=stage.STREAM_S / 10)
        process = on.start()
        await until(f"{victim} gets its first message", lambda: on.standing(victim))

        await _try_as_stranger(on, surface, victim)
        revocation = await _revoke(on, surface, victim)
        await on.until_settled()
        await process.stop()

        (proof,), rows, (chain,), entries = await on.tocsin_many(
            ["revocation", "show", revocation], ["deliveries", "--org", victim], ["audit", "verify"], ["audit"]
        )
        effect = proof["effect"]
        assert [each["name"] for each in effect["touched"]] == [victim]
        assert {each["name"] for each in effect["untouched"]} == set(CHANNELS) - {victim}
        assert proof["claimed_after"] == []
        committed = stage.unix(effect["committed_at"])
        (notice,) = (each["delivery"] for each in on.deliveries(victim) if each["act"] == "notice")
        assert notice in {each.delivery for each in on.writes(victim)}
        late = [each for each in on.writes(victim) if each.at > committed and each.delivery != notice]
        in_flight = {*effect["in_flight"], *([None] if effect["in_flight"] else [])}
        assert all(each.delivery in in_flight for each in late), (late, effect)
        assert all(each.at < committed + IN_FLIGHT_S for each in late)
        told = on.told(victim)
        assert set(told) < script.expected[victim], "nothing was left to withhold: the test has shown nothing"
        assert len(told) == len(set(told))
        for org in set(CHANNELS) - {victim}:
            on.assert_complete(org)

        assert {each["state"] for each in rows} <= {"sent", "withheld", "superseded"}
        assert chain["ok"]
        refused = [each for each in entries if each["action"] == "revoke-refused"]
        assert [each["surface"] for each in refused] == ["slack" if surface == "cli" else surface]
        (revoked,) = (each for each in entries if each["action"] == "revoke")
        assert revoked["surface"] == surface
        assert revoked["reason"] == "contract ended"
        assert surface == "cli" or revoked["actor"].startswith("Ada (")


async def _try_as_stranger(on: Stage, surface: str, victim: str) -> None:
    """Who can write the store may use the command line, so a stranger tries from a chat."""
    if surface == "discord":
        reply = await on.discord.slash(
            "tocsin-admin", "revoke", {"org": victim, "reason": "spite"}, user=stage.DISCORD_STRANGER, channel="200"
        )
    else:
        reply = await on.slack.slash(
            "/tocsin-admin", f'revoke --org "{victim}" --reason spite', user=stage.SLACK_STRANGER, channel="C0001"
        )
    assert "refused" in reply


async def _revoke(on: Stage, surface: str, victim: str) -> str:
    """As an operator; returns the revocation's id."""
    match surface:
        case "cli":
            reply = await on.tocsin("revoke", "--org", victim, "--reason", "contract ended")
        case "slack":
            reply = await on.slack.slash(
                "/tocsin-admin",
                f'revoke --org "{victim}" --reason "contract ended"',
                user=stage.SLACK_OPERATOR,
                channel="C0001",
            )
        case _:
            reply = await on.discord.slash(
                "tocsin-admin",
                "revoke",
                {"org": victim, "reason": "contract ended"},
                user=stage.DISCORD_OPERATOR,
                channel="200",
            )
    found = re.search(r"revocation (r[0-9a-f]+) holds", reply)
    assert found, reply
    return found[1]


async def test_killed_anywhere_nothing_is_lost_and_nothing_doubled(tmp_path: Path, script: Script) -> None:
    async def kill_at(point: str) -> None:
        async with stage.open_stage(tmp_path, script, point.replace(":", "-")) as on:
            on.write_config(pace=stage.STREAM_S / 4)
            killed = on.start(TOCSIN_CRASH_AT=point)
            assert await killed.until_ended(120) == -signal.SIGKILL
            assert not on.settled(), "it died too late to show anything"
            restarted = on.start()
            await on.until_settled()
            await restarted.stop()
            for org in CHANNELS:
                on.assert_complete(org)

    async with asyncio.TaskGroup() as group:
        for each in ("detected:2", "recorded:3", "claimed:2", "sent:4", "settled:3"):
            group.create_task(kill_at(each), name=each)


async def test_killed_where_slack_shows_no_history_doubles_one_message_and_says_so(
    tmp_path: Path, script: Script
) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(with_discord=False)
        on.slack.scopes.discard("channels:history")
        killed = on.start(TOCSIN_CRASH_AT="sent:1")
        assert await killed.until_ended() == -signal.SIGKILL
        restarted = on.start()
        await on.until_settled(platforms=["slack"])
        await restarted.stop()
        on.assert_complete(NEWS, duplicates=1)
        assert len(restarted.logged("history_unreadable")) == 1


async def test_sigterm_drains_and_a_restart_goes_on_where_it_stopped(tmp_path: Path, script: Script) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(pace=stage.STREAM_S / 6)
        stopped = on.start()
        await until("the first message stands", lambda: on.standing(NEWS))
        await stopped.stop(timeout_s=5)
        assert not on.recorded(), "it stopped too late to show anything"
        assert not on.rows("SELECT 1 FROM deliveries WHERE state IN ('sending', 'unknown')")
        restarted = on.start()
        await on.until_settled()
        await restarted.stop()
        for org in CHANNELS:
            on.assert_complete(org)
        assert not restarted.logged("deliveries_recovered")
        (found,) = on.rows("SELECT cursor FROM cursors WHERE source = 'replay'")
        read = {file: mark[0] for file, mark in json.loads(found["cursor"]).items()}
        assert read == {str(script.posts): script.lines}


async def test_second_sigterm_stops_at_once(tmp_path: Path, script: Script) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.slack.script("chat.postMessage", Fault.hang_after())
        hanging = on.start()
        await until("Slack does not answer", lambda: on.slack.calls("chat.postMessage"))
        hanging.signal(signal.SIGTERM)
        await hanging.until_logged("service_draining")
        assert hanging.ended is None
        hanging.signal(signal.SIGTERM)
        assert await hanging.until_ended(3) == -signal.SIGTERM
        restarted = on.start()
        await on.until_settled()
        await restarted.stop()
        for org in CHANNELS:
            on.assert_complete(org)
