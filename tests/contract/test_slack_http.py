"""Slack over HTTP, with the real slack-bolt and slack_sdk, a real store and a real web server: installing, requests,
losses; and what must be refused."""

import asyncio
import contextlib
import json
import logging
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import pytest
import structlog
from aiohttp import web
from yarl import URL

from bot import checking, config
from bot.domain import errors
from bot.domain.channel import Channel
from bot.domain.delivery import Rejected, Scope, Sent, Unavailable, Unknown
from bot.platforms import base
from bot.platforms.slack import http, installs, manifest, signatures
from bot.store import installations
from bot.store.database import Database
from tests import factories, shared
from tests.fakes.slack import Fault
from tests.fakes.slack_oauth import FORM, FakeSlackApp, FakeWorkspace

KESTREL = "slack:T0777"
EVENTS, REDIRECT = "/slack/events", "/slack/oauth_redirect"


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def wait(self, **span: float) -> None:
        self.time += timedelta(**span)


@dataclass
class Desk:
    """Notes what it is told; answers with what it was asked."""

    subcommands: tuple[base.Subcommand, ...] = ()
    asked: list[base.Invocation] = field(default_factory=list)
    heard: list[tuple[str, ...]] = field(default_factory=list)
    broken: bool = False
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, invocation: base.Invocation) -> str:
        self.asked.append(invocation)
        return " | ".join(invocation.argv)

    async def form(self, invocation: base.Invocation) -> base.Form | None:
        if invocation.argv != ("settings",):
            return None
        return base.Form(title="Settings", fields=(base.Field(name="place", label="Place", kind=base.FieldKind.TEXT),))

    async def submit(self, submission: base.Submission) -> str | base.Faults:
        if submission.values["place"] == ("Nowhere",):
            return base.Faults(fields={"place": "There is no such place."})
        return f"Place: {submission.values['place']}"

    async def press(self, press: base.Press) -> str:
        return f"{press.action.value} by {press.actor.partition('/')[2]}"

    async def complete(self, *_: object) -> Sequence[str]:
        raise NotImplementedError

    async def lost(self, target: str, reason: str) -> None:
        if self.broken:
            raise RuntimeError("the store is not well")
        await self._hear("lost", target, reason)

    async def restored(self, target: str) -> None:
        await self._hear("restored", target)

    async def _hear(self, *what: str) -> None:
        async with self.news:
            self.heard.append(what)
            self.news.notify_all()

    async def until(self, *what: str) -> None:
        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: any(heard[: len(what)] == what for heard in self.heard))


class Faltering(Database):
    """A store that cannot be read any more after as many readings as a test allows."""

    readings = 0
    most = sys.maxsize

    async def read(self, *args: Any) -> Any:  # type: ignore[override]
        if self.readings == self.most:
            raise errors.StoreError("the store is locked")
        self.readings += 1
        return await super().read(*args)


@dataclass(kw_only=True)
class Service:
    """Slack's half of the service on a web server, and what a person's browsers do with it."""

    slack: http.SlackOverHttp
    url: str
    fake: FakeSlackApp
    desk: Desk
    clock: Clock
    database: Database
    audited: list[tuple[str, str]]

    @contextlib.asynccontextmanager
    async def browser(self) -> AsyncIterator[aiohttp.ClientSession]:
        jar = aiohttp.CookieJar(unsafe=True)  # cookies for an address without a name
        async with aiohttp.ClientSession(cookie_jar=jar) as browser:
            yield browser

    async def install(self, workspace: FakeWorkspace, user: str = "UADMIN") -> str:
        """Somebody installs the app; returns the page that he sees in the end."""
        self.fake.installer = workspace, user
        async with self.browser() as browser, browser.get(f"{self.url}/slack/install") as response:
            assert response.status == 200, await response.text()
            return await response.text()

    async def begin(self, browser: aiohttp.ClientSession) -> str:
        """As far as Slack's page; returns the state."""
        async with browser.get(f"{self.url}/slack/install", allow_redirects=False) as response:
            assert response.status == 302
            (state,) = re.findall(r"[?&]state=([^&]+)", response.headers["Location"])
            return str(state)

    async def agree(self, browser: aiohttp.ClientSession) -> str:
        """Slack's page, too; returns the address that Slack sends the browser to, not opened yet."""
        async with browser.get(f"{self.url}/slack/install", allow_redirects=False) as response:
            authorize = response.headers["Location"]
        async with browser.get(authorize, allow_redirects=False) as response:
            assert response.status == 302
            return response.headers["Location"]

    async def open(self, browser: aiohttp.ClientSession, url: str) -> tuple[int, str]:
        async with browser.get(url) as response:
            return response.status, await response.text()

    async def stored(self) -> list[installations.Installation]:
        return await self.database.read(installations.installations)


