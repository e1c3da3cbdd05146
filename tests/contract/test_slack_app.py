"""The whole Slack side, with the real slack-bolt over a real WebSocket: connecting, commands, events, losses."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from bot.domain.delivery import Rejected, Scope, Sent
from bot.domain.errors import TocsinError
from bot.platforms import base
from bot.platforms.slack import app
from tests import factories
from tests.fakes.slack import FakeSlack, Fault

CHANNEL = "C0456"
TEAM = "slack:T0123"


@dataclass
class Desk:
    """Notes what it is told; answers with what it was asked, or as the test says."""

    subcommands: tuple[base.Subcommand, ...] = ()
    asked: list[base.Invocation] = field(default_factory=list)
    heard: list[tuple[str, ...]] = field(default_factory=list)
    reply: Callable[[base.Invocation], str] = lambda invocation: " | ".join(invocation.argv)
    gate: asyncio.Event | None = None
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def answer(self, invocation: base.Invocation) -> str:
        self.asked.append(invocation)
        if self.gate is not None:
            await self.gate.wait()
        return self.reply(invocation)

    async def form(self, invocation: base.Invocation) -> base.Form | None:
        return None

    async def lost(self, target: str, reason: str) -> None:
        await self._hear("lost", target, reason)

    async def restored(self, target: str) -> None:
        await self._hear("restored", target)

    async def _hear(self, *what: str) -> None:
        async with self.news:
            self.heard.append(what)
            self.news.notify_all()

    async def until(self, *what: str) -> tuple[str, ...]:
        """The first thing heard that begins with ``what``."""

        def found() -> tuple[str, ...] | None:
            return next((heard for heard in self.heard if heard[: len(what)] == what), None)

        async with asyncio.timeout(10), self.news:
            await self.news.wait_for(lambda: found() is not None)
        heard = found()
        assert heard is not None
        return heard


@pytest.fixture
async def fake() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        fake.add_channel(CHANNEL)
        fake.add_user("U1")
        fake.add_user("UADMIN", admin=True)
        fake.add_user("UOWNER", owner=True)
        yield fake
        assert fake.unfired() == []


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@contextlib.asynccontextmanager
async def running(fake: FakeSlack, desk: Desk, **settings: object) -> AsyncIterator[app.Slack]:
    """The service's Slack; afterwards nothing of it may be left."""
    before = asyncio.all_tasks()
    arguments = {"bot_token": fake.bot_token, "app_token": fake.app_token, "api_url": fake.api_url} | settings
    slack = app.Slack(desk=desk, backoff=lambda _: 0.0, **arguments)  # type: ignore[arg-type]
    async with slack:
        yield slack
    left = [task for task in asyncio.all_tasks() - before if "slack" in task.get_name() or "SocketMode" in repr(task)]
    assert left == []


async def test_connects_introduces_itself_and_delivers(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk) as slack:
        assert slack.state is app.State.CONNECTED
        assert slack.problem is None
        assert slack.team == "T0123"
        assert desk.heard == [("restored", TEAM)]
        assert await slack.check() is None
        sent = await slack.notifier.send(factories.make_sending(created_at=datetime.now(UTC)))
        assert isinstance(sent, Sent)
    assert len(fake.messages(CHANNEL)) == 1


@pytest.mark.parametrize(
    ("said", "heard"),
    [("Coast.GOV", ["coast.gov"]), ("a.example, b.example", ["a.example", "b.example"]), ("", []), (None, [])],
)
async def test_it_learns_where_the_workspaces_people_have_their_e_mail(
    fake: FakeSlack, desk: Desk, said: str | None, heard: list[str]
) -> None:
    found: list[tuple[str, str]] = []

    async def on_domain(workspace: str, domain: str) -> None:
        found.append((workspace, domain))

    if said is None:
        fake.scopes -= {"team:read"}
    fake.email_domain = said or ""
    async with running(fake, desk, on_domain=on_domain) as slack:
        assert slack.state is app.State.CONNECTED
    assert found == [(TEAM, domain) for domain in heard]


@pytest.mark.parametrize(("user", "admin"), [("U1", False), ("UADMIN", True), ("UOWNER", True), ("UNKNOWN", False)])
async def test_a_command_reaches_the_desk_and_its_reply_the_asker(
    fake: FakeSlack, desk: Desk, user: str, admin: bool
) -> None:
    async with running(fake, desk):
        reply = await fake.slash(
            "/tocsin-admin", "revoke —org “Acme & Sons” --reason 'no <b>'", user=user, channel="C1"
        )
    assert reply == "revoke | --org | Acme & Sons | --reason | no <b>"
    (invocation,) = desk.asked
    assert invocation.command == "tocsin-admin"
    assert invocation.argv == ("revoke", "--org", "Acme & Sons", "--reason", "no <b>")
    assert invocation.actor == f"slack:T0123/{user}"
    assert str(invocation.channel) == "slack:T0123/C1"
    assert invocation.workspace_admin is admin
    assert fake.envelopes[0].replies[0]["response_type"] == "ephemeral"


