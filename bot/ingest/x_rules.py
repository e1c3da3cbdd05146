"""Keeping X's rules in step with the configuration: an app has one set of rules, of which ours carry a tag.

The tag names the source, so that two that share an app leave each other's rules alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from bot.ingest import trouble, x_posts, x_requests

TAG = "tocsin"
PATH = "2/tweets/search/stream/rules"
MOST_PAGES = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """``ids``: of the rules that are ours; ``refused``: rule → why X does not take it; ``added``: was any of them
    missing until now? ``at``: when that was so, by X's clock; None where it does not say."""

    ids: frozenset[str]
    refused: dict[str, str]
    added: bool
    at: datetime | None


async def keep(session: aiohttp.ClientSession, base: URL, name: str, wanted: Sequence[str]) -> Kept:
    """Delete what carries the tag of the source ``name`` and is not wanted, add what is wanted and missing, leave
    everybody else's alone.

    A wanted rule that somebody else has set, or that carries the bare ``TAG`` of earlier times, counts as ours but is
    not touched: X keeps each rule once.
    """
    tag = f"{TAG}:{name}"
    rules, at = await _rules(session, base)
    stale = [rule.id for rule in rules if rule.tag == tag and rule.value not in wanted]
    if stale:
        await _post(session, base, {"delete": {"ids": stale}})
    values = {rule.value for rule in rules}
    missing = [value for value in dict.fromkeys(wanted) if value not in values]
    refused: dict[str, str] = {}
    left = missing
    while left:  # a rule that X refuses can keep out the others of its order
        answer = await _post(session, base, {"add": [{"value": value, "tag": tag} for value in left]})
        refused |= _readable(x_posts.refused_rules, answer)
        rules, at = await _rules(session, base)
        values = {rule.value for rule in rules}
        tried, left = left, [value for value in left if value not in values and value not in refused]
        if len(left) == len(tried):
            refused |= dict.fromkeys(left, "it does not say why")
            break
    return Kept(
        ids=frozenset(rule.id for rule in rules if rule.value in wanted),
        refused=refused,
        added=not values.isdisjoint(missing),
        at=at,
    )


async def _rules(session: aiohttp.ClientSession, base: URL) -> tuple[list[x_posts.Rule], datetime | None]:
    """All that the app has, and when it had them."""
    found: list[x_posts.Rule] = []
    at: datetime | None = None
    query: dict[str, str] = {}
    for _ in range(MOST_PAGES):
        body, headers = await x_requests.get(session, base / PATH, query)
        at = at or trouble.date(headers)
        page, following = _readable(x_posts.rules, body)
        found += page
        if not following:
            break
        query = {"pagination_token": following}
    return found, at


async def _post(session: aiohttp.ClientSession, base: URL, order: dict[str, Any]) -> bytes:
    """The answer, also where X refuses each rule of an order (400)."""
    return await x_requests.post(session, base / PATH, msgspec.json.encode(order))


def _readable(decode: Any, body: bytes) -> Any:
    try:
        return decode(body)
    except x_posts.BadLineError:
        raise trouble.LostError("answered about its rules with something else") from None
