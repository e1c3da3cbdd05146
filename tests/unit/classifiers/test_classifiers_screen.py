"""The screen's own rules, on a small one built here."""

import dataclasses

import numpy as np
import pytest

from classifiers import screen

WORDS = ("the", "a", "in", "town", "cat", "is", "flood", "warning")


@pytest.fixture
def weights():
    """Vectors of two: the first counts a word for a flood, the second marks *warning*. The score is flood - 1."""
    vectors = np.zeros((len(WORDS), 2), dtype=np.float32)
    vectors[WORDS.index("flood")] = (4.0, 0.0)
    vectors[WORDS.index("warning")] = (0.0, 4.0)
    filters = np.zeros((6, 2), dtype=np.float32)
    filters[2, 0] = 1.0  # the word itself
    filters[5, 0] = -1.0  # and nothing where *warning* follows
    hidden = np.zeros((4, 1), dtype=np.float32)
    hidden[0, 0] = 1.0
    return screen.Weights(
        words=WORDS,
        blocks=frozenset({0, 1}),
        vectors=vectors,
        grams=np.zeros((screen.GRAM_BUCKETS, 2), dtype=np.float32),
        filters=filters,
        filters_bias=np.zeros(2, dtype=np.float32),
        hidden=hidden,
        hidden_bias=np.zeros(1, dtype=np.float32),
        score=np.ones(1, dtype=np.float32),
        score_bias=-1.0,
    )


@pytest.fixture
def small(weights, tmp_path):
    screen.save(tmp_path / "screen.npz", weights, 0.0)
    return screen.Screen.load(tmp_path / "screen.npz")


def test_words_that_count_pass_and_others_do_not(small):
    assert small.keep(["a flood in the town", "the cat is in the town"]) == [True, False]


def test_the_next_word_matters_but_not_the_next_text(small):
    assert small.keep(["a flood warning", "a flood", "warning"]) == [False, True, False]


def test_a_text_of_unseen_words_passes(small):
    assert small.keep(["Hochwasser überflutet Altstadt"]) == [True]


def test_a_text_in_a_script_that_cannot_be_read_is_dropped(small):
    assert small.keep(["地震だ", "Землетрясение в городе сегодня", "", "😀 !!", "\x00", "\ud800"]) == [False] * 6


def test_words_of_other_scripts_do_not_count_as_unseen(small):
    assert small.keep(["the cat is 地震 地震 地震 地震 地震"]) == [False]


def test_letter_groups_stand_in_for_an_unseen_word(weights):
    weights.grams[screen.grams("floods")] = (4.0, 0.0)
    assert screen.Screen(weights, 0.0).scores(["the floods in town", "the cats in town"]).tolist() == [3.0, -1.0]


def test_an_empty_text_between_others_does_not_shift_them(small):
    assert small.keep(["", "a flood in the town", "", "the cat is in the town", ""]) == [
        False,
        True,
        False,
        False,
        False,
    ]


def test_a_text_scores_the_same_in_any_batch(small):
    texts = ["the cat " * (at % 50) + "flood " * (at % 3) for at in range(1_200)]
    assert small.scores(texts).tolist() == [float(small.scores([text])[0]) for text in texts]


def test_no_texts_no_scores(small):
    assert small.scores([]).tolist() == small.keep([]) == []


def test_what_is_saved_is_what_is_loaded(weights, small):
    assert small.scores(["a flood in the town"])[0] == screen.Screen(weights, 0.0).scores(["a flood in the town"])[0]


def test_a_screen_without_weights_can_stand_in_and_keeps_everything(tmp_path):
    screen.save_open(tmp_path / "open.npz")
    assert all(screen.Screen.load(tmp_path / "open.npz").keep(["", "flood", "地震だ", "the cat"]))


def test_letter_groups_are_the_same_in_every_run():
    assert screen.grams("sea") == [31236, 16695, 6036, 32, 7912]
    assert len(screen.grams("x" * 5_000)) == len(screen.grams("x" * 20))


def test_only_letters_and_digits_of_any_script_are_words():
    assert screen.words("RT @x: Feuer! #الزلزال https://a.b 7.1_Mw") == ["feuer", "الزلزال", "7", "1", "mw"]


def test_weights_cannot_be_swapped_for_others(weights):
    with pytest.raises(dataclasses.FrozenInstanceError):
        weights.score_bias = 0.0


def test_what_cannot_be_seen_cuts_no_word_in_two():
    assert screen.words("fl\u200bo\u00adod in\ufeff Port") == ["flood", "in", "port"]
