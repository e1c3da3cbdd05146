"""The desk: what the chat platforms hand slash commands, forms, buttons and losses to."""

import asyncio
import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any
from zoneinfo import available_timezones

import structlog

from bot import admin, commands, forms, pressing, slash
from bot.admin import Actor
from bot.commands import Context
from bot.domain import errors, presets
from bot.domain.channel import Channel
from bot.domain.delivery import Quote
from bot.domain.subscription import PlaceFilter, Subscription
from bot.platforms.base import Action, Faults, Form, Invocation, Press, Subcommand, Submission
from bot.platforms.console import printable
from bot.store.database import Database
from classifiers.api import CATEGORIES

log = structlog.get_logger()

SUGGESTED_MOST = 25
_QUOTE_MOST = 300
_REFUSED_MOST = 200  # characters of a refused command in the audit
_NOT_WRITTEN = "the service could not write this down; its operators find the reason in its log"


class FrontDesk:
    """``operator_named``: account → that operator's name; ``locate``, ``suggest``: names of places; ``on_change``:
    something may be due now; ``two_persons``: the acts that another operator has to approve."""

    def __init__(
        self,
        database: Database,
        *,
        operator_named: Callable[[str], str | None],
        locate: Callable[[str], PlaceFilter | None],
        suggest: Callable[[str], Sequence[str]],
        now: Callable[[], datetime],
        on_change: Callable[[], None],
        two_persons: frozenset[str] = frozenset(),
    ) -> None:
        self._database = database
        self._operator_named = operator_named
        self._locate = locate
        self._suggest = suggest
        self._now = now
        self._on_change = on_change
        self._two_persons = two_persons
        self.subcommands: Sequence[Subcommand] = [
            *slash.subcommands(slash.tocsin),
            *slash.subcommands(slash.tocsin_admin),
        ]

    async def answer(self, invocation: Invocation) -> str:
        """Never raises for what a person typed or may not do."""
        group = slash.tocsin_admin if invocation.command == "tocsin-admin" else slash.tocsin
        argv = [slash.storable(word) for word in invocation.argv]
        context = self._context(invocation.actor, invocation.channel, workspace_admin=invocation.workspace_admin)
        try:
            if group is slash.tocsin_admin and context.actor.operator is None:
                await admin.refuse(
                    self._database, context.actor, *_asked_for(argv), self._now(), "not an operator"
                )  # fmt: skip
            answer = await slash.invoke(group, argv, context)
        except errors.StoreError as error:
            log.error("command_failed", command=invocation.command, problem=str(error))
            return _NOT_WRITTEN
        except errors.TocsinError as error:
            return str(error)
        self._on_change()
        return answer.text

    async def form(self, invocation: Invocation) -> Form | None:
        """``/tocsin subscribe`` without a place, and ``/tocsin change``, for whoever may change what the channel gets;
        everybody else, and whoever types something wrong, gets ``answer``."""
        words = [slash.storable(word) for word in invocation.argv]
        if invocation.command != "tocsin" or words[:1] not in (["subscribe"], ["change"]) or "--help" in words:
            return None
        context = self._context(invocation.actor, invocation.channel, workspace_admin=invocation.workspace_admin)
        try:
            if not await admin.may_change(self._database, context.actor, invocation.channel, self._now()):
                return None
            return await self._asked(words, context)
        except errors.TocsinError:
            return None

    async def submit(self, submission: Submission) -> str | Faults:
        """Never raises for what a person filled in or may not do."""
        state = forms.State.from_text(submission.state)
        context = self._context(submission.actor, submission.channel, workspace_admin=submission.workspace_admin)
        values = {name: tuple(map(slash.storable, given)) for name, given in submission.values.items()}
        try:
            changed = await slash.find_subscription(context, state.replacing) if state.replacing else None
            wanted = forms.read(values, self._locate, str(submission.channel), changed)
            if isinstance(wanted, Faults):
                return wanted
            answer = await commands.add(context, wanted, preset=state.preset, replacing=state.replacing)
        except errors.StoreError as error:
            log.error("form_failed", problem=str(error))
            return _NOT_WRITTEN
        except errors.TocsinError as error:
            return str(error)
        self._on_change()
        return answer.text

    async def press(self, press: Press) -> str:
        """Never raises for what a person may not do."""
        context = self._context(press.actor, press.channel, workspace_admin=False)
        try:
            pressed = await pressing.press(self._database, context.actor, self._now(), press)
            if press.action is Action.WHY and pressed.alert is not None:
                return (await commands.why(context, press.channel, pressed.alert.event)).text
        except errors.StoreError as error:
            log.error("press_failed", action=press.action.value, problem=str(error))
            return _NOT_WRITTEN
        except errors.TocsinError as error:
            return str(error)
        self._on_change()
        return "\n".join([pressed.text, *map(_quoted, pressed.quotes)])

    async def complete(self, command: str, subcommand: str, option: str, typed: str, channel: Channel) -> Sequence[str]:
        """Categories, places, time zones, and the channel's own subscriptions."""
        found: Sequence[str]
        match option:
            case "category":
                found = _like(typed, CATEGORIES)
            case "place":
                found = await asyncio.to_thread(self._suggest, typed)
            case "zone":
                found = _like(typed, await asyncio.to_thread(_zones))
            case "subscription" if command == "tocsin" and subcommand in ("change", "unsubscribe"):
                try:
                    owned = await self._database.read(admin.subscriptions, self._now(), channel)
                except errors.TocsinError:
                    return []
                found = _like(typed, [each.subscription for each in owned])
            case _:
                found = []
        return list(found)[:SUGGESTED_MOST]

    async def lost(self, target: str, reason: str) -> None:
        held = await self._database.write(admin.record_loss, self._now(), target, reason)
        log.error("channel_lost", target=target, reason=reason, held=held)

    async def restored(self, target: str) -> None:
        released = await self._database.write(admin.record_return, self._now(), target)
        if released:
            log.info("channel_restored", target=target, released=released)
            self._on_change()

    def _context(self, account: str, channel: Channel, *, workspace_admin: bool) -> Context:
        return Context(
            database=self._database,
            actor=Actor(
                id=account,
                surface=channel.platform,
                operator=self._operator_named(account),
                workspace=channel.workspace if workspace_admin else None,
                member=channel.workspace if _belongs(account, channel) else None,
            ),
            now=self._now,
            locate=self._locate,
            channel=channel,
            two_persons=self._two_persons,
        )

    async def _asked(self, words: Sequence[str], context: Context) -> Form | None:
        """The form that a command asks for, filled in with what it says already."""
        command = slash.tocsin.commands[words[0]]
        with slash.parsed(slash.tocsin, command, words[1:], context) as found:
            values = dict(found.params)
        if words[0] == "change":
            changed = await slash.find_subscription(context, values["subscription"])
            return forms.ask(changed, forms.State(replacing=changed.subscription))
        if values["anywhere"] or values["place"] or _is_beyond_form(values):
            return None
        begun: Subscription = commands.wanted_from(values, self._locate, str(context.channel))
        preset = values["preset"] if values["preset"] in presets.PRESETS else None
        return forms.ask(begun, forms.State(preset=preset))


