"""The Slack app's manifest: what the app is called, what it may do and where Slack reaches it."""

import re
from typing import Any

from bot.domain import errors

# channels:read and groups:read: without them Slack does not tell when the bot is removed from a channel. team:read: the
# domain of the workspace's e-mail, for `tocsin audit clients`.
SCOPES = (
    "chat:write",
    "commands",
    "channels:history",
    "groups:history",
    "channels:read",
    "groups:read",
    "team:read",
    "users:read",
)
EVENTS = (
    "app_uninstalled",
    "tokens_revoked",
    "member_joined_channel",
    "member_left_channel",
    "channel_left",
    "channel_archive",
    "channel_unarchive",
    "channel_deleted",
    "group_left",
    "group_archive",
    "group_unarchive",
    "group_deleted",
)
EVENTS_PATH = "/slack/events"
INSTALL_PATH = "/slack/install"
REDIRECT_PATH = "/slack/oauth_redirect"

_NAME_MOST = 35
_COMMANDS = (
    ("/tocsin", "Alerts in this channel: what to get, when, and why", "subscribe | mute | status | why | help"),
    ("/tocsin-admin", "For operators: withdraw access and give it back", "revoke | reinstate | orgs | audit"),
)


def manifest(public_url: str | None, name: str = "Tocsin") -> dict[str, Any]:
    """For "Create New App → From a manifest". ``public_url`` None: Socket Mode. Raises UsageError for a bad name."""
    if not name.strip() or len(name) > _NAME_MOST:
        raise errors.UsageError(f"app name {name!r}: Slack takes 1 to {_NAME_MOST} characters; choose another")
    over_http = public_url is not None
    address = (public_url or "").rstrip("/") + EVENTS_PATH
    reached = {"request_url": address} if over_http else {}
    oauth: dict[str, Any] = {"scopes": {"bot": list(SCOPES)}}
    if over_http:
        oauth = {"redirect_urls": [address.removesuffix(EVENTS_PATH) + REDIRECT_PATH]} | oauth
    return {
        "display_information": {
            "name": name,
            "description": "Tells you when something is happening, from public posts, while it happens",
            "background_color": "#14213d",
        },
        "features": {
            "bot_user": {"display_name": _bot_name(name), "always_online": True},
            "slash_commands": [
                {"command": command, "description": description, "usage_hint": hint, "should_escape": False}
                | ({"url": address} if over_http else {})
                for command, description, hint in _COMMANDS
            ],
        },
        "oauth_config": oauth,
        "settings": {
            "event_subscriptions": reached | {"bot_events": sorted(EVENTS)},
            "interactivity": {"is_enabled": True} | reached,
            "org_deploy_enabled": False,
            "socket_mode_enabled": not over_http,
            "token_rotation_enabled": False,
        },
    }


def _bot_name(name: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-") or "tocsin"
