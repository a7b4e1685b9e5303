"""The ledger in a SQLite file: any number of threads and processes of one machine share it.

One connection, one lock. SQLite has one writer at a time, so a connection per thread would gain nothing for the writes,
which are nearly all there is, and `close` could not reach the others. Every write is one immediate transaction, durable
when it returns (WAL, synchronous=FULL: one fsync); what only looks, an idle poll for instance, takes no write lock.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress

import msgspec

from fhirferry import faultpoints
from fhirferry.jobs import documents, holder, rosters, rules, sql
from fhirferry.jobs.protocol import Beat
from fhirferry.model import steps
from fhirferry.model.errors import (
    JobConflict,
    PermanentError,
    RequestError,
    StoreBusy,
    StoreDamaged,
    TransientError,
)
from fhirferry.model.instant import Clock, Instant
from fhirferry.model.job import ExportJobRecord
from fhirferry.model.output import OutputFile
from fhirferry.model.partition import Partition
from fhirferry.sqltext import statements

APPLICATION_ID = 0x46464C31
"""`FFL1` in the file's header: a fhirferry ledger."""

SCHEMAS = ("schema-1", "schema-2", "schema-3")
"""Applied in order; `user_version` counts those that are in. A new one is appended, an old one never changed."""

Connection = sqlite3.Connection

FULL = (errno.ENOSPC, errno.EDQUOT)


