"""The chat platform of the stateful tests: what arrived and what stands, and what it shall answer next."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

from bot.domain.delivery import Act, Found, Missing, Outcome, Sending, Sent, Unknown

SHOWING = ("post", "edit", "reply", "digest")


class Remote:
    """A ``Notifier``. ``next``: what it answers (None: it takes it); with ``arrives`` an Unknown has arrived."""

    platform = "slack"
    spacing = timedelta(0)
    per_second: float | None = None

    def __init__(self, on_arrival: Callable[[Sending], None]) -> None:
        self.arrived: Counter[str] = Counter()
        self.stands: dict[str, Sending | None] = {}  # message → what it shows; None: retracted
        self.next: Outcome | None = None
        self.next_found: Found | None = None
        self.arrives = True
        self._on_arrival = on_arrival

    async def send(self, sending: Sending) -> Outcome:
        if self.next is None or (isinstance(self.next, Unknown) and self.arrives):
            self.take(sending)
        return self.next or Sent(platform_id=platform_id(sending.delivery))

    async def find(self, sending: Sending) -> Found:
        if self.next_found is not None:
            return self.next_found
        if sending.delivery in self.arrived:
            return Sent(platform_id=platform_id(sending.delivery), duplicate=True)
        return Missing()

    def take(self, sending: Sending) -> None:
        self.arrived[sending.delivery] += 1
        self._on_arrival(sending)
        match sending.act:
            case Act.POST | Act.DIGEST:
                self.stands[platform_id(sending.delivery)] = sending
            case Act.EDIT | Act.REPLY | Act.RETRACT:
                assert sending.target_id in self.stands, f"{sending.act} of a message that never stood"
                if sending.act is Act.EDIT:
                    assert self.stands[sending.target_id] is not None, "a retracted message was edited"
                    self.stands[sending.target_id] = sending
                elif sending.act is Act.RETRACT:
                    self.stands[sending.target_id] = None


def platform_id(delivery: str) -> str:
    return f"ts-{delivery}"