async def test_a_command_is_acknowledged_before_it_is_answered(fake: FakeSlack, desk: Desk) -> None:
    desk.gate = asyncio.Event()
    async with running(fake, desk):
        answer = asyncio.create_task(fake.slash("/tocsin", "help", user="U1", channel="C1"))
        await fake.wait_for(lambda: bool(fake.envelopes) and fake.envelopes[0].acked.is_set())
        assert fake.envelopes[0].replies == []
        desk.gate.set()
        assert await answer == "help"
    envelope = fake.envelopes[0]
    assert envelope.acked_at is not None
    assert envelope.replied_at is not None
    assert envelope.acked_at < envelope.replied_at


async def test_a_command_waits_neither_for_nor_on_a_users_info_that_fails(fake: FakeSlack, desk: Desk) -> None:
    fake.script("users.info", Fault.http(500))
    async with running(fake, desk):
        assert await fake.slash("/tocsin", "help", user="UADMIN", channel="C1") == "help"
    assert desk.asked[0].workspace_admin is False


async def test_an_open_quotation_mark_is_explained(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk):
        reply = await fake.slash("/tocsin", 'subscribe --place "Port', user="U1", channel="C1")
    assert "quotation mark is not closed" in reply
    assert desk.asked == []


async def test_a_hostile_reply_stays_text_and_a_long_one_is_cut(fake: FakeSlack, desk: Desk) -> None:
    desk.reply = lambda _: "<!channel> *loud* & " + "x" * 50_000
    async with running(fake, desk):
        await fake.slash("/tocsin", "help", user="U1", channel="C1")
    (reply,) = fake.envelopes[0].replies
    assert "<!channel>" not in str(reply)
    assert len(str(reply)) < 13_200


async def test_a_reply_keeps_its_lines_and_its_words(fake: FakeSlack, desk: Desk) -> None:
    desk.reply = lambda _: "terror_attack · *\nline <2>"
    async with running(fake, desk):
        assert await fake.slash("/tocsin", "subscriptions", user="U1", channel="C1") == "terror_attack · *\nline <2>"


async def test_a_fault_inside_the_desk_is_answered_and_logged(fake: FakeSlack, desk: Desk) -> None:
    def fail(_: base.Invocation) -> str:
        raise RuntimeError("a bug")

    desk.reply = fail
    async with running(fake, desk):
        reply = await fake.slash("/tocsin", "help", user="U1", channel="C1")
    assert "fault inside Tocsin" in reply


@pytest.mark.parametrize(
    ("event", "heard"),
    [
        ({"type": "app_uninstalled"}, ("lost", TEAM)),
        ({"type": "tokens_revoked", "tokens": {"bot": ["UBOT"]}}, ("lost", TEAM)),
        ({"type": "member_left_channel", "user": "UBOT", "channel": "C1"}, ("lost", f"{TEAM}/C1")),
        ({"type": "channel_left", "channel": "C1", "actor_id": "U1"}, ("lost", f"{TEAM}/C1")),
        ({"type": "group_left", "channel": "G1"}, ("lost", f"{TEAM}/G1")),
        ({"type": "channel_deleted", "channel": "C1"}, ("lost", f"{TEAM}/C1")),
        ({"type": "channel_archive", "channel": "C1", "user": "U1"}, ("lost", f"{TEAM}/C1")),
        ({"type": "channel_unarchive", "channel": "C1", "user": "U1"}, ("restored", f"{TEAM}/C1")),
        ({"type": "member_joined_channel", "user": "UBOT", "channel": "C1"}, ("restored", f"{TEAM}/C1")),
    ],
)
async def test_losses_and_returns_reach_the_desk(
    fake: FakeSlack, desk: Desk, event: dict[str, object], heard: tuple[str, str]
) -> None:
    async with running(fake, desk):
        desk.heard.clear()
        await fake.event(event)
        found = await desk.until(*heard)
    assert len(found) == 2 or found[2], "a loss says why and what to do"


@pytest.mark.parametrize(
    "event",
    [
        {"type": "tokens_revoked", "tokens": {"oauth": ["U1"]}},
        {"type": "member_left_channel", "user": "U1", "channel": "C1"},
        {"type": "member_joined_channel", "user": "U1", "channel": "C1"},
    ],
)
async def test_what_happens_to_others_is_none_of_our_business(
    fake: FakeSlack, desk: Desk, event: dict[str, object]
) -> None:
    async with running(fake, desk):
        desk.heard.clear()
        await fake.event(event)
        # Events are handled in order of arrival: once the next one is heard, the first has been ignored.
        await fake.event({"type": "channel_deleted", "channel": "C9"})
        await desk.until("lost", f"{TEAM}/C9")
    assert len(desk.heard) == 1


