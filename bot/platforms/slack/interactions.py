"""Buttons and forms from Slack: acknowledged in time, then handed to the Desk, the answer shown to one person alone.

What a payload claims is passed on as it is; whether that person may do that there is the Desk's to decide.
"""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog
from slack_bolt.context.ack.async_ack import AsyncAck

from bot.domain.channel import Channel
from bot.platforms import base
from bot.platforms.slack import asking, forms, render
from bot.platforms.slack.asking import Asker

log = structlog.get_logger()

# Slack wants a submission acknowledged within 3 s, and the acknowledgement says whether the form stays open.
PATIENCE = timedelta(seconds=2.5)


class Interactions:
    """``pressed`` and ``submitted`` are called by Bolt's listeners, which acknowledge a press themselves."""

    def __init__(self, *, desk: base.Desk, asking: asking.Asking, patience: timedelta = PATIENCE) -> None:
        self._desk = desk
        self._asking = asking
        self._patience = patience.total_seconds()

    async def pressed(self, body: Mapping[str, Any]) -> None:
        read = press(body)
        if read is None:
            log.warning("press_ignored", why="it is not of a button of ours")
            return
        pressed, asker = read
        try:
            reply = await self._desk.press(pressed)
        except Exception:
            log.exception("press_failed", action=pressed.action.value, actor=asker.actor)
            reply = asking.FAULT
        await self._asking.reply(asker, reply)

    async def submitted(self, ack: AsyncAck, body: Mapping[str, Any]) -> None:
        """The form stays open with what is wrong, or closes; a Desk that takes too long answers after it has closed."""
        view = body["view"]
        try:
            asker, state, values = submission(body)
        except (KeyError, ValueError, TypeError, AttributeError):
            log.warning("submission_ignored", why="it is not of a form of ours")
            await ack()
            return
        work = asyncio.create_task(self._submit(asker, state, values), name="slack-submission")
        try:
            await asyncio.wait({work}, timeout=self._patience)
            if work.done() and isinstance(found := work.result(), base.Faults):
                await ack(response_action="errors", errors=forms.faults(view, found))
                return
            await ack()
            found = await work
        finally:
            work.cancel()
        await self._asking.whisper(asker, forms.told(view, found) if isinstance(found, base.Faults) else found)

    async def _submit(self, asker: Asker, state: str, values: Mapping[str, tuple[str, ...]]) -> str | base.Faults:
        try:
            return await self._desk.submit(
                base.Submission(
                    state=state,
                    values=values,
                    actor=asker.actor,
                    channel=asker.channel,
                    workspace_admin=await self._asking.is_admin(asker),
                )
            )
        except Exception:
            log.exception("submission_failed", actor=asker.actor)
            return asking.FAULT


def press(body: Mapping[str, Any]) -> tuple[base.Press, Asker] | None:
    """What was pressed and by whom; None for what is not a button of ours or is not complete."""
    try:
        (pressed,) = body["actions"]
        team, channel, user = body["team"]["id"], body["channel"]["id"], body["user"]
        action = render.action(pressed["action_id"])
        carried = pressed["selected_option"]["value"] if action is base.Action.MUTE else pressed["value"]
        delivery, _, value = carried.partition(render.MUTE_SEPARATOR)
        asker = _asker(team, channel, user, body.get("response_url"))
    except (KeyError, ValueError, TypeError, AttributeError):
        return None
    if not delivery or (value not in base.MUTES if action is base.Action.MUTE else value):
        return None
    return (
        base.Press(action=action, delivery=delivery, actor=asker.actor, channel=asker.channel, value=value),
        asker,
    )


def submission(body: Mapping[str, Any]) -> tuple[Asker, str, dict[str, tuple[str, ...]]]:
    """Who sent off a form, its state and its values; raises KeyError, ValueError, TypeError or AttributeError."""
    view = body["view"]
    origin = forms.origin(view)
    asker = _asker(body["team"]["id"], origin.channel, body["user"], origin.response_url)
    return asker, origin.state, forms.values(view)


def _asker(team: str, channel: str, user: Mapping[str, Any], response_url: str | None) -> Asker:
    """In a channel that two workspaces share, a person may be of the other one."""
    home = user.get("team_id") or team
    for part in (team, channel, user["id"], home):
        if not isinstance(part, str) or not part.isalnum():
            raise ValueError("an id that is not one of Slack's")
    return Asker(
        actor=f"slack:{home}/{user['id']}",
        channel=Channel("slack", team, channel),
        user=user["id"],
        response_url=response_url,
    )
