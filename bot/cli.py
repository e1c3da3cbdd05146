"""The command line. Exit status: 0 done, 1 could not be done, 2 wrong usage or configuration."""

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from bot import admin, app, checking, commands, config, crashpoints, joining, logs, printing, revoking
from bot.admin import Actor
from bot.commands import Answer, Context, When
from bot.detection.detector import Detector
from bot.domain import access as rules
from bot.domain import alert as alerts
from bot.domain import audit as chain
from bot.domain import channel as channels
from bot.domain import errors, times
from bot.domain.access import Capability, OrganisationState
from bot.domain.delivery import State
from bot.joining import JoinCode
from bot.pipeline.tracing import Trace
from bot.platforms.discord import client as discord
from bot.platforms.slack import manifest
from bot.store import access, audit, deliveries, directory, sources
from bot.store.database import Database, Tables

R = TypeVar("R")


@dataclass(slots=False, kw_only=True)
class Shell:
    """The global options; everything is opened when a command first needs it."""

    config_file: Path | None
    db: Path | None

    @cached_property
    def settings(self) -> config.Config:
        return config.load(self.config_file, db=self.db)

    @property
    def actor(self) -> Actor:
        """Whoever can write the store may use the command line; the audit has their login name."""
        account = f"cli:{_login()}"
        return Actor(id=account, surface="cli", operator=self.settings.operator_named(account) or account)

    def read(self, fn: Callable[[Tables], R]) -> R:
        """Run ``fn(db)`` on the configured store, read-only."""

        async def reading() -> R:
            with Database.open(self.settings.store.path, read_only=True) as database:
                return await database.read(fn)

        return asyncio.run(reading())

    def run(self, fn: Callable[[Context], Awaitable[Answer]], *, read_only: bool = False) -> Answer:
        """Run ``fn(context)`` with the configured store open."""

        async def running() -> Answer:
            with Database.open(self.settings.store.path, read_only=read_only) as database:
                context = Context(
                    database=database, actor=self.actor, now=app.now, locate=app.locator(app.load_gazetteer)
                )
                return await fn(context)

        return asyncio.run(running())

    def act(self, action: str, target: str, fn: Callable[[Tables, Actor, datetime], R]) -> R:
        """An operator's act in one write."""

        async def acting() -> R:
            with Database.open(self.settings.store.path) as database:
                return await admin.act(database, self.actor, action, target, app.now, fn)

        return asyncio.run(acting())


