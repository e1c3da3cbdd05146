import asyncio
import multiprocessing
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from bot import admin
from bot.domain import audit as chain
from bot.domain.errors import StoreError
from bot.domain.post import Deletion
from bot.store import access, audit, claiming, directory, posts
from bot.store.database import Database, ServiceLock, StoreLockedError
from tests.factories import NOW, make_alert, make_organisation
from tests.worlds import OPERATOR, World


def now() -> datetime:
    return NOW


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.db"


@pytest.fixture
def world(path):
    world = World(path)
    yield world
    world.close()


# ---- opening


def test_opening_twice_migrates_once(path):
    for _ in range(2):
        with Database.open(path) as database:
            applied = database._in_transaction(lambda db: list(db.query("SELECT name FROM _sqlite_migrations")))
            assert [step["name"] for step in applied] == [
                "m001_first", "m002_memories", "m003_readers", "m004_terms", "m005_sources", "m006_local_ids",
                "m007_pushed_sums",
            ]  # fmt: skip


def test_store_of_a_newer_version_is_refused_and_left_alone(path):
    with Database.open(path) as database:
        database._in_transaction(
            lambda db: db.execute(
                "INSERT INTO _sqlite_migrations (migration_set, name, applied_at) VALUES ('tocsin', 'm999', 'later')"
            )
        )
    before = path.read_bytes()
    for read_only in (False, True):
        with pytest.raises(StoreError, match=rf"{path}: written by a newer tocsin"):
            Database.open(path, read_only=read_only)
    assert path.read_bytes() == before


def test_store_without_the_schema_is_not_read(path):
    sqlite3.connect(path).close()
    path.touch()
    with pytest.raises(StoreError, match="made by an older version"):
        Database.open(path, read_only=True)


def test_missing_store_is_not_created_by_reading(path):
    with pytest.raises(StoreError, match="there is no such file; `tocsin run`"):
        Database.open(path, read_only=True)
    assert not path.exists()


def test_missing_folder_is_named(tmp_path):
    for opening in (Database.open, lambda where: ServiceLock(where).__enter__()):
        with pytest.raises(StoreError, match=r"no/store.db: cannot be opened.*check the folder"):
            opening(tmp_path / "no" / "store.db")


@pytest.mark.parametrize("read_only", [False, True])
def test_file_that_is_no_store_is_left_alone(path, read_only):
    path.write_bytes(b"Dear diary, " * 1000)
    with pytest.raises(StoreError, match="not a tocsin store, or damaged"):
        Database.open(path, read_only=read_only)
    assert path.read_bytes() == b"Dear diary, " * 1000


async def test_damage_inside_the_file_is_told_as_such(world, path):
    for number in range(200):
        world.record(steps=[world.candidate(f"bluesky|{number}", text="x" * 500)])
    world.close()
    content = bytearray(path.read_bytes())
    content[8192:] = b"\xff" * (len(content) - 8192)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        with Database.open(path, read_only=True) as database:
            await database.read(lambda db: list(posts.history(db, NOW)))
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    world.database = Database.open(path)


async def test_read_only_store_does_not_write(world, path):
    with Database.open(path, read_only=True) as database:
        with pytest.raises(StoreError, match="opened read-only"):
            await database.write(directory.organisations)
        with pytest.raises(StoreError, match="cannot be opened for writing"):
            await database.read(directory.add_organisation, make_organisation(), NOW)


def test_reader_sees_the_last_committed_state(world):
    async def story():
        begun, go_on = threading.Event(), threading.Event()

        def slow(db):
            directory.add_organisation(db, make_organisation(), NOW)
            begun.set()
            assert go_on.wait(10)

        writing = asyncio.create_task(world.database.write(slow))
        await asyncio.to_thread(begun.wait, 10)
        assert await world.database.read(directory.organisations) == []
        go_on.set()
        await writing
        assert await world.database.read(directory.organisations) == [make_organisation()]

    asyncio.run(story())


# ---- transactions


def test_what_raises_leaves_nothing_behind(world):
    def half(db):
        directory.add_organisation(db, make_organisation(), NOW)
        raise RuntimeError("on the way")

    with pytest.raises(RuntimeError):
        world.write(half)
    assert world.write(directory.organisations) == []


def test_write_takes_the_lock_before_it_reads(world, path):
    """A deferred transaction would let both read the same policy and fail only when it writes."""
    other = sqlite3.connect(path, isolation_level=None, timeout=0)

    def during(db):
        access.policy(db)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")

    world.write(during)
    other.close()


