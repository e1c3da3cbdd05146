"""People: they type commands, press buttons, choose, fill in forms; and what the bot answers them."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.discord import limits, shapes
from tests.fakes.discord.gateway import Gateway
from tests.fakes.discord.rest import Rest

ADMINISTRATOR, MANAGE_GUILD, NOTHING = 8, 32, 0
COMMAND, COMPONENT, COMPLETION, SUBMISSION = 2, 3, 4, 5
MESSAGE, DEFERRED, DEFERRED_UPDATE, CHOICES, MODAL = 4, 5, 6, 8, 9
# Which first answers Discord takes for which interaction.
_ANSWERS = {
    COMMAND: {MESSAGE, DEFERRED, MODAL},
    COMPONENT: {MESSAGE, DEFERRED, DEFERRED_UPDATE, MODAL},
    COMPLETION: {CHOICES},
    SUBMISSION: {MESSAGE, DEFERRED, DEFERRED_UPDATE},
}
_EPHEMERAL = 64


@dataclass(slots=True, kw_only=True)
class Interaction:
    """``reply`` becomes the text, the modal or the choices that the asker sees."""

    kind: int
    channel: str
    reply: "asyncio.Future[Any]"
    acknowledged: dict[str, Any] | None = None
    message: dict[str, Any] | None = None
    followups: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Who does it, and where. ``channel``: None is the first one, or a direct message if ``direct``."""

    user: str = "111"
    channel: str | None = None
    permissions: int = NOTHING
    direct: bool = False


