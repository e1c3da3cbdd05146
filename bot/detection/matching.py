"""How well a post fits a cluster, and two clusters each other: by likeness, shared names, places and category. Pure."""

from collections import Counter
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from itertools import islice

from bot.detection import kinship, places, vectors, words
from bot.detection.clusters import Cluster
from bot.detection.members import TOWNS_COMPARED, Member, Vector
from bot.detection.weights import Weights

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
    """``affinity``: the cosine with what speaks for and against; ``shared``: names that both give."""

    cluster: Cluster
    cosine: float
    affinity: float
    shared: tuple[str, ...]
    relation: Relation


class Matching:
    """``rare`` says of a name whether few gave it before."""

    def __init__(self, gazetteer: places.Gazetteer, weights: Weights, rare: Callable[[str], bool]) -> None:
        self._gazetteer = gazetteer
        self._weights = weights
        self._rare = rare

    def compare(self, member: Member, cluster: Cluster, now: datetime, *, ageless: bool = False) -> Match:
        """Cosine plus what the two have in common, minus what stands against it and the cluster's age."""
        weights = self._weights
        (cosine,) = self.cosines(member, [cluster])
        shared = _shared_names(cluster, member, self._rare)
        relation = self.relation(cluster, member)
        affinity = cosine
        if relation is Relation.SAME:
            towns = {token for town in member.towns for token in town.split()} | {
                token for town in islice(cluster.towns, TOWNS_COMPARED) for token in town.split()
            }
            affinity += weights.place_bonus + (weights.small_place_bonus if towns.intersection(shared) else 0.0)
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

    def cosines(self, member: Member, clusters: Sequence[Cluster]) -> list[float]:
        """With each cluster's centroid; ``unknown_cosine`` where either side has none."""
        unknown = self._weights.unknown_cosine
        if member.vector is None:
            return [unknown] * len(clusters)
        known = iter(vectors.cosines(member.vector, [c.centroid for c in clusters if c.centroid is not None]))
        return [unknown if cluster.centroid is None else next(known) for cluster in clusters]

    def tied(self, member: Member, cluster: Cluster, cosine: float) -> bool:
        """What ``joins`` asks for at the least, and most of what is looked at does not have."""
        return (
            cosine >= self._weights.alone_cosine
            or bool(_shared_names(cluster, member, self._rare))
            or _same_place(cluster, member)
        )

    def joins(self, match: Match) -> bool:
        """Is it enough for the post to join the cluster?"""
        weights = self._weights
        if match.affinity < weights.join:
            return False
        if match.relation is Relation.CONFLICT and match.cosine < 0.9:
            return False
        if match.cosine >= weights.alone_cosine:
            return True
        return (match.relation is Relation.SAME or bool(match.shared)) and match.cosine >= weights.least_cosine

    def relation(self, one: Cluster, other: Cluster | Member) -> Relation:
        """How the places agree; towns that nobody knows are different ones unless they share a name."""
        if _same_place(one, other):
            return Relation.SAME
        ours, theirs = one.compared_towns, other.compared_towns
        countries = {country for country, _ in one.areas} or self._gazetteer.countries_of(ours)
        others = {country for country, _ in other.areas} or self._gazetteer.countries_of(theirs)
        if countries and others and not countries & others:
            return Relation.CONFLICT
        together = bool(countries & others)
        if ours and theirs:
            wide = other.category in kinship.WIDE
            apart = self._gazetteer.apart_km(ours, theirs)
            if apart is not None:
                near = apart <= (self._weights.region_km if wide else self._weights.town_km)
                return Relation.COUNTRY if near else Relation.CONFLICT
            if not wide:
                return Relation.CONFLICT
        return Relation.COUNTRY if together else Relation.NONE

    def least_twin(self, cluster: Cluster) -> float:
        """The least cosine of a twin; one that was raised has to be nearer."""
        margin = self._weights.late_merge_margin if cluster.raised is not None else 0.0
        return min(self._weights.absorb_cosine, self._weights.absorb_alone_cosine) + margin

    def twins(self, event: Cluster, cluster: Cluster, now: datetime) -> tuple[float, int] | None:
        """Does a raised event tell of what the cluster tells of: the same place or names, or nearly the same words? Its
        rank among others, the lowest first; None where it does not.

        For a cluster that is about to be raised likeness is enough where it names no town: a second first alert about
        one happening is the worst fault after a false one. One that was raised has to share the place or two names.
        """
        if event is cluster or event.closed or not kinship.related(event.category, cluster.category):
            return None
        if event.number in cluster.parted_from or cluster.number in event.parted_from:
            return None
        weights, late = self._weights, cluster.raised is not None
        cosine = _cosine(event.centroid, cluster.centroid)
        if event.centroid is None or cluster.centroid is None:
            cosine = weights.unknown_cosine
        if cosine < self.least_twin(cluster):
            return None
        cosine -= weights.late_merge_margin if late else 0.0
        shared = _shared_names(event, cluster, self._rare)
        alone = cosine >= weights.absorb_alone_cosine
        if late and not alone and len(shared) < 2 and not _same_place(event, cluster):
            return None
        relation = self.relation(event, cluster)
        if relation is Relation.CONFLICT:
            return None
        tied = relation is Relation.SAME or len(shared) >= 2
        if not late:
            tied = tied or self._widely(event, cluster, relation, now, cosine)
            vague = not cluster.towns and event.category == cluster.category
            tied = tied or (
                vague and cosine >= (weights.absorb_vague_cosine if shared else weights.absorb_unnamed_cosine)
            )
        if not alone and not (tied and cosine >= weights.absorb_cosine):
            return None
        return (-cosine - 0.1 * len(shared), event.number)

    def apart(self, cluster: Cluster) -> frozenset[str]:
        """The posts of a cluster that tell of another place than its first ones do; empty while it is one happening.

        Two towns far from each other, each named by enough voices to be raised alone, while hardly any names both. What
        reaches over a region is never parted.
        """
        if cluster.category in kinship.WIDE or len(cluster.voices) < 2 * self._weights.apart_voices:
            return frozenset()
        main = places.main_town(cluster.towns)
        if main is None or places.is_feature(main):
            return frozenset()
        for rival in islice(cluster.towns, TOWNS_COMPARED):
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
        return smaller >= self._weights.apart_voices and sides.count((True, True)) <= _BOTH * smaller

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

    def _category_term(self, member: Member, cluster: Cluster) -> float:
        category = cluster.category
        if member.category == category:
            return self._weights.category_bonus
        if kinship.related(member.category, category) or member.categories.get(category, 0.0) >= 0.3:
            return 0.0
        return -self._weights.category_penalty


