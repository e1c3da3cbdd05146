"""``python -m tests.acceptance.kills [N]``: the real service, killed N times (20) at each named point with an
organisation's access withdrawn while it runs or lies dead; then it is started again and everything is counted.

Exit status 1 where a message came after a fence that did not report it as in flight, where somebody who was not touched
was told too little or twice, or where the service was never killed at a point.
"""

import argparse
import asyncio
import itertools
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bot import crashpoints
from tests.acceptance import stage
from tests.acceptance.stage import CHANNELS, Process, Script, Stage, until

AT_ONCE = 3  # stages beside each other
PACE_S = 12  # how long the stream takes
# The first message comes at the third passing or so of some forty; withdrawing takes until the tenth.
WHILE_RUNNING, BEFORE = range(16, 28), range(3, 18)


@dataclass(frozen=True, kw_only=True)
class Kill:
    """``number``: which passing of the point is the last. ``dead``: access is withdrawn when it has died already."""

    point: str
    number: int
    victim: str
    dead: bool


@dataclass(frozen=True, kw_only=True)
class Told:
    """``reached``: it died at the point, not when all was done; ``dead``: before the fence. ``in_flight``: what the
    fence reported; ``late``: writes to the victim's channel after it, ``beyond``: those that it did not report.
    ``problem``: what else is wrong; empty: nothing."""

    kill: Kill
    reached: bool
    dead: bool
    withheld: int
    in_flight: int
    late: int
    beyond: int
    problem: str = ""


def plan(n: int) -> list[Kill]:
    """``n`` kills at each point, at different passings, with each organisation the victim in turn."""
    passings = (WHILE_RUNNING, BEFORE)
    return [
        Kill(point=point, number=passings[i % 2][i * 7 % len(passings[i % 2])], victim=victim, dead=bool(i % 2))
        for point in crashpoints.POINTS
        for i, victim in zip(range(n), itertools.cycle(CHANNELS), strict=False)
    ]


async def carry_out(folder: Path, script: Script, kill: Kill, name: str) -> Told:
    async with stage.open_stage(folder, script, name) as on:
        on.write_config(pace=stage.STREAM_S / PACE_S)
        process = on.start(TOCSIN_CRASH_AT=f"{kill.point}:{kill.number}")
        if not kill.dead:
            await until(
                "the victim gets something, or it dies",
                lambda: on.standing(kill.victim) or _ended(process),
                timeout_s=120,
            )
            revoked = await _revoke(on, kill.victim)
            died_first = process.ended is not None
        await until("it dies or is done", lambda: _ended(process) or on.settled(), timeout_s=120)
        reached = process.ended == -signal.SIGKILL
        process.kill()
        if kill.dead:
            revoked, died_first = await _revoke(on, kill.victim), True
        restarted = on.start()
        await on.until_settled(timeout_s=120)
        await restarted.stop()
        return await _count(on, kill, revoked, dead=died_first, reached=reached)


def table(found: Sequence[Told]) -> str:
    head = (
        "killed at",
        "times",
        "reached",
        "revoked running",
        "revoked dead",
        "withheld",
        "in flight",
        "late",
        "beyond",
        "wrong",
    )
    lines: list[tuple[str, ...]] = [head]
    for point in crashpoints.POINTS:
        mine = [each for each in found if each.kill.point == point]
        dead = sum(each.dead for each in mine)
        sums = [sum(getattr(each, name) for each in mine) for name in ("withheld", "in_flight", "late", "beyond")]
        wrong = sum(bool(each.problem) for each in mine)
        lines.append(
            (point, *map(str, (len(mine), sum(each.reached for each in mine), len(mine) - dead, dead, *sums, wrong)))
        )
    widths = [max(len(line[n]) for line in lines) for n in range(len(head))]
    return "\n".join("  ".join(text.rjust(width) for text, width in zip(x, widths, strict=True)) for x in lines)


async def _revoke(on: Stage, victim: str) -> str:
    said = await on.tocsin("revoke", "--org", victim, "--reason", "contract ended")
    found = re.search(r"revocation (r[0-9a-f]+) holds", said)
    assert found, said
    return found[1]


async def _count(on: Stage, kill: Kill, revocation: str, *, dead: bool, reached: bool) -> Told:
    (proof,), (chain,) = await on.tocsin_many(["revocation", "show", revocation], ["audit", "verify"])
    effect = proof["effect"]
    fence = stage.unix(effect["committed_at"])
    notices = {each["delivery"] for each in on.deliveries(kill.victim) if each["act"] == "notice"}
    late = [each for each in on.writes(kill.victim) if each.at > fence and each.delivery not in notices]
    reported = {*effect["in_flight"], *([None] if effect["in_flight"] else [])}  # None: a thread has no room for the id
    beyond = [each for each in late if each.delivery not in reported]
    problems = [f"claimed after the fence: {each}" for each in proof["claimed_after"]]
    for org in set(CHANNELS) - {kill.victim}:
        try:
            on.assert_complete(org)
        except AssertionError as error:
            problems.append(str(error).splitlines()[0])
    told = on.told(kill.victim)
    if len(told) != len(set(told)) or not set(told) <= on.script.expected[kill.victim]:
        problems.append(f"{kill.victim} was told something twice, or what nobody else was")
    if not chain["ok"]:
        problems.append("the audit's chain is broken")
    return Told(
        kill=kill, reached=reached, dead=dead, withheld=effect["withheld"], in_flight=len(effect["in_flight"]),
        late=len(late), beyond=len(beyond), problem="; ".join(problems),
    )  # fmt: skip


def _ended(process: Process) -> bool:
    return process.ended is not None


async def carry_out_all(folder: Path, script: Script, kills: Sequence[Kill]) -> list[Told]:
    room = asyncio.Semaphore(AT_ONCE)

    async def one(number: int, kill: Kill) -> Told:
        async with room:
            return await carry_out(folder, script, kill, f"{kill.point}-{number}")

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(number, kill)) for number, kill in enumerate(kills)]
    return [task.result() for task in tasks]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.acceptance.kills", description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=20, help="at each point")
    asked = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="tocsin-kills-") as folder:
        script = Script.prepare(Path(folder))
        found = asyncio.run(carry_out_all(Path(folder), script, plan(asked.kills)))
    print(table(found))  # noqa: T201
    for each in found:
        if each.problem or each.beyond:
            print(f"{each.kill}: {each.problem or 'messages beyond what was in flight'}")  # noqa: T201
    everywhere = {each.kill.point for each in found if each.reached} == set(crashpoints.POINTS)
    return 0 if everywhere and not any(each.problem or each.beyond for each in found) else 1


if __name__ == "__main__":
    sys.exit(main())
