"""What X says about posts that it is asked about again, since its stream tells of no deletion.

X's terms give 24 hours. Every stored, undeleted post of the last days is asked about every 8 hours, a hundred in a
request; a round that takes over 24 hours is said.
"""

from collections.abc import Callable, Sequence
from datetime import datetime

import aiohttp
from yarl import URL

from bot.ingest import trouble, x_posts, x_requests
from bot.ingest.recheck import Recheck, Stored

BATCH = 100
EVERY_S = 8 * 3600.0
DUE_S = 24 * 3600.0  # X's Developer Policy, "Content compliance"
PATH = "2/tweets"


def rounds(
    stored: Stored | None, base: URL, *, clock: Callable[[], datetime], monotonic: Callable[[], float]
) -> Recheck[str]:
    """They find the ids whose words must go."""

    async def ask(session: aiohttp.ClientSession, ids: Sequence[str]) -> tuple[Sequence[str], float | None]:
        numbers = [each for each in ids if each.isascii() and each.isdigit()]
        if not numbers:
            return (), None
        query = {"ids": ",".join(numbers), "tweet.fields": "edit_history_tweet_ids,withheld"}
        try:
            body, headers = await x_requests.get(session, base / PATH, query)
            gone = x_posts.gone(body)
        except x_posts.BadLineError:
            raise trouble.LostError("answered about posts with something else") from None
        return [each for each in gone if each in numbers], x_requests.pause_s(headers, clock())

    def pause_s(error: Exception) -> float | None:
        return x_requests.pause_s(getattr(error, "headers", None), clock())

    return Recheck(
        stored, ask, batch=BATCH, every_s=EVERY_S, due_s=DUE_S, pause_s=pause_s, monotonic=monotonic
    )  # fmt: skip
