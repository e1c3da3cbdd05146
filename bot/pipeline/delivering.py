"""Claims due rows, hands them to the platform's notifier, settles them. The outbox owns retries, not the SDKs."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from bot import crashpoints, metrics, revoking
from bot.domain import delivery as acts
from bot.domain.delivery import Found, Missing, Outcome, Rejected, Sending, Sent, Unknown
from bot.pipeline import digesting, expiring, throttling
from bot.platforms.base import Notifier
from bot.store import claiming, deliveries, directory
from bot.store.database import Database, StoreLockedError, Tables

log = structlog.get_logger()

# Another process (the command line) may queue or release rows without being able to wake us.
LOOK_EVERY = timedelta(seconds=0.5)
# How late what was held may be released.
TEND_EVERY = timedelta(seconds=2)


class Delivering:
    """One worker per platform. ``wake`` tells it that there is something new; ``drain`` lets it finish and stop."""

    def __init__(self, database: Database, notifiers: Mapping[str, Notifier], *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._notifiers = notifiers
        self._now = now
        self._wakers = {platform: asyncio.Event() for platform in notifiers}
        self._draining = False
        self._finishing = False

    def wake(self) -> None:
        """Something was queued."""
        for waker in self._wakers.values():
            waker.set()

    def drain(self) -> None:
        """Claim nothing more; ``run`` returns when what is in flight is settled."""
        self._draining = True
        self.wake()

    def finish(self) -> None:
        """``run`` returns when every row has been settled or withheld."""
        self._finishing = True
        self.wake()

    async def recover(self) -> None:
        """At the start of the one service on a store: what was in flight when the last one ended is unknown."""
        found = await self._database.write(claiming.recover, self._now())
        if found:
            log.warning("deliveries_recovered", unknown=found)

    async def run(self) -> None:
        """Until drained. Raises StoreError when the store cannot be written."""
        async with asyncio.TaskGroup() as group:
            tending = group.create_task(self._tend(), name="delivering-tending")
            async with asyncio.TaskGroup() as working:
                for platform in self._notifiers:
                    working.create_task(self._work(platform), name=f"delivering-{platform}")
            tending.cancel()

    async def _tend(self) -> None:
        """Release what was held until now; tell channels that lag."""
        while True:
            now = self._now()
            try:
                if await self._database.read(_needs_tending, now):
                    await self._database.write(_tended, now)
                    self.wake()
            except StoreLockedError as error:
                metrics.store_retries_total.inc()
                log.warning("store_locked", problem=str(error))
            await asyncio.sleep(TEND_EVERY.total_seconds())

    async def _work(self, platform: str) -> None:
        waker, running = self._wakers[platform], set[asyncio.Task[None]]()
        pace = _Pace(self._notifiers[platform].per_second, asyncio.get_running_loop().time)
        async with asyncio.TaskGroup() as group:
            while not self._draining:
                waker.clear()
                free = min(acts.IN_FLIGHT_PER_PLATFORM - len(running), pace.room())
                claimed = await self._claim(platform, free) if free else []
                pace.spend(len(claimed))
                for sending in claimed:
                    task = group.create_task(self._deliver(sending), name=f"delivery-{sending.delivery}")
                    running.add(task)
                    task.add_done_callback(running.discard)
                    task.add_done_callback(lambda _: waker.set())
                if claimed:
                    continue
                if self._finishing and not await self._database.read(deliveries.unsettled, platform):
                    return
                full = len(running) >= acts.IN_FLIGHT_PER_PLATFORM
                await self._sleep(platform, waker, LOOK_EVERY.total_seconds() if full else pace.wait_s())

    async def _claim(self, platform: str, free: int) -> list[Sending]:
        try:
            return await self._database.write(claiming.claim_due, platform=platform, at=self._now(), most=free)
        except StoreLockedError as error:
            metrics.store_retries_total.inc()
            log.warning("store_locked", problem=str(error))
            return []

    async def _sleep(self, platform: str, waker: asyncio.Event, least_s: float) -> None:
        due = await self._database.read(claiming.next_due, platform, self._now())
        wait = LOOK_EVERY if due is None else min(LOOK_EVERY, max(due - self._now(), timedelta(milliseconds=5)))
        try:
            async with asyncio.timeout(max(wait.total_seconds(), least_s)):
                await waker.wait()
        except TimeoutError:
            pass

    async def _deliver(self, sending: Sending) -> None:
        crashpoints.reach("claimed")
        outcome = await self._attempt(self._notifiers[sending.channel.platform], sending)
        crashpoints.reach("sent")
        now = self._now()
        settlement = acts.settle(
            outcome, attempt=sending.attempt, created_at=sending.created_at, now=now, uncertain=sending.uncertain
        )
        spacing = self._notifiers[sending.channel.platform].spacing
        while True:
            try:
                await self._database.write(claiming.settle, sending, settlement, at=now, spacing_until=now + spacing)
                break
            except StoreLockedError as error:
                metrics.store_retries_total.inc()
                log.warning("store_locked", problem=str(error))
        crashpoints.reach("settled")
        _report(sending, outcome, settlement, now)

    async def _attempt(self, notifier: Notifier, sending: Sending) -> Outcome:
        """Look first where an earlier attempt may have arrived; cut every call after ``CALL_TIMEOUT``."""
        try:
            async with asyncio.timeout(acts.CALL_TIMEOUT.total_seconds()):
                if sending.act is acts.Act.RETRACT and sending.target_id is None:
                    return await _take_back(notifier, sending)
                if sending.uncertain and sending.act not in (acts.Act.EDIT, acts.Act.RETRACT):
                    found: Found = await notifier.find(sending)
                    if not isinstance(found, Missing):
                        return found
                return await notifier.send(sending)
        except TimeoutError:
            return Unknown(reason=f"cut after {acts.CALL_TIMEOUT.total_seconds():g} s without an answer")


async def _take_back(notifier: Notifier, sending: Sending) -> Outcome:
    """A message of which nobody knows whether it arrived: look for it, and retract it if it is there."""
    since = sending.root_at or sending.created_at
    found = await notifier.find(replace(sending, act=acts.Act.POST, delivery=sending.root, created_at=since))
    match found:
        case Missing():
            return Sent(platform_id="", duplicate=True)
        case Sent():
            return await notifier.send(replace(sending, target_id=found.platform_id))
        case _:
            return found


class _Pace:
    """At most ``per_second`` sends a second over all channels. After a pause an eighth of that may come at once: with a
    whole second's worth, the first second would have twice ``per_second``."""

    def __init__(self, per_second: float | None, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._most = max(1.0, (per_second or 0.0) / 8)
        self._left = self._most
        self._at = clock()

    def room(self) -> int:
        if self._per_second is None:
            return acts.IN_FLIGHT_PER_PLATFORM
        now = self._clock()
        self._left = min(self._most, self._left + (now - self._at) * self._per_second)
        self._at = now
        return int(self._left)

    def spend(self, n: int) -> None:
        self._left -= n

    def wait_s(self) -> float:
        """Until there is room for a handful: claiming one by one costs three times as much."""
        return 0.0 if self._per_second is None else max(0.0, (self._most - self._left) / self._per_second)


def _needs_tending(db: Tables, now: datetime) -> bool:
    return bool(
        deliveries.waiting_until(db, now)
        or expiring.due(db, now)
        or directory.throttled_channels(db)
        or deliveries.lagging(db, now - throttling.LAGGING, most=throttling.BACKLOG)
    )


def _tended(db: Tables, now: datetime) -> None:
    revoking.begin(db, now)
    expiring.expire(db, now)
    expiring.let_go(db, now)
    digesting.release(db, now)
    throttling.tell(db, now)


def _report(sending: Sending, outcome: Outcome, settlement: acts.Settlement, now: datetime) -> None:
    platform = sending.channel.platform
    metrics.deliveries_total.labels(platform, sending.act.value, settlement.state.value).inc()
    match outcome:
        case Sent():
            metrics.delivery_seconds.labels(platform).observe((now - sending.created_at).total_seconds())
            if outcome.duplicate:
                metrics.duplicates_total.labels(platform).inc()
            log.debug("delivery_sent", delivery=sending.delivery, channel=str(sending.channel), act=sending.act.value)
        case Rejected():
            log.error(
                "delivery_rejected",
                delivery=sending.delivery,
                channel=str(sending.channel),
                problem=outcome.reason,
                remedy=outcome.remedy,
            )
        case _:
            log.warning(
                "delivery_delayed",
                delivery=sending.delivery,
                channel=str(sending.channel),
                attempt=sending.attempt,
                state=settlement.state.value,
                reason=settlement.reason,
            )
