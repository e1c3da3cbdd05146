"""``python -m bot.scorecard``: exit status 0 done, 1 could not be done, 2 wrong usage."""

import json
from pathlib import Path

import click

from bot import app
from bot.detection import weights
from bot.domain.errors import TocsinError
from bot.scorecard import Folders, fit, report, scorecard
from classifiers.api import ModelError
from classifiers.data import DataError

HOME = Path.home() / ".cache" / "tocsin"
WEIGHTS = Path(weights.__file__).with_name(weights.LEARNED)


@click.command()
@click.argument("what", type=click.Choice(["score", "fit"]), default="score")
@click.option("--shared", type=click.Path(path_type=Path), default="../shared", show_default=True)
@click.option("--models", type=click.Path(path_type=Path), default=HOME / "folds", help="The fold models' folder.")
@click.option("--cache", type=click.Path(path_type=Path), default=HOME / "scorecard", help="For streams and answers.")
@click.option("--out", type=click.Path(path_type=Path), default="build/scorecard", show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Markdown.")
def main(what: str, shared: Path, models: Path, cache: Path, out: Path, threads: int, as_json: bool) -> None:
    """Detection over public replays in ordinary background, beside the alternatives.

    `fit` learns what raises an alert from the same streams and writes it into the package.
    """
    folders = Folders(shared=shared, models=models, cache=cache, out=out)
    try:
        if what == "fit":
            click.echo(json.dumps(dict(fit(folders, app.load_gazetteer(), WEIGHTS, threads=threads))))
            return
        result = scorecard(folders, app.load_gazetteer(), threads=threads)
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not installed; pip install 'tocsin[train]'") from error
    except (TocsinError, ModelError, DataError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(result["together"]) if as_json else report.markdown(result))


if __name__ == "__main__":
    main()