def test_claims_and_revocations_of_two_processes_are_totally_ordered(world, path):
    """Whichever commits first: a row is claimed and reported as in flight, or withheld; never both, never neither."""
    world.org()
    world.channel()
    for number in range(40):
        world.record(make_alert(event=f"{number:016x}", evidence=(f"bluesky|{number}",)))
    barrier = multiprocessing.get_context("spawn").Barrier(2)
    process = multiprocessing.get_context("spawn").Process(target=_claim_and_send, args=(path, barrier))
    process.start()
    barrier.wait(60)
    effect = world.revoke(org="Acme")
    process.join(60)
    assert process.exitcode == 0
    sent = {row["delivery"] for row in world.rows(state="sent")}
    assert len(effect.in_flight) <= 1
    assert effect.withheld == len(world.rows(state="withheld"))
    assert len(sent) + effect.withheld == 40
    assert len(sent - set(effect.in_flight)) == effect.delivered
    assert chain.verify(world.audit()) is None


def _claim_and_send(path, barrier):
    world = World(path)
    barrier.wait(60)
    world.deliver_all()
    world.close()


def test_clock_read_before_a_revocation_of_another_process_does_not_claim_after_it(world):
    world.org()
    world.channel()
    world.record(make_alert())
    early = world.now
    world.wait(seconds=2)
    world.revoke(provider="bluesky", org="Acme", from_at=world.now)
    assert world.write(claiming.claim_due, platform="slack", at=early, most=16) == []
    world.record(make_alert(event="00000000000000e2"), view=access.ProviderSet.parse("*"))
    assert world.write(claiming.claim_due, platform="slack", at=early, most=16) == []


# ---- what the file and the disk do


async def test_store_that_another_process_writes_is_locked_and_nothing_is_lost(world, path):
    world.org()
    world.database.close()
    world.database = Database.open(path, busy_timeout_s=0.05)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreLockedError, match=r"locked by another process.*nothing was lost"):
        await world.database.write(directory.add_organisation, make_organisation(name="Late"), NOW)
    with pytest.raises(StoreLockedError):
        Database.open(path, busy_timeout_s=0.05)
    assert [org.name for org in await world.database.read(directory.organisations)] == ["Acme"]
    other.execute("ROLLBACK")
    other.close()
    await world.database.write(directory.add_organisation, make_organisation(name="Late"), NOW)


def test_full_disk_is_named_and_earlier_data_stays(world):
    world.org()
    world.database._writer.conn.execute("PRAGMA max_page_count = 60")

    def fill(db):
        for number in range(500):
            posts.add(db, world.candidate(f"bluesky|{number}", text="x" * 1000))

    with pytest.raises(StoreError, match="the disk is full; free some space"):
        world.write(fill)
    assert [org.name for org in world.write(directory.organisations)] == ["Acme"]
    assert world.write(posts.next_seq) == 1
    world.database._writer.conn.execute("PRAGMA max_page_count = 100000")
    world.write(fill)
    assert len(world.write(lambda db: list(posts.history(db, NOW)))) == 500


def test_two_services_on_one_store(path):
    with ServiceLock(path):
        second = subprocess.run(
            [sys.executable, "-c", _SECOND, str(path)], capture_output=True, text=True, cwd=Path(__file__).parents[2]
        )
    assert second.returncode == 1
    assert "another tocsin service (process" in second.stdout
    assert f"store {path}:" in second.stdout
    with ServiceLock(path):
        pass


_SECOND = """
import sys, pathlib
from bot.domain.errors import StoreError
from bot.store.database import ServiceLock
try:
    with ServiceLock(pathlib.Path(sys.argv[1])):
        pass
except StoreError as error:
    print(error)
    sys.exit(1)
"""


def test_service_that_was_killed_leaves_no_lock(path):
    code = _SECOND.replace("        pass", "        import os; os.kill(os.getpid(), 9)")
    killed = subprocess.run([sys.executable, "-c", code, str(path)], cwd=Path(__file__).parents[2])
    assert killed.returncode == -9
    with ServiceLock(path):
        pass


# ---- audit


