"""What became of single posts in a replay: each stage's verdict and figures, of posts that are no candidates too."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.detection import candidates
from bot.domain.access import Capability, ProviderSet
from bot.domain.alert import Alert
from bot.domain.post import Post
from bot.pipeline import explaining
from bot.pipeline.classifying import Judged
from bot.pipeline.explaining import Reader, Stage
from classifiers.api import Classification, Screening

Screen = Callable[[str], Screening]
Explain = Callable[[ProviderSet, str], Mapping[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """Of one post. ``shown``: an Alert line that rests on it was shown in this run."""

    post: str
    stages: list[Stage]
    shown: bool


class Watch:
    """Follows the posts ``asked`` for, by id or by ``provider|id``, through a run, in one View.

    A detector forgets what is over, so it is asked after each batch and the last answer with figures is kept.
    """

    def __init__(self, asked: Sequence[str], view: ProviderSet) -> None:
        self._asked = tuple(dict.fromkeys(asked))
        self._view = view
        self._came: dict[str, tuple[Post, Classification | None]] = {}
        self._verdicts: dict[str, Mapping[str, Any]] = {}
        self._shown: set[str] = set()

    def note(self, judged: Sequence[Judged], explain: Explain) -> None:
        """A batch was detected and recorded."""
        for each in judged:
            item = each.arrival.item
            if isinstance(item, Post) and (item.id in self._asked or item.key in self._asked):
                self._came.setdefault(item.key, (item, each.classification))
        for key in self._came:
            verdict, before = explain(self._view, key), self._verdicts.get(key)
            if verdict is not None and (before is None or "figures" in verdict or verdict["why"] != before["why"]):
                self._verdicts[key] = verdict

    def note_shown(self, alert: Alert) -> None:
        """A line of it was printed."""
        self._shown.update(alert.evidence)

    def traces(self, screen: Screen, reader: Reader | None) -> Iterator[Trace]:
        """One for each post asked for, in that order; several where providers share an id. Without a ``reader`` nobody
        is barred from anything; who may receive from other providers now than at the start hears only that."""
        changed = None if reader is None or reader.view == self._view else _changed(reader)
        for what in self._asked:
            if changed is not None:
                yield Trace(post=what, stages=[changed], shown=False)
                continue
            came = [found for found in self._came.values() if what in (found[0].key, found[0].id)]
            for post, classification in came:
                yield self._trace(what, post, classification, screen, reader)
            if not came:
                denied = None if reader is None else reader.denied()
                never = Stage(stage="received", verdict=f"no: no post {what} came in this replay", figures={})
                yield Trace(post=what, stages=[denied or never], shown=False)

    def _trace(
        self, what: str, post: Post, classification: Classification | None, screen: Screen, reader: Reader | None
    ) -> Trace:
        denied = None if reader is None else _barred(reader, post, classification)
        if denied is not None:
            return Trace(post=what, stages=[denied], shown=False)
        stages = [_screened(post, classification, screen)]
        if classification is not None or post.official is not None:
            stages.append(_classified(post, classification))
        if _is_candidate(post, classification):
            verdict = self._verdicts.get(post.key)
            denied = None if reader is None else reader.denied_verdict(verdict)
            if denied is not None:
                return Trace(post=what, stages=[*stages, denied], shown=False)
            assessed = explaining.assessed(verdict)
            stages += [explaining.detected(verdict), *([assessed] if assessed is not None else [])]
        return Trace(post=what, stages=stages, shown=post.key in self._shown)


def _barred(reader: Reader, post: Post, classification: Classification | None) -> Stage | None:
    """Alerts made of its provider's posts, and evidence: who may not have both hears that and nothing else."""
    if post.official is not None:
        category: str | None = post.official.category
    else:
        category = None if classification is None else _top(classification)[0]
    return reader.denied(providers=[post.provider]) or reader.denied(
        Capability.EVIDENCE, providers=[post.provider], category=category
    )


def _changed(reader: Reader) -> Stage:
    """The verdicts are another View's; those of the one that it has now there are none."""
    said = f"no: the providers that {reader.org.name} may receive from changed during this replay; run it again"
    return reader.denied() or Stage(stage="access", verdict=said, figures={"rule": "view"})


def _screened(post: Post, classification: Classification | None, screen: Screen) -> Stage:
    if post.official is not None:
        return Stage(stage="screened", verdict="yes: an official post needs no screen", figures={})
    found = screen(post.text)
    if found.threshold is None:
        said = "yes: this model has no screen"
    elif found.score is None:
        said = "yes: the screen cannot judge it" if found.passed else "no: there is nothing to read in it"
    else:
        said = f"{'yes' if found.passed else 'no'}: score {found.score:g}; the model is asked from {found.threshold:g}"
    if classification is not None and not found.passed:
        said = "yes: a verified author's post passes in any case"
    return Stage(stage="screened", verdict=said, figures={"score": found.score, "threshold": found.threshold})


def _classified(post: Post, classification: Classification | None) -> Stage:
    if post.official is not None:
        return explaining.classified(post.official.category, 1.0, None, model=candidates.OFFICIAL)
    if classification is None:
        raise ValueError(f"{post.key} was not classified")
    category, p = _top(classification)
    refusal, threshold = candidates.refusal(post, classification), candidates.threshold(post)
    stage = explaining.classified(category, p, refusal, threshold=threshold, model=classification.model)
    if refusal is None and p < threshold:
        return replace(stage, verdict="yes: a denial by a verified account passes in any case")
    return stage


def _is_candidate(post: Post, classification: Classification | None) -> bool:
    if post.official is not None:
        return True
    return classification is not None and candidates.refusal(post, classification) is None


def _top(classification: Classification) -> tuple[str, float]:
    """Ties go to the name that sorts first, as everywhere in detection."""
    return min(classification.categories.items(), key=lambda item: (-item[1], item[0]))
