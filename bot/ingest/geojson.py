"""GeoJSON collections: bytes in, the bytes of each feature out, so that one odd feature costs no other. Pure."""

import json

import msgspec

from bot.ingest.polling import UnreadableError

MOST = 20_000


class _Collection(msgspec.Struct):
    features: list[msgspec.Raw]


_collection = msgspec.json.Decoder(_Collection)


def features(body: bytes) -> list[bytes]:
    """Lone surrogates become question marks. Raises UnreadableError."""
    try:
        found = [bytes(each) for each in _collection.decode(body).features]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _leniently(body)
    if len(found) > MOST:
        raise UnreadableError(f"sent more than {MOST} entries")
    return found


def _leniently(body: bytes) -> list[bytes]:
    """The slow way, for what Python's own json lets through."""
    try:
        listed = json.loads(body)["features"][: MOST + 1]
        return [json.dumps(each, ensure_ascii=False).encode("utf-8", "replace") for each in listed]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UnreadableError("sent something that is no GeoJSON collection") from None