@contextlib.asynccontextmanager
async def serving(routes: list[web.RouteDef], listening: socket.socket) -> AsyncIterator[None]:
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.SockSite(runner, listening).start()
        yield
    finally:
        await runner.cleanup()


@contextlib.asynccontextmanager
async def running(fake: FakeSlackApp, clock: Clock, database: Database, **settings: Any) -> AsyncIterator[Service]:
    listening = socket.create_server(("127.0.0.1", 0))
    fake.public_url = url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    desk, audited = Desk(), list[tuple[str, str]]()

    async def refused(target: str, why: str) -> None:
        audited.append((target, why))

    given: dict[str, Any] = {
        "client_id": fake.client_id,
        "client_secret": fake.client_secret,
        "signing_secret": fake.signing_secret,
        "public_url": url,
        "api_url": fake.api_url,
        "database": database,
        "desk": desk,
        "refused": refused,
        "now": clock.now,
    }
    async with http.SlackOverHttp(**given | settings) as slack, serving(slack.routes, listening):
        yield Service(slack=slack, url=url, fake=fake, desk=desk, clock=clock, database=database, audited=audited)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def database(tmp_path: Path) -> Any:
    with Database.open(tmp_path / "tocsin.db") as database:
        yield database


@pytest.fixture
async def fake(clock: Clock) -> AsyncIterator[FakeSlackApp]:
    async with FakeSlackApp(clock=lambda: clock.now().timestamp()) as fake:
        yield fake
        assert fake.unfired() == []


@pytest.fixture
async def service(fake: FakeSlackApp, clock: Clock, database: Database) -> AsyncIterator[Service]:
    async with running(fake, clock, database) as service:
        yield service


@pytest.fixture
async def kestrel(fake: FakeSlackApp) -> FakeWorkspace:
    return workspace(fake, "T0777", "Kestrel News", "C1")


def workspace(fake: FakeSlackApp, team: str, name: str, channel: str) -> FakeWorkspace:
    made = fake.add_workspace(team, name)
    made.add_channel(channel)
    made.add_user("U1")
    made.add_user("UADMIN", admin=True)
    return made


def make_sending(team: str = "T0777", channel: str = "C1", **fields: Any) -> Any:
    return factories.make_sending(channel=Channel("slack", team, channel), created_at=datetime.now(UTC), **fields)


# From the button to the message.


async def test_a_workspace_installs_types_a_command_and_gets_messages_with_its_own_token(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace
) -> None:
    page = await service.install(kestrel)
    assert "Tocsin is installed in Kestrel News" in page
    assert "/invite @</code> and its name" in page
    assert "/tocsin join CODE" in page, "installing binds the workspace to no organisation"
    assert service.desk.heard == [("restored", KESTREL)]
    (stored,) = await service.stored()
    assert (stored.workspace, stored.name, stored.installed_by) == (KESTREL, "Kestrel News", f"{KESTREL}/UADMIN")
    assert set(stored.scopes) == set(manifest.SCOPES)

    assert await kestrel.slash("/tocsin", "join K7-42", user="UADMIN", channel="C1") == "join | K7-42"
    (invocation,) = service.desk.asked
    assert invocation.actor == f"{KESTREL}/UADMIN"
    assert invocation.workspace_admin
    assert str(invocation.channel) == f"{KESTREL}/C1"

    assert isinstance(await service.slack.notifier.send(make_sending()), Sent)
    (message,) = kestrel.messages("C1")
    assert "Port Calder" in message["text"]
    assert fake.calls("chat.postMessage")[0].token == kestrel.bot_token
    assert service.audited == []


