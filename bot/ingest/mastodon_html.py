"""A status's HTML → text. Pure, one pass, in time linear in the length, whatever is fed to it; what comes out is text
and stays hostile.

The standard library's parser is not used: it takes quadratic time on unfinished tags.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from bot.ingest.markup import unescaped

MOST = 65_536  # characters of HTML that are looked at: the worst of them take some 35 ms

# Quotes inside a tag may hold ``>``; nothing in it may hold ``<``, which keeps every attempt short.
_TAG = re.compile(r"""<(/?)([a-zA-Z][a-zA-Z0-9]*+)((?:[^<>"']|"[^"<]*"|'[^'<]*')*+)>|<[!?/a-zA-Z][^<>]*+>""")
_ATTRIBUTE = re.compile(r"""(?<![^\s"'/])([a-zA-Z-]{1,30}+)\s{0,5}+=\s{0,5}+(?:"([^"]*)"|'([^']*)')""")
_BLANKS = re.compile(r"[^\S\n]+")
_NEWLINES = re.compile(r" ?\n ?")
_PARAGRAPHS = re.compile(r"\n{3,}")
_BLOCKS = frozenset(("p", "blockquote", "pre", "ul", "ol", "h1", "h2", "h3", "h4", "h5", "h6", "table"))
_LINES = frozenset(("br", "li", "div", "tr"))
_SILENT = frozenset(("script", "style"))


def text(markup: str) -> str:
    """Paragraphs and line breaks stay; a link stays with its address, a mention or hashtag as it reads; an image (a
    custom emoji of other servers) is its ``alt``; Mastodon's own custom emoji are ``:name:`` already."""
    writer = _Writer()
    for piece in _pieces(markup[:MOST]):
        writer.take(piece)
    found = _NEWLINES.sub("\n", _BLANKS.sub(" ", "".join(writer.parts)))
    return _PARAGRAPHS.sub("\n\n", found).strip()


@dataclass(slots=True)
class _Writer:
    parts: list[str] = field(default_factory=list)
    silent: str = ""  # the element whose text is not shown
    href: str = ""
    link_from: int = 0  # where in ``parts`` the link's own words begin

    def take(self, piece: "str | re.Match[str]") -> None:
        if isinstance(piece, str):
            self._write(piece.replace("\n", " "))
            return
        closing, name, attributes = piece[1], (piece[2] or "").lower(), piece[3] or ""
        if self.silent:
            self.silent = "" if closing and name == self.silent else self.silent
        elif name in _SILENT:
            self.silent = "" if closing else name
        elif name in _BLOCKS:
            self.parts.append("\n\n")
        elif name in _LINES:
            self.parts.append("\n")
        elif name == "img":
            self._write(_attribute(attributes, "alt"))
        elif name == "a" and not closing:
            self._open(attributes)
        elif name == "a":
            self._close()

    def _write(self, words: str) -> None:
        if not self.silent:
            self.parts.append(unescaped(words))

    def _open(self, attributes: str) -> None:
        kinds = _attribute(attributes, "class").split()
        href = unescaped(_attribute(attributes, "href"))
        shown = href.startswith(("https://", "http://")) and "mention" not in kinds and "hashtag" not in kinds
        self.href, self.link_from = href if shown else "", len(self.parts)

    def _close(self) -> None:
        if not self.href:
            return
        words = "".join(self.parts[self.link_from :]).strip()
        if words in ("", self.href):
            self.parts[self.link_from :] = [self.href]
        else:
            self.parts.append(f" ({self.href})")
        self.href = ""


def _pieces(markup: str) -> "Iterator[str | re.Match[str]]":
    position = 0
    for tag in _TAG.finditer(markup):
        if tag.start() > position:
            yield markup[position : tag.start()]
        yield tag
        position = tag.end()
    if position < len(markup):
        yield markup[position:]


def _attribute(attributes: str, name: str) -> str:
    for found in _ATTRIBUTE.finditer(attributes):
        if found[1].lower() == name:
            return found[2] or found[3] or ""
    return ""
