"""The parts of `python -m classifiers evaluate` by name."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from classifiers import encoder
from classifiers.api import ModelError
from classifiers.evaluation import comparing, multilingual, recipe, shipped

VARIANTS = ("unmasked", "without-own-texts")
VARIANT_GROUPS = (3,)
"""The group that holds out one of the two train accidents: where masking matters most."""
ONE_IN = 5
"""Of the cases of unseen events, how many are asked again in float32."""


def measure(part: str, options: argparse.Namespace, out: Path) -> dict[str, Any]:
    """The figures of one part; pictures go to `out`. Raises DataError, ModelError."""
    shared, cache, threads = options.shared, options.cache, options.threads
    match part:
        case "unseen":
            return comparing.figures(shared, cache, out, threads=threads)
        case "variants":
            return {
                variant: comparing.variant_figures(shared, cache, variant, VARIANT_GROUPS, threads=threads)
                for variant in VARIANTS
            }
        case "quantisation":
            return comparing.quantisation(shared, cache, one_in=ONE_IN, threads=threads)
        case "recipe":
            return {
                "kaggle": recipe.kaggle(options.run, shared, cache, threads=threads),
                "traffic": recipe.traffic(options.run, shared, cache, threads=threads),
            }
        case "encoders":
            return multilingual.compare(shared, cache)
        case "shipped":
            model = encoder.load(options.model, threads=threads)
            return shipped.figures(model, shared, background=options.background)
    raise ModelError(f"there is no part {part!r} of the evaluation; see python -m classifiers evaluate --help")
