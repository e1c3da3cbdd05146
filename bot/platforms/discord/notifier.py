"""Carries out deliveries on Discord: one HTTP request each where that is possible, never one that repeats itself."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal, assert_never

import aiohttp
import discord
import discord.http
import structlog

from bot import metrics
from bot.domain.delivery import Act, Found, Missing, Outcome, Rejected, Sending, Sent, Unavailable
from bot.platforms.discord import errors, render

log = structlog.get_logger()

# How far Discord's clock, which message ids are made from, may be behind ours.
_CLOCK_SKEW = timedelta(minutes=2)
# A channel's history gives 100 messages a page, five pages a second; a search must end within a call's time.
_HISTORY_MOST = 25 * 100
# How many messages after the event's own are searched for replies to it when it is withdrawn.
_ANSWERS_WITHIN = 300
_NONCE_LIMIT = 25
_ARCHIVE_AFTER_MINUTES: Literal[1440] = 1440
_MENTION_NOBODY = discord.AllowedMentions.none()
_NETWORK = (discord.HTTPException, discord.RateLimited, aiohttp.ClientError, TimeoutError, OSError)

# True inside the notifier's own calls: those that discord.py must not repeat.
_only_once: ContextVar[bool] = ContextVar("discord_only_once", default=False)


def trace() -> aiohttp.TraceConfig:
    """Give this to discord.Client: it takes 429 and 5xx answers from discord.py before that sleeps and sends again.

    A send that is cut during such a sleep would leave discord.py's global rate-limit lock closed for good.
    """

    async def on_request_end(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, params: aiohttp.TraceRequestEndParams
    ) -> None:
        response = params.response
        if _only_once.get() and (response.status == 429 or response.status >= 500):
            raise errors.Turned(response.status, response.headers)

    config = aiohttp.TraceConfig()
    config.on_request_end.append(on_request_end)
    return config


class DiscordNotifier:
    """``client`` answers the logged-in client, or the Outcome to give while there is none."""

    platform = "discord"
    # A channel takes five messages in five seconds. What comes sooner, discord.py would let sleep inside the call, and
    # sixteen such sleepers keep everybody else waiting.
    spacing = timedelta(seconds=1)
    # Of the 50 requests a second that a bot has, ten are left for commands and for threads.
    per_second: float | None = 40.0

    def __init__(self, client: Callable[[], discord.Client | Rejected | Unavailable]) -> None:
        self._client = client
        # Delivery → what a retraction that was cut has taken away. One with many replies would never come to its end.
        self._withdrawn: dict[str, set[int]] = {}

    async def send(self, sending: Sending) -> Outcome:
        client = self._client()
        if not isinstance(client, discord.Client):
            return client
        call = _Call(client, sending)
        try:
            with _once():
                match sending.act:
                    case Act.POST | Act.NOTICE | Act.DIGEST:
                        return await call.post()
                    case Act.EDIT:
                        return await call.edit()
                    case Act.REPLY:
                        return await call.reply()
                    case Act.RETRACT:
                        outcome = await call.retract(self._withdrawn.setdefault(sending.delivery, set()))
                        self._withdrawn.pop(sending.delivery, None)
                        return outcome
                    case _:
                        assert_never(sending.act)
        except _NETWORK as error:
            return call.outcome(error)
        except RuntimeError:
            # aiohttp's word for a session that was closed: ours is, while the connection is being made anew.
            if not client.is_closed():
                raise
            return Unavailable(reason="the connection to Discord was closed")

    async def find(self, sending: Sending) -> Found:
        client = self._client()
        if not isinstance(client, discord.Client):
            return client
        call = _Call(client, sending)
        try:
            with _once():
                match sending.act:
                    case Act.POST | Act.NOTICE | Act.DIGEST:
                        return await call.find_in(call.channel)
                    case Act.EDIT | Act.RETRACT:
                        return await call.find_at_target()
                    case Act.REPLY:
                        return await call.find_reply()
                    case _:
                        assert_never(sending.act)
        except _NETWORK as error:
            return call.outcome(error)
        except RuntimeError:
            # aiohttp's word for a session that was closed: ours is, while the connection is being made anew.
            if not client.is_closed():
                raise
            return Unavailable(reason="the connection to Discord was closed")


class _Call:
    """One delivery and the places that it is about."""

    def __init__(self, client: discord.Client, sending: Sending) -> None:
        self.client = client
        self.sending = sending
        self.guild = _snowflake(sending.channel.workspace_id)
        self.channel = self._place(_snowflake(sending.channel.channel_id))
        self.target = _snowflake(sending.target_id or "")
        self.rendering = render.render(sending)
        self.refusals: list[discord.HTTPException] = []

    def outcome(self, error: BaseException) -> Outcome:
        gone = self.client.is_ready() and self.client.get_guild(self.guild) is None
        return errors.outcome(error, where=str(self.sending.channel), guild_gone=gone)

    async def post(self) -> Outcome:
        return await self._post_in(self.channel.id)

    async def edit(self) -> Outcome:
        await self._edit(self.channel.id, self.target)
        return Sent(platform_id=str(self.target))

    async def reply(self) -> Outcome:
        """Into the thread of the event's message; where there can be none, and where it has to be seen, as a reply."""
        if self.sending.message.escalated:
            return await self._post_in(self.channel.id, answering=True)
        try:
            return await self._post_in(self.target)
        except discord.HTTPException as error:
            if error.code not in (errors.Code.UNKNOWN_CHANNEL, errors.Code.MISSING_ACCESS):
                raise
        if await self._create_thread():
            return await self._post_in(self.target)
        return await self._post_in(self.channel.id, answering=True)

    async def retract(self, withdrawn: set[int]) -> Outcome:
        """Delete or blank what answers the message, its thread, and at last the message: they tell the same.

        What is refused does not keep the rest, but is what is answered. ``withdrawn``: the replies that are gone, also
        by an earlier call; added to.
        """
        for reply in map(_snowflake, self.sending.replies):
            if reply not in withdrawn and await self._unrefused(self._withdraw_reply(reply)):
                withdrawn.add(reply)
        await self._unrefused(self._withdraw_answers())
        await self._unrefused(self._empty_thread())
        await self._unrefused(self._withdraw(self.channel, self.target))
        return self.outcome(self.refusals[0]) if self.refusals else Sent(platform_id=str(self.target))

    async def find_in(self, place: discord.PartialMessageable) -> Found:
        seen = 0
        async for message in place.history(limit=_HISTORY_MOST, after=self._since(), oldest_first=False):
            if self._is_ours(message):
                return Sent(platform_id=str(message.id), duplicate=True)
            seen += 1
        if seen == _HISTORY_MOST:
            metrics.resent_unseen_total.labels(DiscordNotifier.platform).inc()
            channel = str(self.sending.channel)
            log.warning("history_too_long", delivery=self.sending.delivery, channel=channel, messages=seen)
        return Missing()

    async def find_at_target(self) -> Found:
        """An edit or a blanking shows in its target; a retracted message that is gone is found, too."""
        try:
            message = await self.channel.get_partial_message(self.target).fetch()
        except discord.NotFound as error:
            if error.code != errors.Code.UNKNOWN_MESSAGE:
                raise
            if self.sending.act is Act.RETRACT:
                return Sent(platform_id=str(self.target), duplicate=True)
            return Missing()
        return Sent(platform_id=str(message.id), duplicate=True) if self._is_ours(message) else Missing()

    async def find_reply(self) -> Found:
        if self.sending.message.escalated:
            return await self.find_in(self.channel)
        try:
            found = await self.find_in(self._place(self.target))
        except discord.HTTPException as error:
            if error.code not in (errors.Code.UNKNOWN_CHANNEL, errors.Code.MISSING_ACCESS):
                raise
            found = Missing()
        return await self.find_in(self.channel) if isinstance(found, Missing) else found

    async def _post_in(self, place: int, *, answering: bool = False) -> Outcome:
        reference: Any = {
            "message_id": str(self.target),
            "channel_id": str(self.channel.id),
            "guild_id": str(self.guild),
            "fail_if_not_exists": True,
        }
        with discord.http.handle_message_parameters(
            **self._shown(),
            nonce=self.sending.delivery[:_NONCE_LIMIT],
            message_reference=reference if answering else discord.utils.MISSING,
        ) as params:
            message = await self.client.http.send_message(place, params=self._with_components(params))
        return Sent(platform_id=str(message["id"]))

    async def _edit(self, place: int, message: int) -> None:
        with discord.http.handle_message_parameters(**self._shown()) as params:
            await self.client.http.edit_message(place, message, params=self._with_components(params))

    async def _unrefused(self, act: Awaitable[object]) -> bool:
        """Do it; a refusal is kept for the end."""
        try:
            await act
        except discord.HTTPException as error:
            if not _forbidden(error):
                raise
            self.refusals.append(error)
            return False
        return True

    async def _withdraw_reply(self, reply: int) -> None:
        """It stands in the thread, or in the channel if it was to be seen: nobody noted which."""
        refusal: discord.HTTPException | None = None
        for place in (self._place(self.target), self.channel):
            try:
                if await self._withdraw(place, reply):
                    return
            except discord.HTTPException as error:
                if not _forbidden(error):
                    raise
                refusal = error
        if refusal is not None:
            raise refusal

    async def _withdraw(self, place: discord.PartialMessageable, message: int) -> bool:
        """Delete, or blank where that is forbidden. False: it is not there, which is no trouble."""
        try:
            try:
                await place.get_partial_message(message).delete()
            except discord.HTTPException as error:
                if not _forbidden(error):
                    raise
                await self._edit(place.id, message)
        except discord.HTTPException as error:
            if error.code in (errors.Code.UNKNOWN_MESSAGE, errors.Code.UNKNOWN_CHANNEL):
                return False
            raise
        return True

    async def _withdraw_answers(self) -> None:
        """Escalations, and replies where there can be no thread, stand in the channel, some time after the message."""
        try:
            found = [
                message.id
                async for message in self._ours(self.channel, limit=_ANSWERS_WITHIN, after=discord.Object(self.target))
                if message.reference and message.reference.message_id == self.target
            ]
        except discord.HTTPException as error:
            if error.code == errors.Code.UNKNOWN_CHANNEL:
                return
            raise
        for message in found:
            await self._unrefused(self._withdraw(self.channel, message))

    async def _ours(
        self, place: discord.PartialMessageable, *, limit: int | None, after: discord.Object | None = None
    ) -> AsyncIterator[discord.Message]:
        """What the bot wrote and has not blanked yet. Discord's own note of where a thread begins bears its name."""
        me = self.client.user.id if self.client.user else None
        async for message in place.history(limit=limit, after=after):
            written = message.type in (discord.MessageType.default, discord.MessageType.reply)
            if written and message.author.id == me and not self._is_ours(message):
                yield message

    def _shown(self) -> dict[str, Any]:
        embed = self.rendering.embed
        embeds = [] if embed is None else [discord.Embed.from_dict(embed)]
        return {"content": self.rendering.content, "embeds": embeds, "allowed_mentions": _MENTION_NOBODY}

    def _with_components(self, params: discord.http.MultipartParameters) -> discord.http.MultipartParameters:
        """discord.py would have views, which it keeps in memory for as long as it runs; ids are all that is needed."""
        return params._replace(payload={**(params.payload or {}), "components": list(self.rendering.components)})

    async def _create_thread(self) -> bool:
        """False where there can be no thread; raises where the message or the channel itself is the trouble."""
        try:
            await self.client.http.start_thread_with_message(
                self.channel.id,
                self.target,
                name=render.thread_name(self.sending.message),
                auto_archive_duration=_ARCHIVE_AFTER_MINUTES,
            )
        except discord.HTTPException as error:
            if error.code in (errors.Code.UNKNOWN_CHANNEL, errors.Code.UNKNOWN_MESSAGE) or error.status in (401, 429):
                raise
            log.info("thread_refused", channel=str(self.sending.channel), status=error.status, code=error.code)
            # "Already created", and yet it could not be posted to: closed or deleted by a moderator.
            return False
        return True

    async def _empty_thread(self) -> None:
        """Delete the thread; without that permission, all of our own messages in it. No thread is no trouble."""
        try:
            await self.client.http.delete_channel(self.target)
        except discord.HTTPException as error:
            if error.code == errors.Code.UNKNOWN_CHANNEL:
                return
            if not _forbidden(error):
                raise
            thread = self._place(self.target)
            async for message in self._ours(thread, limit=None):
                await self._unrefused(self._withdraw(thread, message.id))

    def _place(self, channel: int) -> discord.PartialMessageable:
        return self.client.get_partial_messageable(channel, guild_id=self.guild)

    def _since(self) -> datetime:
        return self.sending.created_at - _CLOCK_SKEW

    def _is_ours(self, message: discord.Message) -> bool:
        footers = [embed.footer.text for embed in message.embeds if embed.footer.text]
        return str(message.nonce) == self.sending.delivery or render.carries(
            self.sending.delivery, content=message.content, footers=footers
        )


@contextmanager
def _once() -> Iterator[None]:
    token = _only_once.set(True)
    try:
        yield
    finally:
        _only_once.reset(token)


def _forbidden(error: discord.HTTPException) -> bool:
    return error.status in (400, 403)


def _snowflake(text: str) -> int:
    """Ids that are not Discord's (an operator's typing error) become 0, which Discord does not know."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 20 else 0
