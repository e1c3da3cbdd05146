"""Slack as an app over HTTP meets it: people who install it, workspaces with a token each, requests that are signed.

async with FakeSlackApp() as fake:
    news = fake.add_workspace("T0777", "Kestrel News")
    … run the service against fake.api_url, with fake.client_id, fake.client_secret, fake.signing_secret …
    fake.public_url = …
    fake.installer = news, "UADMIN"
    … a browser opens /slack/install and follows the redirects …
    reply = await news.slash("/tocsin", "help", user="U1", channel="C1")
    await news.uninstall()
    assert fake.unfired() == []
"""

import base64
import hashlib
import hmac
import io
import itertools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from aiohttp import web

from tests.fakes.slack import Envelope, FakeSlack, SlackError

JSON, FORM = "application/json", "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """One request that Slack made, and what it was answered."""

    headers: dict[str, str]
    body: bytes
    status: int
    text: str


@dataclass(slots=True, kw_only=True)
class Code:
    """What a person agreed to. ``wide``: for the whole Enterprise organisation."""

    workspace: "FakeWorkspace"
    user: str
    redirect_uri: str
    scopes: str
    wide: bool
    used: bool = False


class FakeSlackApp(FakeSlack):
    """The app's side of Slack. ``installer``: who stands at the authorization page, and for which workspace; None: he
    says no. State may be read and changed freely between calls."""

    def __init__(
        self,
        *,
        client_id: str = "111.222",
        client_secret: str = "client-secret-fake",
        signing_secret: str = "signing-secret-fake",
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(clock=clock)
        self.client_id, self.client_secret, self.signing_secret = client_id, client_secret, signing_secret
        self.public_url = ""
        self.installer: tuple[FakeWorkspace, str] | None = None
        self.wide = False
        self.workspaces: dict[str, FakeWorkspace] = {}
        self.codes: dict[str, Code] = {}
        self.posted_to_us: list[Posted] = []
        self._numbers = itertools.count(1)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._session is not None:
            await self._session.close()
        await super().__aexit__(*error)

    def add_workspace(self, team: str, name: str) -> "FakeWorkspace":
        """One that has not installed the app yet. Only once this is entered."""
        self.workspaces[team] = FakeWorkspace(self, team, name)
        return self.workspaces[team]

    async def post(
        self, body: bytes, content_type: str = JSON, *, headers: dict[str, str] | None = None, at: float | None = None
    ) -> Posted:
        """A request to the service. ``headers`` in place of the signature of the time ``at`` (None: now)."""
        if headers is None:
            headers = self.sign(body, self.clock() if at is None else at)
        sent = {"Content-Type": content_type} | headers
        assert self._session is not None
        async with self._session.post(
            f"{self.public_url}/slack/events", data=io.BytesIO(body), headers=sent
        ) as response:
            posted = Posted(headers=sent, body=body, status=response.status, text=await response.text())
        self.posted_to_us.append(posted)
        return posted

    async def repeat(self, posted: Posted) -> Posted:
        """Exactly the same request again, as somebody who recorded it would."""
        return await self.post(posted.body, headers=posted.headers)

    def sign(self, body: bytes, at: float, secret: str | None = None) -> dict[str, str]:
        stamp = str(int(at))
        key = (self.signing_secret if secret is None else secret).encode()
        digest = hmac.new(key, b"v0:" + stamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        return {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={digest}"}

    # What the service and browsers meet.

    def _routes(self) -> list[web.RouteDef]:
        return [*super()._routes(), web.get("/oauth/v2/authorize", self._authorize)]

    async def _authorize(self, request: web.Request) -> web.Response:
        query = request.query
        if query.get("client_id") != self.client_id:
            return web.Response(status=400, text="Invalid client_id parameter")
        if query.get("redirect_uri") != f"{self.public_url}/slack/oauth_redirect":
            return web.Response(status=400, text="redirect_uri did not match any configured URIs")
        if not query.get("scope"):
            return web.Response(status=400, text="No scopes requested")
        if self.installer is None:
            back = {"error": "access_denied", "state": query.get("state", "")}
        else:
            workspace, user = self.installer
            code = f"code-{next(self._numbers)}"
            self.codes[code] = Code(
                workspace=workspace,
                user=user,
                redirect_uri=query["redirect_uri"],
                scopes=query["scope"],
                wide=self.wide,
            )
            back = {"code": code, "state": query.get("state", "")}
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode(back)}")

    def _answer(self, method: str, arguments: dict[str, Any], token: str) -> dict[str, Any]:
        if method == "api.test":
            return {"ok": True}
        if method == "oauth.v2.access":
            try:
                return {"ok": True} | self._exchange(arguments, token)
            except SlackError as error:
                return {"ok": False, "error": str(error)}
        for workspace in self.workspaces.values():
            if token and token in workspace.tokens:
                return workspace.answer(method, arguments, token)
        return {"ok": False, "error": "invalid_auth" if token else "not_authed"}

    def _exchange(self, arguments: dict[str, Any], authorization: str) -> dict[str, Any]:
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        client_id, _, client_secret = given.partition(":")
        if client_id != self.client_id:
            raise SlackError("invalid_client_id")
        if client_secret != self.client_secret:
            raise SlackError("bad_client_secret")
        code = self.codes.get(arguments.get("code", ""))
        if code is None:
            raise SlackError("invalid_code")
        if code.used:
            raise SlackError("code_already_used")
        if arguments.get("redirect_uri") != code.redirect_uri:
            raise SlackError("bad_redirect_uri")
        code.used = True
        workspace = code.workspace
        workspace.install(f"xoxb-{workspace.team}-{next(self._numbers)}", set(code.scopes.split(",")))
        return {
            "access_token": workspace.bot_token,
            "token_type": "bot",
            "scope": code.scopes,
            "bot_user_id": workspace.bot_user,
            "app_id": "A0123",
            "team": None if code.wide else {"id": workspace.team, "name": workspace.name},
            "enterprise": {"id": "E0001", "name": "Northwind Group"} if code.wide else None,
            "authed_user": {"id": code.user},
            "is_enterprise_install": code.wide,
        }


class FakeWorkspace(FakeSlack):
    """One workspace of a FakeSlackApp, which serves it. What happens in it reaches the service by signed requests."""

    def __init__(self, app: FakeSlackApp, team: str, name: str) -> None:
        super().__init__(team=team, bot_token="", clock=app.clock)
        self.name = name
        self.bot_user, self.bot_id = f"UBOT{team}", f"BBOT{team}"
        self.tokens: dict[str, str | None] = {}  # each that there ever was, and why it is no good any more
        self.status: int = 0
        self._app = app
        self._port, self._open, self._changed, self._count = app._port, app._open, app._changed, app._count

    def install(self, token: str, scopes: set[str]) -> None:
        """The app is there (again). While it stays, installing it again gives the same token."""
        if self.tokens.get(self.bot_token, "none") is not None:
            self.bot_token = token
            self.tokens[token] = None
        self.scopes = scopes

    async def uninstall(self, *order: str) -> None:
        """Somebody removes the app; the two events come in this order."""
        self.tokens[self.bot_token] = "account_inactive"
        for kind in order or ("app_uninstalled", "tokens_revoked"):
            await self.event(self.departure(kind))

    def departure(self, kind: str) -> dict[str, Any]:
        more = {"tokens": {"oauth": ["U1"], "bot": [self.bot_user]}} if kind == "tokens_revoked" else {}
        return {"type": kind} | more

    def answer(self, method: str, arguments: dict[str, Any], token: str) -> dict[str, Any]:
        if self.tokens[token] is not None:
            return {"ok": False, "error": self.tokens[token]}
        return FakeSlack._answer(self, method, arguments, token)

    async def _send(self, envelope: Envelope, kind: str, payload: dict[str, Any], **_: Any) -> None:
        match kind:
            case "events_api":
                posted = await self._app.post(json.dumps(payload).encode())
            case "slash_commands":
                posted = await self._app.post(urlencode(payload).encode(), FORM)
            case _:
                posted = await self._app.post(urlencode({"payload": json.dumps(payload)}).encode(), FORM)
        self.status = posted.status
        if posted.status == 200:
            envelope.acked_at = time.monotonic()
            envelope.answer = json.loads(posted.text) if posted.text.startswith("{") else {}
            envelope.acked.set()
