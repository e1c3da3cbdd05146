"""The slash commands of the chat surfaces.

Each is a click command whose callback gives a coroutine; who invokes it awaits that and shows the ``Answer``. On Slack
the text after the command has the command line's syntax; on Discord the options become the same words.
"""

import contextlib
import difflib
from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, cast

import click

from bot import admin, commands, glancing, joining, tuning
from bot.commands import Answer, Context, revocation_options, subscription_options
from bot.domain import channel as channels
from bot.domain import errors, quieting
from bot.domain.channel import Channel
from bot.domain.quieting import QuietHours, Quieting
from bot.domain.subscription import Subscription
from bot.platforms.base import Option, Subcommand
from bot.store import audit, directory

LISTED_MOST = 20  # rows of a list in a chat answer
COMPLETED = frozenset({"category", "place", "zone", "subscription"})  # options that the desk has suggestions for


@click.group("tocsin")
def tocsin() -> None:
    """Alerts in this channel."""


@click.group("tocsin-admin")
def tocsin_admin() -> None:
    """For operators of this service."""


@tocsin.command("join", help="This workspace belongs to an organisation; CODE comes from an operator.")
@click.argument("code")
@click.pass_obj
async def _join(context: Context, code: str) -> Answer:
    org = await joining.join(context.database, context.actor, context.now(), _here(context), code)
    return Answer(
        text=f"This workspace belongs to {org.name} now. Next: `/tocsin subscribe` in a channel that is to get alerts."
    )


@tocsin.command("subscribe", help="Get alerts in this channel; without options it asks for everything.")
@subscription_options
@click.pass_obj
def _subscribe(context: Context, /, **values: Any) -> Awaitable[Answer]:
    return commands.subscribe(context, _here(context), values)


@tocsin.command("change", help="Change a subscription of this channel in a form.")
@click.argument("subscription")
@click.pass_obj
async def _change(context: Context, subscription: str) -> Answer:
    await find_subscription(context, subscription)
    await admin.authorise_in_workspace(context.database, context.actor, "change", _here(context), context.now())
    return Answer(text="The form could not be shown this time; give the command again, or subscribe anew in words.")


@tocsin.command("unsubscribe", help="Remove one subscription of this channel, or all.")
@click.argument("subscription", required=False)
@click.pass_obj
def _unsubscribe(context: Context, subscription: str | None) -> Awaitable[Answer]:
    return commands.unsubscribe(context, _here(context), subscription)


@tocsin.command("subscriptions", help="What this channel gets.")
@click.pass_obj
async def _subscriptions(context: Context) -> Answer:
    here = _here(context)
    found = await context.database.read(admin.subscriptions, context.now(), here)
    lines = [f"{each.subscription}: {each.describe()}" for each in found]
    return Answer(text="\n".join(lines) or f"{here} has no subscription; `/tocsin subscribe` adds one")


@tocsin.command("status", help="Is all well here: access, settings, what waits.")
@click.pass_obj
async def _status(context: Context) -> Answer:
    here = _here(context)
    return Answer(text="\n".join(await context.database.read(glancing.status, here, context.now())))


@tocsin.command("test", help="Send a test message to this channel.")
@click.pass_obj
async def _test(context: Context) -> Answer:
    here, now = _here(context), context.now()
    await admin.authorise_in_workspace(context.database, context.actor, "test", here, now)
    await context.database.write(admin.queue_test, context.actor, now, here)
    return Answer(text="A test message is on its way to this channel; it takes the way that alerts take.")


@tocsin.command("mute", help="Hold everything back for a while (2h, 1d, at most 7d), or off.")
@click.argument("span")
@click.pass_obj
async def _mute(context: Context, span: str) -> Answer:
    until = None if span == "off" else context.now() + commands.span(span)
    return _quieted(await tuning.mute(context.database, context.actor, context.now(), _here(context), until))


