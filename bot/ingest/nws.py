"""The active alerts of the US National Weather Service, every 30 seconds. Public domain; a contact is required.

The list holds what is in force. An alert that leaves it has ended: only a message of type Cancel takes one back, and an
alert that says ``replacedBy`` waits for the message that replaces it. Below severity Severe only what is immediate is
told, so that a small-craft advisory is no alert.
"""

from datetime import timedelta
from typing import Any

from yarl import URL

from bot.ingest import bulletins, nws_alerts
from bot.ingest.polling import Asked, PollingSource, Told

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
        gap = bulletins.unseen(asked, _SHOWN)
        return Told(steps=(*gap, *bulletins.news(self._provider, found, asked)), dropped=dropped)


def source(name: str, url: str, *, provider: str, contact: str, **environment: Any) -> PollingSource:
    return PollingSource(name, url, Alerts(provider), provider=provider, agent=f"tocsin ({contact})", **environment)
