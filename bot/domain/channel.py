"""Channels: where messages go, written ``slack:T0123/C0456``, ``discord:GUILD/CHANNEL`` or ``console:-/NAME``."""

import re
from dataclasses import dataclass

from bot.domain import errors

PLATFORMS = ("slack", "discord", "console")
_PATTERN = re.compile(r"(slack|discord|console):([^/\s:]+)/([^/\s]+)")


@dataclass(frozen=True, slots=True)
class Channel:
    platform: str
    workspace_id: str
    channel_id: str

    def __str__(self) -> str:
        return f"{self.workspace}/{self.channel_id}"

    @property
    def workspace(self) -> str:
        """``slack:T0123``: a Slack team or a Discord guild."""
        return f"{self.platform}:{self.workspace_id}"


def parse(text: str) -> Channel:
    """Raise UsageError unless ``text`` has one of the three written forms."""
    match = _PATTERN.fullmatch(text)
    if match is None:
        raise errors.UsageError(
            f"channel {text!r} is not written as slack:T0123/C0456, discord:GUILD/CHANNEL or console:-/NAME"
        )
    return Channel(match[1], match[2], match[3])
