"""Streaming clustering: which live Cluster a post belongs to, in bounded memory and independent of arrival batches."""

from collections import OrderedDict
from collections.abc import Collection, Mapping
from datetime import datetime

from bot.detection import matching, places
from bot.detection.clusters import Cluster
from bot.detection.members import Member
from bot.detection.rates import Familiar
from bot.detection.vectors import Vectors
from bot.detection.weights import Weights
from bot.domain.alert import Alert
from bot.domain.memory import KeptPost, Memory


class Clusters:
    """All live clusters of one Detector. Un-raised ones end ``window`` after their last post, raised ones
    ``raised_window``; at most ``max_clusters`` with ``max_live_posts`` posts live at a time, and the longest silent
    un-raised one goes first."""

    def __init__(self, gazetteer: places.Gazetteer, weights: Weights) -> None:
        self._weights = weights
        self._quiet: OrderedDict[int, Cluster] = OrderedDict()
        self._raised: OrderedDict[int, Cluster] = OrderedDict()
        self._of_key: dict[str, Cluster] = {}
        self._of_fingerprint: dict[str, tuple[Cluster, ...]] = {}
        self._of_name: dict[str, dict[int, Cluster]] = {}
        self._of_author: dict[str, tuple[str, ...]] = {}
        self._vectors = Vectors()
        self._raised_vectors = Vectors()
        self._next = 1
        self._turn = 0
        self._turn_of: dict[str, int] = {}
        self._asked = False  # is it noted down what changes?
        self._touched: set[int] = set()  # clusters, and posts, that changed since ``remembered`` was last asked
        self._moved: set[str] = set()
        self.familiar = Familiar(weights)
        self.matching = matching.Matching(gazetteer, weights, self.familiar.rare)

    def __len__(self) -> int:
        return len(self._quiet) + len(self._raised)

    @property
    def posts(self) -> int:
        """How many posts are live."""
        return len(self._of_key)

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
        while len(self) >= self._weights.max_clusters and (old := self._longest_silent()) is not None:
            self.drop(old)
        cluster = Cluster(self._next, self._weights)
        self._next += 1
        self._quiet[cluster.number] = cluster
        return cluster, self.add(cluster, member)

    def add(self, cluster: Cluster, member: Member) -> str | None:
        """Join; returns why it is no independent voice, None if it is one."""
        if len(cluster.members) >= self._weights.max_posts:
            return f"the event already holds {self._weights.max_posts} posts"
        while self.posts >= self._weights.max_live_posts and (old := self._longest_silent(but=cluster)) is not None:
            self.drop(old)
        why = cluster.add(member)
        self._turn += 1
        self._turn_of[member.key] = cluster.turn = self._turn
        self._note(cluster, [member])
        self._know(cluster, member)
        line = self._raised if cluster.number in self._raised else self._quiet
        line.move_to_end(cluster.number)
        if not cluster.closed:
            self._place(cluster)
        return why

    def promote(self, cluster: Cluster) -> None:
        """It has been raised and lives by the longer window from now on."""
        if self._quiet.pop(cluster.number, None) is not None:
            self._raised[cluster.number] = cluster
            self._note(cluster)
            self._raised_vectors.place(cluster)

    def close(self, cluster: Cluster) -> None:
        """Retracted: it takes no more posts, but its posts stay known until it expires."""
        cluster.closed = True
        self._note(cluster)
        self._leave_search(cluster)

    def remove(self, key: str) -> Cluster | None:
        """A post is gone; returns the cluster that held it. A cluster without posts that was never raised goes too."""
        cluster = self._of_key.get(key)
        if cluster is None:
            return None
        self._forget(cluster.remove([key]), cluster)
        if not cluster.members and cluster.raised is None:
            self.drop(cluster)
        elif not cluster.closed:
            self._place(cluster)
        return cluster

    def sum_anew(self, cluster: Cluster) -> None:
        """What counts as a voice has changed."""
        cluster.rebuild()
        if not cluster.closed:
            self._place(cluster)

    def remembered(self, now: datetime, pending: Collection[int], begun: datetime | None) -> Memory:
        """What has changed since it was asked before, or resumed; else everything. Only from then on it is noted down
        what changes: where nobody asks, that would grow for ever."""
        whole = not self._asked
        if whole:
            self._asked = True
            self._touched, self._moved = {each.number for each in self.live()}, set(self._of_key)
        posts = {key: self._of_key.get(key) for key in sorted(self._moved)}
        clusters = {number: self._raised.get(number) or self._quiet.get(number) for number in sorted(self._touched)}
        self._moved, self._touched = set(), set()
        return Memory(
            whole=whole,
            now=now,
            begun=begun,
            number=self._next - 1,
            turn=self._turn,
            pending=tuple(sorted(pending)),
            clusters=tuple(cluster.kept() for cluster in clusters.values() if cluster is not None),
            posts=tuple(
                KeptPost(
                    key=key, cluster=cluster.number, turn=self._turn_of[key], stream_at=cluster.members[key].stream_at
                )
                for key, cluster in posts.items()
                if cluster is not None
            ),
            gone_clusters=tuple(number for number, cluster in clusters.items() if cluster is None),
            gone_posts=tuple(key for key, cluster in posts.items() if cluster is None),
        )

    def resume(self, memory: Memory, members: Mapping[str, Member], raised: Mapping[str, Alert]) -> None:
        """Hold what another one held; call it on a fresh one. ``members``: by post key. ``raised``: each event's last
        revision. Nothing is decided again: every post is where it was, in the same order."""
        self._next, self._turn = memory.number + 1, memory.turn
        live: dict[int, Cluster] = {}
        for kept in sorted(memory.clusters, key=lambda each: each.turn):
            live[kept.number] = cluster = Cluster.resumed(kept, self._weights, raised)
            line = self._quiet if cluster.raised is None else self._raised
            line[cluster.number] = cluster
        for post in sorted(memory.posts, key=lambda each: each.turn):
            cluster, member = live[post.cluster], members[post.key]
            cluster.add(member)
            self._turn_of[post.key] = post.turn
            self._know(cluster, member)
        for kept in memory.clusters:
            cluster = live[kept.number]
            cluster.last_at = kept.last_at
            cluster.denied_by = {key: cluster.members[key] for key in kept.denied_by}
            if cluster.closed:
                self._leave_search(cluster)
            else:
                self._place(cluster)
        self._asked = True

    def _note(self, cluster: Cluster, posts: Collection[Member] = ()) -> None:
        """It has changed, and where these posts are."""
        if self._asked:
            self._touched.add(cluster.number)
            self._moved.update(post.key for post in posts)

    def by_author(self, author: str) -> list[str]:
        """The keys of this author's live posts, in order of the clusters' and the posts' arrival."""
        return sorted(self._of_author.get(author, ()), key=lambda key: self._of_key[key].number)

    def merge(self, into: Cluster, other: Cluster) -> None:
        """Every post of ``other`` moves over, in order of arrival."""
        members = list(other.members.values())
        denied_by = dict(other.denied_by)
        self.drop(other)
        for member in members:
            self.add(into, member)
        into.denied_by.update({key: member for key, member in denied_by.items() if key in into.members})
        if not other.cancelled <= into.cancelled:
            into.cancelled |= other.cancelled
            self.sum_anew(into)
        into.parted_from |= other.parted_from
        into.absorbed += other.absorbed

    def split(self, cluster: Cluster, keys: Collection[str]) -> Cluster:
        """The posts ``keys`` leave for a raised cluster of their own, in order of arrival, or for the one for which
        others of their kind have left before; the rest is summed anew."""
        moving = [member for key, member in cluster.members.items() if key in keys]
        denied_by = {key: member for key, member in cluster.denied_by.items() if key in keys}
        cancelled = cluster.cancelled & {member.key for member in moving}
        self._forget(cluster.remove([member.key for member in moving]), cluster)
        self._place(cluster)
        part, _ = self.start(moving[0])
        for member in moving[1:]:
            self.add(part, member)
        part.denied_by.update(denied_by)
        if cancelled:
            part.cancelled |= cancelled
            self.sum_anew(part)
        self.promote(part)
        for number in sorted(cluster.parted_from):
            sibling = self._raised.get(number)
            if (
                sibling is not None
                and not sibling.closed
                and self.matching.relation(sibling, part) is matching.Relation.SAME
            ):
                self.merge(sibling, part)
                return sibling
        cluster.parted_from.add(part.number)
        part.parted_from.add(cluster.number)
        return part

    def drop(self, cluster: Cluster) -> None:
        self._quiet.pop(cluster.number, None)
        self._raised.pop(cluster.number, None)
        self._leave_search(cluster)
        self._forget(cluster.members.values(), cluster)

    def _forget(self, gone: Collection[Member], cluster: Cluster) -> None:
        """These posts of the cluster are not live any more. Words and names that it still has keep leading to it."""
        live = cluster.number in self._quiet or cluster.number in self._raised
        self._note(cluster, gone)
        if live:
            self._unindex(cluster, frozenset().union(*(member.names for member in gone)))
        for member in gone:
            del self._of_key[member.key]
            del self._turn_of[member.key]
            if not live or member.fingerprint not in cluster.fingerprints:
                self._forget_words(member.fingerprint, cluster)
            if member.author is not None:
                others = tuple(key for key in self._of_author[member.author] if key != member.key)
                if others:
                    self._of_author[member.author] = others
                else:
                    del self._of_author[member.author]

    def _forget_words(self, fingerprint: str, cluster: Cluster) -> None:
        """They do not lead to the cluster any more."""
        others = tuple(each for each in self._of_fingerprint.get(fingerprint, ()) if each is not cluster)
        if others:
            self._of_fingerprint[fingerprint] = others
        else:
            self._of_fingerprint.pop(fingerprint, None)

    def _longest_silent(self, *, but: Cluster | None = None) -> Cluster | None:
        """What makes room: un-raised clusters before raised ones."""
        return next((c for line in (self._quiet, self._raised) for c in line.values() if c is not but), None)

    def _place(self, cluster: Cluster) -> None:
        """Where its centroid is now, it can be found."""
        self._vectors.place(cluster)
        if cluster.number in self._raised:
            self._raised_vectors.place(cluster)

    def original_of(self, member: Member) -> Cluster | None:
        """The live cluster that holds the post which this one reposts or repeats word for word, of several the oldest
        that takes posts."""
        cluster = self._of_key.get(member.original) if member.original is not None else None
        if cluster is not None:
            return None if cluster.closed else cluster
        holders = self._of_fingerprint.get(member.fingerprint, ()) if member.words else ()
        return min((each for each in holders if not each.closed), key=lambda each: each.number, default=None)

    def nearest(self, member: Member, now: datetime) -> matching.Match | None:
        """The live cluster that it belongs to, or None."""
        best: matching.Match | None = None
        near = self._near(member)
        for cluster, cosine in zip(near, self.matching.cosines(member, near), strict=True):
            if not self.matching.tied(member, cluster, cosine):
                continue
            match = self.matching.compare(member, cluster, now)
            if self.matching.joins(match) and (best is None or matching.rank(match) < matching.rank(best)):
                best = match
        return best

    def named(self, cluster: Cluster) -> int:
        """How many of its voices give the rare name that most of them give."""
        return max((count for name, count in cluster.names.items() if self.familiar.rare(name)), default=0)

    def denied(self, member: Member, now: datetime) -> matching.Match | None:
        """The event that a denial denies: a raised one rather than another. What the model says of the denial's own
        category counts for nothing, since a good model calls it no report."""
        best: matching.Match | None = None
        for cluster in {c.number: c for c in [*self._near(member), *self._raised.values()] if not c.closed}.values():
            match = self.matching.compare(member, cluster, now, ageless=True)
            tied = (
                match.relation is matching.Relation.SAME or match.shared or match.cosine >= self._weights.alone_cosine
            )
            if not tied or match.relation is matching.Relation.CONFLICT or match.affinity < self._weights.denial_join:
                continue
            if best is None or (cluster.raised is None, *matching.rank(match)) < (
                best.cluster.raised is None,
                *matching.rank(best),
            ):
                best = match
        return best

    def twin(self, cluster: Cluster, now: datetime) -> Cluster | None:
        """The raised event that this cluster tells of too."""
        about = self._raised_about(cluster, self.matching.least_twin(cluster))
        found = [(rank, event) for event in about if (rank := self.matching.twins(event, cluster, now)) is not None]
        return min(found, key=lambda each: each[0])[1] if found else None

    def _raised_about(self, cluster: Cluster, cosine: float) -> list[Cluster]:
        """Raised events of at least this cosine with the cluster, about, and those for which it cannot be told."""
        if cluster.centroid is None:
            return self.raised()
        return [*self._raised_vectors.at_least(cluster.centroid, cosine), *self._raised_vectors.without.values()]

    def _near(self, member: Member) -> list[Cluster]:
        """The clusters worth a closer look: nearest by cosine, and those that share a rare name."""
        found: dict[int, Cluster] = {}
        count = self._weights.neighbours
        if member.vector is not None:
            found = {cluster.number: cluster for cluster in self._vectors.nearest(member.vector, count)}
        seen = 0
        for name in sorted(member.names | member.content):
            sharing = self._of_name.get(name)
            if sharing is not None and self.familiar.rare(name):
                found.update(sharing)
                seen += len(sharing)
                if seen > 4 * count:
                    break
        return [found[number] for number in sorted(found)]

    def _know(self, cluster: Cluster, member: Member) -> None:
        self._of_key[member.key] = cluster
        if member.author is not None:
            self._of_author[member.author] = (*self._of_author.get(member.author, ()), member.key)
        if member.words:
            holders = self._of_fingerprint.get(member.fingerprint, ())
            if cluster not in holders:
                self._of_fingerprint[member.fingerprint] = (*holders, cluster)
        self._index(cluster, member.names)

    def _index(self, cluster: Cluster, names: frozenset[str]) -> None:
        for name in names:
            self._of_name.setdefault(name, {})[cluster.number] = cluster

    def _unindex(self, cluster: Cluster, names: frozenset[str]) -> None:
        """Names that posts gave which are gone, and no other post of the cluster gives."""
        left = names.difference(*(member.names for member in cluster.members.values()))
        for name in left:
            sharing = self._of_name.get(name)
            if sharing is not None and sharing.pop(cluster.number, None) is not None and not sharing:
                del self._of_name[name]

    def _leave_search(self, cluster: Cluster) -> None:
        self._vectors.leave(cluster)
        self._raised_vectors.leave(cluster)
        known = set(cluster.names)
        for member in cluster.members.values():
            known |= member.names
        for name in known:
            sharing = self._of_name.get(name)
            if sharing is not None and sharing.pop(cluster.number, None) is not None and not sharing:
                del self._of_name[name]
