"""What all commands share: the global options, the store opened when it is first needed, errors as one sentence.

Exit status: 0 done, 1 could not be done, 2 wrong usage or configuration.
"""

import asyncio
import json
import os
import pwd
import sys
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click

from bot import admin, app, config, logs, printing
from bot.admin import Actor
from bot.commands import Answer, Context
from bot.domain import errors
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
                    database=database,
                    actor=self.actor,
                    now=app.now,
                    locate=app.locator(app.load_gazetteer),
                    two_persons=self.settings.two_persons,
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


def lines_of(file: str) -> Iterable[bytes]:
    if file == "-":
        yield from sys.stdin.buffer
        return
    try:
        with Path(file).open("rb") as stream:
            yield from stream
    except OSError as error:
        raise errors.UsageError(f"{file}: cannot be read ({error.strerror}); check the path") from error


def table(found: Sequence[dict[str, Any]], columns: Sequence[str]) -> Answer:
    return Answer(text=printing.table(found, columns), data=found)


def _login() -> str:
    """Whose process this is. Not what the environment says: with ``LOGNAME`` one person would be two."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _first_of(group: BaseException) -> BaseException:
    """The innermost first error of nested groups; an error that is not ours is a bug and is raised as it is."""
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    if not isinstance(group, errors.TocsinError | BrokenPipeError | UnicodeEncodeError):
        raise group
    return group
