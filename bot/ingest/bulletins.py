"""Official warnings and reports, whoever issues them: what of a list of them is news, and what takes back what. Pure.

A new version of what was told goes out as a Post with the new words that supersedes the old one, and then as a
Deletion of the old one: the issuer does not say the old words any more, and an authority that repeats itself is not a
second voice. A cancellation is a Post of its own that supersedes what it cancels. What is below the issuer's bar is
told only where it follows something that was told. What merely disappears from a list has ended, not been withdrawn.

Known of each (``polling.Known``): its version, and the ids under which it was told and that still stand, none where it
was only seen. Between the two halves of an update both stand, under a version that no list has.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import post
from bot.ingest import lines, markup
from bot.ingest.polling import Asked, Step

FRESH = timedelta(hours=1)  # at the very first reading, what is older is no news
_HALFWAY = "…"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulletin:
    """One version of a warning, as its issuer's list has it.

    ``key``: its name in that list. ``others``: further names under which it, or what it replaces, may be known.
    ``version`` differs when it says something else; ``stamp`` then tells its id from the one before. Where ``serial``
    is lower than what was known, the list is older than the one before.
    ``notable``: is it above the bar? ``author``: who issues it, the same for all its versions.
    """

    key: str
    others: tuple[str, ...] = ()
    version: str = ""
    stamp: str = ""
    serial: int = 0
    notable: bool
    cancelled: bool = False
    category: str
    certainty: str = "observed"
    text: str
    sent_at: datetime
    expires_at: datetime | None = None
    author: str
    url: str | None = None
    lat: float | None = None
    lon: float | None = None


def news(provider: str, bulletins: Iterable[Bulletin], asked: Asked) -> list[Step]:
    """Oldest first; at the same moment what goes on before what is cancelled, since a warning that is lifted for a part
    of its area is updated and cancelled at once."""
    known = dict(asked.known)
    steps: list[Step] = []
    for bulletin in sorted(bulletins, key=lambda each: (each.sent_at, each.cancelled)):
        for step in _steps(provider, bulletin, known, asked):
            steps.append(step)
            known.update(step.remember)
    return steps


def unseen(asked: Asked, shown: timedelta) -> list[Step]:
    """The Gap of a list that was not read for longer than it shows what has ended."""
    if asked.since is None or asked.now - asked.since <= shown:
        return []
    reason = "what was issued and had ended before the list was read again is unknown"
    return [Step(item=post.Gap(since=asked.since, until=asked.now, reason=reason))]


def told(known: Mapping[str, tuple[str, ...]], names: Iterable[str]) -> list[str]:
    """The ids under which these were told and still stand, in the order of ``names``."""
    return list(dict.fromkeys(each for name in names for each in known.get(name, ())[1:] if each))


def _steps(provider: str, bulletin: Bulletin, known: Mapping[str, tuple[str, ...]], asked: Asked) -> list[Step]:
    names = (bulletin.key, *bulletin.others)
    name = next((each for each in names if bulletin.stamp and each in known), bulletin.key)
    mine = known.get(name)
    version = f"{bulletin.version}@{bulletin.serial}" if bulletin.serial else bulletin.version
    if mine is not None:
        visible, _, serial = mine[0].partition("@")
        if bulletin.serial and serial.isdecimal() and int(serial) > bulletin.serial:
            return [Step(remember={name: mine})]
        if visible == bulletin.version:
            return [Step(remember={name: (version, *mine[1:])})]
    before = told(known, names)
    over = bulletin.expires_at is not None and bulletin.expires_at <= asked.now
    stale = asked.since is None and asked.now - bulletin.sent_at > FRESH
    seen = Step(remember={name: (version,)})
    if bulletin.cancelled:
        if not before:
            return [seen]
    elif over or not (bulletin.notable or before):
        return []
    elif stale and not before:
        return [seen]
    again = bool(bulletin.stamp) and mine is not None
    external_id = post.versioned(name, bulletin.stamp) if again else bulletin.key
    old = [each for each in before if each != external_id]
    item = _post(provider, external_id, bulletin, tuple(reversed(old)), asked.now)
    gone = {each: (known[each][0],) for each in names if each in known}
    if bulletin.cancelled:
        return [Step(item=item, remember=gone | {name: (version,)})]
    final = gone | {name: (version, external_id)}
    halfway = {name: (_HALFWAY, external_id, *(each for each in told(known, [name]) if each != external_id))}
    steps = [] if external_id in before else [Step(item=item, remember=halfway if old else final)]
    steps += [
        Step(item=post.Deletion(provider=provider, id=each, deleted_at=asked.now, replaced_by=external_id))
        for each in old
    ]
    return [*steps[:-1], Step(item=steps[-1].item, remember=final)] if steps else [Step(remember=final)]


def _post(
    provider: str, external_id: str, bulletin: Bulletin, before: tuple[str, ...], received_at: datetime
) -> post.Post:
    return post.Post(
        provider=provider,
        id=external_id,
        text=lines.clean(markup.tidy(bulletin.text)),
        created_at=_said_at(bulletin, received_at, follows=bool(before)),
        received_at=received_at,
        author=bulletin.author,
        langs=("en",),
        url=bulletin.url,
        lat=bulletin.lat,
        lon=bulletin.lon,
        verified=True,
        official=post.Official(
            category=bulletin.category,
            certainty=bulletin.certainty,
            supersedes=before,
            cancelled=bulletin.cancelled,
        ),
    )


def _said_at(bulletin: Bulletin, now: datetime, *, follows: bool) -> datetime:
    """What follows something that was told is new, whatever it says: detection hears nothing that is half a day old,
    and would then only hear that the old words are gone."""
    return min(max(bulletin.sent_at, now - FRESH) if follows else bulletin.sent_at, now)
