"""What can be shown afterwards: who was fenced, what still arrived, what could be taken back; and that the audit holds
neither posts nor secrets."""

import contextlib
import json
from datetime import time, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bot import admin, approving, joining, proving, revoking
from bot.admin import Actor
from bot.domain import audit as chain
from bot.domain import errors
from bot.domain.access import OrganisationState
from bot.domain.alert import event_id
from bot.domain.audit import AuditEntry
from bot.domain.delivery import Rejected, Scope, Sent, Unavailable, Unknown
from bot.domain.quieting import Quieting
from bot.pipeline import digesting, expiring
from bot.store import audit, directory, installations
from bot.store.installations import Installation
from tests.factories import NOW, make_alert
from tests.worlds import STRANGER, World

C1, C2 = "slack:T0123/C1", "slack:T0999/C9"


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path / "store.db")
    world.org()
    world.channel(C1)
    world.org("Globe", "news")
    world.channel(C2, "Globe")
    yield world
    world.close()


def alert(number=1, provider="bluesky", **fields):
    key = f"{provider}|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,), "quotes": (key,), "sources": (provider,)} | fields)


def proof(world, effect):
    return world.write(proving.proof, effect.revocation)


def here(claimed):
    return next(each for each in claimed if str(each.channel) == C1)


# ---- proof of effect


def test_nothing_was_claimed_after_the_fence_and_the_last_message_was_one_in_flight(world):
    world.record(alert(1))
    sending = here(world.claim())
    world.record(alert(2))
    effect = world.revoke(org="Acme")
    world.wait(seconds=3)
    world.settle(sending)
    world.deliver_all()
    found = proof(world, effect)
    assert found["claimed_after"] == []
    assert found["last_message_s"] == 3.0
    assert [(row["delivery"], row["state"]) for row in found["in_flight_now"]] == [(sending.delivery, "sent")]


def test_without_anything_in_flight_no_message_came_after(world):
    effect = world.revoke(org="Acme")
    world.record(alert(), view=world.view("Globe"))
    world.wait(seconds=1)
    world.deliver_all()
    assert (proof(world, effect)["last_message_s"], proof(world, effect)["claimed_after"]) == (None, [])


def test_in_flight_that_did_not_arrive_is_no_last_message(world):
    world.record(alert())
    sending = here(world.claim())
    effect = world.revoke(org="Acme")
    world.settle(sending, Unknown(reason="reset"))
    world.wait(seconds=5)
    world.deliver_all()
    found = proof(world, effect)
    assert found["last_message_s"] is None
    assert [row["state"] for row in found["in_flight_now"]] == ["withheld"]


def test_what_may_go_on_after_a_narrow_revocation_is_no_offence(world):
    effect = world.revoke(org="Acme", category="flood")
    world.wait(seconds=1)
    world.record(alert(1), alert(2, category="flood"))
    world.deliver_all()
    assert len(world.rows(channel=C1, state="sent")) == 1
    assert proof(world, effect)["claimed_after"] == []


@pytest.mark.parametrize("capability", ["evidence", "history", "export"])
def test_deliveries_go_on_without_another_capability(world, capability):
    effect = world.revoke(org="Acme", capability=capability)
    world.wait(seconds=1)
    world.record(alert())
    world.deliver_all()
    assert proof(world, effect)["claimed_after"] == []


def test_what_was_claimed_after_it_was_lifted_is_no_offence(world):
    effect = world.revoke(org="Acme")
    world.wait(seconds=1)
    world.act(revoking.reinstate, effect.revocation, "settled")
    world.wait(seconds=1)
    world.record(alert())
    world.deliver_all()
    assert proof(world, effect)["claimed_after"] == []


def test_broken_fence_is_seen(world):
    """Somebody wrote the store by hand."""
    world.record(alert())
    effect = world.revoke(org="Acme")
    (row,) = world.rows(channel=C1)
    world.write(
        lambda db: db.execute(
            "UPDATE deliveries SET state = 'sent', attempts = 1, claimed_at = ?, sent_at = ? WHERE delivery = ?",
            ["2031-05-14T12:00:01.000Z", "2031-05-14T12:00:02.000Z", row["delivery"]],
        )
    )
    assert proof(world, effect)["claimed_after"] == [row["delivery"]]
    assert row["delivery"] in "\n".join(proving.told(proof(world, effect)))


def test_retractions_are_counted_and_what_stands_all_the_same_is_named_with_the_reason(world):
    world.record(alert(1), alert(2), alert(3))
    world.deliver_all()
    effect = world.revoke(org="Acme", retract=True)
    outcomes = [None, Rejected(reason="cant_delete_message", remedy="delete it by hand"), Unavailable(reason="503")]
    for outcome in outcomes:
        world.settle(here(world.claim()), outcome)
    found = proof(world, effect)
    assert found["retracted"] == 1
    assert [(row["channel"], row["state"]) for row in found["not_retracted"]] == [(C1, "rejected"), (C1, "queued")]
    assert found["not_retracted"][0]["why"] == "cant_delete_message; delete it by hand"
    said = "\n".join(proving.told(found))
    assert "retracted: 1" in said
    assert f"not retracted: {C1}: rejected, cant_delete_message; delete it by hand" in said


