"""Whether a post still stands at its author's own server, which is the only one that knows.

An account's DID document names that server: ``did:plc:`` has it from a directory, ``did:web:`` from its own host. The
server is asked for the record, and where it does not say what became of that, for the state of the account. Gone is
what one of them says is gone, in the protocol's own words; anything else, silence above all, means nothing.

Strangers write DID documents: no address inside our networks is asked, no redirect followed, and nothing without
encryption, unless the directory itself is of that kind.
"""

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import unquote

import aiohttp
import msgspec
from aiohttp import abc, resolver
from yarl import URL

from bot.ingest import bodies, trouble
from bot.ingest.reach import Reach

REQUEST_S = 15.0
MOST_DOCUMENT = 100_000  # bytes
MOST_RECORD = 2_000_000

_URI = re.compile(r"at://(did:[^/]+)/([^/]+)/([^/]+)")
_WEB = re.compile(r"did:web:([a-z0-9.-]{1,253}(?:%3A[0-9]{1,5})?)", re.ASCII | re.IGNORECASE)
# Errors of com.atproto.repo.getRecord, com.atproto.sync.getRepoStatus and its status words.
_GONE = frozenset({"RecordNotFound", "RepoNotFound", "RepoDeactivated", "RepoTakendown", "RepoSuspended"})
_INACTIVE = frozenset({"takendown", "suspended", "deleted", "deactivated"})
_TROUBLES = (aiohttp.ClientError, OSError, TimeoutError, ValueError, IndexError, trouble.LostError)


_Shape = TypeVar("_Shape")


class _Service(msgspec.Struct):
    id: str
    endpoint: str = msgspec.field(name="serviceEndpoint")


class _Document(msgspec.Struct):
    id: str
    service: list[msgspec.Raw] = []


class _Record(msgspec.Struct):
    uri: str


class _Status(msgspec.Struct):
    did: str
    active: bool
    status: str = ""


class _Refusal(msgspec.Struct):
    error: str = ""
    message: str = ""


class _GoneError(Exception):
    """Somebody who knows said so."""


class Records:
    """``async with Records(directory) as records``; one question at a time."""

    def __init__(self, directory: URL, *, names: Callable[[], abc.AbstractResolver] = resolver.DefaultResolver) -> None:
        self._directory = directory
        self._names = names

    async def __aenter__(self) -> "Records":
        self._reach = Reach(self._directory, self._names())
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(resolver=self._reach, limit=2),
            headers={"User-Agent": "tocsin", "Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()
        await self._reach.close()

    async def stands(self, uri: str) -> bool | None:
        """None: nobody who knows has answered."""
        found = _URI.fullmatch(uri)
        if found is None:
            return None
        did, collection, rkey = found.groups()
        try:
            server = await self._server(did)
            return None if server is None else await self._asked(server, did, collection, rkey, uri)
        except _GoneError:
            return False
        except _TROUBLES:
            return None

    async def _server(self, did: str) -> URL | None:
        if did.startswith("did:plc:"):
            status, body = await self._get(self._directory / did, MOST_DOCUMENT)
            # The directory says 404 of what it has never had as well.
            if status == 410 or (status == 404 and _refusal(body).message.startswith("DID not available")):
                raise _GoneError
        elif (host := _WEB.fullmatch(did)) is not None:
            url = URL(f"{self._directory.scheme}://{unquote(host[1])}/.well-known/did.json")
            status, body = await self._get(url, MOST_DOCUMENT)
        else:
            return None
        return _server_of(body, did) if status == 200 else None

    async def _asked(self, server: URL, did: str, collection: str, rkey: str, uri: str) -> bool | None:
        query = {"repo": did, "collection": collection, "rkey": rkey}
        status, body = await self._get((server / "xrpc/com.atproto.repo.getRecord").with_query(query), MOST_RECORD)
        if status == 200:
            return True if _decoded(body, _Record).uri == uri else None
        if status not in (400, 404):
            return None
        if _refusal(body).error in _GONE:
            return False
        url = (server / "xrpc/com.atproto.sync.getRepoStatus").with_query({"did": did})
        status, body = await self._get(url, MOST_DOCUMENT)
        if status == 200:
            account = _decoded(body, _Status)
            return False if account.did == did and not account.active and account.status in _INACTIVE else None
        return False if status in (400, 404) and _refusal(body).error in _GONE else None

    async def _get(self, url: URL, most: int) -> tuple[int, bytes]:
        if url.scheme != "https" and url.scheme != self._directory.scheme:
            raise trouble.LostError("is no server with encryption")
        await self._reach.check(url)
        async with asyncio.timeout(REQUEST_S), self._session.get(url, allow_redirects=False) as response:
            return response.status, await bodies.read(response, most)


def _server_of(body: bytes, did: str) -> URL | None:
    document = _decoded(body, _Document)
    if document.id != did:
        return None
    for raw in document.service:
        try:
            service = _decoded(raw, _Service)
        except trouble.LostError:
            continue  # of another kind
        if service.id.endswith("#atproto_pds"):
            url = URL(service.endpoint)
            return url.origin() if url.scheme in ("https", "http") and url.host else None
    return None


def _refusal(body: bytes) -> _Refusal:
    try:
        return _decoded(body, _Refusal)
    except trouble.LostError:
        return _Refusal()


def _decoded(body: bytes | msgspec.Raw, shape: type[_Shape]) -> _Shape:
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise trouble.LostError("answered with something else") from None
