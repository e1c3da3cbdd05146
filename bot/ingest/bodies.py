"""Reading what an HTTP server answers, up to a bound."""

import asyncio

import aiohttp

from bot.ingest import trouble

MOST = 8 * 1024 * 1024


async def read(response: aiohttp.ClientResponse, most: int = MOST) -> bytes:
    """The whole body. Raises LostError where it is longer than ``most`` bytes."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > most:
            raise trouble.LostError(f"answered with more than {most} bytes")
    return bytes(body)


async def more(response: aiohttp.ClientResponse, silence_s: float, sign: str) -> tuple[bytes, bool]:
    """What came of a stream, and whether we had to wait for it: only then is nothing older still on its way.

    Raises LostError where it is over, or silent for ``silence_s`` without its ``sign`` of life.
    """
    if chunk := response.content.read_nowait():
        return chunk, False
    try:
        async with asyncio.timeout(silence_s):
            chunk = await response.content.readany()
    except TimeoutError:
        raise trouble.LostError(f"was silent for {silence_s:g} s, without its {sign}") from None
    if not chunk:
        raise trouble.LostError("closed the connection")
    return chunk, True
