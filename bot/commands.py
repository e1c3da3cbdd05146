"""What commands do, for the command line and the chat surfaces alike; and the options that they share.

Each use case is a coroutine that gives an ``Answer``.
"""

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import click

from bot import admin, approving, printing, revoking, tuning
from bot.admin import Actor
from bot.domain import access as rules
from bot.domain import channel as channels
from bot.domain import errors, presets, times
from bot.domain.access import Capability
from bot.domain.alert import Certainty, Level
from bot.domain.channel import Channel
from bot.domain.subscription import RADIUS_KM, PlaceFilter, Subscription, with_radius
from bot.pipeline import explaining
from bot.store import deliveries, directory
from bot.store.database import Database, Tables
from classifiers.api import CATEGORIES

F = TypeVar("F", bound=Callable[..., Any])
PLACES_MOST, WORDS_MOST, WORD_MOST = 30, 30, 50  # of one subscription; a form holds 2,000 characters
RECENT = timedelta(hours=24)  # further back is looking back, which needs the capability ``history``


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """``text`` for people, ``data`` for ``--json`` (a list becomes JSON lines)."""

    text: str
    data: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a command needs to run. ``channel``: where it was typed; None on the command line. ``two_persons``: the acts
    that another operator has to approve."""

    database: Database
    actor: Actor
    now: Callable[[], datetime]
    locate: Callable[[str], PlaceFilter | None]
    channel: Channel | None = None
    two_persons: frozenset[str] = frozenset()


class When(click.ParamType[datetime]):
    """A time: RFC 3339 (``2031-05-14T12:00:00Z``, ``2031-05-14``) or from now on (``90m``, ``36h``, ``14d``)."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if value[-1:] in "mhd" and value[:-1].isdigit():
                return datetime.now(UTC) + times.parse_span(value)
            return times.from_text(value)
        except (ValueError, OverflowError):
            self.fail(f"{value!r} is not a time; write 2031-05-14T12:00:00Z or 36h", param, ctx)


def subscription_options(command: F) -> F:
    """What a channel gets."""
    for option in reversed(
        [
            click.option("--preset", type=click.Choice(list(presets.PRESETS)), help="What a sector usually wants."),
            click.option("--anywhere", is_flag=True, help="Every place, also unknown ones."),
            click.option("--place", multiple=True, help="A country, region or city; may be given several times."),
            click.option(
                "--radius",
                multiple=True,
                help=f"Kilometres around cities, default {RADIUS_KM:g}; for one category: earthquake=300.",
            ),
            click.option("--category", multiple=True, type=click.Choice(CATEGORIES), help="Only these; default all."),
            click.option(
                "--level",
                type=click.Choice([level.value for level in Level]),
                help="This level and louder; default alert.",
            ),
            click.option(
                "--certainty",
                type=click.Choice([each.value for each in Certainty]),
                help="possible: as soon as it is an alert (default); likely: corroborated; observed.",
            ),
            click.option(
                "--voices", type=click.IntRange(1, 1000), default=1, help="At least so many independent voices."
            ),
            click.option("--keyword", multiple=True, help="One of these stands in the headline; flood* begins a word."),
            click.option("--exclude", multiple=True, help="None of these stands in the headline."),
            click.option("--lang", multiple=True, help="Evidence in one of these languages (en, es)."),
            click.option("--provider", multiple=True, help="Evidence from one of these providers."),
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
            click.option("--requester", default="", help="Who asked for it; stands in the transparency report."),
            click.option("--notice", help="Tell the channels this, instead of the usual sentence."),
            click.option("--silent", help="Tell the channels nothing; the reason why stands in the audit."),
            click.option("--retract", is_flag=True, help="Also take back what was delivered."),
            click.option("--within", help="Take back only what was sent in this time, such as 36h."),
            click.option("--drop-credentials", is_flag=True, help="At the end let go of the workspaces' tokens."),
            click.option("--dry-run", is_flag=True, help="Show whom it touches and whom not; change nothing."),
            click.option("--plan", help="Refuse unless this dry run's plan still holds."),
        ]
    ):
        command = option(command)
    return command


async def subscribe(context: Context, channel: Channel, values: dict[str, Any]) -> Answer:
    """Add a subscription to ``channel``. ``values`` are ``subscription_options``."""
    return await add(context, wanted_from(values, context.locate, str(channel)), preset=values["preset"])


async def add(
    context: Context, wanted: Subscription, *, preset: str | None = None, replacing: str | None = None
) -> Answer:
    """Add a subscription, or put it in the place of one. With a preset the channel gets its budget, if it has none."""
    channel, now = channels.parse(wanted.channel), context.now()
    made = await admin.subscribe(context.database, context.actor, now, wanted, replacing=replacing)
    text = f"subscribed {channel}: {made.describe()} (subscription {made.subscription})"
    if preset is not None and (await context.database.read(directory.quieting, str(channel))).budget is None:
        budget = presets.named(preset).budget
        await tuning.set_budget(context.database, context.actor, now, channel, budget)
        text += f"\nat most {budget} new events a day, the rest in a digest; `/tocsin budget off` lifts that"
    return Answer(
        text=text, data={"subscription": made.subscription, "channel": str(channel), "describe": made.describe()}
    )


