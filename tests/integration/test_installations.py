"""Installations and OAuth states in a real store."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bot.store import installations
from bot.store.database import Database
from bot.store.installations import Installation, State
from tests import factories

WORKSPACE = "slack:T0777"
NOW = factories.NOW
Write = Callable[..., Any]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "tocsin.db") as database:
        yield database


@pytest.fixture
def write(database: Database) -> Write:
    return database._in_transaction


def make_installation(**fields: Any) -> Installation:
    defaults: dict[str, Any] = {
        "workspace": WORKSPACE,
        "name": "Kestrel News",
        "bot_token": "xoxb-secret",
        "bot_user": "UBOT",
        "app_id": "A0123",
        "scopes": ("chat:write", "commands"),
        "installed_by": f"{WORKSPACE}/U1",
        "installed_at": NOW,
    }
    return Installation(**defaults | fields)


def test_an_installation_comes_back_as_it_was_saved(write: Write) -> None:
    made = make_installation()
    write(installations.save, made)
    assert write(installations.find, WORKSPACE) == made
    assert write(installations.find, "slack:T0888") is None
    bare = make_installation(workspace="slack:T0888", name=None, app_id=None, scopes=())
    write(installations.save, bare)
    assert write(installations.installations) == [made, bare]


def test_the_newest_installation_of_a_workspace_counts(write: Write) -> None:
    write(installations.save, make_installation())
    write(installations.save, make_installation(bot_token="xoxb-new"))
    assert [each.bot_token for each in write(installations.installations)] == ["xoxb-new"]


def test_a_token_is_not_shown() -> None:
    assert "xoxb" not in repr(make_installation())


@pytest.mark.parametrize(("until", "gone"), [(None, True), (NOW, True), (NOW - timedelta(milliseconds=1), False)])
def test_what_was_installed_after_the_loss_stays(write: Write, until: Any, gone: bool) -> None:
    write(installations.save, make_installation())
    assert write(installations.delete, WORKSPACE, until=until) is gone
    assert (write(installations.find, WORKSPACE) is None) is gone
    write(installations.delete, WORKSPACE)
    assert write(installations.delete, WORKSPACE, until=until), "a second word about it changes nothing"


@pytest.mark.parametrize(
    ("later", "state"),
    [(timedelta(0), State.GOOD), (timedelta(minutes=10), State.EXPIRED), (timedelta(hours=30), State.EXPIRED)],
)
def test_a_state_is_good_once_and_for_ten_minutes(write: Write, later: timedelta, state: State) -> None:
    write(installations.add_state, "s1", now=NOW, expires_at=NOW + timedelta(minutes=10))
    assert write(installations.consume_state, "s2", NOW) is State.UNKNOWN
    assert write(installations.consume_state, "s1", NOW + later) is state
    assert write(installations.consume_state, "s1", NOW + later) is State.UNKNOWN


def test_states_do_not_pile_up(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installations, "STATES_MOST", 3)
    for n in range(5):
        at = NOW + timedelta(seconds=n)
        write(installations.add_state, f"s{n}", now=at, expires_at=at + timedelta(minutes=10))
    known = [write(installations.consume_state, f"s{n}", NOW) for n in range(5)]
    assert known == [State.UNKNOWN, State.UNKNOWN, State.GOOD, State.GOOD, State.GOOD]
    write(installations.add_state, "old", now=NOW, expires_at=NOW)
    write(installations.add_state, "new", now=NOW + timedelta(days=2), expires_at=NOW + timedelta(days=3))
    assert write(installations.consume_state, "old", NOW) is State.UNKNOWN
