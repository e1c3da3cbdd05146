"""Every act and every fault, with the real slack_sdk against a server that speaks Slack's protocol."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from bot import metrics
from bot.domain import alert as alerts
from bot.domain.delivery import (
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
from bot.platforms.slack import app, notifier
from bot.platforms.slack.workspaces import OneWorkspace
from tests import factories, shared
from tests.fakes.slack import FakeSlack, Fault, seen

CHANNEL = "C0456"
TIMEOUT = timedelta(seconds=0.4)
NEW_MESSAGES = (Act.POST, Act.NOTICE, Act.DIGEST, Act.REPLY)
METHOD = {Act.EDIT: "chat.update", Act.RETRACT: "chat.delete"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeSlack]:
    async with FakeSlack() as fake:
        fake.add_channel(CHANNEL)
        yield fake
        assert fake.unfired() == []


@pytest.fixture
def workspace(fake: FakeSlack) -> OneWorkspace:
    reached = OneWorkspace(fake.bot_token)
    reached.team = fake.team
    return reached


@pytest.fixture
async def slack(fake: FakeSlack, workspace: OneWorkspace) -> AsyncIterator[notifier.SlackNotifier]:
    client = app.make_client(None, fake.api_url)
    async with app.make_session(timedelta(seconds=8)) as client.session:
        yield notifier.SlackNotifier(client, workspace, timeout=TIMEOUT)


def make_sending(act: Act = Act.POST, **fields: Any) -> Sending:
    defaults: dict[str, Any] = {"act": act, "delivery": f"d-{act.value}", "created_at": datetime.now(UTC)}
    if act in (Act.NOTICE, Act.DIGEST):
        defaults["message"] = Message(text="Your access changes tomorrow.")
    return factories.make_sending(**defaults | fields)


async def make_target(slack: notifier.SlackNotifier) -> str:
    sent = await slack.send(make_sending(delivery="d-first"))
    assert isinstance(sent, Sent)
    return sent.platform_id


def effects(fake: FakeSlack, sending: Sending) -> int:
    """How often ``sending`` has taken effect."""
    if sending.act is Act.RETRACT:
        return int(sending.target_id not in {message["ts"] for message in fake.messages(CHANNEL)})
    return len(fake.posted(CHANNEL, sending.delivery))


async def prepare(slack: notifier.SlackNotifier, act: Act) -> Sending:
    target = await make_target(slack) if act in (Act.EDIT, Act.REPLY, Act.RETRACT) else None
    return make_sending(act, target_id=target)


async def test_post_carries_the_delivery_id_twice_and_unfurls_nothing(
    fake: FakeSlack, slack: notifier.SlackNotifier
) -> None:
    sending = make_sending()
    outcome = await slack.send(sending)
    (message,) = fake.messages(CHANNEL)
    assert outcome == Sent(platform_id=message["ts"])
    assert message["blocks"][0]["block_id"] == sending.delivery
    assert message["metadata"] == {
        "event_type": "tocsin_delivery",
        "event_payload": {"delivery_id": sending.delivery},
    }
    shown = seen(message)
    assert "Explosion reported in Port Calder" in shown
    assert "Heard from: 3 independent voices in 3 posts (bluesky)" in shown
    (call,) = fake.calls("chat.postMessage")
    assert call.arguments["unfurl_links"] is False
    assert call.arguments["unfurl_media"] is False


async def test_edit_changes_the_message_in_place(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    target = await make_target(slack)
    alert = factories.make_alert(revision=2, level=alerts.Level.FLASH)
    outcome = await slack.send(make_sending(Act.EDIT, target_id=target, message=Message(alert=alert)))
    (message,) = fake.messages(CHANNEL)
    assert outcome == Sent(platform_id=target)
    assert "FLASH" in message["text"]
    assert message["blocks"][0]["block_id"] == "d-edit"
    assert "Huge explosion" not in json.dumps(message), "the quotes of the first revision are gone"


async def test_reply_goes_into_the_thread(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    target = await make_target(slack)
    outcome = await slack.send(
        make_sending(Act.REPLY, target_id=target, message=Message(alert=factories.make_alert(), change="3 → 9 posts"))
    )
    reply = fake.messages(CHANNEL)[-1]
    assert outcome == Sent(platform_id=reply["ts"])
    assert reply["thread_ts"] == target
    assert "3 → 9 posts" in json.dumps(reply["blocks"], ensure_ascii=False)


@pytest.mark.parametrize("escalated", [True, False])
async def test_a_reply_is_shown_in_the_channel_too_where_it_tells_of_a_higher_level(
    fake: FakeSlack, slack: notifier.SlackNotifier, escalated: bool
) -> None:
    target = await make_target(slack)
    message = Message(alert=factories.make_alert(revision=2, level=alerts.Level.FLASH), escalated=escalated)
    assert isinstance(await slack.send(make_sending(Act.REPLY, target_id=target, message=message)), Sent)
    assert fake.calls("chat.postMessage")[-1].arguments.get("reply_broadcast") is (True if escalated else None)
    assert isinstance(await slack.send(make_sending(Act.EDIT, target_id=target, message=message)), Sent)
    assert "reply_broadcast" not in fake.calls("chat.update")[-1].arguments


async def test_retract_deletes_the_message(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    target = await make_target(slack)
    assert await slack.send(make_sending(Act.RETRACT, target_id=target)) == Sent(platform_id=target)
    assert fake.messages(CHANNEL) == []


async def test_retract_takes_the_replies_along(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    sent = await slack.send(make_sending())
    assert isinstance(sent, Sent)
    for number in range(3):
        reply = make_sending(delivery=f"d-reply-{number}", act=Act.REPLY, target_id=sent.platform_id)
        assert isinstance(await slack.send(reply), Sent)
    stranger = {"ts": "9.1", "thread_ts": sent.platform_id, "user": "U7", "text": "on my way"}
    fake.channels["C0456"].append(stranger)
    fake.script("chat.delete", Fault.error("internal_error"))
    retraction = make_sending(delivery="d-retract", act=Act.RETRACT, target_id=sent.platform_id)
    assert isinstance(await slack.send(retraction), Unknown)
    assert len(fake.messages("C0456")) == 5
    assert isinstance(await slack.send(retraction), Sent)
    assert fake.messages("C0456") == [stranger]
    assert fake.unfired() == []


async def make_thread(slack: notifier.SlackNotifier) -> Sending:
    """A message with three replies; the retraction that knows of them."""
    target = await make_target(slack)
    replies = []
    for number in range(3):
        sent = await slack.send(make_sending(delivery=f"d-reply-{number}", act=Act.REPLY, target_id=target))
        assert isinstance(sent, Sent)
        replies.append(sent.platform_id)
    return make_sending(Act.RETRACT, target_id=target, replies=tuple(replies))


async def test_retract_takes_known_replies_along_where_the_history_cannot_be_read(
    fake: FakeSlack, slack: notifier.SlackNotifier
) -> None:
    sending = await make_thread(slack)
    fake.scopes.discard("channels:history")
    before = metrics.resent_unseen_total.labels("slack")._value.get()
    assert isinstance(await slack.send(sending), Sent)
    assert fake.messages(CHANNEL) == []
    assert metrics.resent_unseen_total.labels("slack")._value.get() == before


async def test_a_reply_that_can_neither_go_nor_be_blanked_keeps_nothing_else_and_is_told(
    fake: FakeSlack, slack: notifier.SlackNotifier
) -> None:
    sending = await make_thread(slack)
    fake.script("chat.delete", Fault.error("cant_delete_message"))
    fake.script("chat.update", Fault.error("cant_update_message"))
    outcome = await slack.send(sending)
    assert isinstance(outcome, Rejected)
    assert "cant_update_message" in outcome.reason
    assert [message["ts"] for message in fake.messages(CHANNEL)] == [sending.replies[0]]


async def test_a_retraction_that_was_held_up_goes_on_where_it_was(
    fake: FakeSlack, slack: notifier.SlackNotifier
) -> None:
    sending = await make_thread(slack)
    fake.scopes.discard("channels:history")
    assert isinstance(await slack.send(sending), Sent)
    sending = await make_thread(slack)
    fake.script("conversations.replies", Fault.rate_limited(3))
    assert isinstance(await slack.send(sending), RateLimited)
    before = len(fake.calls("chat.delete"))
    assert isinstance(await slack.send(sending), Sent)
    assert fake.messages(CHANNEL) == []
    assert len(fake.calls("chat.delete")) == before + 1


async def test_retract_blanks_what_cannot_be_deleted(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    target = await make_target(slack)
    fake.script("chat.delete", Fault.error("cant_delete_message"))
    sending = make_sending(Act.RETRACT, target_id=target)
    assert await slack.send(sending) == Sent(platform_id=target)
    (message,) = fake.messages(CHANNEL)
    assert message["text"] == "This alert was withdrawn."
    assert message["attachments"] == []
    assert "explosion" not in json.dumps(message).lower()
    assert await slack.find(sending) == Sent(platform_id=target, duplicate=True)


async def test_retract_of_a_message_that_is_gone_is_done(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    outcome = await slack.send(make_sending(Act.RETRACT, target_id="1.000001"))
    assert outcome == Sent(platform_id="1.000001", duplicate=True)


FAULTS = {
    "rate limited": (lambda: Fault.rate_limited(7), RateLimited),
    "500 before": (lambda: Fault.http(500), Unknown),
    "500 after": (lambda: Fault.http(500, processed=True), Unknown),
    "503": (lambda: Fault.http(503), Unavailable),
    "200 that is no object, after": (lambda: Fault("answer", processed=True, body=["?"]), Unknown),
    "200 that is not JSON": (lambda: Fault.http(200), Unknown),
    "404 of a proxy": (lambda: Fault.http(404), Unavailable),
    "internal_error": (lambda: Fault.error("internal_error"), Unknown),
    "service_unavailable": (lambda: Fault.error("service_unavailable"), Unavailable),
    "token_revoked": (lambda: Fault.error("token_revoked"), Rejected),
    "account_inactive": (lambda: Fault.error("account_inactive"), Rejected),
    "not_in_channel": (lambda: Fault.error("not_in_channel"), Rejected),
    "is_archived": (lambda: Fault.error("is_archived"), Rejected),
    "msg_too_long": (lambda: Fault.error("msg_too_long"), Rejected),
    "reset before": (Fault.reset_before, Unknown),
    "reset after": (Fault.reset_after, Unknown),
    "hang before": (Fault.hang_before, Unknown),
    "hang after": (Fault.hang_after, Unknown),
}


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("act", list(Act))
async def test_a_fault_gives_its_outcome_takes_effect_at_most_once_and_find_knows(
    fake: FakeSlack, slack: notifier.SlackNotifier, act: Act, name: str
) -> None:
    sending = await prepare(slack, act)
    make, expected = FAULTS[name]
    fault = make()
    method = METHOD.get(act, "chat.postMessage")
    before = len(fake.messages(CHANNEL))
    fake.script(method, fault)

    outcome = await slack.send(sending)

    assert isinstance(outcome, expected), outcome
    assert effects(fake, sending) == int(fault.processed)
    calls = 2 if act in NEW_MESSAGES and sending.target_id else 1
    assert len(fake.calls(method)) == calls, "the outbox retries, the SDK does not"
    assert await slack.find(sending) == (
        Sent(platform_id=sending.target_id or fake.messages(CHANNEL)[-1]["ts"], duplicate=True)
        if fault.processed and act is not Act.REPLY
        else Sent(platform_id=fake.messages(CHANNEL)[-1]["ts"], duplicate=True)
        if fault.processed
        else Missing()
    )

    # The outbox would now try again what find does not know; nothing may then be there twice.
    if not fault.processed:
        assert isinstance(await slack.send(sending), Sent)
    assert effects(fake, sending) == 1
    assert len(fake.messages(CHANNEL)) == before + {Act.EDIT: 0, Act.RETRACT: -1}.get(act, 1)


@pytest.mark.parametrize(
    ("code", "scope", "words"),
    [
        ("token_revoked", Scope.WORKSPACE, "workspace T0123: the bot token was revoked"),
        ("account_inactive", Scope.WORKSPACE, "install the app again"),
        ("invalid_auth", Scope.WORKSPACE, "[slack] bot_token"),
        ("channel_not_found", Scope.CHANNEL, "tocsin channel remove slack:T0123/C0456"),
        ("not_in_channel", Scope.CHANNEL, "channel C0456: the bot was removed (not_in_channel); invite the bot again"),
        ("is_archived", Scope.CHANNEL, "unarchive it"),
        ("msg_blocks_too_long", Scope.MESSAGE, "too long"),
        ("never heard <of> this", Scope.MESSAGE, "never?heard??of??this"),
    ],
)
async def test_a_rejection_says_what_is_lost_and_what_to_do(
    fake: FakeSlack, slack: notifier.SlackNotifier, code: str, scope: Scope, words: str
) -> None:
    fake.script("chat.postMessage", Fault.error(code))
    outcome = await slack.send(make_sending())
    assert isinstance(outcome, Rejected)
    assert outcome.scope is scope
    assert words in f"{outcome.reason}; {outcome.remedy}"


@pytest.mark.parametrize(
    ("header", "seconds"), [(7, 7), ("0.5", 0.5), ("soon", 30), ("nan", 30), (-1, 30), (1e9, 3600)]
)
async def test_a_429_waits_as_long_as_it_says_within_reason(
    fake: FakeSlack, slack: notifier.SlackNotifier, header: Any, seconds: float
) -> None:
    fake.script("chat.postMessage", Fault.rate_limited(header))
    outcome = await slack.send(make_sending())
    assert outcome == RateLimited(retry_after=timedelta(seconds=seconds), scope=Scope.CHANNEL)


async def test_nothing_listens_is_unavailable_and_certainly_not_sent() -> None:
    async with FakeSlack() as fake:
        address = fake.api_url
    client = app.make_client(None, address)
    workspace = OneWorkspace("xoxb-fake")
    workspace.team = "T0123"
    async with app.make_session(timedelta(seconds=1)) as client.session:
        outcome = await notifier.SlackNotifier(client, workspace).send(make_sending())
    assert isinstance(outcome, Unavailable)


async def test_another_workspace_and_an_unknown_one_are_not_called(
    fake: FakeSlack, slack: notifier.SlackNotifier, workspace: OneWorkspace
) -> None:
    workspace.team = "T9999"
    outcome = await slack.send(make_sending())
    assert isinstance(outcome, Rejected)
    assert outcome.scope is Scope.WORKSPACE
    assert isinstance(await slack.find(make_sending()), Rejected)
    workspace.team = None
    assert isinstance(await slack.send(make_sending()), Unavailable)
    assert isinstance(await slack.find(make_sending()), Unavailable)
    assert fake.requests == []


async def test_find_pages_through_a_busy_channel(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    sending = make_sending()
    sent = await slack.send(sending)
    assert isinstance(sent, Sent)
    first = fake.channels[CHANNEL][0]
    for n in range(450):
        fake.channels[CHANNEL].append({"type": "message", "text": "chatter", "ts": f"{float(first['ts']) + n + 1:.6f}"})
    assert await slack.find(sending) == Sent(platform_id=sent.platform_id, duplicate=True)
    assert len(fake.calls("conversations.history")) == 3


async def test_find_sees_the_block_id_where_metadata_is_withheld(
    fake: FakeSlack, slack: notifier.SlackNotifier
) -> None:
    sending = make_sending()
    sent = await slack.send(sending)
    assert isinstance(sent, Sent)
    del fake.channels[CHANNEL][0]["metadata"]
    assert await slack.find(sending) == Sent(platform_id=sent.platform_id, duplicate=True)


async def test_find_without_the_history_scope_says_missing(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    await slack.send(make_sending())
    fake.scopes.discard("channels:history")
    assert await slack.find(make_sending()) == Missing()


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (lambda: Fault.rate_limited(3), RateLimited(retry_after=timedelta(seconds=3), scope=Scope.WORKSPACE)),
        (lambda: Fault.http(503), Unavailable),
        (lambda: Fault.http(500), Unknown),
        (lambda: Fault.reset_before(times=5), Unknown),
        (Fault.hang_before, Unknown),
        (lambda: Fault.error("not_in_channel"), Rejected),
        (lambda: Fault.error("token_revoked"), Rejected),
        (lambda: Fault.error("thread_not_found"), Missing),
    ],
)
@pytest.mark.parametrize(("act", "method"), [(Act.POST, "history"), (Act.REPLY, "replies"), (Act.EDIT, "history")])
async def test_find_meets_faults_without_raising(
    fake: FakeSlack, slack: notifier.SlackNotifier, act: Act, method: str, fault: Any, expected: Any
) -> None:
    sending = await prepare(slack, act)
    fake.script(f"conversations.{method}", fault())
    found = await slack.find(sending)
    assert found == expected if not isinstance(expected, type) else isinstance(found, expected)


async def test_a_channel_that_removed_the_bot_is_lost_until_it_is_back(
    fake: FakeSlack, slack: notifier.SlackNotifier
) -> None:
    fake.kicked.add(CHANNEL)
    outcome = await slack.send(make_sending())
    assert isinstance(outcome, Rejected)
    assert outcome.scope is Scope.CHANNEL
    fake.kicked.clear()
    assert isinstance(await slack.send(make_sending()), Sent)


async def test_a_message_without_its_alert_or_target_is_a_bug(slack: notifier.SlackNotifier) -> None:
    with pytest.raises(ValueError, match="needs an alert"):
        await slack.send(make_sending(message=Message(text="?")))
    with pytest.raises(ValueError, match="needs the message that it is about"):
        await slack.send(make_sending(Act.EDIT))


async def test_requests_have_what_slacks_description_requires(fake: FakeSlack, slack: notifier.SlackNotifier) -> None:
    description = json.loads(shared.require("specs", "slack-web-openapi-v2.json").read_text())
    for act in Act:
        sending = await prepare(slack, act)
        assert isinstance(await slack.send(sending), Sent)
        await slack.find(sending)
    seen = {request.method for request in fake.requests}
    assert seen == {
        "chat.postMessage",
        "chat.update",
        "chat.delete",
        "conversations.history",
        "conversations.replies",
    }
    for request in fake.requests:
        (operation,) = description["paths"][f"/{request.method}"].values()
        required = {parameter["name"] for parameter in operation["parameters"] if parameter.get("required")}
        assert required - {"token"} <= set(request.arguments), request.method
        assert request.token == fake.bot_token, "the token stands in the header"
        assert "token" not in request.arguments
        blocks = list(request.arguments.get("blocks") or [])
        for attachment in request.arguments.get("attachments") or []:
            blocks += attachment["blocks"]
        for block in blocks:
            parsed = Block.parse(block)
            assert parsed is not None
            assert parsed.to_dict()["type"] == block["type"]
