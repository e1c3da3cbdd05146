"""A document as it may come: cut, flipped, doubled, with other values in it. All seeded."""

import json
import random
import re
from collections.abc import Iterator
from typing import Any

from tests.fuzz.values import LEVEL, PIECES, get, paths, put

_RAW = ("NaN", "-Infinity", "1e999999", "1e-999999", "-0.0", "9" * 400, "9" * 5_000, "1" + "0" * 100_000, '"\\ud800"')
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**31, 2**63, 2**64, -(2**70), 1e308, 0.1, "", "x", " ", "\0", "a\0b", "\ud800", "\u202e",
    "../../etc", "%s%n", "1", "true", "2031-05-14T12:00:00Z", "9999-12-31T23:59:59.999999-14:00",
    "0001-01-01T00:00:00+14:00", "2031-02-30T00:00:00Z", "a|b", "p1#v:2", "x" * 5_000, [], [[]], {}, [None], [1, "a"],
    {"a": 1}, {"": None},
)  # fmt: skip
_WORDS = (
    "", "]]>", "<b>", "&", "&amp;amp;", "&nosuch;", "&#0;", "&#x110000;", "&#xd800;", "\x01", "0", "-1", "nan", "1e999",
    "31 Dec 9999 23:59:59 -1400", "0001-01-01T00:00:00+14:00", "Wed, 99 May 2031", "http://", "https://[", "Ünïcode",
    "\u202e", "x" * 5_000, "<![CDATA[", "<!-- ", "<?xml?>", "53.2,-9.3", "a,b,c " * 50,
)  # fmt: skip


def mutated(rng: random.Random, kind: str, document: bytes) -> bytes:
    """One of many ways in which it may come."""
    choices = [_cut, _flipped, _doubled, _spliced]
    if kind == "json":
        choices += [_replaced] * 5 + [_duplicated]
    elif kind in ("xml", "html"):
        choices += [_reworded] * 3 + [_shuffled] * 2
    else:
        choices += [_inserted] * 4
    found = document
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        found = rng.choice(choices)(rng, found)
    return found


def cuts(document: bytes, most: int) -> Iterator[bytes]:
    """Every beginning of it, or ``most`` of them."""
    step = max(len(document) / most, 1.0)
    for number in range(int(len(document) / step)):
        yield document[: int(number * step)]


def _cut(rng: random.Random, document: bytes) -> bytes:
    return document[: rng.randint(0, len(document))]


def _flipped(rng: random.Random, document: bytes) -> bytes:
    found = bytearray(document)
    for _ in range(rng.choice((1, 1, 3, 20)) if found else 0):
        found[rng.randrange(len(found))] = rng.randrange(256)
    return bytes(found)


def _doubled(rng: random.Random, document: bytes) -> bytes:
    start = rng.randint(0, len(document))
    return document[: rng.randint(start, len(document))] + document[start:]


def _spliced(rng: random.Random, document: bytes) -> bytes:
    start = rng.randint(0, len(document))
    return document[:start] + document[rng.randint(start, len(document)) :]


def _inserted(rng: random.Random, document: bytes) -> bytes:
    at = rng.randint(0, len(document))
    piece = rng.choice((*_WORDS, *PIECES, *map(str, _VALUES))) * rng.choice((1, 1, 2, 50))
    return (
        document[:at] + piece.encode("utf-8", "surrogatepass") + document[at if rng.random() < 0.5 else len(document) :]
    )


def _replaced(rng: random.Random, document: bytes) -> bytes:
    try:
        said = json.loads(document)
    except (ValueError, RecursionError):
        return _flipped(rng, document)
    found = list(paths(said)) or [()]
    path = rng.choice(found)
    if rng.random() < 0.25:
        marked = json.dumps(put(said, path, LEVEL.decode())).encode()
        deep = "[" * 5_000 + "]" * 5_000
        return marked.replace(b'"' + LEVEL + b'"', rng.choice((*_RAW, deep)).encode())
    other = rng.choice((*_VALUES, get(said, rng.choice(found))))
    if rng.random() < 0.1:
        other = [other] * rng.choice((2, 100))
    return json.dumps(put(said, path, other)).encode()


def _duplicated(rng: random.Random, document: bytes) -> bytes:
    if not document.startswith(b"{") or b":" not in document:
        return _doubled(rng, document)
    key = document[1 : document.index(b":")]
    return document.replace(b"{", b"{" + key + b": " + json.dumps(rng.choice(_VALUES)).encode() + b", ", 1)


def _reworded(rng: random.Random, document: bytes) -> bytes:
    """Another text, attribute or name."""
    found = list(re.finditer(rb">[^<]*<|=(['\"])[^'\"<]*\1|</?[A-Za-z:]+", document))
    if not found:
        return _inserted(rng, document)
    one = rng.choice(found)
    word = rng.choice((*_WORDS, *PIECES)) * rng.choice((1, 1, 1, 20, 2_000))
    kept = 1 if one[0][:1] == b">" or one[0][:1] == b"=" else len(one[0])
    last = one[0][-1:] if kept == 1 else b""
    inside = word.encode("utf-8", "surrogatepass")
    return document[: one.start() + kept] + inside + last + document[one.end() :]


def _shuffled(rng: random.Random, document: bytes) -> bytes:
    """Tags dropped, doubled or moved."""
    pieces = re.split(rb"(<[^>]*>)", document)
    one, other = rng.randrange(len(pieces)), rng.randrange(len(pieces))
    match rng.randrange(3):
        case 0:
            pieces[one], pieces[other] = pieces[other], pieces[one]
        case 1:
            pieces[one] = b""
        case _:
            pieces.insert(one, pieces[other])
    return b"".join(pieces)
