"""An event's message and its thread as Slack and Discord are asked to show them: the very renderings, as JSON."""

import dataclasses
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from bot.domain.channel import Channel
from bot.domain.delivery import Act, Message, Sending
from bot.platforms.discord import render as discord
from bot.platforms.slack import render as slack

_DELIVERY = "preview"
_SLACK = Channel("slack", "T0", "C0")
_DISCORD = Channel("discord", "0", "0")


def of(messages: Sequence[Message], at: datetime) -> dict[str, Any]:
    """``messages``: revisions of one event, the last first told as the event's message, those after the first as
    replies in its thread too."""
    sendings = [(Act.EDIT if len(messages) > 1 else Act.POST, messages[-1])]
    sendings += [(Act.REPLY, message) for message in messages[1:]]
    return {
        "slack": [dataclasses.asdict(slack.render(_sending(_SLACK, act, each, at))) for act, each in sendings],
        "discord": [dataclasses.asdict(discord.render(_sending(_DISCORD, act, each, at))) for act, each in sendings],
    }


def _sending(channel: Channel, act: Act, message: Message, at: datetime) -> Sending:
    return Sending(
        delivery=_DELIVERY,
        root=_DELIVERY,
        channel=channel,
        act=act,
        message=message,
        target_id=None if act is Act.POST else _DELIVERY,
        attempt=1,
        uncertain=False,
        created_at=at,
    )
