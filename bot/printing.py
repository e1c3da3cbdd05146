"""Tables and lines for people at a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from bot.platforms.console import printable


def table(found: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    """Left-aligned columns under their names; nothing is cut, so that ids can be copied."""
    rows = [["" if row[name] is None else printable(str(row[name])) for name in columns] for row in found]
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    lines = [columns, *rows]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def alert(line: Mapping[str, Any]) -> str:
    """One Alert line in one line."""
    kind = "" if line["kind"] == "new" else f" {line['kind'].upper()}"
    return (
        f"{line['raised_at']}  {line['level'].upper()}{kind}  {line['category']}  {printable(line['headline'])}  "
        f"({line['certainty']}, {line['authors']} voices, {line['posts']} posts)  {line['alert']}"
    )


def classification(result: Mapping[str, Any]) -> str:
    """The most probable categories, the places, the text."""
    top = sorted(result["categories"].items(), key=lambda item: -item[1])[:3]
    likely = "  ".join(f"{name} {p:.2f}" for name, p in top)
    places = ", ".join(span["text"] for span in result["places"])
    return f"{likely}  [{printable(places)}]  {printable(result['text'])[:120]}"
