"""What a source calls the posts that it brought, where it tells of their end by a name of its own.

A post that several sources brought has a name of each. Names go with the words: when a post is deleted or purged, they
pass to the newest of its versions that is left, or go. Where it was edited, they wait for the new words until nothing
is left of the old post: a process may have died between the two, and only who asks by a name gets them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlite_utils import Database

from bot.domain import post, times
from bot.store.database import row, rows

_KEPT = "deleted_at IS NULL AND purged_at IS NULL"
_VERSIONS = "(post = ? OR (post > ? AND post < ?))"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """``post``: the store's key."""

    source: str
    local_id: str
    post: str


def add(db: Database, named: Iterable[Named]) -> None:
    """Those whose posts are stored and have their words."""
    for each in named:
        db.execute(
            "INSERT INTO local_ids SELECT ?, ?, post FROM posts "  # noqa: S608
            f"WHERE post = ? AND {_KEPT} ON CONFLICT (source, local_id) DO UPDATE SET post = excluded.post",
            [each.source, each.local_id, each.post],
        )


def forget(db: Database, keys: Iterable[str], *, edited: bool = False) -> None:
    """These posts have lost their words; ``edited``: to others, which may not be there yet."""
    for key in keys:
        if row(db, f"SELECT 1 FROM local_ids WHERE {_VERSIONS}", _range(key)) is None:  # noqa: S608
            continue
        left = _newest(db, key)
        if left is not None:
            db.execute(f"UPDATE local_ids SET post = ? WHERE {_VERSIONS}", [left, *_range(key)])  # noqa: S608
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


def to_ask(db: Database, source: str, since: datetime) -> Sequence[str]:
    """The source's names of its posts that were received from ``since`` on and are kept, the newest first."""
    found = rows(
        db,
        "SELECT l.local_id FROM local_ids l JOIN posts p ON p.post = l.post "
        "WHERE l.source = ? AND p.received_at >= ? ORDER BY p.seq DESC",
        [source, times.to_text(since)],
    )
    return [each["local_id"] for each in found]


def outdated(db: Database, keys: Iterable[str]) -> set[str]:
    """Which of these posts say what a newer version, stored now or once, has replaced: another source was faster."""
    return {key for key in keys if any(post.newer(each, key) for each in _versions(db, key))}


def _newest(db: Database, key: str) -> str | None:
    newest: str | None = None
    for each in _versions(db, key, kept=True):
        if newest is None or post.newer(each, newest):
            newest = each
    return newest


def _versions(db: Database, key: str, *, kept: bool = False) -> list[str]:
    """The keys of a post's versions, the first one without a stamp."""
    only = f" AND {_KEPT}" if kept else ""
    found = rows(db, f"SELECT post FROM posts WHERE {_VERSIONS}{only}", _range(key))  # noqa: S608
    return [each["post"] for each in found]


def _range(key: str) -> list[str]:
    first = key.partition(post.VERSION)[0]
    mark = f"{first}{post.VERSION}"
    return [first, mark, f"{mark[:-1]};"]  # the character after the mark's last
