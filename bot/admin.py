"""What operators (and, for subscriptions, workspace admins) do. One function an act: authorise, change, effect, audit.

Each act is one write. The command line, Slack and Discord call the same functions. A refusal is audited by a write of
its own, because the act's transaction is rolled back. Withdrawing access is in ``revoking``.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Concatenate, NoReturn, ParamSpec, TypeVar

from bot.domain import access as rules
from bot.domain import alert as alerts
from bot.domain import channel as channels
from bot.domain import errors, subscription, times
from bot.domain.access import Capability, Grant, Organisation, OrganisationState, Policy, Terms
from bot.domain.alert import Alert
from bot.domain.channel import Channel
from bot.domain.delivery import Act
from bot.domain.subscription import Subscription
from bot.store import access, audit, deliveries, directory, events
from bot.store.database import Database, Tables

STANDING = "the provider's standing terms"

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """``id``: ``cli:ada``, ``slack:T0123/U0456``, ``discord:123``. ``operator``: that person's name, or None.

    ``workspace``: the workspace that this person administers, ``member``: the one whose they are, both by the
    platform's word, or None.
    """

    id: str
    surface: str
    operator: str | None = None
    workspace: str | None = None
    member: str | None = None

    def __str__(self) -> str:
        return f"{self.operator} ({self.id})" if self.operator else self.id


async def act(
    database: Database,
    actor: Actor,
    action: str,
    target: str,
    now: Callable[[], datetime],
    fn: Callable[Concatenate[Tables, Actor, datetime, P], R],
    *args: P.args,
    **kw: P.kwargs,
) -> R:
    """Run an operator's act in one write. Raises RefusedError, audited, for anybody else.

    The clock is read inside the transaction: what another process committed while this one waited lies before the act.
    """
    if actor.operator is None:
        await refuse(database, actor, action, target, now(), "not an operator")
    return await database.write(lambda db: fn(db, actor, now(), *args, **kw))


async def refuse(database: Database, actor: Actor, action: str, target: str, at: datetime, why: str) -> NoReturn:
    """Audit a refusal and raise RefusedError."""
    await record_refusal(database, actor, action, target, at, why)
    raise errors.RefusedError(f"{action}: refused, {actor.id} is {why}; ask an operator of this service")


async def record_refusal(database: Database, actor: Actor, action: str, target: str, at: datetime, why: str) -> None:
    """Only audit it."""

    def record(db: Tables) -> None:
        audit.append(
            db,
            at=at,
            actor=str(actor),
            surface=actor.surface,
            action=f"{action}-refused",
            target=target,
            reason=why,
        )

    await database.write(record)


def add_organisation(
    db: Tables,
    actor: Actor,
    at: datetime,
    name: str,
    sector: str,
    *,
    purpose: str = "",
    parent: str = "",
    domain: str = "",
) -> Organisation:
    """A new organisation without any grant. Its name is unique whatever the case."""
    name = name.strip()
    if not name:
        raise errors.UsageError("the organisation needs a name")
    rules.check_sector(sector)
    if directory.find_organisation(db, name) is not None:
        raise errors.TocsinError(f"organisation {name!r} exists already; `tocsin org show` shows it")
    org = Organisation(
        org=f"o{secrets.token_hex(4)}",
        name=name,
        sector=sector,
        purpose=purpose.strip(),
        parent=parent.strip(),
        domain=domain.strip().casefold(),
    )
    directory.add_organisation(db, org, at)
    check_views(db, at, "org add")
    _audit(db, actor, at, "org-add", org.org, effect={"name": name, "sector": sector, "purpose": org.purpose})
    return org


def set_organisation_state(db: Tables, actor: Actor, at: datetime, name: str, state: OrganisationState) -> Organisation:
    """Suspend or resume. Suspended, an organisation gets nothing; resumed, it gets what is new from then on."""
    org = directory.organisation(db, name)
    directory.set_state(db, org.org, state)
    version = access.bump_version(db)
    effect: dict[str, Any] = {"withheld": 0, "in_flight": [], "policy_version": version}
    if state is OrganisationState.SUSPENDED:
        queued, held, in_flight = deliveries.withhold_denied(db, [replace(org, state=state)], access.policy(db), at)
        effect |= {"withheld": queued + held, "in_flight": in_flight}
    if state is OrganisationState.ACTIVE:
        check_views(db, at, "org resume")
    action = "org-suspend" if state is OrganisationState.SUSPENDED else "org-resume"
    _audit(db, actor, at, action, org.org, effect=effect)
    return replace(org, state=state)


def add_channel(db: Tables, actor: Actor, at: datetime, name: str, channel: Channel) -> Organisation:
    """Bind a channel, and with it its workspace, to an organisation. Again: what was held because it was lost goes."""
    org = directory.organisation(db, name)
    directory.bind_channel(db, org, channel, at)
    released = deliveries.restore(db, channel.workspace, at)
    _audit(db, actor, at, "channel-add", str(channel), effect={"org": org.org, "released": released})
    return org


def remove_channel(db: Tables, actor: Actor, at: datetime, channel: Channel) -> None:
    """Forget a channel with its subscriptions; open deliveries to it are withheld."""
    if not directory.has_channel(db, str(channel)):
        raise errors.UsageError(f"channel {channel} is not known; `tocsin channel list` shows those that are")
    version = access.version(db)
    withheld = 0
    for found in deliveries.open_in(db, str(channel)):
        deliveries.withhold(db, found["delivery"], deliveries.REMOVED, version)
        withheld += 1
    directory.remove_channel(db, str(channel))
    _audit(db, actor, at, "channel-remove", str(channel), effect={"withheld": withheld})


async def subscribe(
    database: Database, actor: Actor, at: datetime, wanted: Subscription, *, replacing: str | None = None
) -> Subscription:
    """Add a subscription, or put it in the place of another one; by an operator, or by whoever may change what the
    workspace gets. Raises RefusedError, audited."""
    channel = channels.parse(wanted.channel)
    await authorise_in_workspace(database, actor, "subscribe", channel, at)
    return await database.write(_subscribe, actor, at, channel, wanted, replacing)


async def unsubscribe(
    database: Database, actor: Actor, at: datetime, channel: Channel, subscription_id: str | None
) -> int:
    """Remove one subscription of a channel, or all. Returns how many went."""
    await authorise_in_workspace(database, actor, "unsubscribe", channel, at)
    return await database.write(_unsubscribe, actor, at, channel, subscription_id)


def subscriptions(db: Tables, at: datetime, channel: Channel) -> list[Subscription]:
    """A channel's subscriptions, for somebody in that channel. Raises TocsinError where access is withdrawn."""
    check_may_receive(db, channel, at)
    return directory.subscriptions(db, str(channel))


def queue_test(db: Tables, actor: Actor, at: datetime, channel: Channel) -> None:
    """A message to the channel that says what would come. Raises TocsinError where nothing may."""
    org = check_may_receive(db, channel, at)
    if not directory.has_channel(db, str(channel)):
        raise errors.UsageError("test: this channel gets nothing yet; `/tocsin subscribe` comes first")
    wanted = [f"• {each.describe()}" for each in directory.subscriptions(db, str(channel))]
    deliveries.queue(
        db, org=org.org, channel=str(channel), act=Act.NOTICE, at=at, priority=deliveries.SOON,
        text="\n".join(["TEST: nothing has happened. Alerts for this channel arrive here:", *wanted]),
    )  # fmt: skip
    _audit(db, actor, at, "test", str(channel))


async def authorise_in_workspace(database: Database, actor: Actor, action: str, channel: Channel, at: datetime) -> None:
    """Raise RefusedError, audited, unless this person may change what the workspace's channels get."""
    if not await database.read(_is_editor, actor, channel):
        await refuse(database, actor, action, str(channel), at, "neither an operator nor an admin of this workspace")


async def may_change(database: Database, actor: Actor, channel: Channel, at: datetime) -> bool:
    """Would a change of what the channel gets be taken? Raises TocsinError where it may get nothing at all."""

    def read(db: Tables) -> bool:
        check_may_receive(db, channel, at)
        return _is_editor(db, actor, channel)

    return await database.read(read)


