import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import commands
from bot.domain import errors, presets, subscription
from bot.domain.alert import Certainty, Level, Place
from bot.domain.subscription import PlaceFilter
from classifiers.api import CATEGORIES
from tests.factories import make_alert, make_subscription

CORK = PlaceFilter(name="Cork", country="IE", lat=51.9, lon=-8.47, radius_km=10)
TEXAS = PlaceFilter(name="Texas", country="US", lat=31.0, lon=-98.0, radius_km=600)
IRELAND = PlaceFilter(name="Ireland", country="IE")
PLACES = {"cork": CORK, "texas": TEXAS, "ireland": IRELAND}


def given_options(**fields):
    defaults = {
        "preset": None, "anywhere": False, "place": (), "radius": (), "category": (), "level": None, "certainty": None,
        "voices": 1, "keyword": (), "exclude": (), "lang": (), "provider": (),
    }  # fmt: skip
    return commands.wanted_from(defaults | fields, lambda text: PLACES.get(text.casefold()), "slack:T0123/C0456")


def near_cork(km):
    """An alert as many kilometres north of Cork."""
    place = Place(name="there", country="IE", lat=51.9 + km / 111.195, lon=-8.47, radius_km=0, confidence=1)
    return make_alert(place=place)


# ---- presets


@pytest.mark.parametrize("name", list(presets.PRESETS))
def test_preset_asks_for_what_exists(name):
    preset = presets.named(name)
    assert preset.categories <= set(CATEGORIES)
    assert preset.budget > 0
    assert preset.describe


def test_preset_that_does_not_exist_is_answered_with_those_that_do():
    with pytest.raises(errors.UsageError, match="news, finance, emergency, corporate_security"):
        presets.named("weather")


def test_preset_is_a_start_that_options_override():
    wanted = given_options(preset="finance", anywhere=True)
    assert (wanted.certainty, wanted.categories) == (Certainty.LIKELY, presets.named("finance").categories)
    wanted = given_options(preset="finance", anywhere=True, certainty="possible", category=("fire",), level="flash")
    assert (wanted.certainty, wanted.level, wanted.categories) == (Certainty.POSSIBLE, Level.FLASH, {"fire"})


def test_preset_does_not_say_where():
    wanted = given_options(preset="news")
    assert (wanted.anywhere, wanted.places) == (False, ())
    assert not wanted.matches(make_alert())


# ---- places and radii


@pytest.mark.parametrize(("km", "matches"), [(49, True), (51, False)])
def test_town_is_a_circle_of_fifty_kilometres_unless_said_otherwise(km, matches):
    assert given_options(place=("Cork",)).matches(near_cork(km)) is matches


def test_region_keeps_its_own_size_unless_said_otherwise():
    assert [place.radius_km for place in given_options(place=("Texas", "Cork")).places] == [600, 50]
    assert [place.radius_km for place in given_options(place=("Texas", "Cork"), radius=("30",)).places] == [30, 30]


def test_radius_may_differ_for_each_category():
    wanted = given_options(place=("Cork",), radius=("20", "earthquake=300"))
    for category, km, matches in (
        ("fire", 19, True), ("fire", 21, False), ("earthquake", 299, True), ("earthquake", 301, False),
    ):  # fmt: skip
        alert = make_alert(category=category, place=near_cork(km).place)
        assert wanted.matches(alert) is matches, (category, km)


def test_radius_of_a_category_leaves_countries_whole():
    wanted = given_options(place=("Ireland",), radius=("fire=1",))
    assert wanted.matches(make_alert(category="fire", place=near_cork(200).place))


def test_the_events_own_uncertainty_widens_the_circle():
    wanted = given_options(place=("Cork",), radius=("10",))
    vague = Place(name="there", country="IE", lat=51.9 + 50 / 111.195, lon=-8.47, radius_km=45, confidence=0.5)
    assert wanted.matches(make_alert(place=vague))


@pytest.mark.parametrize(
    "radius", ["", "0", "2001", "-5", "nan", "inf", "far", "fire=", "=", "fire=x", "fires=20", "fire=20=30", "1e9"]
)
def test_radius_that_cannot_be_meant(radius):
    with pytest.raises(errors.UsageError, match="radius"):
        given_options(place=("Cork",), radius=(radius,))


def test_category_that_is_nearly_one_is_suggested():
    with pytest.raises(errors.UsageError, match="did you mean earthquake"):
        given_options(place=("Cork",), radius=("earthquakes=20",))


# ---- words, certainty, voices


@pytest.mark.parametrize(
    ("word", "stands"),
    [
        ("flood", True), ("FLOOD", True), ("floo", False), ("floo*", True), ("Port Calder", True), ("port cal", False),
        ("port cal*", True), ("calder", True), ("alder", False), ("(flood)", False), (".*", False), ("*", False),
        ("", False), ("flood in", True), ("fl.od", False), ("straße", True), ("STRASSE", True), ("c++", True),
    ],
)  # fmt: skip
def test_word_stands_in_a_headline_whole_or_as_a_beginning(word, stands):
    assert subscription.stands_in(word, "Flood in Port Calder: Straße am Hafen, C++ works") is stands


@given(st.text(max_size=60), st.text(max_size=200))
def test_any_word_may_be_looked_for_in_any_headline(word, headline):
    assert subscription.stands_in(word, headline) in (True, False)


def test_excluded_word_stands_against_an_alert_that_has_a_wanted_one():
    wanted = make_subscription(keywords=("explosion",), excluded=("exercise", "drill*"))
    assert wanted.matches(make_alert(headline="Explosion reported in Port Calder"))
    assert wanted.mismatch(make_alert(headline="Explosion: drills in Port Calder")) == (
        "the headline has the excluded word drill*"
    )


@pytest.mark.parametrize("asked", list(Certainty))
def test_certainty_from_as_soon_as_it_is_an_alert_to_observed(asked):
    wanted = make_subscription(certainty=asked)
    fits = [found for found in Certainty if wanted.matches(make_alert(certainty=found))]
    assert fits == list(Certainty)[asked.rank :]


# ---- the store


def test_spec_of_the_version_before_means_the_defaults_of_what_it_did_not_know():
    old = {
        "anywhere": False,
        "places": [{"name": "Cork", "country": "IE", "lat": 51.9, "lon": -8.47, "radius_km": 10}],
        "categories": ["fire"], "level": "urgent", "keywords": ["oil"], "langs": ["en"], "providers": [],
        "min_authors": 2,
    }  # fmt: skip
    found = subscription.from_spec("s1", "slack:T0123/C0456", old)
    assert found == make_subscription(
        anywhere=False, places=(CORK,), categories=frozenset({"fire"}), level=Level.URGENT, keywords=("oil",),
        langs=frozenset({"en"}), min_authors=2,
    )  # fmt: skip


def test_new_settings_survive_the_store_and_are_described():
    wanted = make_subscription(
        anywhere=False, places=(CORK, TEXAS), radii={"earthquake": 300.0}, certainty=Certainty.LIKELY,
        excluded=("drill*",),
    )  # fmt: skip
    spec = json.loads(json.dumps(subscription.to_spec(wanted)))
    assert subscription.from_spec(wanted.subscription, wanted.channel, spec) == wanted
    for words in ("Cork ± 10 km", "Texas ± 600 km", "radius earthquake 300 km", "likely or surer", "not drill*"):
        assert words in wanted.describe()
