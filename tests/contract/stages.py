"""A place with everything behind it: a store, the desk, the outbox; and a clock that moves only when it must."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from bot import admin, joining
from bot.domain import alert as alerts
from bot.domain import channel as channels
from bot.domain.alert import Alert, Kind, Level
from bot.domain.post import Deletion
from bot.pipeline import delivering
from bot.store import claiming, deliveries, directory
from bot.store.database import Tables
from tests import factories
from tests.contract.discord_place import DiscordPlace
from tests.contract.places import HearingDesk, Place
from tests.contract.slack_places import MutedSlackPlace, SlackHttpPlace, SlackPlace
from tests.worlds import OPERATOR, World

T = TypeVar("T")

MUTED = MutedSlackPlace.name
PLACES: dict[str, Callable[[], Place]] = {
    SlackPlace.name: SlackPlace,
    SlackHttpPlace.name: SlackHttpPlace,
    MUTED: MutedSlackPlace,
    DiscordPlace.name: DiscordPlace,
}

# Far more than any row here needs; more means that the outbox turns in a circle.
_ROUNDS = 60
_TOWNS = ("Port Calder", "Larkfield", "Ennismoor")


class Stage:
    """Rows go through the real outbox: claimed, sent, settled; ``deliver`` moves the clock to when the next is due."""

    def __init__(self, place: Place, world: World, desk: HearingDesk) -> None:
        self.place, self.world, self.desk = place, world, desk
        self.code = ""
        self.outbox = delivering.Delivering(world.database, {place.platform: place.notifier}, now=lambda: world.now)
        self._alerts: dict[int, Alert] = {}
        self._case = 0

    async def join(self) -> None:
        """The channel belongs to Acme and gets everything."""

        def write(db: Tables) -> None:
            admin.add_channel(db, OPERATOR, self.world.now, "Acme", channels.parse(self.place.channel))
            wanted = factories.make_subscription(
                subscription=f"s{self._case}", channel=self.place.channel, level=Level.ALERT
            )
            directory.add_subscription(db, wanted, at=self.world.now, author="test")

        await self.world.database.write(write)

    async def move(self) -> None:
        """To a fresh channel, with fresh events; the one before gets nothing more."""
        if self._case:
            await self._act(admin.remove_channel, channels.parse(self.place.channel))
        self._case += 1
        self._alerts = {}
        self.place.move(self._case)
        await self.join()

    async def make_code(self) -> str:
        made = await self._act(joining.make_code, "Acme")
        self.code = made.code
        return self.code

    async def raise_event(self, number: int, level: Level) -> None:
        key = f"bluesky|{self._case}-{number}"
        self._alerts[number] = factories.make_alert(
            event=alerts.event_id(key), evidence=(key,), quotes=(key,), level=level, raised_at=self.world.now,
            first_post_at=self.world.now, headline=f"Explosion reported in {_TOWNS[number - 1]}",
        )  # fmt: skip
        await self._serially(lambda: self.world.record(self._alerts[number], steps=[self.world.candidate(key)]))

    async def revise(self, number: int, kind: Kind, change: str, level: Level | None = None) -> None:
        before = self._alerts[number]
        self._alerts[number] = replace(
            before, revision=before.revision + 1, kind=kind, change=change, level=level or before.level,
            headline=f"Blast in {_TOWNS[number - 1]}, revision {before.revision + 1}", raised_at=self.world.now,
        )  # fmt: skip
        await self._serially(lambda: self.world.record(self._alerts[number]))

    async def delete_post(self, number: int) -> None:
        deleted = Deletion(provider="bluesky", id=f"{self._case}-{number}", deleted_at=self.world.now)
        await self._serially(lambda: self.world.record(steps=[deleted]))

    async def withdraw(self, **order: Any) -> None:
        await self._serially(lambda: self.world.revoke(notice="Your access has been withdrawn.", **order))

    async def deliver(self) -> None:
        """Until nothing is due any more, however long that takes by the clock."""
        await self._tend()
        for _ in range(_ROUNDS):
            claimed = await self.outbox._claim(self.place.platform, 16)
            if claimed:
                await asyncio.gather(*map(self.outbox._deliver, claimed))
                continue
            due = await self.world.database.read(claiming.next_due, self.place.platform, self.world.now)
            if due is None:
                return
            self.world.now = max(due, self.world.now)
        raise AssertionError(f"not settled after {_ROUNDS} rounds: {await self.rows()}")

    async def attempt(self) -> None:
        """What is due, once."""
        await self._tend()
        await asyncio.gather(*map(self.outbox._deliver, await self.outbox._claim(self.place.platform, 16)))

    async def die_sending(self) -> None:
        """The process is killed when the platform has taken the message and the store does not know it yet."""
        for sending in await self.outbox._claim(self.place.platform, 16):
            await self.place.notifier.send(sending)
        await self.outbox.recover()

    async def restore_channel(self) -> None:
        await self.world.database.write(admin.record_return, self.world.now, self.place.channel)

    async def rows(self) -> list[dict[str, Any]]:
        """The channel's deliveries, oldest first."""
        found = await self.world.database.read(deliveries.listed)
        return [row for row in found if row["channel"] == self.place.channel]

    async def audited(self) -> list[str]:
        """What was refused, oldest first."""
        entries = await self._serially(self.world.audit)
        return [entry.action for entry in entries if entry.action.endswith("-refused")]

    async def _tend(self) -> None:
        await self.world.database.write(delivering._tended, self.world.now)

    async def _act(self, fn: Callable[..., T], *args: Any) -> T:
        return await self.world.database.write(fn, OPERATOR, self.world.now, *args)

    async def _serially(self, act: Callable[[], T]) -> T:
        """What the world does, on the thread that writes: the platform's tasks may write at the same time."""
        return await asyncio.get_running_loop().run_in_executor(self.world.database._write_thread, act)


@contextlib.asynccontextmanager
async def setting(place: Place, folder: Path) -> AsyncIterator[Stage]:
    """With an organisation that may see everything, and nothing else yet."""
    world = World(folder / "store.db")
    try:
        world.org("Acme")
        desk = HearingDesk(
            world.database, operator_named=lambda _: None, locate=lambda _: None, suggest=lambda _: [],
            now=lambda: world.now, on_change=lambda: None,
        )  # fmt: skip
        async with place.open(world, desk):
            desk.heard.clear()
            yield Stage(place, world, desk)
            assert not place.unfired()
    finally:
        world.close()
