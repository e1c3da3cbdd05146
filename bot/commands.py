"""The commands that chat surfaces share with the command line: one definition, three ways in.

Each is a click command whose callback gives a coroutine; who invokes it awaits that and shows the ``Answer``. On Slack
the text after the command has the command line's syntax; on Discord the options become the same words.
"""

import shlex
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast

import click
import structlog

from bot import admin, printing, revoking
from bot.admin import Actor
from bot.domain import channel as channels
from bot.domain import errors, times
from bot.domain.access import Capability
from bot.domain.alert import Level
from bot.domain.channel import Channel
from bot.domain.subscription import PlaceFilter, Subscription
from bot.pipeline import explaining
from bot.platforms.base import Invocation, Option, Subcommand
from bot.store import audit, directory
from bot.store.database import Database, Tables
from classifiers.api import CATEGORIES

log = structlog.get_logger()

F = TypeVar("F", bound=Callable[..., Any])
LISTED_MOST = 20  # rows of a list in a chat answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``text`` for people, ``data`` for ``--json`` (a list becomes JSON lines)."""

    text: str
    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a command needs to run. ``channel``: where it was typed; None on the command line."""

    database: Database
    actor: Actor
    now: Callable[[], datetime]
    locate: Callable[[str], PlaceFilter | None]
    channel: Channel | None = None


class When(click.ParamType[datetime]):
    """A time: RFC 3339 (``2031-05-14T12:00:00Z``, ``2031-05-14``) or from now on (``90m``, ``36h``, ``14d``)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        units = {"m": "minutes", "h": "hours", "d": "days"}
        try:
            if value[-1:] in units and value[:-1].isdigit():
                return datetime.now(UTC) + timedelta(**{units[value[-1]]: int(value[:-1])})
            return times.from_text(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time; write 2031-05-14T12:00:00Z or 36h", param, ctx)


def subscription_options(command: F) -> F:
    """What a channel gets."""
    for option in reversed(
        [
            click.option("--anywhere", is_flag=True, help="Every place, also unknown ones."),
            click.option("--place", multiple=True, help="A country, region or city; may be given several times."),
            click.option("--radius", type=click.FloatRange(1, 2000), default=50, help="Kilometres around a city."),
            click.option("--category", multiple=True, type=click.Choice(CATEGORIES), help="Only these; default all."),
            click.option(
                "--level",
                type=click.Choice([level.value for level in Level]),
                default=Level.ALERT.value,
                help="This level and louder.",
            ),
            click.option("--keyword", multiple=True, help="One of these words stands in the headline."),
            click.option("--lang", multiple=True, help="Evidence in one of these languages (en, es)."),
            click.option("--provider", multiple=True, help="Evidence from one of these providers."),
            click.option("--voices", type=click.IntRange(1), default=1, help="At least so many independent voices."),
        ]
    ):
        command = option(command)
    return command


def revocation_options(command: F) -> F:
    """Whose access is withdrawn to what; the fields given are ANDed."""
    for option in reversed(
        [
            click.option("--org", help="Organisation, by name or id."),
            click.option("--workspace", help="slack:T0123 or discord:GUILD."),
            click.option("--channel", help="slack:T0123/C0456."),
            click.option("--sector", help="A sector and everything below it."),
            click.option("--provider", help="A data provider."),
            click.option("--category", type=click.Choice(CATEGORIES), help="Only alerts of this category."),
            click.option("--capability", type=click.Choice([c.value for c in Capability]), help="Default: all."),
            click.option("--reason", required=True, help="Stands in the audit and in refusals."),
            click.option("--from", "from_at", type=When(), help="Not before this time."),
            click.option("--until", type=When(), help="Ends by itself at this time."),
            click.option("--retract", is_flag=True, help="Also take back what was delivered."),
            click.option("--dry-run", is_flag=True, help="Show whom it touches and whom not; change nothing."),
            click.option("--plan", help="Refuse unless this dry run's plan still holds."),
        ]
    ):
        command = option(command)
    return command


async def subscribe(context: Context, channel: Channel, values: dict[str, Any]) -> Answer:
    """Add a subscription to ``channel``. ``values`` are ``subscription_options``."""
    places = []
    for text in values["place"]:
        found = context.locate(text)
        if found is None:
            raise errors.UsageError(
                f"place {text!r} is not in the gazetteer; name a country, a region or a larger city"
            )
        if found.lat is not None:
            found = PlaceFilter(
                name=found.name, country=found.country, lat=found.lat, lon=found.lon, radius_km=values["radius"]
            )
        places.append(found)
    wanted = Subscription(
        subscription="",
        channel=str(channel),
        anywhere=values["anywhere"],
        places=tuple(places),
        categories=frozenset(values["category"]),
        level=Level(values["level"]),
        keywords=tuple(values["keyword"]),
        langs=frozenset(values["lang"]),
        providers=frozenset(values["provider"]),
        min_authors=values["voices"],
    )
    made = await admin.subscribe(context.database, context.actor, context.now(), wanted)
    return Answer(
        text=f"subscribed {channel}: {made.describe()} (subscription {made.subscription})",
        data={"subscription": made.subscription, "channel": str(channel), "describe": made.describe()},
    )


async def unsubscribe(context: Context, channel: Channel, subscription_id: str | None) -> Answer:
    """Remove one subscription of ``channel``, or all."""
    gone = await admin.unsubscribe(context.database, context.actor, context.now(), channel, subscription_id)
    return Answer(
        text=f"removed {gone} subscription{'s' if gone != 1 else ''} of {channel}",
        data={"channel": str(channel), "removed": gone},
    )


async def revoke(context: Context, values: dict[str, Any]) -> Answer:
    """Withdraw access, or plan to. ``values`` are ``revocation_options``."""
    order = revoking.Order(**values)
    target = " ".join(f"{k}={values[k]}" for k in ("org", "workspace", "channel", "sector", "provider") if values[k])
    effect = await admin.act(context.database, context.actor, "revoke", target, context.now, revoking.revoke, order)
    return Answer(text=_told(effect), data=effect.to_json())


async def reinstate(context: Context, revocation: str, reason: str) -> Answer:
    """Lift a revocation."""
    done = await admin.act(
        context.database, context.actor, "reinstate", revocation, context.now, revoking.reinstate, revocation, reason
    )
    return Answer(text=f"revocation {revocation} is lifted; what was withheld stays withheld", data=done)


async def look_back(context: Context, name: str, since: datetime | None, search: str) -> Answer:
    """An organisation's Alert lines; needs ``history``. What it may not have is left out."""
    found = await context.database.read(admin.look_back, context.now(), name, Capability.HISTORY, since, search)
    text = "\n".join(printing.alert(line) for line in found)
    return Answer(text=text or "no alert in that time", data=found)


async def export(context: Context, name: str, since: datetime) -> Answer:
    """An organisation's Alert lines; needs ``export``, and is audited."""
    found = await context.database.write(lambda db: admin.export(db, context.actor, context.now(), name, since))
    return Answer(text="\n".join(printing.alert(line) for line in found), data=found)


async def explain(context: Context, what: str, name: str, make_detector: explaining.MakeDetector) -> Answer:
    """Stage by stage, why an organisation got a post or an alert, or did not. ``make_detector`` makes an empty one."""

    def read(db: Tables) -> tuple[list[explaining.Stage], bool]:
        return explaining.explain(db, what, directory.organisation(db, name), context.now(), make_detector)

    stages, shown = await context.database.read(read)
    return explained(stages, shown)


def explained(stages: Sequence[explaining.Stage], shown: bool) -> Answer:
    """The contract's ``{"stages", "shown"}``, and the same for people."""
    rows = [{"stage": each.stage, "verdict": each.verdict, "figures": each.figures} for each in stages]
    return Answer(
        text="\n".join([*printing.stages(rows), "shown" if shown else "not shown"]),
        data={"stages": rows, "shown": shown},
    )


@click.group("tocsin")
def _tocsin() -> None:
    """Alerts in this channel."""


@click.group("tocsin-admin")
def _tocsin_admin() -> None:
    """For operators of this service."""


@_tocsin.command("subscribe", help="Get alerts in this channel.")
@subscription_options
@click.pass_obj
def _subscribe(context: Context, /, **values: Any) -> Awaitable[Answer]:
    return subscribe(context, _here(context), values)


@_tocsin.command("unsubscribe", help="Remove one subscription of this channel, or all.")
@click.argument("subscription", required=False)
@click.pass_obj
def _unsubscribe(context: Context, subscription: str | None) -> Awaitable[Answer]:
    return unsubscribe(context, _here(context), subscription)


@_tocsin.command("subscriptions", help="What this channel gets.")
@click.pass_obj
async def _subscriptions(context: Context) -> Answer:
    here = _here(context)
    found = await context.database.read(admin.subscriptions, context.now(), here)
    lines = [f"{each.subscription}: {each.describe()}" for each in found]
    return Answer(text="\n".join(lines) or f"{here} has no subscription; `/tocsin subscribe --anywhere` adds one")


@_tocsin.command("help", help="What there is to say.")
@click.pass_obj
async def _help(context: Context) -> Answer:  # noqa: ARG001
    return Answer(text="\n".join(_usage(_tocsin)))


@_tocsin_admin.command("revoke", help="Withdraw access, at once.")
@revocation_options
@click.pass_obj
def _revoke(context: Context, /, **values: Any) -> Awaitable[Answer]:
    return revoke(context, values)


@_tocsin_admin.command("reinstate", help="Lift a revocation.")
@click.argument("revocation")
@click.option("--reason", required=True, help="Stands in the audit.")
@click.pass_obj
def _reinstate(context: Context, revocation: str, reason: str) -> Awaitable[Answer]:
    return reinstate(context, revocation, reason)


@_tocsin_admin.command("orgs", help="The organisations and their sectors.")
@click.pass_obj
async def _orgs(context: Context) -> Answer:
    def read(db: Tables, actor: Actor, at: datetime) -> list[str]:  # noqa: ARG001
        return [f"{org.org}  {org.name}  {org.sector}  {org.state.value}" for org in directory.organisations(db)]

    lines = await admin.act(context.database, context.actor, "orgs", "", context.now, read)
    return Answer(text="\n".join(lines) or "no organisation yet")


@_tocsin_admin.command("audit", help="The latest acts.")
@click.pass_obj
async def _audit(context: Context) -> Answer:
    def read(db: Tables, actor: Actor, at: datetime) -> list[str]:  # noqa: ARG001
        entries = list(audit.entries(db))[-LISTED_MOST:]
        return [f"{e.seq}  {e.at}  {e.actor}  {e.action}  {e.target}  {e.reason}" for e in entries]

    lines = await admin.act(context.database, context.actor, "audit", "", context.now, read)
    return Answer(text="\n".join(lines))


class Commands:
    """The ``Desk`` of the chat platforms."""

    def __init__(
        self,
        database: Database,
        *,
        operator_named: Callable[[str], str | None],
        locate: Callable[[str], PlaceFilter | None],
        now: Callable[[], datetime],
        on_change: Callable[[], None],
    ) -> None:
        self._database = database
        self._operator_named = operator_named
        self._locate = locate
        self._now = now
        self._on_change = on_change
        self.subcommands: Sequence[Subcommand] = [
            *_subcommands(_tocsin),
            *_subcommands(_tocsin_admin),
        ]

    async def answer(self, invocation: Invocation) -> str:
        """Never raises for what a person typed or may not do."""
        group = _tocsin_admin if invocation.command == "tocsin-admin" else _tocsin
        argv = [_storable(word) for word in invocation.argv]
        context = Context(
            database=self._database,
            actor=Actor(
                id=invocation.actor,
                surface=invocation.channel.platform,
                operator=self._operator_named(invocation.actor),
                workspace=invocation.channel.workspace if invocation.workspace_admin else None,
            ),
            now=self._now,
            locate=self._locate,
            channel=invocation.channel,
        )
        try:
            if group is _tocsin_admin and context.actor.operator is None:
                await admin.refuse(
                    self._database, context.actor, " ".join(argv[:1]) or "help",
                    shlex.join(argv[1:]), self._now(), "not an operator",
                )  # fmt: skip
            answer = await _invoke(group, argv, context)
        except errors.StoreError as error:
            log.error("command_failed", command=invocation.command, problem=str(error))
            return "the service could not write this down; its operators find the reason in its log"
        except errors.TocsinError as error:
            return str(error)
        self._on_change()
        return answer.text

    async def lost(self, target: str, reason: str) -> None:
        held = await self._database.write(admin.record_loss, self._now(), target, reason)
        log.error("channel_lost", target=target, reason=reason, held=held)

    async def restored(self, target: str) -> None:
        released = await self._database.write(admin.record_return, self._now(), target)
        if released:
            log.info("channel_restored", target=target, released=released)
            self._on_change()


async def _invoke(group: click.Group, argv: Sequence[str], context: Context) -> Answer:
    """Parse and run; click's complaints become UsageErrors, its help text an answer."""
    words = list(argv)
    if not words or words[0] in ("-h", "--help") or (words[0] == "help" and "help" not in group.commands):
        return Answer(text="\n".join(_usage(group)))
    command = group.commands.get(words[0])
    if command is None:
        raise errors.UsageError(f"/{group.name} {words[0]} does not exist; " + "; ".join(_usage(group)))
    if "--help" in words:
        with click.Context(command, info_name=f"/{group.name} {command.name}") as shown:
            return Answer(text=command.get_help(shown))
    try:
        # Click keeps its contexts on one stack a thread: nothing is awaited while one is on it.
        with command.make_context(f"/{group.name} {command.name}", words[1:], obj=context) as parsed:
            answer = cast(Awaitable[Answer], command.invoke(parsed))
    except click.UsageError as error:
        raise errors.UsageError(f"/{group.name} {words[0]}: {error.format_message()}") from None
    return await answer


def _storable(word: str) -> str:
    """Lone surrogates can be typed but not stored; each becomes ``?``."""
    return word.encode("utf-8", "replace").decode("utf-8")


def _usage(group: click.Group) -> list[str]:
    return [f"/{group.name} {name} — {command.help}" for name, command in group.commands.items()]


def _subcommands(group: click.Group) -> list[Subcommand]:
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
        choices=tuple(param.type.choices) if isinstance(param.type, click.Choice) else (),
    )


def _here(context: Context) -> Channel:
    if context.channel is None:
        raise errors.UsageError("this command needs a channel")
    return channels.parse(str(context.channel))


def _told(effect: revoking.Effect) -> str:
    """A revocation's effect in lines for people."""
    names = ", ".join(f"{org['name']} ({org['sector']})" for org in effect.touched) or "nobody"
    others = ", ".join(org["name"] for org in effect.untouched) or "nobody"
    head = (
        f"dry run, nothing was changed (plan {effect.plan})"
        if effect.dry_run
        else f"revocation {effect.revocation} holds since {effect.committed_at}"
    )
    lines = [
        head,
        f"touched: {names}" + ("" if effect.touched else "; check the names, `tocsin org list` shows them"),
        f"not touched: {others}",
        f"queued and withheld: {effect.withheld} · in flight (may still arrive within 10 s): {len(effect.in_flight)}"
        f" · delivered before: {effect.delivered}",
    ]
    if effect.retracting:
        lines.append(f"being retracted: {effect.retracting}")
    return "\n".join(lines)
