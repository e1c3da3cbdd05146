"""What people type, press and send off: from the gateway to the desk, and back to the asker alone."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.channel import Channel
from bot.domain.delivery import Act, Sent
from bot.domain.errors import UsageError
from bot.platforms import base
from bot.platforms.discord import interactions
from bot.platforms.discord.client import Discord
from tests import factories
from tests.fakes import discord as fakes

CHANNEL = Channel("discord", "100", "200")
ROOT = "d0000000000000000000001"
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
    base.Subcommand(
        command="tocsin",
        name="subscribe",
        description="Get alerts here",
        options=(
            base.Option(name="Place", description="Where", multiple=True, completes=True),
            base.Option(name="country", description="Where", completes=True),
            base.Option(name="kind", description="What", choices=("fire", "flood"), multiple=True, completes=True),
            base.Option(name="level", description="How loud", choices=("alert", "flash")),
        ),
    ),
    base.Subcommand(command="tocsin", name="help", description="What there is"),
)
FORM = base.Form(
    title="Subscribe this channel",
    state="subscribe:s1",
    fields=(
        base.Field(
            name="places", label="Places", kind=base.FieldKind.TEXT, initial=("Port Calder",), hint="or anywhere"
        ),
        base.Field(
            name="level",
            label="Least level",
            kind=base.FieldKind.CHOICE,
            choices=(("alert", "Alert"), ("flash", "Flash only")),
            initial=("alert",),
            required=True,
        ),
        base.Field(
            name="categories",
            label="Categories",
            kind=base.FieldKind.CHOICES,
            choices=(("fire", "Fire"), ("flood", "Flood"), ("storm", "Storm")),
            initial=("fire", "flood"),
        ),
        base.Field(name="words", label="Keywords", kind=base.FieldKind.TEXT),
    ),
)


@pytest.fixture
async def fake() -> AsyncIterator[fakes.FakeDiscord]:
    async with fakes.FakeDiscord() as fake:
        yield fake
        assert not fake.unfired()


@pytest.fixture
def desk() -> fakes.FakeDesk:
    return fakes.FakeDesk(*SUBCOMMANDS, reply="Acme is revoked.")


def connect(fake: fakes.FakeDiscord, desk: base.Desk) -> Discord:
    return Discord(
        token=fake.token,
        desk=desk,
        api_url=fake.api_url,
        gateway_url=fake.gateway_url,
        backoff=lambda _: timedelta(milliseconds=10),
    )


@asynccontextmanager
async def posted(fake: fakes.FakeDiscord, desk: base.Desk) -> AsyncIterator[str]:
    """Connected, with an event's message standing in the channel; its id."""
    async with connect(fake, desk) as platform:
        outcome = await platform.notifier.send(factories.make_sending(channel=CHANNEL, root=ROOT))
        assert isinstance(outcome, Sent)
        yield outcome.platform_id


