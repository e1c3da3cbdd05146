"""USGS earthquakes: the summary feed, every minute. Public domain; no key is needed.

The feed shows the past hour. After a longer time away the feed of the past day, week or month is asked once instead,
from the magnitude on that is wanted, so nothing is missed within 30 days. A quake that we told of and that leaves the
feed before its hour is over may have been deleted: its own page is asked, and only what that says counts.
"""

import re
from datetime import timedelta
from typing import Any

from yarl import URL

from bot.ingest import bulletins, usgs_quakes
from bot.ingest.fetching import Answer
from bot.ingest.polling import Asked, PollingSource, Told
from bot.ingest.usgs_quakes import Quake

_WINDOWS = {
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(days=7),
    "month": timedelta(days=30),
}
_WINDOW = re.compile(r"_(hour|day|week|month)\.geojson$")
_LEAST = ("4.5", "2.5", "1.0")  # the magnitudes from which there are feeds; all quakes of a month are too long a list
_MARGIN = timedelta(minutes=5)  # the feed lags, and so does the time at which we read it
_DELETED = (409, 410)


class Quakes:
    """The Reading."""

    floor_s = 60.0
    ceiling_s = 60.0
    accept = "application/json"

    def __init__(self, provider: str, magnitude: float) -> None:
        self._provider = provider
        self._magnitude = magnitude

    def address(self, url: URL, away: timedelta | None) -> URL:
        shown = _shown(url)
        if away is None or shown is None or away + _MARGIN <= shown:
            return url
        wide = next((name for name, span in _WINDOWS.items() if away + _MARGIN <= span), "month")
        name = _WINDOW.sub(f"_{wide}.geojson", url.name)
        if name.startswith("all_"):
            least = next((least for least in _LEAST if float(least) <= self._magnitude), None)
            name = name.replace("all", least, 1) if least else name.replace("month", "week")
        return url.with_name(name)

    def read(self, body: bytes, charset: str | None, asked: Asked) -> Told:  # noqa: ARG002
        quakes, dropped = usgs_quakes.decode(body, self._magnitude)
        missing = self._missing(quakes, asked)
        if missing and asked.answers is None:
            return Told(questions=tuple(missing.values()))
        found = [quake.bulletin for quake in _newest(quakes)]
        answers = {
            key: self._answered(key, (asked.answers or {}).get(question), asked) for key, question in missing.items()
        }
        for answer in answers.values():
            found += answer or []
        gap = [] if (shown := _shown(asked.address)) is None else bulletins.unseen(asked, shown)
        return Told(
            steps=(*gap, *bulletins.news(self._provider, found, asked)),
            dropped=dropped,
            complete=all(answer is not None for answer in answers.values()),
        )

    def _missing(self, quakes: list[Quake], asked: Asked) -> dict[str, str]:
        """What was told, is not an hour old yet and is gone from the list: where its own page is."""
        listed = {each for quake in quakes for each in quake.ids}
        shown = _shown(asked.address)
        if shown is None:
            return {}
        youngest, latest = asked.now - shown + _MARGIN, asked.now + _MARGIN
        return {
            key: str(asked.address.parent.parent / "detail" / f"{key}.geojson")
            for key, (version, *standing) in asked.known.items()
            if standing and key not in listed and youngest < usgs_quakes.began(version) <= latest
        }

    def _answered(self, key: str, answer: Answer | None, asked: Asked) -> list[bulletins.Bulletin] | None:
        """None where it says nothing about that quake, so that it has to be asked again."""
        if answer is None:
            return None
        if answer.status in _DELETED:
            return [usgs_quakes.deleted(key, asked.now, last=bulletins.serial(asked.known[key]))]
        if answer.status != 200:
            return []
        quake = usgs_quakes.decode_one(answer.body, self._magnitude)
        return None if quake is None or key not in quake.ids else [quake.bulletin]


def source(name: str, url: str, *, provider: str, magnitude: float, **environment: Any) -> PollingSource:
    return PollingSource(name, url, Quakes(provider, magnitude), provider=provider, **environment)


def _newest(quakes: list[Quake]) -> list[Quake]:
    """Of each quake what was updated last, under whatever id it is listed."""
    names: dict[str, str] = {}
    newest: dict[str, Quake] = {}
    for quake in sorted(quakes, key=lambda each: each.at):
        name = next((names[each] for each in quake.ids if each in names), quake.ids[0])
        names |= dict.fromkeys(quake.ids, name)
        newest[name] = quake
    return list(newest.values())


def _shown(url: URL) -> timedelta | None:
    window = _WINDOW.search(url.name)
    return _WINDOWS[window[1]] if window else None
