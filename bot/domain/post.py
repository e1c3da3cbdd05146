"""What sources yield: Posts, Deletions, Gaps and Marks."""

from dataclasses import dataclass
from datetime import datetime

VERSION = "#v:"  # between a post's id and what tells an edited version of it from the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Official:
    """An official warning's own words about itself; such a post needs no model.

    ``certainty`` is CAP's ``possible | likely | observed``. ``supersedes`` lists ids of the same provider.
    """

    category: str
    certainty: str = "observed"
    supersedes: tuple[str, ...] = ()
    cancelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One immutable public item. ``(provider, id)`` is its identity; times are aware UTC."""

    provider: str
    id: str
    text: str
    created_at: datetime
    received_at: datetime
    author: str | None = None
    langs: tuple[str, ...] = ()
    url: str | None = None
    repost_of: str | None = None
    reply_to: str | None = None
    lat: float | None = None
    lon: float | None = None
    media: tuple[str, ...] = ()
    verified: bool = False
    official: Official | None = None

    @property
    def key(self) -> str:
        return post_key(self.provider, self.id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """Deleted at its source: one post (``id``), or everything by one author whose account went away (``author``).

    ``replaced_by``: the id of what takes the post's place where it was edited, whether or not that is told; None where
    it is really gone.
    """

    provider: str
    id: str | None = None
    author: str | None = None
    deleted_at: datetime
    replaced_by: str | None = None

    @property
    def key(self) -> str | None:
        return None if self.id is None else post_key(self.provider, self.id)

    def takes(self, external_id: str) -> bool:
        """Is this a version of the deleted post that goes with it? Of one that was edited, those before the new one."""
        if self.id is None or not external_id.startswith(f"{self.id}{VERSION}"):
            return False
        replacing = _stamp(self.replaced_by or "")
        return not replacing or _order(_stamp(external_id)) < _order(replacing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A stretch of a source that was not seen, as far as can be told; shown to people, never guessed away."""

    since: datetime | None
    until: datetime | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Nothing but the cursor it comes with: a source that seldom has something to tell has read as far as that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """What the inbox holds: an item as one source yielded it.

    ``cursor`` resumes that source right after this item. ``at`` is the source's own time of it, from which stream time
    is made: the provider's sequence time or the receipt for live sources, ``created_at`` for Post lines. ``local_id``:
    what this source calls the post when it tells of its end, where that is not its id.
    """

    source: str
    cursor: str
    item: Post | Deletion | Gap | Mark
    at: datetime
    local_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A place named in a text, in character offsets."""

    text: str
    start: int
    end: int
    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A Post that the model (or its official source) takes for a report, with all that detection needs.

    ``seq`` is the order of receipt over all sources; ``stream_at`` its source's own time, from which each View makes
    its stream time (never going back). ``embedding``: 384 little-endian float16, L2 norm 1; empty for official posts
    without a text. ``fingerprint``: hash of the normalised words, equal for near-copies; it survives the purge of a
    deleted text. ``first_hand``, ``media``: the probabilities that an eyewitness or a news organisation speaks, None
    where the model does not say.
    """

    post: Post
    seq: int
    stream_at: datetime
    categories: dict[str, float]
    places: tuple[Span, ...]
    embedding: bytes
    fingerprint: str
    model: str
    first_hand: float | None = None
    media: float | None = None

    @property
    def top(self) -> tuple[str, float]:
        """The most probable category; ties go to the name that sorts first."""
        return min(self.categories.items(), key=lambda item: (-item[1], item[0]))


def post_key(provider: str, external_id: str) -> str:
    """The store's key of a post: unambiguous because a provider's name holds no ``|``."""
    return f"{provider}|{external_id}"


def versioned(external_id: str, stamp: str) -> str:
    """The id of an edited version. Stamps are numbers, or texts of one length that sort."""
    return f"{external_id}{VERSION}{stamp}"


def newer(external_id: str, than: str) -> bool:
    """Is it a later version of the same post? Two ids, or two keys."""
    (first, _, stamp), (other, _, before) = external_id.partition(VERSION), than.partition(VERSION)
    return first == other and _order(stamp) > _order(before)


def unversioned(external_id: str) -> str:
    """An id that somebody else chose, so that it is not taken for a version of another post."""
    return external_id.replace(VERSION, "%23v:")


def _stamp(external_id: str) -> str:
    return external_id.partition(VERSION)[2]


def _order(stamp: str) -> tuple[int, str]:
    return len(stamp), stamp
