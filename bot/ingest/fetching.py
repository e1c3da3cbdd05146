"""One document over HTTP: conditional requests, redirects followed by hand, a bound on everything."""

import asyncio
import contextlib
from dataclasses import dataclass

import aiohttp
from yarl import URL

from bot.ingest import bodies, trouble
from bot.ingest.reach import Reach

MOST_BODY = 10_000_000  # bytes, unpacked
TIMEOUT_S = 60.0
CONNECT_S = 15.0
REDIRECTS = 5
_PERMANENT = (301, 308)
_TEMPORARY = (302, 303, 307)
_ABSENT = (404, 409, 410)  # 409 is how USGS says that it has deleted a report


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """What the server answered at ``url``; ``moved``: the redirects that led there were all permanent.

    ``body`` is None where it has not changed.
    """

    body: bytes | None
    url: URL
    moved: bool
    charset: str | None = None
    etag: str | None = None
    modified: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``status`` is 200, or says that there is none, without a body; 0 where nobody was asked."""

    status: int
    body: bytes = b""


async def fetch(
    session: aiohttp.ClientSession,
    url: URL,
    etag: str | None,
    modified: str | None,
    *,
    reach: Reach,
    timeout_s: float,
) -> Document:
    """``etag``, ``modified``: of the last answer. ``reach`` resolves the session's names, too. Raises what aiohttp
    raises, ClientResponseError for every status that is no answer, LostError and TimeoutError."""
    headers = {name: value for name, value in (("If-None-Match", etag), ("If-Modified-Since", modified)) if value}
    moved, permanent = False, True
    async with asyncio.timeout(timeout_s):
        for _ in range(REDIRECTS + 1):
            await reach.check(url)
            async with _get(session, url, headers, timeout_s) as response:
                if response.status in (*_PERMANENT, *_TEMPORARY):
                    permanent &= response.status in _PERMANENT
                    url, moved = redirected(url, response.headers.get("Location", "")), permanent
                    continue
                if response.status == 304:
                    if not headers:
                        raise trouble.LostError("says that nothing has changed (304), which it was not asked")
                    return Document(body=None, url=url, moved=moved)
                if response.status != 200:
                    raise aiohttp.ClientResponseError(
                        response.request_info, (), status=response.status, headers=response.headers
                    )
                return Document(
                    body=await bodies.read(response, MOST_BODY),
                    url=url,
                    moved=moved,
                    charset=_charset(response),
                    etag=_validator(response, "ETag"),
                    modified=_validator(response, "Last-Modified"),
                )
    raise trouble.LostError(f"redirects more than {REDIRECTS} times")


async def answer(session: aiohttp.ClientSession, question: str, base: URL, *, reach: Reach, timeout_s: float) -> Answer:
    """A further document; any other server than ``base``'s is not asked, and none leads to another. Raises what
    ``fetch`` raises, ClientResponseError for every status that neither brings it nor says that there is none."""
    url = beside(question, base)
    if url is None:
        return Answer(status=0)
    async with asyncio.timeout(timeout_s):
        for _ in range(REDIRECTS + 1):
            await reach.check(url)
            async with _get(session, url, {}, timeout_s) as response:
                if response.status in (*_PERMANENT, *_TEMPORARY):
                    url = beside(str(redirected(url, response.headers.get("Location", ""))), base)
                    if url is None:
                        raise trouble.LostError("redirects to another server")
                    continue
                if response.status == 200:
                    return Answer(status=200, body=await bodies.read(response, MOST_BODY))
                if response.status in _ABSENT:
                    return Answer(status=response.status)
                raise aiohttp.ClientResponseError(
                    response.request_info, (), status=response.status, headers=response.headers
                )
    raise trouble.LostError(f"redirects more than {REDIRECTS} times")


def beside(question: str, base: URL) -> URL | None:
    """That address on the server of ``base``; None where it is on another. Where one of both is encrypted it is."""
    try:
        url = URL(question)
        if url.is_default_port() and base.is_default_port() and "https" in (url.scheme, base.scheme):
            url = url.with_port(None).with_scheme("https") if url.scheme in ("http", "https") else url
            base = base.with_port(None).with_scheme("https")
        return url if url.origin() == base.origin() else None
    except ValueError:
        return None


def redirected(url: URL, location: str) -> URL:
    """Where that leads from ``url``. Raises LostError where nobody may be led to."""
    try:
        target = url.join(URL(location))
        found = target.scheme in ("http", "https") and target.host and target != url
    except (ValueError, IndexError):  # yarl's, for a host that is none
        found = False
    if not found:
        raise trouble.LostError("redirects to no address")
    if url.scheme == "https" and target.scheme == "http":
        raise trouble.LostError("redirects to an address without encryption")
    return target


def _get(
    session: aiohttp.ClientSession, url: URL, headers: dict[str, str], timeout_s: float
) -> contextlib.AbstractAsyncContextManager[aiohttp.ClientResponse]:
    timeout = aiohttp.ClientTimeout(total=timeout_s, connect=min(CONNECT_S, timeout_s))
    return session.get(url, headers=headers, allow_redirects=False, timeout=timeout)


def _charset(response: aiohttp.ClientResponse) -> str | None:
    try:
        return response.charset
    except (LookupError, ValueError):
        return None


def _validator(response: aiohttp.ClientResponse, name: str) -> str | None:
    """As the server gave it, if it may stand in a header and in a cursor."""
    value = response.headers.get(name, "")
    return value if value and len(value) <= 500 and value.isprintable() and value.isascii() else None