def test_message_that_was_looked_for_and_was_not_there_is_not_counted_as_taken_back(world):
    world.record(alert())
    sending = here(world.claim())
    effect = world.revoke(org="Acme", retract=True)
    world.settle(sending, Unknown(reason="reset"))
    world.wait(seconds=2)
    world.settle(here(world.claim()), Sent(platform_id="", duplicate=True))
    found = proof(world, effect)
    assert (found["retracted"], found["not_retracted"]) == (0, [])


def test_retraction_in_a_channel_out_of_reach_is_named_too(world):
    world.record(alert())
    world.deliver_all()
    effect = world.revoke(org="Acme", retract=True)
    gone = Rejected(reason="channel_not_found", remedy="invite it again", scope=Scope.CHANNEL)
    world.settle(here(world.claim()), gone)
    (row,) = proof(world, effect)["not_retracted"]
    assert row["state"] == "held"
    assert "channel_not_found" in row["why"]


def test_proof_is_json_and_lines_for_people(world):
    world.record(alert())
    effect = world.revoke(org="Acme", requester="the provider", reason="clause 7")
    found = json.loads(json.dumps(proof(world, effect)))
    assert found["effect"]["touched"][0]["name"] == "Acme"
    said = "\n".join(proving.told(found))
    for words in ("clause 7", "asked for by the provider", "touched: Acme", "not touched: Globe", "in force",
                  "claimed after the fence (must be none): none"):  # fmt: skip
        assert words in said


def test_unknown_revocation_is_said(world):
    with pytest.raises(errors.UsageError, match="tocsin revocations"):
        world.write(proving.proof, "r0")


# ---- the chain


def head(world):
    found = world.write(audit.head)
    return f"{found['seq']}:{found['hash']}"


def lacks(world, published, entries=None):
    return chain.lacks(world.audit() if entries is None else entries, published)


def test_published_head_is_still_there_when_more_has_been_written(world):
    published = head(world)
    world.revoke(org="Acme")
    assert lacks(world, published) is None
    assert lacks(world, head(world)) is None


def test_chain_that_was_cut_off_lacks_the_head(world):
    world.revoke(org="Acme")
    entries = world.audit()
    assert chain.verify(entries[:-1]) is None, "a shorter chain is unbroken; only the head tells"
    assert "cut off" in lacks(world, head(world), entries[:-1])
    assert "cut off" in lacks(world, head(world), [])


def test_chain_that_was_written_anew_lacks_the_head(world):
    world.revoke(org="Acme", reason="clause 7")
    published = head(world)
    forged, prev = [], chain.GENESIS
    for entry in world.audit():
        fields = chain.to_json(entry) | {"prev_hash": prev, "hash": "", "reason": entry.reason.replace("7", "8")}
        forged.append(chain.seal(AuditEntry(**fields)))
        prev = forged[-1].hash
    assert chain.verify(forged) is None
    assert "rewritten" in lacks(world, published, forged)


@pytest.mark.parametrize("published", ["", "1", "1:", ":" + "0" * 64, "x:" + "0" * 64, "-1:" + "0" * 64, "1:beef",
                                       "9" * 5000 + ":" + "0" * 64, "1.5:" + "0" * 64])  # fmt: skip
def test_what_is_no_head_is_said(world, published):
    with pytest.raises(errors.UsageError, match="SEQ:HASH"):
        lacks(world, published)


def test_head_of_an_empty_audit_is_held_by_every_chain(tmp_path):
    world = World(tmp_path / "empty.db")
    published = head(world)
    assert lacks(world, published) is None
    world.org()
    assert lacks(world, published) is None
    assert "begins" in lacks(world, "0:" + "f" * 64)
    world.close()


# ---- neither posts nor secrets


SECRET_TEXTS = [f"Overheard words number {number} about Port Calder" for number in range(8)]
TOKEN = "xoxb-invented-token"


@st.composite
def scenarios(draw):
    """Acts in any order, by name."""
    names = ["record", "deliver", "lose", "deny", "revoke", "retract", "approve", "reject", "grant", "terms", "suspend",
             "resume", "join", "export", "digest", "expire", "channel"]  # fmt: skip
    return draw(st.lists(st.sampled_from(names), min_size=4, max_size=14))


