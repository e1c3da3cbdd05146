import json

import pytest

from bot.domain import subscription
from bot.domain.alert import Level, Place
from bot.domain.subscription import PlaceFilter
from tests.factories import make_alert, make_subscription

IRELAND = PlaceFilter(name="Ireland", country="IE")
NEARBY = PlaceFilter(name="Cork", country="IE", lat=51.9, lon=-8.47, radius_km=30)
PARIS = PlaceFilter(name="Paris", country="FR", lat=48.85, lon=2.35)


def test_subscription_without_a_place_matches_nothing():
    assert not make_subscription(anywhere=False).matches(make_alert())
    assert not make_subscription(anywhere=False).matches(make_alert(place=None))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"categories": frozenset({"fire"})}, "category explosion is not subscribed"),
        ({"level": Level.URGENT}, "level alert is below urgent"),
        ({"min_authors": 4}, "3 independent voices, 4 asked for"),
        ({"anywhere": False, "places": (PARIS,)}, "the place is not subscribed"),
        ({"langs": frozenset({"es"})}, "no evidence in a subscribed language"),
        ({"providers": frozenset({"usgs"})}, "no evidence from a subscribed provider"),
        ({"keywords": ("harbour",)}, "no subscribed keyword in the headline"),
    ],
)
def test_each_limit_says_what_stands_against_an_alert(fields, why):
    assert make_subscription(**fields).mismatch(make_alert()) == why


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"categories": frozenset({"explosion", "fire"})},
        {"min_authors": 3},
        {"anywhere": False, "places": (PARIS, IRELAND)},
        {"anywhere": False, "places": (NEARBY,)},
        {"langs": frozenset({"en", "es"})},
        {"providers": frozenset({"bluesky"})},
        {"keywords": ("PORT calder",)},
    ],
)
def test_what_fits_is_wanted(fields):
    assert make_subscription(**fields).matches(make_alert())


def test_unknown_place_is_only_wanted_anywhere():
    assert make_subscription().matches(make_alert(place=None))
    assert "unknown" in str(make_subscription(anywhere=False, places=(IRELAND,)).mismatch(make_alert(place=None)))


def test_place_without_a_country_matches_no_country_filter():
    nowhere = Place(name="at sea", country=None, lat=50, lon=-20, radius_km=50, confidence=0.5)
    assert not IRELAND.matches(nowhere)
    assert not PlaceFilter(name="?", country=None).matches(nowhere)


def test_spec_survives_the_store():
    wanted = make_subscription(
        anywhere=False, places=(IRELAND, NEARBY), categories=frozenset({"fire", "flood"}), level=Level.FLASH,
        keywords=("dock",), langs=frozenset({"en"}), providers=frozenset({"usgs"}), min_authors=2,
    )  # fmt: skip
    spec = json.loads(json.dumps(subscription.to_spec(wanted)))
    assert subscription.from_spec(wanted.subscription, wanted.channel, spec) == wanted
    told = wanted.describe()
    for word in ("Ireland", "Cork", "fire, flood", "flash", "dock", "en", "usgs", "2 independent"):
        assert word in told
