"""Any local Hugging Face model for text classification as a `Classifier`, its labels mapped to our categories.

torch is imported when one is loaded: the extra ``train`` brings it. Nothing is fetched, and no code from the model's
folder runs. What it answers is the model's own probability: nobody has calibrated it for our threshold of 0.5.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from classifiers.api import EMBEDDING_SIZE, Classification, ModelError, Screening
from classifiers.normalising import MAX_CHARACTERS
from classifiers.taxonomy import CATEGORIES

BATCH = 32
"""Texts that are padded to one length and go through the network together."""
MAX_TOKENS = 128
"""Longer texts are cut here, as the shipped model's are at 64; a model that reads less cuts earlier."""
DECIMALS = 5
"""Probabilities are rounded: how a batch is padded moves the seventh digit, and a post's neighbours must not count."""
LABELS_SHOWN = 40

_EXTRA = "pip install 'tocsin[train]'"

Floats = npt.NDArray[np.float64]


def load(folder: Path, labels: Mapping[str, str], *, device: str = "cpu", threads: int = 2) -> ForeignModel:
    """The model in `folder`; `labels` maps its labels to categories, `device` is `cpu` or `cuda`. Raises ModelError."""
    if not (folder / "config.json").is_file():
        what = "has no config.json" if folder.is_dir() else "does not exist"
        raise ModelError(f"model {folder}: the folder {what}; name the folder of a downloaded Hugging Face model")
    _demand_torch(folder, device)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch

    torch.set_num_threads(threads)
    network, tokenizer = _opened(folder)
    scoring = _scoring(folder, network.config)
    columns = _columns(folder, network.config.id2label, labels)
    batch = 1 if tokenizer.pad_token is None else BATCH  # with nothing to pad with, one by one
    if network.config.pad_token_id is None:
        network.config.pad_token_id = tokenizer.pad_token_id  # some networks look for it there
    model = ForeignModel(
        version=f"{folder.resolve().name}-{_weights_hash(folder)[:8]}",
        network=network.to(device).eval(),
        tokenizer=tokenizer,
        scoring=scoring,
        columns=columns,
        plan=Plan(device=device, batch=batch, tokens=_most_tokens(network.config, tokenizer)),
    )
    try:
        answer = model.classify(["The ground shook.", "", "Smoke over the harbour, " * 20])[0]
    except Exception as error:  # whatever a strange model does here, it would do with every post
        raise ModelError(f"model {folder}: it cannot classify a text ({_first_line(error)}); use another") from error
    if not np.isfinite([*answer.categories.values(), *answer.embedding]).all():
        raise ModelError(f"model {folder}: its answers are not numbers; download it again")
    return model


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where texts are computed, how many together, and how many tokens of each."""

    device: str
    batch: int
    tokens: int


class ForeignModel:
    """A `Classifier` without a screen and without places. Categories that no label is mapped to are always 0.

    The embedding is the mean of the last hidden states, normalised; a width other than 384 is brought there by a fixed
    random projection, which keeps cosines to about 1/√384 (Johnson–Lindenstrauss).
    """

    def __init__(
        self,
        *,
        version: str,
        network: Any,
        tokenizer: Any,
        scoring: str,
        columns: Mapping[str, Sequence[int]],
        plan: Plan,
    ) -> None:
        self.version = version
        self._network = network
        self._tokenizer = tokenizer
        self._exclusive = scoring == "softmax"
        self._columns = columns
        self._plan = plan

    def screen(self, texts: Sequence[str]) -> list[bool]:
        """True for each: the shipped screen imitates the shipped model only."""
        return [True] * len(texts)

    def screening(self, text: str) -> Screening:  # noqa: ARG002 (every text passes)
        """It passes, as every text does."""
        return Screening(passed=True)

    def classify(self, texts: Sequence[str]) -> list[Classification]:
        """Answers in the order of the texts; any number of texts, any text. One without a token reports nothing."""
        found: dict[int, Classification] = {}
        for numbers, logits, means, empty in self._batches(texts):
            scores = _softmax(logits) if self._exclusive else _sigmoid(logits)
            for number, row, mean, nothing in zip(numbers, scores, projected(means), empty, strict=True):
                found[number] = Classification(
                    categories=self._categories(row, nothing=nothing), places=(), embedding=mean, model=self.version
                )
        return [found[number] for number in range(len(texts))]

    def _categories(self, scores: Floats, *, nothing: bool) -> dict[str, float]:
        """Several labels of one category: the sum where the labels exclude each other, else the highest."""
        join = np.sum if self._exclusive else np.max
        return {
            category: 0.0
            if nothing or category not in self._columns
            else round(float(np.minimum(1.0, join(scores[list(self._columns[category])]))), DECIMALS)
            for category in CATEGORIES
        }

    def _batches(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Floats, Floats, list[bool]]]:
        """Numbers of the texts, logits, mean hidden states, and which had no token; shortest texts first."""
        import torch

        if not texts:
            return
        encoded = self._tokenizer(
            [_readable(text) for text in texts],
            truncation=True,
            max_length=self._plan.tokens,
            return_special_tokens_mask=True,
            return_token_type_ids=None,
        )
        special = encoded.pop("special_tokens_mask")
        order = sorted(range(len(texts)), key=lambda number: len(encoded["input_ids"][number]))
        for start in range(0, len(order), self._plan.batch):
            numbers = order[start : start + self._plan.batch]
            # A text without a single token, where the model adds none of its own, still has to be something.
            rows = {name: [values[number] or [0] for number in numbers] for name, values in encoded.items()}
            inputs = self._padded(rows)
            with torch.inference_mode():
                output = self._network(**inputs, output_hidden_states=True)
            states = _last_states(output)
            mask = inputs["attention_mask"].unsqueeze(-1).to(states.dtype)
            means = (states * mask).sum(1) / mask.sum(1).clamp(min=1.0)
            yield numbers, _array(output.logits), _array(means), [all(special[number]) for number in numbers]

    def _padded(self, rows: dict[str, list[list[int]]]) -> Any:
        import torch

        if self._plan.batch == 1:
            return {name: torch.tensor(values).to(self._plan.device) for name, values in rows.items()}
        return self._tokenizer.pad(rows, return_tensors="pt").to(self._plan.device)


def projected(means: Floats) -> npt.NDArray[np.float32]:
    """Vectors of any width, shape (texts, width), as unit vectors of shape (texts, 384); zero stays finite."""
    width = means.shape[1]
    if width != EMBEDDING_SIZE:
        # RandomState's stream is frozen by numpy's policy, unlike Generator's: embeddings in the store stay comparable.
        means = means @ np.random.RandomState(EMBEDDING_SIZE).standard_normal((width, EMBEDDING_SIZE))
    norms = np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-12)
    return np.asarray(means / norms, dtype=np.float32)


def _demand_torch(folder: Path, device: str) -> None:
    for name in ("torch", "transformers"):
        if importlib.util.find_spec(name) is None:
            raise ModelError(f"model {folder}: the backend transformers needs {name}, which is not installed; {_EXTRA}")
    if device == "cpu":
        return
    import torch

    if not torch.cuda.is_available():
        reason = "is built without CUDA" if torch.version.cuda is None else "sees no GPU"
        raise ModelError(
            f"model {folder}: device {device} cannot be used, torch {torch.__version__} {reason}; "
            'install torch for CUDA and the GPU\'s driver, or set device = "cpu"'
        )


def _opened(folder: Path) -> tuple[Any, Any]:
    """Network in float32 and tokenizer, from the folder alone. Raises ModelError."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    here = {"local_files_only": True, "trust_remote_code": False}
    _refuse_code(folder)
    with _quiet():
        try:
            network, report = AutoModelForSequenceClassification.from_pretrained(
                folder, **here, dtype="float32", output_loading_info=True
            )
        except Exception as error:  # each part of transformers raises its own kinds; all mean the same to the caller
            raise ModelError(
                f"model {folder}: it cannot be loaded ({_first_line(error)}); name the folder of a complete model for "
                "text classification"
            ) from error
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, **here)
        except Exception as error:
            raise ModelError(
                f"model {folder}: its tokenizer cannot be loaded ({_first_line(error)}); put its files into that folder"
            ) from error
    if len(tokenizer) <= len(tokenizer.all_special_tokens):  # transformers invents an empty one where there is none
        raise ModelError(f"model {folder}: its tokenizer is missing; put tokenizer.json or its vocabulary there")
    missing = sorted(report["missing_keys"])
    if missing:
        raise ModelError(
            f"model {folder}: its weights lack {', '.join(missing[:3])}, so it was never trained to classify; name a "
            "model that was fine-tuned for text classification"
        )
    return network, tokenizer


