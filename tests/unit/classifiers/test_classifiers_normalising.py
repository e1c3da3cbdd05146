"""Normalising keeps every offset."""

import pytest

from classifiers import normalising


@pytest.mark.parametrize(
    "text",
    [
        "RT @a: fire at #Harwick https://t.co/x now",
        "\ud800\x00<URL> plain",
        "",
        "ＲＴ ünï",
        "@x.bsky.social hi",
        "www.example.org/a b",
        "ﬁre ½ ﷺ 𝗳𝗹𝗼𝗼𝗱 ехрlosion",
    ],
)
def test_the_length_stays(text):
    assert len(normalising.normalise(text)) == len(text)


def test_addresses_mentions_and_hash_signs_go_words_stay():
    assert normalising.normalise("RT @a: fire at #Harwick https://t.co/x now").split() == [
        "fire",
        "at",
        "Harwick",
        "now",
    ]


def test_long_texts_are_cut():
    assert len(normalising.normalise("x" * 100_000)) == normalising.MAX_CHARACTERS


def test_disguised_words_are_read_and_other_alphabets_left_alone():
    assert normalising.normalise("𝗳𝗹𝗼𝗼𝗱 in Ηarwick, ехрlоѕіоn") == "flood in Harwick, explosion"
    assert normalising.normalise("взрыв в центре, жертвы") == "взрыв в центре, жертвы"
    assert normalising.normalise("été à Zürich") == "été à Zürich"
