"""GeoJSON collections: bytes in, the bytes of each feature out, so that one odd feature costs no other. Pure."""

import json
from typing import Any

import msgspec

from bot.ingest.polling import UnreadableError

MOST = 20_000


class _Collection(msgspec.Struct):
    features: list[msgspec.Raw]
    pagination: Any = None


_collection = msgspec.json.Decoder(_Collection)


def features(body: bytes) -> list[bytes]:
    """Lone surrogates become question marks. Raises UnreadableError."""
    found, _ = _read(body)
    if len(found) > MOST:
        raise UnreadableError(f"sent more than {MOST} entries")
    return found


def following(body: bytes) -> str | None:
    """Where the collection goes on, if it says so; after an empty page it does not. It reads whatever ``features``
    reads: a page whose features are told is never taken for the last one since it is odd. Raises UnreadableError."""
    found, pagination = _read(body)
    address = pagination.get("next") if found and isinstance(pagination, dict) else None
    return address if isinstance(address, str) else None


def _read(body: bytes) -> tuple[list[bytes], object]:
    try:
        found = _collection.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _leniently(body)
    return [bytes(each) for each in found.features], found.pagination


def _leniently(body: bytes) -> tuple[list[bytes], object]:
    """The slow way, for what Python's own json lets through."""
    try:
        found = json.loads(body)
        listed = found["features"][: MOST + 1]
        encoded = [json.dumps(each, ensure_ascii=False).encode("utf-8", "replace") for each in listed]
        return encoded, found.get("pagination")
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise UnreadableError("sent something that is no GeoJSON collection") from None
