"""Completion while somebody types an option: what is asked, and the choices that Discord is given. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bot.platforms import base
from bot.platforms.discord import escaping

MOST_CHOICES = 25
_CHOICE_LIMIT = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """``earlier``: the parts before the last one of an option that takes several; they stay as they are.
    ``separator`` stands between them; empty: the option takes one."""

    command: str
    subcommand: str
    option: str
    typed: str
    earlier: tuple[str, ...] = ()
    separator: str = ""


def separator(option: base.Option) -> str:
    """What stands between the values of an option that takes several. Names that are suggested freely may hold commas:
    ``Lyon, France`` is one place."""
    return ";" if option.completes and not option.choices else ","


def parts(option: base.Option, text: str) -> list[str]:
    return [part for part in map(str.strip, text.split(separator(option))) if part]


def asked(data: Mapping[str, Any], subcommands: Iterable[base.Subcommand]) -> Asked | None:
    """What an interaction of type autocomplete asks; None if it is no option that completes."""
    command = str(data.get("name", ""))
    name, given = next(((each["name"], each.get("options") or ()) for each in data.get("options") or ()), ("", ()))
    focused = next((each for each in given if each.get("focused")), None)
    if focused is None:
        return None
    for subcommand in subcommands:
        if (subcommand.command.lower(), subcommand.name.lower()) != (command, name):
            continue
        for option in subcommand.options:
            if option.name.lower() == focused["name"] and option.completes:
                return _asked(subcommand, option, str(focused.get("value") or ""))
    return None


def choices(what: Asked, found: Sequence[str]) -> list[str]:
    """Whole values of the option. Left out: what is given already, too long for Discord, or would be divided."""
    several = bool(what.separator)
    whole = [
        f"{what.separator} ".join([*what.earlier, value])
        for value in found
        if not several or (what.separator not in value and value not in what.earlier)
    ]
    return [value for value in dict.fromkeys(whole) if 0 < escaping.length(value) <= _CHOICE_LIMIT][:MOST_CHOICES]


def _asked(subcommand: base.Subcommand, option: base.Option, text: str) -> Asked:
    divides = separator(option) if option.multiple else ""
    earlier, _, typed = text.rpartition(divides) if divides else ("", "", text)
    return Asked(
        command=subcommand.command,
        subcommand=subcommand.name,
        option=option.name,
        typed=typed.strip(),
        earlier=tuple(parts(option, earlier)),
        separator=divides,
    )
