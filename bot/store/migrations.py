"""The schema, one migration after another. Never edit one that has been released: add the next.

Times are RFC 3339 text with milliseconds and ``Z`` (they sort like the time); JSON is text. ``view`` is
``ProviderSet.key``.
"""

import contextlib
from pathlib import Path

import sqlite_utils
from sqlite_utils.migrations import Migrations

from bot.domain.errors import StoreError

_steps = Migrations("tocsin")


@_steps()
def m001_first(db: sqlite_utils.Database) -> None:
    db.executescript(
        """
        CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;

        -- Candidates only. text, url, places and media are emptied when deleted at the source.
        CREATE TABLE posts (
            seq INTEGER PRIMARY KEY,          -- order of receipt over all sources
            post TEXT NOT NULL UNIQUE,        -- provider|id
            provider TEXT NOT NULL, id TEXT NOT NULL, author TEXT, text TEXT NOT NULL, url TEXT,
            created_at TEXT NOT NULL, received_at TEXT NOT NULL, stream_at TEXT NOT NULL,
            more TEXT NOT NULL,               -- JSON: langs, repost_of, reply_to, lat, lon, media, verified, official
            categories TEXT NOT NULL,         -- JSON: category -> probability
            places TEXT NOT NULL,             -- JSON: [[text, start, end, type]]
            embedding BLOB NOT NULL, fingerprint TEXT NOT NULL, model TEXT NOT NULL,
            deleted_at TEXT                   -- set with the text's purge
        );
        CREATE INDEX posts_author ON posts (provider, author);
        CREATE INDEX posts_received_at ON posts (received_at);

        -- Deletions in the order in which they were processed between posts, for rebuilding the detectors.
        CREATE TABLE deletions (
            deletion INTEGER PRIMARY KEY, after_seq INTEGER NOT NULL, stream_at TEXT NOT NULL,
            provider TEXT NOT NULL, id TEXT, author TEXT, deleted_at TEXT NOT NULL
        );

        CREATE TABLE events (
            view TEXT NOT NULL, event TEXT NOT NULL, category TEXT NOT NULL, level TEXT NOT NULL,
            headline TEXT NOT NULL, revision INTEGER NOT NULL, first_post_at TEXT NOT NULL, updated_at TEXT NOT NULL,
            retracted INTEGER NOT NULL DEFAULT 0,
            PRIMARY KEY (view, event)
        ) WITHOUT ROWID;
        CREATE TABLE evidence (
            view TEXT NOT NULL, event TEXT NOT NULL, post TEXT NOT NULL,
            PRIMARY KEY (view, event, post)
        ) WITHOUT ROWID;
        CREATE INDEX evidence_post ON evidence (post);
        CREATE TABLE alerts (
            view TEXT NOT NULL, alert TEXT NOT NULL, event TEXT NOT NULL, revision INTEGER NOT NULL,
            kind TEXT NOT NULL, level TEXT NOT NULL, category TEXT NOT NULL, raised_at TEXT NOT NULL,
            recorded_at TEXT NOT NULL, body TEXT NOT NULL,
            PRIMARY KEY (view, alert)
        ) WITHOUT ROWID;
        CREATE INDEX alerts_raised_at ON alerts (view, raised_at);

        CREATE TABLE organisations (
            org TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, sector TEXT NOT NULL,
            state TEXT NOT NULL, created_at TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE workspaces (
            workspace TEXT PRIMARY KEY, org TEXT NOT NULL REFERENCES organisations, platform TEXT NOT NULL,
            lost TEXT, created_at TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE channels (
            channel TEXT PRIMARY KEY, workspace TEXT NOT NULL REFERENCES workspaces, platform TEXT NOT NULL,
            lost TEXT, created_at TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE subscriptions (
            subscription TEXT PRIMARY KEY, channel TEXT NOT NULL REFERENCES channels ON DELETE CASCADE,
            spec TEXT NOT NULL, created_at TEXT NOT NULL, created_by TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE INDEX subscriptions_channel ON subscriptions (channel);

        CREATE TABLE grants (
            grant_id TEXT PRIMARY KEY, org TEXT REFERENCES organisations, sector TEXT, provider TEXT NOT NULL,
            capabilities TEXT NOT NULL, until TEXT, reason TEXT NOT NULL, author TEXT NOT NULL, created_at TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE revocations (
            revocation TEXT PRIMARY KEY, org TEXT, workspace TEXT, channel TEXT, sector TEXT, provider TEXT,
            category TEXT, capability TEXT, reason TEXT NOT NULL, author TEXT NOT NULL, from_at TEXT NOT NULL,
            until TEXT, created_at TEXT NOT NULL, lifted_at TEXT, lifted_by TEXT, lift_reason TEXT, effect TEXT NOT NULL
        ) WITHOUT ROWID;

        -- The outbox and its history.
        CREATE TABLE deliveries (
            seq INTEGER PRIMARY KEY, delivery TEXT NOT NULL UNIQUE, org TEXT NOT NULL, channel TEXT NOT NULL,
            platform TEXT NOT NULL, act TEXT NOT NULL, view TEXT, alert TEXT, event TEXT,
            root TEXT,                        -- the delivery that posted the event's message, for edit, reply, retract
            text TEXT NOT NULL DEFAULT '',    -- of notices and digests
            state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', attempts INTEGER NOT NULL DEFAULT 0,
            platform_id TEXT, policy_version INTEGER, provenance TEXT,
            created_at TEXT NOT NULL, due_at TEXT NOT NULL, claimed_at TEXT, sent_at TEXT
        );
        CREATE INDEX deliveries_open ON deliveries (platform, channel, seq)
            WHERE state IN ('queued', 'sending', 'unknown');
        CREATE INDEX deliveries_event ON deliveries (channel, event);
        CREATE INDEX deliveries_state ON deliveries (state);
        CREATE TABLE lanes (lane TEXT PRIMARY KEY, paused_until TEXT NOT NULL, reason TEXT NOT NULL) WITHOUT ROWID;

        CREATE TABLE cursors (source TEXT PRIMARY KEY, cursor TEXT NOT NULL, at TEXT NOT NULL) WITHOUT ROWID;
        CREATE TABLE gaps (
            gap INTEGER PRIMARY KEY, source TEXT NOT NULL, since TEXT, until TEXT, reason TEXT NOT NULL,
            recorded_at TEXT NOT NULL
        );
        CREATE TABLE audit (
            seq INTEGER PRIMARY KEY, at TEXT NOT NULL, actor TEXT NOT NULL, surface TEXT NOT NULL,
            action TEXT NOT NULL, target TEXT NOT NULL, reason TEXT NOT NULL, effect TEXT NOT NULL,
            prev_hash TEXT NOT NULL, hash TEXT NOT NULL
        );
        CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
        CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit
            BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
        """
    )


