"""What FakeJetstream can be told to do wrong: each is used up by one connection (or one request), in the order of the
script.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Drop:
    """Cut the connection after ``after`` frames, with a close frame or (``rude``) without."""

    after: int
    rude: bool = True


@dataclass(frozen=True)
class Garbage:
    """``data`` instead of nothing before frame number ``at``."""

    at: int
    data: bytes = b"\x00\xff{not json"
    binary: bool = False


@dataclass(frozen=True)
class Split:
    """Frame number ``at`` in two WebSocket fragments."""

    at: int


@dataclass(frozen=True)
class Slow:
    """Frame number ``at`` byte by byte."""

    at: int


@dataclass(frozen=True)
class Cut:
    """Half of frame number ``at``, then the end of the connection."""

    at: int


@dataclass(frozen=True)
class Stall:
    """After ``after`` frames: nothing more, not even an answer to a ping."""

    after: int


@dataclass(frozen=True)
class Refuse:
    """An HTTP answer instead of a WebSocket."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    error: str = ""


@dataclass(frozen=True)
class EndWith:
    """Protocol 2's error frame after ``after`` frames, then a close."""

    after: int
    error: str = "ConsumerTooSlow"


@dataclass(frozen=True)
class PackWith:
    """Frames packed with another dictionary than agreed."""

    data: bytes


@dataclass(frozen=True)
class AnswerDictionary:
    """Not a connection's but the request's for the dictionary: this instead of it."""

    status: int
    body: bytes = b""


Fault = Drop | Garbage | Split | Slow | Cut | Stall | Refuse | EndWith | PackWith | AnswerDictionary
