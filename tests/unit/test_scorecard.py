"""The alternatives that detection is measured beside, and the figures over streams; posts written for this test."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from bot.domain.post import Post
from bot.scorecard import figures, report, runs
from bot.scorecard.figures import Scored
from bot.scorecard.streams import Replay, Stream
from classifiers.api import Classification, PlaceSpan
from tests.shared import needs_train

START = datetime(2031, 5, 14, 14, 0, tzinfo=UTC)


def posts(*texts, every=20, author=None):
    return [
        Post(
            provider="x",
            id=f"p{number}",
            text=text,
            created_at=START + timedelta(seconds=every * number),
            received_at=START + timedelta(seconds=every * number),
            author=author,
        )
        for number, text in enumerate(texts)
    ]


QUIET = [
    "What a lovely morning for a walk along the canal",
    "My sister finally finished her degree, so proud",
    "Does anybody have a spare charger for an old phone",
    "That match last night was the worst of the season",
]
BANG = [
    "Huge explosion at the harbour in Velmora just now",
    "Explosion in Velmora harbour, windows shaking here",
    "Something blew up, explosion near Velmora harbour",
]


@needs_train
def test_three_similar_posts_make_a_first_story_and_chatter_makes_none():
    from bot.scorecard import alternatives

    stream = posts(*QUIET, *BANG, *QUIET)
    stories, alerts = alternatives.first_stories(stream, nearest=0.25)
    assert len(stories) == len(stream)
    assert [alert["evidence"] for alert in alerts] == [["p4", "p5", "p6"]]
    assert alerts[0]["category"] == "explosion"


@needs_train
def test_copies_and_one_author_are_one_voice_of_a_story():
    from bot.scorecard import alternatives

    assert alternatives.first_stories(posts(*QUIET, BANG[0], BANG[0], "RT @someone: " + BANG[0]), nearest=0.6)[1] == []
    assert alternatives.first_stories(posts(*QUIET, *BANG, author="one"), nearest=0.25)[1] == []


@needs_train
def test_a_burst_of_one_categorys_words_is_raised_once():
    from bot.scorecard import alternatives

    alerts = alternatives.bursts(posts(*QUIET, *BANG, "Another explosion heard across the bay"))
    assert [alert["category"] for alert in alerts] == ["explosion"]


@needs_train
def test_an_empty_stream_raises_nothing():
    from bot.scorecard import alternatives

    assert alternatives.first_stories([]) == ([], [])
    assert alternatives.bursts([]) == []


def scored(*, detected=True, false=(), may_lead=True, **card):
    stream = Stream(
        replay=Replay(name="invented", happening="invented", group=0, path=Path("invented.jsonl.gz")),
        half=0,
        fast=False,
        posts=Path("invented.jsonl"),
        truth=Path("invented.truth.json"),
    )
    whole = {
        "detected": detected, "independent_before_alert": 3, "after_third_independent_s": 0.0,
        "before_first_media_s": 60.0, "category": "flood", "category_correct": True, "place_error_km": 10.0,
        "country_correct": True, "level_max": "alert", "duplicates": 0, "headline": "Flood",
    }  # fmt: skip
    return Scored(
        stream=stream, card=whole | card, false=list(false), background=25_000, may_lead=may_lead, independent=5
    )


def test_what_was_missed_counts_against_detection_and_against_being_ahead():
    missed = scored(
        detected=False, independent_before_alert=None, after_third_independent_s=None, before_first_media_s=None,
        category=None, category_correct=None, place_error_km=None, country_correct=None,
    )  # fmt: skip
    result = figures.together([scored(), missed, scored(before_first_media_s=-5.0), scored(may_lead=False)])
    assert result["detected"] == 0.75
    assert result["ahead_of_media"] == round(1 / 3, 4)
    assert result["category"] == 1.0


def test_false_alerts_are_counted_by_level_and_over_the_background():
    false = [{"level": "alert"}, {"level": "urgent"}]
    result = figures.together([scored(false=false), scored()])
    assert (result["false"], result["false_urgent"], result["false_per_50k"]) == (2, 1, 2.0)


def test_the_table_names_a_stream_that_was_not_detected():
    missed = scored(detected=False)
    together = figures.together([missed])
    table = report.tables(
        {"together": {"Tocsin": together}, "without": {"place": together}, "streams": [report.row(missed)]}
    )
    assert "| | everything | without place | bar |" in table
    assert "| invented-0 | not detected |" in table
    assert "| replays detected | 0% | ≥ 90 % |" in table


def test_a_part_that_is_left_out_leaves_the_rest_as_it_is():
    post = posts(BANG[0])[0]
    said = Classification(
        categories={"explosion": 0.9},
        places=(PlaceSpan(text="Velmora", start=31, end=38, type="LOC"),),
        embedding=np.ones(384, dtype=np.float32),
        model="m1",
    )
    ((same, placeless),), ((_, vectorless),) = runs.placeless([(post, said)]), runs.vectorless([(post, said)])
    assert same is post
    assert placeless.places == ()
    assert placeless.embedding.all()
    assert vectorless.places == said.places
    assert not vectorless.embedding.any()
