"""What Discord or the network answered → Outcome. Pure; the codes are in Discord's "Opcodes and Status Codes"."""

import errno
from collections.abc import Mapping
from datetime import timedelta
from enum import IntEnum

import aiohttp
import discord

from bot.domain.delivery import Outcome, RateLimited, Rejected, Scope, Unavailable, Unknown


class Code(IntEnum):
    UNKNOWN_CHANNEL = 10003
    UNKNOWN_GUILD = 10004
    UNKNOWN_MESSAGE = 10008
    MISSING_ACCESS = 50001
    NOT_OURS = 50005
    EMPTY_MESSAGE = 50006
    MISSING_PERMISSIONS = 50013
    INVALID_FORM_BODY = 50035
    THREAD_EXISTS = 160004


# Refused for ten minutes at least when Discord's edge does not say for how long (a ban by address has no body).
_BANNED_FOR = timedelta(minutes=10)
REMEDY_REFUSED = "put a new token into config.toml ([discord] token, from the Bot page of the application) and restart"


class Turned(aiohttp.ClientError):
    """A 429 or 5xx, taken from discord.py before it sleeps and sends again: the outbox owns retries."""

    def __init__(self, status: int, headers: Mapping[str, str]) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status
        self.headers = headers


def outcome(error: BaseException, *, where: str, guild_gone: bool = False) -> Outcome:
    """``where``: the channel as people write it. ``guild_gone``: the gateway says that the bot is not in that guild.

    Raises ``error`` again if it is not Discord's or the network's doing.
    """
    match error:
        case Turned(status=429) | discord.HTTPException(status=429):
            return _rate_limited(error.headers if isinstance(error, Turned) else error.response.headers)
        case discord.RateLimited():
            return RateLimited(retry_after=timedelta(seconds=error.retry_after))
        case Turned():
            return Unknown(reason=f"Discord answered {error.status}")
        case discord.HTTPException() if error.status >= 500:
            return Unknown(reason=f"Discord answered {error.status}")
        case discord.HTTPException():
            return _rejected(error, where=where, guild_gone=guild_gone)
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return Unavailable(reason=f"Discord cannot be reached: {_kind(error)}")
        case aiohttp.ClientError() | TimeoutError() | OSError():
            return Unknown(reason=f"the connection to Discord broke: {_kind(error)}")
        case _:
            raise error


def _rate_limited(headers: Mapping[str, str]) -> RateLimited:
    """A 429 without ``Via`` comes from the edge in front of Discord: the whole address is barred for a while."""
    everywhere = headers.get("X-RateLimit-Global", "").lower() == "true" or not headers.get("Via")
    after = _seconds(headers.get("X-RateLimit-Reset-After")) or _seconds(headers.get("Retry-After"))
    if after is None:
        after = _BANNED_FOR if not headers.get("Via") else timedelta(seconds=1)
    return RateLimited(retry_after=after, scope=Scope.PLATFORM if everywhere else Scope.CHANNEL)


def _seconds(text: str | None) -> timedelta | None:
    try:
        return timedelta(seconds=float(text)) if text else None
    except (ValueError, OverflowError):
        return None


def _rejected(error: discord.HTTPException, *, where: str, guild_gone: bool) -> Rejected:
    said = f"channel {where}: Discord answered {error.status}" + (f" ({error.code})" if error.code else "")
    if error.status == 401:
        return Rejected(
            reason="Discord refused the bot's token",
            remedy=REMEDY_REFUSED,
            scope=Scope.PLATFORM,
        )
    match error.code:
        case Code.UNKNOWN_GUILD:
            return _removed(where)
        case Code.MISSING_ACCESS if guild_gone:
            return _removed(where)
        case Code.UNKNOWN_CHANNEL:
            return Rejected(
                reason=f"channel {where}: it was deleted",
                remedy="subscribe another channel, or remove this one with tocsin channel remove",
                scope=Scope.CHANNEL,
            )
        case Code.MISSING_ACCESS:
            return Rejected(
                reason=f"channel {where}: the bot cannot see it",
                remedy="give the bot's role the permissions View Channel and Send Messages there",
                scope=Scope.CHANNEL,
            )
        case Code.MISSING_PERMISSIONS:
            return Rejected(
                reason=f"channel {where}: the bot lacks a permission",
                remedy="give the bot's role Send Messages, Send Messages in Threads, Embed Links and Read Message "
                "History there",
                scope=Scope.CHANNEL,
            )
        case Code.UNKNOWN_MESSAGE:
            return _deleted(where)
        case Code.INVALID_FORM_BODY if "message_reference" in error.text:
            return _deleted(where)
        case _:
            return Rejected(reason=said, remedy="please report this to the maintainers of tocsin")


def _deleted(where: str) -> Rejected:
    return Rejected(
        reason=f"channel {where}: the message was deleted there",
        remedy="nothing to do; the next event gets a message of its own",
    )


def _removed(where: str) -> Rejected:
    return Rejected(
        reason=f"channel {where}: the bot was removed from the server",
        remedy="invite it again with the application's installation link",
        scope=Scope.WORKSPACE,
    )


def _kind(error: BaseException) -> str:
    """Never the message itself: it may hold an address with a token in it."""
    number = getattr(error, "errno", None)
    name = errno.errorcode.get(number, "") if isinstance(number, int) else ""
    return f"{type(error).__name__} {name}".strip()
