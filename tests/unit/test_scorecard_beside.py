"""What stands beside the streams: clusterings, word lists, alert rate, speed, picture; posts written for this test."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from bot.detection.places import Gazetteer
from bot.detection.weights import Weights
from bot.domain.post import Post
from bot.scorecard import mixing, report, runs, speed, unlabelled, wordlists
from bot.scorecard.figures import Scored
from bot.scorecard.mixing import Mixed
from bot.scorecard.streams import Replay, Stream
from classifiers.api import CATEGORIES, EMBEDDING_SIZE, Classification
from tests import shared
from tests.shared import needs_train

START = datetime(2031, 5, 14, 14, 0, tzinfo=UTC)
NOWHERE = Gazetteer([], {}, {})

HARBOUR = [
    "Huge explosion at the harbour in Velmora just now",
    "Explosion in Velmora harbour shook every window of ours",
    "Velmora harbour: something blew up, explosion and black smoke",
    "We all ran when the explosion hit the Velmora harbour",
]
RIVER = [
    "The Sarn river is over its banks, Quillmoor is flooding fast",
    "Flood water in Quillmoor up to the doors of the bakery",
    "Quillmoor bridge is gone, the flood took it before our eyes",
    "Flood in Quillmoor, my neighbours sit on their roof",
]
CHATTER = ["What a lovely morning for a walk along the canal", "My sister finally finished her degree, so proud"]


def at(seconds):
    return START + timedelta(seconds=seconds)


def posts(*texts, every=20, prefix="p", begin=0):
    return [
        Post(
            provider="x", id=f"{prefix}{number}", text=text, created_at=at(begin + every * number),
            received_at=at(begin + every * number), author=f"{prefix}{number}",
        )
        for number, text in enumerate(texts)
    ]  # fmt: skip


def said(text):
    """Explosion, flood or nothing at all, each in a direction of its own."""
    vector = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
    category = "explosion" if "xplosion" in text else "flood" if "lood" in text else None
    vector[3 + list(CATEGORIES).index(category) if category else len(text) % 3] = 1.0
    return Classification(
        categories={each: 0.95 if each == category else 0.01 for each in CATEGORIES},
        places=(),
        embedding=vector,
        model="invented",
    )


def together(*lists):
    """One of each list in turn, every 20 seconds."""
    return posts(*(text for some in zip(*lists, strict=True) for text in some))


def labelled(some, happenings):
    from bot.scorecard.clusterings import Labelled

    return Labelled(name="invented", group=0, posts=some, happenings=happenings)


@needs_train
def test_two_happenings_at_once_are_two_clusters_and_improbable_posts_are_in_some_too():
    from bot.scorecard import clusterings

    stream = [*together(HARBOUR, RIVER), *posts(*CHATTER, prefix="c", every=1)]
    found = clusterings.clusters(stream, said, NOWHERE, Weights())
    assert found[:8] == [found[0], found[1]] * 4
    assert len({found[0], found[1], found[8]}) == 3
    assert min(found) > 0


@needs_train
def test_labels_follow_unions_and_splits_and_outlive_the_cluster_and_a_post_in_none_stands_alone(monkeypatch):
    from bot.scorecard import clusterings

    script = [
        {1: "0"},
        {1: "01"},
        {1: "01", 2: "2"},
        {1: "0123"},  # united
        {1: "0123"},  # 4 joins none
        {1: "012", 3: "35"},  # split
        {3: "35"},  # 1 expires, 6 joins none
        {3: "35", 4: "7"},
    ]

    class Scripted:
        def __init__(self, *_):
            self.live = {}

        def add(self, candidate):
            self.live = script[int(candidate.post.id[1:])]

        def clusters(self):
            return [
                SimpleNamespace(number=number, members=[f"x|p{each}" for each in members])
                for number, members in self.live.items()
            ]

    monkeypatch.setattr(clusterings, "_Open", Scripted)
    found = clusterings.clusters(posts(*HARBOUR, *RIVER), said, NOWHERE, Weights())
    assert found == [1, 1, 1, 3, -5, 3, -7, 4]


@needs_train
def test_only_relevant_posts_are_scored_and_one_cluster_of_everything_scores_nothing():
    from bot.scorecard import clusterings

    stream = together(HARBOUR, RIVER)
    happenings = {post.id: "harbour" if number % 2 == 0 else "river" for number, post in enumerate(stream)}
    some = labelled([*stream, *posts(*CHATTER, prefix="c")], happenings)
    assert clusterings.figures(some, [7, 8] * 4 + [7, 8]) == {"ami": 1.0, "ari": 1.0, "clusters": 2}
    assert clusterings.figures(some, [7] * 8 + [8, 9]) == {"ami": 0.0, "ari": 0.0, "clusters": 1}


@needs_train
def test_sets_weigh_in_the_mean_by_their_posts():
    from bot.scorecard import clusterings

    def row(count, ami):
        scores = {method: {"ami": ami, "ari": ami / 2} for method in clusterings.METHODS}
        return {"posts": count, "scores": scores}

    assert clusterings.mean([row(300, 0.8), row(100, 0.4)])[clusterings.THEIRS] == {"ami": 0.7, "ari": 0.35}


def replayed(folder, name, some, relevant, onset=None):
    """A replay in the shared folder's form."""
    with gzip.open(folder / f"{name}.jsonl.gz", "wt", encoding="utf-8") as file:
        for post in some:
            line = {"source": "x", "id": post.id, "text": post.text, "created_at": post.created_at.isoformat()}
            file.write(json.dumps(line) + "\n")
    truth = {
        "event": name.title(), "event_type": "flood", "onset": onset, "place": None, "first_media": None,
        "relevant_ids": relevant, "ignore_ids": [],
        "first_relevant": next(post.created_at for post in some if post.id in relevant).isoformat(),
    }  # fmt: skip
    (folder / f"{name}.truth.json").write_text(json.dumps(truth), encoding="utf-8")
    return folder / f"{name}.jsonl.gz"


