"""The comparison of runtimes: its table, its batches, and what it says of a runtime that is not there."""

import numpy as np
import pytest

from classifiers import engines, runtimes

MEASURED = {
    "runtime": "Fast", "posts": "alone", "per_s": 900.4, "ratio": 6.04, "per_cpu_s": 450.2, "same_side": 0.985,
    "gap_mean": 0.0123, "cosine_mean": 0.9941, "cosine_least": 0.981, "neighbours": 0.0, "mb": 79.4, "peak_mb": 80.2,
    "load_s": 1.23,
}  # fmt: skip


def make_figures(*rows):
    return {"texts": 400, "threads": 2, "rounds": 3, "tokens_mean": 23.4, "machine": "2 cores", "rows": list(rows)}


def cells(line):
    return [cell.strip() for cell in line.replace("\\|", "").strip("|").split("|")]


def test_a_measured_runtime_fills_every_column():
    *_, head, _, row = runtimes.markdown(make_figures(MEASURED)).splitlines()
    assert cells(row) == [
        "Fast", "alone", "900", "6.0", "450", "98.5%", "0.0123", "0.9941 (0.981)", "0.0e+00", "79 (80)", "1.2",
    ]  # fmt: skip
    assert len(cells(row)) == len(cells(head))


def test_a_runtime_that_did_not_run_gives_its_reason_and_no_figures():
    absent = {"runtime": "Absent", "posts": "batches", "problem": "not installed: pip install no|where"}
    *_, head, _, row = runtimes.markdown(make_figures(absent)).splitlines()
    assert cells(row)[:3] == ["Absent", "batches", "not installed: pip install no/where"]
    assert not any(cells(row)[3:])
    assert len(cells(row)) == len(cells(head))


def test_the_pipeline_has_no_agreement_and_without_it_there_is_no_ratio():
    row = {key: value for key, value in MEASURED.items() if not key.startswith(("same", "gap", "cosine"))}
    line = runtimes.markdown(make_figures(row | {"ratio": None})).splitlines()[-1]
    assert cells(line)[3] == "–"
    assert cells(line)[5:8] == ["–"] * 3


def test_only_what_is_absent_is_to_be_installed():
    assert engines.missing(()) is None
    assert engines.missing(("json", "numpy")) is None
    assert engines.missing(("numpy", "no_such_runtime", "nor_this")) == (
        "not installed: pip install no_such_runtime nor_this"
    )


@pytest.mark.parametrize("size", [1, 2, 32])
def test_batches_hold_every_post_once_and_sort_inside_a_window_only(size):
    lengths = [9, 3, 7, 1, 2, 8, 4]
    groups = runtimes.batches(lengths, size, window=4)
    order = [at for group in groups for at in group]
    assert order == [3, 1, 2, 0, 4, 6, 5]
    assert max(map(len, groups)) <= size


def test_a_batch_is_padded_with_zeros_that_the_mask_hides():
    feeds = [{"input_ids": np.array([ids]), "attention_mask": np.ones((1, len(ids)))} for ids in ([5, 6, 7], [8])]
    batch = engines.padded(feeds)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 0, 0]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]


def test_a_post_alone_is_not_padded():
    feed = {"input_ids": np.array([[5, 6]])}
    assert engines.padded([feed]) is feed


def test_gelu_is_the_exact_one():
    x = np.array([-3.0, -1.0, 0.0, 0.5, 2.0])
    assert np.allclose(engines.gelu(x), [-0.00404951, -0.15865525, 0.0, 0.34573123, 1.95449974], atol=1e-6)