class _Group(click.Group):
    """Turns our errors into one sentence and an exit status."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (errors.TocsinError, BrokenPipeError, UnicodeEncodeError, ExceptionGroup) as error:
            self._end(ctx, _first_of(error))

    def _end(self, ctx: click.Context, error: BaseException) -> None:
        match error:
            case BrokenPipeError():
                sys.stdout = open(os.devnull, "w")  # noqa: SIM115, PTH123 (the reader has gone; the exit flushes it)
                ctx.exit(0)
            case UnicodeEncodeError():
                click.echo("tocsin: an argument is not valid UTF-8; check the terminal's encoding", err=True)
                ctx.exit(2)
            case _:
                click.echo(f"tocsin: {error}", err=True)
                ctx.exit(2 if isinstance(error, errors.UsageError) else 1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tocsin")
@click.option("-c", "config_file", type=click.Path(path_type=Path), help="Configuration; default ./config.toml.")
@click.option("--db", type=click.Path(path_type=Path), help="The store, instead of the configured one.")
@click.pass_context
def main(ctx: click.Context, config_file: Path | None, db: Path | None) -> None:
    """Early warning from public posts, to the channels that may have it."""
    ctx.obj = Shell(config_file=config_file, db=db)
    if ctx.invoked_subcommand == "run":
        logs.configure(json=ctx.obj.settings.logs.json_lines, level=ctx.obj.settings.logs.level)
    else:
        logs.configure(level="warning")


as_json = click.option("--json", "as_json", is_flag=True, help="JSON on standard output, and nothing else there.")


def show(answer: Answer, as_json: bool) -> None:
    """A list becomes JSON lines."""
    if not as_json:
        click.echo(answer.text)
    elif isinstance(answer.data, list):
        for each in answer.data:
            click.echo(json.dumps(each))
    else:
        click.echo(json.dumps(answer.data))


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
@as_json
@click.pass_obj
def rehearse(shell: Shell, as_json: bool) -> None:
    """The bundled fictional scenario through the whole pipeline; needs no network."""
    settings = shell.settings
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
    for number, result in checking.classify(app.load_classifier(shell.settings.model), _lines_of(file)):
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
    show(Answer(text="\n".join(lines), data=parts), as_json)
    if not all(part["ok"] for part in parts):
        sys.exit(1)


@main.group()
def org() -> None:
    """Organisations."""


@org.command("add")
@click.argument("name")
@click.option("--sector", required=True, help="Its place in the sector tree, such as finance/bank.")
@as_json
@click.pass_obj
def org_add(shell: Shell, name: str, sector: str, as_json: bool) -> None:
    """A new organisation, with a code for its first workspace; it may receive nothing until it has a grant."""

    def add(db: Tables, actor: Actor, at: datetime) -> tuple[rules.Organisation, JoinCode]:
        made = admin.add_organisation(db, actor, at, name, sector)
        return made, joining.make_code(db, actor, at, made.org)

    made, code = shell.act("org-add", name, add)
    text = f"organisation {made.name} is {made.org}; `tocsin grant --org {made.org} --provider P` lets it receive"
    show(Answer(text=f"{text}\n{_told_code(code)}", data=_org(made) | _code(code)), as_json)


@org.command("code")
@click.argument("org")
@as_json
@click.pass_obj
def org_code(shell: Shell, org: str, as_json: bool) -> None:
    """A code with which one more workspace joins an organisation."""
    made = shell.act("join-code", org, lambda db, actor, at: joining.make_code(db, actor, at, org))
    show(Answer(text=_told_code(made), data=_code(made)), as_json)


@org.command("list")
@as_json
@click.pass_obj
def org_list(shell: Shell, as_json: bool) -> None:
    """All of them."""
    found = [_org(each) for each in shell.read(directory.organisations)]
    show(_table(found, ["org", "name", "sector", "state"]), as_json)


@org.command("show")
@click.argument("org")
@as_json
@click.pass_obj
def org_show(shell: Shell, org: str, as_json: bool) -> None:
    """One, with its channels and what it may receive."""

    def read(db: Tables) -> dict[str, Any]:
        found = directory.organisation(db, org)
        policy = access.policy(db)
        channels_of = [each["channel"] for each in directory.channels(db, found.org)]
        return _org(found) | {
            "channels": channels_of,
            "providers": {
                capability.value: rules.permitted(policy, found, app.now(), capability).key for capability in Capability
            },
        }

    found = shell.read(read)
    show(Answer(text="\n".join(f"{key}: {value}" for key, value in found.items()), data=found), as_json)


@org.command("suspend")
@click.argument("org")
@as_json
@click.pass_obj
def org_suspend(shell: Shell, org: str, as_json: bool) -> None:
    """Nothing more, until it is resumed."""
    _set_state(shell, org, OrganisationState.SUSPENDED, as_json)


@org.command("resume")
@click.argument("org")
@as_json
@click.pass_obj
def org_resume(shell: Shell, org: str, as_json: bool) -> None:
    """What is new from now on; nothing of the time between."""
    _set_state(shell, org, OrganisationState.ACTIVE, as_json)


@main.group()
def channel() -> None:
    """Channels."""


@channel.command("add")
@click.argument("org")
@click.argument("channel")
@as_json
@click.pass_obj
def channel_add(shell: Shell, org: str, channel: str, as_json: bool) -> None:
    """Bind a channel, and with it its workspace, to an organisation."""
    parsed = channels.parse(channel)
    owner = shell.act("channel-add", channel, lambda db, actor, at: admin.add_channel(db, actor, at, org, parsed))
    data = {"channel": channel, "org": owner.org, "platform": parsed.platform, "workspace": parsed.workspace}
    show(Answer(text=f"channel {channel} is {owner.name}'s", data=data), as_json)


@channel.command("list")
@as_json
@click.pass_obj
def channel_list(shell: Shell, as_json: bool) -> None:
    """All of them, with what is wrong where something is."""
    show(_table(shell.read(directory.channels), ["channel", "org", "lost"]), as_json)


@channel.command("remove")
@click.argument("channel")
@as_json
@click.pass_obj
def channel_remove(shell: Shell, channel: str, as_json: bool) -> None:
    """Forget it, with its subscriptions."""
    parsed = channels.parse(channel)
    shell.act("channel-remove", channel, lambda db, actor, at: admin.remove_channel(db, actor, at, parsed))
    show(Answer(text=f"channel {channel} is removed", data={"channel": channel}), as_json)


@main.command()
@click.argument("channel")
@commands.subscription_options
@as_json
@click.pass_obj
def subscribe(shell: Shell, /, channel: str, as_json: bool, **values: Any) -> None:
    """What a channel gets; without --category, all of them."""
    parsed = channels.parse(channel)
    show(shell.run(lambda context: commands.subscribe(context, parsed, values)), as_json)


@main.command()
@click.argument("channel")
@click.argument("subscription", required=False)
@as_json
@click.pass_obj
def unsubscribe(shell: Shell, channel: str, subscription: str | None, as_json: bool) -> None:
    """Remove one subscription of a channel, or all."""
    parsed = channels.parse(channel)
    show(shell.run(lambda context: commands.unsubscribe(context, parsed, subscription)), as_json)


@main.command()
@as_json
@click.pass_obj
def subscriptions(shell: Shell, as_json: bool) -> None:
    """What every channel gets."""
    found = [
        {"subscription": each.subscription, "channel": each.channel, "describe": each.describe()}
        for each in shell.read(directory.subscriptions)
    ]
    show(_table(found, ["subscription", "channel", "describe"]), as_json)


@main.command()
@click.option("--org", help="Organisation, by name or id.")
@click.option("--sector", help="A sector and everything below it.")
@click.option("--provider", required=True, help="A data provider, or '*' for every one.")
@click.option("--capability", multiple=True, type=click.Choice([each.value for each in Capability]))
@click.option("--until", type=When(), help="It ends by itself at this time.")
@click.option("--reason", required=True)
@as_json
@click.pass_obj
def grant(shell: Shell, /, as_json: bool, capability: tuple[str, ...], **values: Any) -> None:
    """Permission to receive; without --capability: alerts and evidence."""
    made = shell.act(
        "grant",
        values["org"] or f"sector {values['sector']}",
        lambda db, actor, at: admin.grant(db, actor, at, capabilities=capability, **values),
    )
    data = {
        "grant": made.grant,
        "org": made.org,
        "sector": made.sector,
        "provider": made.provider,
        "capabilities": sorted(made.capabilities),
    }
    show(Answer(text=f"grant {made.grant}: {values['provider']} to {made.org or made.sector}", data=data), as_json)


@main.command()
@commands.revocation_options
@as_json
@click.pass_obj
def revoke(shell: Shell, /, as_json: bool, **values: Any) -> None:
    """Withdraw access, at once; the fields given are ANDed."""
    show(shell.run(lambda context: commands.revoke(context, values)), as_json)


@main.command()
@click.argument("revocation")
@click.option("--reason", required=True)
@as_json
@click.pass_obj
def reinstate(shell: Shell, revocation: str, reason: str, as_json: bool) -> None:
    """Lift a revocation."""
    show(shell.run(lambda context: commands.reinstate(context, revocation, reason)), as_json)


@main.command()
@as_json
@click.pass_obj
def revocations(shell: Shell, as_json: bool) -> None:
    """What is withdrawn."""
    found = shell.read(access.revocation_rows)
    shown = ["revocation", "org", "workspace", "channel", "sector", "provider", "category", "capability", "lifted_at"]
    show(_table(found, [*shown, "reason"]), as_json)


@main.group()
def revocation() -> None:
    """One revocation."""


@revocation.command("show")
@click.argument("revocation")
@as_json
@click.pass_obj
def revocation_show(shell: Shell, revocation: str, as_json: bool) -> None:
    """It, and the proof of its effect."""
    found = shell.read(lambda db: revoking.proof(db, revocation))
    show(Answer(text="\n".join(f"{key}: {value}" for key, value in found.items()), data=found), as_json)


@main.group("audit", invoke_without_command=True)
@as_json
@click.pass_context
def audit_group(ctx: click.Context, as_json: bool) -> None:
    """Who did what."""
    if ctx.invoked_subcommand is None:
        shown = ["seq", "at", "actor", "surface", "action", "target", "reason"]
        show(_table(_entries(ctx.obj), shown), as_json)


@audit_group.command("verify")
@click.argument("file", required=False)
@as_json
@click.pass_obj
def audit_verify(shell: Shell, file: str | None, as_json: bool) -> None:
    """Check the chain of the store, or of an export."""
    entries = list(_exported(file)) if file else shell.read(lambda db: list(audit.entries(db)))
    problem = chain.verify(entries)
    data = {"ok": problem is None, "entries": len(entries), "problem": problem}
    show(Answer(text=problem or f"{len(entries)} entries, unbroken", data=data), as_json)
    if problem:
        sys.exit(1)


@audit_group.command("export")
@as_json
@click.pass_obj
def audit_export(shell: Shell, as_json: bool) -> None:  # noqa: ARG001 (an export is JSON in any case)
    """All entries as JSON lines."""
    show(Answer(text="", data=_entries(shell)), as_json=True)


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
    show(_table(shell.read(read), shown), as_json)


@main.command()
@click.option("--org", required=True, help="Organisation, by name or id.")
@click.option("--search", default="", help="In headline or category.")
@click.option("--since", type=When())
@as_json
@click.pass_obj
def events(shell: Shell, org: str, search: str, since: datetime | None, as_json: bool) -> None:
    """That organisation's Alert lines; needs the capability history."""
    found = shell.run(lambda context: commands.look_back(context, org, since, search), read_only=True)
    show(found, as_json)


