"""``python -m tests.soaks [--seed N] [SOURCE …]``: a line of figures for each soak; exit 1 where one is unclean."""

import asyncio
import tempfile
import time
from pathlib import Path

import click

from bot import logs
from tests.soaks.everything import SOAKS, TROUBLES


@click.command()
@click.argument("sources", nargs=-1, type=click.Choice(list(SOAKS)))
@click.option("--seed", default=1)
def main(sources: tuple[str, ...], seed: int) -> None:
    logs.configure(level="critical")
    unclean = 0
    for name in sources or SOAKS:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            report = asyncio.run(SOAKS[name](Path(folder), seed))
        unclean += not report.clean
        click.echo(
            f"{name:<20} {report.emitted:>6} emitted {report.held:>6} held {report.gone:>5} gone "
            f"{report.in_gaps:>5} in {report.gaps:>3} gaps ({report.covered:>4} covered) {report.lives:>4} lives "
            f"{len(report.used):>2} of {len(TROUBLES[name])} troubles; missing {len(report.missing)}, "
            f"invented {len(report.invented)}, kept {len(report.kept)}, altered {len(report.altered)}, "
            f"repeated {len(report.repeated)}, "
            f"broke {len(report.broke)}, early {report.early} "
            f"({time.monotonic() - began:.0f} s)"
        )
    raise SystemExit(unclean > 0)


if __name__ == "__main__":
    main()
