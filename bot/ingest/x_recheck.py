"""What X says about posts that it is asked about again, since its stream tells of no deletion.

X's terms give 24 hours. Every stored, undeleted post of the last days is asked about every 8 hours, a hundred in a
request, the newest first. A round that has gone on for over 12 hours is said: what comes after it began waits for the
next one. The cursor says how far the round is, so that a service which starts again and again still comes to all of
them: it goes on with the rest of the round, and then begins another.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import aiohttp
from yarl import URL

from bot.ingest import trouble, x_cursor, x_posts, x_requests
from bot.ingest.recheck import Recheck, Stored

BATCH = 100
EVERY_S = 8 * 3600.0
DUE_S = 12 * 3600.0  # two rounds within the 24 hours of X's Developer Policy, "Content compliance"
PATH = "2/tweets"
HIGHEST = 2**63 - 1  # one id that is none, and X refuses all of a request

FIELDS = {"tweet.fields": "edit_history_tweet_ids,referenced_tweets,withheld", "expansions": "referenced_tweets.id"}


@dataclass(slots=True)
class Place:
    """Where the round is: the oldest id that was asked about, None before the first, and for how many seconds it has
    gone on, in all lives, while the service was there. ``failures``: of requests in a row."""

    asked: str | None = None
    spent_s: float = 0.0
    failures: int = 0
    _seen: float | None = None

    @property
    def overdue(self) -> bool:
        return self.spent_s > DUE_S

    def reached(self, id: str) -> None:
        if self.asked is None or int(id) < int(self.asked):
            self.asked = id

    def seen(self, pending: bool, mono: float) -> None:
        """Is there something left of the round, at ``mono``?"""
        if pending:
            self.spent_s += 0.0 if self._seen is None else mono - self._seen
            self._seen = mono
        else:
            self.asked, self.spent_s, self._seen = None, 0.0, None


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
        place.failures += 1
        try:
            body, headers = await x_requests.get(session, base / PATH, {"ids": ",".join(ids)} | FIELDS)
            gone = x_posts.gone(body)
        except aiohttp.ClientResponseError as error:
            if error.status == 400:
                place.reached(ids[-1])  # else a batch that X never takes would be the first again after each restart
            raise
        except x_posts.BadLineError:
            raise trouble.LostError("answered about posts with something else") from None
        place.failures = 0
        place.reached(ids[-1])
        return [each for each in gone if each in ids], x_requests.pause_s(headers, clock())

    async def following() -> Sequence[str]:
        if stored is None:
            return []
        if place.asked is not None:
            found.soon()
        return newest_first(await stored(), before=place.asked)

    def pause_s(error: Exception) -> float | None:
        return x_requests.pause_s(getattr(error, "headers", None), clock())

    found: Recheck[str] = Recheck(
        None if stored is None else following,
        ask,
        batch=BATCH,
        every_s=EVERY_S,
        due_s=DUE_S,
        pause_s=pause_s,
        monotonic=monotonic,
    )
    return found


def newest_first(ids: Sequence[str], before: str | None) -> list[str]:
    """Those lower than ``before``, the highest first; without what is no id of X's."""
    most = HIGHEST if before is None else int(before) - 1
    numbers = {int(each): each for each in ids if x_cursor.digits(each)}
    return [numbers[each] for each in sorted(numbers, reverse=True) if each <= most]
