"""The outbox, events, exports, explanations, and what sources and readers have said."""

import asyncio
import json
from datetime import datetime
from typing import Any

import click

from bot import app, commands, feedback, printing
from bot.cli import root
from bot.cli.root import Shell, as_json, main
from bot.commands import Answer, When
from bot.detection.detector import Detector
from bot.domain import access as rules
from bot.domain import errors
from bot.domain.delivery import State
from bot.ingest import standing
from bot.platforms.discord import client as discord
from bot.platforms.slack import manifest
from bot.store import deliveries, directory, sources
from bot.store.database import Tables


@main.command("deliveries")
@click.option("--state", type=click.Choice([each.value for each in State]))
@click.option("--org", help="Organisation, by name or id.")
@as_json
@click.pass_obj
def deliveries_list(shell: Shell, state: str | None, org: str | None, as_json: bool) -> None:
    """The outbox and its history."""

    def read(db: Tables) -> list[dict[str, Any]]:
        return deliveries.listed(db, state=state, org=directory.organisation(db, org).org if org else None)

    shown = ["delivery", "created_at", "channel", "act", "alert", "state", "attempts", "reason"]
    root.show(root.table(shell.read(read), shown), as_json)


@main.command()
@click.option("--org", required=True, help="Organisation, by name or id.")
@click.option("--search", default="", help="In headline or category.")
@click.option("--since", type=When())
@as_json
@click.pass_obj
def events(shell: Shell, org: str, search: str, since: datetime | None, as_json: bool) -> None:
    """That organisation's Alert lines; needs the capability history."""
    found = shell.run(lambda context: commands.look_back(context, org, since, search), read_only=True)
    root.show(found, as_json)


@main.command()
@click.option("--org", required=True, help="Organisation, by name or id.")
@click.option("--since", type=When(), required=True)
@as_json
@click.pass_obj
def export(shell: Shell, org: str, since: datetime, as_json: bool) -> None:  # noqa: ARG001 (JSON in any case)
    """That organisation's Alert lines as JSON lines; needs the capability export."""
    root.show(shell.run(lambda context: commands.export(context, org, since)), as_json=True)


@main.command()
@click.argument("what", metavar="POST|ALERT")
@click.option("--org", required=True, help="Organisation, by name or id.")
@as_json
@click.pass_obj
def explain(shell: Shell, what: str, org: str, as_json: bool) -> None:
    """Stage by stage, why an organisation got it or did not."""

    def make_detector(view: rules.ProviderSet) -> Detector:
        return app.detectors(app.load_gazetteer())(view)

    root.show(shell.run(lambda context: commands.explain(context, what, org, make_detector), read_only=True), as_json)


@main.command("slack-manifest")
@click.option("--name", default="Tocsin", show_default=True, help="What the app is called in Slack.")
@click.pass_obj
def slack_manifest(shell: Shell, name: str) -> None:
    """The manifest to create the Slack app from: for Socket Mode, or with [slack] public_url for HTTP mode."""
    click.echo(json.dumps(manifest.manifest(shell.settings.slack.public_url, name), indent=2))


@main.command("discord-invite")
@click.pass_obj
def discord_invite(shell: Shell) -> None:
    """The link with which a Discord server invites the bot; asks Discord whose token it has."""
    settings = shell.settings.discord
    if settings.token is None:
        raise errors.UsageError("discord: token is missing; put the bot's token into [discord] of config.toml")
    asked = discord.application_id(token=settings.token.get_secret_value(), api_url=settings.api_url)
    click.echo(discord.invite_url(asyncio.run(asked)))


@main.command("feedback")
@as_json
@click.pass_obj
def feedback_export(shell: Shell, as_json: bool) -> None:
    """What readers called not relevant; with --json, lines for `python -m classifiers train --feedback`."""
    found = shell.act("feedback-export", "posts", feedback.export)
    shown = [each | {"text": each["text"][:80]} for each in found]
    columns = ["source", "id", "category", "irrelevant", "text"]
    root.show(Answer(text=printing.table(shown, columns), data=found), as_json)


@main.command("sources")
@click.option("--gaps", "only_gaps", is_flag=True, help="Only what was not seen, stretch by stretch.")
@as_json
@click.pass_obj
def sources_list(shell: Shell, only_gaps: bool, as_json: bool) -> None:
    """How each configured source is doing: state, lag, posts a second, gaps, the last error and what to do."""
    if only_gaps:
        root.show(root.table(shell.read(sources.gaps), ["source", "since", "until", "reason"]), as_json)
        return
    configured = {each.name: each.provider or "*" for each in shell.settings.source}
    found = shell.read(lambda db: standing.standing(db, configured, app.now()))
    columns = ["source", "state", "lag", "per_second", "usual_per_second", "gaps", "last_gap", "last_error"]
    shown = printing.table([standing.shown(each) for each in found], columns)
    root.show(Answer(text=shown, data=found), as_json)
