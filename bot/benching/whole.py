"""Post lines to recorded alerts, in a process of its own, so that its memory is the service's and nobody else's."""

import asyncio
import contextlib
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bot import admin, app, config
from bot.benching import child, machine, workload
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
        return child.run(["whole", str(file), settings.model_dump_json()], "the whole pipeline", advance)


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
        child.tell({"done": source.good})
        await asyncio.sleep(TOLD_EVERY_S)
