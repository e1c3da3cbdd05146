"""``python -m bot.scorecard``: exit status 0 done, 1 could not be done, 2 wrong usage."""

import json
from pathlib import Path

import click

from bot import app
from bot.domain.errors import TocsinError
from bot.scorecard import Folders, report, scorecard
from classifiers.api import ModelError
from classifiers.data import DataError

HOME = Path.home() / ".cache" / "tocsin"


@click.command()
@click.option("--shared", type=click.Path(path_type=Path), default="../shared", show_default=True)
@click.option("--models", type=click.Path(path_type=Path), default=HOME / "folds", help="The fold models' folder.")
@click.option("--cache", type=click.Path(path_type=Path), default=HOME / "scorecard", help="For streams and answers.")
@click.option("--out", type=click.Path(path_type=Path), default="build/scorecard", show_default=True)
@click.option("--threads", type=int, default=2, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of Markdown.")
def main(shared: Path, models: Path, cache: Path, out: Path, threads: int, as_json: bool) -> None:
    """Detection over public replays in ordinary background, beside the alternatives."""
    folders = Folders(shared=shared, models=models, cache=cache, out=out)
    try:
        result = scorecard(folders, app.load_gazetteer(), threads=threads)
    except ModuleNotFoundError as error:
        raise click.ClickException(f"{error.name} is not installed; pip install 'tocsin[train]'") from error
    except (TocsinError, ModelError, DataError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(json.dumps(result["together"]) if as_json else report.markdown(result))


if __name__ == "__main__":
    main()
