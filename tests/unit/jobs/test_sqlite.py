"""What only the SQLite ledger promises: its file, its opening, its locks."""

from __future__ import annotations

import gzip
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace

from fhirferry.jobs import rosters, rules, sql, sqlite
from fhirferry.jobs.sqlite import SqliteJobStore
from fhirferry.model.errors import (
    JobConflict,
    JobNotFound,
    PermanentError,
    RequestError,
    StoreBusy,
    StoreDamaged,
    TransientError,
)
from fhirferry.model.instant import SECOND
from fhirferry.settings import destination_url, path_of
from fhirferry.testing.job_store_bench import START, Bench, a_file, a_record, advanced


def opened(path: Path, timeout: float = 30.0) -> SqliteJobStore:
    return SqliteJobStore(path, clock=lambda: START, is_dead=lambda _: False, timeout=timeout)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def jobs(path: Path) -> Iterator[SqliteJobStore]:
    jobs = opened(path)
    yield jobs
    jobs.close()


def test_the_ledgers_files_are_for_its_owner_alone(jobs: SqliteJobStore, tmp_path: Path) -> None:
    jobs.create(a_record("a"))
    assert {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()} == dict.fromkeys(
        ("ledger.db", "ledger.db-wal", "ledger.db-shm"), 0o600
    )


def test_every_commit_is_synchronous_in_wal_mode_also_after_opening_again(path: Path) -> None:
    for _ in range(2):
        jobs = opened(path)
        assert jobs._db.execute("pragma synchronous").fetchone() == (2,)
        assert jobs._db.execute("pragma journal_mode").fetchone() == ("wal",)
        jobs.close()


def test_what_was_written_is_there_after_closing_and_opening(path: Path) -> None:
    jobs = opened(path)
    jobs.create(a_record("a"))
    (record,) = jobs.acquire("one", 1)
    saved = jobs.commit(advanced(record), record.version)
    jobs.close()
    jobs = opened(path)
    assert jobs.get("a") == saved
    jobs.close()


def test_the_document_is_the_single_truth_without_tag_and_heartbeat(jobs: SqliteJobStore) -> None:
    jobs.create(a_record("a"))
    jobs.acquire("one", 1)
    row = jobs._db.execute(
        "select version, heartbeat, status, holder, epoch, json_extract(record, '$.version'),"
        " json_extract(record, '$.heartbeat') from job"
    ).fetchone()
    assert row == (2, START, "running", "one", 1, 0, None)


@pytest.mark.parametrize("query", ["acquirable", "list-open", "cleanable", "list-by-hash"])
def test_what_workers_poll_is_found_by_an_index_and_without_sorting_records(jobs: SqliteJobStore, query: str) -> None:
    asked = {"now": START, "id": None, "limit": 1, "hash": "x", "by_operator": False}
    plan = "\n".join(row[3] for row in jobs._db.execute("explain query plan " + jobs._sql[query], asked))
    assert "USING INDEX job_" in plan
    if query in ("acquirable", "list-open"):
        assert "TEMP B-TREE" not in plan


# Opening


def test_a_ledger_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="cannot make the ledger"):
        opened(tmp_path / "nowhere" / "ledger.db")


