"""What is measured with: the rehearsal's chatter, and its reports of happenings at about one in a hundred posts."""

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from bot.detection import candidates
from bot.domain.post import Candidate, Official, Post
from bot.ingest import lines
from bot.rehearsal import chatter, scenario
from bot.rehearsal.scripted import Scripted, read_happenings
from classifiers.api import Classifier

REPORTS_SHARE = 0.01
AT_ONCE = 5  # reports of one happening come together: enough to raise it
RATE = 50.0  # posts a second of stream time
# The grammar never says a sentence twice, so there is an end to what it can say: then the same posts under new ids.
CHATTER_MOST = 5_000
ROUND = timedelta(hours=12)  # by then a happening is over, and the same reports are a new one


def posts(count: int, *, reports: int | None = None) -> Iterator[Post]:
    """``count`` posts, ``RATE`` a second of stream time from the scenario's start; the same ones at every call."""
    told = max(AT_ONCE, round(count * REPORTS_SHARE)) if reports is None else reports
    told = min(told, count)
    places = {int((number + 0.5) * count / told) for number in range(told)} if told else set()
    reported, ordinary = _reports(), _chatter(count)
    for number in range(count):
        script, turn = next(reported if number in places else ordinary)
        yield _post(script, turn, scenario.START + timedelta(seconds=number / RATE))


def to_lines(given: Iterator[Post] | Sequence[Post]) -> Iterator[bytes]:
    """The same as Post lines, each with its line end."""
    for each in given:
        yield json.dumps(lines.to_line(each), ensure_ascii=False).encode() + b"\n"


def candidates_of(classifier: Classifier, rounds: int) -> list[Candidate]:
    """The rehearsal's reports as the model judges them, ``rounds`` times over: each round happens anew."""
    scripts = sorted(read_happenings(), key=lambda script: script.at)
    answers = classifier.classify([script.text for script in scripts])
    found: list[Candidate] = []
    for turn in range(rounds):
        for script, answer in zip(scripts, answers, strict=True):
            at = scenario.START + turn * ROUND + timedelta(seconds=script.at)
            post, seq = _post(script, turn, at), len(found) + 1
            if post.official is not None:
                found.append(candidates.make_official(post, seq, at))
            elif (made := candidates.make(post, answer, seq=seq, stream_at=at)) is not None:
                found.append(made)
    return found


def at(post: Post, moment: datetime) -> Post:
    """The post as if it had been written and received at ``moment``."""
    return replace(post, created_at=moment, received_at=moment)


def _reports() -> Iterator[tuple[Scripted, int]]:
    """The first few reports of every happening, then the next few of each; all told, it begins again."""
    by_happening: dict[str | None, list[Scripted]] = {}
    for script in read_happenings():
        by_happening.setdefault(script.happening, []).append(script)
    longest = max(len(told) for told in by_happening.values())
    for turn in itertools.count():
        for start in range(0, longest, AT_ONCE):
            for told in by_happening.values():
                yield from ((script, turn) for script in told[start : start + AT_ONCE])


def _chatter(count: int) -> Iterator[tuple[Scripted, int]]:
    block = min(count, CHATTER_MOST)
    for turn in itertools.count():
        said = chatter.chatter(block, span_s=block / RATE, start_ms=int(scenario.START.timestamp() * 1000))
        yield from ((script, turn) for script in said)


def _post(script: Scripted, turn: int, moment: datetime) -> Post:
    again = f"-{turn}" if turn else ""
    official = None
    if script.official is not None:
        given = script.official
        official = Official(
            category=given["category"],
            certainty=given.get("certainty") or "observed",
            supersedes=tuple(f"{each}{again}" for each in given.get("supersedes") or ()),
            cancelled=bool(given.get("cancelled")),
        )
    return Post(
        provider=script.source,
        id=script.id + again,
        text=script.text,
        created_at=moment,
        received_at=moment,
        author=script.author + again,
        langs=tuple(script.langs),
        url=script.url,
        repost_of=script.repost_of and script.repost_of + again,
        reply_to=script.reply_to and script.reply_to + again,
        lat=script.lat,
        lon=script.lon,
        media=tuple(script.media),
        verified=script.verified,
        official=official,
    )
