"""Meteoalarm, the weather warnings of Europe's national services: its Atom feed. CC BY 4.0, EUMETNET members.

Severe and extreme warnings are told. What an update or a cancellation refers to stands in the CAP message behind the
entry, which is asked for where anything that was told could be meant. A warning that leaves the feed has ended.
"""

import dataclasses
from datetime import timedelta
from typing import Any

from yarl import URL

from bot.ingest import bulletins, meteoalarm_warnings
from bot.ingest.meteoalarm_warnings import Found
from bot.ingest.polling import Asked, PollingSource, Step, Told, UnreadableError

_SHOWN = timedelta(hours=1)


class Warnings:
    """The Reading."""

    floor_s = 60.0
    ceiling_s = 300.0
    accept = "application/atom+xml, application/xml;q=0.9, */*;q=0.1"

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def address(self, url: URL, away: timedelta | None) -> URL:  # noqa: ARG002
        return url

    def read(self, body: bytes, charset: str | None, asked: Asked) -> Told:
        found, dropped = meteoalarm_warnings.decode(body, charset)
        open_ = [each for each in found if _is_open(each, asked)]
        open_.sort(key=lambda each: not (each.bulletin.cancelled or each.bulletin.notable))
        if open_ and asked.answers is None:
            return Told(questions=tuple(dict.fromkeys(each.message or "" for each in open_)))
        later = {each.bulletin.key for each in open_ if (asked.answers or {}).get(each.message or "") is None}
        ready = [_referring(each, asked) for each in found if each.bulletin.key not in later]
        news = bulletins.news(self._provider, ready, asked)
        told = {key for step in news for key in step.remember}
        settled = {each.bulletin.key: (each.bulletin.version,) for each in open_}
        steps = (
            *bulletins.unseen(asked, _SHOWN),
            *news,
            Step(remember={key: value for key, value in settled.items() if key not in told | later}),
        )
        return Told(steps=steps, dropped=dropped, complete=not later)


def source(name: str, url: str, *, provider: str, **environment: Any) -> PollingSource:
    return PollingSource(name, url, Warnings(provider), provider=provider, **environment)


def _is_open(found: Found, asked: Asked) -> bool:
    """Does it follow something that may have been told, and its message has not been asked yet what that is?"""
    if not found.follows or found.message is None or found.bulletin.others or found.bulletin.key in asked.known:
        return False
    return any(standing for _, *standing in asked.known.values())


def _referring(found: Found, asked: Asked) -> bulletins.Bulletin:
    answer = (asked.answers or {}).get(found.message or "")
    if answer is None or not answer.body:
        return found.bulletin
    try:
        others = meteoalarm_warnings.references(answer.body)
    except UnreadableError:
        return found.bulletin
    return dataclasses.replace(found.bulletin, others=others)
