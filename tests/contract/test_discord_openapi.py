"""The bot's requests and the fake's answers against Discord's own description of its API.

The description is lax about content over 2,000, unknown properties, capitals in command names and 6,000 characters over
all embeds; the fake and the golden tests see to those.
"""

import asyncio
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import jsonschema
import pytest

from bot.domain.channel import Channel
from bot.domain.delivery import Acknowledgement, Act, Message
from bot.platforms import base
from bot.platforms.discord.client import Discord
from tests import factories, shared
from tests.fakes import discord as fakes

SUBCOMMANDS = (
    base.Subcommand(
        command="tocsin-admin",
        name="revoke",
        description="Withdraw access",
        options=(
            base.Option(name="org", description="Organisation"),
            base.Option(name="capability", description="What", choices=("alerts", "evidence")),
            base.Option(name="reason", description="Why", required=True),
            base.Option(name="retract", description="Also remove what was sent", flag=True),
            base.Option(name="provider", description="Whose posts", completes=True),
        ),
    ),
    base.Subcommand(command="tocsin", name="help", description="What there is"),
)

FIELDS = (
    base.Field(name="reason", label="Reason", kind=base.FieldKind.TEXT, required=True, hint="Goes into the audit"),
    base.Field(
        name="what",
        label="What",
        kind=base.FieldKind.CHOICES,
        choices=(("alerts", "Alerts"), ("evidence", "Evidence")),
        initial=("alerts", "evidence"),
    ),
    base.Field(name="how", label="How", kind=base.FieldKind.CHOICE, choices=(("now", "Now"),), required=True,
               initial=("now",)),
)  # fmt: skip

Validate = Callable[[fakes.Request], Iterator[str]]


@pytest.fixture(scope="module")
def complaints() -> Validate:
    """Answers, for one recorded request, everything that the description has against it and its answer."""
    spec = json.loads(shared.require("specs", "discord-openapi.json").read_text(encoding="utf-8"))
    paths = [(re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))), path) for path in spec["paths"]]

    def against(schema: dict[str, Any], body: Any) -> Iterator[str]:
        validator = jsonschema.Draft202012Validator({**schema, "components": spec["components"]})
        for error in validator.iter_errors(body):
            yield f"{error.json_path}: {error.message[:300]}"

    def complaints(request: fakes.Request) -> Iterator[str]:
        # "@original" and "@me" are paths of their own, and so is what only looks like them.
        fitting = [path for pattern, path in paths if pattern.fullmatch(request.path)]
        if not fitting:
            yield f"{request.method} {request.path}: no such path"
            return
        operation = spec["paths"][min(fitting, key=lambda path: path.count("{"))][request.method.lower()]
        if request.body is not None:
            schema = operation["requestBody"]["content"]["application/json"]["schema"]
            yield from (f"{request.operation}: request {text}" for text in against(schema, request.body))
        answer = operation["responses"].get(str(request.status)) or operation["responses"].get("4XX")
        if answer is None:
            yield f"{request.operation}: {request.status} is not a documented answer"
        elif request.response is not None:
            while "$ref" in answer:
                answer = spec["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
            schema = answer["content"]["application/json"]["schema"]
            yield from (f"{request.operation}: answer {text}" for text in against(schema, request.response))

    return complaints


async def test_everything_said_fits_discord_s_own_description(complaints: Validate) -> None:
    desk = fakes.FakeDesk(*SUBCOMMANDS, reply="word\n" * 1000)
    async with fakes.FakeDiscord() as fake:
        async with Discord(token=fake.token, desk=desk, api_url=fake.api_url, gateway_url=fake.gateway_url) as platform:
            await fake.until(lambda: bool(fake.commands))
            await every_act(fake, platform)
            await fake.slash("tocsin-admin", "revoke", {"org": "Acme", "reason": "asked", "retract": True})
            await fake.until(lambda: bool(fake.calls("followup")))
            await every_question(fake, desk)

    assert [text for request in fake.requests for text in complaints(request)] == []
    seen = {request.operation for request in fake.requests}
    # Nobody reads a channel or the first reply back: the bot has no need to.
    assert {operation for *_, operation in fakes.ROUTES} - seen == {"get_channel", "original_get"}


async def every_question(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    desk.reply = "Done."
    message = next(each for each in fake.messages("200") if each["components"])
    for button in ("Acknowledge", "Not relevant", "Show sources", "Why did I get this?"):
        await fake.press(message, button)
    await fake.press(message, "Mute…", "today")
    desk.suggests = ["bluesky", "usgs"]
    await fake.complete("tocsin-admin", "revoke", "provider", "u")
    desk.opens = base.Form(title="Withdraw", state="s", fields=FIELDS)
    desk.faults = base.Faults(fields={"reason": "Say why."})
    modal = await fake.slash_for_form("tocsin-admin", "revoke")
    await fake.submit(modal, {"reason": "asked"})
    again = await fake.press_for_form(fake.shown(), "Try again")
    desk.faults = None
    await fake.submit(again, {"what": ["alerts"]})
    fake.script("callback", fakes.refused(400, 40060))
    desk.opens = None
    refused = asyncio.create_task(fake.press(message, "Acknowledge"))
    await fake.until(lambda: fake.calls("callback")[-1].status == 400)
    refused.cancel()


async def every_act(fake: fakes.FakeDiscord, platform: Discord) -> None:
    channel = Channel("discord", "100", "200")
    number = 0

    async def send(act: Act, message: Message, target: str | None = None) -> None:
        nonlocal number
        number += 1
        sending = factories.make_sending(
            delivery=f"d{number}", channel=channel, act=act, message=message, target_id=target
        )
        await platform.notifier.send(sending)
        await platform.notifier.find(sending)

    alert = Message(alert=factories.make_alert(), quotes=(factories.make_quote(),), change="more voices")
    await send(Act.POST, alert)
    first = fake.messages("200")[0]["id"]
    await send(Act.EDIT, alert, first)
    await send(Act.REPLY, alert, first)
    await send(Act.REPLY, replace(alert, escalated=True), first)
    await send(Act.EDIT, replace(alert, acknowledged=Acknowledgement(by="discord:1", at=factories.NOW)), first)
    fake.threads_allowed = False
    await send(Act.POST, alert)
    await send(Act.REPLY, alert, fake.messages("200")[1]["id"])
    await send(Act.NOTICE, Message(text="Access of Acme is withdrawn."))
    await send(Act.DIGEST, Message(text="- one\n" * 500))
    await send(Act.DIGEST, Message(text="90 alerts", items=(factories.make_alert(),) * 90))
    fake.delete_allowed = False
    await send(Act.RETRACT, alert, first)
    fake.delete_allowed = True
    await send(Act.RETRACT, alert, first)
    fake.script("create_message", fakes.rate_limited(1.5), fakes.refused(403, 50013))
    await send(Act.POST, alert)
    await send(Act.POST, alert)
    await send(Act.EDIT, alert, "1")
