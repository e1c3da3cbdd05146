"""One decoder of what strangers send: how it is called, and what it may raise."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

NOW = datetime(2031, 5, 14, 12, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """``read`` reads to the end whatever it returns. ``kind``: json, xml, html, text or bytes, for the mutations."""

    name: str
    kind: str
    read: Callable[[bytes], object]
    covers: tuple[Callable[..., Any], ...]
    refuses: tuple[type[Exception], ...] = ()
    documents: tuple[bytes, ...]
    samples: str = ""  # a glob
    quotes: bool = False  # may the refusal quote what it refuses? an operator's cursor may


def as_json(*said: Any) -> tuple[bytes, ...]:
    return tuple(json.dumps(each).encode() for each in said)
