"""The desk as a platform sees it: it never raises, asks for access every time, and says what to do."""

import shlex
from datetime import timedelta

import pytest

from bot import admin
from bot.desk import FrontDesk
from bot.domain import channel as channels
from bot.domain.access import OrganisationState
from bot.domain.alert import Level, event_id
from bot.domain.subscription import PlaceFilter
from bot.platforms.base import MUTES, Action, Faults, Form, Invocation, Press, Submission
from bot.store import directory
from tests.factories import make_alert
from tests.worlds import World

HERE = channels.parse("slack:T0123/C1")
ADA, BOSS, BOB, GUEST = "slack:T0123/U1", "slack:T0123/U2", "slack:T0123/U3", "slack:T0999/U9"
PLACES = {
    "cork": PlaceFilter(name="Cork, Ireland", country="IE", lat=51.9, lon=-8.47, radius_km=10),
    "ireland": PlaceFilter(name="Ireland", country="IE"),
}
HOSTILE = "<!channel> @everyone \u202e\x00'; DROP TABLE audit; --"


class Platform:
    """Somebody in a channel."""

    def __init__(self, world):
        self.world = world
        self.changes = 0
        self.desk = FrontDesk(
            world.database,
            operator_named={ADA: "Ada"}.get,
            locate=lambda text: PLACES.get(text.strip().casefold()),
            suggest=lambda text: [name for name in ("Cork, Ireland", "Ireland") if name.casefold().startswith(text)],
            now=lambda: world.now,
            on_change=self._change,
        )

    def _change(self):
        self.changes += 1

    def _invocation(self, text, actor, channel, command="tocsin"):
        return Invocation(
            command=command, argv=tuple(shlex.split(text)), actor=actor, channel=channel, workspace_admin=actor == BOSS
        )

    async def say(self, text, actor=BOSS, channel=HERE):
        return await self.desk.answer(self._invocation(text, actor, channel))

    async def form(self, text, actor=BOSS, channel=HERE):
        return await self.desk.form(self._invocation(text, actor, channel))

    async def submit(self, form, actor=BOSS, channel=HERE, **values):
        filled = {field.name: field.initial for field in form.fields}
        filled |= {name: (value,) if isinstance(value, str) else value for name, value in values.items()}
        return await self.desk.submit(
            Submission(
                state=form.state, values=filled, actor=actor, channel=channel, workspace_admin=actor == BOSS
            )
        )  # fmt: skip

    async def press(self, action, delivery, actor=BOB, channel=HERE, value=""):
        return await self.desk.press(
            Press(action=action, delivery=delivery, actor=actor, channel=channel, value=value)
        )  # fmt: skip

    async def complete(self, option, typed="", subcommand="subscribe", channel=HERE):
        return await self.desk.complete("tocsin", subcommand, option, typed, channel)


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    org = world.act(admin.add_organisation, "Acme", "news")
    world.grant(org=org.name)
    world.act(admin.add_channel, "Acme", HERE)
    yield world
    world.close()


@pytest.fixture
def slack(world):
    return Platform(world)


def subscriptions(world):
    return world.write(directory.subscriptions, str(HERE))


def alert(number=1, **fields):
    key = f"bluesky|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,), "quotes": (key,)} | fields)


# ---- setting up


async def test_newsroom_sets_itself_up(slack, world):
    form = await slack.form("subscribe --preset finance")
    assert isinstance(form, Form)
    told = await slack.submit(form, where="Ireland; Cork 30 km", words="-drill")
    assert told.startswith("subscribed slack:T0123/C1: Ireland, Cork, Ireland ± 30 km · ")
    assert "at most 20 new events a day" in told
    (made,) = subscriptions(world)
    assert made.excluded == ("drill",)
    assert world.write(directory.quieting, str(HERE)).budget == 20
    assert slack.changes == 1


