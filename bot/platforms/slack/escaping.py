"""Makes hostile text harmless on Slack, and cuts it where it may be cut.

Lengths are counted as Slack's JSON would be in UTF-16, the strictest reading of its limits.
"""

import re
import unicodedata

# Explicit marks of direction: they can turn the rest of a line around.
_BIDI = {*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F}
_LOOKALIKE = str.maketrans({"*": "∗", "_": "ˍ", "~": "∼", "`": "ˋ"})
# Blanks, joiners, accents without a letter: a text of nothing else shows nothing.
_UNSEEN = {"Zs", "Cf", "Mn", "Me", "Mc"}
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"


def clean(text: str) -> str:
    """Without control characters, marks of direction, lone surrogates; line breaks stay, three in a row become two.
    Nothing at all where nothing would be seen."""
    lines = "\n".join(text.splitlines())
    kept = "".join(_visible(char) for char in lines)
    while "\n\n\n" in kept:
        kept = kept.replace("\n\n\n", "\n\n")
    return kept if any(map(_seen, kept)) else ""


def escape(text: str) -> str:
    """The three characters that Slack asks to be escaped, and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def shortened(text: str, limit: int) -> str:
    """Cleaned and cut to ``limit`` as it will be counted, not yet escaped: never inside a joined emoji."""
    kept, rest = split(clean(text).strip(), limit)
    if rest:
        kept, _ = split(kept, limit - 1)
        kept = kept.rstrip() + "…"
    return kept


def one_line(text: str, limit: int) -> str:
    """As ``shortened``, on one line."""
    return shortened(" ".join(clean(text).split()), limit)


def cut(text: str, limit: int) -> str:
    """As ``shortened``, escaped; no entity is torn."""
    return escape(shortened(text, limit))


def line(text: str, limit: int) -> str:
    """As ``cut``, on one line."""
    return escape(one_line(text, limit))


def fallback(text: str, limit: int) -> str:
    """One line for what shows no blocks. Slack parses it, so what would be markup becomes a look-alike."""
    return line(re.sub(r":(?=\S)", ":\u200b", text.translate(_LOOKALIKE)), limit)


def pages(text: str, *, limit: int, room: int) -> list[str]:
    """Cleaned and cut after ``room`` in all; in pieces of at most ``limit``, at line breaks where one is near."""
    found: list[str] = []
    rest = clean(text).strip()
    while rest and room > 0:
        page, rest = _split_at_line(rest, min(limit, room))
        if not page:
            break
        room -= cost(page)
        found.append(page)
    if rest:
        found[-1] = found[-1].rstrip() + " …"
    return found


def cost(text: str) -> int:
    """As what ``text`` counts once it is escaped."""
    return sum(map(_cost, text))


def split(text: str, limit: int) -> tuple[str, str]:
    """The longest head that counts at most ``limit``, tearing off no accent and no part of an emoji; and the rest."""
    room, end = limit, 0
    while end < len(text) and (counts := _cost(text[end])) <= room:
        room -= counts
        end += 1
    if end == len(text):
        return text, ""
    back = end
    while back > max(0, end - 16) and (_joins(text[back]) or text[back - 1] == "\u200d"):
        back -= 1
    end = back if back > max(0, end - 16) else end
    return text[:end], text[end:]


def _split_at_line(text: str, limit: int) -> tuple[str, str]:
    """As ``split``, but at a line break if the second half of the head has one; that break is dropped."""
    head, rest = split(text, limit)
    at = head.rfind("\n") if rest else -1
    return (head, rest) if at <= len(head) // 2 else (head[:at], head[at + 1 :] + rest)


def _visible(char: str) -> str:
    if char == "\n":
        return char
    if char == "\t":
        return " "
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    return "" if category == "Cc" or ord(char) in _BIDI else char


def _seen(char: str) -> bool:
    return not (char.isspace() or char in _BLANK_LETTERS or unicodedata.category(char) in _UNSEEN)


def _cost(char: str) -> int:
    if char in "<>":
        return 4
    if char == "&":
        return 5
    if char in '"\\\n':
        return 2
    return 2 if ord(char) > 0xFFFF else 1


def _joins(char: str) -> bool:
    return unicodedata.category(char) in ("Mn", "Me", "Mc", "Cf") or 0x1F3FB <= ord(char) <= 0x1F3FF
