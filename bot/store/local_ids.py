"""What a source calls the posts that it brought, where it tells of their end by a name of its own.

A post that several sources brought has a name of each. They name the newest of its versions that is not deleted; where
it was edited and the new words are not there, they wait for them: a process may have died between the two, and only who
asks by a name gets them. They go when the post is really gone, and not when its retention is over: its deletion must
still reach the messages that quote it. So what is stored and has no name left is gone for good.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlite_utils import Database

from bot.domain import post, times
from bot.store.database import row, rows

_VERSIONS = "(post = ? OR (post > ? AND post < ?))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """``post``: the store's key, of any version."""

    source: str
    local_id: str
    post: str


def add(db: Database, named: Iterable[Named]) -> None:
    """Those whose posts are stored and not gone; all names of such a post pass to its newest version."""
    for each in named:
        newest = _newest(db, each.post)
        named_now = newest or _named(db, each.post)
        if named_now is None:
            continue
        db.execute(
            "INSERT INTO local_ids VALUES (?, ?, ?) ON CONFLICT (source, local_id) DO UPDATE SET post = excluded.post",
            [each.source, each.local_id, named_now],
        )
        if newest is not None:
            _pass(db, newest)


def forget(db: Database, keys: Iterable[str], *, edited: bool = False) -> None:
    """These posts are deleted; ``edited``: their words were replaced by others, which may not be there yet."""
    for key in keys:
        if _named(db, key) is None:
            continue
        left = _newest(db, key)
        if left is not None:
            _pass(db, left)
        elif not edited:
            db.execute(f"DELETE FROM local_ids WHERE {_VERSIONS}", _range(key))  # noqa: S608


def post_of(db: Database, source: str, local_id: str) -> str | None:
    """The provider's id of the post, which may be that of a version; None where it is not kept."""
    found = row(
        db,
        "SELECT p.id FROM local_ids l JOIN posts p ON p.post = l.post WHERE l.source = ? AND l.local_id = ?",
        [source, local_id],
    )
    return None if found is None else str(found["id"])


def to_ask(
    db: Database, source: str, since: datetime, *, provider: str = "mastodon", prefix: str = "", most: int = -1
) -> Sequence[str]:
    """The source's names, those that begin with ``prefix``, of the provider's posts that were received from ``since``
    on and whose retention is not over: the newest first, at most ``most``.

    Along the index of what is kept, so that no more is read than is asked for, and nothing sorted.
    """
    found = rows(
        db,
        "SELECT l.local_id FROM posts p INDEXED BY posts_kept CROSS JOIN local_ids l ON l.post = p.post "
        "WHERE p.provider = ? AND p.received_at >= ? AND p.purged_at IS NULL "
        "AND l.source = ? AND substr(l.local_id, 1, ?) = ? ORDER BY p.received_at DESC, p.seq DESC LIMIT ?",
        [provider, times.to_text(since), source, len(prefix), prefix, most],
    )
    return [each["local_id"] for each in found]


def outdated(db: Database, keys: Iterable[str]) -> set[str]:
    """Which of these posts say what is not so any more, as another source told before: there was a newer version, or
    the post is gone."""
    found = set()
    for key in keys:
        versions = _versions(db, key)
        gone = versions and not any(versions.values()) and _named(db, key) is None
        if gone or any(post.newer(each, key) for each in versions):
            found.add(key)
    return found


def _pass(db: Database, newest: str) -> None:
    db.execute(
        f"UPDATE local_ids SET post = ? WHERE {_VERSIONS} AND post <> ?",  # noqa: S608
        [newest, *_range(newest), newest],
    )


def _named(db: Database, key: str) -> str | None:
    """Which version of a post has names."""
    found = row(db, f"SELECT post FROM local_ids WHERE {_VERSIONS}", _range(key))  # noqa: S608
    return None if found is None else str(found["post"])


def _newest(db: Database, key: str) -> str | None:
    """Of the versions that are not deleted."""
    newest: str | None = None
    for each, there in _versions(db, key).items():
        if there and (newest is None or post.newer(each, newest)):
            newest = each
    return newest


def _versions(db: Database, key: str) -> dict[str, bool]:
    """The keys of a post's versions, and whether they are not deleted."""
    found = rows(db, f"SELECT post, deleted_at IS NULL AS there FROM posts WHERE {_VERSIONS}", _range(key))  # noqa: S608
    return {each["post"]: bool(each["there"]) for each in found}


def _range(key: str) -> list[str]:
    first = key.partition(post.VERSION)[0]
    mark = f"{first}{post.VERSION}"
    return [first, mark, f"{mark[:-1]};"]  # the character after the mark's last