def _refuse_code(folder: Path) -> None:
    """Raises ModelError where config.json names Python code to run."""
    for name in ("config.json", "tokenizer_config.json"):
        if not (folder / name).is_file():
            continue
        try:
            settings = json.loads((folder / name).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ModelError(f"model {folder}: {name} is not JSON ({error}); download the model again") from error
        if isinstance(settings, dict) and settings.get("auto_map"):
            raise ModelError(
                f"model {folder}: {name} asks to run Python code that came with it (auto_map), which is never "
                "done here; use a model of a kind that transformers has built in"
            )


class _quiet:  # noqa: N801  a context manager that reads like a word
    """transformers' progress bars, warnings and log lines off, and as they were afterwards."""

    def __enter__(self) -> None:
        from transformers.utils import logging as said

        self._verbosity, self._bars = said.get_verbosity(), said.is_progress_bar_enabled()
        said.set_verbosity(logging.CRITICAL)
        said.disable_progress_bar()
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        warnings.simplefilter("ignore")

    def __exit__(self, *error: object) -> None:
        from transformers.utils import logging as said

        self._warnings.__exit__(None, None, None)
        said.set_verbosity(self._verbosity)
        if self._bars:
            said.enable_progress_bar()


def _scoring(folder: Path, settings: Any) -> str:
    """`sigmoid` or `softmax`, by the rule of transformers' own text-classification pipeline."""
    match settings.problem_type:
        case "multi_label_classification":
            return "sigmoid"
        case "single_label_classification":
            return "softmax"
        case None:
            return "sigmoid" if settings.num_labels == 1 else "softmax"
        case other:
            raise ModelError(
                f"model {folder}: it answers with {other}, not with labels; use a model for text classification"
            )


def _columns(folder: Path, names: Mapping[int, str], labels: Mapping[str, str]) -> dict[str, list[int]]:
    """Category → the model's outputs that stand for it. Raises ModelError."""
    at = {name: int(column) for column, name in names.items()}
    found: dict[str, list[int]] = {}
    for label, category in labels.items():
        if label not in at:
            shown = ", ".join(list(at)[:LABELS_SHOWN]) + (", …" if len(at) > LABELS_SHOWN else "")
            raise ModelError(f"model {folder}: it has no label {label!r}; name some of its own: {shown}")
        if category not in CATEGORIES:
            raise ModelError(f"label {label!r}: {category!r} is not a category; choose from {', '.join(CATEGORIES)}")
        found.setdefault(category, []).append(at[label])
    if not found:
        raise ModelError(f"model {folder}: none of its labels is mapped to a category; name some under [model] labels")
    return found


def _most_tokens(settings: Any, tokenizer: Any) -> int:
    """What the network has positions for; RoBERTa's begin two later than they are numbered."""
    positions = getattr(settings, "max_position_embeddings", None) or MAX_TOKENS + 2
    least = tokenizer.num_special_tokens_to_add() + 1
    return int(max(least, min(MAX_TOKENS, tokenizer.model_max_length, positions - 2)))


def _weights_hash(folder: Path) -> str:
    """Hex digest over the weights, and over config.json, which says how they are used."""
    digest = hashlib.sha256()
    weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    for path in [folder / "config.json", *weights]:
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _readable(text: str) -> str:
    """Cut, and without lone surrogates, which no tokenizer takes."""
    return text[:MAX_CHARACTERS].encode("utf-8", "replace").decode("utf-8")


def _last_states(output: Any) -> Any:
    """The last hidden states: the encoder's where a model has both halves."""
    states = getattr(output, "encoder_last_hidden_state", None)
    return output.hidden_states[-1] if states is None else states


def _array(tensor: Any) -> Floats:
    return np.asarray(tensor.float().cpu().numpy(), dtype=np.float64)


def _sigmoid(logits: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float64)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
