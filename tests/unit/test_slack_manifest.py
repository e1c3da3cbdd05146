"""The manifest: least scopes, every address, no secret, for both modes."""

import json

import pytest

from bot.domain.errors import UsageError
from bot.platforms.slack import commands, manifest

URL = "https://alerts.example/tocsin"


def test_socket_mode_needs_no_public_address() -> None:
    made = manifest.manifest(None)
    assert made["settings"]["socket_mode_enabled"] is True
    assert "url" not in json.dumps(made)
    assert made["settings"]["interactivity"] == {"is_enabled": True}


def test_http_mode_names_the_public_address_everywhere() -> None:
    made = manifest.manifest(URL + "/")
    settings = made["settings"]
    assert settings["socket_mode_enabled"] is False
    assert settings["event_subscriptions"]["request_url"] == f"{URL}/slack/events"
    assert settings["interactivity"] == {"is_enabled": True, "request_url": f"{URL}/slack/events"}
    assert {command["url"] for command in made["features"]["slash_commands"]} == {f"{URL}/slack/events"}
    assert made["oauth_config"]["redirect_urls"] == [f"{URL}/slack/oauth_redirect"]


@pytest.mark.parametrize("url", [None, URL])
def test_both_modes_ask_for_the_same(url: str | None) -> None:
    made = manifest.manifest(url)
    assert made["oauth_config"]["scopes"] == {"bot": list(manifest.SCOPES)}
    assert made["settings"]["token_rotation_enabled"] is False
    assert made["settings"]["org_deploy_enabled"] is False
    assert set(made["settings"]["event_subscriptions"]["bot_events"]) == set(manifest.EVENTS)
    assert [command["command"] for command in made["features"]["slash_commands"]] == [
        f"/{name}" for name in commands.COMMANDS
    ]
    assert all(command["usage_hint"] and command["description"] for command in made["features"]["slash_commands"])


def test_nothing_is_asked_for_that_reads_people_or_writes_beyond_messages() -> None:
    writing = {scope for scope in manifest.SCOPES if "write" in scope or "manage" in scope}
    assert writing == {"chat:write"}
    assert not {scope for scope in manifest.SCOPES if scope.startswith(("im:", "mpim:", "files:", "users:read.email"))}


@pytest.mark.parametrize(
    ("name", "bot"), [("Tocsin", "tocsin"), ("Port Calder Alerts", "port-calder-alerts"), ("警", "tocsin")]
)
def test_the_bot_is_called_as_the_app_as_far_as_slack_allows(name: str, bot: str) -> None:
    made = manifest.manifest(None, name)
    assert made["display_information"]["name"] == name
    assert made["features"]["bot_user"]["display_name"] == bot


@pytest.mark.parametrize("name", ["", " ", "x" * 36])
def test_a_name_that_slack_would_not_take_is_explained(name: str) -> None:
    with pytest.raises(UsageError, match="1 to 35 characters"):
        manifest.manifest(None, name)


def test_texts_are_within_slacks_limits() -> None:
    made = manifest.manifest(URL)
    assert len(made["display_information"]["description"]) <= 140
    for command in made["features"]["slash_commands"]:
        assert len(command["description"]) <= 2000
        assert len(command["usage_hint"]) <= 1000
