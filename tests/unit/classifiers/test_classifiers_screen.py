"""The screen's own rules, on a small one built here."""

import numpy as np
import pytest

from classifiers import screen


@pytest.fixture
def small(tmp_path):
    """Knows some words; `flood` alone counts."""
    weights = np.zeros(screen.BUCKETS)
    seen = np.zeros(screen.BUCKETS, dtype=bool)
    for word in ("the", "a", "in", "town", "cat", "is", "flood"):
        (bucket,), _ = screen.features(word)
        seen[bucket] = True
    weights[screen.features("flood")[0][0]] = 4.0
    screen.save(tmp_path / "screen.npz", weights, bias=-1.0, threshold=0.0, seen=seen)
    return screen.Screen.load(tmp_path / "screen.npz")


def test_words_that_count_pass_and_others_do_not(small):
    assert small.keep(["a flood in the town", "the cat is in the town"]) == [True, False]


def test_a_text_of_unseen_words_passes(small):
    assert small.keep(["Hochwasser überflutet Altstadt"]) == [True]


def test_a_text_without_a_latin_word_is_dropped(small):
    assert small.keep(["地震だ", "", "😀 !!", "\x00"]) == [False] * 4


def test_an_empty_text_between_others_does_not_shift_them(small):
    assert small.keep(["", "a flood in the town", "", "the cat is in the town", ""]) == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_buckets_are_the_same_in_every_run():
    assert screen.features("Flood in town") == ([91007, 36430, 182180, 37124, 77477], 3)
