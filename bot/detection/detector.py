"""The Detector: candidates and deletions in, Alert revisions out, for one set of permitted providers.

Nothing outside what is handed in shapes its answers: the same candidates and deletions in the same order give the same
alerts, ids included, however they are batched; feeding them again rebuilds the state after a restart.
"""

from collections import OrderedDict
from datetime import datetime
from typing import Any

from bot.detection import assessment, levels, members, places, revisions
from bot.detection.clustering import Clusters, Match
from bot.detection.clusters import Cluster
from bot.detection.members import Member
from bot.detection.rates import Rates
from bot.detection.weights import Weights
from bot.domain import alert as alerts
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert, Kind, Level
from bot.domain.post import Candidate, Deletion


class Detector:
    """Not thread-safe. Its stream time is the latest ``stream_at`` of what it was permitted to see."""

    def __init__(self, view: ProviderSet, gazetteer: places.Gazetteer, weights: Weights | None = None) -> None:
        self.view = view
        self._gazetteer = gazetteer
        self._weights = weights or Weights()
        self._clusters = Clusters(gazetteer, self._weights)
        self._rates = Rates(self._weights)
        self._pending: dict[int, Cluster] = {}
        self._verdicts: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._now: datetime | None = None

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
        if now - post.created_at > self._weights.oldest_post:
            self._note(post.key, f"it was written more than {self._weights.oldest_post} before it came")
            return due
        member = members.member(candidate, self._gazetteer, stream_at=now)
        self._rates.note(member.category, now)
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
        return due + self._consider(cluster, now)

    def delete(self, deletion: Deletion, stream_at: datetime) -> list[Alert]:
        """Posts are gone at their source: their events lose the evidence, are corrected without it, or retracted."""
        if not self.view.permits(deletion.provider):
            return []
        now = self._advance(stream_at)
        due = self._flush(now)
        keys = [deletion.key] if deletion.key is not None else []
        if deletion.author is not None:
            keys += self._clusters.by_author(f"{deletion.provider}|{deletion.author}")
        touched: dict[int, tuple[Cluster, set[str]]] = {}
        for key in keys:
            cluster = self._clusters.remove(key)
            if cluster is not None:
                touched.setdefault(cluster.number, (cluster, set()))[1].add(key)
                self._note(key, "it was deleted at its source")
        for number in sorted(touched):
            cluster, gone = touched[number]
            due += self._weaken(cluster, gone, now)
        return due

    def explain(self, post_key: str) -> dict[str, Any] | None:
        """The verdict on a post: which event it is evidence of, how similar, whether it is an independent voice and why
        not. None for a post that was never seen, or too long ago."""
        verdict = self._verdicts.get(post_key)
        if verdict is None:
            return None
        cluster = self._clusters.of(post_key)
        if cluster is None:
            return {"event": None, "level": None} | verdict
        raised = cluster.raised
        figures = assessment.assess(
            cluster, self._now or cluster.members[post_key].stream_at, self._gazetteer, self._weights
        )
        return verdict | {
            "event": raised.event if raised is not None else None,
            "level": raised.level.value if raised is not None else None,
            "closed": cluster.closed,
            "figures": figures.figures
            | {
                "chance": round(self._rates.chance(cluster, self._now), 6) if self._now is not None else None,
                "chance_bar": self._weights.chance,
            },
        }

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

    def live(self) -> int:
        """How many clusters it holds, raised or not."""
        return len(self._clusters)

    def _advance(self, stream_at: datetime) -> datetime:
        self._now = stream_at if self._now is None else max(self._now, stream_at)
        for cluster in self._clusters.expire(self._now):
            self._pending.pop(cluster.number, None)
        return self._now

    def _flush(self, now: datetime) -> list[Alert]:
        """Updates that were held back for the minute and are due by now."""
        due: list[Alert] = []
        for number in sorted(self._pending):
            cluster = self._pending[number]
            if cluster.raised is None or cluster.closed:
                del self._pending[number]
            elif now - cluster.raised.raised_at >= self._weights.update_every:
                del self._pending[number]
                due += self._consider(cluster, now)
        return due

    def _join(self, member: Member, now: datetime) -> Cluster | None:
        """Find or start its cluster; None if it may not start one."""
        match: Match | None = None
        cluster = self._superseded(member) or self._clusters.original_of(member)
        if cluster is None:
            match = self._clusters.nearest(member, now)
            cluster = match.cluster if match is not None else None
        else:
            match = self._clusters.compare(member, cluster, now)
        if cluster is not None:
            why = self._clusters.add(cluster, member)
        elif member.doubt or member.p < self._weights.threshold:
            self._note(member.key, "it denies a happening and no event that it could mean is live")
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
        cluster.rebuild()
        self._note(member.key, why, joined=True)
        if cluster.raised is None:
            return []
        if self._too_few(cluster):
            return self._retract(cluster, now, "the issuer cancelled its warning")
        return self._revise(cluster, now, correction="the issuer cancelled its warning", afresh=True)

    def _weaken(self, cluster: Cluster, gone: set[str], now: datetime) -> list[Alert]:
        last = cluster.raised
        if last is None or cluster.closed:
            return []
        if self._too_few(cluster):
            return self._retract(cluster, now, "its evidence was deleted at the source")
        assessed = assessment.assess(cluster, now, self._gazetteer, self._weights, afresh=True)
        if (assessed.level or Level.ALERT).rank < last.level.rank:
            return self._revise(cluster, now, correction="evidence was deleted at its source", afresh=True)
        if last.disputed and not cluster.disputed:
            return self._revise(cluster, now, correction="the denial was deleted at its source", afresh=True)
        if gone & set(last.quotes):
            return self._revise(cluster, now, update="a quoted post was deleted at its source", afresh=True)
        return []

    def _too_few(self, cluster: Cluster) -> bool:
        return len(cluster.voices) < self._weights.retract_below and not cluster.officials

    def _consider(self, cluster: Cluster, now: datetime) -> list[Alert]:
        """Raise a first alert, or the update that is due, or nothing."""
        if cluster.closed:
            return []
        if cluster.raised is not None:
            return self._part(cluster, now) or self._unite(cluster, now) or self._revise(cluster, now)
        if not self._reaches(cluster, now):
            return []
        twin = self._clusters.twin(cluster, now)
        if twin is None:
            return self._raise(cluster, now)
        self._clusters.merge(twin, cluster)
        return self._consider(twin, now)

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
        leaving = self._clusters.apart(cluster)
        if not leaving:
            return []
        part = self._clusters.split(cluster, leaving)
        stayed = self._revise(cluster, now, update="some of its posts tell of another place", afresh=True)
        if part.raised is not None:
            return stayed + self._revise(part, now)
        event = alerts.event_id(revisions.evidence(part)[0])
        known = next((each for each in cluster.absorbed if each.event == event), None)
        if known is not None:
            cluster.absorbed.remove(known)
        assessed = assessment.assess(part, now, self._gazetteer, self._weights)
        part.raised = revisions.make(
            part, assessed, event=event, revision=1 if known is None else known.revision + 1, kind=Kind.UPDATE,
            level=assessed.level or Level.ALERT, now=now, weights=self._weights,
            change=f"split from event {stayed[0].event}",
        )  # fmt: skip
        return [*stayed, part.raised]

    def _reaches(self, cluster: Cluster, now: datetime) -> bool:
        if not levels.enough(cluster, cluster.evidence(now), self._weights):
            return False
        return bool(cluster.officials or cluster.verified) or self._rates.chance(cluster, now) <= self._weights.chance

    def _raise(self, cluster: Cluster, now: datetime) -> list[Alert]:
        assessed = assessment.assess(cluster, now, self._gazetteer, self._weights)
        event = alerts.event_id(revisions.evidence(cluster)[0])
        alert = revisions.make(
            cluster, assessed, event=event, revision=1, kind=Kind.NEW, level=assessed.level or Level.ALERT, now=now,
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
                self._pending[cluster.number] = cluster
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

    def _note(self, key: str, why: str | None, *, match: Match | None = None, joined: bool = False) -> None:
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
