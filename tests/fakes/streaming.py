"""What fakes of streaming HTTP servers share: virtual time, names that do not resolve, certificates, scripted faults.

A fake in virtual time drives it: with nothing to send it goes on to its next planned event, and after each it waits
until the source has looked at the clock, which it does for everything that it takes.
"""

import asyncio
import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import trustme
from aiohttp import abc, web

START = datetime(2031, 5, 14, 12, 0, tzinfo=UTC)


@dataclass(order=True)
class Planned:
    """What will happen at a time."""

    at: datetime
    number: int
    act: Callable[[], object] = field(compare=False)


class Time:
    """``now`` is the world's time; a source's ``clock`` may be set wrong by ``jump``, its ``monotonic`` may not."""

    def __init__(self) -> None:
        self.now = START
        self.looked = asyncio.Event()
        self.slept: list[float] = []
        self.on_advance: Callable[[], None] = lambda: None
        self._wrong = timedelta(0)

    def clock(self) -> datetime:
        self.looked.set()
        return self.wall()

    def wall(self) -> datetime:
        """The same clock for everybody else."""
        return self.now + self._wrong

    def monotonic(self) -> float:
        return (self.now - START).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance_to(self.now + timedelta(seconds=seconds))
        await asyncio.sleep(0)

    def advance_to(self, when: datetime) -> None:
        self.now = max(self.now, when)
        self.on_advance()

    def jump(self, by: timedelta) -> None:
        self._wrong += by


class Unhurried(random.Random):
    """Waits as long as it may, which makes long outages short for a test."""

    def uniform(self, a: float, b: float) -> float:
        return b


# Faults: each is used up once, by the first request or event from ``at`` on.


@dataclass(frozen=True, kw_only=True)
class Fault:
    at: datetime = START


@dataclass(frozen=True, kw_only=True)
class Down(Fault):
    """The server is gone until ``until``: what is connected is cut; what connects is cut too, or gets this answer."""

    until: datetime
    answer: int | None = None


@dataclass(frozen=True, kw_only=True)
class Break(Fault):
    """The connection ends, with a reset or (``politely``) with the end of the body."""

    politely: bool = False


@dataclass(frozen=True, kw_only=True)
class Stall(Fault):
    """A half-open connection: nothing comes any more, not even a heartbeat."""


@dataclass(frozen=True, kw_only=True)
class Cut(Fault):
    """Half of the next event, then the end."""


@dataclass(frozen=True, kw_only=True)
class Split(Fault):
    """The next event in two pieces."""


@dataclass(frozen=True, kw_only=True)
class Trickle(Fault):
    """The next event a few bytes at a time."""


@dataclass(frozen=True, kw_only=True)
class Raw(Fault):
    """``data`` before the next event."""

    data: bytes = b"\x00\xff{not json\n\n"


@dataclass(frozen=True, kw_only=True)
class Refuse(Fault):
    """An answer that says no, to a request whose path begins with ``path``, or is ``exactly`` that."""

    path: str = "/"
    exactly: bool = False
    status: int = 503
    headers: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Endless(Fault):
    """An answer that says no and whose body never ends, to a request whose path begins with ``path``, or is
    ``exactly`` that."""

    path: str = "/"
    exactly: bool = False


@dataclass(frozen=True, kw_only=True)
class Nameless(Fault):
    """The name does not resolve."""


@dataclass(frozen=True, kw_only=True)
class Untrusted(Fault):
    """Until ``until`` whoever connects is shown a certificate that nobody trusts."""

    until: datetime


@dataclass(frozen=True, kw_only=True)
class Jump(Fault):
    """Somebody sets the source's clock."""

    by: timedelta


class Script:
    """The faults that are still to come."""

    def __init__(self, time: Time) -> None:
        self.left: list[Fault] = []
        self._time = time
        self._used: set[Down | Untrusted] = set()

    def add(self, *faults: Fault) -> None:
        self.left += faults

    def due(self, *kinds: type[Fault], path: str = "") -> Any:
        """The first fault of these kinds that is due, used up; a Down or an Untrusted stays until it is over."""
        for fault in self.left:
            if not isinstance(fault, kinds) or fault.at > self._time.now:
                continue
            if isinstance(fault, Refuse | Endless) and not path.startswith(fault.path):
                continue
            if isinstance(fault, Refuse | Endless) and fault.exactly and path != fault.path:
                continue
            if isinstance(fault, Down | Untrusted):
                self._used.add(fault)
            else:
                self.left.remove(fault)
            return fault
        return None

    def settle(self) -> None:
        """Time has gone on: clocks are set, outages end."""
        while (jump := self.due(Jump)) is not None:
            self._time.jump(jump.by)
        for over in [fault for fault in self._used if fault.until <= self._time.now]:
            self._used.remove(over)
            self.left.remove(over)


class Names(abc.AbstractResolver):
    """Every name is this machine, unless a Nameless is due."""

    def __init__(self, script: Script) -> None:
        self._script = script

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        if self._script.due(Nameless) is not None:
            raise OSError("scripted: no such name")
        return [abc.ResolveResult(hostname=host, host="127.0.0.1", port=port, family=socket.AF_INET, proto=0, flags=0)]

    async def close(self) -> None:
        pass


class Certificates:
    """What a server shows to whoever names it; ``trust`` is what a source has to know to trust it."""

    def __init__(self, script: Script, host: str) -> None:
        self.trust = ssl.create_default_context()
        self._script = script
        trusted = trustme.CA()
        trusted.configure_trust(self.trust)
        self.shown = _shown(trusted, host)
        self._doubtful = _shown(trustme.CA(), host)
        self.shown.sni_callback = self._choose

    def _choose(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if self._script.due(Untrusted) is not None:
            connection.context = self._doubtful


def _shown(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


def connector(script: Script, trust: ssl.SSLContext | None = None) -> Callable[[], aiohttp.BaseConnector]:
    """What a source connects with, in the place of DNS."""
    return lambda: aiohttp.TCPConnector(resolver=Names(script), use_dns_cache=False, ssl=trust or True)


def abort(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.abort()
