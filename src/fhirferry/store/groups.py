"""Whom a request means: the members of a Group at T, or patients that it names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import msgspec

from fhirferry.model.cohort import Cohort
from fhirferry.model.errors import GroupNotFound, PatientNotFound, StoreDamaged
from fhirferry.model.instant import Instant
from fhirferry.model.partition import Issue
from fhirferry.model.request import ExportRequest
from fhirferry.store import cohorts, info, keys, pins, sql
from fhirferry.store.roll import Roll

if TYPE_CHECKING:
    from fhirferry.store.sqlite import Connection, SqliteStore

AT_ONCE = 10_000
NAMED = 5
"""Of patients that are not there so many are named."""

_SQL = sql.queries("groups")


def members(store: SqliteStore, request: ExportRequest, t: Instant, named: Iterable[str] | None = None) -> Cohort:
    """Of a request that has a cohort (Source.members)."""
    with store.reading() as db:
        cohorts.must_be_indexed(db)
        pins.must_hold(db, t)
    if named is None:
        named = request.patients
    if request.has_list and named is None:
        raise ValueError("the list of patients that the request stands for is missing")
    if request.group_id is None:
        _must_be_there(store, named or (), t)
        return Cohort(patients=iter(named or ()))
    chosen = _Chosen(store)
    try:
        issues = tuple(_flatten(store, chosen, request.group_id, t))
        if named is None:
            return Cohort(patients=chosen.in_order(), issues=issues)
        _refuse(chosen.without(named), f"no active members of Group {request.group_id}")
    except BaseException:
        chosen.forget()
        raise
    chosen.forget()
    _must_be_there(store, named, t)
    return Cohort(patients=iter(named), issues=issues)


def _flatten(store: SqliteStore, chosen: _Chosen, group_id: str, t: Instant) -> Iterator[Issue]:
    """Choose the patients of a Group and of those in it, each Group once (L3); what there is to say about it."""
    waiting, seen, odd = [group_id], {group_id}, 0
    while waiting:
        ident = waiting.pop()
        with store.reading() as db:
            body = _body(db, "Group", ident, t)
        if body is None:
            if ident == group_id:
                raise GroupNotFound(f"Group {group_id} was not found.")
            yield _issue(f"Group/{ident}, a member of a group in Group/{group_id}, was not found; it adds no patients")
            continue
        try:
            roll = Roll(body, t)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise StoreDamaged(f"Group/{ident} in the store is not a Group any more that can be read") from None
        if not roll.active:
            yield _issue(f"Group/{ident} is not active; it adds no patients")
        chosen.add(_patients(roll, waiting, seen))
        odd += roll.odd
    if odd:
        yield _issue(f"{odd} members of Group/{group_id} were passed over: they are not written as FHIR has it")
    if not chosen:
        yield _issue(f"Group/{group_id} has no active member that is a patient: nothing is exported")


def _patients(roll: Roll, waiting: list[str], seen: set[str]) -> Iterator[str]:
    """Patients; Groups that are new go to those that are waiting."""
    for kind, ident in roll:
        if kind == "Patient":
            yield ident
        elif kind == "Group" and ident not in seen:
            seen.add(ident)
            waiting.append(ident)


def _issue(text: str) -> Issue:
    return Issue(severity="warning", code="not-found", diagnostics=text)


class _Chosen:
    """Patients without doubles, on the disk: there may be a million. Several may be at work over one connection."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store
        with store.reading() as db:
            db.execute(_SQL["chosen"])
            (self._run,) = db.execute(_SQL["run"]).fetchone()
            db.execute(_SQL["begun"], (self._run,))

    def __bool__(self) -> bool:
        with self._store.reading() as db:
            return bool(db.execute(_SQL["any"], (self._run,)).fetchone()[0])

    def add(self, patients: Iterator[str]) -> None:
        with self._store.reading() as db:
            db.executemany(_SQL["choose"], ((self._run, ident) for ident in patients))

    def without(self, ids: Iterable[str]) -> Iterator[str]:
        """Those of `ids` that are not chosen."""
        for batch in _batches(ids):
            with self._store.reading() as db:
                found = [row[0].decode() for row in db.execute(_SQL["missing"], {"ids": batch, "run": self._run})]
            yield from found

    def in_order(self) -> Iterator[str]:
        """All of them, once; then they are forgotten."""
        last = ""
        while True:
            with self._store.reading() as db:
                asked = {"run": self._run, "last": last, "limit": AT_ONCE}
                found = [row[0].decode() for row in db.execute(_SQL["in_order"], asked)]
            if not found:
                break
            yield from found
            last = found[-1]
        self.forget()

    def forget(self) -> None:
        with self._store.reading() as db:
            db.execute(_SQL["done"], (self._run,))


def _must_be_there(store: SqliteStore, ids: Iterable[str], t: Instant) -> None:
    """PatientNotFound unless all of them are Patients that the store shows at T (B41)."""
    _refuse(_absent(store, ids, t), "not there")


def _absent(store: SqliteStore, ids: Iterable[str], t: Instant) -> Iterator[str]:
    for batch in _batches(ids):
        with store.reading() as db:
            found = _at(db, "Patient", batch, t)
        yield from (ident for ident in msgspec.json.decode(batch, type=list[str]) if ident not in found)


def _refuse(ids: Iterator[str], what: str) -> None:
    """ids: in order; of a million that are wrong only so many are kept as are told."""
    shown = list(islice(ids, NAMED))
    if shown:
        more = sum(1 for _ in ids)
        told = ", ".join(shown) + (f" and {more} more" if more else "")
        raise PatientNotFound(f"of the patients that were named {len(shown) + more} are {what}: {told}")


def _body(db: Connection, kind: str, ident: str, t: Instant) -> bytes | None:
    """What the resource was at T; None when it was not there."""
    key = _at(db, kind, msgspec.json.encode([ident]).decode(), t).get(ident)
    row = None if key is None else db.execute(_SQL["body"], (key,)).fetchone()
    return None if row is None else row[0]


def _at(db: Connection, kind: str, ids: str, t: Instant) -> dict[str, int]:
    """Keys of those of the ids (a JSON list) that were there at T."""
    found: dict[str, int] = {}
    later: list[str] = []
    for raw, changed, size, key in db.execute(_SQL["current"], {"type": kind, "ids": ids}):
        if changed > t:
            later.append(raw.decode())
        elif size:
            found[raw.decode()] = key
    if later:
        code = info.codes(db)[kind]
        asked = {"first": keys.first(code), "last": keys.last(code), "t": t, "ids": msgspec.json.encode(later).decode()}
        found.update((raw.decode(), key) for raw, key in db.execute(_SQL["earlier"], asked))
    return found


def _batches(ids: Iterable[str]) -> Iterator[str]:
    """JSON lists."""
    rest = iter(ids)
    while batch := list(islice(rest, AT_ONCE)):
        yield msgspec.json.encode(batch).decode()