@_steps()
def m002_memories(db: sqlite_utils.Database) -> None:
    """What each View's detector remembers of its live clusters: which posts they hold, never what these say."""
    db.executescript(
        """
        CREATE TABLE detectors (
            view TEXT PRIMARY KEY, now TEXT NOT NULL, begun TEXT, number INTEGER NOT NULL, turn INTEGER NOT NULL,
            pending TEXT NOT NULL             -- JSON: numbers of clusters with an update that was held back
        ) WITHOUT ROWID;
        CREATE TABLE clusters (
            view TEXT NOT NULL, cluster INTEGER NOT NULL, turn INTEGER NOT NULL, last_at TEXT NOT NULL, event TEXT,
            more TEXT NOT NULL,               -- JSON: closed, absorbed, parted_from, denied_by, cancelled
            PRIMARY KEY (view, cluster)
        ) WITHOUT ROWID;
        CREATE TABLE members (
            view TEXT NOT NULL, post TEXT NOT NULL, cluster INTEGER NOT NULL, turn INTEGER NOT NULL,
            stream_at TEXT NOT NULL,
            PRIMARY KEY (view, post)
        ) WITHOUT ROWID;
        """
    )


@_steps()
def m003_readers(db: sqlite_utils.Database) -> None:
    """What people in Slack and Discord set and press: join codes, quieting, digests, acknowledgements, feedback."""
    db.executescript(
        """
        ALTER TABLE deliveries ADD COLUMN priority INTEGER NOT NULL DEFAULT 0;  -- the larger goes first in its channel
        ALTER TABLE deliveries ADD COLUMN digest TEXT;  -- the digest that tells of this row's alert, or is to
        DROP INDEX deliveries_open;
        CREATE INDEX deliveries_open ON deliveries (platform, channel, priority DESC, seq)
            WHERE state IN ('queued', 'sending', 'unknown');
        CREATE INDEX deliveries_digest ON deliveries (digest) WHERE digest IS NOT NULL;
        CREATE INDEX deliveries_root ON deliveries (root) WHERE root IS NOT NULL;

        ALTER TABLE workspaces ADD COLUMN editors TEXT NOT NULL DEFAULT 'admins';  -- who may change it: or 'members'
        ALTER TABLE channels ADD COLUMN quieting TEXT NOT NULL DEFAULT '{}';       -- JSON: quieting.to_spec
        ALTER TABLE channels ADD COLUMN throttled TEXT;                            -- since when it knows that it lags

        CREATE TABLE join_codes (
            hash TEXT PRIMARY KEY,            -- SHA-256 of the code, which nobody keeps
            org TEXT NOT NULL REFERENCES organisations, created_at TEXT NOT NULL, created_by TEXT NOT NULL,
            expires_at TEXT NOT NULL, used_at TEXT, used_by TEXT, workspace TEXT
        ) WITHOUT ROWID;

        -- What people did with an event's message; ``root`` is the delivery that posted it.
        CREATE TABLE messages (
            root TEXT PRIMARY KEY, acknowledged_by TEXT, acknowledged_at TEXT,
            muted_by TEXT, muted_until TEXT, muted_level TEXT
        ) WITHOUT ROWID;
        CREATE TABLE feedback (
            root TEXT NOT NULL, actor TEXT NOT NULL, at TEXT NOT NULL, view TEXT NOT NULL, alert TEXT NOT NULL,
            PRIMARY KEY (root, actor)         -- pressing twice is once
        ) WITHOUT ROWID;

        -- Slack workspaces that installed the app over HTTP, with the token to speak to each.
        CREATE TABLE installations (
            workspace TEXT PRIMARY KEY, name TEXT, bot_token TEXT NOT NULL, bot_user TEXT NOT NULL, bot_id TEXT,
            app_id TEXT, scopes TEXT NOT NULL, installed_by TEXT NOT NULL, installed_at TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE oauth_states (hash TEXT PRIMARY KEY, expires_at TEXT NOT NULL) WITHOUT ROWID;
        """
    )


