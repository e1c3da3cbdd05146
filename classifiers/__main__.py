"""`python -m classifiers train | folds | export | evaluate | card | …`: the model's life, from data to card."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from classifiers import encoder, feedback, folds
from classifiers.api import ModelError
from classifiers.feedback import Feedback

PARTS = ("unseen", "variants", "quantisation", "recipe", "encoders", "shipped")
"""What `evaluate` measures, in the order of its report."""
_EXTRA = "this needs the extra `train`: pip install 'tocsin[train]'"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 could not be done, 2 wrong usage."""
    parser = _parser()
    options = parser.parse_args(arguments)
    unknown = sorted(set(getattr(options, "parts", ())) - set(PARTS))
    if unknown:
        parser.error(f"evaluate: there is no part {', '.join(unknown)}; choose from {', '.join(PARTS)}")
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
                rate=options.rate,
                replace=options.replace,
                places_repeats=options.places,
                feedback_presses=options.feedback_presses,
                threads=options.threads,
            )
            told = None if options.feedback is None else _read_feedback(options.feedback, plan.feedback_presses)
            _say(train.train(options.shared, options.out, plan, options.start, told))
        case "folds":
            from classifiers.evaluation import unseen

            for group in options.groups:
                _say(unseen.train_group(options.shared, options.cache, group, threads=options.threads))
            if all(unseen.has_model(options.cache, group) for group in range(folds.COUNT)):
                unseen.calibrate(options.shared, options.cache, threads=options.threads)
        case "export":
            if not (options.run / "network.pt").is_file():
                raise ModelError(f"there are no trained weights in {options.run}; run: python -m classifiers train")
            from classifiers import export
            from classifiers.evaluation import unseen

            fitted = unseen.calibrate(options.shared, options.cache, threads=options.threads)
            _say(export.export(options.run, options.shared, options.out, fitted=fitted, threads=options.threads))
        case "evaluate":
            from classifiers.evaluation import measuring, report

            out = options.out or options.model
            for part in options.parts:
                report.write(out, part, measuring.measure(part, options, out))
            _say(json.dumps(report.read(out)) if options.json else report.markdown(report.read(out)))
        case "runtimes":
            from classifiers import runtimes

            figures = runtimes.compare(options.run, options.shared, texts=options.texts, threads=options.threads)
            _say(json.dumps(figures) if options.json else runtimes.markdown(figures))
        case "soak":
            from classifiers import soak

            _say(json.dumps(soak.soak(encoder.load(threads=options.threads), options.posts)))
        case "card":
            from classifiers import card

            _say(card.write(options.model))
    return 0


def _read_feedback(path: Path, presses: int) -> Feedback:
    """The file, with a word on standard error about what is bad and what is learnt."""
    told = feedback.read(path)
    for number, problem in told.bad:
        sys.stderr.write(f"{path}, line {number}: {problem}\n")
    if told.bad:
        sys.stderr.write(f"bad lines skipped: {len(told.bad)}, good: {told.good}\n")
    learnt = len(told.negatives(presses))
    sys.stderr.write(f"feedback: {learnt} of {len(told.marked)} texts have at least {presses} presses\n")
    return told


def _say(answer: object) -> None:
    sys.stdout.write(f"{answer}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m classifiers", description="The model's life.")
    commands = parser.add_subparsers(dest="command", required=True)
    shared = Path("../shared")
    build = Path("build/classifier")
    cache = Path.home() / ".cache" / "tocsin" / "folds"

    def command(name: str, about: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=about, description=about)
        if name != "card":
            added.add_argument("--threads", type=int, default=2, help="threads to compute with (default 2)")
        if name not in ("card", "soak"):
            added.add_argument(
                "--shared", type=Path, default=shared, help="folder that holds data/ (default ../shared)"
            )
        if name in ("folds", "export", "evaluate"):
            added.add_argument("--cache", type=Path, default=cache, help=f"the fold models' folder (default {cache})")
        if name in ("export", "evaluate", "runtimes"):
            added.add_argument("--run", type=Path, default=build, help=f"what train wrote (default {build})")
        if name in ("evaluate", "runtimes"):
            added.add_argument("--json", action="store_true", help="print JSON instead of Markdown")
        return added

    train = command("train", "fine-tune on the permitted data; a stopped run goes on from its checkpoint")
    train.add_argument("--out", type=Path, default=build, help=f"where the weights go (default {build})")
    train.add_argument("--epochs", type=int, default=2)
    train.add_argument("--steps", type=int, default=None, help="stop after so many steps in all")
    train.add_argument("--limit", type=int, default=None, help="train on about so many rows only")
    train.add_argument("--seed", type=int, default=1)
    train.add_argument("--rate", type=float, default=1e-4, help="peak learning rate of the encoder")
    train.add_argument("--replace", type=float, default=0.55, help="how often places and names are replaced")
    train.add_argument("--places", type=int, default=1, help="how often a text with marked places comes in an epoch")
    train.add_argument("--start", type=Path, default=None, help="go on from what another run wrote")
    train.add_argument("--feedback", type=Path, metavar="FILE", help="learn from what `tocsin feedback --json` wrote")
    train.add_argument(
        "--feedback-presses", type=int, default=2, metavar="N", help="of texts that N people marked (default 2)"
    )
    fold = command("folds", "train the models that each leave out one group of events; those in the cache are kept")
    fold.add_argument("--groups", type=int, nargs="*", default=range(folds.COUNT), choices=range(folds.COUNT))
    export = command("export", "turn trained weights into the folder that is shipped, calibrated on the fold models")
    export.add_argument("--out", type=Path, default=encoder.MODEL, help="the model's folder (default: in the package)")
    evaluate = command("evaluate", "measure on unseen events, beside baselines, and on sets never trained on")
    evaluate.add_argument("parts", nargs="*", default=list(PARTS), help=f"of {', '.join(PARTS)} (default all)")
    evaluate.add_argument("--model", type=Path, default=encoder.MODEL)
    evaluate.add_argument("--out", type=Path, default=None, help="where the figures go (default: the model's folder)")
    evaluate.add_argument("--background", type=int, default=20_000, help="how many ordinary posts to classify")
    runtimes = command("runtimes", "compare inference runtimes on one network in one run")
    runtimes.add_argument("--texts", type=int, default=1_000)
    soak = command("soak", "classify a stream of generated posts and watch the memory")
    soak.add_argument("--posts", type=int, default=1_000_000)
    card = command("card", "write the model card")
    card.add_argument("--model", type=Path, default=encoder.MODEL)
    return parser


if __name__ == "__main__":
    sys.exit(main())
