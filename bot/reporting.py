"""The transparency report: who was cut off from what, at whose request, and what became of it. Counts; no names unless
asked for."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from bot import proving
from bot.domain import times
from bot.store import access, audit, deliveries, directory
from bot.store.database import Tables

_UNSAID = "not said"
_MARKUP = re.compile(r"[\\`*\[\]<>|]")


def report(db: Tables, since: datetime, until: datetime, *, names: bool = False) -> dict[str, Any]:
    """JSON-ready counts for [since, until). With ``names`` also the organisations touched, by name."""
    start, end = times.to_text(since), times.to_text(until)
    withdrawn = [row for row in access.revocation_rows(db) if start <= row["created_at"] < end]
    proofs = [proving.proof(db, row["revocation"]) for row in withdrawn]
    acts = Counter(entry.action for entry in audit.entries(db) if start <= entry.at < end)
    touched = [org for row in withdrawn for org in row["effect"].get("touched", [])]
    made: dict[str, Any] = {
        "since": start,
        "until": end,
        "organisations": dict(Counter(org.sector for org in directory.organisations(db))),
        "revocations": {
            "made": len(withdrawn),
            "lifted": sum(start <= (row["lifted_at"] or "") < end for row in access.revocation_rows(db)),
            "by_sector": _counted(row["sector"] for row in withdrawn),
            "by_provider": _counted(row["provider"] for row in withdrawn),
            "by_category": _counted(row["category"] for row in withdrawn),
            "by_reason": _counted(row["reason"] for row in withdrawn),
            "by_requester": _counted(row["requester"] for row in withdrawn),
        },
        "touched": {
            "organisations": len({org["org"] for org in touched}),
            "by_sector": _counted(org["sector"] for org in touched),
        },
        "effect": {
            "withheld": sum(row["effect"].get("withheld", 0) for row in withdrawn),
            "in_flight": sum(len(row["effect"].get("in_flight", [])) for row in withdrawn),
            "claimed_after": sum(len(each["claimed_after"]) for each in proofs),
            "retracted": sum(each["retracted"] for each in proofs),
            "not_retracted": sum(len(each["not_retracted"]) for each in proofs),
        },
        "deliveries_denied": acts["delivery-denied"],
        "refusals": sum(n for action, n in acts.items() if action.endswith("-refused")),
        "grants": acts["grant"],
        "exports": acts["export"],
        "messages_sent": deliveries.sent_between(db, start, end),
    }
    if names:
        made["touched"]["names"] = sorted({org["name"] for org in touched})
    return made


def markdown(found: Mapping[str, Any]) -> str:
    """The same for people."""
    revocations, effect = found["revocations"], found["effect"]
    lines = [
        f"# Access withdrawn, {found['since'][:10]} to {found['until'][:10]}",
        "",
        f"{revocations['made']} revocations were made and {revocations['lifted']} lifted. They touched "
        f"{found['touched']['organisations']} organisations.",
        "",
        f"{effect['withheld']} waiting messages were withheld; {effect['in_flight']} were in flight and listed as "
        f"such; {effect['claimed_after']} were sent after a fence (this must be 0).",
        "",
        f"{effect['retracted']} messages were taken back, {effect['not_retracted']} could not be.",
        "",
        f"Besides, {found['deliveries_denied']} single deliveries were denied, {found['refusals']} requests refused, "
        f"{found['grants']} grants given and {found['exports']} exports made. {found['messages_sent']} messages were "
        "sent.",
    ]
    for title, counts in (
        ("Organisations by sector", found["organisations"]),
        ("Touched, by sector", found["touched"]["by_sector"]),
        ("Revocations by sector", revocations["by_sector"]),
        ("… by provider", revocations["by_provider"]),
        ("… by category", revocations["by_category"]),
        ("… by reason", revocations["by_reason"]),
        ("… by who asked for it", revocations["by_requester"]),
    ):
        if counts:
            lines += ["", f"## {title}", "", "| | |", "| --- | --: |"]
            lines += [f"| {_cell(name)} | {n} |" for name, n in counts.items()]
    if "names" in found["touched"]:
        lines += ["", "## Organisations touched", "", *(f"- {_cell(name)}" for name in found["touched"]["names"])]
    return "\n".join(lines)


def _counted(names: Iterable[str | None]) -> dict[str, int]:
    """The most frequent first."""
    return dict(Counter(name or _UNSAID for name in names).most_common())


def _cell(text: str) -> str:
    """People's words as they are: no markup, on one line."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
