"""What was refused at the public address, told to the audit: once a minute for each kind, then with a count."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

log = structlog.get_logger()

# (target, why) → an entry in the audit.
Audit = Callable[[str, str], Awaitable[None]]

EVERY = timedelta(minutes=1)


class Refusals:
    """Anybody can reach the address: what he sends must neither fill the audit nor go unseen."""

    def __init__(self, audit: Audit, now: Callable[[], datetime]) -> None:
        self._audit = audit
        self._now = now
        self._last: dict[tuple[str, str], datetime] = {}
        self._unsaid: dict[tuple[str, str], int] = {}

    async def note(self, target: str, why: str) -> None:
        """``target``: the path; ``why``: from a closed list, since each is remembered."""
        kind, now = (target, why), self._now()
        last = self._last.get(kind)
        if last is not None and timedelta() <= now - last < EVERY:
            self._unsaid[kind] = self._unsaid.get(kind, 0) + 1
            return
        self._last[kind] = now
        unsaid = self._unsaid.pop(kind, 0)
        more = f" ({unsaid} more since the last entry)" if unsaid else ""
        log.warning("request_refused", target=target, why=why, more=unsaid)
        await self._audit(target, why + more)
