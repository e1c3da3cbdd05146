"""``POST /ingest/{source}``: Post lines from whoever has the source's secret, answered once they are in the store.

``X-Tocsin-Signature: t=1810468800,v1=HEX``: HMAC-SHA256 with the secret over ``t``, a point and the body. ``t`` (Unix
seconds) may be five minutes off, and a signature is good once, also after a restart. Whatever is wrong with it, or with
the source's name, the answer is the same 401.

202: every line is in the store (``accepted``, and ``repeated``: those that wait already, posts by their ids, deletions
by their time as well). One line that is no Post line, or names another provider, and none is taken: 400 with the
numbers of the lines. An id that comes again later is known to the store like one that any source yields twice.
"""

import hashlib
import hmac
import json
import math
import re
from asyncio import timeout
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

import structlog
from aiohttp import web

from bot.domain import errors, post, times
from bot.ingest import lines
from bot.ingest.push import PushSource
from bot.store import pushed
from bot.store.database import Database, Tables

MOST_BYTES = 1024 * 1024
GOOD_FOR = timedelta(minutes=5)
READ_WITHIN_S = 30.0
WAITING_MOST = 100_000  # lines of one source; then it is asked to come back later
WAITING_MOST_BYTES = 64 * 1024 * 1024
COME_BACK_S = 30
FAULTS_SHOWN = 20

_HEADER = re.compile(r"t=([0-9]{1,12}),v1=([0-9a-f]{64})")

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """One source that may be pushed to. ``per_second``: lines, over time; one request may be ahead of it."""

    source: PushSource
    secret: str = field(repr=False)
    per_second: float


class Pushing:
    """The route. ``now`` is the wall clock."""

    def __init__(self, database: Database, doors: Iterable[Door], *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._doors = {door.source.name: door for door in doors}
        self._allowances = {name: _Allowance(door.per_second) for name, door in self._doors.items()}
        self._now = now

    def routes(self) -> Sequence[web.AbstractRouteDef]:
        """Empty where no source may be pushed to."""
        return [web.post("/ingest/{source}", self._push)] if self._doors else []

    async def _push(self, request: web.Request) -> web.Response:
        if "Content-Encoding" in request.headers:
            return _refused(415, "send the lines as they are, without Content-Encoding")
        try:
            async with timeout(READ_WITHIN_S):
                body = await _body(request)
        except TimeoutError:
            return _refused(408, f"the body did not come within {READ_WITHIN_S:g} s")
        if body is None:
            return _refused(413, f"a request may have {MOST_BYTES} bytes; send several")
        now, name = self._now(), request.match_info["source"]
        door = self._doors.get(name)
        signature = _signature(door, request.headers.get("X-Tocsin-Signature", ""), body, now)
        if door is None or signature is None:
            return self._denied(name if door is not None else "unknown")
        allowance = self._allowances[name]
        wait_s = allowance.wait_s(now)
        if wait_s > 0:
            return _refused(429, f"more than {door.per_second:g} lines a second", retry_after_s=math.ceil(wait_s))
        taken, faults = _read(body, door.source.provider, now)
        if faults:
            return web.json_response({"errors": faults[:FAULTS_SHOWN], "bad": len(faults)}, status=400)
        if not taken:
            return _refused(400, "there is no line in the body")
        allowance.spend(len(taken), now)  # before anything else may run
        try:
            added = await self._database.write(_keep, name, signature, taken, now)
        except errors.StoreError as error:
            allowance.give_back(len(taken))
            log.error("push_not_stored", source=name, problem=str(error))
            return _refused(503, "cannot be stored now", retry_after_s=COME_BACK_S)
        if isinstance(added, _Refusal):
            allowance.give_back(len(taken))
            if added is _Refusal.USED:
                return self._denied(name)
            return _refused(503, "too much waits to be read", retry_after_s=COME_BACK_S)
        door.source.wake()
        return web.json_response({"accepted": added, "repeated": len(taken) - added}, status=202)

    def _denied(self, name: str) -> web.Response:
        log.warning("push_refused", source=name)
        return _refused(401, "not signed as it has to be")


class _Allowance:
    """``per_second`` lines; a request is let in while there is any left, however many lines it has."""

    def __init__(self, per_second: float) -> None:
        self._per_second = per_second
        self._left = max(per_second, 1.0)
        self._at: datetime | None = None

    def wait_s(self, now: datetime) -> float:
        """How long until the next request is let in; 0: now."""
        passed = 0.0 if self._at is None else max((now - self._at).total_seconds(), 0.0)
        self._left = min(max(self._per_second, 1.0), self._left + passed * self._per_second)
        self._at = now
        return max(0.0, (1.0 - self._left) / self._per_second)

    def spend(self, lines: int, now: datetime) -> None:
        self._at = now if self._at is None else self._at
        self._left -= lines

    def give_back(self, lines: int) -> None:
        """They were not taken after all."""
        self._left += lines


class _Refusal(Enum):
    USED = "the signature was used before"
    FULL = "too much waits"


def _keep(db: Tables, source: str, signature: str, taken: Sequence[tuple[str, bytes]], now: datetime) -> int | _Refusal:
    """How many lines are new."""
    size = sum(len(line) for _, line in taken)
    if pushed.waiting(db, source) + len(taken) > WAITING_MOST or pushed.weight(db, source) + size > WAITING_MOST_BYTES:
        return _Refusal.FULL
    if not pushed.use_signature(db, f"{source}:{signature}", now=now, expires_at=now + 2 * GOOD_FOR):
        return _Refusal.USED
    return pushed.add(db, source, taken, now)


async def _body(request: web.Request) -> bytes | None:
    """None for one that is too long, of which no more is read."""
    if (request.content_length or 0) > MOST_BYTES:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MOST_BYTES:
            return None
    return bytes(body)


def _signature(door: Door | None, header: str, body: bytes, now: datetime) -> str | None:
    """The header's signature if it is good, else None. For a source that does not exist it takes as long."""
    found = _HEADER.fullmatch(header)
    at, given = (found[1], found[2]) if found else ("0", "")
    secret = "" if door is None else door.secret
    right = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    same = hmac.compare_digest(right, given)
    fresh = abs(now.timestamp() - int(at)) <= GOOD_FOR.total_seconds()
    return given if door is not None and same and fresh else None


def _read(body: bytes, provider: str, now: datetime) -> tuple[list[tuple[str, bytes]], list[dict[str, object]]]:
    """The lines, each with the name of its item, and what is wrong with those that are none."""
    taken: list[tuple[str, bytes]] = []
    faults: list[dict[str, object]] = []
    for number, raw in enumerate(body.split(b"\n"), start=1):
        line = raw.strip()
        if not line:
            continue
        try:
            item = lines.decode(line, now)
        except lines.BadLineError as error:
            faults.append({"line": number, "problem": str(error)})
            continue
        if item.provider != provider:
            faults.append({"line": number, "problem": f"source is not {provider}, whose this feed is"})
            continue
        taken.append((_item(item), line))
    return taken, faults


def _item(item: post.Post | post.Deletion) -> str:
    match item:
        case post.Post():
            return f"post {item.id}"
        case post.Deletion(id=None):
            return f"account {item.author} {times.to_text(item.deleted_at)}"
        case _:
            return f"gone {item.id} {times.to_text(item.deleted_at)}"


def _refused(status: int, problem: str, *, retry_after_s: int | None = None) -> web.Response:
    headers = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
    return web.Response(
        text=json.dumps({"error": problem}), status=status, headers=headers, content_type="application/json"
    )
