"""Which requests are Slack's, and what the audit hears of the others."""

from datetime import UTC, datetime, timedelta

import pytest
from slack_sdk.signature import SignatureVerifier

from bot.platforms.slack.refusals import Refusals
from bot.platforms.slack.signatures import Fault, Recent, Signatures

SECRET = "signing-secret"
BODY = b"command=%2Ftocsin"


class Clock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 23, 20, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def wait(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)

    def stamp(self, seconds: float = 0) -> str:
        return str(int(self.time.timestamp() + seconds))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def taken(clock: Clock) -> Signatures:
    return Signatures(SECRET, clock.now)


def sign(timestamp: str, body: bytes = BODY) -> str:
    signature = SignatureVerifier(SECRET).generate_signature(timestamp=timestamp, body=body)
    assert signature is not None
    return signature


@pytest.mark.parametrize(
    ("age", "fault"), [(0, None), (300, None), (301, Fault.STALE), (-300, None), (-301, Fault.STALE)]
)
def test_a_request_is_good_for_five_minutes_around_its_time(
    clock: Clock, taken: Signatures, age: float, fault: Fault | None
) -> None:
    stamp = clock.stamp(-age)
    assert taken.take(stamp, sign(stamp), BODY) is fault


def test_a_request_is_refused_a_second_time_for_as_long_as_it_would_be_good(clock: Clock, taken: Signatures) -> None:
    stamp = clock.stamp(300)
    assert taken.take(stamp, sign(stamp), BODY) is None
    for _ in range(600):
        assert taken.take(stamp, sign(stamp), BODY) is Fault.REPLAYED
        clock.wait(1)
    clock.wait(1)
    assert taken.take(stamp, sign(stamp), BODY) is Fault.STALE


def test_a_retry_is_signed_anew_and_taken(clock: Clock, taken: Signatures) -> None:
    for _ in range(3):
        stamp = clock.stamp()
        assert taken.take(stamp, sign(stamp), BODY) is None
        clock.wait(60)


def test_what_could_not_be_carried_out_may_come_again(clock: Clock, taken: Signatures) -> None:
    stamp = clock.stamp()
    assert taken.take(stamp, sign(stamp), BODY) is None
    taken.forget(sign(stamp))
    assert taken.take(stamp, sign(stamp), BODY) is None


def test_a_forged_request_is_not_remembered(clock: Clock, taken: Signatures) -> None:
    stamp = clock.stamp()
    assert taken.take(stamp, sign(stamp), b"another body") is Fault.FORGED
    assert taken.take(stamp, sign(stamp), BODY) is None


@pytest.mark.parametrize(
    ("timestamp", "signature", "fault"),
    [
        (None, "v0=1", Fault.UNSIGNED),
        ("1", None, Fault.UNSIGNED),
        ("", "", Fault.UNSIGNED),
        ("soon", "v0=" + "0" * 64, Fault.FORGED),
        ("-1", "v0=" + "0" * 64, Fault.FORGED),
        ("1e9", "v0=" + "0" * 64, Fault.FORGED),
        ("٣", "v0=" + "0" * 64, Fault.FORGED),
        ("9" * 5000, "v0=" + "0" * 64, Fault.FORGED),
        ("1", "v0=é", Fault.FORGED),
        ("1", "v1=" + "0" * 64, Fault.FORGED),
    ],
)
def test_nonsense_in_the_headers_is_refused(
    taken: Signatures, timestamp: str | None, signature: str | None, fault: Fault
) -> None:
    assert taken.take(timestamp, signature, BODY) is fault


def test_the_memory_is_bounded_and_the_oldest_goes_first(clock: Clock) -> None:
    recent = Recent(kept=timedelta(minutes=5), most=2)
    assert [recent.add(key, clock.now()) for key in ("a", "b", "c", "c")] == [True, True, True, False]
    assert recent.add("a", clock.now())


async def test_each_kind_of_refusal_is_audited_once_a_minute_with_the_count_of_the_rest(clock: Clock) -> None:
    entries: list[tuple[str, str]] = []

    async def audit(target: str, why: str) -> None:
        entries.append((target, why))

    refusals = Refusals(audit, clock.now)
    for _ in range(3):
        await refusals.note("/a", "stale")
        await refusals.note("/a", "forged")
    assert entries == [("/a", "stale"), ("/a", "forged")]
    clock.wait(60)
    await refusals.note("/a", "stale")
    await refusals.note("/b", "stale")
    assert entries[2:] == [("/a", "stale (2 more since the last entry)"), ("/b", "stale")]
    clock.wait(-3600)
    await refusals.note("/a", "forged")
    assert len(entries) == 5, "a clock that was set back does not silence it"
