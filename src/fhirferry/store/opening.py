"""Opening a store's file, making or bringing it up to date, and its transactions, whose errors are ours."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from types import TracebackType

from fhirferry.model.errors import SourceConnectionError, StoreBusy, StoreDamaged, TransientError
from fhirferry.sqltext import statements
from fhirferry.store import sql

Connection = sqlite3.Connection

APPLICATION_ID = 0x46485253  # "FHRS"
SCHEMAS = ("schema-1", "schema-2", "schema-3", "schema-4", "schema-5")
"""Schema n + 1 is made of schema n by the n-th script: a new file starts before the first."""

READER_CACHE = 16_000  # kB
ROUND = 20  # ms
CHECKPOINT = 4_000  # pages of 16 kB: the log is carried over each 64 MB


class Transaction:
    """`begin` to `commit`, or `rollback`; SQLite's errors leave it as ours.

    wait: seconds to wait for the writers' lock; 0 to read only.
    """

    def __init__(self, db: Connection, path: str, wait: float) -> None:
        self._db, self._path, self._wait = db, path, wait

    def __enter__(self) -> Connection:
        try:
            if self._wait:
                self._lock()
            else:
                self._db.execute("begin")
        except sqlite3.Error as error:
            raise _as_ours(self._path, error) from error
        return self._db

    def _lock(self) -> None:
        """SQLite asks for a lock at growing distances, at last ten times a second: beside a busy writer fixing T would
        wait for seconds. In short rounds it asks often, all the time."""
        self._db.execute(f"pragma busy_timeout = {ROUND}")
        try:
            for left in range(int(self._wait * 1000 / ROUND), -1, -1):
                try:
                    self._db.execute("begin immediate")
                    return
                except sqlite3.OperationalError as error:
                    if not left or error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                        raise
        finally:
            self._db.execute(f"pragma busy_timeout = {int(self._wait * 1000)}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._db.execute("commit")
        except sqlite3.Error as failed:
            error = failed
        if error is None:
            return
        if self._db.in_transaction:
            self._db.execute("rollback")
        if isinstance(error, sqlite3.Error):
            raise _as_ours(self._path, error) from error


def open_store(path: str, *, create: bool, timeout: float) -> Connection:
    """A connection to the store at `path`, in its newest schema. Raises what `SqliteStore` does."""
    if create:
        _make(path)
    elif not os.path.isfile(path):  # noqa: PTH113
        raise SourceConnectionError(f"there is no store at {path}; make one with: fhirferry import PATH --store {path}")
    db = None
    try:
        db = sqlite3.connect(path, timeout=timeout, isolation_level=None, check_same_thread=False)
        db.text_factory = bytes
        db.execute("pragma synchronous = full")
        db.execute(f"pragma cache_size = -{READER_CACHE}")
        db.execute(f"pragma wal_autocheckpoint = {CHECKPOINT}")
        if _missing_schemas(db, path, create=create):
            _set_wal(db, timeout)
            with Transaction(db, path, timeout):
                for number in _missing_schemas(db, path, create=create):  # again, now nobody else can
                    for statement in statements(sql.script(SCHEMAS[number]), sqlite3.complete_statement):
                        db.execute(statement)
                    db.execute(f"pragma user_version = {number + 1}")
                db.execute(f"pragma application_id = {APPLICATION_ID}")
        elif db.execute("pragma journal_mode").fetchone()[0] != b"wal":
            with contextlib.suppress(
                sqlite3.OperationalError
            ):  # restored by VACUUM INTO; who cannot write needs no log
                db.execute("pragma journal_mode = wal")
    except BaseException as error:
        if db is not None:
            db.close()
        if isinstance(error, sqlite3.Error):
            raise _as_ours(path, error) from error
        raise
    return db


def _make(path: str) -> None:
    try:
        # SQLite would make the file with the umask's rights; -wal and -shm take theirs from it. Only for a new file:
        # closing a descriptor of one that is in use would drop this process's locks on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        pass
    except OSError as error:
        raise SourceConnectionError(f"cannot make the store {path}: {error.strerror}") from error


def _missing_schemas(db: Connection, path: str, *, create: bool) -> range:
    """Indexes of SCHEMAS that are not in yet."""
    (application,) = db.execute("pragma application_id").fetchone()
    (version,) = db.execute("pragma user_version").fetchone()
    if application != APPLICATION_ID:
        (tables,) = db.execute("select count(*) from sqlite_master").fetchone()
        if application or version or tables or not create:
            raise SourceConnectionError(f"{path} is not a fhirferry store; name another file")
    if version > len(SCHEMAS):
        raise SourceConnectionError(
            f"the store {path} was written by a newer fhirferry (schema {version}, this one knows {len(SCHEMAS)}); "
            "use that version"
        )
    return range(version, len(SCHEMAS))


def _set_wal(db: Connection, timeout: float) -> None:
    """The file keeps this mode. Two who make a store at once: SQLite's own wait does not cover this switch."""
    import time  # only for a new store

    db.execute("pragma page_size = 16384")  # measured: larger pages hold more of a body, and read twice as fast
    for pause in [0.05] * max(1, int(timeout / 0.05)):
        try:
            db.execute("pragma journal_mode = wal")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                raise
            time.sleep(pause)
    raise StoreBusy("another process kept the new store locked")


def _as_ours(path: str, error: sqlite3.Error) -> BaseException:
    """SQLite's error by what the reader does next. The caller's own mistakes (a closed store) stay what they are."""
    if isinstance(error, sqlite3.ProgrammingError):
        return error
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # without the extended part
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"the store {path} is locked by another process")
    if code == sqlite3.SQLITE_NOTADB:
        return SourceConnectionError(
            f"{path} is not a fhirferry store, or its first page is overwritten; name another file"
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return StoreDamaged(
            f"the store {path} is damaged ({error}); restore a backup, or save what can be read with: "
            f"sqlite3 {path} .recover"
        )
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        return TransientError(f"the store {path} cannot be read or written ({error}); is the disk full?")
    return SourceConnectionError(f"the store {path} cannot be used: {error}")
