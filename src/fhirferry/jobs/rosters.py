"""A job's lists in the SQLite ledger: the patients it was created with, its cohort, what its resources refer to.

A million entries is usual. So they are read in pages by key, with nothing held between pages, and written and removed
in small transactions, between which every other job can beat its heart and commit. What is written becomes visible, and
what is dropped invisible, as a whole: a roster belongs to its job, or to nobody and is swept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

from fhirferry.jobs import rules, sql
from fhirferry.model.errors import JobConflict, StoreBusy, TransientError
from fhirferry.model.instant import SECOND, Instant
from fhirferry.model.job import ExportJobRecord

if TYPE_CHECKING:
    from fhirferry.jobs.sqlite import Connection, SqliteJobStore

PAGE = 10_000
"""Entries that a reader holds in memory."""

UNCLAIMED = 86400 * SECOND
"""So long a list waits for its job to be created."""

Prepared = list[str] | int
"""Patients for a job that is yet to be created: themselves when they are few, else the number of their roster."""

_SQL = sql.queries("ledger")


def add(db: Connection, job_id: str, kind: str, items: Iterable[tuple[str, int]]) -> None:
    """Add (item, round) in the caller's transaction; one that is there stays as it is."""
    rows = list(items)
    if rows:
        roster = _open(db, job_id, kind)
        db.executemany(_SQL["put-entry"], ((roster, *row) for row in rows))


def prepare(ledger: SqliteJobStore, patients: Iterable[str]) -> Prepared:
    """Read them before the job is created, so that nobody waits for the caller; many are written down already."""
    chunks = rules.chunks(patients)
    few = next(chunks, [])
    if len(few) < rules.AT_ONCE:
        return few
    with ledger.writing() as db:
        roster = _new(db, None, "listed", ledger.now() + UNCLAIMED)
    for chunk in chain((few,), chunks):
        with _step(ledger) as db:
            db.executemany(_SQL["put-entry"], ((roster, patient, 0) for patient in chunk))
    return roster


def give(ledger: SqliteJobStore, db: Connection, job_id: str, patients: Prepared) -> None:
    """Make what was prepared the new job's, in the caller's transaction."""
    if not isinstance(patients, int):
        add(db, job_id, "listed", ((patient, 0) for patient in patients))
    elif not db.execute(_SQL["give-roster"], {"id": job_id, "roster": patients, "now": ledger.now()}).rowcount:
        raise TransientError(f"the patients of job {job_id} took too long to write; try again")


def put_cohort(ledger: SqliteJobStore, record: ExportJobRecord, version: int, patients: Iterable[str]) -> None:
    """Write the job's cohort beside the one that it may have, then put it in its place."""
    with ledger.writing(record.id, version) as db:
        db.execute(_SQL["drop-roster"], {"id": record.id, "kind": "writing"})
        ours = {"roster": _new(db, record.id, "writing"), "id": record.id, "kind": "writing"}
    for chunk in rules.chunks(patients):
        with _step(ledger, record.id, version) as db:
            _must_be(db, ours)
            db.executemany(_SQL["put-entry"], ((ours["roster"], patient, 0) for patient in chunk))
    with ledger.writing(record.id, version) as db:
        _must_be(db, ours)
        db.execute(_SQL["drop-roster"], {"id": record.id, "kind": "cohort"})
        db.execute(_SQL["name-roster"], ours | {"kind": "cohort"})
    sweep(ledger)


def carry(ledger: SqliteJobStore, record: ExportJobRecord, version: int) -> None:
    """Copy what the job that `record` continues named, in pages; what is there already stays."""
    after = ""
    while True:
        with _step(ledger, record.id, version) as db:
            source = record.continues and _find(db, record.continues, "named")
            if not source:
                return
            page = {"from": source, "after": after, "limit": rules.AT_ONCE}
            last, count = db.execute(_SQL["last-of-page"], page).fetchone()
            if not count:
                return
            db.execute(_SQL["carry"], page | {"roster": _open(db, record.id, "named")})
            after = last


def read(ledger: SqliteJobStore, job_id: str, kind: str, first: int = 0, last: int = 0) -> Iterator[tuple[str, int]]:
    """(item, round) of the rounds `first` to `last`, in order; nothing where there is no such list. TransientError when
    it is dropped meanwhile: half a cohort must not pass for a whole one."""
    with ledger.reading() as db:
        roster = _find(db, job_id, kind)
    page = {"roster": roster, "after": "", "first": first, "last": last, "limit": PAGE}
    while roster is not None:
        with ledger.reading() as db:
            rows = db.execute(_SQL["entries"], page).fetchall()
            if (
                not rows
                and not db.execute(_SQL["is-roster"], {"roster": roster, "id": job_id, "kind": kind}).fetchone()
            ):
                raise TransientError(f"the {kind} list of job {job_id} was removed while it was read")
        yield from rows
        if len(rows) < PAGE:
            return
        page["after"] = rows[-1][0]


def sweep(ledger: SqliteJobStore) -> None:
    """Remove what was dropped, in small transactions; asks for the write lock only when there is any. Whoever is cut off
    or kept from writing leaves it to the next one."""
    with suppress(StoreBusy):
        while True:
            with ledger.reading() as db:
                row = db.execute(_SQL["dropped"], {"now": ledger.now()}).fetchone()
            if row is None:
                return
            with _step(ledger) as db:
                chunk = {"roster": row[0], "limit": rules.AT_ONCE}
                if db.execute(_SQL["sweep"], chunk).rowcount < rules.AT_ONCE:
                    db.execute(_SQL["forget-roster"], chunk)


@contextmanager
def _step(ledger: SqliteJobStore, job_id: str = "", version: int | None = None) -> Iterator[Connection]:
    """One of many transactions in a row. SQLite gives the lock to whoever happens to ask when it is free, and those who
    wait ask seldom: so it stays free for as long as it was taken."""
    import time

    with ledger.writing(job_id, version) as db:
        start = time.monotonic()
        yield db
    time.sleep(min(time.monotonic() - start, 0.2))


def _open(db: Connection, job_id: str, kind: str) -> int:
    return _find(db, job_id, kind) or _new(db, job_id, kind)


def _new(db: Connection, job_id: str | None, kind: str, until: Instant = 0) -> int:
    return db.execute(_SQL["new-roster"], {"id": job_id, "kind": kind, "until": until}).lastrowid or 0


def _find(db: Connection, job_id: str, kind: str) -> int | None:
    row = db.execute(_SQL["roster"], {"id": job_id, "kind": kind}).fetchone()
    return None if row is None else int(row[0])


def _must_be(db: Connection, roster: dict[str, object]) -> None:
    if db.execute(_SQL["is-roster"], roster).fetchone() is None:
        raise JobConflict(f"the cohort of job {roster['id']} is written by somebody else")
