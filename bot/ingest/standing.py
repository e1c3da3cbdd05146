"""How the configured sources stand, for ``tocsin sources``: what the service last saw of each, and its gaps."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bot.domain import times
from bot.store import sources
from bot.store.database import Tables
from bot.store.sources import SourceState

STALE = timedelta(minutes=1)  # the service writes every few seconds while it runs


def standing(db: Tables, configured: Mapping[str, str], at: datetime) -> list[dict[str, Any]]:
    """Each source (name → provider); ``gaps`` oldest first. ``state`` is ``stopped`` where no service runs."""
    states = sources.states(db)
    gaps: dict[str, list[dict[str, Any]]] = {name: [] for name in configured}
    for gap in sources.gaps(db):
        if gap["source"] in configured:
            gaps[str(gap["source"])].append(gap)
    return [
        {"source": name, "provider": provider} | _told(states.get(name), at) | {"gaps": gaps[name]}
        for name, provider in configured.items()
    ]


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """One of them as a row for people: its gaps as their number and the last one's end."""
    gaps = found["gaps"]
    remedy = f"{found['last_error']}; {found['remedy']}" if found["last_error"] else ""
    return dict(found) | {
        "lag": "-" if found["lag_s"] is None else f"{found['lag_s']:.1f} s",
        "gaps": len(gaps),
        "last_gap": (gaps[-1]["until"] or gaps[-1]["recorded_at"]) if gaps else "",
        "last_error": remedy,
    }


def _told(state: SourceState | None, at: datetime) -> dict[str, Any]:
    if state is None:
        nothing = dict.fromkeys(("at", "lag_s", "usual_gap_s", "quiet_since", "last_item_at", "last_error", "remedy"))
        zeros = dict.fromkeys(("items", "dropped", "skipped", "reconnects", "per_second", "usual_per_second"), 0)
        return {"state": "stopped"} | nothing | zeros
    runs = abs(at - state.at) < STALE
    return {
        "state": state.state if runs else "stopped",
        "at": times.to_text(state.at),
        "lag_s": state.lag_s if runs else None,
        "usual_gap_s": state.usual_gap_s,
        "quiet_since": _text(state.quiet_since),
        "last_item_at": _text(state.last_item_at),
        "last_error": state.last_error,
        "remedy": state.remedy,
        "items": state.items,
        "dropped": state.dropped,
        "skipped": state.skipped,
        "reconnects": state.reconnects,
        "per_second": round(state.per_second, 2) if runs else 0,
        "usual_per_second": round(state.usual_per_second, 2),
    }


def _text(when: datetime | None) -> str | None:
    return None if when is None else times.to_text(when)