async def test_a_command_is_answered_even_if_the_store_fails_under_it(
    fake: FakeSlackApp, clock: Clock, kestrel: FakeWorkspace, tmp_path: Path
) -> None:
    with Faltering.open(tmp_path / "tocsin.db") as database:
        async with running(fake, clock, database) as service:
            await service.install(kestrel)
            before = database.readings
            assert await kestrel.slash("/tocsin", "help", user="U1", channel="C1") == "help"
            # The last reading comes after the acknowledgement.
            database.most = 2 * database.readings - before - 1
            reply = await kestrel.slash("/tocsin", "help", user="U1", channel="C1")
            assert "fault inside Tocsin" in reply
            database.most = sys.maxsize


async def test_each_workspace_is_spoken_to_with_its_own_token(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace
) -> None:
    harbour = workspace(fake, "T0888", "Harbour Bank", "C2")
    await service.install(kestrel)
    await service.install(harbour)
    assert isinstance(await service.slack.notifier.send(make_sending("T0888", "C2")), Sent)
    assert isinstance(await service.slack.notifier.send(make_sending()), Sent)
    assert len(kestrel.messages("C1")) == len(harbour.messages("C2")) == 1
    assert kestrel.bot_token != harbour.bot_token
    assert await harbour.slash("/tocsin", "status", user="UADMIN", channel="C2") == "status"
    tokens = [call.token for call in fake.calls("users.info")]
    assert tokens == [harbour.bot_token], "who administers a workspace is asked with that workspace's token"


async def test_a_workspace_without_a_token_is_rejected_without_a_call(service: Service, fake: FakeSlackApp) -> None:
    outcome = await service.slack.notifier.send(make_sending())
    assert isinstance(outcome, Rejected)
    assert outcome.scope is Scope.WORKSPACE
    assert outcome.remedy == f"install it again at {service.url}/slack/install"
    assert isinstance(await service.slack.notifier.find(make_sending()), Rejected)
    assert fake.requests == []


async def test_a_command_whose_text_holds_the_word_payload_arrives(service: Service, kestrel: FakeWorkspace) -> None:
    await service.install(kestrel)
    text = "subscribe --keyword payload"
    assert await kestrel.slash("/tocsin", text, user="U1", channel="C1") == "subscribe | --keyword | payload"


async def test_a_form_is_opened_corrected_and_sent_over_http(service: Service, kestrel: FakeWorkspace) -> None:
    await service.install(kestrel)
    await kestrel.type("/tocsin", "settings", user="U1", channel="C1")
    await kestrel.form("U1")
    errors = await kestrel.submit("U1", {"Place": "Nowhere"})
    assert errors is not None
    assert list(errors.values()) == ["There is no such place."]
    assert await kestrel.submit("U1", {"Place": "Port Calder"}) is None
    await kestrel.wait_for(lambda: bool(kestrel.ephemerals))


async def test_a_button_is_pressed_over_http(service: Service, kestrel: FakeWorkspace) -> None:
    await service.install(kestrel)
    await service.slack.notifier.send(make_sending())
    (message,) = kestrel.messages("C1")
    assert await kestrel.click("Acknowledge", message=message, user="U1", channel="C1") == "acknowledge by U1"


async def test_slack_verifies_the_address(service: Service, fake: FakeSlackApp) -> None:
    posted = await fake.post(json.dumps({"type": "url_verification", "challenge": "c-42"}).encode())
    assert posted.status == 200
    assert "c-42" in posted.text


async def test_a_listener_stands_behind_every_event_of_the_manifest(service: Service, kestrel: FakeWorkspace) -> None:
    for kind in manifest.EVENTS:
        await service.install(kestrel)
        await kestrel.event({"type": kind, "user": "U1", "channel": "C1", "tokens": {}})
        assert kestrel.status == 200, kind


