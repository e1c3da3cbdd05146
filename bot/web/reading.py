"""What the board may show of an organisation's View. Every read asks ``access.decide`` for each thing that it shows."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from bot.domain import alert as alerts
from bot.domain import errors, times
from bot.domain.access import Capability, Organisation
from bot.domain.alert import Alert
from bot.domain.delivery import Message, Quote
from bot.pipeline import explaining
from bot.pipeline.explaining import Reader
from bot.store import board, directory, posts
from bot.store.database import Tables
from bot.web import previews

DEFAULT = "local"  # the organisation that is shown where none is named
RECENT = timedelta(hours=24)  # what was recorded longer ago needs the capability ``history``
MOST_EVENTS = 300
MOST_EVIDENCE = 60
MOST_REPLIES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``org``: name or id, or None for the default; only with ``everyone`` may it be another than that."""

    at: datetime
    org: str | None = None
    everyone: bool = False


def listing(db: Tables, asked: Asked, past: timedelta | None = RECENT) -> dict[str, Any]:
    """The events of the View, the last raised first, as far back as ``past`` (None: all). JSON-ready.

    ``why`` says why there are none, where that is not for want of news.
    """
    org = _organisation(db, asked)
    answer: dict[str, Any] = {
        "org": None if org is None else {"org": org.org, "name": org.name},
        "organisations": _choice(db) if asked.everyone else [],
        "why": "",
        "history": False,
        "more": False,
        "events": [],
    }
    if org is None:
        return answer | {"why": _no_organisation(asked)}
    asking = explaining.reader(db, org, asked.at)
    denied = asking.denied()
    if denied is not None:
        return answer | {"why": denied.verdict.removeprefix("no: ")}
    if asking.view.empty:
        return answer | {"why": f"every provider that {org.name} was granted is withdrawn"}
    history = asking.denied(Capability.HISTORY) is None
    longest = past if history else RECENT
    since = None if longest is None else asked.at - longest
    found = board.latest(db, asking.view.key, since=since, most=MOST_EVENTS + 1)
    shown = [alert for alert, recorded_at in found[:MOST_EVENTS] if _may_see(asking, alert, recorded_at)]
    return answer | {
        "history": history,
        "more": len(found) > MOST_EVENTS,
        "events": [alerts.to_line(alert, with_evidence=False) for alert in shown],
    }


def event(db: Tables, asked: Asked, wanted: str) -> dict[str, Any] | None:
    """One event with its revisions, evidence and renderings, JSON-ready. None: there is none that may be seen."""
    org = _organisation(db, asked)
    if org is None:
        return None
    asking = explaining.reader(db, org, asked.at)
    found = board.revisions(db, asking.view.key, wanted)
    seen = [alert for alert, recorded_at in found if _may_see(asking, alert, recorded_at)]
    if not seen or seen[-1] is not found[-1][0]:
        return None
    alert = seen[-1]
    denied = asking.denied(Capability.EVIDENCE, providers=alert.sources, category=alert.category)
    allowed = denied is None
    keys = list(dict.fromkeys([*alert.quotes, *alert.evidence]))
    evidence = posts.quotes(db, keys[:MOST_EVIDENCE]) if allowed else ()
    return {
        "event": alerts.to_line(alert, with_evidence=False) | {"change": alert.change},
        "timeline": [_revision(each) for each in seen],
        "evidence": {
            "why": "" if denied is None else denied.verdict.removeprefix("no: "),
            "posts": [_post(each) for each in sorted(evidence, key=lambda quote: quote.created_at)],
            "gone": min(len(keys), MOST_EVIDENCE) - len(evidence) if allowed else 0,
            "left_out": max(0, len(keys) - MOST_EVIDENCE),
        },
        "previews": previews.of(_messages(db, seen, allowed), asked.at),
    }


def _organisation(db: Tables, asked: Asked) -> Organisation | None:
    """Raises UsageError where one is named that does not exist."""
    if not asked.everyone or asked.org is None:
        return directory.find_organisation(db, DEFAULT)
    found = directory.find_organisation(db, asked.org)
    if found is None:
        raise errors.UsageError(f"organisation {asked.org!r} does not exist; choose one of the list")
    return found


def _choice(db: Tables) -> list[dict[str, str]]:
    found = sorted(directory.organisations(db), key=lambda org: org.name.casefold())
    return [{"org": org.org, "name": org.name} for org in found]


def _no_organisation(asked: Asked) -> str:
    if asked.everyone:
        return "choose an organisation"
    return (
        "this service has organisations of its own and none called local; set a token in config.toml "
        "([web] token = …), start again, sign in with it and choose whose board to see"
    )


def _may_see(asking: Reader, alert: Alert, recorded_at: datetime) -> bool:
    needed = [Capability.ALERTS]
    if recorded_at < asking.at - RECENT:
        needed.append(Capability.HISTORY)
    return all(asking.denied(each, providers=alert.sources, category=alert.category) is None for each in needed)


def _messages(db: Tables, seen: list[Alert], allowed: bool) -> list[Message]:
    """The last revisions as deliveries would tell of them, the last at the end."""
    found, loudest = [], seen[0].level.rank
    for alert in seen:
        escalated = alert.level.rank > loudest
        loudest = max(loudest, alert.level.rank)
        found.append(Message(alert=alert, evidence=allowed, change=alert.change, escalated=escalated))
    return [
        replace(each, quotes=posts.quotes(db, each.alert.quotes) if allowed and each.alert else ())
        for each in found[-1 - MOST_REPLIES :]
    ]


def _revision(alert: Alert) -> dict[str, Any]:
    line = alerts.to_line(alert, with_evidence=False)
    names = ("alert", "revision", "kind", "level", "certainty", "headline", "raised_at", "posts", "authors", "disputed")
    return {name: line[name] for name in names} | {"change": alert.change}


def _post(quote: Quote) -> dict[str, Any]:
    return {
        "provider": quote.provider,
        "author": quote.author,
        "text": quote.text,
        "url": quote.url,
        "created_at": times.to_text(quote.created_at),
    }
