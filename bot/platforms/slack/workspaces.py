"""Which Slack workspaces the service may speak to, and with which token."""

from typing import Protocol

from bot.domain.channel import Channel
from bot.domain.delivery import Rejected, Scope, Unavailable
from bot.store import installations
from bot.store.database import Database
from bot.store.installations import Installation


class Workspaces(Protocol):
    """Asked before every call; ``team`` is Slack's id of a workspace, ``T0123``."""

    async def token(self, team: str) -> str | None:
        """The bot token for this workspace; None where the app is not installed (any more)."""
        ...

    async def bot_user(self, team: str) -> str | None:
        """The app's own user there, ``U0456``; None where it is not known."""
        ...

    def without_token(self, channel: Channel) -> Unavailable | Rejected:
        """The Outcome of sending to a channel whose workspace has no token."""
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

    def without_token(self, channel: Channel) -> Unavailable | Rejected:
        if self.team is None:
            return Unavailable(reason="Slack has not been reached yet")
        return Rejected(
            reason=f"workspace {channel.workspace_id}: the bot token belongs to workspace {self.team}",
            remedy=f"give the channel up with tocsin channel remove {channel}, "
            "or run a service with that workspace's token",
            scope=Scope.WORKSPACE,
        )


class InstalledWorkspaces:
    """HTTP mode: those that installed the app. Asks the store each time, so a token that was let go is never used."""

    def __init__(self, database: Database, install_url: str) -> None:
        self._database = database
        self._install_url = install_url

    async def token(self, team: str) -> str | None:
        found = await self._find(team)
        return None if found is None else found.bot_token

    async def bot_user(self, team: str) -> str | None:
        found = await self._find(team)
        return None if found is None else found.bot_user

    def without_token(self, channel: Channel) -> Unavailable | Rejected:
        return Rejected(
            reason=f"workspace {channel.workspace_id}: the app is not installed there",
            remedy=f"install it again at {self._install_url}",
            scope=Scope.WORKSPACE,
        )

    async def _find(self, team: str) -> Installation | None:
        return await self._database.read(installations.find, f"slack:{team}")
