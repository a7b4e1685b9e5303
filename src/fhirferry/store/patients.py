"""Patients by number, and which versions are in whose compartments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import msgspec

from fhirferry.store import sql

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection

NONE, SEVERAL = 0, -1
"""What a version has in place of the code of its one patient."""

SQL = sql.queries("patients")


def codes(db: Connection, ids: Iterable[str]) -> dict[str, int]:
    """Codes of the patients with these ids (no doubles); who has none yet gets one."""
    listed = list(ids)
    found = known(db, listed)
    if len(found) < len(listed):
        (newest,) = db.execute(SQL["newest"]).fetchone()
        new = {ident: newest + place for place, ident in enumerate((i for i in listed if i not in found), 1)}
        db.executemany(SQL["add"], ((code, ident) for ident, code in new.items()))
        found.update(new)
    return found


def known(db: Connection, ids: list[str]) -> dict[str, int]:
    """Codes of those who have one."""
    if not ids:
        return {}
    return {ids[place]: code for place, code in db.execute(SQL["find"], {"ids": msgspec.json.encode(ids).decode()})}


def mark(kind: str, patients: tuple[str, ...], codes: dict[str, int]) -> int:
    """`version.patient` of a resource of this type in these compartments."""
    if not patients:
        return NONE
    return SEVERAL if kind == "Group" or len(patients) > 1 else codes[patients[0]]