async def test_no_token_and_no_secret_is_logged(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with structlog.testing.capture_logs() as logs:
        await service.install(kestrel)
        kestrel.kicked.add("C1")
        await service.slack.notifier.send(make_sending())
        await kestrel.uninstall()
        fake.script("oauth.v2.access", Fault.error("bad_client_secret"))
        async with service.browser() as browser:
            await service.open(browser, await service.agree(browser))
        await fake.post(b"{}", headers=fake.sign(b"{}", 0, "wrong"))
    said = f"{logs}{caplog.text}{service.audited}{await service.stored()}"
    assert logs
    for secret in (*kestrel.tokens, fake.client_secret, fake.signing_secret, *fake.codes):
        assert secret not in said


# Installing: what is refused.


async def forged_state(service: Service, browser: aiohttp.ClientSession) -> str:
    """The attacker sets the cookie as well: it is his own browser."""
    url = await service.agree(browser)
    state = re.sub(r"state=[^&]+", "state=forged", url)
    browser.cookie_jar.update_cookies({installs.COOKIE: "forged"}, URL(service.url))
    return state


async def expired_state(service: Service, browser: aiohttp.ClientSession) -> str:
    url = await service.agree(browser)
    service.clock.wait(minutes=10)
    return url


async def no_cookie(service: Service, browser: aiohttp.ClientSession) -> str:
    url = await service.agree(browser)
    browser.cookie_jar.clear()
    return url


async def state_of_another_browser(service: Service, browser: aiohttp.ClientSession) -> str:
    """Somebody sends a link to get his workspace installed by someone else, or the other way around."""
    await service.begin(browser)
    async with service.browser() as other:
        return await service.agree(other)


async def no_state(service: Service, browser: aiohttp.ClientSession) -> str:
    return re.sub(r"&state=[^&]+", "", await service.agree(browser))


async def foreign_code(service: Service, browser: aiohttp.ClientSession) -> str:
    return re.sub(r"code=[^&]+", "code=forged", await service.agree(browser))


async def no_code(service: Service, browser: aiohttp.ClientSession) -> str:
    return re.sub(r"code=[^&]+&", "", await service.agree(browser))


async def whole_organisation(service: Service, browser: aiohttp.ClientSession) -> str:
    service.fake.wide = True
    return await service.agree(browser)


@pytest.mark.parametrize(
    ("attempt", "why"),
    [
        (forged_state, installs.FORGED),
        (expired_state, installs.EXPIRED),
        (no_cookie, installs.FOREIGN),
        (state_of_another_browser, installs.FOREIGN),
        (no_state, installs.FOREIGN),
        (foreign_code, installs.BAD_CODE),
        (no_code, installs.BAD_CODE),
        (whole_organisation, installs.ORGANISATION_WIDE),
    ],
)
async def test_a_bad_installation_is_refused_with_a_page_and_audited(
    service: Service, kestrel: FakeWorkspace, attempt: Callable[..., Any], why: str
) -> None:
    service.fake.installer = kestrel, "UADMIN"
    async with service.browser() as browser:
        status, page = await service.open(browser, await attempt(service, browser))
    assert status == 403
    assert f"{service.url}/slack/install" in page, "the page says how to begin again"
    assert await service.stored() == []
    assert service.desk.heard == []
    assert service.audited == [(REDIRECT, why)]


async def test_a_state_is_good_once(service: Service, kestrel: FakeWorkspace) -> None:
    service.fake.installer = kestrel, "UADMIN"
    async with service.browser() as browser:
        url = await service.agree(browser)
        cookies = list(browser.cookie_jar)
        assert (await service.open(browser, url))[0] == 200
        browser.cookie_jar.update_cookies({cookie.key: cookie.value for cookie in cookies}, URL(url))
        assert (await service.open(browser, url))[0] == 403
    assert service.audited == [(REDIRECT, installs.FORGED)]
    assert len(await service.stored()) == 1


async def test_of_two_redirects_that_race_one_installs(service: Service, kestrel: FakeWorkspace) -> None:
    service.fake.installer = kestrel, "UADMIN"
    async with service.browser() as browser:
        url = await service.agree(browser)
        answers = await asyncio.gather(*(service.open(browser, url) for _ in range(5)))
    assert sorted(status for status, _ in answers) == [200, 403, 403, 403, 403]
    assert len(service.fake.calls("oauth.v2.access")) == 1
    assert service.desk.heard == [("restored", KESTREL)]


async def test_another_browser_cannot_use_up_a_state(service: Service, kestrel: FakeWorkspace) -> None:
    service.fake.installer = kestrel, "UADMIN"
    async with service.browser() as browser, service.browser() as attacker:
        url = await service.agree(browser)
        assert (await service.open(attacker, url))[0] == 403
        assert (await service.open(browser, url))[0] == 200


async def test_who_says_no_in_slack_gets_a_page_and_no_entry(service: Service, fake: FakeSlackApp) -> None:
    fake.installer = None
    async with service.browser() as browser:
        status, page = await service.open(browser, f"{service.url}/slack/install")
    assert status == 200
    assert "was not allowed" in page
    assert service.audited == []


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        (lambda: Fault.error("bad_client_secret"), 500, "bad_client_secret"),
        (lambda: Fault.error("invalid_client_id"), 500, "operator"),
        (lambda: Fault.error("code_already_used"), 403, "code_already_used"),
        (lambda: Fault.http(500), 502, "did not answer"),
        (lambda: Fault.http(200, "[1]"), 502, "did not answer"),
        (lambda: Fault.rate_limited(3), 502, "did not answer"),
        (Fault.reset_before, 502, "did not answer"),
        (Fault.reset_after, 502, "did not answer"),
        (Fault.hang_before, 502, "did not answer"),
        (lambda: Fault("answer", body={"ok": True}), 502, "could not be read"),
        (lambda: Fault("answer", body={"ok": True, "team": {"id": "T0777"}}), 502, "could not be read"),
    ],
)
async def test_an_exchange_that_fails_installs_nothing_and_says_why(
    fake: FakeSlackApp, clock: Clock, database: Database, kestrel: FakeWorkspace, fault: Any, status: int, words: str
) -> None:
    async with running(fake, clock, database, timeout=timedelta(seconds=0.5)) as service:
        fake.installer = kestrel, "UADMIN"
        fake.script("oauth.v2.access", fault())
        async with service.browser() as browser:
            answered, page = await service.open(browser, f"{service.url}/slack/install")
        assert answered == status
        assert words in page
        assert await service.stored() == []
        assert service.desk.heard == []
        assert bool(service.audited) is (status == 403)
        assert "installed in" in await service.install(kestrel), "beginning again helps"


