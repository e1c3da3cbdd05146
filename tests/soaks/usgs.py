"""Quakes, one every ten minutes, in the lists of the past hour, day and week, with times by the agency's own clock.

They are revised, taken over by another network under its id, and withdrawn: by a mark in the list, or by leaving it
early, when only their own page says that they are gone. Every third minute the list is an old copy, which brings back
none of them. After two days without a server the list of a week shows what has become of them, so there is no gap. (No
quake comes or changes just before, when nobody might have seen it.)
"""

import json
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from bot.domain import post
from bot.ingest import usgs
from tests.fakes import polled
from tests.fakes.polled import FakeSite, VirtualTime
from tests.soaks import polling
from tests.soaks.holding import Emitted, Report, Trouble
from tests.soaks.polling import AWAY, DAY, HOUR, MINUTE, QUIET, Troubles

NAME = "usgs"
TROUBLES = frozenset(Trouble)
LIST = "/summary/all_hour.geojson"
WINDOWS = {"all_hour": HOUR, "4.5_day": DAY, "4.5_week": 7 * DAY}
WRONG_CLOCKS = (95 * HOUR, 107 * HOUR)
BOTH_LISTED = 3 * MINUTE
OLD = 4 * MINUTE
GONE = "USGS has deleted its report of this earthquake."


@dataclass(frozen=True, kw_only=True)
class State:
    """``end``: withdrawn, "deleted" where the list says so, "gone" where it does not."""

    at: datetime
    id: str
    mag: float
    updated: int
    end: str = ""


@dataclass
class Quake:
    """``clock``: the agency's when it was."""

    ids: list[str]
    place: str
    born: datetime
    clock: timedelta
    states: list[State] = field(default_factory=list)

    @property
    def now(self) -> State:
        return self.states[-1]

    def at(self, moment: datetime) -> list[State]:
        return [state for state in self.states if state.at <= moment]

    def feature(self, state: State, ids: list[str]) -> dict[str, Any]:
        properties = {
            "mag": state.mag, "time": _milliseconds(self.born + self.clock), "updated": state.updated,
            "status": "deleted" if state.end else "automatic", "type": "earthquake", "place": self.place,
            "ids": f",{','.join(ids)},",
        }  # fmt: skip
        return {"id": state.id, "properties": properties, "geometry": {"coordinates": [1.0, 2.0, 3.0]}}

    def emitted(self) -> list[Emitted]:
        """The first that could be seen under the id that it had; then each change that a reader would see, which ends
        the words before it. A withdrawal ends none: it is said beside them, under no stamp of its own where it is
        simply gone."""
        shown = list({polling.shown_at(state.at): state for state in self.states}.items())
        if shown[0][1].end:
            return []
        for earlier, later in list(pairwise(shown)):
            if self._words(earlier[1]) == self._words(later[1]):
                shown.remove(later)
        first = shown[0][1].id
        found = []
        for number, (at, state) in enumerate(shown):
            after = shown[number + 1] if number + 1 < len(shown) else None
            replaced = after is not None and not after[1].end
            stamp = "" if state.end == "gone" else f"{state.updated}"
            found.append(
                Emitted(
                    id=post.versioned(first, stamp) if number else first,
                    at=at,
                    text=self._words(state),
                    gone_at=after[0] if after is not None and replaced else None,
                    missable=number > 0 and replaced,
                )
            )
        return found

    def _words(self, state: State) -> str:
        if state.end == "gone":
            return GONE
        words = f"M {state.mag:.1f} earthquake, {self.place}"
        return f"Withdrawn by USGS: {words}" if state.end else words


