"""Who has shown the board's token: sessions in this process's memory, and how many wrong ones are heard."""

import hashlib
import hmac
import secrets
from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta

LASTS = timedelta(hours=12)
TRIES = 5  # wrong tokens from one address within WINDOW, then it is told to wait
TRIES_OF_ALL = 50  # from all addresses, so that many of them are heard no more often
WINDOW = timedelta(minutes=5)
_MOST = 1_000


class Sessions:
    """Keeps hashes only: of the token, and of each session's secret."""

    def __init__(self, token: str, now: Callable[[], datetime]) -> None:
        self._token = _hash(token)
        self._now = now
        self._ends: dict[bytes, datetime] = {}
        self._wrong: deque[tuple[datetime, str]] = deque(maxlen=TRIES_OF_ALL)

    def opens(self, token: str) -> bool:
        """Is it the token? Takes the same time whatever is wrong with it."""
        return hmac.compare_digest(_hash(token), self._token)

    def wait(self, remote: str) -> timedelta | None:
        """How long until a further wrong token from this address is noted again; None: it is now."""
        since = self._now() - WINDOW
        recent = [(at, whose) for at, whose in self._wrong if at > since]
        own = [at for at, whose in recent if whose == remote]
        if len(own) >= TRIES:
            return own[-TRIES] - since
        return recent[0][0] - since if len(recent) >= TRIES_OF_ALL else None

    def note_wrong(self, remote: str) -> None:
        self._wrong.append((self._now(), remote))

    def begin(self) -> str:
        """A new session's secret, for the cookie."""
        secret = secrets.token_urlsafe(32)
        while len(self._ends) >= _MOST:
            del self._ends[next(iter(self._ends))]
        self._ends[_hash(secret)] = self._now() + LASTS
        return secret

    def knows(self, secret: str) -> bool:
        ends = self._ends.get(_hash(secret))
        return ends is not None and self._now() < ends


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).digest()
