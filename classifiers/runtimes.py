"""The same network in several inference runtimes, in one run: speed, agreement, memory, loading time, neighbours.

Each row of the table is a fresh process; they are asked in turns, so that a machine that slows down slows all of them.
No part of the service: needs the extra `train`; openvino, nncf and ctranslate2 are compared where they are installed.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from classifiers import engines, naive
from classifiers.api import CANDIDATE

Figures = dict[str, Any]
Array = engines.Array

ROUNDS, ROUND_TEXTS, NEIGHBOURS, CALIBRATION_TEXTS = 5, 256, 128, 300
BATCH, WINDOW = 32, 256
PIPELINE = "transformers.pipeline float32"


def compare(run: Path, shared: Path, *, texts: int = 1000, threads: int = 2) -> Figures:
    """Every runtime over `texts` posts, half ordinary, half of held-out events. Raises DataError, ModelError."""
    from classifiers import data

    corpus, draw = data.load(shared), random.Random(11)
    rows = draw.sample(corpus.background, texts // 2) + draw.sample(corpus.held_out, texts - texts // 2)
    sample = [row.text for row in draw.sample(rows, len(rows))]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        shutil.copyfile(run / "tokenizer" / "tokenizer.json", folder / "tokenizer.json")
        reference, problems = engines.prepare(
            run, folder, sample, [row.text for row in draw.sample(corpus.train, CALIBRATION_TEXTS)]
        )
        lengths = [ids.size for ids in (feed["input_ids"] for feed in engines.feeds_of(folder, sample))]
        return {
            "texts": texts, "threads": threads, "rounds": ROUNDS, "tokens_mean": statistics.fmean(lengths),
            "machine": _machine(), "rows": _rows(folder, sample, reference, problems, threads),
        }  # fmt: skip


def markdown(figures: Figures) -> str:
    """The figures as a Markdown section; a runtime that did not run has its reason in the place of the figures."""
    lines = [
        f"{figures['texts']} posts of {figures['tokens_mean']:.0f} tokens on average, {figures['threads']} threads, "
        f"median of {figures['rounds']} rounds taken in turns; {figures['machine']}. Alone: each post by itself, not "
        f"padded. Batches: windows of {WINDOW} posts sorted by length, {BATCH} at a time, padded to the longest and "
        "masked; the pipeline's are unsorted, its head is untrained. Same side: of p = 0.5, against torch float32, "
        "uncalibrated; |Δp|: of the category that differs most; neighbours: greatest |Δp| of a post alone and in an "
        "unsorted batch. MB: growth of the process from its start to the end (to its peak).",
        "",
        "| runtime | posts | posts/s | × pipeline | posts/CPU s | same side | mean |Δp| | cosine mean (least) "
        "| neighbours | MB | loaded in s |".replace("|Δp|", "\\|Δp\\|"),
        "| --- | --- | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ]
    for row in figures["rows"]:
        start = f"| {row['runtime']} | {row['posts']} |"
        if "problem" in row:
            lines.append(f"{start} {row['problem'].replace('|', '/')} |" + " |" * 8)
            continue
        agreement = (
            f"{row['same_side']:.1%} | {row['gap_mean']:.4f} | {row['cosine_mean']:.4f} ({row['cosine_least']:.3f})"
            if "same_side" in row
            else "– | – | –"
        )
        ratio = f"{row['ratio']:.1f}" if row["ratio"] is not None else "–"
        lines.append(
            f"{start} {row['per_s']:.0f} | {ratio} | {row['per_cpu_s']:.0f} | {agreement} | "
            f"{row['neighbours']:.1e} | {row['mb']:.0f} ({row['peak_mb']:.0f}) | {row['load_s']:.1f} |"
        )
    return "\n".join(lines) + "\n"


def batches(lengths: Sequence[int], size: int, window: int) -> list[list[int]]:
    """Positions in groups of at most `size`: each window of arrivals sorted by length, so that little is padded."""
    groups = []
    for start in range(0, len(lengths), window):
        ordered = sorted(range(start, min(start + window, len(lengths))), key=lengths.__getitem__)
        groups += [ordered[at : at + size] for at in range(0, len(ordered), size)]
    return groups


def _rows(
    folder: Path, sample: Sequence[str], reference: tuple[Array, Array], problems: dict[str, str], threads: int
) -> list[Figures]:
    """Start a process a row, ask each in turn, stop them. A row that fails says why and the others go on."""
    rows: list[Figures] = [{"runtime": PIPELINE, "posts": "unsorted batches"}]
    rows += [{"runtime": r.name, "posts": posts} for r in engines.RUNTIMES for posts in ("alone", "batches")]
    needs = {runtime.name: runtime for runtime in engines.RUNTIMES}
    # Read when numpy and tokenizers are imported there: BLAS threads of its own would fight with the lanes.
    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "RAYON_NUM_THREADS": str(threads)}
    context, running = multiprocessing.get_context("spawn"), []
    for row in rows:
        runtime = needs.get(row["runtime"])
        problem = (engines.missing(runtime.needs) or problems.get(runtime.file)) if runtime else None
        if problem:
            row["problem"] = problem
            continue
        ours, theirs = context.Pipe()
        process = context.Process(
            target=_serve, args=(theirs, row["runtime"], row["posts"], folder, threads), daemon=True
        )
        process.start()
        theirs.close()
        running.append((row, ours, process))
        if "problem" not in (loaded := _ask(row, ours, [])):
            row["load_s"] = loaded["load_s"]

    for row, pipe, _ in running:
        answer = _ask(row, pipe, sample if row["runtime"] != PIPELINE else sample[:1])
        near = sample[:NEIGHBOURS]
        together = [_ask(row, pipe, near[at : at + BATCH]) for at in range(0, len(near), BATCH)]
        alone = [_ask(row, pipe, [text]) for text in near]
        if "problem" not in row:
            p, q = (np.concatenate([part["p"] for part in parts]) for parts in (together, alone))
            row |= {"neighbours": float(np.abs(p - q).max()), "rounds": []}
            row |= _agreement(reference, answer) if row["runtime"] != PIPELINE else {}
    texts = sample[:ROUND_TEXTS]
    for number in range(ROUNDS):
        for row, pipe, _ in running[:: -1 if number % 2 else 1]:
            answer = _ask(row, pipe, texts)
            if "problem" not in row:
                row["rounds"].append((len(texts) / answer["wall_s"], len(texts) / answer["cpu_s"]))
                row |= {key: answer[key] for key in ("mb", "peak_mb")}
    for _, pipe, process in running:
        with contextlib.suppress(OSError):
            pipe.send(None)
        process.join(10)
        if process.is_alive():
            process.terminate()
    for row in (row for row in rows if "problem" not in row):
        row["per_s"], row["per_cpu_s"] = (statistics.median(values) for values in zip(*row["rounds"], strict=True))
        pairs = zip(row["rounds"], rows[0].get("rounds", ()), strict=False)
        row["ratio"] = statistics.median([a[0] / b[0] for a, b in pairs]) if "problem" not in rows[0] else None
    return rows


def _ask(row: Figures, pipe: Any, texts: Sequence[str]) -> Figures:
    """The process's answer; a failure is noted in the row, and then nothing more is asked."""
    if "problem" in row:
        return {}
    try:
        if texts:
            pipe.send(list(texts))
        answer: Figures = pipe.recv()
    except (EOFError, OSError):
        answer = {"problem": "not run: its process ended"}
    if "problem" in answer:
        row["problem"] = answer["problem"]
    return answer


