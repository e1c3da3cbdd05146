"""Who may see what: the sector tree, grants, revocations, and the one function that decides.

Default deny. A Grant allows; any live Revocation that matches denies; deny wins. Everything that shows anything asks
``decide`` inside the transaction that shows it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from bot.domain import errors

# The sector tree. A sector means itself and everything below it.
SECTORS: frozenset[str] = frozenset(
    {
        "self",
        "government",
        "government/defence",
        "government/diplomacy",
        "government/emergency",
        "government/health",
        "government/homeland_security",
        "government/intelligence",
        "government/law_enforcement",
        "government/local",
        "finance",
        "finance/bank",
        "finance/insurance",
        "finance/regulator",
        "finance/trading",
        "news",
        "news/agency",
        "news/broadcast",
        "news/print",
        "corporate_security",
        "humanitarian",
        "research",
    }
)


MAX_VIEWS = 16  # live provider sets, each with a detector of its own


class Capability(StrEnum):
    ALERTS = "alerts"
    EVIDENCE = "evidence"
    HISTORY = "history"
    EXPORT = "export"


class OrganisationState(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Organisation:
    """``purpose``: what it says it wants alerts for; ``parent``: the organisation that it belongs to, as it says;
    ``domain``: where its people's e-mail comes from. They decide nothing; ``audit clients`` reads them."""

    org: str
    name: str
    sector: str
    state: OrganisationState = OrganisationState.ACTIVE
    purpose: str = ""
    parent: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """An organisation or a sector may receive from ``provider`` (``*``: every provider) until ``until``."""

    grant: str
    org: str | None
    sector: str | None
    provider: str
    capabilities: frozenset[Capability]
    until: datetime | None = None

    def live(self, at: datetime) -> bool:
        return self.until is None or at < self.until


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A matcher: the fields that are given are ANDed; live from ``from_at`` to ``until`` unless lifted."""

    revocation: str
    reason: str
    from_at: datetime
    org: str | None = None
    workspace: str | None = None
    channel: str | None = None
    sector: str | None = None
    provider: str | None = None
    category: str | None = None
    capability: Capability | None = None
    until: datetime | None = None
    lifted_at: datetime | None = None

    def live(self, at: datetime) -> bool:
        return self.lifted_at is None and self.from_at <= at and (self.until is None or at < self.until)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """A provider's standing terms, which hold without anybody's doing: sectors that may receive nothing of it (like a
    revocation they change the View), (category, sector) cells that may not receive such alerts, and how many new events
    a day that rest on it an organisation may be told of (``quota``; None: any number)."""

    provider: str
    barred_sectors: frozenset[str] = frozenset()
    barred_cells: frozenset[tuple[str, str]] = frozenset()
    quota: int | None = None

    def bars(self, org: Organisation) -> bool:
        return any(in_sector(org.sector, sector) for sector in self.barred_sectors)

    def relaxes(self, before: "Terms") -> bool:
        """Do these permit anything that ``before`` barred?"""
        sectors = all(any(in_sector(each, sector) for sector in self.barred_sectors) for each in before.barred_sectors)
        cells = all(
            any(category == name and in_sector(each, sector) for name, sector in self.barred_cells)
            or any(in_sector(each, sector) for sector in self.barred_sectors)
            for category, each in before.barred_cells
        )
        quota = before.quota is None or (self.quota is not None and self.quota <= before.quota)
        return not (sectors and cells and quota)

    def along_with(self, before: "Terms") -> "Terms":
        """What either bars."""
        quotas = [each for each in (self.quota, before.quota) if each is not None]
        return Terms(
            provider=self.provider,
            barred_sectors=self.barred_sectors | before.barred_sectors,
            barred_cells=self.barred_cells | before.barred_cells,
            quota=min(quotas, default=None),
        )

    def bars_category(self, org: Organisation, category: str | None) -> bool:
        return any(category == name and in_sector(org.sector, sector) for name, sector in self.barred_cells)


@dataclass(frozen=True, slots=True)
class ProviderSet:
    """A set of permitted providers: exactly ``named``, or with ``everything`` all but ``named``."""

    everything: bool
    named: frozenset[str]

    def permits(self, provider: str) -> bool:
        return (provider in self.named) != self.everything

    def within(self, other: "ProviderSet") -> bool:
        """Is every provider that this set permits also permitted by ``other``?"""
        if self.everything:
            return other.everything and other.named <= self.named
        return all(other.permits(provider) for provider in self.named)

    @property
    def empty(self) -> bool:
        return not self.everything and not self.named

    @property
    def key(self) -> str:
        """Canonical text: ``*``, ``*!x``, ``bluesky+usgs``, or ``-`` for nothing. The store's key of a View."""
        names = sorted(self.named)
        if self.everything:
            return "*" + "".join(f"!{name}" for name in names)
        return "+".join(names) or "-"

    @classmethod
    def parse(cls, key: str) -> "ProviderSet":
        """The inverse of ``key``."""
        if key.startswith("*"):
            return cls(True, frozenset(name for name in key[1:].split("!") if name))
        return cls(False, frozenset() if key == "-" else frozenset(key.split("+")))


