"""XML from strangers: bytes in, a small tree out. Pure; entities and bombs are refused, mistakes are borne.

Refused: a document type that declares anything, external entities (never looked up), more than 100 levels or 300,000
elements. Borne: any byte-order mark, an encoding other than the declared one (UTF-16 is believed only where it shows),
control characters, the entities of HTML, bare ampersands, prefixes that were never declared, and a document that ends
in the middle: the entries before the first mistake count.
"""

import codecs
import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from xml.parsers import expat

from bot.ingest.polling import UnreadableError

DEEPEST = 100
MOST_ELEMENTS = 300_000
MOST_MENDED = 100_000  # entities, and bare ampersands; one more is the first mistake

_PREFIXES = {
    "http://www.w3.org/2005/Atom": "",
    "http://purl.org/atom/ns#": "",
    "http://purl.org/rss/1.0/": "",
    "http://my.netscape.com/rdf/simple/0.9/": "",
    "http://backend.userland.com/rss2": "",
    "http://www.w3.org/1999/xhtml": "",
    "http://www.w3.org/1999/02/22-rdf-syntax-ns#": "rdf:",
    "http://purl.org/dc/elements/1.1/": "dc:",
    "http://purl.org/dc/terms/": "dcterms:",
    "http://purl.org/rss/1.0/modules/content/": "content:",
    "http://www.w3.org/2003/01/geo/wgs84_pos#": "geo:",
    "http://www.georss.org/georss": "georss:",
    "http://www.gdacs.org": "gdacs:",
    "urn:oasis:names:tc:emergency:cap:1.1": "cap:",
    "urn:oasis:names:tc:emergency:cap:1.2": "cap:",
    "http://www.w3.org/XML/1998/namespace": "xml:",
}
_ENTRIES = ("item", "entry")
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_TEXT_ENCODING = re.compile(
    r"utf-?8|(?:us-)?ascii|latin-?1|(?:iso[-_]?8859|windows|cp)[-_]?\d{1,4}|koi8-[ru]|gbk|gb\w{3,6}"
    r"|big5(?:-?hkscs)?|shift[-_]?jis|euc[-_](?:jp|kr|cn)|mac-?roman",
    re.IGNORECASE,
)
_LATIN = re.compile(r"latin-?1|iso[-_]?8859[-_]?1", re.IGNORECASE)  # as everybody reads it
_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]{0,1000}\?>|\A\s+")
_NAMED = re.compile(r"&(?!(?:amp|lt|gt|quot|apos);)([A-Za-z][A-Za-z0-9]{1,31};)")
_BARE = re.compile(r"&(?!(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#x[0-9A-Fa-f]{1,6});)")
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


@dataclass(slots=True)
class Node:
    """``name``: without a prefix in RSS, Atom and XHTML, ``gdacs:guid``, ``cap:event``, … in their extensions."""

    name: str
    attributes: dict[str, str]
    content: list["str | Node"] = field(default_factory=list)

    @property
    def children(self) -> Iterator["Node"]:
        return (each for each in self.content if isinstance(each, Node))

    def all(self, name: str) -> list["Node"]:
        return [each for each in self.children if each.name == name]

    def first(self, *names: str) -> "Node | None":
        """The first child with the first of these names that it has."""
        return next((each for name in names for each in self.children if each.name == name), None)

    def text(self, *names: str) -> str:
        """Of that child, stripped; of the node itself without a name. Empty where there is none."""
        node = self.first(*names) if names else self
        return "" if node is None else "".join(node.texts()).strip()

    def texts(self) -> Iterator[str]:
        stack: list[str | Node] = [self]
        while stack:
            each = stack.pop()
            if isinstance(each, str):
                yield each
            else:
                stack.extend(reversed(each.content))


class _TooMuchError(Exception):
    pass


class _Tree:
    """What expat reports, as Nodes."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self._open: list[Node] = []
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MOST_ELEMENTS or len(self._open) >= DEEPEST:
            raise _TooMuchError
        node = Node(_short(name), {_short(key): value for key, value in attributes.items()})
        if self._open:
            self._open[-1].content.append(node)
        elif self.root is None:
            self.root = node
        self._open.append(node)

    def end(self, _name: str) -> None:
        self._open.pop()

    def without_the_cut(self) -> Node | None:
        """The root, without the entry in the middle of which it ended."""
        for parent, child in pairwise(self._open):
            if child.name in _ENTRIES:
                parent.content.pop()
                break
        return self.root

    def data(self, text: str) -> None:
        if self._open:
            self._open[-1].content.append(text)


def parse(body: bytes, charset: str | None = None) -> Node:
    """The root. ``charset``: what HTTP said. Raises UnreadableError."""
    text = _DECLARATION.sub("", _FORBIDDEN.sub("", decoded(body, charset)), count=1)
    if "&" in text:
        text = _NAMED.sub(_character, text, count=MOST_MENDED)
    root, whole = _parsed(text, namespaces=True)
    if not whole:
        mended, _ = _parsed(_BARE.sub("&amp;", text, count=MOST_MENDED), namespaces=False)
        root = mended or root
    if root is None:
        raise UnreadableError("sent something that is no XML")
    return root


def decoded(body: bytes, charset: str | None = None) -> str:
    """By its byte-order mark, its declaration, HTTP's word, UTF-8, in this order; never fails."""
    for mark, encoding in _MARKS:
        if body.startswith(mark):
            return body.decode(encoding, "replace").removeprefix("\N{ZERO WIDTH NO-BREAK SPACE}")
    if body[:2] in (b"<\0", b"\0<"):
        return body.decode("utf-16-le" if body[:1] == b"<" else "utf-16-be", "replace")
    declared = _DECLARED.match(body[:400])
    for name in (declared.group(1).decode() if declared else None, charset, "utf-8"):
        if name is None or not _TEXT_ENCODING.fullmatch(name):
            continue
        try:
            return body.decode("windows-1252" if _LATIN.fullmatch(name) else name)
        except (UnicodeDecodeError, LookupError):
            continue
    return body.decode("windows-1252", "replace")


def _parsed(text: str, *, namespaces: bool) -> tuple[Node | None, bool]:
    """What could be read, and whether that is all of it."""
    tree = _Tree()
    parser = expat.ParserCreate(namespace_separator=" " if namespaces else None)
    parser.buffer_text = True
    parser.StartElementHandler = tree.start
    parser.EndElementHandler = tree.end
    parser.CharacterDataHandler = tree.data
    parser.EntityDeclHandler = _refuse
    parser.StartDoctypeDeclHandler = _refuse_subset
    parser.ExternalEntityRefHandler = _refuse
    try:
        parser.Parse(text, True)
    except expat.ExpatError:
        return tree.without_the_cut(), False
    except _TooMuchError:
        raise UnreadableError("sent XML that is nested too deep or has too many elements") from None
    except UnicodeEncodeError:
        return None, False
    return tree.root, True


def _refuse(*_: object) -> int:
    raise UnreadableError("sent XML that declares entities, which is refused")


def _refuse_subset(_name: str, _system: str | None, _public: str | None, subset: bool) -> None:
    if subset:
        _refuse()


def _short(name: str) -> str:
    uri, space, local = name.rpartition(" ")
    if not space:
        return name
    return _PREFIXES.get(uri.strip(), "other:") + local


def _character(match: re.Match[str]) -> str:
    """What HTML means by it; as text, never as markup."""
    return html.escape(html.unescape(match[0]), quote=False)
