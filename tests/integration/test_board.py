"""The board over HTTP, from a real store: who sees what, who is let in, and what every answer carries."""

import base64
import io
import json
import re
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestClient, TestServer

from bot import admin, app, config
from bot.detection.places import Gazetteer
from bot.domain import access as rules
from bot.domain import alert as alerts
from bot.domain import errors
from bot.domain.access import Organisation, OrganisationState
from bot.domain.post import Arrival, Deletion
from bot.ingest.source import SourceHealth
from bot.platforms.console import ConsoleNotifier
from bot.store import directory
from bot.web import server
from bot.web.board import Board
from bot.web.guard import Guard
from classifiers.api import Classification, Screening
from tests import factories
from tests.worlds import World, make_update

TOKEN = "correct horse battery staple"
PAGES = ("/", "/board/events", "/board/events/00000000000000e1", "/static/board.js")
HOSTILE = "<img src=x onerror=alert(1)> <!channel> @everyone \u202egnp.exe \u05e9\u05dc\u05d5\u05dd"


@pytest.fixture
def world(tmp_path) -> Iterator[World]:
    made = World(tmp_path / "tocsin.db")
    yield made
    made.close()


@pytest.fixture
def local(world) -> World:
    """With the organisation ``local``, which may see everything of every provider, and one event of three posts."""
    world.write(admin.first_run, world.now, ["*"])
    report(world)
    return world


def report(world: World, org: str = "local", **fields: Any) -> alerts.Alert:
    alert = factories.make_alert(**fields)
    steps = [world.candidate(key) for key in alert.evidence]
    world.record(alert, view=world.view(org), steps=steps)
    return alert


def restrict(world: World, *grants: tuple[str, tuple[str, ...]]) -> None:
    """The organisation ``local`` with these grants: provider and capabilities."""
    world.write(directory.add_organisation, Organisation(org="local", name="local", sector="self"), world.now)
    for provider, capabilities in grants:
        world.grant(org="local", provider=provider, capabilities=capabilities)


@asynccontextmanager
async def opened(world: World, token: str | None = None, **more: Any) -> AsyncIterator[TestClient]:
    asked = {name: more.pop(name) for name in ("on_login", "public") if name in more}
    guard = Guard(token=token, now=lambda: world.now, **asked)
    board = Board(world.database, guard, now=lambda: world.now)
    async with TestClient(TestServer(server.application(lambda: {"ok": True}, guard, board=board, **more))) as client:
        yield client


async def listed(client: TestClient, **query: str) -> dict[str, Any]:
    async with client.get("/board/events", params=query) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def detailed(client: TestClient, event: str = "00000000000000e1", **query: str) -> dict[str, Any]:
    async with client.get(f"/board/events/{event}", params=query) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def status(client: TestClient, path: str, **more: Any) -> int:
    async with client.get(path, allow_redirects=False, **more) as response:
        return response.status


def headlines(found: dict[str, Any]) -> list[str]:
    return [event["headline"] for event in found["events"]]


async def test_lists_the_last_revision_of_each_event_the_latest_first(local):
    report(local, event="00000000000000e2", headline="Flooding reported", raised_at=local.now + timedelta(minutes=1))
    local.record(
        make_update(headline="Explosion: 3 hurt", raised_at=local.now + timedelta(minutes=2)), view=local.view("local")
    )
    async with opened(local) as client:
        found = await listed(client)
    assert headlines(found) == ["Explosion: 3 hurt", "Flooding reported"]
    assert found["org"] == {"org": "local", "name": "local"}
    assert all(event["evidence"] == [] for event in found["events"])


async def test_an_event_opens_with_its_revisions_its_evidence_and_both_renderings(local):
    local.record(make_update(level=alerts.Level.FLASH, change="level alert → flash"), view=local.view("local"))
    async with opened(local) as client:
        found = await detailed(client)
    assert [each["kind"] for each in found["timeline"]] == ["new", "update"]
    assert found["timeline"][1]["change"] == "level alert → flash"
    assert [post["text"] for post in found["evidence"]["posts"]] == [f"text of bluesky|{key}" for key in "abc"]
    slack, discord = (json.dumps(found["previews"][name]) for name in ("slack", "discord"))
    assert "rich_text" in slack
    assert "embed" in discord
    assert all("text of bluesky" in rendered and "FLASH" in rendered for rendered in (slack, discord))
    assert [len(found["previews"][name]) for name in ("slack", "discord")] == [2, 2]


