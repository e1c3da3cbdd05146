"""``python -m tests.mutants [NAME …]``: break one rule of access at a time and see who notices.

A mutant is a module's source with one passage changed, put in place of the module's own for as long as it is looked
for. Exit status 1 where one is not found.
"""

import contextlib
import importlib
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from tests import stories
from tests.stateful import leakhunt, test_non_interference

SEEDS, STEPS = range(120), 25


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """``old`` must stand exactly once in the module's source; ``owner``: the class whose method it stands in, None for
    a function. ``by``: who is to notice."""

    name: str
    module: str
    old: str
    new: str
    owner: str | None = None
    by: str = "leak hunt"


MUTANTS = (
    Mutant(
        name="the second check in the claim removed",
        module="bot.store.claiming",
        old="if not decision.allowed:\n                deliveries.deny(db, found,",
        new="if False:\n                deliveries.deny(db, found,",
    ),
    Mutant(
        name="parked before the fence",
        module="bot.revoking",
        old="deliveries.withhold_denied(db, touched, after, at)",
        new="deliveries.withhold_denied(db, touched, before, at)",
    ),
    Mutant(
        name="a cached decision",
        module="bot.store.claiming",
        old="policy = policy or access.policy(db)",
        new="policy = policy or _KEPT.setdefault(id(db), access.policy(db))",
    ),
    Mutant(
        name="an edit that does not ask",
        module="bot.store.claiming",
        old="decision = deliveries.decide_row(db, found, policy, at)",
        new="decision = decision if act is Act.EDIT else deliveries.decide_row(db, found, policy, at)",
    ),
    Mutant(
        name="a digest that does not ask",
        module="bot.store.claiming",
        old="if not decision.allowed or alert is None:",
        new="if alert is None:",
    ),
    Mutant(
        name="a button that does not ask",
        module="bot.pressing",
        old='if not decision.allowed:\n        return _Refused(f"no longer',
        new='if False:\n        return _Refused(f"no longer',
    ),
    Mutant(
        name="quotes without asking for evidence",
        module="bot.store.claiming",
        old="quotes=posts.quotes(db, alert.quotes) if seen else (),",
        new="quotes=posts.quotes(db, alert.quotes),",
    ),
    Mutant(
        name="a decision that does not look at the View",
        module="bot.domain.access",
        old="if request.view is not None and not request.view.within(",
        new="if False and not request.view.within(",
    ),
    Mutant(
        name="routing that does not look at the permitted View",
        module="bot.pipeline.routing",
        old="if rules.permitted(policy, org, at) != view:",
        new="if rules.permitted(policy, org, at).empty:",
        by="non-interference",
    ),
    Mutant(
        name="a detector that hears barred posts",
        module="bot.detection.detector",
        old="if not self.view.permits(post.provider):",
        new="if False:",
        owner="Detector",
        by="non-interference",
    ),
    Mutant(
        name="messages that stand are not reconciled",
        module="bot.pipeline.reconciling",
        old="    roots, waiting = [], False\n",
        new="    return Overdue(roots=[], waiting=False)\n    roots, waiting = [], False\n",
    ),
    Mutant(
        name="in flight is not reported",
        module="bot.store.deliveries",
        old="return counts[State.QUEUED], counts[State.HELD], in_flight",
        new="return counts[State.QUEUED], counts[State.HELD], []",
    ),
    Mutant(
        name="the proposer approves",
        module="bot.approving",
        old='if actor.operator == found["proposer"]:',
        new="if False:",
    ),
    Mutant(
        name="after a crash nothing is looked for",
        module="bot.pipeline.delivering",
        old="if sending.uncertain and",
        new="if False and",
        owner="Delivering",
    ),
    Mutant(
        name="after a crash nothing is recovered",
        module="bot.pipeline.delivering",
        old="found = await self._database.write(claiming.recover, self._now())",
        new="found = 0",
        owner="Delivering",
    ),
)


@contextlib.contextmanager
def in_place(mutant: Mutant) -> Iterator[None]:
    """The module with the passage changed; afterwards it is exactly what it was."""
    module = importlib.import_module(mutant.module)
    path = Path(str(module.__file__))
    source = path.read_text(encoding="utf-8")
    found = source.count(mutant.old)
    if found != 1:
        raise LookupError(f"{mutant.name}: its passage stands {found} times in {path.name}; write the mutant anew")
    before = dict(module.__dict__)
    module.__dict__["_KEPT"] = {}
    try:
        exec(compile(source.replace(mutant.old, mutant.new), str(path), "exec"), module.__dict__)
        kept = {name: each for name, each in before.items() if isinstance(each, type) and name != mutant.owner}
        module.__dict__.update(kept)  # the rest of the program knows these
        yield
    finally:
        module.__dict__.clear()
        module.__dict__.update(before)


def noticed(mutant: Mutant, seeds: Sequence[int] = SEEDS) -> str | None:
    """What was noticed, in a line; None: nothing."""
    with in_place(mutant):
        return _hunt(seeds) if mutant.by == "leak hunt" else _compare()


def _hunt(seeds: Sequence[int]) -> str | None:
    for seed in seeds:
        try:
            leakhunt.run_one(seed, steps=STEPS)
        except AssertionError as error:
            said = str(error).splitlines() or [type(error).__name__]
            return f"schedule {seed}: {said[0]}"
    return None


def _compare() -> str | None:
    stream, barred = stories.stream(), {"x"}
    seen = test_non_interference.received(stream, barred)
    expected = test_non_interference.received(test_non_interference.without(stream, barred), barred)
    if seen == expected:
        return None
    return f"{len(seen[0])} messages and {len(seen[1])} rows where {len(expected[0])} and {len(expected[1])} were due"


def main(names: Sequence[str]) -> int:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    missed = 0
    for mutant in MUTANTS:
        if names and mutant.name not in names:
            continue
        started = time.monotonic()
        found = noticed(mutant)
        missed += found is None
        took = time.monotonic() - started
        print(f"{mutant.name:<50} {mutant.by:<17} {took:5.1f} s  {(found or 'NOT NOTICED')[:110]}")  # noqa: T201
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