async def test_a_hostile_workspace_name_stays_text(service: Service, fake: FakeSlackApp) -> None:
    page = await service.install(workspace(fake, "T0999", "<script>alert(1)</script>", "C9"))
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


async def test_the_pages_are_not_kept_nor_passed_on_nor_framed(service: Service, fake: FakeSlackApp) -> None:
    async with service.browser() as browser, browser.get(f"{service.url}{REDIRECT}?code=1&state=2") as response:
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


async def test_the_cookie_is_for_this_browser_and_https_alone(
    fake: FakeSlackApp, clock: Clock, database: Database
) -> None:
    async with running(fake, clock, database, public_url="https://alerts.example") as service:
        async with service.browser() as browser:
            async with browser.get(f"{service.url}/slack/install", allow_redirects=False) as response:
                cookie = response.cookies[installs.COOKIE]
                location = response.headers["Location"]
    assert cookie["secure"]
    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert "redirect_uri=https://alerts.example/slack/oauth_redirect" in location
    assert fake.client_secret not in location


async def test_only_hashes_of_states_are_stored(service: Service, database: Database) -> None:
    async with service.browser() as browser:
        state = await service.begin(browser)
    dump = await database.read(lambda db: str(list(db.query("SELECT * FROM oauth_states"))))
    assert state not in dump


async def test_a_flood_of_beginnings_is_held_back(service: Service, database: Database, kestrel: FakeWorkspace) -> None:
    async with service.browser() as browser:
        for _ in range(installs.BEGUN_A_MINUTE_MOST):
            await service.begin(browser)
        assert (await service.open(browser, f"{service.url}/slack/install"))[0] == 429
    assert await database.read(lambda db: db["oauth_states"].count) == installs.BEGUN_A_MINUTE_MOST
    service.clock.wait(minutes=1)
    assert "installed in" in await service.install(kestrel)


# Requests: what is refused.


