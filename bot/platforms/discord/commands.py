"""Slash commands: what is registered with Discord, and how what was typed becomes the command line's words."""

import asyncio
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import aiohttp
import discord
import structlog

from bot.domain import delivery
from bot.platforms import base
from bot.platforms.discord import completing, escaping

log = structlog.get_logger()

# https://discord.com/developers/docs/interactions/application-commands
_CHAT_INPUT = 1
_SUBCOMMAND, _STRING, _BOOLEAN = 1, 3, 5
_MOST_OPTIONS = _MOST_SUBCOMMANDS = 25
_COMMAND_LIMIT = 8000
_NAME = re.compile(r"[-_a-z0-9]{1,32}")
_DESCRIPTION_LIMIT = _CHOICE_LIMIT = 100
_GUILD_ONLY = [0]
# Hides /tocsin-admin from most people. Who may really use it is the desk's decision.
_ADMINISTRATOR = discord.Permissions(administrator=True).value
_DESCRIPTIONS = {
    "tocsin": "Alerts for this server: subscribe, unsubscribe, see what is subscribed",
    "tocsin-admin": "For operators of tocsin: withdraw and restore access",
}
_REGISTER_ATTEMPTS = 6
_NETWORK = (discord.DiscordException, aiohttp.ClientError, TimeoutError, OSError)


def registration(subcommands: Iterable[base.Subcommand]) -> list[dict[str, Any]]:
    """The body that registers all commands at once. Raises ValueError for more than Discord takes: our own mistake."""
    grouped: dict[str, list[base.Subcommand]] = {}
    for subcommand in subcommands:
        grouped.setdefault(subcommand.command, []).append(subcommand)
    commands: list[dict[str, Any]] = []
    for name, members in sorted(grouped.items()):
        if len(members) > _MOST_SUBCOMMANDS:
            raise ValueError(f"/{name} has {len(members)} subcommands; Discord takes {_MOST_SUBCOMMANDS}")
        command: dict[str, Any] = {
            "name": _name(name),
            "type": _CHAT_INPUT,
            "description": _description(_DESCRIPTIONS.get(name, name)),
            "contexts": _GUILD_ONLY,
            "integration_types": [0],
            "options": [_subcommand(member) for member in members],
        }
        if name.endswith("-admin"):
            command["default_member_permissions"] = _ADMINISTRATOR
        if _size(command) > _COMMAND_LIMIT:
            raise ValueError(f"/{name} has {_size(command)} characters of texts; Discord takes {_COMMAND_LIMIT}")
        commands.append(command)
    return commands


def same(registered: Sequence[Mapping[str, Any]], wanted: Sequence[Mapping[str, Any]]) -> bool:
    """Does Discord already have ``wanted``? It answers with defaults filled in and keys of its own."""

    def canonical(commands: Sequence[Mapping[str, Any]]) -> list[Any]:
        return sorted((_canonical(command) for command in commands), key=lambda command: str(command["name"]))

    return canonical(registered) == canonical(wanted)


async def register(client: discord.Client, subcommands: Sequence[base.Subcommand]) -> None:
    """Register the commands globally if they changed. Tries a few times; what fails then is logged and left."""
    wanted = registration(subcommands)
    for attempt in range(1, _REGISTER_ATTEMPTS + 1):
        try:
            await _register(client, wanted)
        except _NETWORK as error:
            log.warning("commands_not_registered", attempt=attempt, error=type(error).__name__)
        else:
            return
        await asyncio.sleep(delivery.backoff(attempt).total_seconds())
    log.error(
        "commands_not_registered", remedy="slash commands may be missing or old on Discord; restart tocsin to try again"
    )


