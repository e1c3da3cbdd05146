"""The audit's hash chain: append-only entries, each sealed over the one before."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from bot.domain import errors

GENESIS = "0" * 64
_SEQ_DIGITS = 18


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """Who (``actor``, through which ``surface``) did what (``action``) to whom (``target``), why, with which effect."""

    seq: int
    at: str
    actor: str
    surface: str
    action: str
    target: str
    reason: str
    effect: dict[str, Any]
    prev_hash: str
    hash: str = ""


def to_json(entry: AuditEntry) -> dict[str, Any]:
    """The contract's audit entry; ``AuditEntry(**…)`` reads it back."""
    return asdict(entry)


def seal(entry: AuditEntry) -> AuditEntry:
    """The entry with its hash: SHA-256 over the canonical JSON of everything else, ``prev_hash`` included."""
    fields = {name: getattr(entry, name) for name in AuditEntry.__slots__ if name != "hash"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return AuditEntry(**fields, hash=hashlib.sha256(text.encode()).hexdigest())


def verify(entries: Iterable[AuditEntry]) -> str | None:
    """None if the chain holds from its first entry on, else one sentence naming the first entry that does not."""
    prev_hash = GENESIS
    for seq, entry in enumerate(entries, start=1):
        if entry.seq != seq:
            return f"entry {seq} is missing: the next one is {entry.seq}"
        if entry.prev_hash != prev_hash:
            return f"entry {seq} does not follow entry {seq - 1}: its prev_hash differs"
        if seal(entry).hash != entry.hash:
            return f"entry {seq} was changed: its hash differs from its content"
        prev_hash = entry.hash
    return None


def lacks(entries: Iterable[AuditEntry], head: str) -> str | None:
    """None if the chain holds a head that was published earlier (``SEQ:HASH``), else one sentence."""
    seq, _, hash_ = head.partition(":")
    if not seq.isdecimal() or len(seq) > _SEQ_DIGITS or len(hash_) != len(GENESIS):
        raise errors.UsageError(f"{head!r} is not SEQ:HASH; `tocsin audit head` prints one")
    if int(seq) == 0:  # published before there was anything
        return None if hash_ == GENESIS else f"entry {seq} is not how a chain begins"
    for entry in entries:
        if entry.seq == int(seq):
            return (
                None
                if entry.hash == hash_
                else f"entry {seq} is not the one that was published: the chain was rewritten"
            )
    return f"entry {seq}, which was published, is missing: the chain was cut off"
