"""The case of 2016, rehearsed: in the middle of an event one of two providers bars one class of organisations.

Twelve invented organisations of six sectors, each with one channel that wants everything. What each got before and
after is counted by what was really handed to a platform.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from bot.domain import times
from bot.domain.alert import Alert
from bot.domain.delivery import Act, Found, Missing, Outcome, Sending, Sent
from bot.rehearsal import scenario

PROVIDERS = ("bluesky", "x")
BARRED_BY, BARRED = "x", "government/intelligence"
FENCE_AT = datetime.fromisoformat("2031-05-14T14:12:10Z")
EVENT, CATEGORY = "Port Calder", "explosion"
END = datetime.fromisoformat("2031-05-14T15:00:00Z")
REASON = "the terms of x: no surveillance"
ORGANISATIONS: tuple[tuple[str, str], ...] = (
    ("Bureau of Remote Affairs", "government/intelligence"),
    ("Fenmark Listening Service", "government/intelligence"),
    ("Calderford Police", "government/law_enforcement"),
    ("Marsh County Sheriff", "government/law_enforcement"),
    ("Harbour Fire and Rescue", "government/emergency"),
    ("Kilbrannin Civil Protection", "government/emergency"),
    ("Sorrel Bank", "finance/bank"),
    ("Two Rivers Insurance", "finance/insurance"),
    ("Harbour News", "news"),
    ("Dunmere Broadcasting", "news/broadcast"),
    ("Orrin Shipping Security", "corporate_security"),
    ("Veldt Mining Security", "corporate_security"),
)


def lines(*, before: bool) -> list[str]:
    """Post lines of both providers up to the fence, or after it."""
    found = []
    for line in scenario.lines():
        post = json.loads(line)
        at = times.from_text(post.get("deleted_at") or post["created_at"])
        if post["source"] in PROVIDERS and at < END and (at < FENCE_AT) == before:
            found.append(line)
    return found


@dataclass(slots=True)
class Recorder:
    """A platform that takes everything and remembers it. ``fenced``: what comes now comes after the fence."""

    platform: str = "console"
    spacing: timedelta = timedelta(0)
    per_second: float | None = None
    fenced: bool = False
    taken: list[tuple[bool, Sending]] = field(default_factory=list)

    async def send(self, sending: Sending) -> Outcome:
        self.taken.append((self.fenced, sending))
        return Sent(platform_id=sending.delivery)

    async def find(self, sending: Sending) -> Found:  # noqa: ARG002
        return Missing()


def rows(taken: Sequence[tuple[bool, Sending]], channels: dict[str, str]) -> list[dict[str, Any]]:
    """One row an organisation. ``channels``: name → channel."""
    return [
        {"organisation": name, "sector": sector}
        | _told([each for fenced, each in taken if not fenced and str(each.channel) == channels[name]], "before")
        | _told([each for fenced, each in taken if fenced and str(each.channel) == channels[name]], "after")
        for name, sector in ORGANISATIONS
    ]


def markdown(found: Iterable[dict[str, Any]]) -> str:
    """The table for people."""
    head = ["| organisation | sector | when the fence fell | at the end |", "| --- | --- | --- | --- |"]
    return "\n".join(
        [
            *head,
            *(
                f"| {row['organisation']} | {row['sector']} | {_said(row, 'before')} | {_said(row, 'after')} |"
                for row in found
            ),
        ]
    )


def _told(sent: Sequence[Sending], when: str) -> dict[str, Any]:
    """How many messages, and what the last one said of the event and on whose posts that rests."""
    shown = [each.message.alert for each in sent if each.act is not Act.RETRACT and each.message.alert is not None]
    of_event = [alert for alert in shown if EVENT in alert.headline or alert.category == CATEGORY]
    last = of_event[-1] if of_event else None
    return {
        f"messages_{when}": len(sent),
        f"providers_{when}": sorted({name for alert in shown for name in alert.sources}),
        f"last_{when}": None if last is None else _described(last),
    }


def _described(alert: Alert) -> dict[str, Any]:
    return {
        "level": alert.level.value,
        "voices": alert.authors,
        "providers": list(alert.sources),
        "headline": alert.headline,
    }


def _said(row: dict[str, Any], when: str) -> str:
    last = row[f"last_{when}"]
    if last is None:
        return "nothing"
    return f"{last['level']}, {last['voices']} voices ({', '.join(last['providers'])}): {last['headline']}"
