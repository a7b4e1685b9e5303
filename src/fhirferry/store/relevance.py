"""Which Provenance belongs to a job's cohort: what is in a compartment of it, and what has a target that is (B45).

Found out once, by whoever plans (or reads, where a job was taken up whose cohort had lapsed), and kept with the cohort:
for a small cohort from what its patients have, so that it costs what they have; for a wide one from the Provenance.
Several shares come together in one Provenance, and the widest of them holds. A Provenance with targets of several
patients comes along with each of them, although its bytes name them all. What was deleted by T still belongs to whom it
belonged. A Group is nobody's, so nothing comes along for being about one (L2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhirferry.model.errors import TransientError
from fhirferry.model.instant import Instant
from fhirferry.model.request import ExportRequest
from fhirferry.store import cohorts, keys, pins, provenance, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

PATIENTS = 100
"""Patients whose resources one transaction looks at."""
VERSIONS = 2_000
"""Versions of Provenance that one transaction looks at."""

_SQL = sql.queries("relevance")


def prepare(store: SqliteStore, request: ExportRequest, t: Instant, job_id: str) -> None:
    """Whatever the request needs to know of Provenance before it is planned or weighed. One or two reads when it is known."""
    types = request.types
    if request.level == "system" or request.provenance or not (types is None or "Provenance" in types):
        return
    with store.reading() as db:
        cohorts.must_be_indexed(db)
        if request.has_cohort:
            cohorts.must_be_selected(db, job_id)
    provenance.index(store)
    if request.has_cohort:
        find(store, job_id, t)


def must_be_known(db: Connection, job_id: str) -> None:
    """TransientError when it is not found out (any more) for the job: `find` does that."""
    selection = db.execute(_SQL["selection"], (job_id,)).fetchone()
    if selection is None or not selection[2]:
        raise TransientError(
            f"the patients of job {job_id} are not selected in the store (any more), or not which Provenance is theirs; "
            "go on with the job"
        )


def find(store: SqliteStore, job_id: str, t: Instant) -> None:
    """Fill `relevant` for the job's cohort, in small transactions. Idempotent; one read when it is full. TransientError
    without a cohort."""
    with store.reading() as db:
        selection = db.execute(_SQL["selection"], (job_id,)).fetchone()
        code, last = db.execute(_SQL["provenance"]).fetchone() or (0, 0)
    if selection is None or selection[2] or not code:
        return
    provenance.index(store)
    number, wide, _ = selection
    asked = {"number": number, "t": t, "type": code, "after": keys.first(code) if wide else 0, "patients": PATIENTS}
    insert = _SQL["of_versions" if wide else "of_patients"].replace("/* merge */", _SQL["merge"])
    while True:
        with store.writing() as db:
            pins.must_hold(db, t)
            cohorts.must_be_selected(db, job_id)
            to = min(asked["after"] + VERSIONS, last) if wide else _horizon(db, asked)
            if to is None or to <= asked["after"]:
                db.execute(_SQL["complete"], (number,))
                return
            db.execute(insert, {**asked, "to": to})
        asked["after"] = to


def _horizon(db: Connection, asked: dict[str, int]) -> int | None:
    row: tuple[int | None] = db.execute(_SQL["horizon"], asked).fetchone()
    return row[0]


def sweep(db: Connection, number: int, limit: int) -> int:
    """Remove up to `limit` rows of a selection that was dropped; returns how many."""
    return db.execute(_SQL["sweep"], {"number": number, "limit": limit}).rowcount
