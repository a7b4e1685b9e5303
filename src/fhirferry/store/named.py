"""What is named for the rounds of jobs: versions by key, fixed at T, kept as long as the job's pin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fhirferry.model.errors import TransientError
from fhirferry.store import sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

AT_ONCE = 20_000
"""Rows that one transaction removes."""

_SQL = sql.queries("named")


def must_be_there(db: Connection, job_id: str, round_: int) -> None:
    """TransientError when the round's names are not: whoever takes the job up names them again."""
    if db.execute(_SQL["is_complete"], (job_id, round_)).fetchone() is None:
        raise TransientError(
            f"what round {round_} of job {job_id} exports is not named in the store (any more); go on with the job"
        )


def open_round(db: Connection, job_id: str, round_: int) -> int:
    """The number of the round; made where there is none. What it has stays: naming again only adds."""
    db.execute(_SQL["open"], (job_id, round_))
    (number,) = db.execute(_SQL["number"], (job_id, round_)).fetchone()
    return int(number)


def add(db: Connection, job_id: str, round_: int, number: int, versions: Sequence[tuple[int, int, int]]) -> None:
    """Name versions: (whether it is a deletion, key, size). TransientError when the round was dropped meanwhile."""
    if db.execute(_SQL["number"], (job_id, round_)).fetchone() != (number,):
        raise TransientError(f"what round {round_} of job {job_id} exports was dropped while it was being named")
    db.executemany(_SQL["add"], ((number, *version) for version in versions))


def complete(db: Connection, number: int) -> None:
    """From now on the round can be read."""
    db.execute(_SQL["complete"], (number,))


def drop(db: Connection, job_id: str) -> None:
    """The job needs its rounds no more; `sweep` removes them."""
    db.execute(_SQL["drop"], (job_id,))


def lapse(db: Connection) -> None:
    """Drop the rounds of jobs without a pin."""
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
            removed = db.execute(_SQL["sweep"], {"number": row[0], "limit": AT_ONCE}).rowcount
            if removed < AT_ONCE:
                db.execute(_SQL["forget"], (row[0],))
