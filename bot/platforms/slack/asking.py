"""Who asks something of the service on Slack, and how they alone are answered."""

from dataclasses import dataclass
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.domain.channel import Channel
from bot.platforms.slack import errors, render
from bot.platforms.slack.workspaces import Workspaces

log = structlog.get_logger()

FAULT = "This could not be done because of a fault inside Tocsin; its log says more."


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """Somebody in a channel. ``response_url`` answers them for half an hour, wherever the bot may speak or not."""

    actor: str
    channel: Channel
    user: str
    response_url: str | None


class Asking:
    """Speaks to each workspace with its own token."""

    def __init__(self, *, client: AsyncWebClient, workspaces: Workspaces) -> None:
        self._client = client
        self._workspaces = workspaces

    async def is_admin(self, asker: Asker) -> bool:
        """Does Slack say now that this person administers the workspace? No where it does not answer."""
        token = await self._workspaces.token(asker.channel.workspace_id)
        try:
            response = await self._client.users_info(user=asker.user, token=token)
        except errors.REMOTE as error:
            log.warning("slack_user_unknown", user=asker.user, error=errors.code(error) or type(error).__name__)
            return False
        found = response.get("user") or {}
        return bool(found.get("is_admin") or found.get("is_owner"))

    async def open(self, asker: Asker, trigger_id: str, view: dict[str, Any]) -> str | None:
        """Show a modal; what went wrong, or None."""
        token = await self._workspaces.token(asker.channel.workspace_id)
        try:
            await self._client.views_open(trigger_id=trigger_id, view=view, token=token)
        except errors.REMOTE as error:
            said = errors.code(error) or type(error).__name__
            log.warning("form_not_opened", actor=asker.actor, error=said)
            return said
        return None

    async def reply(self, asker: Asker, text: str) -> bool:
        """To the asker alone, by the response_url; what they answered to stays as it is."""
        # As Bolt's respond(), but over the shared session, with its timeout and without a proxy for a local server.
        if asker.response_url is None:
            return False
        message = render.reply(text)
        client = AsyncWebhookClient(asker.response_url, session=self._client.session, retry_handlers=[])
        client.proxy = self._client.proxy
        try:
            response = await client.send(
                text=message.text, blocks=message.blocks, response_type="ephemeral", replace_original=False
            )
        except errors.REMOTE as error:
            log.warning("reply_failed", actor=asker.actor, error=type(error).__name__)
            return False
        if response.status_code != 200:
            log.warning("reply_failed", actor=asker.actor, status=response.status_code)
        return response.status_code == 200

    async def whisper(self, asker: Asker, text: str) -> None:
        """To the asker alone, in the channel; by the response_url where the bot may not speak there."""
        message = render.reply(text)
        token = await self._workspaces.token(asker.channel.workspace_id)
        try:
            await self._client.chat_postEphemeral(
                channel=asker.channel.channel_id,
                user=asker.user,
                text=message.text,
                blocks=message.blocks,
                token=token,
            )
        except errors.REMOTE as error:
            log.info("whisper_failed", actor=asker.actor, error=errors.code(error) or type(error).__name__)
            await self.reply(asker, text)
