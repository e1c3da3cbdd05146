import asyncio
from datetime import timedelta

import pytest
import structlog

from bot import admin, joining
from bot.admin import Actor
from bot.desk import FrontDesk
from bot.domain import channel as channels
from bot.domain import errors
from bot.platforms.base import Invocation
from bot.store import directory
from bot.store.database import Database
from tests.worlds import OPERATOR, World

HERE = channels.parse("slack:T0123/C0456")
BOSS = Actor(id="slack:T0123/U1", surface="slack", workspace="slack:T0123", member="slack:T0123")


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    yield world
    world.close()


def make_code(world, org="Acme"):
    return world.act(joining.make_code, org).code


def join(world, code, actor=BOSS, channel=HERE):
    return world.run(joining.join, actor, world.now, channel, code)


def owner(world, workspace="slack:T0123"):
    found = world.write(directory.organisation_of, workspace)
    return found and found.name


def refused(world, code, *, actor=BOSS, channel=HERE):
    """The refusal's sentence; audited, with nothing changed and without the code."""
    before = owner(world, channel.workspace)
    with pytest.raises(errors.RefusedError) as caught:
        join(world, code, actor, channel)
    entry = world.audit()[-1]
    assert (entry.action, entry.target, entry.actor) == ("join-refused", channel.workspace, str(actor))
    assert owner(world, channel.workspace) == before
    assert code not in f"{entry} {caught.value}"
    return entry.reason


def test_code_makes_the_workspace_its_organisations(world):
    code = make_code(world)
    assert join(world, code).name == "Acme"
    assert owner(world) == "Acme"
    entry = world.audit()[-1]
    assert (entry.action, entry.target, entry.actor) == ("join", "slack:T0123", BOSS.id)


@pytest.mark.parametrize(
    "typed",
    [
        str,
        str.lower,
        lambda code: code.replace("-", ""),
        lambda code: f" {code.replace('-', ' ')} ",
        lambda code: code.replace("0", "O").replace("1", "l"),
    ],
)
def test_code_may_be_typed_as_people_type(world, typed):
    assert join(world, typed(make_code(world))).name == "Acme"


def test_code_is_good_once(world):
    code = make_code(world)
    join(world, code)
    other = channels.parse("slack:T0999/C1")
    boss = Actor(id="slack:T0999/U1", surface="slack", workspace="slack:T0999")
    assert "has been used" in refused(world, code, actor=boss, channel=other)
    assert "has been used" in refused(world, code), "and not again by the same workspace"


def test_code_expires(world):
    code = make_code(world)
    world.wait(days=7)
    assert refused(world, code) == "this code has expired"


def test_code_is_good_until_it_expires(world):
    code = make_code(world)
    world.now += joining.LIFE - timedelta(milliseconds=1)
    join(world, code)


@pytest.mark.parametrize(
    "code", ["", "-", "ABCDE-ABCDE-ABCDE-ABCDE-ABCDE", "'; DROP TABLE join_codes; --", "\u0130" * 25, "x" * 9000]
)
def test_unknown_code(world, code):
    make_code(world)
    with pytest.raises(errors.RefusedError, match="not known"):
        join(world, code)
    assert world.audit()[-1].action == "join-refused"
    assert owner(world) is None


@pytest.mark.parametrize(
    "actor",
    [
        Actor(id="slack:T0123/U9", surface="slack", member="slack:T0123"),
        Actor(id="slack:T0999/U1", surface="slack", workspace="slack:T0999"),
        Actor(id="cli:ada", surface="cli", operator="Ada"),
    ],
)
def test_only_whoever_administers_the_workspace_joins_and_the_code_stays_good(world, actor):
    code = make_code(world)
    assert refused(world, code, actor=actor) == "not an admin of this workspace"
    join(world, code)


def test_workspace_of_another_organisation_stays_its_own(world):
    world.org("Globe", "news")
    world.channel("slack:T0123/C1", "Globe")
    code = make_code(world)
    assert refused(world, code) == "this workspace belongs to Globe already"
    other = channels.parse("slack:T0999/C1")
    join(world, code, Actor(id="slack:T0999/U1", surface="slack", workspace="slack:T0999"), other)


def test_code_is_stored_hashed_and_nowhere_else(world):
    code = make_code(world)
    bare = code.replace("-", "")
    join(world, code)
    dump = "\n".join(world.dump())
    assert code not in dump
    assert bare not in dump


def test_code_for_an_organisation_that_does_not_exist(world):
    with pytest.raises(errors.UsageError):
        make_code(world, "Nobody")


async def test_two_services_that_take_one_code_at_once_give_it_to_one_workspace(world):
    code = make_code(world)
    second = Database.open(world.path)
    try:
        outcomes = await asyncio.gather(
            *(
                joining.join(
                    database, Actor(id=f"slack:T{n}/U1", surface="slack", workspace=f"slack:T{n}"), world.now,
                    channels.parse(f"slack:T{n}/C1"), code,
                )
                for n, database in enumerate([world.database, second] * 4)
            ),
            return_exceptions=True,
        )  # fmt: skip
    finally:
        second.close()
    assert [isinstance(each, errors.RefusedError) for each in outcomes].count(False) == 1
    assert [owner(world, f"slack:T{n}") for n in range(8)].count("Acme") == 1
    assert [each.action for each in world.audit()].count("join-refused") == 7


async def test_code_that_is_typed_where_it_does_not_belong_is_not_written_down(world):
    code = make_code(world)
    desk = FrontDesk(
        world.database, operator_named=lambda _: None, locate=lambda _: None, suggest=lambda _: [],
        now=lambda: world.now, on_change=lambda: None,
    )  # fmt: skip
    with structlog.testing.capture_logs() as logs:
        for command, argv in (
            ("tocsin-admin", ("join", code)), ("tocsin", ("join", code)), ("tocsin", ("join", code, "please")),
            ("tocsin", ("Join", code)),
        ):  # fmt: skip
            await desk.answer(
                Invocation(command=command, argv=argv, actor="slack:T0123/U9", channel=HERE, workspace_admin=False)
            )
    assert code not in f"{world.audit()} {logs}"


def test_workspace_that_was_lost_stays_its_organisations_and_needs_no_code(world):
    world.channel(str(HERE))
    world.write(admin.record_loss, world.now, HERE.workspace, "uninstalled")
    assert owner(world) == "Acme"
    assert refused(world, make_code(world)) == "this workspace belongs to Acme already"


def test_operator_makes_a_code_and_it_is_audited_without_it(world):
    made = world.act(joining.make_code, "acme")
    entry = world.audit()[-1]
    assert (entry.action, entry.actor) == ("join-code", str(OPERATOR))
    assert made.code not in str(entry)
    assert made.expires_at == world.now + timedelta(days=7)
