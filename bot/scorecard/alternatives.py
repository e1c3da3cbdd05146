"""What detection has to beat, over the same streams: first-story detection on TF-IDF, and a burst of crisis words.

Both take every post of a stream and raise one alert a cluster; neither reposts nor near-copies count, nor an author
twice. Needs the extra ``train``.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from bot.detection import words
from bot.domain import times
from bot.domain.post import Post
from bot.scorecard import wordlists
from classifiers.taxonomy import CATEGORIES

WINDOW = timedelta(hours=24)
NEAREST = 0.4
"""Cosine similarity from which a post belongs to the story of its nearest neighbour; the published method tunes 0.25 to
0.45 (Mazoyer et al. 2020, "A French corpus for event detection on Twitter")."""
VOICES = 3
BATCH = 64
BURST_WINDOW = timedelta(minutes=10)
BURST_COUNT, BURST_FACTOR = 3, 4.0
"""So many independent posts with a category's words in the window, and so many times what the day so far gives."""


@dataclass(slots=True)
class Story:
    """``voices``: independent posts."""

    number: int
    evidence: list[Post] = field(default_factory=list)
    fingerprints: set[str] = field(default_factory=set)
    authors: set[str] = field(default_factory=set)
    voices: int = 0
    raised: bool = False

    def add(self, post: Post) -> None:
        """Keep the post, and count it where it is a voice of its own."""
        self.evidence.append(post)
        print_ = words.fingerprint(post.text)
        known = print_ in self.fingerprints or (post.author is not None and post.author in self.authors)
        if post.repost_of is None and not words.is_textual_repost(post.text) and not known:
            self.voices += 1
        self.fingerprints.add(print_)
        if post.author is not None:
            self.authors.add(post.author)


def first_stories(
    posts: Sequence[Post], *, crisis_words: bool = False, nearest: float = NEAREST
) -> tuple[list[int], list[dict[str, Any]]]:
    """The story of each post, and an alert for each that has VOICES independent ones.

    ``crisis_words``: only posts that hold one of the keyword list's. TF-IDF weights are those of the stream's own
    texts. The nearest post of WINDOW decides, as in Petrović et al. 2010.
    """
    found = [post for post in posts if not crisis_words or _category(post.text) is not None]
    stories: list[Story] = []
    of: list[int] = []
    alerts: list[dict[str, Any]] = []
    if not found:
        return of, alerts
    vectors = TfidfVectorizer(min_df=2, sublinear_tf=True, dtype=np.float32).fit_transform(
        words.cleaned(post.text).lower() for post in found
    )
    oldest = 0
    for start in range(0, len(found), BATCH):
        end = min(start + BATCH, len(found))
        while found[start].created_at - found[oldest].created_at > WINDOW:
            oldest += 1
        near = (vectors[start:end] @ vectors[oldest:end].T).tocsr()
        for at in range(start, end):
            row = near[at - start]
            earlier = row.indices < at - oldest
            best = int(row.data[earlier].argmax()) if earlier.any() else -1
            if best >= 0 and row.data[earlier][best] >= nearest:
                story = stories[of[oldest + int(row.indices[earlier][best])]]
            else:
                story = Story(len(stories))
                stories.append(story)
            of.append(story.number)
            story.add(found[at])
            if story.voices >= VOICES and not story.raised:
                story.raised = True
                alerts.append(_alert(story, _category(story.evidence[-1].text) or "none", found[at].created_at))
    return of, alerts


def bursts(posts: Sequence[Post]) -> list[dict[str, Any]]:
    """An alert when a category's words come more often than they did so far; silence for a window ends a burst."""
    alerts: list[dict[str, Any]] = []
    recent: dict[str, deque[Post]] = {category: deque() for category in CATEGORIES}
    totals = dict.fromkeys(CATEGORIES, 0)
    quiet_until: dict[str, datetime] = {}
    begun = posts[0].created_at if posts else None
    for number, post in enumerate(posts):
        category = _category(post.text)
        if category is None or begun is None:
            continue
        line = recent[category]
        line.append(post)
        totals[category] += 1
        while post.created_at - line[0].created_at > BURST_WINDOW:
            line.popleft()
        story = Story(number)
        for each in line:
            story.add(each)
        windows = max(1.0, (post.created_at - begun) / BURST_WINDOW)
        usual = (totals[category] - len(line)) / windows
        silent = category in quiet_until and post.created_at < quiet_until[category]
        if story.voices >= max(BURST_COUNT, BURST_FACTOR * usual):
            if not silent:
                alerts.append(_alert(story, category, post.created_at))
            quiet_until[category] = post.created_at + BURST_WINDOW
    return alerts


def _category(text: str) -> str | None:
    """The category with most of the keyword list's words in the text."""
    counts = wordlists.counts(text)
    best = max(counts, key=lambda category: counts[category])
    return best if counts[best] else None


def _alert(story: Story, category: str, at: datetime) -> dict[str, Any]:
    event = f"story-{story.number}"
    return {
        "alert": f"{event}-1",
        "event": event,
        "revision": 1,
        "kind": "new",
        "level": "alert",
        "category": category,
        "categories": {category: 1.0},
        "headline": "",
        "place": None,
        "first_post_at": times.to_text(story.evidence[0].created_at),
        "raised_at": times.to_text(at),
        "posts": len(story.evidence),
        "authors": story.voices,
        "sources": ["x"],
        "evidence": [post.id for post in story.evidence],
    }
