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


def stages(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Lines of a table: each stage with its verdict, below it its figures."""
    width = max((len(row["stage"]) for row in rows), default=0)
    lines = []
    for row in rows:
        lines.append(f"{row['stage']:<{width}}  {printable(row['verdict'])}")
        if row["figures"]:
            lines.append(f"{'':<{width}}  {printable(_figures(row['figures']))}")
    return lines


def under(title: str, text: str) -> str:
    """An empty line, the title, and the lines of ``text`` indented."""
    return "\n  ".join([f"\n{printable(title)}", *text.splitlines()])


def classification(result: Mapping[str, Any]) -> str:
    """The most probable categories, the places, the text."""
    top = sorted(result["categories"].items(), key=lambda item: -item[1])[:3]
    likely = "  ".join(f"{name} {p:.2f}" for name, p in top)
    places = ", ".join(span["text"] for span in result["places"])
    return f"{likely}  [{printable(places)}]  {printable(result['text'])[:120]}"


def _figures(found: Mapping[str, Any]) -> str:
    """``p 0.93, bar (voices 3, evidence 1.95), shared port calder``"""
    return ", ".join(f"{name} {_figure(value)}" for name, value in found.items())


def _figure(value: Any) -> str:
    match value:
        case Mapping():
            return f"({_figures(value)})" if value else "none"
        case list() | tuple():
            return " ".join(map(str, value)) or "none"
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:g}"
        case _:
            return str(value)
