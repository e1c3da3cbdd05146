"""X's cursor: what has to survive a restart of a reading, as text."""

from dataclasses import dataclass
from datetime import UTC, datetime

from bot.domain import errors

LONGEST = 19  # digits of an id


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """``heard``: until when nothing is missing. ``checked``: when the rules were last seen to be as we know them, and
    ``rule``: the highest id of ours then. ``asked``, ``spent_s``: see ``x_recheck.Place``. Each time is X's own."""

    heard: datetime
    asked: str | None = None
    spent_s: int = 0
    checked: datetime | None = None
    rule: int = 0

    def __str__(self) -> str:
        parts = (
            _text(self.heard),
            self.asked or "",
            str(self.spent_s or ""),
            "" if self.checked is None else _text(self.checked),
            str(self.rule or ""),
        )
        return ":".join(parts).rstrip(":")


def parse(cursor: str) -> Cursor:
    """Raises UsageError for a cursor that this source has not written."""
    try:
        heard, *more = cursor.split(":")
        if len(more) > 4 or not all(not each or digits(each) for each in more):
            raise ValueError
        asked, spent, checked, rule = (*more, *[""] * (4 - len(more)))
        return Cursor(
            heard=_time(heard),
            asked=asked or None,
            spent_s=int(spent or 0),
            checked=_time(checked) if checked else None,
            rule=int(rule or 0),
        )
    except (ValueError, OverflowError, OSError):
        raise errors.UsageError(f"the cursor {cursor!r} is none of X's; was the source renamed?") from None


def digits(text: str) -> bool:
    """Is it a number as X's ids are?"""
    return text.isascii() and text.isdigit() and len(text) <= LONGEST


def _text(time: datetime) -> str:
    return str(int(time.timestamp() * 1000))


def _time(text: str) -> datetime:
    return datetime.fromtimestamp(int(text) / 1000, UTC)
