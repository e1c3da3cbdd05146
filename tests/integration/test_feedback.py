"""From the button under a message to the training rows: what readers call not relevant."""

import json
import subprocess
import sys

import pytest

from bot import feedback, pressing
from bot.admin import Actor
from bot.domain import channel as channels
from bot.domain.alert import event_id
from bot.domain.delivery import Act
from bot.domain.post import Deletion, Official
from bot.platforms.base import Action, Press
from classifiers import feedback as training
from tests.acceptance.stage import environment
from tests.factories import make_alert
from tests.worlds import World, make_update

HERE, THERE = "slack:T0123/C0456", "slack:T0123/C0789"
KEYS = ("bluesky|1", "bluesky|2")


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(HERE)
    yield world
    world.close()


def alert(*keys, **fields):
    return make_alert(**{"event": event_id(keys[0]), "evidence": keys, "quotes": keys[:1]} | fields)


def told(world, raised, *candidates):
    """The alert is recorded and delivered."""
    world.record(raised, steps=candidates)
    world.deliver_all()


def press(world, person, channel=HERE):
    """The button under the last message there."""
    messages = [row for row in world.rows(channel=channel, act=Act.POST.value) if row["state"] == "sent"]
    actor = Actor(id=f"slack:T0123/{person}", surface="slack", member="slack:T0123")
    pressed = Press(
        action=Action.IRRELEVANT, delivery=messages[-1]["delivery"], actor=actor.id, channel=channels.parse(channel)
    )
    return world.run(pressing.press, actor, world.now, pressed).text


def exported(world):
    return world.act(feedback.export)


def test_pressing_twice_is_once_and_another_person_counts(world):
    told(world, alert(*KEYS), *(world.candidate(key) for key in KEYS))
    press(world, "U1")
    assert "counts once" in press(world, "U1")
    press(world, "U2")
    assert exported(world) == [
        {
            "source": "bluesky",
            "id": number,
            "text": f"text of bluesky|{number}",
            "langs": ["en"],
            "category": "explosion",
            "irrelevant": 2,
        }
        for number in ("1", "2")
    ]


def test_without_a_press_there_is_nothing(world):
    told(world, alert(*KEYS), *(world.candidate(key) for key in KEYS))
    assert exported(world) == []


def test_one_person_in_two_channels_counts_once(world):
    world.channel(THERE)
    told(world, alert(*KEYS), *(world.candidate(key) for key in KEYS))
    press(world, "U1", HERE)
    press(world, "U1", THERE)
    assert [each["irrelevant"] for each in exported(world)] == [1, 1]
    press(world, "U2", THERE)
    assert [each["irrelevant"] for each in exported(world)] == [2, 2]


def test_people_who_pressed_before_and_after_an_update_count_together(world):
    first = alert("bluesky|1")
    told(world, first, world.candidate("bluesky|1"))
    press(world, "U1")
    told(world, make_update(event=first.event, evidence=KEYS, quotes=KEYS[:1]), world.candidate("bluesky|2"))
    press(world, "U2")
    assert {each["id"]: each["irrelevant"] for each in exported(world)} == {"1": 2, "2": 1}


def test_a_post_under_two_categories_is_told_once_with_the_one_that_more_people_called_wrong(world):
    first = alert("bluesky|1")
    told(world, first, world.candidate("bluesky|1"))
    press(world, "U1")
    told(world, make_update(event=first.event, evidence=("bluesky|1",), category="fire"))
    press(world, "U2")
    press(world, "U3")
    assert [(each["category"], each["irrelevant"]) for each in exported(world)] == [("fire", 2)]


def test_a_deleted_post_is_absent(world):
    told(world, alert(*KEYS), *(world.candidate(key) for key in KEYS))
    press(world, "U1")
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=world.now)])
    assert [each["id"] for each in exported(world)] == ["2"]


def test_an_official_warning_is_no_mistake_of_the_model(world):
    keys = ("usgs|q1", "bluesky|2")
    quake = world.candidate(keys[0], official=Official(category="earthquake"))
    told(world, alert(*keys, category="earthquake"), quake, world.candidate(keys[1]))
    press(world, "U1")
    assert [each["id"] for each in exported(world)] == ["2"]


def test_the_audit_has_the_count_and_no_text(world):
    told(world, alert(*KEYS), *(world.candidate(key) for key in KEYS))
    press(world, "U1")
    exported(world)
    entry = world.audit()[-1]
    assert (entry.action, entry.actor, entry.target) == ("feedback-export", "Ada (cli:ada)", "posts")
    assert entry.effect == {"posts": 2}


def test_what_the_command_prints_is_what_training_reads(world, tmp_path):
    hostile = 'line one\n"line" two \u2028 \u202e'
    told(world, alert(*KEYS), world.candidate(KEYS[0], text=hostile, langs=()), world.candidate(KEYS[1]))
    press(world, "U1")
    press(world, "U2")
    shown = tocsin(world, "feedback", "--json")
    assert [set(json.loads(each)) for each in shown.splitlines()] == [
        {"source", "id", "text", "langs", "category", "irrelevant"}
    ] * 2
    path = tmp_path / "feedback.jsonl"
    path.write_text(shown)
    read = training.read(path)
    assert read.bad == ()
    assert [(row.text, row.lang) for row in read.negatives(2)] == [(hostile, None), ("text of bluesky|2", "en")]
    assert read.negatives(3) == []


def test_the_table_for_people_is_short(world):
    long = "Smoke over the old brewery. " * 20
    told(world, alert(*KEYS), world.candidate(KEYS[0], text=long), world.candidate(KEYS[1]))
    press(world, "U1")
    head, first, second = tocsin(world, "feedback").splitlines()
    assert head.split() == ["source", "id", "category", "irrelevant", "text"]
    assert first.split()[:4] == ["bluesky", "1", "explosion", "1"]
    assert len(first) < 140
    assert second.endswith("text of bluesky|2")


def tocsin(world, *arguments):
    done = subprocess.run(
        [sys.executable, "-m", "bot", "--db", str(world.path), *arguments],
        capture_output=True, text=True, cwd=world.path.parent, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout
