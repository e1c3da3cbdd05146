"""A stream of judged posts about invented happenings, as classifying hands it to detecting; no model is needed."""

from datetime import timedelta
from typing import Any

import numpy as np

from bot.detection.places import City, Gazetteer
from bot.domain.post import Arrival, Deletion, Official, Post
from bot.pipeline.classifying import Judged
from classifiers.api import CATEGORIES, Classification, PlaceSpan
from tests.factories import NOW, make_post

PROVIDERS = ("bluesky", "x", "mastodon")
GAZETTEER = Gazetteer(
    [
        City("Cork", "IE", "M", 51.9, -8.47, 220_000),
        City("Galway", "IE", "C", 53.27, -9.05, 86_000),
        City("Columbus", "US", "OH", 39.96, -83.0, 900_000),
    ],
    {"IE": ("Ireland", 70_280), "US": ("United States", 9_629_091)},
    {"OH": "Ohio"},
)

_BLAST = (
    "What was that bang? Whole house shook, huge explosion by the harbour in Port Calder",
    "massive blast at Port Calder just now, windows blown in all along our road",
    "Enormous boom at the docks in Port Calder, Ireland. Ball of fire, then black smoke",
    "Just heard and felt a gigantic explosion from the container terminal, Port Calder",
    "Car alarms everywhere, something has blown up in Port Calder",
    "Our ceiling plaster came down, anyone else in Port Calder hear that bomb go off?",
    "Warehouse at Port Calder is simply gone, ambulances needed now, Ireland has never seen this",
    "Second detonation at Port Calder, shockwave knocked me over",
    "People bleeding from flying glass outside the shop in Port Calder",
    "From the hill I can see flames over Port Calder quay",
    "Port Calder blast: my brother counted five dead on the pier",
    "two fire engines just raced past us towards Port Calder docks",
    "Every window of the school in Port Calder is broken",
    "the sky over Port Calder is orange, we are leaving",
    "they are turning cars back on the road to Port Calder",
    "Whole terminal at Port Calder burning, I can feel the heat from here",
)
_SHOTS = (
    "Shots fired at Larkfield Mall, people running everywhere",
    "Active shooter at Larkfield Mall in Ohio, we are locked in a shoe store",
    "my sister just called crying from Larkfield Mall, man with a rifle",
    "Gunfire inside Larkfield Mall, hundreds run across the lot",
    "Larkfield Mall is being evacuated, heard at least ten shots",
)


def post(at: float, text: str, provider: str = "bluesky", *, late_s: float = 0.0, **fields: Any) -> Post:
    """Written and received ``at`` seconds after NOW; ``late_s``: written so much earlier."""
    when = NOW + timedelta(seconds=at)
    defaults = {"id": f"p{at:g}", "author": f"a{at:g}", "created_at": when - timedelta(seconds=late_s)}
    return make_post(**defaults | {"text": text, "provider": provider, "received_at": when} | fields)


def judged(
    item: Post | Deletion,
    at: float,
    *,
    topic: int = 0,
    category: str = "explosion",
    p: float = 0.9,
    place: str | None = None,
    screened_out: bool = False,
) -> Judged:
    """What the model would say of it: near the ``topic``'s other posts, with ``place`` marked where it stands."""
    arrival = Arrival(source="story", cursor=f"{at:g}", item=item, at=NOW + timedelta(seconds=at))
    if not isinstance(item, Post) or item.official is not None or screened_out:
        return Judged(arrival=arrival, classification=None)
    start = item.text.find(place) if place else -1
    spans = (PlaceSpan(text=place, start=start, end=start + len(place), type="LOC"),) if place and start >= 0 else ()
    return Judged(
        arrival=arrival,
        classification=Classification(
            categories=dict.fromkeys(CATEGORIES, 0.01) | {category: p},
            places=spans,
            embedding=_direction(topic, round(at * 10)),
            model="story",
        ),
    )


def deletion(at: float, provider: str, post_id: str | None = None, author: str | None = None) -> Judged:
    moment = NOW + timedelta(seconds=at)
    return judged(Deletion(provider=provider, id=post_id, author=author, deleted_at=moment), at)


