"""What ended or prevented a connection: a sentence for a person about what happened, and one about what to do."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
import structlog

from bot.ingest.source import SourceHealth, State

LONGEST_RETRY_AFTER_S = 86_400.0
LONGEST_OUTAGE_S = 3_600.0  # asked for with a 5xx
LONG_S = 7_200.0  # whoever sends us away for longer counts as silent, though it said so

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """``retry_after_s``: what the server asked for."""

    what: str
    remedy: str
    retry_after_s: float | None = None


class LostError(Exception):
    """The connection is over; the message is the predicate of a sentence about the server."""


def of(error: BaseException, host: str, now: datetime, *, refused: str) -> Trouble:
    """``refused``: what to do about an answer that says no (4xx other than 429)."""
    match error:
        case LostError():
            return Trouble(what=f"{host} {error}", remedy="nothing to do, it connects again by itself")
        case aiohttp.ClientResponseError(status=429):
            return Trouble(
                what=f"{host} says that we ask too often (429)",
                remedy="wait; if it stays, look for another Tocsin behind the same address or with the same token",
                retry_after_s=retry_after_s(error.headers, now),
            )
        case aiohttp.ClientResponseError(status=status) if status >= 500:
            return Trouble(
                what=f"{host} is out of order ({status})",
                remedy="wait, it is asked again",
                retry_after_s=retry_after_s(error.headers, now, most_s=LONGEST_OUTAGE_S),
            )
        case aiohttp.ClientResponseError():
            return Trouble(what=f"{host} refused us ({error.status})", remedy=refused)
        case aiohttp.ClientSSLError():
            return Trouble(
                what=f"{host} offered no encryption that can be trusted ({type(error).__name__})",
                remedy="check this machine's clock and certificates, and whether a proxy stands in between",
            )
        case aiohttp.ClientConnectorDNSError():
            return Trouble(what=f"the name {host} cannot be resolved", remedy="check the network, its DNS and the url")
        case TimeoutError():
            return Trouble(what=f"{host} did not answer in time", remedy="check the network, or the source's url")
        case _:
            return Trouble(
                what=f"{host} cannot be reached ({type(error).__name__})",
                remedy="check the network, or the source's url",
            )


def waiting(source: str, health: SourceHealth, found: Trouble, wait_s: float, now: datetime) -> None:
    """Tell that a source tries again after so long because of ``found``."""
    if health.state is State.LIVE:
        health.logged.clear()
    health.state = State.WAITING
    health.retry_at = now + timedelta(seconds=wait_s) if wait_s <= LONG_S else None
    health.last_error = found.what
    health.remedy = found.remedy
    warn("source_disconnected", source, health, found, retry_in_s=round(wait_s, 1))


def warn(event: str, source: str, health: SourceHealth, found: Trouble, **more: float) -> None:
    """Log it, once since the source was last connected."""
    if (event, found.what) not in health.logged:
        health.logged.add((event, found.what))
        log.warning(event, source=source, error=found.what, remedy=found.remedy, **more)


def dropped(source: str, health: SourceHealth, reason: str) -> None:
    """Count what a source could not read; ``reason`` holds nothing of it."""
    health.dropped += 1
    if health.dropped == 1:
        log.warning("frame_dropped", source=source, reason=reason, more="are counted only")


def date(headers: Mapping[str, str]) -> datetime | None:
    """When the server answered, by its own clock; None where it does not say."""
    try:
        found = parsedate_to_datetime(headers.get("Date", ""))
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, TypeError, OverflowError):
        return None


def retry_after_s(headers: Any, now: datetime, *, most_s: float = LONGEST_RETRY_AFTER_S) -> float | None:
    """``Retry-After`` in either of its forms, at most ``most_s``; None where there is none that makes sense."""
    text = (headers or {}).get("Retry-After", "")
    try:
        seconds = float(text) if text.isdigit() else (parsedate_to_datetime(text) - now).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), most_s)
