"""The active alerts of the US National Weather Service, every 30 seconds. Public domain; a contact is required.

The list holds what is in force. An alert that leaves it has ended, and what says that it has expired says no more: only
a message that cancels takes one back, and an alert that says ``replacedBy`` waits for the message that replaces it. A
long list comes in pages, the newest alerts first. Below severity Severe only what is immediate is told, so that a
small-craft advisory is no alert.
"""

from datetime import timedelta
from typing import Any

from yarl import URL

from bot.ingest import bulletins, geojson, nws_alerts
from bot.ingest.bulletins import Bulletin
from bot.ingest.fetching import Answer
from bot.ingest.polling import Asked, PollingSource, Told, UnreadableError

_SHOWN = timedelta(minutes=15)  # the shortest warnings are in force for about as long


class Alerts:
    """The Reading."""

    floor_s = 30.0
    ceiling_s = 30.0
    accept = "application/geo+json"

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def address(self, url: URL, away: timedelta | None) -> URL:  # noqa: ARG002
        return url

    def read(self, body: bytes, charset: str | None, asked: Asked) -> Told:  # noqa: ARG002
        found, dropped = nws_alerts.decode(body)
        following, read = geojson.following(body), set[str]()
        while following is not None and following not in read:
            answer = (asked.answers or {}).get(following)
            page = None if answer is None else _decoded(answer)
            if answer is None or page is None:
                break
            read.add(following)
            found, dropped = found + page[0], dropped + page[1]
            following = geojson.following(answer.body)
        missing = None if following in read else following
        if missing is not None and asked.answers is None:
            return Told(questions=(missing,))
        return Told(
            steps=(*bulletins.unseen(asked, _SHOWN), *bulletins.news(self._provider, found, asked)),
            dropped=dropped,
            questions=() if missing is None or missing in (asked.answers or {}) else (missing,),
            complete=missing is None and not read,  # that the first page has not changed says nothing of the others
        )


def source(name: str, url: str, *, provider: str, contact: str, **environment: Any) -> PollingSource:
    return PollingSource(name, url, Alerts(provider), provider=provider, agent=f"tocsin ({contact})", **environment)


def _decoded(page: Answer) -> tuple[list[Bulletin], int] | None:
    try:
        return nws_alerts.decode(page.body)
    except UnreadableError:
        return None
