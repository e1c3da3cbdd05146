"""The steps that scenarios are made of: what happens in the world, what people do, what becomes of the connection."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from bot.domain.alert import Kind, Level
from tests.contract.places import Call, Ill, Values, Who
from tests.contract.stages import Stage


class Step(Protocol):
    async def play(self, stage: Stage) -> None: ...


# What happens in the world.


@dataclass(frozen=True, slots=True)
class Raise:
    """A new event; the channel's subscription wants it."""

    number: int = 1
    level: Level = Level.ALERT

    async def play(self, stage: Stage) -> None:
        await stage.raise_event(self.number, self.level)


@dataclass(frozen=True, slots=True)
class Update:
    """The next revision of an event, perhaps at another level."""

    number: int = 1
    level: Level | None = None

    async def play(self, stage: Stage) -> None:
        await stage.revise(self.number, Kind.UPDATE, "more voices", self.level)


@dataclass(frozen=True, slots=True)
class Correct:
    async def play(self, stage: Stage) -> None:
        await stage.revise(1, Kind.CORRECTION, "it was thunder after all")


@dataclass(frozen=True, slots=True)
class CallOff:
    """The event was none."""

    async def play(self, stage: Stage) -> None:
        await stage.revise(1, Kind.RETRACTION, "the fire brigade denies it")


@dataclass(frozen=True, slots=True)
class DeletePost:
    """The post that the message quotes is deleted at its source, and nobody revises the event."""

    async def play(self, stage: Stage) -> None:
        await stage.delete_post(1)


@dataclass(frozen=True, slots=True)
class Wait:
    hours: float = 0
    minutes: float = 0

    async def play(self, stage: Stage) -> None:
        stage.world.now += timedelta(hours=self.hours, minutes=self.minutes)


@dataclass(frozen=True, slots=True)
class Together:
    """Before the outbox gets its turn."""

    steps: Sequence[Step]

    async def play(self, stage: Stage) -> None:
        for step in self.steps:
            await step.play(stage)


# What people do.


@dataclass(frozen=True, slots=True)
class Command:
    """``/tocsin NAME OPTIONS``; the reply contains ``says``."""

    name: str
    options: dict[str, str] = field(default_factory=dict)
    who: Who = Who.MEMBER
    says: str = ""

    async def play(self, stage: Stage) -> None:
        reply = await stage.place.command(self.name, self.options, self.who)
        assert self.says in reply, reply


@dataclass(frozen=True, slots=True)
class Join:
    """``/tocsin join`` with a code that an operator has made: a new one, or the last one again."""

    who: Who = Who.ADMIN
    says: str = ""
    again: bool = False

    async def play(self, stage: Stage) -> None:
        code = stage.code if self.again else await stage.make_code()
        reply = await stage.place.command("join", {"code": code}, self.who)
        assert self.says in reply, reply


@dataclass(frozen=True, slots=True)
class Fill:
    """``/tocsin subscribe`` opens a form; this is filled in and sent off."""

    values: Values
    who: Who = Who.ADMIN
    says: str = ""

    async def play(self, stage: Stage) -> None:
        reply = await stage.place.fill(self.values, self.who)
        assert self.says in reply, reply


@dataclass(frozen=True, slots=True)
class Press:
    """A button, or an option of the select, under the first message of the channel."""

    label: str
    who: Who = Who.MEMBER
    says: str = ""
    elsewhere: bool = False

    async def play(self, stage: Stage) -> None:
        reply = await stage.place.press(self.label, self.who, elsewhere=self.elsewhere)
        assert self.says in reply, reply


@dataclass(frozen=True, slots=True)
class Revoke:
    """An operator withdraws the organisation's access."""

    retract: bool = False

    async def play(self, stage: Stage) -> None:
        await stage.withdraw(org="Acme", retract=self.retract)


# What becomes of the connection.


@dataclass(frozen=True, slots=True)
class Strike:
    """The next calls of this kind go wrong."""

    call: Call
    ill: Ill
    times: int = 1

    async def play(self, stage: Stage) -> None:
        stage.place.strike(self.call, self.ill, self.times)


@dataclass(frozen=True, slots=True)
class ShutOut:
    """The bot may not use the channel any more; it learns that when it next tries."""

    async def play(self, stage: Stage) -> None:
        stage.place.shut_out()


@dataclass(frozen=True, slots=True)
class LetIn:
    async def play(self, stage: Stage) -> None:
        await stage.place.let_in()


@dataclass(frozen=True, slots=True)
class DeleteChannel:
    async def play(self, stage: Stage) -> None:
        await stage.place.delete_channel()


@dataclass(frozen=True, slots=True)
class Remove:
    """The bot is removed from the workspace, and hears of it."""

    async def play(self, stage: Stage) -> None:
        await stage.place.remove()


@dataclass(frozen=True, slots=True)
class RefuseToken:
    """The token is no good any more; the service learns that when it next uses it."""

    async def play(self, stage: Stage) -> None:
        stage.place.refuse_token()


@dataclass(frozen=True, slots=True)
class BringBack:
    async def play(self, stage: Stage) -> None:
        await stage.place.bring_back()


@dataclass(frozen=True, slots=True)
class DieSending:
    """The service is killed after the platform has taken what it was sending, and started again."""

    async def play(self, stage: Stage) -> None:
        await stage.die_sending()
