"""`tocsin run` with a push source: what was answered is told, although the process is killed right after the answer."""

import hashlib
import hmac
import io
import json
import time
from pathlib import Path
from typing import Any

import aiohttp

from tests.acceptance import stage
from tests.acceptance.stage import LAST_POST, NEWS, Process, Script, until

SECRET = "an invented secret of the control room"
SOURCES = f'[[source]]\ntype = "push"\nname = "control-room"\nprovider = "usgs"\nsecret = "{SECRET}"\n'
ALARM = '[alarm]\nchannel = "slack:T0123/C0001"\n'


async def push(process: Process, *posts: dict[str, Any], secret: str = SECRET) -> int:
    address = (await process.until_logged("service_ready"))["web"]
    body = "\n".join(json.dumps(each) for each in posts).encode()
    at = int(time.time())
    signature = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    async with (
        aiohttp.ClientSession(address) as session,
        session.post(
            "/ingest/control-room", data=io.BytesIO(body), headers={"X-Tocsin-Signature": f"t={at},v1={signature}"}
        ) as answer,
    ):
        return answer.status


async def test_what_was_answered_is_told_although_the_process_is_killed(tmp_path: Path, script: Script) -> None:
    async with stage.open_stage(tmp_path, script) as on:
        on.write_config(sources=SOURCES, more=ALARM)
        process = on.start()
        assert await push(process, LAST_POST, secret="a guess") == 401
        assert await push(process, LAST_POST) == 202
        process.kill()

        process = on.start()
        await on.until_settled()
        assert len(on.standing(NEWS)) == 1
        assert await push(process, LAST_POST) == 202
        await until("what was recorded is deleted", lambda: not on.rows("SELECT 1 FROM pushed"), timeout_s=60)
        await until("it is seen to be live", lambda: on.rows("SELECT 1 FROM source_states WHERE state = 'live'"))
        assert len(on.standing(NEWS)) == 1
        (found,) = stage.json_lines(await on.tocsin("sources", "--json"))
        assert (found["source"], found["provider"], found["state"]) == ("control-room", "usgs", "live")
        assert found["gaps"] == []
        metrics = await on.metrics(process)
        assert metrics['tocsin_source_live{source="control-room"}'] == 1
        await process.stop()
        (found,), gaps = await on.tocsin_many(["sources"], ["sources", "--gaps"])
        assert found["items"] >= 1
        assert gaps == []
