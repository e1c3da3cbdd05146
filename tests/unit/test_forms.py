import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot import app, forms
from bot.domain import presets
from bot.domain.alert import Certainty, Level
from bot.domain.subscription import PlaceFilter, Subscription
from bot.platforms.base import Faults, FieldKind
from classifiers.api import CATEGORIES
from tests.factories import make_subscription

HERE = "slack:T0123/C0456"
IRELAND = PlaceFilter(name="Ireland", country="IE")
LYON = PlaceFilter(name="Lyon, France", country="FR", lat=45.75, lon=4.85, radius_km=20)
PARIS = PlaceFilter(name="Paris, Texas", country="US", lat=33.66, lon=-95.56, radius_km=10)
TEXAS = PlaceFilter(name="Texas", country="US", lat=31.0, lon=-98.0, radius_km=600)
ELSEWHERE = PlaceFilter(name="Doreen, Victoria", country="AU", lat=-37.6, lon=145.15, radius_km=50)
KNOWN = {
    "ireland": IRELAND, "lyon": LYON, "lyon, france": LYON, "paris, texas": PARIS, "texas": TEXAS,
    "doreen": ELSEWHERE, "victoria": PlaceFilter(name="Hong Kong", country="HK"),
}  # fmt: skip


def locate(text):
    return KNOWN.get(text.strip().casefold())


def filled(where="anywhere", **fields):
    """The form's answers."""
    values = {"where": where, "category": (), "level": "alert", "certainty": "possible", "words": ""} | fields
    return {name: (value,) if isinstance(value, str) and value else tuple(value) for name, value in values.items()}


def read(where="anywhere", *, changed=None, **fields):
    return forms.read(filled(where, **fields), locate, HERE, changed)


def places(where):
    found = read(where)
    assert isinstance(found, Subscription), found
    return [(place.name, None if place.lat is None else place.radius_km) for place in found.places]


def fault(where="anywhere", **fields):
    found = read(where, **fields)
    assert isinstance(found, Faults), found
    return found.fields


# ---- what it asks


def check(form):
    """What base.Form promises to every platform."""
    assert 0 < len(form.title) <= 24
    assert 0 < len(form.fields) <= 5
    assert len({field.name for field in form.fields}) == len(form.fields)
    assert len(form.state) <= 100
    for field in form.fields:
        assert 0 < len(field.label) <= 45
        assert len(field.hint) <= 100
        values = [value for value, _ in field.choices]
        assert len(values) <= 25
        assert len(set(values)) == len(values)
        assert all(0 < len(label) <= 75 and value for value, label in field.choices)
        if field.kind is FieldKind.TEXT:
            assert not field.choices
            assert len(field.initial) <= 1
            assert all(field.initial)
        else:
            assert set(field.initial) <= set(values)
        if field.kind is FieldKind.CHOICE:
            assert len(field.initial) == 1


@pytest.mark.parametrize(
    "state", [forms.State(), forms.State(preset="corporate_security"), forms.State(replacing="s12345678")]
)
def test_form_keeps_its_limits(state):
    check(forms.ask(make_subscription(), state))
    check(forms.ask(make_subscription(anywhere=False), state))


@pytest.mark.parametrize("preset", [None, *presets.PRESETS])
@pytest.mark.parametrize("replacing", [None, "s12345678", "local"])
def test_state_survives(preset, replacing):
    state = forms.State(replacing=replacing, preset=preset)
    assert forms.State.from_text(state.to_text()) == state


@pytest.mark.parametrize("text", ["", "|", "||", "a|b|c", "|weather", "\x00", "x" * 5000])
def test_state_that_somebody_made_up_names_no_preset(text):
    assert forms.State.from_text(text).preset is None


# ---- what its answers mean


@pytest.mark.parametrize("where", ["anywhere", " ANYWHERE ", "everywhere", "worldwide"])
def test_anywhere_in_words(where):
    found = read(where)
    assert (found.anywhere, found.places) == (True, ())


@pytest.mark.parametrize(
    ("where", "meant"),
    [
        ("Ireland", [("Ireland", None)]),
        ("Paris, Texas", [("Paris, Texas", 50)]),
        ("Lyon, France 30 km; Ireland", [("Lyon, France", 30), ("Ireland", None)]),
        ("Lyon, France, 30km", [("Lyon, France", 30)]),
        ("Lyon ± 12.5 km", [("Lyon, France", 12.5)]),
        ("Lyon within 12,5 KM", [("Lyon, France", 12.5)]),
        ("Lyon: 30 km", [("Lyon, France", 30)]),
        ("Lyon +/- 30 km", [("Lyon, France", 30)]),
        ("Lyon +- 30 km", [("Lyon, France", 30)]),
        ("Texas", [("Texas", 600)]),
        ("Texas 100 km", [("Texas", 100)]),
        (" Ireland ;; \n Lyon ; ", [("Ireland", None), ("Lyon, France", 50)]),
        ("Lyon; lyon; LYON", [("Lyon, France", 50)]),
        ("Lyon\t  30   km", [("Lyon, France", 30)]),
    ],
)
def test_places_as_people_write_them(where, meant):
    assert places(where) == meant


@pytest.mark.parametrize(
    "where",
    [
        "", " ", ";", "Atlantis", "Ireland; Atlantis", "Ireland, Atlantis", "30 km", "Lyon 0 km", "Lyon 2001 km",
        "Lyon 99999999999 km", "Lyon -5 km", "Lyon 30 km 30 km", "not anywhere", "anywhere; Ireland", "\x00",
        "ʞ" * 3000,
        "Ireland;" * 60 + "; ".join(f"Lyon {n} km" for n in range(1, 60)), "<!channel>", "Lyon ٣٠ miles",
    ],
)  # fmt: skip
def test_places_that_cannot_be_meant_are_a_fault_of_that_field(where):
    assert list(fault(where)) == ["where"]
    assert len(fault(where)["where"]) < 400


