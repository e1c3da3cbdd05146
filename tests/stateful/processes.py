"""Two processes on one store, the service and the command line, and the chat platform that the service talks to.

The service is the real one less its sources: it detects, records, claims, sends and settles, and may end at any named
point. What it claims and what arrives is watched, and compared with ``model``.
"""

import asyncio
import functools
import json
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot import crashpoints
from bot.admin import Actor
from bot.domain import alert as alerts
from bot.domain import errors
from bot.domain.alert import Alert
from bot.domain.delivery import Act, Sending, Unknown
from bot.domain.post import Arrival, Deletion
from bot.pipeline import delivering, detecting
from bot.pipeline.classifying import Judged
from bot.platforms.base import Notifier
from tests import factories
from tests.stateful.model import Model
from tests.stateful.remote import SHOWING, Remote
from tests.stateful.telling import Telling
from tests.worlds import World

Pick = Callable[[Sequence[Any]], Any]
Row = dict[str, Any]

PLATFORMS = ("slack", "discord")
ORGS = {"Acme": "government/intelligence", "Bank": "finance/bank", "Relief": "government/emergency"}
POINTS = (*crashpoints.POINTS, "uncommitted")  # the last one: inside a transaction, when all its statements have run


class Crash(BaseException):
    """The process ends here: no handler runs, no transaction commits."""


