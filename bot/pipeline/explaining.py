"""Why an organisation got a post or an alert, or did not: each stage's verdict and figures, from the store.

What only a detector knows (is a post an independent voice, and why not) is asked of one that is rebuilt from the store.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from bot.detection.detector import Detector
from bot.domain import access as rules
from bot.domain.access import Capability, Organisation, Policy, ProviderSet
from bot.domain.alert import Alert
from bot.domain.delivery import Act
from bot.domain.post import Candidate
from bot.pipeline import rebuilding
from bot.store import access, deliveries, directory, events, posts
from bot.store.database import Tables

MakeDetector = Callable[[ProviderSet], Detector]

_NOT_SHOWN = ("figures", "level", "why", "sources", "categories")  # at the stage ``detected``


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """``verdict`` begins with yes or no; ``figures`` are JSON-ready."""

    stage: str
    verdict: str
    figures: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Who asks. ``view``: the providers that may shape what they see."""

    policy: Policy
    org: Organisation
    view: ProviderSet
    at: datetime

    def denied(
        self,
        capability: Capability = Capability.ALERTS,
        *,
        providers: Iterable[str] | None = None,
        category: str | None = None,
    ) -> Stage | None:
        """The stage at which it ends for them; None where they may go on. Without providers: may they have any?"""
        asked = rules.Request(
            org=self.org,
            at=self.at,
            capability=capability,
            providers=frozenset(providers or ()),
            category=category,
            view=None if providers is None else self.view,
        )
        decision = rules.decide(self.policy, asked)
        if decision.allowed:
            return None
        return Stage(stage="access", verdict=f"no: {decision.why}", figures={"rule": decision.rule})

    def denied_verdict(self, verdict: Mapping[str, Any] | None) -> Stage | None:
        """Of what ``Detector.explain`` says: it tells of all posts that a post stands with, also other providers'."""
        if verdict is None or "figures" not in verdict:
            return None
        found = (self.denied(providers=verdict["sources"], category=each) for each in verdict["categories"])
        return next((each for each in found if each is not None), None)


def reader(db: Tables, org: Organisation, at: datetime) -> Reader:
    policy = access.policy(db).of(org)
    return Reader(policy=policy, org=org, view=rules.permitted(policy, org, at), at=at)


def explain(
    db: Tables, what: str, org: Organisation, at: datetime, make_detector: MakeDetector | None = None
) -> tuple[list[Stage], bool]:
    """``what``: a post's id, an alert's or an event's. The stages in order, and whether it was shown to ``org``.

    Asks ``decide`` about the posts that it speaks of: an organisation is told nothing about evidence it may not have.
    With ``make_detector``, which makes an empty one, the stage ``detected`` is there too; a day's candidates take it
    minutes.
    """
    asking = reader(db, org, at)
    found = posts.get(db, what)
    if found is not None:
        return _explain_post(db, found, asking, make_detector)
    alert = events.get(db, asking.view.key, what) or events.latest(db, asking.view.key, what)
    if alert is not None:
        return _explain_alert(db, alert, asking, make_detector)
    denied = asking.denied()
    if denied is not None:
        return [denied], False
    return [Stage(stage="stored", verdict=_not_stored(what, org), figures={})], False


def in_channel(db: Tables, what: str, org: Organisation, at: datetime, channel: str) -> tuple[list[Stage], bool]:
    """Why one channel was told of an alert or an event, or was not."""
    asking = reader(db, org, at)
    alert = events.get(db, asking.view.key, what) or events.latest(db, asking.view.key, what)
    if alert is None:
        return [Stage(stage="stored", verdict=_not_stored(what, org), figures={})], False
    denied = asking.denied(providers=alert.sources, category=alert.category)
    if denied is not None:
        return [denied], False
    stages, shown = _in_channel(db, alert, asking, channel)
    return [_assessed(alert), *stages], shown


def classified(category: str, p: float, refusal: str | None, **figures: Any) -> Stage:
    """``refusal``: why it is no candidate."""
    verdict = f"yes: taken for a report of {category}" if refusal is None else f"no: {refusal}"
    return Stage(stage="classified", verdict=verdict, figures={"category": category, "p": round(p, 3), **figures})


def detected(verdict: Mapping[str, Any] | None) -> Stage:
    """Of what ``Detector.explain`` says: is the post an independent voice, of which event, and how like it is."""
    if verdict is None:
        return Stage(stage="detected", verdict="no: the detector does not know it, or no longer", figures={})
    if verdict["event"] is not None:
        of = f" of event {verdict['event']}"
    else:
        of = " of posts that are no event" if "figures" in verdict else ", and its event is over or never was one"
    said = f"yes: an independent voice{of}" if verdict["independent"] else f"no: {verdict['why']}"
    return Stage(
        stage="detected",
        verdict=said,
        figures={name: value for name, value in verdict.items() if name not in _NOT_SHOWN},
    )


