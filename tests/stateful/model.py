"""Default deny, a second time and deliberately plain: dicts, loops and a small universe of providers.

It shares nothing with ``bot.domain.access`` but what is written about it, and says what an organisation may see.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

PROVIDERS = ("bluesky", "mastodon", "x")
ELSEWHERE = "zzz"  # stands for every provider that no grant and no revocation names
MATCHER = ("org", "workspace", "channel", "sector", "provider", "category", "capability")


class Model:
    """``clock`` is the wall clock; no question is asked for a time before the latest revocation was made."""

    def __init__(self, now: datetime) -> None:
        self.clock = now
        self.latest = now
        self.orgs: dict[str, str] = {}  # name → sector
        self.suspended: set[str] = set()
        self.grants: list[dict[str, Any]] = []
        self.revocations: dict[str, dict[str, Any]] = {}
        self.terms: dict[str, dict[str, Any]] = {}  # provider → sectors, cells, quota
        self.used: Counter[tuple[str, str, str]] = Counter()  # (day, organisation, provider) → new events told of

    @property
    def now(self) -> datetime:
        return max(self.clock, self.latest)

    def may(
        self,
        org: str,
        channel: str,
        sources: Iterable[str] = (),
        category: str | None = None,
        view: str | None = None,
        capability: str = "alerts",
    ) -> bool:
        sources = list(sources)
        if org in self.suspended:
            return False
        if any(self.matches(each, org, channel, sources, category, capability) for each in self.live()):
            return False
        if any(self._barred(org, provider, category) for provider in sources):
            return False
        asked: list[str | None] = [*sources] or [None]
        if not all(self._granted(org, provider, capability) for provider in asked):
            return False
        everybody = (*PROVIDERS, ELSEWHERE)
        return view is None or all(self.shapes(org, p, capability) for p in everybody if in_view(view, p))

    def shapes(self, org: str, provider: str, capability: str = "alerts") -> bool:
        """May posts of this provider shape what the organisation sees?"""
        for each in self.live():
            if not each.keys() & {"workspace", "channel", "category"} and self.matches(
                each, org, "", [provider], None, capability
            ):
                return False
        barred = any(_below(self.orgs[org], sector) for sector in self._terms(provider)["sectors"])
        return org not in self.suspended and not barred and self._granted(org, provider, capability)

    def sees_nothing(self, org: str) -> bool:
        return not any(self.shapes(org, provider) for provider in (*PROVIDERS, ELSEWHERE))

    def quota(self, provider: str) -> int | None:
        found: int | None = self._terms(provider)["quota"]
        return found

    def live(self) -> list[dict[str, Any]]:
        return [
            each
            for each in self.revocations.values()
            if not each["lifted"] and each["from"] <= self.now and (each["until"] is None or self.now < each["until"])
        ]

    def matches(
        self, revocation: dict[str, Any], org: str, channel: str, sources: list[str], category: str | None, cap: str
    ) -> bool:
        fits: dict[str, Callable[[str], bool]] = {
            "org": lambda value: value == org,
            "workspace": lambda value: channel.startswith(value + "/"),
            "channel": lambda value: value == channel,
            "sector": lambda value: _below(self.orgs[org], value),
            "provider": lambda value: value == "*" or value in sources,
            "category": lambda value: value == category,
            "capability": lambda value: value == cap,
        }
        return all(fits[name](revocation[name]) for name in MATCHER if name in revocation)

    def _granted(self, org: str, provider: str | None, capability: str) -> bool:
        return any(
            grant["org"] in (None, org)
            and (grant["sector"] is None or _below(self.orgs[org], grant["sector"]))
            and (provider is None or grant["provider"] in ("*", provider))
            and (grant["until"] is None or self.now < grant["until"])
            and capability in grant["capabilities"]
            for grant in self.grants
        )

    def _barred(self, org: str, provider: str, category: str | None) -> bool:
        sector, terms = self.orgs[org], self._terms(provider)
        return any(_below(sector, each) for each in terms["sectors"]) or any(
            category == name and _below(sector, each) for name, each in terms["cells"]
        )

    def _terms(self, provider: str) -> dict[str, Any]:
        return self.terms.get(provider, {"sectors": (), "cells": (), "quota": None})


def in_view(key: str, provider: str) -> bool:
    """Read a View's key without the code under test."""
    if key.startswith("*"):
        return provider not in key[1:].split("!")
    return provider in key.split("+")


def _below(sector: str, ancestor: str) -> bool:
    return sector == ancestor or sector.split("/")[0] == ancestor