@needs_train
def test_a_groups_happenings_start_at_the_same_moment_though_one_was_recorded_hours_after_its_onset(tmp_path):
    from bot.scorecard import clusterings

    ours = tmp_path / "shared"
    (ours / "data" / "replay").mkdir(parents=True)
    (ours / "tools").symlink_to(shared.require("tools", "mix_stream.py").parent)
    folder = ours / "data" / "replay"
    late = (START - timedelta(hours=30)).isoformat()
    paths = [
        replayed(folder, "harbour", posts(*HARBOUR, prefix="h"), ["h0", "h1", "h2"], onset=late),
        replayed(folder, "river", posts(*RIVER, prefix="r", begin=9_000_000), ["r0", "r1", "r2", "r3"]),
        replayed(folder, clusterings.THREADS, posts(*CHATTER, prefix="t"), ["t0", "t1"]),
    ]
    named = zip(("harbour", "river"), paths, strict=False)
    replays = [Replay(name=name, happening=name, group=0, path=path) for name, path in named]
    group, threads = clusterings.labelled(ours, tmp_path / "cache", replays)
    assert (group.group, threads.group) == (0, None)
    assert len(group.posts) == 8
    assert {post.id for post in group.posts[:2]} == {"h0", "r0"}
    assert group.posts[0].created_at == group.posts[1].created_at
    assert "h3" not in group.happenings
    assert len(set(group.happenings.values())) == 2


def test_a_stream_that_cannot_be_mixed_says_so_and_is_not_taken_for_done(tmp_path):
    (tmp_path / "tools").symlink_to(shared.require("tools", "mix_stream.py").parent)
    with pytest.raises(mixing.TocsinError, match="could not mix nothing"):
        mixing.mix(tmp_path, tmp_path, "nothing", "--replay", str(tmp_path / "absent.jsonl.gz"))
    assert list(tmp_path.glob("*.truth.json")) == []


def test_only_posts_with_a_word_of_the_list_are_judged_and_more_words_make_it_surer():
    one, two = "Flood in Quillmoor", "Flood in Quillmoor, storm surge coming"
    judged = wordlists.judged(posts(*CHATTER, one, two))
    assert [post.text for post, _ in judged] == [one, two]
    assert [classification.top[0] for _, classification in judged] == ["flood", "flood"]
    assert [round(classification.top[1], 2) for _, classification in judged] == [0.9, 0.99]
    assert judged[0][1].categories["cyber"] == 0.0
    assert judged[0][1].places == ()


def test_hashed_words_are_alike_for_texts_with_words_in_common():
    first, second, other = (wordlists.embedding(text) for text in (HARBOUR[0], HARBOUR[1], RIVER[2]))
    assert first.dtype == np.float32
    assert first.shape == (EMBEDDING_SIZE,)
    assert float(first @ first) == pytest.approx(1.0, abs=1e-5)
    assert float(first @ second) > 0.25 > abs(float(first @ other))
    assert np.array_equal(wordlists.embedding("Velmora harbour"), wordlists.embedding("HARBOUR, Velmora!"))
    assert not wordlists.embedding("it is the and of").any()


def test_an_alert_of_an_unlabelled_stream_is_counted_once_whatever_its_revisions():
    more = [f"Explosion at Velmora harbour, I heard {' '.join(f'{word}{n}' for word in 'uvwxyz')}" for n in range(12)]
    stream = posts(*CHATTER, *HARBOUR, *more, every=70)
    judged = [(post, said(post.text)) for post in stream[2:]]
    raised = runs.detect(judged, NOWHERE, Weights())
    assert {alert["kind"] for alert in raised} == {"new", "update"}
    result = unlabelled.rate(stream, judged, NOWHERE, Weights())
    assert (result["posts"], result["alerts"]) == (18, 1)
    assert result["per_10k"] == round(10_000 / 18, 2)
    assert result["listed"][0]["category"] == "explosion"
    assert unlabelled.rate([], [], NOWHERE, Weights())["per_10k"] is None


