"""How many are reported dead, injured or missing: counts found in a text by simple patterns in four languages."""

import re

KINDS = ("dead", "injured", "missing")
_MOST = 1_000_000
_MAX_CHARACTERS = 1_000

_NUMBER_WORDS = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10,
    "eleven": 11, "twelve": 12, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50,
    "un": 1, "una": 1, "uno": 1, "dos": 2, "tres": 3, "cuatro": 4, "cinco": 5, "seis": 6, "siete": 7, "ocho": 8,
    "nueve": 9, "diez": 10, "once": 11, "doce": 12, "veinte": 20, "treinta": 30,
    "une": 1, "deux": 2, "trois": 3, "quatre": 4, "cinq": 5, "sept": 7, "huit": 8, "neuf": 9, "dix": 10, "onze": 11,
    "douze": 12, "vingt": 20, "trente": 30,
    "um": 1, "uma": 1, "dois": 2, "duas": 2, "três": 3, "quatro": 4, "sete": 7, "oito": 8, "nove": 9, "dez": 10,
    "doze": 12, "vinte": 20, "trinta": 30,
}  # fmt: skip
_AMOUNT = r"(?P<{}>\d{{1,3}}(?:[.,]\d{{3}})+|\d{{1,6}}|" + "|".join(sorted(_NUMBER_WORDS, key=len, reverse=True)) + ")"
_AMOUNTS = re.compile(r"(?<!\w)" + _AMOUNT.format("n") + r"\b", re.IGNORECASE)  # each pattern needs one
_WHO = (
    r"(?:\s+(?:more|other|others|further|people|persons?|ppl|men|women|child(?:ren)?|students?|workers?|passengers?|"
    r"civilians?|soldiers?|firefighters?|residents?|officers?|personas?|personnes?|pessoas?|trabajadores|policiers?|"
    r"manifestants?|adults?|kids?|are|is|were|was|have|has|been|confirmed|feared|reported|reportedly|now|already|"
    r"believed|han|sido|ont|été|est|sont|foram|estão|est[áa]n|le|as|ha)){0,5}\s+"
)
_DEAD = (
    r"(?:dead|died|killed|deaths?|fatalities|muert[oa]s?|fallecid[oa]s?|morts?|tu[ée]e?s?|d[ée]c[ée]d[ée]s|mort[oa]s)"
)
_INJURED = r"(?:injured|wounded|hurt|injuries|herid[oa]s|lesionad[oa]s|bless[ée]e?s?|ferid[oa]s)"
_MISSING = r"(?:missing|unaccounted for|desaparecid[oa]s|disparue?s?)"
_TOLL = re.compile(
    r"\b(?:death toll|toll|deaths|dead|killed|muertos|bilan|mortos)\b[^.!?;\d]{0,80}?"
    r"\b(?:to|at|now|is|is now|reaches|stands at|a|à|para|de|:)\s+"
    + _AMOUNT.format("n")
    + r"\b(?!\s*(?:km|mi|m|%|h|am|pm)\b)",
    re.IGNORECASE,
)
_KILLS = re.compile(
    r"\b(?:kills?|killing|killed|mata|matando|tue|tuant)\s+(?:at least|al menos|au moins|pelo menos|about|some)?\s*"
    + _AMOUNT.format("n") + r"\b",
    re.IGNORECASE,
)  # fmt: skip
_SPANISH_RISE = re.compile(
    r"\b(?:suben?|asciende[n]?|aumenta[n]?|sobe[m]?|monte)\s+(?:a|à|para)\s+"
    + _AMOUNT.format("n")
    + r"\b[^.!?;]{0,20}?"
    + _DEAD,
    re.IGNORECASE,
)
_NEGATED = re.compile(r"\b(?:no|not|zero|without|sin|sans|sem|aucun)\W*$", re.IGNORECASE)


def _pattern(kind: str) -> re.Pattern[str]:
    return re.compile(r"(?<![\w.,-])" + _AMOUNT.format("n") + _WHO + kind + r"\b", re.IGNORECASE)


_PATTERNS = {"dead": _pattern(_DEAD), "injured": _pattern(_INJURED), "missing": _pattern(_MISSING)}
_AFTER_AND = re.compile(
    r"(?:dead|killed|died|muertos|morts|mortos)\W+(?:and|y|et|e|with)?\s*" + _AMOUNT.format("n") + _WHO + _INJURED,
    re.IGNORECASE,
)
_MISSING_DOWN = re.compile(
    r"\b(?:number of missing|missing)\b[^.!?;\d]{0,30}?\b(?:to|at|is|:)\s+" + _AMOUNT.format("n") + r"\b", re.IGNORECASE
)


def counts(text: str) -> dict[str, int]:
    """``{"dead": 3, "injured": 20}``: the largest count of each kind that the text states, absent where none."""
    text = text[:_MAX_CHARACTERS]
    found: dict[str, int] = {}
    if _AMOUNTS.search(text) is None:
        return found
    for kind, pattern in _PATTERNS.items():
        _keep(found, kind, pattern, text)
    for pattern in (_TOLL, _KILLS, _SPANISH_RISE):
        _keep(found, "dead", pattern, text)
    _keep(found, "injured", _AFTER_AND, text)
    _keep(found, "missing", _MISSING_DOWN, text)
    return found


def _keep(found: dict[str, int], kind: str, pattern: re.Pattern[str], text: str) -> None:
    for match in pattern.finditer(text):
        if _NEGATED.search(text[: match.start()]):
            continue
        number = _number(match["n"])
        if 0 < number <= _MOST:
            found[kind] = max(found.get(kind, 0), number)


def _number(amount: str) -> int:
    word = _NUMBER_WORDS.get(amount.casefold())
    return word if word is not None else int(re.sub(r"[.,]", "", amount))
