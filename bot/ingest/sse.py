"""Server-sent events, as https://html.spec.whatwg.org/multipage/server-sent-events.html says; pure over bytes."""

from collections.abc import Iterator
from dataclasses import dataclass, field

MOST = 2 * 1024 * 1024  # bytes of one event; a longer one is dropped and counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """``id`` is the last one that the stream gave, in this event or before; ``comment``: a heartbeat, without data."""

    event: str = "message"
    data: bytes = b""
    id: str | None = None
    comment: bool = False


@dataclass(slots=True)
class Parser:
    """``feed`` it what arrives; it yields what is complete. ``dropped`` counts events that were too long."""

    dropped: int = 0
    _buffer: bytearray = field(default_factory=bytearray)
    _data: list[bytes] = field(default_factory=list)
    _size: int = 0
    _event: str = ""
    _id: str | None = None
    _after_cr: bool = False

    def feed(self, chunk: bytes) -> Iterator[Event]:
        for line in self._lines(chunk):
            found = self._take(line)
            if found is not None:
                yield found

    def _lines(self, chunk: bytes) -> Iterator[bytes]:
        """LF, CR and CRLF end a line; a CR at the end of a chunk may be half a CRLF."""
        if self._after_cr and chunk[:1] == b"\n":
            chunk = chunk[1:]
        self._after_cr = chunk.endswith(b"\r")
        first, *rest = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self._buffer += first
        for line in rest:
            ended, self._buffer = self._buffer, bytearray(line)
            yield bytes(ended)
        if len(self._buffer) > MOST:
            self._buffer.clear()
            self._size = MOST + 1

    def _take(self, line: bytes) -> Event | None:
        if not line:
            return self._end()
        if line.startswith(b":"):
            return Event(comment=True, id=self._id)
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"data":
                self._size += len(value) + 1
                if self._size <= MOST:
                    self._data.append(value)
            case b"event":
                self._event = value.decode("utf-8", "replace")
            case b"id" if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        return None

    def _end(self) -> Event | None:
        data, name, size = self._data, self._event, self._size
        self._data, self._event, self._size = [], "", 0
        if size > MOST:
            self.dropped += 1
            return None
        if not data:
            return None
        return Event(event=name or "message", data=b"\n".join(data), id=self._id)