@_steps()
def m004_terms(db: sqlite_utils.Database) -> None:
    """Providers' terms, acts of two persons, and what an offboarding still has to do."""
    db.executescript(
        """
        -- A notice that tells of a withdrawal goes also to whoever may have nothing any more.
        ALTER TABLE deliveries ADD COLUMN exempt INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX deliveries_org ON deliveries (org, state);
        CREATE INDEX alerts_recorded_at ON alerts (view, recorded_at);
        ALTER TABLE organisations ADD COLUMN purpose TEXT NOT NULL DEFAULT '';
        ALTER TABLE organisations ADD COLUMN parent TEXT NOT NULL DEFAULT '';
        ALTER TABLE organisations ADD COLUMN domain TEXT NOT NULL DEFAULT '';
        CREATE TABLE domains (                -- where a workspace's people have their e-mail, as the platform says
            workspace TEXT NOT NULL, domain TEXT NOT NULL, PRIMARY KEY (workspace, domain)
        ) WITHOUT ROWID;
        ALTER TABLE revocations ADD COLUMN requester TEXT NOT NULL DEFAULT '';  -- who asked for it
        ALTER TABLE revocations ADD COLUMN begun_at TEXT;   -- when it took effect; NULL: not yet
        ALTER TABLE revocations ADD COLUMN notice TEXT;     -- what the channels are told then; NULL: the usual words
        ALTER TABLE revocations ADD COLUMN silent TEXT;     -- why they are told nothing
        UPDATE revocations SET begun_at = created_at;
        ALTER TABLE grants ADD COLUMN expired_at TEXT;                          -- when its end was noticed

        CREATE TABLE terms (
            provider TEXT PRIMARY KEY, barred_sectors TEXT NOT NULL, barred_cells TEXT NOT NULL,  -- JSON
            quota INTEGER, reason TEXT NOT NULL, author TEXT NOT NULL, changed_at TEXT NOT NULL
        ) WITHOUT ROWID;
        CREATE TABLE quota_use (
            day TEXT NOT NULL, org TEXT NOT NULL, provider TEXT NOT NULL, n INTEGER NOT NULL,
            PRIMARY KEY (day, org, provider)
        ) WITHOUT ROWID;

        -- Acts that one person has proposed and another has to approve; args is JSON.
        CREATE TABLE proposals (
            proposal TEXT PRIMARY KEY, act TEXT NOT NULL, args TEXT NOT NULL, target TEXT NOT NULL,
            reason TEXT NOT NULL, proposed_by TEXT NOT NULL, proposer TEXT NOT NULL, proposed_at TEXT NOT NULL,
            expires_at TEXT NOT NULL, decided_by TEXT, decided_at TEXT,
            state TEXT NOT NULL                -- open, approved, rejected or expired
        ) WITHOUT ROWID;

        -- Workspaces whose token goes when everything that needs it is done.
        CREATE TABLE dropping (
            workspace TEXT NOT NULL, revocation TEXT NOT NULL, since TEXT NOT NULL, PRIMARY KEY (workspace, revocation)
        ) WITHOUT ROWID;
        """
    )


