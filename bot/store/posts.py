"""Candidate posts and deletions, in the order of receipt."""

import json
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlite_utils import Database

from bot.domain import times
from bot.domain.delivery import Quote
from bot.domain.post import VERSION, Candidate, Deletion, Official, Post, Span
from bot.store import retention
from bot.store.database import row, rows

AUTHORS_AT_ONCE = 500


def next_seq(db: Database) -> int:
    found = row(db, "SELECT max(seq) AS last FROM posts")
    return 1 + (found["last"] or 0 if found else 0)


def known(db: Database, keys: Iterable[str]) -> set[str]:
    """Which of these posts are already stored: a source that rewinds yields them again."""
    found: set[str] = set()
    for key in keys:
        if row(db, "SELECT 1 FROM posts WHERE post = ?", [key]) is not None:
            found.add(key)
    return found


def add(db: Database, candidate: Candidate) -> None:
    """Store a candidate; one that is already there is left as it is."""
    post = candidate.post
    more = {
        "langs": post.langs,
        "repost_of": post.repost_of,
        "reply_to": post.reply_to,
        "lat": post.lat,
        "lon": post.lon,
        "media": post.media,
        "verified": post.verified,
        "official": None
        if post.official is None
        else {
            "category": post.official.category,
            "certainty": post.official.certainty,
            "supersedes": post.official.supersedes,
            "cancelled": post.official.cancelled,
        },
        "first_hand": candidate.first_hand,
        "from_media": candidate.media,
    }
    db.execute(
        "INSERT OR IGNORE INTO posts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
        [
            candidate.seq,
            post.key,
            post.provider,
            post.id,
            post.author,
            _storable(post.text),
            post.url,
            times.to_text(post.created_at),
            times.to_text(post.received_at),
            times.to_text(candidate.stream_at),
            json.dumps(more),
            json.dumps(candidate.categories),
            json.dumps([[span.text, span.start, span.end, span.type] for span in candidate.places]),
            candidate.embedding,
            candidate.fingerprint,
            candidate.model,
        ],
    )


def delete(db: Database, deletion: Deletion, *, after_seq: int, stream_at: datetime) -> list[str]:
    """Record a deletion and purge what it covers. Returns the keys of the stored posts that it took."""
    if deletion.id is not None:
        where, params = "post = ?", [deletion.key]
    else:
        was = retention.pseudonym(db, deletion.provider, deletion.author or "")
        where, params = "provider = ? AND author IN (?, ?)", [deletion.provider, deletion.author, was]
    keys = [
        found["post"]
        for found in rows(db, f"SELECT post FROM posts WHERE {where} AND deleted_at IS NULL", params)  # noqa: S608
    ]
    if keys:
        db.execute(
            "INSERT INTO deletions (after_seq, stream_at, provider, id, author, deleted_at) VALUES (?, ?, ?, ?, ?, ?)",
            [
                after_seq,
                times.to_text(stream_at),
                deletion.provider,
                deletion.id,
                deletion.author,
                times.to_text(deletion.deleted_at),
            ],
        )
        db.execute(
            "UPDATE posts SET text = '', url = NULL, places = '[]', "  # noqa: S608
            "more = json_set(more, '$.media', json('[]')), deleted_at = ? "
            f"WHERE {where} AND deleted_at IS NULL",
            [times.to_text(deletion.deleted_at), *params],
        )
    return keys


def versions(db: Database, deletion: Deletion) -> list[str]:
    """Ids of the versions of a deleted post that go with it and are still there.

    A version's id is ``ID#v:STAMP`` (``post.versioned``); nothing else is taken for one, and sources that pass on ids
    which others choose escape the mark (``post.unversioned``). A post that is really gone takes all of its versions
    along. One that was edited takes those whose stamp sorts before that of ``replaced_by``: its new words and later
    ones stay, whenever and however often the edit is told.
    """
    if deletion.key is None:
        return []
    mark = f"{deletion.key}{VERSION}"
    found = rows(
        db,
        "SELECT id FROM posts WHERE post > ? AND post < ? AND deleted_at IS NULL ORDER BY seq",
        [mark, f"{mark[:-1]};"],  # the character after the mark's last
    )
    return [each["id"] for each in found if deletion.takes(each["id"])]


def quotes(db: Database, keys: Iterable[str]) -> tuple[Quote, ...]:
    """The posts to quote, without those that were deleted since, or whose time is over."""
    found = []
    for key in keys:
        post = row(db, "SELECT * FROM posts WHERE post = ? AND deleted_at IS NULL AND purged_at IS NULL", [key])
        if post is not None:
            found.append(
                Quote(
                    provider=post["provider"],
                    author=post["author"],
                    text=post["text"],
                    url=post["url"],
                    created_at=times.from_text(post["created_at"]),
                )
            )
    return tuple(found)