async def test_second_preset_leaves_the_budget_that_the_channel_has(slack, world):
    await slack.say("subscribe --anywhere --preset news")
    await slack.say("budget 7")
    await slack.say("subscribe --anywhere --preset finance")
    assert world.write(directory.quieting, str(HERE)).budget == 7


async def test_subscription_is_changed_in_place(slack, world):
    await slack.say("subscribe --place Cork --lang en --voices 3 --radius fire=5")
    (made,) = subscriptions(world)
    form = await slack.form(f"change {made.subscription}")
    assert form.title == "Change a subscription"
    assert "subscribed" in await slack.submit(form, level="flash")
    (changed,) = subscriptions(world)
    assert changed.subscription == made.subscription
    assert (changed.level, changed.places, changed.langs, changed.min_authors, changed.radii) == (
        Level.FLASH, made.places, made.langs, 3, {"fire": 5.0},
    )  # fmt: skip


async def test_faults_change_nothing(slack, world):
    form = await slack.form("subscribe")
    found = await slack.submit(form, where=HOSTILE, category=("fires",))
    assert isinstance(found, Faults)
    assert set(found.fields) == {"where", "category"}
    assert subscriptions(world) == []
    assert slack.changes == 0


async def test_subscription_that_is_gone_meanwhile_is_said(slack, world):
    await slack.say("subscribe --anywhere")
    form = await slack.form(f"change {subscriptions(world)[0].subscription}")
    await slack.say("unsubscribe")
    assert "has no subscription" in await slack.submit(form, level="flash")
    assert subscriptions(world) == []


# ---- who gets a form


@pytest.mark.parametrize("actor", [BOB, GUEST])
async def test_whoever_may_not_change_anything_gets_no_form_and_a_forged_one_is_refused(slack, world, actor):
    form = await slack.form("subscribe")
    assert await slack.form("subscribe", actor) is None
    assert "refused" in await slack.submit(form, actor, where="anywhere")
    assert (world.audit()[-1].action, world.audit()[-1].actor) == ("subscribe-refused", actor)
    assert subscriptions(world) == []


async def test_members_may_where_the_workspace_says_so_and_guests_of_a_shared_channel_still_not(slack, world):
    assert "refused" in await slack.say("editors members", BOB)
    assert await slack.say("editors members") == "everybody here may change what its channels get"
    assert await slack.form("subscribe", BOB) is not None
    assert await slack.form("subscribe", GUEST) is None
    assert "subscribed" in await slack.say("subscribe --anywhere", BOB)
    assert "refused" in await slack.say("unsubscribe", GUEST)
    assert "refused" in await slack.say("editors admins", BOB)
    await slack.say("editors admins")
    assert "refused" in await slack.say("unsubscribe", BOB)


@pytest.mark.parametrize(
    "text",
    [
        "", "help", "status", "subscribe --help", "subscribe --anywhere", "change", "change s0",
        "subscribe --radius far", "subscribe --nonsense", "subscribe --place Cork", "subscribe --lang es",
        "subscribe --voices 3", "subscribe --provider usgs", "subscribe --radius 20",
    ],
)  # fmt: skip
async def test_what_needs_no_form_or_is_wrong_gets_an_answer(slack, text):
    assert await slack.form(text) is None
    assert await slack.say(text)


async def test_admin_of_another_workspace_changes_nothing_here(slack, world):
    elsewhere = channels.parse("slack:T0999/C1")
    world.org("Globe", "news")
    world.act(admin.add_channel, "Globe", elsewhere)
    await slack.say("subscribe --anywhere")
    mine = subscriptions(world)[0].subscription
    assert await slack.form(f"change {mine}", channel=elsewhere) is None
    assert "has no subscription" in await slack.say(f"change {mine}", channel=elsewhere)
    assert "does not have" in await slack.say(f"unsubscribe {mine}", channel=elsewhere)
    assert len(subscriptions(world)) == 1


