"""What may come out of a decoder: a value that the rest of the service can live with, or the decoder's own refusal."""

import dataclasses
import math
import time
from collections.abc import Mapping
from datetime import datetime, timedelta

import msgspec

from bot.domain import post, times
from bot.ingest import lines
from tests.fuzz.decoding import Decoder


class FaultError(AssertionError):
    """Neither of the two; the message never holds the input."""


def judge(decoder: Decoder, data: bytes) -> float:
    """Returns how many seconds it took. Raises FaultError."""
    began = time.perf_counter()
    try:
        found = decoder.read(data)
    except decoder.refuses as error:
        took = time.perf_counter() - began
        if len(str(error)) > 300 + 12 * len(data) * decoder.quotes:
            raise FaultError(f"{decoder.name} quotes what it refuses") from None
        return took
    except Exception as error:
        raise FaultError(f"{decoder.name} raised {type(error).__name__}: {str(error)[:200]}") from error
    took = time.perf_counter() - began
    _check(decoder.name, found)
    return took


def _check(name: str, value: object) -> None:
    """Texts without surrogates, aware times, finite numbers, posts that the store can hold."""
    stack: list[object] = [value]
    while stack:
        each = stack.pop()
        match each:
            case str():
                _ensure(name, "a text with a lone surrogate", not _broken(each))
            case datetime():
                _ensure(name, "a time without a zone", each.tzinfo is not None)
                _ensure(name, "a time that is read otherwise", each.year < 1000 or _returns(each))
            case float():
                _ensure(name, "a number that is none", math.isfinite(each))
            case bytes() | bytearray() | int() | None | BaseException():
                pass
            case Mapping():
                stack += [*each.keys(), *each.values()]
            case list() | tuple() | set() | frozenset():
                stack += each
            case msgspec.Raw():
                pass
            case msgspec.Struct():
                stack += [getattr(each, field) for field in each.__struct_fields__]
            case _ if dataclasses.is_dataclass(each):
                if isinstance(each, post.Post):
                    _check_post(name, each)
                stack += [getattr(each, field.name) for field in dataclasses.fields(each) if field.name != "content"]


def _check_post(name: str, made: post.Post) -> None:
    _ensure(name, "a post without a name", bool(made.id and made.provider))
    _ensure(name, "a post with NUL", "\0" not in made.text + made.id)
    _ensure(name, "a post that is too long", len(made.text) <= lines.MAX_TEXT)
    _ensure(name, "a post before 1970", made.created_at.year >= 1970)
    _ensure(name, "half a place", (made.lat is None) == (made.lon is None))
    if made.lat is not None and made.lon is not None:
        _ensure(name, "a place off the map", abs(made.lat) <= 90 and abs(made.lon) <= 180)


def _ensure(name: str, what: str, holds: bool) -> None:
    if not holds:
        raise FaultError(f"{name} gave {what}")


def _returns(when: datetime) -> bool:
    return abs(times.from_text(times.to_text(when)) - when) < timedelta(milliseconds=1)


def _broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