def assessed(verdict: Mapping[str, Any] | None) -> Stage | None:
    """Of what ``Detector.explain`` says: the level of the post's event, with its figures and the bars. None where no
    live event or cluster holds the post."""
    if verdict is None or "figures" not in verdict:
        return None
    event, level = verdict["event"], verdict["level"]
    if event is None:
        said = "no: below the bar of alert"
    elif verdict.get("closed"):
        said = f"no: event {event} is retracted"
    else:
        said = f"yes: event {event} is at level {level}"
    figures = {"event": event, "level": level} | verdict["figures"]
    return Stage(stage="assessed", verdict=said, figures=figures)


def _explain_post(
    db: Tables, found: Candidate, asking: Reader, make_detector: MakeDetector | None
) -> tuple[list[Stage], bool]:
    provider = found.post.provider
    denied = asking.denied(providers=[provider])
    if denied is not None:
        return [denied], False
    category, p = found.top
    stages = [classified(category, p, None, model=found.model, seq=found.seq)]
    denied = asking.denied(Capability.EVIDENCE, providers=[provider], category=category)
    if denied is not None:
        return [denied], False
    if make_detector is not None:
        verdict = _rebuilt(db, asking, make_detector).explain(found.post.key)
        stages.append(asking.denied_verdict(verdict) or _post_detected(verdict))
    evidence_of = events.of_post(db, asking.view.key, found.post.key)
    if not evidence_of:
        stages.append(
            Stage(stage="evidence", verdict="no: not (yet) enough independent posts about the same", figures={})
        )
        return stages, False
    shown = False
    for event in evidence_of:
        alert = events.latest(db, asking.view.key, event)
        if alert is None:
            continue
        denied = asking.denied(providers=alert.sources, category=alert.category)
        if denied is not None:
            stages += [denied] if denied not in stages else []
            continue
        stages.append(Stage(stage="evidence", verdict=f"yes: of event {event}", figures={"event": event}))
        more, reached = _explain_alert(db, alert, asking)
        stages += more
        shown = shown or reached
    return stages, shown


def _explain_alert(
    db: Tables, alert: Alert, asking: Reader, make_detector: MakeDetector | None = None
) -> tuple[list[Stage], bool]:
    org = asking.org
    denied = asking.denied(providers=alert.sources, category=alert.category)
    if denied is not None:
        return [denied], False
    stages = [_assessed(alert)]
    if make_detector is not None:
        stages.append(_event_detected(_rebuilt(db, asking, make_detector), alert, asking))
    shown = False
    for channel in (each["channel"] for each in directory.channels(db, org.org)):
        more, reached = _in_channel(db, alert, asking, channel)
        stages += more
        shown = shown or reached
    if not any(each.stage == "subscribed" for each in stages):
        stages.append(Stage(stage="subscribed", verdict=f"no: {org.name} has no channel", figures={}))
    return stages, shown


def _assessed(alert: Alert) -> Stage:
    return Stage(
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


def _in_channel(db: Tables, alert: Alert, asking: Reader, channel: str) -> tuple[list[Stage], bool]:
    asked = deliveries.request_for(asking.org, channel, asking.view.key, alert, asking.at)
    decision = rules.decide(asking.policy, asked)
    answer = "yes" if decision.allowed else "no"
    stages = [
        Stage(stage="access", verdict=f"{answer}: {decision.why}", figures={"channel": channel, "rule": decision.rule}),
        _subscribed(db, channel, alert),
    ]
    shown = False
    for found in deliveries.of_event(db, channel, alert.event):
        reason = f": {found['reason']}" if found["reason"] else ""
        sent = found["state"] in ("sent", "digested")
        shown = shown or (sent and found["act"] != Act.RETRACT.value)
        stages.append(
            Stage(
                stage="delivered",
                verdict=f"{'yes' if sent else 'no'}: {found['act']} {found['alert']} is {found['state']}{reason}",
                figures={"delivery": found["delivery"], "channel": channel, "attempts": found["attempts"]},
            )
        )
    return stages, shown


def _rebuilt(db: Tables, asking: Reader, make_detector: MakeDetector) -> Detector:
    """The View's detector as the service would have it after a start."""
    detector = make_detector(asking.view)
    past = rebuilding.read(db, asking.view, asking.at)
    rebuilding.fed(detector, past.history)  # for the verdicts, which are not remembered
    if not rebuilding.resume(detector, past):
        for alert in past.raised:
            detector.adopt(alert)
    return detector


def _post_detected(verdict: Mapping[str, Any] | None) -> Stage:
    """With the figures that its event or cluster has now as ``live``; None where it is over."""
    stage = detected(verdict)
    return replace(stage, figures=stage.figures | {"live": None if verdict is None else verdict.get("figures")})


def _event_detected(detector: Detector, alert: Alert, asking: Reader) -> Stage:
    """By what it has become since the alert: it may rest on other providers' posts now, or be of another category."""
    verdicts = (detector.explain(key) for key in alert.evidence)
    found = next((each for each in verdicts if each is not None and each["event"] == alert.event), None)
    denied = asking.denied_verdict(found)
    if denied is not None:
        return denied
    if found is None:
        return Stage(stage="detected", verdict="no: the event takes no more posts", figures={"live": None})
    said = "no: the event takes no more posts" if found["closed"] else f"yes: the event is live, {found['level']}"
    return Stage(stage="detected", verdict=said, figures={"live": found["figures"]})


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
