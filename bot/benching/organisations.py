"""The organisations that are measured with."""

from collections.abc import Sequence

from bot import admin, app
from bot.admin import Actor
from bot.domain.access import Organisation
from bot.domain.channel import Channel
from bot.domain.subscription import Subscription
from bot.store import directory
from bot.store.database import Tables
from classifiers.api import CATEGORIES

ACTOR = Actor(id="cli:bench", surface="cli", operator="bench")
SECTOR = "news/agency"


def add(db: Tables, name: str, team: str, wanted: Sequence[frozenset[str]]) -> Organisation:
    """An organisation with every provider and one Slack channel, subscribed anywhere, for each set of categories."""
    at = app.now()
    org = admin.add_organisation(db, ACTOR, at, name, SECTOR)
    admin.grant(db, ACTOR, at, org=name, sector=None, provider="*", capabilities=(), until=None, reason="bench")
    for number, categories in enumerate(wanted):
        channel = Channel("slack", team, f"C{team}{number}")
        admin.add_channel(db, ACTOR, at, name, channel)
        made = Subscription(
            subscription=f"s-{team}-{number}", channel=str(channel), anywhere=True, categories=categories
        )
        directory.add_subscription(db, made, at=at, author=str(ACTOR))
    return org


def one_channel_each() -> list[frozenset[str]]:
    """A channel for every category."""
    return [frozenset({category}) for category in CATEGORIES]