def _says(member: Member, town: str) -> bool:
    """Does the post name the town, alone or within a longer name?"""
    tokens = places.tokens(town)
    return any(tokens <= places.tokens(other) for other in member.towns)


def rank(match: Match) -> tuple[float, int]:
    """The best match is the lowest."""
    return (-match.affinity, match.cluster.number)


def _cosine(one: Vector | None, other: Vector | None) -> float:
    return 0.0 if one is None or other is None else vectors.cosines(one, [other])[0]


def _shared_names(cluster: Cluster, other: Cluster | Member, rare: Callable[[str], bool]) -> tuple[str, ...]:
    """Rare names of either side that the other side has among its words, and those that stand for a raised event."""
    known, said = cluster.names.keys(), cluster.content.keys()
    names, content = _set(other.names), _set(other.content)
    both = (names & said) | (names & known) | (content & known)
    return tuple(sorted(name for name in both if rare(name) or cluster.leads(name)))


def _set(words: Set[str] | Counter[str]) -> Set[str]:
    return words.keys() if isinstance(words, Counter) else words


def _same_place(one: Cluster, other: Cluster | Member) -> bool:
    ours, theirs = one.compared_towns, other.compared_towns
    return _named(ours, theirs, other) or _named(theirs, ours, one)


def _named(towns: list[str], others: list[str], side: Cluster | Member) -> bool:
    """Is one of ``towns`` among the other side's words or part of one of its towns?"""
    for town in towns:
        tokens, squashed = _telling(town)
        if not tokens:
            continue
        if all(token in side.content for token in tokens):
            return True
        if len(squashed) >= _SQUASHED and side.says_begin(squashed):
            return True
        if any(tokens <= places.tokens(other) for other in others):
            return True
    return False


@lru_cache(maxsize=16_384)
def _telling(town: str) -> tuple[frozenset[str], str]:
    """The tokens of its name that are no everyday words, and the name as a hash tag has it."""
    return frozenset(token for token in town.split() if not words.is_common(token)), "".join(town.split())
