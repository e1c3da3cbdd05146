"""What Bluesky's AppView says about posts that we keep, where the stream may not have told us of their end.

Jetstream tells of deletions while they happen. What was deleted in a gap is asked about here: everything that we keep
after a gap, and after a start, since a life before this one may have left a question open; one author's posts after a
``#sync``. The AppView follows the same network, some time behind, and has bad days. So a question waits ten minutes at
least, a post that is missing from an answer is asked about once more ten minutes later, and an answer that knows none
of 25 posts from everywhere is no answer.

An edit cannot be found out like this: the AppView gives the newest words of a post, and we ask by its id.
"""

import asyncio
import contextlib
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import datetime

import aiohttp
import msgspec
import structlog
from yarl import URL

from bot.domain import post
from bot.ingest import bodies, recheck, trouble
from bot.ingest.recheck import Recheck, Stored

PATH = "xrpc/app.bsky.feed.getPosts"
MOST = 25  # uris in a request
OTHERS = 5  # of them at least from anywhere, so that an answer with none can be told from bad luck
SPARE = 200  # posts to take those from
PATIENCE_S = 600.0
REQUEST_S = 15.0
MOST_AUTHORS = 10_000
MOST_WAITING = 1_000
SIGNED_IN_ONLY = "!no-unauthenticated"

_EVERYONE = "everyone"
_URI = re.compile(
    r"at://(did:[a-z]+:[A-Za-z0-9._:%-]{1,100})/app\.bsky\.feed\.post/(?!\.{1,2}$)[A-Za-z0-9._:~-]{1,64}", re.ASCII
)

log = structlog.get_logger()


class _Label(msgspec.Struct):
    val: str
    neg: bool = False


class _Author(msgspec.Struct):
    labels: list[_Label] = []


class _Shown(msgspec.Struct):
    uri: str
    author: _Author
    labels: list[_Label] = []

    @property
    def signed_in_only(self) -> bool:
        """A post that its author hides from us has to go like a deleted one."""
        return any(label.val == SIGNED_IN_ONLY and not label.neg for label in (*self.labels, *self.author.labels))


class _Answer(msgspec.Struct):
    posts: list[_Shown]


_answer = msgspec.json.Decoder(_Answer)


