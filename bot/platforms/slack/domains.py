"""Where a workspace's people have their e-mail: one sign among others of who an organisation really is."""

from collections.abc import Awaitable, Callable

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bot.platforms.slack import errors

log = structlog.get_logger()

OnDomain = Callable[[str, str], Awaitable[None]]  # workspace, domain


async def learn(client: AsyncWebClient, team: str, token: str | None, on_domain: OnDomain | None) -> None:
    """Ask Slack, and tell ``on_domain`` what it says. Nothing depends on it, so a failure is only logged."""
    if on_domain is None:
        return
    try:
        response = await client.team_info(token=token)
        said = (response.get("team") or {}).get("email_domain")
    except errors.REMOTE as error:
        log.info("slack_domain_unknown", team=team, error=errors.code(error) or type(error).__name__)
        return
    for domain in str(said or "").split(","):
        if domain.strip():
            await on_domain(f"slack:{team}", domain.strip().casefold())
