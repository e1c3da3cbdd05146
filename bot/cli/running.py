"""The service, the rehearsal, replays, and looks at the parts."""

import asyncio
import json
import os
import sys
from typing import Any

import click

from bot import app, checking, commands, crashpoints, printing, proving
from bot.cli import root
from bot.cli.root import Shell, as_json, main
from bot.commands import Answer
from bot.domain import access as rules
from bot.domain import alert as alerts
from bot.domain import errors
from bot.pipeline.tracing import Trace
from bot.rehearsal import barring


@main.command()
@click.pass_obj
def run(shell: Shell) -> None:
    """The service: all configured sources → alerts → channels."""
    if text := os.environ.get("TOCSIN_CRASH_AT"):
        try:
            crashpoints.arm(text)
        except ValueError as error:
            raise errors.UsageError(f"TOCSIN_CRASH_AT: {error}") from error
    asyncio.run(app.run(shell.settings))


@main.command()
@click.option("--barring", "barred", is_flag=True, help="One provider bars one class in the middle of an event.")
@as_json
@click.pass_obj
def rehearse(shell: Shell, barred: bool, as_json: bool) -> None:
    """The bundled fictional scenario through the whole pipeline; needs no network."""
    settings = shell.settings
    if barred:
        found = asyncio.run(app.rehearse_barring(settings))
        text = "\n".join([barring.markdown(found["rows"]), "", *proving.told(found["proof"])])
        root.show(Answer(text=text, data=found), as_json)
        return
    if not as_json:
        click.echo("A fictional day of invented places, through the real pipeline:\n", err=True)
    raised: list[alerts.Alert] = []

    async def on_raised(view: rules.ProviderSet, alert: alerts.Alert) -> None:  # noqa: ARG001
        raised.append(alert)
        if as_json:
            click.echo(json.dumps(alerts.to_line(alert)))

    posts = asyncio.run(app.rehearse(settings, stream=sys.stdout, on_raised=on_raised, deliver=not as_json))
    happenings = len({alert.event for alert in raised})
    click.echo(f"{posts} posts, {happenings} events, {len(raised)} alert revisions", err=True)


@main.command()
@click.argument("files", nargs=-1, required=True)
@click.option("--pace", default="max", help="max, or how many times faster than it was.")
@click.option("--as", "org", help="What this organisation would have seen.")
@click.option("--deliver", is_flag=True, help="Through the configured store to the configured channels.")
@click.option(
    "--explain",
    "explained",
    metavar="POST",
    multiple=True,
    help="What became of this post, stage by stage; may be given several times.",
)
@as_json
@click.pass_obj
def replay(
    shell: Shell,
    files: tuple[str, ...],
    pace: str,
    org: str | None,
    deliver: bool,
    explained: tuple[str, ...],
    as_json: bool,
) -> None:
    """Recorded Post lines (files, .gz, or -) through the same pipeline."""

    def on_raised(line: dict[str, Any]) -> None:
        click.echo(json.dumps(line) if as_json else printing.alert(line))

    def on_traced(trace: Trace) -> None:
        answer = commands.explained(trace.stages, trace.shown)
        click.echo(
            json.dumps({"post": trace.post} | answer.data)
            if as_json
            else printing.under(f"post {trace.post}", answer.text)
        )

    order = app.Replay(files=files, pace=_pace(pace), org=org, deliver=deliver, explain=explained)
    replaying = app.replay(shell.settings, order, stream=sys.stderr, on_raised=on_raised, on_traced=on_traced)
    good, bad = asyncio.run(replaying)
    if bad:
        click.echo(f"bad lines skipped: {bad}, good: {good}", err=True)
    if not good:
        raise errors.TocsinError(f"{', '.join(files)}: no good line; Post lines are described in README.md")


@main.command()
@click.argument("file", default="-")
@as_json
@click.pass_obj
def classify(shell: Shell, file: str, as_json: bool) -> None:
    """One line of text or one Post line in, one line out."""
    good = bad = 0
    for number, result in checking.classify(app.load_classifier(shell.settings.model), root.lines_of(file)):
        if isinstance(result, str):
            bad += 1
            click.echo(f"line {number}: {result}", err=True)
        else:
            good += 1
            click.echo(json.dumps(result) if as_json else printing.classification(result))
    if bad:
        click.echo(f"bad lines skipped: {bad}, good: {good}", err=True)
    if bad and not good:
        raise errors.TocsinError(f"{file}: no good line; Post lines are described in README.md")


@main.command()
@as_json
@click.pass_obj
def check(shell: Shell, as_json: bool) -> None:
    """Configuration, store, model, sources, Slack, Discord: what works and what to do about the rest."""
    parts = asyncio.run(checking.check(shell.config_file, shell.db))
    lines = [
        f"{'ok ' if part['ok'] else 'BAD'} {part['part']}"
        + ("" if part["ok"] else f": {part['problem']}; {part['remedy']}")
        for part in parts
    ]
    root.show(Answer(text="\n".join(lines), data=parts), as_json)
    if not all(part["ok"] for part in parts):
        sys.exit(1)


@main.command()
@click.option(
    "--posts", type=click.IntRange(100), default=5_000, show_default=True, help="Posts through the whole pipeline."
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(
        ["whole", "stages", "ingest", "detection", "latency", "revocation", "access", "delivery", "naive"]
    ),
    help="Only this part; may be given several times.",
)
@as_json
@click.pass_obj
def bench(shell: Shell, posts: int, only: tuple[str, ...], as_json: bool) -> None:
    """Throughput and latency of each stage and of the whole."""
    from bot import benching

    root.show(benching.bench(shell.settings, posts=posts, only=only), as_json)


def _pace(text: str) -> str | float:
    if text == "max":
        return text
    try:
        pace = float(text)
    except ValueError:
        pace = 0.0
    if not 0 < pace < float("inf"):
        raise errors.UsageError(f"--pace {text!r} is neither max nor a number above 0")
    return pace
