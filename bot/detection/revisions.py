"""One Alert revision: what changed since the last one, in words, and the Alert that says it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from bot.detection import assessment, headlines
from bot.detection.assessment import Assessment
from bot.detection.clusters import Cluster
from bot.detection.members import Member
from bot.detection.weights import Weights
from bot.domain.alert import Alert, Kind, Level

_GOES_ON_AS = "goes_on_as"  # among the figures of an event that ended: the one that it was united with


def evidence(cluster: Cluster) -> list[str]:
    """Post keys, oldest first by their own time, then by arrival."""
    return [member.key for member in sorted(cluster.members.values(), key=lambda member: member.created_at)]


def level(last: Alert, assessed: Assessment, *, disputed: bool, afresh: bool) -> Level:
    """Time alone never lowers a level and a disputed event does not rise; lost evidence may lower it to `alert`."""
    found = assessed.level
    if afresh and not disputed:
        return found
    if disputed:
        return min(last.level, found, key=lambda each: each.rank) if afresh else last.level
    return max(last.level, found, key=lambda each: each.rank)


def changes(last: Alert, assessed: Assessment, reached: Level) -> list[str]:
    """Sentences, without a full stop; none means that no update is due."""
    found: list[str] = []
    if reached is not last.level:
        found.append(f"level {last.level.value} → {reached.value}")
    if assessed.certainty is not last.certainty:
        found.append(f"certainty {last.certainty.value} → {assessed.certainty.value}")
    if assessed.category != last.category:
        found.append(f"category {last.category} → {assessed.category}")
    where, was = assessed.place, last.place
    if (where and (where.name, where.country)) != (was and (was.name, was.country)):
        found.append(f"place: {where.name if where is not None else 'unknown'}")
    if assessed.toll != last.figures.get("toll", {}):
        found.append(headlines.toll_words(assessed.toll) or "no casualty count any more")
    if assessed.official and not last.figures.get("official"):
        found.append("officially confirmed")
    if assessed.verified and not last.figures.get("verified"):
        found.append("confirmed by a verified account")
    if assessed.media and not last.figures.get("media"):
        found.append("reported by a news organisation")
    if last.authors and assessed.voices >= 2 * last.authors:
        found.append(f"voices {last.authors} → {assessed.voices}")
    return found


def unfounded(last: Alert, absorbed: Sequence[Alert], assessed: Assessment, gone: Sequence[Member]) -> str:
    """What ``last`` says that rests on evidence which is ``gone``: a sentence's subject, empty if nothing does.
    ``assessed``: afresh, without it. ``absorbed``: what was said to those who were told of an event that is now this
    one."""
    placed = any(member.mentions.towns or member.mentions.areas or member.point is not None for member in gone)
    counted = any(member.counts for member in gone)
    stale = any(ended.headline != last.headline for ended in absorbed if ended.category == last.category)
    toll = last.figures.get("toll", {})
    if counted and (stale or any(assessed.toll.get(kind, 0) < count for kind, count in toll.items())):
        return "evidence of the casualties"
    where, was = assessed.place, last.place
    moved = (where and (where.name, where.country)) != (was and (was.name, was.country))
    reworded = headlines.write(last.category, assessed.where, toll, disputed=last.disputed) != last.headline
    return "evidence of the place" if placed and (stale or moved or reworded) else ""


def make(
    cluster: Cluster,
    assessed: Assessment,
    *,
    event: str,
    revision: int,
    kind: Kind,
    level: Level,
    now: datetime,
    weights: Weights,
    change: str,
) -> Alert:
    members = list(cluster.members.values())
    return Alert(
        event=event,
        revision=revision,
        kind=kind,
        level=level,
        certainty=assessed.certainty,
        newsworthiness=assessed.newsworthiness,
        disputed=cluster.disputed,
        category=assessed.category,
        categories=assessed.categories,
        headline=headlines.write(
            assessed.category,
            assessed.where,
            assessed.toll,
            disputed=cluster.disputed,
            withdrawn=kind is Kind.RETRACTION,
        ),
        place=assessed.place,
        first_post_at=min((member.created_at for member in members), default=now),
        raised_at=now,
        posts=len(members),
        authors=assessed.voices,
        sources=tuple(sorted({member.provider for member in members})),
        evidence=tuple(evidence(cluster)),
        quotes=assessment.quotes(cluster, weights),
        langs=tuple(sorted({lang for member in members for lang in member.langs})),
        change=change,
        figures=assessed.figures,
    )


def united(last: Alert, going_on: Alert, *, now: datetime) -> Alert:
    """The update by which an event ends that is the same happening as another one; it quotes nothing any more."""
    ended = replace(
        last,
        revision=last.revision + 1,
        kind=Kind.UPDATE,
        sources=_sources(last, going_on),
        quotes=(),
        raised_at=now,
        change=f"the same happening as event {going_on.event}, which goes on",
        figures=last.figures | {_GOES_ON_AS: going_on.event},
    )
    if last.category != going_on.category:
        return ended
    return replace(ended, disputed=going_on.disputed, headline=going_on.headline)


def echoed(ended: Alert, alert: Alert) -> Alert:
    """What corrects or retracts ``alert``'s event, for those who were told of one that was united with it. It keeps its
    own level, category and place, so that it reaches exactly them.

    Where the categories differ it says that it was corrected, and not how: who may have the one category may not have
    the other. It repeats no counts either, since they may be what was wrong.
    """
    echo = replace(
        ended,
        revision=ended.revision + 1,
        kind=alert.kind,
        sources=_sources(ended, alert),
        raised_at=alert.raised_at,
        figures=ended.figures | {_GOES_ON_AS: alert.event},
    )
    if ended.category == alert.category:
        return replace(
            echo, certainty=alert.certainty, disputed=alert.disputed, headline=alert.headline, change=alert.change
        )
    withdrawn = alert.kind is Kind.RETRACTION
    where = ended.place.name if ended.place is not None else None
    return replace(
        echo,
        headline=headlines.write(ended.category, where, {}, disputed=ended.disputed, withdrawn=withdrawn),
        change=f"event {alert.event}, the same happening, was {'retracted' if withdrawn else 'corrected'}",
    )


def goes_on_as(alert: Alert) -> str | None:
    """The event as which one goes on that ended by ``united``; None for any other."""
    event: str | None = alert.figures.get(_GOES_ON_AS)
    return event


def retraction(
    cluster: Cluster, assessed: Assessment, last: Alert, *, now: datetime, weights: Weights, why: str
) -> Alert:
    """It keeps the last level, category and place, so that it reaches exactly those who got the alert."""
    made = make(
        cluster,
        assessed,
        event=last.event,
        revision=last.revision + 1,
        kind=Kind.RETRACTION,
        level=last.level,
        now=now,
        weights=weights,
        change=f"retracted: {why}",
    )
    return replace(
        made,
        category=last.category,
        categories=last.categories,
        place=last.place,
        first_post_at=last.first_post_at,
        sources=made.sources or last.sources,
        langs=made.langs or last.langs,
        headline=headlines.write(last.category, last.place.name if last.place else assessed.where, {}, withdrawn=True),
    )


def _sources(ended: Alert, other: Alert) -> tuple[str, ...]:
    """Of both: what it says was made from both events' posts."""
    return tuple(sorted({*ended.sources, *other.sources}))
