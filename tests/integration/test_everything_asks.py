"""Every way to see anything, under every way to bar it: what each still tells, and whether it shows the posts."""

import asyncio
import json
from datetime import time, timedelta

import pytest

from bot import admin, commands, glancing, pressing
from bot.admin import Actor
from bot.commands import Context
from bot.desk import FrontDesk
from bot.domain import channel as channels
from bot.domain import errors
from bot.domain.access import Capability, OrganisationState, ProviderSet
from bot.domain.alert import Kind, Level, event_id
from bot.domain.delivery import Act
from bot.domain.quieting import Quieting
from bot.forms import State
from bot.pipeline import digesting, explaining
from bot.platforms.base import Action, Invocation, Press, Submission
from bot.store import directory
from bot.web import reading
from tests.factories import NOW, make_alert
from tests.worlds import World

C1, HERE = "slack:T0123/C1", channels.parse("slack:T0123/C1")
ANN = Actor(id="slack:T0123/U1", surface="slack", member="slack:T0123")
PILOT = NOW + timedelta(hours=3)
WIDE = ProviderSet.parse("*")
WORDS = "Overheard words"
FILLED_IN = {"where": ("anywhere",), "level": ("alert",), "certainty": ("possible",)}
HEADLINE = "Refinery burning at Hexham Point"


def alert(number=1, **fields):
    keys = (f"x|{number}", f"bluesky|{number}")
    defaults = {
        "event": event_id(keys[0]), "evidence": keys, "quotes": keys, "sources": ("bluesky", "x"), "headline": HEADLINE,
        "category": "unrest", "categories": {"unrest": 0.9},
    }  # fmt: skip
    return make_alert(**defaults | fields)


@pytest.fixture
def world(tmp_path):
    """An hour ago a message was delivered; it stands."""
    world = World(tmp_path / "store.db")
    world.org("Acme", "government/law_enforcement", grant=None)
    world.grant(org="Acme", capabilities=list(Capability), until=PILOT)
    world.channel(C1)
    candidates = [world.candidate(key, text=f"{WORDS} {key}") for key in alert().evidence]
    world.record(alert(), view=WIDE, steps=candidates)
    (sent,) = world.deliver_all()
    world.root = sent.root
    world.wait(hours=1)
    yield world
    world.close()


def terms(world, **fields):
    given = {"provider": "x", "barred_sectors": [], "barred_cells": [], "quota": None, "reason": "terms"} | fields
    world.act(admin.set_terms, **given)


def expire(world):
    world.now = PILOT


BARS = {
    "nothing": lambda world: None,
    "organisation": lambda world: world.revoke(org="Acme"),
    "sector": lambda world: world.revoke(sector="government"),
    "provider": lambda world: world.revoke(provider="x"),
    "organisation and provider": lambda world: world.revoke(org="Acme", provider="x"),
    "every provider": lambda world: world.revoke(provider="*"),
    "category": lambda world: world.revoke(category="unrest"),
    "alerts": lambda world: world.revoke(capability="alerts"),
    "suspended": lambda world: world.act(admin.set_organisation_state, "Acme", OrganisationState.SUSPENDED),
    "expired": expire,
    "terms for the sector": lambda world: terms(world, barred_sectors=["government"]),
    "terms for the cell": lambda world: terms(world, barred_cells=[("unrest", "government/law_enforcement")]),
    "workspace": lambda world: world.revoke(workspace="slack:T0123"),
    "channel": lambda world: world.revoke(channel=C1),
    "evidence": lambda world: world.revoke(capability="evidence"),
    "evidence of the provider": lambda world: world.revoke(capability="evidence", provider="x"),
    "history": lambda world: world.revoke(capability="history"),
    "export": lambda world: world.revoke(capability="export"),
    "another category": lambda world: world.revoke(category="flood"),
    "another organisation": lambda world: world.org("Globe", "news") and world.revoke(org="Globe"),
}
TELLS_ALL = {"nothing", "another category", "another organisation"}


# ---- the ways to see anything: (does it tell of the alert, does it show its posts)


def both(text):
    return HEADLINE in text, WORDS in text or "x|1" in text


def asked(world):
    return reading.Asked(at=world.now, org="Acme", everyone=True)


def board(world):
    return both(json.dumps(world.write(reading.listing, asked(world))))


def board_event(world):
    return both(json.dumps(world.write(reading.event, asked(world), alert().event)))


def lines(world, capability):
    try:
        found = world.write(admin.look_back, world.now, "Acme", capability, None, "")
    except errors.TocsinError:
        return False, False
    return both(json.dumps(found))[0], any(line["evidence"] for line in found)


def events(world):
    return lines(world, Capability.HISTORY)


def export(world):
    return lines(world, Capability.EXPORT)


def answered(fn):
    try:
        said = fn()
    except errors.TocsinError as error:
        said = str(error)
    return both(said)


def recent(world):
    return answered(lambda: "\n".join(world.write(glancing.recent, HERE, world.now, "")))


def status(world):
    return answered(lambda: "\n".join(world.write(glancing.status, HERE, world.now)))


def context(world):
    return Context(database=world.database, actor=ANN, now=lambda: world.now, locate=lambda _: None, channel=HERE)


def assessed(stages):
    return any(each["stage"] == "assessed" for each in stages)