def wanted_from(values: dict[str, Any], locate: Callable[[str], PlaceFilter | None], channel: str) -> Subscription:
    """What ``subscription_options`` say. Raises UsageError for a place or a radius that cannot be meant."""
    preset = presets.named(values["preset"]) if values["preset"] else None
    radius_km, radii = _radii(values["radius"])
    places = tuple(_located(text, locate) for text in values["place"])
    _check_words(values)
    level = values["level"] or (preset.level if preset else Level.ALERT)
    certainty = values["certainty"] or (preset.certainty if preset else Certainty.POSSIBLE)
    return Subscription(
        subscription="",
        channel=channel,
        anywhere=values["anywhere"],
        places=with_radius(places, radius_km),
        categories=frozenset(values["category"]) or (preset.categories if preset else frozenset()),
        level=Level(level),
        certainty=Certainty(certainty),
        min_authors=values["voices"],
        radii=radii,
        keywords=tuple(values["keyword"]),
        excluded=tuple(values["exclude"]),
        langs=frozenset(map(str.casefold, values["lang"])),
        providers=frozenset(map(rules.check_provider, values["provider"])),
    )


def _check_words(values: dict[str, Any]) -> None:
    """Raise UsageError for what could never match, or is too much for the form that changes it."""
    for word in (*values["keyword"], *values["exclude"]):
        if not word.strip(" *") or len(word) > WORD_MOST:
            raise errors.UsageError(f"{word[:20]!r} is no word of a headline: 1 to {WORD_MOST} letters")
    for lang in values["lang"]:
        if re.fullmatch(r"[A-Za-z]{2,3}", lang) is None:
            raise errors.UsageError(f"language {lang[:20]!r} is not a code of two or three letters, such as en or es")
    if len(values["place"]) > PLACES_MOST or len(values["keyword"]) + len(values["exclude"]) > WORDS_MOST:
        raise errors.UsageError(f"at most {PLACES_MOST} places and {WORDS_MOST} words in one subscription")


async def unsubscribe(context: Context, channel: Channel, subscription_id: str | None) -> Answer:
    """Remove one subscription of ``channel``, or all."""
    gone = await admin.unsubscribe(context.database, context.actor, context.now(), channel, subscription_id)
    return Answer(
        text=f"removed {gone} subscription{'s' if gone != 1 else ''} of {channel}",
        data={"channel": str(channel), "removed": gone},
    )


async def revoke(context: Context, values: dict[str, Any]) -> Answer:
    """Withdraw access, or plan to. ``values`` are ``revocation_options``."""
    order = revoking.Order(**values | {"within": span(values["within"]) if values["within"] else None})
    target = " ".join(f"{k}={values[k]}" for k in ("org", "workspace", "channel", "sector", "provider") if values[k])
    effect = await admin.act(
        context.database, context.actor, "revoke", target, context.now, approving.revoke, order, context.two_persons
    )
    return Answer(text=_told(effect), data=effect.to_json())


async def reinstate(context: Context, revocation: str, reason: str) -> Answer:
    """Lift a revocation, or propose it where that needs a second person."""
    done = await admin.act(
        context.database, context.actor, "reinstate", revocation, context.now, approving.reinstate, revocation, reason,
        context.two_persons,
    )  # fmt: skip
    if done["lifted_at"] is None:
        return Answer(text=f"{_proposed([done['proposal']])}; until then revocation {revocation} holds", data=done)
    return Answer(text=f"revocation {revocation} is lifted; what was withheld stays withheld", data=done)


async def grant(context: Context, values: dict[str, Any]) -> Answer:
    """Permit to receive, or propose it where that needs a second person. ``values``: as ``admin.grant`` takes them."""
    target = values["org"] or f"sector {values['sector']}"
    made = await admin.act(
        context.database, context.actor, "grant", target, context.now, approving.grant, values, context.two_persons
    )
    if isinstance(made, str):
        return Answer(
            text=f"{_proposed([made])}; until then nothing is granted", data={"grant": None, "proposal": made}
        )
    data = {
        "grant": made.grant, "org": made.org, "sector": made.sector, "provider": made.provider,
        "capabilities": sorted(made.capabilities),
    }  # fmt: skip
    return Answer(text=f"grant {made.grant}: {made.provider} to {made.org or made.sector}", data=data)


async def approve(context: Context, proposal: str) -> Answer:
    """Carry out what another operator has proposed."""
    if context.actor.operator is None:
        await admin.refuse(context.database, context.actor, "approve", proposal, context.now(), "not an operator")
    done = await approving.approve(context.database, context.actor, context.now(), proposal)
    return Answer(text=f"approved {proposal}: {done}", data={"proposal": proposal, "state": "approved", "done": done})


