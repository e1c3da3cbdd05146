"""`tocsin sources` and what `tocsin check` says of providers' terms."""

import json
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from click.testing import CliRunner

from bot import app, checking, config
from bot.cli import main
from bot.domain import post
from bot.store import sources
from bot.store.database import Database
from bot.store.sources import SourceState
from tests import factories
from tests.worlds import World

CONFIG = """
[[source]]
type = "replay"
name = "drill"
path = "drill.jsonl"
[[source]]
type = "jetstream"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.toml").write_text(f'[store]\npath = "{tmp_path / "store.db"}"\n{CONFIG}')
    gap = post.Gap(since=factories.NOW, until=factories.NOW, reason="an invented outage")
    with Database.open(tmp_path / "store.db") as database:
        database._in_transaction(sources.add_gap, "bluesky", gap, factories.NOW)
    return tmp_path


def tocsin(folder: Path, *argv: str) -> str:
    result = CliRunner().invoke(main, ["-c", str(folder / "config.toml"), *argv])
    assert result.exit_code == 0, result.output
    return result.output


def test_each_configured_source_with_its_gaps(folder: Path) -> None:
    found = [json.loads(line) for line in tocsin(folder, "sources", "--json").splitlines()]
    assert [(each["source"], each["provider"], each["state"]) for each in found] == [
        ("drill", "*", "stopped"),
        ("bluesky", "bluesky", "stopped"),
    ]
    assert [len(each["gaps"]) for each in found] == [0, 1]
    assert found[1]["gaps"][0]["reason"] == "an invented outage"


def test_for_people_there_is_a_table(folder: Path) -> None:
    head, *rows = tocsin(folder, "sources").splitlines()
    assert head.split()[:4] == ["source", "state", "lag", "per_second"]
    assert [row.split()[0] for row in rows] == ["drill", "bluesky"]


def test_the_gaps_alone(folder: Path) -> None:
    (found,) = [json.loads(line) for line in tocsin(folder, "sources", "--gaps", "--json").splitlines()]
    assert found["source"] == "bluesky"
    assert {"since", "until", "reason"} <= found.keys()
    assert "an invented outage" in tocsin(folder, "sources", "--gaps")


def make_settings(**given: Any) -> config.Config:
    """Past the checks that the configuration itself makes."""
    return cast(config.Config, SimpleNamespace(source=[SimpleNamespace(**{"name": "a", "provider": "a"} | given)]))


def test_a_source_that_needs_consent_and_lacks_it_is_a_problem() -> None:
    found = checking._problem_of_terms(make_settings(type="rss", provider="x"))
    assert found is not None
    assert "protests" in found.problem
    assert checking._problem_of_terms(make_settings(type="x", accept_terms=True)) is None
    assert checking._problem_of_terms(make_settings(type="jetstream", provider="bluesky")) is None


def test_posts_that_nobody_asks_about_any_more_are_a_problem(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    (tmp_path / "config.toml").write_text(f'[store]\npath = "{store}"\n[[source]]\ntype = "jetstream"\n')
    world = World(store)
    assert check_sources(tmp_path)["ok"]
    world.record(steps=[world.candidate("bluesky|1"), world.candidate("x|1")])
    world.close()
    found = check_sources(tmp_path)
    assert not found["ok"]
    assert found["problem"].startswith("posts of x are stored, and no source asks which of them were deleted")


def test_a_source_that_cannot_be_read_now_is_a_problem(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "now", lambda: factories.NOW)
    (folder / "drill.jsonl").write_text("")
    config_file = folder / "config.toml"
    config_file.write_text(config_file.read_text().replace("drill.jsonl", str(folder / "drill.jsonl")))
    assert check_sources(folder)["ok"]
    waiting = SourceState(
        source="bluesky", at=factories.NOW, state="waiting", items=0, dropped=0, skipped=0, reconnects=0, lag_s=None,
        per_second=0, usual_per_second=0, usual_gap_s=None, last_item_at=None, quiet_since=None,
        last_error="the name jetstream.example cannot be resolved", remedy="check the network",
    )  # fmt: skip
    with Database.open(folder / "store.db") as database:
        database._in_transaction(sources.save_states, [waiting])
    found = check_sources(folder)
    assert found["problem"] == "source bluesky: the name jetstream.example cannot be resolved"
    assert found["remedy"] == "check the network"
    monkeypatch.setattr(app, "now", lambda: factories.NOW + timedelta(hours=1))  # the service has stopped since
    assert check_sources(folder)["ok"]


def check_sources(folder: Path) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["-c", str(folder / "config.toml"), "check", "--json"])
    (found,) = [part for part in map(json.loads, result.output.splitlines()) if part["part"] == "sources"]
    return cast(dict[str, Any], found)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[alarm]\nchannel = "somewhere"', "is not written as"),
        ("[retention]\ndays = 1", "greater than or equal to 2"),
        ('[[source]]\ntype = "push"\nname = "a"\nprovider = "a"\nsecret = ""', "is empty"),
        ('[[source]]\ntype = "push"\nname = "a"\nprovider = "a"\nsecret = "fifteen letters"', "shorter than 16"),
        ('[[source]]\ntype = "wikimedia"\nwikis = []', "at least 1 item"),
        ('[[source]]\ntype = "nws"\ncontact = "ada@example.org\\nX-Other: 1"', "on one line"),
    ],
)
def test_settings_that_make_no_sense_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    result = CliRunner().invoke(main, ["-c", str(tmp_path / "config.toml"), "sources"])
    assert result.exit_code == 2
    assert said in result.output