@tocsin.command("quiet", help="Quiet hours, such as 22:00-07:00, or off; flash alerts come all the same.")
@click.argument("hours")
@click.option("--zone", help="Time zone, such as Europe/Dublin; default the channel's, at first UTC.")
@click.option("--no-flash", is_flag=True, help="Hold back flash alerts, too.")
@click.pass_obj
async def _quiet(context: Context, hours: str, zone: str | None, no_flash: bool) -> Answer:
    quiet = None
    if hours != "off":
        start, end = quieting.parse_hours(hours)
        quiet = QuietHours(start=start, end=end, flash=not no_flash)
    here = _here(context)
    return _quieted(await tuning.set_quiet_hours(context.database, context.actor, context.now(), here, quiet, zone))


@tocsin.command("digest", help="One message at these times of the day (08:00,17:30) in place of many, or off.")
@click.argument("hours")
@click.option("--zone", help="Time zone, such as Europe/Dublin; default the channel's, at first UTC.")
@click.pass_obj
async def _digest(context: Context, hours: str, zone: str | None) -> Answer:
    clocks = () if hours == "off" else tuple(sorted({quieting.parse_clock(each) for each in hours.split(",")}))
    here = _here(context)
    return _quieted(await tuning.set_digest(context.database, context.actor, context.now(), here, clocks, zone))


@tocsin.command("budget", help="At most so many new events a day, or off; the rest comes in the next digest.")
@click.argument("number")
@click.pass_obj
async def _budget(context: Context, number: str) -> Answer:
    if number != "off" and not (number.isdecimal() and len(number) < 5 and 1 <= int(number) <= quieting.BUDGET_MOST):
        raise errors.UsageError(f"{number!r} is not a budget; give a number from 1 to {quieting.BUDGET_MOST}, or off")
    budget = None if number == "off" else int(number)
    return _quieted(await tuning.set_budget(context.database, context.actor, context.now(), _here(context), budget))


@tocsin.command("editors", help="Who may change what this workspace gets.")
@click.argument("who", type=click.Choice(tuning.EDITORS))
@click.pass_obj
async def _editors(context: Context, who: str) -> Answer:
    here = _here(context)
    await tuning.set_editors(context.database, context.actor, context.now(), here, who)
    whom = "everybody here" if who == "members" else "admins of this workspace"
    return Answer(text=f"{whom} may change what its channels get")


@tocsin.command("why", help="Why this channel got an alert, or did not; without one, the latest.")
@click.argument("alert", required=False)
@click.pass_obj
async def _why(context: Context, alert: str | None) -> Answer:
    return await commands.why(context, _here(context), alert)


@tocsin.command("recent", help="What this channel was told in the last 24 hours.")
@click.option("--search", default="", help="This stands in the headline or is the category.")
@click.pass_obj
async def _recent(context: Context, search: str) -> Answer:
    lines = await context.database.read(glancing.recent, _here(context), context.now(), search)
    return Answer(text="\n".join(lines) or "nothing in the last 24 hours")


@tocsin.command("help", help="What there is to say.")
@click.pass_obj
async def _help(context: Context) -> Answer:  # noqa: ARG001
    return Answer(text="\n".join(_usage(tocsin)))


@tocsin_admin.command("revoke", help="Withdraw access, at once.")
@revocation_options
@click.pass_obj
def _revoke(context: Context, /, **values: Any) -> Awaitable[Answer]:
    return commands.revoke(context, values)


@tocsin_admin.command("reinstate", help="Lift a revocation.")
@click.argument("revocation")
@click.option("--reason", required=True, help="Stands in the audit.")
@click.pass_obj
def _reinstate(context: Context, revocation: str, reason: str) -> Awaitable[Answer]:
    return commands.reinstate(context, revocation, reason)


@tocsin_admin.command("proposals", help="What waits for a second operator.")
@click.pass_obj
async def _proposals(context: Context) -> Answer:
    return await commands.proposals(context)


@tocsin_admin.command("approve", help="Carry out what another operator has proposed.")
@click.argument("proposal")
@click.pass_obj
def _approve(context: Context, proposal: str) -> Awaitable[Answer]:
    return commands.approve(context, proposal)


@tocsin_admin.command("reject", help="Turn down what an operator has proposed.")
@click.argument("proposal")
@click.pass_obj
def _reject(context: Context, proposal: str) -> Awaitable[Answer]:
    return commands.reject(context, proposal)


