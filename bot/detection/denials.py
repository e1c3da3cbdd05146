"""Words by which an authority says that it did not happen. Data, not judgement: who may deny is decided elsewhere.

Each pattern denies the happening itself ("there is no active shooter"), never a part of it ("no deaths confirmed yet",
"the tsunami warning is cancelled").
"""

import re

from bot.domain.post import Post

_PATTERNS = (
    # English
    r"\bfalse alarm\b",
    r"\bhoax(?:es)?\b",
    r"\b(?:reports?|rumou?rs?|claims?|posts?)\b[^.!?]{0,60}\b(?:are|is|was|were)\b[^.!?]{0,12}"
    r"\b(?:false|fake|untrue|unfounded|incorrect|not true|not correct|baseless)\b",
    r"\bno (?:shots (?:were |have been )?(?:fired|confirmed)|shooting|shooter|gunman|explosion|bomb|attack|threat) "
    r"(?:occurred|took place|happened|found|was found)\b",
    r"\bno shots (?:were |have been )?fired\b",
    r"\bthere (?:is|was|has been|were) no(?:t an?)? (?:\w+ ){0,2}"
    r"(?:shoot\w*|shots?|gunman|gunfire|explosions?|blast|bombs?|attack|fire|wildfire|leak|spill|collapse|crash|"
    r"derailment|outbreak|breach|threat|flood|dam failure|earthquake|tsunami)\b",
    r"\bno (?:evidence|indication|sign|confirmation) of (?:an? |any )?(?:\w+ ){0,2}"
    r"(?:shoot\w*|shots?|gunman|gunfire|explosions?|blast|bombs?|attack|fire|leak|spill|collapse|crash|outbreak|breach|"
    r"threat)\b",
    r"\b(?:it|this) (?:is|was) only a (?:drill|test|exercise)\b",
    r"\bdid not happen\b",
    r"\bnot an? (?:active shooter|explosion|attack|earthquake)\b",
    # Spanish
    r"\bfalsa alarma\b",
    r"\bes (?:falso|un bulo)\b",
    r"\bbulo\b",
    r"\bno (?:hay|hubo|ha habido|existe) (?:ning[uú]n\w* |una? )?(?:\w+ )?"
    r"(?:tirador|tiroteo|disparos|explosi[oó]n|bomba|atentado|ataque|incendio|fuga|derrumbe|terremoto)\b",
    r"\bdesmentimos\b|\bdesmienten?\b",
    # French
    r"\bfausses? (?:alerte|alarme|rumeur|information)s?\b",
    r"\bcanular\b|\bd[ée]mentons\b|\bd[ée]ment\b",
    r"\baucun[e]? (?:\w+ )?(?:tireur|fusillade|coup de feu|explosion|bombe|attentat|attaque|incendie|fuite)\b",
    r"\bil n['’]y a(?:vait)? (?:pas|eu aucune?)(?: eu)? (?:de |d['’])"
    r"(?:tireur|fusillade|explosion|bombe|attentat|incendie|fuite)",
    # Portuguese
    r"\b(?:falso alarme|alarme falso)\b",
    r"\bboato\b|\bdesmentimos\b|\bdesmente\b",
    r"\bn[ãa]o (?:há|houve|existe) (?:nenhum\w* |uma? )?(?:\w+ )?"
    r"(?:atirador|tiroteio|tiros|explos[ãa]o|bomba|atentado|ataque|inc[êe]ndio|vazamento|fuga|desabamento)\b",
    # German
    r"\bfehlalarm\b|\bfalschmeldung(?:en)?\b",
    r"\b(?:es gab|es gibt|gibt es|gab es) kein\w* (?:\w+ )?"
    r"(?:schüsse|schießerei|explosion|anschlag|angriff|brand|bombe|amok\w*)\b",
    r"\bkeine? (?:hinweise?|anzeichen) (?:auf|für) (?:\w+ )?(?:schüsse|schießerei|explosion|anschlag|angriff|amok\w*)",
    # Italian
    r"\bfalso allarme\b|\bbufala\b|\bsmentiamo\b|\bsmentisc(?:e|ono)\b",
    r"\bnessun['’]?[oa]? ?(?:sparatoria|sparo|esplosione|bomba|attentato|attacco|incendio|crollo)\b",
)
_DENIAL = re.compile("|".join(_PATTERNS), re.IGNORECASE)
_MAX_CHARACTERS = 1_000


def worded(text: str) -> bool:
    """Do these words deny a happening?"""
    return _DENIAL.search(text[:_MAX_CHARACTERS]) is not None


def authoritative(post: Post) -> bool:
    """A denial by an account that its provider has verified, or by an official source; a repost of one is none."""
    if post.repost_of is not None:
        return False
    if post.official is not None:
        return post.official.cancelled or worded(post.text)
    return post.verified and worded(post.text)
