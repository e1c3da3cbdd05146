"""Tells a channel, once, that its platform lets messages in more slowly than there is news."""

from datetime import datetime, timedelta

from bot.domain.delivery import Act
from bot.store import deliveries, directory
from bot.store.database import Tables

# Fewer than this, or younger, nobody would notice: at a message a second they are there within half a minute.
BACKLOG = 20
LAGGING = timedelta(seconds=20)

NOTICE = (
    "{n} alerts wait for this channel: there is more news than {platform} lets in, about one message a second. The "
    "most urgent come first. `/tocsin digest` or `/tocsin budget` would make it less."
)


def tell(db: Tables, at: datetime) -> int:
    """Queue a notice for each channel that has begun to lag; forget it for those that have caught up."""
    told = 0
    lagging = deliveries.lagging(db, at - LAGGING, most=BACKLOG)
    for channel, n in lagging.items():
        if not directory.throttled(db, channel):
            directory.set_throttled(db, channel, at)
            _queue_notice(db, channel, n, at)
            told += 1
    for channel in directory.throttled_channels(db):
        if channel not in lagging and not deliveries.has_backlog(db, channel):
            directory.set_throttled(db, channel, None)
    return told


def _queue_notice(db: Tables, channel: str, n: int, at: datetime) -> None:
    owner = directory.organisation_of(db, channel.split("/", maxsplit=1)[0])
    if owner is not None:
        platform = channel.split(":", maxsplit=1)[0].capitalize()
        deliveries.queue(
            db, org=owner.org, channel=channel, act=Act.NOTICE, at=at, text=NOTICE.format(n=n, platform=platform),
            priority=deliveries.SOON,
        )  # fmt: skip
