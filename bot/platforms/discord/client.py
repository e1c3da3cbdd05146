"""The connection to Discord: log in, stay connected, hear of commands and losses, close cleanly."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self

import aiohttp
import discord
import discord.gateway
import discord.http
import structlog
import yarl

from bot.domain import delivery
from bot.domain.delivery import Rejected, Scope, Unavailable
from bot.domain.errors import TocsinError
from bot.platforms import base
from bot.platforms.discord import commands, errors, forms, interactions, notifier

log = structlog.get_logger()

_LOGIN_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 3.0
# A refused token is asked about again, rarely: too many refusals get the whole address barred.
_REFUSED_PAUSE = timedelta(minutes=5)
# Enough to post, to answer in threads, to see whether a delivery arrived, and nothing else.
_PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    create_public_threads=True,
    embed_links=True,
    read_message_history=True,
)
_SCOPES = ("bot", "applications.commands")
_NETWORK = (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError)
_P = ParamSpec("_P")

_Event = Callable[Concatenate["Client", _P], Coroutine[Any, Any, None]]


def _tracked(event: _Event[_P]) -> _Event[_P]:
    """discord.py starts a task for each event and forgets it; closing must wait for it."""

    @wraps(event)
    async def hear(self: "Client", /, *args: _P.args, **kwargs: _P.kwargs) -> None:
        task = asyncio.current_task()
        if task is not None:
            self.events.add(task)
            task.add_done_callback(self.events.discard)
        await event(self, *args, **kwargs)

    return hear


class Client(discord.Client):
    """discord.py's client with the least of intents; it hands everything on to the desk."""

    def __init__(self, desk: base.Desk, known: set[int] | None = None) -> None:
        """``known``: the guilds that the bot was in when last seen; kept up to date, shared with the next client."""
        super().__init__(
            intents=discord.Intents(guilds=True),
            allowed_mentions=discord.AllowedMentions.none(),
            member_cache_flags=discord.MemberCacheFlags.none(),
            chunk_guilds_at_startup=False,
            max_messages=None,
            # How long to wait for further guilds before READY counts; nothing here waits for that.
            guild_ready_timeout=0.0,
            max_ratelimit_timeout=30.0,
            http_trace=notifier.trace(),
        )
        self.events: set[asyncio.Task[object]] = set()
        self._desk = desk
        self._forms = forms.Open()
        self._known: set[int] = set() if known is None else known

    @property
    def connected(self) -> bool:
        return not self.is_closed() and self.is_ready() and self.ws is not None and self.ws.open

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """A closed client has no loop to start tasks on, and discord.py does not look."""
        if not self.is_closed():
            super().dispatch(event, *args, **kwargs)

    @_tracked
    async def on_ready(self) -> None:
        present = {guild.id for guild in self.guilds}
        log.info("discord_connected", guilds=len(present))
        for gone in sorted(self._known - present):
            await self._desk.lost(f"discord:{gone}", "the bot was removed from the server while it was disconnected")
        self._known.clear()
        self._known.update(present)
        # Guilds that came right behind READY: discord.py, told not to wait for them, dispatches no event.
        for guild in self.guilds:
            if not guild.unavailable:
                await self._restored(guild)
        await commands.register(self, self._desk.subcommands)

    @_tracked
    async def on_interaction(self, interaction: discord.Interaction[Self]) -> None:
        await interactions.answer(interaction, self._desk, self._forms)

    @_tracked
    async def on_guild_available(self, guild: discord.Guild) -> None:
        await self._restored(guild)

    @_tracked
    async def on_guild_join(self, guild: discord.Guild) -> None:
        await self._restored(guild)

    @_tracked
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """Not an outage: that one is ``on_guild_unavailable``, and nothing is lost by it."""
        self._known.discard(guild.id)
        await self._desk.lost(f"discord:{guild.id}", "the bot was removed from the server; invite it again")

    @_tracked
    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        await self._desk.lost(f"discord:{channel.guild.id}/{channel.id}", "the channel was deleted")

    @_tracked
    async def on_guild_role_update(self, before: discord.Role, after: discord.Role) -> None:
        if before.permissions != after.permissions:
            await self._restored_channels(after.guild)

    @_tracked
    async def on_member_update(self, before: discord.Member, after: discord.Member) -> None:
        """Only ever the bot itself: of others, Discord does not tell without an intent."""
        if before.roles != after.roles:
            await self._restored_channels(after.guild)

    @_tracked
    async def on_guild_channel_update(self, before: discord.abc.GuildChannel, after: discord.abc.GuildChannel) -> None:
        """Somebody may have given the bot back what it lacked; if not, the next send says so again."""
        if before.overwrites != after.overwrites:
            await self._desk.restored(f"discord:{after.guild.id}/{after.id}")

    async def on_error(self, event_method: str, /, *_args: object, **_kwargs: object) -> None:
        log.exception("discord_event_failed", discord_event=event_method)

    async def _restored(self, guild: discord.Guild) -> None:
        self._known.add(guild.id)
        await self._desk.restored(f"discord:{guild.id}")
        await self._restored_channels(guild)

    async def _restored_channels(self, guild: discord.Guild) -> None:
        """Those where the bot may post now: it may have lacked that before."""
        # discord.py's list of channels changes under whoever waits.
        channels = [each.id for each in guild.channels if guild.me and each.permissions_for(guild.me).send_messages]
        for channel in channels:
            await self._desk.restored(f"discord:{guild.id}/{channel}")


