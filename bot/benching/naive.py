"""Ours against the obvious way, ``classifiers.naive``: turn about on the same posts, so that a machine that slows down
or has other work slows down both."""

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from bot.benching import machine
from classifiers import naive
from classifiers.api import Classifier, ModelError

OURS = "ours, same posts"
BATCHES = (1, 32)
SLICE = 96  # posts that each way gets in a round: about two seconds of the slowest on two cores
ROUNDS = 9
WARM_UP = 32


def measure(
    classifier: Classifier, texts: Sequence[str], threads: int, rounds: int, advance: Callable[[int], None]
) -> list[dict[str, Any]]:
    """A row for ours and one for each batch size, with ``ratio``, ours : it, the median of ``ratios``, one a round.

    Fewer rounds where the texts are too few. Without the extra or the weights there is no row of ours, and the others
    have no numbers: ``why_not`` says what is missing.
    """
    names = {batch: f"naive, batch {batch}" for batch in BATCHES}
    try:
        with naive.opened(threads=threads) as classify:
            ways: dict[str, Callable[[Sequence[str]], Any]] = {OURS: classifier.classify}
            for batch, name in names.items():
                ways[name] = lambda part, batch=batch: classify(part, batch)  # type: ignore[misc]
            slices = slices_of(texts, rounds)
            spent = _alternate(ways, slices, advance)
    except (ImportError, ModelError) as error:
        missing = error.name if isinstance(error, ImportError) else None
        why_not = f"{missing} is not installed: pip install 'tocsin[train]'" if missing else str(error)
        nothing: dict[str, Any] = {
            "items": 0,
            "per_second": None,
            "rounds": 0,
            "ratio": None,
            "ratios": [],
            "why_not": why_not,
        }
        return [{"stage": name, "unit": "posts", "batch": batch} | nothing for batch, name in names.items()]
    items = sum(map(len, slices))
    said = f"the shipped model, each post alone, {threads} threads"
    found = [_row(OURS, None, spent[OURS], items) | {"ratio": None, "ratios": [], "what": said}]
    for batch, name in names.items():
        pairs = zip(spent[OURS], spent[name], strict=True)
        ratios = [theirs.seconds / mine.seconds for mine, theirs in pairs]
        found.append(
            _row(name, batch, spent[name], items)
            | {"ratio": round(statistics.median(ratios), 2), "ratios": [round(ratio, 2) for ratio in ratios]}
            | {"what": f"transformers.pipeline, float32, {threads} threads; {naive.HEAD}"}
        )
    return found


def slices_of(texts: Sequence[str], rounds: int) -> list[list[str]]:
    """At most ``rounds`` slices of at most ``SLICE`` texts, no text twice, each evenly from beginning to end."""
    rounds = max(1, min(rounds, len(texts) // SLICE))
    count = min(rounds * SLICE, len(texts))
    taken = [texts[number * len(texts) // count] for number in range(count)]
    return [taken[number::rounds] for number in range(rounds)]


def _alternate(
    ways: dict[str, Callable[[Sequence[str]], Any]], slices: Sequence[Sequence[str]], advance: Callable[[int], None]
) -> dict[str, list[machine.Timed]]:
    """Each slice by each way, one after the other; every round begins with another way."""
    for run in ways.values():
        run(slices[0][:WARM_UP])
    names = list(ways)
    spent: dict[str, list[machine.Timed]] = {name: [] for name in names}
    for number, part in enumerate(slices):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            watch = machine.Stopwatch()
            ways[name](part)
            spent[name].append(watch.read())
            advance(len(part))
    return spent


def _row(name: str, batch: int | None, spent: Sequence[machine.Timed], items: int) -> dict[str, Any]:
    total = machine.Timed(
        seconds=sum(each.seconds for each in spent), cpu_seconds=sum(each.cpu_seconds for each in spent)
    )
    return {"stage": name, "unit": "posts", "batch": batch} | total.rates(items) | {"rounds": len(spent)}
