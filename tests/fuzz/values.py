"""Finding and replacing values in JSON, and pieces of text that hurt where there are many of them."""

from collections.abc import Iterator
from typing import Any

LEVEL = b"@LEVELS@"
PIECES = (
    " ", "\n", " \n", "\t \n", "<", "<a ", "<a href='", '<a b="', "<!--", "<b>", "</b>", "<script>", "<!", "<p",
    "&", "&#", "&amp", "&#9", "&a;", "'", '"', "=", "a=", "-", "a.", "1,", "1,1 ", "9", "https://", "//a", "[", "{",
    "(", "a-", "%", "\u00a0", "\u2028", "\ud83d", "did:a:", ":", "@", "\r", "\0", "wind ", "A, ", "+01",
    "warning issued for ", " - ",
)  # fmt: skip


def paths(value: Any, before: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Of every value but the whole."""
    items: list[tuple[str | int, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value[:3]))
    for key, inner in items:
        yield (*before, key)
        if len(before) < 12:
            yield from paths(inner, (*before, key))


def get(value: Any, path: tuple[str | int, ...]) -> Any:
    for key in path:
        value = value[key]
    return value


def put(value: Any, path: tuple[str | int, ...], new: Any) -> Any:
    """A copy with another value there."""
    if not path:
        return new
    key, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[key] = put(value[key], tuple(rest), new)
    return copy