async def test_a_slash_command_reaches_the_desk_in_the_command_line_s_syntax(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    async with connect(fake, desk):
        options: dict[str, str | bool] = {"org": "Acme", "provider": "x, mastodon", "reason": "asked", "retract": True}
        reply = await fake.slash("tocsin-admin", "revoke", options, user="111", permissions=fakes.MANAGE_GUILD)

    assert reply == "Acme is revoked."
    words = "revoke --org Acme --provider x --provider mastodon --reason asked --retract"
    assert desk.invocations == [
        base.Invocation(
            command="tocsin-admin",
            argv=tuple(words.split()),
            actor="discord:111",
            channel=Channel("discord", "100", "200"),
            workspace_admin=True,
        )
    ]
    (callback,) = fake.calls("callback")
    assert callback.body == {"type": 5, "data": {"flags": 64}}


@pytest.mark.parametrize(
    ("permissions", "admin"), [(fakes.NOTHING, False), (fakes.MANAGE_GUILD, True), (fakes.ADMINISTRATOR, True)]
)
async def test_who_administers_the_server(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk, permissions: int, admin: bool
) -> None:
    async with connect(fake, desk):
        await fake.slash("tocsin-admin", "reinstate", {"revocation": "r1"}, permissions=permissions)
    (invocation,) = desk.invocations
    assert invocation.workspace_admin is admin
    assert invocation.argv == ("reinstate", "r1")


async def test_direct_messages_are_refused(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    async with connect(fake, desk):
        assert "in direct messages" in await fake.slash("tocsin", "help", direct=True)
    assert desk.invocations == []


async def test_a_long_reply_is_split_and_shown_to_the_asker_alone(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    desk.reply = "\n".join(f"line {number} of the *audit* @everyone" for number in range(1000))
    async with connect(fake, desk):
        first = await fake.slash("tocsin", "help")
        (interaction,) = fake.interactions.values()
        await fake.until(lambda: len(interaction.followups) == 4)
    replies = [first, *(followup["content"] for followup in interaction.followups)]
    assert all(len(reply) <= 2000 for reply in replies)
    assert replies[-1].endswith("the command line shows all of it.")
    assert "@everyone" not in first
    assert "\\*audit\\*" in first
    assert {followup["flags"] for followup in interaction.followups} == {64}


async def test_a_desk_that_breaks_still_answers(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    desk.fails = ZeroDivisionError()
    async with connect(fake, desk):
        assert "failed inside tocsin" in await fake.slash("tocsin", "help")


@pytest.mark.parametrize(
    ("button", "action"),
    [
        ("Acknowledge", base.Action.ACKNOWLEDGE),
        ("Not relevant", base.Action.IRRELEVANT),
        ("Show sources", base.Action.SOURCES),
        ("Why did I get this?", base.Action.WHY),
    ],
)
async def test_a_button_reaches_the_desk_and_only_who_pressed_it_sees_the_answer(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk, button: str, action: base.Action
) -> None:
    desk.reply = "Because of @everyone in Port Calder."
    async with posted(fake, desk):
        reply = await fake.press(fake.messages("200")[0], button, user="222")
    assert reply == "Because of @\u200beveryone in Port Calder."
    assert desk.presses == [base.Press(action=action, delivery=ROOT, actor="discord:222", channel=CHANNEL)]
    assert fake.shown()["flags"] == 64
    (callback,) = fake.calls("callback")
    assert callback.body == {"type": 5, "data": {"flags": 64}}
    assert len(fake.messages("200")) == 1


@pytest.mark.parametrize("value", base.MUTES)
async def test_a_choice_from_the_select_carries_its_value(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk, value: str
) -> None:
    async with posted(fake, desk):
        await fake.press(fake.messages("200")[0], "Mute…", value)
    (press,) = desk.presses
    assert (press.action, press.delivery, press.value) == (base.Action.MUTE, ROOT, value)


async def test_buttons_work_after_a_restart_and_after_the_message_was_edited(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    async with posted(fake, desk) as first:
        pass
    async with connect(fake, desk) as platform:
        edit = factories.make_sending(channel=CHANNEL, act=Act.EDIT, delivery="d2", root=ROOT, target_id=first)
        await platform.notifier.send(edit)
        assert await fake.press(fake.messages("200")[0], "Acknowledge") == "Acme is revoked."
    assert [press.delivery for press in desk.presses] == [ROOT]


async def test_what_is_done_in_the_thread_of_a_message_is_done_in_its_channel(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    async with connect(fake, desk) as platform:
        outcome = await platform.notifier.send(factories.make_sending(channel=CHANNEL))
        assert isinstance(outcome, Sent)
        reply = factories.make_sending(channel=CHANNEL, act=Act.REPLY, delivery="d2", target_id=outcome.platform_id)
        await platform.notifier.send(reply)
        await fake.press(fake.messages("200")[0], "Acknowledge", channel=outcome.platform_id)
        await fake.slash("tocsin", "help", channel=outcome.platform_id)
    assert [press.channel for press in desk.presses] == [CHANNEL]
    assert [invocation.channel for invocation in desk.invocations] == [CHANNEL]


@pytest.mark.parametrize(
    ("error", "words"), [(UsageError("This event is over."), "This event is over."), (KeyError("x"), "failed inside")]
)
async def test_a_desk_that_raises_is_told_to_who_pressed_or_sent_off(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk, error: Exception, words: str
) -> None:
    desk.fails = error
    async with posted(fake, desk):
        assert words in await fake.press(fake.messages("200")[0], "Why did I get this?")
        desk.opens = FORM
        modal = await fake.slash_for_form("tocsin", "subscribe")
        assert words in await fake.submit(modal, {})
        assert await fake.complete("tocsin", "subscribe", "country", "Ir") == []


async def test_what_discord_no_longer_waits_for_is_not_carried_out(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    async with posted(fake, desk):
        fake.script("callback", fakes.expired())
        pressing = asyncio.create_task(fake.press(fake.messages("200")[0], "Acknowledge"))
        await fake.until(lambda: [call.status for call in fake.calls("callback")] == [404])
        await fake.press(fake.messages("200")[0], "Why did I get this?")
        pressing.cancel()
    assert [press.action for press in desk.presses] == [base.Action.WHY]


async def test_a_command_that_opens_a_form_and_the_form_sent_off(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    desk.opens = FORM
    async with connect(fake, desk):
        modal = await fake.slash_for_form("tocsin", "subscribe", user="222", permissions=fakes.MANAGE_GUILD)
        given = {"level": ["flash"], "categories": ["storm", "fire"], "words": " harbour "}
        reply = await fake.submit(modal, given, user="222", permissions=fakes.MANAGE_GUILD)

    assert reply == "Acme is revoked."
    assert desk.invocations == []
    assert desk.submissions == [
        base.Submission(
            state="subscribe:s1",
            values={
                "places": ("Port Calder",),
                "level": ("flash",),
                "categories": ("storm", "fire"),
                "words": ("harbour",),
            },
            actor="discord:222",
            channel=CHANNEL,
            workspace_admin=True,
        )
    ]
    assert fake.shown()["flags"] == 64
    assert modal["title"] == "Subscribe this channel"
    assert [label["label"] for label in modal["components"]] == ["Places", "Least level", "Categories", "Keywords"]
    assert [label.get("description") for label in modal["components"]] == ["or anywhere", None, None, None]
    places, level, categories, words = (label["component"] for label in modal["components"])
    assert (places["value"], places["required"], words.get("value")) == ("Port Calder", False, None)
    assert (level["min_values"], level["max_values"], level["required"]) == (1, 1, True)
    assert (categories["min_values"], categories["max_values"], categories["required"]) == (0, 3, False)
    chosen = [option["value"] for option in categories["options"] if option["default"]]
    assert chosen == ["fire", "flood"]


async def test_fields_left_empty_are_empty(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    desk.opens = FORM
    async with connect(fake, desk):
        modal = await fake.slash_for_form("tocsin", "subscribe")
        await fake.submit(modal, {"places": "", "categories": [], "words": " "})
    (submission,) = desk.submissions
    assert submission.values == {"places": (), "level": ("alert",), "categories": (), "words": ()}


async def test_a_refused_form_says_what_is_wrong_and_opens_again_as_it_was_filled_in(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    desk.opens = FORM
    desk.faults = base.Faults(fields={"places": "No place is called Prt Calder.", "categories": "Choose one."})
    async with connect(fake, desk):
        modal = await fake.slash_for_form("tocsin", "subscribe")
        refused = await fake.submit(modal, {"places": "Prt Calder", "level": ["flash"], "categories": []})
        assert refused == ("Nothing was changed:\nPlaces — No place is called Prt Calder.\nCategories — Choose one.")
        assert fakes.labels(fake.shown()) == ["Try again"]
        assert fake.shown()["flags"] == 64
        again = await fake.press_for_form(fake.shown(), "Try again")
        desk.faults = None
        assert await fake.submit(again, {"places": "Port Calder"}) == "Acme is revoked."

    assert again["components"][0]["component"]["value"] == "Prt Calder"
    assert desk.submissions[1].state == "subscribe:s1"
    assert desk.submissions[1].values == {
        "places": ("Port Calder",), "level": ("flash",), "categories": (), "words": (),
    }  # fmt: skip


async def test_a_form_from_before_a_restart_is_taken_and_can_then_only_be_asked_for_anew(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    desk.opens = FORM
    desk.faults = base.Faults(fields={"places": "No place is called Prt Calder."})
    async with connect(fake, desk):
        modal = await fake.slash_for_form("tocsin", "subscribe")
        await fake.submit(modal, {"places": "Prt Calder"})
        refused = fake.shown()
    async with connect(fake, desk):
        assert "places — No place" in await fake.submit(modal, {"places": "Prt Calder"})
        assert fakes.labels(fake.shown()) == []
        assert "give the command again" in await fake.press(refused, "Try again")


@pytest.mark.parametrize("form", [replace(FORM, state="x" * 100), replace(FORM, fields=FORM.fields * 2)])
async def test_a_form_that_discord_would_refuse_leaves_the_command_to_its_answer(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk, form: base.Form
) -> None:
    desk.opens = form
    async with connect(fake, desk):
        assert await fake.slash("tocsin", "subscribe") == "Acme is revoked."


class SlowDesk(fakes.FakeDesk):
    """Never has a form or a completion."""

    async def form(self, _invocation: base.Invocation) -> base.Form | None:
        await asyncio.Event().wait()
        return None

    async def complete(self, *_: object) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()


async def test_a_slow_form_or_completion_does_without(fake: fakes.FakeDiscord, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactions, "PATIENCE", timedelta(milliseconds=1))
    async with connect(fake, SlowDesk(*SUBCOMMANDS, reply="help")):
        assert await fake.slash("tocsin", "help") == "help"
        assert await fake.complete("tocsin", "subscribe", "country", "Ir") == []


async def test_completion_asks_the_desk_about_the_last_part_and_keeps_the_earlier_ones(
    fake: fakes.FakeDiscord, desk: fakes.FakeDesk
) -> None:
    desk.suggests = ["Port Calder", "Porto", "Cork", "Portland, Maine", "P" * 100]
    async with connect(fake, desk):
        several = await fake.complete("tocsin", "subscribe", "place", "Cork ;; Por", others={"level": "flash"})
        one = await fake.complete("tocsin", "subscribe", "country", "Por")
        desk.suggests = [str(number) for number in range(40)]
        many = await fake.complete("tocsin", "subscribe", "country", "")
        desk.suggests = ["flood", "fire"]
        kinds = await fake.complete("tocsin", "subscribe", "kind", "fire, f")
    assert several == ["Cork; Port Calder", "Cork; Porto", "Cork; Portland, Maine"]
    assert kinds == ["fire, flood"]
    assert one == ["Port Calder", "Porto", "Cork", "Portland, Maine", "P" * 100]
    assert len(many) == 25
    assert desk.completions == [
        ("tocsin", "subscribe", "Place", "Por", CHANNEL),
        ("tocsin", "subscribe", "country", "Por", CHANNEL),
        ("tocsin", "subscribe", "country", "", CHANNEL),
        ("tocsin", "subscribe", "kind", "f", CHANNEL),
    ]


async def test_nothing_is_completed_where_nothing_completes(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> None:
    desk.suggests = ["x"]
    async with connect(fake, desk):
        assert await fake.complete("tocsin", "subscribe", "level", "f") == []
        assert await fake.complete("tocsin", "subscribe", "country", "f", direct=True) == []
        assert await fake.complete("tocsin", "join", "code", "f") == []
    assert desk.completions == []
