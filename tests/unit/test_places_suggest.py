import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot import app
from bot.domain import alert as alerts


@pytest.fixture(scope="module")
def gazetteer():
    return app.load_gazetteer()


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("lyo", "Lyon, France"), ("Paris", "Paris, France"), ("texas", "Texas"), ("irel", "Ireland"),
        ("KÖLN", "Köln, Germany"), ("  dublin ", "Dublin, Ireland"), ("new york c", "New York City, United States"),
    ],
)  # fmt: skip
def test_best_is_first(gazetteer, typed, first):
    assert gazetteer.suggest(typed)[0] == first


@pytest.mark.parametrize("typed", ["", " ", ";", "\x00", "�", "zzzzzz", "x" * 10_000, "' OR 1=1"])
def test_nothing_is_suggested_for_what_begins_no_name(gazetteer, typed):
    assert gazetteer.suggest(typed) == []


@pytest.mark.parametrize("typed", ["a", "s", "san", "spring", "wash", "new", "geor", "frankfurt", "vic"])
def test_what_is_suggested_is_known_unambiguous_and_there_once(gazetteer, typed):
    names = gazetteer.suggest(typed)
    assert 0 < len(names) <= 25
    assert len(set(names)) == len(names)
    for name in names:
        assert gazetteer.lookup(name) is not None, name


def test_fewer_can_be_asked_for(gazetteer):
    assert len(gazetteer.suggest("a", most=3)) == 3


def test_largest_town_of_a_name_is_meant_and_the_others_have_their_region(gazetteer):
    names = gazetteer.suggest("Springfield")
    assert len([name for name in names if name.startswith("Springfield, ")]) > 1
    places = [gazetteer.lookup(name) for name in names if name.startswith("Springfield, ")]
    for n, one in enumerate(places):
        for other in places[n + 1 :]:
            assert alerts.distance_km(one.lat, one.lon, other.lat, other.lon) > 1


@settings(deadline=None, max_examples=50)
@given(typed=st.text(max_size=30))
def test_any_text_may_be_typed(gazetteer, typed):
    assert all(gazetteer.lookup(name) for name in gazetteer.suggest(typed))