def kept_ids(
    db: Database, provider: str, since: datetime, most: int = -1, *, but: tuple[datetime, datetime] | None = None
) -> list[str]:
    """The provider's ids of its posts that were received from ``since`` on and not deleted, the newest first, at most
    ``most`` of them: what has to be asked about where a provider does not tell of every deletion. ``but``: what was
    received after that first time and until the second is left out."""
    left_out, limits = _but(but)
    found = rows(
        db,
        "SELECT id FROM posts WHERE provider = ? AND received_at >= ? AND deleted_at IS NULL AND purged_at IS NULL "  # noqa: S608
        f"{left_out} ORDER BY received_at DESC, seq DESC LIMIT ?",
        [provider, times.to_text(since), *limits, most],
    )
    return [each["id"] for each in found]


def kept_ids_of(
    db: Database,
    provider: str,
    authors: Iterable[str],
    since: datetime,
    *,
    but: tuple[datetime, datetime] | None = None,
) -> list[str]:
    """Those of ``kept_ids`` that some authors wrote, the newest first."""
    left_out, limits = _but(but)
    found: list[dict[str, Any]] = []
    each_once = list(dict.fromkeys(authors))
    for first in range(0, len(each_once), AUTHORS_AT_ONCE):
        some = each_once[first : first + AUTHORS_AT_ONCE]
        found += rows(
            db,
            "SELECT seq, id FROM posts INDEXED BY posts_author "  # noqa: S608
            "WHERE provider = ? AND received_at >= ? AND deleted_at IS NULL "
            f"AND purged_at IS NULL {left_out} AND author IN ({', '.join('?' * len(some))})",
            [provider, times.to_text(since), *limits, *some],
        )
    return [each["id"] for each in sorted(found, key=lambda each: int(each["seq"]), reverse=True)]


def _but(span: tuple[datetime, datetime] | None) -> tuple[str, list[str]]:
    if span is None:
        return "", []
    return "AND NOT (received_at > ? AND received_at <= ?)", [times.to_text(each) for each in span]


def get(db: Database, post_id: str) -> Candidate | None:
    """By store key (``provider|id``) or by the provider's id alone."""
    found = row(db, "SELECT * FROM posts WHERE post = ? OR id = ? ORDER BY post = ? DESC", [post_id, post_id, post_id])
    return None if found is None else _candidate(found)


def history(db: Database, since: datetime) -> list[Candidate | tuple[Deletion, datetime]]:
    """What detection has seen of posts received from ``since`` on, in order: candidates, deletions between them."""
    first = row(db, "SELECT min(seq) AS seq FROM posts WHERE received_at >= ?", [times.to_text(since)])
    if first is None or first["seq"] is None:
        return []
    steps: list[Candidate | tuple[Deletion, datetime]] = []
    deletions = rows(db, "SELECT * FROM deletions WHERE after_seq >= ? ORDER BY deletion", [first["seq"]])
    position = 0
    for found in db.query("SELECT * FROM posts WHERE seq >= ? ORDER BY seq", [first["seq"]]):
        while position < len(deletions) and deletions[position]["after_seq"] < found["seq"]:
            steps.append(_deletion(deletions[position]))
            position += 1
        steps.append(_candidate(found))
    steps += [_deletion(rest) for rest in deletions[position:]]
    return steps


def members(db: Database, view: str) -> list[Candidate]:
    """The posts that live clusters of a View hold, in order of receipt."""
    found = rows(
        db, "SELECT p.* FROM members m JOIN posts p ON p.post = m.post WHERE m.view = ? ORDER BY p.seq", [view]
    )
    return [_candidate(each) for each in found]


def _deletion(found: dict[str, Any]) -> tuple[Deletion, datetime]:
    deletion = Deletion(
        provider=found["provider"],
        id=found["id"],
        author=found["author"],
        deleted_at=times.from_text(found["deleted_at"]),
    )
    return deletion, times.from_text(found["stream_at"])


def _candidate(found: dict[str, Any]) -> Candidate:
    more = json.loads(found["more"])
    official = more.pop("official")
    return Candidate(
        post=Post(
            provider=found["provider"],
            id=found["id"],
            text=found["text"],
            author=found["author"],
            url=found["url"],
            created_at=times.from_text(found["created_at"]),
            received_at=times.from_text(found["received_at"]),
            langs=tuple(more["langs"]),
            repost_of=more["repost_of"],
            reply_to=more["reply_to"],
            lat=more["lat"],
            lon=more["lon"],
            media=tuple(more["media"]),
            verified=more["verified"],
            official=None
            if official is None
            else Official(
                category=official["category"],
                certainty=official["certainty"],
                supersedes=tuple(official["supersedes"]),
                cancelled=official["cancelled"],
            ),
        ),
        seq=found["seq"],
        stream_at=times.from_text(found["stream_at"]),
        categories=json.loads(found["categories"]),
        places=tuple(Span(text=t, start=s, end=e, type=k) for t, s, e, k in json.loads(found["places"])),
        embedding=found["embedding"],
        fingerprint=found["fingerprint"],
        model=found["model"],
        first_hand=more.get("first_hand"),
        media=more.get("from_media"),
    )


def _storable(text: str) -> str:
    """SQLite text cannot hold lone surrogates; each becomes ``?`` (ingest has replaced them long before)."""
    return text.encode("utf-8", "replace").decode("utf-8")
