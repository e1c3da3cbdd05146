"""The evasions are what they say, and the table counts what they hide."""

import numpy as np
import pytest

from classifiers import api, evasion, soak

TEXT = "Building collapsed in Lower Arden, 12 people trapped"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("glued hashtag", "#buildingCollapsedInLowerArden12PeopleTrapped"),
        ("leetspeak", "Bu1ld1ng c0ll4p53d 1n L0w3r 4rd3n, 12 p30pl3 7r4pp3d"),
        ("styled letters", "𝗕𝘂𝗶𝗹𝗱𝗶𝗻𝗴 𝗰𝗼𝗹𝗹𝗮𝗽𝘀𝗲𝗱 𝗶𝗻 𝗟𝗼𝘄𝗲𝗿 𝗔𝗿𝗱𝗲𝗻, 𝟭𝟮 𝗽𝗲𝗼𝗽𝗹𝗲 𝘁𝗿𝗮𝗽𝗽𝗲𝗱"),
        ("upper case", "BUILDING COLLAPSED IN LOWER ARDEN, 12 PEOPLE TRAPPED"),
        ("missing vowels", "Bldng cllpsd in Lwr Ardn, 12 pple trppd"),
    ],
)
def test_evasions_that_can_be_read(name, expected):
    assert evasion.EVASIONS[name](TEXT) == expected


def test_letter_spacing():
    assert evasion.letter_spacing("a big fire") == "a   b i g   f i r e"


@pytest.mark.parametrize("name", ["homoglyphs, one a word", "homoglyphs, all"])
def test_homoglyphs_keep_the_length_and_leave_ascii(name):
    hidden = evasion.EVASIONS[name](TEXT)
    assert len(hidden) == len(TEXT)
    changed = [(before, after) for before, after in zip(TEXT, hidden, strict=True) if before != after]
    assert changed
    assert all(before.isascii() and not after.isascii() for before, after in changed)


def test_one_homoglyph_a_word():
    words = zip(TEXT.split(), evasion.some_homoglyphs(TEXT).split(), strict=True)
    assert {sum(a != b for a, b in zip(one, other, strict=True)) for one, other in words} <= {0, 1}


def test_look_alikes_are_letters_of_the_same_case_each_its_own():
    assert len(set(evasion.LOOK_ALIKES.values())) == len(evasion.LOOK_ALIKES)
    for letter, other in evasion.LOOK_ALIKES.items():
        assert (len(other), other.isupper(), other.isascii()) == (1, letter.isupper(), False)


def test_zero_width_characters_are_inside_words_and_nothing_else_changes():
    hidden = evasion.zero_width(TEXT)
    assert hidden.replace(evasion.ZERO_WIDTH, "") == TEXT
    assert "Buil\u200bding" in hidden


def test_typos_are_seeded_and_as_many_as_asked_for():
    assert evasion.typos(TEXT) == evasion.typos(TEXT)
    assert evasion.typos(TEXT, rate=0.5, seed=1) != evasion.typos(TEXT, rate=0.5, seed=2)
    assert evasion.typos(TEXT, rate=0.0) == TEXT
    long = TEXT * 200
    changed = np.abs(len(evasion.typos(long, rate=1.0)) - len(long))
    assert changed < len(long) * 0.1  # as many letters are dropped as doubled


@pytest.mark.parametrize("evade", evasion.EVASIONS.values(), ids=evasion.EVASIONS)
@pytest.mark.parametrize("text", ["", " ", "a", "😀", "\ud800", "地震だ", "x" * 2_000])
def test_any_text_can_be_evaded(evade, text):
    assert isinstance(evade(text), str)


def answer(text):
    """A model that knows one word, in one case."""
    p = 0.9 if "Building" in text else 0.1
    return api.Classification(
        categories=dict.fromkeys(api.CATEGORIES, 0.0) | {"fire": p},
        places=(),
        embedding=np.zeros(api.EMBEDDING_SIZE, dtype=np.float32),
        model="word",
    )


def test_the_table_counts_candidates_only_and_both_stages():
    rows = evasion.measure(
        lambda texts: [answer(text) for text in texts],
        lambda texts: [text.isascii() for text in texts],
        [TEXT, "nothing here"],
        {"upper case": str.upper, "pound": lambda text: text + "£", "none": lambda text: text},
    )
    shares = {row.evasion: (row.texts, row.candidates, row.same, row.screened, row.found) for row in rows}
    assert shares == {
        "untouched": (1, 1.0, 1.0, 1.0, 1.0),
        "upper case": (1, 0.0, 0.0, 1.0, 0.0),
        "pound": (1, 1.0, 1.0, 0.0, 0.0),
        "none": (1, 1.0, 1.0, 1.0, 1.0),
    }


def test_no_candidate_no_share():
    rows = evasion.measure(lambda texts: [answer(text) for text in texts], lambda texts: [True] * len(texts), ["x"])
    assert {(row.texts, row.candidates) for row in rows} == {(0, 0.0)}


def test_the_soak_s_posts_are_distinct_seeded_and_one_in_a_hundred_a_crisis():
    stream = list(soak.generate(20_000))
    assert len({text for text, _ in stream}) == len(stream)
    assert sum(crisis for _, crisis in stream) == pytest.approx(200, abs=50)
    assert stream == list(soak.generate(20_000))
    assert stream[:100] != list(soak.generate(100, seed=2))


def test_the_soak_counts_what_it_sent_and_tells_the_memory_at_each_tenth(capsys):
    pytest.importorskip("tqdm", reason="the extra `train` is not installed")

    class Model:
        version = "word"

        def screen(self, texts):
            return ["Building" in text or "building" in text for text in texts]

        def classify(self, texts):
            return [answer("Building") for _ in texts]

    said = soak.soak(Model(), 3_000)
    assert (said["posts"], said["model"], len(said["rss_mib"])) == (3_000, "word", 11)
    assert said["passed"] == said["candidates"] == said["crises_passed"] > 0
    assert "start: " in capsys.readouterr().err
