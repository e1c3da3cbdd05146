"""Deliberate evasion: what a writer does to a text so that a machine misses it, and how much that hides from a model.

The evasions are pure, text → text; the ones that draw are seeded by the text itself. `measure` makes the table.
"""

from __future__ import annotations

import random
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from classifiers.api import CANDIDATE, Classification
from classifiers.normalising import LOOK_ALIKES

Evasion = Callable[[str], str]

ZERO_WIDTH = "\u200b"
TYPO_RATE = 0.1
"""Of the letters, how many a typo hits: about one in every second word."""

_NEIGHBOURS = {
    "q": "wa", "w": "qes", "e": "wrd", "r": "etf", "t": "ryg", "y": "tuh", "u": "yij", "i": "uok", "o": "ipl",
    "p": "ol", "a": "qsz", "s": "awdx", "d": "sefc", "f": "drgv", "g": "fthb", "h": "gyjn", "j": "hukm", "k": "jil",
    "l": "kop", "z": "asx", "x": "zsdc", "c": "xdfv", "v": "cfgb", "b": "vghn", "n": "bhjm", "m": "njk",
}  # fmt: skip
_LEET = str.maketrans("aeiostAEIOST", "431057431057")
_LOOKS = str.maketrans(LOOK_ALIKES)
_STYLED = {
    ord(plain) + at: bold + at
    for plain, bold, count in (("A", 0x1D5D4, 26), ("a", 0x1D5EE, 26), ("0", 0x1D7EC, 10))
    for at in range(count)
}
_WORD = re.compile(r"[^\W_]+")
_INNER_VOWEL = re.compile(r"(?<=[^\W\d_])[aeiou](?=[^\W\d_])", re.IGNORECASE)


def typos(text: str, *, rate: float = TYPO_RATE, seed: int = 1) -> str:
    """Letters hit beside the key, doubled, dropped or swapped with the next, each with a quarter of `rate`."""
    chance = random.Random(zlib.crc32(text.encode("utf-8", "surrogatepass"), seed))
    letters = list(text)
    at = 0
    while at < len(letters):
        letter = letters[at]
        if letter.lower() in _NEIGHBOURS and chance.random() < rate:
            match chance.randrange(4):
                case 0:
                    near = chance.choice(_NEIGHBOURS[letter.lower()])
                    letters[at] = near.upper() if letter.isupper() else near
                case 1:
                    letters[at] = letter * 2
                case 2:
                    letters[at] = ""
                case _ if at + 1 < len(letters):
                    letters[at : at + 2] = letters[at + 1], letter
                    at += 1
                case _:
                    pass
        at += 1
    return "".join(letters)


def homoglyphs(text: str) -> str:
    """Every Latin letter that has a Cyrillic or Greek look-alike becomes it."""
    return text.translate(_LOOKS)


def some_homoglyphs(text: str) -> str:
    """One look-alike a word, in its first letter that has one: enough to break a word, hard to see."""

    def one(match: re.Match[str]) -> str:
        word = str(match[0])
        at = next((at for at, letter in enumerate(word) if letter in LOOK_ALIKES), None)
        return word if at is None else word[:at] + LOOK_ALIKES[word[at]] + word[at + 1 :]

    return _WORD.sub(one, text)


def glued_hashtag(text: str) -> str:
    """The whole sentence as one hashtag: ``#likeThis``."""
    words: list[str] = _WORD.findall(text)
    first, *rest = words or [""]
    return "#" + first.lower() + "".join(word[:1].upper() + word[1:] for word in rest)


def letter_spacing(text: str) -> str:
    """Spaces between the letters of each word, words further apart: ``l i k e   t h i s``."""
    return "   ".join(" ".join(word) for word in text.split())


def leetspeak(text: str) -> str:
    """Digits for the letters that look like them."""
    return text.translate(_LEET)


def zero_width(text: str) -> str:
    """An invisible character in the middle of every word of two letters and more."""

    def split(match: re.Match[str]) -> str:
        word, middle = str(match[0]), len(match[0]) // 2
        return word[:middle] + ZERO_WIDTH + word[middle:] if middle else word

    return _WORD.sub(split, text)


def styled(text: str) -> str:
    """Mathematical bold letters and digits, as "fancy text" pages make them."""
    return text.translate(_STYLED)


def upper_case(text: str) -> str:
    """All capitals."""
    return text.upper()


def missing_vowels(text: str) -> str:
    """No vowels inside words: ``bldng cllpsd``; the first and the last letter stay."""
    return _INNER_VOWEL.sub("", text)


EVASIONS: Mapping[str, Evasion] = {
    "typos": typos,
    "homoglyphs, one a word": some_homoglyphs,
    "homoglyphs, all": homoglyphs,
    "glued hashtag": glued_hashtag,
    "letter spacing": letter_spacing,
    "leetspeak": leetspeak,
    "zero-width": zero_width,
    "styled letters": styled,
    "upper case": upper_case,
    "missing vowels": missing_vowels,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Of `texts` candidates, the shares (0–1) that an evasion leaves.

    `candidates` are still p ≥ 0.5; `same` also with the category they had; `screened` pass the screen; `found` do both,
    which is what the service sees.
    """

    evasion: str
    texts: int
    candidates: float
    same: float
    screened: float
    found: float


def measure(
    classify: Callable[[Sequence[str]], Sequence[Classification]],
    screen: Callable[[Sequence[str]], Sequence[bool]],
    texts: Sequence[str],
    evasions: Mapping[str, Evasion] = EVASIONS,
) -> list[Row]:
    """One row an evasion over those `texts` that are candidates untouched; the first row is the untouched text."""
    judged = zip(texts, classify(texts), strict=True)
    before = {text: answer.top[0] for text, answer in judged if answer.top[1] >= CANDIDATE}
    return [
        _row(name, evade, classify, screen, before) for name, evade in ({"untouched": str} | dict(evasions)).items()
    ]


def _row(
    name: str,
    evade: Evasion,
    classify: Callable[[Sequence[str]], Sequence[Classification]],
    screen: Callable[[Sequence[str]], Sequence[bool]],
    before: Mapping[str, str],
) -> Row:
    evaded = [evade(text) for text in before]
    tops = [answer.top for answer in classify(evaded)]
    kept = screen(evaded)
    count = max(1, len(evaded))
    return Row(
        evasion=name,
        texts=len(evaded),
        candidates=sum(p >= CANDIDATE for _, p in tops) / count,
        same=sum(p >= CANDIDATE and top == was for (top, p), was in zip(tops, before.values(), strict=True)) / count,
        screened=sum(kept) / count,
        found=sum(p >= CANDIDATE and keep for (_, p), keep in zip(tops, kept, strict=True)) / count,
    )
