"""The form for a subscription: what it asks, and what its answers mean."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from bot.domain import errors, presets
from bot.domain.alert import Certainty, Level
from bot.domain.subscription import PlaceFilter, Subscription, with_radius
from bot.platforms.base import Faults, Field, FieldKind, Form
from classifiers.api import CATEGORIES

WHERE, CATEGORY, LEVEL, CERTAINTY, WORDS = "where", "category", "level", "certainty", "words"

_LEVELS = (
    (Level.ALERT.value, "Alert and louder: everything"),
    (Level.URGENT.value, "Urgent and louder"),
    (Level.FLASH.value, "Flash only"),
)
_CERTAINTIES = (
    (Certainty.POSSIBLE.value, "As soon as it is an alert: fast"),
    (Certainty.LIKELY.value, "Corroborated: a little later, surer"),
    (Certainty.OBSERVED.value, "Observed or official"),
)
_RADIUS = re.compile(r"^(.*?),? ?(?:±|\+-|\+/-|within|:)? ?(\d{1,6}(?:[.,]\d{1,6})?) ?km$", re.IGNORECASE)
_PLACE_MOST = 200  # characters
_PLACES_MOST = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What the form carries along: the subscription that it changes, and the preset that it began with."""

    replacing: str | None = None
    preset: str | None = None

    def to_text(self) -> str:
        return f"{self.replacing or ''}|{self.preset or ''}"

    @classmethod
    def from_text(cls, text: str) -> "State":
        replacing, _, preset = text.partition("|")
        return cls(replacing=replacing or None, preset=preset if preset in presets.PRESETS else None)


def ask(initial: Subscription, state: State) -> Form:
    """With ``initial`` filled in. It changes what it shows; the rest of a subscription that it changes stays."""
    return Form(
        title="Change a subscription" if state.replacing else "Alerts for this channel",
        state=state.to_text(),
        fields=(
            Field(
                name=WHERE, label="Where?", kind=FieldKind.TEXT, required=True, initial=_given(_places(initial)),
                hint='"anywhere", or countries, regions, cities, separated by semicolons: Ireland; Lyon, France 30 km',
            ),
            Field(
                name=CATEGORY, label="What? (nothing chosen: everything)", kind=FieldKind.CHOICES,
                choices=tuple((each, each.replace("_", " ").capitalize()) for each in CATEGORIES),
                initial=tuple(sorted(initial.categories)),
            ),
            Field(
                name=LEVEL, label="How loud?", kind=FieldKind.CHOICE, choices=_LEVELS, required=True,
                initial=(initial.level.value,),
            ),
            Field(
                name=CERTAINTY, label="How sure?", kind=FieldKind.CHOICE, choices=_CERTAINTIES, required=True,
                initial=(initial.certainty.value,),
            ),
            Field(
                name=WORDS, label="Words in the headline (optional)", kind=FieldKind.TEXT,
                initial=_given(_words(initial)),
                hint="one of these has to be there, a minus excludes: refinery, flood*, -exercise",
            ),
        ),
    )  # fmt: skip


def read(
    values: Mapping[str, tuple[str, ...]],
    locate: Callable[[str], PlaceFilter | None],
    channel: str,
    changed: Subscription | None,
) -> Subscription | Faults:
    """What the answers ask for, or what is wrong with them. ``changed``: the subscription that the form changes; what
    the form does not ask about stays as it is there."""
    faults: dict[str, str] = {}
    places: tuple[PlaceFilter, ...] = ()
    where = " ".join(values.get(WHERE, ())).strip()
    anywhere = where.casefold() in ("anywhere", "everywhere", "worldwide")
    if not anywhere:
        known = {_named(place).casefold(): place for place in changed.places} if changed else {}
        try:
            places = tuple(_read_places(where, locate, known))
        except errors.UsageError as error:
            faults[WHERE] = str(error)
    chosen = frozenset(values.get(CATEGORY, ()))
    if not chosen <= set(CATEGORIES):
        faults[CATEGORY] = "choose from the list"
    level, certainty = (" ".join(values.get(name, ())) for name in (LEVEL, CERTAINTY))
    if level not in set(Level):
        faults[LEVEL] = "choose one"
    if certainty not in set(Certainty):
        faults[CERTAINTY] = "choose one"
    if faults:
        return Faults(fields=faults)
    wanted = replace(
        changed or Subscription(subscription="", channel=channel),
        anywhere=anywhere,
        places=places,
        categories=chosen,
        level=Level(level),
        certainty=Certainty(certainty),
    )
    given = " ".join(values.get(WORDS, ()))
    if given.strip() == _words(wanted).strip():  # as it stood there, also words that hold a comma
        return wanted
    words = [word.strip() for word in given.split(",") if word.strip(" -*")]
    return replace(
        wanted,
        keywords=tuple(word for word in words if not word.startswith("-")),
        excluded=tuple(word[1:].strip() for word in words if word.startswith("-")),
    )


def _read_places(
    where: str, locate: Callable[[str], PlaceFilter | None], known: Mapping[str, PlaceFilter]
) -> list[PlaceFilter]:
    """``known``: as they stood in the form → those that the subscription has, which names alone may not give again."""
    places: list[PlaceFilter] = []
    for part in (" ".join(part.split()) for part in re.split(r"[;\n]", where)):
        if part.casefold() in known:
            places.append(known[part.casefold()])
        elif part:
            places.append(_read_place(part, locate))
    if not places:
        raise errors.UsageError('say "anywhere", or name at least one country, region or city')
    if len(places) > _PLACES_MOST:
        raise errors.UsageError(f"at most {_PLACES_MOST} places; name their country or region instead")
    return list(dict.fromkeys(places))


def _read_place(part: str, locate: Callable[[str], PlaceFilter | None]) -> PlaceFilter:
    """One place, with or without a radius. Never two at a comma: "Cork, Victoria" may be one that is not known."""
    if len(part) > _PLACE_MOST:
        raise errors.UsageError(f"{part[:20]!r}… is too long for one place; separate places by semicolons")
    found = _RADIUS.match(part)
    name, radius_km = (found[1].strip(" ,"), float(found[2].replace(",", "."))) if found else (part, None)
    if radius_km is not None and not 1 <= radius_km <= 2000:
        raise errors.UsageError(f"{part!r}: a radius is from 1 to 2000 km")
    place = locate(name)
    if place is None:
        apart = "; several are separated by semicolons" if "," in name else ""
        raise errors.UsageError(
            f"{name!r} is not known, or there are several; try it with its country: Lyon, France{apart}"
        )
    return with_radius((place,), radius_km)[0]


def _places(initial: Subscription) -> str:
    return "anywhere" if initial.anywhere else "; ".join(map(_named, initial.places))


def _words(initial: Subscription) -> str:
    return ", ".join([*initial.keywords, *(f"-{word}" for word in initial.excluded)])


def _named(place: PlaceFilter) -> str:
    return place.name if place.lat is None else f"{place.name} {place.radius_km:g} km"


def _given(text: str) -> tuple[str, ...]:
    return (text,) if text else ()
