"""What people type after a slash command, as phones, Macs and Slack deliver it."""

import pytest

from bot.platforms.slack import commands


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("  help  ", ("help",)),
        ('revoke --org "Acme Ltd" --reason "x"', ("revoke", "--org", "Acme Ltd", "--reason", "x")),
        ("revoke —org “Acme Ltd” –reason „x“", ("revoke", "--org", "Acme Ltd", "--reason", "x")),
        ("revoke --org ‘Acme Ltd’ --reason=‘a b’", ("revoke", "--org", "Acme Ltd", "--reason=a b")),
        ("--reason “the provider’s wish”", ("--reason", "the provider’s wish")),
        ("--reason provider’s", ("--reason", "provider’s")),
        ('--org "A &amp; B" --reason &lt;none&gt;', ("--org", "A & B", "--reason", "<none>")),
        ("--reason &amp;lt;", ("--reason", "&lt;")),
        ("--org\u00a0Acme", ("--org", "Acme")),
        ("--reason 'em — dash'", ("--reason", "em — dash")),
        ("a\nb", ("a", "b")),
        ("--provider '*'", ("--provider", "*")),
    ],
)
def test_arguments_are_split_as_on_the_command_line(text: str, expected: tuple[str, ...]) -> None:
    assert commands.arguments(text) == expected


@pytest.mark.parametrize("text", ['"open', "O'Brien", "“open", "a\\"])
def test_an_open_quotation_is_none(text: str) -> None:
    assert commands.arguments(text) is None