@dataclass
class Planet:
    """Has its quakes at their times, in the lists and in its own account."""

    time: VirtualTime
    troubles: Troubles
    rng: random.Random
    site: FakeSite
    quakes: list[Quake] = field(default_factory=list)
    both_listed: int = 0
    brought_back: int = 0

    def plan(self) -> None:
        passed = MINUTE
        while passed < QUIET:
            if not AWAY[0] - HOUR < passed < AWAY[0]:
                self.time.at(passed, self._shake)
            passed += timedelta(minutes=self.rng.uniform(1, 20))
        for name, window in WINDOWS.items():
            self.site.put(f"/summary/{name}.geojson", lambda window=window: self._listed(window), "application/json")  # type: ignore[misc]

    def emitted(self) -> list[Emitted]:
        return [each for quake in self.quakes for each in quake.emitted()]

    def _shake(self) -> None:
        number, here, clock = len(self.quakes), self._here(), self.troubles.their_clock
        name = f"us{number:06d}"
        quake = Quake(ids=[name], place=f"near Selby {number}", born=here, clock=clock)
        mag = self.rng.randrange(45, 70) / 10
        quake.states.append(State(at=here, id=name, mag=mag, updated=_milliseconds(here + clock)))
        self.quakes.append(quake)
        self._page(quake, name)
        if self.rng.random() < 0.3:
            self._later(quake, self.rng.uniform(10, 15), lambda: self._change(quake, mag=quake.now.mag + 0.1))
        if self.rng.random() < 0.2:
            again = self.rng.choice((0.0, 0.1))
            self._later(quake, self.rng.uniform(16, 21), lambda: self._take_over(quake, again))
        if self.rng.random() < 0.15:
            end = "gone" if self.rng.random() < 0.5 and not self._wrong_clocks() else "deleted"
            self._later(quake, self.rng.uniform(32, 45), lambda: self._withdraw(quake, end))

    def _change(self, quake: Quake, **fields: Any) -> None:
        here = self._here()
        quake.states.append(replace(quake.now, at=here, updated=_milliseconds(here + quake.clock), **fields))

    def _take_over(self, quake: Quake, difference: float) -> None:
        name = quake.ids[0].replace("us", "ci")
        quake.ids.append(name)
        self._page(quake, name)
        self._change(quake, id=name, mag=quake.now.mag + difference)

    def _withdraw(self, quake: Quake, end: str) -> None:
        self._change(quake, end=end)
        if end == "gone":
            for name in quake.ids:
                self.site.move(f"/detail/{name}.geojson", "/", 410)

    def _page(self, quake: Quake, name: str) -> None:
        page = lambda: json.dumps(quake.feature(quake.now, quake.ids)).encode()  # noqa: E731
        self.site.put(f"/detail/{name}.geojson", page, "application/json")

    def _listed(self, window: timedelta) -> bytes:
        moment = self._here() - (OLD if self._is_old() else timedelta(0))
        features = []
        for quake in reversed([each for each in self.quakes if timedelta(0) <= moment - each.born <= window]):
            *earlier, now = quake.at(moment)
            if now.end == "gone":
                continue
            self.brought_back += quake.now.end == "gone"
            ids = list(dict.fromkeys([quake.ids[0], *(state.id for state in earlier), now.id]))
            features.append(quake.feature(now, ids))
            if len(ids) > 1 and moment - now.at < BOTH_LISTED:
                features.append(quake.feature(quake.states[0], ids))
                self.both_listed += 1
        return json.dumps({"features": features}).encode()

    def _is_old(self) -> bool:
        """Not just after the server was away, when an old copy would be of a time that nobody could see."""
        back = AWAY[1] <= self.time.passed < AWAY[1] + OLD
        return int(self.time.passed / MINUTE) % 3 == 0 and not back

    def _later(self, quake: Quake, minutes: float, act: Callable[[], None]) -> None:
        """Unless the agency's clock has been set meanwhile, or our own, which tells how young a quake is."""
        passed = self.time.passed + minutes * MINUTE

        def unless() -> None:
            if quake.clock == self.troubles.their_clock:
                act()

        self.time.at(passed, unless)

    def _wrong_clocks(self) -> bool:
        return WRONG_CLOCKS[0] - HOUR < self.time.passed < WRONG_CLOCKS[1]

    def _here(self) -> datetime:
        return polled.START + self.time.passed


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def _stamped(emitted: list[Emitted], path: Path) -> list[Emitted]:
    """Of what is simply gone nobody but the source says when: by which id it is held, of which there has to be one."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        held = [id_ for (id_,) in db.execute("SELECT id FROM posts WHERE text = ? ORDER BY seq", (GONE,))]
    stamped = {id_.partition(post.VERSION)[0]: id_ for id_ in reversed(held)}
    return [
        replace(each, id=stamped.get(each.id.removesuffix(post.VERSION), each.id)) if each.text == GONE else each
        for each in emitted
    ]


async def soak(folder: Path, seed: int) -> Report:
    time = VirtualTime()
    async with FakeSite() as site:
        troubles = Troubles(site, time, LIST, further="/detail/")
        planet = Planet(time, troubles, random.Random(seed), site)
        planet.plan()
        report = await polling.soak(
            NAME,
            folder,
            seed,
            lambda environment: usgs.source("usgs", site.url(LIST), provider="usgs", magnitude=4.5, **environment),
            site,
            time,
            troubles,
            lambda: _stamped(planet.emitted(), folder / f"{NAME}.db"),
        )
    assert planet.brought_back > 0, "an old copy that brought nothing back"
    assert planet.both_listed > 0, "a quake under two ids that was never listed"
    assert report.gaps == 0, "a longer list shows more"
    return report