def why(world):
    try:
        found = asyncio.run(commands.why(context(world), HERE, alert().event))
    except errors.TocsinError:
        return False, False
    return assessed(found.data["stages"]), WORDS in found.text


def explain_alert(world):
    org = world.write(directory.organisation, "Acme")
    stages, _ = world.write(explaining.explain, alert().event, org, world.now)
    return any(each.stage == "assessed" for each in stages), False


def explain_post(world):
    """Says of a post what became of it: that is evidence."""
    org = world.write(directory.organisation, "Acme")
    stages, _ = world.write(explaining.explain, "x|1", org, world.now)
    about = any(each.stage == "assessed" for each in stages)
    return about, about


def pressed(action):
    def press(world):
        wanted = Press(action=action, delivery=world.root, actor=ANN.id, channel=HERE, value="1h")
        try:
            found = world.run(pressing.press, ANN, world.now, wanted)
        except errors.RefusedError:
            return False, False
        return True, any(WORDS in quote.text for quote in found.quotes)

    return press


def delivered(world, *acts):
    sent = [each for each in world.deliver_all() if each.act in acts]
    told = [found for each in sent for found in (each.message.alert, *each.message.items) if found is not None]
    return bool(told), any(WORDS in quote.text for each in sent for quote in each.message.quotes)


def new_message(world):
    steps = [world.candidate(key, text=f"{WORDS} {key}") for key in alert(2).evidence]
    world.record(alert(2), view=WIDE, steps=steps)
    return delivered(world, Act.POST)


def edit(world):
    world.record(alert(revision=2, kind=Kind.UPDATE, change="more voices"), view=WIDE)
    return delivered(world, Act.EDIT)


def reply(world):
    world.record(alert(revision=2, kind=Kind.UPDATE, change="more voices", level=Level.FLASH), view=WIDE)
    return delivered(world, Act.REPLY)


def digest(world):
    world.write(lambda db: directory.set_quieting(db, C1, Quieting(digest=(time(17, 30),))))
    world.record(alert(2), alert(3), view=WIDE)
    world.now += timedelta(hours=10)
    world.write(digesting.release, world.now)
    return delivered(world, Act.DIGEST)


OF_THE_CHANNEL = {
    "recent": recent, "status": status, "why": why, "new message": new_message, "edit": edit, "reply": reply,
    **{f"button {each.value}": pressed(each) for each in Action},
}  # fmt: skip
OF_THE_ORGANISATION = {
    "board": board, "board's event": board_event, "events": events, "export": export, "explain an alert": explain_alert,
    "explain a post": explain_post,
}  # fmt: skip
SURFACES = OF_THE_CHANNEL | OF_THE_ORGANISATION
# Posts are shown by these, where evidence may be seen.
QUOTING = {"board's event", "events", "export", "explain a post", "new message", "edit", "reply", "button sources"}
NEEDS = {"events": "history", "export": "export"}


def expected(surface, bar):
    if bar in TELLS_ALL:
        return True, surface in QUOTING
    if bar.startswith("evidence"):
        speaks = surface not in ("explain a post", "button sources")
        return speaks, False
    if bar in ("history", "export"):
        speaks = NEEDS.get(surface) != bar
        return speaks, speaks and surface in QUOTING
    if bar in ("workspace", "channel") and surface in OF_THE_ORGANISATION:
        return True, surface in QUOTING
    return False, False


@pytest.mark.parametrize("bar", list(BARS))
@pytest.mark.parametrize("surface", list(SURFACES))
def test_each_way_to_see_anything_asks(world, surface, bar):
    BARS[bar](world)
    assert SURFACES[surface](world) == expected(surface, bar)


@pytest.mark.parametrize("bar", [each for each in BARS if each != "expired"])
def test_digests_ask_for_each_of_their_events(tmp_path, bar):
    world = World(tmp_path / "store.db")
    world.org("Acme", "government/law_enforcement", grant=None)
    world.grant(org="Acme", capabilities=list(Capability))
    world.channel(C1)
    BARS[bar](world)
    tells, _ = digest(world)
    world.close()
    assert tells is (bar in TELLS_ALL or bar.startswith("evidence") or bar in ("history", "export"))


@pytest.mark.parametrize("bar", list(BARS))
def test_forms_open_and_are_taken_only_where_something_may_come(world, bar):
    desk = FrontDesk(
        world.database, operator_named=lambda _: None, locate=lambda _: None, suggest=lambda _: (),
        now=lambda: world.now, on_change=lambda: None,
    )  # fmt: skip
    BARS[bar](world)
    asked_for = Invocation(command="tocsin", argv=("subscribe",), actor=ANN.id, channel=HERE, workspace_admin=True)
    form = asyncio.run(desk.form(asked_for))
    before = world.write(directory.subscriptions, C1)
    answer = asyncio.run(
        desk.submit(
            Submission(
                state=State().to_text(), values=FILLED_IN, actor=ANN.id, channel=HERE,
                workspace_admin=True,
            )
        )
    )  # fmt: skip
    added = len(world.write(directory.subscriptions, C1)) - len(before)
    closed = {"organisation", "sector", "every provider", "alerts", "suspended", "expired", "workspace", "channel"}
    assert (form is None) is (bar in closed)
    if bar in closed:
        assert added == 0
        assert any(word in answer for word in ("withdrawn", "expired", "suspended"))
    else:
        assert added == 1
