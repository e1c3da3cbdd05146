"""Reading what an HTTP server answers, up to a bound."""

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