class Processes:
    """``pick``: chooses one of a sequence. ``on_intrusion``: what the command line does at the point at which it
    intrudes. Needs ``close``."""

    def __init__(self, folder: Path, pick: Pick, on_intrusion: Callable[[], None]) -> None:
        self.pick = pick
        self._on_intrusion = on_intrusion
        self.path = folder / "store.db"
        self.path.write_bytes(_template())
        self.now = factories.NOW
        self.model = Model(self.now)
        self.remote = Remote(self._arrived)
        self.channels: dict[str, str] = {}  # channel → organisation
        self.counts: Counter[str] = Counter()
        self.reported: set[tuple[str, int]] = set()  # (delivery, attempt), in flight by the word of a fence
        self.flying: dict[str, Sending] = {}
        self.arrivals: list[Judged] = []
        self._told: set[tuple[str, str]] = set()  # (organisation, event)
        self._alerts: dict[tuple[str, str], Alert] = {}
        self._armed: str | None = None
        self._intruding: str | None = None
        self._stepped_back = False
        self._seen: dict[str, str] = {}
        self._reach = crashpoints.reach
        crashpoints.reach = self._passing  # type: ignore[assignment]
        self._runner = asyncio.Runner()
        self._look = sqlite3.connect(self.path, isolation_level=None)
        self.cli = self._open()
        self.service: World | None = None
        for name, sector in ORGS.items():
            self.model.orgs[name] = sector
            self.model.grants.append(granted(org=name))
            self.channels |= {f"{platform}:{name}/C0": name for platform in PLATFORMS}

    def close(self) -> None:
        crashpoints.reach = self._reach
        for each in (self.service, self.cli):
            if each is not None:
                each.close()
        self._look.close()
        self._runner.close()

    def rows(self) -> list[Row]:
        """All deliveries with their organisation's ``name``, oldest first."""
        return self._query("SELECT d.*, o.name FROM deliveries d JOIN organisations o USING (org) ORDER BY seq")

    # ---- the service as a process

    def _alive(self) -> World:
        while self.service is None:
            self._start()
        return self.service

    def _start(self) -> None:
        self.service = self._open()
        database = self.service.database
        inner = database._in_transaction

        def in_transaction(fn: Callable[..., Any], *args: Any, **kw: Any) -> Any:
            def cut(db: Any, *args: Any, **kw: Any) -> Any:
                result = fn(db, *args, **kw)
                self._passing("uncommitted")
                return result

            return inner(cut, *args, **kw)

        database._in_transaction = in_transaction  # type: ignore[method-assign]
        notifiers: dict[str, Notifier] = dict.fromkeys(PLATFORMS, self.remote)
        self.delivering = delivering.Delivering(database, notifiers, now=lambda: self.now)
        self.detecting = detecting.Detecting(database, Telling, now=lambda: self.now)  # type: ignore[arg-type]
        self._serve(lambda: self.delivering.recover())
        if self.service is not None:
            self._serve(lambda: self.detecting.start())
        if self.service is not None:
            self._feed()

    def _die(self) -> None:
        """Some of the requests that had gone out arrive, and nobody will hear of it."""
        assert self.service is not None
        self.counts["crashes"] += 1
        for sending in self.flying.values():
            if self.pick((True, False)) and self._is_on_its_way(sending):
                self.remote.take(sending)
        self.flying.clear()
        self.service.close()
        self.service = None

    def _is_on_its_way(self, sending: Sending) -> bool:
        if sending.act is Act.RETRACT and sending.target_id is None:
            return False
        return sending.delivery not in self.remote.arrived or sending.act in (Act.EDIT, Act.RETRACT)

    def _passing(self, point: str) -> None:
        self.counts[f"passed {point}"] += 1
        if point == self._intruding:
            self._intruding = None
            self.counts[f"intrusion at {point}"] += 1
            self._on_intrusion()
        if point == self._armed:
            self._armed = None
            self.counts[f"crash at {point}"] += 1
            raise Crash

    def _serve(self, doing: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._alive()
        try:
            self._runner.run(doing())
        except Crash:
            self._die()

    def _serve_write(self, fn: Callable[..., Any], *args: Any) -> None:
        service = self._alive()
        try:
            service.write(fn, *args)
        except Crash:
            self._die()

    def _admin(self, fn: Callable[..., Any], actor: Actor, *args: Any, **kw: Any) -> Any:
        return self.cli.write(fn, actor, self.now, *args, **kw)

    @staticmethod
    def _try(act: Callable[[], Any]) -> bool:
        try:
            act()
        except errors.TocsinError:
            return False
        return True

    def _tick(self, span: timedelta) -> None:
        self.now += span
        self.model.clock = self.now
        for each in (self.service, self.cli):
            if each is not None:
                each.now = self.now

    def _open(self) -> World:
        world = World(self.path)
        world.now = self.now
        world.database._writer.execute("PRAGMA synchronous = OFF")  # type: ignore[union-attr]
        return world

    def _arrive(self, item: Any) -> None:
        cursor = str(len(self.arrivals) + 1)
        arrival = Arrival(source="story", cursor=cursor, item=item, at=self.now)
        self.arrivals.append(Judged(arrival=arrival, classification=None))

    def _feed(self) -> None:
        """The source goes on behind the cursor that is stored."""
        self._alive()
        done = self._recorded()
        if done < len(self.arrivals):
            self._serve(lambda: self._taken(self.arrivals[done:]))

    async def _taken(self, judged: Sequence[Judged]) -> None:
        await self.detecting.take(judged)
        await self.detecting._reconcile()

    # ---- delivering, watched

    def _claim(self, platform: str, most: int) -> None:
        service = self._alive()
        before = {row["delivery"]: row for row in self.rows()}
        try:
            claimed = service.claim(platform, most)
        except Crash:
            self._die()
            return
        after = {row["delivery"]: row for row in self.rows()} if claimed else {}
        for sending in claimed:
            assert sending.delivery not in self.flying
            self.flying[sending.delivery] = sending
            self._check_claim(sending, before[sending.delivery], before, after)

    def _check_claim(self, sending: Sending, row: Row, before: dict[str, Row], after: dict[str, Row]) -> None:
        self.counts["claims"] += 1
        assert row["state"] in ("queued", "unknown")
        for other in before.values():
            if other["seq"] < row["seq"] and row["root"] and row["root"] in (other["root"], other["delivery"]):
                state = after[other["delivery"]]["state"]
                assert row["act"] == "retract" or state not in ("queued", "unknown"), "overtaken in its message"
        told = [row] if row["act"] != "digest" else [before[each["delivery"]] for each in self._items(sending, after)]
        for each in told if row["act"] in SHOWING else ():
            assert self._may(each), f"claimed though denied: {brief([each])}"
            if each["act"] == "post" and each["attempts"] == 0:
                self._count_quota(each)
        if sending.message.quotes:
            assert self._may(row, "evidence"), f"quoted though denied: {brief([row])}"
        assert not {quote.text for quote in sending.message.quotes} & self._deleted_texts()

    def _items(self, sending: Sending, found: dict[str, Row]) -> list[Row]:
        items = [each for each in found.values() if each["digest"] == sending.delivery and each["state"] == "digested"]
        assert sorted(each["alert"] for each in items) == sorted(alert.id for alert in sending.message.items)
        return items

    def _count_quota(self, row: Row) -> None:
        """An event counts once, however many of the organisation's channels are told of it."""
        if (row["name"], row["event"]) in self._told:
            return
        self._told.add((row["name"], row["event"]))
        for provider in self._alert(row).sources:
            quota, key = self.model.quota(provider), (str(self.now.date()), row["name"], provider)
            if quota is not None:
                self.model.used[key] += 1
                assert self.model.used[key] <= quota, f"more than the quota of {provider}"

    def _deleted_texts(self) -> set[str]:
        """Texts of posts whose deletion the service has recorded."""
        done = self._recorded()
        gone = {
            (each.arrival.item.provider, each.arrival.item.id)
            for each in self.arrivals[:done]
            if isinstance(each.arrival.item, Deletion)
        }
        posts: Any = [each.arrival.item for each in self.arrivals[:done]]
        return {post.text for post in posts if not isinstance(post, Deletion) and (post.provider, post.id) in gone}

    def _deliver(self, delivery: str) -> None:
        sending = self.flying.pop(delivery)
        self._serve(lambda: self.delivering._deliver(sending))

    def _answer_all(self) -> None:
        self.remote.next = self.remote.next_found = None
        for delivery in list(self.flying):
            if delivery in self.flying:
                self._deliver(delivery)

    def _cut(self) -> None:
        """No call takes longer than ten seconds."""
        for delivery in list(self.flying):
            if delivery in self.flying:
                self.remote.next, self.remote.next_found = Unknown(reason="cut"), None
                self.remote.arrives = self.pick((True, False))
                self._deliver(delivery)

    def _arrived(self, sending: Sending) -> None:
        """A message has reached the platform: no fence may stand against it that did not report it as in flight."""
        self.counts["sends"] += 1
        if sending.act.value not in SHOWING or (sending.delivery, sending.attempt) in self.reported:
            self.counts["in flight"] += (sending.delivery, sending.attempt) in self.reported
            return
        fences = [each for each in self.model.live() if each["immediate"]]
        if not fences:
            return
        found = {row["delivery"]: row for row in self.rows()}
        row = found[sending.delivery]
        told = [row] if row["act"] != "digest" else self._items(sending, found)
        for each in told:
            alert = self._alert(each)
            for fence in fences:
                if self.model.matches(
                    fence, each["name"], each["channel"], list(alert.sources), alert.category, "alerts"
                ):
                    self.counts["leaks"] += 1
                    raise AssertionError(f"arrived after a fence that did not report it as in flight: {brief([each])}")

    # ---- what is needed to ask

    def _may(self, row: Row, capability: str = "alerts") -> bool:
        alert = self._alert(row)
        return self.model.may(row["name"], row["channel"], list(alert.sources), alert.category, row["view"], capability)

    def _alert(self, row: Row) -> Alert:
        key = (row["view"], row["alert"])
        if key not in self._alerts:
            (found,) = self._query("SELECT body FROM alerts WHERE view = ? AND alert = ?", *key)
            self._alerts[key] = alerts.from_body(json.loads(found["body"]))
        return self._alerts[key]

    def _in_flight_denied(self) -> list[Row]:
        """What is being sent, and may not be by what the model says now."""
        found = self.rows()
        denied = []
        for row in found:
            if row["state"] != "sending" or row["act"] not in SHOWING:
                continue
            told = [row] if row["act"] != "digest" else [
                each for each in found if each["digest"] == row["delivery"] and each["attempts"]
            ]  # fmt: skip
            if not all(map(self._may, told)):
                denied.append(row)
        return denied

    def _states(self, state: str) -> list[str]:
        found = self._query("SELECT delivery FROM deliveries WHERE state = ? ORDER BY seq", state)
        return [row["delivery"] for row in found]

    def _recorded(self) -> int:
        """How many arrivals lie before the stored cursor."""
        found = self._query("SELECT cursor FROM cursors WHERE source = 'story'")
        return int(found[0]["cursor"]) if found else 0

    def _query(self, sql: str, *params: Any) -> list[Row]:
        found = self._look.execute(sql, params)
        names = [each[0] for each in found.description]
        return [dict(zip(names, row, strict=True)) for row in found]


def brief(found: Sequence[Row]) -> list[str]:
    """For a failure's message."""
    names = ("delivery", "channel", "act", "state", "alert", "view", "attempts", "reason")
    return [" ".join(str(row[name]) for name in names) for row in found[:5]]


def granted(**fields: Any) -> dict[str, Any]:
    usual = {"org": None, "sector": None, "provider": "*", "capabilities": ("alerts", "evidence"), "until": None}
    return usual | fields


@functools.cache
def _template() -> bytes:
    """A store with the organisations, their channels and grants; to make one takes longer than a schedule."""
    with tempfile.TemporaryDirectory(prefix="tocsin-test-") as folder:
        world = World(Path(folder) / "store.db")
        for name, sector in ORGS.items():
            world.org(name, sector)
            for platform in PLATFORMS:
                world.channel(f"{platform}:{name}/C0", name)
        world.write(lambda db: None)
        world.close()
        return (Path(folder) / "store.db").read_bytes()