def argv(data: Mapping[str, Any], subcommands: Iterable[base.Subcommand]) -> tuple[str, ...]:
    """The interaction's data in the command line's syntax: SUBCOMMAND, positional values, ``--name value``, flags."""
    command = str(data.get("name", ""))
    options = data.get("options") or ()
    if not options or options[0].get("type") != _SUBCOMMAND:
        return ()
    name = str(options[0]["name"])
    known = {
        option.name.lower(): option
        for subcommand in subcommands
        if subcommand.command.lower() == command and subcommand.name.lower() == name
        for option in subcommand.options
    }
    given = {str(option["name"]): option.get("value") for option in options[0].get("options") or ()}
    positional: list[str] = []
    named: list[str] = []
    for key, option in known.items():
        if key not in given:
            continue
        for value in _values(option, given[key]):
            if option.flag:
                named.append(f"--{option.name}")
            elif option.positional:
                positional.append(value)
            else:
                named += [f"--{option.name}", value]
    return (name, *positional, *named)


async def _register(client: discord.Client, wanted: list[dict[str, Any]]) -> None:
    application = client.application_id
    if application is None:
        raise TimeoutError("the application is not known yet")
    async with asyncio.timeout(delivery.CALL_TIMEOUT.total_seconds()):
        registered: Any = await client.http.get_global_commands(application)
        if same(registered, wanted):
            return
        await client.http.bulk_upsert_global_commands(application, payload=wanted)
    log.info("commands_registered", commands=[command["name"] for command in wanted])


def _subcommand(subcommand: base.Subcommand) -> dict[str, Any]:
    if len(subcommand.options) > _MOST_OPTIONS:
        raise ValueError(f"/{subcommand.command} {subcommand.name} has more than {_MOST_OPTIONS} options")
    # Discord wants the required options first.
    ordered = sorted(subcommand.options, key=lambda option: not option.required)
    return {
        "type": _SUBCOMMAND,
        "name": _name(subcommand.name),
        "description": _description(subcommand.description),
        "options": [_option(option) for option in ordered],
    }


def _option(option: base.Option) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": _BOOLEAN if option.flag else _STRING,
        "name": _name(option.name),
        "description": _description(option.description),
        "required": option.required,
    }
    if option.multiple:
        by = "semicolons" if completing.separator(option) == ";" else "commas"
        described["description"] = _description(option.description, f"; several: separate by {by}")
    elif len(option.choices) > completing.MOST_CHOICES or any(len(choice) > _CHOICE_LIMIT for choice in option.choices):
        described["description"] = _description(option.description, f"; type one of {len(option.choices)} values")
    elif option.choices:
        described["choices"] = [{"name": choice, "value": choice} for choice in option.choices]
    if option.completes and "choices" not in described:
        described["autocomplete"] = True
    return described


def _name(name: str) -> str:
    if not _NAME.fullmatch(name.lower()):
        raise ValueError(f"{name!r} cannot be a name on Discord: 1 to 32 letters, digits, hyphens, underscores")
    return name.lower()


def _size(described: Mapping[str, Any]) -> int:
    """What counts towards the limit of a command: names, descriptions and values, however deep."""
    own = sum(len(str(described.get(key, ""))) for key in ("name", "description", "value"))
    return own + sum(_size(part) for key in ("options", "choices") for part in described.get(key) or ())


def _description(text: str, more: str = "") -> str:
    return escaping.plain(text, _DESCRIPTION_LIMIT - len(more)) + more or "-"


def _values(option: base.Option, value: object) -> list[str]:
    if option.flag:
        return [""] if value is True else []
    text = str(value)
    return completing.parts(option, text) if option.multiple else [text]


def _canonical(command: Mapping[str, Any]) -> dict[str, Any]:
    permissions = command.get("default_member_permissions")
    return {
        "type": command.get("type") or _CHAT_INPUT,
        "name": command.get("name"),
        "description": command.get("description") or "",
        "required": bool(command.get("required")),
        "autocomplete": bool(command.get("autocomplete")),
        "permissions": None if permissions is None else str(permissions),
        "contexts": list(command.get("contexts") or ()),
        "choices": [(choice["name"], choice["value"]) for choice in command.get("choices") or ()],
        "options": [_canonical(option) for option in command.get("options") or ()],
    }
