"""By which name an entry of a feed is known: its guid or id, its link, or neither. Pure.

A name that stands for several entries is the name of none: each goes by its next one, or else by the last one with
its time, and with its words where several have the same time. Once found to be shared, a name stays so, whatever the
feed shows; else an entry would have one name in company and another one alone.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bot.ingest.feed_entries import Entry

BY_TIME, BY_WORDS = "time", "words"


def told_apart(entries: Sequence[Entry], shared: Mapping[str, str]) -> tuple[list[Entry], dict[str, str]]:
    """In the order of the feed, each id once, of several versions of an entry the latest. ``shared``, and the second:
    digests of the names that are shared, with what tells their entries apart."""
    ways: dict[str, str] = {}
    places = [0] * len(entries)
    moving = True
    while moving:
        moving = False
        groups: dict[str, list[int]] = {}
        for number, entry in enumerate(entries):
            groups.setdefault(entry.names[places[number]], []).append(number)
        for name, numbers in groups.items():
            key = digest(name)
            way = _way([entries[number] for number in numbers], ways.get(key) or shared.get(key))
            if way is not None:
                ways[key] = way
                further = [number for number in numbers if places[number] + 1 < len(entries[number].names)]
                moving = moving or bool(further)
                for number in further:
                    places[number] += 1
    named = [_named(entry, entry.names[place], ways) for entry, place in zip(entries, places, strict=True)]
    return _latest(named), ways


def others(entry: Entry) -> list[str]:
    """Every id that it may have had while other names of it were shared, or fewer."""
    found = [*entry.names, *(_apart(entry, name, way) for name in entry.names for way in (BY_TIME, BY_WORDS))]
    return [each for each in dict.fromkeys(found) if each != entry.id]


def digest(name: str) -> str:
    """Short and fixed, for the cursor."""
    return hashlib.blake2b(name.encode("utf-8", "replace"), digest_size=9).hexdigest()


def _way(group: Sequence[Entry], before: str | None) -> str | None:
    """None where they are versions of one entry: alike but for their words and the time of the change."""
    links = {entry.url for entry in group if entry.url}
    dates = {entry.published for entry in group if entry.dated}
    words: dict[object, str] = {}
    clashing = [
        entry for entry in group if words.setdefault((entry.published, entry.updated), entry.text) != entry.text
    ]
    if before is None and len(links) < 2 and len(dates) < 2 and not clashing:
        return None
    return BY_WORDS if before == BY_WORDS or any(entry.published for entry in clashing) else BY_TIME


def _named(entry: Entry, name: str, ways: Mapping[str, str]) -> Entry:
    way = ways.get(digest(name))
    return replace(entry, id=name if way is None else _apart(entry, name, way))


def _apart(entry: Entry, name: str, way: str) -> str:
    """The same words on another day are another entry; within a day they are not where times tell nothing."""
    if entry.published is None:
        told = entry.text
    elif way == BY_TIME:
        told = entry.published.isoformat()
    else:
        told = f"{entry.published.date()} {entry.text}"
    return f"hash:{digest(f'{name} {told}')}"


def _latest(entries: Sequence[Entry]) -> list[Entry]:
    found: dict[str, Entry] = {}
    for entry in entries:
        other = found.setdefault(entry.id, entry)
        if entry.updated is not None and other.updated is not None and entry.updated > other.updated:
            found[entry.id] = entry
    return list(found.values())
