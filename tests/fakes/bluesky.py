"""FakeAppView, which is asked what has become of posts, and FakeRecords, which is their authors' own server and the
directory that names it.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from tests.fakes.sources import POST

Bad = bytes | tuple[int, dict[str, str]]


class FakeAppView:
    """``async with FakeAppView(shows) as view``: ``getPosts`` about the posts for which ``shows`` is true.

    ``labels``: what an author has labelled the own profile with. ``forgotten``: posts that it leaves out, each once.
    ``bad``: the next answers, instead of true ones; an int is a status.
    """

    def __init__(self, shows: Callable[[str], bool]) -> None:
        self.shows = shows
        self.labels: dict[str, list[dict[str, Any]]] = {}
        self.forgotten: set[str] = set()
        self.bad: list[Bad] = []
        self.refused: set[str] = set()  # a request with one of them is answered with 400
        self.asked: list[list[str]] = []
        self.answered = asyncio.Event()  # anything since it was cleared
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/xrpc/app.bsky.feed.getPosts", self._get_posts)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _get_posts(self, request: web.Request) -> web.Response:
        uris = request.query.getall("uris", [])
        self.asked.append(uris)
        self.answered.set()
        if not 1 <= len(uris) <= 25 or not all(each.startswith("at://did:") and "#" not in each for each in uris):
            return web.json_response({"error": "InvalidRequest", "message": "uris"}, status=400)
        match self.bad.pop(0) if self.bad else None:
            case bytes(body):
                return web.Response(body=body, content_type="application/json")
            case (status, headers):
                return web.json_response({"error": "InternalServerError"}, status=status, headers=headers)
        if self.refused.intersection(uris):
            return web.json_response({"error": "InvalidRequest", "message": "uris"}, status=400)
        shown = [uri for uri in uris if self.shows(uri) and uri not in self.forgotten]
        self.forgotten.difference_update(uris)
        return web.json_response({"posts": [self._view(uri) for uri in shown]})

    def _view(self, uri: str) -> dict[str, Any]:
        author = uri.split("/")[2]
        view = {"did": author, "handle": "someone.example", "labels": self.labels.get(author, [])}
        record = {"$type": POST, "text": "invented", "createdAt": "2031-05-14T11:59:59.500Z"}
        return {"uri": uri, "cid": "bafyaaaa", "author": view, "record": record, "indexedAt": "2031-05-14T12:00:00Z"}


class FakeRecords:
    """``async with FakeRecords(stands) as records``: who is asked about records has those for which ``stands`` is true.

    ``documents``: DID documents, or what else is answered about an account. ``accounts``: the state of those that are
    not active. ``bad``: the next answers about a record.
    """

    def __init__(self, stands: Callable[[str], bool]) -> None:
        self.stands = stands
        self.documents: dict[str, dict[str, Any] | tuple[int, Any]] = {}
        self.accounts: dict[str, str] = {}
        self.bad: list[tuple[int, Any]] = []
        self.asked: list[str] = []  # records
        self.looked_up: list[str] = []  # accounts
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/xrpc/com.atproto.repo.getRecord", self._get_record)
        app.router.add_get("/xrpc/com.atproto.sync.getRepoStatus", self._get_status)
        app.router.add_get("/.well-known/did.json", self._get_own_document)
        app.router.add_get("/{did}", self._get_document)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def web_did(self) -> str:
        return f"did:web:127.0.0.1%3A{self.port}"

    def document(self, did: str, endpoint: str | None = None) -> dict[str, Any]:
        server = {"id": "#atproto_pds", "type": "AtprotoPersonalDataServer", "serviceEndpoint": endpoint or self.url}
        return {"id": did, "alsoKnownAs": ["at://someone.example"], "service": [{"id": "#other"}, server]}

    async def _get_document(self, request: web.Request) -> web.Response:
        return self._document(request.match_info["did"])

    async def _get_own_document(self, _: web.Request) -> web.Response:
        return self._document(self.web_did)

    def _document(self, did: str) -> web.Response:
        self.looked_up.append(did)
        match self.documents.get(did):
            case None:
                return web.json_response(self.document(did))
            case (int(status), body):
                return _answer(status, body)
            case document:
                return web.json_response(document)

    async def _get_record(self, request: web.Request) -> web.Response:
        query = request.query
        uri = f"at://{query['repo']}/{query['collection']}/{query['rkey']}"
        self.asked.append(uri)
        if self.bad:
            return _answer(*self.bad.pop(0))
        if query["repo"] in self.accounts:
            return _answer(400, {"error": "InvalidRequest", "message": "Could not find repo"})
        if not self.stands(uri):
            return _answer(400, {"error": "RecordNotFound", "message": "Could not locate record"})
        return web.json_response({"uri": uri, "cid": "bafyaaaa", "value": {"$type": POST, "text": "invented"}})

    async def _get_status(self, request: web.Request) -> web.Response:
        did = request.query["did"]
        match self.accounts.get(did):
            case None:
                return web.json_response({"did": did, "active": True, "rev": "3maaa"})
            case "RepoNotFound" as error:
                return _answer(400, {"error": error, "message": "none of ours"})
            case status:
                return web.json_response({"did": did, "active": False, "status": status})


def _answer(status: int, body: Any) -> web.Response:
    if isinstance(body, bytes):
        return web.Response(status=status, body=body, content_type="application/json")
    if status in (301, 302):
        return web.Response(status=status, headers={"Location": body})
    return web.json_response(body, status=status)
