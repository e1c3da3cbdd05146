"""Meteoalarm, the weather warnings of Europe's national services: its Atom feed. CC BY 4.0, EUMETNET members.

Severe and extreme warnings are told. What an update or a cancellation refers to stands in the CAP message behind the
entry, which is asked for where anything that was told, or could be told now, may be meant. Where it cannot be had for
ten minutes, a severe update is told all the same, beside what it replaces; a cancellation is asked about as long as it
is in the feed. A warning that leaves the feed has ended.
"""

import contextlib
import dataclasses
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from yarl import URL

from bot.ingest import bulletins, meteoalarm_warnings
from bot.ingest.meteoalarm_warnings import Found
from bot.ingest.polling import Asked, PollingSource, Step, Told, UnreadableError

_SHOWN = timedelta(hours=1)
_PATIENCE = timedelta(minutes=10)
_NOWHERE = (0, 404, 410)
_ASKED = "?"  # the version of a warning about which was asked in vain, with the time of the first try


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
        open_ = _open(found, asked)
        if open_ and asked.answers is None:
            return Told(questions=tuple(dict.fromkeys(each.message or "" for each in open_)))
        answers = _answered(open_, asked)
        given_up = {each.bulletin.key for each in open_ if each.message not in answers and _is_overdue(each, asked)}
        later = {each.bulletin.key for each in open_ if each.message not in answers} - given_up
        later |= _beside(open_, later)
        ready = [
            dataclasses.replace(each.bulletin, others=answers.get(each.message or "", each.bulletin.others))
            for each in found
            if each.bulletin.key not in later
        ]
        news = bulletins.news(self._provider, ready, asked)
        told = {key for step in news for key in step.remember}
        settled = {each.bulletin.key: (each.bulletin.version,) for each in open_}
        steps = (
            *bulletins.unseen(asked, _SHOWN),
            *news,
            Step(remember={key: value for key, value in settled.items() if key not in told | later}),
            Step(remember=_in_vain([each for each in open_ if each.bulletin.key in later], asked)),
        )
        return Told(steps=steps, dropped=dropped, complete=not later)


def source(name: str, url: str, *, provider: str, **environment: Any) -> PollingSource:
    return PollingSource(name, url, Warnings(provider), provider=provider, **environment)


def _open(found: list[Found], asked: Asked) -> list[Found]:
    """Those that follow something that was told or could be told now, and whose messages have not said yet what that
    is: first those that were not asked about before, and of these first what matters most."""
    stand = any(standing for _, *standing in asked.known.values())
    new = {each.bulletin.key for each in found if each.bulletin.notable and each.bulletin.key not in asked.known}
    open_ = [
        each
        for each in found
        if each.follows
        and each.message is not None
        and not each.bulletin.others
        and _tried_at(each, asked) != ""
        and not bulletins.stale(each.bulletin, asked)
        and (stand or new - {each.bulletin.key})
    ]
    return sorted(
        open_,
        key=lambda each: (each.bulletin.key in asked.known, not (each.bulletin.cancelled or each.bulletin.notable)),
    )


def _tried_at(found: Found, asked: Asked) -> str | None:
    """In seconds; None where it is new, empty where nothing is left to ask."""
    if found.bulletin.key not in asked.known:
        return None
    version = asked.known[found.bulletin.key][0]
    return version.removeprefix(_ASKED) if version.startswith(_ASKED) else ""


def _answered(open_: list[Found], asked: Asked) -> dict[str, tuple[str, ...]]:
    """What those messages refer to; one that is not there any more, or on another server, to nothing."""
    read: dict[str, tuple[str, ...]] = {}
    for message in {each.message for each in open_}:
        answer = (asked.answers or {}).get(message or "")
        if message is None or answer is None:
            continue
        if answer.status in _NOWHERE:
            read[message] = ()
        elif answer.status == 200:
            with contextlib.suppress(UnreadableError):
                read[message] = meteoalarm_warnings.references(answer.body)
    return read


def _beside(open_: list[Found], later: set[str]) -> set[str]:
    """The cancellations that wait for an update of the same moment, which may go on with a part of what they lift."""
    waits = {
        each.bulletin.sent_at
        for each in open_
        if each.bulletin.key in later and each.bulletin.notable and not each.bulletin.cancelled
    }
    return {each.bulletin.key for each in open_ if each.bulletin.cancelled and each.bulletin.sent_at in waits}


def _is_overdue(found: Found, asked: Asked) -> bool:
    tried_at = _tried_at(found, asked)
    waits = found.bulletin.notable and not found.bulletin.cancelled and tried_at is not None and tried_at.isdecimal()
    return waits and abs(asked.now.timestamp() - int(tried_at or 0)) >= _PATIENCE.total_seconds()


def _in_vain(later: list[Found], asked: Asked) -> Mapping[str, tuple[str, ...]]:
    now = f"{_ASKED}{int(asked.now.timestamp())}"
    return {
        each.bulletin.key: asked.known.get(each.bulletin.key, (now,))
        for each in later
        if each.message in (asked.answers or {})
    }
