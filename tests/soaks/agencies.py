"""Warnings with lives of their own, as CAP tells them: issued, corrected, updated, split, upgraded, lifted, over.

An agency writes messages; each names those that it follows. Which of them stand in a list, and in what shape, is the
matter of the soak. What the store has to hold in the end follows from the messages and their times alone.
"""

import dataclasses
import random
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from tests.fakes import polled
from tests.fakes.polled import VirtualTime
from tests.soaks.holding import Emitted, Report
from tests.soaks.polling import HOUR, MINUTE, QUIET, Troubles

SEEN = 20 * MINUTE  # whoever stands in the list for so long has been seen, or lies in a recorded gap
CANCEL_SHOWN = 16 * MINUTE
HAZARDS = ("Tornado Warning", "Flash Flood Warning", "Blizzard Warning", "High Wind Watch")


class Kind(StrEnum):
    ALERT = "Alert"
    UPDATE = "Update"
    CANCEL = "Cancel"
    EXPIRED = "expired"  # says that its hazard is over
    NOTHING = "nothing"  # a test, an answer, a private word, something minor: never to be told


@dataclass(kw_only=True)
class Message:
    """``follows``: what it names. ``until``: when it leaves the list. ``clock``: how wrong the agency's is."""

    id: str
    kind: Kind
    number: int
    hazard: str
    zone: str
    at: timedelta
    until: timedelta
    lasts: timedelta
    clock: timedelta
    severe: bool = True
    follows: tuple["Message", ...] = ()
    odd: int = 0

    @property
    def sent(self) -> datetime:
        return polled.START + self.at + self.clock

    @property
    def expires(self) -> datetime:
        return self.sent + self.lasts

    @property
    def headline(self) -> str:
        return f"{self.hazard} number {self.number} for {self.zone}"

    def over(self, at: timedelta) -> bool:
        """Had it run out, when something else was written?"""
        return at >= self.at + self.lasts


@dataclass
class Agency:
    """Writes its messages at their times."""

    time: VirtualTime
    troubles: Troubles
    rng: random.Random
    every: tuple[float, float]  # minutes between two stories
    messages: list[Message] = field(default_factory=list)
    _shown: list[Message] = field(default_factory=list)

    def plan(self) -> None:
        passed = MINUTE
        while passed < QUIET:
            self._begin(passed)
            passed += timedelta(minutes=self.rng.uniform(*self.every))

    def listed(self, at: timedelta) -> list[Message]:
        """Newest first, by the agency's own clock."""
        self._shown = [each for each in self._shown if each.until > at - HOUR]
        found = [each for each in self._shown if each.at <= at < each.until]
        return sorted(found, key=lambda each: (each.sent, each.number), reverse=True)

    def _begin(self, passed: timedelta) -> None:
        """One story: where it goes is drawn here, what it says when it happens."""
        if self.rng.random() < 0.2:
            self._at(passed, lambda at: self._write(Kind.NOTHING, at, HAZARDS[0], self._zone(), ()))
            return
        hazard, zone = self.rng.choice(HAZARDS), self._zone()
        story: list[Message] = []
        self._at(passed, lambda at: self._tell(Kind.ALERT, at, hazard, zone, story))
        if self.rng.random() < 0.2:
            passed += timedelta(seconds=self.rng.uniform(20, 180))
            self._at(passed, lambda at: self._tell(Kind.UPDATE, at, hazard, zone, story))
        for _ in range(self.rng.choice((0, 0, 1, 1, 2, 3))):
            passed += timedelta(minutes=self.rng.uniform(25, 70))
            severe, parts = self.rng.random() < 0.7, self.rng.choice((1, 1, 1, 2))
            if self.rng.random() < 0.2:
                self._at(passed - timedelta(seconds=15), lambda at: self._tell(Kind.UPDATE, at, hazard, zone, story))
            self._at(
                passed,
                lambda at, severe=severe, parts=parts: self._tell(  # type: ignore[misc]
                    Kind.UPDATE, at, hazard, zone, story, severe=severe, parts=parts
                ),
            )
        passed += timedelta(minutes=self.rng.uniform(25, 70))
        match self.rng.randrange(6):
            case 0 | 1:
                self._at(passed, lambda at: self._end(Kind.CANCEL, at, story))
            case 2:
                self._at(passed, lambda at: self._end(Kind.EXPIRED, at, story))
            case 3:
                self._at(passed, lambda at: self._lift_a_part(at, hazard, zone, story))
            case 4:
                self._at(passed, lambda at: self._upgrade(at, zone, story))
            case _:
                pass  # it runs out

    def _at(self, passed: timedelta, act: Callable[[timedelta], object]) -> None:
        if passed < QUIET:
            self.time.at(passed, lambda: act(passed) and None)

    def _zone(self) -> str:
        return f"Zone {self.rng.randrange(1, 90)}"

    def _tell(
        self,
        kind: Kind,
        at: timedelta,
        hazard: str,
        zone: str,
        story: list[Message],
        *,
        severe: bool = True,
        parts: int = 1,
    ) -> None:
        told = [
            self._write(kind, at, hazard, f"{zone}, part {part + 1}", tuple(story), severe=severe or parts > 1)
            for part in range(parts)
        ]
        self._leave(at, story)
        story += told

    def _end(self, kind: Kind, at: timedelta, story: list[Message]) -> None:
        self._leave(at, story)
        last = story[-1]
        self._write(kind, at, last.hazard, last.zone, tuple(story), lasts=CANCEL_SHOWN)

    def _lift_a_part(self, at: timedelta, hazard: str, zone: str, story: list[Message]) -> None:
        self._leave(at, story)
        self._write(Kind.CANCEL, at, hazard, zone, tuple(story), lasts=CANCEL_SHOWN)
        self._write(Kind.UPDATE, at, hazard, f"{zone}, the rest", tuple(story))

    def _upgrade(self, at: timedelta, zone: str, story: list[Message]) -> None:
        self._end(Kind.CANCEL, at, story)
        self._write(Kind.ALERT, at, "Extreme Wind Warning", zone, ())

    def _leave(self, at: timedelta, story: list[Message]) -> None:
        for each in story:
            each.until = min(each.until, at)

    def _write(
        self,
        kind: Kind,
        at: timedelta,
        hazard: str,
        zone: str,
        follows: tuple[Message, ...],
        *,
        severe: bool = True,
        lasts: timedelta | None = None,
    ) -> Message:
        lasts = lasts or timedelta(minutes=self.rng.uniform(30, 240))
        number = len(self.messages)
        message = Message(
            id=f"urn:oid:2.49.0.1.{number:05d}.1",
            kind=kind,
            number=number,
            hazard=hazard,
            zone=zone,
            at=at,
            until=at + lasts,
            lasts=lasts,
            clock=self.troubles.their_clock,
            severe=severe,
            follows=follows,
            odd=self.rng.randrange(100),
        )
        self.messages.append(message)
        self._shown.append(message)
        return message


