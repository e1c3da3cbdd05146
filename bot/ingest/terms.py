"""What each provider's terms ask for, as far as a program can keep them; read on 2026-11-23.

The service stores what they bar (``barring``) at its first start, whatever is configured; from then on an operator's
``tocsin terms`` stands. Neither a source's type nor its provider's name alone gets around them.
"""

from dataclasses import dataclass
from datetime import timedelta

from bot.domain.access import Terms

PERSONS = timedelta(days=30)  # what people wrote is kept no longer, as far as it is up to us
AGENCIES = timedelta(days=3650)  # what an agency published is nobody's personal data


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderTerms:
    """``needs_consent``: the operator has to say that the terms were read (``accept_terms``). ``barred_cells``:
    (category, sector). ``retention``: how long a post is kept at most. ``deletion_deadline``: until when a deletion at
    the source has to be done here; we do it when it comes."""

    note: str
    needs_consent: bool = False
    barred_sectors: frozenset[str] = frozenset()
    barred_cells: frozenset[tuple[str, str]] = frozenset()
    retention: timedelta = PERSONS
    deletion_deadline: timedelta | None = None

    @property
    def bars(self) -> bool:
        return bool(self.barred_sectors or self.barred_cells)

    def barring(self, provider: str) -> Terms:
        """As ``decide`` asks them."""
        return Terms(provider=provider, barred_sectors=self.barred_sectors, barred_cells=self.barred_cells)


UNKNOWN = ProviderTerms(note="Nothing is known of its terms: whoever configured it has to keep them.")

TERMS = {
    "bluesky": ProviderTerms(
        note="The stream is public and needs no key; deletions, and accounts that went away, have to be honoured."
    ),
    "mastodon": ProviderTerms(
        note="Each server has terms of its own and hands the stream to a user's token; deletions have to be honoured."
    ),
    "x": ProviderTerms(
        note="Its terms bar surveillance, monitoring protests, and anything derived from its posts for users whose "
        "mission is intelligence; deletions have to be honoured within 24 hours.",
        needs_consent=True,
        barred_sectors=frozenset({"government/intelligence"}),
        barred_cells=frozenset({("unrest", "government/law_enforcement")}),
        deletion_deadline=timedelta(hours=24),
    ),
    "nws": ProviderTerms(
        note="Warnings of the US National Weather Service; every request has to name a contact.", retention=AGENCIES
    ),
    "usgs": ProviderTerms(note="Earthquakes as the US Geological Survey publishes them.", retention=AGENCIES),
    "gdacs": ProviderTerms(note="Disaster alerts of the United Nations and the EU.", retention=AGENCIES),
    "meteoalarm": ProviderTerms(note="Warnings of Europe's national weather services.", retention=AGENCIES),
    "wikimedia": ProviderTerms(
        note="The stream is public; every program has to name a contact. Who edited is counted and never kept."
    ),
    "rss": ProviderTerms(note="A feed's own terms; its entries are the publisher's."),
}

_PROVIDER_OF_TYPE = {"jetstream": "bluesky"}


def of(kind: str, provider: str) -> ProviderTerms:
    """Of a configured source, by its type (``x``, ``rss``, …) or its provider's name (``x``, ``rss:reuters``): the ones
    that bar something, if these are two."""
    names = (_PROVIDER_OF_TYPE.get(kind, kind), provider.partition(":")[0])
    found = [TERMS[name] for name in names if name in TERMS]
    return next((each for each in found if each.bars), found[0] if found else UNKNOWN)


def named(provider: str) -> ProviderTerms:
    """Of whom nothing but the name is known: posts outlive the configuration of their source."""
    return TERMS.get(provider.partition(":")[0], UNKNOWN)
