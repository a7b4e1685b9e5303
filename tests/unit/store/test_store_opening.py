"""Opening: what is no store, what is newer, what is locked, what is damaged; and who may read the file."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat

import pytest

from fhirferry.clock import system_clock
from fhirferry.model.errors import FerryError, SourceConnectionError, StoreBusy, StoreDamaged
from fhirferry.model.request import ExportRequest
from fhirferry.store.sqlite import SqliteStore
from fhirferry.testing.source_suite import Ticking, export, resource


def test_s73_a_missing_store_says_how_to_make_one(path: str, clock: Ticking) -> None:
    with pytest.raises(SourceConnectionError, match="fhirferry import"):
        SqliteStore(path, clock=clock)
    assert not os.path.exists(path)


def test_a_folder_that_is_missing_is_not_made(path: str, clock: Ticking) -> None:
    with pytest.raises(SourceConnectionError, match="No such file"):
        SqliteStore(path + "/deeper", clock=clock, create=True)


@pytest.mark.parametrize("create", [False, True])
def test_another_file_is_not_taken_for_a_store(path: str, clock: Ticking, create: bool) -> None:
    with open(path, "w") as file:
        file.write("name,born\n" * 1000)
    with pytest.raises(SourceConnectionError, match="is not a fhirferry store"):
        SqliteStore(path, clock=clock, create=create)


@pytest.mark.parametrize("create", [False, True])
def test_another_database_is_left_alone(path: str, clock: Ticking, create: bool) -> None:
    db = sqlite3.connect(path)
    db.execute("create table mine (a)")
    db.close()
    with pytest.raises(SourceConnectionError, match="is not a fhirferry store"):
        SqliteStore(path, clock=clock, create=create)


def test_an_empty_file_is_a_store_only_for_who_makes_one(path: str, clock: Ticking) -> None:
    open(path, "w").close()
    with pytest.raises(SourceConnectionError):
        SqliteStore(path, clock=clock)
    SqliteStore(path, clock=clock, create=True).close()
    SqliteStore(path, clock=clock).close()


def test_a_newer_schema_is_refused(store: SqliteStore, path: str, clock: Ticking) -> None:
    store._db.execute("pragma user_version = 99")
    with pytest.raises(SourceConnectionError, match="newer fhirferry"):
        SqliteStore(path, clock=clock)


def test_only_its_owner_may_read_it(store: SqliteStore, path: str) -> None:
    store.write([resource("Patient/a")])
    for name in (path, path + "-wal", path + "-shm"):
        assert stat.S_IMODE(os.stat(name).st_mode) == 0o600


def test_what_write_reports_is_durable(store: SqliteStore) -> None:
    assert store._db.execute("pragma synchronous").fetchone() == (2,)  # FULL
    assert store._db.execute("pragma journal_mode").fetchone() == (b"wal",)


def test_the_log_is_carried_over_on_close(path: str, clock: Ticking) -> None:
    with SqliteStore(path, clock=clock, create=True) as writer, SqliteStore(path, clock=clock) as reader:
        writer.write([resource("Patient/a", size=100_000)])
        assert os.path.getsize(path + "-wal") > 100_000
        writer.close()
        assert os.path.getsize(path + "-wal") == 0
        assert reader.get("Patient", "a")


def test_a_locked_store_is_busy_and_reading_goes_on(store: SqliteStore, path: str, clock: Ticking) -> None:
    store.write([resource("Patient/a")])
    t = store.snapshot("job")
    with SqliteStore(path, clock=clock, timeout=0.05) as other, store.writing():
        with pytest.raises(StoreBusy, match="locked"):
            other.write([resource("Patient/b")])
        with pytest.raises(StoreBusy):
            other.snapshot("another")
        other.renew("job", t)  # a heartbeat waits for no writer
        assert export(other, t).values == {"Patient/a": 0}


def test_a_damaged_store_says_what_to_do(path: str, clock: Ticking) -> None:
    with SqliteStore(path, clock=clock, create=True) as store:
        store.write([resource(f"Patient/{number}", size=500) for number in range(2_000)])
        t = store.snapshot("job")
    with open(path, "r+b") as file:
        file.seek(16384)
        file.write(b"\xa5" * (os.path.getsize(path) - 16384))
    with pytest.raises(StoreDamaged, match="restore a backup") as caught, SqliteStore(path, clock=clock) as store:
        list(store.partitions(ExportRequest(), t, 1000))
    assert isinstance(caught.value, FerryError)


def make(path: str, number: int) -> None:
    with SqliteStore(path, clock=system_clock, create=True) as store:
        store.write([resource(f"Patient/{number}")])


def test_several_make_the_same_store_at_once(path: str, clock: Ticking) -> None:
    spawn = multiprocessing.get_context("spawn")
    makers = [spawn.Process(target=make, args=(path, number)) for number in range(3)]
    for maker in makers:
        maker.start()
    for maker in makers:
        maker.join(20)
    assert [maker.exitcode for maker in makers] == [0, 0, 0]
    with SqliteStore(path, clock=clock) as store:
        assert store.info().types["Patient"].resources == 3


def test_a_copy_made_by_vacuum_into_writes_ahead_again(path: str, store: SqliteStore, clock: Ticking) -> None:
    """VACUUM INTO loses the mode, and without it writers would keep readers out."""
    store.write([resource("Patient/a")])
    store._db.execute("vacuum into ?", (path + ".copy",))
    with SqliteStore(path + ".copy", clock=clock) as copy:
        assert copy._db.execute("pragma journal_mode").fetchone() == (b"wal",)
        assert copy.get("Patient", "a")