async def reject(context: Context, proposal: str) -> Answer:
    """Turn down what an operator has proposed."""
    await admin.act(context.database, context.actor, "reject", proposal, context.now, approving.reject, proposal)
    return Answer(text=f"proposal {proposal} is rejected", data={"proposal": proposal, "state": "rejected"})


async def proposals(context: Context) -> Answer:
    """What waits for a second operator, and what became of the rest."""
    found = await context.database.read(approving.listed, context.now())
    shown = ["proposal", "act", "target", "proposer", "expires_at", "state", "reason"]
    return Answer(text=printing.table(found, shown), data=found)


def span(text: str) -> timedelta:
    """``30m``, ``2h``, ``1d``; raises UsageError."""
    try:
        return times.parse_span(text)
    except (ValueError, OverflowError):
        raise errors.UsageError(f"{text!r} is not a span of time; write 30m, 2h or 1d") from None


async def look_back(context: Context, name: str, since: datetime | None, search: str) -> Answer:
    """An organisation's Alert lines; needs ``history``. What it may not have is left out."""
    found = await context.database.read(admin.look_back, context.now(), name, Capability.HISTORY, since, search)
    text = "\n".join(printing.alert(line) for line in found)
    return Answer(text=text or "no alert in that time", data=found)


async def export(context: Context, name: str, since: datetime) -> Answer:
    """An organisation's Alert lines; needs ``export``, and is audited, as its refusal is."""
    try:
        found = await context.database.write(lambda db: admin.export(db, context.actor, context.now(), name, since))
    except errors.RefusedError as error:
        await admin.record_refusal(context.database, context.actor, "export", name, context.now(), str(error))
        raise
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


async def why(context: Context, channel: Channel, what: str | None) -> Answer:
    """Why a channel got an alert, or did not. ``what``: an alert's or an event's id; None: the latest."""

    def read(db: Tables) -> tuple[list[explaining.Stage], bool]:
        org = admin.check_may_receive(db, channel, context.now())
        latest = what or next((row["event"] for row in deliveries.told(db, str(channel), context.now() - RECENT)), None)
        if latest is None:
            raise errors.UsageError("nothing was told here in the last 24 hours; name an alert: `/tocsin why ALERT`")
        return explaining.in_channel(db, latest, org, context.now(), str(channel))

    return explained(*await context.database.read(read))


def _radii(given: Sequence[str]) -> tuple[float | None, dict[str, float]]:
    """``50``, ``earthquake=300`` → the radius of all, if one is given, and those of categories."""
    radius_km: float | None = None
    radii: dict[str, float] = {}
    for text in given:
        category, _, number = text.rpartition("=")
        try:
            km = float(number)
        except ValueError:
            km = 0.0
        if not 1 <= km <= 2000:
            raise errors.UsageError(f"radius {text!r}: give kilometres from 1 to 2000, such as 50 or earthquake=300")
        if category and category not in CATEGORIES:
            raise errors.UsageError(f"radius {text!r}: {category!r} is not a category{_close(category, CATEGORIES)}")
        if category:
            radii[category] = km
        else:
            radius_km = km
    return radius_km, radii


def _located(text: str, locate: Callable[[str], PlaceFilter | None]) -> PlaceFilter:
    found = locate(text)
    if found is None:
        raise errors.UsageError(
            f"place {text!r} is not in the gazetteer, or there are several; name a country, a region or a larger city, "
            "where need be with its country: Paris, Texas"
        )
    return found


def _close(word: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _told(effect: revoking.Effect) -> str:
    """A revocation's effect in lines for people."""
    names = ", ".join(f"{org['name']} ({org['sector']})" for org in effect.touched) or "nobody"
    others = ", ".join(org["name"] for org in effect.untouched) or "nobody"
    head = (
        f"dry run, nothing was changed (plan {effect.plan})"
        if effect.dry_run
        else f"revocation {effect.revocation} holds since {effect.committed_at}"
    )
    if effect.proposals:
        head += f"; {_proposed(effect.proposals)}"
    if effect.refused:
        head += f"; {effect.refused}"
    lines = [
        head,
        f"touched: {names}" + ("" if effect.touched else "; check the names, `tocsin org list` shows them"),
        f"not touched: {others}",
        f"queued and withheld: {effect.withheld} (held back for the channel: {effect.held})",
        f"in flight (may still arrive within 10 s): {len(effect.in_flight)} · delivered before: {effect.delivered}",
    ]
    if effect.retracting:
        lines.append(f"being retracted: {effect.retracting}")
    if effect.notices:
        lines.append(f"channels told: {effect.notices}")
    if effect.dropping:
        lines.append(f"tokens to be let go of: {', '.join(effect.dropping)}")
    return "\n".join(lines)


def _proposed(ids: Sequence[str]) -> str:
    return "proposed, another operator has to approve it within a day: " + ", ".join(
        f"`tocsin approve {each}`" for each in ids
    )