EVERYTHING = ProviderSet(True, frozenset())


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question. What is None or empty is unspecified: a revocation that names such a field does not match.

    ``view`` is the provider set whose detector made the thing to be shown; ``providers`` those of its evidence.
    ``used``: provider → new events that rest on it and that the organisation was told of today, where one more is asked
    about; empty for everything that does not count against a quota.
    """

    org: Organisation
    at: datetime
    capability: Capability = Capability.ALERTS
    workspace: str | None = None
    channel: str | None = None
    providers: frozenset[str] = frozenset()
    category: str | None = None
    view: ProviderSet | None = None
    used: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``rule`` names what decided (``grant G1``, ``revocation R2``, …); ``why`` is a sentence for a person."""

    allowed: bool
    rule: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All grants, revocations and providers' terms at one version; the version rises with every change.

    ``changed_at``: when access was last taken, by a revocation's making or beginning or by a grant's noticed end. A
    caller reads its clock before its transaction begins, so a revocation may commit in between, and clocks step back:
    no question is asked for a time before that.
    """

    version: int
    grants: tuple[Grant, ...]
    revocations: tuple[Revocation, ...]
    terms: tuple[Terms, ...] = ()
    changed_at: datetime | None = None

    def of(self, org: Organisation) -> "Policy":
        """The same, less what can never match this organisation: for many questions about one of thousands."""
        return replace(
            self,
            grants=tuple(grant for grant in self.grants if covers(grant, org)),
            revocations=tuple(
                each
                for each in self.revocations
                if each.org in (None, org.org) and (each.sector is None or in_sector(org.sector, each.sector))
            ),
        )

    def by_organisation(self, orgs: Iterable[Organisation]) -> "Iterator[tuple[Organisation, Policy]]":
        """Each with ``of`` it, for the price of one look at every grant."""
        own: dict[str, list[Grant]] = {}
        shared = [grant for grant in self.grants if grant.org is None]
        for grant in self.grants:
            if grant.org is not None:
                own.setdefault(grant.org, []).append(grant)
        for org in orgs:
            yield org, replace(self, grants=(*own.get(org.org, ()), *shared)).of(org)

    def without(self, revocation: Revocation) -> "Policy":
        return replace(
            self, revocations=tuple(each for each in self.revocations if each.revocation != revocation.revocation)
        )

    def moment(self, at: datetime) -> datetime:
        """``at``, or the time of the latest revocation where that is later."""
        return at if self.changed_at is None else max(at, self.changed_at)


def decide(policy: Policy, request: Request) -> Decision:
    """The one decision. Deny wins over every grant; no grant is a no; a suspended organisation gets nothing."""
    request = replace(request, at=policy.moment(request.at))
    org, at = request.org, request.at
    if org.state is OrganisationState.SUSPENDED:
        return Decision(allowed=False, rule="suspended", why=f"{org.name} is suspended")
    for revocation in policy.revocations:
        if revocation.live(at) and hits(revocation, request):
            return _revoked(revocation, org)
    for terms in policy.terms:
        if terms.provider in request.providers:
            against = _against_terms(terms, request)
            if against is not None:
                return Decision(allowed=False, rule=f"terms {terms.provider}", why=against)
    providers: list[str | None] = [*sorted(request.providers)] or [None]
    for provider in providers:
        if _grant_for(policy, request, provider) is None:
            return _not_granted(policy, request, provider)
    if request.view is not None and not request.view.within(permitted(policy, org, at, request.capability)):
        return Decision(
            allowed=False,
            rule="view",
            why=f"{org.name} may no longer receive from every provider that shaped this alert",
        )
    grant = _grant_for(policy, request, min(request.providers, default=None))
    return Decision(allowed=True, rule=f"grant {grant.grant if grant else '-'}", why="granted")


def permitted(
    policy: Policy, org: Organisation, at: datetime, capability: Capability = Capability.ALERTS
) -> ProviderSet:
    """The providers that may shape what ``org`` sees: the grants', less those of revocations without other limits.

    A revocation that also names a workspace, a channel or a category narrows single deliveries, not the View.
    """
    if org.state is OrganisationState.SUSPENDED:
        return ProviderSet(False, frozenset())
    at = policy.moment(at)
    granted = {
        grant.provider
        for grant in policy.grants
        if grant.live(at) and capability in grant.capabilities and covers(grant, org)
    }
    barred: set[str] = set()
    for revocation in policy.revocations:
        if not revocation.live(at) or not hits(revocation, Request(org=org, at=at, capability=capability), view=True):
            continue
        if revocation.provider is None:
            return ProviderSet(False, frozenset())
        barred.add(revocation.provider)
    barred |= {terms.provider for terms in policy.terms if terms.bars(org)}
    if "*" in granted:
        return ProviderSet(False, frozenset()) if "*" in barred else ProviderSet(True, frozenset(barred))
    return ProviderSet(False, frozenset() if "*" in barred else frozenset(granted - barred))


_PROVIDER = re.compile(r"[a-z0-9][a-z0-9:._-]{0,63}")


def check_provider(provider: str) -> str:
    """Return ``provider`` or raise UsageError: lower case letters, digits and ``: . _ -``, or ``*`` for every one."""
    if provider != "*" and _PROVIDER.fullmatch(provider) is None:
        raise errors.UsageError(
            f"provider {provider!r} is not a name: lower case letters, digits and : . _ - (rss:reuters), or '*'"
        )
    return provider


def in_sector(sector: str, ancestor: str) -> bool:
    return sector == ancestor or sector.startswith(ancestor + "/")


def check_sector(sector: str) -> str:
    """Return ``sector`` or raise UsageError naming what exists."""
    if sector not in SECTORS:
        raise errors.UsageError(f"sector {sector!r} is unknown; use one of: {', '.join(sorted(SECTORS))}")
    return sector


def touches(revocation: Revocation, org: Organisation, workspaces: Iterable[str], channels: Iterable[str]) -> bool:
    """Would ``revocation`` ever match a request of this organisation, given its workspaces and channels?"""
    return (
        (revocation.org is None or revocation.org == org.org)
        and (revocation.sector is None or in_sector(org.sector, revocation.sector))
        and (revocation.workspace is None or revocation.workspace in set(workspaces))
        and (revocation.channel is None or revocation.channel in set(channels))
    )


def hits(revocation: Revocation, request: Request, *, view: bool = False) -> bool:
    """Does the matcher match the request? Whether it is live is not asked.

    ``view``: leave the provider open, as when the permitted set itself is being computed.
    """
    return (
        (revocation.org is None or revocation.org == request.org.org)
        and (revocation.sector is None or in_sector(request.org.sector, revocation.sector))
        and (revocation.workspace is None or revocation.workspace == request.workspace)
        and (revocation.channel is None or revocation.channel == request.channel)
        and (revocation.category is None or revocation.category == request.category)
        and (revocation.capability is None or revocation.capability == request.capability)
        and (
            view
            or revocation.provider is None
            or revocation.provider in request.providers
            or revocation.provider == "*"
        )
    )


def covers(grant: Grant, org: Organisation) -> bool:
    """Is the grant this organisation's, or its sector's?"""
    return (grant.org is None or grant.org == org.org) and (grant.sector is None or in_sector(org.sector, grant.sector))


def _grant_for(policy: Policy, request: Request, provider: str | None) -> Grant | None:
    for grant in policy.grants:
        if (
            grant.live(request.at)
            and covers(grant, request.org)
            and request.capability in grant.capabilities
            and (provider is None or grant.provider in (provider, "*"))
        ):
            return grant
    return None


def _against_terms(terms: Terms, request: Request) -> str | None:
    """A sentence, where a provider's terms stand against it."""
    org = request.org
    if terms.bars(org):
        return f"the terms of {terms.provider} bar {org.name}: nothing of it for {org.sector}"
    if terms.bars_category(org, request.category):
        return f"the terms of {terms.provider} bar {org.name}: no {request.category} for {org.sector}"
    used = request.used.get(terms.provider)
    if terms.quota is not None and used is not None and used >= terms.quota:
        return f"the terms of {terms.provider}: {org.name} has had its {terms.quota} new events of today"
    return None


def _revoked(revocation: Revocation, org: Organisation) -> Decision:
    return Decision(
        allowed=False,
        rule=f"revocation {revocation.revocation}",
        why=f"access of {org.name} is withdrawn: {revocation.reason}",
    )


def _not_granted(policy: Policy, request: Request, provider: str | None) -> Decision:
    of = f" from {provider}" if provider else ""
    expired = [
        grant
        for grant in policy.grants
        if not grant.live(request.at)
        and covers(grant, request.org)
        and request.capability in grant.capabilities
        and (provider is None or grant.provider in (provider, "*"))
    ]
    if expired:
        return Decision(
            allowed=False,
            rule=f"expired {expired[0].grant}",
            why=f"the grant of {request.org.name} for {request.capability.value}{of} has expired",
        )
    return Decision(
        allowed=False,
        rule="no grant",
        why=f"{request.org.name} has no grant for {request.capability.value}{of}",
    )
