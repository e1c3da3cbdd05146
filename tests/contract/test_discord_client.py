"""The connection: logging in, commands, losses and outages, reconnecting, closing without a trace."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import yarl

from bot.domain.channel import Channel
from bot.domain.delivery import Rejected, Scope, Sent, Unavailable
from bot.domain.errors import TocsinError
from bot.platforms import base
from bot.platforms.discord import client, discord
from tests import factories
from tests.fakes import discord as fakes

SUBCOMMANDS = (
    base.Subcommand(
        command="tocsin-admin",
        name="revoke",
        description="Withdraw access",
        options=(
            base.Option(name="org", description="Organisation"),
            base.Option(name="provider", description="Provider", multiple=True),
            base.Option(name="reason", description="Why", required=True),
            base.Option(name="retract", description="Also remove what was sent", flag=True),
        ),
    ),
    base.Subcommand(
        command="tocsin-admin",
        name="reinstate",
        description="Give access back",
        options=(base.Option(name="revocation", description="Which", required=True, positional=True),),
    ),
    base.Subcommand(command="tocsin", name="help", description="What there is"),
)


@pytest.fixture
async def fake() -> AsyncIterator[fakes.FakeDiscord]:
    async with fakes.FakeDiscord() as fake:
        yield fake
        assert not fake.unfired()


@pytest.fixture
def desk() -> fakes.FakeDesk:
    return fakes.FakeDesk(*SUBCOMMANDS, reply="Acme is revoked.")


def connect(fake: fakes.FakeDiscord, desk: fakes.FakeDesk, **fields: Any) -> client.Discord:
    settings: dict[str, Any] = {"token": fake.token, "api_url": fake.api_url, "gateway_url": fake.gateway_url}
    return client.Discord(desk=desk, backoff=lambda _: timedelta(milliseconds=10), **settings | fields)


async def test_commands_are_registered_once_and_only_when_they_changed(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    for _ in range(2):
        before = len(fake.calls("get_commands"))
        async with connect(fake, desk):
            await fake.until(lambda before=before: len(fake.calls("get_commands")) > before)  # type: ignore[misc]
    assert len(fake.calls("put_commands")) == 1
    by_name = {command["name"]: command for command in fake.commands}
    assert by_name["tocsin-admin"]["default_member_permissions"] == "8"
    assert by_name["tocsin"]["default_member_permissions"] is None
    options = by_name["tocsin-admin"]["options"][0]["options"]
    assert [option["name"] for option in options] == ["reason", "org", "provider", "retract"]


async def test_removal_is_loss_and_outage_is_not(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    async with connect(fake, desk):
        await desk.until("restored discord:100")
        desk.heard.clear()
        await fake.outage("100")
        await fake.outage_over("100")
        await desk.until("restored discord:100")
        await fake.delete_channel("200")
        await desk.until("lost discord:100/200")
        await fake.kick("100")
        await desk.until("lost discord:100")
    assert desk.heard == ["restored discord:100", "lost discord:100/200", "lost discord:100"]


@pytest.mark.parametrize("by_role_of_its_own", [True, False])
async def test_channels_in_which_the_bot_may_post_again_are_restored(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk, by_role_of_its_own: bool
) -> None:
    fake.guilds["100"].channels.append("201")
    async with connect(fake, desk):
        await fake.until(lambda: bool(fake.calls("get_commands")))
        assert set(desk.heard) == {"restored discord:100"}
        await (fake.give_role("100") if by_role_of_its_own else fake.permit("100", fakes.MAY_POST))
        await desk.until("restored discord:100/201")
        assert "restored discord:100/200" in desk.heard
    desk.heard.clear()
    async with connect(fake, desk):
        await desk.until("restored discord:100/201")


async def test_a_removal_while_disconnected_is_noticed_at_the_next_ready(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    async with connect(fake, desk):
        await desk.until("restored discord:100")
        del fake.guilds["100"]
        await fake.send_raw("{not json")
        await desk.until("lost discord:100")


async def test_a_dropped_gateway_resumes_and_misses_nothing(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    async with connect(fake, desk) as platform:
        await desk.until("restored discord:100")
        for resumed, break_off in enumerate((fake.drop, fake.ask_to_reconnect), start=1):
            await break_off()
            await fake.join(f"30{resumed}", [])
            await fake.until(lambda resumed=resumed: fake.resumed == resumed)  # type: ignore[misc]
            await desk.until(f"restored discord:30{resumed}")
        assert await fake.slash("tocsin", "help") == "Acme is revoked."
        assert platform.state == "connected"
        assert await platform.check() is None
    assert fake.identified == 1
    assert platform.state == "closed"


async def test_an_event_that_comes_while_closing_is_no_trouble(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    async with connect(fake, desk):
        await fake.connected()
    async with connect(fake, desk):
        pass


async def test_garbage_on_the_gateway_means_connecting_anew(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    async with connect(fake, desk):
        await fake.connected()
        await fake.send_raw("{not json")
        await fake.until(lambda: fake.identified == 2)


async def test_a_refused_token_stops_the_start_with_a_remedy(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    before = discord.http.Route.BASE, discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY
    for token in ("wrong", "", "wröng", "a\nb"):
        with pytest.raises(TocsinError, match=r"refused the bot's token; put a new token into config\.toml"):
            async with connect(fake, desk, token=token):
                pass
    assert before == (discord.http.Route.BASE, discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY)
    assert await client.check(token=fake.token, api_url=fake.api_url) is None
    problem = await client.check(token="wrong", api_url=fake.api_url)
    assert problem is not None
    assert "refused" in problem.problem


async def test_a_token_revoked_in_operation_is_said_so_and_sends_are_held(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    async with connect(fake, desk) as platform:
        await fake.connected()
        fake.token = "new"
        before = len(fake.calls("me"))
        await fake.drop(4004)
        await fake.until(lambda: len(fake.calls("me")) > before)
        async with asyncio.timeout(5):
            while platform.state != "refused":
                await asyncio.sleep(0.01)
        outcome = await platform.notifier.send(factories.make_sending())
        problem = await platform.check()
    assert isinstance(outcome, Rejected)
    assert outcome.scope is Scope.PLATFORM
    assert problem is not None
    assert "config.toml" in problem.remedy


async def test_the_invite_link_asks_for_the_application_of_the_token_and_the_least_permissions(
    fake: fakes.FakeDiscord,
) -> None:
    application = await client.application_id(token=fake.token, api_url=fake.api_url)
    assert str(application) == fakes.APPLICATION
    link = yarl.URL(client.invite_url(application))
    assert (link.host, link.path) == ("discord.com", "/oauth2/authorize")
    assert (link.query["client_id"], link.query["scope"]) == (fakes.APPLICATION, "bot applications.commands")
    asked = {name for name, wanted in discord.Permissions(int(link.query["permissions"])) if wanted}
    # What people see as View Channel is called read_messages in discord.py.
    assert asked == {
        "read_messages", "send_messages", "send_messages_in_threads", "create_public_threads", "embed_links",
        "read_message_history",
    }  # fmt: skip
    with pytest.raises(TocsinError, match=r"refused the bot's token; put a new token into config\.toml"):
        await client.application_id(token="wrong", api_url=fake.api_url)
    with pytest.raises(TocsinError, match=r"cannot be reached: \w+; check the network"):
        await client.application_id(token=fake.token, api_url="http://127.0.0.1:9/api/v10")


async def test_without_a_network_at_the_start_the_connection_comes_later(desk: fakes.FakeDesk) -> None:
    async with fakes.FakeDiscord() as gone:
        port = gone._port
    async with connect(gone, desk) as platform:
        assert platform.state == "starting"
        assert await platform.check() is not None
        sending = factories.make_sending(channel=Channel("discord", "100", "200"))
        assert isinstance(await platform.notifier.send(sending), Unavailable)
        async with fakes.FakeDiscord(port=port) as fake:
            await desk.until("restored discord:100")
            assert isinstance(await platform.notifier.send(sending), Sent)
            assert len(fake.messages("200")) == 1
            await platform.__aexit__(None, None, None)


async def test_http_works_while_the_gateway_is_down(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    # A port that nobody listens on.
    async with connect(fake, desk, gateway_url="ws://127.0.0.1:9/") as platform:
        sending = factories.make_sending(channel=Channel("discord", "100", "200"))
        assert isinstance(await platform.notifier.send(sending), Sent)
        assert platform.state == "reconnecting"


async def test_closing_leaves_no_task_and_no_thread_behind(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    before = asyncio.all_tasks()
    async with connect(fake, desk):
        await desk.until("restored discord:100")
    left = {task for task in asyncio.all_tasks() - before if "discord" in task.get_name()}
    assert not left