@pytest.mark.parametrize("how", ["revoked", "suspended", "unknown"])
async def test_without_access_nothing_is_shown_or_changed(slack, world, how):
    await slack.say("subscribe --anywhere --keyword refinery")
    mine = subscriptions(world)[0].subscription
    form = await slack.form(f"change {mine}")
    here = HERE
    if how == "revoked":
        world.revoke(org="Acme", reason="the contract ended")
    elif how == "suspended":
        world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED)
    else:
        here = channels.parse("slack:T0777/C1")
    before = world.dump()
    for text in (
        "subscribe --anywhere", f"change {mine}", "subscriptions", "status", "recent", "why", "test",
        "mute 1h", "quiet off", "digest 08:00", "budget 5", "editors members",
    ):  # fmt: skip
        told = await slack.say(text, channel=here)
        assert "refinery" not in told
        assert "withdrawn" in told or "suspended" in told or "belongs to no organisation" in told, (text, told)
    assert await slack.form("subscribe", channel=here) is None
    assert await slack.form(f"change {mine}", channel=here) is None
    assert isinstance(await slack.submit(form, channel=here, level="flash"), str)
    assert list(await slack.complete("subscription", subcommand="change", channel=here)) == []
    assert world.dump() == before


# ---- every command, whatever is typed


@pytest.mark.parametrize(
    "text",
    [
        "join", "join x", "subscribe", "change", "unsubscribe", "subscriptions", "status", "test", "mute", "quiet",
        "digest", "budget", "editors", "why", "recent", "help", "mute off", "mute 999999d", "mute -1h", "mute 1y",
        "quiet 25-26",
        "quiet off --zone Mars/Base", "quiet 22-7 --zone ''", "digest ,", "digest off,08:00", "budget 0", "budget 1001",
        "budget -5", "budget 1e3", "budget ٣", "editors nobody", "why 0", "recent --search '%'", "recent --search",
    ],
)  # fmt: skip
@pytest.mark.parametrize("actor", [ADA, BOSS, BOB, GUEST])
async def test_every_command_answers_everybody(slack, text, actor):
    told = await slack.say(text, actor)
    assert told
    assert "Traceback" not in told


@pytest.mark.parametrize("name", ["join", "change", "mute", "quiet", "digest", "budget", "why", "recent --search"])
async def test_hostile_words_are_answered(slack, name):
    assert await slack.say(f"{name} {shlex.quote(HOSTILE)}")
    assert await slack.say(f"{name} {shlex.quote('x' * 5000)}")


async def test_settings_in_a_channels_words(slack):
    await slack.say("subscribe --anywhere")
    assert await slack.say("quiet 22:00-07:00 --zone Europe/Dublin") == (
        "quiet hours 22:00–07:00 (Europe/Dublin), flash alerts come all the same"
    )
    assert "digest at 08:00, 17:30 (Europe/Dublin)" in await slack.say("digest 17:30,8,08:00")
    assert "muted until Wed 14 May, 15:00 (Europe/Dublin)" in await slack.say("mute 2h")
    told = await slack.say("status", BOB)
    for line in ("1 subscription; ", "this channel can be reached", "digest at", "nothing was told here"):
        assert line in told
    for text in ("mute off", "digest off"):
        await slack.say(text)
    assert await slack.say("quiet off") == "everything comes at once, at any hour"


async def test_status_says_what_is_wrong(slack, world):
    await slack.say("subscribe --anywhere")
    await slack.say("budget 1")
    world.record(alert(1))
    world.record(alert(2))
    world.deliver_all()
    told = await slack.say("status")
    assert "1 of 1 new events used today" in told
    assert "1 waiting until Thu 15 May, 08:00 (UTC)" in told
    world.write(admin.record_loss, world.now, str(HERE), "the bot was removed")
    assert "out of reach: the bot was removed" in await slack.say("status")


