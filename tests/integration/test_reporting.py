"""The transparency report: counts, no names unless asked for, and nobody's words as markup."""

import json
from datetime import timedelta

import pytest

from bot import admin, reporting, revoking
from bot.domain import errors
from bot.domain.access import Capability
from bot.domain.alert import event_id
from bot.domain.delivery import Rejected
from tests.factories import NOW, make_alert
from tests.worlds import STRANGER, World

C1 = "slack:T0123/C1"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org("Harbour Signals", "government/intelligence")
    world.channel(C1, "Harbour Signals")
    world.org("First Bank", "finance/bank")
    yield world
    world.close()


def alert(number=1):
    key = f"x|{number}"
    return make_alert(event=event_id(key), evidence=(key,), quotes=(key,), sources=("x",))


def report(world, since=NOW - timedelta(days=1), until=NOW + timedelta(days=30), **fields):
    return world.write(reporting.report, since, until, **fields)


def year(world):
    """What happened."""
    world.record(alert(1), alert(2), view=world.view("Harbour Signals"))
    world.deliver_all()
    world.record(alert(3), view=world.view("Harbour Signals"))
    world.revoke(
        sector="government/intelligence", provider="x", reason="clause 7", requester="the provider", retract=True
    )
    first, *_ = world.claim()
    world.settle(first, Rejected(reason="cant_delete_message", remedy="by hand"))
    world.deliver_all()
    lifted = world.revoke(org="First Bank", category="flood", reason="clause 7")
    world.act(revoking.reinstate, lifted.revocation, "settled")
    world.grant(org="First Bank", capabilities=list(Capability))
    world.act(admin.export, "First Bank", None)
    with pytest.raises(errors.RefusedError):
        world.run(admin.act, STRANGER, "revoke", "org=First Bank", lambda: world.now, revoking.revoke)


def test_counts_what_was_withdrawn_from_whom_and_what_became_of_it(world):
    year(world)
    found = report(world)
    assert found["organisations"] == {"finance/bank": 1, "government/intelligence": 1}
    assert found["revocations"] == {
        "made": 2, "lifted": 1, "by_sector": {"government/intelligence": 1, "not said": 1},
        "by_provider": {"x": 1, "not said": 1}, "by_category": {"not said": 1, "flood": 1},
        "by_reason": {"clause 7": 2},
        "by_requester": {"the provider": 1, "not said": 1},
    }  # fmt: skip
    assert found["touched"] == {"organisations": 2, "by_sector": {"government/intelligence": 1, "finance/bank": 1}}
    assert found["effect"] == {
        "withheld": 1, "in_flight": 0, "claimed_after": 0, "retracted": 1, "not_retracted": 1,
    }  # fmt: skip
    assert (found["refusals"], found["grants"], found["exports"]) == (1, 3, 1)
    assert found["messages_sent"] == 3


@pytest.mark.parametrize(("since", "until", "made"), [(-1, 0, 0), (0, 1, 2), (1, 2, 0)])
def test_period_has_its_beginning_and_not_its_end(world, since, until, made):
    year(world)
    found = report(world, NOW + timedelta(seconds=since), NOW + timedelta(seconds=until))
    assert found["revocations"]["made"] == made


def test_names_nobody_unless_asked(world):
    year(world)
    for text in (json.dumps(report(world)), reporting.markdown(report(world))):
        assert "Harbour Signals" not in text
        assert "First Bank" not in text
    named = report(world, names=True)
    assert named["touched"]["names"] == ["First Bank", "Harbour Signals"]
    assert "- Harbour Signals" in reporting.markdown(named).splitlines()


def test_markdown_says_the_same_as_the_json(world):
    year(world)
    found = report(world)
    text = reporting.markdown(found)
    assert "2 revocations were made and 1 lifted. They touched 2 organisations." in text
    assert "0 were sent after a fence (this must be 0)" in text
    assert "1 messages were taken back, 1 could not be." in text
    assert "| clause 7 | 2 |" in text
    assert "## … by who asked for it" in text


def test_period_in_which_nothing_happened_is_a_report_too(world):
    text = reporting.markdown(report(world, NOW + timedelta(days=3)))
    assert "0 revocations were made and 0 lifted. They touched 0 organisations." in text
    assert "by reason" not in text


@pytest.mark.parametrize(
    "reason",
    ["a | b", "a\n| b | 9 |", "a\\| b", "`code`", "*loud*", "[link](https://evil.example)", "<img src=x>", "a\r\nb"],
)
def test_words_of_people_stay_words(world, reason):
    world.org(f"Name {reason}", "news")
    world.revoke(org=f"Name {reason}", reason=reason, requester=reason)
    text = reporting.markdown(report(world, names=True))
    assert "<img" not in text.replace("\\<", "")
    assert "[link](" not in text.replace("\\[link\\](", "")
    rows = [line for line in text.splitlines() if line.endswith("| 1 |") and "not said" not in line]
    for row in rows:
        unescaped = row.replace("\\\\", "").replace("\\|", "").replace("\\`", "").replace("\\*", "")
        assert unescaped.count("|") == 3
        assert "`" not in unescaped
        assert "*" not in unescaped
    assert all(line.startswith(("#", "|", "-", "Besides", "2 ", "1 ", "0 ")) or not line for line in text.splitlines())


def test_report_is_json(world):
    year(world)
    assert json.loads(json.dumps(report(world, names=True)))["since"] == "2031-05-13T12:00:00.000Z"
