"""No invention: what may stand in a headline.

The rule: every word of a headline, numbers included, is a template's, or stands in the text of a post that is evidence
of the event at that revision (a number also as a number word), or belongs to the gazetteer's name of a country or
region that the evidence names, or in which a town that it names or the coordinates of one of its posts lie. A
retraction says what the event was called, so there the evidence that it ever had counts; an event that turned out to be
the same as another one is called as that one is, so from then on that one's evidence counts too.

What was deleted at its source does not count, except in a retraction.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from bot.detection import casualties, headlines, words
from bot.detection.detector import Detector
from bot.detection.places import City, Gazetteer
from bot.domain.access import EVERYTHING
from bot.domain.alert import Alert, Kind
from bot.domain.post import Candidate, Deletion, Official, Post
from tests.unit.test_detection_detector import report

AREAS = {"IE": "Ireland", "US": "United States", "OH": "Ohio", "CA": "Canada"}
CITIES = [
    City("Cork", "IE", "M", 51.9, -8.47, 220_000),
    City("Galway", "IE", "C", 53.27, -9.05, 186_000),
    City("Columbus", "US", "OH", 39.96, -83.0, 900_000),
    City("Québec", "CA", "10", 46.81, -71.2, 540_000),
]
GAZETTEER = Gazetteer(
    CITIES,
    {"IE": ("Ireland", 70_280), "US": ("United States", 9_629_091), "CA": ("Canada", 9_984_670)},
    {"OH": "Ohio"},
)
INVENTED = ("Port Calder", "Larkfield", "Dunmere Bridge", "Saint-Aubrac", "Brindle Creek", "Ünterwald", "#PortCalder")
KNOWN = ("Cork", "Galway", "Columbus", "Quebec")
AREA_NAMES = ("Ireland", "Ohio", "USA", "Canada")
SAID = ("huge explosion", "something blew up", "massive blast", "windows broken", "black smoke", "the ground shook")
TOLLS = (
    "", "", "", "3 dead", "three people killed", "1,200 people dead", "at least 12 injured", "40 missing",
    "7 dead and 41 injured", "no one dead", "death toll rises to 15", "veinte heridos",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Telling:
    """One post in few words; ``forgets``: which post is deleted after it, if there is one of that number."""

    text: str
    marked: str | None
    trust: str
    located: bool
    forgets: int | None


@st.composite
def tellings(draw: st.DrawFn) -> list[Telling]:
    """Up to fourteen posts about one place or a few, in small letters, in capitals and as usual."""
    places = draw(st.lists(st.sampled_from([*INVENTED, *KNOWN]), min_size=1, max_size=3))
    found = []
    for number in range(draw(st.integers(3, 14))):
        place = draw(st.sampled_from(places))
        where = draw(st.sampled_from(["", "", *(f", {area}" for area in AREA_NAMES)]))
        case = draw(st.sampled_from([str, str, str.lower, str.upper]))
        said, toll = draw(st.sampled_from(SAID)), draw(st.sampled_from(TOLLS))
        marked = draw(st.sampled_from([place, place, place + where, None]))
        found.append(
            Telling(
                text=case(f"{said} in {place}{where} {toll} number{number}"),
                marked=marked and case(marked).lstrip("#"),
                trust=draw(st.sampled_from(["", "", "", "verified", "official"])),
                located=draw(st.integers(0, 4)) == 0,
                forgets=draw(st.sampled_from([None] * 5 + [draw(st.integers(0, number))])),
            )
        )
    if draw(st.booleans()):
        denied = f"There was no explosion in {places[0]}. Reports are false."
        found.append(Telling(denied, places[0].lstrip("#"), "verified", located=False, forgets=None))
    return found


@given(tellings())
@settings(max_examples=150, deadline=None)
def test_every_word_of_a_headline_is_a_templates_or_found_in_the_evidence(told: list[Telling]) -> None:
    check(told)


def check(told: Sequence[Telling]) -> list[str]:
    """The headlines, after each was held against the evidence of its revision."""
    detector, seen = Detector(EVERYTHING, GAZETTEER), dict[str, Post]()
    ever: dict[str, set[str]] = {}
    same_as: dict[str, str] = {}
    deleted: set[str] = set()
    said: list[str] = []

    def hold(raised: Sequence[Alert]) -> None:
        for alert in raised:
            ever.setdefault(alert.event, set()).update(alert.evidence)
        for alert in raised:
            if ended := re.match("the same happening as event ([0-9a-f]+)", alert.change):
                same_as[alert.event] = ended[1]
            keys = ever[alert.event] if alert.kind is Kind.RETRACTION else set(alert.evidence)
            keys = keys | ever.get(same_as.get(alert.event, ""), set())
            if alert.kind is not Kind.RETRACTION:
                keys -= deleted
            _assert_found(alert, [seen[key] for key in keys])
            said.append(alert.headline)

    for number, telling in enumerate(told):
        candidate = _candidate(number, telling)
        seen[candidate.post.key] = candidate.post
        hold(detector.add(candidate))
        if telling.forgets is not None:
            gone, moment = list(seen.values())[telling.forgets], candidate.stream_at + timedelta(seconds=35)
            deleted.add(gone.key)
            hold(detector.delete(Deletion(provider=gone.provider, id=gone.id, deleted_at=moment), moment))
    return said


def _candidate(number: int, telling: Telling) -> Candidate:
    made: Candidate = report(
        number, telling.text, at=70 * number, place=telling.marked, verified=telling.trust == "verified",
        official=Official(category="explosion") if telling.trust == "official" else None,
        lat=51.9 if telling.located else None, lon=-8.4 if telling.located else None,
    )  # fmt: skip
    return made


def _assert_found(alert: Alert, evidence: Sequence[Post]) -> None:
    template = headlines.write(
        alert.category, None, dict.fromkeys(casualties.KINDS, 1),
        disputed=alert.disputed, withdrawn=alert.kind is Kind.RETRACTION,
    )  # fmt: skip
    texts = [post.text for post in evidence]
    allowed = (_words(template) - {"1"}) | {"in"} | _stated(texts) | _gazetteers(texts)
    if any(post.lat is not None for post in evidence):
        allowed |= _words("Ireland")
    found = _words(alert.headline)
    assert found <= allowed, (alert.headline, sorted(found - allowed), alert.kind.value, texts)


def _words(text: str) -> set[str]:
    """Folded, hash tags as they are written; a number without its separators."""
    return {words.folded(word).strip("_") for word in re.findall(r"\w+", re.sub(r"(?<=\d)[.,](?=\d{3}\b)", "", text))}


def _stated(texts: list[str]) -> set[str]:
    """Every word of the texts, and the counts that they state with a number word."""
    return {each for text in texts for each in _words(text) | set(map(str, casualties.counts(text).values()))}


def _gazetteers(texts: list[str]) -> set[str]:
    """Names of areas that the texts name, or that a town lies in which they name."""
    named = {each for text in texts for each in _words(text)}
    found: set[str] = set()
    for city in CITIES:
        if _words(city.name) <= named:
            found |= _words(AREAS[city.country]) | _words(AREAS.get(city.admin1, ""))
    if "usa" in named:
        found |= _words("United States")
    if "ohio" in named:
        found |= _words("Ohio")
    return found


def test_a_place_goes_with_the_last_post_that_named_it() -> None:
    calder, dunmere = "Port Calder, Ireland", "Dunmere Bridge"
    told = [
        Telling(f"{SAID[number % 6]} in {where} number{number}", where, trust, located=False, forgets=forgets)
        for number, (where, trust, forgets) in enumerate(
            [
                (dunmere, "", None), (dunmere, "", None), (calder, "", 2), (dunmere, "", None), (calder, "", 4),
                (calder, "official", None), (calder, "", None), (dunmere, "verified", None),
            ]
        )
    ]  # fmt: skip
    check(told)


def test_what_is_found_is_said() -> None:
    where = "Port Calder, Ireland"
    told = [Telling(f"{SAID[n]} in {where} 3 people killed", where, "", located=False, forgets=None) for n in range(4)]
    assert check(told)[0] == "Explosion reported in Port Calder, Ireland: at least 3 reported dead"
