"""What is registered with Discord, and how its options become the command line's words."""

from typing import Any

import pytest

from bot.platforms import base
from bot.platforms.discord import commands

MANY = tuple(f"choice{number}" for number in range(26))


def make_subcommand(*options: base.Option, name: str = "Subscribe") -> base.Subcommand:
    return base.Subcommand(command="tocsin", name=name, description="Get alerts here", options=options)


def registered(*options: base.Option) -> list[dict[str, Any]]:
    (command,) = commands.registration([make_subcommand(*options)])
    found: list[dict[str, Any]] = command["options"][0]["options"]
    return found


def test_required_options_come_first_and_names_are_lower_case() -> None:
    options = registered(
        base.Option(name="Place", description="Where"), base.Option(name="a", description="", required=True)
    )
    assert [option["name"] for option in options] == ["a", "place"]
    assert options[0]["description"] == "-"


def test_choices_are_offered_unless_there_are_too_many_or_several_may_be_given() -> None:
    few, many, several = registered(
        base.Option(name="level", description="How loud", choices=("alert", "flash")),
        base.Option(name="category", description="What", choices=MANY),
        base.Option(name="lang", description="Which", choices=("en", "de"), multiple=True),
    )
    assert few["choices"] == [{"name": "alert", "value": "alert"}, {"name": "flash", "value": "flash"}]
    assert "choices" not in many
    assert "type one of 26 values" in many["description"]
    assert "choices" not in several
    assert "commas" in several["description"]
    (named,) = registered(base.Option(name="place", description="Where", completes=True, multiple=True))
    assert "semicolons" in named["description"]


def test_descriptions_fit() -> None:
    options = registered(
        base.Option(name="a", description="long " * 50, multiple=True),
        base.Option(name="b", description="long " * 50, choices=MANY),
        base.Option(name="c", description="long " * 50),
    )
    assert all(len(option["description"]) <= 100 for option in options)


def test_an_option_completes_unless_it_has_choices() -> None:
    typed, chosen, many = registered(
        base.Option(name="place", description="Where", completes=True),
        base.Option(name="level", description="How loud", choices=("alert", "flash"), completes=True),
        base.Option(name="category", description="What", choices=MANY, completes=True),
    )
    assert typed["autocomplete"] is True
    assert "autocomplete" not in chosen
    assert many["autocomplete"] is True


@pytest.mark.parametrize("name", ["", "two words", "x" * 33, "größe", "a/b"])
def test_a_name_that_discord_does_not_take_is_our_mistake(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a name on Discord"):
        registered(base.Option(name=name, description="What"))
    with pytest.raises(ValueError, match="cannot be a name on Discord"):
        commands.registration([make_subcommand(name=name)])


def test_more_text_than_discord_takes_is_our_mistake() -> None:
    def wordy(subcommands: int) -> list[base.Subcommand]:
        options = tuple(base.Option(name=f"o{number}", description="d" * 100) for number in range(10))
        return [make_subcommand(*options, name=f"s{number}") for number in range(subcommands)]

    commands.registration(wordy(7))
    with pytest.raises(ValueError, match=r"characters of texts; Discord takes 8000"):
        commands.registration(wordy(8))


def test_more_subcommands_than_discord_takes_is_our_mistake() -> None:
    with pytest.raises(ValueError, match="26 subcommands"):
        commands.registration([make_subcommand(name=f"s{number}") for number in range(26)])


def test_a_changed_option_is_a_change_and_discord_s_defaults_are_not() -> None:
    wanted = commands.registration([make_subcommand(base.Option(name="place", description="Where"))])
    echoed = [
        command | {"id": "1", "version": "2", "nsfw": False, "default_member_permissions": None} for command in wanted
    ]
    assert commands.same(echoed, wanted)
    for option in (
        base.Option(name="place", description="Whereabouts"),
        base.Option(name="place", description="Where", completes=True),
    ):
        assert not commands.same(echoed, commands.registration([make_subcommand(option)]))
    assert not commands.same([], wanted)


def test_argv() -> None:
    subcommand = make_subcommand(
        base.Option(name="org", description="", positional=True),
        base.Option(name="place", description="", multiple=True),
        base.Option(name="anywhere", description="", flag=True),
        base.Option(name="level", description=""),
        base.Option(name="near", description="", multiple=True, completes=True),
    )
    given = [
        {"name": "level", "type": 3, "value": "two words, one value"},
        {"name": "anywhere", "type": 5, "value": False},
        {"name": "place", "type": 3, "value": " Cork ,, Port Calder"},
        {"name": "org", "type": 3, "value": "Acme Ltd"},
        {"name": "near", "type": 3, "value": "Lyon, France; Cork"},
        {"name": "unheard-of", "type": 3, "value": "x"},
    ]
    data = {"name": "tocsin", "options": [{"name": "subscribe", "type": 1, "options": given}]}
    assert commands.argv(data, [subcommand]) == (
        "subscribe", "Acme Ltd", "--place", "Cork", "--place", "Port Calder", "--level", "two words, one value",
        "--near", "Lyon, France", "--near", "Cork",
    )  # fmt: skip
    assert commands.argv({"name": "tocsin"}, [subcommand]) == ()
