"""The troubles of a document that is asked for again and again, over five days."""

import random
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.ingest.source import Source
from tests.fakes import polled
from tests.fakes.polled import Cut, Drip, FakeSite, Fault, Garbage, Pieces, Refuse, Stall, VirtualTime
from tests.soaks.holding import Emitted, Report, Soak, Trouble, account

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
DAYS = 5
QUIET = 4.8 * DAY  # until when things happen; the rest is for the source to see it all
AWAY = (38 * HOUR, 86 * HOUR)

_FAULTS: tuple[tuple[Fault, Trouble], ...] = (
    (Cut(), Trouble.CUT),
    (Stall(), Trouble.HALF_OPEN),
    (Drip(), Trouble.SLOW),
    (Pieces(), Trouble.SLOW),
    (Garbage(), Trouble.GARBAGE),
    (Garbage(b""), Trouble.GARBAGE),
    (Garbage(b"{" * 100_000), Trouble.GARBAGE),
    (Garbage(b"<a>" * 100_000), Trouble.GARBAGE),
    (Refuse(500), Trouble.GONE_A_MINUTE),
    (Refuse(503, {"Retry-After": "120"}), Trouble.GONE_A_MINUTE),
    *[(Refuse(429, {"Retry-After": "60"}), Trouble.TOO_MANY_REQUESTS)] * 10,
)

_FURTHER: tuple[Fault, ...] = (
    Refuse(302, {"Location": "?again"}),
    Refuse(403),
    Refuse(429, {"Retry-After": "300"}),
    Stall(),
    Refuse(302, {"Location": "/nothing/but/a/circle"}),
    Refuse(503, {"Retry-After": "240"}),
    Cut(),
    Garbage(b"<html>log in first</html>"),
    Drip(),
    Refuse(400),
)

Make = Callable[[dict[str, Any]], Source]


def shown_at(at: datetime) -> datetime:
    """From when anybody could see what has been so since ``at``: while the server was away nobody could."""
    return polled.START + AWAY[1] if AWAY[0] < at - polled.START < AWAY[1] else at


class Troubles:
    """What goes wrong with ``path`` of ``site``, and what of it has happened. ``further``: what the paths of the
    documents begin with that the list makes a source ask for; all of them go wrong as well, in every way."""

    def __init__(self, site: FakeSite, time: VirtualTime, path: str, *, further: str | None = None) -> None:
        self.happened: set[Trouble] = set()
        self.their_clock = timedelta(0)
        self._site, self._time, self._path = site, time, path
        for number, (fault, _) in enumerate(_FAULTS):
            time.at((1.7 * number + 0.5) * HOUR, lambda fault=fault: site.script(fault))  # type: ignore[misc]
        if further is not None:
            site.move("/nothing/but/a/circle", "/nothing/but/a/circle", 302)
            for number, fault in enumerate(2 * _FURTHER):
                begin = (2.9 * number + 1.3) * HOUR
                begin += AWAY[1] - AWAY[0] if begin > AWAY[0] else timedelta(0)
                time.at(begin, lambda fault=fault: site.script(fault, under=further))  # type: ignore[misc]
        self._away(Trouble.GONE_A_MINUTE, 36 * HOUR, 36 * HOUR + MINUTE)
        self._away(Trouble.GONE_TWO_DAYS, *AWAY)
        self._elsewhere(Trouble.NO_NAME, 88 * HOUR, "http://nowhere.invalid/")
        self._elsewhere(Trouble.UNTRUSTED, 90 * HOUR, f"https://127.0.0.1:{site.port}/")
        for hour, shift in ((92, -7 * MINUTE), (94, timedelta(0)), (96, 5 * HOUR), (97, timedelta(0))):
            time.at(hour * HOUR, lambda shift=shift: self._set_ours(shift))  # type: ignore[misc]
        for hour, shift in ((100, -3 * HOUR), (102, timedelta(0)), (104, 9 * HOUR), (106, timedelta(0))):
            time.at(hour * HOUR, lambda shift=shift: self._set_theirs(shift))  # type: ignore[misc]

    def used(self, soak: Soak) -> set[Trouble]:
        fired = {trouble for fault, trouble in _FAULTS if fault in self._site.fired}
        return self.happened | fired | ({Trouble.KILLED} if soak.killed else set())

    def _away(self, trouble: Trouble, begin: timedelta, end: timedelta) -> None:
        async def go() -> None:
            self.happened.add(trouble)
            await self._site.stop()

        self._time.at(begin, go)
        self._time.at(end, self._site.start)

    def _elsewhere(self, trouble: Trouble, begin: timedelta, target: str) -> None:
        def move() -> None:
            self.happened.add(trouble)
            self._site.move(self._path, target, 302)

        self._time.at(begin, move)
        self._time.at(begin + 10 * MINUTE, lambda: self._site.stay(self._path))

    def _set_ours(self, shift: timedelta) -> None:
        self.happened.add(Trouble.OUR_CLOCK)
        self._time.shift = shift

    def _set_theirs(self, shift: timedelta) -> None:
        self.happened.add(Trouble.THEIR_CLOCK)
        self.their_clock = shift


async def soak(
    name: str,
    folder: Path,
    seed: int,
    make: Make,
    site: FakeSite,
    time: VirtualTime,
    troubles: Troubles,
    emitted: Callable[[], Sequence[Emitted]],
) -> Report:
    """``make`` builds the source in the environment that it is given; ``emitted`` is the world's own account."""

    def source(_: object) -> list[Source]:
        environment = time.environment(timeout_s=0.3, sleep=lived.sleep, rng=random.Random(lived.lives))
        return [make(environment)]

    lived = Soak(
        folder / f"{name}.db",
        source,
        clock=time.clock,
        monotonic=time.monotonic,
        sleep=time.sleep,
        rng=random.Random(seed),
    )
    time.at(DAYS * DAY, lived.over.set)
    await lived.run()
    assert time.unfired() == 0, "a scripted trouble that never came"
    assert site.faults == [], "a scripted fault that never fired"
    return account(
        name,
        emitted(),
        await lived.held(),
        lives=lived.lives,
        repeated=lived.repeated,
        broke=lived.broke,
        used=troubles.used(lived),
        since=polled.START,
    )
