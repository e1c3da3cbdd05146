"""Detection over streams with what was learned on the other half: no stream is scored with weights that saw it, its
happening, or its half of the ordinary background."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bot.detection.places import Gazetteer
from bot.detection.weights import Weights
from bot.scorecard import fitting, runs
from bot.scorecard.fitting import Learner
from bot.scorecard.runs import Judged
from bot.scorecard.streams import Stream

Advance = Callable[[int], None]
Given = Callable[[Judged], Judged]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A stream with what the model says of those of its posts that the screen passes."""

    stream: Stream
    judged: Judged


def detected(
    samples: Sequence[Sample],
    gazetteer: Gazetteer,
    weights: Weights,
    advance: Advance,
    *,
    without: str | None = None,
    given: Given | None = None,
) -> list[list[dict[str, Any]]]:
    """The Alert lines of each stream. ``without``: a feature that is neither learned nor used; ``given``: what becomes
    of the model's answers first. Advances once a stream. Dense streams are learned from by nobody."""
    changed = [Sample(stream=each.stream, judged=given(each.judged) if given else each.judged) for each in samples]
    learned = {
        half: fitting.learned(
            _learners((each for each in changed if each.stream.half != half), gazetteer, weights, without)
        )
        for half in {each.stream.half for each in changed}
    }
    found = []
    for each in changed:
        found.append(runs.detect(each.judged, gazetteer, replace(weights, strength=learned[each.stream.half])))
        advance(1)
    return found


def learn(
    samples: Iterable[Sample], gazetteer: Gazetteer, weights: Weights
) -> tuple[Mapping[str, float], list[Learner]]:
    """The coefficients over all streams, as they are shipped, and what they were learned from."""
    learners = _learners(samples, gazetteer, weights, None)
    return fitting.learned(learners), learners


def by_group(samples: Sequence[Sample], gazetteer: Gazetteer, weights: Weights) -> dict[int, Mapping[str, float]]:
    """For each fold group the coefficients that the streams of the others teach."""
    slow = [each for each in samples if not each.stream.fast]
    learners = _learners(slow, gazetteer, weights, None)
    groups = {each.stream.replay.group for each in slow}
    return {
        group: fitting.learned(
            learner for each, learner in zip(slow, learners, strict=True) if each.stream.replay.group != group
        )
        for group in groups
    }


def _learners(samples: Iterable[Sample], gazetteer: Gazetteer, weights: Weights, without: str | None) -> list[Learner]:
    found = [fitting.learner(each.stream, each.judged, gazetteer, weights) for each in samples if not each.stream.fast]
    return found if without is None else [learner.without(without) for learner in found]