async def test_nothing_of_another_organisations_view_is_in_any_answer(local):
    local.org("Acme", grant="usgs")
    report(local, "Acme", event="00000000000000e9", headline="Only for Acme", sources=("usgs",), evidence=("usgs|z",))
    async with opened(local) as client:
        assert headlines(await listed(client)) == ["Explosion reported in Port Calder"]
        assert await status(client, "/board/events/00000000000000e9") == 404
        for path in ("/", "/board/events", "/board/events/00000000000000e9"):
            assert await status(client, path, params={"org": "Acme"}) == 403


async def test_without_the_capability_evidence_no_post_is_in_any_answer(world):
    restrict(world, ("*", ("alerts",)))
    report(world)
    async with opened(world) as client:
        found = await detailed(client)
        assert found["evidence"]["posts"] == []
        assert found["evidence"]["why"] == "local has no grant for evidence from bluesky"
        assert "text of" not in json.dumps([found, await listed(client)])


async def test_a_revocation_of_evidence_hides_the_posts_at_once(local):
    async with opened(local) as client:
        assert (await detailed(client))["evidence"]["posts"]
        local.revoke(org="local", capability="evidence")
        found = await detailed(client)
        assert found["evidence"]["posts"] == []
        assert "text of" not in json.dumps(found)


@pytest.mark.parametrize("order", [{"org": "local"}, {"org": "local", "provider": "bluesky"}])
async def test_a_revocation_empties_the_board_at_once(local, order):
    async with opened(local) as client:
        etag = (await client.get("/board/events")).headers["ETag"]
        local.revoke(**order)
        async with client.get("/board/events", headers={"If-None-Match": etag}) as response:
            found = await response.json()
        assert found["events"] == []
        assert await status(client, "/board/events/00000000000000e1") == 404
    assert ("the provider asked" in found["why"]) == ("provider" not in order)


async def test_a_revoked_category_disappears_and_the_rest_stays(local):
    report(local, event="00000000000000e2", category="flood", headline="Flooding reported")
    local.revoke(org="local", category="explosion")
    async with opened(local) as client:
        assert headlines(await listed(client)) == ["Flooding reported"]
        assert await status(client, "/board/events/00000000000000e1") == 404


async def test_a_suspended_organisation_sees_an_empty_board_that_says_so(local):
    local.act(admin.set_organisation_state, "local", OrganisationState.SUSPENDED)
    async with opened(local) as client:
        found = await listed(client)
    assert (found["events"], found["why"]) == ([], "local is suspended")


async def test_without_grants_the_board_is_empty_and_says_why(world):
    restrict(world)
    async with opened(world) as client:
        assert (await listed(client))["why"] == "local has no grant for alerts"


async def test_when_every_granted_provider_is_withdrawn_it_says_so(world):
    restrict(world, ("bluesky", ()))
    world.revoke(provider="bluesky")
    async with opened(world) as client:
        assert (await listed(client))["why"] == "every provider that local was granted is withdrawn"


async def test_where_there_is_no_local_organisation_it_says_what_to_do(world):
    world.org("Acme")
    async with opened(world) as client:
        found = await listed(client)
        assert await status(client, "/") == 200
    assert found["org"] is None
    assert "[web] token" in found["why"]
    assert "Acme" not in json.dumps(found)


async def test_without_history_what_is_older_than_a_day_is_gone_however_it_is_asked(world):
    restrict(world, ("*", ()))
    report(world)
    world.wait(hours=24)
    async with opened(world) as client:
        assert len(headlines(await listed(client, past="all"))) == 1
        world.wait(seconds=1)
        for past in ("day", "week", "month", "all"):
            found = await listed(client, past=past)
            assert (found["events"], found["history"]) == ([], False)
        assert await status(client, "/board/events/00000000000000e1") == 404


async def test_with_history_one_may_look_back(local):
    local.wait(days=3)
    report(local, event="00000000000000e2", headline="Flooding reported")
    async with opened(local) as client:
        assert headlines(await listed(client)) == ["Flooding reported"]
        assert len((await listed(client, past="week"))["events"]) == 2
        assert len((await detailed(client))["timeline"]) == 1


async def test_without_history_an_events_revisions_of_the_day_before_are_not_shown(world):
    restrict(world, ("*", ()))
    report(world)
    world.wait(hours=25)
    world.record(make_update(), view=world.view("local"))
    async with opened(world) as client:
        assert [each["revision"] for each in (await detailed(client))["timeline"]] == [2]


async def test_a_deleted_post_is_gone_from_evidence_and_renderings(local):
    async with opened(local) as client:
        assert "text of bluesky|a" in json.dumps(await detailed(client))
        local.record(view=local.view("local"), steps=[Deletion(provider="bluesky", id="a", deleted_at=local.now)])
        found = await detailed(client)
    assert "text of bluesky|a" not in json.dumps(found)
    assert found["evidence"]["gone"] == 1


