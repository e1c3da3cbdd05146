"""Carries out deliveries through Slack's Web API and finds them again in the channel's history."""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar, assert_never

import structlog
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot import metrics
from bot.domain.delivery import Act, Found, Missing, Outcome, Rejected, Scope, Sending, Sent, Unknown
from bot.platforms.slack import errors, render
from bot.platforms.slack.workspaces import Workspaces

log = structlog.get_logger()
T = TypeVar("T")

EVENT_TYPE = "tocsin_delivery"
# Below the outbox's CALL_TIMEOUT of 10 s, so that it is we who say what timed out.
ACT_TIMEOUT = timedelta(seconds=9)
# Slack's clock and ours may differ by this much when history is asked for what came after a delivery was created.
_CLOCKS_DIFFER = timedelta(minutes=5)
_PAGE = 200
_PAGES = 25
# chat.delete says so when the message can stay but not go; then its text goes instead.
_CANNOT_DELETE = {"cant_delete_message", "compliance_exports_prevent_deletion"}


class SlackNotifier:
    """Speaks to each workspace with its own token; ``workspaces`` says which."""

    platform = "slack"
    spacing = timedelta(seconds=1)
    per_second: float | None = None

    def __init__(self, client: AsyncWebClient, workspaces: Workspaces, *, timeout: timedelta = ACT_TIMEOUT) -> None:
        """``client`` must not retry by itself: a post that was processed and then reset would appear twice."""
        self._client = client
        self._workspaces = workspaces
        self._timeout = timeout.total_seconds()
        # Delivery → what a retraction that was cut has taken away. One with many replies would never come to its end.
        self._taken: dict[str, set[str]] = {}

    async def send(self, sending: Sending) -> Outcome:
        token = await self._workspaces.token(sending.channel.workspace_id)
        if token is None:
            return self._workspaces.without_token(sending.channel)
        match sending.act:
            case Act.POST | Act.NOTICE | Act.DIGEST:
                return await self._cut(self._post(sending, token, None), sending)
            case Act.REPLY:
                return await self._cut(self._post(sending, token, _target(sending)), sending)
            case Act.EDIT:
                return await self._cut(self._update(sending, token), sending)
            case Act.RETRACT:
                return await self._cut(self._retract(sending, token), sending)
            case _:
                assert_never(sending.act)

    async def find(self, sending: Sending) -> Found:
        token = await self._workspaces.token(sending.channel.workspace_id)
        if token is None:
            return self._workspaces.without_token(sending.channel)
        match sending.act:
            case Act.POST | Act.NOTICE | Act.DIGEST:
                return await self._cut(self._search(sending, token, None), sending)
            case Act.REPLY:
                return await self._cut(self._search(sending, token, _target(sending)), sending)
            case Act.EDIT | Act.RETRACT:
                return await self._cut(self._look(sending, token, _target(sending)), sending)
            case _:
                assert_never(sending.act)

    async def _cut(self, call: Awaitable[T], sending: Sending) -> T | Unknown:
        try:
            async with asyncio.timeout(self._timeout):
                return await call
        except TimeoutError:
            return Unknown(reason=f"Slack did not finish the {sending.act.value} in time")

    async def _post(self, sending: Sending, token: str, thread: str | None) -> Outcome:
        message = render.render(sending)
        try:
            response = await self._client.chat_postMessage(
                token=token,
                channel=sending.channel.channel_id,
                text=message.text,
                blocks=message.blocks,
                attachments=message.attachments,
                metadata=_metadata(sending),
                thread_ts=thread,
                reply_broadcast=True if thread is not None and message.broadcast else None,
                unfurl_links=False,
                unfurl_media=False,
            )
        except errors.REMOTE as error:
            return errors.outcome(error, sending.channel, method="chat.postMessage")
        ts = response.get("ts")
        if not isinstance(ts, str):
            return Unknown(reason="Slack took the message but did not say where it is")
        return Sent(platform_id=ts)

    async def _update(self, sending: Sending, token: str) -> Outcome:
        message = render.render(sending)
        target = _target(sending)
        try:
            # What chat.update is not given stays as it was: attachments, too, must be given even if empty.
            await self._client.chat_update(
                token=token,
                channel=sending.channel.channel_id,
                ts=target,
                text=message.text,
                blocks=message.blocks,
                attachments=message.attachments,
                metadata=_metadata(sending),
            )
        except errors.REMOTE as error:
            return errors.outcome(error, sending.channel, method="chat.update")
        return Sent(platform_id=target)

    async def _retract(self, sending: Sending, token: str) -> Outcome:
        """What stands in its thread goes first: replies outlive the message that they answer, and tell of the same.

        What Slack will neither delete nor blank does not keep the rest, but is what is answered.
        """
        target = _target(sending)
        in_thread: list[str] = []
        unread: Found = Missing()
        try:
            in_thread = await self._ours_in_thread(sending, token, target)
        except errors.REMOTE as error:
            unread = _unreadable(error, sending, target)
        refused: Rejected | None = None
        taken = self._taken.setdefault(sending.delivery, set())
        for ts in dict.fromkeys([*sending.replies, *in_thread]):
            outcome = Sent(platform_id=ts) if ts in taken else await self._take_away(sending, token, ts)
            if isinstance(outcome, Sent):
                taken.add(ts)
            elif isinstance(outcome, Rejected) and outcome.scope is Scope.MESSAGE:
                refused = refused or outcome
            else:
                return outcome
        if not isinstance(unread, Missing):
            return unread
        outcome = await self._take_away(sending, token, target)
        if isinstance(outcome, Sent | Rejected):
            self._taken.pop(sending.delivery, None)
        return refused if refused and isinstance(outcome, Sent) else outcome

    async def _ours_in_thread(self, sending: Sending, token: str, target: str) -> list[str]:
        """Raises what reading the thread may raise."""
        cursor: str | None = None
        ours: list[str] = []
        for _ in range(_PAGES):
            page = await self._page(sending, token, target, limit=_PAGE, cursor=cursor)
            ours += [each["ts"] for each in page.get("messages") or [] if each.get("ts") != target and _is_ours(each)]
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                break
        return ours

    async def _take_away(self, sending: Sending, token: str, ts: str) -> Outcome:
        """Delete one message, or blank it where it can stay but not go."""
        try:
            await self._client.chat_delete(token=token, channel=sending.channel.channel_id, ts=ts)
        except errors.REMOTE as error:
            said = errors.code(error)
            if said == "message_not_found":
                return Sent(platform_id=ts, duplicate=True)
            if said in _CANNOT_DELETE:
                log.info("message_blanked", delivery=sending.delivery, why=said)
                return await self._update(replace(sending, target_id=ts), token)
            return errors.outcome(error, sending.channel, method="chat.delete")
        return Sent(platform_id=ts)

    async def _search(self, sending: Sending, token: str, thread: str | None) -> Found:
        """Through everything since the delivery was created, newest first (a thread: oldest first)."""
        cursor: str | None = None
        for _ in range(_PAGES):
            try:
                page = await self._page(
                    sending,
                    token,
                    thread,
                    oldest=f"{(sending.created_at - _CLOCKS_DIFFER).timestamp():.6f}",
                    limit=_PAGE,
                    cursor=cursor,
                )
            except errors.REMOTE as error:
                return _unreadable(error, sending, thread)
            for message in page.get("messages") or []:
                if _carries(message, sending.delivery):
                    return Sent(platform_id=message["ts"], duplicate=True)
            cursor = (page.get("response_metadata") or {}).get("next_cursor")
            if not cursor:
                return Missing()
        metrics.resent_unseen_total.labels(self.platform).inc()
        log.warning("history_too_long", delivery=sending.delivery, channel=str(sending.channel), pages=_PAGES)
        return Missing()

    async def _look(self, sending: Sending, token: str, target: str) -> Found:
        """At one message: is it as this edit or retraction leaves it?"""
        try:
            page = await self._page(sending, token, None, oldest=target, latest=target, inclusive=True, limit=1)
        except errors.REMOTE as error:
            return _unreadable(error, sending, None)
        there = [message for message in page.get("messages") or [] if message.get("ts") == target]
        if any(_carries(message, sending.delivery) for message in there):
            return Sent(platform_id=target, duplicate=True)
        if not there and sending.act is Act.RETRACT:
            return Sent(platform_id=target, duplicate=True)
        return Missing()

    async def _page(self, sending: Sending, token: str, thread: str | None, **arguments: Any) -> dict[str, Any]:
        channel = sending.channel.channel_id
        if thread is None:
            response = await self._client.conversations_history(
                token=token, channel=channel, include_all_metadata=True, **arguments
            )
        else:
            response = await self._client.conversations_replies(
                token=token, channel=channel, ts=thread, include_all_metadata=True, **arguments
            )
        if not isinstance(response.data, dict):
            raise ValueError("a history that is not an object")
        return response.data


