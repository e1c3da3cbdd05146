"""What every platform offers to delivering: the Notifier; and the Desk that it hands commands to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Protocol

from bot.domain.channel import Channel
from bot.domain.delivery import Found, Outcome, Sending


class Notifier(Protocol):
    """Renders and calls one platform's API. Returns an Outcome; never raises for what the remote side does.

    ``spacing``: least time between two sends to one channel, ``per_second``: most sends over all channels, from the
    platform's documented limits (None: it has no such limit).
    """

    platform: str
    spacing: timedelta
    per_second: float | None

    async def send(self, sending: Sending) -> Outcome:
        """Carry out the act. Posts carry ``sending.delivery`` so that ``find`` can see them."""
        ...

    async def find(self, sending: Sending) -> Found:
        """Look in the channel's history (or the thread's, for a REPLY) for ``sending.delivery``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a subcommand, enough to register it with a platform.

    ``positional``: written without its name. ``multiple``: may be given several times (on Discord: one text,
    separated by commas, by semicolons where values are completed freely). ``flag``: takes no value. ``completes``:
    ``Desk.complete`` has suggestions for it.
    """

    name: str
    description: str
    required: bool = False
    positional: bool = False
    multiple: bool = False
    flag: bool = False
    completes: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subcommand:
    """``/COMMAND NAME OPTIONS…``; ``command`` is ``tocsin`` or ``tocsin-admin``."""

    command: str
    name: str
    description: str
    options: tuple[Option, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Invocation:
    """A slash command as it arrived. ``argv`` has the command line's syntax, the subcommand first.

    ``actor``: ``slack:T0123/U0456`` or ``discord:1234567890``. ``workspace_admin``: the platform says that this person
    administers the workspace.
    """

    command: str
    argv: tuple[str, ...]
    actor: str
    channel: Channel
    workspace_admin: bool


class Action(StrEnum):
    """The buttons under an event's message."""

    ACKNOWLEDGE = "acknowledge"
    MUTE = "mute"  # its value is one of MUTES
    IRRELEVANT = "irrelevant"
    SOURCES = "sources"
    WHY = "why"


# What can be chosen for MUTE → the words of the choice.
MUTES: Mapping[str, str] = {
    "1h": "Mute for 1 hour",
    "today": "Mute for today",
    "escalation": "Mute until it escalates",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Press:
    """A button that somebody pressed. ``delivery`` is ``Sending.root`` of the message that it stands under, as the
    button carries it; ``channel`` is where the platform says that it was pressed."""

    action: Action
    delivery: str
    actor: str
    channel: Channel
    value: str = ""


class FieldKind(StrEnum):
    TEXT = "text"
    CHOICE = "choice"  # one of ``choices``
    CHOICES = "choices"  # any number of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form. ``choices``: (value, label), at most 25. ``initial``: values, for TEXT at most one."""

    name: str
    label: str
    kind: FieldKind
    choices: tuple[tuple[str, str], ...] = ()
    initial: tuple[str, ...] = ()
    required: bool = False
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """Settings to fill in, shown to the asker alone: at most 5 fields, title of at most 24 characters. ``state`` comes
    back in the Submission as it is."""

    title: str
    fields: tuple[Field, ...]
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A form as somebody sent it off. ``values``: field name → values, empty where nothing was given."""

    state: str
    values: Mapping[str, tuple[str, ...]]
    actor: str
    channel: Channel
    workspace_admin: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is wrong with a submission: field name → sentence. Nothing was changed."""

    fields: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong and what to do, each one sentence, for ``tocsin check`` and the log."""

    problem: str
    remedy: str


class Desk(Protocol):
    """What a platform hands over to: it answers slash commands and hears of losses. ``desk.FrontDesk`` is it."""

    subcommands: Sequence[Subcommand]

    async def answer(self, invocation: Invocation) -> str:
        """The reply, plain text with line breaks, to be shown to the asker alone. Never raises for bad input."""
        ...

    async def form(self, invocation: Invocation) -> Form | None:
        """The form that answers this command, or None: then ask ``answer``. Changes nothing."""
        ...

    async def submit(self, submission: Submission) -> str | Faults:
        """The reply to a form, as ``answer`` gives it, or what is wrong with it."""
        ...

    async def press(self, press: Press) -> str:
        """The reply to a button, as ``answer`` gives it. Asks for access now, however old the message is."""
        ...

    async def complete(self, command: str, subcommand: str, option: str, typed: str, channel: Channel) -> Sequence[str]:
        """At most 25 values for an option that ``completes``, the best first."""
        ...

    async def lost(self, target: str, reason: str) -> None:
        """The bot was removed from ``target``: a workspace (``slack:T0123``) or a channel (``slack:T0123/C0456``)."""
        ...

    async def restored(self, target: str) -> None:
        """The bot is (back) in ``target``; what was held because it was lost may go."""
        ...
