"""HTML of a feed → its text. Pure, linear in its length, for any input; a link stays as its words."""

import html
import re

from bot.ingest import lines

_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "fieldset", "figcaption", "figure",
    "footer", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section",
    "table", "td", "th", "tr", "ul",
))  # fmt: skip
_SILENT = frozenset(("script", "style", "template", "noscript"))
_TAG_BEGINS = re.compile(r"<(?=[A-Za-z/!?])(/?)([A-Za-z][A-Za-z0-9]{0,20})?")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n\s*")
_MOST = 4 * lines.MAX_TEXT  # characters of HTML that are looked at


def text(markup: str) -> str:
    """Blocks and breaks become line ends, everything else that is no text goes."""
    source = markup[:_MOST]
    if "<" not in source:
        return tidy(unescaped(source))
    pieces: list[str] = []
    silent: str | None = None
    at = 0
    while at < len(source):
        start = _TAG_BEGINS.search(source, at)
        end = -1 if start is None else _end_of_tag(source, start.start())
        if silent is None:
            pieces.append(unescaped(source[at : len(source) if start is None or end < 0 else start.start()]))
        if start is None or end < 0:
            break
        name, closing = (start[2] or "").lower(), start[1] == "/"
        if silent is not None:
            silent = None if closing and name == silent else silent
        elif name in _SILENT and not closing:
            silent = name
        elif name in _BLOCKS:
            pieces.append("\n")
        at = end
    return tidy("".join(pieces))


def tidy(plain: str) -> str:
    """One space between words, one line end between lines, and what the store can hold."""
    return lines.clean(_LINES.sub("\n", _SPACES.sub(" ", plain)).strip())


def _end_of_tag(source: str, start: int) -> int:
    """After the tag that begins there; -1 where none ends any more."""
    if source.startswith("<!--", start):
        end = source.find("-->", start + 4)
        return -1 if end < 0 else end + 3
    return source.find(">", start) + 1 or -1


def unescaped(words: str) -> str:
    """With character references as what they stand for, and as they are where Python gives up."""
    try:
        return html.unescape(words)
    except ValueError:  # a character number of thousands of digits
        return words
