"""`python -m classifiers train | evaluate | export | card`: the model's life, from data to card."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from classifiers import encoder
from classifiers.api import ModelError

_EXTRA = "this needs the extra `train`: pip install 'tocsin[train]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 could not be done, 2 wrong usage."""
    options = _parser().parse_args(arguments)
    try:
        return _run(options)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] == "classifiers":
            raise
        sys.stderr.write(f"{error.name} is not installed; {_EXTRA}\n")
    except ModelError as error:
        sys.stderr.write(f"{error}\n")
    except Exception as error:
        # DataError and ParityError live in modules that need the extra, hence by name.
        if type(error).__name__ not in ("DataError", "ParityError"):
            raise
        sys.stderr.write(f"{error}\n")
    return 1


def _run(options: argparse.Namespace) -> int:
    match options.command:
        case "train":
            from classifiers import train

            plan = train.Plan(
                epochs=options.epochs,
                steps=options.steps,
                limit=options.limit,
                seed=options.seed,
                threads=options.threads,
            )
            _say(train.train(options.shared, options.out, plan))
        case "export":
            from classifiers import export

            if not (options.run / "network.pt").is_file():
                raise ModelError(f"there are no trained weights in {options.run}; run: python -m classifiers train")
            _say(export.export(options.run, options.shared, options.out, threads=options.threads))
        case "evaluate":
            model = encoder.load(options.model, threads=options.threads)
            from classifiers import evaluate

            figures = evaluate.evaluate(model, options.shared, background=options.background)
            evaluate.write(figures, options.out or options.model)
            _say(json.dumps(figures) if options.json else evaluate.markdown(figures))
        case "card":
            from classifiers import card

            _say(card.write(options.model))
    return 0


def _say(answer: object) -> None:
    sys.stdout.write(f"{answer}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m classifiers", description="The model's life.")
    commands = parser.add_subparsers(dest="command", required=True)
    shared = Path("../shared")
    build = Path("build/classifier")

    def command(name: str, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        added.add_argument("--threads", type=int, default=2, help="threads to compute with (default 2)")
        if name != "card":
            added.add_argument(
                "--shared", type=Path, default=shared, help="folder that holds data/ (default ../shared)"
            )
        return added

    train = command("train", "fine-tune on the permitted data; a stopped run goes on from its checkpoint")
    train.add_argument("--out", type=Path, default=build, help=f"where the weights go (default {build})")
    train.add_argument("--epochs", type=int, default=2)
    train.add_argument("--steps", type=int, default=None, help="stop after so many steps in all")
    train.add_argument("--limit", type=int, default=None, help="train on about so many rows only")
    train.add_argument("--seed", type=int, default=1)
    export = command("export", "turn trained weights into the folder that is shipped")
    export.add_argument("--run", type=Path, default=build, help=f"what train wrote (default {build})")
    export.add_argument("--out", type=Path, default=encoder.MODEL, help="the model's folder (default: in the package)")
    evaluate = command("evaluate", "measure the model on what it never saw")
    evaluate.add_argument("--model", type=Path, default=encoder.MODEL)
    evaluate.add_argument("--out", type=Path, default=None, help="where the figures go (default: the model's folder)")
    evaluate.add_argument("--background", type=int, default=20_000, help="how many ordinary posts to classify")
    evaluate.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
    card = command("card", "write the model card")
    card.add_argument("--model", type=Path, default=encoder.MODEL)
    return parser


if __name__ == "__main__":
    sys.exit(main())
