"""The embedded FHIR store in one SQLite file: versions of resources on one time axis.

Theory of operation. A version is a narrow row (key, id, when it changed, when it ended) and a body apart from it; the
newest of an id is current. Writers take one immediate transaction a batch; fixing T is one as well, so the cut between
before and after is exact. Readers take a short transaction a page and always ask whether T can still be shown. Nobody
holds a transaction for longer than that, so the log (WAL) stays small and an export may take days.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from fhirferry.model.cohort import Cohort, Selection, Share
from fhirferry.model.errors import SourceConnectionError, StoreBusy, StoreDamaged, TransientError
from fhirferry.model.instant import Clock, Instant
from fhirferry.model.partition import Page, PartitionPlan, Total
from fhirferry.model.request import ExportRequest
from fhirferry.sqltext import statements
from fhirferry.store import cohorts, info, named, paging, pins, routes, sql, walks

# Imported where they are used: what writes and prunes is no part of an export's start.
if TYPE_CHECKING:
    from fhirferry.fhir.resource import Deletion, Resource
    from fhirferry.store.info import StoreInfo
    from fhirferry.store.pruning import Pruned
    from fhirferry.store.writing import Outcome

Connection = sqlite3.Connection

APPLICATION_ID = 0x46485253  # "FHRS"
SCHEMAS = ("schema-1", "schema-2", "schema-3", "schema-4")
"""Schema n + 1 is made of schema n by the n-th script: a new file starts before the first."""

READER_CACHE = 16_000  # kB
WRITER_CACHE = 64_000  # kB: the index of ids is written all over
ROUND = 20  # ms
CHECKPOINT = 4_000  # pages of 16 kB: the log is carried over each 64 MB


class SqliteStore:
    """One connection to a store; for one thread at a time.

    path: the file. create: make it if it is not there (mode 0600, in a folder that exists). timeout: seconds to wait
    for another writer. Raises SourceConnectionError when there is no store at `path`, StoreBusy, StoreDamaged,
    TransientError when the disk is full.
    """

    def __init__(self, path: str, *, clock: Clock, create: bool = False, timeout: float = 30.0) -> None:
        self.path = path
        self._clock = clock
        self._timeout = timeout
        self._writes = False
        self._db = _open(path, create=create, timeout=timeout)

    def write(self, items: Sequence[Resource | Deletion], *, force: bool = False) -> list[Outcome]:
        """Apply `items` in order, all or nothing, durable on return; outcomes are parallel to them.

        force: take a resource although its given lastUpdated is before the current version's.
        """
        outcomes, commit = self._apply(items, force)
        commit()
        return outcomes

    def write_behind(
        self, items: Sequence[Resource | Deletion], *, force: bool = False
    ) -> tuple[list[Outcome], Callable[[], None]]:
        """`write` that leaves the commit to a thread. The outcomes hold, durably, when the function that comes with
        them returns: it waits, and raises what `write` would. Call it before anything else is asked of this store."""
        from threading import Thread  # only importing has something to do meanwhile

        outcomes, commit = self._apply(items, force)
        failed: list[BaseException] = []

        def run() -> None:
            try:
                commit()
            except BaseException as error:
                failed.append(error)

        def wait() -> None:
            thread.join()
            if failed:
                raise failed[0]

        thread = Thread(target=run)
        thread.start()
        return outcomes, wait

    def _apply(self, items: Sequence[Resource | Deletion], force: bool) -> tuple[list[Outcome], Callable[[], None]]:
        """Outcomes, and what commits them."""
        from fhirferry.store import writing

        if not self._writes:
            self._db.execute(f"pragma cache_size = -{WRITER_CACHE}")
            self._writes = True
        with contextlib.ExitStack() as stack:
            db = stack.enter_context(self.writing())
            outcomes = writing.write(db, items, self._clock(), force=force)
            transaction = stack.pop_all()
        large = any(map(writing.is_large, items))

        def commit() -> None:
            transaction.close()
            if large:  # it pushed all else out of the cache, which now only costs memory
                db.execute("pragma shrink_memory")

        return outcomes, commit

    def get(self, type: str, id: str) -> bytes | None:  # noqa: A002 - FHIR's words
        """The body of the current version; None when there is none, or it is deleted."""
        from fhirferry.store import writing

        with self.reading() as db:
            return writing.get(db, type, id)

    def info(self) -> StoreInfo:
        """What the store holds. Costs nothing: counters are kept."""
        with self.reading() as db:
            return info.read(db, self.path)

    def prune(self, before: Instant | None = None) -> Pruned:
        """Forget versions that no pinned T needs; with `before` only what no T from there on needs. In small
        transactions, so writers and readers go on beside it."""
        from fhirferry.store import pruning

        with self.writing() as db:
            done = pruning.raise_watermark(db, before, self._clock())
        pruning.keep_targets(self)
        more = True
        while more:
            with self.writing() as db:
                done, more = pruning.remove(db, done)
        cohorts.sweep(self)
        named.sweep(self)
        return done

    def snapshot(self, job_id: str) -> Instant:
        """Fix and pin T (Source.snapshot)."""
        with self.writing() as db:
            return pins.snapshot(db, job_id, self._clock())

    def renew(self, job_id: str, transaction_time: Instant) -> None:
        """Keep T pinned (Source.renew). Asks for the writers' lock only when the pin needs it."""
        with self.reading() as db:
            if pins.is_fresh(db, job_id, transaction_time, self._clock()):
                return
        with self.writing() as db:
            pins.renew(db, job_id, transaction_time, self._clock())

    def release(self, job_id: str) -> None:
        """Drop the job's pin, its cohort and what was named for it. Idempotent."""
        with self.writing() as db:
            pins.release(db, job_id)
            cohorts.drop(db, job_id)
            named.drop(db, job_id)
        cohorts.sweep(self)
        named.sweep(self)

    def members(
        self, request: ExportRequest, transaction_time: Instant, named: Iterable[str] | None = None
    ) -> Cohort | None:
        """Whom the request means at T (Source.members)."""
        from fhirferry.store import groups

        return groups.members(self, request, transaction_time, named) if request.has_cohort else None

    def select(self, job_id: str, transaction_time: Instant, patients: Iterable[tuple[str, Share]]) -> Selection:
        """Keep the job's cohort (Source.select)."""
        return cohorts.select(self, job_id, transaction_time, patients)

    def name(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        job_id: str,
        round: int,  # noqa: A002 - the word of PartitionPlan
        references: Iterable[tuple[str, bool]],
    ) -> None:
        """Add to what a round of the job exports (Source.name)."""
        from fhirferry.store import naming

        naming.name(self, request, transaction_time, job_id, round, references)

    def associated(self, transaction_time: Instant, references: Sequence[str], *, latest: bool) -> Sequence[str]:
        """Which Provenance has one of the references as a target (Source.associated)."""
        from fhirferry.store import provenance

        return provenance.associated(self, transaction_time, references, latest=latest)

    def index(self, on_progress: Callable[[int, int], None]) -> int:
        """Find out which patients' the versions are that an earlier fhirferry wrote; returns how many those were.
        on_progress(done, all). In small transactions; who is interrupted and called again goes on."""
        from fhirferry.store import indexing

        return indexing.index(self, on_progress)

    def totals(self, request: ExportRequest, transaction_time: Instant, job_id: str = "") -> Mapping[str, Total]:
        """What T holds of the request, by type (Source.totals)."""
        from fhirferry.store import totals

        self._look_into_provenance(request, transaction_time, job_id)
        with self.reading() as db:
            return totals.totals(db, request, transaction_time, job_id)

    def partitions(
        self,
        request: ExportRequest,
        transaction_time: Instant,
        target_bytes: int,
        after: PartitionPlan | None = None,
        job_id: str = "",
        round: int = 0,  # noqa: A002 - the word of PartitionPlan
    ) -> Iterator[PartitionPlan]:
        """Cut the request (Source.partitions)."""
        done = None if after is None else walks.walk_of(after.bounds)
        if not round:
            self._look_into_provenance(request, transaction_time, job_id)
        with self.reading() as db:
            pins.must_hold(db, transaction_time)
            types = info.codes(db)
            if round:
                named.must_be_there(db, job_id, round)
                way = routes.named(types, transaction_time, job_id, round)
            else:
                cohort = cohorts.of_request(db, request, job_id)
                if cohort is not None and done is not None:  # selected anew, it may have been judged otherwise
                    cohort = msgspec.structs.replace(cohort, wide=done.wide)
                way = routes.walks(types, request, transaction_time, job_id, cohort)
        for walk in way:
            if done is not None:
                if (walk.type, walk.by) != (done.type, done.by):
                    continue
                walk = msgspec.structs.replace(walk, after=done.to)
                done = None
            yield from walks.cut(self, walk, target_bytes)

    def read(
        self,
        bounds: Mapping[str, Any],
        continuation: str | None,
        max_resources: int,
        max_bytes: int,
        *,
        check: bool = False,
    ) -> Page:
        """The next page of a partition (Source.read). check: parse every line as well."""
        walk = walks.walk_of(bounds)
        if walk.is_relevant:
            from fhirferry.store import relevance

            relevance.find(self, walk.job, walk.t)  # the job was taken up, its cohort selected anew
        with self.reading() as db:
            return paging.read(db, walk, continuation, max_resources, max_bytes, check=check)

    def _look_into_provenance(self, request: ExportRequest, t: Instant, job_id: str) -> None:
        """Of patients it is exported by what it is about, which is looked up when a job first needs it (B45). In organised
        output only deletions ask."""
        idle = request.organize_output_by is not None and routes.told_since(request) is None
        if request.level != "system" and not idle:
            from fhirferry.store import relevance

            relevance.prepare(self, request, t, job_id)

    def reading(self) -> _Transaction:
        """A transaction that sees one state of the store; keep it short."""
        return _Transaction(self._db, self.path, 0)

    def writing(self) -> _Transaction:
        """A transaction that no other writer shares."""
        return _Transaction(self._db, self.path, self._timeout)

    def close(self) -> None:
        """Idempotent. After writing, the log is carried over into the file as far as readers allow."""
        if self._writes:
            self._writes = False
            self._db.execute("pragma busy_timeout = 0")
            # Where somebody reads, or the disk is full, it stays in the log, and that is durable.
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("pragma wal_checkpoint(truncate)")
        self._db.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Transaction:
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


def _open(path: str, *, create: bool, timeout: float) -> Connection:
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
            with _Transaction(db, path, timeout):
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
