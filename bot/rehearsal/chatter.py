"""Ordinary chatter from a grammar: everyday life, and crisis words that mean no harm ("this track is fire").

No sentence is made twice, and the patterns take turns, so that alike ones lie far apart in time and nothing looks
like a burst.
"""

import math
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType

from bot.rehearsal import identities
from bot.rehearsal.phrases import de, en, es, fr, it, pt
from bot.rehearsal.scripted import Scripted

SEED = "tocsin rehearsal"
SPEECH = {"en": en, "es": es, "fr": fr, "pt": pt, "de": de, "it": it}
SHARES = {"en": 0.54, "es": 0.13, "fr": 0.1, "pt": 0.09, "de": 0.09, "it": 0.05}
SOURCES = {"bluesky": 0.45, "x": 0.35, "mastodon": 0.2}
LOADED_SHARE = 0.15
TWO_SENTENCES_SHARE = 0.12
AUTHORS = 700
_SLOT = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Author:
    id: str
    source: str
    lang: str


def possibilities() -> int:
    """How many different sentences the grammar can make, without what people put after them."""
    return sum(
        math.prod(len(speech.WORDS[slot]) for slot in _SLOT.findall(pattern))
        for speech in SPEECH.values()
        for pattern in speech.EVERYDAY + speech.LOADED
    )


def chatter(count: int, *, span_s: float, start_ms: int) -> Iterator[Scripted]:
    """`count` posts in order of `at` over `span_s` seconds; `start_ms` is the scenario's start in Unix milliseconds."""
    rng = random.Random(SEED)
    authors = [_author(rng, number) for number in range(AUTHORS)]
    speakers = {lang: _Speaker(speech, rng) for lang, speech in SPEECH.items()}
    earlier: list[Scripted] = []
    reposted: set[str] = set()
    for at in sorted(round(rng.uniform(0, span_s), 3) for _ in range(count)):
        author = rng.choice(authors)
        post = _post(author, at, start_ms, speakers[author.lang].say())
        dice = rng.random()
        if earlier and dice < 0.1:
            post = _answer(post, rng.choice(earlier[-200:]), reposted, repost=dice < 0.04)
        elif dice > 0.997:
            post = replace(post, deleted_at=round(at + rng.uniform(60, 900), 3))
        earlier.append(post)
        yield post


def _answer(post: Scripted, other: Scripted, reposted: set[str], *, repost: bool) -> Scripted:
    """`post` made a repost of `other` or a reply to it, where that is possible; no post is reposted twice."""
    if other.source != post.source or other.author == post.author or other.repost_of is not None:
        return post
    if repost and other.id not in reposted:
        reposted.add(other.id)
        return replace(post, text=other.text, langs=other.langs, repost_of=other.id)
    return replace(post, reply_to=other.id) if other.langs == post.langs else post


class _Speaker:
    """Says new sentences in one language; every pattern has its turn before one comes again."""

    def __init__(self, speech: ModuleType, rng: random.Random) -> None:
        self._speech = speech
        self._rng = rng
        self._said: set[str] = set()
        self._turns: dict[str, list[str]] = {}

    def say(self) -> str:
        """A post: one sentence, now and then two."""
        post = self._style(self._sentence())
        if self._rng.random() < TWO_SENTENCES_SHARE and "http" not in post:
            post = f"{post.rstrip('!')}. {self._style(self._sentence())}"
        return post

    def _sentence(self) -> str:
        kind = "LOADED" if self._rng.random() < LOADED_SHARE else "EVERYDAY"
        sentence = self._fill(self._next_pattern(kind))
        while sentence in self._said:
            sentence = self._fill(self._next_pattern(kind))
        self._said.add(sentence)
        return sentence

    def _next_pattern(self, kind: str) -> str:
        turns = self._turns.setdefault(kind, [])
        if not turns:
            turns.extend(getattr(self._speech, kind))
            self._rng.shuffle(turns)
        return turns.pop()

    def _fill(self, pattern: str) -> str:
        return _SLOT.sub(lambda slot: self._rng.choice(self._speech.WORDS[slot[1]]), pattern)

    def _style(self, sentence: str) -> str:
        dice = self._rng.random()
        if dice < 0.3:
            sentence = sentence[0].upper() + sentence[1:]
        elif dice < 0.34 and "http" not in sentence:
            sentence = sentence.upper()
        tail: str = self._rng.choice(self._speech.TAILS)
        return sentence if "http" in sentence else sentence + tail


def _author(rng: random.Random, number: int) -> _Author:
    source = rng.choices(list(SOURCES), list(SOURCES.values()))[0]
    lang = rng.choices(list(SHARES), list(SHARES.values()))[0]
    return _Author(id=identities.author_id(source, f"chatter-{number}"), source=source, lang=lang)


def _post(author: _Author, at: float, start_ms: int, text: str) -> Scripted:
    post = identities.post_id(author.source, author.id, start_ms + int(at * 1000))
    url = identities.post_url(author.source, author.id, post)
    return Scripted(at=at, id=post, author=author.id, source=author.source, langs=[author.lang], text=text, url=url)
