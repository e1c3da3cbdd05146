"""The Detector: candidates and deletions in, Alert revisions out, for one set of permitted providers.

Nothing outside what is handed in shapes its answers: the same candidates and deletions in the same order give the same
alerts, ids included, however they are batched. Feeding them again builds the same state; after a restart, when texts
have been purged, ``resume`` goes on from what was remembered.
"""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.detection import assessment, levels, matching, members, places, revisions, strength
from bot.detection.clustering import Clusters
from bot.detection.clusters import Cluster
from bot.detection.members import Member
from bot.detection.rates import Rates
from bot.detection.weights import Weights
from bot.domain import alert as alerts
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert, Kind
from bot.domain.memory import Memory
from bot.domain.post import Candidate, Deletion


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A cluster at one moment: its number, how many voices, its ``strength.features``, and the keys of its posts."""

    cluster: int
    voices: int
    features: dict[str, float]
    evidence: tuple[str, ...]


class Detector:
    """Not thread-safe. Its stream time is the latest ``stream_at`` of what it was permitted to see."""

    def __init__(self, view: ProviderSet, gazetteer: places.Gazetteer, weights: Weights | None = None) -> None:
        self.view = view
        self._gazetteer = gazetteer
        self._weights = weights or Weights()
        self._clusters = Clusters(gazetteer, self._weights)
        self._rates = Rates(self._weights)
        self._pending: dict[int, Cluster] = {}
        self._held: list[tuple[datetime, int]] = []  # a heap: since when each of them may not be updated
        self._verdicts: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._now: datetime | None = None
        self._heard_at: datetime | None = None

    def add(self, candidate: Candidate) -> list[Alert]:
        """Take one candidate in; returns the revisions that are due now, oldest event first. A candidate of a provider
        that the view does not permit changes nothing."""
        post = candidate.post
        if not self.view.permits(post.provider):
            return []
        now = self._advance(candidate.stream_at)
        due = self._flush(now)
        if self._clusters.of(post.key) is not None:
            return due
        member = members.member(candidate, self._gazetteer, stream_at=now)
        if not self._hear(member, candidate.stream_at):
            self._note(post.key, f"it was written more than {self._weights.oldest_post} before it came")
            return due
        if member.official is not None and member.official.cancelled:
            return due + self._cancel(member, now)
        if member.denial:
            return due + self._deny(member, now)
        cluster = self._join(member, now)
        if cluster is None:
            return due
        if member.official is not None and cluster.disputed:
            cluster.denied_by.clear()
            return due + self._revise(cluster, now, correction="confirmed officially after a denial")
        return due + self._consider(cluster, now, grew=self._grew(cluster, member))

    def delete(self, deletion: Deletion, stream_at: datetime) -> list[Alert]:
        """Posts are gone at their source: their events lose the evidence, are corrected without it, or retracted."""
        if not self.view.permits(deletion.provider):
            return []
        now = self._advance(stream_at)
        keys = [deletion.key] if deletion.key is not None else []
        author = None if deletion.author is None else f"{deletion.provider}|{deletion.author}"
        self._clusters.familiar.delete(key=deletion.key, author=author)
        if author is not None:
            keys += self._clusters.by_author(author)
        touched: dict[int, tuple[Cluster, list[Member]]] = {}
        for key in keys:
            cluster = self._clusters.of(key)
            if cluster is not None:
                touched.setdefault(cluster.number, (cluster, []))[1].append(cluster.members[key])
                self._clusters.remove(key)
        due: list[Alert] = []
        for number in sorted(touched):
            cluster, gone = touched[number]
            fate = "updated by its issuer" if _replaced(cluster, gone) else "deleted at its source"
            for member in gone:
                self._note(member.key, f"it was {fate}")
            due += self._weaken(cluster, gone, now, fate=fate)
        return due + self._flush(now)  # last: an update that was held back shall not tell of what is gone

    def explain(self, post_key: str) -> dict[str, Any] | None:
        """The verdict on a post: which event it is evidence of, how similar, whether it is an independent voice and why
        not. None for a post that was never seen, or too long ago. What is said of the posts that it stands with comes
        from those of ``sources`` and is about ``categories``; once they are forgotten it is said no more."""
        verdict = self._verdicts.get(post_key)
        if verdict is None:
            return None
        cluster = self._clusters.of(post_key)
        if cluster is None:
            return {"event": None, "level": None} | {name: verdict[name] for name in ("independent", "why", "joined")}
        raised = cluster.raised
        now = self._now or cluster.members[post_key].stream_at
        assessed = assessment.assess(cluster, now, self._gazetteer, self._weights)
        said = [] if raised is None else [raised]
        providers = {member.provider for member in cluster.members.values()}
        return verdict | {
            "event": raised.event if raised is not None else None,
            "level": raised.level.value if raised is not None else None,
            "closed": cluster.closed,
            "sources": sorted(providers.union(*(alert.sources for alert in said))),
            "categories": sorted({assessed.category, *(alert.category for alert in said)}),
            "figures": assessed.figures | {"strength": self._explained(cluster, now)},
        }

    def weigh(self, post_key: str) -> Weighed | None:
        """What its cluster amounts to right after a post was added that is a voice; None for any other post."""
        cluster = self._clusters.of(post_key)
        if cluster is None or self._now is None or not cluster.voices or cluster.voices[-1].key != post_key:
            return None
        return Weighed(
            cluster=cluster.number,
            voices=len(cluster.voices),
            features=self._features(cluster, self._now),
            evidence=tuple(cluster.members),
        )

    def adopt(self, alert: Alert) -> None:
        """After a rebuild: the store's last revision of an event. Texts that were purged since may have made the
        rebuilt event number its revisions lower; no number is ever used twice."""
        for cluster in self._clusters.raised():
            ours = cluster.raised
            if ours is not None and ours.event == alert.event and ours.revision < alert.revision:
                cluster.raised = alert
                if alert.kind is Kind.RETRACTION and not cluster.closed:
                    self._clusters.close(cluster)
            cluster.absorbed = [
                alert if each.event == alert.event and each.revision < alert.revision else each
                for each in cluster.absorbed
            ]

    def remembered(self) -> Memory | None:
        """What has changed since it was asked before, for the store; the first time everything. None before the first
        post that it may see."""
        return None if self._now is None else self._clusters.remembered(self._now, self._pending, self._rates.begun)

    def resume(
        self,
        memory: Memory,
        *,
        raised: Mapping[str, Alert],
        evidence: Iterable[Candidate],
        heard: Iterable[Candidate],
    ) -> None:
        """Go on where the detector stopped that remembered this, instead of being fed. ``raised``: each event's last
        revision. ``evidence``: every post in ``memory``, without the text of those that are gone. ``heard``: all
        candidates that came within the rates' window and a half hour at least, in order of receipt, also those whose
        text is gone. Verdicts are kept as they are."""
        self._clusters = Clusters(self._gazetteer, self._weights)
        self._rates = Rates(self._weights)
        self._heard_at = None
        for candidate in heard:
            if self.view.permits(candidate.post.provider):
                self._hear(
                    members.member(candidate, self._gazetteer, stream_at=candidate.stream_at), candidate.stream_at
                )
        self._rates.begun = memory.begun
        added_at = {post.key: post.stream_at for post in memory.posts}
        found = (members.member(each, self._gazetteer, stream_at=added_at[each.post.key]) for each in evidence)
        self._clusters.resume(memory, {member.key: member for member in found}, raised)
        self._pending, self._held = {}, []
        for cluster in self._clusters.raised():
            if cluster.number in memory.pending and cluster.raised is not None:
                self._hold(cluster, cluster.raised)
        self._now = memory.now

    def live(self) -> int:
        """How many clusters it holds, raised or not."""
        return len(self._clusters)

    def posts(self) -> int:
        """How many posts these hold."""
        return self._clusters.posts

    def _advance(self, stream_at: datetime) -> datetime:
        self._now = stream_at if self._now is None else max(self._now, stream_at)
        for cluster in self._clusters.expire(self._now):
            self._pending.pop(cluster.number, None)
        return self._now

    def _hear(self, member: Member, stream_at: datetime) -> bool:
        """Count it among what is spoken of anyway; False for one that is too old to be heard. By the candidates' own
        stream time, which deletions do not move, so that it can be counted again from the store."""
        self._heard_at = stream_at if self._heard_at is None else max(self._heard_at, stream_at)
        if self._heard_at - member.created_at > self._weights.oldest_post:
            return False
        self._rates.note(member.category, self._heard_at)
        self._clusters.familiar.note(member.key, member.author, member.names, self._heard_at)
        return True

    def _flush(self, now: datetime) -> list[Alert]:
        """Updates that were held back for the minute and are due by now."""
        over: set[int] = set()
        while self._held and now - self._held[0][0] >= self._weights.update_every:
            over.add(heapq.heappop(self._held)[1])
        due: list[Alert] = []
        for number in sorted(over & self._pending.keys()):
            cluster = self._pending.pop(number)
            if cluster.raised is None or cluster.closed:
                continue
            if now - cluster.raised.raised_at >= self._weights.update_every:
                due += self._consider(cluster, now, grew=False)
            else:
                self._hold(cluster, cluster.raised)
        return due

    def _hold(self, cluster: Cluster, last: Alert) -> None:
        """Its update waits for the minute after its last revision."""
        if cluster.number not in self._pending:
            self._pending[cluster.number] = cluster
            heapq.heappush(self._held, (last.raised_at, cluster.number))

    def _join(self, member: Member, now: datetime) -> Cluster | None:
        """Find or start its cluster; None if it may not start one."""
        match: matching.Match | None = None
        cluster = self._superseded(member) or self._clusters.original_of(member)
        if cluster is None:
            match = self._clusters.nearest(member, now)
            cluster = match.cluster if match is not None else None
        else:
            match = self._clusters.matching.compare(member, cluster, now)
        if cluster is not None:
            why = self._clusters.add(cluster, member)
        elif member.doubt:
            self._note(member.key, "it denies a happening and no event that it could mean is live")
            return None
        elif member.p < self._weights.start:
            self._note(member.key, "it is too unsure to be the first of an event, and none that it could mean is live")
            return None
        else:
            cluster, why = self._clusters.start(member)
        self._note(member.key, why, match=match, joined=match is not None)
        return cluster

    def _superseded(self, member: Member) -> Cluster | None:
        if member.official is None:
            return None
        for external_id in member.official.supersedes:
            cluster = self._clusters.of(f"{member.provider}|{external_id}")
            if cluster is not None and not cluster.closed:
                return cluster
        return None

    def _deny(self, member: Member, now: datetime) -> list[Alert]:
        """An authority says that it did not happen. It never starts an event; and where others who can be held to
        account, or an official source, still report the happening, it denies a part of it and disputes nothing."""
        match = self._clusters.denied(member, now)
        if match is None:
            self._note(member.key, "it denies a happening and no event that it could mean is live")
            return []
        cluster = match.cluster
        why = self._clusters.add(cluster, member)
        self._note(member.key, why, match=match, joined=True)
        if member.key not in cluster.members or self._vouched(cluster, member):
            return []
        first = not cluster.disputed
        cluster.denied_by[member.key] = member
        if cluster.raised is None or not first:
            return []
        return self._revise(cluster, now, correction="disputed: denied by a verified or official account")

    def _vouched(self, cluster: Cluster, denial: Member) -> bool:
        others = cluster.verified - {denial.author or denial.key}
        return bool(cluster.officials) or len(others) >= self._weights.observed_verified

    def _cancel(self, member: Member, now: datetime) -> list[Alert]:
        """The issuer takes its own warning back."""
        cluster = self._superseded(member)
        if cluster is None or member.official is None:
            self._note(member.key, "it cancels a warning that no live event rests on")
            return []
        cluster.cancelled |= {f"{member.provider}|{external_id}" for external_id in member.official.supersedes}
        why = self._clusters.add(cluster, member)
        self._clusters.sum_anew(cluster)
        self._note(member.key, why, joined=True)
        if cluster.raised is None:
            return []
        if self._too_few(cluster):
            return self._retract(cluster, now, "the issuer cancelled its warning")
        return self._revise(cluster, now, correction="the issuer cancelled its warning", afresh=True)

    def _weaken(self, cluster: Cluster, gone: Sequence[Member], now: datetime, *, fate: str) -> list[Alert]:
        """Its evidence is ``gone``, by what ``fate``: what rested on it is taken back at once."""
        last = cluster.raised
        if last is None or cluster.closed:
            return []
        if self._too_few(cluster):
            return self._retract(cluster, now, "its evidence was deleted at the source")
        assessed = assessment.assess(cluster, now, self._gazetteer, self._weights, afresh=True)
        if assessed.level.rank < last.level.rank:
            return self._revise(cluster, now, correction=f"evidence was {fate}", afresh=True)
        if last.disputed and not cluster.disputed:
            return self._revise(cluster, now, correction=f"the denial was {fate}", afresh=True)
        what = revisions.unfounded(last, cluster.absorbed, assessed, gone)
        if what:
            return self._revise(cluster, now, correction=f"{what} was {fate}", afresh=True)
        if {member.key for member in gone} & set(last.quotes):
            return self._revise(cluster, now, update=f"a quoted post was {fate}", afresh=True)
        return []

    def _too_few(self, cluster: Cluster) -> bool:
        return len(cluster.voices) < self._weights.retract_below and not cluster.officials

    def _grew(self, cluster: Cluster, member: Member) -> bool:
        """Is the post a voice with which to look again whether this is one event? With one more of hundreds hardly
        anything changes: of a large event every thirtieth part is looked at."""
        count = len(cluster.voices)
        return count > 0 and cluster.voices[-1] is member and count % (1 + count // self._weights.late_voices) == 0

    def _consider(self, cluster: Cluster, now: datetime, *, grew: bool) -> list[Alert]:
        """Raise a first alert, or the update that is due, or nothing. ``grew``: by a voice, so that it may have turned
        out to be two events, or one with another."""
        if cluster.closed:
            return []
        if cluster.raised is not None:
            late = (self._part(cluster, now) or self._unite(cluster, now)) if grew else []
            return late or self._revise(cluster, now)
        if not self._reaches(cluster, now):
            return []
        twin = self._clusters.twin(cluster, now)
        if twin is None:
            return self._raise(cluster, now)
        self._clusters.merge(twin, cluster)
        return self._consider(twin, now, grew=True)

    def _unite(self, cluster: Cluster, now: datetime) -> list[Alert]:
        """Two raised events turn out to be one: the older goes on, the other ends with an update that points to it."""
        twin = self._clusters.twin(cluster, now)
        if twin is None:
            return []
        into, other = (twin, cluster) if twin.number < cluster.number else (cluster, twin)
        last = other.raised
        if last is None:
            return []
        self._pending.pop(other.number, None)
        self._clusters.merge(into, other)
        going_on = self._revise(into, now, update=f"event {last.event} is the same happening")
        ended = revisions.united(last, going_on[0], now=now)
        into.absorbed.append(ended)
        return [ended, *going_on]

    def _part(self, cluster: Cluster, now: datetime) -> list[Alert]:
        """A raised event turns out to be two: what tells of another place becomes an event of its own, whose first
        revision is an update, since its posts were reported before."""
        leaving = self._clusters.matching.apart(cluster)
        if not leaving:
            return []
        part = self._clusters.split(cluster, leaving)
        stayed = self._revise(cluster, now, update="some of its posts tell of another place", afresh=True)
        if part.raised is not None:
            return stayed + self._revise(part, now)
        event, revision = self._name(part, cluster)
        assessed = assessment.assess(part, now, self._gazetteer, self._weights)
        part.raised = revisions.make(
            part, assessed, event=event, revision=revision, kind=Kind.UPDATE,
            level=assessed.level, now=now, weights=self._weights,
            change=f"split from event {stayed[0].event}",
        )  # fmt: skip
        return [*stayed, part.raised]

    def _name(self, part: Cluster, cluster: Cluster) -> tuple[str, int]:
        """The id of an event that was split off, and its next revision: of its first post that gave no other event its
        id; an event that was united with this one before takes its numbers up again."""
        ours = {ended.event: ended for ended in cluster.absorbed}
        taken = {each.raised.event for each in self._clusters.raised() if each.raised is not None}
        taken |= {ended.event for each in self._clusters.raised() for ended in each.absorbed} - ours.keys()
        ids = [alerts.event_id(key) for key in revisions.evidence(part)]
        event = next((found for found in ids if found not in taken), alerts.event_id("|".join(ids)))
        if event not in ours:
            return event, 1
        cluster.absorbed.remove(ours[event])
        return event, ours[event].revision + 1

    def _reaches(self, cluster: Cluster, now: datetime) -> bool:
        vouched = levels.vouched_for(cluster, self._weights)
        if vouched is not None:
            return vouched
        return len(cluster.voices) >= self._weights.alert_voices and self._strength(cluster, now) >= 0.0

    def _explained(self, cluster: Cluster, now: datetime) -> dict[str, float]:
        """What each feature adds, and the sum: an event is raised from 0 on."""
        if not cluster.voices:
            return {}
        parts = strength.parts(self._features(cluster, now), self._weights.strength)
        return {name: round(part, 3) for name, part in (parts | {"sum": sum(parts.values())}).items()}

    def _strength(self, cluster: Cluster, now: datetime) -> float:
        return sum(strength.parts(self._features(cluster, now), self._weights.strength).values())

    def _features(self, cluster: Cluster, now: datetime) -> dict[str, float]:
        return strength.features(cluster, chance=self._rates.chance(cluster, now), named=self._clusters.named(cluster))

    def _raise(self, cluster: Cluster, now: datetime) -> list[Alert]:
        assessed = assessment.assess(cluster, now, self._gazetteer, self._weights)
        event = alerts.event_id(revisions.evidence(cluster)[0])
        alert = revisions.make(
            cluster, assessed, event=event, revision=1, kind=Kind.NEW, level=assessed.level, now=now,
            weights=self._weights, change="",
        )  # fmt: skip
        cluster.raised = alert
        self._clusters.promote(cluster)
        return [alert]

    def _revise(
        self, cluster: Cluster, now: datetime, *, correction: str = "", update: str = "", afresh: bool = False
    ) -> list[Alert]:
        """The next revision if one is due. ``correction`` and ``update`` force one, at once, and say why."""
        last = cluster.raised
        if last is None or cluster.closed:
            return []
        assessed = assessment.assess(cluster, now, self._gazetteer, self._weights, afresh=afresh)
        level = revisions.level(last, assessed, disputed=cluster.disputed, afresh=afresh)
        changes = revisions.changes(last, assessed, level)
        forced = correction or update
        if not forced:
            if not changes:
                self._pending.pop(cluster.number, None)
                return []
            if level.rank <= last.level.rank and now - last.raised_at < self._weights.update_every:
                self._hold(cluster, last)
                return []
        self._pending.pop(cluster.number, None)
        alert = revisions.make(
            cluster, assessed, event=last.event, revision=last.revision + 1,
            kind=Kind.CORRECTION if correction else Kind.UPDATE, level=level, now=now, weights=self._weights,
            change="; ".join([*([forced] if forced else []), *changes]),
        )  # fmt: skip
        cluster.raised = alert
        return [alert, *(self._echo(cluster, alert) if correction else [])]

    def _echo(self, cluster: Cluster, alert: Alert) -> list[Alert]:
        """A correction or retraction once more for each event that was united with this one: whoever was told of that
        one must hear of it too."""
        cluster.absorbed = [revisions.echoed(ended, alert) for ended in cluster.absorbed]
        return list(cluster.absorbed)

    def _retract(self, cluster: Cluster, now: datetime, why: str) -> list[Alert]:
        """The last revision. It says what the event was called, with the evidence that is left."""
        last = cluster.raised
        if last is None:
            return []
        assessed = assessment.assess(cluster, now, self._gazetteer, self._weights)
        alert = revisions.retraction(cluster, assessed, last, now=now, weights=self._weights, why=why)
        cluster.raised = alert
        self._pending.pop(cluster.number, None)
        self._clusters.close(cluster)
        return [alert, *self._echo(cluster, alert)]

    def _note(self, key: str, why: str | None, *, match: matching.Match | None = None, joined: bool = False) -> None:
        verdict: dict[str, Any] = {"independent": why is None, "why": why or "an independent voice", "joined": joined}
        if match is not None:
            verdict |= {
                "similarity": match.cosine,
                "affinity": match.affinity,
                "shared": list(match.shared),
                "place": match.relation.value,
            }
        self._verdicts[key] = verdict
        self._verdicts.move_to_end(key)
        while len(self._verdicts) > self._weights.verdicts:
            self._verdicts.popitem(last=False)


def _replaced(cluster: Cluster, gone: Sequence[Member]) -> bool:
    """Do official posts that are still there replace all of them?"""
    replaced = {
        f"{member.provider}|{external_id}"
        for member in cluster.members.values()
        if member.official is not None and not member.official.cancelled
        for external_id in member.official.supersedes
    }
    return replaced.issuperset(member.key for member in gone)
