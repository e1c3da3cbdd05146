"""Which of our categories a warning's kind of event belongs to: by its words, in the order of the table. Pure."""

import re

# None: a forecast of danger or of discomfort, or a kind that none of our categories fits.
_TABLE: tuple[tuple[str, str | None], ...] = (
    (r"\b(?:test|practice|demo|administrative|child abduction|blue alert|telephone outage)\b", None),
    (r"\b(?:red flag|fire weather|extreme fire danger|air quality|air stagnation|dense (?:fog|smoke)|fog)\b", None),
    (r"tsunami|earthquake", "earthquake"),
    (r"volcan|ash ?fall", "volcano"),
    (r"avalanche|landslide|mudslide|debris flow|rockfall", "landslide"),
    (r"hazardous material|radiolog|nuclear|chemical", "hazmat_pollution"),
    (r"flood|storm surge|coastal ?event|dam (?:break|failure)|hydrologic", "flood"),
    (r"forest[- ]?fire|wild ?fire|bush ?fire", "wildfire"),
    (r"\bfire\b", "fire"),
    (
        r"tornado|thunderstorm|hurricane|typhoon|tropical|cyclone|\bstorm|blizzard|squall|\bwind|\bgale|waterspout|marine"
        r"|\bsnow|\bice\b|icing|freez|\bhail|lightning|dust|\brain|\bcold|\bchill|\bheat|temperature|winter|surf|\bsleet",
        "storm",
    ),
)
_PATTERNS = [(re.compile(words, re.IGNORECASE), category) for words, category in _TABLE]


def category(event: str) -> str | None:
    """None where it is nothing that we tell of."""
    return next((category for pattern, category in _PATTERNS if pattern.search(event[:500])), None)
