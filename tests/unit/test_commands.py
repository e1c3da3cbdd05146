import shlex

import pytest

from bot import admin
from bot.desk import FrontDesk
from bot.domain import channel as channels
from bot.domain.subscription import PlaceFilter
from bot.platforms.base import Invocation
from bot.store import access, directory
from classifiers.api import CATEGORIES
from tests.worlds import World

CHANNEL = "slack:T0123/C0456"
ADA, BOB = "slack:T0123/U0456", "slack:T0123/U9"
CORK = PlaceFilter(name="Cork", country="IE", lat=51.9, lon=-8.47, radius_km=10)
COMMANDS = (
    "join", "subscribe", "change", "unsubscribe", "subscriptions", "status", "test", "mute", "quiet", "digest",
    "budget", "editors", "why", "recent", "help",
)  # fmt: skip
PLACES = {"cork": CORK, "ireland": PlaceFilter(name="Ireland", country="IE")}


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    yield world
    world.close()


@pytest.fixture
def desk(world):
    changes = []
    desk = FrontDesk(
        world.database,
        operator_named={ADA: "Ada"}.get,
        locate=lambda text: PLACES.get(text.casefold()),
        suggest=lambda text: [place.name for place in PLACES.values() if place.name.casefold().startswith(text)],
        now=lambda: world.now,
        on_change=lambda: changes.append(1),
    )
    desk.changes = changes
    return desk


@pytest.fixture
def acme(world):
    org = admin.add_organisation(
        world.database._writer, admin.Actor(id="cli:x", surface="cli"), world.now, "Acme", "news"
    )
    world.grant(org="Acme")
    world.act(admin.add_channel, "Acme", channels.parse(CHANNEL))
    return org


async def ask(desk, text, *, command="tocsin-admin", actor=ADA, channel=CHANNEL, workspace_admin=False):
    return await desk.answer(
        Invocation(
            command=command, argv=tuple(shlex.split(text)), actor=actor, channel=channels.parse(channel),
            workspace_admin=workspace_admin,
        )
    )  # fmt: skip


# ---- /tocsin


async def test_workspace_admin_subscribes_and_sees_it(desk, world, acme):
    text = 'subscribe --place Cork --place "Ireland" --radius 30 --category fire --level urgent --keyword "oil tank"'
    told = await ask(desk, text, command="tocsin", actor=BOB, workspace_admin=True)
    assert told.startswith(
        f"subscribed {CHANNEL}: Cork ± 30 km, Ireland · fire · level urgent and above · keywords oil tank"
    )
    (made,) = world.write(directory.subscriptions, CHANNEL)
    assert [place.radius_km for place in made.places] == [30, 50]
    assert desk.changes == [1]
    listed = await ask(desk, "subscriptions", command="tocsin", actor=BOB)
    assert listed.startswith(f"{made.subscription}: Cork")
    gone = await ask(desk, f"unsubscribe {made.subscription}", command="tocsin", actor=BOB, workspace_admin=True)
    assert gone == f"removed 1 subscription of {CHANNEL}"
    assert "has no subscription" in await ask(desk, "subscriptions", command="tocsin", actor=BOB)


async def test_somebody_else_may_not_subscribe_and_it_is_audited(desk, world, acme):
    told = await ask(desk, "subscribe --anywhere", command="tocsin", actor=BOB)
    assert told == (
        "subscribe: refused, slack:T0123/U9 is neither an operator nor an admin of this workspace; "
        "ask an operator of this service"
    )
    assert (world.audit()[-1].action, world.audit()[-1].actor) == ("subscribe-refused", BOB)
    assert desk.changes == []