class Plain:
    """A classifier whose screen drops what is not about an explosion."""

    version = "invented"

    def __init__(self):
        self.classified = []

    def screen(self, texts):
        return ["xplosion" in text for text in texts]

    def classify(self, texts):
        self.classified += texts
        return [said(text) for text in texts]


def test_speed_counts_every_post_and_classifies_what_the_screen_keeps(tmp_path):
    path = tmp_path / "posts.jsonl"
    texts = [*CHATTER, *HARBOUR] * 100
    lines = [
        {"source": "x", "id": post.id, "text": post.text, "created_at": post.created_at.isoformat()}
        for post in posts(*texts, every=0.01)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    classifier, steps = Plain(), []
    mixed = Mixed(posts=path, truth=tmp_path / "truth.json")
    result = speed.measure(mixed, classifier, NOWHERE, Weights(), steps.append)
    assert (result["posts"], result["classified"], sum(steps)) == (600, 400, 600)
    assert len(classifier.classified) == 401
    assert result["per_second"] > 0


def scored(folder, name, independent, raised_at, media=None):
    truth = folder / f"{name}.truth.json"
    event = {
        "event": name, "event_type": "transport_accident", "relevant_at": [at(0).isoformat(), at(900).isoformat()],
        "independent_at": [at(seconds).isoformat() for seconds in independent],
        "first_media": None if media is None else {"created_at": at(media).isoformat()},
    }  # fmt: skip
    truth.write_text(json.dumps({"events": [event]}), encoding="utf-8")
    replay = Replay(name=name, happening=name, group=0, path=Path("invented.jsonl.gz"))
    stream = Stream(replay=replay, half=0, fast=False, posts=Path("invented.jsonl"), truth=truth)
    card = {"detected": raised_at is not None, "raised_at": None if raised_at is None else at(raised_at).isoformat()}
    return Scored(stream=stream, card=card, false=[], background=0, may_lead=False, independent=len(independent))


@needs_train
def test_the_picture_has_the_soonest_first_the_missed_last_and_nothing_that_could_not_be_detected(tmp_path):
    from bot.scorecard import picture

    rows = picture.rows(
        [
            scored(tmp_path, "Velmora tram crash (Line 4)", [0, 60, 90], None),
            scored(tmp_path, "Quillmoor ferry", [0, 600, 900], 1_000, media=1_200),
            scored(tmp_path, "Two voices", [0, 60], 60),
            scored(tmp_path, "Sarn derailment of 2031", [0, 5, 9], 4.5),
        ]
    )
    assert [row.happening for row in rows] == [
        "Sarn derailment of 2031", "Quillmoor ferry, 2031", "Velmora tram crash, 2031",
    ]  # fmt: skip
    assert [(row.third_s, row.alert_s, row.media_s) for row in rows] == [
        (9.0, 4.5, None), (900.0, 1_000.0, 1_200.0), (90.0, None, None),
    ]  # fmt: skip
    assert {row.category for row in rows} == {"transport accident"}
    one, two, none = tmp_path / "one.png", tmp_path / "two.png", tmp_path / "none.png"
    picture.draw(rows, one)
    picture.draw(rows, two)
    picture.draw([], none)
    assert one.read_bytes() == two.read_bytes()
    assert none.read_bytes()[:4] == one.read_bytes()[:4] == b"\x89PNG"


def test_the_report_has_a_column_of_each_score_and_keeps_its_tables_whole():
    scores = {"Tocsin": {"ami": 0.5, "ari": 0.25, "clusters": 3}, "first stories": {"ami": 0.4, "ari": 0.1}}
    result = {
        "clusterings": {
            "sets": [{"set": "group 0", "posts": 12, "happenings": 2, "scores": scores}], "mean": scores,
        },
        "unlabelled": {
            "stream": "invented", "posts": 20_000, "alerts": 3, "per_10k": 1.5,
            "listed": [{"level": "alert", "category": "flood", "headline": "Flood | Quillmoor", "posts": 4}],
        },
        "speed": {"rate": 500, "posts": 1_000, "classified": 50, "seconds": 2.0, "per_second": 500.0},
    }  # fmt: skip
    table = report.sections(result)
    assert "| set | posts | happenings | Tocsin: AMI | ARI | first stories: AMI | ARI |" in table
    assert "| group 0 | 12 | 2 | 0.500 | 0.250 | 0.400 | 0.100 |" in table
    assert "| alert | flood | Flood / Quillmoor | 4 |" in table
    assert "3 alerts over 20,000 posts, 1.5 in 10,000" in table
    assert "500 posts a second" in table