class SqliteJobStore:
    """JobStore in the SQLite file `path`, which is made (mode 0600) when it is not there; its folder must be.

    clock: the ledger's time. is_dead: tells of a holder that it has certainly ended. timeout: seconds to wait for other
    writers. Opening raises RequestError (what is at `path` cannot be a ledger of this version), StoreDamaged,
    StoreBusy. Every method raises StoreBusy, StoreDamaged, and TransientError when the disk is full.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        clock: Clock,
        is_dead: Callable[[str], bool] = holder.is_dead,
        timeout: float = 30.0,
    ) -> None:
        self._path = os.fspath(path)
        self._clock = clock
        self._is_dead = is_dead
        self._sql = sql.queries("ledger")
        self._lock = threading.Lock()
        with _translated(self._path, opening=True):
            self._db = _open(self._path, timeout)

    def now(self) -> Instant:
        return self._clock()

    def create(self, record: ExportJobRecord, *, patients: Iterable[str] = ()) -> ExportJobRecord:
        document = documents.write_record(rules.queued(record))
        prepared = rosters.prepare(self, patients)
        with self.writing() as db:
            return self._insert(db, record, document, prepared)

    def find_or_create(self, record: ExportJobRecord, *, patients: Iterable[str] = ()) -> ExportJobRecord:
        document = documents.write_record(rules.queued(record))
        with self.reading() as db:
            there = self._standing(db, record)
        prepared = there or rosters.prepare(self, patients)
        if isinstance(prepared, ExportJobRecord):
            return prepared
        with self.writing() as db:
            return self._standing(db, record) or self._insert(db, record, document, prepared)

    def _standing(self, db: Connection, record: ExportJobRecord) -> ExportJobRecord | None:
        rows = db.execute(self._sql["list-by-hash"], {"hash": record.hash})
        return rules.standing((documents.read_record(*row) for row in rows), record)

    def get(self, job_id: str) -> ExportJobRecord:
        with self.reading() as db:
            return rules.visible(self._find(db, job_id), job_id)

    def list(self, *, request_hash: str | None = None, unfinished: bool = False) -> Sequence[ExportJobRecord]:
        query = self._sql["list-by-hash" if request_hash is not None else "list-open" if unfinished else "list"]
        with self.reading() as db:
            records = (documents.read_record(*row) for row in db.execute(query, {"hash": request_hash}))
            return tuple(record for record in records if not (unfinished and record.finished))

    def acquire(
        self, holder: str, limit: int, *, job_id: str | None = None, by_operator: bool = False
    ) -> Sequence[ExportJobRecord]:
        with self.reading() as db:
            if not self._steps(db, holder, limit, job_id, by_operator):
                return ()
        with self.writing() as db:
            saved = [self._save(db, record) for record in self._steps(db, holder, limit, job_id, by_operator)]
        return tuple(record for record in saved if not record.finished)

    def _steps(
        self, db: Connection, holder: str, limit: int, job_id: str | None, by_operator: bool
    ) -> Sequence[ExportJobRecord]:
        # Under the write lock this clock is later than every heartbeat that is in; without it a heartbeat may look
        # like one from the future, so only what is found under the lock is saved.
        now = self.now()
        query = "acquirable" if job_id is None else "get"
        with closing(db.execute(self._sql[query], {"now": now, "id": job_id, "by_operator": by_operator})) as rows:
            candidates = (documents.read_record(*row) for row in rows)
            return rules.take(candidates, holder, limit, now, self._is_dead, by_operator=by_operator)

    def heartbeat(self, job_id: str, holder: str, epoch: int) -> Beat:
        with self.writing() as db:
            hold = {"id": job_id, "holder": holder, "epoch": epoch, "now": self.now()}
            if db.execute(self._sql["heartbeat"], hold).rowcount:
                return Beat.OK
            return rules.beat_without_hold(self._find(db, job_id))

    def commit(
        self,
        record: ExportJobRecord,
        version: int,
        *,
        partitions: Iterable[Partition] = (),
        files: Iterable[OutputFile] = (),
        references: Iterable[tuple[int, str]] = (),
    ) -> ExportJobRecord:
        ours = [(record.id, p.number, documents.write(p)) for p in rules.tagged(record, version, partitions)]
        further = [(record.id, documents.write(file)) for file in files]
        named = rules.named(record.id, references)
        changed = {"id": record.id, "record": documents.write_record(record)}
        with self.writing(record.id, version) as db:
            db.execute(self._sql["commit"], changed)
            db.executemany(self._sql["put-partition"], ours)
            try:
                db.executemany(self._sql["insert-file"], further)
            except sqlite3.IntegrityError:
                raise JobConflict(f"a file of job {record.id} is listed already") from None
            rosters.add(db, record.id, "named", named)
            saved = rules.visible(self._find(db, record.id), record.id)
            faultpoints.reach("commit-inside")
        return saved

    def partitions(self, job_id: str) -> Sequence[Partition]:
        with self.reading() as db:
            rows = db.execute(self._sql["partitions"], {"id": job_id})
            return tuple(documents.read_partition(document) for (document,) in rows)

    def files(self, job_id: str) -> Sequence[OutputFile]:
        with self.reading() as db:
            rows = db.execute(self._sql["files"], {"id": job_id})
            return tuple(documents.read_file(document) for (document,) in rows)

    def listed(self, job_id: str) -> Iterator[str]:
        return (patient for patient, _ in rosters.read(self, job_id, "listed"))

    def put_cohort(self, record: ExportJobRecord, version: int, patients: Iterable[str]) -> None:
        rosters.put_cohort(self, record, version, patients)

    def cohort(self, job_id: str) -> Iterator[str]:
        return (patient for patient, _ in rosters.read(self, job_id, "cohort"))

    def carry_named(self, record: ExportJobRecord, version: int) -> None:
        rosters.carry(self, record, version)

    def named(self, job_id: str, round: int) -> Iterator[tuple[str, bool]]:  # noqa: A002 - the protocol's word
        first = 0 if round == 1 else round
        return ((item, here > 0) for item, here in rosters.read(self, job_id, "named", first, round))

    def cancel(self, job_id: str) -> ExportJobRecord:
        return self._change(job_id, lambda record: steps.cancel(record, self.now()))

    def resume(self, job_id: str) -> ExportJobRecord:
        return self._change(job_id, steps.resume)

    def delete(self, job_id: str, *, keep_files: bool = False) -> ExportJobRecord:
        return self._change(job_id, lambda record: steps.delete(record, self.now(), keep_files=keep_files))

    def acquire_cleanup(self, limit: int, *, lease: float, job_id: str | None = None) -> Sequence[ExportJobRecord]:
        with self.reading() as db:
            asked = {"now": self.now(), "id": job_id, "limit": max(0, limit)}
            if not db.execute(self._sql["cleanable"], asked).fetchall():
                return ()
        with self.writing() as db:
            now = asked["now"] = self.now()
            due = db.execute(self._sql["cleanable"], asked).fetchall()
            return tuple(self._save(db, rules.lease_cleanup(documents.read_record(*row), now, lease)) for row in due)

    def cleaned(self, job_id: str, *, again_at: Instant | None) -> None:
        with self.writing() as db:
            record = self._find(db, job_id)
            if record is None or not rules.cleanup_leased(record, self.now()):
                return
            if record.deleted and again_at is None:
                db.execute(self._sql["forget"], {"id": job_id})
            else:
                self._save(db, rules.cleaned(record, again_at))
        rosters.sweep(self)

    def prune(self, before: Instant) -> Sequence[str]:
        with self.writing() as db:
            gone = tuple(job_id for (job_id,) in db.execute(self._sql["prunable"], {"before": before}))
            db.executemany(self._sql["forget"], ({"id": job_id} for job_id in gone))
        rosters.sweep(self)
        return gone

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _change(self, job_id: str, step: Callable[[ExportJobRecord], ExportJobRecord]) -> ExportJobRecord:
        with self.writing() as db:
            return self._save(db, step(rules.visible(self._find(db, job_id), job_id)))

    def _insert(
        self, db: Connection, record: ExportJobRecord, document: str, patients: rosters.Prepared
    ) -> ExportJobRecord:
        if self._find(db, record.id) is not None:
            raise JobConflict(f"job {record.id} is in the ledger already")
        db.execute(self._sql["insert"], {"id": record.id, "record": document})
        rosters.give(self, db, record.id, patients)
        return msgspec.structs.replace(record, version=1, heartbeat=None)

    def _find(self, db: Connection, job_id: str) -> ExportJobRecord | None:
        row = db.execute(self._sql["get"], {"id": job_id}).fetchone()
        return None if row is None else documents.read_record(*row)

    def _save(self, db: Connection, record: ExportJobRecord) -> ExportJobRecord:
        document = documents.write_record(record)
        db.execute(self._sql["save"], {"id": record.id, "heartbeat": record.heartbeat, "record": document})
        return msgspec.structs.replace(record, version=record.version + 1)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The connection, for statements that only look."""
        with self._lock, _translated(self._path):
            yield self._db

    @contextmanager
    def writing(self, job_id: str = "", version: int | None = None) -> Iterator[Connection]:
        """One immediate transaction. version: the tag that the job must still have, else JobConflict or JobNotFound."""
        with self._lock, _translated(self._path), _transaction(self._db):
            if version is not None and not self._db.execute(self._sql["tagged"], (job_id, version)).fetchone():
                raise rules.refused(self._find(self._db, job_id), job_id)
            yield self._db


