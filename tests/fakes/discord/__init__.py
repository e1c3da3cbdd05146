"""A Discord that speaks the real protocols: REST and gateway over aiohttp, with scripted faults.

It checks what the real one checks (limits, permissions, tokens) and remembers every request. Ids are numeric strings.
Use: ``async with FakeDiscord() as fake:`` and give ``fake.api_url``, ``fake.gateway_url``, ``fake.token`` to the bot.
"""

from tests.fakes.discord.asking import ADMINISTRATOR, MANAGE_GUILD, NOTHING, labels
from tests.fakes.discord.desk import FakeDesk
from tests.fakes.discord.faults import Fault, broken, expired, hang, rate_limited, refused, reset
from tests.fakes.discord.gateway import MAY_POST
from tests.fakes.discord.server import ROUTES, FakeDiscord
from tests.fakes.discord.shapes import APPLICATION
from tests.fakes.discord.world import Request

__all__ = [
    "ADMINISTRATOR",
    "APPLICATION",
    "MANAGE_GUILD",
    "MAY_POST",
    "NOTHING",
    "ROUTES",
    "FakeDesk",
    "FakeDiscord",
    "Fault",
    "Request",
    "broken",
    "expired",
    "hang",
    "labels",
    "rate_limited",
    "refused",
    "reset",
]