async def test_hostile_text_arrives_as_text_in_json(local):
    hostile = f"</script>{HOSTILE}" + "x" * 4_000
    local.record(
        factories.make_alert(
            event="00000000000000e3", headline=HOSTILE, evidence=("bluesky|h",), quotes=("bluesky|h",)
        ),
        view=local.view("local"),
        steps=[local.candidate("bluesky|h", text=hostile, author="<b>", url="javascript:alert(1)")],
    )
    async with opened(local) as client, client.get("/board/events/00000000000000e3") as response:
        assert response.content_type == "application/json"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert (await response.json())["evidence"]["posts"][0]["text"] == hostile


async def test_an_unchanged_board_answers_304_and_a_changed_one_does_not(local):
    async with opened(local) as client:
        for path in ("/board/events", "/board/events/00000000000000e1", "/static/board.css"):
            async with client.get(path) as response:
                etag = response.headers["ETag"]
            assert await status(client, path, headers={"If-None-Match": etag}) == 304
        async with client.get("/board/events") as response:
            etag = response.headers["ETag"]
        local.record(make_update(), view=local.view("local"))
        assert await status(client, "/board/events", headers={"If-None-Match": etag}) == 200


@pytest.mark.parametrize("path", PAGES)
async def test_every_answer_carries_the_headers_that_keep_it_in_its_place(local, path):
    async with opened(local) as client, client.get(path) as response:
        policy = dict(
            each.strip().partition(" ")[::2] for each in response.headers["Content-Security-Policy"].split(";")
        )
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["Cache-Control"] == ("no-cache" if path.startswith("/static") else "no-store")
        body = await response.text()
    assert policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'"}
    if path == "/":
        assert "style=" not in body
        assert "<script>" not in body
        assert "//" not in body.replace("<!doctype html>", "")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8391", 200),
        ("127.0.0.1", 200),
        ("[::1]:8391", 200),
        ("evil.example", 403),
        ("localhost.evil.example", 403),
        ("127.0.0.1.evil.example:8391", 403),
        ("192.168.1.4", 403),
        ("", 403),
    ],
)
async def test_without_a_token_only_a_loopback_name_is_answered(local, host, expected):
    async with opened(local) as client:
        for path in PAGES:
            assert await status(client, path, headers={"Host": host}) == expected


@pytest.mark.parametrize(
    "header", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"]
)
async def test_without_a_token_nothing_but_health_is_answered_through_a_proxy(local, header):
    async with opened(local) as client:
        for path in (*PAGES, "/metrics"):
            async with client.get(path, headers={"Host": "127.0.0.1:8391", header: "x"}) as response:
                assert response.status == 403
                assert "came through a proxy; to serve it so, set token in [web]" in await response.text()
        assert await status(client, "/healthz", headers={header: "x"}) == 200


async def test_where_a_public_address_points_here_the_board_wants_a_token(local):
    async with opened(local, public=True) as client:
        for path in (*PAGES, "/metrics"):
            async with client.get(path, headers={"Host": "127.0.0.1:8391"}) as response:
                assert response.status == 403
                assert "to see the board too, set token in [web]" in await response.text()
        assert await status(client, "/healthz") == 200
    async with opened(local, TOKEN, public=True) as client:
        assert await status(client, "/board/events", headers={"Authorization": f"Bearer {TOKEN}"}) == 200


async def test_mounted_routes_have_no_part_in_the_guard(local):
    async def mounted(request: web.Request) -> web.Response:
        return web.Response(text="mounted")

    for token in (None, TOKEN):
        async with opened(local, token, public=True, routes=[web.post("/slack/events", mounted)]) as client:
            headers = {"Host": "slack.example", "X-Forwarded-For": "203.0.113.9"}
            async with client.post("/slack/events", headers=headers) as response:
                assert await response.text() == "mounted"


async def test_without_a_token_health_and_metrics_are_for_a_loopback_name(local):
    async with opened(local) as client:
        for path in ("/healthz", "/metrics"):
            assert await status(client, path, headers={"Host": "evil.example"}) == 403
            assert await status(client, path, headers={"Host": "localhost:8391"}) == 200


async def test_with_a_token_metrics_want_it_and_health_does_not(local):
    async with opened(local, TOKEN) as client:
        assert await status(client, "/healthz", headers={"Host": "board.example"}) == 200
        assert await status(client, "/metrics") == 401
        assert await status(client, "/metrics", headers={"Authorization": "Bearer wrong"}) == 401
        assert await status(client, "/metrics", headers={"Authorization": f"Bearer {TOKEN}"}) == 200
        async with client.post("/login", data={"token": TOKEN}) as response:
            assert response.status == 200
        assert await status(client, "/metrics") == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nothing_can_be_changed(local, method):
    async with opened(local) as client:
        for path in PAGES:
            async with client.request(method, path) as response:
                assert response.status == 405


