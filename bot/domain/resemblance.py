"""Resemblance: what makes an organisation look like a class that it does not say it belongs to.

In 2016 a provider had one class of clients cut off, and 77 accounts of the same class went on for seven months under
other names. Nothing is decided here: each sign is for a person to judge.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from bot.domain.access import Organisation, in_sector

# Domains that only governments or armed forces are given, by their registries' rules.
_GOVERNMENT = re.compile(
    r"(?:^|\.)(?:gov|mil|gouv|gob|govt|gv|gub|fed)(?:\.[a-z]{2})?$|(?:^|\.)(?:europa\.eu|nato\.int)$"
)
# Whole words, also in the plural; with * at the end what begins so.
_WORDS: Mapping[str, tuple[str, ...]] = {
    "government/intelligence": (
        "intelligence",
        "fusion cent*",
        "signals",
        "reconnaissance",
        "counterterror*",
        "spy",
        "spies",
        "espionage",
    ),
    "government/law_enforcement": ("police", "sheriff", "constabulary", "law enforcement", "policing", "gendarmerie"),
    "government/homeland_security": ("homeland", "border", "customs", "immigration"),
    "government/defence": ("defence", "defense", "army", "navy", "air force", "military", "armed forces"),
    "government/emergency": ("fire brigade", "fire department", "civil protection", "emergency management"),
    "government/health": ("ministry of health", "public health agency"),
    "government/diplomacy": ("embassy", "foreign ministry", "state department"),
    "government": ("ministry", "government", "federal", "municipal", "department of", "agency of"),
    "finance": ("bank", "capital", "hedge fund", "insurance", "asset management", "trading"),
    "news": ("news", "herald", "gazette", "broadcast*", "press agency", "newspaper"),
}
_SURVEILLANCE = (
    "surveil*", "monitor protest*", "track individual", "person of interest", "persons of interest",
    "threat assessment of people",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What is known about an organisation besides its sector. ``domains``: of its workspaces and its own;
    ``shares_with``: names of organisations that it shares a channel with → their sector."""

    org: Organisation
    domains: frozenset[str] = frozenset()
    shares_with: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sign:
    """One reason to look at an organisation again. ``kind``: purpose, name, parent, domain or channel."""

    kind: str
    evidence: str


def signs(profile: Profile, barred: str, parents: Mapping[str, str]) -> list[Sign]:
    """Signs that this organisation is of the sector ``barred`` although it is not in it. ``parents``: name of an
    organisation, in small letters → its sector."""
    org = profile.org
    if in_sector(org.sector, barred):
        return []
    found = [
        Sign(kind=kind, evidence=f"{kind} {text!r} says {word.removesuffix('*')!r}")
        for kind, text in (("name", org.name), ("purpose", org.purpose), ("parent", org.parent))
        for word in _words(barred)
        if _says(text, word)
    ]
    if in_sector(barred, "government"):
        found += [
            Sign(kind="domain", evidence=f"e-mail domain {name} is a government's")
            for name in sorted(profile.domains)
            if _GOVERNMENT.search(name.casefold()) and not in_sector(org.sector, "government")
        ]
        found += [
            Sign(kind="purpose", evidence=f"purpose {org.purpose!r} says {word.removesuffix('*')!r}")
            for word in _SURVEILLANCE
            if _says(org.purpose, word)
        ]
    sector = parents.get(org.parent.casefold()) if org.parent else None
    if sector is not None and in_sector(sector, barred):
        found.append(Sign(kind="parent", evidence=f"its parent {org.parent!r} is {sector}"))
    found += [
        Sign(kind="channel", evidence=f"shares a channel with {name!r}, which is {sector}")
        for name, sector in sorted((profile.shares_with or {}).items())
        if in_sector(sector, barred)
    ]
    return found


def _says(text: str, word: str) -> bool:
    ending = r"\w*" if word.endswith("*") else "s?"
    return re.search(rf"\b{re.escape(word.removesuffix('*'))}{ending}\b", text.casefold()) is not None


def _words(sector: str) -> Iterable[str]:
    """Of a sector and everything below it."""
    return sorted({word for name, words in _WORDS.items() if in_sector(name, sector) for word in words})
