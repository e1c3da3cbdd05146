"""What Slack's answers and a broken wire mean: a pure mapping from an exception to an Outcome."""

import asyncio
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError

from bot.domain.channel import Channel
from bot.domain.delivery import RateLimited, Rejected, Scope, Unavailable, Unknown
from bot.platforms.slack import manifest

# What a call to Slack can raise because of the remote side. AttributeError: the SDK calls ``.get`` on a 200 whose body
# is not an object; ValueError: a body that is not UTF-8, an address that is not one.
REMOTE = (SlackApiError, aiohttp.ClientError, OSError, TimeoutError, ValueError, AttributeError)

Failure = RateLimited | Rejected | Unavailable | Unknown

_RETRY_AFTER_DEFAULT = timedelta(seconds=30)
_RETRY_AFTER_MOST = timedelta(hours=1)
_REINSTALL = (
    "install the app again: in Socket Mode put its Bot User OAuth Token (xoxb-…) into [slack] bot_token, in HTTP mode "
    "at public_url/slack/install"
)
_ADD_SCOPES = f"add the scopes {', '.join(manifest.SCOPES)}, then reinstall the app"

# code → (what happened to the workspace, what to do)
_WORKSPACE: dict[str, tuple[str, str]] = {
    "account_inactive": ("the app was uninstalled or its bot user deactivated", _REINSTALL),
    "token_revoked": ("the bot token was revoked", _REINSTALL),
    "token_expired": ("the bot token has expired", _REINSTALL),
    "invalid_auth": ("Slack does not accept the bot token", _REINSTALL),
    "not_authed": ("the bot token is empty", _REINSTALL),
    "not_allowed_token_type": ("this kind of token may not post", _REINSTALL),
    "missing_scope": (
        "the app lacks a permission scope",
        _ADD_SCOPES,
    ),
    "no_permission": (
        "the bot token lacks a permission",
        _ADD_SCOPES,
    ),
    "access_denied": ("the workspace does not let the app in", "ask the workspace's administrators to approve the app"),
    "ekm_access_denied": ("administrators have suspended posting", "ask the workspace's administrators to lift that"),
    "enterprise_is_restricted": ("the enterprise restricts this app", "ask its administrators to approve the app"),
    "team_access_not_granted": ("the app may not act in this workspace", "ask its administrators to approve the app"),
    "org_login_required": ("the workspace is being migrated", "wait until Slack has finished, then run tocsin check"),
    "two_factor_setup_required": ("the workspace demands two-factor sign-in", "complete it for the app's owner"),
}

INVITE = "invite the bot again (/invite @ and its name)"
# code → (what happened to the channel, what to do); {channel} is its written form
_CHANNEL: dict[str, tuple[str, str]] = {
    "channel_not_found": (
        "it was deleted, or it is private and the bot was removed",
        f"{INVITE}, or give it up with tocsin channel remove {{channel}}",
    ),
    "not_in_channel": ("the bot was removed", INVITE),
    "user_not_in_channel": ("the bot was removed", INVITE),
    "is_archived": ("it is archived", "unarchive it, or give it up with tocsin channel remove {channel}"),
    "is_inactive": ("it is frozen", "ask the workspace's administrators, or use another channel"),
    "restricted_action": ("posting there is restricted", "let the app post in the channel's posting permissions"),
    "restricted_action_read_only_channel": (
        "it is read-only",
        "let the app post in the channel's posting permissions",
    ),
    "restricted_action_thread_only_channel": (
        "only replies in threads are allowed there",
        "let the app post in the channel's posting permissions",
    ),
    "restricted_action_non_threadable_channel": (
        "threads are not allowed there",
        "let the app reply in the channel's posting permissions",
    ),
    "channel_type_not_supported": ("this kind of channel cannot be posted to", "use an ordinary channel"),
    "channel_is_limited_access": ("access to it is limited", "ask the channel's administrators to let the app in"),
}

_TOO_LONG = ("the message is too long for Slack", "report this as a bug: tocsin should have cut it")
_MALFORMED = ("Slack did not understand the message", "report this as a bug, with the delivery's id")
_GONE = ("the message no longer exists in Slack", "nothing to do: somebody deleted it")
_LOCKED = ("Slack does not let the app change this message", "delete the message by hand if it must go")
_MESSAGE: dict[str, tuple[str, str]] = {
    "msg_too_long": _TOO_LONG,
    "msg_blocks_too_long": _TOO_LONG,
    "metadata_too_large": _TOO_LONG,
    "too_many_attachments": _TOO_LONG,
    "invalid_blocks": _MALFORMED,
    "invalid_blocks_format": _MALFORMED,
    "invalid_attachments": _MALFORMED,
    "invalid_arguments": _MALFORMED,
    "no_text": _MALFORMED,
    "message_not_found": _GONE,
    "thread_not_found": _GONE,
    "cannot_reply_to_message": _GONE,
    "cant_update_message": _LOCKED,
    "cant_delete_message": _LOCKED,
    "edit_window_closed": _LOCKED,
    "compliance_exports_prevent_deletion": _LOCKED,
}