def grant(
    db: Tables,
    actor: Actor,
    at: datetime,
    *,
    org: str | None,
    sector: str | None,
    provider: str,
    capabilities: Sequence[str],
    until: datetime | None,
    reason: str,
) -> Grant:
    """Permit an organisation or a sector to receive from a provider. Without capabilities: alerts and evidence."""
    check_grant(org=org, sector=sector, provider=provider, until=until, reason=reason, capabilities=capabilities)
    if until is not None and until <= at:
        raise errors.UsageError("grant: --until lies in the past")
    made = Grant(
        grant=f"g{secrets.token_hex(4)}",
        org=directory.organisation(db, org).org if org is not None else None,
        sector=sector,
        provider=rules.check_provider(provider),
        capabilities=frozenset(Capability(name) for name in capabilities)
        or frozenset({Capability.ALERTS, Capability.EVIDENCE}),
        until=until,
    )
    access.add_grant(db, made, reason=reason, author=str(actor), at=at)
    access.bump_version(db)
    check_views(db, at, "grant")
    _audit(
        db,
        actor,
        at,
        "grant",
        made.org or f"sector {sector}",
        reason=reason,
        effect={"grant": made.grant, "provider": provider, "capabilities": sorted(made.capabilities)},
    )
    return made


def check_grant(
    *,
    org: str | None,
    sector: str | None,
    provider: str,
    capabilities: Sequence[str],
    until: datetime | None,  # noqa: ARG001 (any time is good)
    reason: str,
) -> None:
    """Raise UsageError for what cannot be granted."""
    if (org is None) == (sector is None):
        raise errors.UsageError("grant: give exactly one of --org and --sector")
    if sector is not None:
        rules.check_sector(sector)
    if not reason.strip():
        raise errors.UsageError("grant: give a --reason; it stands in the audit")
    rules.check_provider(provider)
    for name in capabilities:
        Capability(name)


def set_terms(
    db: Tables,
    actor: Actor,
    at: datetime,
    *,
    provider: str,
    barred_sectors: Sequence[str],
    barred_cells: Sequence[tuple[str, str]],
    quota: int | None,
    reason: str,
) -> Terms:
    """What a provider's terms bar, in place of what they were; holds at once, like a revocation."""
    made = check_terms(provider, barred_sectors, barred_cells, quota, reason)
    before = next((each.barred_sectors for each in access.terms(db) if each.provider == provider), frozenset())
    access.set_terms(db, made, reason=reason, author=str(actor), at=at)
    access.bump_version(db)
    queued, held, in_flight = deliveries.withhold_denied(db, directory.organisations(db), access.policy(db), at)
    if not made.barred_sectors >= before:  # a bar never waits
        check_views(db, at, "terms")
    _audit(
        db, actor, at, "terms", provider, reason=reason,
        effect={
            "barred_sectors": sorted(made.barred_sectors), "barred_cells": sorted(made.barred_cells), "quota": quota,
            "withheld": queued + held, "in_flight": in_flight,
        },
    )  # fmt: skip
    return made


def check_terms(
    provider: str,
    barred_sectors: Sequence[str],
    barred_cells: Sequence[tuple[str, str]],
    quota: int | None,
    reason: str,
) -> Terms:
    """Terms that can be set. Raises UsageError."""
    if rules.check_provider(provider) == "*":
        raise errors.UsageError("terms: name one provider")
    if not reason.strip():
        raise errors.UsageError("terms: give a --reason, such as where the terms stand; it stands in the audit")
    for sector in [*barred_sectors, *(sector for _, sector in barred_cells)]:
        rules.check_sector(sector)
    return Terms(
        provider=provider, barred_sectors=frozenset(barred_sectors), barred_cells=frozenset(barred_cells), quota=quota
    )