def test_audit_is_append_only(world):
    world.org()
    for sql in ("UPDATE audit SET reason = 'nicer'", "DELETE FROM audit", "DELETE FROM audit WHERE seq = 1"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            world.write(lambda db, sql=sql: db.execute(sql))
    assert chain.verify(world.audit()) is None


def test_tampered_audit_row_is_found(world, path):
    world.org()
    world.org("Bank")
    assert len(world.audit()) == 4
    other = sqlite3.connect(path)
    other.executescript("DROP TRIGGER audit_no_update; UPDATE audit SET target = 'somebody else' WHERE seq = 3;")
    other.close()
    assert "entry 3 was changed" in str(chain.verify(world.audit()))


def test_many_writers_make_one_chain(world):
    async def story():
        await asyncio.gather(
            *(admin.act(world.database, OPERATOR, "org-add", "", now, admin.add_organisation, f"Org {n}", "news")
              for n in range(20))
        )  # fmt: skip

    asyncio.run(story())
    assert len(world.audit()) == 20
    assert chain.verify(world.audit()) is None


def test_audit_of_strange_texts_verifies(world):
    world.write(
        audit.append, at=NOW, actor="ü", surface="slack", action="a", target="\x00\u202e", reason="𝄞",
        effect={"ä": [1.5, None, {"x": True}]},
    )  # fmt: skip
    assert chain.verify(world.audit()) is None


# ---- posts


def test_deleted_text_is_gone_from_the_file(world, path):
    secret = "nobody shall read these words again"
    keep = "this one stays"
    world.record(
        steps=[
            world.candidate("bluesky|1", text=secret, url="https://x.example/secret-url", media=("secret-media",)),
            world.candidate("bluesky|2", text=keep),
        ]
    )
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=NOW)])
    world.database._writer.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    found = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for gone in (secret, "secret-url", "secret-media"):
        assert gone.encode() not in found
    assert keep.encode() in found


def test_closing_leaves_no_log_with_deleted_text_behind(world, path):
    world.record(steps=[world.candidate("bluesky|1", text="nobody shall read this")])
    world.record(steps=[Deletion(provider="bluesky", id="1", deleted_at=NOW)])
    world.reopen()
    world.close()
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    assert b"nobody shall" not in path.read_bytes()
    world.database = Database.open(path)


def test_deleted_account_takes_all_its_posts(world):
    mine = [world.candidate(f"bluesky|{n}", author="did:plc:me") for n in range(3)]
    world.record(steps=[*mine, world.candidate("bluesky|other", author="did:plc:you")])
    world.record(steps=[Deletion(provider="bluesky", author="did:plc:me", deleted_at=NOW)])
    keys = [f"bluesky|{n}" for n in (0, 1, 2, "other")]
    assert [quote.text for quote in world.write(posts.quotes, keys)] == ["text of bluesky|other"]


def test_history_gives_back_what_was_recorded_in_order(world):
    first = world.candidate("bluesky|1", lat=1.5, lon=2.5, media=("m",), repost_of="bluesky|0", verified=True)
    second = world.candidate("usgs|2", author=None, url=None)
    deletion = Deletion(provider="bluesky", id="gone", deleted_at=NOW)
    between = Deletion(provider="usgs", id="2", deleted_at=NOW)
    world.record(steps=[first, deletion, second])
    world.record(steps=[between])
    third = world.candidate("bluesky|3")
    world.record(steps=[third])
    history = world.write(lambda db: list(posts.history(db, NOW)))
    assert history[0] == first
    assert history[2:] == [(between, NOW), third]
    assert history[1].post.text == ""
    assert world.write(posts.get, "3") == third
    assert world.write(posts.known, ["bluesky|1", "bluesky|9"]) == {"bluesky|1"}


def test_post_that_comes_twice_is_stored_once(world):
    candidate = world.candidate("bluesky|1")
    world.record(steps=[candidate, candidate])
    assert world.write(lambda db: list(posts.history(db, NOW))) == [candidate]


def test_threads_share_one_writer(world):
    with ThreadPoolExecutor(4) as pool:
        names = [f"Org {n}" for n in range(12)]

        def add(name):
            asyncio.run(admin.act(world.database, OPERATOR, "org-add", "", now, admin.add_organisation, name, "news"))

        list(pool.map(add, names))
    assert [org.name for org in world.write(directory.organisations)] == sorted(names)


def test_only_its_owner_may_read_a_store(path):
    path.touch(0o644)
    with Database.open(path) as database:
        database._in_transaction(lambda db: db.execute("INSERT INTO settings VALUES ('a', 'b')"))
        modes = {each.name: each.stat().st_mode & 0o777 for each in path.parent.glob(f"{path.name}*")}
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}
