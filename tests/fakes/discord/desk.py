"""A desk that records what the platform hands over."""

import asyncio
from collections.abc import Sequence

from bot.domain.channel import Channel
from bot.platforms import base


class FakeDesk:
    """``reply`` is what it answers to everything; ``opens``, ``faults`` and ``suggests`` what else it may answer."""

    def __init__(self, *subcommands: base.Subcommand, reply: str = "ok") -> None:
        self.subcommands: Sequence[base.Subcommand] = subcommands
        self.reply = reply
        self.opens: base.Form | None = None
        self.faults: base.Faults | None = None
        self.suggests: Sequence[str] = ()
        self.fails: Exception | None = None
        self.invocations: list[base.Invocation] = []
        self.presses: list[base.Press] = []
        self.submissions: list[base.Submission] = []
        self.completions: list[tuple[str, str, str, str, Channel]] = []
        self.heard: list[str] = []
        self._changed = asyncio.Condition()

    async def answer(self, invocation: base.Invocation) -> str:
        self.invocations.append(invocation)
        self._fail()
        return self.reply

    async def form(self, _invocation: base.Invocation) -> base.Form | None:
        return self.opens

    async def submit(self, submission: base.Submission) -> str | base.Faults:
        self.submissions.append(submission)
        self._fail()
        return self.faults or self.reply

    async def press(self, press: base.Press) -> str:
        self.presses.append(press)
        self._fail()
        return self.reply

    async def complete(self, command: str, subcommand: str, option: str, typed: str, channel: Channel) -> Sequence[str]:
        self.completions.append((command, subcommand, option, typed, channel))
        self._fail()
        return self.suggests

    async def lost(self, target: str, reason: str) -> None:
        await self._hear(f"lost {target}")

    async def restored(self, target: str) -> None:
        await self._hear(f"restored {target}")

    async def until(self, what: str, timeout_s: float = 10.0) -> None:
        async with asyncio.timeout(timeout_s), self._changed:
            await self._changed.wait_for(lambda: what in self.heard)

    def _fail(self) -> None:
        if self.fails is not None:
            raise self.fails

    async def _hear(self, what: str) -> None:
        self.heard.append(what)
        async with self._changed:
            self._changed.notify_all()
