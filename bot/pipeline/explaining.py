"""Why an organisation got a post or an alert, or did not: each stage's verdict and figures, from the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from bot.domain import access as rules
from bot.domain.access import Capability, Organisation, ProviderSet
from bot.domain.alert import Alert
from bot.domain.delivery import Act
from bot.domain.post import Candidate
from bot.store import access, deliveries, directory, events, posts
from bot.store.database import Tables


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """``verdict`` begins with yes or no; ``figures`` are JSON-ready."""

    stage: str
    verdict: str
    figures: dict[str, Any]


def explain(db: Tables, what: str, org: Organisation, at: datetime) -> tuple[list[Stage], bool]:
    """``what``: a post's id, an alert's or an event's. The stages in order, and whether it was shown to ``org``.

    Asks ``decide`` about the posts that it speaks of: an organisation is told nothing about evidence it may not have.
    """
    policy = access.policy(db)
    view = rules.permitted(policy, org, at)
    found = posts.get(db, what)
    if found is not None:
        return _explain_post(db, found, org, view, at)
    alert = events.get(db, view.key, what) or events.latest(db, view.key, what)
    if alert is not None:
        return _explain_alert(db, alert, org, view, at)
    decision = rules.decide(policy, rules.Request(org=org, at=at))
    if not decision.allowed:
        return [Stage(stage="access", verdict=f"no: {decision.why}", figures={"rule": decision.rule})], False
    return [Stage(stage="stored", verdict=_not_stored(what, org), figures={})], False


def _explain_post(
    db: Tables, found: Candidate, org: Organisation, view: ProviderSet, at: datetime
) -> tuple[list[Stage], bool]:
    provider = found.post.provider
    decision = rules.decide(
        access.policy(db),
        rules.Request(org=org, at=at, capability=Capability.ALERTS, providers=frozenset({provider}), view=view),
    )
    if not decision.allowed:
        return [Stage(stage="access", verdict=f"no: {decision.why}", figures={"rule": decision.rule})], False
    category, p = found.top
    stages = [
        Stage(
            stage="classified",
            verdict=f"yes: taken for a report of {category}",
            figures={"category": category, "p": round(p, 3), "model": found.model, "seq": found.seq},
        )
    ]
    asked = rules.Request(
        org=org, at=at, capability=Capability.EVIDENCE, providers=frozenset({provider}), category=category, view=view
    )
    decision = rules.decide(access.policy(db), asked)
    if not decision.allowed:
        return [Stage(stage="access", verdict=f"no: {decision.why}", figures={"rule": decision.rule})], False
    evidence_of = events.of_post(db, view.key, found.post.key)
    if not evidence_of:
        stages.append(
            Stage(stage="evidence", verdict="no: not (yet) enough independent posts about the same", figures={})
        )
        return stages, False
    shown = False
    for event in evidence_of:
        stages.append(Stage(stage="evidence", verdict=f"yes: of event {event}", figures={"event": event}))
        alert = events.latest(db, view.key, event)
        if alert is not None:
            more, reached = _explain_alert(db, alert, org, view, at)
            stages += more
            shown = shown or reached
    return stages, shown


def _explain_alert(
    db: Tables, alert: Alert, org: Organisation, view: ProviderSet, at: datetime
) -> tuple[list[Stage], bool]:
    asked = rules.Request(org=org, at=at, providers=frozenset(alert.sources), category=alert.category, view=view)
    decision = rules.decide(access.policy(db), asked)
    if not decision.allowed:
        return [Stage(stage="access", verdict=f"no: {decision.why}", figures={"rule": decision.rule})], False
    stages = [
        Stage(
            stage="assessed",
            verdict=f"yes: {alert.kind.value} at level {alert.level.value}",
            figures=alert.figures
            | {
                "alert": alert.id,
                "authors": alert.authors,
                "posts": alert.posts,
                "newsworthiness": alert.newsworthiness,
            },
        )
    ]
    policy = access.policy(db)
    shown = False
    for channel in (each["channel"] for each in directory.channels(db, org.org)):
        decision = rules.decide(policy, deliveries.request_for(org, channel, view.key, alert, at))
        answer = "yes" if decision.allowed else "no"
        stages.append(
            Stage(
                stage="access", verdict=f"{answer}: {decision.why}", figures={"channel": channel, "rule": decision.rule}
            )
        )
        stages.append(_subscribed(db, channel, alert))
        for found in deliveries.of_event(db, channel, alert.event):
            reason = f": {found['reason']}" if found["reason"] else ""
            sent = found["state"] == "sent"
            shown = shown or (sent and found["act"] != Act.RETRACT.value)
            stages.append(
                Stage(
                    stage="delivered",
                    verdict=f"{'yes' if sent else 'no'}: {found['act']} {found['alert']} is {found['state']}{reason}",
                    figures={"delivery": found["delivery"], "channel": channel, "attempts": found["attempts"]},
                )
            )
    if len(stages) == 1:
        stages.append(Stage(stage="subscribed", verdict=f"no: {org.name} has no channel", figures={}))
    return stages, shown


def _subscribed(db: Tables, channel: str, alert: Alert) -> Stage:
    wanted = directory.subscriptions(db, channel)
    problems = [each.mismatch(alert) for each in wanted]
    if not wanted:
        verdict = "no: the channel has no subscription"
    elif None in problems:
        verdict = "yes: " + wanted[problems.index(None)].describe()
    else:
        verdict = "no: " + "; ".join(problem for problem in problems if problem)
    return Stage(stage="subscribed", verdict=verdict, figures={"channel": channel})


def _not_stored(what: str, org: Organisation) -> str:
    return (
        f"no: {what} is neither a stored candidate nor an alert that {org.name} may see; "
        "only posts that the model takes for reports are stored"
    )
