"""Makes hostile text harmless on Discord, and cuts it where it may be cut.

Lengths are counted in UTF-16 units: Discord's documentation does not say what it counts, and this is never less than
the number of code points, so what fits here fits there.
"""

import re
from collections.abc import Iterator

# Always markup, wherever they stand. A backslash before any of them shows the character itself.
_MARKUP = frozenset("\\*_~`|<[]")
# Markup only at the beginning of a line: headings, lists, quotes, small print.
_AT_LINE_START = frozenset("#-+>")
# Control characters, bidirectional overrides, invisible operators, lone surrogates: nobody needs them to read a post.
_UNWANTED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_LINE_BREAKS = re.compile("\r\n?|[\u2028\u2029\x0b\x0c\x85]")
_ORDINAL = re.compile(r"[0-9]+\.")
ELLIPSIS = "…"
_JOINERS = "\u200d\ufe0e\ufe0f"
_LINK_LIMIT = 300


def length(text: str) -> int:
    """UTF-16 units."""
    return len(text) + sum(character > "\uffff" for character in text)


def one_line(text: str) -> str:
    """Runs of white space become one space."""
    return " ".join(clean(text).split())


def clean(text: str) -> str:
    """Without control and invisible characters; line breaks become ``\\n``, lone surrogates and the rest vanish."""
    return _UNWANTED.sub("", _LINE_BREAKS.sub("\n", text).replace("\t", " "))


def escape(text: str, limit: int) -> str:
    """Shown by Discord as ``text`` reads: no markup, no mention, no link; at most ``limit`` UTF-16 units.

    What is too long ends in an ellipsis; the cut is never inside an escape or a surrogate pair.
    """
    return _fit(_pieces(clean(text)), limit)


def plain(text: str, limit: int) -> str:
    """For the places that Discord shows as they are (author, footer, field names): cleaned and cut, not escaped."""
    return _fit((character if character != "@" else "@\u200b" for character in one_line(text)), limit)


def linkable(url: str) -> bool:
    """May it stand as a link? Anything unusual is left out rather than repaired."""
    return (
        url.startswith(("https://", "http://"))
        and len(url) <= _LINK_LIMIT
        and url.isascii()
        and not any(character in url for character in "()<>[]\\\"'`|* ")
        and url.isprintable()
    )


def pages(text: str, *, limit: int, most: int) -> list[str]:
    """Escape ``text`` and split it at line breaks into at most ``most`` pieces; the last says if some was left out.

    A line that is nothing but a web address stays a link, without a preview.
    """
    left_out = "\n… the rest does not fit here; the command line shows all of it."
    found: list[str] = []
    page = ""
    for line in clean(text).split("\n"):
        rest = f"<{line.strip()}>" if linkable(line.strip()) else "".join(_pieces(line))
        if length(rest) > limit // 2:
            rest = escape(line, limit // 2)
        longer = f"{page}\n{rest}" if page else rest
        if length(longer) <= limit - length(left_out):
            page = longer
            continue
        found.append(page)
        page = rest
        if len(found) == most:
            found[-1] += left_out
            return found
    return [*found, page] if page.strip() or not found else found


def _pieces(text: str) -> Iterator[str]:
    """The escaped text in parts that may not be cut."""
    line_start = True
    for index, character in enumerate(text):
        if character == "@":
            # Discord reads mentions before markup: only breaking the word up helps where a mention would be allowed.
            yield "@\u200b"
        elif (
            character in _MARKUP
            or (line_start and character in _AT_LINE_START)
            or (character == ":" and text.startswith("//", index + 1))
            or (character == "." and _ORDINAL.fullmatch(text[text.rfind("\n", 0, index) + 1 : index + 1].lstrip()))
        ):
            yield "\\" + character
        else:
            yield character
        line_start = character == "\n" or (line_start and character in " -#>")


def _fit(pieces: Iterator[str], limit: int) -> str:
    kept: list[str] = []
    used = 0
    for piece in pieces:
        kept.append(piece)
        used += length(piece)
        if used > limit:
            break
    else:
        return "".join(kept)
    while kept and used > limit - 1:
        used -= length(kept.pop())
    while kept and (kept[-1] in _JOINERS or kept[-1].isspace()):
        kept.pop()
    return "".join(kept) + ELLIPSIS
