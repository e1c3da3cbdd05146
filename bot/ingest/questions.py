"""The further documents that the readings of one source ask for. They hold back for long nothing that a document says.

All questions of one reading together may take as long as one document. At the first that cannot be had the round is
over: what is wrong is told, and the reading does without the rest. Where the server says for how long we are to stay
away, no further document is asked for until then; the list itself is, as long as it answers. What was asked for in vain
comes last the next time, so that it stands in no other's way.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

import aiohttp
from yarl import URL

from bot.ingest import fetching, trouble
from bot.ingest.fetching import Answer
from bot.ingest.reach import Reach
from bot.ingest.source import SourceHealth

MOST = 20  # that one reading may ask
_MOST_IN_VAIN = 200
_TROUBLES = (aiohttp.ClientError, OSError, TimeoutError, trouble.LostError)


@dataclass(slots=True, kw_only=True)
class Questions:
    """Of one source, as long as it lives."""

    name: str
    health: SourceHealth
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    timeout_s: float
    _in_vain: dict[str, None] = field(default_factory=dict)  # what failed last is last
    _away_until: float | None = None  # by ``monotonic``

    def begin(self, session: aiohttp.ClientSession, reach: Reach, base: URL) -> "Round":
        """``base``: where the document came from."""
        if self._away_until is not None and self.monotonic() >= self._away_until:
            self._away_until = None
        return Round(
            source=self,
            session=session,
            reach=reach,
            base=base,
            until=asyncio.get_running_loop().time() + self.timeout_s,
            over=self._away_until is not None,
        )

    def turns(self, questions: Iterable[str]) -> list[str]:
        places = {question: number for number, question in enumerate(self._in_vain)}
        return sorted(questions, key=lambda each: places.get(each, -1))

    def answered(self, question: str) -> None:
        self._in_vain.pop(question, None)

    def failed(self, question: str, error: BaseException, host: str) -> None:
        self._in_vain.pop(question, None)
        self._in_vain[question] = None
        if len(self._in_vain) > _MOST_IN_VAIN:
            del self._in_vain[next(iter(self._in_vain))]
        found = trouble.of(error, host, self.clock(), refused="nothing to do, it is asked again")
        found = replace(found, what=f"{found.what}, asked for a further document")
        if found.retry_after_s is not None:
            self._away_until = self.monotonic() + found.retry_after_s
        self.health.last_error, self.health.remedy = found.what, found.remedy
        trouble.warn("question_failed", self.name, self.health, found)


@dataclass(slots=True, kw_only=True)
class Round:
    """The questions of one reading. ``answers``: None where it could not be had now."""

    source: Questions
    session: aiohttp.ClientSession
    reach: Reach
    base: URL
    until: float  # by the event loop's clock
    over: bool
    answers: dict[str, Answer | None] = field(default_factory=dict)

    def leaves(self, questions: Iterable[str]) -> bool:
        """Has any of them neither been asked nor given up, and may be?"""
        return len(self.answers) < MOST and any(each not in self.answers for each in questions)

    async def ask(self, questions: Iterable[str]) -> None:
        new = [each for each in questions if each not in self.answers]
        for question in self.source.turns(new)[: MOST - len(self.answers)]:
            if self.over:
                break
            try:
                async with asyncio.timeout_at(self.until):
                    self.answers[question] = await fetching.answer(
                        self.session, question, self.base, reach=self.reach, timeout_s=self.source.timeout_s
                    )
                self.source.answered(question)
            except _TROUBLES as error:
                self.source.failed(question, error, self.base.host or "the server")
                self.over = True
        if self.over:
            self.answers |= {each: None for each in new if each not in self.answers}