@main.command()
@click.option("--org", required=True, help="Organisation, by name or id.")
@click.option("--since", type=When(), required=True)
@as_json
@click.pass_obj
def export(shell: Shell, org: str, since: datetime, as_json: bool) -> None:  # noqa: ARG001 (JSON in any case)
    """That organisation's Alert lines as JSON lines; needs the capability export."""
    show(shell.run(lambda context: commands.export(context, org, since)), as_json=True)


@main.command()
@click.argument("what", metavar="POST|ALERT")
@click.option("--org", required=True, help="Organisation, by name or id.")
@as_json
@click.pass_obj
def explain(shell: Shell, what: str, org: str, as_json: bool) -> None:
    """Stage by stage, why an organisation got it or did not."""

    def make_detector(view: rules.ProviderSet) -> Detector:
        return app.detectors(app.load_gazetteer())(view)

    show(shell.run(lambda context: commands.explain(context, what, org, make_detector), read_only=True), as_json)


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


@main.command("sources")
@as_json
@click.pass_obj
def sources_list(shell: Shell, as_json: bool) -> None:
    """Recorded gaps of the sources."""
    show(_table(shell.read(sources.gaps), ["source", "since", "until", "reason"]), as_json)


@main.command()
@click.option(
    "--posts", type=click.IntRange(100), default=5_000, show_default=True, help="Posts through the whole pipeline."
)
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(["whole", "stages", "detection", "latency", "revocation", "naive"]),
    help="Only this part; may be given several times.",
)
@as_json
@click.pass_obj
def bench(shell: Shell, posts: int, only: tuple[str, ...], as_json: bool) -> None:
    """Throughput and latency of each stage and of the whole."""
    from bot import benching

    show(benching.bench(shell.settings, posts=posts, only=only), as_json)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


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


