"""The screen's training: what is trained is what answers, and thresholds keep their word."""

import numpy as np
import pytest

pytest.importorskip("torch")

from classifiers import screen, screening

PLACES = ("arden", "calder", "velmont", "norhaven", "estby")
REPORTS = [f"flood in {place} after the river rose, street {n}" for place in PLACES for n in range(40)]
OTHERS = [f"lovely coffee in {place} before the match, seat {n}" for place in PLACES for n in range(40)]


@pytest.fixture(scope="module")
def weights():
    return screening.fit(REPORTS + OTHERS, _probabilities(), seed=3, epochs=30)


def _probabilities():
    p = np.full((len(REPORTS) + len(OTHERS), 2), 0.01)
    p[: len(REPORTS), 1] = 0.95
    return p


def test_the_screen_learns_what_the_teacher_says(weights):
    scores = screen.Screen(weights, 0.0).scores(["river flood in calder", "coffee in calder"])
    assert scores[0] > 0.5 > -0.5 > scores[1]


def test_the_same_seed_gives_the_same_screen(weights):
    again = screening.fit(REPORTS + OTHERS, _probabilities(), seed=3, epochs=30)
    assert np.array_equal(again.vectors, weights.vectors)
    assert np.array_equal(again.score, weights.score)


def test_what_answers_is_what_was_trained():
    """Words with and without a row of their own, through torch and through numpy."""
    texts = ["flood in arden", "flood in arden", "flood in arden after rain"]
    words, blocks = screening.vocabulary(texts)
    lexicon = screening._Lexicon(words, {})
    numbered = [lexicon.numbers(text, blocks) for text in ("arden flood after", "in")]
    network = screening._Network(lexicon, 2).eval()
    expected = network(numbered)[:, -1].detach().numpy()
    with screening.torch.no_grad():
        found = screen.Screen(network.weights(tuple(words), blocks), 0.0).scores(["Arden: flood, after", "in"])
    assert found == pytest.approx(expected, abs=1e-5)


def test_the_threshold_keeps_the_share_asked_for():
    scores = np.arange(1000, dtype=np.float32)
    candidate = scores >= 500
    threshold = screening.choose_threshold(scores, candidate, 0.99)
    assert (scores[candidate] >= threshold).mean() == 0.99
    assert screening.choose_threshold(scores, candidate, 1.0) == 500.0


def test_a_threshold_is_finite_even_where_no_candidate_could_be_judged():
    assert np.isfinite(screening.choose_threshold(np.full(3, np.inf), np.full(3, True)))


def test_the_stream_has_the_share_of_candidates_asked_for(weights):
    ordinary = screening.Judged(texts=[f"{text} again" for text in OTHERS], top=np.full(len(OTHERS), 0.1))
    reports = screening.Judged(texts=REPORTS, top=np.full(len(REPORTS), 0.9))
    figures = screening.stream(screen.Screen(weights, 0.0), ordinary, reports, share=0.05)
    assert figures["candidates"] == pytest.approx(0.05, abs=0.003)
    assert (figures["recall"], figures["posts"]) == (1.0, len(OTHERS) + figures["added"])


def test_nothing_is_added_where_the_ordinary_posts_hold_enough(weights):
    mixed = screening.Judged(texts=OTHERS + REPORTS, top=np.repeat([0.1, 0.9], (len(OTHERS), len(REPORTS))))
    assert screening.stream(screen.Screen(weights, 0.0), mixed, mixed)["added"] == 0.0


def test_scripts_of_few_texts_cannot_be_read():
    words, blocks = screening.vocabulary(["one two"] * 300 + ["زلزال قوي"] * 300 + ["地震"] * 5)
    assert (sorted(blocks), "地震" in words, "زلزال" in words) == ([0, 6], False, True)
