"""Official warnings and reports, whoever issues them: what of a list of them is news, and what takes back what. Pure.

A new version of what was told goes out as a Post with the new words that supersedes the old one, and then as a
Deletion of the old one: the issuer does not say the old words any more, and an authority that repeats itself is not a
second voice. A cancellation is a Post of its own that supersedes what it cancels. What is below the issuer's bar is
told only where it follows something that was told. What merely disappears from a list has ended, not been withdrawn.

A list may show a message beside, before or after the one that replaces it: what was replaced before it was told is
never told.

Known of each (``polling.Known``): its version, and the ids under which it was told and that still stand, none where it
was only seen. Between the two halves of an update both stand, under a version that no list has; the next list, whatever
it holds, is first told the second half.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain import post, times
from bot.ingest import lines, markup
from bot.ingest.polling import Asked, Step

FRESH = timedelta(hours=1)  # at the very first reading, what is older is no news
_HALFWAY = "…"
_MOST_REPLACED = 20  # of the names that a message replaces and that nobody knows: how many are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Bulletin:
    """One version of a warning, as its issuer's list has it.

    ``key``: its name in that list. ``others``: further names under which it, or what it replaces, may be known.
    ``version`` differs when it says something else; ``stamp`` then tells its id from the one before. Without a stamp
    each message has a name of its own, and ``others`` are those that it replaces. Where ``serial`` is lower than what
    was known, the list is older than the one before.
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
    """Oldest first, but what replaces after what it replaces; at the same moment what goes on before what is cancelled,
    since a warning that is lifted for a part of its area is updated and cancelled at once."""
    known = dict(asked.known)
    steps = _second_halves(provider, known, asked.now)
    for step in steps:
        known.update(step.remember)
    ordered = _ordered(bulletins)
    replaced = _replaced(ordered)
    for bulletin in ordered:
        for step in _steps(provider, bulletin, known, asked, replaced=bulletin.key in replaced):
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


def serial(known: tuple[str, ...]) -> int:
    """Of the version that is known; 0 where it has none."""
    found = known[0].partition("@")[2]
    return int(found) if found.isdecimal() else 0


def stale(bulletin: Bulletin, asked: Asked) -> bool:
    """Is it no news, since this is the very first reading?"""
    return asked.since is None and asked.now - bulletin.sent_at > FRESH


def _second_halves(provider: str, known: Mapping[str, tuple[str, ...]], now: datetime) -> list[Step]:
    """Of the updates that were interrupted between their post and the deletions of what it supersedes."""
    steps: list[Step] = []
    for name, (version, *standing) in known.items():
        if not version.startswith(_HALFWAY) or len(standing) < 2:
            continue  # alone, as it was once written, it does not say what it supersedes: the list does
        new, *old = standing
        steps += _deletions(provider, old, new, now)
        gone = {key: (each[0],) for key, each in known.items() if key != name and set(each[1:]) & set(old)}
        steps.append(Step(remember=gone | {name: (version.removeprefix(_HALFWAY), new)}))
    return _joined(steps)


def _deletions(provider: str, old: Iterable[str], new: str, now: datetime) -> list[Step]:
    return [Step(item=post.Deletion(provider=provider, id=each, deleted_at=now, replaced_by=new)) for each in old]


def _joined(steps: list[Step]) -> list[Step]:
    """What is known once an item is out stands with that item."""
    joined: list[Step] = []
    for step in steps:
        if step.item is None and joined and joined[-1].item is not None:
            joined[-1] = Step(item=joined[-1].item, remember={**joined[-1].remember, **step.remember})
        else:
            joined.append(step)
    return joined


def _ordered(bulletins: Iterable[Bulletin]) -> list[Bulletin]:
    by_time = sorted(bulletins, key=lambda each: (each.sent_at, each.cancelled))
    messages = {each.key: each for each in by_time if not each.stamp}
    begun: set[str] = set()
    ordered: dict[str, Bulletin] = {}
    for number, bulletin in enumerate(by_time):
        if bulletin.stamp:
            ordered[f"{number}\0"] = bulletin
            continue
        stack = [bulletin]
        while stack:
            last = stack[-1]
            begun.add(last.key)
            earlier = [messages[each] for each in last.others if each in messages and each not in begun]
            if earlier:
                stack.extend(reversed(earlier))
            else:
                ordered.setdefault(last.key, last)
                stack.pop()
    return list(ordered.values())


def _replaced(ordered: list[Bulletin]) -> set[str]:
    """Which of these messages a later one of them replaces or cancels."""
    seen: set[str] = set()
    replaced: set[str] = set()
    for bulletin in ordered:
        if not bulletin.stamp:
            replaced |= seen.intersection(bulletin.others)
            seen.add(bulletin.key)
    return replaced


def _steps(
    provider: str, bulletin: Bulletin, known: Mapping[str, tuple[str, ...]], asked: Asked, *, replaced: bool
) -> list[Step]:
    names = (bulletin.key, *bulletin.others)
    name = next((each for each in names if bulletin.stamp and each in known), bulletin.key)
    mine = known.get(name)
    version = f"{bulletin.version}@{bulletin.serial}" if bulletin.serial else bulletin.version
    if mine is not None:
        if 0 < bulletin.serial < serial(mine):
            return [Step(remember={name: mine})]
        if mine[0].partition("@")[0] == bulletin.version:
            return [Step(remember={name: (version, *mine[1:])})]
    before = told(known, names)
    behind = {} if bulletin.stamp else {each: ("",) for each in bulletin.others[:_MOST_REPLACED] if each not in known}
    seen = Step(remember={name: (version, *(mine or ())[1:])})
    if bulletin.cancelled:
        if not before:
            return [Step(remember=behind | {name: (version,)})]
    elif not (bulletin.notable or before):
        return []
    elif _is_over(bulletin, asked) or (not before and (replaced or stale(bulletin, asked))):
        return [seen]
    again = bool(bulletin.stamp) and mine is not None
    external_id = post.versioned(name, bulletin.stamp) if again else bulletin.key
    old = [each for each in before if each != external_id]
    item = _post(provider, external_id, bulletin, tuple(reversed(old)), asked.now)
    gone = behind | {each: (known[each][0],) for each in names if each in known}
    if bulletin.cancelled:
        return [Step(item=item, remember=gone | {name: (version,)})]
    final = gone | {name: (version, external_id)}
    halfway = {name: (f"{_HALFWAY}{version}", external_id, *old)}
    steps = [] if external_id in before else [Step(item=item, remember=halfway if old else final)]
    return _joined([*steps, *_deletions(provider, old, external_id, asked.now), Step(remember=final)])


def _is_over(bulletin: Bulletin, asked: Asked) -> bool:
    """Has it ended? Where the issuer's clock or ours is wrong it may seem so: what was not in the list a minute ago and
    is in force for an hour goes on, whatever the clocks say."""
    if bulletin.expires_at is None:
        return False
    lasts = bulletin.expires_at - bulletin.sent_at
    unread = None if asked.since is None else asked.now - asked.since
    return lasts <= timedelta(0) or (bulletin.expires_at <= asked.now and (unread is None or unread >= lasts))


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


def moment(text: str) -> datetime:
    """CAP's time. Raises ValueError for what is none, or lies before 1970."""
    found = times.from_text(text)
    if found.year < 1970:
        raise ValueError
    return found
