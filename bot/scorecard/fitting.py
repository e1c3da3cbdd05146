"""``python -m bot.scorecard fit``: learn what raises an alert, from the streams' clusters, and write ``weights.json``.

A state is a cluster right after a voice joined it. Logistic regression over ``strength.features`` tells those of real
happenings from those of ordinary posts; the bias is then set so that so many false alerts are left. What is scored on
one half of the background was learned on the other half, with the happenings that are mixed into that one.
Needs the extra ``train``.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bot.detection import strength
from bot.detection.detector import Detector
from bot.detection.places import Gazetteer
from bot.detection.weights import Weights
from bot.domain.access import EVERYTHING
from bot.domain.errors import TocsinError
from bot.scorecard import runs
from bot.scorecard.runs import Judged
from bot.scorecard.streams import Stream

FALSE_PER_50K = 0.3
"""False alerts that the bias allows on the posts that it is set on: a third of what may be left on others."""
EARLY = 8
"""Voices: a happening is learned from while it has at most so many; later on it is easily told."""
RIDGE = 3.0
"""Pulls the standardised coefficients towards 0; the data sets hold few happenings."""
LOWERS = frozenset({"span"})
"""Features that may only lower the log-odds; every other one may only raise it, as explain's readers would expect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """``real``: whether the cluster belongs to the stream's happening; ``stream`` and ``cluster`` name it."""

    stream: str
    cluster: int
    voices: int
    features: Mapping[str, float]
    real: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Learner:
    """The states of some streams, and how many ordinary posts they hold."""

    states: list[State]
    posts: int

    def without(self, feature: str) -> "Learner":
        """To see what a feature brings: the others are learned without it."""
        return Learner(
            states=[
                replace(state, features={name: value for name, value in state.features.items() if name != feature})
                for state in self.states
            ],
            posts=self.posts,
        )


def learner(stream: Stream, judged: Judged, gazetteer: Gazetteer, weights: Weights) -> Learner:
    """The stream's clusters while none is raised. Posts that truth ignores belong to neither side."""
    truth = json.loads(stream.truth.read_text(encoding="utf-8"))
    (event,) = truth["events"]
    relevant, ignored = frozenset(event["relevant_ids"]), frozenset(event["ignore_ids"])
    detector = Detector(EVERYTHING, gazetteer, replace(weights, strength={strength.BIAS: -math.inf}))
    found = []
    for candidate in runs.candidates_of(judged, weights):
        detector.add(candidate)
        weighed = detector.weigh(candidate.post.key)
        if weighed is None or weighed.voices < weights.alert_voices:
            continue
        ids = [key.split("|", 1)[1] for key in weighed.evidence]
        right = [post in relevant for post in ids if post not in ignored]
        if right:
            found.append(
                State(
                    stream=stream.name,
                    cluster=weighed.cluster,
                    voices=weighed.voices,
                    features=weighed.features,
                    real=2 * sum(right) >= len(right),
                )
            )
    return Learner(states=found, posts=truth["other_posts"])


def learned(learners: Iterable[Learner]) -> dict[str, float]:
    """The coefficients, with a bias that allows FALSE_PER_50K on these learners' ordinary posts. Raises TocsinError."""
    learners = list(learners)
    every = [state for learner in learners for state in learner.states]
    posts = sum(learner.posts for learner in learners)
    early = [state for state in every if not state.real or state.voices <= EARLY]
    names = sorted(early[0].features)
    values = _matrix(early, names)
    middle, spread = values.mean(axis=0), values.std(axis=0) + 1e-9
    real = np.array([state.real for state in early])
    fitted = _fitted((values - middle) / spread, real, _balanced(early), names)
    slopes = fitted / spread
    bias = -_bar(every, _matrix(every, names) @ slopes, FALSE_PER_50K * posts / 50_000)
    return {strength.BIAS: round(float(bias), 4)} | {
        name: round(float(slope), 4) for name, slope in zip(names, slopes, strict=True)
    }


def write(path: Path, coefficients: Mapping[str, float], learners: Sequence[Learner]) -> None:
    """``weights.json``, with the command that made it and what it was learned from."""
    content = {
        "made_by": "python -m bot.scorecard fit",
        "streams": len(learners),
        "states": sum(len(learner.states) for learner in learners),
        "ordinary_posts": sum(learner.posts for learner in learners),
        "false_per_50k": FALSE_PER_50K,
        "strength": dict(coefficients),
    }
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _fitted(values: Any, real: Any, weights: Any, names: Sequence[str]) -> Any:
    """Weighted logistic regression with a ridge, each slope with the sign that it may have."""
    from scipy import optimize

    def loss(parameters: Any) -> tuple[float, Any]:
        z = values @ parameters[1:] + parameters[0]
        p = 1.0 / (1.0 + np.exp(-np.clip(z, -40.0, 40.0)))
        error = weights * (p - real)
        gradient = np.concatenate([[error.sum()], values.T @ error + RIDGE * parameters[1:]])
        return float(
            (weights * (np.logaddexp(0.0, z) - real * z)).sum() + RIDGE / 2 * (parameters[1:] ** 2).sum()
        ), gradient

    bounds = [(None, None), *((None, 0.0) if name in LOWERS else (0.0, None) for name in names)]
    start = np.zeros(len(names) + 1)
    return optimize.minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x[1:]


def _balanced(found: Sequence[State]) -> Any:
    """EARLY for each happening, shared by its states; 1 for each of ordinary posts."""
    counts: dict[str, int] = {}
    for state in found:
        if state.real:
            counts[state.stream] = counts.get(state.stream, 0) + 1
    return np.array([EARLY / counts[state.stream] if state.real else 1.0 for state in found])


def _bar(found: Sequence[State], scores: Any, allowed: float) -> float:
    """The least score above which at most ``allowed`` clusters of ordinary posts ever come."""
    best: dict[tuple[str, int], float] = {}
    for state, score in zip(found, scores.tolist(), strict=True):
        if not state.real:
            key = (state.stream, state.cluster)
            best[key] = max(best.get(key, -np.inf), score)
    ranked = sorted(best.values(), reverse=True)
    if not ranked:
        raise TocsinError("the ordinary posts of these streams form no cluster: there is nothing to learn from")
    return ranked[min(int(allowed), len(ranked) - 1)] + 1e-3


def _matrix(found: Sequence[State], names: Sequence[str]) -> Any:
    return np.array([[state.features[name] for name in names] for state in found], dtype=np.float64)