def play(world, name, number):
    codes = world.codes
    match name:
        case "record":
            world.record(alert(number), steps=[world.candidate(f"bluesky|{number}", text=SECRET_TEXTS[number % 8])])
        case "deliver":
            world.deliver_all()
        case "lose":
            for sending in world.claim():
                world.settle(sending, Rejected(reason="not_in_channel", remedy="invite", scope=Scope.CHANNEL))
        case "deny":
            world.record(alert(number, category="flood"))
            world.act(
                admin.set_terms, provider="bluesky", barred_sectors=[], barred_cells=[("explosion", "news")], quota=1,
                reason="terms",
            )  # fmt: skip
        case "revoke":
            world.revoke(org="Acme", drop_credentials=True)
        case "retract":
            order = revoking.Order(reason="clause 7", sector="news", retract=True)
            two = frozenset(each.value for each in approving.Act)
            world.proposals += world.act(approving.revoke, order, two).proposals
        case "approve" | "reject":
            ben = Actor(id="discord:77", surface="discord", operator="Ben")
            while world.proposals:
                proposal = world.proposals.pop()
                world.run(approving.approve, STRANGER if name == "reject" else ben, world.now, proposal)
        case "grant":
            world.grant(sector="news", capabilities=["alerts", "export", "evidence"])
        case "suspend" | "resume":
            state = OrganisationState.SUSPENDED if name == "suspend" else OrganisationState.ACTIVE
            world.act(admin.set_organisation_state, "Globe", state)
        case "join":
            made = world.act(joining.make_code, "Acme")
            codes.append(made.code)
            ann = Actor(id="slack:T0777/U1", surface="slack", workspace="slack:T0777", member="slack:T0777")
            world.run(joining.join, ann, world.now, admin.channels.parse("slack:T0777/C1"), made.code)
        case "export":
            world.act(admin.export, "Globe", None)
        case "digest":
            world.write(lambda db: directory.set_quieting(db, C1, Quieting(digest=(time(17, 30),))))
            world.now = world.now.replace(hour=17, minute=30)
            world.write(digesting.release, world.now)
        case "expire":
            world.grant(org="Acme", until=world.now + timedelta(seconds=1))
            world.wait(seconds=2)
            world.write(expiring.expire, world.now)
            world.write(expiring.let_go, world.now)
        case "channel":
            world.channel(f"slack:T0123/C1{number}", subscribed=False)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(scenarios())
def test_audit_holds_no_post_text_no_code_and_no_token(tmp_path_factory, acts):
    world = World(tmp_path_factory.mktemp("rich") / "store.db")
    world.codes, world.proposals = [], []
    world.org()
    world.channel(C1)
    world.org("Globe", "news")
    world.channel(C2, "Globe")
    world.write(
        installations.save,
        Installation(
            workspace="slack:T0123", name="Acme", bot_token=TOKEN, bot_user="U1", app_id="A1", scopes=(),
            installed_by="U9", installed_at=NOW,
        ),
    )  # fmt: skip
    for number, name in enumerate(acts):
        with contextlib.suppress(errors.TocsinError):  # what may not be done now is refused, and on record too
            play(world, name, number)
    entries = world.audit()
    assert chain.verify(entries) is None
    text = "\n".join(json.dumps(chain.to_json(entry), ensure_ascii=False) for entry in entries)
    for secret in [*SECRET_TEXTS, TOKEN, *world.codes]:
        assert secret not in text
    world.close()


def test_the_acts_of_that_story_do_something(tmp_path):
    """Else it would prove nothing."""
    world = World(tmp_path / "store.db")
    world.codes, world.proposals = [], []
    world.org()
    world.channel(C1)
    world.org("Globe", "news")
    world.channel(C2, "Globe")
    for number, name in enumerate(["grant", "record", "deliver", "export", "join", "deny", "retract", "approve",
                                   "expire", "revoke", "suspend"]):  # fmt: skip
        play(world, name, number)
    found = {entry.action for entry in world.audit()}
    assert found >= {"export", "join-code", "join", "terms", "revoke", "propose", "approve", "retract", "grant-expired",
                     "org-suspend", "grant"}  # fmt: skip
    assert world.codes
    world.close()


def test_a_withdrawal_of_evidence_lists_what_is_being_sent_with_quotes(tmp_path):
    world = World(tmp_path / "quotes.db")
    world.org()
    world.channel("slack:T0123/C1")
    key = "bluesky|q"
    world.record(make_alert(event=event_id(key), evidence=(key,), quotes=(key,)), steps=[world.candidate(key)])
    (sending,) = world.claim()
    assert sending.message.quotes
    assert world.revoke(capability="evidence", org="Acme", dry_run=True).in_flight == [sending.delivery]
    effect = world.revoke(capability="evidence", org="Acme")
    assert effect.in_flight == [sending.delivery]
    world.close()


def test_a_clock_that_steps_back_accuses_nobody(tmp_path):
    world = World(tmp_path / "clock.db")
    world.org()
    world.channel("slack:T0123/C1")
    key = "bluesky|c"
    world.record(make_alert(event=event_id(key), evidence=(key,), quotes=(key,)))
    world.deliver_all()
    world.wait(seconds=-30)
    effect = world.revoke(org="Acme")
    assert world.write(proving.proof, effect.revocation)["claimed_after"] == []
    world.close()
