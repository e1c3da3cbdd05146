"""The words of a text as detection sees them: normalised for copies, and the probable names that tie posts
together."""

import hashlib
import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

MAX_CHARACTERS = 2_000

_RETWEET = re.compile(r"^\s*(?:RT|MT)\s+@([\w.:-]+):?\s*", re.IGNORECASE)
_NOISE = re.compile(r"(?:https?://|www\.|pic\.twitter\.com/|t\.co/)\S+|@[\w.-]+")
_WORD = re.compile(r"#?\w+")
_SENTENCE_END = ".!?:…\n"

# Capitalised in headlines or at the head of a sentence without being a name; with the words of our trade.
_COMMON = frozenset(
    """
    about active after again alert also amid among and any anyone are area around attack authorities away because
    been before being believed blast bomb breaking bridge building building burning can cars center central centre
    chemical city close closed collapse collapsed communities confirm confirmed cops could coming crash crews damage
    dead deadly death deaths derailed derailment developing died disaster dont down earthquake emergency eruption
    evacuate evacuated evacuation evacuations every everyone explosion explosions fears feel felt fire firefighters
    fires flash flood flooded flooding floods footage for from gas getting god going gone gunfire gunman happened
    happening
    has have hear heard help here high hit hospital hospitals house huge hundreds hurt injured injuries inside into
    its just killed killing kids large latest leak left live local look looks lots major man many massive media
    minutes missing more morning much near nearby never new news night not now officers officials omg one our out
    over people person photo photos please police possible pray prayers praying quake rail reported reportedly
    reports rescue rescued right river road safe said saying says school scene seen several severe shaking shit shock
    shooter shooting shot shots siren sirens situation smoke some someone something station stay still storm street
    strong suspect take team that the their them there these they thing this those thoughts thousands time today told
    tonight toll tornado town traffic train tremor tsunami two unconfirmed under update urgent very victims video
    volcano warning was watch water way well were what when where which while who why wildfire will wind with woman
    world would wow yes yesterday you your cyber attack ransomware hackers hacked outage hurricane typhoon protest
    riot riots clashes landslide avalanche meteor fireball outbreak virus spill toxic cloud market markets shares
    monday tuesday wednesday thursday friday saturday sunday january february march april may june july august
    september october november december
    ahora alerta algunos anoche aquí así aún calle casa casas cerca como con contra cuando de del derrumbe desde
    donde dos edificio ejército emergencia esta está están este esto explosión fábrica fuerte fuerza gente gobierno
    hasta hay hoy incendio inundación la las los más mucha mucho muertos muerto muy nos nuestro otra otro para pero
    policía por porque que quien rescate según sin sismo sobre solo son sus también temblor terremoto tiroteo toda
    todo todos tras última hora una urgente uno vecinos video volcán zona
    affrontements après attentat aucun aussi avec avez bus cette chez comme dans depuis des dont elle elles émeute
    émeutes encore est êtes ete fait feu fusillade ici ils incendie inondation jour leur les mais même mes moi mort
    morts nous notre on ont par pas place plus police pour quand quartier qui rue sans ses son sont sur tout tous
    très tremblement une urgence vers voiture voitures vous
    agora aqui até cheia com como da das de do dos ela ele em ela erupção está estão explosão foi há ilha incêndio
    isso lava mais mas meu minha mortos muito não nas nos num numa para pela pelo pela por que rua são sem sismo só
    sua também tem terra tudo uma vulcão vídeo
    aber alle auch auf aus bei beim bitte brand das dem den der des die durch ein eine einem einen einer erdbeben es
    explosion feuer für gerade haben hat hier ich im in ist jetzt kein keine mit nach nicht noch nur oder polizei
    schon sich sie sind so tote über um und uns unter verletzte viele vom von vor war was wegen wie wir wird wo
    zum zur anche alla alle anni che ci col con così cosa dai dal dalla degli dei del della delle di dopo dove e
    esplosione fa forte fuoco gli ha hanno il incendio io la le lo ma mentre mi molto morti nel nella non oggi ora
    ore paura per più polizia poi qui questa questo scossa se senza si sono stata stato strada terremoto tra tutti
    un una vento via
    """.split()  # noqa: SIM905
)


def cleaned(text: str) -> str:
    """Without a leading "RT @user:", addresses and mentions; cut, so that hostile texts cost no more than long
    ones."""
    return _NOISE.sub(" ", _RETWEET.sub("", text[:MAX_CHARACTERS]))


def is_textual_repost(text: str) -> bool:
    return _RETWEET.match(text) is not None


def quoted(text: str) -> str | None:
    """Whom a textual repost quotes: the name behind its "@", folded."""
    found = _RETWEET.match(text)
    return None if found is None else folded(found[1].rstrip(".:-"))


@lru_cache(maxsize=16_384)
def folded(word: str) -> str:
    """Case-folded, without accents and a leading hash sign: São → sao."""
    if word.isascii():
        return word.lstrip("#").casefold()
    decomposed = unicodedata.normalize("NFKD", word.lstrip("#").casefold())
    return "".join(mark for mark in decomposed if not unicodedata.combining(mark))


def sequence(text: str) -> tuple[str, ...]:
    """The folded words in order."""
    return tuple(folded(word) for word in _WORD.findall(cleaned(text)))


def fingerprint(text: str) -> str:
    """16 hex digits, equal for texts that differ only in case, marks, addresses, mentions and "RT @user:"."""
    joined = " ".join(sequence(text))
    return hashlib.sha256(joined.encode("utf-8", "replace")).hexdigest()[:16]


def is_common(word: str) -> bool:
    """``word`` is folded."""
    return len(word) < 3 or word.isdigit() or word in _FOLDED_COMMON


def names(text: str) -> frozenset[str]:
    """Folded words that are probably names: hash tags, and capitals within a sentence that are not everywhere.

    A text in capitals throughout (SHOUTING, a Title Case Headline, German) says nothing by a capital: hash tags only.
    """
    clean = cleaned(text)
    tags: set[str] = set()
    capitals: set[str] = set()
    words = inner = 0
    found_words = list(_WORD.finditer(clean))
    for match, after in pairwise([*found_words, None]):
        if match is None:
            break
        word = match[0]
        if word.startswith("#"):
            tags.add(folded(word))
            continue
        words += 1
        if not word[0].isupper():
            continue
        before = clean[: match.start()].rstrip(" \t\"'“”‘’«»([-–—|")
        opens = not before or before[-1] in _SENTENCE_END
        inner += not opens
        if not opens or (after is not None and after[0][0].isupper() and after.start() - match.end() == 1):
            capitals.add(folded(word))
    found = tags if words and inner > 0.6 * words else tags | capitals
    return frozenset(name for name in found if not is_common(name))


def content(words: tuple[str, ...]) -> frozenset[str]:
    return frozenset(word for word in words if not is_common(word))


_FOLDED_COMMON = frozenset(folded(word) for word in _COMMON)
