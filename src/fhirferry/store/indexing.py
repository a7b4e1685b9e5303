"""Memberships for versions that were written before the store knew any."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from fhirferry.fhir import membership
from fhirferry.store import keys, patients, sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

AT_ONCE = 2_000
AT_ONCE_BYTES = 16_000_000

_SQL = sql.queries("indexing")


def index(store: SqliteStore, on_progress: Callable[[int, int], None]) -> int:
    """Go through all versions by key, so that a deletion comes after what it deleted. What is written meanwhile has its
    memberships; a deletion of something that had none yet gets them here."""
    with store.reading() as db:
        (after,) = db.execute(_SQL["unindexed"]).fetchone()
        total = 0 if after is None else db.execute(_SQL["left"], (after,)).fetchone()[0]
    done = 0
    while after is not None:
        with store.writing() as db:
            (after,) = db.execute(_SQL["unindexed"]).fetchone()  # somebody else may be at it too
            if after is None:
                break
            count, after = _step(db, after)
            db.execute(_SQL["went_on"], (after,))
        done += count
        on_progress(done, max(done, total))
    return done


def _step(db: Connection, after: int) -> tuple[int, int | None]:
    """How many versions were looked at, and where to go on; None at the end."""
    found: list[tuple[int, str, tuple[str, ...]]] = []
    deletions: dict[tuple[int, int], list[tuple[int, str]]] = {}
    room = AT_ONCE_BYTES
    count, key = 0, after
    for key, kind, size, ident, changed, body in db.execute(_SQL["versions"], {"after": after, "limit": AT_ONCE}):
        count += 1
        if not size:
            deletions.setdefault((changed, keys.code(key)), []).append((key, ident))
        elif isinstance(body, bytes):  # an unreadable one belongs to nobody
            found.append((key, kind.decode(), membership.in_body(kind.decode(), ident.decode(), body)))
        room -= size
        if room < 0:
            break
    whose = (ident for _, kind, ids in found if kind != "Group" for ident in ids)
    codes = patients.codes(db, dict.fromkeys(whose))
    db.executemany(_SQL["marked"], ((patients.mark(kind, ids, codes), key) for key, kind, ids in found))
    several = ((key, ids) for key, kind, ids in found if kind != "Group" and len(ids) > 1)
    db.executemany(patients.SQL["share"], ((key, codes[ident]) for key, ids in several for ident in ids))
    for (changed, code), gone in deletions.items():
        _copy(db, changed, code, gone)
    return count, key if count == AT_ONCE or room < 0 else None


def _copy(db: Connection, changed: int, code: int, gone: list[tuple[int, str]]) -> None:
    """Give deletions of one type and instant what their predecessors have; those of pruned ones have nothing."""
    asked = {"changed": changed, "first": keys.first(code), "key": gone[-1][0]}
    before = {ident: (key, patient) for ident, key, patient in db.execute(_SQL["predecessors"], asked)}
    for key, ident in gone:
        if ident in before:
            source, patient = before[ident]
            db.execute(_SQL["marked"], (patient, key))
            if patient == patients.SEVERAL:
                db.execute(_SQL["copy"], (key, source))