def _lines_of(file: str) -> Iterable[bytes]:
    if file == "-":
        yield from sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as stream:
            yield from stream
    except OSError as error:
        raise errors.UsageError(f"{file}: cannot be read ({error.strerror}); check the path") from error


def _set_state(shell: Shell, name: str, state: OrganisationState, as_json: bool) -> None:
    changed = shell.act(
        f"org-{state.value}", name, lambda db, actor, at: admin.set_organisation_state(db, actor, at, name, state)
    )
    show(Answer(text=f"organisation {changed.name} is {state.value}", data=_org(changed)), as_json)


def _org(found: rules.Organisation) -> dict[str, Any]:
    return {"org": found.org, "name": found.name, "sector": found.sector, "state": found.state.value}


def _code(made: JoinCode) -> dict[str, Any]:
    return {"join_code": made.code, "expires_at": times.to_text(made.expires_at)}


def _told_code(made: JoinCode) -> str:
    return (
        f"join code {made.code}: an admin of the Slack workspace or Discord server types `/tocsin join {made.code}`, "
        f"once, until {times.to_text(made.expires_at)}; it is not shown again"
    )


def _entries(shell: Shell) -> list[dict[str, Any]]:
    return [chain.to_json(entry) for entry in shell.read(lambda db: list(audit.entries(db)))]


def _exported(file: str) -> Iterable[chain.AuditEntry]:
    for number, line in enumerate(_lines_of(file), start=1):
        try:
            yield chain.AuditEntry(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise errors.UsageError(
                f"{file}, line {number}: is no audit entry; `tocsin audit export` writes them"
            ) from error


def _table(found: list[dict[str, Any]], columns: list[str]) -> Answer:
    return Answer(text=printing.table(found, columns), data=found)


def _first_of(group: BaseException) -> BaseException:
    """The innermost first error of nested groups; an error that is not ours is a bug and is raised as it is."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    if not isinstance(group, errors.TocsinError | BrokenPipeError | UnicodeEncodeError):
        raise group
    return group