@cache
def _zones() -> tuple[str, ...]:
    """Reading them takes some hundred files."""
    return tuple(sorted(available_timezones()))


def _is_beyond_form(values: Mapping[str, Any]) -> bool:
    """Does it say what the form does not ask about, and would forget?"""
    return bool(values["radius"] or values["lang"] or values["provider"] or values["voices"] > 1)


def _asked_for(argv: Sequence[str]) -> tuple[str, str]:
    """What stands in the audit of a stranger's command: of words that are none of ours nothing, they may be a code."""
    if not argv or argv[0] not in slash.tocsin_admin.commands:
        return "admin", "unknown command" if argv else ""
    return argv[0], shlex.join(argv[1:])[:_REFUSED_MOST]


def _belongs(account: str, channel: Channel) -> bool:
    """Is this one of the workspace's own people? In a channel that two Slack workspaces share, others write too; on
    Discord an account has no server, and whoever can use the channel is a member of its server."""
    return channel.platform == "discord" or account.startswith(f"{channel.workspace}/")


def _quoted(quote: Quote) -> str:
    text = printable(quote.text)
    said = text if len(text) <= _QUOTE_MOST else text[: _QUOTE_MOST - 1] + "…"
    return "\n".join(filter(None, [f"“{said}” · {quote.provider}", quote.url]))


def _like(typed: str, known: Sequence[str]) -> list[str]:
    """Those that begin so, then those that hold it."""
    wanted = typed.strip().casefold().replace(" ", "_")
    begun = [each for each in known if each.casefold().startswith(wanted)]
    return begun + [each for each in known if each not in begun and wanted in each.casefold()]
