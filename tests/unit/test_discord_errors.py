"""What Discord or the network answered → Outcome, without a network."""

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from bot.domain.delivery import RateLimited, Unavailable, Unknown
from bot.platforms.discord import discord, errors

KEY = ConnectionKey("discord.com", 443, True, True, None, None, None)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (aiohttp.ClientConnectorError(KEY, OSError(111, "refused")), Unavailable),
        (aiohttp.ConnectionTimeoutError(), Unavailable),
        (aiohttp.ServerDisconnectedError(), Unknown),
        (aiohttp.ClientOSError(104, "reset"), Unknown),
        (aiohttp.ServerTimeoutError(), Unknown),
        (TimeoutError(), Unknown),
        (ConnectionResetError(104, "reset"), Unknown),
        (errors.Turned(500, {}), Unknown),
        (errors.Turned(429, {"Via": "x", "X-RateLimit-Reset-After": "soon"}), RateLimited),
        (discord.RateLimited(31.0), RateLimited),
    ],
)
def test_each_failure_has_an_outcome(error: BaseException, expected: type) -> None:
    assert isinstance(errors.outcome(error, where="discord:100/200"), expected)


def test_our_own_mistakes_are_raised() -> None:
    with pytest.raises(KeyError):
        errors.outcome(KeyError("x"), where="discord:100/200")


def test_reasons_hold_no_address() -> None:
    outcome = errors.outcome(aiohttp.InvalidURL("https://discord.com/webhooks/1/secret"), where="discord:100/200")
    assert isinstance(outcome, Unknown)
    assert "secret" not in outcome.reason