@tocsin_admin.command("orgs", help="The organisations and their sectors.")
@click.pass_obj
async def _orgs(context: Context) -> Answer:
    found = await context.database.read(directory.organisations)
    lines = [f"{org.org}  {org.name}  {org.sector}  {org.state.value}" for org in found]
    return Answer(text="\n".join(lines) or "no organisation yet")


@tocsin_admin.command("audit", help="The latest acts.")
@click.pass_obj
async def _audit(context: Context) -> Answer:
    entries = await context.database.read(audit.latest, LISTED_MOST)
    return Answer(text="\n".join(f"{e.seq}  {e.at}  {e.actor}  {e.action}  {e.target}  {e.reason}" for e in entries))


async def invoke(group: click.Group, argv: Sequence[str], context: Context) -> Answer:
    """Parse and run; click's complaints become UsageErrors, its help text an answer."""
    words = list(argv)
    if not words or words[0] in ("-h", "--help") or (words[0] == "help" and "help" not in group.commands):
        return Answer(text="\n".join(_usage(group)))
    command = group.commands.get(words[0])
    if command is None:
        raise errors.UsageError(f"/{group.name} {words[0]} does not exist; {_meant(group, words[0])}")
    if "--help" in words:
        with click.Context(command, info_name=f"/{group.name} {command.name}") as shown:
            return Answer(text=command.get_help(shown))
    # Click keeps its contexts on one stack a thread: nothing is awaited while one is on it.
    with parsed(group, command, words[1:], context) as found:
        answer = cast(Awaitable[Answer], command.invoke(found))
    return await answer


@contextlib.contextmanager
def parsed(
    group: click.Group, command: click.Command, words: Sequence[str], context: Context
) -> Iterator[click.Context]:
    """A subcommand with its words. Raises UsageError for what click complains about."""
    try:
        with command.make_context(f"/{group.name} {command.name}", list(words), obj=context) as found:
            yield found
    except click.UsageError as error:
        raise errors.UsageError(f"/{group.name} {command.name}: {error.format_message()}") from None


async def find_subscription(context: Context, name: str) -> Subscription:
    """One of the channel's. Raises UsageError where it has none of that name."""
    here = _here(context)
    for each in await context.database.read(admin.subscriptions, context.now(), here):
        if each.subscription == name:
            return each
    raise errors.UsageError(f"channel {here} has no subscription {name!r}; `/tocsin subscriptions` shows what it has")


def _quieted(settings: Quieting) -> Answer:
    return Answer(text="\n".join(settings.describe()) or "everything comes at once, at any hour")


def _meant(group: click.Group, word: str) -> str:
    close = difflib.get_close_matches(word, list(group.commands), n=1)
    return f"did you mean `{close[0]}`?" if close else "; ".join(_usage(group))


def storable(word: str) -> str:
    """Lone surrogates can be typed but not stored; each becomes ``?``."""
    return word.encode("utf-8", "replace").decode("utf-8")


def _usage(group: click.Group) -> list[str]:
    return [f"/{group.name} {name} — {command.help}" for name, command in group.commands.items()]


def subcommands(group: click.Group) -> list[Subcommand]:
    return [
        Subcommand(
            command=str(group.name),
            name=name,
            description=command.help or name,
            options=tuple(_option(param) for param in command.params),
        )
        for name, command in group.commands.items()
    ]


def _option(param: click.Parameter) -> Option:
    flag = isinstance(param, click.Option) and param.is_flag
    return Option(
        name=param.opts[0].lstrip("-"),
        description=getattr(param, "help", None) or str(param.name),
        required=param.required,
        positional=isinstance(param, click.Argument),
        multiple=param.multiple,
        flag=flag,
        completes=param.name in COMPLETED,
        choices=tuple(param.type.choices) if isinstance(param.type, click.Choice) else (),
    )


def _here(context: Context) -> Channel:
    if context.channel is None:
        raise errors.UsageError("this command needs a channel")
    return channels.parse(str(context.channel))
