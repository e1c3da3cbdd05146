"""The real discord.py against a Discord that speaks the real protocols: every act, every fault, what exists then."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot import metrics
from bot.domain.alert import Kind, Level
from bot.domain.channel import Channel
from bot.domain.delivery import (
    Acknowledgement,
    Act,
    Message,
    Missing,
    RateLimited,
    Rejected,
    Scope,
    Sending,
    Sent,
    Unavailable,
    Unknown,
)
from bot.platforms.discord.client import Discord
from tests import factories
from tests.fakes import discord as fakes

CHANNEL = Channel("discord", "100", "200")


@pytest.fixture
def desk() -> fakes.FakeDesk:
    return fakes.FakeDesk()


@pytest.fixture
async def fake() -> AsyncIterator[fakes.FakeDiscord]:
    async with fakes.FakeDiscord(clock=lambda: factories.NOW) as fake:
        yield fake
        assert not fake.unfired()


@pytest.fixture
async def discord(fake: fakes.FakeDiscord, desk: fakes.FakeDesk) -> AsyncIterator[Discord]:
    async with Discord(token=fake.token, desk=desk, api_url=fake.api_url, gateway_url=fake.gateway_url) as discord:
        await fake.connected()
        yield discord


def make_sending(**fields: Any) -> Sending:
    return factories.make_sending(**{"channel": CHANNEL} | fields)


def make_escalation() -> Message:
    alert = factories.make_alert(kind=Kind.UPDATE, level=Level.FLASH, revision=3)
    return Message(alert=alert, change="more voices", escalated=True)


def shown(fake: fakes.FakeDiscord) -> list[str]:
    return fakes.labels(fake.messages("200")[0])


async def posted(discord: Discord, **fields: Any) -> str:
    outcome = await discord.notifier.send(make_sending(**fields))
    assert isinstance(outcome, Sent)
    return outcome.platform_id


def resent_unseen() -> float:
    return float(metrics.resent_unseen_total.labels("discord")._value.get())


async def test_a_post_carries_its_delivery_and_mentions_nobody(fake: fakes.FakeDiscord, discord: Discord) -> None:
    outcome = await discord.notifier.send(make_sending())

    (message,) = fake.messages("200")
    assert outcome == Sent(platform_id=message["id"])
    assert message["embeds"][0]["footer"]["text"] == "tocsin · d0000000000000000000001"
    body = fake.calls("create_message")[0].body
    assert (body["nonce"], body["enforce_nonce"]) == ("d0000000000000000000001", True)
    assert body["allowed_mentions"]["parse"] == []


async def test_an_edit_changes_the_message_in_place(fake: fakes.FakeDiscord, discord: Discord) -> None:
    first = await posted(discord)
    message = Message(alert=factories.make_alert(revision=2, headline="Two explosions in Port Calder"))

    outcome = await discord.notifier.send(make_sending(act=Act.EDIT, target_id=first, message=message, delivery="d2"))

    assert outcome == Sent(platform_id=first)
    (changed,) = fake.messages("200")
    assert "Two explosions in Port Calder" in changed["content"]
    assert changed["embeds"][0]["footer"]["text"] == "tocsin · d2"


async def test_replies_go_into_the_message_s_thread_which_is_made_once(
    fake: fakes.FakeDiscord, discord: Discord
) -> None:
    first = await posted(discord)
    message = Message(alert=factories.make_alert(revision=2), change="urgent now: 9 independent voices")

    for delivery in ("d2", "d3"):
        sending = make_sending(act=Act.REPLY, target_id=first, message=message, delivery=delivery)
        assert isinstance(await discord.notifier.send(sending), Sent)

    assert len(fake.messages("200")) == 1
    assert [m["content"] for m in fake.messages(first)] == ["🆕 **New.** urgent now: 9 independent voices"] * 2
    assert len(fake.calls("create_thread")) == 1


async def test_where_threads_are_forbidden_a_reply_refers_to_the_message(
    fake: fakes.FakeDiscord, discord: Discord
) -> None:
    fake.threads_allowed = False
    first = await posted(discord)

    outcome = await discord.notifier.send(make_sending(act=Act.REPLY, target_id=first, delivery="d2"))

    assert isinstance(outcome, Sent)
    assert fake.messages("200")[1]["message_reference"]["message_id"] == first
    found = await discord.notifier.find(make_sending(act=Act.REPLY, target_id=first, delivery="d2"))
    assert found == Sent(platform_id=outcome.platform_id, duplicate=True)


async def test_an_escalation_answers_the_message_in_the_channel_and_mentions_nobody(
    fake: fakes.FakeDiscord, discord: Discord
) -> None:
    first = await posted(discord)
    sending = make_sending(act=Act.REPLY, target_id=first, delivery="d2", message=make_escalation())
    assert await discord.notifier.find(sending) == Missing()

    outcome = await discord.notifier.send(sending)

    assert isinstance(outcome, Sent)
    escalation = fake.messages("200")[1]
    assert escalation["message_reference"]["message_id"] == first
    assert escalation["content"].startswith("⬆️ **ESCALATED** · 🚨 **FLASH** · 💥 Explosion · Port Calder, IE")
    assert "more voices" in escalation["embeds"][0]["description"]
    assert fake.calls("create_message")[-1].body["allowed_mentions"] == {"parse": []}
    assert fake.calls("create_thread") == []
    assert await discord.notifier.find(sending) == Sent(platform_id=outcome.platform_id, duplicate=True)


async def test_buttons_stand_under_an_event_s_message_as_long_as_they_make_sense(
    fake: fakes.FakeDiscord, discord: Discord
) -> None:
    alert = factories.make_alert()
    retracted = replace(alert, kind=Kind.RETRACTION)
    by = Acknowledgement(by="discord:111", at=factories.NOW)
    first = await posted(discord)
    assert shown(fake) == ["Acknowledge", "Not relevant", "Show sources", "Why did I get this?", "Mute…"]

    for message, expected in (
        (Message(alert=alert, acknowledged=by), ["Not relevant", "Show sources", "Why did I get this?", "Mute…"]),
        (Message(alert=alert, evidence=False), ["Acknowledge", "Not relevant", "Why did I get this?", "Mute…"]),
        (Message(alert=retracted), ["Show sources", "Why did I get this?"]),
        (Message(alert=retracted, evidence=False), ["Why did I get this?"]),
    ):
        await discord.notifier.send(make_sending(act=Act.EDIT, target_id=first, delivery="d2", message=message))
        assert shown(fake) == expected

    fake.delete_allowed = False
    await discord.notifier.send(make_sending(act=Act.RETRACT, target_id=first, delivery="d3"))
    assert shown(fake) == []


@pytest.mark.parametrize("delete_allowed", [True, False])
async def test_a_retraction_takes_back_what_answers_the_message_in_the_channel(
    fake: fakes.FakeDiscord, discord: Discord, delete_allowed: bool
) -> None:
    first = await posted(discord)
    other = await discord.notifier.send(make_sending(delivery="d2"))
    for delivery in ("d3", "d4"):
        sending = make_sending(act=Act.REPLY, target_id=first, delivery=delivery, message=make_escalation())
        await discord.notifier.send(sending)
    fake.delete_allowed = delete_allowed

    retraction = make_sending(act=Act.RETRACT, target_id=first, delivery="d5")
    assert await discord.notifier.send(retraction) == Sent(platform_id=first)

    assert isinstance(other, Sent)
    assert [m["id"] for m in fake.messages("200") if "Port Calder" in m["content"]] == [other.platform_id]
    assert len(fake.messages("200")) == (1 if delete_allowed else 4)


@pytest.mark.parametrize("delete_allowed", [True, False])
async def test_a_retraction_finds_known_replies_however_busy_the_channel_is(
    fake: fakes.FakeDiscord, discord: Discord, delete_allowed: bool
) -> None:
    first = await posted(discord)
    fake.chat("200", 310)
    escalation = await posted(discord, act=Act.REPLY, target_id=first, delivery="d2", message=make_escalation())
    reply = await posted(discord, act=Act.REPLY, target_id=first, delivery="d3")
    fake.delete_allowed = delete_allowed

    retraction = make_sending(act=Act.RETRACT, target_id=first, delivery="d4", replies=(escalation, reply))
    for _ in range(2):
        assert await discord.notifier.send(retraction) == Sent(platform_id=first)

    assert [m["id"] for m in fake.all_messages() if "Port Calder" in str(m) or "more voices" in str(m)] == []
    assert len(fake.all_messages()) == 310 + (0 if delete_allowed else 3)


async def test_a_known_reply_that_can_neither_go_nor_be_blanked_keeps_nothing_else_and_is_told(
    fake: fakes.FakeDiscord, discord: Discord
) -> None:
    first = await posted(discord)
    replies = [await posted(discord, act=Act.REPLY, target_id=first, delivery=delivery) for delivery in ("d2", "d3")]
    retraction = make_sending(act=Act.RETRACT, target_id=first, delivery="d4", replies=tuple(replies))
    fake.script("delete_message", fakes.refused(403, 50013))
    fake.script("edit_message", fakes.refused(400, 50083))
    fake.script("delete_channel", fakes.refused(403, 50013))
    fake.script("list_messages", *[fakes.refused(403, 50001)] * 2)

    outcome = await discord.notifier.send(retraction)

    assert isinstance(outcome, Rejected)
    assert [m["id"] for m in fake.all_messages()] == replies[:1]
    assert await discord.notifier.send(retraction) == Sent(platform_id=first)
    assert fake.all_messages() == []


async def test_a_retraction_that_was_held_up_goes_on_where_it_was(fake: fakes.FakeDiscord, discord: Discord) -> None:
    first = await posted(discord)
    replies = [await posted(discord, act=Act.REPLY, target_id=first, delivery=f"d{n}") for n in range(2, 5)]
    retraction = make_sending(act=Act.RETRACT, target_id=first, delivery="d9", replies=tuple(replies))
    fake.script("edit_message", fakes.rate_limited(3))
    fake.delete_allowed = False
    assert isinstance(await discord.notifier.send(retraction), RateLimited)
    fake.delete_allowed = True
    assert await discord.notifier.send(retraction) == Sent(platform_id=first)
    assert fake.all_messages() == []

    again = await posted(discord, delivery="d10")
    more = [await posted(discord, act=Act.REPLY, target_id=again, delivery=f"d{n}") for n in range(11, 14)]
    retraction = make_sending(act=Act.RETRACT, target_id=again, delivery="d19", replies=tuple(more))
    fake.script("list_messages", fakes.rate_limited(3))
    assert isinstance(await discord.notifier.send(retraction), RateLimited)
    before = len(fake.calls("delete_message"))
    assert await discord.notifier.send(retraction) == Sent(platform_id=again)
    assert len(fake.calls("delete_message")) == before + 1


async def test_a_retraction_deletes_the_message_and_its_thread(fake: fakes.FakeDiscord, discord: Discord) -> None:
    first = await posted(discord)
    await discord.notifier.send(make_sending(act=Act.REPLY, target_id=first, delivery="d2"))

    for _ in range(2):
        outcome = await discord.notifier.send(make_sending(act=Act.RETRACT, target_id=first, delivery="d3"))
        assert outcome == Sent(platform_id=first)

    assert fake.all_messages() == []


async def test_a_message_that_may_not_be_deleted_is_blanked(fake: fakes.FakeDiscord, discord: Discord) -> None:
    first = await posted(discord)
    fake.delete_allowed = False

    sending = make_sending(act=Act.RETRACT, target_id=first, delivery="d3")
    assert await discord.notifier.send(sending) == Sent(platform_id=first)

    (blanked,) = fake.messages("200")
    assert "explosion" not in str(blanked).lower()
    assert await discord.notifier.find(sending) == Sent(platform_id=first, duplicate=True)


@pytest.mark.parametrize("act", [Act.NOTICE, Act.DIGEST])
@pytest.mark.parametrize("text", ["Access of Acme is withdrawn.", "line\n" * 900])
async def test_plain_texts_are_found_again(fake: fakes.FakeDiscord, discord: Discord, act: Act, text: str) -> None:
    sending = make_sending(act=act, message=Message(text=text))
    assert await discord.notifier.find(sending) == Missing()

    outcome = await discord.notifier.send(sending)

    assert isinstance(outcome, Sent)
    assert await discord.notifier.find(sending) == Sent(platform_id=outcome.platform_id, duplicate=True)


async def test_the_same_delivery_twice_is_one_message(fake: fakes.FakeDiscord, discord: Discord) -> None:
    assert await discord.notifier.send(make_sending()) == await discord.notifier.send(make_sending())
    assert len(fake.messages("200")) == 1


async def test_find_sees_an_edit_only_once_it_happened(fake: fakes.FakeDiscord, discord: Discord) -> None:
    first = await posted(discord)
    edit = make_sending(act=Act.EDIT, target_id=first, delivery="d2")
    assert await discord.notifier.find(edit) == Missing()
    await discord.notifier.send(edit)
    assert await discord.notifier.find(edit) == Sent(platform_id=first, duplicate=True)


async def test_find_in_a_thread(fake: fakes.FakeDiscord, discord: Discord) -> None:
    first = await posted(discord)
    reply = make_sending(act=Act.REPLY, target_id=first, delivery="d2")
    assert await discord.notifier.find(reply) == Missing()
    outcome = await discord.notifier.send(reply)
    assert isinstance(outcome, Sent)
    assert await discord.notifier.find(reply) == Sent(platform_id=outcome.platform_id, duplicate=True)


async def test_find_pages_through_a_busy_channel_and_says_where_it_gave_up(
    fake: fakes.FakeDiscord, discord: Discord
) -> None:
    before = resent_unseen()
    sent = await posted(discord)
    fake.chat("200", 250)
    assert await discord.notifier.find(make_sending()) == Sent(platform_id=sent, duplicate=True)
    assert await discord.notifier.find(make_sending(delivery="d2")) == Missing()
    assert resent_unseen() == before
    fake.chat("200", 2250)
    assert await discord.notifier.find(make_sending()) == Missing()
    assert resent_unseen() == before + 1


OPERATION = {
    Act.POST: "create_message",
    Act.EDIT: "edit_message",
    Act.REPLY: "create_message",
    Act.RETRACT: "delete_message",
    Act.NOTICE: "create_message",
    Act.DIGEST: "create_message",
}
FAULTS = {
    "429": (fakes.rate_limited(7.5), RateLimited(retry_after=timedelta(seconds=7.5)), False),
    "429 global": (
        fakes.rate_limited(20, everywhere=True),
        RateLimited(retry_after=timedelta(seconds=20), scope=Scope.PLATFORM),
        False,
    ),
    "429 edge": (
        fakes.rate_limited(3600, via=False),
        RateLimited(retry_after=timedelta(hours=1), scope=Scope.PLATFORM),
        False,
    ),
    "500": (fakes.broken(500), Unknown, False),
    "502 processed": (fakes.broken(502, processed=True), Unknown, True),
    "503": (fakes.broken(503), Unknown, False),
    "reset before": (fakes.reset(processed=False), Unknown, False),
    "reset after": (fakes.reset(processed=True), Unknown, True),
}


# aiohttp itself repeats a DELETE after a reset: it does no harm, and has a test of its own below.
@pytest.mark.parametrize(
    ("act", "fault"),
    [(act, fault) for act in Act for fault in FAULTS if act is not Act.RETRACT or not fault.startswith("reset")],
)
async def test_faults_are_answered_at_once_and_never_repeated_by_the_library(
    fake: fakes.FakeDiscord, discord: Discord, act: Act, fault: str
) -> None:
    scripted, expected, processed = FAULTS[fault]
    first = await posted(discord)
    if act is Act.REPLY:
        await discord.notifier.send(make_sending(act=act, target_id=first, delivery="d1"))
    before, calls = fake.all_messages(), len(fake.calls(OPERATION[act]))
    sending = make_sending(act=act, target_id=first, delivery="d2", message=make_message(act))
    fake.script(OPERATION[act], scripted)

    outcome = await discord.notifier.send(sending)

    assert isinstance(outcome, Unknown) if expected is Unknown else outcome == expected
    assert len(fake.calls(OPERATION[act])) == calls + 1
    change = {Act.EDIT: 0, Act.RETRACT: -1}.get(act, 1)
    assert len(fake.all_messages()) == len(before) + (change if processed else 0)
    if expected is Unknown:
        assert isinstance(await discord.notifier.find(sending), Sent if processed else Missing)
    assert isinstance(await discord.notifier.send(sending), Sent)
    assert len(fake.all_messages()) == len(before) + (change if act is not Act.RETRACT else -len(before))


@pytest.mark.parametrize("fault", FAULTS)
async def test_an_escalation_that_meets_a_fault_is_found_where_it_was_sent_and_stands_once(
    fake: fakes.FakeDiscord, discord: Discord, fault: str
) -> None:
    scripted, expected, processed = FAULTS[fault]
    first = await posted(discord)
    sending = make_sending(act=Act.REPLY, target_id=first, delivery="d2", message=make_escalation())
    fake.script("create_message", scripted)

    outcome = await discord.notifier.send(sending)

    assert isinstance(outcome, Unknown) if expected is Unknown else outcome == expected
    assert isinstance(await discord.notifier.find(sending), Sent if processed else Missing)
    assert isinstance(await discord.notifier.send(sending), Sent)
    assert [m.get("message_reference", {}).get("message_id") for m in fake.messages("200")] == [None, first]


@pytest.mark.parametrize("processed", [False, True])
async def test_a_deletion_that_is_reset_is_done_once_the_answer_says_so(
    fake: fakes.FakeDiscord, discord: Discord, processed: bool
) -> None:
    first = await posted(discord)
    fake.script("delete_message", fakes.reset(processed=processed))

    outcome = await discord.notifier.send(make_sending(act=Act.RETRACT, target_id=first, delivery="d2"))

    assert outcome == Sent(platform_id=first)
    assert fake.all_messages() == []


async def test_a_thread_that_may_not_be_deleted_is_emptied(fake: fakes.FakeDiscord, discord: Discord) -> None:
    first = await posted(discord)
    await discord.notifier.send(make_sending(act=Act.REPLY, target_id=first, delivery="d2"))
    fake.script("delete_channel", fakes.refused(403, 50013))

    outcome = await discord.notifier.send(make_sending(act=Act.RETRACT, target_id=first, delivery="d3"))

    assert outcome == Sent(platform_id=first)
    assert fake.all_messages() == []


async def test_of_a_long_thread_that_may_not_be_deleted_all_that_is_ours_goes(
    fake: fakes.FakeDiscord, discord: Discord
) -> None:
    first = await posted(discord)
    for delivery in ("d2", "d3"):
        await posted(discord, act=Act.REPLY, target_id=first, delivery=delivery)
        fake.chat(first, 150)
    fake.script("delete_channel", fakes.refused(403, 50013))

    assert isinstance(await discord.notifier.send(make_sending(act=Act.RETRACT, target_id=first, delivery="d4")), Sent)

    assert [m["content"] for m in fake.all_messages()] == ["what a day"] * 300


def make_message(act: Act) -> Message:
    if act in (Act.NOTICE, Act.DIGEST):
        return Message(text="Access of Acme is withdrawn.")
    return Message(alert=factories.make_alert(revision=2))


@pytest.mark.parametrize("processed", [False, True])
async def test_a_call_that_hangs_can_be_cut(fake: fakes.FakeDiscord, discord: Discord, processed: bool) -> None:
    fake.script("create_message", fakes.hang(processed=processed))
    task = asyncio.create_task(discord.notifier.send(make_sending()))
    await fake.until(lambda: bool(fake.calls("create_message")))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(fake.messages("200")) == processed
    assert isinstance(await discord.notifier.find(make_sending()), Sent if processed else Missing)
    assert isinstance(await discord.notifier.send(make_sending()), Sent)
    assert len(fake.messages("200")) == 1


REFUSALS = [
    ((403, 50001), Rejected, Scope.CHANNEL, "cannot see it"),
    ((403, 50013), Rejected, Scope.CHANNEL, "lacks a permission"),
    ((404, 10003), Rejected, Scope.CHANNEL, "deleted"),
    ((404, 10004), Rejected, Scope.WORKSPACE, "removed from the server"),
    ((400, 50035), Rejected, Scope.MESSAGE, "50035"),
    ((401, 0), Rejected, Scope.PLATFORM, "token"),
]


@pytest.mark.parametrize(("answer", "kind", "scope", "words"), REFUSALS)
@pytest.mark.parametrize("act", [Act.POST, Act.EDIT])
async def test_refusals_say_what_is_lost_and_what_to_do(
    fake: fakes.FakeDiscord,
    discord: Discord,
    act: Act,
    answer: tuple[int, int],
    kind: type[Rejected],
    scope: Scope,
    words: str,
) -> None:
    first = await posted(discord)
    fake.script(OPERATION[act], fakes.refused(*answer))

    outcome = await discord.notifier.send(make_sending(act=act, target_id=first, delivery="d2"))

    assert isinstance(outcome, kind)
    assert outcome.scope is scope
    assert words in outcome.reason
    assert outcome.remedy


@pytest.mark.parametrize(("act", "escalated"), [(Act.EDIT, False), (Act.REPLY, False), (Act.REPLY, True)])
async def test_a_message_deleted_by_a_moderator_rejects_only_what_is_about_it(
    fake: fakes.FakeDiscord, discord: Discord, act: Act, escalated: bool
) -> None:
    first = await posted(discord)
    await fake.delete_message("200", first)
    message = Message(alert=factories.make_alert(revision=2), escalated=escalated)

    outcome = await discord.notifier.send(make_sending(act=act, target_id=first, delivery="d2", message=message))

    assert isinstance(outcome, Rejected)
    assert outcome.scope is Scope.MESSAGE
    assert "deleted" in outcome.reason
    assert fake.all_messages() == []


async def test_a_send_into_a_guild_that_removed_the_bot_loses_the_workspace(
    fake: fakes.FakeDiscord, discord: Discord, desk: fakes.FakeDesk
) -> None:
    await posted(discord)
    await fake.kick("100")
    await fake.join("300", ["400"])

    await desk.until("restored discord:300")
    outcome = await discord.notifier.send(make_sending(delivery="d2"))

    assert isinstance(outcome, Rejected)
    assert outcome.scope is Scope.WORKSPACE


async def test_an_id_that_is_no_discord_id_is_an_unknown_channel(fake: fakes.FakeDiscord, discord: Discord) -> None:
    outcome = await discord.notifier.send(make_sending(channel=Channel("discord", "100", "general")))
    assert isinstance(outcome, Rejected)
    assert outcome.scope is Scope.CHANNEL


async def test_a_server_that_is_not_there_is_unavailable(discord: Discord, fake: fakes.FakeDiscord) -> None:
    await posted(discord)
    await fake.__aexit__()
    outcome = await discord.notifier.send(make_sending(delivery="d2"))
    # The first call may meet the old connection, which is reset; the next finds nobody.
    if isinstance(outcome, Unknown):
        outcome = await discord.notifier.send(make_sending(delivery="d2"))
    assert isinstance(outcome, Unavailable)
