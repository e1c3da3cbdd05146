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
    """One kind of happening. `definition` and `is_not` are whole sentences for people and for the model card.

    `examples` are posts that would be of this category.
    """

    id: str
    definition: str
    is_not: str
    iptc: str | None
    cap: str
    examples: tuple[str, ...]


TAXONOMY: tuple[Category, ...] = (
    Category(
        id="terror_attack",
        definition="An attack on civilians meant to spread fear: a bomb, a ramming, a shooting called terrorism.",
        is_not="A gun crime without that motive (shooting), fighting between armed forces (armed_conflict).",
        iptc="medtop:20000053",
        cap="Security",
        examples=(
            "Suicide bomber strikes crowded market in Tarnow, group claims responsibility",
            "a van just drove into the crowd at the christmas market in Ellery, people are running",
            "Hostages held in Marisol theatre, attackers demand release of prisoners",
        ),
    ),
    Category(
        id="shooting",
        definition="Shots fired at people, an active shooter, a stabbing spree, a hostage-taking with weapons.",
        is_not="War, hunting, a film shoot, a shot in sport.",
        iptc="medtop:20000082",
        cap="Security",
        examples=(
            "Active shooter at Harlow mall, police tell people to shelter in place",
            "heard gunshots on the third floor, we are hiding under the desks",
            "Two killed, five wounded in shooting outside nightclub in Port Bexley",
        ),
    ),
    Category(
        id="armed_conflict",
        definition="Fighting between armed forces or groups: shelling, air strikes, missiles, a coup by arms.",
        is_not="Protest without arms (unrest), threats and exercises (politics or nothing).",
        iptc="medtop:20000056",
        cap="Security",
        examples=(
            "Shelling of Korvan resumes despite ceasefire, residents say",
            "air raid sirens then three huge booms, drones over the power station",
            "Rebels seize border town of Osmara after two days of fighting",
        ),
    ),
    Category(
        id="unrest",
        definition="Riot, violent protest, looting, clashes with the police, a mass demonstration that blocks a city.",
        is_not="A rally announced for next week, a strike without disturbance, an angry opinion.",
        iptc="medtop:20000065",
        cap="Security",
        examples=(
            "Police fire tear gas as protesters storm the parliament in Lisgrad",
            "they are burning cars on our street and smashing shop windows",
            "Curfew declared in Nordhaven after second night of riots",
        ),
    ),
    Category(
        id="explosion",
        definition="Something exploded: a plant, a gas main, a tanker, an unexplained blast.",
        is_not="A bomb called terrorism (terror_attack), shelling (armed_conflict), a controlled demolition.",
        iptc="medtop:20000139",
        cap="Fire",
        examples=(
            "Huge explosion at chemical plant near Bexford, windows broken for miles",
            "what was that bang?? whole house shook, smoke over the industrial estate",
            "Gas explosion flattens two houses in Selby Heath",
        ),
    ),
    Category(
        id="fire",
        definition="A building, vehicle, ship, plant or landfill on fire.",
        is_not="Vegetation burning (wildfire), a campfire, a candle, a person who is 'on fire'.",
        iptc="medtop:20000139",
        cap="Fire",
        examples=(
            "Fire crews battle blaze in 12-storey block on Linden Avenue",
            "the market hall is on fire, flames through the roof",
            "Warehouse fire in Dunmere spreads to neighbouring buildings",
        ),
    ),
    Category(
        id="wildfire",
        definition="Forest, bush, grass or moor burning out of control, with its smoke and evacuations.",
        is_not="A fire that stays in one building (fire), a prescribed burn.",
        iptc="medtop:20000148",
        cap="Fire",
        examples=(
            "Wildfire jumps highway, residents of Pine Hollow told to leave now",
            "Bushfire near Corrigan out of control, emergency warning issued",
            "we can see the flames on the ridge, ash falling on the car",
        ),
    ),
    Category(
        id="earthquake",
        definition="The ground shook: an earthquake, an aftershock, the tsunami warning that follows.",
        is_not="Shaking by blasting or traffic, a drill, an anniversary.",
        iptc="medtop:20000148",
        cap="Geo",
        examples=(
            "Magnitude 6.1 earthquake strikes off the coast of Velmar",
            "whoa did anybody else feel that? everything was shaking for 20 seconds",
            "Strong quake damages homes in Santelmo, aftershocks continue",
        ),
    ),
    Category(
        id="volcano",
        definition="A volcano erupts, spits ash or lava, or its alert level is raised.",
        is_not="A photograph of a dormant volcano, a school experiment.",
        iptc="medtop:20000148",
        cap="Geo",
        examples=(
            "Mount Ashgar erupts, ash column rises 9 km, flights diverted",
            "lava is coming down towards the village, we are leaving",
            "Alert level raised to red as eruption begins at Pico Tormento",
        ),
    ),
    Category(
        id="landslide",
        definition="A slope failed: landslide, mudslide, rockfall, debris flow, avalanche.",
        is_not="An election won 'by a landslide', a pothole, a building that fell by itself (structural_collapse).",
        iptc="medtop:20000148",
        cap="Geo",
        examples=(
            "Landslide buries road and several houses in Alto Verano",
            "the whole hillside came down behind the school",
            "Mudslide blocks railway line near Grenford, passengers stranded",
        ),
    ),
    Category(
        id="flood",
        definition="Water where people live: river or flash flood, storm surge, burst dam, streets under water.",
        is_not="A leaking pipe, a flood of messages, plain rain.",
        iptc="medtop:20000148",
        cap="Met",
        examples=(
            "River Lorne bursts its banks, town centre of Millbrook under water",
            "water is in our living room, we are going upstairs",
            "Flash flood warning for Carrow county, evacuations under way",
        ),
    ),
    Category(
        id="storm",
        definition="Wind and weather that do harm: hurricane, tornado, blizzard, hail, lightning, and their warnings.",
        is_not="Ordinary rain, a 'storm' of criticism.",
        iptc="medtop:20001129",
        cap="Met",
        examples=(
            "Tornado on the ground west of Fairmont, take cover now",
            "Hurricane Odile makes landfall with 200 km/h winds",
            "the storm took the roof off the neighbour's house and there is no power",
        ),
    ),
    Category(
        id="meteor",
        definition="A fireball, meteor or re-entering object seen, heard or fallen.",
        is_not="A meteor shower announced, a film, a team of that name.",
        iptc=None,
        cap="Other",
        examples=(
            "Fireball lights up the sky over Tavria, loud boom heard",
            "Meteorite fragments damage greenhouse in Olsk",
            "did you see that huge flash in the sky? windows rattled a minute later",
        ),
    ),
    Category(
        id="transport_accident",
        definition="Train, plane, ship, bus or road accident with harm or disruption.",
        is_not="A traffic jam, a delay, a market or computer 'crash'.",
        iptc="medtop:20000139",
        cap="Transport",
        examples=(
            "Passenger train derails near Stonebridge, dozens injured",
            "Small plane crashes on approach to Kelmont airport",
            "multi vehicle pile-up on the A9, both directions closed, helicopters landing",
        ),
    ),
    Category(
        id="structural_collapse",
        definition="A building, bridge, crane, mine, stand or roof came down.",
        is_not="A collapse brought by an earthquake (earthquake) or of a government (politics), a planned demolition.",
        iptc="medtop:20000139",
        cap="Infra",
        examples=(
            "Apartment building collapses in Rashid Street, people trapped",
            "the footbridge just came down on the road",
            "Crane collapses onto hotel site in Marden, workers missing",
        ),
    ),
    Category(
        id="hazmat_pollution",
        definition="A harmful substance got out: chemical or gas leak, oil spill, radiation, toxic smoke or haze.",
        is_not="Everyday smog talk, climate opinion.",
        iptc="medtop:20000424",
        cap="CBRNE",
        examples=(
            "Ammonia leak at cold store, residents told to keep windows shut",
            "Oil spill spreads along the coast of Port Lune",
            "toxic smoke over the whole district, our eyes are burning",
        ),
    ),
    Category(
        id="public_health",
        definition="An outbreak, mass poisoning or a health emergency: cases, deaths, quarantine, recalls for safety.",
        is_not="Being ill oneself, health advice, a fundraiser.",
        iptc="medtop:20000446",
        cap="Health",
        examples=(
            "Cholera outbreak in Dasura camp, 40 dead",
            "Health ministry confirms first cases of unknown fever in Belmora",
            "Hundreds of pupils ill after eating contaminated lunch",
        ),
    ),
    Category(
        id="cyber",
        definition="Systems attacked or down: ransomware, breach, leak, exploited vulnerability, large outage.",
        is_not="One's own lost password, a product advert, a tutorial.",
        iptc="medtop:20000086",
        cap="Security",
        examples=(
            "Ransomware attack shuts down hospitals' computers in Kestria",
            "Data of 3 million customers leaked after breach at Nordbank",
            "Massive outage: payment terminals down across the country",
        ),
    ),
    Category(
        id="markets",
        definition="News that moves prices now: results, takeover, default, halt, rate decision, sudden fall or rise.",
        is_not="Routine commentary, a watch list, a trading tip, an advert.",
        iptc="medtop:20000385",
        cap="Other",
        examples=(
            "Shares of Velox halted after profit warning",
            "Central bank of Marania raises rates by 75 basis points in surprise move",
            "Takeover: Orbix to buy Lumen for 4 billion in cash",
        ),
    ),
    Category(
        id="politics",
        definition="A political happening now: resignation, election result, emergency decree, treaty, ruling.",
        is_not="Opinion, campaign slogans, old quarrels.",
        iptc="medtop:11000000",
        cap="Other",
        examples=(
            "Prime minister of Tavria resigns",
            "President declares state of emergency after disputed election",
            "Parliament passes no-confidence vote, government falls",
        ),
    ),
)

CATEGORIES: tuple[str, ...] = tuple(category.id for category in TAXONOMY)
