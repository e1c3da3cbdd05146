"""The log quotes nothing that strangers send."""

import asyncio
import logging

import pytest
from aiohttp import web

from bot import logs


async def test_a_malformed_request_is_not_quoted(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("aiohttp.server")
    before = list(logger.filters)
    logs.configure(level="warning")
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        reader, writer = await asyncio.open_connection("127.0.0.1", runner.addresses[0][1])
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nsmoke over the invented harbour\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
    finally:
        await runner.cleanup()
        logger.filters[:] = before
    assert "invented harbour" not in caplog.text