@_steps()
def m005_sources(db: sqlite_utils.Database) -> None:
    """How sources are doing, what was pushed to us, and which posts have outlived their retention."""
    db.executescript(
        """
        CREATE TABLE source_states (
            source TEXT PRIMARY KEY, at TEXT NOT NULL, state TEXT NOT NULL, items INTEGER NOT NULL,
            dropped INTEGER NOT NULL, skipped INTEGER NOT NULL, reconnects INTEGER NOT NULL, lag_s REAL,
            per_second REAL NOT NULL, usual_per_second REAL NOT NULL,
            usual_gap_s REAL,                 -- between two items; None while too few came
            last_item_at TEXT, last_error TEXT, remedy TEXT,
            quiet_since TEXT                  -- the operators were told that it is quiet
        ) WITHOUT ROWID;

        -- Post lines that were taken and not yet read; AUTOINCREMENT, since a row's number is the source's cursor.
        CREATE TABLE pushed (
            number INTEGER PRIMARY KEY AUTOINCREMENT, source TEXT NOT NULL, item TEXT NOT NULL, line BLOB NOT NULL,
            received_at TEXT NOT NULL, UNIQUE (source, item)
        );
        CREATE TABLE push_signatures (signature TEXT PRIMARY KEY, expires_at TEXT NOT NULL) WITHOUT ROWID;

        ALTER TABLE posts ADD COLUMN purged_at TEXT;  -- text, author and embedding are gone for good
        CREATE INDEX posts_kept ON posts (provider, received_at) WHERE purged_at IS NULL;
        CREATE INDEX posts_deleted ON posts (received_at) WHERE deleted_at IS NOT NULL AND purged_at IS NULL;
        """
    )


@_steps()
def m006_local_ids(db: sqlite_utils.Database) -> None:
    """What a source calls a post when it tells of its end."""
    db.executescript(
        """
        CREATE TABLE local_ids (
            source TEXT NOT NULL, local_id TEXT NOT NULL,
            post TEXT NOT NULL,               -- the newest version that we have
            PRIMARY KEY (source, local_id)
        ) WITHOUT ROWID;
        CREATE INDEX local_ids_post ON local_ids (post);
        """
    )


@_steps()
def m007_pushed_sums(db: sqlite_utils.Database) -> None:
    """How much waits of each push source, kept up to date, so that it need not be counted for each request."""
    db.executescript(
        """
        CREATE TABLE pushed_sums (
            source TEXT PRIMARY KEY, lines INTEGER NOT NULL, bytes INTEGER NOT NULL
        ) WITHOUT ROWID;
        INSERT INTO pushed_sums SELECT source, count(*), sum(length(line)) FROM pushed GROUP BY source;
        CREATE TRIGGER pushed_added AFTER INSERT ON pushed BEGIN
            INSERT INTO pushed_sums VALUES (new.source, 1, length(new.line))
            ON CONFLICT (source) DO UPDATE SET lines = lines + 1, bytes = bytes + length(new.line);
        END;
        CREATE TRIGGER pushed_deleted AFTER DELETE ON pushed BEGIN
            UPDATE pushed_sums SET lines = lines - 1, bytes = bytes - length(old.line) WHERE source = old.source;
        END;
        """
    )


with contextlib.closing(sqlite_utils.Database(memory=True)) as _empty:
    _KNOWN = frozenset(step.name for step in _steps.pending(_empty))


def apply(db: sqlite_utils.Database, path: Path) -> None:
    """Bring the store to this version's schema; a store of a newer version is left alone and refused."""
    _refuse_newer(db, path)
    db.conn.execute("BEGIN IMMEDIATE")
    try:
        _steps.apply(db)
    except BaseException:
        db.conn.execute("ROLLBACK")
        raise
    db.conn.execute("COMMIT")


def check(db: sqlite_utils.Database, path: Path) -> None:
    """Raise StoreError unless the store has exactly this version's schema."""
    _refuse_newer(db, path)
    if _steps.pending(db):
        raise StoreError(f"store {path}: made by an older version; any command that writes brings it up to date")


def _refuse_newer(db: sqlite_utils.Database, path: Path) -> None:
    if {step.name for step in _steps.applied(db)} - _KNOWN:
        raise StoreError(f"store {path}: written by a newer tocsin; install that version or name another store")
