"""Streaming clustering: which live Cluster a post belongs to, in bounded memory and independent of arrival batches."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np

from bot.detection import kinship, places, words
from bot.detection.clusters import Cluster
from bot.detection.members import Member, Vector
from bot.detection.weights import Weights

_SIZE = 384
_TOWNS_COMPARED = 12
_BOTH = 0.34  # so many voices to each of the smaller town may name both, before the two are one happening
_SQUASHED = 5  # letters of a town that a hash tag begins with: #bostonmarathon, #saintaubrac


class Relation(StrEnum):
    """How the places that two sides name agree."""

    SAME = "same place"
    COUNTRY = "same country"
    NONE = "no place in common"
    CONFLICT = "different places"


@dataclass(frozen=True, slots=True)
class Match:
    cluster: Cluster
    cosine: float
    affinity: float
    shared: tuple[str, ...]
    relation: Relation


class Clusters:
    """All live clusters of one Detector. Un-raised ones end ``window`` after their last post, raised ones
    ``raised_window``; at most ``max_clusters`` live at a time and the longest silent un-raised one goes first."""

    def __init__(self, gazetteer: places.Gazetteer, weights: Weights) -> None:
        self._gazetteer = gazetteer
        self._weights = weights
        self._quiet: OrderedDict[int, Cluster] = OrderedDict()
        self._raised: OrderedDict[int, Cluster] = OrderedDict()
        self._of_key: dict[str, Cluster] = {}
        self._of_fingerprint: dict[str, Cluster] = {}
        self._of_name: dict[str, dict[int, Cluster]] = {}
        self._matrix: np.ndarray[Any, np.dtype[np.float32]] = np.zeros((256, _SIZE), dtype=np.float32)
        self._slots: list[Cluster | None] = [None] * 256
        self._free: list[int] = list(range(255, -1, -1))
        self._high = 0
        self._next = 1

    def __len__(self) -> int:
        return len(self._quiet) + len(self._raised)

    def of(self, key: str) -> Cluster | None:
        return self._of_key.get(key)

    def raised(self) -> list[Cluster]:
        return list(self._raised.values())

    def live(self) -> list[Cluster]:
        return [*self._quiet.values(), *self._raised.values()]

    def expire(self, now: datetime) -> list[Cluster]:
        """Drop what has been silent for too long; returns the dropped."""
        gone: list[Cluster] = []
        for line, window in ((self._quiet, self._weights.window), (self._raised, self._weights.raised_window)):
            while line:
                cluster = next(iter(line.values()))
                if cluster.last_at is not None and now - cluster.last_at <= window:
                    break
                gone.append(cluster)
                self.drop(cluster)
        return gone

    def start(self, member: Member) -> tuple[Cluster, str | None]:
        while len(self) >= self._weights.max_clusters:
            line = self._quiet or self._raised
            self.drop(next(iter(line.values())))
        cluster = Cluster(self._next, self._weights)
        self._next += 1
        self._quiet[cluster.number] = cluster
        return cluster, self.add(cluster, member)

    def add(self, cluster: Cluster, member: Member) -> str | None:
        """Join; returns why it is no independent voice, None if it is one."""
        if len(cluster.members) >= self._weights.max_posts:
            return f"the event already holds {self._weights.max_posts} posts"
        why = cluster.add(member)
        self._of_key[member.key] = cluster
        if member.words:
            self._of_fingerprint.setdefault(member.fingerprint, cluster)
        self._index(cluster, member.names)
        line = self._raised if cluster.number in self._raised else self._quiet
        line.move_to_end(cluster.number)
        self._place_vector(cluster)
        return why

    def promote(self, cluster: Cluster) -> None:
        """It has been raised and lives by the longer window from now on."""
        if self._quiet.pop(cluster.number, None) is not None:
            self._raised[cluster.number] = cluster

    def close(self, cluster: Cluster) -> None:
        """Retracted: it takes no more posts, but its posts stay known until it expires."""
        cluster.closed = True
        self._leave_search(cluster)

    def remove(self, key: str) -> Cluster | None:
        """A post is gone; returns the cluster that held it. A cluster without posts that was never raised goes too."""
        cluster = self._of_key.pop(key, None)
        if cluster is None:
            return None
        member = cluster.remove(key)
        known = member is not None and self._of_fingerprint.get(member.fingerprint) is cluster
        if member is not None and known and member.fingerprint not in cluster.fingerprints:
            del self._of_fingerprint[member.fingerprint]
        if not cluster.members and cluster.raised is None:
            self.drop(cluster)
        elif not cluster.closed:
            self._place_vector(cluster)
        return cluster

    def by_author(self, author: str) -> list[str]:
        """The keys of this author's live posts, in order of the clusters' and the posts' arrival."""
        found = [(c.number, key) for c in self.live() for key, m in c.members.items() if m.author == author]
        return [key for _, key in sorted(found, key=lambda item: item[0])]

    def merge(self, into: Cluster, other: Cluster) -> None:
        """Every post of ``other`` moves over, in order of arrival."""
        members = list(other.members.values())
        denied_by = dict(other.denied_by)
        self.drop(other)
        for member in members:
            self.add(into, member)
        into.denied_by.update({key: member for key, member in denied_by.items() if key in into.members})
        into.cancelled |= other.cancelled
        into.parted_from |= other.parted_from
        into.absorbed += other.absorbed

    def split(self, cluster: Cluster, keys: Collection[str]) -> Cluster:
        """The posts ``keys`` leave for a raised cluster of their own, in order of arrival, or for the one for which
        others of their kind have left before; the rest is summed anew."""
        moving = [member for key, member in cluster.members.items() if key in keys]
        for member in moving:
            self.remove(member.key)
        part, _ = self.start(moving[0])
        for member in moving[1:]:
            self.add(part, member)
        self.promote(part)
        for sibling in (number for number in cluster.parted_from if number in self._raised):
            if self._relation_of(self._raised[sibling], part) is Relation.SAME:
                self.merge(self._raised[sibling], part)
                return self._raised[sibling]
        cluster.parted_from.add(part.number)
        part.parted_from.add(cluster.number)
        return part

    def apart(self, cluster: Cluster) -> frozenset[str]:
        """The posts of a cluster that tell of another place than its first ones do; empty while it is one happening.

        Two towns far from each other, each named by enough voices to be raised alone, while hardly any names both. What
        reaches over a region is never parted.
        """
        if cluster.category in kinship.WIDE or len(cluster.voices) < 2 * self._weights.alert_voices:
            return frozenset()
        main = places.main_town(cluster.towns)
        if main is None or places.is_feature(main):
            return frozenset()
        for rival in list(cluster.towns)[:_TOWNS_COMPARED]:
            if not self._rivals(cluster, main, rival):
                continue
            first = next(iter(cluster.members.values()))
            leaving = main if _says(first, rival) else rival
            staying = rival if leaving == main else main
            return frozenset(
                key for key, member in cluster.members.items() if _says(member, leaving) and not _says(member, staying)
            )
        return frozenset()

    def _rivals(self, cluster: Cluster, main: str, rival: str) -> bool:
        if places.is_feature(rival) or set(main.split()) & set(rival.split()):
            return False
        away = self._gazetteer.apart_km([main], [rival])
        if away is not None and away <= self._weights.town_km:
            return False
        sides = [(_says(voice, main), _says(voice, rival)) for voice in cluster.voices]
        smaller = min(sides.count((True, False)), sides.count((False, True)))
        return smaller >= self._weights.alert_voices and sides.count((True, True)) <= _BOTH * smaller

    def drop(self, cluster: Cluster) -> None:
        self._quiet.pop(cluster.number, None)
        self._raised.pop(cluster.number, None)
        self._leave_search(cluster)
        for key, member in cluster.members.items():
            if self._of_key.get(key) is cluster:
                del self._of_key[key]
            if self._of_fingerprint.get(member.fingerprint) is cluster:
                del self._of_fingerprint[member.fingerprint]

    def original_of(self, member: Member) -> Cluster | None:
        """The live cluster that holds the post which this one reposts or repeats word for word."""
        cluster = self._of_key.get(member.original) if member.original is not None else None
        if cluster is None and member.words:
            cluster = self._of_fingerprint.get(member.fingerprint)
        return None if cluster is None or cluster.closed else cluster

    def nearest(self, member: Member, now: datetime) -> Match | None:
        """The live cluster that it belongs to, or None."""
        best: Match | None = None
        for cluster in self._near(member):
            match = self.compare(member, cluster, now)
            if self._joins(match) and (best is None or _rank(match) < _rank(best)):
                best = match
        return best

    def denied(self, member: Member, now: datetime) -> Match | None:
        """The event that a denial denies: a raised one rather than another. What the model says of the denial's own
        category counts for nothing, since a good model calls it no report."""
        best: Match | None = None
        for cluster in {c.number: c for c in [*self._near(member), *self._raised.values()] if not c.closed}.values():
            match = self.compare(member, cluster, now, ageless=True)
            tied = match.relation is Relation.SAME or match.shared or match.cosine >= self._weights.alone_cosine
            if not tied or match.relation is Relation.CONFLICT or match.affinity < self._weights.denial_join:
                continue
            if best is None or (cluster.raised is None, *_rank(match)) < (best.cluster.raised is None, *_rank(best)):
                best = match
        return best

    def twin(self, cluster: Cluster, now: datetime) -> Cluster | None:
        """A raised event that this cluster tells of too: same place or names, or nearly the same words.

        For a cluster that is about to be raised likeness is enough where it names no town: a second first alert about
        one happening is the worst fault after a false one. One that was raised has to share the place or two names.
        """
        late = cluster.raised is not None
        best: tuple[float, int] | None = None
        found: Cluster | None = None
        for event in self._raised.values():
            if event is cluster or event.closed or event.number in cluster.parted_from:
                continue
            if not kinship.related(event.category, cluster.category):
                continue
            cosine = _cosine(event.centroid, cluster.centroid)
            shared = _shared_names(event, cluster.names, cluster.content, self._rare)
            relation = self._relation_of(event, cluster)
            if relation is Relation.CONFLICT:
                continue
            tied = relation is Relation.SAME or len(shared) >= 2
            if event.centroid is None or cluster.centroid is None:
                cosine = self._weights.unknown_cosine
            if late:
                cosine -= self._weights.late_merge_margin
            else:
                tied = tied or self._widely(event, cluster, relation, now, cosine)
            vague = not late and not cluster.towns and event.category == cluster.category
            if vague and cosine >= (
                self._weights.absorb_vague_cosine if shared else self._weights.absorb_unnamed_cosine
            ):
                tied = True
            if (tied and cosine >= self._weights.absorb_cosine) or cosine >= self._weights.absorb_alone_cosine:
                rank = (-cosine - 0.1 * len(shared), event.number)
                if best is None or rank < best:
                    best, found = rank, event
        return found

    def _relation_of(self, one: Cluster, other: Cluster) -> Relation:
        return self._relation(one, list(other.towns), frozenset(other.areas), other.content, other.category)

    def _widely(self, event: Cluster, cluster: Cluster, relation: Relation, now: datetime, cosine: float) -> bool:
        """One earthquake is felt in many towns: same category, same country, soon after and told alike."""
        return (
            relation is Relation.COUNTRY
            and event.category == cluster.category
            and event.category in kinship.WIDE
            and event.last_at is not None
            and now - event.last_at <= self._weights.half_life
            and cosine >= self._weights.wide_cosine
        )

    def compare(self, member: Member, cluster: Cluster, now: datetime, *, ageless: bool = False) -> Match:
        """Cosine plus what the two have in common, minus what stands against it and the cluster's age."""
        weights = self._weights
        cosine = _cosine(member.vector, cluster.centroid)
        relation = self._relation(
            cluster, list(member.mentions.towns), member.mentions.areas, member.content, member.category
        )
        shared = _shared_names(cluster, member.names, member.content, self._rare)
        if member.vector is None or cluster.centroid is None:
            cosine = self._weights.unknown_cosine
        affinity = cosine
        towns = {token for town in member.mentions.towns for token in town.split()} | {
            token for town in list(cluster.towns)[:_TOWNS_COMPARED] for token in town.split()
        }
        if relation is Relation.SAME:
            affinity += weights.place_bonus + (weights.small_place_bonus if set(shared) & towns else 0.0)
            others = sum(name not in towns for name in shared)
        else:
            affinity += weights.country_bonus * (relation is Relation.COUNTRY)
            affinity -= weights.place_penalty * (relation is Relation.CONFLICT)
            others = len(shared)
        affinity += min(weights.names_bonus_most, weights.name_bonus * others)
        if not ageless:
            affinity += self._category_term(member, cluster)
            if cluster.last_at is not None:
                affinity -= weights.ageing * min(1.0, max(0.0, (now - cluster.last_at) / weights.window))
            affinity += weights.raised_bonus * (cluster.raised is not None)
        return Match(cluster, cosine, round(affinity, 4), shared, relation)

    def _joins(self, match: Match) -> bool:
        weights = self._weights
        if match.affinity < weights.join:
            return False
        if match.relation is Relation.CONFLICT and match.cosine < 0.9:
            return False
        if match.cosine >= weights.alone_cosine:
            return True
        return (match.relation is Relation.SAME or bool(match.shared)) and match.cosine >= weights.least_cosine

    def _category_term(self, member: Member, cluster: Cluster) -> float:
        category = cluster.category
        if member.category == category:
            return self._weights.category_bonus
        if kinship.related(member.category, category) or member.categories.get(category, 0.0) >= 0.3:
            return 0.0
        return -self._weights.category_penalty

    def _relation(
        self,
        cluster: Cluster,
        towns: list[str],
        areas: frozenset[tuple[str, str]],
        content: "frozenset[str] | dict[str, int]",
        category: str,
    ) -> Relation:
        ours = [town for town in list(cluster.towns)[:_TOWNS_COMPARED] if not places.is_feature(town)]
        theirs = [town for town in towns[:_TOWNS_COMPARED] if not places.is_feature(town)]
        if _named(ours, theirs, content) or _named(theirs, ours, cluster.content):
            return Relation.SAME
        countries = {country for country, _ in cluster.areas} or self._gazetteer.countries_of(ours)
        others = {country for country, _ in areas} or self._gazetteer.countries_of(theirs)
        if countries and others and not countries & others:
            return Relation.CONFLICT
        together = bool(countries & others)
        if ours and theirs:
            wide = category in kinship.WIDE
            apart = self._gazetteer.apart_km(ours, theirs)
            if apart is not None:
                near = apart <= (self._weights.region_km if wide else self._weights.town_km)
                return Relation.COUNTRY if near else Relation.CONFLICT
            if not wide:
                return Relation.CONFLICT
        return Relation.COUNTRY if together else Relation.NONE

    def _near(self, member: Member) -> list[Cluster]:
        """The clusters worth a closer look: nearest by cosine, and those that share a rare name."""
        found: dict[int, Cluster] = {}
        count = self._weights.neighbours
        if member.vector is not None and self._high:
            cosines = self._matrix[: self._high] @ member.vector
            few = self._high <= count
            nearest = np.arange(self._high) if few else np.argpartition(-cosines, count)[:count]
            for slot in nearest.tolist():
                cluster = self._slots[slot]
                if cluster is not None:
                    found[cluster.number] = cluster
        seen = 0
        for name in sorted(member.names | member.content):
            sharing = self._of_name.get(name)
            if sharing is not None and self._rare(name):
                found.update(sharing)
                seen += len(sharing)
                if seen > 4 * count:
                    break
        return [found[number] for number in sorted(found)]

    def _rare(self, name: str) -> bool:
        """Few live clusters know this name."""
        limit = max(self._weights.rare_clusters, int(self._weights.rare_share * len(self)))
        return len(self._of_name.get(name, ())) <= limit

    def _index(self, cluster: Cluster, names: frozenset[str]) -> None:
        for name in names:
            self._of_name.setdefault(name, {})[cluster.number] = cluster

    def _place_vector(self, cluster: Cluster) -> None:
        if cluster.centroid is None:
            return
        if cluster.slot is None:
            if not self._free:
                size = len(self._slots)
                self._matrix = np.concatenate([self._matrix, np.zeros((size, _SIZE), dtype=np.float32)])
                self._slots.extend([None] * size)
                self._free = list(range(2 * size - 1, size - 1, -1))
            cluster.slot = self._free.pop()
            self._slots[cluster.slot] = cluster
            self._high = max(self._high, cluster.slot + 1)
        self._matrix[cluster.slot] = cluster.centroid

    def _leave_search(self, cluster: Cluster) -> None:
        if cluster.slot is not None:
            self._matrix[cluster.slot] = 0.0
            self._slots[cluster.slot] = None
            self._free.append(cluster.slot)
            cluster.slot = None
        known = set(cluster.names)
        for member in cluster.members.values():
            known |= member.names
        for name in known:
            sharing = self._of_name.get(name)
            if sharing is not None and sharing.pop(cluster.number, None) is not None and not sharing:
                del self._of_name[name]


