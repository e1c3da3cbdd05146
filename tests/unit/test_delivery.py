from datetime import timedelta

import pytest

from bot.domain import delivery
from bot.domain.delivery import RateLimited, Rejected, Scope, Sent, State, Unavailable, Unknown, backoff, settle
from tests.factories import NOW

RETRY = timedelta(seconds=30)


def settled(outcome, **fields):
    return settle(outcome, **{"attempt": 1, "created_at": NOW, "now": NOW} | fields)


def test_sent_keeps_the_platforms_id():
    assert settled(Sent(platform_id="17.1")) == delivery.Settlement(state=State.SENT, platform_id="17.1")


def test_found_again_says_so():
    assert "found by its delivery id" in settled(Sent(platform_id="17.1", duplicate=True)).reason


@pytest.mark.parametrize("scope", list(Scope))
def test_429_waits_as_long_as_it_says_and_pauses_its_lane(scope):
    found = settled(RateLimited(retry_after=RETRY, scope=scope), attempt=9)
    assert (found.state, found.due_at, found.pause, found.pause_until) == (
        State.QUEUED,
        NOW + RETRY,
        scope,
        NOW + RETRY,
    )


def test_429_without_a_time_still_waits_a_little():
    assert settled(RateLimited(retry_after=timedelta(0))).due_at == NOW + timedelta(milliseconds=100)


def test_message_that_the_platform_refuses_ends_there():
    found = settled(Rejected(reason="too long", remedy="report it"))
    assert (found.state, found.reason, found.lose) == (State.REJECTED, "too long; report it", None)


@pytest.mark.parametrize("scope", [Scope.CHANNEL, Scope.WORKSPACE, Scope.PLATFORM])
def test_lost_place_holds_the_row(scope):
    found = settled(Rejected(reason="channel_not_found", remedy="invite it again", scope=scope))
    assert (found.state, found.lose) == (State.HELD, scope)


def test_unavailable_is_tried_again_and_unknown_is_looked_up():
    assert settled(Unavailable(reason="503"), attempt=3).state is State.QUEUED
    assert settled(Unavailable(reason="503"), attempt=3).due_at == NOW + timedelta(seconds=4)
    assert settled(Unknown(reason="cut")).state is State.UNKNOWN


@pytest.mark.parametrize("outcome", [Unavailable(reason="503"), RateLimited(retry_after=RETRY), Unknown(reason="cut")])
def test_refused_look_into_the_history_leaves_the_row_unknown(outcome):
    assert settled(outcome, uncertain=True).state is State.UNKNOWN


@pytest.mark.parametrize("outcome", [Unavailable(reason="503"), RateLimited(retry_after=RETRY), Unknown(reason="cut")])
def test_after_a_day_it_is_given_up(outcome):
    day = delivery.GIVE_UP_AFTER
    assert settled(outcome, now=NOW + day).state is not State.FAILED
    late = settled(outcome, now=NOW + day + timedelta(milliseconds=1))
    assert late.state is State.FAILED
    assert late.reason.startswith("given up after a day: ")


def test_back_off_doubles_up_to_a_minute():
    assert [backoff(attempt).total_seconds() for attempt in (1, 2, 3, 6, 7, 8, 5000)] == [1, 2, 4, 32, 60, 60, 60]