class Asking:
    """What is to be asked, and what was found. ``waiting``: there is something to ``take``.

    What was noted in one round is asked in the next, ten minutes later. Without ``stored`` nothing is ever asked.
    """

    def __init__(
        self,
        name: str,
        stored: Stored | None,
        base: URL,
        *,
        clock: Callable[[], datetime],
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.waiting = False
        self._name = name
        self._stored = stored
        self._url = base / PATH
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._noted: set[str] = set()  # authors, or _EVERYONE
        self._wanted: set[str] = set()  # noted a round ago
        self._missing: dict[str, float] = {}  # since when
        self._others: deque[str] = deque()
        self._left: set[str] = set()  # of this round
        self._gone: list[str] = []
        self._failure: BaseException | None = None
        self._rounds = Recheck(
            self._due,
            self._ask,
            batch=MOST - OTHERS,
            due_s=float("inf"),
            every_s=recheck.PACE_S,
            pause_s=lambda error: trouble.retry_after_s(getattr(error, "headers", None), clock()),
            monotonic=monotonic,
        )

    def everyone(self) -> None:
        if self._stored is not None:
            self._noted = {_EVERYONE}

    def author(self, did: str) -> None:
        if self._stored is not None:
            self._noted.add(did)
            if len(self._noted) > MOST_AUTHORS:
                self._noted = {_EVERYONE}

    def take(self) -> Sequence[str]:
        """The ids of posts whose words must go, each once. Raises what broke the asking."""
        if self._failure is not None:
            raise self._failure
        gone, self._gone, self.waiting = self._gone, [], False
        return gone

    @contextlib.asynccontextmanager
    async def going(self) -> AsyncIterator[None]:
        """Asks beside whatever is done within, and ends with it."""
        if self._stored is None:
            yield
            return
        task = asyncio.create_task(self._run(), name=f"recheck:{self._name}")
        task.add_done_callback(self._ended)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _run(self) -> None:
        async with aiohttp.ClientSession(headers={"User-Agent": "tocsin"}) as session:
            while True:
                await self._sleep(recheck.PACE_S if self._left else PATIENCE_S)
                if len(self._gone) >= MOST_WAITING:
                    continue
                try:
                    self._gone += await self._rounds.some(session)
                except (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError) as error:
                    self._tell(error)
                self.waiting = bool(self._gone)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            self._failure, self.waiting = task.exception(), True

    async def _due(self) -> Sequence[str]:
        wanted, self._wanted, self._noted = self._wanted, self._noted, set()
        now = self._monotonic()
        again = [uri for uri, since in self._missing.items() if now - since >= PATIENCE_S]
        if self._stored is None or not (wanted or again):
            return ()
        kept = dict(_asked_by(await self._stored()))
        self._missing = {uri: since for uri, since in self._missing.items() if uri in kept}
        spread = _spread(list(kept))
        self._others = deque([uri for uri in spread if uri not in self._missing][:SPARE])
        if _EVERYONE not in wanted:
            theirs = [uri for uri, author in kept.items() if author in wanted] if wanted else []
            spread = [uri for uri in again if uri in kept] + theirs
        self._left = set(spread)
        return spread

    async def _ask(self, session: aiohttp.ClientSession, uris: Sequence[str]) -> tuple[Sequence[str], float | None]:
        asked = dict.fromkeys(uris)
        for _ in range(len(self._others)):
            if len(asked) == MOST:
                break
            asked[self._others[0]] = None
            self._others.rotate(-1)
        shown = await self._get(session, list(asked))
        if len(asked) == MOST and not shown:
            raise trouble.LostError("knows none of the posts that it was asked about")
        self._left.difference_update(uris)
        return self._judge(asked, shown), None

    async def _get(self, session: aiohttp.ClientSession, uris: Sequence[str]) -> Mapping[str, _Shown]:
        query = [("uris", uri) for uri in uris]
        async with (
            asyncio.timeout(REQUEST_S),
            session.get(self._url, params=query, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise aiohttp.ClientResponseError(
                    response.request_info, response.history, status=response.status, headers=response.headers
                )
            body = await bodies.read(response)
        try:
            answer = _answer.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise trouble.LostError("answered about posts with something else") from None
        return {shown.uri: shown for shown in answer.posts if shown.uri in uris}

    def _judge(self, asked: Iterable[str], shown: Mapping[str, _Shown]) -> Sequence[str]:
        now = self._monotonic()
        gone = []
        for uri in asked:
            found = shown.get(uri)
            if found is not None and not found.signed_in_only:
                self._missing.pop(uri, None)
            elif found is not None or now - self._missing.setdefault(uri, now) >= PATIENCE_S:
                self._missing.pop(uri, None)
                gone.append(uri)
        return gone

    def _tell(self, error: Exception) -> None:
        host = self._url.host_port_subcomponent or ""
        found = trouble.of(
            error, host, self._clock(), refused="check appview of the source, or set it to an empty text"
        )
        log.warning("recheck_failed", source=self._name, error=found.what, remedy=found.remedy)


def _asked_by(stored: Iterable[str]) -> Iterable[tuple[str, str]]:
    """Each post once, whatever its versions, and its author; what is none of Bluesky's is left out."""
    for each in stored:
        uri = each.partition(post.VERSION)[0]
        if (found := _URI.fullmatch(uri)) is not None:
            yield uri, found[1]


def _spread(uris: Sequence[str]) -> list[str]:
    """Neighbours may all have gone with one author: each request asks about posts of all times."""
    apart = len(uris) // (MOST - OTHERS) + 1
    return [uri for first in range(apart) for uri in uris[first::apart]]
