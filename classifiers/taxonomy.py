"""The closed, versioned list of categories: what each is, what it is not, and its codes in two public standards.

Standard library only. The order is the contract's and the order of the model's outputs: never reorder, only append,
and raise `VERSION` when a definition changes. `iptc` is the IPTC Media Topic (https://cv.iptc.org/newscodes/mediatopic/),
the
nearest one whose code we could verify (often the parent: 20000148 disaster, 20000139 accident and emergency incident),
None where none fits; `cap` is the category of the Common Alerting Protocol 1.2.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One kind of happening. `definition` and `is_not` are whole sentences for people and for the model card."""

    id: str
    definition: str
    is_not: str
    iptc: str | None
    cap: str


TAXONOMY: tuple[Category, ...] = (
    Category(
        id="terror_attack",
        definition="An attack on civilians meant to spread fear: a bomb, a ramming, a shooting called terrorism.",
        is_not="A gun crime without that motive (shooting), fighting between armed forces (armed_conflict).",
        iptc="medtop:20000053",
        cap="Security",
    ),
    Category(
        id="shooting",
        definition="Shots fired at people, an active shooter, a stabbing spree, a hostage-taking with weapons.",
        is_not="War, hunting, a film shoot, a shot in sport.",
        iptc="medtop:20000082",
        cap="Security",
    ),
    Category(
        id="armed_conflict",
        definition="Fighting between armed forces or groups: shelling, air strikes, missiles, a coup by arms.",
        is_not="Protest without arms (unrest), threats and exercises (politics or nothing).",
        iptc="medtop:20000056",
        cap="Security",
    ),
    Category(
        id="unrest",
        definition="Riot, violent protest, looting, clashes with the police, a mass demonstration that blocks a city.",
        is_not="A rally announced for next week, a strike without disturbance, an angry opinion.",
        iptc="medtop:20000065",
        cap="Security",
    ),
    Category(
        id="explosion",
        definition="Something exploded: a plant, a gas main, a tanker, an unexplained blast.",
        is_not="A bomb called terrorism (terror_attack), shelling (armed_conflict), a controlled demolition.",
        iptc="medtop:20000139",
        cap="Fire",
    ),
    Category(
        id="fire",
        definition="A building, vehicle, ship, plant or landfill on fire.",
        is_not="Vegetation burning (wildfire), a campfire, a candle, a person who is 'on fire'.",
        iptc="medtop:20000139",
        cap="Fire",
    ),
    Category(
        id="wildfire",
        definition="Forest, bush, grass or moor burning out of control, with its smoke and evacuations.",
        is_not="A fire that stays in one building (fire), a prescribed burn.",
        iptc="medtop:20000148",
        cap="Fire",
    ),
    Category(
        id="earthquake",
        definition="The ground shook: an earthquake, an aftershock, the tsunami warning that follows.",
        is_not="Shaking by blasting or traffic, a drill, an anniversary.",
        iptc="medtop:20000148",
        cap="Geo",
    ),
    Category(
        id="volcano",
        definition="A volcano erupts, spits ash or lava, or its alert level is raised.",
        is_not="A photograph of a dormant volcano, a school experiment.",
        iptc="medtop:20000148",
        cap="Geo",
    ),
    Category(
        id="landslide",
        definition="A slope failed: landslide, mudslide, rockfall, debris flow, avalanche.",
        is_not="An election won 'by a landslide', a pothole, a building that fell by itself (structural_collapse).",
        iptc="medtop:20000148",
        cap="Geo",
    ),
    Category(
        id="flood",
        definition="Water where people live: river or flash flood, storm surge, burst dam, streets under water.",
        is_not="A leaking pipe, a flood of messages, plain rain.",
        iptc="medtop:20000148",
        cap="Met",
    ),
    Category(
        id="storm",
        definition="Wind and weather that do harm: hurricane, tornado, blizzard, hail, lightning, and their warnings.",
        is_not="Ordinary rain, a 'storm' of criticism.",
        iptc="medtop:20001129",
        cap="Met",
    ),
    Category(
        id="meteor",
        definition="A fireball, meteor or re-entering object seen, heard or fallen.",
        is_not="A meteor shower announced, a film, a team of that name.",
        iptc=None,
        cap="Other",
    ),
    Category(
        id="transport_accident",
        definition="Train, plane, ship, bus or road accident with harm or disruption.",
        is_not="A traffic jam, a delay, a market or computer 'crash'.",
        iptc="medtop:20000139",
        cap="Transport",
    ),
    Category(
        id="structural_collapse",
        definition="A building, bridge, crane, mine, stand or roof came down.",
        is_not="A collapse brought by an earthquake (earthquake) or of a government (politics), a planned demolition.",
        iptc="medtop:20000139",
        cap="Infra",
    ),
    Category(
        id="hazmat_pollution",
        definition="A harmful substance got out: chemical or gas leak, oil spill, radiation, toxic smoke or haze.",
        is_not="Everyday smog talk, climate opinion.",
        iptc="medtop:20000424",
        cap="CBRNE",
    ),
    Category(
        id="public_health",
        definition="An outbreak, mass poisoning or a health emergency: cases, deaths, quarantine, recalls for safety.",
        is_not="Being ill oneself, health advice, a fundraiser.",
        iptc="medtop:20000446",
        cap="Health",
    ),
    Category(
        id="cyber",
        definition="Systems attacked or down: ransomware, breach, leak, exploited vulnerability, large outage.",
        is_not="One's own lost password, a product advert, a tutorial.",
        iptc="medtop:20000086",
        cap="Security",
    ),
    Category(
        id="markets",
        definition="News that moves prices now: results, takeover, default, halt, rate decision, sudden fall or rise.",
        is_not="Routine commentary, a watch list, a trading tip, an advert.",
        iptc="medtop:20000385",
        cap="Other",
    ),
    Category(
        id="politics",
        definition="A political happening now: resignation, election result, emergency decree, treaty, ruling.",
        is_not="Opinion, campaign slogans, old quarrels.",
        iptc="medtop:11000000",
        cap="Other",
    ),
)

CATEGORIES: tuple[str, ...] = tuple(category.id for category in TAXONOMY)
BY_ID: dict[str, Category] = {category.id: category for category in TAXONOMY}