async def test_operator_may_subscribe_anywhere(desk, world, acme):
    assert (await ask(desk, "subscribe --anywhere", command="tocsin")).startswith("subscribed")
    assert world.audit()[-1].actor == f"Ada ({ADA})"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("subscribe", "say --anywhere, or name at least one --place"),
        ("subscribe --place Atlantis", "place 'Atlantis' is not in the gazetteer"),
        ("subscribe --anywhere --category fires", "'fires' is not one of"),
        ("subscribe --anywhere --level loud", "'loud' is not one of"),
        ("subscribe --anywhere --voices 0", "0 is not in the range"),
        ("subscribe --everywhere", "No such option"),
        ("subscribe --anywhere --keyword ' '", "is no word of a headline"),
        ("subscribe --anywhere --lang klingon", "is not a code of two or three letters"),
        ("subscribe --anywhere --provider 'not a name'", "is not a name"),
        ("subscribe --anywhere --voices 99999999999999999999", "is not in the range"),
        ("budget " + "9" * 5000, "is not a budget"),
        ("subscribe anywhere", "unexpected extra argument"),
        ("unsubscribe", "does not have any subscription"),
        ("unsubscribe s1 s2", "unexpected extra argument"),
        ("subscribed", "/tocsin subscribed does not exist; did you mean `subscribe`?"),
        ("xyzzy", "/tocsin xyzzy does not exist; /tocsin join — "),
    ],
)
async def test_mistakes_are_answered_in_a_sentence(desk, world, acme, text, told):
    assert told in await ask(desk, text, command="tocsin")
    assert world.write(directory.subscriptions, CHANNEL) == []


@pytest.mark.parametrize("text", ["", "help", "--help", "-h"])
async def test_help_lists_the_commands(desk, text):
    told = await ask(desk, text, command="tocsin", actor=BOB)
    assert [line.split(" — ")[0] for line in told.splitlines()] == [f"/tocsin {name}" for name in COMMANDS]


async def test_help_of_one_command(desk):
    told = await ask(desk, "subscribe --help", command="tocsin", actor=BOB)
    assert "--anywhere" in told
    assert "Usage: /tocsin subscribe" in told


async def test_workspace_of_nobody_and_barred_organisation(desk, world, acme):
    told = await ask(desk, "subscribe --anywhere", command="tocsin", channel="slack:T77/C1", workspace_admin=True)
    assert "belongs to no organisation yet" in told
    world.revoke(org="Acme", reason="the contract ended")
    for text in ("subscribe --anywhere", "subscriptions"):
        assert "access of Acme is withdrawn: the contract ended" in await ask(desk, text, command="tocsin")


# ---- /tocsin-admin


async def test_operator_revokes_and_reinstates(desk, world, acme):
    told = await ask(desk, 'revoke --org "Acme" --reason "the provider\'s terms"')
    (revocation,) = world.write(access.revocations)
    assert revocation.reason == "the provider's terms"
    assert told.splitlines()[:3] == [
        f"revocation {revocation.revocation} holds since 2031-05-14T12:00:00.000Z",
        "touched: Acme (news)",
        "not touched: nobody",
    ]
    assert world.audit()[-1].surface == "slack"
    told = await ask(desk, f"reinstate {revocation.revocation} --reason settled")
    assert told == f"revocation {revocation.revocation} is lifted; what was withheld stays withheld"
    assert desk.changes == [1, 1]


async def test_dry_run_and_its_plan(desk, world, acme):
    text = "revoke --sector news --category fire --until 2031-06-01T00:00:00Z --reason r"
    told = await ask(desk, f"{text} --dry-run")
    plan = told.split("(plan ")[1].split(")")[0]
    assert world.write(access.revocations) == []
    assert (await ask(desk, f"{text} --plan {plan}")).startswith("revocation r")
    assert "no longer holds" in await ask(desk, f"{text} --plan {plan}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("revoke --org Acme", "Missing option '--reason'"),
        ("revoke --reason r", "say what is withdrawn"),
        ("revoke --org Nobody --reason r", "organisation 'Nobody' does not exist"),
        ("revoke --org Acme --reason r --until never", "'never' is not a time"),
        ("revoke --org Acme --reason r --until 999999999999d", "is not a time"),
        ("revoke --org Acme --reason r --capability flying", "'flying' is not one of"),
        ("revoke --sector casino --reason r", "sector 'casino' is unknown"),
        ("reinstate --reason r", "Missing argument"),
        ("reinstate r0 --reason r", "revocation 'r0' does not exist"),
        ("reinstate r0", "Missing option '--reason'"),
        ("grant --org Acme", "/tocsin-admin grant does not exist"),
    ],
)
async def test_operators_mistakes_are_answered_in_a_sentence(desk, world, acme, text, told):
    assert told in await ask(desk, text)
    assert world.write(access.revocations) == []


