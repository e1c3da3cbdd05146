"""A model under a million posts: does its memory stay bounded? Generated, distinct, seeded; one in a hundred a crisis.

No part of the service. tqdm shows how far it is: the extra ``train`` brings it.
"""

from __future__ import annotations

import itertools
import random
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from classifiers.api import CANDIDATE, Classifier

BATCH = 256
"""As the service gathers them."""
CRISIS_SHARE = 0.01
TENTHS = 10
COMMON_SHARE = 0.8
"""Of the words drawn; the others are invented."""

_PLACES = (
    "Port Calder", "Velmont", "Lower Arden", "Houston", "Manila", "Kathmandu", "Lyon", "Lagos", "Osaka", "Quito",
    "Mombasa", "Thessaloniki", "Valparaíso", "Christchurch", "Gdańsk", "Tulsa", "Izmir", "Hull", "Perth", "Cali",
)  # fmt: skip
_CRISES = (
    "Massive explosion near the harbour in {place}, {number} windows shattered",
    "earthquake!! the whole house just shook here in {place}, lasted {number} seconds",
    "River burst its banks in {place}, {number} streets under water, people on roofs",
    "Train derailed outside {place}, {number} people trapped in the carriages",
    "Shots fired at the mall in {place}, everyone running, {number} hurt",
    "Wildfire jumped the road at {place}, {number} homes evacuated right now",
    "BREAKING: building collapsed in {place}, rescuers say {number} missing",
    "ransomware took down the hospital in {place}, {number} systems offline this morning",
    "tornado on the ground near {place}, take cover now, {number} houses gone",
    "chemical leak at the plant in {place}, {number} workers taken to hospital",
)
_ORDINARY = (
    "good morning {place}, coffee number {number} and {word} {word}",
    "just finished chapter {number} of my {word} book, so {word}",
    "anyone up for {word} {word} tonight in {place}? table for {number}",
    "my {word} has {number} followers now and I am {word} {word} 😂😂",
    "{number} days until the {word} festival #{word} #{word}",
    "reading about {word}: https://example.org/{word}/{number} thoughts?",
    "@{word}{number} that {word} take is {word}, sorry",
    "new music: {word} {word} – track {number} is fire 🔥",
    "this {word} cake is an explosion of {word}, {number}/10",
    "the {place} game last night!!! {number} points, what a {word} crash at the end",
    "hoy es un día {word} en {place}, {number} grados y mucho {word}",
    "heute {number} Stunden {word} gemacht, {word} war super",
    "{word} {word} {word} {word} {word} {number}",
    "今日はいい天気ですね {number} {word}",
    "صباح الخير {place} {number}",
    "🎉🎉🎉 {number}",
    "LF {word} {word} WTS {number} dm me",
    "ten years ago the flood took our {word} in {place}. {number} of us remember",
)
_COMMON = (
    "summer", "coffee", "garden", "music", "happy", "strange", "little", "blue", "winter", "kitchen",
    "friend", "morning", "school", "football", "lovely", "boring", "movie", "train", "weather", "phone",
    "sister", "holiday", "birthday", "cat", "market", "story", "dance", "quiet", "river", "chocolate",
    "paper", "office", "guitar", "ocean", "sleepy", "window", "monday", "bread", "yellow", "dream",
    "tired", "perfect", "camera", "teacher", "novel", "pizza", "puppy", "photo",
)  # fmt: skip
_SYLLABLES = tuple(map("".join, itertools.product("bdfghklmnprst", "aeiou")))


def soak(model: Classifier, posts: int = 1_000_000, *, seed: int = 1) -> dict[str, Any]:
    """Stream `posts` generated posts through the screen, classify what passes. The answer is ready for JSON.

    `rss_mib` holds the process's resident memory at the start (model loaded), after every tenth, and so at the end;
    `growth_mib` is what came after the first tenth, by when every buffer should have its size.
    """
    from tqdm import tqdm

    started = time.monotonic()
    rss = [resident_mib()]
    passed = candidates = crises_passed = crises = done = 0
    stream = generate(posts, seed=seed)
    with tqdm(total=posts, unit="posts", mininterval=1.0) as progress:
        progress.write(f"start: {rss[0]:.0f} MiB", file=sys.stderr)
        while batch := list(itertools.islice(stream, BATCH)):
            kept = model.screen([text for text, _ in batch])
            for answer in model.classify([text for (text, _), keep in zip(batch, kept, strict=True) if keep]):
                candidates += answer.top[1] >= CANDIDATE
            passed += sum(kept)
            crises += sum(crisis for _, crisis in batch)
            crises_passed += sum(crisis and keep for (_, crisis), keep in zip(batch, kept, strict=True))
            done += len(batch)
            progress.update(len(batch))
            while done * TENTHS >= len(rss) * posts and len(rss) <= TENTHS:
                rss.append(resident_mib())
                progress.write(f"{len(rss) - 1}0 %: {rss[-1]:.0f} MiB", file=sys.stderr)
    seconds = time.monotonic() - started
    return {
        "model": model.version,
        "posts": done,
        "seed": seed,
        "crises": crises,
        "passed": passed,
        "crises_passed": crises_passed,
        "candidates": candidates,
        "rss_mib": [round(each, 1) for each in rss],
        "growth_mib": round(rss[-1] - rss[min(1, len(rss) - 1)], 1),
        "peak_mib": round(_peak_mib(), 1),
        "seconds": round(seconds, 1),
        "per_second": round(done / max(seconds, 1e-9), 1),
    }


def generate(posts: int, *, seed: int = 1) -> Iterator[tuple[str, bool]]:
    """Distinct texts, each with whether it reads like a crisis. The same seed gives the same stream."""
    chance = random.Random(seed)
    for number in range(posts):
        crisis = chance.random() < CRISIS_SHARE
        text = chance.choice(_CRISES if crisis else _ORDINARY).format_map(_Filler(chance, number))
        yield text, crisis


class _Filler(dict[str, str]):
    """What stands in a template's braces. `number` stands in each and is the post's own, so no text comes twice."""

    def __init__(self, chance: random.Random, number: int) -> None:
        super().__init__(number=str(number + 2))
        self._chance = chance

    def __missing__(self, key: str) -> str:
        if key == "place":
            return self._chance.choice(_PLACES)
        if self._chance.random() < COMMON_SHARE:
            return self._chance.choice(_COMMON)
        # Never seen before, which is the worst for anything that remembers words.
        return "".join(self._chance.choices(_SYLLABLES, k=self._chance.randint(1, 4)))


def resident_mib() -> float:
    """The process's resident memory now; where /proc is missing, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return _peak_mib()
    return pages * resource.getpagesize() / 2**20


def _peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20
