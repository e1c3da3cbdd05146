"""Permission, its withdrawal, the second person, and the records of it all."""

import json
import sys
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import click

from bot import app, approving, commands, missed, proving, reporting
from bot.cli import root
from bot.cli.root import Shell, as_json, main
from bot.commands import Answer, When
from bot.domain import audit as chain
from bot.domain import errors
from bot.domain.access import SECTORS, Capability
from bot.store import access, audit
from classifiers.api import CATEGORIES


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
    given = values | {"capabilities": capability}
    root.show(shell.run(lambda context: commands.grant(context, given)), as_json)


@main.command()
@commands.revocation_options
@as_json
@click.pass_obj
def revoke(shell: Shell, /, as_json: bool, **values: Any) -> None:
    """Withdraw access, at once; the fields given are ANDed."""
    root.show(shell.run(lambda context: commands.revoke(context, values)), as_json)


@main.command()
@click.argument("revocation")
@click.option("--reason", required=True)
@as_json
@click.pass_obj
def reinstate(shell: Shell, revocation: str, reason: str, as_json: bool) -> None:
    """Lift a revocation."""
    root.show(shell.run(lambda context: commands.reinstate(context, revocation, reason)), as_json)


@main.command()
@as_json
@click.pass_obj
def revocations(shell: Shell, as_json: bool) -> None:
    """What is withdrawn."""
    found = shell.read(access.revocation_rows)
    shown = ["revocation", "org", "workspace", "channel", "sector", "provider", "category", "capability", "lifted_at"]
    root.show(root.table(found, [*shown, "reason"]), as_json)


@main.group()
def revocation() -> None:
    """One revocation."""


@revocation.command("show")
@click.argument("revocation")
@as_json
@click.pass_obj
def revocation_show(shell: Shell, revocation: str, as_json: bool) -> None:
    """It, and the proof of its effect."""
    found = shell.read(lambda db: proving.proof(db, revocation))
    root.show(Answer(text="\n".join(proving.told(found)), data=found), as_json)


@main.group("audit", invoke_without_command=True)
@as_json
@click.pass_context
def audit_group(ctx: click.Context, as_json: bool) -> None:
    """Who did what."""
    if ctx.invoked_subcommand is None:
        shown = ["seq", "at", "actor", "surface", "action", "target", "reason"]
        root.show(root.table(_entries(ctx.obj), shown), as_json)


@audit_group.command("verify")
@click.argument("file", required=False)
@click.option("--head", metavar="SEQ:HASH", help="It must still hold this head, published earlier.")
@as_json
@click.pass_obj
def audit_verify(shell: Shell, file: str | None, head: str | None, as_json: bool) -> None:
    """Check the chain of the store, or of an export."""
    entries = list(_exported(file)) if file else shell.read(lambda db: list(audit.entries(db)))
    problem = chain.verify(entries) or (chain.lacks(entries, head) if head else None)
    data = {"ok": problem is None, "entries": len(entries), "problem": problem}
    root.show(Answer(text=problem or f"{len(entries)} entries, unbroken", data=data), as_json)
    if problem:
        sys.exit(1)


@audit_group.command("export")
@as_json
@click.pass_obj
def audit_export(shell: Shell, as_json: bool) -> None:  # noqa: ARG001 (an export is JSON in any case)
    """All entries as JSON lines."""
    root.show(Answer(text="", data=_entries(shell)), as_json=True)


def _entries(shell: Shell) -> list[dict[str, Any]]:
    return [chain.to_json(entry) for entry in shell.read(lambda db: list(audit.entries(db)))]


def _exported(file: str) -> Iterable[chain.AuditEntry]:
    for number, line in enumerate(root.lines_of(file), start=1):
        try:
            yield chain.AuditEntry(**json.loads(line))
        except (ValueError, TypeError) as error:
            raise errors.UsageError(
                f"{file}, line {number}: is no audit entry; `tocsin audit export` writes them"
            ) from error


@main.command()
@as_json
@click.pass_obj
def proposals(shell: Shell, as_json: bool) -> None:
    """Acts that wait for a second operator, and what became of the others."""
    root.show(shell.run(commands.proposals, read_only=True), as_json)


@main.command()
@click.argument("proposal")
@as_json
@click.pass_obj
def approve(shell: Shell, proposal: str, as_json: bool) -> None:
    """Carry out what another operator has proposed."""
    root.show(shell.run(lambda context: commands.approve(context, proposal)), as_json)


@main.command()
@click.argument("proposal")
@as_json
@click.pass_obj
def reject(shell: Shell, proposal: str, as_json: bool) -> None:
    """Turn down what an operator has proposed."""
    root.show(shell.run(lambda context: commands.reject(context, proposal)), as_json)


