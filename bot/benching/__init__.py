"""``tocsin bench``: throughput of each stage and of the whole, latency, memory, and how soon a revocation takes hold.

Real components only; the chat server is a small one on this machine, the stores are throw-away ones. Figures of one
run, like those of two, can be compared on a quiet machine only; ours : naive, taken turn about, is the least disturbed
by other work, but not free of it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from bot import app, printing
from bot.benching import access, delivery, detection, fence, ingest, latency, machine, naive, stages, whole, workload
from bot.commands import Answer
from bot.config import Config

PARTS = ("whole", "stages", "ingest", "detection", "latency", "revocation", "access", "delivery", "naive")
LATENCY_S = 30.0
FENCE_CHANNELS = 30  # of each organisation
FENCE_ALERTS = 6
FENCE_ROUNDS = 3


def bench(
    settings: Config,
    *,
    posts: int,
    only: Collection[str] = (),
    latency_s: float = LATENCY_S,
    fence_channels: int = FENCE_CHANNELS,
    fence_rounds: int = FENCE_ROUNDS,
    naive_rounds: int = naive.ROUNDS,
    frames: int = ingest.FRAMES,
    ingest_rounds: int = ingest.ROUNDS,
    live: int = detection.LIVE,
    audit_entries: int = access.ENTRIES,
    delivery_channels: int = delivery.CHANNELS,
    delivery_alerts: int = delivery.ALERTS,
) -> Answer:
    """Measure ``only`` these ``PARTS``, or all. ``posts`` is for throughput and memory; the rest has its own sizes."""
    parts = [part for part in PARTS if part in only or not only]
    data: dict[str, Any] = {"machine": machine.describe(), "posts": posts, "stages": []}
    with _progress() as step:
        if "whole" in parts:
            with step("whole pipeline", posts) as advance:
                row = whole.measure(settings.model, posts, advance)
            data["memory"] = row.pop("memory") | {"posts": row["items"]}
            data["stages"].append(row)
        if "ingest" in parts:
            with step("ingest", frames * len(ingest.WAYS) * ingest_rounds) as advance:
                data["ingest"] = asyncio.run(ingest.measure(frames, ingest_rounds, advance))
        if "detection" in parts:
            with step("live posts", live) as advance:
                data["detection"] = detection.measure(live, advance)
        classifier, gazetteer = app.load_classifier(settings.model), app.load_gazetteer()
        if "stages" in parts:
            with step("stages", posts + 2 * min(posts, stages.MODEL_MOST)) as advance:
                data["stages"] = stages.measure(classifier, gazetteer, posts, advance) + data["stages"]
        if "latency" in parts:
            with step("latency", round(latency_s * latency.RATE)) as advance:
                data["latency"] = asyncio.run(latency.measure(classifier, gazetteer, latency_s, advance))
        if "revocation" in parts:
            with step("revocation", len(fence.TEAMS) * fence_channels * FENCE_ALERTS * fence_rounds) as advance:
                measured = fence.measure(classifier, gazetteer, fence_channels, FENCE_ALERTS, fence_rounds, advance)
                data["revocation"] = asyncio.run(measured)
        if "delivery" in parts:
            with step("delivery", delivery.total(delivery_channels, delivery_alerts)) as advance:
                data["delivery"] = asyncio.run(delivery.measure(delivery_channels, delivery_alerts, advance))
        if "access" in parts:
            with step("access", access.STEPS) as advance:
                data["access"] = access.measure(access.ORGANISATIONS, access.QUEUED, audit_entries, advance)
        if "naive" in parts:
            with step("naive alternative", naive_rounds * naive.SLICE * (1 + len(naive.BATCHES))) as advance:
                texts = [post.text for post in workload.posts(min(posts, stages.MODEL_MOST))]
                data["naive"] = naive.measure(classifier, texts, settings.model.threads, naive_rounds, advance)
    data["machine"]["load_after"] = machine.describe()["load"]
    return Answer(text=_text(data), data=data)


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int], contextlib.AbstractContextManager[Callable[[int], None]]]]:
    """A line a part on stderr: ``with step(name, total) as advance``."""
    columns = (TextColumn("{task.description:<18}"), BarColumn(), TextColumn("{task.completed}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=2) as shown:

        @contextlib.contextmanager
        def step(name: str, total: int) -> Iterator[Callable[[int], None]]:
            task = shown.add_task(name, total=total)
            yield lambda count: shown.advance(task, count)
            shown.update(
                task, total=max(1.0, shown.tasks[task].completed), completed=max(1.0, shown.tasks[task].completed)
            )

        yield step


def _text(data: dict[str, Any]) -> str:
    at = data["machine"]
    parts = [
        f"{at['cpu']}, {at['usable_cores']} of {at['cores']} cores, {at['memory_mib']} MiB, {at['system']}\n"
        f"Python {at['python']}, onnxruntime {at['onnxruntime']}, transformers {at['transformers']}, "
        f"SQLite {at['sqlite']}; load {at['load']} before, {at['load_after']} after"
    ]
    if data["stages"]:
        parts.append(_rates(data["stages"]))
    if "naive" in data:
        parts.append(_naive(data["naive"]))
    if "memory" in data:
        used = data["memory"]
        parts.append(
            f"memory of the whole pipeline's process: {used['loaded_mib']} MiB when loaded, "
            f"{used['peak_mib']} MiB at its peak, {used['end_mib']} MiB after {used['posts']} posts"
        )
    if "ingest" in data:
        parts.append(ingest.told(data["ingest"]))
    if "detection" in data:
        parts.append(_detection(data["detection"]))
    if "latency" in data:
        parts.append(_latency(data["latency"]))
    if "revocation" in data:
        parts.append(_revocation(data["revocation"]))
    if "access" in data:
        parts.append(access.told(data["access"]))
    if "delivery" in data:
        parts.append(delivery.describe(data["delivery"]))
    return "\n\n".join(parts)


def _rates(rows: list[dict[str, Any]]) -> str:
    shown = [_rate(row) | {"what": row["what"]} for row in rows]
    return printing.table(shown, list(shown[0]))


def _rate(row: dict[str, Any]) -> dict[str, str]:
    return {
        "stage": row["stage"],
        "per second": f"{row['per_second']:,.0f} {row['unit']}" if row["per_second"] else "-",
        "of": f"{row['items']:,}",
        "seconds": f"{row['seconds']:.2f}" if "seconds" in row else "-",
        "CPU s": f"{row['cpu_seconds']:.2f}" if "cpu_seconds" in row else "-",
    }


def _naive(rows: list[dict[str, Any]]) -> str:
    shown = [
        _rate(row)
        | {"ours : it": f"{row['ratio']:g} : 1" if row["ratio"] else "-", "what": row.get("why_not") or row["what"]}
        for row in rows
    ]
    said = [printing.table(shown, list(shown[0]))]
    compared = [row for row in rows if row["ratio"]]
    if compared:
        rounds, items = compared[0]["rounds"], compared[0]["items"]
        spans = "; ".join(f"{row['stage']} {min(row['ratios']):g} to {max(row['ratios']):g}" for row in compared)
        said.append(
            f"ours : it is the median of the ratios of {rounds} rounds ({spans});\n"
            f"  in a round ours and both batch sizes classify the same {items // rounds} posts, one way after the "
            "other, each round beginning with another way"
        )
    return "\n".join(said)


def _detection(found: dict[str, Any]) -> str:
    used, bounds = found["memory"], found["bounds"]
    verdict = "met" if found["met"] else "NOT met"
    slow = found["deletion_ms"]
    deletion = "" if slow is None else f"; a deletion from the largest event takes {slow} ms"
    return (
        f"detection with {found['live_posts']:,} live posts in {found['clusters']:,} clusters, one thread: "
        f"{found['per_second']:,.0f} candidates/s, {found['per_cpu_second']:,.0f} a CPU second{deletion}\n"
        f"  goal {found['goal_per_second']:,.0f} a CPU second: {verdict}; memory {used['empty_mib']} MiB empty, "
        f"{used['full_mib']} MiB with them; at most {bounds['posts']:,} posts in {bounds['clusters']:,} clusters of at "
        f"most {bounds['posts_of_a_cluster']:,}"
    )


def _latency(found: dict[str, Any]) -> str:
    said = f"latency at {found['rate']:g} posts/s, arrival to chat.postMessage: "
    if found["met"] is None:
        return said + "no alert was raised in so few posts"
    verdict = "met" if found["met"] else "NOT met"
    return (
        said + f"p50 {found['p50_ms']} ms, p99 {found['p99_ms']} ms, max {found['max_ms']} ms\n"
        f"  {found['count']} messages from {found['posts']} posts ({found['reports']} reports) in {found['channels']} "
        f"channels; {found['behind_spacing']} stood behind another message of their channel (Slack: 1 a second)\n"
        f"  goal p50 ≤ {found['goal_p50_ms']:g} ms, p99 ≤ {found['goal_p99_ms']:g} ms: {verdict}"
    )


def _revocation(found: dict[str, Any]) -> str:
    after = found["last_after_commit_ms"]
    return (
        f"revocation amid {found['queued']} queued deliveries to {found['channels']} channels of "
        f"{found['organisations']} organisations, {found['rounds']} times: "
        f"last message {_ms(found['last_ms'])} after revoke was called, {_ms(after)} after its commit\n"
        f"  {found['before']} had arrived, {found['withheld']} were withheld, {found['in_flight']} listed in flight, "
        f"{found['after_fence']} came after the fence, {found['unlisted']} of them not listed\n"
        f"  revoke took at most {found['revoke_ms']} ms; the other organisations got {found['others_sent']} of "
        f"{found['others_queued']}; {found['received_twice']} messages came twice"
    )


def _ms(value: float | None) -> str:
    return "none" if value is None else f"{value} ms"