def _open(path: str, timeout: float) -> Connection:
    try:
        # SQLite would make the file with the umask's rights; -wal and -shm take theirs from it. Only for a new file:
        # closing a descriptor of one that is in use would drop this process's locks on it.
        with suppress(FileExistsError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as error:
        text = f"cannot make the ledger {path}: {error.strerror}"
        raise (TransientError if error.errno in FULL else RequestError)(text) from error
    db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
    try:
        db.execute("pragma synchronous = full")
        db.execute("pragma foreign_keys = on")
        if _missing_schemas(db, path):
            _set_wal(db, timeout)
            with _transaction(db):
                for number in _missing_schemas(db, path):  # again, now nobody else can
                    for statement in statements(sql.script(SCHEMAS[number]), sqlite3.complete_statement):
                        db.execute(statement)
                    db.execute(f"pragma user_version = {number + 1}")
                db.execute(f"pragma application_id = {APPLICATION_ID}")
        elif db.execute("pragma journal_mode").fetchone()[0] != "wal":
            with suppress(sqlite3.OperationalError):  # restored by VACUUM INTO; who cannot write needs no log
                db.execute("pragma journal_mode = wal")
    except BaseException:
        db.close()
        raise
    return db


def _missing_schemas(db: Connection, path: str) -> range:
    """Indexes of SCHEMAS that are not in yet. RequestError when the file is something else, or from the future."""
    (application,) = db.execute("pragma application_id").fetchone()
    (version,) = db.execute("pragma user_version").fetchone()
    if application != APPLICATION_ID:
        (tables,) = db.execute("select count(*) from sqlite_master").fetchone()
        if application or version or tables:
            raise RequestError(f"{path} is a SQLite database, but not a fhirferry ledger; name another file")
    if version > len(SCHEMAS):
        raise RequestError(
            f"the ledger {path} was written by a newer fhirferry (schema {version}, this one knows {len(SCHEMAS)})"
        )
    return range(version, len(SCHEMAS))


def _set_wal(db: Connection, timeout: float) -> None:
    """The file keeps this mode. Two who make a ledger at once: SQLite's own wait does not cover this switch."""
    import time  # only for a new ledger

    while True:
        try:
            db.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or timeout <= 0:
                raise
            time.sleep(0.02)
            timeout -= 0.02


@contextmanager
def _transaction(db: Connection) -> Iterator[None]:
    try:
        db.execute("begin immediate")
        yield
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise


@contextmanager
def _translated(path: str, *, opening: bool = False) -> Iterator[None]:
    """SQLite's errors as ours. The caller's own mistakes (a closed store) stay what they are."""
    try:
        yield
    except sqlite3.ProgrammingError:
        raise
    except sqlite3.Error as error:
        raise _as_ours(path, error, opening) from error


def _as_ours(path: str, error: sqlite3.Error, opening: bool) -> Exception:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the extended part
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"the ledger {path} is locked by another process")
    if opening and code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN):
        return RequestError(f"{path} is not a fhirferry ledger, or its first page is overwritten; name another file")
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return StoreDamaged(f"the ledger {path} is damaged: {error}; restore a backup")
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return TransientError(f"the ledger {path} could not be written: {error}; is the disk full?")
    return PermanentError(f"the ledger {path} cannot be used: {error}")
