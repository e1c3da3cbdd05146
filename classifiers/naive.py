"""The obvious way, to compare ours with: ``transformers.pipeline`` in float32, as its documentation shows it.

No part of the service. torch and transformers are imported when it is opened: the extra ``train`` brings them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from classifiers.taxonomy import CATEGORIES

HEAD = f"BERT's own head: 384 → 384 → {len(CATEGORIES)}, sigmoid"

Classify = Callable[[Sequence[str], int], Any]
"""Texts, and how many of them are padded to one length and go through the network together."""


@contextlib.contextmanager
def opened(*, threads: int) -> Iterator[Classify]:
    """The pipeline over the encoder that ours was made from. The head is untrained: it costs the same.

    Raises ImportError without the extra ``train``, ModelError without the weights or where their hash is wrong.
    """
    import torch
    import transformers

    from classifiers.network import base_folder

    folder = base_folder()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, local_files_only=True, num_labels=len(CATEGORIES), problem_type="multi_label_classification",
        dtype=torch.float32,
    )  # fmt: skip
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    pipeline = transformers.pipeline("text-classification", model=model, tokenizer=tokenizer, device="cpu")

    def classify(texts: Sequence[str], batch: int) -> Any:
        return pipeline(list(texts), batch_size=batch, top_k=None, function_to_apply="sigmoid", truncation=True)

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield classify
    finally:
        torch.set_num_threads(before)
