"""What X says about posts that it is asked about again, since its stream tells of no deletion.

X's terms give 24 hours. Every stored, undeleted post of the last days is asked about every 8 hours, a hundred in a
request; a round that takes over 24 hours is said. A round goes around, from where the last one stopped: the cursor
says where that was, so that a service which starts again and again still comes to all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from yarl import URL

from bot.ingest import trouble, x_posts, x_requests
from bot.ingest.recheck import Recheck, Stored

BATCH = 100
EVERY_S = 8 * 3600.0
DUE_S = 24 * 3600.0  # X's Developer Policy, "Content compliance"
PATH = "2/tweets"
HIGHEST = 2**63 - 1  # one id that is none, and X refuses all of a request

FIELDS = {"tweet.fields": "edit_history_tweet_ids,referenced_tweets,withheld", "expansions": "referenced_tweets.id"}


@dataclass(slots=True)
class Place:
    """Where the round is: the id that was asked about last."""

    asked: str | None = None


def rounds(
    stored: Stored | None,
    base: URL,
    place: Place,
    *,
    clock: Callable[[], datetime],
    monotonic: Callable[[], float],
) -> Recheck[str]:
    """They find the ids whose words must go, and move ``place``."""

    async def ask(session: aiohttp.ClientSession, ids: Sequence[str]) -> tuple[Sequence[str], float | None]:
        try:
            body, headers = await x_requests.get(session, base / PATH, {"ids": ",".join(ids)} | FIELDS)
            gone = x_posts.gone(body)
        except x_posts.BadLineError:
            raise trouble.LostError("answered about posts with something else") from None
        place.asked = ids[-1]
        return [each for each in gone if each in ids], x_requests.pause_s(headers, clock())

    async def following() -> Sequence[str]:
        return [] if stored is None else around(await stored(), place.asked)

    def pause_s(error: Exception) -> float | None:
        return x_requests.pause_s(getattr(error, "headers", None), clock())

    return Recheck(
        None if stored is None else following,
        ask,
        batch=BATCH,
        every_s=EVERY_S,
        due_s=DUE_S,
        pause_s=pause_s,
        monotonic=monotonic,
    )


def around(ids: Sequence[str], asked: str | None) -> list[str]:
    """What follows after ``asked``, the newest first, and then from the newest on until there; without what is no id of
    X's."""
    numbers = {int(each): each for each in ids if each.isascii() and each.isdigit() and len(each) <= 19}
    newest_first = sorted((number for number in numbers if number <= HIGHEST), reverse=True)
    last = HIGHEST + 1 if asked is None else int(asked)
    older = [number for number in newest_first if number < last]
    return [numbers[number] for number in (*older, *newest_first[: len(newest_first) - len(older)])]
