"""GeoJSON collections: bytes in, the bytes of each feature out, so that one odd feature costs no other. Pure."""

import json

import msgspec

from bot.ingest.polling import UnreadableError

MOST = 20_000


class _Collection(msgspec.Struct):
    features: list[msgspec.Raw]


class _Pagination(msgspec.Struct):
    next: str


class _Page(msgspec.Struct):
    features: list[msgspec.Raw]
    pagination: _Pagination


_collection = msgspec.json.Decoder(_Collection)
_page = msgspec.json.Decoder(_Page)


def features(body: bytes) -> list[bytes]:
    """Lone surrogates become question marks. Raises UnreadableError."""
    try:
        found = [bytes(each) for each in _collection.decode(body).features]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _leniently(body)
    if len(found) > MOST:
        raise UnreadableError(f"sent more than {MOST} entries")
    return found


def following(body: bytes) -> str | None:
    """Where the collection goes on, if it says so; after an empty page it does not."""
    try:
        page = _page.decode(body)
        return page.pagination.next if page.features else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _leniently(body: bytes) -> list[bytes]:
    """The slow way, for what Python's own json lets through."""
    try:
        listed = json.loads(body)["features"][: MOST + 1]
        return [json.dumps(each, ensure_ascii=False).encode("utf-8", "replace") for each in listed]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UnreadableError("sent something that is no GeoJSON collection") from None
