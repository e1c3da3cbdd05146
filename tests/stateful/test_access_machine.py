"""Grant, revoke, approve, reinstate, press, claim, send, crash: whatever the order, nothing is sent that may not be.

The acts and what must hold of them are ``universe``'s, what may be seen is ``model``'s.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tests.stateful.universe import Universe

OFTEN = ("post", "claim", "answer", "flow", "revoke", "wait")
SELDOM = (
    "grant", "add_channel", "reinstate", "approve", "suspend", "resume", "set_terms", "tune", "press", "delete_post",
    "idle", "tend", "lose", "restore", "crash", "arm", "intrude",
)  # fmt: skip


class AccessMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="tocsin-test-")
        self.universe = Universe(Path(self.folder.name), lambda pool: pool[0])

    def teardown(self) -> None:
        try:
            self.universe.end()
            assert not self.universe.duplicates()
        finally:
            self.universe.close()
            self.folder.cleanup()

    @rule(data=st.data())
    def post_and_flow(self, data: st.DataObject) -> None:
        self._act(data, "post")
        self._act(data, "flow")

    @rule(data=st.data(), name=st.sampled_from(OFTEN))
    def often(self, data: st.DataObject, name: str) -> None:
        self._act(data, name)

    @rule(data=st.data(), name=st.sampled_from(SELDOM))
    def seldom(self, data: st.DataObject, name: str) -> None:
        self._act(data, name)

    @invariant()
    def what_always_holds(self) -> None:
        self.universe.check()

    @invariant()
    def every_fence_can_be_proved(self) -> None:
        self.universe.prove()

    def _act(self, data: st.DataObject, name: str) -> None:
        def pick(pool: Any) -> Any:
            return data.draw(st.sampled_from(list(pool)))

        self.universe.pick = pick
        try:
            getattr(self.universe, name)()
        finally:
            self.universe.pick = lambda pool: pool[0]


AccessMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("TOCSIN_EXAMPLES", "25")), stateful_step_count=40, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip
TestAccess = AccessMachine.TestCase