def _says(member: Member, town: str) -> bool:
    """Does the post name the town, alone or within a longer name?"""
    tokens = set(town.split())
    return any(tokens <= set(other.split()) for other in member.mentions.towns)


def _rank(match: Match) -> tuple[float, int]:
    return (-match.affinity, match.cluster.number)


def _cosine(one: Vector | None, other: Vector | None) -> float:
    """Summed in float64 in a fixed order, and rounded, so that it does not depend on what else is in memory."""
    if one is None or other is None:
        return 0.0
    return round(float((one.astype(np.float64) * other).sum()), 4)


def _shared_names(cluster: Cluster, names: Any, content: Any, rare: Any) -> tuple[str, ...]:
    """Rare names of either side that the other side has among its words, and those that stand for a raised event."""
    known = cluster.names
    both = {name for name in names if name in cluster.content or name in known}
    both.update(word for word in content if word in known)
    return tuple(sorted(name for name in both if rare(name) or cluster.leads(name)))


def _named(towns: list[str], others: list[str], content: Any) -> bool:
    """Is one of ``towns`` among the other side's words or part of one of its towns?"""
    for town in towns:
        tokens = {token for token in town.split() if not words.is_common(token)}
        if not tokens:
            continue
        if all(token in content for token in tokens):
            return True
        squashed = "".join(town.split())
        if len(squashed) >= _SQUASHED and any(word.startswith(squashed) for word in content):
            return True
        if any(tokens <= set(other.split()) for other in others):
            return True
    return False
