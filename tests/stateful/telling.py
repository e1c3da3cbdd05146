"""A detector that tells of everything at once: every permitted post is one more revision of its happening."""

from dataclasses import replace
from datetime import datetime

from bot.domain import alert as alerts
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert, Kind, Level
from bot.domain.memory import Memory
from bot.domain.post import Candidate, Deletion
from tests import factories

_LEVELS = (Level.ALERT, Level.ALERT, Level.URGENT, Level.FLASH)


class Telling:
    """Like ``Detector`` it is fed what its View permits only, names an event by its first post, and adopts what an
    earlier one said. It remembers nothing, so every restart rebuilds it from the store."""

    def __init__(self, view: ProviderSet) -> None:
        self._view = view
        self._posts: dict[str, list[Candidate]] = {}  # happening → those that stand
        self._events: dict[str, str] = {}  # happening → event
        self._last: dict[str, Alert] = {}  # event → its last revision

    def add(self, candidate: Candidate) -> list[Alert]:
        if not self._view.permits(candidate.post.provider):
            return []
        happening = _happening(candidate)
        self._posts.setdefault(happening, []).append(candidate)
        self._events.setdefault(happening, alerts.event_id(candidate.post.key))
        return [self._revise(happening, Kind.UPDATE, candidate.stream_at)]

    def delete(self, deletion: Deletion, stream_at: datetime) -> list[Alert]:
        raised = []
        for happening, posts in list(self._posts.items()):
            left = [each for each in posts if each.post.key != deletion.key]
            if len(left) == len(posts):
                continue
            self._posts[happening] = left
            if left:
                raised.append(self._revise(happening, Kind.CORRECTION, stream_at))
            else:
                last = self._last[self._events.pop(happening)]
                gone = replace(
                    last, revision=last.revision + 1, kind=Kind.RETRACTION, quotes=(), change="deleted",
                    raised_at=stream_at,
                )  # fmt: skip
                self._last[gone.event] = gone
                raised.append(gone)
        return raised

    def adopt(self, alert: Alert) -> None:
        self._last[alert.event] = alert

    def remembered(self) -> Memory | None:
        return None

    def _revise(self, happening: str, kind: Kind, at: datetime) -> Alert:
        posts, event = self._posts[happening], self._events[happening]
        last = self._last.get(event)
        keys = tuple(each.post.key for each in posts)
        revised = factories.make_alert(
            event=event,
            revision=1 if last is None else last.revision + 1,
            kind=Kind.NEW if last is None else kind,
            level=_LEVELS[min(len(posts), len(_LEVELS)) - 1],
            category=posts[0].top[0],
            headline=f"{len(posts)} posts, the last one: {posts[-1].post.text}",
            first_post_at=posts[0].stream_at,
            raised_at=at,
            posts=len(posts),
            sources=tuple(sorted({each.post.provider for each in posts})),
            evidence=keys,
            quotes=keys[:2],
            change="" if last is None else f"{len(posts)} posts",
        )
        self._last[event] = revised
        return revised


def _happening(candidate: Candidate) -> str:
    return candidate.post.id.partition("-")[0]
