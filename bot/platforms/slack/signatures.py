"""Is a request from Slack, and is it new? Its signature, its age, and whether it came before."""

import hashlib
import re
from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum

from slack_sdk.signature import Clock, SignatureVerifier

# Slack's own rule, which Bolt and the SDK follow too: a request is good for five minutes around its timestamp.
GOOD_FOR = timedelta(minutes=5)
# One from a clock that is five minutes ahead stays good for ten.
_REMEMBERED_FOR = 2 * GOOD_FOR + timedelta(seconds=1)
_REMEMBERED_MOST = 100_000
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}")
_TIMESTAMP = re.compile(r"[0-9]{1,12}")


class Fault(StrEnum):
    """Why a request is refused."""

    UNSIGNED = "a request without a signature"
    STALE = "a request signed more than 5 minutes ago"
    FORGED = "a request with a wrong signature"
    REPLAYED = "a request that was already taken"


class Recent:
    """What came in the last minutes; a bounded set whose oldest member goes first."""

    def __init__(self, *, kept: timedelta = _REMEMBERED_FOR, most: int = _REMEMBERED_MOST) -> None:
        self._kept = kept
        self._most = most
        self._until: OrderedDict[str, datetime] = OrderedDict()

    def add(self, key: str, now: datetime) -> bool:
        """False if it is there already."""
        while self._until and (next(iter(self._until.values())) <= now or len(self._until) > self._most):
            self._until.popitem(last=False)
        if key in self._until:
            return False
        self._until[key] = now + self._kept
        return True

    def discard(self, key: str) -> None:
        self._until.pop(key, None)


class Signatures:
    """Checks requests against the signing secret and remembers those that it took."""

    def __init__(self, secret: str, now: Callable[[], datetime]) -> None:
        self._now = now
        self._verifier = SignatureVerifier(secret, clock=_Given(now))
        self._taken = Recent()

    def take(self, timestamp: str | None, signature: str | None, body: bytes) -> Fault | None:
        """What is wrong with it. None: it is good, and will not be again, unless ``forget`` is called."""
        if not timestamp or not signature:
            return Fault.UNSIGNED
        if not _TIMESTAMP.fullmatch(timestamp) or not _SIGNATURE.fullmatch(signature):
            return Fault.FORGED
        if abs(self._now().timestamp() - int(timestamp)) > GOOD_FOR.total_seconds():
            return Fault.STALE
        try:
            good = self._verifier.is_valid(body, timestamp, signature)
        except UnicodeDecodeError:  # Slack sends UTF-8 only, and so the SDK decodes before it looks
            good = False
        if not good:
            return Fault.FORGED
        return None if self._taken.add(_key(signature), self._now()) else Fault.REPLAYED

    def forget(self, signature: str) -> None:
        """It could not be carried out, so Slack may bring it again."""
        self._taken.discard(_key(signature))


class _Given(Clock):
    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now

    def now(self) -> float:
        return self._now().timestamp()


def _key(signature: str) -> str:
    return hashlib.sha256(signature.encode()).hexdigest()
