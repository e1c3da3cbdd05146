"""What readers marked as not relevant, as `tocsin feedback --json` writes it, and the hard negatives it becomes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from classifiers.data import DataError
from classifiers.rows import Row
from classifiers.taxonomy import CATEGORIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Marked:
    """A text under an alert of `category` that `presses` people called not relevant."""

    text: str
    category: str
    presses: int
    lang: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feedback:
    """One file: each text once, the count of good lines, the bad ones (number, what is wrong) and its SHA-256."""

    marked: tuple[Marked, ...]
    good: int
    bad: tuple[tuple[int, str], ...]
    digest: str

    def negatives(self, presses: int) -> list[Row]:
        """Training rows of the texts that at least so many people marked.

        Such a text is not about the alert's category and reports nothing; of the other categories nobody said anything.
        `data` caps them as it caps the posts of any event, so that a campaign cannot outweigh the rest.
        """
        return [
            Row(
                text=each.text,
                unknown=frozenset(CATEGORIES) - {each.category},
                report=False,
                event=f"feedback_{each.category}",
                dataset="feedback",
                lang=each.lang,
            )
            for each in self.marked
            if each.presses >= presses
        ]


def read(path: Path) -> Feedback:
    """Read the file. Raises DataError where that fails or no line is good.

    A text that comes again counts once: with its highest number of presses, and the category of that line.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    marked: dict[str, Marked] = {}
    bad: list[tuple[int, str]] = []
    good = 0
    for number, line in enumerate(content.split(b"\n"), start=1):
        if not line.strip():
            continue
        found = _parse(line)
        if isinstance(found, str):
            bad.append((number, found))
            continue
        good += 1
        if found.presses > marked.setdefault(found.text, found).presses:
            marked[found.text] = found
    if not good:
        problem = f" (line {bad[0][0]}: {bad[0][1]})" if bad else ""
        raise DataError(f"{path}: no good line{problem}; `tocsin feedback --json` writes such a file")
    digest = hashlib.sha256(content).hexdigest()
    return Feedback(marked=tuple(marked.values()), good=good, bad=tuple(bad), digest=digest)


def _parse(line: bytes) -> Marked | str:
    """What the line says, or what is wrong with it."""
    try:
        item = json.loads(line)
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(item, dict):
        return "is not a JSON object"
    text, category, presses, langs = (item.get(name) for name in ("text", "category", "irrelevant", "langs"))
    if not isinstance(text, str) or not text.strip():
        return "has no text"
    if not isinstance(category, str) or category not in CATEGORIES:
        return "its category is not one of the taxonomy"
    if type(presses) is not int or presses < 1:
        return "irrelevant is not a whole number above 0"
    if not isinstance(langs, list) or not all(isinstance(lang, str) for lang in langs):
        return "langs is not a list of language codes"
    return Marked(text=text, category=category, presses=presses, lang=langs[0] if langs else None)
