"""Releases what a channel has asked to hold back: one message as it is, several as one digest, a flash beside it."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from bot.domain import times
from bot.domain.alert import Level
from bot.domain.delivery import Act
from bot.store import deliveries, directory
from bot.store.database import Tables

# What waited longer than this is told in a digest even if it is alone: a message of its own would look like news.
TOLD_MOST = 25  # events in one digest, which both platforms have room for; more come in another one right behind
NEWS_FOR = timedelta(hours=12)


def release(db: Tables, at: datetime) -> int:
    """Everything whose time has come. Returns how many rows are due now; ``decide`` is asked when they are claimed."""
    released = 0
    for channel, held in groupby(deliveries.waiting_until(db, at), key=lambda row: str(row["channel"])):
        released += _release_in(db, channel, list(held), at)
    return released


def _release_in(db: Tables, channel: str, held: Sequence[dict[str, Any]], at: datetime) -> int:
    posts = [row for row in held if row["act"] == Act.POST.value and not _stands_out(db, row, at)]
    alone = len(posts) == 1 and not directory.quieting(db, channel).digest and _is_news(posts[0], at)
    single = [row for row in held if alone or row not in posts]
    for row in single:
        deliveries.release(db, row["delivery"], at)
    if not posts or alone:
        return len(single)
    for start in range(0, len(posts), TOLD_MOST):
        digest = deliveries.queue(db, org=posts[0]["org"], channel=channel, act=Act.DIGEST, at=at)
        deliveries.gather(db, digest, (row["delivery"] for row in posts[start : start + TOLD_MOST]))
    return len(single) + math.ceil(len(posts) / TOLD_MOST)


def _stands_out(db: Tables, row: dict[str, Any], at: datetime) -> bool:
    """A flash that is still news has a message of its own."""
    alert = deliveries.alert_of(db, row)
    return alert is not None and alert.level is Level.FLASH and _is_news(row, at)


def _is_news(row: dict[str, Any], at: datetime) -> bool:
    return at - times.from_text(row["created_at"]) < NEWS_FOR
