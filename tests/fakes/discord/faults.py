"""What can be scripted to happen to a request."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What happens instead of (``processed=False``) or after (``True``) the operation."""

    kind: str  # answer | reset | hang
    processed: bool = False
    status: int = 0
    body: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)


def rate_limited(retry_after: float, *, everywhere: bool = False, via: bool = True) -> Fault:
    """``via=False``: the edge in front of Discord has barred the whole address."""
    headers = {"Retry-After": f"{max(1, round(retry_after))}", "X-RateLimit-Reset-After": f"{retry_after}"}
    if everywhere:
        headers["X-RateLimit-Global"] = "true"
    if via:
        headers["Via"] = "1.1 google"
    body = {"message": "You are being rate limited.", "code": 0, "retry_after": retry_after, "global": everywhere}
    return Fault(kind="answer", status=429, body=body, headers=headers)


def refused(status: int, code: int, message: str = "refused") -> Fault:
    return Fault(kind="answer", status=status, body={"message": message, "code": code})


def expired() -> Fault:
    """The bot took longer than 3 s for its first answer to an interaction."""
    return refused(404, 10062, "Unknown interaction")


def broken(status: int, *, processed: bool = False) -> Fault:
    return Fault(kind="answer", status=status, processed=processed)


def reset(*, processed: bool) -> Fault:
    return Fault(kind="reset", processed=processed)


def hang(*, processed: bool) -> Fault:
    return Fault(kind="hang", processed=processed)