_RATE_LIMITED = {"ratelimited", "rate_limited", "message_limit_exceeded"}
# Slack says of these that nothing was done; of fatal_error and internal_error it says that something may have been.
_UNAVAILABLE = {"service_unavailable", "request_timeout", "team_added_to_org"}
_MAYBE_DONE = {"fatal_error", "internal_error"}


def outcome(error: Exception, channel: Channel, *, method: str) -> Failure:
    """Map what a call to ``method`` about ``channel`` raised. Only for errors listed in ``REMOTE``."""
    if isinstance(error, SlackApiError):
        return _answered(error, channel, method=method)
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.InvalidURL):
        return Unavailable(reason=f"Slack cannot be reached ({type(error).__name__})")
    if isinstance(error, asyncio.TimeoutError):
        return Unknown(reason=f"Slack did not answer {method} in time")
    return Unknown(reason=f"the connection broke during {method} ({type(error).__name__})")


def code(error: Exception) -> str:
    """Slack's error code, ``""`` where the answer has none (a proxy's page, a broken body)."""
    if not isinstance(error, SlackApiError):
        return ""
    data = getattr(error.response, "data", error.response)
    found = data.get("error") if isinstance(data, Mapping) else None
    # It comes from outside and goes into sentences and logs.
    return re.sub(r"[^\w.:-]", "?", found)[:80] if isinstance(found, str) else ""


def retry_after(error: Exception) -> timedelta | None:
    """How long a 429 asks to wait, at most an hour; None if this is no 429."""
    if not isinstance(error, SlackApiError):
        return None
    if _status(error) != 429 and code(error) not in _RATE_LIMITED:
        return None
    headers: Any = getattr(error.response, "headers", None)
    try:
        seconds = float(headers.get("Retry-After"))
    except (AttributeError, TypeError, ValueError):
        return _RETRY_AFTER_DEFAULT
    if not 0 <= seconds < float("inf"):
        return _RETRY_AFTER_DEFAULT
    return min(timedelta(seconds=min(seconds, 1e6)), _RETRY_AFTER_MOST)


def refusal(error: Exception) -> tuple[str, str] | None:
    """What happened and what to do, if ``error`` says that the token is no good; None for everything else."""
    return _WORKSPACE.get(code(error))


def _answered(error: SlackApiError, channel: Channel, *, method: str) -> Failure:
    status, said = _status(error), code(error)
    wait = retry_after(error)
    if wait is not None:
        # Slack limits posts per channel and every other method per workspace.
        posts = method == "chat.postMessage" and said != "message_limit_exceeded"
        return RateLimited(retry_after=wait, scope=Scope.CHANNEL if posts else Scope.WORKSPACE)
    if said in _WORKSPACE:
        what, remedy = _WORKSPACE[said]
        return Rejected(
            reason=f"workspace {channel.workspace_id}: {what} ({said})", remedy=remedy, scope=Scope.WORKSPACE
        )
    if said in _CHANNEL:
        what, remedy = _CHANNEL[said]
        return Rejected(
            reason=f"channel {channel.channel_id}: {what} ({said})",
            remedy=remedy.format(channel=channel),
            scope=Scope.CHANNEL,
        )
    if said in _UNAVAILABLE or status in (408, 503):
        return Unavailable(reason=f"Slack is unavailable ({said or f'HTTP {status}'})")
    if said in _MAYBE_DONE or status >= 500:
        return Unknown(reason=f"Slack failed during {method} ({said or f'HTTP {status}'})")
    if said:
        what, remedy = _MESSAGE.get(said, ("Slack refused it", f"look up {said} among the errors of {method}"))
        return Rejected(reason=f"{what} ({said})", remedy=remedy)
    if 400 <= status < 500:
        return Unavailable(reason=f"{method} was answered with HTTP {status}, not by Slack: check [slack] api_url")
    return Unknown(reason=f"{method} was answered with something that is not Slack's (HTTP {status})")


def _status(error: SlackApiError) -> int:
    # An AsyncSlackResponse has status_code; on a body that is not JSON the SDK hands out aiohttp's own response.
    response: Any = error.response
    status = getattr(response, "status_code", None) or getattr(response, "status", None)
    return status if isinstance(status, int) else 0
