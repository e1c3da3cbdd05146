"""The places that the shared scenarios and faults act on: one set of verbs for all platforms, and the desk that
listens. Behind each stand the real client and a server that speaks the platform's protocol."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Protocol

from bot.desk import FrontDesk
from bot.platforms import base
from bot.platforms.base import Form, Invocation, Notifier, Press, Submission
from tests.worlds import World

Values = Mapping[str, str | Sequence[str]]


class Who(Enum):
    ADMIN = "an admin of the workspace"
    MEMBER = "somebody else there"
    STRANGER = "somebody of another workspace"


class Kind(StrEnum):
    MESSAGE = "message"  # of its own, in the channel
    REPLY = "reply"  # in the message's thread
    LOUD = "loud reply"  # answers the message and is seen in the channel as well


@dataclass(frozen=True, slots=True)
class Standing:
    """A message that exists on the server. ``text``: what a person reads there."""

    kind: Kind
    text: str


class Ill(Enum):
    """What may become of one call. The platforms differ in how they say it."""

    RATE_LIMITED = "429"
    BROKEN = "500"
    BROKEN_AFTER = "500, processed"
    DOWN = "503"
    RESET = "reset"
    RESET_AFTER = "reset, processed"
    TIMED_OUT = "time-out"
    TIMED_OUT_AFTER = "time-out, processed"
    INTERNAL_ERROR = "internal_error"
    INTERNAL_ERROR_AFTER = "internal_error, processed"
    FATAL_ERROR = "fatal_error"
    FATAL_ERROR_AFTER = "fatal_error, processed"


class Call(StrEnum):
    """What a platform is asked for, in a word that both understand."""

    POST = "post"
    EDIT = "edit"
    DELETE = "delete"
    LIST = "list"
    LIST_THREAD = "list a thread"
    OPEN_THREAD = "open a thread"


class HearingDesk(FrontDesk):
    """The real one, which also notes what it is asked and told, without ids."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.heard: list[str] = []
        self.shown: Form | None = None
        self._news = asyncio.Condition()

    async def answer(self, invocation: Invocation) -> str:
        self.heard.append(f"answer {invocation.argv[0]}")
        return await super().answer(invocation)

    async def form(self, invocation: Invocation) -> Form | None:
        self.shown = await super().form(invocation)
        return self.shown

    async def submit(self, submission: Submission) -> str | base.Faults:
        self.heard.append("submit")
        return await super().submit(submission)

    async def press(self, press: Press) -> str:
        self.heard.append(f"press {press.action.value}")
        return await super().press(press)

    async def lost(self, target: str, reason: str) -> None:
        await super().lost(target, reason)
        await self._hear(f"lost {_what(target)}")

    async def restored(self, target: str) -> None:
        await super().restored(target)
        await self._hear(f"restored {_what(target)}")

    async def until(self, what: str, times: int = 1) -> None:
        async with asyncio.timeout(10), self._news:
            await self._news.wait_for(lambda: self.heard.count(what) >= times)

    async def _hear(self, what: str) -> None:
        self.heard.append(what)
        async with self._news:
            self._news.notify_all()


class Place(Protocol):
    """One channel of a workspace, a second one, and the people there. ``channel``: as the store writes it."""

    name: str
    platform: str
    notifier: Notifier

    @property
    def channel(self) -> str: ...

    def open(self, world: World, desk: HearingDesk) -> contextlib.AbstractAsyncContextManager[None]: ...

    def move(self, number: int) -> None:
        """To a channel of the same workspace where nothing has been said yet."""
        ...

    def standing(self) -> list[Standing]: ...

    def unfired(self) -> Sequence[object]: ...

    async def command(self, subcommand: str, options: Mapping[str, str], who: Who) -> str: ...

    async def fill(self, values: Values, who: Who) -> str:
        """``/tocsin subscribe``, filled in (field → values) and sent off."""
        ...

    async def press(self, label: str, who: Who, *, elsewhere: bool = False) -> str:
        """Under the channel's first message; ``elsewhere``: as if it stood in another channel of the workspace."""
        ...

    def strike(self, call: Call, ill: Ill, times: int = 1) -> None: ...

    def shut_out(self) -> None:
        """The bot may not use the channel any more, and nobody says so."""
        ...

    async def let_in(self) -> None: ...

    def let_in_silently(self) -> None: ...

    async def delete_channel(self) -> None: ...

    async def remove(self) -> None:
        """The bot, from the workspace."""
        ...

    def refuse_token(self) -> None: ...

    async def bring_back(self) -> None:
        """After ``remove`` or ``refuse_token``."""
        ...


def _what(target: str) -> str:
    return "channel" if "/" in target else "workspace"
