"""What Discord's objects look like."""

from datetime import datetime
from typing import Any

BOT, APPLICATION, OWNER = "1000", "1001", "1002"


def user(user: str, name: str, *, bot: bool = False) -> dict[str, Any]:
    return {
        "id": user,
        "username": name,
        "discriminator": "0",
        "global_name": None,
        "avatar": None,
        "public_flags": 0,
        "flags": 0,
        "bot": bot,
        "primary_guild": None,
    }


def role(role: str, name: str, permissions: int) -> dict[str, Any]:
    return {
        "id": role,
        "name": name,
        "permissions": str(permissions),
        "position": 0,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "flags": 0,
    }


def thread(thread: str, parent: str, guild: str, name: str, now: datetime) -> dict[str, Any]:
    return {
        "id": thread,
        "type": 11,
        "flags": 0,
        "guild_id": guild,
        "parent_id": parent,
        "owner_id": BOT,
        "name": name,
        "message_count": 0,
        "member_count": 1,
        "total_message_sent": 0,
        "thread_metadata": {
            "archived": False,
            "archive_timestamp": now.isoformat(),
            "auto_archive_duration": 1440,
            "locked": False,
        },
    }


def registered(command_id: str, command: dict[str, Any]) -> dict[str, Any]:
    permissions = command.get("default_member_permissions")
    return command | {
        "id": command_id,
        "application_id": APPLICATION,
        "version": command_id,
        "default_member_permissions": None if permissions is None else str(permissions),
        "nsfw": False,
        "name_localizations": None,
        "description_localizations": None,
    }


APPLICATION_INFO: dict[str, Any] = {
    "id": APPLICATION,
    "name": "tocsin",
    "icon": None,
    "description": "",
    "type": None,
    "bot_public": True,
    "bot_require_code_grant": False,
    "verify_key": "00",
    "flags": 0,
    "flags_new": "0",
    "redirect_uris": [],
    "interactions_endpoint_url": None,
    "role_connections_verification_url": None,
    "owner": user(OWNER, "owner"),
    "approximate_guild_count": 1,
    "approximate_user_install_count": 0,
    "approximate_user_authorization_count": 0,
    "explicit_content_filter": 0,
    "team": None,
    "eligible_oauth2_scopes": [],
}


def components(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """As a message that was read shows them: each has a number."""
    numbered = iter(range(1, 1000))

    def shown(component: dict[str, Any]) -> dict[str, Any]:
        own = {"id": next(numbered)} | {key: value for key, value in component.items() if value is not None}
        if "components" in own:
            own["components"] = [shown(inner) for inner in own["components"]]
        return own

    return [shown(row) for row in rows]


def channel_of_interaction(channel: str, guild: str | None, parent: str | None, now: datetime) -> dict[str, Any]:
    if guild is None:
        return {"id": channel, "type": 1, "name": "x", "recipients": []}
    if parent is not None:
        return thread(channel, parent, guild, "What changed", now)
    return {"id": channel, "type": 0, "name": "x", "position": 0, "guild_id": guild}


def interaction(
    kind: int,
    data: dict[str, Any],
    *,
    interaction_id: str,
    token: str,
    channel: dict[str, Any],
    asker: dict[str, Any],
    guild: str | None,
    permissions: int,
) -> dict[str, Any]:
    body: dict[str, Any] = {
        "id": interaction_id,
        "application_id": APPLICATION,
        "type": kind,
        "token": token,
        "version": 1,
        "locale": "en-US",
        "entitlements": [],
        "attachment_size_limit": 10_485_760,
        "authorizing_integration_owners": {},
        "app_permissions": "0",
        "channel_id": channel["id"],
        "channel": channel,
        "data": data,
    }
    if guild is None:
        return body | {"context": 1, "user": asker}
    member = {"user": asker, "roles": [], "joined_at": "2031-01-01T00:00:00+00:00", "deaf": False, "mute": False,
              "flags": 0, "permissions": str(permissions)}  # fmt: skip
    return body | {"context": 0, "guild_id": guild, "guild": {"id": guild, "locale": "en-US", "features": []},
                   "member": member}  # fmt: skip
