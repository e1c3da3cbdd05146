"""What readers marked as not relevant: the file is read, and its texts become hard negatives in training."""

import hashlib
import json
import subprocess
import sys

import pytest

from classifiers import data, feedback, taxonomy
from tests import shared
from tests.unit.classifiers.test_classifiers_training import SHARED, needs_base, needs_shared

needs_train = shared.needs_train


def line(**fields):
    defaults = {
        "source": "bluesky",
        "id": "1",
        "text": "The bass at tonight's show was a bomb",
        "langs": ["en"],
        "category": "explosion",
        "irrelevant": 2,
    }
    return defaults | fields


def written(tmp_path, *lines):
    path = tmp_path / "feedback.jsonl"
    path.write_text("".join((each if isinstance(each, str) else json.dumps(each)) + "\n" for each in lines))
    return path


def test_a_text_is_a_hard_negative_of_its_category_and_says_nothing_of_the_others(tmp_path):
    told = feedback.read(written(tmp_path, line()))
    (row,) = told.negatives(2)
    assert (row.text, row.lang, row.split) == ("The bass at tonight's show was a bomb", "en", "train")
    assert row.positive == frozenset()
    assert row.report is False
    assert row.unknown == frozenset(taxonomy.CATEGORIES) - {"explosion"}


def test_only_texts_that_enough_people_marked_are_learnt(tmp_path):
    told = feedback.read(
        written(tmp_path, line(text="one"), line(text="two", irrelevant=1), line(text="three", irrelevant=3))
    )
    assert [row.text for row in told.negatives(2)] == ["one", "three"]
    assert [row.text for row in told.negatives(3)] == ["three"]
    assert len(told.negatives(1)) == 3
    assert told.negatives(4) == []


def test_a_text_that_comes_again_counts_once_with_its_most_presses(tmp_path):
    told = feedback.read(
        written(
            tmp_path,
            line(irrelevant=1),
            line(id="2", irrelevant=4, category="terror_attack"),
            line(id="3", irrelevant=4, category="fire"),
            line(irrelevant=3),
        )
    )
    (row,) = told.negatives(1)
    assert row.event == "feedback_terror_attack"
    assert told.good == 4
    assert len(told.negatives(4)) == 1
    assert told.negatives(5) == []


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("7", "not a JSON object"),
        (line(text=" "), "no text"),
        (line(text=None), "no text"),
        (line(category="astrology"), "category"),
        (line(category=["explosion"]), "category"),
        (line(irrelevant=0), "irrelevant"),
        (line(irrelevant=True), "irrelevant"),
        (line(irrelevant="2"), "irrelevant"),
        (line(langs="en"), "langs"),
        (line(langs=[1]), "langs"),
    ],
)
def test_a_bad_line_is_counted_with_its_number_and_the_rest_is_read(tmp_path, bad, says):
    told = feedback.read(written(tmp_path, line(), "", bad, line(text="another", langs=[])))
    assert [number for number, _ in told.bad] == [3]
    assert says in told.bad[0][1]
    assert [row.text for row in told.negatives(1)] == ["The bass at tonight's show was a bomb", "another"]
    assert told.good == 2


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path):
    path = tmp_path / "feedback.jsonl"
    path.write_bytes(b'{"text": "\xff"}\n' + json.dumps(line()).encode())
    told = feedback.read(path)
    assert (told.good, [number for number, _ in told.bad]) == (1, [1])


@pytest.mark.parametrize("content", ["", "\n\n", "{}\n", "no feedback yet\n"])
def test_a_file_without_a_good_line_is_refused_in_one_sentence(tmp_path, content):
    path = tmp_path / "feedback.jsonl"
    path.write_text(content)
    with pytest.raises(data.DataError, match=r"no good line.*; `tocsin feedback --json` writes such a file") as refused:
        feedback.read(path)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(data.DataError, match=r"feedback\.jsonl: cannot be read .*; check the path"):
        feedback.read(tmp_path / "feedback.jsonl")


@needs_shared
def test_a_campaign_does_not_outweigh_an_event(tmp_path):
    lines = [line(id=str(number), text=f"nothing to see, number {number}") for number in range(data.EVENT_CAP + 50)]
    corpus = data.load(SHARED, more=feedback.read(written(tmp_path, *lines)).negatives(2))
    learnt = [row for row in corpus.train if row.dataset == "feedback"]
    assert len(learnt) == data.EVENT_CAP
    assert not any(row.positive or row.report for row in learnt)


@needs_train
@needs_base
def test_marked_texts_stand_in_the_batches_as_negatives_beside_reports(tmp_path):
    from classifiers import augmenting, network, train

    marked = feedback.read(written(tmp_path, line(), line(text="Kitchen fire at the comedy club"))).negatives(2)
    report = data.Row(text="Gas blast in Wexley", positive=frozenset({"explosion"}), report=True, event="e")
    plan = train.Plan(batch=8)
    augmenter = augmenting.Augmenter({}, [])
    tokenizer = train.load_tokenizer(network.base_folder())
    rows = train.epoch_rows([*marked, report], plan, epoch=0)
    (batch,) = train.batches(rows, tokenizer, augmenter, plan, epoch=0, skip=0)
    column = taxonomy.CATEGORIES.index("explosion")
    assert sorted(batch.report) == [0, 0, 1]
    for targets, known, told in zip(batch.targets, batch.known, batch.report, strict=True):
        if told == 0:
            assert not targets.any()
            assert list(known.nonzero()[0]) == [column]
        else:
            assert targets[column] == 1


@needs_train
def test_a_checkpoint_is_taken_up_only_with_the_same_feedback(tmp_path):
    from classifiers import train

    def fingerprint(hashes, presses=2):
        return train._fingerprint(train.Plan(feedback_presses=presses), hashes, 10, None)

    first = {"feedback": feedback.read(written(tmp_path, line())).digest}
    assert fingerprint(first) == fingerprint(dict(first))
    second = {"feedback": feedback.read(written(tmp_path, line(irrelevant=3))).digest}
    assert len({fingerprint({}), fingerprint(first), fingerprint(second), fingerprint(first, 3)}) == 4


@needs_shared
@needs_train
@needs_base
def test_a_small_run_learns_from_the_file_and_records_it(tmp_path):
    rows = [line(id=str(number), text=f"show number {number} was a bomb") for number in range(3)]
    path = written(tmp_path, *rows, "{", line(text="marked once", irrelevant=1))
    out = tmp_path / "out"
    done = classifiers(
        "train", "--shared", SHARED, "--out", out, "--limit", 32, "--epochs", 1, "--steps", 1, "--feedback", path
    )
    assert done.returncode == 0, done.stderr
    assert f"{path}, line 4: is not JSON" in done.stderr
    assert "bad lines skipped: 1, good: 4" in done.stderr
    assert "feedback: 3 of 4 texts have at least 2 presses" in done.stderr
    record = json.loads((out / "training.json").read_text())
    assert record["data"]["feedback"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert record["plan"]["feedback_presses"] == 2


@needs_train
def test_training_with_a_file_without_a_good_line_ends_before_it_begins(tmp_path):
    path = written(tmp_path, line(category="astrology"))
    done = classifiers("train", "--shared", tmp_path, "--out", tmp_path / "out", "--feedback", path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith(f"{path}: no good line (line 1: its category")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def classifiers(*arguments):
    command = [sys.executable, "-m", "classifiers", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