def test_another_sqlite_file_is_refused_and_left_alone(path: Path) -> None:
    other = sqlite3.connect(path)
    other.execute("create table precious (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(RequestError, match="not a fhirferry ledger"):
        opened(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused_and_left_alone(path: Path) -> None:
    path.write_bytes(b"Hello, I am a letter.\n" * 100)
    before = path.read_bytes()
    with pytest.raises(RequestError, match="not a fhirferry ledger"):
        opened(path)
    assert path.read_bytes() == before


def test_a_damaged_ledger_says_so(path: Path) -> None:
    jobs = opened(path)
    jobs.create(a_record("a"))
    jobs.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xa5" * (len(whole) - 4096))
    jobs = opened(path)  # the header is whole
    with pytest.raises(StoreDamaged):
        jobs.get("a")
    jobs.close()


def test_a_record_that_cannot_be_read_says_so_without_quoting_it(jobs: SqliteJobStore) -> None:
    jobs.create(a_record("a"))
    jobs._db.execute("update job set record = json_set(record, '$.status', 'secret')")
    with pytest.raises(StoreDamaged) as failure:
        jobs.get("a")
    assert "status" in failure.value.message


def test_a_record_from_before_urls_were_encoded_still_names_its_folder(jobs: SqliteJobStore) -> None:
    jobs.create(a_record("a", destination_uri="file:///srv/100%41 out", schema_version=1))
    record = jobs.get("a")
    assert str(path_of(record.destination_uri)) == "/srv/100%41 out"
    assert jobs.commit(advanced(record), record.version).destination_uri == record.destination_uri, "once is enough"
    assert jobs.get("a").destination_uri == destination_url("/srv/100%41 out")


def test_an_empty_file_becomes_a_ledger(path: Path) -> None:
    path.touch()
    jobs = opened(path)
    assert jobs.list() == ()
    jobs.close()


def test_a_ledger_of_a_newer_version_is_refused(path: Path) -> None:
    opened(path).close()
    db = sqlite3.connect(path)
    db.execute("pragma user_version = 99")
    db.close()
    with pytest.raises(RequestError, match=r"newer fhirferry \(schema 99"):
        opened(path)


def test_an_older_ledger_is_migrated_in_one_transaction(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = opened(path)
    record = jobs.create(a_record("a"))
    jobs.close()
    scripts = {
        "ledger": sql.script("ledger"),
        "next": "create table extra (x);\n-- more\ncreate table further (y);\n",
        "one-more": "create table extra (z);\n",
    }
    monkeypatch.setattr(sql, "script", scripts.__getitem__)
    known = sqlite.SCHEMAS
    monkeypatch.setattr(sqlite, "SCHEMAS", (*known, "next", "one-more"))
    with pytest.raises(PermanentError, match="extra already exists"):
        opened(path)
    monkeypatch.setattr(sqlite, "SCHEMAS", (*known, "next"))
    jobs = opened(path)
    assert jobs._db.execute("pragma user_version").fetchone() == (len(known) + 1,)
    assert jobs._db.execute("select count(*) from further").fetchone() == (0,)
    assert jobs.get("a") == record, "and nothing of the failed migration is left"
    jobs.close()


def test_a_ledger_of_schema_1_is_carried_over_with_all_that_is_in_it(path: Path) -> None:
    """`ledger-1.db.gz` was written by the last program that knew no other schema; its job `waiting` by an older one."""
    path.write_bytes(gzip.decompress(Path(__file__).with_name("ledger-1.db.gz").read_bytes()))
    jobs = opened(path)
    assert jobs._db.execute("pragma user_version").fetchone() == (len(sqlite.SCHEMAS),)
    assert jobs._db.execute("pragma integrity_check").fetchone() == ("ok",)
    done, waiting = jobs.list()
    assert (done.id, done.status, done.progress, done.heartbeat) == ("done", "completed", 100, START)
    assert done.destination_root == done.destination_uri == "file:///srv/out%20put"
    assert waiting.destination_root == waiting.destination_uri == destination_url("/srv/100%41 out")
    for record in (done, waiting):
        (partition,), (file,) = jobs.partitions(record.id), jobs.files(record.id)
        assert (partition.plan.round, partition.done, file) == (0, record is done, a_file(1))
        assert list(jobs.cohort(record.id)) == []
    asked = a_record("b", hash=waiting.hash, destination_root=waiting.destination_uri)
    assert jobs.find_or_create(asked) == waiting
    jobs.put_cohort(waiting, waiting.version, ["1"])
    jobs.commit(advanced(waiting), waiting.version, references=[(1, "Location/1")])
    assert [*jobs.cohort("waiting"), *jobs.named("waiting", 1)] == ["1", ("Location/1", True)]
    jobs.close()


def test_processes_that_make_the_ledger_at_once_share_one(path: Path) -> None:
    source = f"""
import os, sys
from fhirferry.clock import system_clock
from fhirferry.jobs.sqlite import SqliteJobStore
from fhirferry.settings import destination_url, path_of
from fhirferry.testing.job_store_bench import a_record
sys.stdin.readline()
jobs = SqliteJobStore({str(path)!r}, clock=system_clock)
jobs.create(a_record(str(os.getpid())))
jobs.close()
"""
    children = [subprocess.Popen([sys.executable, "-c", source], stdin=subprocess.PIPE, text=True) for _ in range(4)]
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    for child in children:
        child.communicate(timeout=60)
    assert [child.returncode for child in children] == [0] * 4
    jobs = opened(path)
    assert {record.id for record in jobs.list()} == {str(child.pid) for child in children}
    jobs.close()


# Long lists


@pytest.fixture
def bench(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A ledger whose pages hold ten entries and whose steps twenty."""
    monkeypatch.setattr(rosters, "PAGE", 10)
    monkeypatch.setattr(rules, "AT_ONCE", 20)
    bench = Bench(lambda clock, is_dead: SqliteJobStore(path, clock=clock, is_dead=is_dead))
    yield bench
    bench.jobs.close()


def rows(bench: Bench) -> tuple[int, int]:
    """Rosters and entries, whoever's."""
    assert isinstance(bench.jobs, SqliteJobStore)
    return bench.jobs._db.execute("select (select count(*) from roster), (select count(*) from entry)").fetchone()


def forget(bench: Bench, job_id: str) -> None:
    bench.jobs.delete(job_id)
    bench.swept(job_id)
    bench.jobs.cleaned(job_id, again_at=None)


def dying_after_a_step(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    """The first of many transactions is done, no other follows."""

    def die(_seconds: float) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("time.sleep", die)
        with pytest.raises(KeyboardInterrupt):
            work()


MANY = [f"{n:03d}" for n in range(100)]


@pytest.mark.parametrize("count", [0, 9, 10, 11, 19, 20, 21, 40, 100])
def test_pages_and_steps_lose_nothing_at_their_edges(bench: Bench, count: int) -> None:
    record = bench.run("a")
    bench.jobs.put_cohort(record, record.version, MANY[:count])
    bench.jobs.create(a_record("b"), patients=MANY[:count])
    record = bench.jobs.commit(record, record.version, references=[(1 + n % 2, name) for n, name in enumerate(MANY)])
    second = replace(bench.jobs.get("b"), continues="a")
    bench.jobs.carry_named(second, second.version)
    assert list(bench.jobs.cohort("a")) == list(bench.jobs.listed("b")) == MANY[:count]
    assert [*bench.jobs.named("a", 1)] == [(name, True) for name in MANY[::2]]
    assert [*bench.jobs.named("a", 2)] == [(name, True) for name in MANY[1::2]]
    assert [*bench.jobs.named("b", 1)] == [(name, False) for name in MANY]


def test_a_stream_holds_nothing_of_the_ledger_between_its_pages(bench: Bench, path: Path) -> None:
    record = bench.run("a")
    bench.jobs.put_cohort(record, record.version, MANY)
    stream = bench.jobs.cohort("a")
    assert next(stream) == MANY[0]
    with closing(sqlite3.connect(path, timeout=0)) as other:
        busy, *_ = other.execute("pragma wal_checkpoint(truncate)").fetchone()
        assert busy == 0, "somebody still reads from the log"
    assert list(stream) == MANY[1:]


def test_l1_a_list_that_is_dropped_while_it_is_read_does_not_end_as_if_it_were_whole(bench: Bench) -> None:
    record = bench.run("a")
    for drop in (lambda: bench.jobs.put_cohort(record, record.version, MANY), lambda: forget(bench, "a")):
        bench.jobs.put_cohort(record, record.version, MANY)
        stream = bench.jobs.cohort("a")
        assert next(stream) == MANY[0]
        drop()
        with pytest.raises(TransientError):
            list(stream)


def test_l1_a_list_that_is_half_removed_gives_nothing_more(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    record = bench.run("a")
    bench.jobs.put_cohort(record, record.version, MANY)
    stream = bench.jobs.cohort("a")
    assert next(stream) == MANY[0]
    dying_after_a_step(monkeypatch, lambda: forget(bench, "a"))
    assert rows(bench) == (1, 80)
    read: list[str] = []
    with pytest.raises(TransientError):
        read.extend(stream)
    assert read == MANY[1:10], "the page that was there"


def test_b39_a_reader_never_comes_into_the_list_of_another_job(bench: Bench) -> None:
    record, other = bench.run("a"), bench.run("b")
    bench.jobs.put_cohort(record, record.version, MANY[:50])
    stream = bench.jobs.cohort("a")
    assert next(stream) == MANY[0]
    forget(bench, "a")
    bench.jobs.put_cohort(other, other.version, MANY[:95])
    read: list[str] = []
    with pytest.raises(TransientError):
        read.extend(stream)
    assert read == MANY[1:10]


def test_what_nobody_can_see_any_more_is_removed(bench: Bench) -> None:
    record = bench.run("a")
    for _ in range(2):
        bench.jobs.put_cohort(record, record.version, MANY)
    assert rows(bench) == (1, 100)
    with pytest.raises(ZeroDivisionError):
        bench.jobs.put_cohort(record, record.version, (str(1 / (50 - n)) for n in range(100)))
    assert rows(bench) == (2, 140)
    bench.jobs.put_cohort(record, record.version, MANY)
    assert rows(bench) == (1, 100)
    bench.jobs.commit(record, record.version, references=[(1, "Location/1")])
    bench.jobs.create(a_record("b"), patients=MANY)
    assert rows(bench) == (3, 201)
    forget(bench, "a")
    assert rows(bench) == (1, 100)
    bench.jobs.cancel("b")
    bench.swept("b")
    bench.jobs.cleaned("b", again_at=None)
    bench.jobs.prune(bench.now + 1)
    assert rows(bench) == (0, 0)


def test_a_writer_whose_cohort_somebody_else_began_again_leaves_no_entry(bench: Bench) -> None:
    record = bench.run("a")

    def delivery() -> Iterator[str]:
        yield from MANY[:50]
        bench.jobs.put_cohort(record, record.version, MANY)
        yield from ("x", "y")

    with pytest.raises(JobConflict):
        bench.jobs.put_cohort(record, record.version, delivery())
    assert list(bench.jobs.cohort("a")) == MANY
    assert rows(bench) == (1, 100)


def test_what_a_removal_left_when_it_was_cut_off_goes_with_the_next(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, other = bench.run("a"), bench.run("b")
    bench.jobs.put_cohort(record, record.version, MANY)
    dying_after_a_step(monkeypatch, lambda: forget(bench, "a"))
    assert rows(bench) == (1, 80)
    with pytest.raises(JobNotFound):
        bench.jobs.get("a")
    bench.queue("c")  # it may get the number of the job that is gone, not its list
    assert list(bench.jobs.cohort("c")) == []
    bench.jobs.put_cohort(other, other.version, ["1"])
    assert rows(bench) == (1, 1)


def test_a_list_whose_job_was_never_created_is_kept_for_a_day(bench: Bench) -> None:
    bench.queue("a")
    record = bench.run("b")
    bench.jobs.cancel("a")

    def delivery() -> Iterator[str]:
        yield from MANY
        assert bench.jobs.prune(bench.now) == (), "sweeps"
        yield "x"

    bench.jobs.create(a_record("long"), patients=delivery())
    assert list(bench.jobs.listed("long")) == [*MANY, "x"]
    with pytest.raises(ZeroDivisionError):
        bench.jobs.create(a_record("never"), patients=(str(1 / (50 - n)) for n in range(100)))
    bench.wait(rosters.UNCLAIMED / SECOND - 1)
    bench.jobs.put_cohort(record, record.version, ())
    assert rows(bench) == (3, 141)
    bench.wait(1)
    bench.jobs.prune(bench.now)
    assert rows(bench) == (2, 101)

    def endless() -> Iterator[str]:
        yield from MANY
        bench.wait(rosters.UNCLAIMED / SECOND)

    with pytest.raises(TransientError):
        bench.jobs.create(a_record("too-late"), patients=endless())
    with pytest.raises(JobNotFound):
        bench.jobs.get("too-late")


def test_others_get_the_lock_between_the_steps(bench: Bench, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    record = bench.run("a")
    impatient = opened(path, timeout=0.0)
    beats = []
    monkeypatch.setattr("time.sleep", lambda _seconds: beats.append(impatient.heartbeat("a", "one", record.epoch)))
    bench.jobs.put_cohort(record, record.version, MANY)
    bench.jobs.put_cohort(record, record.version, ())
    assert beats == ["ok"] * 11, "5 steps to write, 6 to remove"
    impatient.close()


# Locks


def test_a_locked_ledger_is_busy_and_whoever_only_looks_does_not_wait(jobs: SqliteJobStore, path: Path) -> None:
    jobs.create(a_record("a"))
    impatient = opened(path, timeout=0.05)
    jobs._db.execute("begin immediate")
    for write in (
        lambda: impatient.acquire("one", 1),
        lambda: impatient.cancel("a"),
        lambda: impatient.heartbeat("a", "one", 1),
        lambda: impatient.create(a_record("b")),
    ):
        with pytest.raises(StoreBusy):
            write()
    assert impatient.get("a").id == "a"
    assert impatient.acquire_cleanup(9, lease=1.0) == (), "an idle poll takes no write lock"
    jobs._db.execute("rollback")
    assert [record.id for record in impatient.acquire("one", 1)] == ["a"]
    jobs._db.execute("begin immediate")
    assert impatient.acquire("two", 1) == ()
    jobs._db.execute("rollback")
    impatient.close()


def test_a_step_holds_the_write_lock_from_its_reading_on(path: Path) -> None:
    """Else it would be made on a record that is no longer the last one."""
    other = opened(path, timeout=0.0)
    other.create(a_record("a"))
    other.create(a_record("b"))

    def now() -> int:
        with pytest.raises(StoreBusy):
            other.cancel("b")
        return START

    jobs = SqliteJobStore(path, clock=now, is_dead=lambda _: False)
    assert jobs.cancel("a").canceled_time == START
    assert other.cancel("b").canceled_time == START
    jobs.close()
    other.close()


def test_a_heartbeat_that_came_in_while_an_acquisition_waited_is_not_one_from_the_future(path: Path) -> None:
    """The clock is read under the lock; before it, a living holder's heartbeat could be later than 'now'."""
    now = [START]
    owner = SqliteJobStore(path, clock=lambda: now[0], is_dead=lambda _: False)
    owner.create(a_record("a"))
    (record,) = owner.acquire("one", 1)
    now[0] += 11_000_000  # stale: the first look finds it

    class Rival(SqliteJobStore):
        looks = 0

        def now(self) -> int:
            self.looks += 1
            if self.looks == 2:  # under the lock the clock goes on; so it does for the owner, before
                return now[0]
            seen = now[0]
            now[0] += 5
            owner.heartbeat("a", "one", record.epoch)
            now[0] += 5
            return seen

    rival = Rival(path, clock=lambda: now[0], is_dead=lambda _: False)
    assert rival.acquire("two", 1) == ()
    assert rival.looks == 2, "the first look took the heartbeat for one from the future"
    rival.close()
    owner.close()


def test_a_closed_ledger_is_the_callers_mistake(path: Path) -> None:
    jobs = opened(path)
    jobs.close()
    with pytest.raises(sqlite3.ProgrammingError):
        jobs.list()


def test_a_read_only_ledger_is_refused_for_good(path: Path) -> None:
    opened(path).close()
    if os.geteuid() == 0:
        db = opened(path)
        db._db.execute("pragma query_only = on")  # root may write everything; this is as near as it gets
    else:
        path.chmod(0o400)
        db = opened(path)
    with pytest.raises(PermanentError, match="cannot be used"):
        db.create(a_record("a"))
    db.close()


def test_a_copy_made_by_vacuum_into_writes_ahead_again(tmp_path: Path) -> None:
    with closing(SqliteJobStore(tmp_path / "ledger.db", clock=lambda: START)) as jobs:
        jobs._db.execute("vacuum into ?", (str(tmp_path / "copy.db"),))
    with closing(SqliteJobStore(tmp_path / "copy.db", clock=lambda: START)) as copy:
        assert copy._db.execute("pragma journal_mode").fetchone() == ("wal",)
