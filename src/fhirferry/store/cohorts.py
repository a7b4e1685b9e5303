"""Cohorts: the patients of a job as numbers, where reading can join them; fixed at T, kept as long as the job's pin."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from fhirferry.model.cohort import Selection, Share
from fhirferry.model.errors import StoreNotIndexed, TransientError
from fhirferry.model.instant import Instant
from fhirferry.model.request import ExportRequest
from fhirferry.store import patients, pins, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

WIDE = 12
"""A cohort of more than one patient in so many is read in the order on disk, every version being looked at; a smaller
one patient by patient. With a store in memory the two cost the same at one in three (benchmarks/cohort.py); a disk's
scattered reads cost more than memory's, so it lies well below that."""
AT_ONCE = 20_000
"""Patients that one transaction writes or removes."""

_SQL = sql.queries("cohorts")


class Cohort(msgspec.Struct, frozen=True):
    """A complete selection. wide: see WIDE. has_whole: some patient is taken whole. all_whole: every one of whom there
    are data. has_left: some left. members: all of them, those without any data too."""

    wide: bool
    has_whole: bool
    all_whole: bool
    has_left: bool
    members: int


def may_hint(db: Connection, request: ExportRequest) -> bool:
    """Whether the request has filters, and the indexes that they may narrow are complete."""
    return bool(request.type_filters) and is_indexed(db)


def is_indexed(db: Connection) -> bool:
    """Whether it is known of every version whose it is."""
    return bool(db.execute(_SQL["unindexed"]).fetchone() == (None,))


def must_be_indexed(db: Connection) -> None:
    """StoreNotIndexed while there are versions of which nobody knows whose they are."""
    if not is_indexed(db):
        raise StoreNotIndexed(
            "the store was filled by an earlier fhirferry and does not know yet which resources belong to which "
            "patient; have it find out, once, with: fhirferry store index"
        )


def must_be_selected(db: Connection, job_id: str) -> None:
    """TransientError when the job's cohort is not there: whoever takes the job up selects it again."""
    if db.execute(_SQL["is_complete"], (job_id,)).fetchone() is None:
        raise TransientError(
            f"the patients of job {job_id} are not selected in the store (any more); go on with the job"
        )


def find(db: Connection, job_id: str) -> Cohort:
    """The job's cohort."""
    must_be_selected(db, job_id)
    _, there, absent, wide, whole, left = db.execute(_SQL["complete"], (job_id,)).fetchone()
    return Cohort(bool(wide), bool(whole), 0 < whole == there, bool(left), there + absent)


def of_request(db: Connection, request: ExportRequest, job_id: str) -> Cohort | None:
    """The cohort of a request that has one."""
    if request.level != "system":
        must_be_indexed(db)
    return find(db, job_id) if request.has_cohort else None


def select(store: SqliteStore, job_id: str, t: Instant, chosen: Iterable[tuple[str, Share]]) -> Selection:
    """Write the cohort, in small transactions; the last makes it valid. Idempotent."""
    with store.writing() as db:
        pins.must_hold(db, t)
        must_be_indexed(db)
        done = _complete(db, job_id)
        if done is not None:
            return done
        db.execute(_SQL["abandon"], (job_id,))
        number = db.execute(_SQL["begin"], (job_id,)).lastrowid
    rows = iter(chosen)
    absent = 0
    while True:
        batch = list(islice(rows, AT_ONCE))
        if not batch:
            break
        with store.writing() as db:
            if db.execute(_SQL["is_open"], (number, job_id)).fetchone() is None:
                raise TransientError(f"the patients of job {job_id} were selected by somebody else meanwhile")
            codes = patients.known(db, [ident for ident, _ in batch])
            known = ((number, codes[ident], int(share)) for ident, share in batch if ident in codes)
            db.executemany(_SQL["put"], known)
        absent += sum(share != Share.LEFT and ident not in codes for ident, share in batch)
    with store.writing() as db:
        done = _complete(db, job_id)  # by another worker, who had the job before
        if done is None:
            db.execute(_SQL["close"], {"number": number, "absent": absent, "share": WIDE})
            done = _complete(db, job_id)
        db.execute(_SQL["abandon"], (job_id,))
    sweep(store)
    if done is None:
        raise TransientError(f"the patients of job {job_id} could not be selected; its pin was released meanwhile")
    return done


def _complete(db: Connection, job_id: str) -> Selection | None:
    row = db.execute(_SQL["complete"], (job_id,)).fetchone()
    return None if row is None else Selection(patients=row[1], absent=row[2])


def drop(db: Connection, job_id: str) -> None:
    """The job needs its cohort no more; `sweep` removes it."""
    db.execute(_SQL["drop"], (job_id,))


def lapse(db: Connection) -> None:
    """Drop the cohorts of jobs without a pin."""
    db.execute(_SQL["lapse"])


def sweep(store: SqliteStore) -> None:
    """Remove what was dropped, in small transactions; asks for the writers' lock only when there is any."""
    while True:
        with store.reading() as db:
            if db.execute(_SQL["dropped"]).fetchone() is None:
                return
        with store.writing() as db:
            # Numbers are given again: what was read before may be another one.
            row = db.execute(_SQL["dropped"]).fetchone()
            if row is None:
                return
            asked = {"number": row[0], "limit": AT_ONCE}
            removed = max(db.execute(_SQL[query], asked).rowcount for query in ("sweep", "sweep_relevant"))
            if removed < AT_ONCE:
                db.execute(_SQL["forget"], (row[0],))
