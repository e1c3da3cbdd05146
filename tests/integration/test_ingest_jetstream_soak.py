"""Days of Jetstream in virtual time: what the server emitted against what came out, under every fault that there is."""

import asyncio
import contextlib
import random
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from bot.domain import post
from bot.ingest import jetstream
from tests.fakes import sources
from tests.fakes.jetstream_faults import Cut, Drop, EndWith, Fault, Garbage, PackWith, Refuse, Slow, Split, Stall
from tests.fakes.sources import Event

DAYS = 5
EVENTS_AN_HOUR = 24
HOST = "jetstream.example"
HIDDEN = {"values": [{"val": "!no-unauthenticated"}]}
What = tuple[str, str, datetime]  # kind, id or author, when the server saw it


class Time:
    """The server's clock, ours beside it (``wrong`` by so much), and a sleep that moves both."""

    def __init__(self) -> None:
        self.now = sources.START
        self.wrong = timedelta(0)

    def server(self) -> datetime:
        return self.now

    def ours(self) -> datetime:
        return self.now + self.wrong

    def monotonic(self) -> float:
        return (self.now - sources.START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)


class Town:
    """Writes events and counts them, for itself; knows nothing of what is sent."""

    def __init__(self, fake: sources.FakeJetstream, time: Time, rng: random.Random) -> None:
        self._fake, self._time, self._rng = fake, time, rng
        self._standing: list[Event] = []
        self.emitted: Counter[What] = Counter()
        self._number = 0

    def hour(self) -> str:
        """An hour passes; returns its last words."""
        for _ in range(EVENTS_AN_HOUR):
            self._time.now += timedelta(hours=1) / EVENTS_AN_HOUR
            self._one()
        last = f"hour {self._number} is over"
        self._tell("post", self._fake.add_post(last, author=9))
        return last

    def _one(self) -> None:
        self._number += 1
        author, fake = self._rng.randrange(50), self._fake
        match self._rng.randrange(20):
            case 0 if self._standing:
                gone = self._standing.pop(self._rng.randrange(len(self._standing)))
                self._tell("deletion", self._same(gone, fake.add_delete(author=1, rkey=gone.body["rkey"])))
            case 1 if self._standing:
                old = self._rng.choice(self._standing)
                edit = self._same(old, fake.add_update(f"edit {self._number}", author=1, rkey=old.body["rkey"]))
                self._tell("deletion", edit)
                self._tell("post", edit, f"{edit.uri}#v:{edit.body['rev']}")
            case 2:
                away = fake.add_account(author=author, status=self._rng.choice(["deleted", "takendown", "suspended"]))
                self._tell("account", away, away.did)
            case 3:
                fake.add_account(author=author, active=True, status=None)
            case 4:
                fake.add_identity(author=author)
                fake.add_sync(author=author)
            case 5:
                fake.add_like(author=author)
            case 6:
                fake.add_post("for signed-in readers", labels=HIDDEN)
            case _:
                made = fake.add_post(f"invented {self._number}", author=1)
                self._standing.append(made)
                self._tell("post", made)

    def _same(self, old: Event, new: Event) -> Event:
        assert new.uri == old.uri
        return new

    def _tell(self, kind: str, event: Event, what: str | None = None) -> None:
        at = datetime.fromtimestamp(event.time_us // 1000 / 1000, UTC)
        self.emitted[kind, what or event.uri, at] += 1


def came(arrival: post.Arrival) -> What | None:
    match arrival.item:
        case post.Post(id=uri):
            return "post", uri, arrival.at
        case post.Deletion(id=str(uri)):
            return "deletion", uri, arrival.at
        case post.Deletion(author=str(author)):
            return "account", author, arrival.at
        case _:
            return None


class Reading:
    """A source that is read as fast as it goes."""

    def __init__(self, source: jetstream.JetstreamSource) -> None:
        self.source = source
        self.arrivals: list[post.Arrival] = []
        self._said: set[str] = set()
        self._more = asyncio.Event()

    async def run(self) -> None:
        async with contextlib.aclosing(self.source.posts(None)) as posts:
            async for arrival in posts:
                self.arrivals.append(arrival)
                if isinstance(arrival.item, post.Post):
                    self._said.add(arrival.item.text)
                self._more.set()

    async def until(self, text: str) -> None:
        while text not in self._said:
            self._more.clear()
            await self._more.wait()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """``HOST`` is here; every entry of the list is a failure to find that out."""
    failures: list[str] = []
    real = socket.getaddrinfo

    def resolve(host: Any, *arguments: Any, **more: Any) -> Any:
        if host != HOST:
            return real(host, *arguments, **more)
        if failures:
            raise socket.gaierror(socket.EAI_AGAIN, failures.pop())
        return real("127.0.0.1", *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    yield failures
    assert not failures, "a scripted failure that never happened"


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("compress", [False, True], ids=["plain", "packed"])
async def test_days_of_faults_lose_nothing_but_recorded_gaps(
    version: int, compress: bool, names: list[str], tmp_path: Path
) -> None:
    time, dictionary = Time(), tmp_path / "invented.zdict"
    dictionary.write_bytes(sources.dictionary())
    async with sources.FakeJetstream(clock=time.server, stamped=True) as fake:
        town = Town(fake, time, random.Random(version))
        here = fake.url(version).replace("127.0.0.1", HOST)
        source = jetstream.JetstreamSource(
            "bluesky", [here, here.replace("ws:", "wss:")], compress=compress, dictionary=dictionary,
            heartbeat_s=0.05, rng=random.Random(1), clock=time.ours, monotonic=time.monotonic, sleep=time.sleep,
        )  # fmt: skip
        names += ["scripted"] * 5
        reading = Reading(source)
        with capture_logs() as logs:
            task = asyncio.create_task(reading.run(), name="reading")
            async with asyncio.timeout(60):
                while not fake.sent_by_connection:
                    await asyncio.sleep(0)
                for hour in range(24 * DAYS):
                    await an_hour(hour, version, compress, fake, time, town, reading)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert fake.unfired() == []
        assert bool(fake.packed) is compress

    gaps = [arrival.item for arrival in reading.arrivals if isinstance(arrival.item, post.Gap)]
    assert len(gaps) == 1, "two days away are more than the server keeps"
    found = Counter(filter(None, map(came, reading.arrivals)))
    assert found - town.emitted == Counter(), "nothing twice, nothing that was not said"
    lost = town.emitted - found
    assert lost, "the gap is a real one"
    assert all(gaps[0].since < at < gaps[0].until for _, _, at in lost)  # type: ignore[operator]
    assert not any(gaps[0].since < at < gaps[0].until for _, _, at in found)  # type: ignore[operator]
    assert source.health.dropped == 2
    told = " ".join(str(entry.get("error")) for entry in logs)
    for word in ("cannot be resolved", "no encryption", "(429)", "no ping", "closed the connection", "out of order"):
        assert word in told


FAULTS: dict[int, tuple[Fault, ...]] = {
    3: (Drop(2),),
    5: (Drop(4, rude=False),),
    8: (Cut(3),),
    11: (Split(3),),
    14: (Slow(2),),
    17: (Garbage(3),),
    18: (Garbage(3, data=b"{" * 100_000),),
    20: (Refuse(429, {"Retry-After": "17"}),) * 40,
    23: (Refuse(503),) * 3,
    26: (Stall(2),),
    29: (Drop(1), Cut(1), Drop(0)),
}


async def an_hour(
    hour: int, version: int, compress: bool, fake: sources.FakeJetstream, time: Time, town: Town, reading: Reading
) -> None:
    """Each fault needs a new connection to happen on."""
    faults = FAULTS.get(hour, ())
    if hour == 32 and compress:
        faults = (PackWith(sources.dictionary("other")),)
    if hour == 35 and version == 2:
        faults = (EndWith(3),)
    if faults:
        fake.script(*faults)
        fake.hang_up()
    match hour:
        case 38:
            await away(fake, time, timedelta(minutes=1), lambda: None)
        case 41:
            time.wrong = timedelta(hours=-7)
            fake.hang_up()
        case 44:
            time.wrong = timedelta(days=3)
            fake.hang_up()
        case 47:
            time.wrong = timedelta(0)
        case 60:
            await away(fake, time, timedelta(days=2), lambda: [town.hour() for _ in range(48)])
    await reading.until(town.hour())


async def away(fake: sources.FakeJetstream, time: Time, span: timedelta, meanwhile: Callable[[], object]) -> None:
    """The server is gone for ``span``; the source goes on asking."""
    began = time.now
    await fake.go()
    while time.now < began + timedelta(minutes=1):
        await asyncio.sleep(0)
    meanwhile()
    time.now = max(time.now, began + span)
    fake.expire()
    await fake.come()