class Discord:
    """Use with ``async with``: entering logs in (TocsinError if the token is refused), leaving closes everything.

    Where Discord cannot be reached at first the service lives on and the connection is made in the background; until
    then ``notifier`` answers Unavailable. ``state``: ``starting | connected | reconnecting | refused | closed``.
    """

    def __init__(
        self,
        *,
        token: str,
        desk: base.Desk,
        api_url: str | None = None,
        gateway_url: str | None = None,
        backoff: Callable[[int], timedelta] = delivery.backoff,
    ) -> None:
        self.notifier = notifier.DiscordNotifier(self._client_or_outcome)
        self._token = token
        self._desk = desk
        self._urls = (api_url, gateway_url)
        self._undo = ExitStack()
        self._backoff = backoff
        self._client: Client | None = None
        self._known: set[int] = set()
        self._refused = False
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(_addresses(*self._urls))
            try:
                await self._log_in()
            except discord.LoginFailure:
                raise TocsinError(f"Discord refused the bot's token; {errors.REMEDY_REFUSED}") from None
            except _NETWORK as error:
                log.warning("discord_unreachable", error=type(error).__name__, remedy="tocsin keeps trying")
            self._undo = undo.pop_all()
        self._task = asyncio.create_task(self._stay_connected(), name="discord")
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self._closing = True
        try:
            client = self._client
            # Closed, discord.py's connect() ends by itself; cancelled first it could leave a socket behind.
            patience_s = 1.0 if client is not None and client.connected else 0.0
            if client is not None:
                await _finish(client.events, _CLOSE_TIMEOUT_S)
                await _close(client)
            if self._task is not None:
                await _finish({self._task}, patience_s)
            if client is not None:
                await _finish(client.events, 0.0)
        finally:
            self._undo.close()

    @property
    def state(self) -> str:
        if self._closing:
            return "closed"
        if self._refused:
            return "refused"
        if self._client is None:
            return "starting"
        return "connected" if self._client.connected else "reconnecting"

    async def check(self) -> base.Problem | None:
        """What is wrong, or None."""
        match self.state:
            case "connected":
                return None
            case "refused":
                return base.Problem(problem="Discord refused the bot's token", remedy=errors.REMEDY_REFUSED)
            case state:
                return base.Problem(
                    problem=f"not connected to Discord ({state})", remedy="check the network; tocsin keeps trying"
                )

    def _client_or_outcome(self) -> discord.Client | Rejected | Unavailable:
        if self._refused:
            return Rejected(
                reason="Discord refused the bot's token", remedy=errors.REMEDY_REFUSED, scope=Scope.PLATFORM
            )
        if self._client is None or self._client.is_closed():
            return Unavailable(reason="not logged in to Discord yet")
        return self._client

    async def _stay_connected(self) -> None:
        attempt = 0
        while not self._closing:
            pause = self._backoff(attempt + 1)
            try:
                if self._client is None:
                    await self._log_in()
                attempt = 0
                await self._connect()
            except discord.LoginFailure:
                if not self._refused:
                    log.error("discord_token_refused", remedy=errors.REMEDY_REFUSED)
                self._refused = True
                pause = _REFUSED_PAUSE
            except _NETWORK as error:
                attempt += 1
                log.warning("discord_disconnected", attempt=attempt, error=type(error).__name__)
            except Exception:
                # Garbage on the gateway ends discord.py's loop in many ways; each means: connect anew.
                attempt += 1
                log.exception("discord_disconnected", attempt=attempt)
            if not self._closing:
                await asyncio.sleep(pause.total_seconds())

    async def _log_in(self) -> None:
        self._client = None
        client = Client(self._desk, self._known)
        await _log_in(client, self._token)
        self._client = client
        self._refused = False

    async def _connect(self) -> None:
        """Until the connection is lost in a way that discord.py does not mend by itself."""
        client = self._client
        if client is None:
            return
        try:
            await client.connect(reconnect=True)
        finally:
            if not self._closing:
                await _close(client)
                self._client = None


