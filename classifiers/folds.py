"""The five fixed groups of happenings for every measurement on unseen events, read from `folds.json`.

A happening that stands in several files is in one group, and every category with two happenings has one in the training
of every fold. Detection is measured with the same groups. Standard library only.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

_FILE = Path(__file__).parent / "folds.json"

COUNT = 5
"""Number of groups."""


@cache
def happenings() -> dict[str, tuple[str, int]]:
    """The data sets' event name → (happening, group 0–4)."""
    groups: list[dict[str, list[str]]] = json.loads(_FILE.read_text(encoding="utf-8"))["groups"]
    return {
        event: (happening, number)
        for number, group in enumerate(groups)
        for happening, events in group.items()
        for event in events
    }


def group_of(event: str) -> int | None:
    """The group of an event, None where the event is no happening (tweeteval, fin_…, own texts)."""
    found = happenings().get(event)
    return None if found is None else found[1]


def happening_of(event: str) -> str:
    """One name for an event that several files hold under different names; the event itself where it has no group."""
    found = happenings().get(event)
    return event if found is None else found[0]