async def test_only_files_of_the_board_are_served(local):
    async with opened(local) as client:
        for path in ("/static/board.html", "/static/..%2Fserver.py", "/static/nothing.js", "/static/%2e%2e/board.py"):
            assert await status(client, path) == 404


async def test_with_a_token_nothing_is_answered_without_it(local):
    async with opened(local, TOKEN) as client:
        assert await status(client, "/board/events") == 401
        assert await status(client, "/board/events/00000000000000e1") == 401
        assert await status(client, "/") == 303
        assert await status(client, "/login") == 200
        assert await status(client, "/board/events", cookies={"tocsin_board": "guess"}) == 401
        assert (
            await status(client, "/board/events", headers={"Authorization": f"Basic {base64.b64encode(b'a:b')}"}) == 401
        )
        assert await status(client, "/board/events", headers={"Authorization": f"Bearer {TOKEN}"}) == 200


async def test_signing_in_sets_a_cookie_that_lasts_half_a_day(local):
    heard = []

    async def on_login(ok: bool, remote: str) -> None:
        heard.append((ok, remote))

    async with opened(local, TOKEN, on_login=on_login) as client:
        async with client.post("/login", data={"token": "wrong"}, allow_redirects=False) as response:
            assert response.status == 401
            assert "this is not the board's token" in await response.text()
            assert "Set-Cookie" not in response.headers
        async with client.post("/login", data={"token": TOKEN}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/")
            cookie = response.headers["Set-Cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert TOKEN not in cookie
        assert len((await listed(client))["events"]) == 1
        local.wait(hours=12)
        assert await status(client, "/board/events") == 401
    assert heard == [(False, "127.0.0.1"), (True, "127.0.0.1")]


async def test_behind_https_the_cookie_is_for_https_alone(local):
    async with opened(local, TOKEN) as client:
        for headers, secure in (({}, False), ({"X-Forwarded-Proto": "https"}, True)):
            async with client.post("/login", data={"token": TOKEN}, headers=headers, allow_redirects=False) as response:
                assert ("Secure" in response.headers["Set-Cookie"]) == secure


async def guess(client: TestClient, **headers: str) -> int:
    return await status(client, "/board/events", headers={"Authorization": "Bearer wrong"} | headers)


async def test_after_five_wrong_tokens_further_ones_are_not_heard_for_five_minutes(local):
    heard = []

    async def on_login(ok: bool, remote: str) -> None:
        heard.append(ok)

    async with opened(local, TOKEN, on_login=on_login) as client:
        for _ in range(4):
            assert await guess(client) == 401
        async with client.post("/login", data={"token": "wröng\N{GRINNING FACE}"}) as response:
            assert response.status == 401
        for _ in range(3):
            async with client.post("/login", data={"token": "wrong"}, allow_redirects=False) as response:
                assert response.status == 429
                assert response.headers["Retry-After"] == "300"
        assert heard == [False] * 5
        local.wait(minutes=5)
        assert await guess(client) == 401


async def test_the_right_token_always_opens_however_many_were_wrong(local):
    async with opened(local, TOKEN) as client:
        while await guess(client) == 401:
            pass
        assert await status(client, "/board/events", headers={"Authorization": f"Bearer {TOKEN}"}) == 200
        async with client.post("/login", data={"token": TOKEN}, allow_redirects=False) as response:
            assert response.status == 303


async def test_behind_a_proxy_here_who_guesses_is_known_by_the_last_address_that_it_names(local):
    heard = []

    async def on_login(ok: bool, remote: str) -> None:
        heard.append(remote)

    async with opened(local, TOKEN, on_login=on_login) as client:
        for forged in range(5):
            assert await guess(client, **{"X-Forwarded-For": f"198.51.100.{forged}, 203.0.113.9"}) == 401
        assert await guess(client, **{"X-Forwarded-For": "203.0.113.9"}) == 429
        assert await guess(client, **{"X-Forwarded-For": "203.0.113.10"}) == 401
        assert await guess(client, **{"X-Forwarded-For": "2001:db8::1%<b>"}) == 401
        assert await guess(client, **{"X-Forwarded-For": "<script>"}) == 401
    assert heard == ["203.0.113.9"] * 5 + ["203.0.113.10", "2001:db8::1", "127.0.0.1"]


def test_a_token_that_could_be_guessed_is_refused(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(f'[web]\ntoken = "{"x" * 15} "\n')
    with pytest.raises(errors.UsageError, match=r"web\.token: is shorter than 16 characters .* make one with"):
        config.load(path)
    path.write_text(f'[web]\ntoken = "{"x" * 16}"\n')
    assert config.load(path).web.token is not None


class Deaf:
    """A classifier that takes no post for a report."""

    version = "deaf"

    def screen(self, texts: Sequence[str]) -> list[bool]:
        return [False] * len(texts)

    def screening(self, text: str) -> Screening:
        raise NotImplementedError

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        raise NotImplementedError


class Passer:
    """A source that asks for the board as soon as the service has ``printed`` its address, then stops the service."""

    name = provider = "passer"
    live = False

    def __init__(self, printed: Callable[[], str]) -> None:
        self.health = SourceHealth()
        self.answered: list[tuple[int, str]] = []
        self._printed = printed

    async def posts(self, after: str | None) -> AsyncGenerator[Arrival, None]:
        try:
            address = re.search(r"^board: (http://127\.0\.0\.1:\d+)$", self._printed(), re.MULTILINE)
            assert address is not None
            async with ClientSession() as session, session.get(f"{address[1]}/board/events") as response:
                self.answered.append((response.status, await response.text()))
        finally:
            signal.raise_signal(signal.SIGTERM)
        return
        yield


async def passed(
    world: World, printed: Callable[[], str], *routes: web.AbstractRouteDef, public: bool = False
) -> tuple[int, str]:
    """What the running service's board answers to somebody on this machine, without a token."""
    passer = Passer(printed)
    service = app.Service(world.database, Deaf(), Gazetteer.from_geonames({}, {}, {}))
    service.use({"console": ConsoleNotifier(io.StringIO())})
    await service.run([passer], {}, config.Web(port=0), list(routes), public=public)
    return passer.answered[0]


async def test_the_service_prints_where_the_board_is_beside_its_log(world, capsys):
    assert (await passed(world, lambda: capsys.readouterr().err))[0] == 200


async def test_a_service_with_a_public_address_keeps_its_board_to_those_with_the_token(world, capsys):
    async def mounted(request: web.Request) -> web.Response:
        raise NotImplementedError

    status, why = await passed(world, lambda: capsys.readouterr().err, web.post("/slack/events", mounted), public=True)
    assert (status, "a public address points here for Slack" in why) == (403, True)


async def test_another_site_cannot_send_the_login_form(local):
    async with opened(local, TOKEN) as client:
        async with client.post(
            "/login", data={"token": TOKEN}, headers={"Sec-Fetch-Site": "cross-site"}, allow_redirects=False
        ) as response:
            assert response.status == 403


async def test_with_the_token_one_may_choose_among_all_organisations(local):
    acme = local.org("Acme", grant="usgs")
    report(local, "Acme", event="00000000000000e9", headline="Only for Acme", sources=("usgs",), evidence=("usgs|z",))
    async with opened(local, TOKEN) as client:
        client.session.headers["Authorization"] = f"Bearer {TOKEN}"
        found = await listed(client)
        assert [each["name"] for each in found["organisations"]] == ["Acme", "local"]
        assert headlines(found) == ["Explosion reported in Port Calder"]
        for name in ("acme", acme.org):
            assert headlines(await listed(client, org=name)) == ["Only for Acme"]
        assert (await detailed(client, "00000000000000e9", org="Acme"))["event"]["headline"] == "Only for Acme"
        assert await status(client, "/board/events/00000000000000e1", params={"org": "Acme"}) == 404
        assert await status(client, "/board/events", params={"org": "Nobody"}) == 404


async def test_with_the_token_and_no_local_organisation_one_is_asked_to_choose(world):
    world.org("Acme")
    async with opened(world, TOKEN) as client:
        client.session.headers["Authorization"] = f"Bearer {TOKEN}"
        found = await listed(client)
    assert (found["why"], [each["name"] for each in found["organisations"]]) == ("choose an organisation", ["Acme"])


async def test_the_view_that_is_read_is_the_one_permitted_now(local):
    local.revoke(org="local", provider="x")
    assert local.view("local") == rules.ProviderSet.parse("*!x")
    async with opened(local) as client:
        assert (await listed(client))["events"] == []
        local.record(factories.make_alert(headline="Without x"), view=local.view("local"))
        assert headlines(await listed(client)) == ["Without x"]


async def test_an_unknown_span_is_refused(local):
    async with opened(local) as client:
        assert await status(client, "/board/events", params={"past": "century"}) == 400