def _unreadable(error: Exception, sending: Sending, thread: str | None) -> Found:
    said = errors.code(error)
    if isinstance(error, SlackApiError) and said == "missing_scope":
        if sending.act is not Act.RETRACT:
            # The platform leaves no choice: sending again may make a duplicate, not sending may lose an alert.
            metrics.resent_unseen_total.labels(SlackNotifier.platform).inc()
        log.warning(
            "history_unreadable",
            delivery=sending.delivery,
            channel=str(sending.channel),
            remedy="add the scopes channels:history and groups:history, then reinstall the app",
        )
        return Missing()
    if said in ("thread_not_found", "message_not_found"):
        return Missing()
    method = "conversations.history" if thread is None else "conversations.replies"
    return errors.outcome(error, sending.channel, method=method)


def _is_ours(message: dict[str, Any]) -> bool:
    return bool((message.get("metadata") or {}).get("event_type") == EVENT_TYPE)


def _carries(message: dict[str, Any], delivery: str) -> bool:
    payload = (message.get("metadata") or {}).get("event_payload") or {}
    blocks = message.get("blocks") or [{}]
    return bool(payload.get("delivery_id") == delivery or blocks[0].get("block_id") == delivery)


def _metadata(sending: Sending) -> dict[str, Any]:
    return {"event_type": EVENT_TYPE, "event_payload": {"delivery_id": sending.delivery}}


def _target(sending: Sending) -> str:
    if sending.target_id is None:
        raise ValueError(f"delivery {sending.delivery}: a {sending.act.value} needs the message that it is about")
    return sending.target_id
