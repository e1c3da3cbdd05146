"""Discord: one guild of the bot's with two channels, and another guild."""

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from bot.platforms.base import Notifier
from bot.platforms.discord.client import Discord
from tests.contract.places import Call, HearingDesk, Ill, Kind, Standing, Values, Who
from tests.fakes import discord as fakes
from tests.worlds import World


class DiscordPlace:
    """One guild of the bot's, and another one."""

    name = "discord"
    platform = "discord"
    _guild, _abroad = "100", ("300", "400")

    def __init__(self) -> None:
        self._channel_id, self._beside = "200", "201"

    @property
    def channel(self) -> str:
        return f"discord:{self._guild}/{self._channel_id}"

    @contextlib.asynccontextmanager
    async def open(self, world: World, desk: HearingDesk) -> AsyncIterator[None]:
        guilds = {self._guild: [self._channel_id, self._beside], self._abroad[0]: [self._abroad[1]]}
        async with fakes.FakeDiscord(guilds, clock=lambda: world.now) as fake:
            self.discord, self._desk = fake, desk
            async with Discord(
                token=fake.token, desk=desk, api_url=fake.api_url, gateway_url=fake.gateway_url,
                backoff=lambda _: timedelta(milliseconds=10),
            ) as platform:  # fmt: skip
                self.notifier: Notifier = platform.notifier
                await desk.until("restored workspace", times=2)
                yield

    def move(self, number: int) -> None:
        self._channel_id = str(10_000 + number)
        self.discord.guilds[self._guild].channels.append(self._channel_id)

    def standing(self) -> list[Standing]:
        found = []
        for message in self.discord.messages(self._channel_id):
            kind = Kind.LOUD if "message_reference" in message else Kind.MESSAGE
            found.append(Standing(kind, _shown(message)))
            found += [Standing(Kind.REPLY, _shown(reply)) for reply in self.discord.messages(message["id"])]
        return found

    def unfired(self) -> Sequence[object]:
        return self.discord.unfired()

    async def command(self, subcommand: str, options: Mapping[str, str], who: Who) -> str:
        known = next(each for each in self._desk.subcommands if (each.command, each.name) == ("tocsin", subcommand))
        flags = {option.name for option in known.options if option.flag}
        given = {name: True if name in flags else value for name, value in options.items()}
        return _plain(await self.discord.slash("tocsin", subcommand, given, **self._person(who)))

    async def fill(self, values: Values, who: Who) -> str:
        modal = await self.discord.slash_for_form("tocsin", "subscribe", **self._person(who))
        return _plain(await self.discord.submit(modal, values, **self._person(who)))

    async def press(self, label: str, who: Who, *, elsewhere: bool = False) -> str:
        message = self.discord.messages(self._channel_id)[0]
        person = self._person(who) | ({"channel": self._beside} if elsewhere else {})
        if who is Who.STRANGER:
            person["channel"] = self._abroad[1]
        if label in fakes.labels(message):
            return _plain(await self.discord.press(message, label, **person))
        (select,) = (each for row in message["components"] for each in row["components"] if each["type"] == 3)
        (value,) = (option["value"] for option in select["options"] if option["label"] == label)
        return _plain(await self.discord.press(message, select["placeholder"], value, **person))

    def strike(self, call: Call, ill: Ill, times: int = 1) -> None:
        self.discord.script(_CALLS[call], *[_fault(ill) for _ in range(times)])

    def shut_out(self) -> None:
        self.discord.guilds[self._guild].channels.remove(self._channel_id)
        self.discord._left.add(self._channel_id)

    async def let_in(self) -> None:
        self.let_in_silently()
        guild = self.discord.guilds[self._guild]
        allowed = {"id": guild.id, "type": 0, "allow": "2048", "deny": "0"}
        changed = self.discord._channel(self._channel_id, guild) | {"permission_overwrites": [allowed]}
        await self.discord.dispatch("CHANNEL_UPDATE", changed)
        await self._desk.until("restored channel")

    def let_in_silently(self) -> None:
        self.discord._left.discard(self._channel_id)
        self.discord.guilds[self._guild].channels.append(self._channel_id)

    async def delete_channel(self) -> None:
        await self.discord.delete_channel(self._channel_id)
        await self._desk.until("lost channel")

    async def remove(self) -> None:
        self._channels = self.discord.guilds[self._guild].channels
        await self.discord.kick(self._guild)
        await self._desk.until("lost workspace")

    def refuse_token(self) -> None:
        self._token, self.discord.token = self.discord.token, "another"

    async def bring_back(self) -> None:
        if self._guild in self.discord.guilds:
            self.discord.token = self._token
            await self.discord.send_raw("{not json")
            await self._desk.until("restored workspace", times=2)
            return
        await self.discord.join(self._guild, self._channels)
        await self._desk.until("restored workspace")

    def _person(self, who: Who) -> dict[str, Any]:
        admin = who is Who.ADMIN
        permissions = fakes.MANAGE_GUILD if admin else fakes.NOTHING
        return {"user": "111" if admin else "222", "permissions": permissions, "channel": self._channel_id}


_CALLS = {
    Call.POST: "create_message",
    Call.EDIT: "edit_message",
    Call.DELETE: "delete_message",
    Call.LIST: "list_messages",
    Call.LIST_THREAD: "list_messages",
    Call.OPEN_THREAD: "create_thread",
}


def _fault(ill: Ill) -> fakes.Fault:
    match ill:
        case Ill.RATE_LIMITED:
            return fakes.rate_limited(2)
        case Ill.BROKEN | Ill.BROKEN_AFTER:
            return fakes.broken(500, processed=ill is Ill.BROKEN_AFTER)
        case Ill.DOWN:
            return fakes.broken(503)
        case Ill.RESET | Ill.RESET_AFTER:
            return fakes.reset(processed=ill is Ill.RESET_AFTER)
        case Ill.TIMED_OUT | Ill.TIMED_OUT_AFTER:
            return fakes.hang(processed=ill is Ill.TIMED_OUT_AFTER)
    raise ValueError(f"Discord does not know {ill.value}")


def _shown(message: Mapping[str, Any]) -> str:
    """What a person reads in a Discord message, markup apart."""
    texts = [message["content"]]
    for embed in message["embeds"]:
        texts += [embed.get("title", ""), embed.get("description", "")]
        texts += [text for entry in embed.get("fields", ()) for text in (entry["name"], entry["value"])]
    return _plain("\n".join(filter(None, texts)))


def _plain(text: str) -> str:
    return text.replace("\\", "").replace("**", "")