@pytest.mark.parametrize(
    "where", ["a" + " " * 3900 + "b", "," * 4000, "a" + ", " * 2000 + "b", "1" * 4000, "±" * 4000, "9 " * 2000 + "km"]
)
def test_no_answer_keeps_the_service_busy(where):
    """A regular expression that goes through the text again and again would take minutes."""
    assert list(fault(where)) == ["where"]


def test_wrong_choices_are_faults_of_their_fields():
    found = fault("Atlantis", category=("fires",), level="loud", certainty="")
    assert list(found) == ["where", "category", "level", "certainty"]


def test_missing_answers_are_faults():
    found = forms.read({}, locate, HERE, None)
    assert set(found.fields) == {"where", "level", "certainty"}


@pytest.mark.parametrize(
    ("words", "keywords", "excluded"),
    [
        ("", (), ()),
        ("refinery, flood*, -exercise", ("refinery", "flood*"), ("exercise",)),
        (" oil tank ,- drill ,", ("oil tank",), ("drill",)),
        (",,-,*,-*, - ", (), ()),
    ],
)
def test_words_and_exclusions(words, keywords, excluded):
    found = read(words=words)
    assert (found.keywords, found.excluded) == (keywords, excluded)


def test_what_the_form_does_not_ask_about_stays():
    changed = make_subscription(
        radii={"fire": 5.0}, langs=frozenset({"en"}), providers=frozenset({"usgs"}), min_authors=3
    )
    found = read("Ireland", changed=changed)
    assert (found.radii, found.langs, found.providers, found.min_authors) == ({"fire": 5.0}, {"en"}, {"usgs"}, 3)
    assert (found.anywhere, found.places) == (False, (IRELAND,))


def test_place_that_its_name_alone_would_not_give_again_stays_when_something_else_is_changed():
    """The gazetteer knows Doreen, Victoria only as Doreen; read as two places it would be Doreen and Hong Kong."""
    changed = make_subscription(anywhere=False, places=(ELSEWHERE, LYON))
    shown = forms.ask(changed, forms.State(replacing="s1")).fields[0].initial[0]
    assert read(shown, changed=changed).places == (ELSEWHERE, LYON)
    assert read(f"{shown}; Ireland", changed=changed).places == (ELSEWHERE, LYON, IRELAND)


def test_words_that_hold_a_comma_stay_when_something_else_is_changed():
    changed = make_subscription(keywords=("oil, gas", "-18 degrees"), excluded=("drill",))
    shown = forms.ask(changed, forms.State(replacing="s1")).fields[-1].initial[0]
    assert read(words=shown, changed=changed).keywords == ("oil, gas", "-18 degrees")
    assert read(words="", changed=changed).keywords == ()


WORDS = st.lists(
    st.text(st.characters(exclude_characters=",", exclude_categories=["C", "Z"]), min_size=1, max_size=12).filter(
        lambda word: word.strip(" -*") and not word.startswith("-")
    ),
    max_size=4,
).map(tuple)


@st.composite
def subscriptions(draw):
    circle = st.builds(
        PlaceFilter, name=st.sampled_from(["Lyon, France", "Doreen, Victoria", "Frankfurt (Oder), Germany"]),
        country=st.just("FR"), lat=st.floats(-90, 90), lon=st.floats(-180, 180),
        radius_km=st.integers(1, 2000).map(float),
    )  # fmt: skip
    country = st.sampled_from(["Ireland", "Côte d'Ivoire", "Bonaire, Saint Eustatius and Saba"]).map(
        lambda name: PlaceFilter(name=name, country="XX")
    )
    anywhere = draw(st.booleans())
    found = draw(st.lists(circle | country, min_size=1, max_size=5, unique_by=forms._named))
    return make_subscription(
        anywhere=anywhere,
        places=() if anywhere else tuple(found),
        categories=frozenset(draw(st.sets(st.sampled_from(CATEGORIES)))),
        level=draw(st.sampled_from(list(Level))),
        certainty=draw(st.sampled_from(list(Certainty))),
        keywords=draw(WORDS),
        excluded=draw(WORDS),
        min_authors=draw(st.integers(1, 5)),
    )


@given(subscriptions())
def test_form_sent_off_as_it_was_changes_nothing(wanted):
    form = forms.ask(wanted, forms.State(replacing=wanted.subscription))
    check(form)
    values = {field.name: field.initial for field in form.fields}
    assert forms.read(values, locate, wanted.channel, wanted) == wanted


@given(st.dictionaries(st.sampled_from(["where", "category", "level", "certainty", "words", "x"]),
                       st.lists(st.text(max_size=80), max_size=3).map(tuple)))  # fmt: skip
def test_any_answers_are_a_subscription_or_faults(values):
    found = forms.read(values, locate, HERE, None)
    assert isinstance(found, Faults) or (found.anywhere or found.places)


@pytest.fixture(scope="module")
def gazetteer():
    return app.load_gazetteer()


@pytest.mark.parametrize(
    "where", ["Paris, Texas", "Lyon, France 30 km; Ireland", "New York; Washington", "Dublin 25 km"]
)
def test_real_places(gazetteer, where):
    found = forms.read(filled(where), app.locator(lambda: gazetteer), HERE, None)
    assert isinstance(found, Subscription)
    assert len(found.places) == where.count(";") + 1
