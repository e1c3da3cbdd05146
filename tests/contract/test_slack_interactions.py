"""What people press and fill in on Slack, with the real slack-bolt over a real WebSocket."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonschema
import pytest

from bot.domain import alert as alerts
from bot.domain.channel import Channel
from bot.domain.delivery import Act, Message, Sent
from bot.platforms import base
from bot.platforms.slack import app, commands, connection, interactions, notifier
from bot.platforms.slack.workspaces import OneWorkspace
from tests import factories, shared
from tests.fakes import block_kit, slack
from tests.fakes.slack import FakeSlack, Fault, seen

CHANNEL = "C0456"
FORM = base.Form(
    title="Channel settings",
    fields=(
        base.Field(
            name="categories",
            label="Categories",
            kind=base.FieldKind.CHOICES,
            choices=(("fire", "Fire"), ("flood", "Flood"), ("storm", "Storm")),
            initial=("storm", "fire"),
        ),
        base.Field(
            name="level",
            label="Least level",
            kind=base.FieldKind.CHOICE,
            choices=(("alert", "Alert"), ("flash", "Flash")),
            initial=("alert",),
            required=True,
        ),
        base.Field(name="places", label="Places", kind=base.FieldKind.TEXT, hint="a city, a country, or anywhere"),
    ),
    state="s-17",
)


@dataclass
class Desk:
    """Notes what it is asked; answers as the test says."""

    subcommands: tuple[base.Subcommand, ...] = ()
    asked: list[base.Invocation] = field(default_factory=list)
    pressed: list[base.Press] = field(default_factory=list)
    submitted: list[base.Submission] = field(default_factory=list)
    shows: base.Form | None = FORM
    says: Callable[[], str | base.Faults] = lambda: "Done."
    gate: asyncio.Event | None = None

    async def answer(self, invocation: base.Invocation) -> str:
        self.asked.append(invocation)
        return "answered"

    async def form(self, invocation: base.Invocation) -> base.Form | None:
        return self.shows if invocation.argv == ("subscribe",) else None

    async def press(self, press: base.Press) -> str:
        self.pressed.append(press)
        said = await self._say()
        assert isinstance(said, str)
        return said

    async def submit(self, submission: base.Submission) -> str | base.Faults:
        self.submitted.append(submission)
        return await self._say()

    async def complete(self, command: str, subcommand: str, option: str, typed: str, channel: Channel) -> list[str]:
        raise NotImplementedError

    async def lost(self, target: str, reason: str) -> None:
        raise NotImplementedError

    async def restored(self, target: str) -> None:
        raise NotImplementedError

    async def _say(self) -> str | base.Faults:
        if self.gate is not None:
            await self.gate.wait()
        return self.says()


@pytest.fixture
async def fake() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        fake.add_channel(CHANNEL)
        fake.add_user("U1")
        fake.add_user("UADMIN", admin=True)
        yield fake
        assert fake.unfired() == []


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@contextlib.asynccontextmanager
async def running(
    fake: FakeSlack, desk: Desk, *, patience: timedelta = interactions.PATIENCE
) -> AsyncIterator[notifier.SlackNotifier]:
    """Everything of the service that listens, on one connection."""
    client = app.make_client(fake.bot_token, fake.api_url)
    workspace = OneWorkspace(fake.bot_token)
    workspace.team = fake.team
    async with app.make_session(timedelta(seconds=8)) as client.session:
        listeners = commands.Listeners(desk=desk, client=client, workspaces=workspace, patience=patience)
        bolt = commands.make_app(client, listeners, workspace)
        url = (await client.apps_connections_open(app_token=fake.app_token))["url"]
        socket = connection.Connection(app_token=fake.app_token, web_client=client, url=url, ping_interval=10)
        await connection.Handler(bolt, socket).connect_async()
        try:
            yield notifier.SlackNotifier(client, workspace)
        finally:
            await socket.close()
            await listeners.close()


async def post(slack: notifier.SlackNotifier, fake: FakeSlack, **fields: Any) -> dict[str, Any]:
    """The message of an event as it stands in the channel."""
    sent = await slack.send(factories.make_sending(created_at=datetime.now(UTC), **fields))
    assert isinstance(sent, Sent)
    return next(message for message in fake.messages(CHANNEL) if message["ts"] == sent.platform_id)


async def open_form(fake: FakeSlack, user: str = "U1") -> dict[str, Any]:
    await fake.type("/tocsin", "subscribe", user=user, channel=CHANNEL)
    return await fake.form(user)


@pytest.mark.parametrize(
    ("label", "action"),
    [
        ("Acknowledge", base.Action.ACKNOWLEDGE),
        ("Not relevant", base.Action.IRRELEVANT),
        ("Show sources", base.Action.SOURCES),
        ("Why did I get this?", base.Action.WHY),
    ],
)
async def test_a_button_reaches_the_desk_and_its_answer_the_one_who_pressed(
    fake: FakeSlack, desk: Desk, label: str, action: base.Action
) -> None:
    desk.says = lambda: "Only <you> see this."
    async with running(fake, desk) as slack:
        message = await post(slack, fake, delivery="d-first")
        before = json.dumps(message)
        assert await fake.click(label, message=message, user="U1", channel=CHANNEL) == "Only <you> see this."
    assert desk.pressed == [
        base.Press(
            action=action, delivery="d-first", actor="slack:T0123/U1", channel=Channel("slack", "T0123", CHANNEL)
        )
    ]
    (reply,) = fake.envelopes[-1].replies
    assert reply["response_type"] == "ephemeral"
    assert json.dumps(message) == before, "the message stays as it is; what changes comes as an edit"


@pytest.mark.parametrize(("value", "label"), base.MUTES.items())
async def test_a_mute_says_for_how_long(fake: FakeSlack, desk: Desk, value: str, label: str) -> None:
    async with running(fake, desk) as slack:
        message = await post(slack, fake, delivery="d-first")
        assert await fake.choose(label, message=message, user="U1", channel=CHANNEL) == "Done."
    (pressed,) = desk.pressed
    assert (pressed.action, pressed.delivery, pressed.value) == (base.Action.MUTE, "d-first", value)


async def test_after_an_edit_buttons_still_name_the_delivery_that_posted(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk) as slack:
        message = await post(slack, fake, delivery="d-first")
        edit = factories.make_sending(act=Act.EDIT, delivery="d-edit", root="d-first", target_id=message["ts"])
        assert isinstance(await slack.send(edit), Sent)
        await fake.click("Not relevant", message=message, user="U1", channel=CHANNEL)
    assert [press.delivery for press in desk.pressed] == ["d-first"]


async def test_a_press_is_acknowledged_before_the_desk_answers(fake: FakeSlack, desk: Desk) -> None:
    desk.gate = asyncio.Event()
    async with running(fake, desk) as slack:
        message = await post(slack, fake)
        click = asyncio.create_task(fake.click("Acknowledge", message=message, user="U1", channel=CHANNEL))
        await fake.wait_for(lambda: bool(fake.envelopes) and fake.envelopes[-1].acked.is_set())
        assert fake.envelopes[-1].replies == []
        desk.gate.set()
        assert await click == "Done."


async def test_what_a_press_claims_is_passed_on_for_the_desk_to_judge(fake: FakeSlack, desk: Desk) -> None:
    """Another channel, another delivery, a person of another workspace in a shared channel."""
    desk.says = lambda: "This is not yours to press."
    async with running(fake, desk) as slack:
        message = await post(slack, fake)
        forged = block_kit.click(message, "Acknowledge") | {"value": "d-of-somebody-else"}
        stranger = {"id": "U9", "name": "u9", "team_id": "T9"}
        await fake.press(forged, message=message, user="U9", channel="C999", forged={"user": stranger})
        await fake.wait_for(lambda: bool(fake.envelopes[-1].replies))
    (pressed,) = desk.pressed
    assert pressed.delivery == "d-of-somebody-else"
    assert str(pressed.channel) == "slack:T0123/C999"
    assert pressed.actor == "slack:T9/U9"
    assert seen(fake.envelopes[-1].replies[0]) == "This is not yours to press."


MALFORMED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "another app's action": ({"action_id": "deploy", "value": "d1"}, {}),
    "an unknown action": ({"action_id": "tocsin.explode"}, {}),
    "without the prefix": ({"action_id": "acknowledge"}, {}),
    "no value": ({"value": ""}, {}),
    "a value that is no text": ({"value": 7}, {}),
    "a mute value on a button": ({"value": "d1|1h"}, {}),
    "a mute for ever": (
        {"type": "static_select", "action_id": "tocsin.mute", "selected_option": {"value": "d1|ever"}},
        {},
    ),
    "a mute without a choice": ({"type": "static_select", "action_id": "tocsin.mute", "selected_option": None}, {}),
    "no channel": ({}, {"channel": None}),
    "a channel that is none": ({}, {"channel": {"id": "C1/../C2"}}),
    "nobody": ({}, {"user": {}}),
    "two at once": ({}, {"actions": [{"type": "button", "action_id": "tocsin.why", "value": "d1"}] * 2}),
}


@pytest.mark.parametrize("name", MALFORMED)
async def test_what_is_no_press_of_ours_is_acknowledged_and_goes_no_further(
    fake: FakeSlack, desk: Desk, name: str
) -> None:
    changed, forged = MALFORMED[name]
    async with running(fake, desk) as slack:
        message = await post(slack, fake)
        envelope = await fake.press(
            block_kit.click(message, "Acknowledge") | changed,
            message=message,
            user="U1",
            channel=CHANNEL,
            forged=forged,
        )
        await fake.wait_for(envelope.acked.is_set)
        await fake.click("Why did I get this?", message=message, user="U1", channel=CHANNEL)
    assert [press.action for press in desk.pressed] == [base.Action.WHY]
    assert envelope.replies == []


async def test_a_payload_without_an_action_harms_nothing(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk) as slack:
        message = await post(slack, fake)
        await fake.press({}, message=message, user="U1", channel=CHANNEL, forged={"actions": []})
        assert await fake.click("Acknowledge", message=message, user="U1", channel=CHANNEL) == "Done."
    assert len(desk.pressed) == 1


async def test_a_fault_inside_the_desk_is_told_to_the_one_who_pressed(fake: FakeSlack, desk: Desk) -> None:
    def fail() -> str:
        raise RuntimeError("a bug")

    desk.says = fail
    async with running(fake, desk) as slack:
        message = await post(slack, fake)
        reply = await fake.click("Acknowledge", message=message, user="U1", channel=CHANNEL)
    assert "fault inside Tocsin" in reply


async def test_an_escalation_shows_in_the_channel_and_an_ordinary_update_does_not(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk) as slack:
        message = await post(slack, fake)
        louder = Message(alert=factories.make_alert(level=alerts.Level.FLASH), change="Louder.", escalated=True)
        for reply in (louder, replace(louder, escalated=False)):
            await post(
                slack, fake, act=Act.REPLY, delivery=f"d{reply.escalated}", target_id=message["ts"], message=reply
            )
    _, shown, hidden = fake.messages(CHANNEL)
    assert shown["subtype"] == "thread_broadcast"
    assert "Escalated to 🚨 FLASH" in seen(shown)
    assert "subtype" not in hidden


async def test_a_command_with_a_form_shows_it_as_it_stands_now(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk):
        view = await open_form(fake)
    assert view["title"]["text"] == "Channel settings"
    assert [block["label"]["text"] for block in view["blocks"]] == ["Categories", "Least level", "Places"]
    assert [block["optional"] for block in view["blocks"]] == [True, False, True]
    assert view["blocks"][2]["hint"]["text"] == "a city, a country, or anywhere"
    assert [option["text"]["text"] for option in view["blocks"][0]["element"]["initial_options"]] == ["Fire", "Storm"]
    assert desk.asked == []
    assert fake.envelopes[0].replies == [], "the form is the answer"


@pytest.mark.parametrize(("user", "admin"), [("U1", False), ("UADMIN", True)])
async def test_a_form_that_is_good_closes_and_the_answer_is_for_the_asker_alone(
    fake: FakeSlack, desk: Desk, user: str, admin: bool
) -> None:
    desk.says = lambda: "Subscribed to <Fire> & Flood."
    async with running(fake, desk):
        await open_form(fake, user)
        given = {"Categories": ["Fire", "Flood"], "Least level": "Flash", "Places": "Port Calder & <all>"}
        assert await fake.submit(user, given) is None
        await fake.wait_for(lambda: bool(fake.ephemerals))
    assert desk.submitted == [
        base.Submission(
            state="s-17",
            values={"categories": ("fire", "flood"), "level": ("flash",), "places": ("Port Calder & <all>",)},
            actor=f"slack:T0123/{user}",
            channel=Channel("slack", "T0123", CHANNEL),
            workspace_admin=admin,
        )
    ]
    (told,) = fake.ephemerals
    assert (told["channel"], told["user"]) == (CHANNEL, user)
    assert seen(told) == "Subscribed to <Fire> & Flood."


async def test_what_is_left_empty_comes_back_empty_and_what_is_left_alone_as_it_was(
    fake: FakeSlack, desk: Desk
) -> None:
    async with running(fake, desk):
        await open_form(fake)
        await fake.submit("U1", {"Categories": []})
    (submission,) = desk.submitted
    assert submission.values == {"categories": (), "level": ("alert",), "places": ()}


async def test_faults_stand_at_their_fields_and_the_form_stays_open(fake: FakeSlack, desk: Desk) -> None:
    faults = base.Faults(
        fields={
            "places": "“Atlantis” is not known; write a city or a country.",
            "elsewhere": "This channel has 10 subscriptions already.",
        }
    )
    answers = iter([faults, "Subscribed."])
    desk.says = lambda: next(answers)
    async with running(fake, desk):
        await open_form(fake)
        assert await fake.submit("U1", {"Places": "Atlantis"}) == {
            "places": "“Atlantis” is not known; write a city or a country.",
            "categories": "This channel has 10 subscriptions already.",
        }
        assert fake.ephemerals == []
        assert await fake.submit("U1", {"Places": "Port Calder"}) is None
        await fake.wait_for(lambda: bool(fake.ephemerals))
    assert seen(fake.ephemerals[0]) == "Subscribed."


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("Subscribed.", "Subscribed."),
        (
            base.Faults(fields={"places": "“Atlantis” is not known."}),
            "Nothing was changed:\nPlaces: “Atlantis” is not known.",
        ),
    ],
)
async def test_a_slow_desk_closes_the_form_in_time_and_tells_afterwards(
    fake: FakeSlack, desk: Desk, said: str | base.Faults, told: str
) -> None:
    desk.gate = asyncio.Event()
    desk.says = lambda: said
    async with running(fake, desk, patience=timedelta()):
        await open_form(fake)
        assert await fake.submit("U1", {}) is None
        assert fake.ephemerals == []
        desk.gate.set()
        await fake.wait_for(lambda: bool(fake.ephemerals))
    assert seen(fake.ephemerals[0]) == told


async def test_where_the_bot_may_not_speak_the_answer_comes_by_the_command_s_own_address(
    fake: FakeSlack, desk: Desk
) -> None:
    fake.kicked.add(CHANNEL)
    async with running(fake, desk):
        await open_form(fake)
        command = fake.envelopes[-1]
        assert await fake.submit("U1", {}) is None
        await fake.wait_for(lambda: bool(command.replies))
    assert seen(command.replies[0]) == "Done."
    assert fake.ephemerals == []


async def test_a_fault_inside_the_desk_is_told_to_the_one_who_filled_in(fake: FakeSlack, desk: Desk) -> None:
    def fail() -> str:
        raise RuntimeError("a bug")

    desk.says = fail
    async with running(fake, desk):
        await open_form(fake)
        assert await fake.submit("U1", {}) is None
        await fake.wait_for(lambda: bool(fake.ephemerals))
    assert "fault inside Tocsin" in seen(fake.ephemerals[0])


@pytest.mark.parametrize(
    "metadata", ["", "{}", "[]", '{"channel": 3, "state": ""}', '{"channel": "C1/C2", "state": ""}']
)
async def test_a_form_that_is_not_ours_closes_and_goes_no_further(fake: FakeSlack, desk: Desk, metadata: str) -> None:
    async with running(fake, desk):
        view = await open_form(fake)
        view["private_metadata"] = metadata
        assert await fake.submit("U1", {}) is None
        await open_form(fake)
        assert await fake.submit("U1", {}) is None
    assert len(desk.submitted) == 1


async def test_a_form_that_could_not_be_opened_in_time_is_explained(
    fake: FakeSlack, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slack, "TRIGGER_S", -1.0)
    async with running(fake, desk):
        reply = await fake.slash("/tocsin", "subscribe", user="U1", channel=CHANNEL)
    assert "expired_trigger_id" in reply
    assert "nothing was changed" in reply
    assert fake.views == {}


@pytest.mark.parametrize("fault", [Fault.http(500), Fault.reset_before(), Fault.rate_limited(30)])
async def test_a_form_that_slack_did_not_open_is_explained(fake: FakeSlack, desk: Desk, fault: Fault) -> None:
    fake.script("views.open", fault)
    async with running(fake, desk):
        assert "did not open the form" in await fake.slash("/tocsin", "subscribe", user="U1", channel=CHANNEL)
    assert len(fake.calls("views.open")) == 1


async def test_a_form_of_ours_that_slack_would_refuse_is_a_fault_and_is_told(fake: FakeSlack, desk: Desk) -> None:
    desk.shows = replace(FORM, state="s" * 4_000)
    async with running(fake, desk):
        assert "fault inside Tocsin" in await fake.slash("/tocsin", "subscribe", user="U1", channel=CHANNEL)


async def test_a_command_without_a_form_is_answered(fake: FakeSlack, desk: Desk) -> None:
    async with running(fake, desk):
        assert await fake.slash("/tocsin", "status", user="U1", channel=CHANNEL) == "answered"
    assert fake.calls("views.open") == []


async def test_everything_said_fits_slack_s_own_description(fake: FakeSlack, desk: Desk) -> None:
    """As far as that of 2021 goes: names and presence of arguments, and what a few answers look like."""
    spec = json.loads(shared.require("specs", "slack-web-openapi-v2.json").read_text(encoding="utf-8"))
    async with running(fake, desk) as slack:
        message = await post(slack, fake, delivery="d-first")
        reply = {"message": Message(alert=factories.make_alert(), change="x", escalated=True)}
        await post(slack, fake, act=Act.REPLY, delivery="d-reply", target_id=message["ts"], **reply)
        edit = factories.make_sending(act=Act.EDIT, delivery="d-edit", root="d-first", target_id=message["ts"])
        assert isinstance(await slack.send(edit), Sent)
        await open_form(fake)
        await fake.submit("U1", {})
        await fake.wait_for(lambda: bool(fake.ephemerals))
    told = {request.method for request in fake.requests}
    assert told >= {"chat.postMessage", "chat.update", "chat.postEphemeral", "views.open", "users.info"}
    assert [fault for request in fake.requests for fault in complaints(spec, request)] == []


# Younger than the description.
YOUNGER = {"chat.postMessage": {"metadata"}, "chat.update": {"metadata"}}
DESCRIBED_ANSWERS = ("chat.update", "chat.postEphemeral", "views.open")


def complaints(spec: dict[str, Any], request: slack.Request) -> Iterator[str]:
    described = spec["paths"].get(f"/{request.method}")
    if described is None:
        return  # apps.connections.open is younger, too
    (operation,) = described.values()
    names = {parameter["name"] for parameter in operation["parameters"]}
    required = {parameter["name"] for parameter in operation["parameters"] if parameter.get("required")}
    given = set(request.arguments) | ({"token"} if request.token else set())
    unknown = given - names - YOUNGER.get(request.method, set())
    if unknown or required - given:
        yield f"{request.method}: unknown {unknown}, missing {required - given}"
    if request.method in DESCRIBED_ANSWERS:
        schema = operation["responses"]["200"]["schema"] | {"definitions": spec["definitions"]}
        for error in jsonschema.Draft4Validator(schema).iter_errors(request.answer):
            yield f"{request.method}: answer {error.json_path}: {error.message[:200]}"
