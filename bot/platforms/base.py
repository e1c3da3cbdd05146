"""What every platform offers to delivering: the Notifier; and the Desk that it hands commands to."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from bot.domain.channel import Channel
from bot.domain.delivery import Found, Outcome, Sending


class Notifier(Protocol):
    """Renders and calls one platform's API. Returns an Outcome; never raises for what the remote side does.

    ``spacing``: least time between two sends to one channel, from the platform's documented limits.
    """

    platform: str
    spacing: timedelta

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
    separated by commas). ``flag``: takes no value.
    """

    name: str
    description: str
    required: bool = False
    positional: bool = False
    multiple: bool = False
    flag: bool = False
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong and what to do, each one sentence, for ``tocsin check`` and the log."""

    problem: str
    remedy: str


class Desk(Protocol):
    """What a platform hands over to: it answers slash commands and hears of losses. ``commands.Commands`` is it."""

    subcommands: Sequence[Subcommand]

    async def answer(self, invocation: Invocation) -> str:
        """The reply, plain text with line breaks, to be shown to the asker alone. Never raises for bad input."""
        ...

    async def lost(self, target: str, reason: str) -> None:
        """The bot was removed from ``target``: a workspace (``slack:T0123``) or a channel (``slack:T0123/C0456``)."""
        ...

    async def restored(self, target: str) -> None:
        """The bot is (back) in ``target``; what was held because it was lost may go."""
        ...
