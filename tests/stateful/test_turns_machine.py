"""Whatever is queued, held, answered and withdrawn: a turn that has come is taken, and every row ends."""

import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from bot import admin, pressing, revoking, tuning
from bot.admin import Actor
from bot.domain import channel as channels
from bot.domain.alert import Kind, Level, event_id
from bot.domain.delivery import RateLimited, Rejected, Scope, Settlement, State, Unavailable, Unknown
from bot.domain.post import Deletion
from bot.domain.quieting import QuietHours
from bot.pipeline import digesting, throttling
from bot.platforms.base import Action, Press
from bot.store import claiming, deliveries
from tests.factories import make_alert
from tests.worlds import OPERATOR, World

C1, C2 = "slack:T0123/C1", "slack:T0123/C2"
HERE = channels.parse(C1)


def alert(number=1, **fields):
    key = f"bluesky|{number}"
    return make_alert(**{"event": event_id(key), "evidence": (key,), "quotes": (key,)} | fields)


NUMBERS = st.integers(1, 2)
KINDS = st.sampled_from([Kind.UPDATE, Kind.UPDATE, Kind.CORRECTION, Kind.RETRACTION])
LEVELS = st.sampled_from(list(Level))
OUTCOMES = st.sampled_from([
    None, None, None, RateLimited(retry_after=timedelta(seconds=5)), RateLimited(retry_after=timedelta(minutes=5)),
    RateLimited(retry_after=timedelta(seconds=5), scope=Scope.WORKSPACE), Unavailable(reason="503"),
    Unknown(reason="reset"), Rejected(reason="no", remedy="none"),
    Rejected(reason="gone", remedy="invite it", scope=Scope.CHANNEL),
])  # fmt: skip
ENDED = {"sent", "digested", "withheld", "superseded", "failed", "rejected"}


class UndoneError(Exception):
    """When the next turn comes after all that were due; what they did is rolled back."""


class Turns(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.world = World(Path(self.folder.name) / "store.db")
        self.world.org()
        for name in (C1, C2):
            self.world.channel(name)
        self.revisions = dict.fromkeys(range(1, 5), 0)
        self.flying = []
        self.revoked = None

    def teardown(self):
        try:
            self.finish()
        finally:
            self.world.close()
            self.folder.cleanup()

    @rule(number=NUMBERS, level=LEVELS, kind=KINDS)
    def raise_alert(self, number, level, kind):
        self.revisions[number] += 1
        revision = self.revisions[number]
        made = alert(
            number, revision=revision, kind=Kind.NEW if revision == 1 else kind, level=level, change="more voices"
        )
        view = self.world.view()
        if not view.empty:
            self.world.record(made, view=view, steps=[self.world.candidate(f"bluesky|{number}-{revision}")])

    @rule()
    def claim(self):
        self.flying += self.world.claim()

    @rule(outcome=OUTCOMES, which=st.integers(0, 3))
    def settle(self, outcome, which):
        if self.flying:
            self.world.settle(self.flying.pop(which % len(self.flying)), outcome)

    @rule(seconds=st.sampled_from([1, 10, 600, 7200, 40_000, 90_000]))
    def wait(self, seconds):
        self.world.wait(seconds=seconds)

    @rule()
    def tend(self):
        self.world.write(digesting.release, self.world.now)
        self.world.write(throttling.tell, self.world.now)

    @rule(hours=st.sampled_from([None, 1, 100]))
    def mute(self, hours):
        if self.revoked is None:
            until = hours and self.world.now + timedelta(hours=hours)
            self.world.run(tuning.mute, OPERATOR, self.world.now, HERE, until)

    @rule(change=st.sampled_from(["quiet", "loud", "digest", "budget"]))
    def tune(self, change):
        if self.revoked is not None:
            return
        now = self.world.now
        match change:
            case "quiet" | "loud":
                around = QuietHours(start=(now - timedelta(hours=1)).time(), end=(now + timedelta(hours=3)).time())
                quiet = around if change == "quiet" else None
                self.world.run(tuning.set_quiet_hours, OPERATOR, now, HERE, quiet, None)
            case "digest":
                self.world.run(tuning.set_digest, OPERATOR, now, HERE, ((now + timedelta(hours=2)).time(),), None)
            case _:
                self.world.run(tuning.set_budget, OPERATOR, now, HERE, 1)

    @rule(back=st.booleans())
    def lose(self, back):
        if back:
            self.world.write(admin.record_return, self.world.now, C1)
        else:
            self.world.write(admin.record_loss, self.world.now, C1, "the bot was removed")

    @rule(retract=st.booleans())
    def revoke(self, retract):
        if self.revoked is None:
            self.revoked = self.world.revoke(channel=C1, retract=retract).revocation

    @rule()
    def reinstate(self):
        if self.revoked is not None:
            self.world.act(revoking.reinstate, self.revoked, "settled")
            self.revoked = None

    @rule(number=NUMBERS)
    def delete(self, number):
        self.world.record(steps=[Deletion(provider="bluesky", id=str(number), deleted_at=self.world.now)])

    @rule(action=st.sampled_from([Action.ACKNOWLEDGE, Action.MUTE]), which=st.integers(0, 7))
    def press(self, action, which):
        posts = self.world.rows(act="post", state="sent", channel=C1)
        if posts and self.revoked is None:
            pressed = Press(
                action=action, delivery=posts[which % len(posts)]["delivery"], actor="slack:T0123/U1", channel=HERE,
                value="1h",
            )  # fmt: skip
            actor = Actor(id=pressed.actor, surface="slack", member=HERE.workspace)
            self.world.write(pressing._press, actor, self.world.now, pressed)

    @invariant()
    def no_turn_that_has_come_is_left(self):
        """Otherwise a worker would ask at once, and again. Tried and undone, so that queues can grow."""
        with pytest.raises(UndoneError) as undone:
            self.world.write(self._take_turns)
        due = undone.value.args[0]
        assert due is None or due > self.world.now

    def _take_turns(self, db):
        now = self.world.now
        while claimed := claiming.claim_due(db, platform="slack", at=now, most=16):
            for sending in claimed:
                sent = Settlement(state=State.SENT, platform_id="ts")
                claiming.settle(db, sending, sent, at=now, spacing_until=now)
        raise UndoneError(claiming.next_due(db, "slack", now))

    def finish(self):
        """Nothing is lost: everything ends, with a reason where it was not told."""
        while self.flying:
            self.world.settle(self.flying.pop())
        for channel in (C1, C2):
            self.world.write(admin.record_return, self.world.now, channel)
        for _ in range(12):
            self.world.wait(hours=12)
            self.world.write(digesting.release, self.world.now)
            self.world.deliver_all()
        for row in self.world.rows():
            assert row["state"] in ENDED, row
            assert row["reason"] or row["state"] in ("sent", "digested"), row
        for row in self.world.write(lambda db: list(db.query("SELECT * FROM deliveries WHERE state = 'digested'"))):
            digest = self.world.write(deliveries.get, row["digest"])
            assert digest["state"] == "sent", (row, digest)


Turns.TestCase.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestTurns = Turns.TestCase