@main.command()
@click.argument("provider", required=False)
@click.option("--bar-sector", multiple=True, type=click.Choice(sorted(SECTORS)), help="Nothing of it for this sector.")
@click.option("--bar", multiple=True, metavar="CATEGORY:SECTOR", help="No alerts of this category for this sector.")
@click.option("--quota", type=click.IntRange(1), help="Most new events a day that rest on it, for each organisation.")
@click.option("--reason", help="Where the terms stand; required to set them.")
@as_json
@click.pass_obj
def terms(
    shell: Shell,
    provider: str | None,
    bar_sector: tuple[str, ...],
    bar: tuple[str, ...],
    quota: int | None,
    reason: str | None,
    as_json: bool,
) -> None:
    """What providers' terms bar. With PROVIDER and --reason: set them, in place of what they were.

    What permits more than before may need a second operator; what bars more holds at once.
    """
    waits = None
    if reason is not None:
        if provider is None:
            raise errors.UsageError("terms: name the provider")
        cells = [_cell(text) for text in bar]
        values = {
            "provider": provider, "barred_sectors": bar_sector, "barred_cells": cells, "quota": quota, "reason": reason,
        }  # fmt: skip
        waits = shell.act(
            "terms",
            provider,
            lambda db, actor, at: approving.set_terms(
                db, actor, at, values, shell.settings.two_persons, app.own_terms(shell.settings.source, provider)
            ),
        )
        if waits is not None:
            click.echo(waits.text, err=True)
    elif bar_sector or bar or quota is not None:
        raise errors.UsageError("terms: give a --reason, such as where the terms stand; it stands in the audit")
    found: list[dict[str, Any]] = [
        {
            "provider": each.provider,
            "barred_sectors": sorted(each.barred_sectors),
            "barred_cells": [f"{category}:{sector}" for category, sector in sorted(each.barred_cells)],
            "quota": each.quota,
        }
        | ({} if waits is None else {"proposal": waits.proposal})
        for each in shell.read(access.terms)
        if provider in (None, each.provider)
    ]
    shown = [
        row | {name: ", ".join(row[name]) or "none" for name in ("barred_sectors", "barred_cells")} for row in found
    ]
    text = root.table(shown, ["provider", "barred_sectors", "barred_cells", "quota"]).text
    root.show(Answer(text=text, data=found), as_json)


@main.command()
@click.option("--since", type=When(), help="From this time on; default the last 90 days.")
@click.option("--until", type=When(), help="Up to this time; default now.")
@click.option("--names", is_flag=True, help="With the names of the organisations touched.")
@as_json
@click.pass_obj
def report(shell: Shell, since: datetime | None, until: datetime | None, names: bool, as_json: bool) -> None:
    """The transparency report: what was withdrawn from whom, as counts. Markdown, or JSON."""
    end = until or app.now()
    begin = since or end - timedelta(days=90)
    if begin >= end:
        raise errors.UsageError(
            "report: --since does not lie before --until; 30d would be 30 days from now, write a date"
        )
    found = shell.read(lambda db: reporting.report(db, begin, end, names=names))
    root.show(Answer(text=reporting.markdown(found), data=found), as_json)


@audit_group.command("clients")
@click.option("--sector", type=click.Choice(sorted(SECTORS)), help="Look for this class; default all that are barred.")
@as_json
@click.pass_obj
def audit_clients(shell: Shell, sector: str | None, as_json: bool) -> None:
    """Who was missed: organisations that look like a barred class and are not in it, for a person to judge."""
    found = shell.read(lambda db: missed.clients(db, app.now(), sector))
    lines = [
        f"{row['name']} ({row['sector']}) looks like {row['looks_like']}: "
        + "; ".join(sign["evidence"] for sign in row["signs"])
        for row in found
    ]
    root.show(
        Answer(text="\n".join(lines) or "nobody looks like a barred class without being in it", data=found), as_json
    )


@audit_group.command("head")
@as_json
@click.pass_obj
def audit_head(shell: Shell, as_json: bool) -> None:
    """The last entry's number and hash: publish it, and nobody can rewrite what came before unseen."""
    found = shell.read(audit.head)
    root.show(Answer(text=f"{found['seq']}:{found['hash']}", data=found), as_json)


def _cell(text: str) -> tuple[str, str]:
    category, _, sector = text.partition(":")
    if category not in CATEGORIES:
        raise errors.UsageError(f"terms: {text!r} is not CATEGORY:SECTOR, such as unrest:government/law_enforcement")
    return category, sector
