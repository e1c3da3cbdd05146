"""Post lines to recorded alerts, in a process of its own, so that its memory is the service's and nobody else's."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bot
from bot import admin, app, config
from bot.benching import machine, workload
from bot.domain import errors
from bot.domain.access import ProviderSet
from bot.domain.alert import Alert
from bot.ingest.replay import ReplaySource
from bot.store import deliveries, posts

TOLD_EVERY_S = 0.5


def measure(settings: config.Model, count: int, advance: Callable[[int], None]) -> dict[str, Any]:
    """Run the child on ``count`` Post lines. Raises TocsinError where it fails; it never outlives this call."""
    with tempfile.TemporaryDirectory(prefix="tocsin-bench-") as folder:
        file = Path(folder) / "posts.jsonl"
        with file.open("wb") as stream:
            stream.writelines(workload.to_lines(workload.posts(count)))
        arguments = [sys.executable, "-m", "bot.benching", str(file), settings.model_dump_json()]
        path = os.pathsep.join(filter(None, [str(Path(bot.__file__).parent.parent), os.environ.get("PYTHONPATH")]))
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}) as child:  # noqa: S603
            try:
                found = _follow(child, advance)
            finally:
                child.kill()
    if found is None:
        raise errors.TocsinError("bench: the whole pipeline failed in its own process; what it said stands above")
    return found


def _follow(child: "subprocess.Popen[bytes]", advance: Callable[[int], None]) -> dict[str, Any] | None:
    """Pass on how far the child is; returns its result, which is its last line."""
    found, before = None, 0
    for line in child.stdout or ():
        said = json.loads(line)
        if "done" not in said:
            found = said
            continue
        advance(said["done"] - before)
        before = said["done"]
    return found if child.wait() == 0 else None


async def run(file: str, settings: config.Model) -> dict[str, Any]:
    """In the child: the pipeline as ``replay`` runs it, on a throw-away store; tells on stdout how far it is."""
    source = ReplaySource("bench", [file])
    classifier, gazetteer = app.load_classifier(settings), app.load_gazetteer()
    revisions: list[str] = []

    async def on_raised(view: ProviderSet, alert: Alert) -> None:
        del view
        revisions.append(alert.id)

    loaded = machine.memory()
    with app.throwaway() as database:
        await database.write(admin.first_run, app.now(), ["*"])
        service = app.Service(database, classifier, gazetteer, on_raised=on_raised)
        telling = asyncio.create_task(_tell(source), name="progress")
        watch = machine.Stopwatch()
        await service.play(source)
        spent = watch.read()
        telling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await telling
        candidates = await database.read(posts.next_seq) - 1
        queued = len(await database.read(deliveries.listed))
    used = machine.memory()
    return {
        "stage": "whole pipeline", "unit": "posts", **spent.rates(source.good),
        "what": f"{candidates} candidates, {len(revisions)} revisions, {queued} deliveries recorded",
        "candidates": candidates, "revisions": len(revisions), "deliveries": queued,
        "memory": {"loaded_mib": loaded["now_mib"], "peak_mib": used["peak_mib"], "end_mib": used["now_mib"]},
    }  # fmt: skip


async def _tell(source: ReplaySource) -> None:
    while True:
        tell({"done": source.good})
        await asyncio.sleep(TOLD_EVERY_S)


def tell(said: dict[str, Any]) -> None:
    """One JSON line on stdout."""
    sys.stdout.write(json.dumps(said) + "\n")
    sys.stdout.flush()
