"""What Bluesky's AppView shows of posts: ``app.bsky.feed.getPosts``, which leaves out what it does not know."""

import asyncio
from collections.abc import Mapping, Sequence

import aiohttp
import msgspec
from yarl import URL

from bot.ingest import bodies, trouble

PATH = "xrpc/app.bsky.feed.getPosts"
MOST = 25  # uris in a request
REQUEST_S = 15.0
SIGNED_IN_ONLY = "!no-unauthenticated"


class _Label(msgspec.Struct):
    val: str
    neg: bool = False


class _Author(msgspec.Struct):
    labels: list[_Label] = []


class Shown(msgspec.Struct):
    uri: str
    author: _Author
    labels: list[_Label] = []

    @property
    def signed_in_only(self) -> bool:
        """A post that its author hides from us has to go like a deleted one."""
        return any(label.val == SIGNED_IN_ONLY and not label.neg for label in (*self.labels, *self.author.labels))


class _Answer(msgspec.Struct):
    posts: list[Shown]


_answer = msgspec.json.Decoder(_Answer)


async def shown(session: aiohttp.ClientSession, base: URL, uris: Sequence[str]) -> Mapping[str, Shown]:
    """By uri, without what is missing; at most MOST. Raises what aiohttp raises, LostError and TimeoutError."""
    query = [("uris", uri) for uri in uris]
    async with (
        asyncio.timeout(REQUEST_S),
        session.get(base / PATH, params=query, allow_redirects=False) as response,
    ):
        if response.status != 200:
            raise aiohttp.ClientResponseError(
                response.request_info, response.history, status=response.status, headers=response.headers
            )
        body = await bodies.read(response)
    try:
        answer = _answer.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise trouble.LostError("answered about posts with something else") from None
    return {each.uri: each for each in answer.posts if each.uri in uris}