class Asking(Rest, Gateway):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.interactions: dict[str, Interaction] = {}

    async def slash(
        self, command: str, subcommand: str, options: Mapping[str, str | bool] | None = None, **person: Any
    ) -> str:
        """Give a slash command; the reply that the asker sees. ``person``: see ``Person``."""
        return _text(await self._ask(COMMAND, _command(command, subcommand, options or {}), Person(**person)))

    async def slash_for_form(
        self, command: str, subcommand: str, options: Mapping[str, str | bool] | None = None, **person: Any
    ) -> dict[str, Any]:
        """Give a slash command that opens a modal; that modal."""
        return _modal(await self._ask(COMMAND, _command(command, subcommand, options or {}), Person(**person)))

    async def press(self, message: dict[str, Any], what: str, *values: str, **person: Any) -> str:
        """Press the button, or choose from the select, that reads ``what``; the reply that the asker sees."""
        return _text(await self._press(message, what, values, Person(**person)))

    async def press_for_form(self, message: dict[str, Any], what: str, **person: Any) -> dict[str, Any]:
        return _modal(await self._press(message, what, (), Person(**person)))

    async def submit(self, modal: dict[str, Any], given: Mapping[str, str | Sequence[str]], **person: Any) -> str:
        """Send ``modal`` off. What ``given`` does not name stays as it was shown."""
        rows: list[dict[str, Any]] = [
            {"type": 18, "id": number, "component": _filled(label["component"], given)}
            for number, label in enumerate(modal["components"], start=1)
        ]
        assert set(given) <= {row["component"]["custom_id"] for row in rows}
        data = {"custom_id": modal["custom_id"], "components": rows, "resolved": {}}
        return _text(await self._ask(SUBMISSION, data, Person(**person)))

    async def complete(
        self,
        command: str,
        subcommand: str,
        option: str,
        typed: str,
        *,
        others: Mapping[str, str | bool] | None = None,
        **person: Any,
    ) -> list[str]:
        """Type into an option; the choices that are offered."""
        data = _command(command, subcommand, dict(others or {}) | {option: typed})
        data["options"][0]["options"][-1]["focused"] = True
        found = await self._ask(COMPLETION, data, Person(**person))
        assert isinstance(found, list)
        return [str(choice["value"]) for choice in found]

    def shown(self) -> dict[str, Any]:
        """The message that the last asker sees."""
        message = list(self.interactions.values())[-1].message
        assert message is not None
        return message

    async def _press(self, message: dict[str, Any], what: str, values: Sequence[str], person: Person) -> Any:
        found = [each for each in elements(message) if what in (each.get("label"), each.get("placeholder"))]
        assert len(found) == 1, f"{what!r} is not among {labels(message)}"
        (element,) = found
        assert set(values) <= {option["value"] for option in element.get("options", ())}
        data = {"id": element["id"], "custom_id": element["custom_id"], "component_type": element["type"]}
        if element["type"] == 3:
            data["values"] = list(values)
        return await self._ask(COMPONENT, data, person, message=message)

    async def _ask(
        self, kind: int, data: dict[str, Any], person: Person, *, message: dict[str, Any] | None = None
    ) -> Any:
        await self.connected()
        channel = person.channel or ("900" if person.direct else next(iter(self.guilds.values())).channels[0])
        guild = None if person.direct else self._guild_of(channel).id
        token = f"interaction-{self._snowflake()}"
        interaction = Interaction(kind=kind, channel=channel, reply=asyncio.get_running_loop().create_future())
        self.interactions[token] = interaction
        body = shapes.interaction(
            kind,
            data,
            interaction_id=self._snowflake(),
            token=token,
            channel=shapes.channel_of_interaction(channel, guild, self._threads.get(channel), self._clock()),
            asker=shapes.user(person.user, f"user{person.user}"),
            guild=guild,
            permissions=person.permissions,
        )
        await self.dispatch("INTERACTION_CREATE", body if message is None else body | {"message": message})
        async with asyncio.timeout(10.0):
            return await interaction.reply

    def _op_callback(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        interaction = self._interaction(info["token"])
        if interaction.acknowledged is not None:
            raise limits.Refuse(400, 40060, "Interaction has already been acknowledged.")
        if body["type"] not in _ANSWERS[interaction.kind]:
            raise limits.Refuse(400, 50035, "Invalid Form Body")
        data = body.get("data") or {}
        if body["type"] == MODAL:
            limits.check_modal(data)
        elif body["type"] == CHOICES:
            limits.check_choices(data["choices"])
        elif body["type"] == MESSAGE:
            limits.check_message(data)
        interaction.acknowledged = body
        answer: dict[str, Any] = {"interaction": {"id": info["interaction"], "type": interaction.kind}}
        match body["type"]:
            case 9:
                interaction.reply.set_result(data)
            case 8:
                interaction.reply.set_result(data["choices"])
            case 4:
                interaction.message = self._message(interaction.channel, data) | {"flags": data.get("flags", 0)}
                interaction.reply.set_result(data["content"])
                answer["resource"] = {"type": MESSAGE, "message": interaction.message}
            case _:
                answer["interaction"]["response_message_loading"] = True
        return 200, answer

    def _op_original_get(self, info: Any, _query: Any, _body: Any) -> tuple[int, Any]:
        message = self._interaction(info["token"]).message
        if message is None:
            raise limits.Refuse(404, 10008, "Unknown Message")
        return 200, message

    def _op_original_edit(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        limits.check_message(body)
        interaction = self._interaction(info["token"])
        first = interaction.acknowledged
        if first is None or first["type"] not in (MESSAGE, DEFERRED, DEFERRED_UPDATE):
            raise limits.Refuse(404, 10015, "Unknown Webhook")
        flags = (first.get("data") or {}).get("flags", 0)
        interaction.message = self._message(interaction.channel, body) | {"flags": flags}
        if not interaction.reply.done():
            interaction.reply.set_result(body["content"])
        return 200, interaction.message

    def _op_followup(self, info: Any, _query: Any, body: Any) -> tuple[int, Any]:
        limits.check_message(body)
        interaction = self._interaction(info["token"])
        message = self._message(interaction.channel, body)
        interaction.followups.append(message | {"flags": body.get("flags", 0)})
        return 200, message

    def _interaction(self, token: str) -> Interaction:
        if token not in self.interactions:
            raise limits.Refuse(404, 10062, "Unknown interaction")
        return self.interactions[token]


def elements(message: dict[str, Any]) -> list[dict[str, Any]]:
    """What can be pressed under a message."""
    return [element for row in message["components"] for element in row["components"]]


def labels(message: dict[str, Any]) -> list[str]:
    return [element.get("label") or element.get("placeholder") or "" for element in elements(message)]


def _command(command: str, subcommand: str, options: Mapping[str, str | bool]) -> dict[str, Any]:
    given: list[dict[str, Any]] = [
        {"name": key, "type": 5 if isinstance(v, bool) else 3, "value": v} for key, v in options.items()
    ]
    return {
        "id": "1",
        "name": command,
        "type": 1,
        "options": [{"name": subcommand, "type": 1, "options": given}],
    }


def _filled(element: dict[str, Any], given: Mapping[str, str | Sequence[str]]) -> dict[str, Any]:
    """As the app sends it, after checking what the app checks."""
    name = element["custom_id"]
    sent = {"id": 1, "type": element["type"], "custom_id": name}
    if element["type"] == 4:
        text = str(given.get(name, element.get("value") or ""))
        assert text or not element.get("required"), f"{name} is required"
        return sent | {"value": text}
    chosen = list(given.get(name, [option["value"] for option in element["options"] if option.get("default")]))
    assert set(chosen) <= {option["value"] for option in element["options"]}
    assert len(chosen) <= element.get("max_values", 1)
    assert len(chosen) >= element.get("min_values", 1) or not element.get("required")
    return sent | {"values": chosen}


def _text(answer: Any) -> str:
    assert isinstance(answer, str), f"not a text: {answer}"
    return answer


def _modal(answer: Any) -> dict[str, Any]:
    assert isinstance(answer, dict), f"not a modal: {answer}"
    return answer
