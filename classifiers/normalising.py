"""What is done to a text before the model sees it, in training and in service alike. Standard library only.

Every step keeps the length, so that a character offset in the normalised text is one in the text as given.
"""

from __future__ import annotations

import re

MAX_CHARACTERS = 1_000
"""Longer texts are cut here before tokenising: 64 tokens are far fewer characters, except in texts built to be slow."""

_BLANKED = re.compile(
    r"(?:https?://|www\.|pic\.twitter\.com/|t\.co/)\S+|^RT @\w+:?|@[\w.:-]+|[#\x00]|<(?:URL|USER|HASHTAG)>"
)
_SURROGATE = re.compile("[\ud800-\udfff]")


def normalise(text: str) -> str:
    """Blank out addresses, mentions and hash signs, replace lone surrogates, cut: same offsets, at most 1,000 long.

    Addresses and mentions go because they tell the datasets apart, not the happenings.
    """
    text = text[:MAX_CHARACTERS]
    text = _SURROGATE.sub("\ufffd", text)
    return _BLANKED.sub(lambda match: " " * len(match[0]), text)