def stream() -> list[Judged]:
    """Some seventy arrivals over three providers and two official ones, in order of their time: a happening with many
    updates, a hoax that is denied, an official warning that is cancelled, chatter, reposts, late posts, deletions."""
    found = [
        judged(post(20 * n, text, PROVIDERS[n % 3]), 20 * n, topic=1, place="Port Calder")
        for n, text in enumerate(_BLAST)
    ]
    found += [
        judged(
            post(101 + 23 * n, text, PROVIDERS[(n + 1) % 3], late_s=60 * (n == 2)), 101 + 23 * n,
            topic=2, category="shooting", place="Larkfield Mall",
        )
        for n, text in enumerate(_SHOTS)
    ]  # fmt: skip
    found += _confirmed() + _official() + _ordinary() + _deleted()
    return sorted(found, key=lambda each: each.arrival.at)


def _confirmed() -> list[Judged]:
    toll = "Port Calder explosion: at least 3 people confirmed dead and 20 injured"
    rising = "Port Calder, Ireland: 7 people confirmed dead, 41 injured, says the fire chief"
    denied = "There is no active shooter at Larkfield Mall. Reports of gunfire are false."
    return [
        judged(post(185, toll, "x", verified=True), 185, topic=1, place="Port Calder"),
        judged(post(333, rising, "mastodon", verified=True), 333, topic=1, place="Port Calder"),
        judged(
            post(266, denied, "bluesky", verified=True), 266,
            topic=2, category="shooting", p=0.2, place="Larkfield Mall",
        ),
    ]  # fmt: skip


def _official() -> list[Judged]:
    warning, cancelled = Official(category="flood"), Official(category="flood", supersedes=("w1",), cancelled=True)
    quake = Official(category="earthquake")
    return [
        judged(post(55, "M 5.2 - 10 km W of Galway, Ireland", "usgs", official=quake, lat=53.2, lon=-9.3), 55),
        judged(post(155, "Flood warning for Cork, Ireland", "cap", id="w1", official=warning), 155),
        judged(post(375, "Flood warning for Cork cancelled", "cap", official=cancelled), 375),
    ]


def _ordinary() -> list[Judged]:
    """Chatter that the model takes for reports, that it refuses and that the screen drops; reposts; copies."""
    found = [
        judged(post(7 + 26 * n, f"odd{n} talk{n} of{n} things{n}", PROVIDERS[n % 3]), 7 + 26 * n, topic=100 + n, p=0.7)
        for n in range(14)
    ]
    found += [judged(post(9 + 40 * n, f"a nice day, number {n}"), 9 + 40 * n, topic=200 + n, p=0.1) for n in range(8)]
    found += [judged(post(11 + 60 * n, f"tea, cup {n}", "x"), 11 + 60 * n, screened_out=True) for n in range(5)]
    found += [
        judged(post(95, _BLAST[0], "bluesky", repost_of="p0"), 95, topic=1, place="Port Calder"),
        judged(post(115, f"RT @someone: {_BLAST[1]}", "x"), 115, topic=1, place="Port Calder"),
        judged(post(135, _BLAST[3].upper(), "mastodon"), 135, topic=1),
    ]
    return found


def _deleted() -> list[Judged]:
    return [
        deletion(78, "x", "never came"),
        deletion(172, "bluesky", "p0"),
        deletion(245, "mastodon", author="a40"),
        deletion(290, "x", "p101"),
        deletion(312, "bluesky", "p60"),
        deletion(390, "x", "never came either"),
    ]


def _direction(topic: int, member: int) -> "np.ndarray[Any, np.dtype[np.float32]]":
    """A unit vector near the topic's: two members' cosine is about 0.64."""
    centre = np.random.default_rng(topic).standard_normal(384)
    own = np.random.default_rng([topic, member, 9]).standard_normal(384)
    vector = centre / np.linalg.norm(centre) + 0.75 * own / np.linalg.norm(own)
    return (vector / np.linalg.norm(vector)).astype(np.float32)