async def test_a_new_connection_is_made_when_slack_asks_and_commands_go_on(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk):
        await fake.disconnect()
        await fake.connected(at_least=2)
        assert await fake.slash("/tocsin", "help", user="U1", channel="C1") == "help"
    assert desk.heard == [("restored", TEAM), ("restored", TEAM)]


async def test_a_dropped_connection_is_made_again_with_a_new_address(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk):
        fake.script("apps.connections.open", Fault.http(503), Fault.rate_limited(0), Fault.reset_before())
        await fake.drop()
        await fake.connected(at_least=2)
        assert await fake.slash("/tocsin", "help", user="U1", channel="C1") == "help"
    assert len(fake.calls("apps.connections.open")) == 5


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"bot_token": "xoxb-wrong"}, "[slack] bot_token"),
        ({"bot_token": ""}, "[slack] bot_token"),
        ({"app_token": "xapp-wrong"}, "[slack] app_token"),
    ],
)
async def test_a_bad_token_stops_the_start_with_one_sentence(
    fake: FakeSlack, desk: Desk, settings: dict[str, str], words: str
) -> None:
    with pytest.raises(TocsinError) as caught:
        async with running(fake, desk, **settings):
            pytest.fail("must not start")
    assert words in str(caught.value)
    assert "wrong" not in str(caught.value)
    problem = await app.check(
        **{"bot_token": fake.bot_token, "app_token": fake.app_token, "api_url": fake.api_url} | settings
    )
    assert problem is not None
    assert words in problem.remedy


async def test_an_outage_at_the_start_only_delays(fake: FakeSlack, desk: Desk) -> None:
    fake.script("auth.test", Fault.reset_before(), Fault.http(502))
    async with running(fake, desk) as slack:
        assert slack.state is app.State.UNREACHABLE
        assert slack.problem is not None
        await fake.connected()
        await fake.slash("/tocsin", "help", user="U1", channel="C1")
        assert slack.state is app.State.CONNECTED
        assert slack.problem is None


async def test_with_nothing_listening_the_service_starts_and_stops(desk: Desk) -> None:
    async with FakeSlack() as gone:
        pass
    async with running(gone, desk) as slack:
        assert slack.state is app.State.UNREACHABLE
        problem = await slack.check()
        assert problem is not None
        assert "api_url" in problem.remedy


async def test_a_token_revoked_while_running_costs_the_workspace_and_nothing_else(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk) as slack:
        fake.revoke_token()
        outcome = await slack.notifier.send(factories.make_sending(created_at=datetime.now(UTC)))
        assert isinstance(outcome, Rejected)
        assert outcome.scope is Scope.WORKSPACE
        await fake.drop()
        lost = await desk.until("lost", TEAM)
        assert "revoked" in lost[2]
        asked = len(fake.calls("auth.test"))
        assert slack.state is app.State.REFUSED
    assert len(fake.calls("auth.test")) == asked == 2, "one at the start, one that was refused, no spinning"


async def test_what_the_body_raises_comes_out_as_it_is(fake: FakeSlack, desk: Desk) -> None:
    with pytest.raises(TocsinError, match=r"^mine$"):
        async with running(fake, desk):
            raise TocsinError("mine")


async def test_check_names_missing_scopes(fake: FakeSlack) -> None:
    fake.scopes -= {"users:read"}
    problem = await app.check(bot_token=fake.bot_token, app_token=fake.app_token, api_url=fake.api_url)
    assert problem == app.Problem(
        problem="the Slack app lacks the scopes users:read",
        remedy="add them under OAuth & Permissions and reinstall the app to the workspace",
    )


async def test_closing_lets_an_answer_under_way_arrive(fake: FakeSlack, desk: Desk) -> None:
    desk.gate = asyncio.Event()
    async with running(fake, desk):
        answer = asyncio.create_task(fake.slash("/tocsin", "help", user="U1", channel="C1"))
        await fake.wait_for(lambda: bool(desk.asked))
        asyncio.get_running_loop().call_soon(desk.gate.set)
    assert await answer == "help"


async def test_a_hanging_api_does_not_hold_up_the_start_for_long(fake: FakeSlack, desk: Desk) -> None:
    fake.script("auth.test", Fault.hang_before())
    async with running(fake, desk, timeout=timedelta(seconds=0.3)):
        await fake.connected()