async def check(*, token: str, api_url: str | None = None) -> base.Problem | None:
    """Ask Discord whether it takes the token, without connecting. None if all is well."""
    found = await _application(token, api_url)
    return found if isinstance(found, base.Problem) else None


async def application_id(*, token: str, api_url: str | None = None) -> int:
    """Which application the token is of. TocsinError if Discord refuses it or cannot be reached."""
    found = await _application(token, api_url)
    if isinstance(found, base.Problem):
        raise TocsinError(f"{found.problem}; {found.remedy}")
    return found


def invite_url(application: int | str) -> str:
    """The link by which the administrator of a server adds the bot, with the least permissions that it needs."""
    return discord.utils.oauth_url(application, permissions=_PERMISSIONS, scopes=_SCOPES)


async def _application(token: str, api_url: str | None) -> int | base.Problem:
    with _addresses(api_url, None):
        client = discord.Client(intents=discord.Intents(guilds=True))
        try:
            await _log_in(client, token)
        except discord.LoginFailure:
            return base.Problem(problem="Discord refused the bot's token", remedy=errors.REMEDY_REFUSED)
        except _NETWORK as error:
            return base.Problem(
                problem=f"Discord cannot be reached: {type(error).__name__}",
                remedy="check the network and [discord] api_url",
            )
        found = client.application_id
        await _close(client)
    return found or base.Problem(problem="Discord does not say whose token that is", remedy="try again later")


async def _log_in(client: discord.Client, token: str) -> None:
    """Closes ``client`` if that fails."""
    try:
        if not token.strip().isascii() or not token.strip().isprintable() or not token.strip():
            raise discord.LoginFailure("not a token at all")
        async with asyncio.timeout(_LOGIN_TIMEOUT_S):
            await client.login(token)
    except BaseException:
        await _close(client)
        raise


async def _close(client: discord.Client) -> None:
    """Also where the other side does not answer: discord.py would wait 30 s for it."""
    try:
        async with asyncio.timeout(_CLOSE_TIMEOUT_S):
            await client.close()
    except TimeoutError:
        await client.http.close()


async def _finish(tasks: set[asyncio.Task[object]] | set[asyncio.Task[None]], patience_s: float) -> None:
    """Let tasks end by themselves for a while, then cancel them."""
    waiting: set[asyncio.Task[object]] = set(tasks)
    if not waiting:
        return
    await asyncio.wait(waiting, timeout=patience_s)
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


@contextmanager
def _addresses(api_url: str | None, gateway_url: str | None) -> Iterator[None]:
    """Point discord.py, whose addresses are global, at other servers; put them back afterwards."""
    route, socket = discord.http.Route, discord.gateway.DiscordWebSocket
    before = route.BASE, socket.DEFAULT_GATEWAY
    if api_url:
        route.BASE = api_url.rstrip("/")
    if gateway_url:
        socket.DEFAULT_GATEWAY = yarl.URL(gateway_url)
    try:
        yield
    finally:
        route.BASE, socket.DEFAULT_GATEWAY = before