def adopt_terms(db: Tables, at: datetime, standing: Sequence[Terms]) -> list[str]:
    """Store what providers' own terms bar, of those of whom none are stored: what an operator has set stands. Returns
    these providers. Unlike ``set_terms`` it is not undone by a provider set too many: a bar never waits."""
    known = {made.provider for made in access.terms(db)}
    adopted = [made for made in standing if made.provider not in known]
    for made in adopted:
        access.set_terms(db, made, reason=STANDING, author="tocsin", at=at)
        access.bump_version(db)
        queued, held, in_flight = deliveries.withhold_denied(db, directory.organisations(db), access.policy(db), at)
        audit.append(
            db, at=at, actor="tocsin", surface="service", action="terms", target=made.provider, reason=STANDING,
            effect={
                "barred_sectors": sorted(made.barred_sectors), "barred_cells": sorted(made.barred_cells), "quota": None,
                "withheld": queued + held, "in_flight": in_flight,
            },
        )  # fmt: skip
    return [made.provider for made in adopted]


def check_views(db: Tables, at: datetime, action: str) -> None:
    """Raise TocsinError, which undoes the act, if it made one provider set too many."""
    if access.count_views(db, at) > rules.MAX_VIEWS:
        raise errors.TocsinError(
            f"{action}: this would be provider set number {rules.MAX_VIEWS + 1}, and {rules.MAX_VIEWS} can be live; "
            "give organisations the same providers where you can"
        )


def look_back(
    db: Tables, at: datetime, name: str, capability: Capability, since: datetime | None, search: str
) -> list[dict[str, Any]]:
    """The Alert lines of an organisation's View, each after ``decide``. Raises RefusedError without the capability."""
    org = directory.organisation(db, name)
    policy = access.policy(db)
    decision = rules.decide(policy, rules.Request(org=org, at=at, capability=capability))
    if not decision.allowed:
        raise errors.RefusedError(
            f"{decision.why} ({decision.rule}); an operator gives it with "
            f"`tocsin grant --org {org.org} --provider P --capability {capability.value}`"
        )
    view = rules.permitted(policy, org, at)
    lines = []
    for alert in events.listed(db, view.key, since=since, search=search):
        line = visible_line(policy, org, view, alert, at, capability)
        if line is not None:
            lines.append(line)
    return lines


def export(db: Tables, actor: Actor, at: datetime, name: str, since: datetime | None) -> list[dict[str, Any]]:
    """``look_back`` with the capability ``export``; who took how much out stands in the audit."""
    lines = look_back(db, at, name, Capability.EXPORT, since, "")
    _audit(
        db, actor, at, "export", directory.organisation(db, name).org,
        effect={"alerts": len(lines), "since": since and times.to_text(since)},
    )  # fmt: skip
    return lines


def visible_line(
    policy: Policy, org: Organisation, view: rules.ProviderSet, alert: Alert, at: datetime, capability: Capability
) -> dict[str, Any] | None:
    """The Alert line as ``org`` may see it with ``capability``, its evidence only with that capability; None: not."""
    asked = rules.Request(
        org=org, at=at, capability=capability, providers=frozenset(alert.sources), category=alert.category, view=view
    )
    both = [asked, replace(asked, capability=Capability.ALERTS)]
    if not all(rules.decide(policy, each).allowed for each in both):
        return None
    evidence = rules.decide(policy, replace(asked, capability=Capability.EVIDENCE)).allowed
    return alerts.to_line(alert, with_evidence=evidence)


def first_run(db: Tables, at: datetime, providers: Sequence[str]) -> bool:
    """The first opening of an empty store: the organisation ``local``, its console channel, *anywhere*, grants."""
    if directory.organisations(db) or any(True for _ in audit.entries(db)):
        return False
    org = Organisation(org="local", name="local", sector="self")
    directory.add_organisation(db, org, at)
    channel = channels.parse("console:-/main")
    directory.bind_channel(db, org, channel, at)
    everything = frozenset(Capability)
    directory.add_subscription(
        db, Subscription(subscription="local", channel=str(channel), anywhere=True), at=at, author="first-run"
    )
    for provider in providers:
        access.add_grant(
            db,
            Grant(grant=f"local-{provider}", org="local", sector=None, provider=provider, capabilities=everything),
            reason="first run",
            author="first-run",
            at=at,
        )
    access.bump_version(db)
    audit.append(
        db,
        at=at,
        actor="tocsin",
        surface="service",
        action="first-run",
        target="local",
        effect={"providers": list(providers), "channel": str(channel)},
    )
    return True


