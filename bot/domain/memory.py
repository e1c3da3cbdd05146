"""What the store keeps of a Detector so that another goes on where it stopped: which posts belong together, which event
they are, and its clock. No word of any post: those are read from the posts that are left."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptCluster:
    """``turn`` orders the clusters by what was last added to them. ``event``: None before it is raised; ``absorbed``:
    the events that were united with it. ``denied_by`` and ``cancelled`` hold post keys, ``parted_from`` numbers."""

    number: int
    turn: int
    last_at: datetime
    event: str | None = None
    closed: bool = False
    absorbed: tuple[str, ...] = ()
    parted_from: tuple[int, ...] = ()
    denied_by: tuple[str, ...] = ()
    cancelled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptPost:
    """A live cluster holds it; ``turn`` is its place in the order in which posts were added; ``stream_at`` is when."""

    key: str
    cluster: int
    turn: int
    stream_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Everything, where it is ``whole``, or what changed since the last time: then ``gone_clusters`` and ``gone_posts``
    are over.

    ``now``: its stream time. ``begun``: when the first candidate came that it heard. ``number``, ``turn``: the last
    ones used. ``pending``: clusters with an update held back.
    """

    now: datetime
    number: int
    turn: int
    begun: datetime | None = None
    whole: bool = False
    pending: tuple[int, ...] = ()
    clusters: tuple[KeptCluster, ...] = ()
    posts: tuple[KeptPost, ...] = ()
    gone_clusters: tuple[int, ...] = ()
    gone_posts: tuple[str, ...] = ()
