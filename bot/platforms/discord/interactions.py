"""What people type, press and send off on Discord: each becomes a question to the desk, answered to the asker alone.

Discord waits 3 s for the first answer to an interaction: a modal, choices, or "thinking …".
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import aiohttp
import discord
import structlog

from bot.domain import delivery, errors
from bot.domain.channel import Channel
from bot.platforms import base
from bot.platforms.discord import commands, completing, components, escaping, forms, render

log = structlog.get_logger()

PATIENCE = timedelta(seconds=2)
_MOST_REPLIES = 5
_NOBODY = discord.AllowedMentions.none()
_NETWORK = (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError)
_NOT_HERE = "tocsin works in the channels of a server, not in direct messages; use this command there."
_FAILED = "This failed inside tocsin; nothing may have been changed. Its log says why; tell the operator."
_FORGOTTEN = "This form is no longer there; give the command again."
_UNKNOWN = "This button is no longer known; nothing was changed."
_Interaction = discord.Interaction[Any]
_T = TypeVar("_T")


async def answer(interaction: _Interaction, desk: base.Desk, opened: forms.Open) -> None:
    channel = _where(interaction)
    if interaction.type is discord.InteractionType.autocomplete:
        await _complete(interaction, desk, channel)
    elif channel is None:
        await _tell(interaction, _say(_NOT_HERE))
    elif interaction.type is discord.InteractionType.application_command:
        await _command(interaction, desk, channel, opened)
    elif interaction.type is discord.InteractionType.component:
        await _press(interaction, desk, channel, opened)
    elif interaction.type is discord.InteractionType.modal_submit:
        await _submit(interaction, desk, channel, opened)


async def _command(interaction: _Interaction, desk: base.Desk, channel: Channel, opened: forms.Open) -> None:
    data = _data(interaction)
    invocation = base.Invocation(
        command=str(data.get("name", "")),
        argv=commands.argv(data, desk.subcommands),
        actor=_actor(interaction),
        channel=channel,
        workspace_admin=_administers(interaction),
    )
    # A modal can only be the first answer, and asking for it must leave time for that.
    form = await _in_time(desk.form(invocation), what="form")
    if form is None or not await _opens(interaction, form, channel, opened):
        await _tell(interaction, partial(desk.answer, invocation))


async def _press(interaction: _Interaction, desk: base.Desk, channel: Channel, opened: forms.Open) -> None:
    data = _data(interaction)
    custom_id = str(data.get("custom_id", ""))
    pressed = components.parse(custom_id)
    if forms.is_again(custom_id):
        form = opened.of(_asker(interaction, channel))
        if form is None or not await _opens(interaction, form, channel, opened):
            await _tell(interaction, _say(_FORGOTTEN))
    elif pressed is None:
        await _tell(interaction, _say(_UNKNOWN))
    else:
        action, root = pressed
        value = str(next(iter(data.get("values") or ()), ""))
        press = base.Press(action=action, delivery=root, actor=_actor(interaction), channel=channel, value=value)
        await _tell(interaction, partial(desk.press, press))


async def _submit(interaction: _Interaction, desk: base.Desk, channel: Channel, opened: forms.Open) -> None:
    data = _data(interaction)
    state = forms.state(str(data.get("custom_id", "")))
    if state is None:
        await _tell(interaction, _say(_FORGOTTEN))
        return
    submission = base.Submission(
        state=state,
        values=forms.values(data),
        actor=_actor(interaction),
        channel=channel,
        workspace_admin=_administers(interaction),
    )
    if not await _acknowledged(interaction):
        return
    reply = await _asked(partial(desk.submit, submission))
    asker = _asker(interaction, channel)
    form = opened.of(asker, state)
    if not isinstance(reply, base.Faults):
        opened.done(asker)
        await _show(interaction, reply)
        return
    if form is not None:
        opened.keep(asker, forms.filled(form, submission.values))
    await _show(interaction, forms.faults(reply, form), view=None if form is None else forms.again())


async def _complete(interaction: _Interaction, desk: base.Desk, channel: Channel | None) -> None:
    what = completing.asked(_data(interaction), desk.subcommands)
    found = None
    if what is not None and channel is not None:
        asking = desk.complete(what.command, what.subcommand, what.option, what.typed, channel)
        found = await _in_time(asking, what="completion")
    values = completing.choices(what, found) if what is not None and found is not None else []
    try:
        await _cut(interaction.response.autocomplete([discord.app_commands.Choice(name=v, value=v) for v in values]))
    except _NETWORK as error:
        log.warning("completion_not_shown", error=type(error).__name__)


async def _opens(interaction: _Interaction, form: base.Form, channel: Channel, opened: forms.Open) -> bool:
    """Show the form; False if that failed, and then there may still be another answer."""
    try:
        await _cut(interaction.response.send_modal(forms.modal(form)))
    except (*_NETWORK, ValueError) as error:
        log.warning("form_not_shown", error=type(error).__name__)
        return False
    opened.keep(_asker(interaction, channel), form)
    return True


async def _tell(interaction: _Interaction, ask: Callable[[], Awaitable[str]]) -> None:
    if await _acknowledged(interaction):
        await _show(interaction, await _asked(ask))


async def _acknowledged(interaction: _Interaction) -> bool:
    try:
        await _cut(interaction.response.defer(ephemeral=True, thinking=True))
    except _NETWORK as error:
        # The asker sees that it failed and does it again, so it must not be carried out now.
        log.warning("command_not_acknowledged", error=type(error).__name__)
        return False
    return True


async def _asked(ask: Callable[[], Awaitable[_T]]) -> _T | str:
    try:
        return await ask()
    except errors.TocsinError as error:
        return str(error)
    except Exception:
        # The boundary: somebody looks at "thinking …" and must be told, whatever broke.
        log.exception("command_failed")
        return _FAILED


async def _in_time(asking: Awaitable[_T], *, what: str) -> _T | None:
    """None if the desk takes too long or fails: then the interaction is answered without it."""
    try:
        async with asyncio.timeout(PATIENCE.total_seconds()):
            return await asking
    except (TimeoutError, errors.TocsinError) as error:
        log.info("desk_gave_nothing", asked=what, error=type(error).__name__)
    except Exception:
        log.exception("desk_gave_nothing", asked=what)
    return None


async def _show(interaction: _Interaction, reply: str, *, view: discord.ui.View | None = None) -> None:
    text = reply if reply.strip() else "Done."
    first, *rest = escaping.pages(text, limit=render.CONTENT_LIMIT, most=_MOST_REPLIES)
    try:
        await _cut(interaction.edit_original_response(content=first, allowed_mentions=_NOBODY, view=view))
        for page in rest:
            await _cut(interaction.followup.send(page, ephemeral=True, allowed_mentions=_NOBODY, wait=True))
    except _NETWORK as error:
        log.warning("reply_not_shown", error=type(error).__name__)


async def _cut(call: Awaitable[object]) -> None:
    async with asyncio.timeout(delivery.CALL_TIMEOUT.total_seconds()):
        await call


def _say(text: str) -> Callable[[], Awaitable[str]]:
    async def said() -> str:
        return text

    return said


def _where(interaction: _Interaction) -> Channel | None:
    """The thread of an event's message belongs to the channel that is subscribed. None in a direct message."""
    here = interaction.channel
    channel = here.parent_id if isinstance(here, discord.Thread) else interaction.channel_id
    if interaction.guild_id is None or channel is None:
        return None
    return Channel("discord", str(interaction.guild_id), str(channel))


def _actor(interaction: _Interaction) -> str:
    return f"discord:{interaction.user.id}"


def _asker(interaction: _Interaction, channel: Channel) -> forms.Asker:
    return forms.Asker(user=interaction.user.id, channel=channel)


def _administers(interaction: _Interaction) -> bool:
    permissions = interaction.permissions
    return permissions.manage_guild or permissions.administrator


def _data(interaction: _Interaction) -> Mapping[str, Any]:
    data: Mapping[str, Any] = interaction.data or {}
    return data
