"""One post of the rehearsal, and the reading of those that were written by hand."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HAPPENINGS_FILE = Path(__file__).with_name("happenings.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """A post whose times (`at`, `deleted_at`) are seconds from the scenario's start; the rest is as in a Post line."""

    at: float
    id: str
    author: str
    source: str
    langs: list[str]
    text: str
    url: str | None = None
    repost_of: str | None = None
    reply_to: str | None = None
    lat: float | None = None
    lon: float | None = None
    media: Sequence[str] = ()
    verified: bool = False
    official: dict[str, Any] | None = None
    deleted_at: float | None = None
    happening: str | None = None


def read_happenings() -> Iterator[Scripted]:
    """The posts about happenings, in order of `at`."""
    with HAPPENINGS_FILE.open(encoding="utf-8") as file:
        for line in file:
            yield Scripted(**json.loads(line))
