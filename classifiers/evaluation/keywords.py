"""The words of the keyword baseline: what somebody would type into a filter in an afternoon. Written by the project.

Matched from the start of a word, whatever follows (`inundac` finds inundación and inundaciones); a trailing "$" asks
for the whole word. English, then Spanish, Italian, Portuguese and French where they are obvious.
"""

from __future__ import annotations

import re

WORDS: dict[str, tuple[str, ...]] = {
    "terror_attack": (
        "terroris", "terror attack", "bombing", "suicide bomb", "car bomb", "bomb attack", "isis$", "jihad", "atentado",
        "attentat", "attacco terror", "ataque terror",
    ),
    "shooting": (
        "shooting", "shooter", "gunman", "gunmen", "gunfire", "shots fired", "opened fire", "stabbing", "hostage",
        "tiroteo", "sparatoria", "tiroteio", "fusillade", "rehenes", "ostaggi", "otages",
    ),
    "armed_conflict": (
        "airstrike", "air strike", "shelling", "missile", "artillery", "troops", "militants", "rebels", "warplane",
        "ceasefire", "coup$", "bombardeo", "bombardament", "bombardement", "ataque aéreo", "raid aere",
    ),
    "unrest": (
        "riot", "protest", "looting", "tear gas", "clashes", "demonstrat", "disturbios", "saqueo", "manifestac",
        "manifestaç", "scontri", "émeute", "manifestation",
    ),
    "explosion": ("explo", "blast$", "blasts", "esplos", "estall", "detonat"),
    "fire": ("on fire", "house fire", "building fire", "blaze", "firefighter", "incendio$", "incendie", "rogo$"),
    "wildfire": (
        "wildfire", "bushfire", "forest fire", "brush fire", "wild fire", "grass fire", "incendios forestales",
        "incendio forestal", "incendi boschivi", "queimada", "feux de forêt", "feu de forêt",
    ),
    "earthquake": (
        "earthquake", "quake", "aftershock", "magnitude", "tsunami", "seism", "terremoto", "sismo", "temblor", "scossa",
        "séisme", "tremblement de terre", "richter", "epicent",
    ),
    "volcano": ("volcan", "vulcan", "erupt", "lava$", "volcán", "vulcão", "erupción", "eruzione", "éruption"),
    "landslide": (
        "landslide", "mudslide", "rockslide", "rockfall", "avalanche", "debris flow", "deslizamiento", "deslave",
        "derrumbe", "frana$", "deslizamento", "glissement de terrain", "valanga",
    ),
    "flood": (
        "flood", "storm surge", "dam burst", "under water", "river level", "inundac", "inundaç", "inondation",
        "alluvion", "enchente", "riada",
    ),
    "storm": (
        "hurricane", "tornado", "storm", "typhoon", "cyclone", "blizzard", "hail$", "twister", "tormenta",
        "temporal$", "huracán", "tempesta", "uragano", "furacão", "tempestade", "tempête", "ouragan", "tifón",
        "borrasca",
    ),
    "meteor": ("meteor", "fireball", "asteroid", "meteorit", "bolide"),
    "transport_accident": (
        "derail", "train crash", "plane crash", "car crash", "bus crash", "crash", "collision", "collided", "capsiz",
        "accident", "pile-up", "shipwreck", "descarril", "accidente", "incidente ferroviario", "deraglia", "naufrag",
        "descarrilamento", "acidente", "déraillement", "choque",
    ),
    "structural_collapse": (
        "building collapse", "collapsed", "collapse", "bridge collapse", "roof collapse", "rubble", "derrumb",
        "edificio colaps", "crollo", "crollat", "desabamento", "effondre",
    ),
    "hazmat_pollution": (
        "haze$", "chemical spill", "oil spill", "gas leak", "toxic", "hazmat", "radiation", "pollution", "psi$",
        "chemical leak", "contamina", "derrame", "fuga de gas", "fuga di gas", "inquinamento", "marée noire",
        "vazamento",
    ),
    "public_health": (
        "outbreak", "epidemic", "pandemic", "virus", "covid", "coronavirus", "ebola", "cholera", "quarantine",
        "infected", "measles", "brote$", "epidemia", "cuarentena", "quarantena", "quarentena", "épidémie",
    ),
    "cyber": (
        "ransomware", "malware", "hacked", "hackers", "data breach", "breach", "ddos", "vulnerab", "exploit", "cve-",
        "zero-day", "botnet", "phishing", "cyberattack", "ciberataque", "cyberattaque", "outage",
    ),
    "markets": (
        "stocks", "shares", "earnings", "dividend", "nasdaq", "dow jones", "s&p 500", "eps$", "revenue", "ipo$",
        "merger", "acquisition", "rate hike", "fed$", "inflation", "bankrupt", "guidance", "acciones$", "bolsa de",
    ),
    "politics": (
        "resign", "election", "parliament", "senate", "impeach", "president", "prime minister", "white house",
        "sanctions", "treaty", "referendum", "elecciones", "elezioni", "eleições", "élections", "dimite", "dimission",
    ),
}  # fmt: skip


def pattern(category: str) -> re.Pattern[str]:
    """All words of a category as one pattern, for text in lower case."""
    return re.compile(
        r"\b(?:"
        + "|".join(re.escape(word[:-1]) + r"\b" if word[-1] == "$" else re.escape(word) for word in WORDS[category])
        + ")"
    )