@pytest.mark.parametrize(
    "text", ["revoke --org Acme --reason r", "reinstate r1 --reason r", "orgs", "audit", "", "help", "nonsense --x"]
)
async def test_non_operator_learns_nothing_and_is_audited(desk, world, acme, text):
    told = await ask(desk, text, actor=BOB, workspace_admin=True)
    assert told.endswith("refused, slack:T0123/U9 is not an operator; ask an operator of this service")
    assert "Acme" not in told
    entry = world.audit()[-1]
    known = text.split()[:1] in (["revoke"], ["reinstate"], ["orgs"], ["audit"])
    assert entry.action == (f"{text.split()[0]}-refused" if known else "admin-refused")
    assert entry.target == (text.partition(" ")[2] if known else "unknown command" if text else "")
    assert world.write(access.revocations) == []


async def test_a_code_or_a_flood_of_words_from_a_stranger_does_not_get_into_the_audit(desk, world, acme):
    for text in ("ABCDE-FGHJK-MNPQR-STVWX-YZ012", "Join ABCDE-FGHJK-MNPQR-STVWX-YZ012", "orgs " + "x" * 10_000):
        await ask(desk, text, actor=BOB)
    said = [f"{entry.action} {entry.target}" for entry in world.audit()]
    assert not any("ABCDE" in each for each in said)
    assert max(map(len, said)) < 300


async def test_orgs_and_audit(desk, world, acme):
    assert await ask(desk, "orgs") == f"{acme.org}  Acme  news  active"
    told = (await ask(desk, "audit")).splitlines()
    assert [line.split("  ")[3] for line in told] == ["org-add", "grant", "channel-add"]


async def test_admins_help(desk):
    assert (await ask(desk, "")).splitlines() == [
        "/tocsin-admin revoke — Withdraw access, at once.",
        "/tocsin-admin reinstate — Lift a revocation.",
        "/tocsin-admin proposals — What waits for a second operator.",
        "/tocsin-admin approve — Carry out what another operator has proposed.",
        "/tocsin-admin reject — Turn down what an operator has proposed.",
        "/tocsin-admin orgs — The organisations and their sectors.",
        "/tocsin-admin audit — The latest acts.",
    ]


async def test_text_that_no_store_can_hold_is_answered(desk, world, acme):
    for text in ("revoke --org \ud800 --reason r", "revoke --org Acme --reason \ud800", "x\ud800"):
        assert await ask(desk, text)
        assert await ask(desk, text, actor=BOB)


async def test_loss_and_return_reach_the_store(desk, world, acme):
    await desk.lost(CHANNEL, "the bot was removed")
    assert world.write(directory.channels)[0]["lost"] == "the bot was removed"
    await desk.restored(CHANNEL)
    assert world.write(directory.channels)[0]["lost"] is None


# ---- what Discord registers


def test_every_subcommand_is_described_well_enough_to_register_it(desk):
    assert [(each.command, each.name) for each in desk.subcommands] == [
        *(("tocsin", name) for name in COMMANDS),
        ("tocsin-admin", "revoke"), ("tocsin-admin", "reinstate"), ("tocsin-admin", "proposals"),
        ("tocsin-admin", "approve"), ("tocsin-admin", "reject"), ("tocsin-admin", "orgs"), ("tocsin-admin", "audit"),
    ]  # fmt: skip
    for subcommand in desk.subcommands:
        assert 0 < len(subcommand.description) <= 100
        assert len(subcommand.options) <= 25
        for option in subcommand.options:
            assert option.name == option.name.lower()
            assert option.name.replace("-", "").isalpha()
            assert 0 < len(option.description) <= 100
            assert len(option.choices) <= 25


def test_options_say_what_they_are(desk):
    options = {(s.name, o.name): o for s in desk.subcommands for o in s.options}
    assert options["revoke", "reason"].required
    assert options["revoke", "retract"].flag
    assert not options["revoke", "from"].flag
    assert options["subscribe", "place"].multiple
    assert options["subscribe", "category"].choices == tuple(CATEGORIES)
    assert options["reinstate", "revocation"].positional
    assert options["reinstate", "revocation"].required
    assert options["unsubscribe", "subscription"].positional
    assert not options["unsubscribe", "subscription"].required


async def test_a_test_message_is_for_those_who_may_change_what_the_channel_gets(desk, world, acme):
    assert "refused" in await ask(desk, "test", command="tocsin", actor=BOB)
    assert world.rows() == []
    assert "on its way" in await ask(desk, "test", command="tocsin", actor=BOB, workspace_admin=True)
    assert [row["act"] for row in world.rows()] == ["notice"]
