"""One SQLite file, one writer thread.

Every use case is one write: a plain function that takes ``db`` first and runs inside one ``BEGIN IMMEDIATE``
transaction on the writer thread. Claims and revocations are therefore totally ordered, also between the service and the
command line. Reads run on a thread and a connection of their own and see the last committed state.
"""

import asyncio
import fcntl
import os
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import sqlite_utils

from bot.domain.errors import StoreError
from bot.store import migrations

# What the functions of ``store`` and the use cases built on them take first.
Tables = sqlite_utils.Database

P = ParamSpec("P")
R = TypeVar("R")

# How long one statement waits for another process's transaction before SQLite says "database is locked".
BUSY_TIMEOUT_S = 10.0

_OUR_BUGS = (sqlite3.IntegrityError, sqlite3.ProgrammingError)  # not the file's or the disk's doing


class Database:
    """An open store. Use ``Database.open``; close with ``close`` or ``with``.

    Raises StoreError where the file cannot be opened, is damaged or written by a newer version.
    """

    def __init__(self, path: Path, writer: sqlite_utils.Database | None, reader: sqlite_utils.Database) -> None:
        self.path = path
        self._writer = writer
        self._reader = reader
        self._write_thread = ThreadPoolExecutor(1, thread_name_prefix="store-writer")
        self._read_thread = ThreadPoolExecutor(1, thread_name_prefix="store-reader")

    @classmethod
    def open(cls, path: Path, *, read_only: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Self:
        """Open and, unless ``read_only``, create and migrate. A read-only store must exist."""
        if read_only and not path.exists():
            raise StoreError(f"store {path}: there is no such file; `tocsin run` or `tocsin org add` creates one")
        writer = reader = None
        try:
            if not read_only:
                writer = _connect(path, busy_timeout_s, read_only=False)
                migrations.apply(writer, path)
            reader = _connect(path, busy_timeout_s, read_only=True)
            migrations.check(reader, path)
        except BaseException as error:
            for opened in (reader, writer):
                if opened is not None:
                    opened.close()
            if isinstance(error, sqlite3.Error | OSError):
                raise as_store_error(error, path) from error
            raise
        return cls(path, writer, reader)

    async def write(self, fn: Callable[Concatenate[sqlite_utils.Database, P], R], *args: P.args, **kw: P.kwargs) -> R:
        """Run ``fn(db, …)`` in one immediate transaction. Raises StoreError for what the file or the disk does."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._write_thread, lambda: self._in_transaction(fn, *args, **kw))

    async def read(self, fn: Callable[Concatenate[sqlite_utils.Database, P], R], *args: P.args, **kw: P.kwargs) -> R:
        """Run ``fn(db, …)`` on the reader's connection, in one snapshot."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._read_thread, lambda: self._in_snapshot(fn, *args, **kw))

    def close(self) -> None:
        """Wait for what runs, then close both connections; the writer last, so that it can tidy up the WAL."""
        self._write_thread.shutdown()
        self._read_thread.shutdown()
        self._reader.close()
        if self._writer is not None:
            self._writer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _in_transaction(
        self, fn: Callable[Concatenate[sqlite_utils.Database, P], R], *args: P.args, **kw: P.kwargs
    ) -> R:
        if self._writer is None:
            raise StoreError(f"store {self.path}: opened read-only; this command does not write")
        conn = self._writer.conn
        try:
            conn.execute("BEGIN IMMEDIATE")
            result = fn(self._writer, *args, **kw)
            conn.execute("COMMIT")
        except BaseException as error:
            if conn.in_transaction:
                conn.execute("ROLLBACK")
            if isinstance(error, sqlite3.DatabaseError) and not isinstance(error, _OUR_BUGS):
                raise as_store_error(error, self.path) from error
            raise
        return result

    def _in_snapshot(self, fn: Callable[Concatenate[sqlite_utils.Database, P], R], *args: P.args, **kw: P.kwargs) -> R:
        conn = self._reader.conn
        try:
            conn.execute("BEGIN")
            return fn(self._reader, *args, **kw)
        except sqlite3.DatabaseError as error:
            if isinstance(error, _OUR_BUGS):
                raise
            raise as_store_error(error, self.path) from error
        finally:
            if conn.in_transaction:
                conn.execute("ROLLBACK")


class ServiceLock:
    """Held by the one service on a store; the kernel lets go of it when the process ends, however it ends."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(path.name + ".lock")
        self._fd: int | None = None

    def __enter__(self) -> Self:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise as_store_error(error, self._path.with_suffix("")) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(fd, 32).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise StoreError(
                f"store {self._path.with_suffix('')}: another tocsin service (process {holder}) runs on it; "
                "stop that one, or give this one another store with --db"
            ) from None
        os.ftruncate(fd, 0)
        os.write(fd, str(os.getpid()).encode())
        self._fd = fd
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


def as_store_error(error: Exception, path: Path) -> StoreError:
    """One sentence with what to do, for the ways in which a file or a disk lets us down."""
    text = error.strerror or "" if isinstance(error, OSError) else str(error)  # an OSError's text names the path
    if "locked" in text or "busy" in text:
        return StoreLockedError(
            f"store {path}: locked by another process for more than {BUSY_TIMEOUT_S:g} s; "
            "end the program that holds it open for writing (a backup, a shell), nothing was lost"
        )
    if "full" in text or "No space left" in text:
        return StoreError(f"store {path}: the disk is full; free some space and start again, nothing was lost")
    if any(sign in text for sign in ("readonly", "Permission", "unable to open", "No such file", "Not a directory")):
        return StoreError(f"store {path}: cannot be opened for writing ({text}); check the folder and its permissions")
    if "not a database" in text or "malformed" in text:
        return StoreError(f"store {path}: not a tocsin store, or damaged ({text}); restore a backup or name another")
    return StoreError(f"store {path}: {text}; nothing of this step was stored")


class StoreLockedError(StoreError):
    """Worth trying again: another process was writing."""


def _connect(path: Path, busy_timeout_s: float, *, read_only: bool) -> sqlite_utils.Database:
    mode = "?mode=ro" if read_only else ""
    if not read_only:
        _keep_private(path)
    conn = sqlite3.connect(
        f"{path.absolute().as_uri()}{mode}",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=busy_timeout_s,
    )
    try:
        if not read_only:
            conn.execute("PRAGMA journal_mode = WAL")
            conn.execute("PRAGMA synchronous = FULL")
            conn.execute("PRAGMA secure_delete = ON")
        conn.execute("PRAGMA foreign_keys = ON")
        return sqlite_utils.Database(conn, execute_plugins=False)
    except BaseException:
        conn.close()
        raise


def _keep_private(path: Path) -> None:
    """Tokens and posts are in it: its owner alone may read it. What SQLite puts beside it gets the same mode."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)


def rows(db: sqlite_utils.Database, sql: str, params: Any = None) -> list[dict[str, Any]]:
    """All rows of a query as dicts."""
    return list(db.query(sql, params))


def row(db: sqlite_utils.Database, sql: str, params: Any = None) -> dict[str, Any] | None:
    """The first row, or None."""
    return next(iter(db.query(sql, params)), None)