def record_loss(db: Tables, at: datetime, target: str, reason: str) -> int:
    """A workspace or channel is out of reach; what is open for it is held. Returns how much."""
    return deliveries.record_loss(db, at, target, reason)


def record_return(db: Tables, at: datetime, target: str) -> int:
    """It is within reach again; what was held goes. Returns how much."""
    return deliveries.record_return(db, at, target)


def _is_editor(db: Tables, actor: Actor, channel: Channel) -> bool:
    """An operator, an admin of the workspace, or anybody there if the workspace has said so."""
    if actor.operator is not None or actor.workspace == channel.workspace:
        return True
    return actor.member == channel.workspace and directory.editors(db, channel.workspace) == "members"


def _subscribe(
    db: Tables, actor: Actor, at: datetime, channel: Channel, wanted: Subscription, replacing: str | None = None
) -> Subscription:
    org = check_may_receive(db, channel, at)
    if not wanted.anywhere and not wanted.places:
        raise errors.UsageError(
            "subscribe: say --anywhere, or name at least one --place; without either nothing matches"
        )
    if not directory.has_channel(db, str(channel)):
        directory.bind_channel(db, org, channel, at)
        deliveries.restore(db, channel.workspace, at)
    if replacing is not None and directory.remove_subscriptions(db, str(channel), replacing) == 0:
        raise errors.UsageError(f"channel {channel} does not have subscription {replacing} any more")
    made = replace(wanted, subscription=replacing or f"s{secrets.token_hex(4)}")
    directory.add_subscription(db, made, at=at, author=str(actor))
    _audit(
        db,
        actor,
        at,
        "subscribe",
        str(channel),
        effect={"subscription": made.subscription, "spec": subscription.to_spec(made)},
    )
    return made


def _unsubscribe(db: Tables, actor: Actor, at: datetime, channel: Channel, subscription_id: str | None) -> int:
    gone = directory.remove_subscriptions(db, str(channel), subscription_id)
    if gone == 0:
        what = f"subscription {subscription_id}" if subscription_id else "any subscription"
        raise errors.UsageError(f"channel {channel} does not have {what}; `subscriptions` shows what it has")
    dropped = _drop_unwanted(db, str(channel))
    _audit(
        db, actor, at, "unsubscribe", str(channel),
        effect={"removed": gone, "subscription": subscription_id, "dropped": dropped},
    )  # fmt: skip
    return gone


def _drop_unwanted(db: Tables, channel: str) -> int:
    """New events that wait for the channel and that no subscription of it asks for any more are not told."""
    wanted = directory.subscriptions(db, channel)
    dropped = 0
    for row in (*deliveries.waiting(db, channel), *deliveries.queued_posts(db, channel)):
        alert = deliveries.alert_of(db, row)
        if row["act"] == Act.POST.value and alert is not None and not any(each.matches(alert) for each in wanted):
            deliveries.supersede(db, row["delivery"], "the channel has unsubscribed")
            dropped += 1
    return dropped


def check_may_receive(db: Tables, channel: Channel, at: datetime) -> Organisation:
    """The organisation whose channel it is. Raises TocsinError where it has none, or its access is withdrawn."""
    org = directory.organisation_of(db, channel.workspace)
    if org is None:
        raise errors.UsageError(
            f"workspace {channel.workspace} belongs to no organisation yet; an admin of it types `/tocsin join CODE` "
            f"with a code from an operator, who can also add it with `tocsin channel add ORG {channel}`"
        )
    asked = rules.Request(org=org, at=at, workspace=channel.workspace, channel=str(channel))
    decision = rules.decide(access.policy(db), asked)
    if not decision.allowed:
        raise errors.TocsinError(f"{decision.why} ({decision.rule}); ask an operator of this service")
    return org


def _audit(
    db: Tables,
    actor: Actor,
    at: datetime,
    action: str,
    target: str,
    reason: str = "",
    effect: dict[str, Any] | None = None,
) -> None:
    audit.append(
        db, at=at, actor=str(actor), surface=actor.surface, action=action, target=target, reason=reason, effect=effect
    )