@dataclass
class Ledger:
    """What follows from an agency's messages for the store. ``text``: what a message has to read there."""

    agency: Agency
    text: Callable[[Message], str]

    def emitted(self) -> list[Emitted]:
        """What is minor, and what takes something back, is told only where it follows something that is held: that is
        what ``checked`` is for."""
        return [
            Emitted(
                id=each.id,
                at=polled.START + each.at,
                text=self.text(each),
                gone_at=self._gone_at(each),
                missable=each.until - each.at < SEEN or not each.severe or each.kind is Kind.CANCEL,
            )
            for each in self.agency.messages
            if each.kind in (Kind.ALERT, Kind.UPDATE, Kind.CANCEL)
        ]

    def checked(self, report: Report, path: Path) -> Report:
        """Also with what no account knows: what supersedes what, and that cancellations are held."""
        held = {each["id"]: each for each in _posts(path)}
        gaps = _gaps(path)
        absent, altered = [], []
        for each in self.agency.messages:
            names = {other.id for other in each.follows}
            if each.kind is Kind.CANCEL and each.id not in held:
                stood = {name for name in names if name in held and held[name]["text"]}
                seen = not any(since <= polled.START + each.at <= until for since, until in gaps)
                absent += [each.id] if stood and seen else []
            if each.id in held:
                official = held[each.id]["official"]
                supersedes = set(official["supersedes"])
                words = {name for name in names & set(held) if held[name]["text"]}
                right = supersedes == words if each.kind is Kind.CANCEL else supersedes <= names - words
                right = right and official["cancelled"] is (each.kind is Kind.CANCEL)
                altered += [] if right else [each.id]
        return dataclasses.replace(report, missing=(*report.missing, *absent), altered=(*report.altered, *altered))

    def _gone_at(self, message: Message) -> datetime | None:
        return next(
            (
                polled.START + each.at
                for each in self.agency.messages
                if each.kind is Kind.UPDATE and message in each.follows and each.until - each.at >= SEEN
            ),
            None,
        )


def _posts(path: Path) -> Iterator[dict[str, Any]]:
    for id_, text, more in _rows(path, "SELECT id, text, more FROM posts"):
        yield {"id": id_, "text": text, "official": msgspec.json.decode(more)["official"]}


def _gaps(path: Path) -> list[tuple[datetime, datetime]]:
    found = _rows(path, "SELECT since, until FROM gaps")
    return [(datetime.fromisoformat(since), datetime.fromisoformat(until)) for since, until in found]


def _rows(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
        return db.execute(sql).fetchall()
