"""A Cluster: the posts about one happening, who of them is an independent voice, and running sums over the voices."""

from array import array
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Collection, Mapping
from datetime import datetime
from itertools import islice
from typing import Self

import numpy as np

from bot.detection import places
from bot.detection.members import TOWNS_COMPARED, Member, Vector
from bot.detection.weights import Weights
from bot.domain.alert import Alert
from bot.domain.memory import KeptCluster

_MAX_WORDS = 3_000
_COMPARED = 200


class Cluster:
    """Mutable; owned by one Detector. ``raised`` is the last Alert revision, None before the first."""

    def __init__(self, number: int, weights: Weights) -> None:
        self.number = number
        self.turn = 0  # of what was last added, over all clusters
        self.members: dict[str, Member] = {}
        self.voices: list[Member] = []
        self.raised: Alert | None = None
        self.closed = False
        self.absorbed: list[Alert] = []  # the last revisions of events that turned out to be this one
        self.parted_from: set[int] = set()  # numbers of clusters that were one with this
        self.denied_by: dict[str, Member] = {}
        self.cancelled: set[str] = set()
        self.last_at: datetime | None = None
        self._weights = weights
        self._clear()

    @classmethod
    def resumed(cls, kept: KeptCluster, weights: Weights, raised: Mapping[str, Alert]) -> Self:
        """As it was, before its posts are added again. ``raised``: each event's last revision."""
        cluster = cls(kept.number, weights)
        cluster.turn = kept.turn
        cluster.raised = None if kept.event is None else raised[kept.event]
        cluster.closed = kept.closed
        cluster.absorbed = [raised[event] for event in kept.absorbed]
        cluster.parted_from = set(kept.parted_from)
        cluster.cancelled = set(kept.cancelled)
        return cluster

    def kept(self) -> KeptCluster:
        """What the store keeps of it beside its posts. Raises ValueError for one that never held a post."""
        if self.last_at is None:
            raise ValueError(f"cluster {self.number} never held a post")
        return KeptCluster(
            number=self.number,
            turn=self.turn,
            last_at=self.last_at,
            event=None if self.raised is None else self.raised.event,
            closed=self.closed,
            absorbed=tuple(ended.event for ended in self.absorbed),
            parted_from=tuple(sorted(self.parted_from)),
            denied_by=tuple(self.denied_by),
            cancelled=tuple(sorted(self.cancelled)),
        )

    def _clear(self) -> None:
        self.voices = []
        self.authors: set[str] = set()
        self.fingerprints: dict[str, str] = {}  # and the key of the first post that has it
        self.names: Counter[str] = Counter()
        self.content: Counter[str] = Counter()
        self._vocabulary: list[str] = []  # the words of ``content`` in order
        self.towns: Counter[str] = Counter()
        self.areas: Counter[tuple[str, str]] = Counter()
        self.shown: dict[str, str] = {}
        self.points: list[tuple[float, float]] = []
        self.sums: dict[str, float] = {}
        self.p_sum = 0.0
        self.verified: set[str] = set()
        self.officials: list[Member] = []
        self.stated: dict[tuple[str, str], int] = {}
        self.highest: dict[str, list[int]] = {}  # the two highest counts that voices state, of each kind
        self.severe = 0
        self.first_hand = 0
        self.media = 0
        self.denials = 0
        self.doubts = 0
        self._heard: list[datetime] = []  # when each voice came, in order
        self._sketches = array("Q")  # of each voice
        self._first_words = array("q")
        self._category: str | None = None
        self._towns: list[str] | None = None
        self._sum: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
        self._summed = 0
        self._centroid: Vector | None = None

    @property
    def category(self) -> str:
        """Of the most voices by summed p; before the first voice that of the first member."""
        if not self.sums:
            return next((m.category for m in self.members.values()), "")
        if self._category is None:
            self._category = min(self.sums.items(), key=lambda item: (-item[1], item[0]))[0]
        return self._category

    @property
    def centroid(self) -> Vector | None:
        """The direction of the voices' sum; before the first voice with a vector that of the first post with one."""
        if self._centroid is None and self._sum is not None:
            norm = float(np.sqrt((self._sum**2).sum()))
            if norm > 0:
                self._centroid = (self._sum / norm).astype(np.float32)
        return self._centroid

    @property
    def compared_towns(self) -> list[str]:
        """Of the first dozen names those that are no street or mall."""
        if self._towns is None:
            self._towns = [town for town in islice(self.towns, TOWNS_COMPARED) if not places.is_feature(town)]
        return self._towns

    @property
    def mean_p(self) -> float:
        return self.p_sum / len(self.voices) if self.voices else 0.0

    @property
    def closeness(self) -> float:
        """The mean cosine of two of its voices; 1 for a single one, 0 where none has a vector."""
        if self._sum is None or self._summed == 0:
            return 0.0
        square = float((self._sum**2).sum())
        return (square - self._summed) / (self._summed * (self._summed - 1)) if self._summed > 1 else 1.0

    def heard_since(self, moment: datetime) -> int:
        """How many of its voices came then or later."""
        return len(self._heard) - bisect_left(self._heard, moment)

    def says_begin(self, beginning: str) -> bool:
        """Does a word of its ``content`` begin like that?"""
        at = bisect_left(self._vocabulary, beginning)
        return at < len(self._vocabulary) and self._vocabulary[at].startswith(beginning)

    @property
    def disputed(self) -> bool:
        return bool(self.denied_by)

    def leads(self, name: str) -> bool:
        """Has it been raised, and does a fifth of its voices give this name?"""
        return self.raised is not None and self.names[name] >= self._weights.leading_share * len(self.voices)

    def why_not_independent(self, member: Member) -> str | None:
        """None for an independent voice, else the reason, for ``explain``.

        A textual repost of what has not come stands for it, once: it is the voice of whom it quotes. Neither they nor
        the author are counted again, so that an account that floods is one voice whomever it quotes.
        """
        if member.denial or member.doubt:
            return "it denies the happening"
        if member.key in self.cancelled:
            return "its issuer has cancelled it"
        if member.second_hand and not member.stands_in:
            return "it is a repost"
        if member.p < self._weights.threshold:
            return "its probability is below the threshold"
        if not self.authors.isdisjoint(member.speakers):
            return "its author is already counted"
        if member.words and member.fingerprint in self.fingerprints:
            return "it repeats the words of an earlier post"
        if self._near_copy(member) or self._cut_repost(member):
            return "it is a near-copy of an earlier post"
        return None

    def add(self, member: Member) -> str | None:
        """Take it in; returns what ``why_not_independent`` said."""
        why = self.why_not_independent(member)
        self.members[member.key] = member
        self.last_at = member.stream_at if self.last_at is None else max(self.last_at, member.stream_at)
        self._absorb(member, why is None)
        return why

    def rebuild(self, *, kept: int = 0) -> None:
        """Sum anew over the members that are left, in order of their arrival; a former copy may become a voice. Which
        of the first ``kept`` are voices stays as it is."""
        voices = {voice.key for voice in self.voices}
        self._clear()
        for number, member in enumerate(self.members.values()):
            held = number < kept
            self._absorb(member, member.key in voices if held else self.why_not_independent(member) is None)

    def remove(self, keys: Collection[str]) -> list[Member]:
        """Those of the posts that it holds leave, in order of their arrival; what is left is as if they had never
        come."""
        order = list(self.members)
        leaving = [number for number, key in enumerate(order) if key in keys]
        if not leaving:
            return []
        summed = any(not self._only_counts(self.members[order[number]]) for number in leaving)
        gone = [self.members.pop(order[number]) for number in leaving]
        for member in gone:
            self.denied_by.pop(member.key, None)
        if summed:
            self.rebuild(kept=0 if self.cancelled else leaving[0])
            return gone
        for member in gone:
            self.denials -= member.denial
            self.doubts -= member.doubt
            if self.fingerprints[member.fingerprint] == member.key:
                del self.fingerprints[member.fingerprint]
        return gone

    def _only_counts(self, member: Member) -> bool:
        """Would nothing but the number of posts be otherwise if it had never come? It is no voice, nothing was learnt
        from it and no other post is a copy because of it."""
        if self.cancelled or not self.voices or (member.trusted and member.counts):
            return False
        first = next(key for key in self.members if key in (member.key, self.voices[0].key))
        if first == member.key or any(voice is member for voice in self.voices):
            return False
        if self.fingerprints[member.fingerprint] != member.key:
            return True
        return all(other is member or other.fingerprint != member.fingerprint for other in self.members.values())

    def _absorb(self, member: Member, independent: bool) -> None:
        self.fingerprints.setdefault(member.fingerprint, member.key)
        self.denials += member.denial
        self.doubts += member.doubt
        if independent:
            self.authors |= member.speakers
        if member.trusted and member.counts and not member.second_hand and not member.denial:
            for kind, count in member.counts.items():
                self.stated[member.author or member.key, kind] = count
        if independent:
            self._hear(member)
        elif not self.voices:
            self._learn_words(member)
        if self._sum is None and self._centroid is None:
            self._centroid = member.vector

    def _hear(self, member: Member) -> None:
        self.voices.append(member)
        insort(self._heard, member.stream_at)
        self._sketches.append(member.sketch)
        self._first_words.append(_hashed(member))
        self._category = None
        self.p_sum += member.p
        for category, p in member.categories.items():
            self.sums[category] = self.sums.get(category, 0.0) + p
        if member.official is not None:
            self.officials.append(member)
        elif member.verified and not member.second_hand:
            self.verified.add(member.author or member.key)
        for kind, count in member.counts.items():
            self.highest[kind] = sorted([*self.highest.get(kind, ()), count], reverse=True)[:2]
        self.severe += member.severe
        self.first_hand += member.first_hand
        self.media += member.media
        if member.vector is not None:
            vector = member.vector.astype(np.float64)
            self._sum = vector if self._sum is None else self._sum + vector
            self._summed += 1
            self._centroid = None
        self._learn_words(member)
        if len(self.towns) < TOWNS_COMPARED:
            self._towns = None
        for town, shown in member.mentions.towns.items():
            self.towns[town] += 1
            if self.shown.get(town, "").islower() or town not in self.shown:
                self.shown[town] = shown
        for area in member.mentions.areas:
            self.areas[area] += 1
        if member.point is not None:
            self.points.insert(0, member.point) if member.official is not None else self.points.append(member.point)

    def _learn_words(self, member: Member) -> None:
        if len(self.content) < _MAX_WORDS:
            self.names.update(member.names)
            for word in member.content - self.content.keys():
                insort(self._vocabulary, word)
            self.content.update(member.content)

    def _near_copy(self, member: Member) -> bool:
        """Four fifths of the words in common with a voice, or a cut copy of one."""
        least, share = self._weights.near_copy_words, self._weights.near_copy
        if member.distinct < least:
            return False
        apart = (1.0 / share - 1.0) * member.distinct + 1.0  # words that only one has: of two near-copies no more
        differing = np.bitwise_count(np.array(self._sketches[-_COMPARED:]) ^ np.uint64(member.sketch))
        alike = (differing <= apart) | (np.array(self._first_words[-_COMPARED:]) == _hashed(member))
        ours, latest = frozenset(member.words), self.voices[-_COMPARED:]
        for voice in (latest[number] for number in np.flatnonzero(alike).tolist()):
            theirs = frozenset(voice.words)
            if len(theirs) < least:
                continue
            if len(ours & theirs) >= share * len(ours | theirs):
                return True
            if len(member.words) >= 8 and (
                voice.words[: len(member.words)] == member.words or member.words[: len(voice.words)] == voice.words
            ):
                return True
        return False

    def _cut_repost(self, member: Member) -> bool:
        """Is it a repost of which a voice has four fifths of the words, or the other way round? Reposts are cut."""
        least, share = self._weights.near_copy_words, self._weights.near_copy
        for voice in self.voices[-_COMPARED:]:
            if not (member.second_hand or voice.second_hand) or min(member.distinct, voice.distinct) < least:
                continue
            common = len(frozenset(member.words).intersection(voice.words))
            if common >= share * min(member.distinct, voice.distinct):
                return True
        return False


def _hashed(member: Member) -> int:
    """A number that is the same for texts with the same first word; it differs from process to process."""
    return hash(member.words[:1])
