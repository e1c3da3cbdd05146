"""A Cluster: the posts about one happening, who of them is an independent voice, and running sums over the voices."""

from collections import Counter
from datetime import datetime, timedelta

import numpy as np

from bot.detection.members import Member, Vector
from bot.detection.weights import Weights
from bot.domain.alert import Alert

_MAX_WORDS = 3_000
_COMPARED = 200


class Cluster:
    """Mutable; owned by one Detector. ``raised`` is the last Alert revision, None before the first."""

    def __init__(self, number: int, weights: Weights) -> None:
        self.number = number
        self.slot: int | None = None
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

    def _clear(self) -> None:
        self.voices = []
        self.authors: set[str] = set()
        self.fingerprints: set[str] = set()
        self.names: Counter[str] = Counter()
        self.content: Counter[str] = Counter()
        self.towns: Counter[str] = Counter()
        self.areas: Counter[tuple[str, str]] = Counter()
        self.shown: dict[str, str] = {}
        self.points: list[tuple[float, float]] = []
        self.sums: dict[str, float] = {}
        self.p_sum = 0.0
        self.verified: set[str] = set()
        self.officials: list[Member] = []
        self.stated: dict[tuple[str, str], int] = {}
        self.counted: list[Member] = []
        self.severe = 0
        self.place_version = 0
        self._evidence = 0.0
        self._evidence_at: datetime | None = None
        self._sum: np.ndarray[tuple[int], np.dtype[np.float64]] | None = None
        self.centroid: Vector | None = None

    @property
    def category(self) -> str:
        """Of the most voices by summed p; before the first voice that of the first member."""
        if self.sums:
            return min(self.sums.items(), key=lambda item: (-item[1], item[0]))[0]
        return next((m.category for m in self.members.values()), "")

    @property
    def mean_p(self) -> float:
        return self.p_sum / len(self.voices) if self.voices else 0.0

    @property
    def disputed(self) -> bool:
        return bool(self.denied_by)

    def leads(self, name: str) -> bool:
        """Has it been raised, and does a fifth of its voices give this name?"""
        return self.raised is not None and self.names[name] >= self._weights.leading_share * len(self.voices)

    @property
    def anchored(self) -> bool:
        """Do two voices name the same place or any other name? Else likeness of words is all that ties them."""
        counts = (*self.towns.values(), *self.areas.values(), *self.names.values())
        return bool(self.officials) or any(count >= 2 for count in counts)

    def evidence(self, at: datetime) -> float:
        """The voices' p, each halved every ``half_life`` since it was heard."""
        if self._evidence_at is None:
            return 0.0
        return self._evidence * _decay(at - self._evidence_at, self._weights.half_life)

    def why_not_independent(self, member: Member) -> str | None:
        """None for an independent voice, else the reason, for ``explain``."""
        if member.denial or member.doubt:
            return "it denies the happening"
        if member.key in self.cancelled:
            return "its issuer has cancelled it"
        if member.second_hand:
            return "it is a repost"
        if member.p < self._weights.threshold:
            return "its probability is below the threshold"
        if member.author is not None and member.author in self.authors:
            return "its author is already counted"
        if member.words and member.fingerprint in self.fingerprints:
            return "it repeats the words of an earlier post"
        if self._near_copy(member):
            return "it is a near-copy of an earlier post"
        return None

    def add(self, member: Member) -> str | None:
        """Take it in; returns what ``why_not_independent`` said."""
        why = self.why_not_independent(member)
        self.members[member.key] = member
        self.last_at = member.stream_at if self.last_at is None else max(self.last_at, member.stream_at)
        self._absorb(member, why)
        return why

    def rebuild(self) -> None:
        """Sum anew over the members that are left, in order of their arrival; a former copy may become a voice."""
        version = self.place_version
        self._clear()
        self.place_version = version + 1
        for member in list(self.members.values()):
            self._absorb(member, self.why_not_independent(member))

    def remove(self, key: str) -> Member | None:
        member = self.members.pop(key, None)
        if member is not None:
            self.denied_by.pop(key, None)
            self.rebuild()
        return member

    def _absorb(self, member: Member, why: str | None) -> None:
        self.fingerprints.add(member.fingerprint)
        if member.author is not None and why is None:
            self.authors.add(member.author)
        if member.trusted and member.counts and not member.second_hand and not member.denial:
            for kind, count in member.counts.items():
                self.stated[member.author or member.key, kind] = count
        if why is None:
            self._hear(member)
        elif not self.voices:
            self._learn_words(member)
        if self.centroid is None and member.vector is not None:
            self.centroid = member.vector

    def _hear(self, member: Member) -> None:
        self.voices.append(member)
        self.p_sum += member.p
        for category, p in member.categories.items():
            if p >= 0.1:
                self.sums[category] = self.sums.get(category, 0.0) + p
        if member.official is not None:
            self.officials.append(member)
        elif member.verified:
            self.verified.add(member.author or member.key)
        if member.counts:
            self.counted.append(member)
        self.severe += member.severe
        self._evidence = self.evidence(member.stream_at) + member.p
        self._evidence_at = member.stream_at
        if member.vector is not None:
            vector = member.vector.astype(np.float64)
            self._sum = vector if self._sum is None else self._sum + vector
            norm = float(np.sqrt((self._sum**2).sum()))
            if norm > 0:
                self.centroid = (self._sum / norm).astype(np.float32)
        self._learn_words(member)
        for town, shown in member.mentions.towns.items():
            self.towns[town] += 1
            if self.shown.get(town, "").islower() or town not in self.shown:
                self.shown[town] = shown
        for area in member.mentions.areas:
            self.areas[area] += 1
        if member.point is not None:
            self.points.insert(0, member.point) if member.official is not None else self.points.append(member.point)
        if member.mentions.towns or member.mentions.areas or member.point:
            self.place_version += 1

    def _learn_words(self, member: Member) -> None:
        if len(self.content) < _MAX_WORDS:
            self.names.update(member.names)
            self.content.update(member.content)

    def _near_copy(self, member: Member) -> bool:
        """Four fifths of the words in common with a voice, or a cut copy of one."""
        ours = frozenset(member.words)
        if len(ours) < self._weights.near_copy_words:
            return False
        for voice in self.voices[-_COMPARED:]:
            theirs = frozenset(voice.words)
            if len(theirs) < self._weights.near_copy_words:
                continue
            common = len(ours & theirs)
            if common >= self._weights.near_copy * len(ours | theirs):
                return True
            if len(member.words) >= 8 and (
                voice.words[: len(member.words)] == member.words or member.words[: len(voice.words)] == voice.words
            ):
                return True
        return False


def _decay(age: timedelta, half_life: timedelta) -> float:
    return float(0.5 ** (max(age, timedelta(0)) / half_life))
