"""Which Slack workspaces the service may speak to, and with which token."""

from typing import Protocol


class Workspaces(Protocol):
    """Asked before every call; ``team`` is Slack's id of a workspace, ``T0123``."""

    async def token(self, team: str) -> str | None:
        """The bot token for this workspace; None where the app is not installed (any more)."""
        ...

    async def bot_user(self, team: str) -> str | None:
        """The app's own user there, ``U0456``; None where it is not known."""
        ...


class OneWorkspace:
    """Socket Mode: the one token of the configuration. ``team`` and ``user`` are known once Slack has been reached."""

    def __init__(self, token: str) -> None:
        self.team: str | None = None
        self.user: str | None = None
        self._token = token

    async def token(self, team: str) -> str | None:
        return self._token if team == self.team else None

    async def bot_user(self, team: str) -> str | None:
        return self.user if team == self.team else None