async def test_why_and_recent(slack, world):
    await slack.say("subscribe --anywhere --category fire")
    world.record(alert(1))
    world.record(alert(2, category="fire", headline="Fire reported in Port Calder"))
    world.deliver_all()
    assert "Fire reported" in await slack.say("recent", BOB)
    assert "yes: post" in await slack.say("why", BOB)
    assert "category explosion is not subscribed" in await slack.say(f"why {alert(1).id}", BOB)
    assert (await slack.say("why 0000")).count("\n") <= 3
    world.wait(hours=25)
    assert await slack.say("recent", BOB) == "nothing in the last 24 hours"


# ---- buttons


async def test_buttons_answer_in_a_sentence(slack, world):
    await slack.say("subscribe --anywhere")
    world.record(alert(), steps=[world.candidate("bluesky|1", text=HOSTILE)])
    (sent,) = world.deliver_all()
    assert "yes: post" in await slack.press(Action.WHY, sent.root)
    sources = await slack.press(Action.SOURCES, sent.root)
    assert sources.startswith("1 source post\n“")
    assert "\u202e" not in sources
    assert "\x00" not in sources
    for value in MUTES:
        assert (await slack.press(Action.MUTE, sent.root, value=value)).startswith("Muted until")
    changes = slack.changes
    for action in Action:
        told = await slack.press(action, sent.root, GUEST, value="1h")
        assert "refused" in told
        assert world.audit()[-1].actor == GUEST
        assert "refused" in await slack.press(action, "d0", value="1h")
    assert slack.changes == changes, "a refusal changes nothing"
    assert (await slack.press(Action.ACKNOWLEDGE, sent.root)).startswith("Acknowledged")
    assert (await slack.press(Action.IRRELEVANT, sent.root)).startswith("Noted")


async def test_anybody_in_a_discord_server_may_press_there(slack, world):
    channel = channels.parse("discord:1/2")
    world.act(admin.add_channel, "Acme", channel)
    await slack.say("subscribe --anywhere", ADA, channel)
    world.record(alert())
    (sent,) = world.deliver_all("discord")
    assert (await slack.press(Action.ACKNOWLEDGE, sent.root, "discord:77", channel)).startswith("Acknowledged")


# ---- completion


async def test_completion_begins_with_what_begins_so(slack, world):
    assert list(await slack.complete("category", "storm")) == ["storm"]
    assert list(await slack.complete("category", "armed con")) == ["armed_conflict"]
    assert list(await slack.complete("place", "co")) == ["Cork, Ireland"]
    assert (await slack.complete("zone", "europe/dub")) == ["Europe/Dublin"]
    assert (await slack.complete("zone", "new york"))[0] == "America/New_York"
    await slack.say("subscribe --anywhere")
    (made,) = subscriptions(world)
    assert list(await slack.complete("subscription", "", "change")) == [made.subscription]
    assert list(await slack.complete("subscription", "", "join")) == []


@pytest.mark.parametrize("option", ["category", "place", "zone", "subscription", "nonsense"])
@pytest.mark.parametrize("typed", ["", HOSTILE, "x" * 5000, "\ud800"])
async def test_completion_of_anything_gives_a_few(slack, option, typed):
    assert len(await slack.complete(option, typed, "change")) <= 25


# ---- losses


async def test_workspace_that_comes_back_gets_what_waited(slack, world):
    await slack.say("subscribe --anywhere")
    await slack.desk.lost(HERE.workspace, "the app was uninstalled")
    world.record(alert())
    assert world.deliver_all() == []
    world.now += timedelta(minutes=5)
    changes = slack.changes
    await slack.desk.restored(HERE.workspace)
    assert slack.changes == changes + 1
    assert len(world.deliver_all()) == 1


async def test_loss_of_what_nobody_knows_is_nothing(slack, world):
    await slack.desk.lost("slack:T0777", "uninstalled")
    await slack.desk.lost("slack:T0777/C1", "removed")
    await slack.desk.restored("slack:T0777")
    assert world.audit()[-1].action == "channel-add"
