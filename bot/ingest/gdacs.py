"""GDACS, the disaster alerts of the United Nations and the European Commission: its RSS feed, asked every few minutes.

Only events at level Orange or Red are told; what follows of such an event is told at any level. GDACS has no
cancellations: an event that leaves the feed has ended.
"""

from datetime import timedelta
from typing import Any

from yarl import URL

from bot.ingest import bulletins, gdacs_events
from bot.ingest.polling import Asked, PollingSource, Told

_SHOWN = timedelta(days=1)


class Events:
    """The Reading."""

    floor_s = 180.0
    ceiling_s = 360.0
    accept = "application/rss+xml, application/xml;q=0.9, */*;q=0.1"

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def address(self, url: URL, away: timedelta | None) -> URL:  # noqa: ARG002
        return url

    def read(self, body: bytes, charset: str | None, asked: Asked) -> Told:
        found, dropped = gdacs_events.decode(body, charset)
        gap = bulletins.unseen(asked, _SHOWN)
        return Told(steps=(*gap, *bulletins.news(self._provider, found, asked)), dropped=dropped)


def source(name: str, url: str, *, provider: str, **environment: Any) -> PollingSource:
    return PollingSource(name, url, Events(provider), provider=provider, **environment)
