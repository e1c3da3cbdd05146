"""Every fault on every operation, through the real outbox: how many messages really exist on the server afterwards.

``python -m tests.contract.faults`` prints the table; ``test_faults`` runs the same list.
"""

import asyncio
import contextlib
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from bot import logs, metrics, printing
from bot.domain import delivery
from bot.domain.alert import Level
from tests.contract import stages
from tests.contract.places import Call, Ill, Kind, Place, Who
from tests.contract.stages import Stage
from tests.contract.steps import Command, DeletePost, Raise, Step, Update, Wait

# What a call may take where the server never answers; long enough for every call that is answered.
CUT_AFTER = timedelta(seconds=0.4)
GONE = "channel gone"
_ATTEMPTS = 10
_ILLS = {
    "slack": tuple(Ill),
    "discord": tuple(ill for ill in Ill if ill.value.partition(", ")[0] not in ("internal_error", "fatal_error")),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """``before`` is delivered undisturbed; what ``act`` queues meets the fault when it makes this ``call``.

    ``stands``: what has to exist in the end, and how often. ``unanswered``: a first attempt has arrived, and its answer
    got lost, so that what meets the fault is the look into the history.
    """

    name: str
    act: Sequence[Step]
    call: Call
    stands: Mapping[tuple[Kind, str], int]
    before: Sequence[Step] = ()
    unanswered: bool = False


OPERATIONS = [
    Operation(
        name="post", act=[Raise()], call=Call.POST,
        stands={(Kind.MESSAGE, "Explosion reported in Port Calder"): 1},
    ),
    Operation(
        name="edit", before=[Raise()], act=[Update()], call=Call.EDIT,
        stands={(Kind.MESSAGE, "Blast in Port Calder, revision 2"): 1, (Kind.REPLY, "more voices"): 1},
    ),
    Operation(
        name="first reply", before=[Raise()], act=[Update()], call=Call.OPEN_THREAD,
        stands={(Kind.MESSAGE, "Blast in Port Calder, revision 2"): 1, (Kind.REPLY, "more voices"): 1},
    ),
    Operation(
        name="next reply", before=[Raise(), Update()], act=[Update()], call=Call.POST,
        stands={(Kind.MESSAGE, "Blast in Port Calder, revision 3"): 1, (Kind.REPLY, "more voices"): 2},
    ),
    Operation(
        name="escalation", before=[Raise()], act=[Update(level=Level.FLASH)], call=Call.POST,
        stands={(Kind.MESSAGE, "Blast in Port Calder, revision 2"): 1, (Kind.LOUD, "more voices"): 1},
    ),
    Operation(
        name="retract", before=[Raise()], act=[DeletePost()], call=Call.DELETE,
        stands={(Kind.MESSAGE, "Explosion reported in Port Calder"): 0},
    ),
    Operation(
        name="digest", before=[Command("digest", {"hours": "00:00"}, Who.ADMIN)],
        act=[Raise(1), Raise(2), Wait(hours=24)], call=Call.POST,
        stands={(Kind.MESSAGE, "Digest: 2 events"): 1},
    ),
    Operation(
        name="notice", act=[Command("test", who=Who.ADMIN)], call=Call.POST,
        stands={(Kind.MESSAGE, "TEST: nothing has happened"): 1},
    ),
    Operation(
        name="find a post", act=[Raise()], call=Call.LIST, unanswered=True,
        stands={(Kind.MESSAGE, "Explosion reported in Port Calder"): 1},
    ),
    Operation(
        name="find a reply", before=[Raise(), Update()], act=[Update()], call=Call.LIST_THREAD, unanswered=True,
        stands={(Kind.MESSAGE, "Blast in Port Calder, revision 3"): 1, (Kind.REPLY, "more voices"): 2},
    ),
]  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """``counted``: how often the service itself says that it sent again without being able to look."""

    place: str
    operation: str
    fault: str
    exist: int
    expected: int
    duplicates: int
    losses: int
    counted: int
    states: tuple[str, ...]


def faults_of(place: Place, operation: Operation) -> list[str]:
    """A look into the history changes nothing, so it does not matter whether it was processed."""
    ills = [ill.value for ill in _ILLS[place.platform] if not (operation.unanswered and "processed" in ill.value)]
    return [*ills, GONE]


async def count(stage: Stage, operation: Operation, fault: str) -> Count:
    """In a channel of its own. Raises AssertionError where the fault did not happen."""
    place = stage.place
    await stage.move()
    for step in operation.before:
        await step.play(stage)
        await stage.deliver()
    unseen = metrics.resent_unseen_total.labels(place.platform)._value.get()
    if operation.unanswered:
        place.strike(Call.POST, Ill.RESET_AFTER)
    for step in operation.act:
        await step.play(stage)
    if fault == GONE:
        await _gone_and_back(stage)
    else:
        place.strike(operation.call, Ill(fault))
        with _short_calls(fault):
            await _until_struck(stage)
    await stage.deliver()
    found = dict.fromkeys(operation.stands, 0)
    for standing in place.standing():
        for kind, text in found:
            found[kind, text] += standing.kind is kind and text in standing.text
    return Count(
        place=place.name,
        operation=operation.name,
        fault=fault,
        exist=sum(found.values()),
        expected=sum(operation.stands.values()),
        duplicates=sum(max(0, found[each] - wanted) for each, wanted in operation.stands.items()),
        losses=sum(max(0, wanted - found[each]) for each, wanted in operation.stands.items()),
        counted=int(metrics.resent_unseen_total.labels(place.platform)._value.get() - unseen),
        states=tuple(row["state"] for row in await stage.rows()),
    )


async def _until_struck(stage: Stage) -> None:
    for _ in range(_ATTEMPTS):
        if not stage.place.unfired():
            return
        await stage.attempt()
        stage.world.wait(seconds=5)
    raise AssertionError(f"never happened: {stage.place.unfired()}")


async def _gone_and_back(stage: Stage) -> None:
    await _until_struck(stage)  # by the lost answer, if there is to be one
    stage.place.shut_out()
    await stage.deliver()
    assert "held" in {row["state"] for row in await stage.rows()}, f"{GONE}: nobody noticed"
    stage.place.let_in_silently()
    await stage.restore_channel()


@contextlib.contextmanager
def _short_calls(fault: str) -> Iterator[None]:
    """The outbox cuts calls sooner where one will hang."""
    before = delivery.CALL_TIMEOUT
    if fault in (Ill.TIMED_OUT.value, Ill.TIMED_OUT_AFTER.value):
        delivery.CALL_TIMEOUT = CUT_AFTER
    try:
        yield
    finally:
        delivery.CALL_TIMEOUT = before


async def counts(name: str, folder: Path, operations: Sequence[Operation]) -> AsyncIterator[Count]:
    """For one place: every fault on each of these operations."""
    place = stages.PLACES[name]()
    async with stages.setting(place, folder) as stage:
        for operation in operations:
            for fault in faults_of(place, operation):
                yield await count(stage, operation, fault)


async def _table() -> str:
    rows = []
    for name in stages.PLACES:
        with tempfile.TemporaryDirectory() as folder:
            rows += [each async for each in counts(name, Path(folder), OPERATIONS)]
    columns = ("place", "operation", "fault", "exist", "expected", "duplicates", "losses", "counted")
    lines = [printing.table([{name: getattr(row, name) for name in columns} for row in rows], list(columns))]
    for name in stages.PLACES:
        here = [row for row in rows if row.place == name]
        lines.append(
            f"{name}: {len(here)} cases, {sum(row.duplicates for row in here)} duplicates "
            f"({sum(row.counted for row in here)} counted as possible), {sum(row.losses for row in here)} losses"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    logs.configure(level="critical")
    sys.stdout.write(asyncio.run(_table()) + "\n")