def _agreement(reference: tuple[Array, Array], answer: Figures) -> Figures:
    """Probabilities and embeddings against those of torch."""
    (p, e), (q, f) = reference, (answer["p"], answer["embeddings"])
    cosine = (e * f).sum(axis=1) / np.maximum(np.linalg.norm(e, axis=1) * np.linalg.norm(f, axis=1), 1e-12)
    same = (p.max(axis=1) >= CANDIDATE) == (q.max(axis=1) >= CANDIDATE)
    gap = np.abs(p - q).max(axis=1)
    figures = {"same_side": same, "gap_mean": gap, "cosine_mean": cosine}
    return {key: float(value.mean()) for key, value in figures.items()} | {"cosine_least": float(cosine.min())}


def _serve(pipe: Any, name: str, posts: str, folder: Path, threads: int) -> None:
    """A row's process: load, then answer lists of texts until None comes."""
    before, begun = _memory(), time.perf_counter()
    try:
        with _opened(name, posts, folder, threads) as classify:
            classify(["Flooding in the old town"])
            pipe.send({"load_s": time.perf_counter() - begun})
            while (texts := pipe.recv()) is not None:
                wall, cpu = time.perf_counter(), time.process_time()
                p, embeddings = classify(texts)
                answer = {"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu}
                grown = {key: value - before["mb"] for key, value in _memory().items()}
                pipe.send({"p": p, "embeddings": embeddings, **answer, **grown})
    except Exception as error:  # each library raises its own kinds; all mean that this row has no figures
        pipe.send({"problem": engines.problem(error)})


@contextlib.contextmanager
def _opened(name: str, posts: str, folder: Path, threads: int) -> Iterator[Callable[[Sequence[str]], Any]]:
    """Texts → probabilities (texts, categories) and embeddings. N threads of one lane each, whatever the runtime."""
    if name == PIPELINE:
        with naive.opened(threads=threads) as pipeline:
            yield lambda texts: (
                np.array(
                    [[p for _, p in sorted((e["label"], e["score"]) for e in row)] for row in pipeline(texts, BATCH)]
                ),
                None,
            )
        return
    runtime = next(runtime for runtime in engines.RUNTIMES if runtime.name == name)
    infer = runtime.open(folder / runtime.file, threads)
    size, at_once = (1, 16) if posts == "alone" else (BATCH, 1)
    with ThreadPoolExecutor(threads) as pool:

        def classify(texts: Sequence[str]) -> tuple[Array, Array]:
            feeds = engines.feeds_of(folder, texts)
            groups = batches([feed["input_ids"].shape[1] for feed in feeds], size, WINDOW)
            p: list[Any] = [None] * len(texts)
            embeddings: list[Any] = [None] * len(texts)

            def answer(some: Sequence[Sequence[int]]) -> None:
                for group in some:
                    logits, _, vectors = infer(engines.padded([feeds[at] for at in group]))
                    for at, logit, vector in zip(group, 1 / (1 + np.exp(-logits)), vectors, strict=True):
                        p[at], embeddings[at] = logit, vector

            list(pool.map(answer, [groups[at : at + at_once] for at in range(0, len(groups), at_once)]))
            return np.stack(p), np.stack(embeddings)

        yield classify


def _memory() -> dict[str, float]:
    """This process's resident MB now and at its peak; ru_maxrss would begin with the parent's."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return {key: int(lines[name].split()[0]) / 1024 for key, name in (("mb", "VmRSS"), ("peak_mb", "VmHWM"))}


def _machine() -> str:
    flags = {"avx2", "avx512_vnni", "avx512_bf16", "amx_int8"} & set(Path("/proc/cpuinfo").read_text("utf-8").split())
    return ", ".join([f"{os.cpu_count()} cores", *sorted(flags)])
