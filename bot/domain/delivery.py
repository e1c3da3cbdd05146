"""Deliveries: acts, states, what a notifier is asked to do, what it answers, and what follows from the answer."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import assert_never

from bot.domain import alert as alerts
from bot.domain.channel import Channel

# A call to a platform is cut after this long; nothing reaches a platform later than that after a fence.
CALL_TIMEOUT = timedelta(seconds=10)
IN_FLIGHT_PER_PLATFORM = 16
# An attempt older than this may have outlived the platform's own duplicate check, so history is asked first.
VERIFY_AFTER = timedelta(minutes=1)
# After this long without success an alert is no longer news; the row ends as failed and says so.
GIVE_UP_AFTER = timedelta(hours=24)


class Act(StrEnum):
    POST = "post"  # the event's message in a channel
    EDIT = "edit"  # that message, in place
    REPLY = "reply"  # what changed, in that message's thread
    RETRACT = "retract"  # remove or blank that message
    NOTICE = "notice"  # to the organisation, about its access
    DIGEST = "digest"  # many alerts in one message


class State(StrEnum):
    QUEUED = "queued"  # due at due_at
    HELD = "held"  # waits for a person or a time; reason says which
    SENDING = "sending"  # claimed; its API call is running
    SENT = "sent"  # the platform has it
    DIGESTED = "digested"  # told in a digest: ``digest`` is that delivery
    UNKNOWN = "unknown"  # the call was cut or reset: look in the history before sending again
    REJECTED = "rejected"  # the platform said never
    FAILED = "failed"  # given up after GIVE_UP_AFTER
    WITHHELD = "withheld"  # access.decide said no; reason names the rule
    SUPERSEDED = "superseded"  # a later revision took its place before it was sent


class Scope(StrEnum):
    """How much a rejection or a pause is about."""

    MESSAGE = "message"
    CHANNEL = "channel"
    WORKSPACE = "workspace"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """``platform_id``: Slack's ``ts``, Discord's message id. ``duplicate``: it was already there, found by its id."""

    platform_id: str
    duplicate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimited:
    retry_after: timedelta
    scope: Scope = Scope.CHANNEL


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """Permanent. ``scope`` CHANNEL or WORKSPACE: that is lost until a person acts; ``remedy`` says how."""

    reason: str
    remedy: str
    scope: Scope = Scope.MESSAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class Unavailable:
    """Certainly not processed (refused connection, 5xx that says so): try again later."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """May or may not have been processed: timed out, reset, cut."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Only ``find`` answers this: the history has no message with this delivery's id."""


Outcome = Sent | RateLimited | Rejected | Unavailable | Unknown
Found = Sent | Missing | RateLimited | Rejected | Unavailable | Unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """A post to show as evidence. ``text`` is hostile: escape it."""

    provider: str
    author: str | None
    text: str
    url: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledgement:
    """``by``: the account that pressed the button, ``slack:T0123/U0456`` or ``discord:1234567890``."""

    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What to say, free of any platform. Either about ``alert``, or plain ``text`` (NOTICE), or a DIGEST: ``text`` is
    its first line and ``items`` what it tells of, the loudest first.

    ``quotes`` is empty where the organisation lacks the capability ``evidence``, and then ``evidence`` is False: the
    message says so. ``change`` explains a REPLY; ``escalated``: it tells of a higher level than any message before it
    in that channel about that event, so it may call for attention again. ``digested``: the message that a REPLY
    answers is a digest.
    """

    alert: alerts.Alert | None = None
    quotes: tuple[Quote, ...] = ()
    evidence: bool = True
    change: str = ""
    text: str = ""
    escalated: bool = False
    digested: bool = False
    acknowledged: Acknowledgement | None = None
    items: tuple[alerts.Alert, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """A claimed delivery, as handed to a notifier.

    ``target_id`` is the platform id of the event's message for EDIT, REPLY and RETRACT. ``root``: the delivery that
    posted that message, for POST and others without one their own; buttons name it, and ``root_at`` is when it was
    queued. ``replies``: for RETRACT, the platform ids of what is known to have been sent about that message besides.
    ``uncertain``: an earlier attempt may have arrived, so the history is asked first.
    """

    delivery: str
    root: str
    channel: Channel
    act: Act
    message: Message
    target_id: str | None
    attempt: int
    uncertain: bool
    created_at: datetime
    root_at: datetime | None = None
    replies: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What becomes of a row after an outcome. ``lose`` names the scope that is lost; ``pause`` the lane that waits."""

    state: State
    reason: str = ""
    due_at: datetime | None = None
    platform_id: str | None = None
    pause: Scope | None = None
    pause_until: datetime | None = None
    lose: Scope | None = None


def settle(
    outcome: Outcome, *, attempt: int, created_at: datetime, now: datetime, uncertain: bool = False
) -> Settlement:
    """Pure: outcome → the row's next state. Back-off doubles from 1 s to 60 s; a 429 waits as long as it says.

    ``uncertain``: an earlier attempt may have arrived. A refusal of the look into the history leaves it so.
    """
    again = State.UNKNOWN if uncertain else State.QUEUED
    match outcome:
        case Sent():
            return Settlement(
                state=State.SENT,
                reason="already there: found by its delivery id" if outcome.duplicate else "",
                platform_id=outcome.platform_id,
            )
        case RateLimited():
            until = now + max(outcome.retry_after, timedelta(milliseconds=100))
            limited = Settlement(
                state=again,
                reason=f"rate limited for {outcome.retry_after.total_seconds():g} s",
                due_at=until,
                pause=outcome.scope,
                pause_until=until,
            )
            if now - created_at > GIVE_UP_AFTER:
                return replace(limited, state=State.FAILED, reason=f"given up after a day: {limited.reason}")
            return limited
        case Rejected():
            if outcome.scope is Scope.MESSAGE:
                return Settlement(state=State.REJECTED, reason=f"{outcome.reason}; {outcome.remedy}")
            return Settlement(state=State.HELD, reason=f"{outcome.reason}; {outcome.remedy}", lose=outcome.scope)
        case Unavailable() | Unknown():
            if now - created_at > GIVE_UP_AFTER:
                return Settlement(state=State.FAILED, reason=f"given up after a day: {outcome.reason}")
            due_at = now + backoff(attempt)
            state = State.UNKNOWN if isinstance(outcome, Unknown) else again
            return Settlement(state=state, reason=outcome.reason, due_at=due_at)
        case _:
            assert_never(outcome)


def backoff(attempt: int) -> timedelta:
    """1, 2, 4 … 60 s."""
    return timedelta(seconds=min(60.0, 2.0 ** min(attempt - 1, 6)))
