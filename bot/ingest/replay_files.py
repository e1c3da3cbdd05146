"""Post lines out of one file (plain or gzip), pipe or standard input, from where an earlier reading of it came to.

A Mark says how many lines were read, and what they were by their checksum: a file that has grown or whose cut end was
mended is read on after them, one that is not the same up to there from its beginning, since the store knows what it
has. A last line that is no Post line does not count: its writer may be in the middle of it. A pipe has no marks.
"""

import gzip
import sys
import zlib
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, cast

import msgspec
import structlog

from bot.domain import errors, post
from bot.ingest import lines

STDIN = "-"
BLOCK = 256 * 1024  # bytes read at once
GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"

_DELETED = b'"deleted_at"'

log = structlog.get_logger()


class Mark(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """After so many lines, the bad and the empty ones included; ``crc``: the CRC-32 of all of them."""

    lines: int
    crc: int


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One good line; ``mark``: right after it, None in a pipe. ``again``: a deletion that an earlier reading told."""

    item: post.Post | post.Deletion
    path: str
    mark: Mark | None
    again: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BadLine:
    """One line that was skipped: which (``number`` from 1) and why; never what it said. ``rest``: the file cannot be
    read from there on."""

    file: str
    number: int
    reason: str
    rest: bool = False


Chunk = tuple[list[Entry], list[BadLine]]


def is_pipe(path: str) -> bool:
    """Can what was read of it not be read again?"""
    return path == STDIN or Path(path).is_fifo() or Path(path).is_char_device()


def check_readable(path: str) -> None:
    """Raises UsageError with what to do. A pipe is left alone: what is read from it here would be lost."""
    try:
        if is_pipe(path):
            return
        with _open(path) as stream:
            stream.read(1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise errors.UsageError(f"{path}: not a readable gzip file ({error}); unpack or copy it again") from error
    except FileNotFoundError as error:
        raise errors.UsageError(f"{path}: there is no such file; check the path") from error
    except OSError as error:
        raise errors.UsageError(
            f"{path}: cannot be read ({error.strerror}); check what it is and who may read it"
        ) from error


def read(
    path: str, after: Mark | None, *, stdin: BinaryIO | None, clock: Callable[[], datetime], again: bool
) -> Iterator[Chunk]:
    """The good and the bad lines after ``after``, as they come. Empty lines are nothing; where it cannot be read on it
    ends with a bad line. ``again``: tell the deletions before ``after`` once more, those of single posts."""
    pipe = is_pipe(path)
    changed = yield from _decoded(path, None if pipe else after, stdin, clock, marked=not pipe, again=again)
    if changed:
        log.warning("file_changed", file=path, consequence="it is read again from its beginning")
        yield from _decoded(path, None, stdin, clock, marked=True, again=False)


class _UnreadableError(lines.BadLineError):
    """The rest of the file."""


_Line = bytes | lines.BadLineError


def _decoded(
    path: str,
    after: Mark | None,
    stdin: BinaryIO | None,
    clock: Callable[[], datetime],
    *,
    marked: bool,
    again: bool,
) -> Generator[Chunk, None, bool]:
    """Returns whether the lines up to ``after`` are not those that it marks."""
    number = crc = 0
    passed = after.lines if after is not None else 0
    name = "standard input" if path == STDIN else path
    for block in _lines(path, stdin):
        entries: list[Entry] = []
        bad: list[BadLine] = []
        received_at = clock()
        for line in block:
            number += 1
            if isinstance(line, _UnreadableError):
                bad.append(BadLine(file=name, number=number, reason=str(line), rest=True))
                passed = 0
                continue
            crc = crc if isinstance(line, lines.BadLineError) else zlib.crc32(line, crc)
            if number <= passed:
                if after is not None and number == passed and crc != after.crc:
                    return True
                entries += _told_again(path, line, received_at) if again else ()
                continue
            try:
                if isinstance(line, lines.BadLineError):
                    raise line
                if line and not line.isspace():
                    mark = Mark(number, crc) if marked else None
                    entries.append(Entry(lines.decode(line, received_at), path, mark))
            except lines.BadLineError as error:
                bad.append(BadLine(file=name, number=number, reason=str(error)))
        yield entries, bad
    return number < passed


def _told_again(path: str, line: _Line, received_at: datetime) -> Iterator[Entry]:
    """The post that it takes back may stand in another file, that was mended only now."""
    if isinstance(line, bytes) and _DELETED in line:
        try:
            item = lines.decode(line, received_at)
        except lines.BadLineError:
            return
        if isinstance(item, post.Deletion) and item.id is not None:
            yield Entry(item, path, None, True)


def _open(path: str) -> BinaryIO:
    stream = Path(path).open("rb")  # noqa: SIM115 (the caller closes it)
    if stream.peek(2)[:2] == GZIP_MAGIC:
        return cast(BinaryIO, _Gunzip(stream))
    return stream


class _Gunzip(gzip.GzipFile):
    """Closes the file below it as well, which GzipFile leaves to whoever opened it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._below = stream
        super().__init__(fileobj=stream, mode="rb")

    def close(self) -> None:
        super().close()
        self._below.close()


def _lines(path: str, stdin: BinaryIO | None) -> Iterator[list[_Line]]:
    """The lines of ``path`` in lists, one list for what one read gave."""
    if path == STDIN:
        yield from _split(stdin or sys.stdin.buffer)
        return
    try:
        stream = _open(path)
    except OSError as error:
        yield [_UnreadableError(f"it cannot be read: {error.strerror}")]
        return
    with stream:
        yield from _split(stream)


def _split(stream: BinaryIO) -> Iterator[list[_Line]]:
    read = getattr(stream, "read1", stream.read)
    rest = b""
    overlong = False  # inside a line of which MAX_LINE bytes have been thrown away
    at_start = True
    while True:
        try:
            block = read(BLOCK)
        except (OSError, EOFError, zlib.error) as error:
            yield [_UnreadableError(f"the rest cannot be read: {error}")]
            return
        if at_start:
            block, at_start = block.removeprefix(BOM), False
        if not block:
            break
        parts: list[_Line] = [*(rest + block).split(b"\n")]
        if overlong and len(parts) > 1:
            parts[0], overlong = lines.BadLineError(f"longer than {lines.MAX_LINE} bytes"), False
        rest = cast(bytes, parts.pop())
        if overlong or len(rest) > lines.MAX_LINE:
            rest, overlong = b"", True
        if parts:
            yield parts
    if overlong:
        yield [lines.BadLineError(f"longer than {lines.MAX_LINE} bytes")]
    elif rest:
        yield [rest]