def signed_wrongly(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return fake.sign(body, fake.clock(), "another-secret")


def signed_for_another_body(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return fake.sign(body + b" ", fake.clock())


def signed_long_ago(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return fake.sign(body, fake.clock() - 301)


def signed_tomorrow(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return fake.sign(body, fake.clock() + 86_400)


def with_another_time(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return signed_long_ago(fake, body) | {"X-Slack-Request-Timestamp": str(int(fake.clock()))}


def without_signature(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return {"X-Slack-Request-Timestamp": str(int(fake.clock()))}


def without_time(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return {"X-Slack-Signature": fake.sign(body, fake.clock())["X-Slack-Signature"]}


def without_anything(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return {}


def with_nonsense(fake: FakeSlackApp, body: bytes) -> dict[str, str]:
    return {"X-Slack-Request-Timestamp": "soon", "X-Slack-Signature": "v0=\xe9"}


@pytest.mark.parametrize("content_type", ["application/json", FORM])
@pytest.mark.parametrize(
    ("headers", "why"),
    [
        (signed_wrongly, signatures.Fault.FORGED),
        (signed_for_another_body, signatures.Fault.FORGED),
        (with_another_time, signatures.Fault.FORGED),
        (with_nonsense, signatures.Fault.FORGED),
        (signed_long_ago, signatures.Fault.STALE),
        (signed_tomorrow, signatures.Fault.STALE),
        (without_signature, signatures.Fault.UNSIGNED),
        (without_time, signatures.Fault.UNSIGNED),
        (without_anything, signatures.Fault.UNSIGNED),
    ],
)
async def test_a_request_that_is_not_slacks_is_refused_and_audited(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace, content_type: str, headers: Any, why: str
) -> None:
    await service.install(kestrel)
    event = {
        "type": "event_callback",
        "team_id": "T0777",
        "event_time": int(fake.clock()) + 60,
        "event_id": "Ev1",
        "event": {"type": "app_uninstalled"},
    }
    body = json.dumps(event).encode()
    posted = await fake.post(body, content_type, headers=headers(fake, body))
    assert posted.status == 401
    assert service.audited == [(EVENTS, why)]
    assert service.desk.heard == [("restored", KESTREL)]
    assert len(await service.stored()) == 1


async def test_a_recorded_request_is_refused_when_it_comes_again(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace
) -> None:
    await service.install(kestrel)
    await kestrel.slash("/tocsin", "mute 1h", user="U1", channel="C1")
    recorded = fake.posted_to_us[-1]
    service.clock.wait(seconds=299)
    assert (await fake.repeat(recorded)).status == 401
    service.clock.wait(seconds=2)
    assert (await fake.repeat(recorded)).status == 401
    assert [why for _, why in service.audited] == [signatures.Fault.REPLAYED, signatures.Fault.STALE]
    assert len(service.desk.asked) == 1


async def test_the_audit_is_not_flooded(service: Service, fake: FakeSlackApp) -> None:
    for _ in range(20):
        await fake.post(b"{}", headers={})
    assert len(service.audited) == 1
    service.clock.wait(seconds=61)
    await fake.post(b"{}", headers={})
    assert service.audited[1:] == [(EVENTS, f"{signatures.Fault.UNSIGNED} (19 more since the last entry)")]


@pytest.mark.parametrize("signed", [True, False])
async def test_a_huge_request_is_refused_unread(service: Service, fake: FakeSlackApp, signed: bool) -> None:
    body = b"x" * (http.BODY_MOST + 1)
    posted = await fake.post(body, FORM, headers=None if signed else {})
    assert posted.status == 413
    assert service.audited == [(EVENTS, http.TOO_LARGE)]


@pytest.mark.parametrize("content_type", ["application/json", FORM, "application/json; charset=nonsense", "text/plain"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[1]",
        b'"text"',
        b"null",
        b"{}",
        b"payload=",
        b"payload=3",
        b'{"authorizations": 3}',
        b'{"event": 3, "type": "event_callback", "team_id": 5}',
        b"[" * 100_000,
        b"=",
        b"\x00\x01",
    ],
)
async def test_garbage_is_answered_and_does_nothing_even_if_it_is_signed(
    service: Service, fake: FakeSlackApp, body: bytes, content_type: str
) -> None:
    posted = await fake.post(body, content_type)
    assert posted.status in (400, 500)
    assert "Traceback" not in posted.text
    assert service.desk.heard == []
    assert service.desk.asked == []
    assert await service.stored() == []


async def test_a_body_that_is_not_utf8_is_nobodys(service: Service, fake: FakeSlackApp) -> None:
    assert (await fake.post(b"\xff\xfe", FORM)).status == 401
    assert service.audited == [(EVENTS, signatures.Fault.FORGED)]


async def test_other_methods_begin_nothing(service: Service, database: Database) -> None:
    async with service.browser() as browser:
        async with browser.get(f"{service.url}{EVENTS}") as response:
            assert response.status == 405
        async with browser.head(f"{service.url}/slack/install") as response:
            assert response.status == 405
    assert await database.read(lambda db: db["oauth_states"].count) == 0


# Slack says things again.


async def test_an_event_that_slack_brings_again_is_dealt_with_once(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace
) -> None:
    await service.install(kestrel)
    await kestrel.event({"type": "channel_archive", "channel": "C1", "user": "U1"})
    await service.desk.until("lost", f"{KESTREL}/C1")
    first = fake.posted_to_us[-1]
    await kestrel.event({"type": "channel_unarchive", "channel": "C1", "user": "U1"})
    await service.desk.until("restored", f"{KESTREL}/C1")
    service.clock.wait(seconds=60)
    assert (await fake.post(first.body)).status == 200, "the same body, signed anew"
    await kestrel.event({"type": "channel_deleted", "channel": "C9"})
    await service.desk.until("lost", f"{KESTREL}/C9")
    assert [heard[:2] for heard in service.desk.heard[1:]] == [
        ("lost", f"{KESTREL}/C1"),
        ("restored", f"{KESTREL}/C1"),
        ("lost", f"{KESTREL}/C9"),
    ]
    assert service.audited == []


async def test_an_event_that_could_not_be_dealt_with_may_come_again(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace
) -> None:
    await service.install(kestrel)
    service.desk.broken = True
    service.clock.wait(minutes=1)
    body = json.dumps(
        {
            "type": "event_callback",
            "team_id": "T0777",
            "event_id": "Ev1",
            "event_time": int(fake.clock()),
            "event": {"type": "app_uninstalled"},
        }
    ).encode()
    assert (await fake.post(body)).status == 500
    service.desk.broken = False
    assert (await fake.post(body)).status == 200, "within the same second the signature is the same, too"
    assert service.desk.heard[-1][:2] == ("lost", KESTREL)


# Leaving and coming back.


@pytest.mark.parametrize("order", [("app_uninstalled", "tokens_revoked"), ("tokens_revoked", "app_uninstalled")])
async def test_an_uninstalled_app_lets_go_of_its_token_and_says_how_to_come_back(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace, order: tuple[str, str]
) -> None:
    await service.install(kestrel)
    service.clock.wait(minutes=5)
    await kestrel.uninstall(*order)
    assert await service.stored() == []
    target, reason = service.desk.heard[-1][1:]
    assert target == KESTREL
    assert f"install it again at {service.url}/slack/install" in reason
    calls = len(fake.requests)
    assert isinstance(await service.slack.notifier.send(make_sending()), Rejected)
    assert len(fake.requests) == calls

    service.clock.wait(minutes=5)
    await service.install(kestrel)
    assert service.desk.heard[-1] == ("restored", KESTREL)
    assert isinstance(await service.slack.notifier.send(make_sending()), Sent)


@pytest.mark.parametrize("late", ["app_uninstalled", "tokens_revoked"])
async def test_a_late_word_about_the_installation_before_does_not_touch_the_new_one(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace, late: str
) -> None:
    await service.install(kestrel)
    service.clock.wait(minutes=5)
    await kestrel.uninstall("tokens_revoked" if late == "app_uninstalled" else "app_uninstalled")
    before = int(fake.clock())
    service.clock.wait(seconds=30)
    await service.install(kestrel)
    heard = list(service.desk.heard)
    event = {"type": "event_callback", "team_id": "T0777", "event_time": before, "event_id": "EvLate"}
    assert (await fake.post(json.dumps(event | {"event": kestrel.departure(late)}).encode())).status == 200
    assert service.desk.heard == heard
    assert isinstance(await service.slack.notifier.send(make_sending()), Sent)


async def test_people_who_withdraw_their_own_tokens_are_none_of_our_business(
    service: Service, kestrel: FakeWorkspace
) -> None:
    await service.install(kestrel)
    service.clock.wait(minutes=5)
    await kestrel.event({"type": "tokens_revoked", "tokens": {"oauth": ["U1"]}})
    assert len(await service.stored()) == 1
    assert service.desk.heard == [("restored", KESTREL)]


async def test_one_workspace_that_leaves_leaves_alone(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace
) -> None:
    harbour = workspace(fake, "T0888", "Harbour Bank", "C2")
    await service.install(kestrel)
    await service.install(harbour)
    service.clock.wait(minutes=1)
    await kestrel.uninstall()
    assert isinstance(await service.slack.notifier.send(make_sending("T0888", "C2")), Sent)


@pytest.mark.parametrize("user", ["UBOTT0777", "UBOTT0888", "U1"])
async def test_the_bot_that_leaves_a_channel_is_that_workspaces_own(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace, user: str
) -> None:
    await service.install(kestrel)
    await service.install(workspace(fake, "T0888", "Harbour Bank", "C2"))
    await kestrel.event({"type": "member_left_channel", "user": user, "channel": "C1"})
    await kestrel.event({"type": "channel_deleted", "channel": "C9"})
    await service.desk.until("lost", f"{KESTREL}/C9")
    assert (("lost", f"{KESTREL}/C1") in [heard[:2] for heard in service.desk.heard]) is (user == kestrel.bot_user)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda: Fault.http(500), Unknown),
        (lambda: Fault.http(503), Unavailable),
        (Fault.reset_before, Unknown),
        (lambda: Fault.error("internal_error"), Unknown),
    ],
)
async def test_an_outage_is_no_removal(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace, fault: Any, expected: type
) -> None:
    await service.install(kestrel)
    fake.script("chat.postMessage", fault())
    assert isinstance(await service.slack.notifier.send(make_sending()), expected)
    assert service.desk.heard == [("restored", KESTREL)]
    assert isinstance(await service.slack.notifier.send(make_sending()), Sent)


# Checking, and the fake itself.


async def test_check_names_each_workspace_with_what_to_do(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace
) -> None:
    harbour = workspace(fake, "T0888", "Harbour Bank", "C2")
    await service.install(kestrel)
    await service.install(harbour)
    assert await service.slack.check() == []
    kestrel.tokens[kestrel.bot_token] = "account_inactive"
    (problem,) = await service.slack.check()
    assert problem.problem.startswith("workspace slack:T0777 (Kestrel News): the app was uninstalled")
    assert problem.remedy == f"install the app again at {service.url}/slack/install"
    fake.scopes -= {"groups:read"}
    fake.script("auth.test", Fault.http(500))
    first, second = await service.slack.check()
    assert "did not answer" in first.problem + second.problem
    assert ("lacks the scopes groups:read" in second.problem) or ("did not answer" in second.problem)


async def test_check_without_slack_or_without_a_store(service: Service, fake: FakeSlackApp) -> None:
    assert await http.check(database=None, public_url=service.url, api_url=fake.api_url) == []
    fake.script("api.test", Fault.http(503))
    (problem,) = await service.slack.check()
    assert "[slack] api_url" in problem.remedy


async def test_the_command_check_looks_at_each_workspace(
    service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace
) -> None:
    slack = {
        "client_id": fake.client_id,
        "client_secret": fake.client_secret,
        "signing_secret": fake.signing_secret,
        "public_url": service.url,
        "api_url": fake.api_url,
    }
    settings = config.Config(slack=slack, store={"path": service.database.path})  # type: ignore[arg-type]
    await service.install(kestrel)
    assert await checking._problems_of_slack(settings) == []
    kestrel.tokens[kestrel.bot_token] = "token_revoked"
    (problem,) = await checking._problems_of_slack(settings)
    assert "the bot token was revoked" in problem.problem
    nowhere = settings.model_copy(update={"store": config.Store(path=service.database.path.with_name("none.db"))})
    assert await checking._problems_of_slack(nowhere) == []


async def test_the_fakes_answers_are_slacks(service: Service, fake: FakeSlackApp, kestrel: FakeWorkspace) -> None:
    description = json.loads(shared.require("specs", "slack-web-openapi-v2.json").read_text())
    await service.install(kestrel)
    await service.slack.check()
    kestrel.tokens[kestrel.bot_token] = "token_revoked"
    await service.slack.check()
    fake.installer = kestrel, "UADMIN"
    async with service.browser() as browser:
        await service.open(browser, await foreign_code(service, browser))
    assert {call.method for call in fake.requests} == {"oauth.v2.access", "auth.test", "api.test"}
    for call in fake.requests:
        (operation,) = description["paths"][f"/{call.method}"].values()
        schema = operation["responses"]["200" if call.answer["ok"] else "default"]["schema"]
        jsonschema.Draft4Validator(schema | {"definitions": description["definitions"]}).validate(call.answer)
    (call, _) = fake.calls("oauth.v2.access")
    assert set(call.arguments) == {"code", "redirect_uri"}, "the secret stands in the header"
