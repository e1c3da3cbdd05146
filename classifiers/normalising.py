"""What is done to a text before the model sees it, in training and in service alike. Standard library only.

Every step keeps the length, so that a character offset in the normalised text is one in the text as given.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

MAX_CHARACTERS = 1_000
"""Longer texts are cut here before tokenising: 64 tokens are far fewer characters, except in texts built to be slow."""

_BLANKED = re.compile(
    r"(?:https?://|www\.|pic\.twitter\.com/|t\.co/)\S+|^RT @\w+:?|@[\w.:-]+|[#\x00]|<(?:URL|USER|HASHTAG)>"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


LOOK_ALIKES = {
    # Cyrillic, and Greek where Cyrillic has none: one character for one, chosen by Unicode's confusables.
    "a": "а", "c": "с", "e": "е", "i": "і", "j": "ј", "k": "κ", "n": "η", "o": "о", "p": "р", "s": "ѕ", "u": "υ",
    "v": "ν", "x": "х", "y": "у", "A": "А", "B": "В", "C": "С", "E": "Е", "H": "Н", "I": "І", "J": "Ј", "K": "К",
    "M": "М", "N": "Ν", "O": "О", "P": "Р", "S": "Ѕ", "T": "Т", "X": "Х", "Y": "Υ", "Z": "Ζ",
}  # fmt: skip
"""Latin letter → a letter of another alphabet that looks like it."""

_PLAIN = str.maketrans(
    {other: letter for letter, other in LOOK_ALIKES.items()} | dict(zip("ΑΒΕΗΙΚΜΟΡΤΧο", "ABEHIKMOPTXo", strict=True))
)
_WORD = re.compile(r"\w+")


def normalise(text: str) -> str:
    """Blank out addresses, mentions and hash signs, undo disguises, cut: same offsets, at most 1,000 long.

    Addresses and mentions go because they tell the datasets apart, not the happenings. Styled letters become plain ones
    (NFKC, where one character stays one), and a word of look-alike letters that is wholly Latin then, a Latin one.
    """
    text = text[:MAX_CHARACTERS]
    if not text.isascii():
        text = _SURROGATE.sub("\ufffd", text)
        text = "".join(map(_compatible, text))
        text = _WORD.sub(_undisguised, text)
    return _BLANKED.sub(lambda match: " " * len(match[0]), text)


@lru_cache(maxsize=4096)
def _compatible(character: str) -> str:
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 else character


def _undisguised(match: re.Match[str]) -> str:
    if match[0].isascii():
        return match[0]
    plain = match[0].translate(_PLAIN)
    return plain if plain.isascii() else match[0]


CASES = 4
"""How many classes `case_of` tells apart."""


def case_of(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """One class a token, by the letters at its offsets: 0 no letter first, 1 small, 2 capital first, 3 all capitals.

    The tokenizer lower-cases, but capitals tell a place from a word: the network takes this as a second input.
    """
    cases = []
    for start, end in offsets:
        first = text[start:end][:1]
        if not first.isalpha():
            cases.append(0)
        elif not first.isupper():
            cases.append(1)
        else:
            cases.append(3 if text[start + 1 : end].isupper() else 2)
    return cases
