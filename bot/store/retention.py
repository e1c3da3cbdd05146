"""What is kept of a post whose time is over: that there was one, when, and what kind of report; nothing of its words.

Its author becomes a keyed hash, so that the end of an account still reaches the messages that quote it, and nobody who
has only the store's rows can ask whether somebody's words were among them.
"""

import hashlib
import hmac
import secrets
from datetime import datetime

from sqlite_utils import Database

from bot.domain import times
from bot.store.database import row, rows

_KEY = "author_key"
_FORGOTTEN = """
    UPDATE posts SET text = '', url = NULL, places = '[]', embedding = x'', fingerprint = '~' || seq, author = :author,
    more = json_set(
        more, '$.media', json('[]'), '$.lat', NULL, '$.lon', NULL, '$.reply_to', NULL, '$.repost_of', NULL
    ), purged_at = :at WHERE seq = :seq
"""


def providers(db: Database) -> list[str]:
    """Those with posts that are kept in full."""
    found = rows(db, "SELECT DISTINCT provider FROM posts WHERE purged_at IS NULL ORDER BY provider")
    return [each["provider"] for each in found]


def purge(db: Database, provider: str, *, before: datetime, at: datetime, most: int) -> int:
    """The provider's posts that were received before then, the oldest first. Returns how many."""
    found = rows(
        db,
        "SELECT seq, provider, author FROM posts WHERE provider = ? AND received_at < ? AND purged_at IS NULL "
        "ORDER BY received_at LIMIT ?",
        [provider, times.to_text(before), most],
    )
    return _forget(db, found, at)


def purge_deleted(db: Database, *, before: datetime, at: datetime, most: int) -> int:
    """What is left of posts that were deleted at their source, if they were received before then. Returns how many."""
    found = rows(
        db,
        "SELECT seq, provider, author FROM posts "
        "WHERE deleted_at IS NOT NULL AND received_at < ? AND purged_at IS NULL ORDER BY received_at LIMIT ?",
        [times.to_text(before), most],
    )
    return _forget(db, found, at)


def forget_deletions(db: Database, *, before: datetime) -> int:
    """Deletions before the first post that was received since then: no detector is rebuilt from them any more."""
    return db.execute(
        "DELETE FROM deletions WHERE after_seq < "
        "(SELECT coalesce(min(seq), 9223372036854775807) FROM posts WHERE received_at >= ?)",
        [times.to_text(before)],
    ).rowcount


def pseudonym(db: Database, provider: str, author: str) -> str | None:
    """What an author became in purged posts; None where nothing was ever purged."""
    found = row(db, "SELECT value FROM settings WHERE name = ?", [_KEY])
    return None if found is None else _hashed(found["value"], provider, author)


def _forget(db: Database, found: list[dict[str, object]], at: datetime) -> int:
    if not found:
        return 0
    key = _key(db)
    for each in found:
        author = each["author"]
        hidden = None if author is None else _hashed(key, str(each["provider"]), str(author))
        db.execute(_FORGOTTEN, {"seq": each["seq"], "author": hidden, "at": times.to_text(at)})
    return len(found)


def _key(db: Database) -> str:
    db.execute("INSERT OR IGNORE INTO settings VALUES (?, ?)", [_KEY, secrets.token_hex(32)])
    found = row(db, "SELECT value FROM settings WHERE name = ?", [_KEY])
    return str(found["value"]) if found else ""


def _hashed(key: str, provider: str, author: str) -> str:
    return "~" + hmac.new(bytes.fromhex(key), f"{provider}|{author}".encode(), hashlib.sha256).hexdigest()[:32]
